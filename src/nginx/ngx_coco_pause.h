/*
 * A request that waits, for whatever it may be, or for a moment, so that others
 * have their turn.
 */

#ifndef NGX_COCO_PAUSE_H
#define NGX_COCO_PAUSE_H

#include "ngx_coco.h"

/* Returns what ngx_http_finalize_request takes; NGX_DONE: it waits again. */
typedef ngx_int_t (*ngx_coco_pause_handler_pt)(ngx_http_request_t *r,
    void *data);

/* Calls the handler after `delay` ms, not 0; never when the request has ended
 * before. The return value is a content handler's. */
ngx_int_t ngx_coco_pause(ngx_http_request_t *r, ngx_msec_t delay,
    ngx_coco_pause_handler_pt handler, void *data);

/* Keeps the request for whoever is to end the waiting, by
 * ngx_http_finalize_request(); a client that goes away ends it before, which a
 * cleanup handler tells. Returns NGX_DONE, for the content handler. */
ngx_int_t ngx_coco_wait(ngx_http_request_t *r);

/* From an event of its own: the request goes on with the handler, and ends
 * unless that waits again. It may be gone afterwards. */
void ngx_coco_resume(ngx_http_request_t *r, ngx_coco_pause_handler_pt handler,
    void *data);

#endif /* NGX_COCO_PAUSE_H */
