/*
 * Heartbeats: every rule, by the cases of tests/data/heartbeat; identity,
 * order, and the records made of them, read again by jansson.
 */

#include <jansson.h>

#include "core_test.h"
#include "coco_heartbeat.h"


#define BODY  "\"battery\":{\"percent\":50},"                                \
              "\"location\":{\"latitude\":1,\"longitude\":2}}"


static int
decode(coco_heartbeat_t *ret, coco_str_t topic, const char *payload,
    coco_error_t *err)
{
    return coco_heartbeat_decode(ret, topic, (coco_str_t) { payload,
                                                           strlen(payload) },
                                 RECEIVED_AT, err);
}


/* The encoders' output as jansson reads it; *_encode calls come as a
 * statement on `out`. */
#define ENCODED(call)  __extension__ ({                                      \
    char              buf[65536];                                            \
    json_t           *json_;                                                 \
    json_error_t      json_err;                                              \
    coco_json_out_t   out_, *out = &out_;                                    \
                                                                             \
    coco_json_out_init(out, buf, sizeof(buf));                               \
    call;                                                                    \
    assert_true(coco_json_out_ok(out));                                      \
    json_ = json_loadb(buf, out->len,                                        \
                       JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,     \
                       &json_err);                                           \
    if (json_ == NULL) {                                                     \
        fail_msg("%s: %.*s", json_err.text, (int) out->len, buf);            \
    }                                                                        \
    json_;                                                                   \
})


/* details is the payload less four members, with the enrichment in the place
 * of members of its names, whoever reads it. */
