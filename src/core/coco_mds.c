/*
 * The emitter: what a robot's facts are to a city. Its vehicle is led from
 * where it was told to be to where it is, by transitions of the table alone;
 * so what facts have skipped is told, too.
 */

#include "coco_mds.h"


/* A fact that is being told. */
typedef struct {
    coco_mds_vehicle_t  *vehicle;
    int64_t              at;
    coco_mds_told_t     *told;
    unsigned             count;
} teller_t;

/* By which events a vehicle sets out and halts. */
typedef struct {
    coco_mds_event_e  go, halt;
} way_t;


static void comms_tell(teller_t *t, bool online);
static void trip_take(coco_mds_vehicle_t *vehicle,
    const coco_mds_trip_t *trip);
static void ended_tell(teller_t *t);
static bool others_begun(const coco_mds_vehicle_t *vehicle,
    const coco_mds_trip_t *trip);
static void trip_end(teller_t *t, coco_mds_trip_t *trip);
static void trip_walk(teller_t *t, coco_mds_trip_t *trip,
    coco_mds_phase_e goal);
static void trips_rank(teller_t *t);
static void service_tell(teller_t *t);
static void lead(teller_t *t, coco_mds_state_e to, way_t way);
static void tell(teller_t *t, coco_mds_event_e event,
    coco_mds_state_e state);
static void mark(teller_t *t, const coco_mds_trip_t *trip, bool starts);
static coco_mds_phase_e phase_of(coco_delivery_status_e status);


static const way_t  plain = { COCO_MDS_TRIP_RESUME, COCO_MDS_TRIP_PAUSE };

/* Where a vehicle is that has this trip alone, and the event that brings it
 * there from the phase before. */
static const struct {
    coco_mds_state_e  state;
    coco_mds_event_e  event;
} phases[COCO_MDS_PHASES] = {
    [COCO_MDS_PHASE_NONE] = { COCO_MDS_AVAILABLE, COCO_MDS_EVENTS },
    [COCO_MDS_PHASE_RESERVED] =
        { COCO_MDS_RESERVED, COCO_MDS_RESERVATION_START },
    [COCO_MDS_PHASE_TO_PICKUP] = { COCO_MDS_ON_TRIP, COCO_MDS_TRIP_START },
    [COCO_MDS_PHASE_AT_PICKUP] = { COCO_MDS_STOPPED, COCO_MDS_ORDER_PICK_UP },
    [COCO_MDS_PHASE_TO_DROPOFF] = { COCO_MDS_ON_TRIP, COCO_MDS_TRIP_RESUME },
    [COCO_MDS_PHASE_AT_DROPOFF] =
        { COCO_MDS_STOPPED, COCO_MDS_ORDER_DROP_OFF }
};


unsigned
coco_mds_apply(coco_mds_vehicle_t *vehicle, const coco_mds_fact_t *fact,
    coco_mds_told_t ret[COCO_MDS_TOLD_MAX])
{
    teller_t  t = { vehicle, fact->at, ret, 0 };

    switch (fact->kind) {

    case COCO_MDS_FACT_COMMS:
        comms_tell(&t, fact->online);
        break;

    case COCO_MDS_FACT_BUSINESS:
        vehicle->serves = fact->serves;
        vehicle->maintained = fact->maintained;
        break;

    case COCO_MDS_FACT_DELIVERY:
        trip_take(vehicle, &fact->trip);
        break;
    }

    if (vehicle->away) {
        return t.count;
    }

    ended_tell(&t);

    if (vehicle->ntrips == 1) {
        trip_walk(&t, vehicle->trips, phase_of(vehicle->trips[0].status));

    } else if (vehicle->ntrips > 1) {
        trips_rank(&t);

    } else {
        service_tell(&t);
    }

    return t.count;
}


static void
comms_tell(teller_t *t, bool online)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    if (online != v->away) {
        return;
    }

    v->away = !online;

    if (v->away) {
        v->prior = v->state;
        tell(t, COCO_MDS_COMMS_LOST, COCO_MDS_NON_CONTACTABLE);

    } else {
        tell(t, COCO_MDS_COMMS_RESTORED, v->prior);
    }
}


/* A trip that is over is kept until its end was told; one of which nobody has
 * heard before needs none. */
