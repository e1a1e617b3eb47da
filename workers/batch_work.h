/*
 * What the files of the writer share: the batch while it is worked on. Of one
 * thread. Everything pointed to lives in the batch or in the arena.
 */

#ifndef COCO_BATCH_WORK_H
#define COCO_BATCH_WORK_H

#include "batch.h"
#include "coco_robot_event.h"
#include "services/service.h"
#include "sinks/arena.h"
#include "sinks/bus.h"
#include "sinks/postgres.h"
#include "sinks/redis.h"

typedef struct coco_item_s           coco_item_t;
typedef struct coco_watch_s          coco_watch_t;
typedef struct coco_delivery_work_s  coco_delivery_work_t;
typedef struct coco_order_work_s     coco_order_work_t;

/* What a message turned out to be. The first ones are about a robot that the
 * message names, and are gathered in its group. */
typedef enum {
    COCO_ITEM_HEARTBEAT = 0,    /* the robot's own */
    COCO_ITEM_COPY,             /* of a heartbeat that the state service has
                                   stored: IoT.Heartbeat, Kafka's raw topic */
    COCO_ITEM_STATE_CHANGE,
    COCO_ITEM_BUSINESS_CHANGE,
    COCO_ITEM_SUBJECTS,
    COCO_ITEM_WEBHOOK = COCO_ITEM_SUBJECTS,
    COCO_ITEM_ROBOT_EVENT,
    COCO_ITEM_TASK,             /* a row of robot_task */
    COCO_ITEM_LID_CLOSE,        /* Robots.LidClose, LidCycle.Complete */
    COCO_ITEM_LID_MOVE,         /* Robots.LidOpen; a close where there is no
                                   deliveries service */
    COCO_ITEM_ORDER,            /* a partner's webhook */
    COCO_ITEM_KINDS,
    COCO_ITEM_NOTHING           /* an event that nobody here consumes */
} coco_item_kind_e;

/* Which services' parts of an item are done here, in its transaction. The
 * state service's part of its own kinds always is. */
#define COCO_PART_OPERATIONS  1u
#define COCO_PART_TELEMETRY   2u    /* fleet's */
#define COCO_PART_BUSINESS    4u    /* fleet's */
#define COCO_PARTS_FLEET      (COCO_PART_TELEMETRY | COCO_PART_BUSINESS)
#define COCO_PART_DELIVERIES  8u
#define COCO_PART_LID         16u   /* the state service's: is what a heartbeat
                                       says of its lid what the cycle says? */
#define COCO_PART_DISPATCH    32u

/* A row of robot_task. */
typedef enum {
    COCO_TASK_LID = 0,
    COCO_TASK_SEEN,
    COCO_TASK_EXPIRY,
    COCO_TASK_ARRIVAL
} coco_task_e;

typedef struct {
    coco_task_e            task;
    coco_id_t              subject;      /* SEEN, ARRIVAL: the heartbeat;
                                            EXPIRY: the command */
    coco_id_t              delivery;     /* ARRIVAL */
    coco_delivery_event_e  arrival;      /* ARRIVAL: which one */
    bool                   open;         /* SEEN */
    int64_t                ts;           /* SEEN, ARRIVAL: ms; LID: from when
                                            it is to be looked at */
} coco_task_t;

/* The lid was opened or closed, by the bus. */
typedef struct {
    int64_t                at;           /* ms, the robot's clock */
    bool                   open;
} coco_lid_move_t;

/* A message's way through the batch. */
struct coco_item_s {
    const coco_message_t  *message;
    coco_item_kind_e       kind;
    unsigned               parts;
    coco_id_t              id;
    coco_str_t             serial;
    coco_order_t           order;        /* of subjects */
    union {
        coco_heartbeat_t        heartbeat;    /* HEARTBEAT, COPY */
        coco_state_change_t     state_change;
        coco_business_change_t  business_change;
        coco_connectivity_t     webhook;
        coco_robot_event_t      event;
        coco_task_t             task;
        coco_lid_close_t        close;
        coco_lid_move_t         move;
        coco_partner_order_t    placed;       /* ORDER */
    };
    coco_state_e           state;        /* heartbeat: the one that stands */
    bool                   newer;        /* heartbeat: than what was stored;
                                            robot event: it is no repeat */
    coco_str_t             details;      /* heartbeat, JSON */
    coco_str_t             driveu;       /* heartbeats: JSON, or absent */
    bool                   controllable; /* heartbeats: remotely */
    bool                   waiting;      /* webhook: for a mapping */
    char                  *text;         /* order: what its strings may need,
                                            as long as the payload */

