/*
 * The Postgres client: libpq on nginx's event loop.
 *
 * Point reads share pipelined connections (a sync per request); lists and
 * writes use connections of their own, one statement in flight each, so that
 * a slow one holds nobody up. All statements are prepared on connect.
 */

#ifndef NGX_COCO_PG_H
#define NGX_COCO_PG_H

#include "ngx_coco.h"
#include <libpq-fe.h>

typedef struct ngx_coco_pg_s     ngx_coco_pg_t;
typedef struct ngx_coco_pg_op_s  ngx_coco_pg_op_t;

typedef enum {
    NGX_COCO_PG_POINT = 0,  /* a read by key: pipelined */
    NGX_COCO_PG_SLOW        /* lists and writes: alone on its connection */
} ngx_coco_pg_lane_e;

/* A prepared statement; the structs are static in the modules and are
 * registered while the configuration is read. */
typedef struct {
    ngx_str_t           name;       /* "robot_read", NUL-terminated */
    const char         *sql;        /* $1 … with casts */
    int                 nparams;
    ngx_coco_pg_lane_e  lane;
    int                 result_format;   /* 0 text, 1 binary */
    unsigned            supply:1;   /* writes it: a column "supply" has the
                                       lines of coco.supply_changes() */
} ngx_coco_pg_statement_t;

#define NGX_COCO_PG_PARAMS_MAX  32

/* From a directive's handler; the same statement may be added again.
 * Requires coco_postgres to be configured. */
ngx_int_t ngx_coco_pg_statement_add(ngx_conf_t *cf,
    ngx_coco_pg_statement_t *statement);

/* The same for all of them, up to NULL. */
ngx_int_t ngx_coco_pg_statements_add(ngx_conf_t *cf,
    ngx_coco_pg_statement_t *const *statements);

/* Reads the arguments of coco_postgres; NULL after an error was logged. */
ngx_coco_pg_t *ngx_coco_pg_create(ngx_conf_t *cf);

/* Once all directives are read: `timeout` becomes the server's
 * statement_timeout, `statements` (of ngx_coco_pg_statement_t *) are what
 * connections prepare. */
ngx_int_t ngx_coco_pg_init(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    ngx_msec_t timeout, ngx_array_t *statements);

/* In a process that serves requests: starts to connect. */
ngx_int_t ngx_coco_pg_init_process(ngx_coco_pg_t *pg, ngx_cycle_t *cycle);
void ngx_coco_pg_exit_process(ngx_coco_pg_t *pg);

/* Why the lane has no connection, for /readyz: no names, no secrets. Empty
 * when it has one. */
const char *ngx_coco_pg_reason(ngx_coco_pg_t *pg, ngx_coco_pg_lane_e lane);

/* Called once per operation that was not cancelled; `result` lives until the
 * handler returns. With NGX_COCO_DONE it may hold an error of the server:
 * check PQresultStatus. Never called from within ngx_coco_pg_send(). */
typedef void (*ngx_coco_pg_handler_pt)(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);

/* Parameters are text; data NULL is SQL null. They are copied. NULL when
 * memory is out or a parameter holds a NUL byte, which Postgres' text cannot:
 * callers refuse such input before. NGX_COCO_DOWN as in ngx_coco_redis.h;
 * it may also come after the statement was executed. */
ngx_coco_pg_op_t *ngx_coco_pg_send(ngx_coco_pg_t *pg,
    ngx_coco_pg_statement_t *statement, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_coco_pg_handler_pt handler, void *data);

void ngx_coco_pg_cancel(ngx_coco_pg_op_t *op);   /* orphans it */

/* A text field of a row, data NULL when null. */
coco_str_t ngx_coco_pg_field(const PGresult *result, int row, int column);

/* Has it outlive its result, in `pool`; without one it stays where it is. */
ngx_int_t ngx_coco_pg_copy(ngx_pool_t *pool, coco_str_t *field);

#endif /* NGX_COCO_PG_H */
