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
        .loaded_at = COCO_NEVER,
        .arrived_at = COCO_NEVER,
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

        acts = close.complete ? source == COCO_SOURCE_PIN
                              : source != COCO_SOURCE_PIN;
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


/* Both events of one PIN cycle, in either order, load or complete once. */
static void
a_pin_cycle_acts_by_its_completion(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    size_t                  moves;
    coco_lid_close_t        close;
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int n = 0; n < 4; n++) {
        bool  dropoff = n & 2;

        record = test_record(1, dropoff ? COCO_DELIVERY_AT_DROPOFF
                                        : COCO_DELIVERY_AT_PICKUP);
        moves = 0;

        for (int i = 0; i < 2; i++) {
            close = test_close(7, COCO_SOURCE_PIN, (n + i) % 2);
            close.data.reference = test_reference(buf, 1);
            coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
            moves += effect.delivery != NULL;
            assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
        }

        assert_int_equal(moves, 1);
        assert_int_equal(record.status, dropoff ? COCO_DELIVERY_COMPLETED
                                                : COCO_DELIVERY_LOADED);
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


/* What is older than the load or the arrival completes nothing, in whichever
 * order it comes. */
static void
a_late_close_completes_nothing(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    bool                    counts;
    coco_lid_close_t        close = test_close(8, COCO_SOURCE_QR, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int n = 0; n < 3 * 3 * 2 * 2; n++) {
        record = test_record(1, n / 9 % 2 ? COCO_DELIVERY_ENROUTE_TO_DROPOFF
                                          : COCO_DELIVERY_AT_DROPOFF);
        record.loaded_here = true;
        record.loaded_cycle = test_id(7);
        record.loaded_at = NOW - 1 + n % 3;
        record.arrived_at = NOW - 1 + n / 3 % 3;
        counts = record.loaded_at < NOW && record.arrived_at <= NOW;
        close.data.reference = (coco_str_t) { NULL, 0 };

        if (n / 18) {
            close.data.reference = test_reference(buf, 1);
        }

        if (record.status == COCO_DELIVERY_ENROUTE_TO_DROPOFF) {
            record.arrived_at = COCO_NEVER;
            coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
            assert_int_equal(effect.early, record.loaded_at < NOW);
            coco_service_deliveries_arrival(&record,
                                            COCO_DELIVERY_ARRIVE_DROPOFF,
                                            NOW - 1 + n / 3 % 3, &effect);
            assert_int_equal(effect.to[1], counts ? COCO_DELIVERY_COMPLETED
                                                  : COCO_DELIVERY_NONE);

        } else {
            coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
            assert_int_equal(effect.to[0], counts ? COCO_DELIVERY_COMPLETED
                                                  : COCO_DELIVERY_NONE);
        }

        assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
        assert_int_equal(record.status, counts ? COCO_DELIVERY_COMPLETED
                                               : COCO_DELIVERY_AT_DROPOFF);
        assert_int_equal(record.arrived_at == COCO_NEVER, counts);
    }
}


static void
a_close_is_the_time_of_its_load(void **state)
{
    coco_lid_close_t        close = test_close(7, COCO_SOURCE_NONE, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record = test_record(1, COCO_DELIVERY_ASSIGNED);

    close.closed_at = NOW - HOUR;
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(record.loaded_at, NOW - HOUR);
}


/* Without a reference, that is: who names a delivery means it. */
static void
a_close_from_before_the_visit_loads_nothing(void **state)
{
    char                    buf[COCO_ID_TEXT_LEN];
    coco_lid_close_t        close = test_close(8, COCO_SOURCE_NONE, false);
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  record;

    for (int64_t ago = 59999; ago <= 60001; ago++) {
        record = test_record(1, COCO_DELIVERY_ENROUTE_TO_PICKUP);
        coco_service_deliveries_arrival(&record, COCO_DELIVERY_ARRIVE_PICKUP,
                                        NOW + ago, &effect);
        assert_int_equal(record.arrived_at, NOW + ago);
        coco_service_deliveries_close(&record, 1, &close, NOW + ago, &effect);
        assert_int_equal(effect.to[0], ago > 60000 ? COCO_DELIVERY_NONE
                                                   : COCO_DELIVERY_LOADED);
        assert_int_equal(effect.anomaly, ago > 60000
                         ? COCO_ANOMALY_NO_DELIVERY : COCO_ANOMALY_NONE);
    }

    assert_string_equal(effect.reason, "the lid was closed over 60 s before "
                                       "the robot came to the pickup");

    close.data.source = COCO_SOURCE_OPERATOR;
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);

    close = test_close(8, COCO_SOURCE_QR, false);
    close.data.reference = test_reference(buf, 1);
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.to[0], COCO_DELIVERY_LOADED);

    /* nobody knows when it came */
    record = test_record(1, COCO_DELIVERY_AT_PICKUP);
    close = test_close(8, COCO_SOURCE_NONE, false);
    close.closed_at = NOW - 20 * HOUR;
    coco_service_deliveries_close(&record, 1, &close, NOW, &effect);
    assert_int_equal(effect.to[0], COCO_DELIVERY_LOADED);
}