    bool                   accepted;     /* takes part in the transaction */
    coco_item_t           *same_as;      /* an earlier one in the batch */
    const char            *refused_by;   /* the service; NULL: nobody */
    coco_error_t          *error;        /* why */
    coco_id_t              letter;       /* of its dead letter, */
    coco_str_t             kept;         /* which has this payload */
};

typedef struct {
    coco_item_t  **v;
    size_t         count;
} coco_items_t;

/* What is about one robot, each kind in order. */
typedef struct {
    coco_str_t               serial;
    union {
        struct {
            coco_items_t     heartbeats, copies, state_changes,
                             business_changes;
        };
        coco_items_t         kinds[COCO_ITEM_SUBJECTS];
    };
    bool                     missing;         /* has no row yet */
    bool                     newer;           /* robot_state changes */
    coco_item_t             *newest;          /* the robot's, when it is among
                                                 them; else NULL */
    coco_str_t               driveu;          /* read, JSON, or absent */
    bool                     controllable;
    coco_state_record_t      state;
    bool                     operates;        /* has a StateChange for the
                                                 operations service */
    bool                     operation_changed;
    coco_operation_record_t  operation;
    coco_fleet_record_t      fleet;
    coco_state_e             operation_state; /* read last */
    coco_watch_t            *watch;           /* NULL: a lid that was never
                                                 heard of, and no delivery
                                                 under way */
} coco_group_t;

/* A Robots.StateChange, made here or come by the bus. */
typedef struct {
    coco_group_t             *group;
    const coco_item_t        *item;           /* that it came of */
    coco_state_change_t       change;
    coco_operation_effect_t   effect;
} coco_change_t;

/* What a robot's teleoperation is after the webhooks of the batch. */
typedef struct {
    coco_str_t                  serial;
    const coco_connectivity_t  *newest[COCO_UNITS];  /* here, or NULL */
    coco_str_t                  driveu;       /* JSON; absent until read */
    bool                        controllable;
} coco_link_t;

struct coco_writer_s {
    const coco_lane_options_t  *options;
    unsigned                    parts;        /* of a robot's own heartbeat */
    coco_stop_t                *stop;
    coco_pg_t                  *pg;
    coco_redis_t               *redis;
    coco_bus_t                 *bus;          /* NULL: nothing is published */
    coco_backoff_t              backoff;
    coco_arena_t                arena;

    size_t                      max;          /* of each array below */
    coco_item_t                *items;
    uint32_t                   *seen;         /* ids: open addressing */
    size_t                      seen_size;    /* a power of two */

    /* the transaction: a part of the batch */
    union {
        struct {
            coco_items_t        heartbeats;   /* subjects: by serial, order */
            coco_items_t        copies;
            coco_items_t        state_changes;
            coco_items_t        business_changes;
            coco_items_t        webhooks;     /* by id */
            coco_items_t        events;       /* by id */
            coco_items_t        tasks;        /* by id */
            coco_items_t        bus_closes;   /* by id */
            coco_items_t        bus_moves;    /* by id */
            coco_items_t        orders;       /* by id, until they are
                                                 written: by delivery */
        };
        coco_items_t            kinds[COCO_ITEM_KINDS];
    };
    coco_items_t                refused;      /* by letter */
    coco_items_t                replays;
    coco_items_t                inbox;        /* rows of it, repeats too */
    coco_items_t                mapped;       /* webhooks: by serial, order */
    coco_items_t                due;          /* rows of robot_task, refused
                                                 ones and repeats too */
    size_t                      joined_count; /* repeats within the part */
    coco_group_t               *groups;       /* by serial */
    size_t                      group_count;
    coco_change_t              *changes;
    size_t                      change_count;
    coco_link_t                *links;        /* by serial */
    size_t                      link_count;

