/*
 * Requests that need a token: those that have it go on, one fetches it, the
 * others wait. Must never wait without an end, nor log a token or a secret.
 */

#include "ngx_coco_oauth_fetch.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_zone.h"


#define NGX_COCO_OAUTH_TIMEOUT  10000   /* ms */
#define NGX_COCO_OAUTH_LOOK     20      /* ms, at what other processes do */

/* A fetch that is lost with its process costs its whole time; then there is
 * another. */
#define NGX_COCO_OAUTH_FLIGHTS  2


/* What a request has got so far; known by its cleanup handler, since contexts
 * are forgotten when error_page leads to another location. */
typedef struct {
    ngx_http_request_t  *request;
    ngx_str_t            uri;           /* as the request came */
    ngx_coco_oauth_t    *oauth;
    ngx_queue_t          link;          /* while `waiting` */
    int64_t              until;         /* waits, ngx_coco_clock(); 0: it has
                                           not begun */
    uint64_t             number;        /* of the token; 0: none */
    uint64_t             refused;       /* of the one before; 0: none */
    ngx_str_t            token;
    unsigned             waiting:1;
    unsigned             unauthorized:1;
} ngx_coco_oauth_ctx_t;


static ngx_coco_oauth_ctx_t *ngx_coco_oauth_ctx(ngx_http_request_t *r);
static ngx_coco_oauth_ctx_t *ngx_coco_oauth_ctx_create(ngx_http_request_t *r,
    ngx_coco_oauth_t *oauth);
static void ngx_coco_oauth_cleanup(void *data);
static ngx_int_t ngx_coco_oauth_use(ngx_coco_oauth_ctx_t *ctx,
    const ngx_coco_oauth_taken_t *taken);
static ngx_int_t ngx_coco_oauth_wait(ngx_coco_oauth_ctx_t *ctx);
static ngx_int_t ngx_coco_oauth_problem(ngx_coco_oauth_ctx_t *ctx,
    ngx_coco_oauth_failure_e failure);
static void ngx_coco_oauth_timer_handler(ngx_event_t *ev);
static void ngx_coco_oauth_posted_handler(ngx_event_t *ev);
static ngx_int_t ngx_coco_oauth_argument(ngx_conf_t *cf,
    ngx_coco_oauth_t *oauth, ngx_str_t *value, ngx_str_t *scope);
static char *ngx_coco_oauth_form(ngx_conf_t *cf, ngx_coco_oauth_t *oauth,
    ngx_str_t *scope);
static void ngx_coco_oauth_init(ngx_conf_t *cf, ngx_coco_oauth_t *oauth);


/* By ngx_coco_oauth_failure_e; the name of the server comes before. */
static const struct {
    ngx_uint_t   status;
    const char  *detail;
} ngx_coco_oauth_failures[] = {
    { NGX_HTTP_BAD_GATEWAY,
      "'s authorization server cannot be reached; try again later." },
    { NGX_HTTP_GATEWAY_TIME_OUT,
      "'s authorization server did not answer in time; try again later." },
    { NGX_HTTP_SERVICE_UNAVAILABLE,
      "'s authorization server is not able to answer; try again later." },
    { NGX_HTTP_BAD_GATEWAY,
      "'s authorization server refuses our credentials; the error log has "
      "its answer's status." },
    { NGX_HTTP_BAD_GATEWAY,
      "'s authorization server answered without a token; the error log says "
      "what is wrong." },
    { NGX_HTTP_BAD_GATEWAY,
      " refuses our credentials, also with a new token." },
};


