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
} ngx_coco_pg_statement_t;

ngx_int_t ngx_coco_pg_statement_add(ngx_conf_t *cf,
    ngx_coco_pg_statement_t *statement);

/* Called once per operation that was not cancelled; `result` lives until the
 * handler returns. With NGX_COCO_DONE it may hold an error of the server:
 * check PQresultStatus. Never called from within ngx_coco_pg_send(). */
typedef void (*ngx_coco_pg_handler_pt)(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);

/* Parameters are text; data NULL is SQL null. They are copied. */
ngx_coco_pg_op_t *ngx_coco_pg_send(ngx_coco_pg_t *pg,
    ngx_coco_pg_statement_t *statement, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_coco_pg_handler_pt handler, void *data);

void ngx_coco_pg_cancel(ngx_coco_pg_op_t *op);   /* orphans it */

/* A text field of a row, data NULL when null. */
coco_str_t ngx_coco_pg_field(const PGresult *result, int row, int column);

#endif /* NGX_COCO_PG_H */
