/*
 * POST /uber/v1/webhook and POST /doordash/v1/webhook, and what configures
 * them. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_WEBHOOK_H
#define NGX_COCO_OPS_WEBHOOK_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* CONTRACT "Bodies" */
#define NGX_COCO_WEBHOOK_BODY_MAX  (1024 * 1024)

/* coco_uber_signing_key <file>, coco_doordash_token bearer|basic <file>; both
 * repeatable */
char *ngx_coco_ops_uber_signing_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_coco_ops_doordash_token(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The routes' checks. Uber's sees to it that there is a signature, which the
 * handler verifies: it is of the body. */
ngx_int_t ngx_coco_ops_uber_check(ngx_http_request_t *r, ngx_int_t *ret_rc);
ngx_int_t ngx_coco_ops_doordash_check(ngx_http_request_t *r,
    ngx_int_t *ret_rc);

ngx_int_t ngx_coco_ops_uber_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_ops_doordash_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_OPS_WEBHOOK_H */
