/*
 * Dead letters as messages: of which kind, and whose.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "janitor_letter.h"


static char            buf[512];
static coco_message_t  message;


static coco_str_t
str(const char *text)
{
    return (coco_str_t) { text, strlen(text) };
}


static void
letter_is(const char *source, const char *topic, const char *payload,
    coco_kind_e kind, const char *serial)
{
    coco_letter_t  letter;

    memset(&letter, 0, sizeof(letter));
    letter.source = str(source);
    letter.topic = str(topic);
    letter.payload = str(payload);
    letter.received_at = 7;
    letter.cause.known = true;
    letter.cause.ts = 8;

    coco_letter_message(&message, &letter, "raw", buf);

    assert_string_equal(message.source, "replay");
    assert_int_equal(message.kind, kind);
    assert_int_equal(message.received_at, 7);
    assert_non_null(message.serial.data);
    assert_int_equal(message.serial.len, strlen(serial));
    assert_memory_equal(message.serial.data, serial, strlen(serial));
}


static void
test_devices(void **state)
{
    letter_is("mqtt", "robot/R-1/status", "x", COCO_KIND_HEARTBEAT, "R-1");
    letter_is("mqtt", "robot/R-1/events", "x", COCO_KIND_ROBOT_EVENT, "R-1");
    letter_is("mqtt", "a/b/R/other", "x", COCO_KIND_HEARTBEAT, "R");
    letter_is("mqtt", "R/events", "x", COCO_KIND_ROBOT_EVENT, "");
    letter_is("mqtt", "none", "x", COCO_KIND_HEARTBEAT, "");
    letter_is("mqtt", "", "", COCO_KIND_HEARTBEAT, "");
    assert_false(message.cause.known);
}


static void
test_tasks(void **state)
{
    letter_is("task", "SEEN/R-1", "{}", COCO_KIND_TASK, "R-1");
    assert_memory_equal(message.topic.data, "SEEN/R-1", 8);
    assert_int_equal(message.topic.len, 8);
    assert_false(message.inbox);
    letter_is("task", "LID", "", COCO_KIND_TASK, "");
    letter_is("task", "LID/", "", COCO_KIND_TASK, "");
}


static void
test_queues(void **state)
{
    letter_is("sqs", "sqs/state", "{\"serial\":\"R-1\"}",
              COCO_KIND_HEARTBEAT, "R-1");
    letter_is("sqs", "sqs/state", "{\"type\":\"X\","
              "\"topic\":\"robot/R-2/events\"}", COCO_KIND_ROBOT_EVENT, "R-2");
    letter_is("sqs", "sqs/events", "{\"Type\":\"Notification\",\"Message\":"
              "\"{\\\"serial\\\":\\\"R-3\\\"}\"}", COCO_KIND_HEARTBEAT, "R-3");
    assert_int_equal(message.payload.len, strlen("{\"serial\":\"R-3\"}"));
    assert_memory_equal(message.payload.data, "{\"serial\":\"R-3\"}", 16);
    letter_is("sqs", "sqs/events", "{", COCO_KIND_HEARTBEAT, "");
    letter_is("sqs", "sqs/events", "{}", COCO_KIND_HEARTBEAT, "");
    letter_is("sqs", "sqs/connectivity", "{}", COCO_KIND_CONNECTIVITY, "");
    letter_is("webhook", "webhook/driveu", "{}", COCO_KIND_CONNECTIVITY, "");
    letter_is("webhook", "webhook/uber", "{}", COCO_KIND_ORDER, "");
    letter_is("webhook", "webhook/doordash", "{}", COCO_KIND_ORDER, "");
}


static void
test_bus(void **state)
{
    size_t                    i;
    static const char *const  sources[] = { "rabbitmq", "kafka", "bus" };

    for (i = 0; i < 3; i++) {
        letter_is(sources[i], "Robots.StateChange",
                  "{\"id\":\"00000000-0000-4000-8000-000000000000\","
                  "\"name\":\"Robots.StateChange\",\"serial\":\"R-1\","
                  "\"ts\":1,\"data\":{}}", COCO_KIND_EVENT, "R-1");
        assert_true(message.cause.known);
        assert_int_equal(message.cause.ts, 8);
        letter_is(sources[i], "Robots.StateChange", "{}", COCO_KIND_EVENT,
                  "");
    }

    letter_is("kafka", "raw", "{\"serial\":\"R-4\"}", COCO_KIND_TELEMETRY,
              "R-4");
    letter_is("kafka", "raw", "{\"serial\":\"R-4\",\"type\":\"X\"}",
              COCO_KIND_TELEMETRY, "R-4");

    /* the key, and the payload as it came, whatever it looks like */
    letter_is("kafka", "raw/R-5", "{\"Type\":\"Notification\"}",
              COCO_KIND_TELEMETRY, "R-5");
    assert_int_equal(message.payload.len, strlen("{\"Type\":"
                                                 "\"Notification\"}"));
    letter_is("kafka", "rawer/R-5", "{}", COCO_KIND_EVENT, "");

    /* a robot's topic of that name is none of Kafka's */
    letter_is("mqtt", "raw", "{}", COCO_KIND_HEARTBEAT, "");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_bus),
    };

    return cmocka_run_group_tests_name("letter", tests, NULL, NULL);
}
