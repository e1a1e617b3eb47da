/*
 * Quotes over random fleets, against a look at every robot.
 *
 * COCO_TEST_SEED=n makes other fleets than those of every run.
 */

#include "core_test.h"
#include "core_fleet.h"
#include "coco_quote.h"

#define FLEETS      420        /* a multiple of the shapes */
#define TRIPS       60
#define ROBOTS_MAX  250
#define LATER       20000      /* ms after the last sweep: some went offline */
#define CITY        5000

#define REASON(name)  (1u << COCO_REASON_##name)

static uint64_t  seed;


/* A hash of the places decides how much longer the way is. */
static double
route(void *data, const coco_place_t *from, const coco_place_t *to,
    double meters)
{
    uint64_t  hash = (uint64_t) (int64_t) ((from->latitude + to->longitude)
                                           * 1e7)
                     * UINT64_C(0x9e3779b97f4a7c15);

    ++*(unsigned *) data;

    return (hash >> 60) == 0 ? (double) INFINITY
                             : meters * (1 + (double) (hash >> 62));
}


static double
straight(void *data, const coco_place_t *from, const coco_place_t *to,
    double meters)
{
    ++*(unsigned *) data;

    return meters;
}


static const coco_place_t  area[] = {
    { 33.9, -118.4 }, { 34.2, -118.4 }, { 34.2, -118.1 }, { 33.9, -118.1 }
};


static coco_trip_rules_t
rules_of(fleet_shape_e shape, unsigned *routed)
{
    coco_trip_rules_t  rules = {
        .speed = 1.5, .detour = 1.35, .dwell_seconds = 120,
        .percent_per_km = fleet_random(2) ? 2.5 : 0.001,
        .percent_per_hour = 0.01, .reserve_percent = 10,
        .reach_meters = fleet_random(2) ? 20000 : (double) INFINITY
    };

    if (fleet_random(4) == 0) {
        rules.route = route;
        rules.route_data = routed;
    }

    if (fleet_random(4) == 0 && shape != FLEET_WORLD) {
        rules.area = area;
        rules.area_count = 4;
    }

    return rules;
}


/* Robots often share a place. */
static coco_fleet_index_t *
fleet_of(fleet_shape_e shape, uint32_t count)
{
    char                 name[COCO_SERIAL_MAX];
    uint32_t             i;
    coco_supply_state_t  state, last = { .parts = 0 };
    coco_fleet_index_t  *index = fleet_create(count + 1);

    for (i = 0; i < count; i++) {
        state = fleet_random_state_of(shape, FLEET_NOW);

        if (fleet_random(4) != 0) {
            state.parts = 15;
        }

        if (i > 0 && fleet_random(4) == 0) {
            state.telemetry.latitude_e7 = last.telemetry.latitude_e7;
            state.telemetry.longitude_e7 = last.telemetry.longitude_e7;
        }

        assert_int_not_equal(coco_fleet_index_put(index, fleet_serial(i, name),
                                                  &state, FLEET_NOW),
                             COCO_ERROR);
        last = state;
    }

    coco_fleet_index_sweep(index, FLEET_NOW, UINT32_MAX);

    return index;
}


static uint32_t
brute(const coco_fleet_index_t *index, const coco_trip_plan_t *plan,
    coco_trip_cost_t *ret)
{
    int               order;
    uint32_t          i, best = COCO_ROBOT_NONE;
    coco_trip_cost_t  cost;

    for (i = 0; i < coco_fleet_index_count(index); i++) {
        /* a hold that has ended since the sweep is not known of yet */
        if (coco_quote_explain(index, i, plan, &cost) != 0
            || coco_supply_reasons(coco_fleet_index_state(index, i),
                                   &fleet_rules, FLEET_NOW, NULL) != 0)
        {
            continue;
        }

        order = best == COCO_ROBOT_NONE ? 0
                : coco_str_compare(coco_fleet_index_serial(index, i),
                                   coco_fleet_index_serial(index, best));

        if (best == COCO_ROBOT_NONE || cost.pickup_eta < ret->pickup_eta
            || (cost.pickup_eta == ret->pickup_eta && order < 0))
        {
            best = i;
            *ret = cost;
        }
    }

    return best;
}


