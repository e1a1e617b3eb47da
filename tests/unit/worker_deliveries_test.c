/*
 * The deliveries service, pure: every status, source and reference; then many
 * deliveries in every disorder. Expectations are spelled out anew, never taken
 * from what is tested.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/service.h"

#define NOW       INT64_C(1795000000000)
#define HOUR      3600000
#define SERIAL    coco_string("r-1")
#define METER     (1 / 111195.0797)     /* degrees of latitude */


static coco_id_t
test_id(uint32_t number)
{
    coco_id_t  id;

    memset(&id, 0, sizeof(id));
    memcpy(id.bytes, &number, sizeof(number));

    return id;
}


static coco_str_t
test_reference(char buf[COCO_ID_TEXT_LEN], uint32_t number)
{
    coco_id_t  id = test_id(number);

    coco_id_format(buf, &id);

    return (coco_str_t) { buf, COCO_ID_TEXT_LEN };
}


static coco_delivery_record_t
test_record(uint32_t number, coco_delivery_status_e status)
{
    return (coco_delivery_record_t) {
        .id = test_id(number),
        .status = status,
        .serial = SERIAL,
        .created_at = NOW - HOUR,
        .pickup_latitude = 34.05,
        .pickup_longitude = -118.25,
        .dropoff_latitude = 34.06,
        .dropoff_longitude = -118.25,
        .early_close_at = COCO_NEVER
    };
}


static coco_lid_close_t
test_close(uint32_t cycle, coco_lid_source_e source, bool complete)
{
    return (coco_lid_close_t) {
        .id = test_id(cycle * 2 + complete),
        .serial = SERIAL,
        .closed_at = NOW,
        .data = { .cycle = test_id(cycle), .source = source },
        .complete = complete
    };
}


static bool
test_same(coco_id_t a, coco_id_t b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}


/* Every status × source × event, with a reference and without one. */
static void
every_close_does_what_the_contract_says(void **state)
{
    char                     buf[COCO_ID_TEXT_LEN];
    bool                     fallback, loads, acts, final;
    coco_lid_close_t         close;
    coco_delivery_effect_t   effect;
    coco_delivery_record_t   record;
    coco_delivery_status_e   to;

    for (int n = 0; n < 9 * COCO_SOURCES * 2 * 2; n++) {
        coco_delivery_status_e  status = 1 + n % 9;
        coco_lid_source_e       source = n / 9 % COCO_SOURCES;

        close = test_close(7, source, n / 9 / COCO_SOURCES % 2);
        fallback = n / 9 / COCO_SOURCES / 2;
        record = test_record(1, status);

        if (!fallback) {
            close.data.reference = test_reference(buf, 1);
        }

        acts = !close.complete || source == COCO_SOURCE_PIN;
        loads = close.complete
                ? source == COCO_SOURCE_PIN
                : source == COCO_SOURCE_QR || source == COCO_SOURCE_MAGIC_LID
                  || source == COCO_SOURCE_PINLESS
                  || source == COCO_SOURCE_RESYNC
                  || source == COCO_SOURCE_NONE;
        final = status == COCO_DELIVERY_COMPLETED
                || status == COCO_DELIVERY_CANCELED;
        to = COCO_DELIVERY_NONE;

        if (loads && (status == COCO_DELIVERY_ASSIGNED
                      || status == COCO_DELIVERY_ENROUTE_TO_PICKUP
                      || status == COCO_DELIVERY_AT_PICKUP))
        {
            to = COCO_DELIVERY_LOADED;

        } else if (acts && status == COCO_DELIVERY_AT_DROPOFF) {
            to = COCO_DELIVERY_COMPLETED;
        }

        coco_service_deliveries_close(&record, 1, &close, NOW, &effect);

        if (effect.to[0] != to || effect.to[1] != COCO_DELIVERY_NONE) {
            fail_msg("%s, source %d, %s, %s: %d",
                     coco_delivery_status_name(status).data, source,
                     close.complete ? "Complete" : "LidClose",
                     fallback ? "no reference" : "reference", effect.to[0]);
        }

        assert_int_equal(effect.early,
                         acts && status == COCO_DELIVERY_ENROUTE_TO_DROPOFF);
        assert_int_equal(effect.delivery != NULL,
                         effect.early || to != COCO_DELIVERY_NONE);
        assert_int_equal(record.early_close_at,
                         effect.early ? NOW : COCO_NEVER);
        assert_int_equal(record.status, to ? to : status);
        assert_int_equal(record.loaded_here, to == COCO_DELIVERY_LOADED);
        assert_int_equal(effect.anomaly, loads && final
                         ? COCO_ANOMALY_NO_DELIVERY : COCO_ANOMALY_NONE);
        assert_int_equal(effect.reason != NULL,
                         effect.anomaly != COCO_ANOMALY_NONE);

        if (effect.delivery != NULL) {
            assert_ptr_equal(effect.delivery, &record);
            assert_int_equal(effect.from, status);
        }
    }
}


