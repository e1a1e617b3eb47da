/*
 * FleetLaborProviderScope: a robot as it was heard last.
 */

#ifndef NGX_COCO_DISPATCH_LABOR_H
#define NGX_COCO_DISPATCH_LABOR_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* Where its statements are used. */
ngx_int_t ngx_coco_labor_init(ngx_conf_t *cf);

/* Answers with the heartbeat cache, as JSON or, to a call, as a RobotState.
 * Returns what ngx_http_finalize_request takes; *serial is valid as long as
 * the request. */
ngx_int_t ngx_coco_labor(ngx_http_request_t *r, ngx_str_t *serial);

/* GET /fleet/v1/labor/robots/{serial} */
ngx_int_t ngx_coco_labor_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_LABOR_H */