static coco_trip_plan_t
trip_of(const coco_fleet_index_t *index, fleet_shape_e shape,
    const coco_trip_rules_t *rules, int64_t now)
{
    int32_t           latitude, longitude;
    uint32_t          robot;
    coco_trip_t       trip;
    coco_trip_plan_t  plan;

    fleet_random_place(shape, &latitude, &longitude);

    /* at times where a robot stands */
    if (fleet_random(4) == 0) {
        robot = (uint32_t) fleet_random(coco_fleet_index_count(index));
        latitude = coco_fleet_index_state(index, robot)->telemetry.latitude_e7;
        longitude = coco_fleet_index_state(index, robot)
                    ->telemetry.longitude_e7;
    }

    trip.pickup = (coco_place_t) { latitude / 1e7, longitude / 1e7 };
    trip.dropoff = trip.pickup;
    trip.dropoff.latitude *= 0.999;
    trip.ready_at = fleet_random(2) ? 0 : now + 900000;
    coco_trip_plan(&plan, rules, &trip, now);

    return plan;
}


static void
check(const coco_fleet_index_t *index, const coco_trip_plan_t *plan,
    const char *what)
{
    uint32_t          best, reason, usable, counts[COCO_REASONS_STANDING];
    coco_quote_t      quote;
    coco_trip_cost_t  cost;

    best = brute(index, plan, &cost);
    coco_quote(index, plan, &quote);

    if (quote.robot != best) {
        fail_msg("%s: robot %u instead of %u", what, quote.robot, best);
    }

    if (best != COCO_ROBOT_NONE) {
        assert_memory_equal(&quote.cost, &cost, sizeof(cost));
    }

    coco_fleet_index_counts(index, counts, &usable);

    for (reason = 0; reason < COCO_REASONS_STANDING; reason++) {
        assert_true(quote.rejected[reason] >= counts[reason]);
    }

    for (reason = 0; reason < COCO_REASONS; reason++) {
        if (plan->reasons & (1u << reason)) {
            assert_int_equal(quote.rejected[reason], usable);
        }
    }
}


static void
quotes_are_those_of_a_look_at_all(void **state)
{
    char                 what[100];
    uint32_t             found = 0, none = 0;
    unsigned             run, i, routed = 0;
    coco_quote_t         quote;
    fleet_shape_e        shape;
    coco_trip_plan_t     plan;
    coco_trip_rules_t    rules;
    coco_fleet_index_t  *index;

    for (run = 0; run < FLEETS; run++) {
        fleet_random_seed(seed + run);
        shape = run % FLEET_SHAPES;
        index = fleet_of(shape, 1 + (uint32_t) fleet_random(ROBOTS_MAX));
        rules = rules_of(shape, &routed);

        for (i = 0; i < TRIPS; i++) {
            plan = trip_of(index, shape, &rules,
                           FLEET_NOW + (i % 2 ? 0 : LATER));
            snprintf(what, sizeof(what), "COCO_TEST_SEED=%llu fleet %u trip "
                     "%u", (unsigned long long) seed, run, i);
            check(index, &plan, what);

            coco_quote(index, &plan, &quote);
            found += quote.robot != COCO_ROBOT_NONE;
            none += quote.robot == COCO_ROBOT_NONE;
        }

        free(index);
    }

    print_message("%u trips with a robot, %u without\n", found, none);
    assert_true(found > FLEETS * TRIPS / 10 && none > FLEETS * TRIPS / 10);
    assert_true(routed > 0);
}


/* A fleet of usable robots, 100 m apart on a line to the north of (10, 20). */
static coco_fleet_index_t *
line_of(uint32_t count, int64_t heard)
{
    char                 name[COCO_SERIAL_MAX];
    uint32_t             i;
    coco_fleet_index_t  *index = fleet_create(count);
    coco_supply_state_t  state = {
        .parts = COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS,
        .telemetry = { .order = { .order_ms = heard },
                       .longitude_e7 = 200000000, .battery_percent = 90,
                       .healthy = true },
        .business = { .changed_at = 1,
                      .operation_state = COCO_STATE_PARKED,
                      .undergoing_maintenance = COCO_UNSET,
                      .needs_maintenance = COCO_UNSET,
                      .needs_pickup = COCO_UNSET, .has_food = COCO_UNSET,
                      .driveable = COCO_UNSET, .needs_movement = COCO_UNSET }
    };

    for (i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "R-%05u", i);
        state.telemetry.latitude_e7 = 100000000 + 9000 * (int32_t) i;
        assert_int_not_equal(
            coco_fleet_index_put(index, (coco_str_t) { name, strlen(name) },
                                 &state, FLEET_NOW), COCO_ERROR);
    }

    return index;
}


