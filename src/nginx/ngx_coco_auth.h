/*
 * Bearer tokens: JWT by libjwt, HS256 or RS256/ES256 with keys from files,
 * remembered once verified until they expire, in a bounded table per process.
 */

#ifndef NGX_COCO_AUTH_H
#define NGX_COCO_AUTH_H

#include "ngx_coco.h"

typedef struct ngx_coco_auth_s  ngx_coco_auth_t;

typedef struct {
    ngx_str_t  subject;     /* "sub", or empty */
    ngx_str_t  scope;       /* space-separated */
} ngx_coco_caller_t;

/*
 * Checks the request's Authorization header for `scope` ("robots:read").
 * NGX_OK: *caller is filled, valid until the request ends. Otherwise the
 * reply was sent (401 with WWW-Authenticate, 403) and the return value is
 * for ngx_http_finalize_request.
 */
ngx_int_t ngx_coco_auth_check(ngx_http_request_t *r, const ngx_str_t *scope,
    ngx_coco_caller_t *caller);

ngx_coco_auth_t *ngx_coco_auth_create(ngx_conf_t *cf);
char *ngx_coco_auth_init(ngx_conf_t *cf, ngx_coco_auth_t *auth);

/* Directive handlers, used in the base module's command table. The offset of
 * `auth` in the main configuration is theirs to use. */
char *ngx_coco_auth_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_auth_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_auth_audience(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif /* NGX_COCO_AUTH_H */