ngx_int_t
ngx_coco_oauth_handler(ngx_http_request_t *r, ngx_coco_oauth_t *oauth)
{
    ngx_coco_oauth_ctx_t    *ctx;
    ngx_coco_oauth_taken_t   taken;

    if (ngx_coco_oauth_fetch_is(r)) {
        return NGX_DECLINED;
    }

    ctx = ngx_coco_oauth_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_coco_oauth_ctx_create(r, oauth);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    if (ctx->oauth != oauth) {
        ctx->oauth = oauth;             /* what was refused is another's */
        ctx->refused = 0;
        ctx->unauthorized = 0;
    }

    if (ctx->unauthorized) {
        ctx->unauthorized = 0;

        if (ctx->refused) {
            ngx_coco_oauth_zone_refused(oauth->zone, &oauth->key,
                                        ctx->number);
            return ngx_coco_oauth_problem(ctx, NGX_COCO_OAUTH_REFUSED);
        }

        ctx->refused = ctx->number;
    }

    ctx->number = 0;

    ngx_coco_oauth_zone_take(oauth->zone, &oauth->key, ctx->refused,
                             oauth->timeout, &taken);

    switch (taken.turn) {

    case COCO_OAUTH_RENEW:
        /* with the old one meanwhile; without memory somebody else will */

        (void) ngx_coco_oauth_fetch(r, oauth, taken.flight);

        /* fall through */

    case COCO_OAUTH_USE:
        return ngx_coco_oauth_use(ctx, &taken);

    case COCO_OAUTH_FETCH:
        if (ngx_coco_oauth_fetch(r, oauth, taken.flight) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_coco_oauth_wait(ctx);

    case COCO_OAUTH_WAIT:
        return ngx_coco_oauth_wait(ctx);

    default: /* COCO_OAUTH_FAIL */
        return ngx_coco_oauth_problem(ctx, taken.failure);
    }
}


const ngx_str_t *
ngx_coco_oauth_token(ngx_http_request_t *r)
{
    ngx_coco_oauth_ctx_t  *ctx;

    ctx = ngx_coco_oauth_ctx(r);

    return ctx && ctx->number ? &ctx->token : NULL;
}


void
ngx_coco_oauth_unauthorized(ngx_http_request_t *r)
{
    ngx_coco_oauth_ctx_t  *ctx;

    ctx = ngx_coco_oauth_ctx(r);

    if (ctx && ctx->number) {
        ctx->unauthorized = 1;
    }
}


static ngx_coco_oauth_ctx_t *
ngx_coco_oauth_ctx(ngx_http_request_t *r)
{
    ngx_http_cleanup_t    *cln;
    ngx_coco_oauth_ctx_t  *ctx;

    for (cln = r->main->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_coco_oauth_cleanup) {
            ctx = cln->data;

            if (ctx->request == r) {
                return ctx;
            }
        }
    }

    return NULL;
}


static ngx_coco_oauth_ctx_t *
ngx_coco_oauth_ctx_create(ngx_http_request_t *r, ngx_coco_oauth_t *oauth)
{
    ngx_http_cleanup_t    *cln;
    ngx_coco_oauth_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->uri = r->uri;
    ctx->oauth = oauth;

    cln->handler = ngx_coco_oauth_cleanup;
    cln->data = ctx;

    return ctx;
}


static void
ngx_coco_oauth_cleanup(void *data)
{
    ngx_coco_oauth_ctx_t  *ctx = data;

    if (ctx->waiting) {
        ctx->waiting = 0;
        ngx_queue_remove(&ctx->link);
    }
}


