/*
 * The deliveries service, pure: every status, source and reference.
 * Expectations are spelled out anew, never taken from what is tested.
 */

#include "worker_deliveries.h"


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
        cmocka_unit_test(names_are_the_contracts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
