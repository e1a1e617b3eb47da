/*
 * Requests that one statement answers. Turns outcomes of Postgres into
 * replies; never knows what a row means.
 */

#include "ngx_coco_query.h"
#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"

#include <openssl/sha.h>


#define NGX_COCO_IDEMPOTENCY_KEY_MAX  255
#define NGX_COCO_PAGE_SIZE            16384


typedef struct {
    ngx_http_request_t       *request;
    ngx_coco_waiter_t        *waiter;
    ngx_coco_query_reply_pt   reply;
    void                     *data;
    ngx_int_t                 rc;
} ngx_coco_query_ctx_t;


typedef struct {
    ngx_coco_query_page_t    *page;
    const PGresult           *result;
    ngx_str_t                 next_cursor;      /* data NULL: last page */
} ngx_coco_query_rows_t;


static ngx_coco_query_ctx_t *ngx_coco_query_create(ngx_http_request_t *r,
    ngx_coco_query_reply_pt reply, void *data);
static void ngx_coco_query_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_query_done(ngx_http_request_t *r, void *data);
static void ngx_coco_query_page_encode(coco_json_out_t *out, void *data);
static ngx_int_t ngx_coco_query_bounds(ngx_http_request_t *r,
    ngx_str_t *params, coco_error_t *err);
static ngx_int_t ngx_coco_query_write_field(ngx_http_request_t *r,
    const PGresult *result, int column, ngx_str_t *ret);
static ngx_int_t ngx_coco_query_write_key(ngx_http_request_t *r,
    ngx_str_t *ret);


