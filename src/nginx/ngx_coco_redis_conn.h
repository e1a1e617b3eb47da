/*
 * One connection to Redis: how it comes about, is written and read, looked
 * after and lost. What is said on it is its owner's: the client of
 * ngx_coco_redis.c, or a subscription. No other file includes this one.
 */

#ifndef NGX_COCO_REDIS_CONN_H
#define NGX_COCO_REDIS_CONN_H

#include "ngx_coco_redis.h"
#include "ngx_coco_op.h"
#include <ngx_event_connect.h>

/*
 * CLOSED      at the start; after a loss, until the timer opens it, or its
 *             owner does so; in a worker that leaves, once nothing is under
 *             way
 * CONNECTING  connect() has not ended
 * GREETING    AUTH, SELECT and the owner's command are sent, not all answered
 * READY       commands are written as they come
 */
typedef enum {
    NGX_COCO_REDIS_CLOSED = 0,
    NGX_COCO_REDIS_CONNECTING,
    NGX_COCO_REDIS_GREETING,
    NGX_COCO_REDIS_READY
} ngx_coco_redis_state_e;

/* What owners differ in. */
typedef struct {
    const char            *name;        /* in the log */
    ngx_uint_t             level;       /* of the first failure there */
    ngx_int_t              log_error;   /* the same, of connect() itself */
    unsigned               stays:1;     /* until the process exits, though
                                           the worker leaves */

    /* takes a reply that came while READY; NGX_ERROR: it was not asked for,
     * which ends the connection */
    ngx_int_t            (*reply)(void *data, redisReply *reply);

    /* idle for long: ngx_coco_redis_conn_ping(), if that may be */
    void                 (*idle)(void *data);

    /* what was sent has no reply any more; NULL: nobody cares */
    void                 (*lost)(void *data);
} ngx_coco_redis_owner_t;

typedef struct {
    ngx_coco_ident_t                ident;    /* of the events below */
    const ngx_coco_redis_owner_t   *owner;
    void                           *data;     /* the owner's */
    const ngx_coco_redis_server_t  *server;
    ngx_coco_redis_state_e          state;
    ngx_uint_t                      attempts; /* failed since it was READY */
    ngx_uint_t                      awaited;  /* replies to what was sent */
    ngx_log_t                       log;
    ngx_peer_connection_t           peer;
    redisReader                    *reader;
    ngx_str_t                       greeting;
    ngx_uint_t                      greeted;  /* its replies still awaited */
    u_char                         *out;      /* commands not written yet: */
    size_t                          out_pos;  /* from here */
    size_t                          out_last; /* to here */
    size_t                          out_size;
    ngx_event_t                     flush;    /* posted: one write for all
                                                 commands of this turn */
    ngx_event_t                     timer;    /* CLOSED: open again; READY:
                                                 look after it; else: give
                                                 up */
    ngx_msec_t                      heard;    /* the last bytes, or the
                                                 command that ended an idle
                                                 time */
    const char                     *reason;   /* of the last loss */
    u_char                          in[16384];
} ngx_coco_redis_conn_t;

/* Starts to connect, and does so again whenever the connection is lost. The
 * command in argv ends each greeting; the greeting is in `pool`. `owner`,
 * `data` and `server` are set before. */
ngx_int_t ngx_coco_redis_conn_init(ngx_coco_redis_conn_t *conn,
    ngx_pool_t *pool, ngx_cycle_t *cycle, ngx_uint_t argc,
    const ngx_str_t *argv);
void ngx_coco_redis_conn_done(ngx_coco_redis_conn_t *conn);

/* Before its time, while CLOSED. */
void ngx_coco_redis_conn_open(ngx_coco_redis_conn_t *conn);

/* The owner has found it dead, or does not wait for the next attempt; not
 * from within a reply. */
void ngx_coco_redis_conn_renew(ngx_coco_redis_conn_t *conn);

/* Queues a command, which is written once the connection is READY. NGX_BUSY:
 * too much waits already; NGX_ERROR: memory is out. */
ngx_int_t ngx_coco_redis_conn_send(ngx_coco_redis_conn_t *conn,
    ngx_uint_t argc, const ngx_str_t *argv);
ngx_int_t ngx_coco_redis_conn_ping(ngx_coco_redis_conn_t *conn);

#endif /* NGX_COCO_REDIS_CONN_H */
