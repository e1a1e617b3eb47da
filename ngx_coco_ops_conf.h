/*
 * A location's configuration of the ops module. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_CONF_H
#define NGX_COCO_OPS_CONF_H

#include "ngx_coco.h"
#include "ngx_coco_ops_mds_reply.h"

typedef struct {
    ngx_array_t          *uber_keys;          /* of ngx_str_t; NULL: none, and
                                                 all webhooks are refused */
    ngx_array_t          *doordash_tokens;    /* secrets of ngx_coco_webhook.h,
                                                 by scheme; NULL: likewise */
    ngx_coco_mds_conf_t   mds;
} ngx_coco_ops_loc_conf_t;

extern ngx_module_t  ngx_coco_ops_module;

void *ngx_coco_ops_create_loc_conf(ngx_conf_t *cf);
char *ngx_coco_ops_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);

#endif /* NGX_COCO_OPS_CONF_H */
