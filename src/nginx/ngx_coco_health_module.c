/*
 * Health: whether this process is up, and whether its backends answer. The
 * answers name states and reasons, never addresses or secrets: they need no
 * token.
 */

#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"
#include "ngx_coco_waiter.h"

#define NGX_COCO_HEALTH_TIMEOUT  1000   /* ms, for a backend to answer */


typedef struct {
    ngx_uint_t   asked;
    ngx_uint_t   up;
    const char  *detail;
} ngx_coco_health_backend_t;

typedef struct {
    ngx_coco_base_conf_t       *base;
    ngx_coco_waiter_t          *waiter;
    ngx_coco_health_backend_t   redis;
    ngx_coco_health_backend_t   postgres[2];    /* by lane */
} ngx_coco_health_ctx_t;


static ngx_int_t ngx_coco_health_live_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_health_ready_handler(ngx_http_request_t *r);
static void ngx_coco_health_redis_handler(void *data,
    ngx_coco_outcome_e outcome, redisReply *reply);
static void ngx_coco_health_point_handler(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);
static void ngx_coco_health_slow_handler(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);
static void ngx_coco_health_postgres(ngx_coco_health_ctx_t *ctx,
    ngx_coco_pg_lane_e lane, ngx_coco_outcome_e outcome, PGresult *result);
static const char *ngx_coco_health_detail(ngx_coco_outcome_e outcome,
    const char *reason);
static void ngx_coco_health_done(ngx_http_request_t *r, void *data);
static void ngx_coco_health_encode(coco_json_out_t *out, void *data);
static void ngx_coco_health_encode_backend(coco_json_out_t *out,
    const ngx_coco_health_backend_t *backend);
static char *ngx_coco_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_str_t  ngx_coco_health_ping = ngx_string("PING");

/* One for each lane: their connections fail independently. */

static ngx_coco_pg_statement_t  ngx_coco_health_statements[] = {
    { ngx_string("health_point"), "select 1", 0, NGX_COCO_PG_POINT, 0 },
    { ngx_string("health_slow"), "select 1", 0, NGX_COCO_PG_SLOW, 0 }
};


