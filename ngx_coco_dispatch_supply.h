/*
 * The supply over HTTP: robots as the planner sees them. Used by the dispatch
 * module alone.
 */

#ifndef NGX_COCO_DISPATCH_SUPPLY_H
#define NGX_COCO_DISPATCH_SUPPLY_H

#include "ngx_coco_route.h"

/* To be called from the directive's handler: registers the statement. */
ngx_int_t ngx_coco_supply_list_init(ngx_conf_t *cf);

/* A route's handler. */
ngx_int_t ngx_coco_supply_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_SUPPLY_H */
