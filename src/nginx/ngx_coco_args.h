/*
 * Query arguments: decoded, checked, each error naming its field; headers
 * that nginx has no place for.
 */

#ifndef NGX_COCO_ARGS_H
#define NGX_COCO_ARGS_H

#include "ngx_coco.h"

#define NGX_COCO_LIMIT_DEFAULT  100
#define NGX_COCO_LIMIT_MAX      500

/* 9999-12-31T23:59:59.999Z, in ms: what is later is no time that Postgres
 * shows in four digits, and no robot sends. */
#define NGX_COCO_TIME_MAX  253402300799999LL

/* NGX_OK, NGX_DECLINED when absent, NGX_ERROR when memory is out. The value
 * is percent-decoded in r->pool, with a NUL after it that len leaves out. */
ngx_int_t ngx_coco_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *ret_value);

/* These fill err (and return NGX_ERROR) on a value that is wrong, leave
 * *ret alone and return NGX_DECLINED on one that is absent. When memory is
 * out they return NGX_ERROR and leave err as it was. */
ngx_int_t ngx_coco_arg_time(ngx_http_request_t *r, const char *name,
    int64_t *ret_ms, coco_error_t *err);
ngx_int_t ngx_coco_arg_bool(ngx_http_request_t *r, const char *name,
    ngx_flag_t *ret, coco_error_t *err);
ngx_int_t ngx_coco_arg_limit(ngx_http_request_t *r, ngx_uint_t *ret,
    coco_error_t *err);

/* bbox=minLon,minLat,maxLon,maxLat; minLon above maxLon spans the
 * antimeridian (RFC 7946, section 5.2). */
typedef struct { double min_lon, min_lat, max_lon, max_lat; } ngx_coco_bbox_t;
ngx_int_t ngx_coco_arg_bbox(ngx_http_request_t *r, ngx_coco_bbox_t *ret,
    coco_error_t *err);

/* Cursors are opaque to callers: base64url of (milliseconds or 0, text).
 * They are not signed: the key must be checked for its form. */
ngx_int_t ngx_coco_arg_cursor(ngx_http_request_t *r, int64_t *ret_ms,
    ngx_str_t *ret_key, coco_error_t *err);
ngx_int_t ngx_coco_cursor_decode(ngx_http_request_t *r, ngx_str_t *value,
    int64_t *ret_ms, ngx_str_t *ret_key, coco_error_t *err);
ngx_int_t ngx_coco_cursor_encode(ngx_http_request_t *r, int64_t ms,
    coco_str_t key, ngx_str_t *ret);

/* The first header of this name, whatever its case; NULL when absent. */
ngx_table_elt_t *ngx_coco_header_find(ngx_http_request_t *r,
    const ngx_str_t *name);

#endif /* NGX_COCO_ARGS_H */
