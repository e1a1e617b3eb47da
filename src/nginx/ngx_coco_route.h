/*
 * Routes: one table per module, method and path template to handler.
 */

#ifndef NGX_COCO_ROUTE_H
#define NGX_COCO_ROUTE_H

#include "ngx_coco.h"
#include "ngx_coco_auth.h"

#define NGX_COCO_ROUTE_ARGS  4

/* CONTRACT "Bodies" */
#define NGX_COCO_BODY_MAX    (256 * 1024)

typedef struct {
    ngx_str_t          path[NGX_COCO_ROUTE_ARGS];   /* what {…} stood for */
    ngx_coco_caller_t  caller;
    ngx_str_t          body;      /* the whole body; empty when there is none */
} ngx_coco_call_t;

/* Returns what ngx_http_finalize_request takes. *call is in r->pool. */
typedef ngx_int_t (*ngx_coco_route_handler_pt)(ngx_http_request_t *r,
    ngx_coco_call_t *call);

/* Checks the credentials of a route's own. As ngx_coco_auth_check(): NGX_OK,
 * or NGX_DECLINED once the refusal was sent, with its *ret_rc. */
typedef ngx_int_t (*ngx_coco_route_check_pt)(ngx_http_request_t *r,
    ngx_int_t *ret_rc);

typedef struct {
    ngx_uint_t                 methods;     /* NGX_HTTP_GET (HEAD goes along) */
    ngx_str_t                  path;        /* "/state/{serial}/history" */
    ngx_str_t                  scope;       /* or several: any of them */
    size_t                     body_max;    /* 0: a body is dropped; else
                                               bytes, JSON media type required
                                               unless the body is empty */
    ngx_coco_route_handler_pt  handler;
    ngx_coco_route_check_pt    check;       /* NULL: a token with the scope;
                                               else no caller is known */
} ngx_coco_route_t;

/*
 * The content handler's whole work: finds the route (404; 405 with Allow),
 * checks the token or what stands for it (401, 403), the serial wherever the
 * template has {serial} (400), the media type (415) and the body's size
 * (413), reads the body, and calls the handler. `routes` ends with an empty
 * path. While a body is read the request's context of ngx_coco_base_module is
 * the route's.
 */
ngx_int_t ngx_coco_route_handle(ngx_http_request_t *r,
    const ngx_coco_route_t *routes);

/* The body that was read, in one piece, in r->pool or where it lies.
 * NGX_DECLINED: larger than max bytes, which only one of unknown length gets
 * to be. NGX_ERROR: memory is out, or its file cannot be read. */
ngx_int_t ngx_coco_route_body(ngx_http_request_t *r, size_t max,
    ngx_str_t *ret);

/* For what is served outside of any table: drops the body, and answers 405
 * unless asked by GET or HEAD. NGX_DECLINED: go on; else what
 * ngx_http_finalize_request takes. */
ngx_int_t ngx_coco_route_get_only(ngx_http_request_t *r);

/* Gives the location that is being configured to one of the modules; the
 * return value is a directive handler's. */
char *ngx_coco_route_location(ngx_conf_t *cf, ngx_http_handler_pt handler);

#endif /* NGX_COCO_ROUTE_H */
