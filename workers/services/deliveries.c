/*
 * The deliveries service: what a lid's closing and a robot's arrival do to a
 * delivery, and for which one a typed PIN opens. Must never look at anything
 * but its arguments, nor let a PIN out of them.
 */

#include <math.h>
#include <stdio.h>

#include <openssl/crypto.h>

#include "services/service.h"

#define COCO_FALLBACK_MS  (24 * 3600 * 1000LL)

/* A lid that nobody said anything of and that was closed so long before the
 * robot came to the pickup was closed elsewhere. */
#define COCO_BEFORE_MS    60000

static coco_delivery_record_t *coco_service_deliveries_referenced(
    coco_delivery_record_t *records, size_t count,
    const coco_lid_close_t *close, coco_delivery_effect_t *ret);
static coco_delivery_record_t *coco_service_deliveries_fallback(
    coco_delivery_record_t *records, size_t count,
    const coco_lid_close_t *close, int64_t now, coco_delivery_effect_t *ret);
static bool coco_service_deliveries_completes(
    const coco_delivery_record_t *record, const coco_lid_close_t *close);
static void coco_service_deliveries_apply(coco_delivery_record_t *record,
    const coco_lid_close_t *close, bool loads, coco_delivery_effect_t *ret);
static void coco_service_deliveries_move(coco_delivery_record_t *record,
    coco_delivery_event_e event, coco_delivery_effect_t *ret);
static bool coco_service_deliveries_stands(coco_lid_source_e source,
    const coco_position_t *position, int64_t now, int64_t age_ms,
    char ret_reason[COCO_PIN_REASON]);
static bool coco_service_deliveries_at(const coco_delivery_record_t *record,
    coco_lid_source_e source, coco_str_t pin,
    const coco_position_t *position);


coco_str_t
coco_anomaly_name(coco_anomaly_e kind)
{
    static const coco_str_t  names[] = {
        [COCO_ANOMALY_NONE] = { NULL, 0 },
        [COCO_ANOMALY_NO_DELIVERY] = coco_string("NO_DELIVERY"),
        [COCO_ANOMALY_SEVERAL_DELIVERIES]
            = coco_string("SEVERAL_DELIVERIES"),
        [COCO_ANOMALY_NEVER_CLOSED] = coco_string("NEVER_CLOSED"),
        [COCO_ANOMALY_CLOSE_WITHOUT_OPEN]
            = coco_string("CLOSE_WITHOUT_OPEN"),
        [COCO_ANOMALY_RESYNC] = coco_string("RESYNC")
    };

    return names[kind];
}


/*
 * A closing comes twice, as Robots.LidClose and as LidCycle.Complete, in
 * either order: one of the two acts, for PIN the second. An operator who finds
 * no delivery is no anomaly.
 */
void
coco_service_deliveries_close(coco_delivery_record_t *records, size_t count,
    const coco_lid_close_t *close, int64_t now, coco_delivery_effect_t *ret)
{
    bool                     loads;
    coco_lid_source_e        source = close->data.source;
    coco_delivery_record_t  *record;

    memset(ret, 0, sizeof(*ret));

    if (close->complete != (source == COCO_SOURCE_PIN)) {
        return;
    }

    loads = source != COCO_SOURCE_OPERATOR;
    record = close->data.reference.data != NULL
             ? coco_service_deliveries_referenced(records, count, close, ret)
             : coco_service_deliveries_fallback(records, count, close, now,
                                                ret);

    if (!loads) {
        ret->anomaly = COCO_ANOMALY_NONE;
        ret->reason = NULL;
    }

    if (record != NULL) {
        coco_service_deliveries_apply(record, close, loads, ret);
    }
}


static bool
coco_service_deliveries_cycle(const coco_delivery_record_t *record,
    const coco_lid_close_t *close)
{
    return record->loaded_here
           && memcmp(&record->loaded_cycle, &close->data.cycle,
                     sizeof(record->loaded_cycle)) == 0;
}


/* The delivery that the close names, when it may still change. */
static coco_delivery_record_t *
coco_service_deliveries_referenced(coco_delivery_record_t *records,
    size_t count, const coco_lid_close_t *close, coco_delivery_effect_t *ret)
{
    coco_id_t                id;
    coco_delivery_record_t  *record = NULL;

    if (coco_id_parse(&id, close->data.reference) == COCO_OK) {
        for (size_t i = 0; i < count && record == NULL; i++) {
            if (memcmp(&records[i].id, &id, sizeof(id)) == 0) {
                record = &records[i];
            }
        }
    }

    if (record == NULL) {
        ret->reason = "the reference names no delivery";

    } else if (!coco_str_equal(record->serial, close->serial)) {
        ret->reason = "the reference names a delivery of another robot";

    } else if (coco_service_deliveries_cycle(record, close)) {
        return NULL;

    } else if (record->status == COCO_DELIVERY_COMPLETED) {
        ret->reason = "the reference names a delivery that is completed";

    } else if (record->status == COCO_DELIVERY_CANCELED) {
        ret->reason = "the reference names a delivery that is canceled";

    } else {
        return record;
    }

    ret->anomaly = COCO_ANOMALY_NO_DELIVERY;

    return NULL;
}


