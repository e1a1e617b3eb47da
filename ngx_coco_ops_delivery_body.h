/*
 * The bodies of requests about deliveries. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_DELIVERY_BODY_H
#define NGX_COCO_OPS_DELIVERY_BODY_H

#include "ngx_coco_body.h"

/* Members keep their names: what is made is the body itself. */
extern const ngx_coco_body_member_t  ngx_coco_delivery_create_members[];
extern const ngx_coco_body_member_t  ngx_coco_delivery_assign_members[];
extern const ngx_coco_body_member_t  ngx_coco_delivery_arrive_members[];
extern const ngx_coco_body_member_t  ngx_coco_delivery_cancel_members[];
extern const ngx_coco_body_member_t  ngx_coco_delivery_no_members[];

#endif /* NGX_COCO_OPS_DELIVERY_BODY_H */
