/*
 * The services as functions: (record, event) -> the changed record and what
 * follows from it. Pure: no socket, no clock, no memory. Written for the
 * weakest engine: events may come late, twice and reordered, and the final
 * records are the same.
 */

#ifndef COCO_SERVICE_H
#define COCO_SERVICE_H

#include "coco_connectivity.h"
#include "coco_heartbeat.h"
#include "coco_readiness.h"

/* Which of them run in a process; the words of --services. */
#define COCO_SERVICE_STATE       1u
#define COCO_SERVICE_OPERATIONS  2u
#define COCO_SERVICE_FLEET       4u
#define COCO_SERVICES_ALL        7u

/* Robots.StateChange. Strings belong to whoever made the event. */
typedef struct {
    coco_id_t     id;
    coco_str_t    serial;
    coco_order_t  order;           /* of the heartbeat that showed it */
    coco_state_e  from;            /* NONE: the first heartbeat */
    coco_state_e  to;
} coco_state_change_t;

typedef struct {
    coco_state_e  operation_state;
    coco_flag_e   needs_movement, undergoing_maintenance, needs_maintenance;
    coco_flag_e   needs_pickup, has_food, driveable;
    coco_str_t    deployed;        /* JSON text, or absent */
} coco_business_t;

/* Robots.BusinessStateChange. */
typedef struct {
    coco_id_t        id;
    coco_str_t       serial;
    int64_t          changed_at;   /* ms, ascending for each robot */
    coco_business_t  business;
} coco_business_change_t;


/* State service: the record is robot_state. */

typedef struct {
    bool          heard;           /* false: no heartbeat yet */
    coco_order_t  order;           /* of the newest heartbeat */
    coco_state_e  state;
} coco_state_record_t;

typedef struct {
    coco_state_e         state;    /* this heartbeat's, said or standing */
    bool                 newer;    /* it is now the newest */
    bool                 changed;  /* Robots.StateChange */
    coco_state_change_t  change;
} coco_state_effect_t;

/* CONTRACT "Heartbeat": a state that is not said is the last known, at first
 * OFF_DUTY; an older heartbeat changes nothing. */
void coco_service_state_heartbeat(coco_state_record_t *record,
    const coco_heartbeat_t *hb, coco_state_effect_t *ret);

/* The data of Robots.StateChange: from and to. COCO_ERROR names the member. */
int coco_service_state_event_decode(coco_state_change_t *ret, coco_str_t data,
    coco_error_t *err);


/* Operations service: the record is robot_operation. */

typedef struct {
    bool             exists;
    bool             heard;        /* a StateChange was applied */
    coco_order_t     order;        /* of that StateChange */
    int64_t          changed_at;   /* ms; meaningless unless it exists */
    coco_business_t  business;
} coco_operation_record_t;

typedef struct {
    bool                    applied;   /* the record is to be written */
    bool                    history;   /* a row of robot_state_history: */
    coco_business_t         business;
    int64_t                 observed_at;
    bool                    changed;   /* Robots.BusinessStateChange */
    coco_business_change_t  change;
} coco_operation_effect_t;

/* The state that a robot reports takes over when it changes (so a PATCHed
 * one holds until then). A late change leaves a row of history, no more. */
void coco_service_operations_state_change(coco_operation_record_t *record,
    const coco_state_change_t *change, coco_operation_effect_t *ret);

/* The data of Robots.BusinessStateChange: every flag. What is decoded points
 * into data; COCO_ERROR names the member. */
void coco_service_operations_event_encode(coco_json_out_t *out,
    const coco_business_t *business);
int coco_service_operations_event_decode(coco_business_t *ret,
    coco_str_t data, coco_error_t *err);


/* Fleet service: the record is fleet_robot, its two halves apart. */

typedef struct {
    bool                    heard;
    coco_order_t            order;
    const coco_heartbeat_t *heartbeat;    /* telemetry; the caller's */

    bool                    has_business;
    int64_t                 changed_at;   /* ms */
    coco_business_t         business;
} coco_fleet_record_t;

/* True when the record took it over: it is the newest so far. */
bool coco_service_fleet_heartbeat(coco_fleet_record_t *record,
    const coco_heartbeat_t *hb);
bool coco_service_fleet_business_change(coco_fleet_record_t *record,
    const coco_business_change_t *change);

#endif /* COCO_SERVICE_H */
