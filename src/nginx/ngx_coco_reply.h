/*
 * Replies: JSON documents and RFC 9457 problems.
 */

#ifndef NGX_COCO_REPLY_H
#define NGX_COCO_REPLY_H

#include "ngx_coco.h"
#include "coco_json_write.h"

/* Sends `body` (in r->pool) as application/json. HEAD is answered alike,
 * without the body. Returns what ngx_http_finalize_request takes. */
ngx_int_t ngx_coco_reply_json(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body);

/* The same as another media type, which lives as long as the request. */
ngx_int_t ngx_coco_reply_typed(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, ngx_str_t *body);

/* The same without a body: Content-Length is 0. */
ngx_int_t ngx_coco_reply_empty(ngx_http_request_t *r, ngx_uint_t status);

/* Encodes into a buffer of r->pool, larger when `size` was too small: then
 * `encode` runs a second time. */
typedef void (*ngx_coco_encode_pt)(coco_json_out_t *out, void *data);
ngx_int_t ngx_coco_reply_encode(ngx_http_request_t *r, ngx_uint_t status,
    size_t size, ngx_coco_encode_pt encode, void *data);

/* The same, but not sent: NGX_OK, or NGX_ERROR when memory is out. */
ngx_int_t ngx_coco_reply_fill(ngx_http_request_t *r, size_t size,
    ngx_coco_encode_pt encode, void *data, ngx_str_t *ret);

/* NUL-terminated UTF-8. */
typedef struct {
    const char  *field;
    const char  *detail;
} ngx_coco_field_error_t;

/* application/problem+json: type, title, status, detail, instance, and
 * errors[] when nerrors is not 0. detail (UTF-8) says what to do. */
ngx_int_t ngx_coco_reply_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail);
ngx_int_t ngx_coco_reply_problem_fields(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail,
    const ngx_coco_field_error_t *errors, ngx_uint_t nerrors);

/* 400 naming the field of err ("body" when it is the whole text); 500 when
 * err->reason is empty, which is how memory that ran out looks. */
ngx_int_t ngx_coco_reply_bad_field(ngx_http_request_t *r,
    const coco_error_t *err);

/* The same for several, whose reasons are not empty. */
ngx_int_t ngx_coco_reply_bad_fields(ngx_http_request_t *r,
    const coco_error_t *errors, ngx_uint_t nerrors);

/* 503 with Retry-After; names the backend and how it failed. */
ngx_int_t ngx_coco_reply_unavailable(ngx_http_request_t *r,
    const char *backend, ngx_coco_outcome_e outcome);

/* What is said of a backend after its name: "did not answer in time". */
const char *ngx_coco_reply_outcome(ngx_coco_outcome_e outcome);

/* name lives as long as the request; so does value->data. */
ngx_int_t ngx_coco_reply_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value);

/* The same in any list: r->headers_out.trailers. */
ngx_int_t ngx_coco_reply_field(ngx_list_t *fields, const char *name,
    const ngx_str_t *value);

#endif /* NGX_COCO_REPLY_H */