/* The others wait for their turn. */
static void
of_several_the_one_at_its_drop_off_is_completed(void **state)
{
    bool                    acts;
    coco_lid_close_t        close;
    coco_delivery_effect_t  effect;
    coco_delivery_record_t  records[3];

    for (int n = 0; n < COCO_SOURCES * 2; n++) {
        close = test_close(8, n / 2, n % 2);
        acts = close.complete == (close.data.source == COCO_SOURCE_PIN);
        records[0] = test_record(1, COCO_DELIVERY_ENROUTE_TO_PICKUP);
        records[1] = test_record(2, COCO_DELIVERY_AT_DROPOFF);
        records[2] = test_record(3, COCO_DELIVERY_LOADED);

        coco_service_deliveries_close(records, 3, &close, NOW, &effect);
        assert_ptr_equal(effect.delivery, acts ? &records[1] : NULL);
        assert_int_equal(effect.to[0], acts ? COCO_DELIVERY_COMPLETED
                                            : COCO_DELIVERY_NONE);
        assert_int_equal(effect.anomaly, COCO_ANOMALY_NONE);
    }

    close = test_close(8, COCO_SOURCE_NONE, false);

    /* it is none at that drop-off */
    records[1] = test_record(2, COCO_DELIVERY_AT_DROPOFF);
    records[1].arrived_at = NOW + 1;
    coco_service_deliveries_close(records, 3, &close, NOW, &effect);
    assert_null(effect.delivery);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_SEVERAL_DELIVERIES);

    /* nor does anybody know of two */
    records[0] = test_record(1, COCO_DELIVERY_AT_DROPOFF);
    coco_service_deliveries_close(records, 3, &close, NOW, &effect);
    assert_null(effect.delivery);
    assert_int_equal(effect.anomaly, COCO_ANOMALY_SEVERAL_DELIVERIES);
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


/* Seen from a robot that was there, `ago` ms before. */
static const coco_delivery_record_t *
test_pin(const coco_delivery_record_t *records, size_t count,
    const char *pin, double latitude, double speed, int64_t ago,
    coco_lid_source_e *ret_source, char ret_reason[COCO_PIN_REASON])
{
    coco_position_t  position = { latitude, -118.25, speed, NOW - ago };

    if (ago < 0) {
        position.at = COCO_NEVER;
    }

    ret_reason[0] = '\0';

    return coco_service_deliveries_pin(records, count,
               (coco_str_t) { pin, pin ? strlen(pin) : 0 }, &position, NOW,
               60000, ret_source, ret_reason);
}


static void
a_pin_opens_for_the_delivery_that_has_it(void **state)
{
    char                    reason[COCO_PIN_REASON];
    coco_lid_source_e       source;
    coco_delivery_record_t  records[2];

    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        bool  waits = s == COCO_DELIVERY_ASSIGNED
                      || s == COCO_DELIVERY_ENROUTE_TO_PICKUP
                      || s == COCO_DELIVERY_AT_PICKUP
                      || s == COCO_DELIVERY_AT_DROPOFF;

        for (int flow = 0; flow <= COCO_SOURCE_PIN; flow++) {
            records[0] = test_record(1, s);
            records[0].pin = coco_string("0417");
            records[0].flow = flow;

            assert_ptr_equal(test_pin(records, 1, "0417", 0, 0, -1, &source,
                                      reason),
                waits && flow != COCO_SOURCE_PINLESS ? records : NULL);
            assert_int_equal(reason[0] == '\0',
                             waits && flow != COCO_SOURCE_PINLESS);
        }
    }

    records[0] = test_record(1, COCO_DELIVERY_ASSIGNED);
    records[0].pin = coco_string("0417");
    records[1] = test_record(2, COCO_DELIVERY_AT_PICKUP);
    records[1].pin = coco_string("0417");

    source = COCO_SOURCE_NONE;
    assert_ptr_equal(test_pin(records, 2, "0417", 0, 0, HOUR, &source,
                              reason), &records[1]);
    assert_int_equal(source, COCO_SOURCE_PIN);

    assert_null(test_pin(records, 2, "0418", 0, 0, 0, &source, reason));
    assert_string_equal(reason, "no delivery of the robot that waits for its "
                                "lid has this PIN");
    assert_null(test_pin(records, 2, "041", 0, 0, 0, &source, reason));
    assert_null(test_pin(records, 2, "", 0, 0, 0, &source, reason));
}