static ngx_command_t  ngx_coco_health_commands[] = {

    { ngx_string("coco_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_health_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_health_module = {
    NGX_MODULE_V1,
    &ngx_coco_health_module_ctx,           /* module context */
    ngx_coco_health_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_coco_health_live_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;
    ngx_str_t  body;

    rc = ngx_coco_route_get_only(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_str_set(&body, "{\"status\":\"ok\"}");

    return ngx_coco_reply_json(r, NGX_HTTP_OK, &body);
}


static ngx_int_t
ngx_coco_health_ready_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_coco_health_ctx_t  *ctx;

    rc = ngx_coco_route_get_only(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(*ctx));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->base = ngx_coco_base_conf(r);
    ctx->waiter = ngx_coco_waiter_create(r, ngx_coco_health_done, ctx);

    if (ctx->waiter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_coco_waiter_timeout_set(ctx->waiter, NGX_COCO_HEALTH_TIMEOUT);

    if (ctx->base->redis) {
        ctx->redis.asked = 1;

        if (ngx_coco_waiter_redis(ctx->waiter, 1, &ngx_coco_health_ping,
                                  ngx_coco_health_redis_handler) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->postgres[NGX_COCO_PG_POINT].asked = 1;
    ctx->postgres[NGX_COCO_PG_SLOW].asked = 1;

    if (ngx_coco_waiter_pg(ctx->waiter,
                           &ngx_coco_health_statements[NGX_COCO_PG_POINT],
                           NULL, ngx_coco_health_point_handler) != NGX_OK
        || ngx_coco_waiter_pg(ctx->waiter,
                              &ngx_coco_health_statements[NGX_COCO_PG_SLOW],
                              NULL, ngx_coco_health_slow_handler) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(ctx->waiter);
}


static void
ngx_coco_health_redis_handler(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    ngx_coco_health_ctx_t  *ctx = data;

    if (outcome == NGX_COCO_DONE) {
        ctx->redis.up = (reply->type == REDIS_REPLY_STATUS);
        ctx->redis.detail = "it answers with an error";
        return;
    }

    ctx->redis.detail = ngx_coco_health_detail(outcome,
                                     ngx_coco_redis_reason(ctx->base->redis));
}


static void
ngx_coco_health_point_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_health_postgres(data, NGX_COCO_PG_POINT, outcome, result);
}


static void
ngx_coco_health_slow_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_health_postgres(data, NGX_COCO_PG_SLOW, outcome, result);
}


static void
ngx_coco_health_postgres(ngx_coco_health_ctx_t *ctx, ngx_coco_pg_lane_e lane,
    ngx_coco_outcome_e outcome, PGresult *result)
{
    ngx_coco_health_backend_t  *backend;

    backend = &ctx->postgres[lane];

    if (outcome == NGX_COCO_DONE) {
        backend->up = (PQresultStatus(result) == PGRES_TUPLES_OK);
        backend->detail = "it answers with an error";
        return;
    }

    backend->detail = ngx_coco_health_detail(outcome,
                                      ngx_coco_pg_reason(ctx->base->pg, lane));
}


static const char *
ngx_coco_health_detail(ngx_coco_outcome_e outcome, const char *reason)
{
    switch (outcome) {

    case NGX_COCO_TIMEOUT:
        return reason[0] ? reason : "no answer in time";

    case NGX_COCO_FULL:
        return "too many operations wait already";

    default:
        return reason[0] ? reason : "connection lost";
    }
}


static void
ngx_coco_health_done(ngx_http_request_t *r, void *data)
{
    ngx_uint_t                  status;
    ngx_coco_health_ctx_t      *ctx = data;
    ngx_coco_health_backend_t  *lanes;

    lanes = ctx->postgres;

    if (lanes[NGX_COCO_PG_POINT].up && !lanes[NGX_COCO_PG_SLOW].up) {
        lanes[NGX_COCO_PG_POINT] = lanes[NGX_COCO_PG_SLOW];
    }

    status = (ctx->redis.up || !ctx->redis.asked) && lanes[0].up
             ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE;

    ngx_coco_waiter_finalize(ctx->waiter,
                             ngx_coco_reply_encode(r, status, 512,
                                                   ngx_coco_health_encode,
                                                   ctx));
}


static void
ngx_coco_health_encode(coco_json_out_t *out, void *data)
{
    ngx_uint_t              ready;
    ngx_coco_health_ctx_t  *ctx = data;

    ready = (ctx->redis.up || !ctx->redis.asked) && ctx->postgres[0].up;

    coco_json_object_open(out);
    coco_json_name(out, "status");
    coco_json_string(out, ready ? coco_string("ok")
                                : coco_string("unavailable"));
    coco_json_name(out, "backends");
    coco_json_object_open(out);

    if (ctx->redis.asked) {
        coco_json_name(out, "redis");
        ngx_coco_health_encode_backend(out, &ctx->redis);
    }

    coco_json_name(out, "postgres");
    ngx_coco_health_encode_backend(out, &ctx->postgres[0]);

    coco_json_object_close(out);
    coco_json_object_close(out);
}


static void
ngx_coco_health_encode_backend(coco_json_out_t *out,
    const ngx_coco_health_backend_t *backend)
{
    coco_str_t  detail;

    coco_json_object_open(out);
    coco_json_name(out, "state");
    coco_json_string(out, backend->up ? coco_string("up")
                                      : coco_string("down"));

    if (!backend->up) {
        detail.data = backend->detail;
        detail.len = ngx_strlen(backend->detail);

        coco_json_name(out, "detail");
        coco_json_string(out, detail);
    }

    coco_json_object_close(out);
}


static char *
ngx_coco_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot be used where another handler is";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "live") == 0) {
        clcf->handler = ngx_coco_health_live_handler;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "ready") != 0) {
        return "must be \"live\" or \"ready\"";
    }

    clcf->handler = ngx_coco_health_ready_handler;

    if (ngx_coco_pg_statement_add(cf, &ngx_coco_health_statements[0])
        != NGX_OK
        || ngx_coco_pg_statement_add(cf, &ngx_coco_health_statements[1])
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
