/*
 * What a trip takes, by numbers that can be checked by hand, each reason at
 * its limit, and the service area.
 */

#include <math.h>

#include "core_test.h"
#include "coco_trip.h"

#define NOW       INT64_C(1795000000000)
#define KM_NORTH  (1000 / 111195.0797343)    /* degrees of a kilometre */
#define EXACT     1e-6

#define REASON(name)  (1u << COCO_REASON_##name)

static const coco_trip_rules_t  plain = {
    .speed = 2, .detour = 1.5, .dwell_seconds = 100, .percent_per_km = 4,
    .percent_per_hour = 9, .reserve_percent = 10, .reach_meters = 6000
};


/* A kilometre from the pickup to the drop-off: 1,500 m of way, 750 s. */
static coco_trip_plan_t
plan_of(const coco_trip_rules_t *rules, int64_t ready_at)
{
    coco_trip_t       trip = { { 10, 20 }, { 10 - KM_NORTH, 20 }, ready_at };
    coco_trip_plan_t  plan;

    coco_trip_plan(&plan, rules, &trip, NOW);

    return plan;
}


static coco_reasons_t
cost_at(const coco_trip_plan_t *plan, double kilometers, float battery,
    coco_trip_cost_t *ret)
{
    coco_place_t             place;
    coco_supply_telemetry_t  robot = {
        .latitude_e7 = (int32_t) lround((10 + kilometers * KM_NORTH)
                                        * COCO_DEGREE_E7),
        .longitude_e7 = 20 * COCO_DEGREE_E7, .battery_percent = battery
    };

    place = coco_trip_place(&robot);

    return coco_trip_cost(plan, &robot,
                          coco_trip_distance(&place, &plan->trip.pickup),
                          ret);
}


static void
times_and_battery_are_those_of_the_way(void **state)
{
    coco_trip_cost_t  cost;
    coco_trip_plan_t  plan = plan_of(&plain, 0);

    assert_int_equal(plan.reasons, 0);
    assert_float_equal(plan.trip_meters, 1500, EXACT);
    assert_int_equal(cost_at(&plan, 2, 80, &cost), 0);

    /* 11 mm at most, by the resolution of the robot's place */
    assert_float_equal(cost.meters, 4500, 0.02);
    assert_float_equal(cost.pickup_eta, 1500, 0.01);
    assert_float_equal(cost.dropoff_eta, 1500 + 100 + 750, 0.01);
    assert_float_equal(cost.battery_at_end,
                       80 - 4.5 * 4 - 2350 * 9 / 3600.0, 1e-3);
}


static void
goods_that_are_not_ready_are_waited_for(void **state)
{
    coco_trip_cost_t  cost;
    coco_trip_plan_t  late = plan_of(&plain, NOW + 3600 * 1000);
    coco_trip_plan_t  past = plan_of(&plain, NOW - 3600 * 1000);

    assert_int_equal(cost_at(&late, 2, 80, &cost), 0);
    assert_float_equal(cost.pickup_eta, 1500, 0.01);
    assert_float_equal(cost.dropoff_eta, 3600 + 100 + 750, EXACT);
    assert_float_equal(cost.battery_at_end,
                       80 - 4.5 * 4 - 4450 * 9 / 3600.0, 1e-3);

    assert_int_equal(cost_at(&past, 2, 80, &cost), 0);
    assert_float_equal(cost.dropoff_eta, 1500 + 100 + 750, 0.01);
}


static void
reach_is_of_the_way(void **state)
{
    coco_trip_cost_t  cost = { .meters = -1 };
    coco_trip_plan_t  plan = plan_of(&plain, 0);

    assert_int_equal(cost_at(&plan, 3.999, 100, &cost), 0);
    cost.meters = -1;
    assert_int_equal(cost_at(&plan, 4.001, 100, &cost), REASON(TOO_FAR));
    assert_true(cost.meters == -1);
}


