/*
 * The delivery's machine over every status and event, what robots are sent,
 * and distances.
 */

#include <math.h>

#include "core_test.h"
#include "coco_command.h"
#include "coco_delivery.h"

#define STATUSES  9
#define EVENTS    7

/* CONTRACT, POST /deliveries; a row for each status, a column for each event:
 * where it leads, "-" where it is forbidden. */
static const char *const  statuses[STATUSES] = {
    "Created", "Assigned", "EnrouteToPickup", "AtPickup",
    "LoadedWaitingForPilot", "EnrouteToDropoff", "AtDropoff", "Completed",
    "Canceled"
};

#define TO_PICKUP   "EnrouteToPickup"
#define TO_DROPOFF  "EnrouteToDropoff"
#define LOADED      "LoadedWaitingForPilot"

static const char *const  moves[STATUSES][EVENTS] = {
/*    assign      depart      arrive      load    arrive       complete
      cancel */
    { "Assigned", "-",        "-",        "-",    "-",         "-",
      "Canceled" },
    { "Assigned", TO_PICKUP,  "-",        LOADED, "-",         "-",
      "Canceled" },
    { "Assigned", "-",        "AtPickup", LOADED, "-",         "-",
      "Canceled" },
    { "Assigned", "-",        "-",        LOADED, "-",         "-",
      "Canceled" },
    { "-",        TO_DROPOFF, "-",        "-",    "-",         "-",
      "Canceled" },
    { "-",        "-",        "-",        "-",    "AtDropoff", "-",
      "Canceled" },
    { "-",        "-",        "-",        "-",    "-",         "Completed",
      "Canceled" },
    { "-",        "-",        "-",        "-",    "-",         "-", "-" },
    { "-",        "-",        "-",        "-",    "-",         "-", "-" }
};


static bool
text_is(coco_str_t text, const char *expected)
{
    return coco_str_equal(text,
                          (coco_str_t) { expected, strlen(expected) });
}


static coco_delivery_status_e
status_of(const char *name)
{
    return coco_delivery_status_parse((coco_str_t) { name, strlen(name) });
}


static void
every_status_and_event_leads_where_the_contract_says(void **state)
{
    const char              *expected;
    coco_delivery_status_e   to;

    assert_int_equal(COCO_DELIVERY_STATUSES, STATUSES + 1);
    assert_int_equal(COCO_DELIVERY_EVENTS, EVENTS);

    for (int s = 0; s < STATUSES; s++) {
        assert_int_not_equal(status_of(statuses[s]), COCO_DELIVERY_NONE);
        assert_true(text_is(coco_delivery_status_name(status_of(statuses[s])),
                            statuses[s]));

        for (int e = 0; e < EVENTS; e++) {
            expected = moves[s][e];
            to = coco_delivery_transitions[status_of(statuses[s])][e];

            if (to != status_of(expected)) {
                fail_msg("%s, %s: not %s", statuses[s],
                         coco_delivery_event_text(e), expected);
            }

            /* what a refusal names is what the event says */
            if (to != COCO_DELIVERY_NONE) {
                assert_int_equal(
                    coco_delivery_aim(status_of(statuses[s]), e), to);
            }
        }
    }
}


static void
names_that_are_none_are_no_status(void **state)
{
    assert_int_equal(status_of("created"), COCO_DELIVERY_NONE);
    assert_int_equal(status_of(""), COCO_DELIVERY_NONE);
    assert_int_equal(coco_delivery_status_parse((coco_str_t) { NULL, 0 }),
                     COCO_DELIVERY_NONE);
    assert_null(coco_delivery_status_name(COCO_DELIVERY_NONE).data);

    for (int e = 0; e < EVENTS; e++) {
        assert_int_equal(coco_delivery_transitions[COCO_DELIVERY_NONE][e],
                         COCO_DELIVERY_NONE);
    }
}


static void
what_is_final_or_loaded_is_known(void **state)
{
    for (int s = 0; s < STATUSES; s++) {
        assert_int_equal(coco_delivery_final(status_of(statuses[s])), s >= 7);
        assert_int_equal(coco_delivery_loaded(status_of(statuses[s])),
                         s >= 4 && s <= 7);
    }
}


static void
a_refused_departure_names_the_leg(void **state)
{
    for (int s = 0; s < STATUSES; s++) {
        assert_true(text_is(coco_delivery_status_name(
                        coco_delivery_aim(status_of(statuses[s]),
                                          COCO_DELIVERY_DEPART)),
                    s >= 4 && s <= 7 ? TO_DROPOFF : TO_PICKUP));
    }
}


