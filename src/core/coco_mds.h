/*
 * MDS 2.0, delivery robots: the standard's state machine, and the emitter that
 * makes legal sequences of what happens to a robot. Rules: docs/mds.md; the
 * table is drawn in docs/machines.md.
 */

#ifndef COCO_MDS_H
#define COCO_MDS_H

#include "coco_core.h"
#include "coco_delivery.h"
#include "coco_json_write.h"

typedef enum {
    COCO_MDS_AVAILABLE = 0, COCO_MDS_ELSEWHERE, COCO_MDS_MISSING,
    COCO_MDS_NON_CONTACTABLE, COCO_MDS_NON_OPERATIONAL, COCO_MDS_ON_TRIP,
    COCO_MDS_REMOVED, COCO_MDS_RESERVED, COCO_MDS_STOPPED,
    COCO_MDS_STATES
} coco_mds_state_e;

typedef enum {
    COCO_MDS_COMMS_LOST = 0, COCO_MDS_COMMS_RESTORED,
    COCO_MDS_CUSTOMER_CANCELLATION, COCO_MDS_DECOMMISSIONED,
    COCO_MDS_DRIVER_CANCELLATION, COCO_MDS_LOCATED, COCO_MDS_MAINTENANCE,
    COCO_MDS_MAINTENANCE_END, COCO_MDS_MAINTENANCE_PICK_UP,
    COCO_MDS_NOT_LOCATED, COCO_MDS_ORDER_DROP_OFF, COCO_MDS_ORDER_PICK_UP,
    COCO_MDS_PROVIDER_CANCELLATION, COCO_MDS_RECOMMISSIONED,
    COCO_MDS_RESERVATION_START, COCO_MDS_RESERVATION_STOP,
    COCO_MDS_SERVICE_END, COCO_MDS_SERVICE_START, COCO_MDS_TRIP_END,
    COCO_MDS_TRIP_ENTER_JURISDICTION, COCO_MDS_TRIP_LEAVE_JURISDICTION,
    COCO_MDS_TRIP_PAUSE, COCO_MDS_TRIP_RESUME, COCO_MDS_TRIP_START,
    COCO_MDS_EVENTS                     /* none of them */
} coco_mds_event_e;

coco_str_t coco_mds_state_name(coco_mds_state_e state);
coco_mds_state_e coco_mds_state_parse(coco_str_t name);    /* STATES: none */
coco_str_t coco_mds_event_name(coco_mds_event_e event);
coco_mds_event_e coco_mds_event_parse(coco_str_t name);    /* EVENTS: none */

/* The standard's table, row by row. */
typedef struct {
    coco_mds_state_e  from;
    coco_mds_event_e  event;
    coco_mds_state_e  to;
} coco_mds_transition_t;

#define COCO_MDS_TRANSITIONS  52
extern const coco_mds_transition_t
    coco_mds_transitions[COCO_MDS_TRANSITIONS];

bool coco_mds_allowed(coco_mds_state_e from, coco_mds_event_e event,
    coco_mds_state_e to);

/* How far a trip has come, or was told of. */
typedef enum {
    COCO_MDS_PHASE_NONE = 0,
    COCO_MDS_PHASE_RESERVED,
    COCO_MDS_PHASE_TO_PICKUP,           /* it has set out */
    COCO_MDS_PHASE_AT_PICKUP,
    COCO_MDS_PHASE_TO_DROPOFF,
    COCO_MDS_PHASE_AT_DROPOFF,
    COCO_MDS_PHASES
} coco_mds_phase_e;

/* Deliveries that a robot has at a time; more are not told of. */
#define COCO_MDS_TRIPS  8

typedef struct {
    coco_id_t               trip, delivery;
    int64_t                 requested_at;    /* ms */
    coco_delivery_status_e  status;          /* Assigned, or further */
    coco_mds_phase_e        reached;         /* the furthest; never back */
    coco_mds_phase_e        phase;           /* told of it, <= reached */
    bool                    started;         /* its beginning was told */
    coco_mds_event_e        cancellation;    /* of a canceled one */
} coco_mds_trip_t;

/* What the emitter remembers of a vehicle: at first COCO_MDS_VEHICLE_NEW. */
typedef struct {
    coco_mds_state_e  state;            /* as it was told */
    coco_mds_state_e  prior;            /* of NON_CONTACTABLE: before it */
    bool              serves;           /* for hire, no trip considered */
    bool              maintained;       /* undergoing maintenance */
    bool              maintenance;      /* and so it was told */
    int64_t           told_at;          /* ms, of what was told last */
    unsigned          ntrips;
    coco_mds_trip_t   trips[COCO_MDS_TRIPS];
} coco_mds_vehicle_t;

#define COCO_MDS_VEHICLE_NEW \
    ((coco_mds_vehicle_t) { .state = COCO_MDS_REMOVED })

/* The state is what the trips that were told make of it. */
bool coco_mds_vehicle_sound(const coco_mds_vehicle_t *vehicle);

typedef enum {
    COCO_MDS_FACT_COMMS = 0,
    COCO_MDS_FACT_BUSINESS,
    COCO_MDS_FACT_DELIVERY
} coco_mds_fact_e;

/* A row of mds_fact. */
typedef struct {
    coco_mds_fact_e  kind;
    int64_t          at;                /* ms */
    bool             online;            /* COMMS */
    bool             serves;            /* BUSINESS, normalised */
    bool             maintained;
    coco_mds_trip_t  trip;              /* DELIVERY: up to its status, and
                                           the cancellation */
} coco_mds_fact_t;

/* The last time that has a meaning, in ms: the end of the year 9999. */
#define COCO_MDS_TIME_MAX  INT64_C(253402300799999)

/* data is the row's, at its time in ms. COCO_ERROR names the member. */
int coco_mds_fact_decode(coco_mds_fact_t *ret, coco_str_t kind, int64_t at,
    coco_str_t data, coco_error_t *err);

/* What is to be told: an event, or the beginning or end of a trip. */
typedef struct {
    coco_mds_event_e  event;            /* EVENTS: of the trip alone */
    coco_mds_state_e  state;            /* after it */
    int64_t           at;               /* ms; of an event: above that of
                                           all that was told before */
    unsigned          ntrips;           /* under way, that which ends too */
    coco_id_t         trips[COCO_MDS_TRIPS];
    bool              starts, ends;     /* the trip: each once, in order */
    bool              canceled;         /* it ends because of that */
    coco_mds_trip_t   trip;
} coco_mds_told_t;

/* For one fact, at most. A trip makes eight events (reservation_start,
 * reservation_stop, trip_start, order_pick_up, trip_resume, trip_pause, the
 * cancellation, reservation_start of another), its beginning and its end; and
 * six are of the vehicle itself. */
#define COCO_MDS_TOLD_MAX  (10 * COCO_MDS_TRIPS + 6)

/* Takes the fact into account; returns how much is to be told. Events are
 * transitions of the table, each from where the one before has led; what a
 * fact has skipped is told, too. The vehicle must be sound. */
unsigned coco_mds_apply(coco_mds_vehicle_t *vehicle,
    const coco_mds_fact_t *fact, coco_mds_told_t ret[COCO_MDS_TOLD_MAX]);

/* mds_vehicle.memory. COCO_ERROR names the member, or there is none where
 * the vehicle would not be sound. */
void coco_mds_encode(coco_json_out_t *out, const coco_mds_vehicle_t *vehicle);
int coco_mds_decode(coco_mds_vehicle_t *ret, coco_str_t memory,
    coco_error_t *err);

#endif /* COCO_MDS_H */
