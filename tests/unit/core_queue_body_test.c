/*
 * Bodies of queue messages, as they are and inside SNS notifications, by the
 * cases of tests/data/queue; what is handed on is what the robot's decoders
 * take.
 */

#include "core_test.h"
#include "coco_heartbeat.h"
#include "coco_queue_body.h"
#include "coco_robot_event.h"


/* buf has the body's size. */
static int
body_read(coco_queue_body_t *ret, const char *body, char *buf,
    coco_error_t *err)
{
    return coco_queue_body_read(ret, (coco_str_t) { body, strlen(body) }, buf,
                                err);
}


static bool
begins(const test_file_t *file, const char *with)
{
    return strncmp(file->name, with, strlen(with)) == 0;
}


static void
case_is_accepted(void **state)
{
    char               *buf;
    bool                event;
    coco_str_t          unwrapped;
    coco_error_t        err;
    coco_queue_body_t   body;
    const test_file_t  *file = *state;

    buf = malloc(file->text.len);
    assert_non_null(buf);

    if (coco_queue_body_read(&body, file->text, buf, &err) != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    event = begins(file, "event-") || begins(file, "sns-event");
    assert_int_equal(body.event, event);

    if (begins(file, "heartbeat-alone")) {
        assert_null(body.serial.data);

    } else {
        assert_true(coco_str_equal(body.serial, TOPIC));
    }

    unwrapped = coco_queue_body_unwrap(file->text, buf);
    assert_true(coco_str_equal(unwrapped, body.payload));

    if (!begins(file, "sns-") || begins(file, "sns-of-another-type")) {
        assert_true(body.payload.data == file->text.data);
        assert_int_equal(body.payload.len, file->text.len);
    }

    free(buf);
}


static void
case_is_refused(void **state)
{
    char                field[64], *buf;
    coco_error_t        err;
    coco_queue_body_t   body;
    const test_file_t  *file = *state;

    buf = malloc(file->text.len + 1);
    assert_non_null(buf);

    test_file_field(file, field, sizeof(field));
    assert_int_equal(coco_queue_body_read(&body, file->text, buf, &err),
                     COCO_ERROR);
    assert_string_equal(err.field, field);
    assert_true(strlen(err.reason) > 0);
    assert_true(body.payload.data == file->text.data);
    assert_int_equal(body.payload.len, file->text.len);
    assert_null(body.serial.data);
    assert_false(body.event);

    free(buf);
}


static void
notification_is_unescaped(void **state)
{
    char               buf[256];
    coco_error_t       err;
    coco_queue_body_t  body;

    static const char  text[] =
        "{\"Message\":\"{\\\"type\\\":\\\"A\\\\\\\"\\u00e9\\ud83e\\udd16\\\","
        "\\n\\\"serial\\\":\\\"R-1\\\"}\",\"Type\":\"Notification\"}";

    assert_int_equal(body_read(&body, text, buf, &err), COCO_OK);
    assert_true(coco_str_equal(body.payload, coco_string(
        "{\"type\":\"A\\\"\xc3\xa9\xf0\x9f\xa4\x96\",\n\"serial\":\"R-1\"}")));
    assert_true(body.payload.data == buf);
    assert_true(body.event);
    assert_true(coco_str_equal(body.serial, TOPIC));
}


static void
serial_is_the_topics_or_the_bodys(void **state)
{
    size_t             i;
    char               buf[256];
    coco_error_t       err;
    coco_queue_body_t  body;

    static const struct {
        const char  *body, *serial;
    } cases[] = {
        { "{\"topic\":\"robot/R-1/status\"}", "R-1" },
        { "{\"topic\":\"robot/R-1/\"}", "R-1" },
        { "{\"topic\":\"robot/R-1/a/b\"}", "R-1" },
        { "{\"topic\":\"robot/R-1\"}", NULL },
        { "{\"topic\":\"robot//status\"}", NULL },
        { "{\"topic\":\"robot/..\\/status\"}", NULL },
        { "{\"topic\":\"robot/stream/status\"}", NULL },
        { "{\"topic\":\"/robot/R-1/status\"}", NULL },
        { "{\"topic\":\"robots/R-1/status\"}", NULL },
        { "{\"topic\":\"robot\"}", NULL },
        { "{\"topic\":[\"robot/R-1/status\"]}", NULL },
        { "{\"topic\":\"robot/R-1/status\",\"serial\":\"R-2\"}", "R-1" },
        { "{\"topic\":\"R-1\",\"serial\":\"R-2\"}", "R-2" },
        { "{\"topic\":null,\"serial\":\"R-2\"}", "R-2" },
        { "{\"serial\":\"R 2\"}", NULL },
        { "{\"serial\":\"\\u0052-2\"}", NULL },
        { "{\"serial\":2}", NULL },
        { "{\"serial\":null}", NULL },
        { "{}", NULL }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(body_read(&body, cases[i].body, buf, &err), COCO_OK);

        if (cases[i].serial == NULL) {
            assert_null(body.serial.data);
            continue;
        }

        assert_int_equal(body.serial.len, strlen(cases[i].serial));
        assert_memory_equal(body.serial.data, cases[i].serial,
                            body.serial.len);
    }
}


/* A queue whose rule and robot disagree is told by the robot's decoder. */
static void
two_serials_are_refused(void **state)
{
    char               buf[512];
    coco_error_t       err;
    coco_heartbeat_t   hb;
    coco_queue_body_t  body;

    assert_int_equal(body_read(&body, "{\"ts\":1790000000000,\"battery\":"
                               "{\"percent\":50},\"location\":{\"latitude\":1,"
                               "\"longitude\":2},\"serial\":\"R-2\","
                               "\"topic\":\"robot/R-1/status\"}", buf, &err),
                     COCO_OK);
    assert_int_equal(coco_heartbeat_decode(&hb, body.serial, body.payload,
                                           RECEIVED_AT, &err), COCO_ERROR);
    assert_string_equal(err.field, "serial");
    assert_string_equal(err.reason, "not the topic's serial");
}


/* By whatever way it came, a message is the same. */
static void
identity_is_the_same_on_every_way(void **state)
{
    size_t              i;
    char                buf[512];
    coco_error_t        err;
    coco_heartbeat_t    hb;
    coco_queue_body_t   body;
    coco_robot_event_t  event;

    static const char  heartbeat[] =
        "{\"ts\":1790000000000,\"battery\":{\"percent\":50},"
        "\"location\":{\"latitude\":1,\"longitude\":2}}";

    static const char *const  heartbeats[] = {
        "{\"serial\":\"R-1\",\"ts\":1790000000000,\"battery\":{\"percent\":50},"
        "\"location\":{\"latitude\":1,\"longitude\":2}}",
        "{\"ts\": 1790000000000, \"battery\": {\"percent\": 50}, "
        "\"topic\": \"robot/R-1/status\", "
        "\"location\": {\"latitude\": 1, \"longitude\": 2}}",
        "{\"Type\":\"Notification\",\"Message\":\"{\\\"ts\\\":1790000000000,"
        "\\\"battery\\\":{\\\"percent\\\":50},\\\"location\\\":"
        "{\\\"latitude\\\":1,\\\"longitude\\\":2},"
        "\\\"serial\\\":\\\"R-1\\\"}\"}"
    };

    static const char  plain[] = "{\"type\":\"LID_OPENED\","
                                 "\"ts\":1790000000000}";
    static const char  queued[] = "{\"topic\":\"robot/R-1/events\","
                                  "\"type\":\"LID_OPENED\","
                                  "\"ts\":1790000000000}";
    coco_id_t  id;

    assert_int_equal(coco_heartbeat_decode(&hb, TOPIC, coco_string(heartbeat),
                                           RECEIVED_AT, &err), COCO_OK);
    id = hb.id;

    for (i = 0; i < sizeof(heartbeats) / sizeof(heartbeats[0]); i++) {
        assert_int_equal(body_read(&body, heartbeats[i], buf, &err), COCO_OK);
        assert_false(body.event);
        assert_int_equal(coco_heartbeat_decode(&hb, body.serial, body.payload,
                                               RECEIVED_AT, &err), COCO_OK);
        assert_memory_equal(&id, &hb.id, sizeof(id));
    }

    assert_int_equal(coco_robot_event_decode(&event, TOPIC,
                                             coco_string(plain), RECEIVED_AT,
                                             &err), COCO_OK);
    id = event.id;

    assert_int_equal(body_read(&body, queued, buf, &err), COCO_OK);
    assert_true(body.event);
    assert_int_equal(coco_robot_event_decode(&event, body.serial,
                                             body.payload, RECEIVED_AT, &err),
                     COCO_OK);
    assert_memory_equal(&id, &event.id, sizeof(id));
}


static void
unwrap_leaves_others_alone(void **state)
{
    size_t      i;
    char        buf[128];
    coco_str_t  body, inner;

    static const char *const  others[] = {
        "", "hello", "[1]", "{}", "{\"unit\":\"node\"}",
        "{\"Type\":\"Notification\"}",
        "{\"Type\":\"Notification\",\"Message\":{}}",
        "{\"Type\":\"SubscriptionConfirmation\",\"Message\":\"{}\"}",
        "{\"type\":\"Notification\",\"message\":\"{}\"}"
    };

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        body = (coco_str_t) { others[i], strlen(others[i]) };
        inner = coco_queue_body_unwrap(body, buf);
        assert_true(inner.data == body.data);
        assert_int_equal(inner.len, body.len);
    }

    inner = coco_queue_body_unwrap(coco_string(
        "{\"Type\":\"Notification\",\"Message\":\"{\\\"unit\\\":1}\"}"), buf);
    assert_true(coco_str_equal(inner, coco_string("{\"unit\":1}")));
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(notification_is_unescaped),
        cmocka_unit_test(serial_is_the_topics_or_the_bodys),
        cmocka_unit_test(two_serials_are_refused),
        cmocka_unit_test(identity_is_the_same_on_every_way),
        cmocka_unit_test(unwrap_leaves_others_alone)
    };

    failed = cmocka_run_group_tests_name("core: queue bodies", tests, NULL,
                                         NULL);
    failed += test_files_run("tests/data/queue/accept", case_is_accepted);
    failed += test_files_run("tests/data/queue/refuse", case_is_refused);

    return failed;
}
