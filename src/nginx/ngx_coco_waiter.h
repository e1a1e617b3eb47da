/*
 * Ties a request to the operations it waits for. The request may go away at
 * any time: its cleanup cancels what is still under way.
 */

#ifndef NGX_COCO_WAITER_H
#define NGX_COCO_WAITER_H

#include "ngx_coco.h"
#include "ngx_coco_redis.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_inbox.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_flight.h"

typedef struct ngx_coco_waiter_s  ngx_coco_waiter_t;

/* Called when the last operation has ended. Must end in
 * ngx_coco_waiter_finalize(), or send further operations on the same waiter. */
typedef void (*ngx_coco_waiter_done_pt)(ngx_http_request_t *r, void *data);

ngx_coco_waiter_t *ngx_coco_waiter_create(ngx_http_request_t *r,
    ngx_coco_waiter_done_pt done, void *data);

/* To send further operations with another end. */
void ngx_coco_waiter_done_set(ngx_coco_waiter_t *waiter,
    ngx_coco_waiter_done_pt done);

/* Milliseconds for the operations sent from now on, instead of
 * coco_redis_timeout, coco_postgres_timeout and coco_lid_timeout. */
void ngx_coco_waiter_timeout_set(ngx_coco_waiter_t *waiter,
    ngx_msec_t timeout);

/* `handler` gets the waiter's data; copy what is needed into r->pool. It may
 * send further operations, and must not end the request: `done` does. On
 * NGX_ERROR (logged) end the request with 500: by the handler's return value
 * while it is not waiting yet, by ngx_coco_waiter_finalize() in `done`. */
ngx_int_t ngx_coco_waiter_redis(ngx_coco_waiter_t *waiter, ngx_uint_t argc,
    const ngx_str_t *argv, ngx_coco_redis_handler_pt handler);
ngx_int_t ngx_coco_waiter_pg(ngx_coco_waiter_t *waiter,
    ngx_coco_pg_statement_t *statement, const ngx_str_t *params,
    ngx_coco_pg_handler_pt handler);
ngx_int_t ngx_coco_waiter_inbox(ngx_coco_waiter_t *waiter,
    const ngx_coco_webhook_t *webhook, ngx_coco_pg_handler_pt handler);
ngx_int_t ngx_coco_waiter_replies(ngx_coco_waiter_t *waiter,
    const coco_id_t *command, ngx_uint_t begun, ngx_uint_t known,
    ngx_coco_replies_handler_pt handler);

/* Waits for another request's fetch, where a zone is configured. NGX_DECLINED:
 * there is none to wait for. */
ngx_int_t ngx_coco_waiter_flight(ngx_coco_waiter_t *waiter,
    ngx_coco_document_e kind, const ngx_str_t *serial,
    ngx_coco_flight_handler_pt handler);

/* The handler's return value once operations are sent: keeps the request. */
ngx_int_t ngx_coco_waiter_wait(ngx_coco_waiter_t *waiter);

/* Ends the request with rc, as ngx_http_finalize_request would. */
void ngx_coco_waiter_finalize(ngx_coco_waiter_t *waiter, ngx_int_t rc);

#endif /* NGX_COCO_WAITER_H */