static void
moves_for_sql_have_a_member_for_every_status(void **state)
{
    char             text[2048];
    coco_json_out_t  out;

    coco_json_out_init(&out, text, sizeof(text));
    coco_delivery_moves_encode(&out, COCO_DELIVERY_DEPART);
    assert_true(coco_json_out_ok(&out));

    assert_true(text_is((coco_str_t) { text, out.len },
        "{\"Created\":{\"to\":\"EnrouteToPickup\",\"allowed\":false},"
        "\"Assigned\":{\"to\":\"EnrouteToPickup\",\"allowed\":true},"
        "\"EnrouteToPickup\":{\"to\":\"EnrouteToPickup\",\"allowed\":false},"
        "\"AtPickup\":{\"to\":\"EnrouteToPickup\",\"allowed\":false},"
        "\"LoadedWaitingForPilot\":{\"to\":\"EnrouteToDropoff\","
        "\"allowed\":true},"
        "\"EnrouteToDropoff\":{\"to\":\"EnrouteToDropoff\","
        "\"allowed\":false},"
        "\"AtDropoff\":{\"to\":\"EnrouteToDropoff\",\"allowed\":false},"
        "\"Completed\":{\"to\":\"EnrouteToDropoff\",\"allowed\":false},"
        "\"Canceled\":{\"to\":\"EnrouteToPickup\",\"allowed\":false}}"));
}


static void
distances_are_those_of_the_mean_sphere(void **state)
{
    double  degree = 6371008.8 * M_PI / 180;

    assert_true(coco_distance_meters(37.7, -122.4, 37.7, -122.4) == 0);
    assert_true(fabs(coco_distance_meters(0, 0, 1, 0) - degree) < 1e-6);
    assert_true(fabs(coco_distance_meters(0, 0, 0, 1) - degree) < 1e-6);
    assert_true(fabs(coco_distance_meters(60, 10, 60, 11) - degree / 2)
                < 10);
    assert_true(fabs(coco_distance_meters(0, 179.5, 0, -179.5) - degree)
                < 1e-6);
    assert_true(fabs(coco_distance_meters(90, 0, -90, 0) - 180 * degree)
                < 1e-3);

    /* where the law of cosines would say nothing: centimetres */
    assert_true(fabs(coco_distance_meters(34.05, -118.25, 34.0500001, -118.25)
                     - degree * 1e-7) < 1e-6);

    /* Los Angeles to Santa Monica, by the law of cosines */
    assert_true(fabs(coco_distance_meters(34.0522, -118.2437, 34.0195,
                                          -118.4912) - 23094.162) < 0.01);
}


static void
commands_leave_out_what_is_absent(void **state)
{
    char             text[512];
    coco_command_t   command = { .command = coco_string("OPEN_LID"),
                                 .issued_at = 1795000000000,
                                 .expires_at = 1795000009000 };
    coco_json_out_t  out;

    memset(&command.id, 0xab, sizeof(command.id));
    coco_json_out_init(&out, text, sizeof(text));
    coco_command_encode(&out, &command);

    assert_true(text_is((coco_str_t) { text, out.len },
        "{\"id\":\"abababab-abab-abab-abab-abababababab\","
        "\"command\":\"OPEN_LID\",\"issuedAt\":1795000000000,"
        "\"expiresAt\":1795000009000}"));

    command.reference = coco_string("a\"b");
    command.source = coco_string("QR");
    coco_json_out_init(&out, text, sizeof(text));
    coco_command_encode(&out, &command);

    assert_true(text_is((coco_str_t) { text, out.len },
        "{\"id\":\"abababab-abab-abab-abab-abababababab\","
        "\"command\":\"OPEN_LID\",\"referenceId\":\"a\\\"b\","
        "\"source\":\"QR\",\"issuedAt\":1795000000000,"
        "\"expiresAt\":1795000009000}"));
}


static void
a_shadow_holds_the_pin_or_null(void **state)
{
    char             text[128];
    coco_json_out_t  out;

    coco_json_out_init(&out, text, sizeof(text));
    coco_shadow_encode(&out, coco_string("0042"));
    assert_true(text_is((coco_str_t) { text, out.len },
                        "{\"state\":{\"desired\":{\"pin\":\"0042\"}}}"));

    coco_json_out_init(&out, text, sizeof(text));
    coco_shadow_encode(&out, (coco_str_t) { NULL, 0 });
    assert_true(text_is((coco_str_t) { text, out.len },
                        "{\"state\":{\"desired\":{\"pin\":null}}}"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_status_and_event_leads_where_the_contract_says),
        cmocka_unit_test(names_that_are_none_are_no_status),
        cmocka_unit_test(what_is_final_or_loaded_is_known),
        cmocka_unit_test(a_refused_departure_names_the_leg),
        cmocka_unit_test(moves_for_sql_have_a_member_for_every_status),
        cmocka_unit_test(distances_are_those_of_the_mean_sphere),
        cmocka_unit_test(commands_leave_out_what_is_absent),
        cmocka_unit_test(a_shadow_holds_the_pin_or_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
