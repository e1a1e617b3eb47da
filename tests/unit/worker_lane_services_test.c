/*
 * The services, pure: in order, shuffled, twice and in pieces, the final
 * records are the same.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/service.h"

#define HEARTBEATS  24
#define ROUNDS      500

typedef struct {
    coco_state_record_t      state;
    coco_operation_record_t  operation;
    coco_fleet_record_t      fleet;
    coco_id_t                history[HEARTBEATS * HEARTBEATS];
    size_t                   history_count;
} robot_t;

static uint32_t  test_random_state;


/* xorshift: the same numbers in every run */
static uint32_t
test_random(uint32_t below)
{
    test_random_state ^= test_random_state << 13;
    test_random_state ^= test_random_state >> 17;
    test_random_state ^= test_random_state << 5;

    return test_random_state % below;
}


static coco_heartbeat_t
test_heartbeat(int64_t ts, int64_t received_at, coco_state_e state, uint8_t id)
{
    coco_heartbeat_t  hb;

    memset(&hb, 0, sizeof(hb));
    hb.serial = coco_string("r-1");
    hb.ts = ts;
    hb.received_at = received_at;
    hb.state = state;
    memset(&hb.id, id, sizeof(hb.id));

    return hb;
}


static void
test_history_add(robot_t *r, const coco_id_t *id)
{
    /* as "on conflict do nothing" does */
    for (size_t i = 0; i < r->history_count; i++) {
        if (memcmp(&r->history[i], id, sizeof(*id)) == 0) {
            return;
        }
    }

    r->history[r->history_count++] = *id;
}


/* What the operations service makes of a change, given to the fleet. */
static void
test_change(robot_t *r, const coco_state_change_t *change)
{
    coco_operation_effect_t  effect;

    coco_service_operations_state_change(&r->operation, change, &effect);

    if (effect.history) {
        test_history_add(r, &change->id);
    }

    if (effect.changed) {
        coco_service_fleet_business_change(&r->fleet, &effect.change);
    }
}


static void
test_deliver(robot_t *r, const coco_heartbeat_t *hb)
{
    coco_state_effect_t  effect;

    coco_service_state_heartbeat(&r->state, hb, &effect);
    coco_service_fleet_heartbeat(&r->fleet, hb);

    if (effect.changed) {
        test_change(r, &effect.change);
    }
}


static void
test_state_first_is_a_change_from_null(void **unused)
{
    coco_heartbeat_t     hb = test_heartbeat(10, 20, COCO_STATE_PARKED, 1);
    coco_state_effect_t  effect;
    coco_state_record_t  record = { 0 };

    coco_service_state_heartbeat(&record, &hb, &effect);

    assert_true(effect.newer);
    assert_true(effect.changed);
    assert_int_equal(effect.change.from, COCO_STATE_NONE);
    assert_int_equal(effect.change.to, COCO_STATE_PARKED);
    assert_int_equal(record.order.order_ms, 10);

    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_false(effect.newer);
    assert_false(effect.changed);
}


static void
test_state_absent_stands(void **unused)
{
    coco_heartbeat_t     hb;
    coco_state_effect_t  effect;
    coco_state_record_t  record = { 0 };

    hb = test_heartbeat(10, 10, COCO_STATE_NONE, 1);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_int_equal(effect.state, COCO_STATE_OFF_DUTY);
    assert_true(effect.changed);

    hb = test_heartbeat(11, 11, COCO_STATE_ON_TRIP, 2);
    coco_service_state_heartbeat(&record, &hb, &effect);

    hb = test_heartbeat(12, 12, COCO_STATE_NONE, 3);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_int_equal(effect.state, COCO_STATE_ON_TRIP);
    assert_true(effect.newer);
    assert_false(effect.changed);

    /* an older one changes nothing, whatever it says */
    hb = test_heartbeat(5, 13, COCO_STATE_GROUNDED, 4);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_int_equal(effect.state, COCO_STATE_GROUNDED);
    assert_false(effect.newer);
    assert_int_equal(record.state, COCO_STATE_ON_TRIP);
}


static void
test_state_clock_ahead(void **unused)
{
    coco_heartbeat_t     hb;
    coco_state_effect_t  effect;
    coco_state_record_t  record = { 0 };

    hb = test_heartbeat(90000, 100, COCO_STATE_PARKED, 9);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_int_equal(record.order.order_ms, 100);

    hb = test_heartbeat(101, 101, COCO_STATE_ON_TRIP, 1);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_true(effect.newer);

    /* ties go to the larger id */
    hb = test_heartbeat(101, 150, COCO_STATE_PARKED, 0);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_false(effect.newer);
    hb = test_heartbeat(101, 150, COCO_STATE_PARKED, 2);
    coco_service_state_heartbeat(&record, &hb, &effect);
    assert_true(effect.newer);
}


