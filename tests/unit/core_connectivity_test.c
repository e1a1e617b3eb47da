/*
 * DriveU's webhooks: every rule, by the cases of tests/data/connectivity;
 * what is known of a robot's units, whatever the order; and whether it can be
 * driven remotely.
 */

#include <jansson.h>

#include "core_test.h"
#include "coco_connectivity.h"


#define TIME_US  INT64_C(1790000000000000)


static int
decode(coco_connectivity_t *ret, const char *payload, coco_error_t *errors,
    size_t *ret_count)
{
    return coco_connectivity_decode(ret, (coco_str_t) { payload,
                                                       strlen(payload) },
                                    RECEIVED_AT, errors, ret_count);
}


static coco_connectivity_t
accepted(const char *payload)
{
    size_t               count;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;

    if (decode(&c, payload, errors, &count) != COCO_OK) {
        fail_msg("%s: %s", errors[0].field, errors[0].reason);
    }

    assert_int_equal(count, 0);

    return c;
}


/* A string that is absent is null or missing. */
static void
text_is_checked(const json_t *json, const char *name, coco_str_t text)
{
    const json_t  *value = json_object_get(json, name);

    if (text.data == NULL) {
        assert_false(json_is_string(value));
        return;
    }

    assert_int_equal(json_string_length(value), text.len);
    assert_memory_equal(json_string_value(value), text.data, text.len);
}


/* What jansson reads in the payload is what was decoded. */
static void
case_is_accepted(void **state)
{
    size_t               count;
    json_t              *json;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;
    const test_file_t   *file = *state;

    if (coco_connectivity_decode(&c, file->text, RECEIVED_AT, errors, &count)
        != COCO_OK)
    {
        fail_msg("%s: %s", errors[0].field, errors[0].reason);
    }

    json = json_loadb(file->text.data, file->text.len, 0, NULL);
    assert_non_null(json);

    text_is_checked(json, "unit", coco_unit_name(c.unit));
    text_is_checked(json, "status", c.status);
    text_is_checked(json, "uuid", c.uuid);
    text_is_checked(json, "vin", c.vin);
    assert_true(json_number_value(json_object_get(json, "time"))
                == (double) c.time_us);
    assert_int_equal(c.received_at, RECEIVED_AT);

    json_decref(json);
}


static void
case_is_refused(void **state)
{
    char                 field[64];
    size_t               count;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;
    const test_file_t   *file = *state;

    test_file_field(file, field, sizeof(field));

    assert_int_equal(coco_connectivity_decode(&c, file->text, RECEIVED_AT,
                                              errors, &count), COCO_ERROR);
    assert_int_equal(count, 1);
    assert_string_equal(errors[0].field, field);
    assert_true(strlen(errors[0].reason) > 0);
}


static void
every_bad_field_is_named(void **state)
{
    size_t               i, count;
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;

    static const char *const  fields[COCO_CONNECTIVITY_ERRORS] = {
        "eventName", "unit", "status", "uuid", "vin", "time"
    };

    assert_int_equal(decode(&c, "{\"vin\":\"\"}", errors, &count),
                     COCO_ERROR);
    assert_int_equal(count, COCO_CONNECTIVITY_ERRORS);

    for (i = 0; i < count; i++) {
        assert_string_equal(errors[i].field, fields[i]);
    }

    assert_int_equal(decode(&c, "{\"eventName\":\"status\",\"unit\":\"tail\","
                            "\"status\":\"online\",\"uuid\":\"u\","
                            "\"vin\":\"a b\",\"time\":1790000000000000}",
                            errors, &count), COCO_ERROR);
    assert_int_equal(count, 2);
    assert_string_equal(errors[0].field, "unit");
    assert_string_equal(errors[0].reason, "one of streamer node relay "
                                          "expected");
    assert_string_equal(errors[1].field, "vin");
}