static ngx_int_t
ngx_coco_oauth_use(ngx_coco_oauth_ctx_t *ctx,
    const ngx_coco_oauth_taken_t *taken)
{
    ctx->token.data = ngx_pnalloc(ctx->request->pool, taken->len);
    if (ctx->token.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(ctx->token.data, taken->token, taken->len);
    ctx->token.len = taken->len;
    ctx->number = taken->number;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_coco_oauth_wait(ngx_coco_oauth_ctx_t *ctx)
{
    int64_t            now;
    ngx_coco_oauth_t  *oauth;

    now = ngx_coco_clock();
    oauth = ctx->oauth;

    if (ctx->until == 0) {
        ctx->until = now + NGX_COCO_OAUTH_FLIGHTS * (int64_t) oauth->timeout;
    }

    if (now >= ctx->until) {
        return ngx_coco_oauth_problem(ctx, NGX_COCO_OAUTH_LATE);
    }

    ctx->waiting = 1;
    ngx_queue_insert_tail(&oauth->waiting, &ctx->link);

    /* not cancelable: it keeps a worker that is about to exit */

    if (!oauth->timer.timer_set) {
        ngx_add_timer(&oauth->timer, NGX_COCO_OAUTH_LOOK);
    }

    return NGX_AGAIN;
}


/* The request may have a body that nobody has read, and its client wait to be
 * told to send it. */

static ngx_int_t
ngx_coco_oauth_problem(ngx_coco_oauth_ctx_t *ctx,
    ngx_coco_oauth_failure_e failure)
{
    u_char              *p, detail[160];
    ngx_uint_t           status;
    ngx_http_request_t  *r;

    static const ngx_str_t  soon = ngx_string("1");

    r = ctx->request;
    r->uri = ctx->uri;                  /* what the problem is about */
    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    status = ngx_coco_oauth_failures[failure].status;

    p = ngx_snprintf(detail, sizeof(detail) - 1, "%s%s", ctx->oauth->name,
                     ngx_coco_oauth_failures[failure].detail);
    *p = '\0';

    if (status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_coco_reply_header(r, "Retry-After", &soon) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_finalize_request(r, ngx_coco_reply_problem(r, status,
                                                        (char *) detail));

    return NGX_DONE;
}


/* What this process fetches ends with an event; of what others fetch there is
 * none. */

static void
ngx_coco_oauth_timer_handler(ngx_event_t *ev)
{
    int64_t                now;
    ngx_uint_t             due;
    ngx_queue_t           *q;
    ngx_coco_oauth_t      *oauth;
    ngx_coco_oauth_ctx_t  *ctx;

    oauth = ev->data;

    if (ngx_queue_empty(&oauth->waiting)) {
        return;
    }

    now = ngx_coco_clock();
    due = !ngx_coco_oauth_zone_pending(oauth->zone, &oauth->key);

    for (q = ngx_queue_head(&oauth->waiting);
         !due && q != ngx_queue_sentinel(&oauth->waiting);
         q = ngx_queue_next(q))
    {
        ctx = ngx_queue_data(q, ngx_coco_oauth_ctx_t, link);
        due = now >= ctx->until;
    }

    if (due) {
        ngx_coco_oauth_wake(oauth);
        return;
    }

    ngx_add_timer(ev, NGX_COCO_OAUTH_LOOK);
}


void
ngx_coco_oauth_wake(ngx_coco_oauth_t *oauth)
{
    ngx_post_event(&oauth->posted, &ngx_posted_events);
}


/* Those that have to wait again go into the line anew. */

static void
ngx_coco_oauth_posted_handler(ngx_event_t *ev)
{
    ngx_queue_t            woken;
    ngx_coco_oauth_t      *oauth;
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_coco_oauth_ctx_t  *ctx;

    oauth = ev->data;

    ngx_queue_init(&woken);

    if (!ngx_queue_empty(&oauth->waiting)) {
        ngx_queue_add(&woken, &oauth->waiting);
        ngx_queue_init(&oauth->waiting);
    }

    while (!ngx_queue_empty(&woken)) {
        ctx = ngx_queue_data(ngx_queue_head(&woken), ngx_coco_oauth_ctx_t,
                             link);
        ngx_queue_remove(&ctx->link);
        ctx->waiting = 0;

        r = ctx->request;
        c = r->connection;

        ngx_http_set_log_request(c->log, r);

        r->write_event_handler(r);
        ngx_http_run_posted_requests(c);
    }
}


ngx_coco_oauth_t *
ngx_coco_oauth_create(ngx_conf_t *cf, ngx_array_t *all, const char *name)
{
    ngx_str_t          *value, scope;
    ngx_uint_t          i;
    ngx_coco_oauth_t   *oauth, **others, **p;

    value = cf->args->elts;

    oauth = ngx_pcalloc(cf->pool, sizeof(*oauth));
    if (oauth == NULL) {
        return NULL;
    }

    oauth->name = name;
    oauth->timeout = NGX_COCO_OAUTH_TIMEOUT;
    oauth->uri = value[1];

    ngx_str_null(&scope);

    if (oauth->uri.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": \"%V\" must be the path of an internal "
                           "location", &value[0], &value[1]);
        return NULL;
    }

    for (i = 4; i < cf->args->nelts; i++) {
        if (ngx_coco_oauth_argument(cf, oauth, &value[i], &scope) != NGX_OK) {
            return NULL;
        }
    }

    if (ngx_coco_oauth_form(cf, oauth, &scope) != NGX_CONF_OK) {
        return NULL;
    }

    others = all->elts;

    for (i = 0; i < all->nelts; i++) {
        if (others[i]->timeout == oauth->timeout
            && ngx_memcmp(&others[i]->key, &oauth->key, sizeof(coco_id_t))
               == 0)
        {
            ngx_explicit_memzero(oauth->form.data, oauth->form.len);
            return others[i];
        }
    }

    p = ngx_array_push(all);
    if (p == NULL) {
        return NULL;
    }

    ngx_coco_oauth_init(cf, oauth);

    *p = oauth;

    return oauth;
}


static ngx_int_t
ngx_coco_oauth_argument(ngx_conf_t *cf, ngx_coco_oauth_t *oauth,
    ngx_str_t *value, ngx_str_t *scope)
{
    ngx_str_t   text, *directive;
    ngx_msec_t  ms;

    if (ngx_strncmp(value->data, "scope=", 6) == 0 && value->len > 6) {
        scope->data = value->data + 6;
        scope->len = value->len - 6;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        text.data = value->data + 8;
        text.len = value->len - 8;
        ms = ngx_parse_time(&text, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            oauth->timeout = ms;
            return NGX_OK;
        }
    }

    directive = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\": invalid parameter \"%V\"", directive, value);

    return NGX_ERROR;
}


/* The form, and the digest that its token is found by: a token is of all that
 * it was asked for with. */

static char *
ngx_coco_oauth_form(ngx_conf_t *cf, ngx_coco_oauth_t *oauth,
    ngx_str_t *scope)
{
    size_t       len;
    ngx_str_t   *value, secret;
    coco_str_t   parts[2];

    value = cf->args->elts;

    if (ngx_coco_secret_read(cf, &value[3], &secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    len = coco_oauth_form(NULL, ngx_coco_str(value[2]), ngx_coco_str(secret),
                          ngx_coco_str(*scope));

    oauth->form.data = ngx_pnalloc(cf->pool, len);
    if (oauth->form.data == NULL) {
        return NGX_CONF_ERROR;
    }

    oauth->form.len = coco_oauth_form((char *) oauth->form.data,
                                      ngx_coco_str(value[2]),
                                      ngx_coco_str(secret),
                                      ngx_coco_str(*scope));

    ngx_explicit_memzero(secret.data, secret.len);

    parts[0] = ngx_coco_str(oauth->uri);
    parts[1] = ngx_coco_str(oauth->form);

    coco_id_derive(&oauth->key, parts, 2);

    return NGX_CONF_OK;
}


/* Processes that are forked each go on from a copy of their own. */

static void
ngx_coco_oauth_init(ngx_conf_t *cf, ngx_coco_oauth_t *oauth)
{
    ngx_queue_init(&oauth->waiting);

    oauth->ident.fd = (ngx_socket_t) -1;

    oauth->timer.handler = ngx_coco_oauth_timer_handler;
    oauth->timer.data = oauth;
    oauth->timer.log = &cf->cycle->new_log;

    oauth->posted.handler = ngx_coco_oauth_posted_handler;
    oauth->posted.data = oauth;
    oauth->posted.log = &cf->cycle->new_log;
}


void
ngx_coco_oauth_zone_set(ngx_coco_oauth_t *oauth, ngx_coco_oauth_zone_t *zone)
{
    oauth->zone = zone;
}