    /* batch_lid.c's, and batch_delivery.c's, in the arena */
    struct coco_lid_work_s       *lid;        /* NULL: no lid in this part */
    coco_delivery_work_t         *delivery;   /* NULL: no delivery */
    coco_order_work_t            *order;      /* batch_order.c's. NULL: no
                                                 order */
    struct coco_supply_work_s    *supply;     /* batch_supply.c's. NULL: no
                                                 supply, or none here */
    coco_lid_close_t            *closes;      /* for the deliveries service:
                                                 made here (direct) */
    size_t                       close_count;

    int64_t                     cutoff;       /* ms; older is late */
    uint64_t                    inserted;     /* heartbeats */
    uint64_t                    inserted_events;
    uint64_t                    inserted_webhooks;
};

typedef enum {
    COCO_S_BEGIN = 0,
    COCO_S_COMMIT,
    COCO_S_PARTITION,
    COCO_S_STATE_SEED,
    COCO_S_STATE_LOCK,
    COCO_S_STATE_WRITE,
    COCO_S_HISTORY,
    COCO_S_HISTORY_LATE,
    COCO_S_HISTORY_STORED,
    COCO_S_STATE_ORDERS,
    COCO_S_MAPPINGS,
    COCO_S_MAPPINGS_LOCK,
    COCO_S_DRIVEU,
    COCO_S_WATCH,
    COCO_S_DRIVEU_WRITE,
    COCO_S_INBOX_WAIT,
    COCO_S_INBOX_DONE,
    COCO_S_LID_SEED,
    COCO_S_LID_LOCK,
    COCO_S_EVENTS,
    COCO_S_LID_DUE,
    COCO_S_LID_MARKS,
    COCO_S_LID_CYCLES,
    COCO_S_LID_COMMANDS,
    COCO_S_LID_DELIVERIES,
    COCO_S_LID_WRITE,
    COCO_S_LID_CYCLES_WRITE,
    COCO_S_COMMANDS_PUT,
    COCO_S_COMMANDS_ACK,
    COCO_S_COMMANDS_END,
    COCO_S_LID_ANOMALIES,
    COCO_S_TASKS_DONE,
    COCO_S_TASKS_PUT,
    COCO_S_DELIVERY_ONCE,
    COCO_S_DELIVERY_LOCK,
    COCO_S_DELIVERY_ROBOTS,
    COCO_S_DELIVERY_FLEET,
    COCO_S_DELIVERY_APPLY,
    COCO_S_DELIVERY_ANOMALIES,
    COCO_S_ORDERS_LOCK,
    COCO_S_ORDERS_FLEET,
    COCO_S_ORDERS_SUPPLY,
    COCO_S_ORDERS_APPLY,
    COCO_S_ORDERS_ROBOTS,
    COCO_S_OPERATION_SEED,
    COCO_S_OPERATION_LOCK,
    COCO_S_OPERATION_WRITE,
    COCO_S_OPERATION_HISTORY,
    COCO_S_OPERATION_STATES,
    COCO_S_FLEET_TELEMETRY,
    COCO_S_FLEET_BUSINESS,
    COCO_S_SUPPLY_SEED,
    COCO_S_SUPPLY_LOCK,
    COCO_S_SUPPLY_TELEMETRY,
    COCO_S_SUPPLY_LID,
    COCO_S_SUPPLY_BUSINESS,
    COCO_S_SUPPLY_CHANGED,
    COCO_S_OUTBOX,
    COCO_S_DEAD_LETTERS,
    COCO_S_REPLAYS,
    COCO_STATEMENTS
} coco_statement_e;

/* What a round of statements came to. COCO_TURN_AGAIN: stored times of receipt
 * changed the order of the batch. */
typedef enum {
    COCO_TURN_DONE = COCO_PG_DONE,
    COCO_TURN_DATA = COCO_PG_DATA,
    COCO_TURN_PARTITION = COCO_PG_PARTITION,
    COCO_TURN_RETRY = COCO_PG_RETRY,
    COCO_TURN_AGAIN
} coco_turn_e;

