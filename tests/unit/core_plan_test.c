/*
 * Plans against the assignment over all that coco_trip_cost() says of each
 * pair, on both sides of the size from which costs are computed beforehand;
 * and the reasons of what stays unserved.
 */

#include <math.h>

#include "core_test.h"
#include "coco_assign.h"
#include "coco_plan.h"

#define NOW     INT64_C(1795000000000)
#define RUNS    300
#define TRIPS   100
#define ROBOTS  260

#define REASON(name)  (1u << COCO_REASON_##name)

static uint64_t  random_state = 88172645463325252ULL;

static coco_trip_plan_t    trips[TRIPS];
static coco_plan_robot_t   robots[ROBOTS], mixed[ROBOTS];
static coco_plan_result_t  results[TRIPS], others[TRIPS];


static uint32_t
random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return (uint32_t) (random_state >> 33) % n;
}


static double
random_degrees(double middle, double reach)
{
    return middle + reach * ((double) random_below(2000001) / 1e6 - 1);
}


static double
route(void *data, const coco_place_t *from, const coco_place_t *to,
    double meters)
{
    return fabs(from->latitude - to->latitude) > 0.05 ? (double) INFINITY
                                                      : meters * 1.2;
}


static coco_trip_rules_t
rules_of(uint32_t run)
{
    static const coco_place_t  area[] = {
        { -0.1, -180 }, { -0.1, 180 }, { 0.3, 180 }, { 0.3, -180 }
    };

    coco_trip_rules_t  rules = {
        .speed = 1.5, .detour = 1.35, .dwell_seconds = 120,
        .percent_per_km = 2.5, .percent_per_hour = 1, .reserve_percent = 10,
        .reach_meters = run % 3 ? 20000 : (double) INFINITY,
    };

    if (run % 4 == 1) {
        rules.area = area;
        rules.area_count = 4;
    }

    if (run % 4 == 2) {
        rules.route = route;
    }

    if (run % 5 == 4) {
        rules.percent_per_km = 0.002;      /* around the world */
    }

    return rules;
}


static void
make(const coco_trip_rules_t *rules, uint32_t count, uint32_t robot_count,
    double reach)
{
    bool          stores = random_below(2);
    uint32_t      i, x;
    coco_trip_t   trip;

    for (i = 0; i < count; i++) {
        trip.pickup = (coco_place_t) { random_degrees(0, reach),
                                       random_degrees(0, reach * 2) };

        /* some begin where another one does */
        if (i > 0 && stores) {
            trip.pickup = trips[random_below(i < 3 ? i : 3)].trip.pickup;
        }

        trip.dropoff = (coco_place_t) { trip.pickup.latitude
                                        * (1 - random_below(4) / 20.0),
                                        trip.pickup.longitude };
        trip.ready_at = random_below(2) ? 0 : NOW + random_below(3600000);
        coco_trip_plan(&trips[i], rules, &trip, NOW);
    }

    memset(robots, 0, sizeof(robots));

    for (i = 0; i < robot_count; i++) {
        robots[i].serial_len = (uint8_t) snprintf(
            robots[i].serial, COCO_SERIAL_MAX, "R-%u", i * 7919 % 1009);
        robots[i].telemetry.latitude_e7 =
            (int32_t) (random_degrees(0, reach) * 1e7);
        robots[i].telemetry.longitude_e7 =
            (int32_t) (random_degrees(0, reach * 2) * 1e7);
        robots[i].telemetry.battery_percent = (float) (20 + random_below(80));

        /* some stand where another one does */
        if (random_below(3) == 0) {
            x = random_below(i + 1);
            robots[i].telemetry = robots[x].telemetry;
        }
    }
}


/* Work space of exactly the size, so that the sanitizers see its end. */
static double
plan(uint32_t count, const coco_plan_robot_t *supply, uint32_t robot_count,
    coco_plan_result_t *ret)
{
    void    *work = malloc(coco_plan_size(count, robot_count));
    double   total;

    assert_non_null(work);
    coco_plan(trips, count, supply, robot_count, work, ret, &total);
    free(work);

    return total;
}


static coco_reasons_t
cost_of(uint32_t trip, uint32_t robot, double *ret)
{
    coco_place_t      place = coco_trip_place(&robots[robot].telemetry);
    coco_reasons_t    reasons;
    coco_trip_cost_t  cost;

    reasons = coco_trip_cost(&trips[trip], &robots[robot].telemetry,
                             coco_trip_distance(&place,
                                                &trips[trip].trip.pickup),
                             &cost);
    *ret = reasons == 0 ? cost.pickup_eta : (double) INFINITY;

    return reasons;
}


static void
check(uint32_t count, uint32_t robot_count)
{
    void            *work;
    double          *cost, total, expected = 0, sum = 0;
    uint32_t         i, k, served, found = 0, ret[TRIPS];
    coco_reasons_t   common[TRIPS];
    static double    all[TRIPS * ROBOTS];

    for (i = 0, cost = all; i < count; i++) {
        common[i] = robot_count == 0 ? trips[i].reasons : UINT32_MAX;

        for (k = 0; k < robot_count; k++, cost++) {
            common[i] &= cost_of(i, k, cost);
        }
    }

    work = malloc(coco_assign_size(count, robot_count));
    assert_non_null(work);
    served = coco_assign(all, count, robot_count, work, ret);
    free(work);

    total = plan(count, robots, robot_count, results);

    for (i = 0; i < count; i++) {
        if (ret[i] != COCO_ASSIGN_NONE) {
            expected += all[i * robot_count + ret[i]];
        }

        k = results[i].robot;

        if (k == COCO_ROBOT_NONE) {
            assert_int_equal(results[i].reasons,
                             trips[i].reasons ? trips[i].reasons
                             : common[i] & REASON(OUT_OF_AREA)
                             ? REASON(OUT_OF_AREA) : common[i]);
            continue;
        }

        found++;
        sum += results[i].cost;
        assert_true(k < robot_count);
        assert_true(results[i].cost == all[i * robot_count + k]);
    }

    assert_int_equal(found, served);
    assert_true(sum == total);
    assert_float_equal(total, expected, 1e-9 * (1 + expected));
}


