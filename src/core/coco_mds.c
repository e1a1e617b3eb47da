/*
 * The emitter: what a robot's facts are to a city. Its vehicle is led from
 * where it was told to be to where it is, by transitions of the table alone.
 * Must never tell another one, nor of a time before what it has told.
 */

#include "coco_mds.h"


/* A fact that is being told. */
typedef struct {
    coco_mds_vehicle_t  *vehicle;
    int64_t              at;
    coco_mds_told_t     *told;
    unsigned             count;
} teller_t;


static void comms_tell(teller_t *t, bool online);
static void trip_take(coco_mds_vehicle_t *vehicle,
    const coco_mds_trip_t *news);
static coco_mds_trip_t *trip_find(coco_mds_vehicle_t *vehicle,
    const coco_id_t *id);
static coco_mds_trip_t *trip_add(coco_mds_vehicle_t *vehicle);
static void trip_remove(coco_mds_vehicle_t *vehicle, coco_mds_trip_t *trip);
static void trip_walk(teller_t *t, coco_mds_trip_t *trip);
static void trip_end(teller_t *t, coco_mds_trip_t *trip);
static void service_tell(teller_t *t);
static void maintenance_tell(teller_t *t, bool maintenance);
static void lead(teller_t *t, coco_mds_state_e to,
    const coco_mds_trip_t *cause);
static coco_mds_state_e next_state(coco_mds_state_e from,
    coco_mds_state_e to);
static coco_mds_event_e cause_event(const coco_mds_vehicle_t *vehicle,
    coco_mds_state_e next, const coco_mds_trip_t *cause);
static void starts_tell(teller_t *t);
static bool starts(const coco_mds_trip_t *trip);
static coco_mds_state_e trips_state(const coco_mds_vehicle_t *vehicle,
    const coco_mds_trip_t *but);
static void tell(teller_t *t, coco_mds_event_e event,
    coco_mds_state_e state);
static void mark(teller_t *t, const coco_mds_trip_t *trip, bool ends);
static coco_mds_phase_e phase_of(coco_delivery_status_e status);


/* Of several trips the one counts that is highest here. */
static const coco_mds_state_e  ranks[] = {
    COCO_MDS_AVAILABLE, COCO_MDS_RESERVED, COCO_MDS_ON_TRIP, COCO_MDS_STOPPED
};

/* halt: why a vehicle stops that has come so far. */
static const struct {
    unsigned          rank;
    coco_mds_event_e  halt;
} phases[COCO_MDS_PHASES] = {
    [COCO_MDS_PHASE_NONE] = { 0, COCO_MDS_TRIP_PAUSE },
    [COCO_MDS_PHASE_RESERVED] = { 1, COCO_MDS_TRIP_PAUSE },
    [COCO_MDS_PHASE_TO_PICKUP] = { 2, COCO_MDS_TRIP_PAUSE },
    [COCO_MDS_PHASE_AT_PICKUP] = { 3, COCO_MDS_ORDER_PICK_UP },
    [COCO_MDS_PHASE_TO_DROPOFF] = { 2, COCO_MDS_TRIP_PAUSE },
    [COCO_MDS_PHASE_AT_DROPOFF] = { 3, COCO_MDS_ORDER_DROP_OFF }
};


bool
coco_mds_vehicle_sound(const coco_mds_vehicle_t *vehicle)
{
    coco_mds_state_e  state = vehicle->state, trips;

    if (state == COCO_MDS_REMOVED) {
        return vehicle->ntrips == 0 && !vehicle->maintenance;
    }

    if (state == COCO_MDS_NON_CONTACTABLE) {
        state = vehicle->prior;
    }

    trips = trips_state(vehicle, NULL);

    return state == COCO_MDS_NON_OPERATIONAL
           ? trips == COCO_MDS_AVAILABLE
           : state == trips && !vehicle->maintenance;
}


unsigned
coco_mds_apply(coco_mds_vehicle_t *vehicle, const coco_mds_fact_t *fact,
    coco_mds_told_t ret[COCO_MDS_TOLD_MAX])
{
    teller_t          t = { vehicle, fact->at, ret, 0 };
    coco_mds_trip_t  *trip = vehicle->trips;

    /* whoever is heard of for the first time is in the city */
    if (vehicle->state == COCO_MDS_REMOVED) {
        tell(&t, COCO_MDS_RECOMMISSIONED, COCO_MDS_NON_OPERATIONAL);
    }

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

    if (vehicle->state == COCO_MDS_NON_CONTACTABLE) {
        return t.count;
    }

    while (trip < vehicle->trips + vehicle->ntrips) {
        trip_walk(&t, trip);

        if (coco_delivery_final(trip->status)) {
            trip_end(&t, trip);     /* the next one is here now */

        } else {
            trip++;
        }
    }

    if (vehicle->ntrips == 0) {
        service_tell(&t);
    }

    return t.count;
}


