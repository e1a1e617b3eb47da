/*
 * The dispatch service: each part by its own order, the same record in any
 * order and however often; what a heartbeat changes; what nginx is told.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/service.h"
#include "sinks/pulse.h"

#define RUNS    3000
#define EVENTS  24

typedef enum { HEARTBEAT, BUSINESS, LID } test_kind_e;

typedef struct {
    test_kind_e             kind;
    coco_heartbeat_t        heartbeat;
    coco_business_change_t  change;
    int64_t                 at;
    bool                    open;
} test_event_t;

static uint32_t  test_random_state = 2463534242u;


/* xorshift */
static uint32_t
test_random(uint32_t below)
{
    test_random_state ^= test_random_state << 13;
    test_random_state ^= test_random_state >> 17;
    test_random_state ^= test_random_state << 5;

    return test_random_state % below;
}


static coco_heartbeat_t
test_heartbeat(int64_t ts, uint8_t id)
{
    coco_heartbeat_t  hb;

    memset(&hb, 0, sizeof(hb));
    hb.id.bytes[0] = id;
    hb.serial = coco_string("r-1");
    hb.ts = ts;
    hb.received_at = ts;
    hb.healthy = true;
    hb.battery_percent = 50.5;
    hb.latitude = 37.7749295;
    hb.longitude = -122.4194155;

    return hb;
}


/* Few times, so that many are equal. A change is one of its time, as the
 * operations service makes them. */
static void
test_event(test_event_t *e, uint8_t id)
{
    memset(e, 0, sizeof(*e));
    e->kind = (test_kind_e) test_random(3);
    e->at = 1000 + test_random(6);
    e->open = test_random(2);
    e->heartbeat = test_heartbeat(e->at + test_random(3), id);
    e->heartbeat.received_at = e->at;
    e->heartbeat.has_lid = test_random(2);
    e->heartbeat.lid_open = test_random(2);
    e->change.changed_at = e->at;
    e->change.business.operation_state = (coco_state_e) (1 + e->at % 5);
    e->change.business.has_food = (coco_flag_e) (e->at % 2);
}


static void
test_apply(coco_supply_record_t *record, const test_event_t *e)
{
    switch (e->kind) {
    case HEARTBEAT:
        coco_service_dispatch_heartbeat(record, &e->heartbeat);
        break;
    case BUSINESS:
        coco_service_dispatch_business_change(record, &e->change);
        break;
    case LID:
        coco_service_dispatch_lid(record, e->at, e->open);
        break;
    }
}


static void
test_any_order_twice(void **state)
{
    size_t                at;
    test_event_t          events[EVENTS];
    coco_supply_record_t  once, twice;

    for (int run = 0; run < RUNS; run++) {
        memset(&once, 0, sizeof(once));
        memset(&twice, 0, sizeof(twice));

        for (size_t i = 0; i < EVENTS; i++) {
            test_event(&events[i], (uint8_t) i);
            test_apply(&once, &events[i]);
        }

        /* from anywhere, by a step that meets each, and then any again */
        at = test_random(EVENTS);

        for (size_t i = 0; i < EVENTS; i++) {
            test_apply(&twice, &events[(at + i * 7) % EVENTS]);
        }

        for (size_t i = 0; i < EVENTS; i++) {
            test_apply(&twice, &events[test_random(EVENTS)]);
        }

        assert_int_equal(once.heard, twice.heard);
        assert_ptr_equal(once.heartbeat, twice.heartbeat);
        assert_int_equal(once.has_business, twice.has_business);
        assert_int_equal(once.changed_at, twice.changed_at);
        assert_memory_equal(&once.business, &twice.business,
                            sizeof(once.business));
        assert_int_equal(once.has_lid, twice.has_lid);
        assert_int_equal(once.lid_at, twice.lid_at);
        assert_int_equal(once.lid_open, twice.lid_open);
    }
}


static void
test_what_is_taken_over(void **state)
{
    coco_heartbeat_t        hb = test_heartbeat(2000, 1);
    coco_heartbeat_t        late = test_heartbeat(1000, 2);
    coco_supply_record_t    record = { 0 };
    coco_business_change_t  change = { .changed_at = 2000 };

    assert_true(coco_service_dispatch_heartbeat(&record, &hb));
    assert_false(coco_service_dispatch_heartbeat(&record, &hb));
    assert_false(coco_service_dispatch_heartbeat(&record, &late));

    /* of one that is late the lid alone */
    late.has_lid = true;
    assert_true(coco_service_dispatch_heartbeat(&record, &late));
    assert_ptr_equal(record.heartbeat, &hb);
    assert_int_equal(record.lid_at, 1000);

    assert_true(coco_service_dispatch_lid(&record, 1000, true));
    assert_false(coco_service_dispatch_lid(&record, 1000, false));
    assert_false(coco_service_dispatch_lid(&record, 999, false));
    assert_true(record.lid_open);

    assert_true(coco_service_dispatch_business_change(&record, &change));
    assert_false(coco_service_dispatch_business_change(&record, &change));
    change.changed_at--;
    assert_false(coco_service_dispatch_business_change(&record, &change));
}


