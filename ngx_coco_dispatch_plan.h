/*
 * Plans over HTTP: which robot for which demand, computed in a thread. Used
 * by the dispatch module alone.
 */

#ifndef NGX_COCO_DISPATCH_PLAN_H
#define NGX_COCO_DISPATCH_PLAN_H

#include "ngx_coco_route.h"

/* 2,000 demands, each with all its digits. */
#define NGX_COCO_PLAN_BODY_MAX  (1024 * 1024)

/* A route's handler. */
ngx_int_t ngx_coco_plan_handler(ngx_http_request_t *r, ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_PLAN_H */