static void
details_are_checked(const coco_heartbeat_t *hb)
{
    json_t  *details, *payload;

    details = ENCODED(coco_heartbeat_details_encode(out, hb, true,
                                                    coco_string("{\"a\":1}")));
    payload = json_loadb(hb->payload.data, hb->payload.len,
                         JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(payload);

    json_object_del(payload, "serial");
    json_object_del(payload, "ts");
    json_object_del(payload, "state");
    json_object_del(payload, "topic");
    json_object_set_new(payload, "remotelyControllable", json_true());
    json_object_set_new(payload, "driveu", json_pack("{s:f}", "a", 1.0));

    assert_true(json_equal(details, payload));

    json_decref(details);
    json_decref(payload);
}


static void
case_is_accepted(void **state)
{
    int                 rc;
    json_t             *json;
    coco_error_t        err;
    coco_heartbeat_t    hb;
    const test_file_t  *file = *state;

    rc = coco_heartbeat_decode(&hb, TOPIC, file->text, RECEIVED_AT, &err);

    if (rc != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    assert_true(coco_str_equal(hb.serial, TOPIC));
    assert_int_equal(hb.received_at, RECEIVED_AT);
    details_are_checked(&hb);

    json = ENCODED(coco_robot_state_encode(out, &hb, COCO_STATE_PARKED));
    assert_int_equal(json_real_value(json_object_get(json, "ts")), hb.ts);
    json_decref(json);
}


static void
case_is_refused(void **state)
{
    char                field[64];
    coco_error_t        err;
    coco_heartbeat_t    hb;
    const test_file_t  *file = *state;

    test_file_field(file, field, sizeof(field));

    assert_int_equal(coco_heartbeat_decode(&hb, TOPIC, file->text,
                                           RECEIVED_AT, &err),
                     COCO_ERROR);
    assert_string_equal(err.field, field);
    assert_true(strlen(err.reason) > 0);
    assert_true(coco_str_equal(hb.serial, TOPIC));
}


static void
every_member_is_decoded(void **state)
{
    coco_str_t        text;
    coco_error_t      err;
    coco_heartbeat_t  hb;

    text = test_file_read("tests/data/heartbeat/accept/full.json");

    assert_int_equal(coco_heartbeat_decode(&hb, TOPIC, text, RECEIVED_AT,
                                           &err), COCO_OK);
    assert_int_equal(hb.ts, INT64_C(1790000000000));
    assert_int_equal(hb.state, COCO_STATE_ON_TRIP);
    assert_true(hb.healthy);
    assert_true(hb.battery_percent == 81.5);
    assert_true(hb.has_charging);
    assert_false(hb.charging);
    assert_true(hb.latitude == 37.7749295);
    assert_true(hb.longitude == -122.4194155);
    assert_true(hb.has_heading && hb.heading == 271.5);
    assert_true(hb.has_speed && hb.speed == 1.42);
    assert_true(hb.has_lid);
    assert_false(hb.lid_open);
    assert_true(coco_str_equal(hb.battery, coco_string(
        "{\"percent\": 81.5, \"charging\": false, \"voltage\": 25.21}")));
    assert_true(coco_str_equal(hb.software, coco_string(
        "{\"version\": \"4.12.0\", \"build\": 1187}")));
    assert_true(coco_str_equal(hb.payload, text));

    free((char *) text.data);
}


static void
absent_members_are_absent(void **state)
{
    coco_error_t      err;
    coco_heartbeat_t  hb;

    assert_int_equal(decode(&hb, TOPIC, "{\"ts\":1790000000000," BODY, &err),
                     COCO_OK);
    assert_int_equal(hb.state, COCO_STATE_NONE);
    assert_true(hb.healthy);
    assert_false(hb.has_charging);
    assert_false(hb.has_heading);
    assert_false(hb.has_speed);
    assert_false(hb.has_lid);
    assert_null(hb.components.data);
    assert_null(hb.software.data);
}


static void
health_is_said_or_follows_from_components(void **state)
{
    size_t            i;
    char              payload[256];
    coco_error_t      err;
    coco_heartbeat_t  hb;

    static const struct {
        const char  *members;
        bool         healthy;
    } cases[] = {
        { "", true },
        { "\"healthy\":false,", false },
        { "\"components\":{},", true },
        { "\"components\":{\"a\":\"DEGRADED\",\"b\":\"OK\"},", true },
        { "\"components\":{\"a\":\"ERROR\",\"b\":\"OK\"},", false },
        { "\"healthy\":null,\"components\":{\"a\":\"ERROR\"},", false },
        { "\"healthy\":true,\"components\":{\"a\":\"ERROR\"},", true },
        { "\"healthy\":false,\"components\":{\"a\":\"OK\"},", false }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(payload, sizeof(payload), "{\"ts\":1790000000000,%s" BODY,
                 cases[i].members);
        assert_int_equal(decode(&hb, TOPIC, payload, &err), COCO_OK);
        assert_int_equal(hb.healthy, cases[i].healthy);
    }
}


static void
time_is_milliseconds_or_iso(void **state)
{
    size_t            i;
    char              payload[256];
    coco_error_t      err;
    coco_heartbeat_t  hb;

    /* expected values by date(1) */
    static const struct {
        const char  *ts;
        int64_t      ms;
    } cases[] = {
        { "1790000000123", INT64_C(1790000000123) },
        { "1.790000000123e12", INT64_C(1790000000123) },
        { "\"2026-09-21T14:13:20.123Z\"", INT64_C(1790000000123) },
        { "\"2026-09-21t14:13:20.1239z\"", INT64_C(1790000000123) },
        { "\"2026-09-21T14:13:20,1Z\"", INT64_C(1790000000100) },
        { "\"2026-09-21T19:43:20.123+05:30\"", INT64_C(1790000000123) },
        { "\"2026-09-20T23:13:20-1500\"", INT64_C(1790000000000) },
        { "\"2015-01-01T00:00:00Z\"", INT64_C(1420070400000) },
        { "\"2016-02-29T12:00:00Z\"", INT64_C(1456747200000) },
        { "\"2016-12-31T23:59:60Z\"", INT64_C(1483228800000) },
        { "\"2024-03-01T00:00:00Z\"", INT64_C(1709251200000) },
        { "\"2023-12-31T23:59:59.999Z\"", INT64_C(1704067199999) }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(payload, sizeof(payload), "{\"ts\":%s," BODY, cases[i].ts);
        assert_int_equal(decode(&hb, TOPIC, payload, &err), COCO_OK);
        assert_int_equal(hb.ts, cases[i].ms);
    }
}


static void
other_units_are_recognised(void **state)
{
    coco_error_t      err;
    coco_heartbeat_t  hb;

    assert_int_equal(decode(&hb, TOPIC, "{\"ts\":1790000000," BODY, &err),
                     COCO_ERROR);
    assert_string_equal(err.reason, "looks like seconds; milliseconds "
                                    "expected");

    assert_int_equal(decode(&hb, TOPIC, "{\"ts\":1790000000000000," BODY,
                            &err), COCO_ERROR);
    assert_string_equal(err.reason, "looks like microseconds; milliseconds "
                                    "expected");
}


static void
serial_comes_from_topic_or_payload(void **state)
{
    coco_str_t        none = { NULL, 0 };
    coco_error_t      err;
    coco_heartbeat_t  hb;

    assert_int_equal(decode(&hb, none, "{\"serial\":\"A.1\","
                            "\"ts\":1790000000000," BODY, &err), COCO_OK);
    assert_true(coco_str_equal(hb.serial, coco_string("A.1")));

    assert_int_equal(decode(&hb, none, "{\"ts\":1790000000000," BODY, &err),
                     COCO_ERROR);
    assert_string_equal(err.field, "serial");
    assert_null(hb.serial.data);

    assert_int_equal(decode(&hb, coco_string("A 1"), "{\"serial\":\"A.1\","
                            "\"ts\":1790000000000," BODY, &err), COCO_ERROR);
    assert_string_equal(err.field, "serial");
    assert_null(hb.serial.data);

    /* valid, though the heartbeat is not */

    assert_int_equal(decode(&hb, none, "{\"serial\":\"A.1\"}", &err),
                     COCO_ERROR);
    assert_string_equal(err.field, "ts");
    assert_true(coco_str_equal(hb.serial, coco_string("A.1")));
}


static void
id_is_of_serial_ts_and_payload(void **state)
{
    char              again[] = "{\"ts\":1790000000000," BODY;
    coco_error_t      err;
    coco_heartbeat_t  a, b;

    assert_int_equal(decode(&a, TOPIC, "{\"ts\":1790000000000," BODY, &err),
                     COCO_OK);
    assert_int_equal(coco_heartbeat_decode(&b, TOPIC,
                         (coco_str_t) { again, strlen(again) },
                         RECEIVED_AT + 5000, &err), COCO_OK);
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));

    assert_int_equal(decode(&b, coco_string("R-2"), again, &err), COCO_OK);
    assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));

    assert_int_equal(decode(&b, TOPIC, "{\"ts\":1790000000001," BODY, &err),
                     COCO_OK);
    assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));

    /* space within a string counts */

    assert_int_equal(decode(&a, TOPIC, "{\"software\":\"a b\","
                            "\"ts\":1790000000000," BODY, &err), COCO_OK);
    assert_int_equal(decode(&b, TOPIC, "{\"software\":\"a  b\","
                            "\"ts\":1790000000000," BODY, &err), COCO_OK);
    assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));
}


