/*
 * Requests that one statement answers: a row, a page of rows, a write under
 * an Idempotency-Key, or a webhook that shares its statement. The failures of
 * Postgres become replies here.
 */

#ifndef NGX_COCO_QUERY_H
#define NGX_COCO_QUERY_H

#include "ngx_coco.h"
#include "ngx_coco_inbox.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_route.h"
#include "coco_json_write.h"

/* Gives the location that is being configured to a module whose statements
 * (the last one NULL) its handlers use. A directive handler's return value. */
char *ngx_coco_query_location(ngx_conf_t *cf, ngx_http_handler_pt handler,
    ngx_coco_pg_statement_t *const *statements);

/* Called with the rows; sends the reply. Returns what
 * ngx_http_finalize_request takes. `result` lives until it returns. */
typedef ngx_int_t (*ngx_coco_query_reply_pt)(ngx_http_request_t *r,
    PGresult *result, void *data);

/* Sends the statement and returns what ngx_http_finalize_request takes.
 * Without an answer the reply is 503, with an error of the server 500. */
ngx_int_t ngx_coco_query(ngx_http_request_t *r,
    ngx_coco_pg_statement_t *statement, const ngx_str_t *params,
    ngx_coco_query_reply_pt reply, void *data);

/* The same for a webhook that is to be stored: the reply is sent once it is
 * committed. The location has ngx_coco_inbox_statement among its own. */
ngx_int_t ngx_coco_query_store(ngx_http_request_t *r,
    const ngx_coco_webhook_t *webhook, ngx_coco_query_reply_pt reply,
    void *data);

/* Encodes one row; may run twice for the same row. */
typedef void (*ngx_coco_query_row_pt)(coco_json_out_t *out,
    const PGresult *result, int row, void *data);

/* One page, {"items":[…],"nextCursor":…}. The statement returns up to
 * limit + 1 rows; its last parameter is that number, put in here. */
typedef struct {
    ngx_uint_t              limit;
    int                     ms_column;    /* the cursor's milliseconds; -1:
                                             none */
    int                     key_column;   /* the cursor's text */
    ngx_coco_query_row_pt   row;
    void                   *data;
} ngx_coco_query_page_t;

ngx_int_t ngx_coco_query_page(ngx_http_request_t *r,
    ngx_coco_pg_statement_t *statement, ngx_str_t *params,
    ngx_coco_query_page_t *page);

/* A page of what happened to what the path names, by time: the parameters are
 * its name, the arguments from and to, the cursor and the limit; the first
 * column is the cursor's text, and `call` each row's data. */
ngx_int_t ngx_coco_query_history(ngx_http_request_t *r,
    ngx_coco_call_t *call, ngx_coco_pg_statement_t *statement, int ms_column,
    ngx_coco_query_row_pt row);

/* A page's reply, a ngx_coco_query_reply_pt, for those that look first whether
 * there are rows at all: data is the page. */
ngx_int_t ngx_coco_query_page_reply(ngx_http_request_t *r, PGresult *result,
    void *data);

/* Puts the cursor of rows by (milliseconds, id) into two parameters; returns
 * and fills err as ngx_coco_arg_cursor() does. */
ngx_int_t ngx_coco_query_cursor(ngx_http_request_t *r, ngx_str_t *params,
    coco_error_t *err);

/* A write: a function of the database whose first four parameters are those
 * of coco.idempotency_begin() (put in here; params[0] to [3]) and that
 * returns one row (status, response); its statement has a third column, the
 * Location, when the status may be 201, and is marked when it writes the
 * supply (ngx_coco_pg_statement_t). */
#define NGX_COCO_WRITE_PARAMS  4

ngx_int_t ngx_coco_query_write(ngx_http_request_t *r, ngx_coco_call_t *call,
    ngx_coco_pg_statement_t *statement, ngx_str_t *params);

/* Its halves, for those that do more in between. The parameters: NGX_OK, or
 * NGX_DECLINED with *ret_rc being what ngx_http_finalize_request takes; and
 * the reply, a ngx_coco_query_reply_pt without data. */
ngx_int_t ngx_coco_query_write_params(ngx_http_request_t *r,
    ngx_coco_call_t *call, ngx_str_t *params, ngx_int_t *ret_rc);
ngx_int_t ngx_coco_query_write_reply(ngx_http_request_t *r,
    PGresult *result, void *data);

/* The halves of that reply: what outlives the result, and what sends it. */
typedef struct {
    ngx_uint_t  status;
    ngx_str_t   body;            /* of an error: its detail, with a NUL */
    ngx_str_t   location;        /* of 201 */
} ngx_coco_written_t;

ngx_int_t ngx_coco_query_written(ngx_http_request_t *r,
    const PGresult *result, ngx_coco_written_t *ret);
ngx_int_t ngx_coco_query_written_reply(ngx_http_request_t *r,
    ngx_coco_written_t *written);

/* NGX_OK when the result has rows to read. Otherwise *ret_rc is what
 * ngx_http_finalize_request takes, and the reply was sent. */
ngx_int_t ngx_coco_query_check(ngx_http_request_t *r,
    ngx_coco_outcome_e outcome, const PGresult *result, ngx_int_t *ret_rc);

/* A bigint in text; 0 when null. */
int64_t ngx_coco_query_int(const PGresult *result, int row, int column);

/* Decimal text of n in r->pool, for parameters. */
ngx_int_t ngx_coco_query_param_int(ngx_http_request_t *r, int64_t n,
    ngx_str_t *ret);

#endif /* NGX_COCO_QUERY_H */