char *
ngx_coco_query_location(ngx_conf_t *cf, ngx_http_handler_pt handler,
    ngx_coco_pg_statement_t *const *statements)
{
    if (ngx_coco_pg_statements_add(cf, statements) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_route_location(cf, handler);
}


ngx_int_t
ngx_coco_query(ngx_http_request_t *r, ngx_coco_pg_statement_t *statement,
    const ngx_str_t *params, ngx_coco_query_reply_pt reply, void *data)
{
    ngx_coco_query_ctx_t  *ctx;

    if (ngx_coco_base_conf(r)->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    ctx = ngx_coco_query_create(r, reply, data);

    if (ctx == NULL
        || ngx_coco_waiter_pg(ctx->waiter, statement, params,
                              ngx_coco_query_handler)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(ctx->waiter);
}


ngx_int_t
ngx_coco_query_store(ngx_http_request_t *r, const ngx_coco_webhook_t *webhook,
    ngx_coco_query_reply_pt reply, void *data)
{
    ngx_coco_query_ctx_t  *ctx;

    if (ngx_coco_base_conf(r)->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    ctx = ngx_coco_query_create(r, reply, data);

    if (ctx == NULL
        || ngx_coco_waiter_inbox(ctx->waiter, webhook, ngx_coco_query_handler)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(ctx->waiter);
}


static ngx_coco_query_ctx_t *
ngx_coco_query_create(ngx_http_request_t *r, ngx_coco_query_reply_pt reply,
    void *data)
{
    ngx_coco_query_ctx_t  *ctx;

    ctx = ngx_palloc(r->pool, sizeof(ngx_coco_query_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->reply = reply;
    ctx->data = data;
    ctx->rc = NGX_ERROR;
    ctx->waiter = ngx_coco_waiter_create(r, ngx_coco_query_done, ctx);

    return ctx->waiter ? ctx : NULL;
}


static void
ngx_coco_query_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_query_ctx_t  *ctx = data;

    if (ngx_coco_query_check(ctx->request, outcome, result, &ctx->rc)
        == NGX_OK)
    {
        ctx->rc = ctx->reply(ctx->request, result, ctx->data);
    }
}


static void
ngx_coco_query_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_query_ctx_t  *ctx = data;

    ngx_coco_waiter_finalize(ctx->waiter, ctx->rc);
}


ngx_int_t
ngx_coco_query_check(ngx_http_request_t *r, ngx_coco_outcome_e outcome,
    const PGresult *result, ngx_int_t *ret_rc)
{
    char  *sqlstate;

    if (outcome != NGX_COCO_DONE) {
        *ret_rc = ngx_coco_reply_unavailable(r, "Postgres", outcome);
        return NGX_DECLINED;
    }

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        return NGX_OK;
    }

    sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "coco: postgres refused a statement: %s: %s",
                  sqlstate ? sqlstate : "-", PQresultErrorMessage(result));

    /* no connections left, statement timeout and shutdown, system errors:
     * not the request's fault, and gone later */

    if (sqlstate && (ngx_strncmp(sqlstate, "53", 2) == 0
                     || ngx_strncmp(sqlstate, "57", 2) == 0
                     || ngx_strncmp(sqlstate, "58", 2) == 0
                     || ngx_strncmp(sqlstate, "40", 2) == 0))
    {
        *ret_rc = ngx_coco_reply_unavailable(r, "Postgres",
                                  ngx_strcmp(sqlstate, "57014") == 0
                                  ? NGX_COCO_TIMEOUT : NGX_COCO_DOWN);
    } else {
        *ret_rc = ngx_coco_reply_problem(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                         "The database refused the statement; "
                                         "the server's log says why.");
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_coco_query_page(ngx_http_request_t *r, ngx_coco_pg_statement_t *statement,
    ngx_str_t *params, ngx_coco_query_page_t *page)
{
    if (ngx_coco_query_param_int(r, page->limit + 1,
                                 &params[statement->nparams - 1])
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_query(r, statement, params, ngx_coco_query_page_reply,
                          page);
}


ngx_int_t
ngx_coco_query_history(ngx_http_request_t *r, ngx_coco_call_t *call,
    ngx_coco_pg_statement_t *statement, int ms_column,
    ngx_coco_query_row_pt row)
{
    ngx_str_t              *params;
    coco_error_t            err;
    ngx_coco_query_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    params = ngx_pcalloc(r->pool, 6 * sizeof(ngx_str_t));
    page = ngx_palloc(r->pool, sizeof(ngx_coco_query_page_t));
    if (params == NULL || page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->limit = NGX_COCO_LIMIT_DEFAULT;
    page->ms_column = ms_column;
    page->key_column = 0;
    page->row = row;
    page->data = call;

    params[0] = call->path[0];

    if (ngx_coco_query_bounds(r, &params[1], &err) == NGX_ERROR
        || ngx_coco_arg_limit(r, &page->limit, &err) == NGX_ERROR
        || ngx_coco_query_cursor(r, &params[3], &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query_page(r, statement, params, page);
}


ngx_int_t
ngx_coco_query_page_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_query_page_t  *page = data;

    int                     last;
    int64_t                 ms;
    ngx_coco_query_rows_t   rows;

    rows.page = page;
    rows.result = result;
    ngx_str_null(&rows.next_cursor);

    if (PQntuples(result) > (int) page->limit) {
        last = page->limit - 1;
        ms = page->ms_column < 0 ? 0
                        : ngx_coco_query_int(result, last, page->ms_column);

        if (ngx_coco_cursor_encode(r, ms,
                                   ngx_coco_pg_field(result, last,
                                                     page->key_column),
                                   &rows.next_cursor)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_PAGE_SIZE,
                                 ngx_coco_query_page_encode, &rows);
}


static void
ngx_coco_query_page_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_query_rows_t  *rows = data;

    int  i, n;

    n = ngx_min(PQntuples(rows->result), (int) rows->page->limit);

    coco_json_object_open(out);
    coco_json_name(out, "items");
    coco_json_array_open(out);

    for (i = 0; i < n; i++) {
        rows->page->row(out, rows->result, i, rows->page->data);
    }

    coco_json_array_close(out);
    coco_json_name(out, "nextCursor");
    coco_json_string(out, ngx_coco_str(rows->next_cursor));
    coco_json_object_close(out);
}


ngx_int_t
ngx_coco_query_cursor(ngx_http_request_t *r, ngx_str_t *params,
    coco_error_t *err)
{
    int64_t    ms;
    coco_id_t  id;
    ngx_int_t  rc;

    rc = ngx_coco_arg_cursor(r, &ms, &params[1], err);
    if (rc != NGX_OK) {
        return rc;
    }

    if (coco_id_parse(&id, ngx_coco_str(params[1])) != COCO_OK) {
        (void) coco_error_set(err, "cursor",
                              "must be the nextCursor of an earlier page");
        return NGX_ERROR;
    }

    return ngx_coco_query_param_int(r, ms, &params[0]);
}


/* The arguments from and to (ms, null when absent) into two parameters; NGX_OK,
 * or NGX_ERROR with err filled as by ngx_coco_arg_time(). */

static ngx_int_t
ngx_coco_query_bounds(ngx_http_request_t *r, ngx_str_t *params,
    coco_error_t *err)
{
    int64_t     ms;
    ngx_int_t   rc;
    ngx_uint_t  i;

    static const char  *names[] = { "from", "to" };

    for (i = 0; i < 2; i++) {
        rc = ngx_coco_arg_time(r, names[i], &ms, err);

        if (rc == NGX_OK) {
            rc = ngx_coco_query_param_int(r, ms, &params[i]);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_coco_query_write(ngx_http_request_t *r, ngx_coco_call_t *call,
    ngx_coco_pg_statement_t *statement, ngx_str_t *params)
{
    ngx_int_t  rc;

    if (ngx_coco_query_write_params(r, call, params, &rc) != NGX_OK) {
        return rc;
    }

    return ngx_coco_query(r, statement, params, ngx_coco_query_write_reply,
                          NULL);
}


ngx_int_t
ngx_coco_query_write_params(ngx_http_request_t *r, ngx_coco_call_t *call,
    ngx_str_t *params, ngx_int_t *ret_rc)
{
    u_char        digest[SHA256_DIGEST_LENGTH];
    coco_error_t  err;

    if (ngx_coco_query_write_key(r, &params[2]) != NGX_OK) {
        (void) coco_error_set(&err, "Idempotency-Key",
                              "must be 1 to 255 visible ASCII characters");
        *ret_rc = ngx_coco_reply_bad_field(r, &err);
        return NGX_DECLINED;
    }

    params[0] = call->caller.subject;

    params[1].len = r->method_name.len + 1 + r->uri.len;
    params[1].data = ngx_pnalloc(r->pool, params[1].len);

    params[3].len = 2 + 2 * SHA256_DIGEST_LENGTH;
    params[3].data = ngx_pnalloc(r->pool, params[3].len);

    if (params[1].data == NULL || params[3].data == NULL) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    ngx_sprintf(params[1].data, "%V %V", &r->method_name, &r->uri);

    SHA256(call->body.data, call->body.len, digest);
    ngx_hex_dump(ngx_cpymem(params[3].data, "\\x", 2), digest,
                 SHA256_DIGEST_LENGTH);

    return NGX_OK;
}


ngx_int_t
ngx_coco_query_write_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_written_t  written;

    return ngx_coco_query_written(r, result, &written) == NGX_OK
           ? ngx_coco_query_written_reply(r, &written)
           : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


ngx_int_t
ngx_coco_query_written(ngx_http_request_t *r, const PGresult *result,
    ngx_coco_written_t *ret)
{
    ret->status = ngx_coco_query_int(result, 0, 0);

    if (ret->status == NGX_HTTP_CREATED
        && ngx_coco_query_write_field(r, result, 2, &ret->location) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_coco_query_write_field(r, result, 1, &ret->body);
}


ngx_int_t
ngx_coco_query_written_reply(ngx_http_request_t *r,
    ngx_coco_written_t *written)
{
    if (written->status >= NGX_HTTP_BAD_REQUEST) {
        return ngx_coco_reply_problem(r, written->status,
                                      (char *) written->body.data);
    }

    if (written->status == NGX_HTTP_CREATED
        && ngx_coco_reply_header(r, "Location", &written->location) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_json(r, written->status, &written->body);
}


/* A copy in r->pool with a NUL after it: the detail of a problem has one. */

static ngx_int_t
ngx_coco_query_write_field(ngx_http_request_t *r, const PGresult *result,
    int column, ngx_str_t *ret)
{
    coco_str_t  field;

    field = ngx_coco_pg_field(result, 0, column);

    ret->len = field.len;
    ret->data = ngx_pnalloc(r->pool, field.len + 1);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(ret->data, field.data, field.len) = '\0';

    return NGX_OK;
}


/* Leaves *ret null when the header is absent; NGX_DECLINED when it is not
 * of the right form. */

static ngx_int_t
ngx_coco_query_write_key(ngx_http_request_t *r, ngx_str_t *ret)
{
    size_t            n;
    ngx_table_elt_t  *h;

    static const ngx_str_t  name = ngx_string("Idempotency-Key");

    ngx_str_null(ret);

    h = ngx_coco_header_find(r, &name);
    if (h == NULL) {
        return NGX_OK;
    }

    if (h->value.len == 0 || h->value.len > NGX_COCO_IDEMPOTENCY_KEY_MAX) {
        return NGX_DECLINED;
    }

    for (n = 0; n < h->value.len; n++) {
        if (h->value.data[n] <= ' ' || h->value.data[n] > '~') {
            return NGX_DECLINED;
        }
    }

    *ret = h->value;

    return NGX_OK;
}


int64_t
ngx_coco_query_int(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}


ngx_int_t
ngx_coco_query_param_int(ngx_http_request_t *r, int64_t n, ngx_str_t *ret)
{
    ret->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    ret->len = ngx_sprintf(ret->data, "%L", n) - ret->data;

    return NGX_OK;
}