static void
without_a_pin_the_place_opens(void **state)
{
    char                    reason[COCO_PIN_REASON];
    bool                    waits;
    double                  near = 34.05 + 29 * METER;
    coco_lid_source_e       source = COCO_SOURCE_NONE;
    coco_delivery_record_t  r;

    /* the drop-off counts by its PIN alone */
    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        waits = s == COCO_DELIVERY_ASSIGNED
                || s == COCO_DELIVERY_ENROUTE_TO_PICKUP
                || s == COCO_DELIVERY_AT_PICKUP;
        r = test_record(1, s);
        r.flow = COCO_SOURCE_PINLESS;

        assert_ptr_equal(test_pin(&r, 1, NULL, near, 0.1, 60000, &source,
                                  reason), waits ? &r : NULL);
        assert_int_equal(reason[0] == '\0', waits);
        assert_null(test_pin(&r, 1, NULL, 34.06, 0, 0, &source, reason));
    }

    assert_int_equal(source, COCO_SOURCE_PINLESS);
    r = test_record(1, COCO_DELIVERY_ASSIGNED);
    r.flow = COCO_SOURCE_PINLESS;

    assert_null(test_pin(&r, 1, NULL, 34.05 + 31 * METER, 0, 0, &source,
                         reason));
    assert_string_equal(reason,
                        "without a PIN, and no pinless pickup within 30 m");
    assert_null(test_pin(&r, 1, NULL, near, 0, -1, &source, reason));
    assert_string_equal(reason, "without a PIN, and where the robot stands is "
                                "not known");
    assert_null(test_pin(&r, 1, NULL, near, 0, 61999, &source, reason));
    assert_string_equal(reason, "without a PIN, and the robot was last heard "
                                "61 s ago");
    assert_null(test_pin(NULL, 0, NULL, near, 0, -1, &source, reason));
    assert_non_null(strstr(reason, "no pinless pickup"));

    r.flow = COCO_SOURCE_PIN;
    assert_null(test_pin(&r, 1, NULL, near, 0, 0, &source, reason));
}


static void
what_moves_is_not_opened(void **state)
{
    char                    reason[COCO_PIN_REASON];
    coco_lid_source_e       source;
    coco_delivery_record_t  records[2] = {
        test_record(1, COCO_DELIVERY_ASSIGNED),
        test_record(2, COCO_DELIVERY_AT_PICKUP)
    };

    static const struct {
        double       speed;
        const char  *text;          /* NULL: it stands */
    } speeds[] = {
        { 0, NULL }, { 0.1, NULL }, { -1, NULL },
        { 0.11, "The robot moves at 0.11 m/s." },
        { 1.5, "The robot moves at 1.5 m/s." },
        { 2.004, "The robot moves at 2 m/s." }
    };

    records[0].pin = coco_string("0417");
    records[1].flow = COCO_SOURCE_PINLESS;

    for (int i = 0; i < 2 * 6; i++) {
        const char  *text = speeds[i / 2].text;

        assert_ptr_equal(test_pin(records, 2, i % 2 ? "0417" : NULL, 34.05,
                                  speeds[i / 2].speed, 0, &source, reason),
                         text ? NULL : &records[1 - i % 2]);
        assert_string_equal(reason, text ? text : "");
    }

    /* however long ago that was */
    assert_null(test_pin(records, 2, "0417", 34.05, 1, HOUR, &source,
                         reason));
}


/*
 * Many deliveries of a few robots, one after the other, as pilots and
 * merchants make them: a robot departs only when its delivery says so. What
 * messages tell of a leg comes shuffled, doubled, and much of it once more in
 * any later leg, when the robot's next delivery may be there.
 */

#define RUNS     2000
#define ROBOTS   3
#define ROUNDS   3                      /* deliveries of each robot */
#define ALL      (ROBOTS * ROUNDS)
#define STORIES  (ALL * 16)

/* A message: a close, or with a delivery an arrival. */
typedef struct {
    coco_lid_close_t        close;
    char                    reference[COCO_ID_TEXT_LEN];
    int                     arrives;    /* index of the delivery; -1: none */
    coco_delivery_event_e   event;
    int64_t                 at;
} test_story_t;

