/*
 * PATCH /robots/{serial}. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_PATCH_H
#define NGX_COCO_OPS_PATCH_H

#include "ngx_coco_pg.h"
#include "ngx_coco_route.h"

extern ngx_coco_pg_statement_t  ngx_coco_ops_patch;

ngx_int_t ngx_coco_ops_patch_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_OPS_PATCH_H */