static void
test_operations_patched_state_holds(void **unused)
{
    coco_state_change_t      change = { .serial = coco_string("r-1") };
    coco_operation_record_t  record = { 0 };
    coco_operation_effect_t  effect;

    change.order.order_ms = 10;
    change.to = COCO_STATE_PARKED;
    coco_service_operations_state_change(&record, &change, &effect);
    assert_true(effect.applied && effect.changed && effect.history);
    assert_int_equal(record.changed_at, 10);

    /* a PATCH, at a time that the robot's clock has not reached */
    record.business.operation_state = COCO_STATE_GROUNDED;
    record.business.has_food = COCO_TRUE;
    record.changed_at = 1000;

    coco_service_operations_state_change(&record, &change, &effect);
    assert_false(effect.applied || effect.changed || effect.history);
    assert_int_equal(record.business.operation_state, COCO_STATE_GROUNDED);

    change.order.order_ms = 20;
    change.to = COCO_STATE_ON_TRIP;
    coco_service_operations_state_change(&record, &change, &effect);
    assert_true(effect.changed);
    assert_int_equal(effect.change.changed_at, 1001);
    assert_int_equal(effect.change.business.operation_state,
                     COCO_STATE_ON_TRIP);
    assert_int_equal(effect.change.business.has_food, COCO_TRUE);

    /* what a PATCH had set already changes no business state */
    record.business.operation_state = COCO_STATE_PARKED;
    change.order.order_ms = 30;
    change.to = COCO_STATE_PARKED;
    coco_service_operations_state_change(&record, &change, &effect);
    assert_true(effect.applied && effect.history);
    assert_false(effect.changed);
}


static void
test_fleet_halves_are_apart(void **unused)
{
    coco_heartbeat_t        hb = test_heartbeat(10, 10, COCO_STATE_PARKED, 1);
    coco_fleet_record_t     record = { 0 };
    coco_business_change_t  change = { .changed_at = 500 };

    change.business.operation_state = COCO_STATE_GROUNDED;
    assert_true(coco_service_fleet_business_change(&record, &change));
    assert_false(record.heard);
    assert_true(coco_service_fleet_heartbeat(&record, &hb));
    assert_int_equal(record.business.operation_state, COCO_STATE_GROUNDED);

    change.changed_at = 400;
    change.business.operation_state = COCO_STATE_PARKED;
    assert_false(coco_service_fleet_business_change(&record, &change));
    assert_false(coco_service_fleet_heartbeat(&record, &hb));
    assert_int_equal(record.business.operation_state, COCO_STATE_GROUNDED);
}


static void
test_event_data(void **unused)
{
    char             text[512];
    coco_business_t  b = { COCO_STATE_PARKED, COCO_UNSET, COCO_TRUE,
                           COCO_FALSE, COCO_UNSET, COCO_TRUE, COCO_FALSE,
                           coco_string("{\"type\":\"POD\"}") };
    coco_json_out_t  out;

    coco_json_out_init(&out, text, sizeof(text));
    coco_service_operations_event_encode(&out, &b);
    assert_true(coco_json_out_ok(&out));
    text[out.len] = '\0';
    assert_string_equal(text,
        "{\"operationState\":\"PARKED\",\"needsMovement\":null,"
        "\"undergoingMaintenance\":true,\"needsMaintenance\":false,"
        "\"needsPickup\":null,\"hasFood\":true,\"driveable\":false,"
        "\"deployed\":{\"type\":\"POD\"}}");
}


static void
test_event_data_is_read_back(void **unused)
{
    char                 text[512];
    coco_error_t         err;
    coco_business_t      got, b = { COCO_STATE_PARKED, COCO_UNSET, COCO_TRUE,
                                    COCO_FALSE, COCO_UNSET, COCO_TRUE,
                                    COCO_FALSE,
                                    coco_string("{\"type\":\"POD\"}") };
    coco_json_out_t      out;
    coco_state_change_t  change;

    coco_json_out_init(&out, text, sizeof(text));
    coco_service_operations_event_encode(&out, &b);
    assert_int_equal(coco_service_operations_event_decode(&got,
                         (coco_str_t) { text, out.len }, &err), COCO_OK);
    assert_int_equal(got.operation_state, COCO_STATE_PARKED);
    assert_int_equal(got.needs_movement, COCO_UNSET);
    assert_int_equal(got.undergoing_maintenance, COCO_TRUE);
    assert_int_equal(got.needs_maintenance, COCO_FALSE);
    assert_int_equal(got.needs_pickup, COCO_UNSET);
    assert_int_equal(got.has_food, COCO_TRUE);
    assert_int_equal(got.driveable, COCO_FALSE);
    assert_true(coco_str_equal(got.deployed, b.deployed));

    assert_int_equal(coco_service_operations_event_decode(&got,
                         coco_string("{\"operationState\":\"PARKED\","
                                     "\"driveable\":\"yes\"}"), &err),
                     COCO_ERROR);
    assert_string_equal(err.field, "data.driveable");
    assert_int_equal(coco_service_operations_event_decode(&got,
                         coco_string("{}"), &err), COCO_ERROR);
    assert_string_equal(err.field, "data.operationState");

    assert_int_equal(coco_service_state_event_decode(&change,
                         coco_string("{\"from\":null,\"to\":\"PARKED\"}"),
                         &err), COCO_OK);
    assert_int_equal(change.from, COCO_STATE_NONE);
    assert_int_equal(change.to, COCO_STATE_PARKED);
    assert_int_equal(coco_service_state_event_decode(&change,
                         coco_string("{\"from\":\"X\",\"to\":\"PARKED\"}"),
                         &err), COCO_ERROR);
    assert_string_equal(err.field, "data.from");
    assert_int_equal(coco_service_state_event_decode(&change,
                         coco_string("{\"from\":\"PARKED\",\"to\":7}"),
                         &err), COCO_ERROR);
    assert_string_equal(err.field, "data.to");
}


