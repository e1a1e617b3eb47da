/*
 * Requests that wait for a document that another one fetches. Must never keep
 * a request waiting for one that has ended.
 */

#include "ngx_coco_flight.h"
#include "ngx_coco_base.h"


#define NGX_COCO_FLIGHTS  256       /* lists by hash; a power of two */


/* what those that waited share */
typedef struct {
    ngx_uint_t              holders;
    ngx_str_t               text;        /* behind it */
} ngx_coco_flight_document_t;

struct ngx_coco_flight_op_s {
    ngx_queue_t                  link;
    ngx_coco_flight_document_t  *document;
    ngx_coco_flight_handler_pt   handler;
    void                        *data;
};

/* From begin to end it is in a list, later ones of its document before it. */
struct ngx_coco_flight_s {
    ngx_queue_t                  link;
    ngx_queue_t                  waiting;    /* of ngx_coco_flight_op_t */
    ngx_coco_flights_t          *flights;    /* NULL: it has ended */
    ngx_coco_document_e          kind;
    ngx_str_t                    serial;
    ngx_coco_ticket_t            ticket;
};

struct ngx_coco_flights_s {
    ngx_queue_t                  lists[NGX_COCO_FLIGHTS];
    ngx_queue_t                  ended;      /* of ngx_coco_flight_op_t */
    ngx_event_t                  posted;     /* for them */
};


static ngx_queue_t *ngx_coco_flight_list(ngx_coco_flights_t *flights,
    ngx_coco_document_e kind, const ngx_str_t *serial);
static void ngx_coco_flight_cleanup(void *data);
static void ngx_coco_flights_handler(ngx_event_t *ev);
static void ngx_coco_flight_release(ngx_coco_flight_document_t *document);


ngx_coco_flight_t *
ngx_coco_flight_begin(ngx_http_request_t *r, ngx_coco_document_e kind,
    const ngx_str_t *serial, const ngx_coco_ticket_t *ticket)
{
    ngx_coco_flight_t   *flight;
    ngx_http_cleanup_t  *cln;

    flight = ngx_palloc(r->pool, sizeof(*flight));
    if (flight == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_coco_flight_cleanup;
    cln->data = flight;

    flight->flights = ngx_coco_base_conf(r)->flights;
    flight->kind = kind;
    flight->serial = *serial;
    flight->ticket = *ticket;

    ngx_queue_init(&flight->waiting);
    ngx_queue_insert_head(ngx_coco_flight_list(flight->flights, kind, serial),
                          &flight->link);

    return flight;
}


ngx_int_t
ngx_coco_flight_wait(ngx_coco_flights_t *flights, const ngx_coco_zone_t *zone,
    ngx_coco_document_e kind, const ngx_str_t *serial, ngx_pool_t *pool,
    ngx_coco_flight_handler_pt handler, void *data,
    ngx_coco_flight_op_t **ret)
{
    ngx_queue_t           *q, *list;
    ngx_coco_flight_t     *flight;
    ngx_coco_flight_op_t  *op;

    list = ngx_coco_flight_list(flights, kind, serial);

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        flight = ngx_queue_data(q, ngx_coco_flight_t, link);

        if (flight->kind != kind || flight->serial.len != serial->len
            || ngx_memcmp(flight->serial.data, serial->data, serial->len) != 0)
        {
            continue;
        }

        /* those behind it began before */

        if (!ngx_coco_zone_current(zone, serial, &flight->ticket)) {
            return NGX_DECLINED;
        }

        op = ngx_palloc(pool, sizeof(*op));
        if (op == NULL) {
            return NGX_ERROR;
        }

        op->document = NULL;
        op->handler = handler;
        op->data = data;
        ngx_queue_insert_tail(&flight->waiting, &op->link);

        *ret = op;

        return NGX_OK;
    }

    return NGX_DECLINED;
}


void
ngx_coco_flight_cancel(ngx_coco_flight_op_t *op)
{
    ngx_queue_remove(&op->link);
    ngx_coco_flight_release(op->document);
}


void
ngx_coco_flight_end(ngx_coco_flight_t *flight, const ngx_str_t *document)
{
    ngx_queue_t                 *q;
    ngx_coco_flights_t          *flights;
    ngx_coco_flight_op_t        *op;
    ngx_coco_flight_document_t  *shared;

    flights = flight->flights;
    flight->flights = NULL;
    ngx_queue_remove(&flight->link);

    if (ngx_queue_empty(&flight->waiting)) {
        return;
    }

    shared = document ? ngx_alloc(sizeof(*shared) + document->len,
                                  ngx_cycle->log)
                      : NULL;
    if (shared) {
        shared->holders = 0;
        shared->text.len = document->len;
        shared->text.data = (u_char *) (shared + 1);
        ngx_memcpy(shared->text.data, document->data, document->len);
    }

    for (q = ngx_queue_head(&flight->waiting);
         q != ngx_queue_sentinel(&flight->waiting);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, ngx_coco_flight_op_t, link);
        op->document = shared;

        if (shared) {
            shared->holders++;
        }
    }

    ngx_queue_add(&flights->ended, &flight->waiting);
    ngx_post_event(&flights->posted, &ngx_posted_events);
}


static void
ngx_coco_flight_cleanup(void *data)
{
    ngx_coco_flight_t  *flight = data;

    if (flight->flights) {
        ngx_coco_flight_end(flight, NULL);
    }
}


static void
ngx_coco_flights_handler(ngx_event_t *ev)
{
    ngx_coco_flights_t          *flights;
    ngx_coco_flight_op_t        *op;
    ngx_coco_flight_document_t  *document;

    flights = ev->data;

    while (!ngx_queue_empty(&flights->ended)) {
        op = ngx_queue_data(ngx_queue_head(&flights->ended),
                            ngx_coco_flight_op_t, link);
        ngx_queue_remove(&op->link);

        /* the operation may be gone once its handler returns */

        document = op->document;
        op->handler(op->data, document ? &document->text : NULL);

        ngx_coco_flight_release(document);
    }
}


static void
ngx_coco_flight_release(ngx_coco_flight_document_t *document)
{
    if (document && --document->holders == 0) {
        ngx_free(document);
    }
}


static ngx_queue_t *
ngx_coco_flight_list(ngx_coco_flights_t *flights, ngx_coco_document_e kind,
    const ngx_str_t *serial)
{
    uint32_t  hash;

    hash = ngx_murmur_hash2(serial->data, serial->len) + kind;

    return &flights->lists[hash & (NGX_COCO_FLIGHTS - 1)];
}


/* Processes that are forked each go on from a copy of their own. */

ngx_coco_flights_t *
ngx_coco_flights_create(ngx_conf_t *cf)
{
    ngx_uint_t           i;
    ngx_coco_flights_t  *flights;

    flights = ngx_pcalloc(cf->pool, sizeof(*flights));
    if (flights == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_COCO_FLIGHTS; i++) {
        ngx_queue_init(&flights->lists[i]);
    }

    ngx_queue_init(&flights->ended);

    flights->posted.handler = ngx_coco_flights_handler;
    flights->posted.data = flights;
    flights->posted.log = &cf->cycle->new_log;

    return flights;
}
