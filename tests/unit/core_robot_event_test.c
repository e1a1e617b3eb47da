/*
 * Robot events: every rule, by the cases of tests/data/event, and identity.
 */

#include "core_test.h"
#include "coco_robot_event.h"


static int
decode(coco_robot_event_t *ret, const char *payload, coco_error_t *err)
{
    return coco_robot_event_decode(ret, TOPIC, (coco_str_t) { payload,
                                                             strlen(payload) },
                                   RECEIVED_AT, err);
}


static void
case_is_accepted(void **state)
{
    int                 rc;
    coco_error_t        err;
    const test_file_t  *file = *state;
    coco_robot_event_t  event;

    rc = coco_robot_event_decode(&event, TOPIC, file->text, RECEIVED_AT, &err);

    if (rc != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    assert_true(coco_str_equal(event.serial, TOPIC));
    assert_int_equal(event.received_at, RECEIVED_AT);
    assert_int_equal(event.ts, INT64_C(1790000000000));
}


static void
case_is_refused(void **state)
{
    char                field[64];
    coco_error_t        err;
    const test_file_t  *file = *state;
    coco_robot_event_t  event;

    test_file_field(file, field, sizeof(field));

    assert_int_equal(coco_robot_event_decode(&event, TOPIC, file->text,
                                             RECEIVED_AT, &err),
                     COCO_ERROR);
    assert_string_equal(err.field, field);
    assert_true(strlen(err.reason) > 0);
}


static void
every_member_is_decoded(void **state)
{
    coco_str_t          text;
    coco_error_t        err;
    coco_robot_event_t  e;

    text = test_file_read("tests/data/event/accept/full.json");

    assert_int_equal(coco_robot_event_decode(&e, TOPIC, text, RECEIVED_AT,
                                             &err), COCO_OK);
    assert_int_equal(e.type, COCO_EVENT_PIN_ENTRY_LID_OPEN);
    assert_true(coco_str_equal(e.type_name,
                               coco_string("PIN_ENTRY_LID_OPEN")));
    assert_true(coco_str_equal(e.event_id, coco_string("e-17")));
    assert_true(coco_str_equal(e.trigger, coco_string("PIN_ENTRY_CONFIRM")));
    assert_true(e.has_lid_opened);
    assert_false(e.lid_opened);
    assert_true(coco_str_equal(e.pin, coco_string("0420")));
    assert_int_equal(e.command_id.len, 36);
    assert_true(coco_str_equal(e.reason,
                               coco_string("jammed: \\\"ice\\\"")));
    assert_true(coco_str_equal(e.details,
                               coco_string("{\"current\":[1.5,2]}")));

    free((char *) text.data);
}


static void
every_type_is_known(void **state)
{
    size_t              i;
    char                payload[128];
    coco_error_t        err;
    coco_robot_event_t  e;

    static const struct {
        const char         *name;
        coco_event_type_e   type;
    } types[] = {
        { "LID_OPENED", COCO_EVENT_LID_OPENED },
        { "LID_CLOSED", COCO_EVENT_LID_CLOSED },
        { "LID_OPEN_FAILED", COCO_EVENT_LID_OPEN_FAILED },
        { "PIN_ENTRY_LID_OPEN", COCO_EVENT_PIN_ENTRY_LID_OPEN },
        { "PIN_ENTRY_LID_CLOSE", COCO_EVENT_PIN_ENTRY_LID_CLOSE },
        { "COMMAND_ACK", COCO_EVENT_COMMAND_ACK },
        { "lid_opened", COCO_EVENT_OTHER },
        { "LID_OPENED2", COCO_EVENT_OTHER }
    };

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        snprintf(payload, sizeof(payload),
                 "{\"type\":\"%s\",\"ts\":1790000000000}", types[i].name);
        assert_int_equal(decode(&e, payload, &err), COCO_OK);
        assert_int_equal(e.type, types[i].type);
        assert_null(e.event_id.data);
        assert_null(e.trigger.data);
        assert_null(e.pin.data);
        assert_null(e.command_id.data);
        assert_null(e.reason.data);
        assert_null(e.details.data);
        assert_false(e.has_lid_opened);
    }
}


static void
unknown_type_keeps_what_fits(void **state)
{
    coco_error_t        err;
    coco_robot_event_t  e;

    assert_int_equal(decode(&e, "{\"type\":\"BUMP\",\"ts\":1790000000000,"
                            "\"trigger\":\"WALL\",\"lid_opened\":2,"
                            "\"pin\":1,\"commandId\":\"c\",\"reason\":\"r\"}",
                            &err), COCO_OK);
    assert_null(e.trigger.data);
    assert_false(e.has_lid_opened);
    assert_null(e.pin.data);
    assert_true(coco_str_equal(e.command_id, coco_string("c")));
    assert_true(coco_str_equal(e.reason, coco_string("r")));
}


