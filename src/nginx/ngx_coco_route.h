/*
 * Routes: one table per module, method and path template to handler.
 */

#ifndef NGX_COCO_ROUTE_H
#define NGX_COCO_ROUTE_H

#include "ngx_coco.h"
#include "ngx_coco_auth.h"

#define NGX_COCO_ROUTE_ARGS  4

typedef struct {
    ngx_str_t          path[NGX_COCO_ROUTE_ARGS];   /* what {…} stood for */
    ngx_coco_caller_t  caller;
    ngx_str_t          body;      /* the whole body, when the route takes one */
} ngx_coco_call_t;

typedef ngx_int_t (*ngx_coco_route_handler_pt)(ngx_http_request_t *r,
    ngx_coco_call_t *call);

typedef struct {
    ngx_uint_t                 methods;     /* NGX_HTTP_GET (HEAD goes along) … */
    ngx_str_t                  path;        /* "/state/{}/history" */
    ngx_str_t                  scope;
    size_t                     body_max;    /* 0: takes no body; else bytes,
                                               JSON media type required */
    ngx_coco_route_handler_pt  handler;
} ngx_coco_route_t;

/*
 * The content handler's whole work: finds the route (404; 405 with Allow),
 * checks the token (401, 403), the serial wherever the template has {serial}
 * (400), the media type (415) and the body's size (413), reads the body, and
 * calls the handler. `routes` ends with an empty path.
 */
ngx_int_t ngx_coco_route_handle(ngx_http_request_t *r,
    const ngx_coco_route_t *routes);

#endif /* NGX_COCO_ROUTE_H */