typedef struct {
    coco_delivery_record_t  records[ALL];
    size_t                  loads[ALL], arrivals[ALL], completions[ALL];
    size_t                  anomalies;
    uint32_t                merchant[ALL];  /* the first cycle of its loading,
                                               and one more */
    test_story_t            stories[STORIES];
    size_t                  story_count;
    bool                    forgetful;  /* events that came count again */
    coco_id_t               seen[STORIES];
    size_t                  seen_count;
    uint32_t                cycles;
    int64_t                 clock;
} test_world_t;

static const coco_str_t  test_serials[ROBOTS] = {
    coco_string("r-1"), coco_string("r-2"), coco_string("r-3")
};

static uint32_t  test_random_state;


/* xorshift */
static uint32_t
test_random(uint32_t below)
{
    test_random_state ^= test_random_state << 13;
    test_random_state ^= test_random_state >> 17;
    test_random_state ^= test_random_state << 5;

    return test_random_state % below;
}


static void
test_tell_cycle(test_world_t *world, int n, coco_lid_source_e source)
{
    uint32_t       cycle = ++world->cycles;
    test_story_t  *story;

    for (int complete = 0; complete < 2; complete++) {
        story = &world->stories[world->story_count++];
        story->arrives = -1;
        story->close = test_close(cycle, source, complete);
        story->close.serial = world->records[n].serial;
        story->close.closed_at = world->clock + 10;

        if (source == COCO_SOURCE_QR || source == COCO_SOURCE_PIN
            || source == COCO_SOURCE_PINLESS)
        {
            story->close.data.reference
                = test_reference(story->reference, (uint32_t) n + 1);
        }
    }
}


static void
test_tell_arrival(test_world_t *world, int n, coco_delivery_event_e event)
{
    test_story_t  *story = &world->stories[world->story_count++];

    story->arrives = n;
    story->event = event;
    story->at = world->clock;
}


static bool
test_seen(test_world_t *world, const coco_id_t *id)
{
    for (size_t i = 0; i < world->seen_count && !world->forgetful; i++) {
        if (memcmp(&world->seen[i], id, sizeof(*id)) == 0) {
            return true;
        }
    }

    if (!world->forgetful) {
        world->seen[world->seen_count++] = *id;
    }

    return false;
}


static void
test_hear(test_world_t *world, const test_story_t *story)
{
    size_t                  n;
    coco_delivery_effect_t  effect;

    if (story->arrives >= 0) {
        coco_service_deliveries_arrival(&world->records[story->arrives],
                                        story->event, story->at, &effect);

    } else if (test_seen(world, &story->close.id)) {
        return;

    } else {
        coco_service_deliveries_close(world->records, ALL, &story->close,
                                      world->clock, &effect);
    }

    world->anomalies += effect.anomaly != COCO_ANOMALY_NONE;

    for (int k = 0; k < 2 && effect.to[k] != COCO_DELIVERY_NONE; k++) {
        n = (size_t) (effect.delivery - world->records);
        world->loads[n] += effect.to[k] == COCO_DELIVERY_LOADED;
        world->arrivals[n] += effect.to[k] == COCO_DELIVERY_AT_PICKUP
                              || effect.to[k] == COCO_DELIVERY_AT_DROPOFF;
        world->completions[n] += effect.to[k] == COCO_DELIVERY_COMPLETED;
    }
}


/* The stories from `first` on, doubled and shuffled, old ones among them. */
static void
test_hear_leg(test_world_t *world, size_t first)
{
    size_t   count = 0, at;
    uint32_t swap, order[STORIES * 3];

    for (size_t i = 0; i < world->story_count; i++) {
        if (i >= first || test_random(4) == 0) {
            order[count++] = (uint32_t) i;
        }

        if (i >= first && test_random(2) == 0) {
            order[count++] = (uint32_t) i;
        }
    }

    for (size_t i = count; i > 1; i--) {
        at = test_random((uint32_t) i);
        swap = order[at];
        order[at] = order[i - 1];
        order[i - 1] = swap;
    }

    for (size_t i = 0; i < count; i++) {
        test_hear(world, &world->stories[order[i]]);
    }
}