static void
other_units_of_time_are_recognised(void **state)
{
    size_t               i, count;
    char                 payload[256];
    coco_error_t         errors[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;

    static const struct {
        const char  *time, *reason;
    } cases[] = {
        { "1790000000", "looks like seconds; microseconds expected" },
        { "1790000000.25", "looks like seconds; microseconds expected" },
        { "1790000000000", "looks like milliseconds; microseconds expected" },
        { "1790000000000000000",
          "looks like nanoseconds; microseconds expected" },
        { "1420070399999999", "before 2015" },
        { "-1", "before 2015" },
        { "1795086400000001", "over a day ahead of the receiver's clock" },
        { "1e300", "over a day ahead of the receiver's clock" },
        { "1790000000000000.5", "whole microseconds since 1970 expected, "
                                "without a fraction" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(payload, sizeof(payload), "{\"eventName\":\"status\","
                 "\"unit\":\"node\",\"status\":\"online\",\"uuid\":\"u\","
                 "\"time\":%s}", cases[i].time);
        assert_int_equal(decode(&c, payload, errors, &count), COCO_ERROR);
        assert_int_equal(count, 1);
        assert_string_equal(errors[0].field, "time");
        assert_string_equal(errors[0].reason, cases[i].reason);
    }
}


/* Written anew by Postgres or a queue it is the same webhook; each of its
 * parts tells it from others. */
static void
id_is_of_what_was_said(void **state)
{
    size_t               i;
    coco_connectivity_t  a, b;

    static const char *const  others[] = {
        "{\"eventName\":\"status\",\"unit\":\"relay\",\"status\":\"online\","
        "\"uuid\":\"u\",\"vin\":\"R-1\",\"time\":1790000000000000}",
        "{\"eventName\":\"status\",\"unit\":\"node\",\"status\":\"onlin\","
        "\"uuid\":\"eu\",\"vin\":\"R-1\",\"time\":1790000000000000}",
        "{\"eventName\":\"status\",\"unit\":\"node\",\"status\":\"online\","
        "\"uuid\":\"v\",\"vin\":\"R-1\",\"time\":1790000000000000}",
        "{\"eventName\":\"status\",\"unit\":\"node\",\"status\":\"online\","
        "\"uuid\":\"u\",\"vin\":\"R-2\",\"time\":1790000000000000}",
        "{\"eventName\":\"status\",\"unit\":\"node\",\"status\":\"online\","
        "\"uuid\":\"u\",\"vin\":null,\"time\":1790000000000000}",
        "{\"eventName\":\"status\",\"unit\":\"node\",\"status\":\"online\","
        "\"uuid\":\"u\",\"vin\":\"R-1\",\"time\":1790000000000001}"
    };

    a = accepted("{\"eventName\":\"status\",\"unit\":\"node\","
                 "\"status\":\"online\",\"uuid\":\"u\",\"vin\":\"R-1\","
                 "\"time\":1790000000000000}");
    b = accepted(" {\"time\": 1.79e15, \"uuid\": \"u\", \"extra\": 1, "
                 "\"vin\": \"R-1\", \"unit\": \"node\", \"status\": "
                 "\"online\", \"eventName\": \"status\"}");
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        b = accepted(others[i]);
        assert_memory_not_equal(&a.id, &b.id, sizeof(a.id));
    }

    /* no vin is no vin, said or not */

    a = accepted(others[4]);
    b = accepted("{\"eventName\":\"status\",\"unit\":\"node\","
                 "\"status\":\"online\",\"uuid\":\"u\","
                 "\"time\":1790000000000000}");
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));
}


static void
units_have_names(void **state)
{
    coco_unit_e  unit, parsed;

    for (unit = COCO_UNIT_STREAMER; unit < COCO_UNITS; unit++) {
        assert_int_equal(coco_unit_parse(&parsed, coco_unit_name(unit)),
                         COCO_OK);
        assert_int_equal(parsed, unit);
    }

    assert_int_equal(coco_unit_parse(&parsed, coco_string("")), COCO_ERROR);
    assert_int_equal(coco_unit_parse(&parsed, coco_string("Node")),
                     COCO_ERROR);
    assert_int_equal(coco_unit_parse(&parsed, (coco_str_t) { NULL, 0 }),
                     COCO_ERROR);
}


/* Every combination of what the three units were last reported as. */
static void
remote_control_follows_the_rule(void **state)
{
    bool           expected;
    size_t         i, controllable = 0, said[COCO_UNITS];
    coco_unit_e    unit;
    coco_driveu_t  driveu;

    enum { UNKNOWN, ONLINE, CONNECTED, OFFLINE, OTHER, SAID };

    static const coco_str_t  statuses[SAID] = {
        [UNKNOWN] = { NULL, 0 },
        [ONLINE] = coco_string("online"),
        [CONNECTED] = coco_string("connectedToNode"),
        [OFFLINE] = coco_string("offline"),
        [OTHER] = coco_string("rebooting")
    };

    for (i = 0; i < SAID * SAID * SAID; i++) {
        said[COCO_UNIT_STREAMER] = i % SAID;
        said[COCO_UNIT_NODE] = i / SAID % SAID;
        said[COCO_UNIT_RELAY] = i / SAID / SAID;

        for (unit = 0; unit < COCO_UNITS; unit++) {
            driveu.units[unit] = (coco_unit_status_t) {
                .known = said[unit] != UNKNOWN,
                .status = statuses[said[unit]]
            };
        }

        expected = (said[COCO_UNIT_STREAMER] == ONLINE
                    || said[COCO_UNIT_STREAMER] == CONNECTED)
                   && said[COCO_UNIT_NODE] != OFFLINE
                   && said[COCO_UNIT_RELAY] != OFFLINE;

        assert_int_equal(coco_remotely_controllable(&driveu), expected);
        controllable += expected;
    }

    assert_int_equal(controllable, 2 * 4 * 4);
}


