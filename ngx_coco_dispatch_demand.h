/*
 * Demands over HTTP: made, shown, taken back. Used by the dispatch module
 * alone.
 */

#ifndef NGX_COCO_DISPATCH_DEMAND_H
#define NGX_COCO_DISPATCH_DEMAND_H

#include "ngx_coco_route.h"

/* To be called from the directive's handler: registers the statements. */
ngx_int_t ngx_coco_demand_init(ngx_conf_t *cf);

/* Handlers of routes. */
ngx_int_t ngx_coco_demand_create_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_demand_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_demand_delete_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_DEMAND_H */
