/*
 * A lane takes messages to their effects: sharded by serial, gathered into
 * batches, one Postgres transaction and one Redis pipeline a batch. Each
 * source has a lane of its own, so that robot events never queue behind
 * telemetry.
 */

#ifndef COCO_LANE_H
#define COCO_LANE_H

#include "message.h"

typedef struct coco_lane_s  coco_lane_t;

typedef struct {
    const char  *name;               /* "telemetry", "events" */
    int          metrics_lane;       /* coco_lane_id_e */
    unsigned     shards;             /* threads; a serial is always in one */
    unsigned     batch_messages;     /* at most, for each shard */
    size_t       batch_bytes;        /* at most, for each shard */
    unsigned     linger_ms;          /* how long a batch may gather */
    const char  *postgres;           /* conninfo */
    const char  *redis_host;         /* address, or path of a socket */
    int          redis_port;         /* 0: redis_host is a path */
    const char  *redis_password;     /* NULL: none */
    int          redis_db;
    unsigned     heartbeat_ttl_ms;   /* of the Redis copies, from order_ms */
    unsigned     retention_days;     /* older goes to state_history_late */
    unsigned     receives_max;       /* a message delivered more often is set
                                        aside unread; 0: no limit */
    unsigned     services;           /* COCO_SERVICE_…, those in this process */
    bool         direct;             /* what one service of this process makes
                                        is applied by the others of it in the
                                        same transaction, not by the bus */
    unsigned     lid_window_ms;      /* coco_lid_rules_t; and how long a close
                                        waits for its open */
    unsigned     lid_cycle_ms;
    unsigned     lid_pin_age_ms;     /* an older PIN entry opens nothing */
    unsigned     lid_timeout_ms;     /* of a command that a PIN entry causes */
    unsigned     online_ms;          /* as the janitor's */
    coco_str_t   feed_name;          /* of this worker, for nginx */
    bool         fleet_from_kafka;   /* fleet's telemetry is not ours to write,
                                        it comes as COCO_KIND_TELEMETRY */
    const struct coco_bus_options_s  *bus;   /* NULL: nothing is published by
                                        the lane (outbox rows are written
                                        always) */
} coco_lane_options_t;

coco_lane_t *coco_lane_create(const coco_lane_options_t *options);

/* Starts the shard threads. */
int coco_lane_start(coco_lane_t *lane);

/* Copies the message into its shard's batch; waits while that is full (the
 * queue is bounded). COCO_ERROR once the lane is stopping. Messages with a
 * position come from one thread, others from any. */
int coco_lane_push(coco_lane_t *lane, const coco_message_t *message);

/* The same without waiting: COCO_AGAIN while the shard's batch is full. Some
 * message of the lane is told of as done, or a batch ends, before it has room
 * again; a short poll will do, too. */
int coco_lane_try_push(coco_lane_t *lane, const coco_message_t *message);

/* Everything below this position is committed. `pushed` is the position up to
 * which the caller has pushed. Non-decreasing; 0 until the first message with
 * a position is committed. Any thread. */
uint64_t coco_lane_low_water(coco_lane_t *lane, uint64_t pushed);

/* Waits until low water has reached `pushed` or moved, or timeout_ms. */
void coco_lane_wait(coco_lane_t *lane, uint64_t pushed, unsigned timeout_ms);

/* Lets the batches under way end (SIGTERM), gives up what has not begun. */
void coco_lane_stop(coco_lane_t *lane);
void coco_lane_destroy(coco_lane_t *lane);

#endif /* COCO_LANE_H */