/* 10 % reserve and 6 % for 1.5 km with 750 s, besides the way to a charger. */
static void
battery_lasts_to_the_nearest_charger(void **state)
{
    double               need;
    coco_place_t         chargers[] = { { 50, 20 },
                                        { 10 - 3 * KM_NORTH, 20 },
                                        { 10 - 9 * KM_NORTH, 20 } };
    coco_trip_cost_t     cost;
    coco_trip_plan_t     plan;
    coco_trip_rules_t    rules = plain;

    /* to the pickup 3 km and 1500 s, 100 s there, the trip */
    need = 4 * 4.5 + 2350 * 9 / 3600.0 + 10;
    plan = plan_of(&rules, 0);
    assert_int_equal(cost_at(&plan, 2, (float) need + 0.01f, &cost), 0);
    assert_int_equal(cost_at(&plan, 2, (float) need - 0.01f, &cost),
                     REASON(BATTERY_RANGE));

    /* 2 km to the nearest: 3 km of way, 1500 s */
    rules.chargers = chargers;
    rules.chargers_count = 3;
    need += 4 * 3 + 1500 * 9 / 3600.0;
    plan = plan_of(&rules, 0);
    assert_float_equal(plan.charger_meters, 3000, EXACT);
    assert_int_equal(cost_at(&plan, 2, (float) need + 0.01f, &cost), 0);
    assert_int_equal(cost_at(&plan, 2, (float) need - 0.01f, &cost),
                     REASON(BATTERY_RANGE));
    assert_int_equal(cost_at(&plan, 5, 0, &cost),
                     REASON(BATTERY_RANGE) | REASON(TOO_FAR));
}


static void
trip_that_no_battery_lasts_for_rules_out_all(void **state)
{
    coco_trip_plan_t   plan;
    coco_trip_rules_t  rules = plain;

    rules.percent_per_km = 58;
    plan = plan_of(&rules, 0);
    assert_int_equal(plan.reasons, 0);

    rules.percent_per_km = 59;
    plan = plan_of(&rules, 0);
    assert_int_equal(plan.reasons, REASON(BATTERY_RANGE));
}


/* Ways there are only north of the drop-off. */
static double
route(void *data, const coco_place_t *from, const coco_place_t *to,
    double meters)
{
    ++*(int *) data;

    return from->latitude < 9.9 || to->latitude < 9.9 ? INFINITY : 2 * meters;
}


static void
router_tells_the_ways(void **state)
{
    int                calls = 0;
    coco_place_t       charger = { 9, 20 };
    coco_trip_cost_t   cost;
    coco_trip_plan_t   plan;
    coco_trip_rules_t  rules = plain;

    rules.route = route;
    rules.route_data = &calls;
    plan = plan_of(&rules, 0);
    assert_int_equal(calls, 1);
    assert_float_equal(plan.trip_meters, 2000, EXACT);
    assert_int_equal(cost_at(&plan, 2, 80, &cost), 0);
    assert_float_equal(cost.pickup_eta, 2000, 0.02);
    assert_int_equal(calls, 2);
    assert_int_equal(cost_at(&plan, -50, 80, &cost), REASON(TOO_FAR));

    rules.chargers = &charger;
    rules.chargers_count = 1;
    plan = plan_of(&rules, 0);
    assert_int_equal(plan.reasons, REASON(BATTERY_RANGE));

    plan.trip.dropoff.latitude = 9;
    rules.chargers_count = 0;
    coco_trip_plan(&plan, &rules, &(coco_trip_t) { { 10, 20 }, { 9, 20 }, 0 },
                   NOW);
    assert_int_equal(plan.reasons, REASON(TOO_FAR));
    assert_int_equal(cost_at(&plan, 1, 80, &cost), REASON(TOO_FAR));
}


/* An L: its notch is at the north-east. */
static const coco_place_t  area[] = {
    { 9, 19 }, { 12, 19 }, { 12, 20.5 }, { 10.5, 20.5 }, { 10.5, 22 },
    { 9, 22 }
};