static coco_trip_plan_t
plan_of(const coco_trip_rules_t *rules, double latitude, int64_t now)
{
    coco_trip_t       trip = { { latitude, 20 }, { latitude, 20.01 }, 0 };
    coco_trip_plan_t  plan;

    coco_trip_plan(&plan, rules, &trip, now);

    return plan;
}


/* The router counts who was asked. */
static void
few_are_asked(void **state)
{
    unsigned             asked = 0;
    coco_quote_t         quote;
    coco_trip_plan_t     plan;
    coco_fleet_index_t  *index = line_of(CITY, FLEET_NOW);
    coco_trip_rules_t    rules = {
        .speed = 1.5, .detour = 1, .percent_per_km = 0.1,
        .reserve_percent = 10, .reach_meters = 1e5, .route = straight,
        .route_data = &asked
    };

    plan = plan_of(&rules, 10.1, FLEET_NOW);
    asked = 0;
    coco_quote(index, &plan, &quote);
    assert_int_not_equal(quote.robot, COCO_ROBOT_NONE);
    assert_true(asked < CITY / 20);

    /* none can: all are out of reach, and not all of them are asked */
    plan = plan_of(&rules, 40, FLEET_NOW);
    asked = 0;
    coco_quote(index, &plan, &quote);
    assert_int_equal(quote.robot, COCO_ROBOT_NONE);
    assert_true(quote.rejected[COCO_REASON_TOO_FAR] > 0);
    assert_int_equal(quote.rejected[COCO_REASON_TOO_FAR], asked);
    assert_true(asked < CITY / 2);

    /* nor when the trip rules them out by itself */
    rules.reserve_percent = 101;
    plan = plan_of(&rules, 10.1, FLEET_NOW);
    asked = 0;
    coco_quote(index, &plan, &quote);
    assert_int_equal(asked, 0);
    assert_int_equal(quote.robot, COCO_ROBOT_NONE);
    assert_int_equal(quote.rejected[COCO_REASON_BATTERY_RANGE], CITY);

    free(index);
}


static void
who_has_gone_offline_is_not_taken(void **state)
{
    coco_quote_t         quote;
    coco_trip_plan_t     plan;
    coco_trip_cost_t     cost;
    coco_fleet_index_t  *index = line_of(3, FLEET_NOW - 50000);
    coco_trip_rules_t    rules = {
        .speed = 1.5, .detour = 1.35, .percent_per_km = 2.5,
        .reserve_percent = 10, .reach_meters = 20000
    };

    plan = plan_of(&rules, 10, FLEET_NOW);
    coco_quote(index, &plan, &quote);
    assert_int_equal(quote.robot, 0);
    assert_int_equal(quote.rejected[COCO_REASON_OFFLINE], 0);

    plan = plan_of(&rules, 10, FLEET_NOW + LATER);
    coco_quote(index, &plan, &quote);
    assert_int_equal(quote.robot, COCO_ROBOT_NONE);
    assert_int_equal(quote.rejected[COCO_REASON_OFFLINE], 3);
    assert_int_equal(coco_quote_explain(index, 1, &plan, &cost),
                     REASON(OFFLINE));

    free(index);
}


static void
robot_of_unknown_place_has_no_reasons_of_its_trip(void **state)
{
    coco_trip_cost_t     cost;
    coco_trip_plan_t     plan;
    coco_supply_state_t  silent = { .parts = COCO_SUPPLY_LID };
    coco_fleet_index_t  *index = fleet_create(1);
    coco_trip_rules_t    rules = {
        .speed = 1.5, .detour = 1.35, .reach_meters = 20000
    };

    coco_fleet_index_put(index, coco_string("R-1"), &silent, FLEET_NOW);
    plan = plan_of(&rules, 50, FLEET_NOW);
    assert_true(coco_quote_explain(index, 0, &plan, &cost) & REASON(OFFLINE));
    assert_false(coco_quote_explain(index, 0, &plan, &cost)
                 & REASON(TOO_FAR));

    free(index);
}


int
main(void)
{
    const char              *text = getenv("COCO_TEST_SEED");
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(quotes_are_those_of_a_look_at_all),
        cmocka_unit_test(few_are_asked),
        cmocka_unit_test(who_has_gone_offline_is_not_taken),
        cmocka_unit_test(robot_of_unknown_place_has_no_reasons_of_its_trip)
    };

    seed = text == NULL ? 1 : strtoull(text, NULL, 10);

    return cmocka_run_group_tests_name("quote", tests, NULL, NULL);
}