/* The seeds' fallback lookup: several count only for loading. */
static coco_delivery_record_t *
coco_service_deliveries_fallback(coco_delivery_record_t *records,
    size_t count, const coco_lid_close_t *close, int64_t now,
    coco_delivery_effect_t *ret)
{
    size_t                   found = 0, ends = 0;
    coco_delivery_record_t  *record = NULL, *end = NULL;

    for (size_t i = 0; i < count; i++) {
        if (!coco_service_deliveries_candidate(&records[i], close->serial,
                                               now))
        {
            continue;
        }

        record = &records[i];
        found++;

        if (record->status == COCO_DELIVERY_AT_DROPOFF) {
            end = record;
            ends++;
        }
    }

    if (ends == 1 && coco_service_deliveries_completes(end, close)) {
        return end;
    }

    if (found == 1 && record->status == COCO_DELIVERY_AT_PICKUP
        && record->arrived_at != COCO_NEVER
        && close->closed_at < record->arrived_at - COCO_BEFORE_MS)
    {
        ret->anomaly = COCO_ANOMALY_NO_DELIVERY;
        ret->reason = "the lid was closed over 60 s before the robot came to "
                      "the pickup";
        return NULL;
    }

    if (found == 1) {
        return record;
    }

    ret->anomaly = found ? COCO_ANOMALY_SEVERAL_DELIVERIES
                         : COCO_ANOMALY_NO_DELIVERY;
    ret->reason = found
        ? "several deliveries of the robot are active, and nothing names one"
        : "no delivery of the robot is active";

    return NULL;
}


bool
coco_service_deliveries_candidate(const coco_delivery_record_t *record,
    coco_str_t serial, int64_t now)
{
    return !coco_delivery_final(record->status)
           && coco_str_equal(record->serial, serial)
           && record->created_at > now - COCO_FALLBACK_MS;
}


/* May the close be that at the drop-off? Not what only came late: from before
 * the load or the arrival. The same clock has told of all three. */
static bool
coco_service_deliveries_completes(const coco_delivery_record_t *record,
    const coco_lid_close_t *close)
{
    return !coco_service_deliveries_cycle(record, close)
           && close->closed_at > record->loaded_at
           && close->closed_at >= record->arrived_at;
}


static void
coco_service_deliveries_apply(coco_delivery_record_t *record,
    const coco_lid_close_t *close, bool loads, coco_delivery_effect_t *ret)
{
    if (coco_service_deliveries_cycle(record, close)) {
        return;
    }

    switch (record->status) {

    case COCO_DELIVERY_AT_DROPOFF:
        if (coco_service_deliveries_completes(record, close)) {
            coco_service_deliveries_move(record, COCO_DELIVERY_COMPLETE, ret);
        }
        return;

    case COCO_DELIVERY_ENROUTE_TO_DROPOFF:
        /* the arrival that this close came after may be on its way */
        if (coco_service_deliveries_completes(record, close)
            && close->closed_at > record->early_close_at)
        {
            record->early_close_at = close->closed_at;
            ret->delivery = record;
            ret->from = record->status;
            ret->early = true;
        }
        return;

    default:
        break;
    }

    if (!loads) {
        return;
    }

    coco_service_deliveries_move(record, COCO_DELIVERY_LOAD, ret);

    if (ret->delivery != NULL) {
        record->loaded_here = true;
        record->loaded_cycle = close->data.cycle;
        record->loaded_at = close->closed_at;
    }
}


/* Nothing where the machine forbids it. */
static void
coco_service_deliveries_move(coco_delivery_record_t *record,
    coco_delivery_event_e event, coco_delivery_effect_t *ret)
{
    coco_delivery_status_e  to;

    to = coco_delivery_transitions[record->status][event];

    if (to == COCO_DELIVERY_NONE) {
        return;
    }

    if (ret->delivery == NULL) {
        ret->delivery = record;
        ret->from = record->status;
        ret->to[0] = to;

    } else {
        ret->to[1] = to;
    }

    record->status = to;
    record->arrived_at = COCO_NEVER;
}


void
coco_service_deliveries_arrival(coco_delivery_record_t *record,
    coco_delivery_event_e event, int64_t at, coco_delivery_effect_t *ret)
{
    memset(ret, 0, sizeof(*ret));
    coco_service_deliveries_move(record, event, ret);

    if (ret->delivery == NULL) {
        return;
    }

    record->arrived_at = at;

    if (event == COCO_DELIVERY_ARRIVE_DROPOFF
        && record->early_close_at != COCO_NEVER
        && record->early_close_at >= at)
    {
        coco_service_deliveries_move(record, COCO_DELIVERY_COMPLETE, ret);
    }
}


