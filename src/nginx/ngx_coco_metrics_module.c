/*
 * GET /metrics: the numbers of all worker processes in Prometheus' text
 * format. They name no robot and no caller; who may read them is said by the
 * location's "allow" and "deny".
 */

#include "ngx_coco_base.h"
#include "ngx_coco_route.h"


static ngx_int_t ngx_coco_metrics_handler(ngx_http_request_t *r);
static char *ngx_coco_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_str_t  ngx_coco_metrics_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");


static ngx_command_t  ngx_coco_metrics_commands[] = {

    { ngx_string("coco_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_metrics,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_metrics_module = {
    NGX_MODULE_V1,
    &ngx_coco_metrics_module_ctx,          /* module context */
    ngx_coco_metrics_commands,             /* module directives */
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
ngx_coco_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_coco_base_conf_t     *conf;
    ngx_http_complex_value_t  body;

    rc = ngx_coco_route_get_only(r);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_memzero(&body, sizeof(ngx_http_complex_value_t));
    conf = ngx_coco_base_conf(r);

    if (conf->zone) {
        ngx_coco_zone_observe(conf->zone);
    }

    if (ngx_coco_metrics_encode(conf->metrics, r->pool, &body.value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_send_response(r, NGX_HTTP_OK, &ngx_coco_metrics_type,
                                  &body);
}


static char *
ngx_coco_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_coco_route_location(cf, ngx_coco_metrics_handler);
}