/* batch_statements.c */
extern const coco_pg_statement_t  coco_batch_statements[COCO_STATEMENTS];


/* batch_decode.c: fills w->items; refused ones have an error. COCO_ERROR: no
 * memory. */
int coco_batch_decode(coco_writer_t *w, const coco_batch_t *b);
/* Sets the item aside, whole but for PINs. COCO_ERROR: no memory. */
int coco_batch_refuse(coco_writer_t *w, coco_item_t *item, const char *service,
    const coco_error_t *err);

/* batch_event.c: an event of the bus. As the core's decoders. */
int coco_batch_event_decode(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err);

/* batch_apply.c: the order of things, and the services. */
void coco_batch_collect(coco_writer_t *w, coco_item_t *items, size_t count);
int coco_batch_details(coco_writer_t *w);
void coco_batch_apply_state(coco_writer_t *w);
void coco_batch_apply_operations(coco_writer_t *w);
void coco_batch_apply_fleet(coco_writer_t *w);
int coco_serial_compare(coco_str_t a, coco_str_t b);
/* Moves *at to the group of the serial: for serials in order. */
coco_group_t *coco_group_find(coco_writer_t *w, size_t *at, coco_str_t serial);
/* The newest of the copies that Redis holds copies of; NULL: none. */
coco_item_t *coco_group_copy(const coco_group_t *g);

/* batch_rows.c: queues the statements of a round; a statement that would have
 * no rows is left out, and its slot is -1. COCO_ERROR: no memory. */
int coco_rows_state_lock(coco_writer_t *w, bool seed);
int coco_rows_driveu(coco_writer_t *w);
int coco_rows_history(coco_writer_t *w);
int coco_rows_history_late(coco_writer_t *w);
int coco_rows_history_stored(coco_writer_t *w);
int coco_rows_operation_lock(coco_writer_t *w);
void coco_rows_state_write(coco_writer_t *w);
void coco_rows_operation_write(coco_writer_t *w);
void coco_rows_fleet(coco_writer_t *w);
int coco_rows_outbox(coco_writer_t *w);
void coco_rows_outbox_row(coco_pg_t *pg, const coco_id_t *id, coco_str_t name,
    coco_str_t serial, coco_str_t envelope, const coco_order_t *cause);
void coco_rows_dead_letters(coco_writer_t *w);
int coco_rows_operation_states(coco_writer_t *w);
int coco_rows_state_orders(coco_writer_t *w);
bool coco_rows_partitions(coco_writer_t *w);

/* batch_connectivity.c: webhooks, and what heartbeats are enriched with. */
int coco_connectivity_decode_item(coco_writer_t *w, coco_item_t *item,
    int64_t now, coco_error_t *err);
/* A round or two: whose the webhooks are. */
coco_turn_e coco_connectivity_map(coco_writer_t *w);
/* Queues what the webhooks change, in the order of the tables. */
void coco_connectivity_write(coco_writer_t *w);
void coco_connectivity_inbox(coco_writer_t *w);
/* Queues their events; *ret_slot -1: none. COCO_ERROR: no memory. */
int coco_connectivity_outbox(coco_writer_t *w, int *ret_slot);
/* After the commit: fills the links. COCO_ERROR: they are still absent. */
int coco_connectivity_read(coco_writer_t *w);
/* The groups' teleoperation, from the result of coco_rows_driveu(). */
int coco_connectivity_enrich(coco_writer_t *w, const PGresult *res);

/* batch_task.c: a row of robot_task. As the core's decoders. */
int coco_task_decode_item(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err);

/*
 * batch_lid.c: robot events, and the tasks LID, SEEN and EXPIRY, under the
 * locks of lid_robot: the history, the cycles, their events, the answers to
 * commands, the commands that PIN entries cause. The round inserts the events
 * and reads; the rest is queued later, in the order of the tables. Fills
 * w->closes when the deliveries service is here (direct).
 */
