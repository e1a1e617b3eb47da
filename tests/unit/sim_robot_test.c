/*
 * The model of a simulated robot: repeatable from its seed, and consistent
 * with itself over days of driving.
 */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../sim/robot.h"

#define TEST_START   1700000000000LL
#define TEST_ROBOTS  20
#define TEST_STEPS   20000          /* of a second, for each robot */

/* Metres between two reported positions; enough for neighbours. */
static double
distance(json_t *a, json_t *b)
{
    double  north, east;

    north = json_real_value(json_object_get(b, "latitude"))
            - json_real_value(json_object_get(a, "latitude"));
    east = json_real_value(json_object_get(b, "longitude"))
           - json_real_value(json_object_get(a, "longitude"));

    return hypot(north * 111320, east * 111320 * cos(34.02 * M_PI / 180));
}


static double
member(json_t *json, const char *object, const char *name)
{
    json_t  *value;

    value = json_object_get(json_object_get(json, object), name);
    assert_true(json_is_number(value));

    return json_number_value(value);
}


static json_t *
heartbeat(sim_robot_t *robot, int64_t ts)
{
    char     buf[SIM_HEARTBEAT_MAX];
    size_t   len;
    json_t  *json;

    len = sim_robot_encode(robot, ts, buf, sizeof(buf));
    assert_true(len < sizeof(buf));

    json = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);

    return json;
}


static void
same_seed_same_heartbeats(void **state)
{
    int          i, differ;
    char         a[SIM_HEARTBEAT_MAX], b[SIM_HEARTBEAT_MAX];
    sim_robot_t  one, two, other_seed, other_index;

    sim_robot_init(&one, "r", 7, 3);
    sim_robot_init(&two, "r", 7, 3);
    sim_robot_init(&other_seed, "r", 8, 3);
    sim_robot_init(&other_index, "r", 7, 4);
    differ = 0;

    for (i = 0; i < TEST_STEPS; i++) {
        sim_robot_encode(&one, TEST_START + i, a, sizeof(a));
        sim_robot_encode(&two, TEST_START + i, b, sizeof(b));
        assert_string_equal(a, b);
        assert_int_equal(sim_robot_online(&one), sim_robot_online(&two));

        sim_robot_encode(&other_seed, TEST_START + i, b, sizeof(b));
        differ |= strcmp(a, b) != 0 ? 1 : 0;
        sim_robot_encode(&other_index, TEST_START + i, b, sizeof(b));
        differ |= strcmp(a, b) != 0 ? 2 : 0;

        sim_robot_step(&one, 0.5);
        sim_robot_step(&two, 0.5);
        sim_robot_step(&other_seed, 0.5);
        sim_robot_step(&other_index, 0.5);
    }

    assert_int_equal(differ, 3);
}


static void
motion_agrees_with_itself(void **state)
{
    int          i, j;
    double       way, speed, straight;
    json_t      *before, *after;
    sim_robot_t  robot;

    straight = 0;

    for (i = 0; i < TEST_ROBOTS; i++) {
        sim_robot_init(&robot, "r", 1, (uint64_t) i);
        before = heartbeat(&robot, TEST_START);

        for (j = 1; j < TEST_STEPS / 10; j++) {
            sim_robot_step(&robot, 1);
            after = heartbeat(&robot, TEST_START + j * 1000LL);

            speed = member(after, "location", "speed");
            way = distance(json_object_get(before, "location"),
                           json_object_get(after, "location"));

            /* Round a corner the way is longer than the line. The reported
             * speed is rounded to 0.01, the position to about 0.01. */
            assert_in_range((int) (speed * 100), 0, 180);
            assert_true(way <= speed + 0.03);

            if (member(before, "location", "heading")
                == member(after, "location", "heading"))
            {
                assert_true(fabs(way - speed) < 0.03);
                straight += way;
            }

            json_decref(before);
            before = after;
        }

        json_decref(before);
    }

    assert_true(straight > 1000);
}