/* The cycle that loaded a delivery does nothing more to it, whatever its
 * source, reference or event, and however late it comes again. */
static void
the_loading_cycle_does_nothing_more(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    coco_lid_close_t        close;
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int n = 0; n < 5 * COCO_SOURCES * 2 * 2; n++) {
        record = test_record(1, COCO_DELIVERY_LOADED + n % 5);
        record.loaded_here = true;
        record.loaded_cycle = test_id(7);
        close = test_close(7, n / 5 % COCO_SOURCES, n / 5 / COCO_SOURCES % 2);

        if (n / 5 / COCO_SOURCES / 2) {
            close.data.reference = test_reference(buf, 1);

        } else if (coco_delivery_final(record.status)) {
            continue;       /* without one it finds none */
        }

        coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
        assert_null(effect.delivery);
        assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
        assert_int_equal(record.status, COCO_DELIVERY_LOADED + n % 5);
        assert_int_equal(record.early_close_at, COCO_NEVER);
    }
}


static void
a_reference_that_leads_nowhere_is_an_anomaly(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    coco_lid_close_t        close = test_close(7, COCO_SOURCE_QR, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record = test_record(1, COCO_DELIVERY_AT_PICKUP);

    /* though the fallback would find one */
    close.data.reference = test_reference(buf, 2);
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_null(effect.delivery);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NO_DELIVERY);
    assert_string_equal(effect.reason, "the reference names no delivery");

    close.data.reference = coco_string("table 5");
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NO_DELIVERY);

    close.data.reference = test_reference(buf, 1);
    record.serial = coco_string("r-2");
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_null(effect.delivery);
    assert_string_equal(effect.reason,
                        "the reference names a delivery of another robot");

    record.serial = (coco_str_t) { NULL, 0 };
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NO_DELIVERY);
    assert_int_equal(record.status, COCO_DELIVERY_AT_PICKUP);
}


static void
a_reference_counts_at_any_age(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    coco_lid_close_t        close = test_close(7, COCO_SOURCE_QR, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record = test_record(1, COCO_DELIVERY_AT_PICKUP);

    record.created_at = NOW - 25 * HOUR;
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NO_DELIVERY);
    assert_string_equal(effect.reason, "no delivery of the robot is active");

    close.data.reference = test_reference(buf, 1);
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.to[0], COCO_DELIVERY_LOADED);
    assert_true(test_same(record.loaded_cycle, test_id(7)));
}


static void
the_fallback_takes_the_one_that_is_active(void **state)
{
    coco_lid_close_t        close = test_close(7, COCO_SOURCE_MAGIC_LID, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  records[6];

    records[0] = test_record(1, COCO_DELIVERY_COMPLETED);
    records[1] = test_record(2, COCO_DELIVERY_CANCELED);
    records[2] = test_record(3, COCO_DELIVERY_AT_PICKUP);
    records[2].serial = coco_string("r-2");
    records[3] = test_record(4, COCO_DELIVERY_AT_PICKUP);
    records[3].created_at = NOW - 24 * HOUR;
    records[4] = test_record(5, COCO_DELIVERY_AT_PICKUP);
    records[4].created_at = NOW - 24 * HOUR + 1;
    records[5] = test_record(6, COCO_DELIVERY_CREATED);
    records[5].serial = (coco_str_t) { NULL, 0 };

    coco_service_deliveries_close(records, 6, &close, NOW, &effect);
    assert_ptr_equal(effect.delivery, &records[4]);
    assert_int_equal(effect.to[0], COCO_DELIVERY_LOADED);

    /* a second one that is active: nobody can tell */
    records[4].status = COCO_DELIVERY_AT_PICKUP;
    records[5].serial = SERIAL;
    coco_service_deliveries_close(records, 6, &close, NOW, &effect);
    assert_null(effect.delivery);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_SEVERAL_DELIVERIES);

    /* operators are not told of what they did */
    close.data.source = COCO_SOURCE_OPERATOR;
    coco_service_deliveries_close(records, 6, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);

    coco_service_deliveries_close(records, 0, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
}


/* Both events of one PIN cycle, in either order, load once. */
static void
a_pin_cycle_loads_by_its_completion(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    size_t                  loads;
    coco_lid_close_t        close;
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int first = 0; first < 2; first++) {
        record = test_record(1, COCO_DELIVERY_AT_PICKUP);
        loads = 0;

        for (int i = 0; i < 4; i++) {
            close = test_close(7, COCO_SOURCE_PIN, (first + i) % 2);
            close.data.reference = test_reference(buf, 1);
            coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
            loads += effect.to[0] == COCO_DELIVERY_LOADED;
            assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
        }

        assert_int_equal(loads, 1);
        assert_int_equal(record.status, COCO_DELIVERY_LOADED);
    }
}