static void
test_same(const robot_t *a, const robot_t *b)
{
    assert_memory_equal(&a->state.order.id, &b->state.order.id, COCO_ID_LEN);
    assert_int_equal(a->state.state, b->state.state);
    assert_int_equal(a->operation.business.operation_state,
                     b->operation.business.operation_state);
    assert_memory_equal(&a->fleet.order.id, &b->fleet.order.id, COCO_ID_LEN);
    assert_int_equal(a->fleet.heartbeat->ts, b->fleet.heartbeat->ts);
    assert_int_equal(a->fleet.business.operation_state,
                     b->fleet.business.operation_state);
}


/* Heartbeats that come late, twice and reordered leave the same records. */
static void
test_any_order_of_heartbeats(void **unused)
{
    size_t            n, k;
    int64_t           at;
    robot_t           want, got;
    coco_heartbeat_t  sent[HEARTBEATS], all[HEARTBEATS * 2], swap;

    test_random_state = 20240229;

    for (int round = 0; round < ROUNDS; round++) {
        memset(&want, 0, sizeof(want));
        memset(&got, 0, sizeof(got));

        for (int i = 0; i < HEARTBEATS; i++) {
            at = 1000 + i / 2;     /* ties on purpose */
            sent[i] = test_heartbeat(
                        test_random(4) ? at : at + 86400000, at,
                        COCO_STATE_GROUNDED + test_random(5),
                        (uint8_t) (i * 37 + round));
            all[i] = sent[i];
            all[HEARTBEATS + i] = sent[i];
            test_deliver(&want, &sent[i]);
        }

        n = HEARTBEATS + test_random(HEARTBEATS);

        for (size_t i = n - 1; i > 0; i--) {
            k = test_random((uint32_t) i + 1);
            swap = all[i];
            all[i] = all[k];
            all[k] = swap;
        }

        for (size_t i = 0; i < n; i++) {
            test_deliver(&got, &all[i]);
        }

        for (int i = 0; i < HEARTBEATS; i++) {
            /* shuffled away beyond n: still owed once */
            test_deliver(&got, &sent[i]);
        }

        test_same(&want, &got);
    }
}


/* Robots.StateChange that come late, twice and reordered, between services
 * that run apart, leave the same record and the same history. */
static void
test_any_order_of_changes(void **unused)
{
    size_t               n = 0, k;
    robot_t              want, got;
    coco_state_effect_t  effect;
    coco_state_record_t  state = { 0 };
    coco_state_change_t  changes[HEARTBEATS], all[HEARTBEATS * 2], swap;
    coco_heartbeat_t     hb;

    test_random_state = 7;

    for (int i = 0; i < HEARTBEATS; i++) {
        hb = test_heartbeat(1000 + i, 1000 + i,
                            COCO_STATE_GROUNDED + test_random(5),
                            (uint8_t) i);
        coco_service_state_heartbeat(&state, &hb, &effect);
        if (effect.changed) {
            changes[n++] = effect.change;
        }
    }

    assert_true(n > 8);
    memset(&want, 0, sizeof(want));

    for (size_t i = 0; i < n; i++) {
        test_change(&want, &changes[i]);
    }

    for (int round = 0; round < ROUNDS; round++) {
        memset(&got, 0, sizeof(got));

        for (size_t i = 0; i < 2 * n; i++) {
            all[i] = changes[i % n];
        }

        for (size_t i = 2 * n - 1; i > 0; i--) {
            k = test_random((uint32_t) i + 1);
            swap = all[i];
            all[i] = all[k];
            all[k] = swap;
        }

        for (size_t i = 0; i < 2 * n; i++) {
            test_change(&got, &all[i]);
        }

        assert_int_equal(got.operation.business.operation_state,
                         want.operation.business.operation_state);
        assert_int_equal(got.fleet.business.operation_state,
                         want.fleet.business.operation_state);
        assert_int_equal(got.operation.order.order_ms,
                         want.operation.order.order_ms);
        assert_int_equal(got.operation.changed_at, want.operation.changed_at);
        assert_int_equal(got.fleet.changed_at, want.fleet.changed_at);
        assert_int_equal(got.history_count, want.history_count);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_state_first_is_a_change_from_null),
        cmocka_unit_test(test_state_absent_stands),
        cmocka_unit_test(test_state_clock_ahead),
        cmocka_unit_test(test_operations_patched_state_holds),
        cmocka_unit_test(test_fleet_halves_are_apart),
        cmocka_unit_test(test_event_data),
        cmocka_unit_test(test_event_data_is_read_back),
        cmocka_unit_test(test_any_order_of_heartbeats),
        cmocka_unit_test(test_any_order_of_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
