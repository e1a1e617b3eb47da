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
#include "sinks/postgres.h"
#include "sinks/redis.h"

typedef struct coco_item_s  coco_item_t;

/* A message's way through the batch. */
struct coco_item_s {
    const coco_message_t  *message;
    union {
        coco_heartbeat_t    heartbeat;
        coco_robot_event_t  event;
    };
    coco_order_t           order;        /* heartbeat */
    coco_state_e           state;        /* heartbeat: the one that stands */
    bool                   newer;        /* heartbeat: than what was stored */
    coco_str_t             details;      /* heartbeat, JSON; made once */

    bool                   accepted;     /* takes part in the transaction */
    bool                   no_fleet;     /* all but the fleet service's part */
    coco_item_t           *same_as;      /* an earlier one in the batch */
    const char            *refused_by;   /* the service; NULL: nobody */
    coco_error_t          *error;        /* why */
    coco_id_t              letter;       /* of its dead letter */
};

/* The heartbeats of one robot, in order. */
typedef struct {
    coco_str_t               serial;
    coco_item_t            **items;
    size_t                   count;
    bool                     missing;         /* has no row yet */
    bool                     newer;           /* robot_state changes */
    bool                     current;         /* its newest is among them */
    coco_state_record_t      state;
    bool                     changes;         /* has a StateChange */
    bool                     operation_changed;
    coco_operation_record_t  operation;
    coco_fleet_record_t      fleet;
    coco_state_e             operation_state; /* read last */
} coco_group_t;

typedef struct {
    coco_group_t             *group;
    bool                      no_fleet;
    coco_state_change_t       change;
    coco_operation_effect_t   effect;
} coco_change_t;

struct coco_writer_s {
    const coco_lane_options_t  *options;
    coco_stop_t                *stop;
    coco_pg_t                  *pg;
    coco_redis_t               *redis;
    coco_backoff_t              backoff;
    coco_arena_t                arena;

    size_t                      max;          /* of each array below */
    coco_item_t                *items;
    uint32_t                   *seen;         /* ids: open addressing */
    size_t                      seen_size;    /* a power of two */

    /* the transaction: a part of the batch */
    coco_item_t               **heartbeats;   /* by serial, then order */
    size_t                      heartbeat_count;
    coco_item_t               **events;       /* by id */
    size_t                      event_count;
    coco_item_t               **refused;      /* by id */
    size_t                      refused_count;
    coco_item_t               **replays;
    size_t                      replay_count;
    size_t                      joined_count; /* repeats within the part */
    coco_group_t               *groups;       /* by serial */
    size_t                      group_count;
    coco_change_t              *changes;
    size_t                      change_count;

    int64_t                     cutoff;       /* ms; older is late */
    uint64_t                    inserted;     /* heartbeats */
    uint64_t                    inserted_events;
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
    COCO_S_EVENTS,
    COCO_S_OPERATION_SEED,
    COCO_S_OPERATION_LOCK,
    COCO_S_OPERATION_WRITE,
    COCO_S_OPERATION_HISTORY,
    COCO_S_OPERATION_STATES,
    COCO_S_FLEET_TELEMETRY,
    COCO_S_FLEET_BUSINESS,
    COCO_S_OUTBOX,
    COCO_S_DEAD_LETTERS,
    COCO_S_REPLAYS,
    COCO_STATEMENTS
} coco_statement_e;

extern const coco_pg_statement_t  coco_batch_statements[COCO_STATEMENTS];


/* batch_decode.c: fills w->items; refused ones have an error. COCO_ERROR: no
 * memory. */
int coco_batch_decode(coco_writer_t *w, const coco_batch_t *b);
/* Sets the item aside, whole. COCO_ERROR: no memory. */
int coco_batch_refuse(coco_writer_t *w, coco_item_t *item, const char *service,
    const coco_error_t *err);

/* batch_apply.c: the order of things, and the services. */
int coco_batch_collect(coco_writer_t *w, coco_item_t *items, size_t count);
void coco_batch_apply_state(coco_writer_t *w);
void coco_batch_apply_operations(coco_writer_t *w);
void coco_batch_apply_fleet(coco_writer_t *w);

/* batch_rows.c: queues the statements of a round; a statement that would have
 * no rows is left out, and its slot is -1. */
int coco_rows_state_lock(coco_writer_t *w, bool seed);
int coco_rows_history(coco_writer_t *w);
int coco_rows_history_late(coco_writer_t *w);
int coco_rows_history_stored(coco_writer_t *w);
int coco_rows_operation_lock(coco_writer_t *w);
void coco_rows_state_write(coco_writer_t *w);
void coco_rows_operation_write(coco_writer_t *w);
int coco_rows_events(coco_writer_t *w);
void coco_rows_fleet(coco_writer_t *w);
int coco_rows_outbox(coco_writer_t *w);
void coco_rows_dead_letters(coco_writer_t *w);
int coco_rows_operation_states(coco_writer_t *w);
bool coco_rows_partitions(coco_writer_t *w);

/* batch_redis.c: after the commit. */
void coco_batch_redis(coco_writer_t *w);

#endif /* COCO_BATCH_WORK_H */
