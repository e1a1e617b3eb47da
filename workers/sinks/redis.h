/*
 * One Redis connection of one thread. Redis holds copies and hints only: when
 * it is down or slow, what was to be written is left out and counted, and
 * nobody waits for it longer than a connect or a reply may take. Whose copies
 * were left out is remembered: theirs are removed as soon as Redis is back,
 * for a copy that is missing is read from Postgres, an old one is believed.
 */

#ifndef COCO_REDIS_H
#define COCO_REDIS_H

#include "coco_heartbeat.h"
#include "retry.h"

typedef struct coco_redis_s  coco_redis_t;

/* What nginx is told of the supply: "@<worker>", then lines of coco_supply.h,
 * each with its newline. Alone: the worker is well, everything before was
 * told; with " bye" behind it, it will tell nothing more. */
#define COCO_SUPPLY_CHANNEL  "coco.supply"

/* host: a numeric address, or the path of a socket when port is 0. Strings stay
 * the caller's. gauge_lane: whose gauges move; -1: none. */
coco_redis_t *coco_redis_create(const char *host, int port,
    const char *password, int db, int gauge_lane);
void coco_redis_destroy(coco_redis_t *redis);

/* Connects when that is due, removes the copies that are owed, and then tells
 * everybody that anything may have changed. False: not now, leave this batch
 * out and owe it. */
bool coco_redis_open(coco_redis_t *redis);

/* The robot's copies are older than what was committed. */
void coco_redis_owe(coco_redis_t *redis, coco_str_t serial);
/* Something is about to be committed that is told by this connection; until
 * coco_redis_told(), once Redis knows it or is owed it, nobody may say for
 * long that everything was told. */
void coco_redis_expect(coco_redis_t *redis);
void coco_redis_told(coco_redis_t *redis);
/* Since when the first of all connections is expected to tell something,
 * monotonic us; INT64_MAX: none is. From any thread. */
int64_t coco_redis_expected(void);
/* When coco_redis_open has something to remove, monotonic us; INT64_MAX:
 * nothing is owed. */
int64_t coco_redis_due(const coco_redis_t *redis);

/* Queues: the values replace those of the robot unless these are newer, as
 * the times and id at the head of each say; they expire after ttl_ms. Either
 * may be absent. What the ephemeral copy says of teleoperation stays when it
 * is newer there. */
void coco_redis_robot(coco_redis_t *redis, coco_str_t serial,
    const coco_order_t *order, coco_str_t robot_state, coco_str_t ephemeral,
    int64_t ttl_ms);
/* Queues: what teleoperation is now (coco_driveu_encode), for its own key and
 * for the end of the ephemeral copy, each unless it is newer there: the sum
 * of the times of its units is larger. */
void coco_redis_driveu(coco_redis_t *redis, coco_str_t serial,
    coco_str_t driveu, bool remotely_controllable);
/* Queues: the operation state, into the robot state that is there. */
void coco_redis_operation_state(coco_redis_t *redis, coco_str_t serial,
    coco_str_t state);
/* Queues: {"serials":[…]} to coco.invalidate. */
void coco_redis_invalidate(coco_redis_t *redis, coco_str_t json);
/* Queues: a hint for whoever waits on the channel. */
void coco_redis_publish(coco_redis_t *redis, coco_str_t channel,
    coco_str_t message);
/* Sends what was queued, and waits for the replies. False: not everything was
 * taken, the robots have to be owed. */
bool coco_redis_flush(coco_redis_t *redis);

#endif /* COCO_REDIS_H */