/* Ids are stored: those of payloads that no queue touched may never change. */
static void
id_is_of_the_payload_as_it_stands(void **state)
{
    coco_id_t         id;
    coco_error_t      err;
    coco_heartbeat_t  hb;

    static const char        payload[] = "{\"ts\":1790000000000," BODY;
    static const coco_str_t  parts[] = {
        coco_string("heartbeat"), TOPIC,
        coco_string("\x00\x6c\x50\xc4\xa0\x01\x00\x00"),
        coco_string(payload)
    };

    assert_int_equal(decode(&hb, TOPIC, payload, &err), COCO_OK);
    coco_id_derive(&id, parts, 4);
    assert_memory_equal(&id, &hb.id, sizeof(id));
}


/* Members with the serial or the topic among them, in the style's space.
 * slots: where serial (first) and topic go; SIZE_MAX leaves one out. */
static void
payload_write(char *ret, const size_t slots[2], const char *space,
    const char *const added[2])
{
    char               *p = ret;
    size_t              i, j, count = 0;
    static const char *const  members[] = {
        "\"ts\":1790000000000", "\"battery\":{\"percent\":50}",
        "\"location\":{\"latitude\":1,\"longitude\":2}",
        "\"note\":\" , \\\"topic\\\" : } \\\\\"",
        "\"nested\":{\"serial\":1,\"topic\":[2]}"
    };

    p += sprintf(p, "%s{", space);

    for (i = 0; i <= 5; i++) {
        for (j = 0; j < 2; j++) {
            if (slots[j] == i) {
                p += sprintf(p, "%s%s%s%s", count++ > 0 ? "," : "", space,
                             added[j], space);
            }
        }

        if (i < 5) {
            p += sprintf(p, "%s%s%s%s", count++ > 0 ? "," : "", space,
                         members[i], space);
        }
    }

    sprintf(p, "}%s", space);
}


