/*
 * Bearer tokens: JWT by libjwt, HS256 or RS256/ES256 with keys from files,
 * remembered once verified until they expire, in a bounded table per process.
 */

#ifndef NGX_COCO_AUTH_H
#define NGX_COCO_AUTH_H

#include "ngx_coco.h"

typedef struct ngx_coco_auth_s  ngx_coco_auth_t;

/* subject is "sub", a digest of it when it is long, and for a token without
 * one a digest of the token: the caller that an Idempotency-Key belongs to. */
typedef struct {
    ngx_str_t   subject;
    ngx_uint_t  scopes;     /* bit n: it has the n-th scope that was asked for,
                               from 0 */
} ngx_coco_caller_t;

/*
 * Checks the request's Authorization header for `scope` ("robots:read"), or
 * for any of several, with a space between them.
 * NGX_OK: *caller is filled, valid until the request ends. NGX_DECLINED:
 * the request is refused, *ret_rc is what ngx_http_finalize_request takes,
 * and the reply was sent (401 with WWW-Authenticate, 403).
 */
ngx_int_t ngx_coco_auth_check(ngx_http_request_t *r, const ngx_str_t *scope,
    ngx_coco_caller_t *caller, ngx_int_t *ret_rc);

ngx_coco_auth_t *ngx_coco_auth_create(ngx_conf_t *cf);
char *ngx_coco_auth_init(ngx_conf_t *cf, ngx_coco_auth_t *auth);

/* Directive handlers, used in the base module's command table. The offset of
 * `auth` in the main configuration is theirs to use. */

/* coco_auth_key <file> [alg=HS256|RS256|ES256] [kid=…], repeatable */
char *ngx_coco_auth_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_auth_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_auth_audience(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif /* NGX_COCO_AUTH_H */
