/*
 * Quotes over HTTP: the robot that is at a pickup first, held if that is
 * asked for. Used by the dispatch module alone.
 */

#ifndef NGX_COCO_DISPATCH_QUOTE_H
#define NGX_COCO_DISPATCH_QUOTE_H

#include "ngx_coco_route.h"

/* To be called from the directive's handler: registers the statements, that of
 * the supply (of plans, too) among them. */
ngx_int_t ngx_coco_quote_init(ngx_conf_t *cf);

/* Handlers of routes. */
ngx_int_t ngx_coco_quote_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_quote_release_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_QUOTE_H */