/* The same robots in another order are found in the same places. */
static void
check_order(uint32_t count, uint32_t robot_count)
{
    double             total;
    uint32_t           i, x;
    coco_plan_robot_t  robot;

    memcpy(mixed, robots, sizeof(robots));

    for (i = robot_count; i > 1; i--) {
        x = random_below(i);
        robot = mixed[i - 1];
        mixed[i - 1] = mixed[x];
        mixed[x] = robot;
    }

    total = plan(count, robots, robot_count, results);
    assert_true(plan(count, mixed, robot_count, others) == total);

    for (i = 0; i < count; i++) {
        assert_int_equal(results[i].robot == COCO_ROBOT_NONE,
                         others[i].robot == COCO_ROBOT_NONE);

        if (results[i].robot != COCO_ROBOT_NONE) {
            assert_string_equal(robots[results[i].robot].serial,
                                mixed[others[i].robot].serial);
        }
    }
}


static void
plans_are_those_of_all_costs(void **state)
{
    uint32_t           run, count, robot_count;
    coco_trip_rules_t  rules;
    const double       reach[] = { 0.02, 0.2, 90 };

    for (run = 0; run < RUNS; run++) {
        count = run % 2 ? 1 + random_below(20) : 1 + random_below(TRIPS);
        robot_count = random_below(run % 7 ? ROBOTS + 1 : 3);
        rules = rules_of(run);
        make(&rules, count, robot_count, reach[random_below(3)]);
        check(count, robot_count);
        check_order(count, robot_count);
    }
}


/* One robot, at the pickups of two trips; and one for each. */
static void
ties_go_to_the_first(void **state)
{
    coco_trip_t        trip = { { 1, 1 }, { 1, 1.01 }, 0 };
    coco_trip_rules_t  rules = rules_of(0);

    memset(robots, 0, sizeof(robots));
    coco_trip_plan(&trips[0], &rules, &trip, NOW);
    trips[1] = trips[0];

    for (int i = 0; i < 3; i++) {
        robots[i].serial[0] = (char) ('C' - i);
        robots[i].serial_len = 1;
        robots[i].telemetry.latitude_e7 = COCO_DEGREE_E7;
        robots[i].telemetry.longitude_e7 = COCO_DEGREE_E7;
        robots[i].telemetry.battery_percent = 90;
    }

    plan(2, robots, 1, results);
    assert_int_equal(results[0].robot, 0);
    assert_int_equal(results[1].robot, COCO_ROBOT_NONE);
    assert_int_equal(results[1].reasons, 0);

    plan(2, robots, 3, results);
    assert_int_equal(results[0].robot, 2);
    assert_int_equal(results[1].robot, 1);
}


static void
reasons_are_those_that_all_robots_share(void **state)
{
    coco_trip_t        trip = { { 0.2, 1 }, { 0.2, 1.01 }, 0 };
    coco_trip_rules_t  rules = rules_of(1);

    make(&rules, 1, 0, 0.01);
    coco_trip_plan(&trips[0], &rules, &trip, NOW);
    plan(1, robots, 0, results);
    assert_int_equal(results[0].robot, COCO_ROBOT_NONE);
    assert_int_equal(results[0].reasons, 0);

    make(&rules, 1, 2, 0.01);
    coco_trip_plan(&trips[0], &rules, &trip, NOW);
    robots[0].telemetry.battery_percent = 12;
    robots[1].telemetry.battery_percent = 100;
    plan(1, robots, 2, results);
    assert_int_equal(results[0].reasons & ~REASON(BATTERY_RANGE),
                     REASON(TOO_FAR));

    robots[0].telemetry.latitude_e7 = COCO_DEGREE_E7;
    robots[1].telemetry.latitude_e7 = COCO_DEGREE_E7;
    plan(1, robots, 2, results);
    assert_true(results[0].reasons & REASON(OUT_OF_AREA));

    trip.dropoff.latitude = 20;
    coco_trip_plan(&trips[0], &rules, &trip, NOW);
    plan(1, robots, 0, results);
    assert_true(results[0].reasons & REASON(OUT_OF_AREA));
}


static void
sizes_are_told_or_refused(void **state)
{
    double  total = 5;

    assert_true(coco_plan_size(0, 0) > 0);
    coco_plan(NULL, 0, NULL, 0, NULL, NULL, &total);
    assert_true(total == 0);
    assert_true(coco_plan_size(2000, 100000) < 64 << 20);
    assert_true(coco_plan_size(2000, 4000) < 80 << 20);
    assert_int_equal(coco_plan_size(UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(coco_plan_size(1, UINT32_MAX), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(plans_are_those_of_all_costs),
        cmocka_unit_test(ties_go_to_the_first),
        cmocka_unit_test(reasons_are_those_that_all_robots_share),
        cmocka_unit_test(sizes_are_told_or_refused)
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