static void
comms_tell(teller_t *t, bool online)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    if (online != (v->state == COCO_MDS_NON_CONTACTABLE)) {
        return;
    }

    if (online) {
        tell(t, COCO_MDS_COMMS_RESTORED, v->prior);

    } else {
        v->prior = v->state;
        tell(t, COCO_MDS_COMMS_LOST, COCO_MDS_NON_CONTACTABLE);
    }
}


/* A trip that is over is kept until its end was told. One that is over when
 * it is first heard of was told long ago. */
static void
trip_take(coco_mds_vehicle_t *vehicle, const coco_mds_trip_t *news)
{
    coco_mds_phase_e  reached = phase_of(news->status);
    coco_mds_trip_t  *trip;

    trip = trip_find(vehicle, &news->trip);

    if (trip == NULL) {
        if (coco_delivery_final(news->status)
            || (trip = trip_add(vehicle)) == NULL)
        {
            return;
        }

        *trip = (coco_mds_trip_t) {
            .trip = news->trip, .delivery = news->delivery,
            .requested_at = news->requested_at
        };

    } else if (coco_delivery_final(trip->status)) {
        return;
    }

    trip->status = news->status;
    trip->cancellation = news->cancellation;

    if (reached > trip->reached) {
        trip->reached = reached;
    }
}


static coco_mds_trip_t *
trip_find(coco_mds_vehicle_t *vehicle, const coco_id_t *id)
{
    coco_mds_trip_t  *trip, *end;

    end = vehicle->trips + vehicle->ntrips;

    for (trip = vehicle->trips; trip < end; trip++) {
        if (memcmp(&trip->trip, id, sizeof(*id)) == 0) {
            return trip;
        }
    }

    return NULL;
}


/* Of what has begun and ended while the vehicle could not be reached, the
 * oldest makes room; NULL: there is none. */
static coco_mds_trip_t *
trip_add(coco_mds_vehicle_t *vehicle)
{
    coco_mds_trip_t  *trip, *end;

    end = vehicle->trips + vehicle->ntrips;

    if (vehicle->ntrips < COCO_MDS_TRIPS) {
        vehicle->ntrips++;
        return end;
    }

    for (trip = vehicle->trips; trip < end; trip++) {
        if (coco_delivery_final(trip->status)
            && trip->phase == COCO_MDS_PHASE_NONE)
        {
            trip_remove(vehicle, trip);
            vehicle->ntrips++;
            return end - 1;
        }
    }

    return NULL;
}


static void
trip_remove(coco_mds_vehicle_t *vehicle, coco_mds_trip_t *trip)
{
    coco_mds_trip_t  *end = vehicle->trips + vehicle->ntrips;

    memmove(trip, trip + 1, (size_t) (end - trip - 1) * sizeof(*trip));
    vehicle->ntrips--;
}


/* Phase by phase, so that what was skipped is told, too. */
static void
trip_walk(teller_t *t, coco_mds_trip_t *trip)
{
    while (trip->phase < trip->reached) {

        if (t->vehicle->state == COCO_MDS_NON_OPERATIONAL) {
            lead(t, COCO_MDS_AVAILABLE, NULL);
        }

        trip->phase++;
        lead(t, trips_state(t->vehicle, NULL), trip);
    }
}


/* A vehicle that stays where it is for another trip is not told to leave. */
static void
trip_end(teller_t *t, coco_mds_trip_t *trip)
{
    coco_mds_state_e     others;
    coco_mds_vehicle_t  *v = t->vehicle;

    others = trips_state(v, trip);

    if (others != v->state
        && (others == COCO_MDS_AVAILABLE || others == COCO_MDS_RESERVED))
    {
        lead(t, COCO_MDS_AVAILABLE, trip);
    }

    if (starts(trip)) {
        mark(t, trip, false);
    }

    if (trip->phase >= COCO_MDS_PHASE_TO_PICKUP) {
        mark(t, trip, true);
    }

    trip_remove(v, trip);
    lead(t, others, NULL);
}


/* Without a trip. */
static void
service_tell(teller_t *t)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    lead(t, v->serves ? COCO_MDS_AVAILABLE : COCO_MDS_NON_OPERATIONAL, NULL);

    if (!v->serves && v->maintained != v->maintenance) {
        maintenance_tell(t, v->maintained);
    }
}


static void
maintenance_tell(teller_t *t, bool maintenance)
{
    t->vehicle->maintenance = maintenance;
    tell(t, maintenance ? COCO_MDS_MAINTENANCE : COCO_MDS_MAINTENANCE_END,
         COCO_MDS_NON_OPERATIONAL);
}


/* Step by step; cause: the trip that has come on, or ends. */
static void
lead(teller_t *t, coco_mds_state_e to, const coco_mds_trip_t *cause)
{
    coco_mds_state_e     next;
    coco_mds_vehicle_t  *v = t->vehicle;

    while (v->state != to) {

        if (v->maintenance) {
            maintenance_tell(t, false);
        }

        next = next_state(v->state, to);
        tell(t, cause_event(v, next, cause), next);
    }

    if (v->state == COCO_MDS_ON_TRIP) {
        starts_tell(t);
    }
}