static void
arrivals_come_once_and_only_where_they_may(void **state)
{
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        record = test_record(1, s);
        coco_service_deliveries_arrival(&record, COCO_DELIVERY_ARRIVE_PICKUP,
                                        NOW, &effect);
        assert_int_equal(effect.to[0], s == COCO_DELIVERY_ENROUTE_TO_PICKUP
                         ? COCO_DELIVERY_AT_PICKUP : COCO_DELIVERY_NONE);

        record = test_record(1, s);
        coco_service_deliveries_arrival(&record, COCO_DELIVERY_ARRIVE_DROPOFF,
                                        NOW, &effect);
        assert_int_equal(effect.to[0], s == COCO_DELIVERY_ENROUTE_TO_DROPOFF
                         ? COCO_DELIVERY_AT_DROPOFF : COCO_DELIVERY_NONE);
        assert_int_equal(effect.to[1], COCO_DELIVERY_NONE);
        assert_int_equal(effect.delivery != NULL,
                         s == COCO_DELIVERY_ENROUTE_TO_DROPOFF);
    }
}


static void
a_close_before_its_arrival_completes_with_it(void **state)
{
    coco_lid_close_t        close = test_close(8, COCO_SOURCE_MAGIC_LID, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int64_t ahead = -1; ahead <= 1; ahead++) {
        record = test_record(1, COCO_DELIVERY_ENROUTE_TO_DROPOFF);
        coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
        assert_true(effect.early);

        /* an earlier one that comes late takes nothing back */
        close.closed_at -= 1000;
        coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
        close.closed_at += 1000;
        assert_null(effect.delivery);
        assert_int_equal(record.early_close_at, NOW);

        coco_service_deliveries_arrival(&record, COCO_DELIVERY_ARRIVE_DROPOFF,
                                        NOW + ahead, &effect);
        assert_int_equal(effect.from, COCO_DELIVERY_ENROUTE_TO_DROPOFF);
        assert_int_equal(effect.to[0], COCO_DELIVERY_AT_DROPOFF);
        assert_int_equal(effect.to[1], ahead <= 0 ? COCO_DELIVERY_COMPLETED
                                                  : COCO_DELIVERY_NONE);
        assert_int_equal(record.status, ahead <= 0 ? COCO_DELIVERY_COMPLETED
                                                   : COCO_DELIVERY_AT_DROPOFF);
    }
}


static void
a_heartbeat_arrives_near_and_slow(void **state)
{
    coco_heartbeat_t        hb;
    coco_delivery_event_e   event;
    coco_delivery_record_t  record;

    memset(&hb, 0, sizeof(hb));
    hb.longitude = -118.25;

    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        record = test_record(1, s);
        hb.has_speed = false;
        hb.latitude = 34.05 + 29.9 * METER;
        event = COCO_DELIVERY_EVENTS;
        assert_int_equal(coco_service_deliveries_arrived(&record, &hb, &event),
                         s == COCO_DELIVERY_ENROUTE_TO_PICKUP);
        assert_int_equal(event, s == COCO_DELIVERY_ENROUTE_TO_PICKUP
                         ? COCO_DELIVERY_ARRIVE_PICKUP : COCO_DELIVERY_EVENTS);

        hb.latitude = 34.06 - 29.9 * METER;
        event = COCO_DELIVERY_EVENTS;
        assert_int_equal(coco_service_deliveries_arrived(&record, &hb, &event),
                         s == COCO_DELIVERY_ENROUTE_TO_DROPOFF);
        assert_int_equal(event, s == COCO_DELIVERY_ENROUTE_TO_DROPOFF
                         ? COCO_DELIVERY_ARRIVE_DROPOFF
                         : COCO_DELIVERY_EVENTS);
    }

    record = test_record(1, COCO_DELIVERY_ENROUTE_TO_PICKUP);
    hb.latitude = 34.05 + 30.1 * METER;
    assert_false(coco_service_deliveries_arrived(&record, &hb, &event));

    hb.latitude = 34.05;
    hb.has_speed = true;
    hb.speed = 0.19;
    assert_true(coco_service_deliveries_arrived(&record, &hb, &event));
    hb.speed = 0.2;
    assert_false(coco_service_deliveries_arrived(&record, &hb, &event));
}


