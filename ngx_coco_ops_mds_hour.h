/*
 * The answers of MDS that are hours. Used by ngx_coco_ops_mds*.c alone.
 */

#ifndef NGX_COCO_OPS_MDS_HOUR_H
#define NGX_COCO_OPS_MDS_HOUR_H

#include "ngx_coco.h"

/* Registers its statements. */
ngx_int_t ngx_coco_mds_hour_init(ngx_conf_t *cf);

#endif /* NGX_COCO_OPS_MDS_HOUR_H */