#define REPORTS  6

/* In an order that the caller counts up: the number picks one of the
 * permutations. Each is applied once, the first again at the end. */
static coco_driveu_t
reports_apply(const coco_connectivity_t *reports, size_t permutation)
{
    size_t         i, n, pick, left[REPORTS], first = 0;
    coco_driveu_t  driveu = { .units = { { .known = false } } };

    for (i = 0; i < REPORTS; i++) {
        left[i] = i;
    }

    for (n = REPORTS; n > 0; n--) {
        pick = permutation % n;
        permutation /= n;

        if (n == REPORTS) {
            first = left[pick];
        }

        (void) coco_driveu_apply(&driveu, &reports[left[pick]]);
        left[pick] = left[n - 1];
    }

    assert_false(coco_driveu_apply(&driveu, &reports[first]));

    return driveu;
}


static void
record_is_the_same_in_every_order(void **state)
{
    size_t               i, all = 1;
    coco_driveu_t        a, b;
    coco_connectivity_t  reports[REPORTS];

    /* the newest of the node is the last: two came from clocks that are ahead,
     * in one millisecond of ours; its own time decides, then the id */
    static const struct {
        coco_unit_e  unit;
        int64_t      time_us, received_at;
        uint8_t      id;
    } cases[REPORTS] = {
        { COCO_UNIT_NODE, TIME_US, RECEIVED_AT, 9 },
        { COCO_UNIT_NODE, TIME_US + 1, RECEIVED_AT, 8 },
        { COCO_UNIT_STREAMER, TIME_US + 5, RECEIVED_AT, 7 },
        { COCO_UNIT_NODE, RECEIVED_AT * 1000 + 1070, RECEIVED_AT, 6 },
        { COCO_UNIT_NODE, RECEIVED_AT * 1000 + 1080, RECEIVED_AT, 1 },
        { COCO_UNIT_NODE, RECEIVED_AT * 1000 + 1080, RECEIVED_AT, 2 }
    };

    for (i = 0; i < REPORTS; i++) {
        reports[i] = (coco_connectivity_t) {
            .unit = cases[i].unit, .time_us = cases[i].time_us,
            .received_at = cases[i].received_at,
            .status = coco_string("online"), .uuid = coco_string("u")
        };
        reports[i].id.bytes[0] = cases[i].id;
        all *= i + 1;
    }

    a = reports_apply(reports, 0);
    assert_int_equal(a.units[COCO_UNIT_NODE].id.bytes[0], 2);
    assert_int_equal(a.units[COCO_UNIT_NODE].order_us,
                     RECEIVED_AT * 1000 + 999);
    assert_int_equal(a.units[COCO_UNIT_STREAMER].id.bytes[0], 7);
    assert_int_equal(a.units[COCO_UNIT_STREAMER].order_us, TIME_US + 5);
    assert_false(a.units[COCO_UNIT_RELAY].known);

    for (i = 1; i < all; i++) {
        b = reports_apply(reports, i);
        assert_int_equal(b.units[COCO_UNIT_NODE].id.bytes[0], 2);
        assert_int_equal(b.units[COCO_UNIT_STREAMER].id.bytes[0], 7);
        assert_false(b.units[COCO_UNIT_RELAY].known);
    }
}


/* Two that are told at once, the older one last and in the next of our
 * milliseconds: the first was received in the one in which it happened. */
