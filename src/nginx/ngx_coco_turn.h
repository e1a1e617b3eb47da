/*
 * Requests of a process that take turns: what one of them changes is there
 * when the next one looks.
 */

#ifndef NGX_COCO_TURN_H
#define NGX_COCO_TURN_H

#include "ngx_coco.h"

typedef struct ngx_coco_turn_s  ngx_coco_turn_t;

/* Returns what ngx_http_finalize_request takes; NGX_DONE: it waits again. */
typedef ngx_int_t (*ngx_coco_turn_handler_pt)(ngx_http_request_t *r,
    void *data);

/* Calls the handler once it is the request's turn, which it has until it gives
 * it up or ends, for whatever reason. The return value is a content handler's.
 * *ret_turn is set before the handler is called. */
ngx_int_t ngx_coco_turn_take(ngx_http_request_t *r,
    ngx_coco_turn_handler_pt handler, void *data, ngx_coco_turn_t **ret_turn);

/* The next one is called within this turn of the loop. May be called again. */
void ngx_coco_turn_give(ngx_coco_turn_t *turn);

#endif /* NGX_COCO_TURN_H */