static void
id_follows_the_robots_id_else_type_and_ts(void **state)
{
    coco_error_t        err;
    coco_robot_event_t  a, b;

    assert_int_equal(decode(&a, "{\"id\":\"7\",\"type\":\"LID_OPENED\","
                            "\"ts\":1790000000000}", &err), COCO_OK);
    assert_int_equal(decode(&b, "{\"id\":\"7\",\"type\":\"LID_CLOSED\","
                            "\"ts\":1790000000001}", &err), COCO_OK);
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));

    assert_int_equal(decode(&b, "{\"id\":\"8\",\"type\":\"LID_OPENED\","
                            "\"ts\":1790000000000}", &err), COCO_OK);
    assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));

    assert_int_equal(decode(&a, "{\"type\":\"LID_OPENED\",\"pin\":\"1\","
                            "\"ts\":1790000000000}", &err), COCO_OK);
    assert_int_equal(decode(&b, "{\"ts\":\"2026-09-21T14:13:20Z\","
                            "\"type\":\"LID_OPENED\"}", &err), COCO_OK);
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));

    assert_int_equal(decode(&b, "{\"ts\":1790000000001,"
                            "\"type\":\"LID_OPENED\"}", &err), COCO_OK);
    assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));
}


static void
reason_never_shows_a_pin(void **state)
{
    coco_error_t        err;
    coco_robot_event_t  e;

    assert_int_equal(decode(&e, "{\"type\":\"LID_OPENED\",\"pin\":90417,"
                            "\"ts\":1790000000000}", &err), COCO_ERROR);
    assert_string_equal(err.field, "pin");
    assert_null(strstr(err.reason, "90417"));
}


static void
pin_is_masked(void **state)
{
    char        buf[128];
    size_t      i;
    coco_str_t  text;

    static const char *const  cases[][2] = {
        { "{\"pin\":\"1234\",\"ts\":12}", "{\"pin\":\"****\",\"ts\":12}" },
        { "{\"pin\" :\n 1234,\"ts\":12}", "{\"pin\" :\n ****,\"ts\":12}" },
        { "{\"pin\":\"a1b\"}", "{\"pin\":\"a*b\"}" },
        { "{\"pin\":[1,2],\"id\":7}", "{\"pin\":[*,2],\"id\":7}" },
        { "{\"pin\":\"12", "{\"pin\":\"**" },
        { "{\"pin\":1", "{\"pin\":*" },
        { "{\"pin\":\"1\",\"details\":{\"pin\":\"2\"}}",
          "{\"pin\":\"*\",\"details\":{\"pin\":\"*\"}}" },
        { "\"{\\\"pin\\\":\\\"1234\\\",\\\"ts\\\":12}\"",
          "\"{\\\"pin\\\":\\\"****\\\",\\\"ts\\\":12}\"" },
        { "{\"pin\":null,\"ts\":12}", "{\"pin\":null,\"ts\":12}" },

        /* none */
        { "{\"pins\":\"1234\"}", NULL },
        { "{\"type\":\"pin\",\"ts\":12}", NULL },
        { "{\"pin\"", NULL }, { "{\"pin", NULL }, { "{\"pin\\", NULL },
        { "{\"pin\":", NULL }, { "", NULL }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text = (coco_str_t) { cases[i][0], strlen(cases[i][0]) };
        memcpy(buf, text.data, text.len + 1);
        assert_int_equal(coco_robot_event_has_pin(text),
                         cases[i][1] != NULL);
        coco_robot_event_mask(buf, text.len);
        assert_string_equal(buf, cases[i][1] ? cases[i][1] : cases[i][0]);
    }
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_member_is_decoded),
        cmocka_unit_test(every_type_is_known),
        cmocka_unit_test(unknown_type_keeps_what_fits),
        cmocka_unit_test(id_follows_the_robots_id_else_type_and_ts),
        cmocka_unit_test(reason_never_shows_a_pin),
        cmocka_unit_test(pin_is_masked)
    };

    failed = cmocka_run_group_tests_name("core: robot events", tests, NULL,
                                         NULL);
    failed += test_files_run("tests/data/event/accept", case_is_accepted);
    failed += test_files_run("tests/data/event/refuse", case_is_refused);

    return failed;
}
