/*
 * Deliveries over HTTP: made, shown, moved from state to state. Used by the
 * ops module alone.
 */

#ifndef NGX_COCO_OPS_DELIVERY_H
#define NGX_COCO_OPS_DELIVERY_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* To be called from the directive's handler: registers the statements. */
ngx_int_t ngx_coco_delivery_init(ngx_conf_t *cf);

/* Handlers of routes. */
ngx_int_t ngx_coco_delivery_create_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_read_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_events_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_assign_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_depart_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_arrive_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_complete_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_delivery_cancel_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_anomaly_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_OPS_DELIVERY_H */
