/*
 * The Redis client: hiredis as codec over an ngx_connection_t, one
 * multiplexed connection per nginx process. Never blocks, never looks up a
 * name. Commands sent during one turn of the event loop leave in one write.
 */

#ifndef NGX_COCO_REDIS_H
#define NGX_COCO_REDIS_H

#include "ngx_coco.h"
#include <hiredis/hiredis.h>

typedef struct ngx_coco_redis_s     ngx_coco_redis_t;
typedef struct ngx_coco_redis_op_s  ngx_coco_redis_op_t;

typedef struct {
    ngx_addr_t  addr;
    ngx_str_t   password;   /* may be empty */
    ngx_int_t   db;
} ngx_coco_redis_server_t;

/* Reads the arguments of coco_redis; NULL after an error was logged. */
ngx_coco_redis_t *ngx_coco_redis_create(ngx_conf_t *cf);

/* In a process that serves requests: starts to connect. */
ngx_int_t ngx_coco_redis_init_process(ngx_coco_redis_t *redis,
    ngx_cycle_t *cycle);
void ngx_coco_redis_exit_process(ngx_coco_redis_t *redis);

/* Why there is no connection, for /readyz: no names, no secrets. Empty when
 * there is one. */
const char *ngx_coco_redis_reason(ngx_coco_redis_t *redis);

/* Called once per operation that was not cancelled; `reply` lives until the
 * handler returns and is NULL unless outcome is NGX_COCO_DONE. Never called
 * from within ngx_coco_redis_send(). */
typedef void (*ngx_coco_redis_handler_pt)(void *data,
    ngx_coco_outcome_e outcome, redisReply *reply);

/* Queues a command; NULL only when memory is out. A client that could not
 * connect answers NGX_COCO_DOWN soon (within a turn of the loop), so that
 * requests do not wait for a server that is away; while the first attempt
 * after the start, or after a loss, is under way the command waits. The
 * command is copied. */
ngx_coco_redis_op_t *ngx_coco_redis_send(ngx_coco_redis_t *redis,
    ngx_uint_t argc, const ngx_str_t *argv, ngx_msec_t timeout,
    ngx_coco_redis_handler_pt handler, void *data);

/* Orphans the operation: its handler will not be called, its late reply is
 * read and dropped. */
void ngx_coco_redis_cancel(ngx_coco_redis_op_t *op);

/* For a connection of another kind to the same server. */
const ngx_coco_redis_server_t *ngx_coco_redis_server(ngx_coco_redis_t *redis);

#endif /* NGX_COCO_REDIS_H */
