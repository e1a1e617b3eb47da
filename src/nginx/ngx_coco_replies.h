/*
 * Requests of a process that wait for the outcome of commands to robots.
 *
 * The rows of robot_command are the truth. A message on the process's channel
 * of Redis, coco.replies.<edge>.<process>, whose text is a command's id, says
 * that its row is worth a look; without one each row is looked at once a
 * second, and once before its requests are given up. Looks share statements.
 */

#ifndef NGX_COCO_REPLIES_H
#define NGX_COCO_REPLIES_H

#include "ngx_coco.h"
#include "ngx_coco_metrics.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_redis.h"

#define NGX_COCO_EDGE_MAX  64

typedef struct ngx_coco_replies_s     ngx_coco_replies_t;
typedef struct ngx_coco_replies_op_s  ngx_coco_replies_op_t;

/* What a module whose requests wait registers with its own; a process in
 * whose configuration nobody did so does not subscribe. */
extern ngx_coco_pg_statement_t  ngx_coco_replies_statement;
extern ngx_coco_pg_statement_t  ngx_coco_replies_wake_statement;

/* Columns of its rows: the command's id, OPENED, FAILED or EXPIRED, what the
 * robot said, and the lid cycle's id; the last two may be null. */
enum {
    NGX_COCO_REPLIES_ID = 0,
    NGX_COCO_REPLIES_OUTCOME,
    NGX_COCO_REPLIES_REASON,
    NGX_COCO_REPLIES_CYCLE
};

ngx_coco_replies_t *ngx_coco_replies_create(ngx_conf_t *cf);

typedef struct {
    ngx_coco_redis_t    *redis;        /* NULL: there are no hints */
    ngx_coco_pg_t       *pg;
    ngx_coco_metrics_t  *metrics;
    ngx_str_t            edge;
    ngx_msec_t           timeout;      /* of a look, ms */
} ngx_coco_replies_backends_t;

/* In a process that serves requests, the backends being initialised. */
ngx_int_t ngx_coco_replies_init_process(ngx_coco_replies_t *replies,
    const ngx_coco_replies_backends_t *backends, ngx_cycle_t *cycle);
void ngx_coco_replies_exit_process(ngx_coco_replies_t *replies);

/* To be called before a command is written: *ret_channel is what its row is
 * to have among its reply_to, data NULL when nobody would listen. The return
 * value is for ngx_coco_replies_wait(): a hint may come before that. */
ngx_uint_t ngx_coco_replies_begin(ngx_coco_replies_t *replies,
    ngx_str_t *ret_channel);

/* A command was committed: the worker sends it at once. One statement wakes it
 * for all that were committed while the one before was under way. */
void ngx_coco_replies_wake(ngx_coco_replies_t *replies);

/* Called once per operation that was not cancelled, and never from within
 * ngx_coco_replies_wait(). With NGX_COCO_DONE `row` of `result` is the
 * command's, whose outcome is known; both live until the handler returns.
 * Otherwise there is no result: NGX_COCO_TIMEOUT when there was no outcome in
 * time, NGX_COCO_DOWN when Postgres could not say at the end. */
typedef void (*ngx_coco_replies_handler_pt)(void *data,
    ngx_coco_outcome_e outcome, const PGresult *result, int row);

/* Waits for the command's outcome, `timeout` ms and a look. `known`: it may
 * have one already. NULL: memory is out. Any number may wait for one. */
ngx_coco_replies_op_t *ngx_coco_replies_wait(ngx_coco_replies_t *replies,
    const coco_id_t *command, ngx_uint_t begun, ngx_uint_t known,
    ngx_msec_t timeout, ngx_coco_replies_handler_pt handler, void *data);

/* Orphans it: what still comes for it is dropped. */
void ngx_coco_replies_cancel(ngx_coco_replies_op_t *op);

#endif /* NGX_COCO_REPLIES_H */
