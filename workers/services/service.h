/*
 * The services as functions: (record, event) -> the changed record and what
 * follows from it. Pure: no socket, no clock, no memory. Written for the
 * weakest engine: events may come late, twice and reordered, and the final
 * records are the same.
 */

#ifndef COCO_SERVICE_H
#define COCO_SERVICE_H

#include "coco_connectivity.h"
#include "coco_delivery.h"
#include "coco_heartbeat.h"
#include "coco_lid.h"
#include "coco_order.h"
#include "coco_readiness.h"
#include "coco_robot_event.h"
#include "coco_supply.h"

/* Which of them run in a process; the words of --services. */
#define COCO_SERVICE_STATE       1u
#define COCO_SERVICE_OPERATIONS  2u
#define COCO_SERVICE_FLEET       4u
#define COCO_SERVICE_DELIVERIES  8u
#define COCO_SERVICE_DISPATCH    16u
/* What connects these with the others is Postgres, not the bus: */
#define COCO_SERVICE_INTEGRATIONS  32u     /* partners' orders, and pushes */
#define COCO_SERVICE_MDS           64u     /* the emitter */
#define COCO_SERVICES_BUS          31u
#define COCO_SERVICES_ALL          127u

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


/* Dispatch service: the record is resource, as far as messages write it, its
 * parts apart. */

typedef struct {
    bool                    heard;
    coco_order_t            order;
    const coco_heartbeat_t *heartbeat;    /* telemetry; the caller's */

    bool                    has_business;
    int64_t                 changed_at;   /* ms */
    coco_business_t         business;

    bool                    has_lid;
    int64_t                 lid_at;       /* ms */
    bool                    lid_open;
} coco_supply_record_t;

/* Each is true when the record took something over. A heartbeat that speaks
 * of the lid may do so for the lid alone. Of two that speak of the lid at the
 * same time it is the open one that counts, whichever came first. */
bool coco_service_dispatch_heartbeat(coco_supply_record_t *record,
    const coco_heartbeat_t *hb);
bool coco_service_dispatch_business_change(coco_supply_record_t *record,
    const coco_business_change_t *change);
bool coco_service_dispatch_lid(coco_supply_record_t *record, int64_t at,
    bool open);

/* What nginx is told: the parts that the record knows. */
void coco_service_dispatch_state(coco_supply_state_t *ret,
    const coco_supply_record_t *record);

/* The telemetry of a LegacyRobot. Bits. */
#define COCO_SUPPLY_STATUS       1u
#define COCO_SUPPLY_BATTERY      2u
#define COCO_SUPPLY_LAST_SYNCED  4u
#define COCO_SUPPLY_HEALTHY      8u
#define COCO_SUPPLY_LOCATION     16u
#define COCO_SUPPLY_MEMBERS      31u

/* As it is stored. */
typedef struct {
    bool          heard;           /* false: nothing is */
    coco_order_t  order;
    bool          online, healthy;
    double        battery_percent, latitude, longitude;
} coco_supply_shown_t;

/* The members that the heartbeat changes: none of one that is older; all of a
 * repeat, for what it changed is no longer known. online: it is not so old that
 * its robot is silent. */
unsigned coco_service_dispatch_changes(const coco_supply_shown_t *stored,
    const coco_heartbeat_t *hb, bool online);

#define COCO_SUPPLY_DATA_SIZE    256    /* bytes that it needs at most */

/* Those members as an object, of resource and of DispatchEngine.SupplyEvent
 * alike. lastSynced is the time of the order. */
void coco_service_dispatch_encode(coco_json_out_t *out,
    const coco_heartbeat_t *hb, bool online, unsigned members);


/* Deliveries service: the records are the deliveries of a robot that are not
 * final, and those that a reference names. */

typedef struct {
    coco_id_t               id;
    coco_delivery_status_e  status;
    coco_str_t              serial;        /* of the attempt; data NULL: none */
    coco_lid_source_e       flow;          /* NONE: not said */
    coco_str_t              pin;           /* data NULL: none */
    int64_t                 created_at;    /* ms */
    double                  pickup_latitude, pickup_longitude;
    double                  dropoff_latitude, dropoff_longitude;
    bool                    loaded_here;   /* a cycle loaded it: */
    coco_id_t               loaded_cycle;
    /* ms by the robot's clock, or COCO_NEVER: */
    int64_t                 loaded_at;       /* that cycle's close */
    int64_t                 arrived_at;      /* the heartbeat that was there */
    int64_t                 early_close_at;
} coco_delivery_record_t;