static void
trip_take(coco_mds_vehicle_t *vehicle, const coco_mds_trip_t *trip)
{
    unsigned          i;
    coco_mds_trip_t  *known;

    for (i = 0; i < vehicle->ntrips; i++) {
        known = &vehicle->trips[i];

        if (memcmp(&known->trip, &trip->trip, sizeof(trip->trip)) != 0) {
            continue;
        }

        if (!coco_delivery_final(known->status)) {
            known->status = trip->status;
            known->cancellation = trip->cancellation;
        }

        return;
    }

    if (i == COCO_MDS_TRIPS || coco_delivery_final(trip->status)) {
        return;
    }

    vehicle->trips[i] = *trip;
    vehicle->trips[i].phase = COCO_MDS_PHASE_NONE;
    vehicle->ntrips++;
}


/* A vehicle that is on its way for another trip stays so. */
static void
ended_tell(teller_t *t)
{
    unsigned             i = 0;
    coco_mds_trip_t     *trip;
    coco_mds_vehicle_t  *v = t->vehicle;

    while (i < v->ntrips) {
        trip = &v->trips[i];

        if (!coco_delivery_final(trip->status)) {
            i++;
            continue;
        }

        if (!others_begun(v, trip)) {
            trip_end(t, trip);
        }

        mark(t, trip, false);

        v->ntrips--;
        memmove(trip, trip + 1, (v->ntrips - i) * sizeof(*trip));
    }
}


static bool
others_begun(const coco_mds_vehicle_t *vehicle, const coco_mds_trip_t *trip)
{
    const coco_mds_trip_t  *other, *end;

    end = vehicle->trips + vehicle->ntrips;

    for (other = vehicle->trips; other < end; other++) {
        if (other != trip && other->phase > COCO_MDS_PHASE_RESERVED) {
            return true;
        }
    }

    return false;
}


static void
trip_end(teller_t *t, coco_mds_trip_t *trip)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    if (trip->status == COCO_DELIVERY_COMPLETED) {
        trip_walk(t, trip, COCO_MDS_PHASE_AT_DROPOFF);
        tell(t, COCO_MDS_TRIP_END, COCO_MDS_AVAILABLE);
        return;
    }

    if (v->state == COCO_MDS_ON_TRIP) {
        tell(t, COCO_MDS_TRIP_PAUSE, COCO_MDS_STOPPED);
    }

    if (trip->phase != COCO_MDS_PHASE_NONE
        && (v->state == COCO_MDS_STOPPED || v->state == COCO_MDS_RESERVED))
    {
        tell(t, trip->cancellation, COCO_MDS_AVAILABLE);
    }
}


/* Phase by phase. */
static void
trip_walk(teller_t *t, coco_mds_trip_t *trip, coco_mds_phase_e goal)
{
    /* other trips may have led the vehicle elsewhere */
    lead(t, phases[trip->phase].state, plain);

    while (trip->phase < goal) {

        if (trip->phase == COCO_MDS_PHASE_RESERVED) {
            tell(t, COCO_MDS_RESERVATION_STOP, COCO_MDS_STOPPED);
        }

        trip->phase++;
        tell(t, phases[trip->phase].event, phases[trip->phase].state);

        if (trip->phase == COCO_MDS_PHASE_TO_PICKUP) {
            mark(t, trip, true);
        }
    }
}


/* Of several trips: stopped goes before on_trip, and that before reserved. */
static void
trips_rank(teller_t *t)
{
    way_t                way = plain;
    coco_mds_state_e     state = COCO_MDS_RESERVED;
    coco_mds_phase_e     phase;
    coco_mds_trip_t     *trip, *end;

    end = t->vehicle->trips + t->vehicle->ntrips;

    for (trip = t->vehicle->trips; trip < end; trip++) {
        phase = phase_of(trip->status);

        if (phase > trip->phase) {

            if (trip->phase < COCO_MDS_PHASE_TO_PICKUP
                && phase >= COCO_MDS_PHASE_TO_PICKUP)
            {
                way.go = COCO_MDS_TRIP_START;
                mark(t, trip, true);
            }

            trip->phase = phase;
        }

        if (phases[trip->phase].state == COCO_MDS_STOPPED) {
            state = COCO_MDS_STOPPED;
            way.halt = phases[trip->phase].event;

        } else if (phases[trip->phase].state == COCO_MDS_ON_TRIP
                   && state == COCO_MDS_RESERVED)
        {
            state = COCO_MDS_ON_TRIP;
        }
    }

    lead(t, state, way);
}


