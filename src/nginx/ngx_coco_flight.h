/*
 * One fetch for many: requests of this process for a document that another
 * one of them is fetching wait for it, while nothing has changed since that
 * began.
 */

#ifndef NGX_COCO_FLIGHT_H
#define NGX_COCO_FLIGHT_H

#include "ngx_coco.h"
#include "ngx_coco_zone.h"

typedef struct ngx_coco_flights_s    ngx_coco_flights_t;    /* of a process */
typedef struct ngx_coco_flight_s     ngx_coco_flight_t;     /* a fetch */
typedef struct ngx_coco_flight_op_s  ngx_coco_flight_op_t;  /* who waits */

ngx_coco_flights_t *ngx_coco_flights_create(ngx_conf_t *cf);

/* The request fetches the document, since `ticket`; the serial lives as long
 * as the request. NULL when memory is out. */
ngx_coco_flight_t *ngx_coco_flight_begin(ngx_http_request_t *r,
    ngx_coco_document_e kind, const ngx_str_t *serial,
    const ngx_coco_ticket_t *ticket);

/* Hands the document to all that wait. A request that ends without it leaves
 * them to ask for themselves. */
void ngx_coco_flight_end(ngx_coco_flight_t *flight,
    const ngx_str_t *document);

/* `document` lives until the handler returns; NULL: ask for yourself. Never
 * called from within ngx_coco_flight_end(). */
typedef void (*ngx_coco_flight_handler_pt)(void *data,
    const ngx_str_t *document);

/* In `pool`, which is the caller's. NGX_DECLINED: nobody fetches it, or it
 * has changed since somebody began. */
ngx_int_t ngx_coco_flight_wait(ngx_coco_flights_t *flights,
    const ngx_coco_zone_t *zone, ngx_coco_document_e kind,
    const ngx_str_t *serial, ngx_pool_t *pool,
    ngx_coco_flight_handler_pt handler, void *data,
    ngx_coco_flight_op_t **ret);

void ngx_coco_flight_cancel(ngx_coco_flight_op_t *op);

#endif /* NGX_COCO_FLIGHT_H */