static void
id_is_the_same_by_queue(void **state)
{
    char              payload[1024];
    size_t            i, j, style, way, slots[2] = { SIZE_MAX, SIZE_MAX };
    coco_error_t      err;
    coco_heartbeat_t  plain, hb;

    static const char *const  spaces[] = { "", " ", "\r\n\t  " };
    static const char *const  ways[][2] = {
        { "\"serial\":\"R-1\"", "\"topic\":\"robot/R-1/status\"" },
        { "\"serial\" : \"R-1\"", "\"topic\" :\n{ \"a\": [1, \" ,}\"] }" },
        { "\"\\u0073erial\": null", "\"\\u0074opic\":\t\"\\\"\"" },
        { "\"serial\":null", "\"topic\":null" }
    };

    payload_write(payload, slots, "", ways[0]);
    assert_int_equal(decode(&plain, TOPIC, payload, &err), COCO_OK);

    for (i = 0; i <= 6; i++) {
        for (j = 0; j <= 6; j++) {
            slots[0] = i < 6 ? i : SIZE_MAX;
            slots[1] = j < 6 ? j : SIZE_MAX;

            for (style = 0; style < 3; style++) {
                for (way = 0; way < 4; way++) {
                    payload_write(payload, slots, spaces[style], ways[way]);
                    assert_int_equal(decode(&hb, TOPIC, payload, &err),
                                     COCO_OK);
                    assert_memory_equal(&plain.id, &hb.id, sizeof(hb.id));
                }
            }
        }
    }
}


/* Longer than what is gathered at a time, in one run and in many. */
static void
id_leaves_space_out_of_long_payloads(void **state)
{
    char              compact[8192], spaced[16384], *a = compact, *b = spaced;
    size_t            i;
    coco_error_t      err;
    coco_heartbeat_t  x, y;

    a += sprintf(a, "{\"long\":\"%0700d\",\"list\":[", 0);
    b += sprintf(b, "{ \"long\": \"%0700d\", \"list\": [", 0);

    for (i = 0; i < 1000; i++) {
        a += sprintf(a, "%zu,", i);
        b += sprintf(b, "%zu ,\n", i);
    }

    sprintf(a, "0],\"ts\":1790000000000," BODY);
    sprintf(b, "0], \"serial\": \"R-1\", \"ts\": 1790000000000," BODY);

    assert_int_equal(decode(&x, TOPIC, compact, &err), COCO_OK);
    assert_int_equal(decode(&y, TOPIC, spaced, &err), COCO_OK);
    assert_memory_equal(&x.id, &y.id, sizeof(x.id));
}


static void
order_is_least_time_then_ts_then_id(void **state)
{
    coco_order_t      a, b;
    coco_heartbeat_t  hb = { .ts = 10, .received_at = 20 };

    hb.id.bytes[15] = 1;
    a = coco_heartbeat_order(&hb);
    assert_int_equal(a.order_ms, 10);
    assert_int_equal(coco_order_compare(&a, &a), 0);

    /* a clock that runs ahead counts as ours */

    hb.ts = 5000;
    b = coco_heartbeat_order(&hb);
    assert_int_equal(b.order_ms, 20);
    assert_true(coco_order_compare(&a, &b) < 0);
    assert_true(coco_order_compare(&b, &a) > 0);

    /* both ahead, heard in one millisecond: the robot's own clock decides */

    hb.ts = 4999;
    hb.id.bytes[0] = 0xff;
    a = coco_heartbeat_order(&hb);
    assert_true(coco_order_compare(&a, &b) < 0);
    assert_true(coco_order_compare(&b, &a) > 0);

    b = a;
    a.id.bytes[0] = 0;
    b.id.bytes[0] = 0x80;
    assert_true(coco_order_compare(&a, &b) < 0);
    assert_true(coco_order_compare(&b, &a) > 0);
}


static void
states_have_names(void **state)
{
    coco_state_e  s;

    for (s = COCO_STATE_GROUNDED; s <= COCO_STATE_DEPLOYED; s++) {
        assert_int_equal(coco_state_parse(coco_state_name(s)), s);
    }

    assert_int_equal(coco_state_name(COCO_STATE_NONE).len, 0);
    assert_int_equal(coco_state_parse(coco_string("")), COCO_STATE_NONE);
    assert_int_equal(coco_state_parse(coco_string("PARKE")), COCO_STATE_NONE);
}


