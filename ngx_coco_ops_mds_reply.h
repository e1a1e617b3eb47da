/*
 * What the files of MDS share: whether a request may be answered at all, and
 * the standard's form of answers and errors. Used by ngx_coco_ops_mds*.c alone.
 */

#ifndef NGX_COCO_OPS_MDS_REPLY_H
#define NGX_COCO_OPS_MDS_REPLY_H

#include "ngx_coco.h"
#include "coco_json_write.h"

/* The standard's, and what this one of it is called in an Accept header. */
#define NGX_COCO_MDS_VERSION  "2.0.2"
#define NGX_COCO_MDS_TYPE     "application/vnd.mds+json;version=2.0"

extern const ngx_str_t  ngx_coco_mds_type;      /* NGX_COCO_MDS_TYPE */

/* What all objects of a location have in common. */
typedef struct {
    ngx_str_t  provider;    /* a UUID; empty: MDS is not configured */
    ngx_str_t  vehicle;     /* vehicle_attributes as JSON; or empty */
    ngx_str_t  url;         /* where clients find /mds; empty: by their Host */
} ngx_coco_mds_conf_t;

/* The location is configured and the client takes what we have. NGX_DECLINED:
 * the refusal was sent, *ret_rc is what ngx_http_finalize_request takes. */
ngx_int_t ngx_coco_mds_begin(ngx_http_request_t *r,
    ngx_coco_mds_conf_t **ret_conf, ngx_int_t *ret_rc);

/* Does an Accept header, of any number, name our media type and version? */
ngx_uint_t ngx_coco_mds_accepted(ngx_http_request_t *r);

/* {"error","error_description","error_details":[detail]}; all three
 * NUL-terminated UTF-8. */
ngx_int_t ngx_coco_mds_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *error, const char *description, const char *detail);

/* 400 for an argument: missing_param without a reason, else bad_param; 500
 * when err is empty, which is how memory that ran out looks. */
ngx_int_t ngx_coco_mds_bad_param(ngx_http_request_t *r,
    const coco_error_t *err);
ngx_int_t ngx_coco_mds_missing_param(ngx_http_request_t *r, const char *name,
    const char *expected);

#endif /* NGX_COCO_OPS_MDS_REPLY_H */
