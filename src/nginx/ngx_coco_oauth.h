/*
 * Access tokens for requests that are passed on: fetched by a subrequest, one
 * at a time over all worker processes, kept until they end, renewed ahead.
 */

#ifndef NGX_COCO_OAUTH_H
#define NGX_COCO_OAUTH_H

#include "ngx_coco_oauth_zone.h"

typedef struct ngx_coco_oauth_s  ngx_coco_oauth_t;

/*
 * From a directive's arguments: uri client_id secret_file [scope=...]
 * [timeout=...]. `name` is what problems call the server that gives tokens.
 * Those of the same arguments are one: `all` (of ngx_coco_oauth_t *) has those
 * that were made before. NULL: an error was logged.
 */
ngx_coco_oauth_t *ngx_coco_oauth_create(ngx_conf_t *cf, ngx_array_t *all,
    const char *name);

/* Before the processes start. */
void ngx_coco_oauth_zone_set(ngx_coco_oauth_t *oauth,
    ngx_coco_oauth_zone_t *zone);

/*
 * A phase handler's work, where the request is to have a token.  NGX_DECLINED:
 * it has one. NGX_AGAIN: it waits, and goes through the phase again. NGX_DONE:
 * it was answered, by a problem that says why there is none. A request that
 * comes again after ngx_coco_oauth_unauthorized() gets another token than
 * before, and a problem when that was refused, too.
 */
ngx_int_t ngx_coco_oauth_handler(ngx_http_request_t *r,
    ngx_coco_oauth_t *oauth);

/* The token that was got for the request; NULL: none. */
const ngx_str_t *ngx_coco_oauth_token(ngx_http_request_t *r);

/* The token of the request was refused. */
void ngx_coco_oauth_unauthorized(ngx_http_request_t *r);

/* A header filter's work, for whatever comes of an upstream. NGX_ERROR: it is
 * no answer to a fetch, and must go no further. */
ngx_int_t ngx_coco_oauth_filter(ngx_http_request_t *r);

#endif /* NGX_COCO_OAUTH_H */
