/*
 * GET /robots/{serial}. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_READ_H
#define NGX_COCO_OPS_READ_H

#include "ngx_coco_route.h"

/* Registers its statements. */
ngx_int_t ngx_coco_ops_read_init(ngx_conf_t *cf);

ngx_int_t ngx_coco_ops_read_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_OPS_READ_H */