coco_turn_e coco_lid_turn(coco_writer_t *w);
/* batch_lid_write.c: the second one is for behind the deliveries, and deletes
 * the tasks of the part, whoever applies them. COCO_ERROR: no memory. */
void coco_lid_write(coco_writer_t *w);
int coco_lid_tasks(coco_writer_t *w);
/* Queues their events. COCO_ERROR: no memory. */
int coco_lid_outbox(coco_writer_t *w);
/* After the commit: tells the nginx processes that wait, counts. */
void coco_lid_replies(coco_writer_t *w);

/* batch_watch.c: what heartbeats tell beside their state: a lid that
 * contradicts its cycle, an arrival. Queues the read in the round that locks
 * robot_state (slot -1: nothing asked), takes its result, and queues the
 * tasks that follow. COCO_ERROR: no memory. */
int coco_rows_watch(coco_writer_t *w);
int coco_watch_read(coco_writer_t *w, const PGresult *res);
int coco_watch_write(coco_writer_t *w);

/* batch_delivery.c: what closes and arrivals do to deliveries. The round
 * locks and reads; coco_deliveries_write() queues, through
 * coco.delivery_apply(). */
coco_turn_e coco_deliveries_turn(coco_writer_t *w);
/* Locks fleet_robot for them: before the supply is locked. */
void coco_deliveries_fleet(coco_writer_t *w);
void coco_deliveries_write(coco_writer_t *w);
/* The robots whose deliveries change, each at least once, from *at = 0 on; data
 * NULL: no more. */
coco_str_t coco_deliveries_robot(const coco_writer_t *w, size_t *at);
/* After the commit: what the metrics are told, and each robot whose deliveries
 * have changed, from *at = 0 on (data NULL: no more); *ret_parked: it is
 * PARKED since. */
void coco_deliveries_count(coco_writer_t *w);
coco_str_t coco_deliveries_next(const coco_writer_t *w, size_t *at,
    bool *ret_parked);

/* batch_order.c: partners' webhooks. The first one takes the memory that an
 * order's strings need; the second one is as the core's decoders. */
int coco_order_prepare(coco_writer_t *w, coco_item_t *item);
int coco_order_decode_item(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err);
/* Queues all that they change and lock: deliveries, fleet_robot, resource, and
 * what coco.order_apply() adds. COCO_ERROR: no memory. */
int coco_orders_write(coco_writer_t *w);
/* After the commit: takes the results of that round, which are needed for what
 * comes next: what the metrics are told, and each robot that may have changed,
 * from *at = 0 on (data NULL: no more). */
void coco_orders_read(coco_writer_t *w);
void coco_orders_count(coco_writer_t *w);
coco_str_t coco_orders_robot(const coco_writer_t *w, size_t *at);

/*
 * batch_supply.c: what the part makes of the supply (dispatch's part), as the
 * last of the tables. Its rows are locked before the deliveries change theirs,
 * where others could wait for them in another order; written in the order of
 * the tables; and what is changed beside telemetry behind the outbox, where
 * what caused it stands. COCO_ERROR: no memory.
 */
int coco_supply_apply(coco_writer_t *w);
void coco_supply_lock(coco_writer_t *w);
void coco_supply_write(coco_writer_t *w);
int coco_supply_write_business(coco_writer_t *w);
/* After the commit: what the heartbeats have changed is known. */
void coco_supply_read(coco_writer_t *w);

/* batch_supply_tell.c: after that: the lines for nginx, queued; whose they are,
 * from *at = 0 on (data NULL: no more); and the events of heartbeats, of which
 * there are *ret_count. COCO_ERROR: no memory. */
int coco_supply_feed(coco_writer_t *w);
coco_str_t coco_supply_next(const coco_writer_t *w, size_t *at);
size_t coco_supply_event_count(const coco_writer_t *w);
int coco_supply_events(coco_writer_t *w, coco_bus_event_t *events,
    size_t *ret_count);

/* batch_redis.c: after the commit. */
void coco_batch_redis(coco_writer_t *w);

/* batch_publish.c: after that. COCO_ERROR once the stop is set. */
int coco_batch_publish(coco_writer_t *w);

#endif /* COCO_BATCH_WORK_H */