static void
all_of_a_day_happens(void **state)
{
    int          i, j, seen, charged, drained, online, offline;
    double       percent, last;
    size_t       k;
    json_t      *json;
    const char  *name;
    sim_robot_t  robot;

    static const char *const  states[] = {
        "GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED"
    };

    seen = charged = drained = online = offline = 0;

    for (i = 0; i < TEST_ROBOTS; i++) {
        sim_robot_init(&robot, "r", 1, (uint64_t) i);
        last = NAN;

        for (j = 0; j < TEST_STEPS; j++) {
            sim_robot_step(&robot, 1);
            online += sim_robot_online(&robot);
            offline += !sim_robot_online(&robot);

            if (j % 20 != 0) {
                continue;
            }

            json = heartbeat(&robot, TEST_START + j * 1000LL);
            name = json_string_value(json_object_get(json, "state"));

            for (k = 0; k < 5; k++) {
                seen |= strcmp(name, states[k]) == 0 ? 1 << k : 0;
            }

            /* Only a component in ERROR makes it unhealthy, and grounds it. */
            assert_int_equal(strcmp(name, "GROUNDED") == 0,
                             json_is_false(json_object_get(json, "healthy")));

            if (strcmp(name, "GROUNDED") == 0) {
                assert_true(member(json, "location", "speed") == 0);
            }

            percent = member(json, "battery", "percent");
            assert_true(percent >= 1 && percent <= 100);
            charged += percent > last;
            drained += percent < last;
            last = percent;

            json_decref(json);
        }
    }

    assert_int_equal(seen, 31);
    assert_true(charged > 0 && drained > 0);
    assert_true(offline > 0 && online > 10 * offline);
}


static void
held_it_stays_and_goes_on(void **state)
{
    int          i, j;
    char         a[SIM_HEARTBEAT_MAX], b[SIM_HEARTBEAT_MAX];
    double       east, north;
    json_t      *json;
    sim_robot_t  robot;

    for (i = 0; i < TEST_ROBOTS; i++) {
        sim_robot_init(&robot, "r", 1, (uint64_t) i);
        sim_robot_step(&robot, 1);
        east = robot.east;
        north = robot.north;
        robot.held = true;

        for (j = 0; j < 600; j++) {
            sim_robot_step(&robot, 1);
            assert_true(robot.east == east && robot.north == north);
            assert_true(robot.speed == 0);
        }

        robot.held = false;

        for (j = 0; j < 3600 && robot.east == east; j++) {
            sim_robot_step(&robot, 1);
        }

        assert_true(robot.east != east || robot.activity == SIM_CHARGING);

        /* parked: for good, and where people are */
        sim_robot_park(&robot);
        sim_robot_encode(&robot, TEST_START, a, sizeof(a));
        sim_robot_step(&robot, 86400);
        assert_true(sim_robot_stands(&robot) || robot.failed >= 0);
        sim_robot_encode(&robot, TEST_START, b, sizeof(b));
        assert_memory_equal(strstr(a, "latitude"), strstr(b, "latitude"), 40);
    }

    robot.lid_open = true;
    json = heartbeat(&robot, TEST_START);
    assert_true(json_is_true(json_object_get(json_object_get(json, "lid"),
                                             "open")));
    json_decref(json);
}


static void
nothing_overflows(void **state)
{
    size_t       len;
    json_t      *json;
    sim_robot_t  robot;
    char         buf[SIM_HEARTBEAT_MAX], serial[SIM_SERIAL_MAX + 1];

    memset(serial, 'x', SIM_SERIAL_MAX);
    serial[SIM_SERIAL_MAX] = '\0';

    sim_robot_init(&robot, serial, UINT64_MAX, UINT64_MAX);
    sim_robot_step(&robot, 86400);
    sim_robot_step(&robot, 0.001);
    robot.failed = 1;

    len = sim_robot_encode(&robot, INT64_MAX, buf, sizeof(buf));
    assert_true(len < sizeof(buf) - 100);

    json = json_loadb(buf, len, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "serial")),
                        serial);
    json_decref(json);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(same_seed_same_heartbeats),
        cmocka_unit_test(motion_agrees_with_itself),
        cmocka_unit_test(all_of_a_day_happens),
        cmocka_unit_test(held_it_stays_and_goes_on),
        cmocka_unit_test(nothing_overflows),
    };

    return cmocka_run_group_tests_name("sim robot", tests, NULL, NULL);
}
