/*
 * The body of PATCH /robots/{serial}. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_PATCH_H
#define NGX_COCO_OPS_PATCH_H

#include "ngx_coco.h"
#include "coco_core.h"

/*
 * Checks the body and turns it into {"column": value, …} of robot_operation,
 * JSON in `pool`. NGX_DECLINED: `errors` (of coco_error_t) has got each member
 * that is at fault. NGX_ERROR: memory ran out.
 */
ngx_int_t ngx_coco_patch_read(ngx_pool_t *pool, const ngx_str_t *body,
    ngx_str_t *ret_changes, ngx_array_t *errors);

#endif /* NGX_COCO_OPS_PATCH_H */
