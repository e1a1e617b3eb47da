/*
 * Dispatch and Fleet over HTTP. The labor row is the heartbeat cache as it
 * stands; what is cached here is never changed here.
 */

#include "ngx_coco.h"
#include "ngx_coco_base.h"
#include "ngx_coco_dispatch_conf.h"
#include "ngx_coco_dispatch_demand.h"
#include "ngx_coco_dispatch_quote.h"
#include "ngx_coco_dispatch_supply.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"
#include "ngx_coco_waiter.h"


#define NGX_COCO_CACHE_KEY      "robot.heartbeat.cache."
#define NGX_COCO_CACHE_KEY_LEN  (sizeof(NGX_COCO_CACHE_KEY) - 1)


typedef struct {
    ngx_http_request_t  *request;
    ngx_coco_waiter_t   *waiter;
    ngx_int_t            rc;
} ngx_coco_dispatch_labor_t;


static ngx_int_t ngx_coco_dispatch_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_dispatch_labor_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static void ngx_coco_dispatch_labor_reply(void *data,
    ngx_coco_outcome_e outcome, redisReply *reply);
static void ngx_coco_dispatch_labor_done(ngx_http_request_t *r, void *data);
static char *ngx_coco_dispatch(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static const ngx_coco_route_t  ngx_coco_dispatch_routes[] = {

    { NGX_HTTP_POST,
      ngx_string("/quote"),
      ngx_string("dispatch:read"),
      NGX_COCO_BODY_MAX,
      ngx_coco_quote_handler },

    { NGX_HTTP_DELETE,
      ngx_string("/quote/{id}"),
      ngx_string("dispatch:write"),
      0,
      ngx_coco_quote_release_handler },

    { NGX_HTTP_GET,
      ngx_string("/supply"),
      ngx_string("dispatch:read"),
      0,
      ngx_coco_supply_list_handler },

    { NGX_HTTP_POST,
      ngx_string("/demands"),
      ngx_string("dispatch:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_demand_create_handler },

    { NGX_HTTP_GET,
      ngx_string("/demands"),
      ngx_string("dispatch:read"),
      0,
      ngx_coco_demand_list_handler },

    { NGX_HTTP_DELETE,
      ngx_string("/demands/{id}"),
      ngx_string("dispatch:write"),
      0,
      ngx_coco_demand_delete_handler },

    { NGX_HTTP_GET,
      ngx_string("/fleet/v1/labor/robots/{serial}"),
      ngx_string("fleet:read"),
      0,
      ngx_coco_dispatch_labor_handler },

    { 0, ngx_null_string, ngx_null_string, 0, NULL }
};


static ngx_coco_dispatch_range_t  ngx_coco_dispatch_speed = {
    0.1, 10, "a speed from 0.1 to 10 metres a second"
};


static ngx_coco_dispatch_range_t  ngx_coco_dispatch_detour = {
    1, 10, "a factor from 1 to 10"
};


static ngx_coco_dispatch_range_t  ngx_coco_dispatch_percent = {
    0, 100, "a number from 0 to 100 percent"
};


static ngx_command_t  ngx_coco_dispatch_commands[] = {

    { ngx_string("coco_dispatch"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_dispatch,
      0,
      0,
      NULL },

    { ngx_string("coco_dispatch_speed"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, rules.speed),
      &ngx_coco_dispatch_speed },

    { ngx_string("coco_dispatch_detour"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, rules.detour),
      &ngx_coco_dispatch_detour },

    { ngx_string("coco_dispatch_dwell"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, dwell),
      NULL },

    { ngx_string("coco_dispatch_energy"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, rules.percent_per_km),
      &ngx_coco_dispatch_percent },

    { ngx_string("coco_dispatch_idle"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, rules.percent_per_hour),
      &ngx_coco_dispatch_percent },

    { ngx_string("coco_dispatch_reserve"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_number,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, rules.reserve_percent),
      &ngx_coco_dispatch_percent },

    { ngx_string("coco_dispatch_reach"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, reach),
      NULL },

    { ngx_string("coco_dispatch_area"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_coco_dispatch_area,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_dispatch_charger"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_dispatch_charger,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_quote_lifetime"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, quote_lifetime),
      NULL },

    { ngx_string("coco_plan_threads"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_dispatch_conf_t, plan_threads),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_dispatch_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_coco_dispatch_create_main_conf,    /* create main configuration */
    ngx_coco_dispatch_init_main_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_dispatch_module = {
    NGX_MODULE_V1,
    &ngx_coco_dispatch_module_ctx,         /* module context */
    ngx_coco_dispatch_commands,            /* module directives */
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
ngx_coco_dispatch_handler(ngx_http_request_t *r)
{
    return ngx_coco_route_handle(r, ngx_coco_dispatch_routes);
}


static ngx_int_t
ngx_coco_dispatch_labor_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    u_char                      key[NGX_COCO_CACHE_KEY_LEN + COCO_SERIAL_MAX];
    ngx_str_t                   argv[2];
    ngx_coco_dispatch_labor_t  *labor;

    if (ngx_coco_base_conf(r)->redis == NULL) {
        return ngx_coco_reply_unavailable(r, "Redis", NGX_COCO_DOWN);
    }

    labor = ngx_palloc(r->pool, sizeof(ngx_coco_dispatch_labor_t));
    if (labor == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    labor->request = r;
    labor->rc = NGX_ERROR;
    labor->waiter = ngx_coco_waiter_create(r, ngx_coco_dispatch_labor_done,
                                           labor);
    if (labor->waiter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&argv[0], "GET");
    argv[1].data = key;
    argv[1].len = ngx_cpymem(ngx_cpymem(key, NGX_COCO_CACHE_KEY,
                                        NGX_COCO_CACHE_KEY_LEN),
                             call->path[0].data, call->path[0].len)
                  - key;

    if (ngx_coco_waiter_redis(labor->waiter, 2, argv,
                              ngx_coco_dispatch_labor_reply)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(labor->waiter);
}


static void
ngx_coco_dispatch_labor_reply(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    ngx_coco_dispatch_labor_t  *labor = data;

    ngx_str_t            body;
    ngx_http_request_t  *r;

    r = labor->request;

    if (outcome != NGX_COCO_DONE) {
        labor->rc = ngx_coco_reply_unavailable(r, "Redis", outcome);
        return;
    }

    switch (reply->type) {

    case REDIS_REPLY_STRING:
        body.len = reply->len;
        body.data = ngx_pnalloc(r->pool, body.len);

        if (body.data == NULL) {
            labor->rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            return;
        }

        ngx_memcpy(body.data, reply->str, body.len);
        labor->rc = ngx_coco_reply_json(r, NGX_HTTP_OK, &body);
        break;

    case REDIS_REPLY_NIL:
        labor->rc = ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                           "No heartbeat of this serial is "
                                           "cached, or it has expired.");
        break;

    default:
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "coco: redis refused GET: %s",
                      reply->type == REDIS_REPLY_ERROR ? reply->str : "-");
        labor->rc = ngx_coco_reply_unavailable(r, "Redis", NGX_COCO_DOWN);
    }
}


static void
ngx_coco_dispatch_labor_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_dispatch_labor_t  *labor = data;

    ngx_coco_waiter_finalize(labor->waiter, labor->rc);
}


static char *
ngx_coco_dispatch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_dispatch_conf_t  *dcf;

    dcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_dispatch_module);
    dcf->used = 1;

    if (ngx_coco_quote_init(cf) != NGX_OK
        || ngx_coco_demand_init(cf) != NGX_OK
        || ngx_coco_supply_list_init(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_route_location(cf, ngx_coco_dispatch_handler);
}