static void
area_holds_its_edges_and_not_its_notch(void **state)
{
    size_t  n = sizeof(area) / sizeof(area[0]), i;
    struct {
        coco_place_t  place;
        bool          inside;
    } cases[] = {
        { { 10, 20 }, true }, { { 11.5, 20 }, true }, { { 10, 21.9 }, true },
        { { 11.5, 21 }, false }, { { 8.9, 20 }, false },
        { { 12.1, 20 }, false }, { { 10, 18.9 }, false },
        { { 10, 22.1 }, false }, { { 10.5, 18 }, false },
        { { 9, 18 }, false }, { { 12, 25 }, false },
        /* edges */
        { { 9, 20 }, true }, { { 12, 20 }, true }, { { 10, 19 }, true },
        { { 11, 20.5 }, true }, { { 10.5, 21 }, true },
        { { 11, 20.500001 }, false }, { { 10.500001, 21 }, false }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_area_contains(area, n, &cases[i].place),
                         cases[i].inside);
    }

    for (i = 0; i < n; i++) {
        assert_true(coco_area_contains(area, n, &area[i]));
    }

    assert_true(coco_area_contains(area, 2, &(coco_place_t) { -80, 3 }));
    assert_true(coco_area_contains(NULL, 0, &(coco_place_t) { -80, 3 }));
}


/* Places on a slanting edge are rounded to either side of it. */
static void
slanting_edges_are_inside(void **state)
{
    double              part;
    coco_place_t        place;
    const coco_place_t  corners[] = { { 10.1, 20.3 }, { 11.7, 20.9 },
                                      { 10.4, 22.2 } };

    for (part = 0; part <= 1; part += 1.0 / 1024) {
        place.latitude = 10.1 + part * (11.7 - 10.1);
        place.longitude = 20.3 + part * (20.9 - 20.3);
        assert_true(coco_area_contains(corners, 3, &place));

        place.longitude -= 1e-7;
        assert_false(coco_area_contains(corners, 3, &place));
    }
}


static void
all_three_places_are_in_the_area(void **state)
{
    coco_trip_cost_t   cost;
    coco_trip_plan_t   plan;
    coco_trip_rules_t  rules = plain;

    rules.area = area;
    rules.area_count = sizeof(area) / sizeof(area[0]);
    rules.reach_meters = 1e6;
    rules.percent_per_km = 0.01;
    rules.percent_per_hour = 0;

    plan = plan_of(&rules, 0);
    assert_int_equal(plan.reasons, 0);
    assert_int_equal(cost_at(&plan, 20, 80, &cost), 0);
    assert_int_equal(cost_at(&plan, -120, 80, &cost), REASON(OUT_OF_AREA));

    coco_trip_plan(&plan, &rules, &(coco_trip_t) { { 8, 20 }, { 10, 20 }, 0 },
                   NOW);
    assert_int_equal(plan.reasons, REASON(OUT_OF_AREA));
    coco_trip_plan(&plan, &rules, &(coco_trip_t) { { 10, 20 }, { 8, 20 }, 0 },
                   NOW);
    assert_int_equal(plan.reasons, REASON(OUT_OF_AREA));
    assert_int_equal(cost_at(&plan, 1, 80, &cost), REASON(OUT_OF_AREA));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(times_and_battery_are_those_of_the_way),
        cmocka_unit_test(goods_that_are_not_ready_are_waited_for),
        cmocka_unit_test(reach_is_of_the_way),
        cmocka_unit_test(battery_lasts_to_the_nearest_charger),
        cmocka_unit_test(trip_that_no_battery_lasts_for_rules_out_all),
        cmocka_unit_test(router_tells_the_ways),
        cmocka_unit_test(area_holds_its_edges_and_not_its_notch),
        cmocka_unit_test(slanting_edges_are_inside),
        cmocka_unit_test(all_three_places_are_in_the_area)
    };

    return cmocka_run_group_tests_name("trip", tests, NULL, NULL);
}
