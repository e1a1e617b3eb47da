/*
 * The body of PATCH /robots/{serial}. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_PATCH_H
#define NGX_COCO_OPS_PATCH_H

#include "ngx_coco_body.h"

/* Makes {"column": value, …} of robot_operation. */
extern const ngx_coco_body_member_t  ngx_coco_patch_members[];

#endif /* NGX_COCO_OPS_PATCH_H */
