/*
 * Answers that are written page by page. Knows when the next one may be asked
 * for; must never have more than one page in memory, nor end an answer that is
 * not complete as if it were.
 */

#include "ngx_coco_stream.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"


#define NGX_COCO_STREAM_SIZE  65536     /* of the first page's text */


/*
 * ASKED    a page is on its way; nothing is left to be written
 * WRITING  a page, or what of it the client has not taken yet
 * REFUSED  there is no first page; what was answered instead is in rc
 * CUT      there is no later one
 */
typedef enum {
    NGX_COCO_STREAM_ASKED = 0,
    NGX_COCO_STREAM_WRITING,
    NGX_COCO_STREAM_REFUSED,
    NGX_COCO_STREAM_CUT
} ngx_coco_stream_state_e;

typedef struct {
    ngx_coco_stream_t         stream;
    ngx_http_request_t       *request;
    ngx_coco_waiter_t        *waiter;
    ngx_coco_stream_state_e   state;
    ngx_int_t                 rc;
    u_char                   *text;     /* of a page, used again */
    size_t                    size;
    size_t                    len;
    bool                      comma;    /* a row was written */
    ngx_buf_t                *bufs[2];  /* by turns: filters may look at the
                                           last one until the next comes */
    unsigned                  begun:1;  /* the header was sent */
    unsigned                  last:1;   /* the page is the last one */
} ngx_coco_stream_ctx_t;


static ngx_int_t ngx_coco_stream_header(ngx_coco_stream_ctx_t *ctx);
static ngx_int_t ngx_coco_stream_ask(ngx_coco_stream_ctx_t *ctx);
static void ngx_coco_stream_page(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static ngx_int_t ngx_coco_stream_fill(ngx_coco_stream_ctx_t *ctx,
    const PGresult *result);
static void ngx_coco_stream_encode(coco_json_out_t *out,
    ngx_coco_stream_ctx_t *ctx, const PGresult *result);
static void ngx_coco_stream_done(ngx_http_request_t *r, void *data);
static void ngx_coco_stream_write(ngx_coco_stream_ctx_t *ctx);
static void ngx_coco_stream_written(ngx_coco_stream_ctx_t *ctx, ngx_int_t rc);
static void ngx_coco_stream_block(ngx_coco_stream_ctx_t *ctx);
static void ngx_coco_stream_cut(ngx_coco_stream_ctx_t *ctx);
static void ngx_coco_stream_handler(ngx_http_request_t *r);


ngx_int_t
ngx_coco_stream(ngx_http_request_t *r, const ngx_coco_stream_t *stream)
{
    ngx_coco_stream_ctx_t  *ctx;

    if (ngx_coco_base_conf(r)->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_coco_stream_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->stream = *stream;
    ctx->request = r;

    if (r->method == NGX_HTTP_HEAD) {
        return ngx_coco_stream_header(ctx);
    }

    ctx->size = NGX_COCO_STREAM_SIZE;
    ctx->text = ngx_palloc(r->pool, ctx->size);
    ctx->bufs[0] = ngx_calloc_buf(r->pool);
    ctx->bufs[1] = ngx_calloc_buf(r->pool);
    ctx->waiter = ngx_coco_waiter_create(r, ngx_coco_stream_done, ctx);

    if (ctx->text == NULL || ctx->bufs[0] == NULL || ctx->bufs[1] == NULL
        || ctx->waiter == NULL || ngx_coco_stream_ask(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, ctx, ngx_coco_base_module);

    return ngx_coco_waiter_wait(ctx->waiter);
}


static ngx_int_t
ngx_coco_stream_header(ngx_coco_stream_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = ctx->stream.type;
    r->headers_out.content_type_len = ctx->stream.type.len;
    r->headers_out.content_length_n = -1;

    return ngx_http_send_header(r);
}


static ngx_int_t
ngx_coco_stream_ask(ngx_coco_stream_ctx_t *ctx)
{
    ctx->state = NGX_COCO_STREAM_ASKED;
    ctx->request->write_event_handler = ngx_http_request_empty_handler;

    return ngx_coco_waiter_pg(ctx->waiter, ctx->stream.statement,
                              ctx->stream.params, ngx_coco_stream_page);
}


static void
ngx_coco_stream_page(void *data, ngx_coco_outcome_e outcome, PGresult *result)
{
    ngx_coco_stream_ctx_t  *ctx = data;

    char       *message;
    ngx_log_t  *log;

    log = ctx->request->connection->log;

    if (!ctx->begun
        && ngx_coco_query_check(ctx->request, outcome, result, &ctx->rc)
           != NGX_OK)
    {
        ctx->state = NGX_COCO_STREAM_REFUSED;
        return;
    }

    ctx->state = NGX_COCO_STREAM_CUT;

    if (outcome != NGX_COCO_DONE) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "coco: an answer was cut short: "
                      "postgres %s", ngx_coco_reply_outcome(outcome));
        return;
    }

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        message = PQresultErrorMessage(result);

        ngx_log_error(NGX_LOG_ERR, log, 0, "coco: an answer was cut short: "
                      "postgres refused a statement: %*s",
                      strcspn(message, "\n"), message);
        return;
    }

    ctx->last = ctx->stream.next(result, ctx->stream.data) == NGX_DONE;

    if (ngx_coco_stream_fill(ctx, result) == NGX_OK) {
        ctx->state = NGX_COCO_STREAM_WRITING;
    }
}