/* Without a trip. */
static void
service_tell(teller_t *t)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    lead(t, v->serves ? COCO_MDS_AVAILABLE : COCO_MDS_NON_OPERATIONAL, plain);

    if (!v->serves && v->maintained != v->maintenance) {
        v->maintenance = v->maintained;
        tell(t, v->maintained ? COCO_MDS_MAINTENANCE
                              : COCO_MDS_MAINTENANCE_END,
             COCO_MDS_NON_OPERATIONAL);
    }
}


/* Step by step, to one of available, non_operational, reserved, stopped and
 * on_trip. */
static void
lead(teller_t *t, coco_mds_state_e to, way_t way)
{
    bool                 moves, waits;
    coco_mds_vehicle_t  *v = t->vehicle;

    moves = to == COCO_MDS_ON_TRIP || to == COCO_MDS_STOPPED;
    waits = to == COCO_MDS_AVAILABLE || to == COCO_MDS_NON_OPERATIONAL;

    while (v->state != to) {

        switch (v->state) {

        case COCO_MDS_NON_OPERATIONAL:
            if (v->maintenance) {
                v->maintenance = false;
                tell(t, COCO_MDS_MAINTENANCE_END, COCO_MDS_NON_OPERATIONAL);
            }

            tell(t, COCO_MDS_SERVICE_START, COCO_MDS_AVAILABLE);
            break;

        case COCO_MDS_AVAILABLE:
            if (waits) {
                tell(t, COCO_MDS_SERVICE_END, COCO_MDS_NON_OPERATIONAL);

            } else {
                tell(t, COCO_MDS_RESERVATION_START, COCO_MDS_RESERVED);
            }

            break;

        case COCO_MDS_RESERVED:
            if (moves) {
                tell(t, COCO_MDS_RESERVATION_STOP, COCO_MDS_STOPPED);

            } else {
                tell(t, COCO_MDS_PROVIDER_CANCELLATION, COCO_MDS_AVAILABLE);
            }

            break;

        case COCO_MDS_STOPPED:
            if (to == COCO_MDS_ON_TRIP) {
                tell(t, way.go, COCO_MDS_ON_TRIP);

            } else {
                tell(t, COCO_MDS_TRIP_END, COCO_MDS_AVAILABLE);
            }

            break;

        case COCO_MDS_ON_TRIP:
            tell(t, way.halt, COCO_MDS_STOPPED);
            break;

        default:
            /* removed: the first that is ever told of it */
            tell(t, COCO_MDS_RECOMMISSIONED, COCO_MDS_NON_OPERATIONAL);
        }
    }
}


static void
tell(teller_t *t, coco_mds_event_e event, coco_mds_state_e state)
{
    unsigned             i;
    coco_mds_told_t     *told;
    coco_mds_vehicle_t  *v = t->vehicle;

    v->state = state;
    v->told_at = t->at > v->told_at ? t->at : v->told_at + 1;

    told = &t->told[t->count++];
    *told = (coco_mds_told_t) {
        .event = event, .state = state, .at = v->told_at, .ntrips = v->ntrips
    };

    for (i = 0; i < v->ntrips; i++) {
        told->trips[i] = v->trips[i].trip;
    }
}


/* At the time of the event before, if there is one. */
static void
mark(teller_t *t, const coco_mds_trip_t *trip, bool starts)
{
    t->told[t->count++] = (coco_mds_told_t) {
        .event = COCO_MDS_EVENTS, .state = t->vehicle->state,
        .at = t->count > 0 ? t->vehicle->told_at : t->at,
        .starts = starts, .ends = !starts,
        .canceled = trip->status == COCO_DELIVERY_CANCELED, .trip = *trip
    };
}


static coco_mds_phase_e
phase_of(coco_delivery_status_e status)
{
    switch (status) {

    case COCO_DELIVERY_ENROUTE_TO_PICKUP:
        return COCO_MDS_PHASE_TO_PICKUP;

    case COCO_DELIVERY_AT_PICKUP:
    case COCO_DELIVERY_LOADED:
        return COCO_MDS_PHASE_AT_PICKUP;

    case COCO_DELIVERY_ENROUTE_TO_DROPOFF:
        return COCO_MDS_PHASE_TO_DROPOFF;

    case COCO_DELIVERY_AT_DROPOFF:
    case COCO_DELIVERY_COMPLETED:
        return COCO_MDS_PHASE_AT_DROPOFF;

    default:
        return COCO_MDS_PHASE_RESERVED;
    }
}