static void
test_changes(void **state)
{
    coco_heartbeat_t     hb = test_heartbeat(2000, 5);
    coco_supply_shown_t  shown = { 0 };

    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true),
                     COCO_SUPPLY_MEMBERS);

    shown = (coco_supply_shown_t) {
        .heard = true, .order = coco_heartbeat_order(&hb), .online = true,
        .healthy = true, .battery_percent = 50.5, .latitude = 37.7749295,
        .longitude = -122.4194155
    };

    /* again */
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true),
                     COCO_SUPPLY_MEMBERS);

    /* again, too late */
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, false),
                     COCO_SUPPLY_MEMBERS);

    shown.order.order_ms++;
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true), 0);

    shown.order.order_ms = 1999;
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true),
                     COCO_SUPPLY_LAST_SYNCED);
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, false),
                     COCO_SUPPLY_LAST_SYNCED | COCO_SUPPLY_STATUS);

    hb.healthy = false;
    hb.longitude += 1e-7;
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true),
                     COCO_SUPPLY_LAST_SYNCED | COCO_SUPPLY_HEALTHY
                     | COCO_SUPPLY_LOCATION);

    shown.online = false;
    shown.battery_percent = 51;
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, true),
                     COCO_SUPPLY_MEMBERS);
    assert_int_equal(coco_service_dispatch_changes(&shown, &hb, false),
                     COCO_SUPPLY_MEMBERS & ~COCO_SUPPLY_STATUS);
}


static void
test_encode(void **state)
{
    char              buf[COCO_SUPPLY_DATA_SIZE];
    coco_json_out_t   out;
    coco_heartbeat_t  hb = test_heartbeat(2000, 5);

    static const char  all[] = "{\"status\":\"ONLINE\",\"battery\":50.5,"
                               "\"lastSynced\":1500,\"healthy\":true,"
                               "\"location\":{\"latitude\":37.7749295,"
                               "\"longitude\":-122.4194155}}";

    hb.received_at = 1500;
    coco_json_out_init(&out, buf, sizeof(buf));
    coco_service_dispatch_encode(&out, &hb, true, COCO_SUPPLY_MEMBERS);
    assert_int_equal(out.len, sizeof(all) - 1);
    assert_memory_equal(buf, all, out.len);

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_service_dispatch_encode(&out, &hb, true, COCO_SUPPLY_BATTERY);
    assert_int_equal(out.len, sizeof("{\"battery\":50.5}") - 1);
    assert_memory_equal(buf, "{\"battery\":50.5}", out.len);

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_service_dispatch_encode(&out, &hb, false, COCO_SUPPLY_STATUS);
    assert_int_equal(out.len, sizeof("{\"status\":\"OFFLINE\"}") - 1);
    assert_memory_equal(buf, "{\"status\":\"OFFLINE\"}", out.len);

    /* the longest there can be */
    hb.ts = hb.received_at = INT64_MAX;
    hb.battery_percent = 2.2250738585072014e-308;
    hb.latitude = -2.2250738585072014e-308;
    hb.longitude = -179.99999999999997;
    hb.healthy = false;
    coco_json_out_init(&out, buf, sizeof(buf));
    coco_service_dispatch_encode(&out, &hb, false, COCO_SUPPLY_MEMBERS);
    assert_true(coco_json_out_ok(&out));
}


static void
test_state(void **state)
{
    coco_heartbeat_t        hb = test_heartbeat(2000, 5);
    coco_supply_state_t     told;
    coco_supply_record_t    record = { 0 };
    coco_business_change_t  change = {
        .changed_at = 3000,
        .business = { .operation_state = COCO_STATE_PARKED,
                      .needs_movement = COCO_UNSET,
                      .undergoing_maintenance = COCO_TRUE,
                      .needs_maintenance = COCO_FALSE,
                      .needs_pickup = COCO_UNSET, .has_food = COCO_TRUE,
                      .driveable = COCO_FALSE }
    };

    coco_service_dispatch_state(&told, &record);
    assert_int_equal(told.parts, 0);

    coco_service_dispatch_heartbeat(&record, &hb);
    coco_service_dispatch_state(&told, &record);
    assert_int_equal(told.parts, COCO_SUPPLY_TELEMETRY);
    assert_int_equal(told.telemetry.latitude_e7, 377749295);
    assert_int_equal(told.telemetry.longitude_e7, -1224194155);
    assert_true(told.telemetry.battery_percent == 50.5f);
    assert_true(told.telemetry.healthy);
    assert_int_equal(told.telemetry.order.order_ms, 2000);
    assert_int_equal(told.telemetry.order.id.bytes[0], 5);

    coco_service_dispatch_business_change(&record, &change);
    coco_service_dispatch_lid(&record, 2500, true);
    coco_service_dispatch_state(&told, &record);
    assert_int_equal(told.parts, COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS
                                 | COCO_SUPPLY_LID);
    assert_int_equal(told.business.changed_at, 3000);
    assert_int_equal(told.business.operation_state, COCO_STATE_PARKED);
    assert_int_equal(told.business.needs_movement, COCO_UNSET);
    assert_int_equal(told.business.undergoing_maintenance, COCO_TRUE);
    assert_int_equal(told.business.needs_maintenance, COCO_FALSE);
    assert_int_equal(told.business.needs_pickup, COCO_UNSET);
    assert_int_equal(told.business.has_food, COCO_TRUE);
    assert_int_equal(told.business.driveable, COCO_FALSE);
    assert_int_equal(told.lid.at, 2500);
    assert_true(told.lid.open);
}


/* Of characters that nginx takes, and of its port. */
static void
test_pulse_name(void **state)
{
    char  name[COCO_PULSE_NAME_MAX + 1], other[COCO_PULSE_NAME_MAX + 1];

    coco_pulse_name(name, 65535);
    coco_pulse_name(other, 8086);
    assert_string_equal(strrchr(name, ':'), ":65535");
    assert_string_equal(strrchr(other, ':'), ":8086");
    assert_true(strchr(name, ':') > name);
    assert_int_equal(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789._-:"),
                     strlen(name));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_any_order_twice),
        cmocka_unit_test(test_what_is_taken_over),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_pulse_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
