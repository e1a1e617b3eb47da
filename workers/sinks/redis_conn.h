/*
 * What a Redis connection consists of, for the files that make it up: redis.c
 * (the connection and its debt) and redis_commands.c (what it is to send).
 * Nobody else may include this.
 */

#ifndef COCO_REDIS_CONN_H
#define COCO_REDIS_CONN_H

#include <hiredis/hiredis.h>

#include "owed.h"
#include "redis.h"

#define COCO_REDIS_SHA_LEN  40

/* Of the copies of a robot. */
enum {
    COCO_REDIS_CACHE = 0,
    COCO_REDIS_EPHEMERAL,
    COCO_REDIS_DRIVEU,
    COCO_REDIS_PREFIXES
};

/* Through all copies, to remove them. */
typedef struct {
    bool       active;
    unsigned   prefix;             /* COCO_REDIS_PREFIXES: at the end */
    char       cursor[24];
} coco_redis_scan_t;

/* As the server sees a connection. */
typedef struct {
    char       id[24];             /* "": unknown */
    char       address[128];
} coco_redis_client_t;

struct coco_redis_s {
    redisContext    *context;      /* NULL: not connected */
    const char      *host;
    int              port;
    const char      *password;
    int              db;
    int              gauge_lane;   /* -1: none */

    coco_backoff_t   backoff;
    int64_t          retry_at;     /* monotonic us; to connect or settle */
    char             sha[COCO_REDIS_SHA_LEN + 1];
    coco_redis_client_t  self;     /* the last that was connected */

    coco_owed_t        owed;
    coco_redis_scan_t  scan;       /* active: all is owed, too */
    int64_t            shown;      /* our part of the gauge */

    int64_t            expected;   /* monotonic us; INT64_MAX: nothing */
    coco_redis_t      *next;       /* both under coco_redis_lock */

    /* commands, in the wire's form, so that they can be sent twice */
    char            *data;
    size_t           len;
    size_t           size;
    unsigned         commands;
    bool             failed;       /* no memory: the commands are cut */
};

/* Of the keys, by the enum. */
extern const coco_str_t  coco_redis_prefixes[COCO_REDIS_PREFIXES];

/* Lua; its sha is redis->sha. */
extern const char  coco_redis_script[];

/* Queue a piece of a command in the wire's form, an argument, and a key as an
 * argument; who ends a command counts it. Out of memory is seen when it is
 * sent. */
void coco_redis_put(coco_redis_t *redis, const char *data, size_t len);
void coco_redis_arg(coco_redis_t *redis, const char *data, size_t len);
void coco_redis_key(coco_redis_t *redis, coco_str_t prefix,
    coco_str_t serial);

/* Nothing is queued any more. */
void coco_redis_clear(coco_redis_t *redis);

#endif /* COCO_REDIS_CONN_H */