/* The shortest way that the table has between the five states in which we
 * have vehicles that can be reached. */
static coco_mds_state_e
next_state(coco_mds_state_e from, coco_mds_state_e to)
{
    switch (from) {

    case COCO_MDS_AVAILABLE:
        return to == COCO_MDS_NON_OPERATIONAL ? to : COCO_MDS_RESERVED;

    case COCO_MDS_RESERVED:
        return to == COCO_MDS_STOPPED || to == COCO_MDS_ON_TRIP
               ? COCO_MDS_STOPPED : COCO_MDS_AVAILABLE;

    case COCO_MDS_STOPPED:
        return to == COCO_MDS_ON_TRIP ? to : COCO_MDS_AVAILABLE;

    case COCO_MDS_ON_TRIP:
        return COCO_MDS_STOPPED;

    default:
        return COCO_MDS_AVAILABLE;      /* from non_operational */
    }
}


/* Why the vehicle goes there: the one of the table's events that fits. */
static coco_mds_event_e
cause_event(const coco_mds_vehicle_t *vehicle, coco_mds_state_e next,
    const coco_mds_trip_t *cause)
{
    unsigned  i;

    switch (next) {

    case COCO_MDS_AVAILABLE:
        if (vehicle->state == COCO_MDS_NON_OPERATIONAL) {
            return COCO_MDS_SERVICE_START;
        }

        return cause->status == COCO_DELIVERY_COMPLETED
               ? COCO_MDS_TRIP_END : cause->cancellation;

    case COCO_MDS_RESERVED:
        return COCO_MDS_RESERVATION_START;

    case COCO_MDS_STOPPED:
        if (vehicle->state == COCO_MDS_RESERVED) {
            return COCO_MDS_RESERVATION_STOP;
        }

        return phases[cause->phase].halt;

    case COCO_MDS_ON_TRIP:
        for (i = 0; i < vehicle->ntrips; i++) {
            if (starts(&vehicle->trips[i])) {
                return COCO_MDS_TRIP_START;
            }
        }

        return COCO_MDS_TRIP_RESUME;

    default:
        return COCO_MDS_SERVICE_END;
    }
}


/* The vehicle is on its way, and so are all trips that have set out. */
static void
starts_tell(teller_t *t)
{
    unsigned          i;
    coco_mds_trip_t  *trip;

    for (i = 0; i < t->vehicle->ntrips; i++) {
        trip = &t->vehicle->trips[i];

        if (starts(trip)) {
            trip->started = true;
            mark(t, trip, false);
        }
    }
}


static bool
starts(const coco_mds_trip_t *trip)
{
    return trip->phase >= COCO_MDS_PHASE_TO_PICKUP && !trip->started;
}


/* What those trips that were told make of the vehicle. */
static coco_mds_state_e
trips_state(const coco_mds_vehicle_t *vehicle, const coco_mds_trip_t *but)
{
    unsigned                i, rank = 0;
    const coco_mds_trip_t  *trip;

    for (i = 0; i < vehicle->ntrips; i++) {
        trip = &vehicle->trips[i];

        if (trip != but && phases[trip->phase].rank > rank) {
            rank = phases[trip->phase].rank;
        }
    }

    return ranks[rank];
}


static void
tell(teller_t *t, coco_mds_event_e event, coco_mds_state_e state)
{
    unsigned             i;
    coco_mds_told_t     *told = &t->told[t->count++];
    coco_mds_vehicle_t  *v = t->vehicle;

    v->state = state;
    v->told_at = t->at > v->told_at ? t->at : v->told_at + 1;

    *told = (coco_mds_told_t) {
        .event = event, .state = state, .at = v->told_at
    };

    for (i = 0; i < v->ntrips; i++) {
        if (v->trips[i].phase != COCO_MDS_PHASE_NONE) {
            told->trips[told->ntrips++] = v->trips[i].trip;
        }
    }
}


/* At the time of the event that it belongs to, if there is one. */
static void
mark(teller_t *t, const coco_mds_trip_t *trip, bool ends)
{
    coco_mds_vehicle_t  *v = t->vehicle;

    v->told_at = t->at > v->told_at ? t->at : v->told_at;

    t->told[t->count++] = (coco_mds_told_t) {
        .event = COCO_MDS_EVENTS, .state = v->state, .at = v->told_at,
        .starts = !ends, .ends = ends,
        .canceled = ends && trip->status == COCO_DELIVERY_CANCELED,
        .trip = *trip
    };
}


static coco_mds_phase_e
phase_of(coco_delivery_status_e status)
{
    switch (status) {

    case COCO_DELIVERY_ASSIGNED:
        return COCO_MDS_PHASE_RESERVED;

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
        return COCO_MDS_PHASE_NONE;     /* Canceled: it ends where it is */
    }
}