bool
coco_service_deliveries_arrived(const coco_delivery_record_t *record,
    const coco_heartbeat_t *hb, coco_delivery_event_e *ret_event)
{
    bool    pickup;
    double  meters;

    pickup = record->status == COCO_DELIVERY_ENROUTE_TO_PICKUP;

    if ((!pickup && record->status != COCO_DELIVERY_ENROUTE_TO_DROPOFF)
        || (hb->has_speed && hb->speed >= COCO_ARRIVAL_SPEED))
    {
        return false;
    }

    meters = coco_distance_meters(hb->latitude, hb->longitude,
                 pickup ? record->pickup_latitude : record->dropoff_latitude,
                 pickup ? record->pickup_longitude
                        : record->dropoff_longitude);

    if (meters > COCO_ARRIVAL_METERS) {
        return false;
    }

    *ret_event = pickup ? COCO_DELIVERY_ARRIVE_PICKUP
                        : COCO_DELIVERY_ARRIVE_DROPOFF;

    return true;
}


const coco_delivery_record_t *
coco_service_deliveries_pin(const coco_delivery_record_t *records,
    size_t count, coco_str_t pin, const coco_position_t *position,
    int64_t now, int64_t age_ms, coco_lid_source_e *ret_source,
    char ret_reason[COCO_PIN_REASON])
{
    coco_lid_source_e              source;
    const coco_delivery_record_t  *r, *found = NULL;

    source = pin.data != NULL ? COCO_SOURCE_PIN : COCO_SOURCE_PINLESS;

    if (count > 0
        && !coco_service_deliveries_stands(source, position, now, age_ms,
                                           ret_reason))
    {
        return NULL;
    }

    for (size_t i = 0; i < count; i++) {
        r = &records[i];

        /* of several with the PIN of one store: the one that is served */
        if (coco_service_deliveries_at(r, source, pin, position)
            && (found == NULL || r->status == COCO_DELIVERY_AT_PICKUP
                || r->status == COCO_DELIVERY_AT_DROPOFF))
        {
            found = r;
        }
    }

    if (found != NULL) {
        *ret_source = source;
        return found;
    }

    snprintf(ret_reason, COCO_PIN_REASON, "%s", source == COCO_SOURCE_PIN
             ? "no delivery of the robot that waits for its lid has this PIN"
             : "without a PIN, and no pinless pickup within 30 m");

    return NULL;
}


/* Does what is known of the robot allow that its lid is opened? */
static bool
coco_service_deliveries_stands(coco_lid_source_e source,
    const coco_position_t *position, int64_t now, int64_t age_ms,
    char ret_reason[COCO_PIN_REASON])
{
    bool  pinless = source == COCO_SOURCE_PINLESS;

    if (position->at == COCO_NEVER) {
        if (pinless) {
            snprintf(ret_reason, COCO_PIN_REASON,
                     "without a PIN, and where the robot stands is not known");
        }

        return !pinless;
    }

    if (position->speed > COCO_MOVING_SPEED) {
        snprintf(ret_reason, COCO_PIN_REASON, "The robot moves at %.10g m/s.",
                 round(position->speed * 100) / 100);
        return false;
    }

    if (pinless && now - position->at > age_ms) {
        snprintf(ret_reason, COCO_PIN_REASON,
                 "without a PIN, and the robot was last heard %lld s ago",
                 (long long) ((now - position->at) / 1000));
        return false;
    }

    return true;
}


/* May this delivery's merchant, or with a PIN its customer, open the lid
 * here? */
static bool
coco_service_deliveries_at(const coco_delivery_record_t *r,
    coco_lid_source_e source, coco_str_t pin, const coco_position_t *position)
{
    if (r->status != COCO_DELIVERY_ASSIGNED
        && r->status != COCO_DELIVERY_ENROUTE_TO_PICKUP
        && r->status != COCO_DELIVERY_AT_PICKUP
        && (source != COCO_SOURCE_PIN
            || r->status != COCO_DELIVERY_AT_DROPOFF))
    {
        return false;
    }

    if (source == COCO_SOURCE_PIN) {
        return r->flow != COCO_SOURCE_PINLESS && r->pin.data != NULL
               && r->pin.len == pin.len
               && CRYPTO_memcmp(r->pin.data, pin.data, pin.len) == 0;
    }

    return r->flow == COCO_SOURCE_PINLESS
           && coco_distance_meters(position->latitude, position->longitude,
                                   r->pickup_latitude, r->pickup_longitude)
              <= COCO_ARRIVAL_METERS;
}
