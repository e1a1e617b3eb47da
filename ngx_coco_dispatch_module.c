/*
 * Dispatch and Fleet over HTTP: routes and directives. Must never answer a
 * request itself.
 */

#include "ngx_coco.h"
#include "ngx_coco_dispatch_beacon.h"
#include "ngx_coco_dispatch_conf.h"
#include "ngx_coco_dispatch_demand.h"
#include "ngx_coco_dispatch_grpc.h"
#include "ngx_coco_dispatch_labor.h"
#include "ngx_coco_dispatch_plan.h"
#include "ngx_coco_dispatch_quote.h"
#include "ngx_coco_dispatch_supply.h"
#include "ngx_coco_route.h"


static ngx_int_t ngx_coco_dispatch_handler(ngx_http_request_t *r);
static char *ngx_coco_dispatch(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static const ngx_coco_route_t  ngx_coco_dispatch_routes[] = {

    { NGX_HTTP_POST,
      ngx_string("/quote"),
      ngx_string("dispatch:read dispatch:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_quote_handler },

    { NGX_HTTP_DELETE,
      ngx_string("/quote/{id}"),
      ngx_string("dispatch:write"),
      0,
      ngx_coco_quote_release_handler },

    { NGX_HTTP_POST,
      ngx_string("/plan"),
      ngx_string("dispatch:read"),
      NGX_COCO_PLAN_BODY_MAX,
      ngx_coco_plan_handler },

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
      ngx_coco_labor_handler },

    { NGX_HTTP_GET,
      ngx_string("/fleet/v1/beacon/robots/{serial}"),
      ngx_string("fleet:read"),
      0,
      ngx_coco_beacon_vehicle_handler },

    { NGX_HTTP_GET,
      ngx_string("/fleet/v1/beacon/virtual-robots/{id}"),
      ngx_string("fleet:read"),
      0,
      ngx_coco_beacon_virtual_robot_handler },

    { NGX_HTTP_GET,
      ngx_string("/fleet/v1/beacon/external-mappings"),
      ngx_string("fleet:read"),
      0,
      ngx_coco_beacon_mappings_handler },

    { NGX_HTTP_PUT,
      ngx_string("/fleet/v1/beacon/external-mappings/"
                 "{provider}/{providerVehicleId}"),
      ngx_string("fleet:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_beacon_mapping_put_handler },

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

    { ngx_string("coco_grpc"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_dispatch_grpc,
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


static char *
ngx_coco_dispatch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_dispatch_conf_t  *dcf;

    dcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_dispatch_module);
    dcf->used = 1;

    if (ngx_coco_beacon_init(cf) != NGX_OK
        || ngx_coco_labor_init(cf) != NGX_OK
        || ngx_coco_quote_init(cf) != NGX_OK
        || ngx_coco_demand_init(cf) != NGX_OK
        || ngx_coco_supply_list_init(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_route_location(cf, ngx_coco_dispatch_handler);
}