static void
a_pin_opens_for_the_delivery_that_has_it(void **state)
{
    const char              *reason;
    coco_lid_source_e        source;
    coco_delivery_record_t   records[2];

    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        bool  waits = s == COCO_DELIVERY_ASSIGNED
                      || s == COCO_DELIVERY_ENROUTE_TO_PICKUP
                      || s == COCO_DELIVERY_AT_PICKUP
                      || s == COCO_DELIVERY_AT_DROPOFF;

        for (int flow = 0; flow <= COCO_SOURCE_PIN; flow++) {
            records[0] = test_record(1, s);
            records[0].pin = coco_string("0417");
            records[0].flow = flow;
            reason = NULL;

            assert_ptr_equal(
                coco_service_deliveries_pin(records, 1, coco_string("0417"),
                                            NULL, &source, &reason),
                waits && flow != COCO_SOURCE_PINLESS ? records : NULL);
            assert_int_equal(reason == NULL,
                             waits && flow != COCO_SOURCE_PINLESS);
        }
    }

    records[0] = test_record(1, COCO_DELIVERY_ASSIGNED);
    records[0].pin = coco_string("0417");
    records[1] = test_record(2, COCO_DELIVERY_AT_PICKUP);
    records[1].pin = coco_string("0417");

    source = COCO_SOURCE_NONE;
    assert_ptr_equal(coco_service_deliveries_pin(records, 2,
                         coco_string("0417"), NULL, &source, &reason),
                     &records[1]);
    assert_int_equal(source, COCO_SOURCE_PIN);

    reason = NULL;
    assert_null(coco_service_deliveries_pin(records, 2, coco_string("0418"),
                                            NULL, &source, &reason));
    assert_non_null(reason);
    assert_null(strstr(reason, "0418"));
    assert_null(coco_service_deliveries_pin(records, 2, coco_string("041"),
                                            NULL, &source, &reason));
    assert_null(coco_service_deliveries_pin(records, 2, coco_string(""), NULL,
                                            &source, &reason));
}


static void
without_a_pin_the_place_opens(void **state)
{
    double                  place[2] = { 34.05 + 29 * METER, -118.25 };
    const char             *reason;
    coco_lid_source_e       source = COCO_SOURCE_NONE;
    coco_str_t              none = { NULL, 0 };
    coco_delivery_record_t  r = test_record(1, COCO_DELIVERY_ASSIGNED);

    r.flow = COCO_SOURCE_PINLESS;
    assert_ptr_equal(coco_service_deliveries_pin(&r, 1, none, place, &source,
                                                 &reason), &r);
    assert_int_equal(source, COCO_SOURCE_PINLESS);

    reason = NULL;
    assert_null(coco_service_deliveries_pin(&r, 1, none, NULL, &source,
                                            &reason));
    assert_non_null(reason);

    /* at the drop-off it is that place */
    r.status = COCO_DELIVERY_AT_DROPOFF;
    assert_null(coco_service_deliveries_pin(&r, 1, none, place, &source,
                                            &reason));
    place[0] = 34.06 - 29 * METER;
    assert_non_null(coco_service_deliveries_pin(&r, 1, none, place, &source,
                                                &reason));
    place[0] = 34.06 - 31 * METER;
    assert_null(coco_service_deliveries_pin(&r, 1, none, place, &source,
                                            &reason));

    place[0] = 34.06;
    r.flow = COCO_SOURCE_PIN;
    assert_null(coco_service_deliveries_pin(&r, 1, none, place, &source,
                                            &reason));
}


static void
names_are_the_contracts(void **state)
{
    static const char *const  names[] = {
        "NO_DELIVERY", "SEVERAL_DELIVERIES", "NEVER_CLOSED",
        "CLOSE_WITHOUT_OPEN", "RESYNC"
    };

    for (int i = 0; i < 5; i++) {
        assert_true(coco_str_equal(coco_anomaly_name(1 + i),
            (coco_str_t) { names[i], strlen(names[i]) }));
    }

    assert_null(coco_anomaly_name(COCO_ANOMALY_NONE).data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_close_does_what_the_contract_says),
        cmocka_unit_test(the_loading_cycle_does_nothing_more),
        cmocka_unit_test(a_reference_that_leads_nowhere_is_an_anomaly),
        cmocka_unit_test(a_reference_counts_at_any_age),
        cmocka_unit_test(the_fallback_takes_the_one_that_is_active),
        cmocka_unit_test(a_pin_cycle_loads_by_its_completion),
        cmocka_unit_test(arrivals_come_once_and_only_where_they_may),
        cmocka_unit_test(a_close_before_its_arrival_completes_with_it),
        cmocka_unit_test(a_heartbeat_arrives_near_and_slow),
        cmocka_unit_test(a_pin_opens_for_the_delivery_that_has_it),
        cmocka_unit_test(without_a_pin_the_place_opens),
        cmocka_unit_test(names_are_the_contracts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