/* Robots.LidClose, or LidCycle.Complete. */
typedef struct {
    coco_id_t        id;                   /* of the event */
    coco_str_t       serial;
    int64_t          closed_at;            /* ms, the robot's */
    coco_lid_data_t  data;
    bool             complete;             /* LidCycle.Complete */
} coco_lid_close_t;

typedef enum {
    COCO_ANOMALY_NONE = 0,
    COCO_ANOMALY_NO_DELIVERY,
    COCO_ANOMALY_SEVERAL_DELIVERIES,
    COCO_ANOMALY_NEVER_CLOSED,
    COCO_ANOMALY_CLOSE_WITHOUT_OPEN,
    COCO_ANOMALY_RESYNC
} coco_anomaly_e;

coco_str_t coco_anomaly_name(coco_anomaly_e kind);

typedef struct {
    coco_delivery_record_t  *delivery;     /* NULL: none changes */
    coco_delivery_status_e   from;
    coco_delivery_status_e   to[2];        /* one after the other; NONE: none */
    bool                     early;        /* the record's early_close_at is
                                              to be kept, no more */
    coco_anomaly_e           anomaly;
    const char              *reason;       /* of the anomaly; static */
} coco_delivery_effect_t;

/*
 * CONTRACT "Lid rules": which delivery a close loads or completes, by its
 * reference or by the fallback lookup (one active delivery of this serial,
 * created within 24 hours; of several, the one at its drop-off is completed);
 * changes the records. The candidates of SEVERAL_DELIVERIES are those that
 * coco_service_deliveries_candidate() says.
 */
void coco_service_deliveries_close(coco_delivery_record_t *records,
    size_t count, const coco_lid_close_t *close, int64_t now,
    coco_delivery_effect_t *ret);

/* Is the delivery one of those that a close without a reference may mean? */
bool coco_service_deliveries_candidate(const coco_delivery_record_t *record,
    coco_str_t serial, int64_t now);

/* A heartbeat of time `at` (ms) was at the target of the delivery: `event` is
 * ARRIVE_PICKUP or ARRIVE_DROPOFF. */
void coco_service_deliveries_arrival(coco_delivery_record_t *record,
    coco_delivery_event_e event, int64_t at, coco_delivery_effect_t *ret);

/* Is the robot of this heartbeat at the target of the delivery, standing? */
bool coco_service_deliveries_arrived(const coco_delivery_record_t *record,
    const coco_heartbeat_t *hb, coco_delivery_event_e *ret_event);

/* Where a robot was when it was last heard. */
typedef struct {
    double   latitude, longitude;
    double   speed;                 /* m/s; 0: not said */
    int64_t  at;                    /* ms; COCO_NEVER: never heard */
} coco_position_t;

#define COCO_PIN_REASON  80         /* bytes */

/* PIN_ENTRY_LID_OPEN with lid_opened false: may the lid be opened, for which
 * delivery and as what (PIN or PINLESS)? Not while the robot moves; without a
 * PIN, only by a position that is at most age_ms old. NULL: no, and ret_reason
 * says why, without the PIN. */
const coco_delivery_record_t *coco_service_deliveries_pin(
    const coco_delivery_record_t *records, size_t count, coco_str_t pin,
    const coco_position_t *position, int64_t now, int64_t age_ms,
    coco_lid_source_e *ret_source, char ret_reason[COCO_PIN_REASON]);


/* Integrations service: the record is the delivery of an order. */

/* What a webhook of that provider asks for; what becomes of it is decided by
 * coco.order_apply() of the database, under the delivery's lock. Strings point
 * into the payload or into buf, which has payload.len bytes. COCO_ERROR names
 * the member. */
int coco_service_integrations_order(coco_partner_order_t *ret,
    coco_str_t provider, coco_str_t payload, int64_t received_at, char *buf,
    coco_error_t *err);

#endif /* COCO_SERVICE_H */