static void
test_leg(test_world_t *world, int round, bool pickup)
{
    int                      n;
    size_t                   first = world->story_count;
    coco_delivery_record_t  *r;

    static const coco_lid_source_e  merchants[] = {
        COCO_SOURCE_NONE, COCO_SOURCE_QR, COCO_SOURCE_MAGIC_LID,
        COCO_SOURCE_PINLESS, COCO_SOURCE_PIN, COCO_SOURCE_RESYNC
    };

    for (int robot = 0; robot < ROBOTS; robot++) {
        n = round * ROBOTS + robot;
        r = &world->records[n];
        world->clock += 1000;

        if (pickup) {
            r->serial = test_serials[robot];
            r->created_at = world->clock;
            r->status = COCO_DELIVERY_ENROUTE_TO_PICKUP;
            world->merchant[n] = world->cycles + 1;

        } else {
            r->status = coco_delivery_transitions[r->status]
                                                 [COCO_DELIVERY_DEPART];
        }

        test_tell_arrival(world, n, pickup ? COCO_DELIVERY_ARRIVE_PICKUP
                                           : COCO_DELIVERY_ARRIVE_DROPOFF);
        test_tell_cycle(world, n, merchants[test_random(6)]);

        if (pickup) {
            /* looks again whether the bag stands well; and an operator */
            test_tell_cycle(world, n, merchants[test_random(6)]);
            test_tell_cycle(world, n, COCO_SOURCE_OPERATOR);
        }
    }

    test_hear_leg(world, first);
}


/* What is wrong with it; NULL: nothing. */
static const char *
test_wrong(const test_world_t *world, int n)
{
    coco_id_t                      a, b;
    const coco_delivery_record_t  *r = &world->records[n];

    a = test_id(world->merchant[n]);
    b = test_id(world->merchant[n] + 1);

    return r->status != COCO_DELIVERY_COMPLETED ? "is not completed"
        : world->loads[n] != 1 ? "is not loaded once"
        : world->completions[n] != 1 ? "is not completed once"
        : world->arrivals[n] > 2 ? "arrives too often"
        : !r->loaded_here || !(test_same(r->loaded_cycle, a)
                               || test_same(r->loaded_cycle, b))
          ? "is loaded by what was no close of its merchant's" : NULL;
}


/* How many deliveries have come to something else. */
static size_t
test_runs(bool forgetful, uint32_t *ret_events)
{
    size_t               wrong = 0;
    const char          *what;
    static test_world_t  world;

    *ret_events = 0;

    for (uint32_t run = 0; run < RUNS; run++) {
        test_random_state = 20261122 + run;
        memset(&world, 0, sizeof(world));
        world.forgetful = forgetful;
        world.clock = NOW;

        for (int n = 0; n < ALL; n++) {
            world.records[n] = test_record((uint32_t) n + 1,
                                           COCO_DELIVERY_CREATED);
            world.records[n].serial = (coco_str_t) { NULL, 0 };
        }

        for (int leg = 0; leg < 2 * ROUNDS; leg++) {
            test_leg(&world, leg / 2, leg % 2 == 0);
        }

        *ret_events += (uint32_t) world.story_count;

        if (world.anomalies != 0 && !forgetful) {
            fail_msg("seed %u: %zu anomalies", 20261122 + run,
                     world.anomalies);
        }

        for (int n = 0; n < ALL; n++) {
            what = test_wrong(&world, n);
            wrong += what != NULL;

            if (what != NULL && !forgetful) {
                fail_msg("seed %u: delivery %d %s", 20261122 + run, n, what);
            }
        }
    }

    return wrong;
}


static void
many_deliveries_in_every_disorder_end_alike(void **state)
{
    size_t    wrong;
    uint32_t  events;

    assert_int_equal(test_runs(false, &events), 0);

    /* the check can fail: without a memory of events, some go wrong */
    wrong = test_runs(true, &events);
    assert_true(wrong > 0);

    printf("seed 20261122: %d runs, %d deliveries, %u messages and their "
           "repeats; without a memory %zu deliveries go wrong\n", RUNS,
           RUNS * ALL, events, wrong);
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
        cmocka_unit_test(a_pin_cycle_acts_by_its_completion),
        cmocka_unit_test(arrivals_come_once_and_only_where_they_may),
        cmocka_unit_test(a_close_before_its_arrival_completes_with_it),
        cmocka_unit_test(a_late_close_completes_nothing),
        cmocka_unit_test(a_close_is_the_time_of_its_load),
        cmocka_unit_test(a_close_from_before_the_visit_loads_nothing),
        cmocka_unit_test(of_several_the_one_at_its_drop_off_is_completed),
        cmocka_unit_test(a_heartbeat_arrives_near_and_slow),
        cmocka_unit_test(a_pin_opens_for_the_delivery_that_has_it),
        cmocka_unit_test(without_a_pin_the_place_opens),
        cmocka_unit_test(what_moves_is_not_opened),
        cmocka_unit_test(many_deliveries_in_every_disorder_end_alike),
        cmocka_unit_test(names_are_the_contracts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