static void
millisecond_of_receipt_counts_whole(void **state)
{
    coco_driveu_t        driveu = { .units = { { .known = false } } };
    coco_connectivity_t  newer = {
        .unit = COCO_UNIT_NODE, .status = coco_string("online"),
        .time_us = RECEIVED_AT * 1000 + 700, .received_at = RECEIVED_AT
    };
    coco_connectivity_t  older = {
        .unit = COCO_UNIT_NODE, .status = coco_string("offline"),
        .time_us = RECEIVED_AT * 1000 + 699, .received_at = RECEIVED_AT + 1
    };

    assert_true(coco_driveu_apply(&driveu, &newer));
    assert_false(coco_driveu_apply(&driveu, &older));
}


/* A clock that runs ahead does not freeze the status. */
static void
clock_ahead_does_not_win(void **state)
{
    coco_driveu_t        driveu = { .units = { { .known = false } } };
    coco_connectivity_t  ahead = {
        .unit = COCO_UNIT_RELAY, .status = coco_string("online"),
        .time_us = RECEIVED_AT * 1000 + 3600000000, .received_at = RECEIVED_AT
    };
    coco_connectivity_t  later = {
        .unit = COCO_UNIT_RELAY, .status = coco_string("offline"),
        .time_us = RECEIVED_AT * 1000 + 2000,
        .received_at = RECEIVED_AT + 5
    };

    assert_true(coco_driveu_apply(&driveu, &ahead));
    assert_true(coco_driveu_apply(&driveu, &later));
    assert_false(coco_driveu_apply(&driveu, &ahead));
    assert_true(coco_str_equal(driveu.units[COCO_UNIT_RELAY].status,
                               coco_string("offline")));
}


static void
records_hold_what_is_documented(void **state)
{
    char                 buf[512];
    coco_driveu_t        driveu = { .units = { { .known = false } } };
    coco_json_out_t      out;
    coco_connectivity_t  c;

#define EXPECT(text)                                                         \
    assert_int_equal(out.len, sizeof(text) - 1);                             \
    assert_memory_equal(buf, text, sizeof(text) - 1)

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_driveu_encode(&out, &driveu);
    EXPECT("null");

    c = accepted("{\"eventName\":\"status\",\"unit\":\"relay\","
                 "\"status\":\"online\",\"uuid\":\"u-3\","
                 "\"time\":1790000000000999}");
    assert_true(coco_driveu_apply(&driveu, &c));

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_connectivity_event_encode(&out, &c);
    EXPECT("{\"unit\":\"relay\",\"status\":\"online\",\"uuid\":\"u-3\","
           "\"vin\":null,\"ts\":1790000000000}");

    c = accepted("{\"eventName\":\"status\",\"unit\":\"streamer\","
                 "\"status\":\"connectedToNode\",\"uuid\":\"u-1\","
                 "\"vin\":\"R-1\",\"time\":1790000000001000}");
    assert_true(coco_driveu_apply(&driveu, &c));

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_connectivity_event_encode(&out, &c);
    EXPECT("{\"unit\":\"streamer\",\"status\":\"connectedToNode\","
           "\"uuid\":\"u-1\",\"vin\":\"R-1\",\"ts\":1790000000001}");

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_driveu_encode(&out, &driveu);
    EXPECT("{\"streamer\":{\"status\":\"connectedToNode\","
           "\"ts\":1790000000001,\"uuid\":\"u-1\"},"
           "\"relay\":{\"status\":\"online\",\"ts\":1790000000000,"
           "\"uuid\":\"u-3\"}}");

    c.received_at = c.time_us / 1000 - 1;
    driveu = (coco_driveu_t) { .units = { { .known = false } } };
    assert_true(coco_driveu_apply(&driveu, &c));

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_driveu_encode(&out, &driveu);
    EXPECT("{\"streamer\":{\"status\":\"connectedToNode\","
           "\"ts\":1790000000001,\"receivedAt\":1790000000000,"
           "\"uuid\":\"u-1\"}}");
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_bad_field_is_named),
        cmocka_unit_test(other_units_of_time_are_recognised),
        cmocka_unit_test(id_is_of_what_was_said),
        cmocka_unit_test(units_have_names),
        cmocka_unit_test(remote_control_follows_the_rule),
        cmocka_unit_test(record_is_the_same_in_every_order),
        cmocka_unit_test(millisecond_of_receipt_counts_whole),
        cmocka_unit_test(clock_ahead_does_not_win),
        cmocka_unit_test(records_hold_what_is_documented)
    };

    failed = cmocka_run_group_tests_name("core: connectivity", tests, NULL,
                                         NULL);
    failed += test_files_run("tests/data/connectivity/accept",
                             case_is_accepted);
    failed += test_files_run("tests/data/connectivity/refuse",
                             case_is_refused);

    return failed;
}