/* The text of the page, in memory that has become free: the one before has
 * left. */

static ngx_int_t
ngx_coco_stream_fill(ngx_coco_stream_ctx_t *ctx, const PGresult *result)
{
    coco_json_out_t  out;

    for ( ;; ) {
        coco_json_out_init(&out, (char *) ctx->text, ctx->size);
        ngx_coco_stream_encode(&out, ctx, result);

        if (coco_json_out_ok(&out)) {
            ctx->len = out.len;
            ctx->comma = out.comma;
            return NGX_OK;
        }

        (void) ngx_pfree(ctx->request->pool, ctx->text);

        /* the next page will need some more, or less */

        ctx->size = out.len + out.len / 4;
        ctx->text = ngx_palloc(ctx->request->pool, ctx->size);
        if (ctx->text == NULL) {
            return NGX_ERROR;
        }
    }
}


static void
ngx_coco_stream_encode(coco_json_out_t *out, ngx_coco_stream_ctx_t *ctx,
    const PGresult *result)
{
    int   i;
    bool  comma;

    if (!ctx->begun) {
        coco_json_put(out, (char *) ctx->stream.head.data,
                      ctx->stream.head.len);
    }

    out->comma = ctx->comma;

    for (i = 0; i < PQntuples(result); i++) {
        ctx->stream.row(out, result, i, ctx->stream.data);
    }

    if (ctx->last) {
        comma = out->comma;
        coco_json_put(out, (char *) ctx->stream.tail.data,
                      ctx->stream.tail.len);
        out->comma = comma;
    }
}


static void
ngx_coco_stream_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_stream_ctx_t  *ctx = data;

    switch (ctx->state) {

    case NGX_COCO_STREAM_REFUSED:
        ngx_coco_waiter_finalize(ctx->waiter, ctx->rc);
        break;

    case NGX_COCO_STREAM_WRITING:
        ngx_coco_stream_write(ctx);
        break;

    default:
        ngx_coco_stream_cut(ctx);
    }
}


static void
ngx_coco_stream_write(ngx_coco_stream_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = ctx->request;
    r->connection->log->action = "sending to client";

    if (!ctx->begun) {
        ctx->begun = 1;

        rc = ngx_coco_stream_header(ctx);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            ngx_coco_waiter_finalize(ctx->waiter, rc);
            return;
        }
    }

    b = ctx->bufs[0];
    ctx->bufs[0] = ctx->bufs[1];
    ctx->bufs[1] = b;

    b->pos = ctx->text;
    b->last = ctx->text + ctx->len;
    b->memory = ctx->len != 0;
    b->flush = 1;
    b->last_buf = ctx->last && r == r->main;
    b->last_in_chain = ctx->last;

    out.buf = b;
    out.next = NULL;

    ngx_coco_stream_written(ctx, ngx_http_output_filter(r, &out));
}


static void
ngx_coco_stream_written(ngx_coco_stream_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    /* what is left of the last page nginx writes by itself */

    if (rc == NGX_ERROR || ctx->last) {
        ngx_coco_waiter_finalize(ctx->waiter, rc);
        return;
    }

    if (r->buffered || r->postponed || (r == r->main && c->buffered)) {
        ngx_coco_stream_block(ctx);
        return;
    }

    if (c->write->timer_set && !c->write->delayed) {
        ngx_del_timer(c->write);
    }

    if (ngx_coco_stream_ask(ctx) != NGX_OK) {
        ngx_coco_stream_cut(ctx);
    }
}


/* As ngx_http_writer() does. */

static void
ngx_coco_stream_block(ngx_coco_stream_ctx_t *ctx)
{
    ngx_event_t               *wev;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->write_event_handler = ngx_coco_stream_handler;

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        ngx_coco_waiter_finalize(ctx->waiter, NGX_ERROR);
    }
}


/* A status can no longer tell. Over HTTP/2 the stream is reset by nginx; else
 * the connection is, since for HTTP/1.0 its end is that of the answer. */

static void
ngx_coco_stream_cut(ngx_coco_stream_ctx_t *ctx)
{
    struct linger        linger;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->begun
#if (NGX_HTTP_V2)
        && r->stream == NULL
#endif
       )
    {
        r->connection->timedout = 1;    /* TLS says no goodbye */

        linger.l_onoff = 1;
        linger.l_linger = 0;

        if (setsockopt(r->connection->fd, SOL_SOCKET, SO_LINGER, &linger,
                       sizeof(linger))
            == -1)
        {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_socket_errno,
                          "setsockopt(SO_LINGER) failed");
        }
    }

    ngx_coco_waiter_finalize(ctx->waiter,
                             ctx->begun ? NGX_ERROR
                                        : NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/* The client may take more, or has not for send_timeout. */

static void
ngx_coco_stream_handler(ngx_http_request_t *r)
{
    ngx_event_t            *wev;
    ngx_coco_stream_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_coco_base_module);
    wev = r->connection->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;

        ngx_coco_waiter_finalize(ctx->waiter, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed || r->aio) {
        ngx_coco_stream_block(ctx);
        return;
    }

    ngx_coco_stream_written(ctx, ngx_http_output_filter(r, NULL));
}