static void
records_hold_what_is_documented(void **state)
{
    json_t           *json, *expected;
    coco_str_t        text;
    coco_error_t      err;
    coco_heartbeat_t  hb;

    text = test_file_read("tests/data/heartbeat/accept/full.json");

    assert_int_equal(coco_heartbeat_decode(&hb, TOPIC, text, RECEIVED_AT,
                                           &err), COCO_OK);
    memset(&hb.id, 0xab, sizeof(hb.id));

    json = ENCODED(coco_robot_state_encode(out, &hb, COCO_STATE_PARKED));
    expected = json_pack("{s:s,s:s,s:f,s:f,s:s,s:b,"
                         "s:{s:f,s:b,s:f},s:{s:f,s:f,s:f,s:f,s:f},"
                         "s:{s:s,s:s,s:s}}",
                         "serial", "R-1",
                         "id", "abababab-abab-abab-abab-abababababab",
                         "ts", 1790000000000.0, "receivedAt", 1795000000000.0,
                         "operationState", "PARKED", "healthy", 1, "battery",
                         "percent", 81.5, "charging", 0, "voltage", 25.21,
                         "location", "latitude", 37.7749295, "longitude",
                         -122.4194155, "heading", 271.5, "speed", 1.42,
                         "accuracy", 0.8, "components", "gps", "OK", "lidar",
                         "OK", "camera-front", "DEGRADED");
    assert_true(json_equal(json, expected));
    json_decref(json);

    json = ENCODED(coco_heartbeat_event_encode(out, &hb, COCO_STATE_NONE,
                                               true, (coco_str_t) { 0 }));
    json_object_del(expected, "operationState");
    json_object_set_new(expected, "state", json_null());
    json_object_set_new(expected, "lid", json_pack("{s:b}", "open", 0));
    json_object_set_new(expected, "software",
                        json_pack("{s:s,s:f}", "version", "4.12.0", "build",
                                  1187.0));
    json_object_set_new(expected, "remotelyControllable", json_true());
    json_object_set_new(expected, "driveu", json_null());
    assert_true(json_equal(json, expected));
    json_decref(json);

    json = ENCODED(coco_ephemeral_encode(out, &hb, true,
                                         coco_string("{\"relay\":{}}")));
    json_object_del(expected, "state");
    json_object_del(expected, "software");
    json_object_del(expected, "battery");
    json_object_del(expected, "location");
    json_object_set_new(expected, "driveu", json_pack("{s:{}}", "relay"));
    assert_true(json_equal(json, expected));
    json_decref(json);

    json_decref(expected);
    free((char *) text.data);
}


/* Scripts read the head of the cached record without parsing it. */
static void
robot_state_begins_with_its_head(void **state)
{
    char              buf[1024];
    coco_error_t      err;
    coco_heartbeat_t  hb;
    coco_json_out_t   out;

    static const char  head[] = "{\"serial\":\"R-1\",\"id\":\"";
    static const char  tail[] = "\",\"ts\":1790000000000,"
                                "\"receivedAt\":1795000000000,"
                                "\"operationState\":\"OFF_DUTY\","
                                "\"healthy\":true,\"battery\":{\"percent\":50}"
                                ",\"location\":{\"latitude\":1,"
                                "\"longitude\":2},\"components\":null}";

    assert_int_equal(decode(&hb, TOPIC, "{\"ts\":1790000000000," BODY, &err),
                     COCO_OK);

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_robot_state_encode(&out, &hb, COCO_STATE_OFF_DUTY);

    assert_int_equal(out.len, strlen(head) + 36 + strlen(tail));
    assert_memory_equal(buf, head, strlen(head));
    assert_memory_equal(buf + strlen(head) + 36, tail, strlen(tail));
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_member_is_decoded),
        cmocka_unit_test(absent_members_are_absent),
        cmocka_unit_test(health_is_said_or_follows_from_components),
        cmocka_unit_test(time_is_milliseconds_or_iso),
        cmocka_unit_test(other_units_are_recognised),
        cmocka_unit_test(serial_comes_from_topic_or_payload),
        cmocka_unit_test(id_is_of_serial_ts_and_payload),
        cmocka_unit_test(id_is_of_the_payload_as_it_stands),
        cmocka_unit_test(id_is_the_same_by_queue),
        cmocka_unit_test(id_leaves_space_out_of_long_payloads),
        cmocka_unit_test(order_is_least_time_then_ts_then_id),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(records_hold_what_is_documented),
        cmocka_unit_test(robot_state_begins_with_its_head)
    };

    failed = cmocka_run_group_tests_name("core: heartbeats", tests, NULL,
                                         NULL);
    failed += test_files_run("tests/data/heartbeat/accept", case_is_accepted);
    failed += test_files_run("tests/data/heartbeat/refuse", case_is_refused);

    return failed;
}
