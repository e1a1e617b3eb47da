/*
 * Requests that wait for operations. Operations know their slot here, slots
 * know the waiter, the waiter knows the request: never the other way round,
 * so that a request may end at any moment.
 */

#include "ngx_coco_waiter.h"
#include "ngx_coco_base.h"
#include "ngx_coco_grpc.h"
#include "ngx_coco_pause.h"


typedef struct ngx_coco_waiter_slot_s  ngx_coco_waiter_slot_t;

struct ngx_coco_waiter_slot_s {
    ngx_coco_waiter_t         *waiter;
    ngx_coco_waiter_slot_t    *next;
    ngx_coco_redis_op_t       *redis;       /* at most one of the five; */
    ngx_coco_pg_op_t          *pg;          /* NULL once it has ended */
    ngx_coco_inbox_op_t       *inbox;
    ngx_coco_replies_op_t     *replies;
    ngx_coco_flight_op_t      *flight;
    ngx_uint_t                 supply;      /* of pg: it writes the supply */
    union {
        ngx_coco_redis_handler_pt    redis;
        ngx_coco_pg_handler_pt       pg;    /* of the inbox too */
        ngx_coco_replies_handler_pt  replies;
        ngx_coco_flight_handler_pt   flight;
    } handler;
};

struct ngx_coco_waiter_s {
    ngx_http_request_t        *request;     /* NULL once it has ended */
    ngx_coco_waiter_done_pt    done;
    void                      *data;
    ngx_msec_t                 timeout;     /* 0: the backend's own */
    ngx_uint_t                 pending;
    ngx_uint_t                 waiting;     /* 0: the handler has not returned
                                               ngx_coco_waiter_wait() */
    ngx_coco_waiter_slot_t    *slots;       /* in r->pool, used again */
};


static ngx_msec_t ngx_coco_waiter_timeout(ngx_coco_waiter_t *waiter,
    ngx_msec_t backend);
static ngx_coco_waiter_slot_t *ngx_coco_waiter_slot(
    ngx_coco_waiter_t *waiter);
static void ngx_coco_waiter_redis_handler(void *data,
    ngx_coco_outcome_e outcome, redisReply *reply);
static void ngx_coco_waiter_pg_handler(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);
static void ngx_coco_waiter_replies_handler(void *data,
    ngx_coco_outcome_e outcome, const PGresult *result, int row);
static void ngx_coco_waiter_flight_handler(void *data,
    const ngx_str_t *document);
static void ngx_coco_waiter_supply(ngx_coco_waiter_t *waiter,
    ngx_coco_outcome_e outcome, const PGresult *result);
static ngx_connection_t *ngx_coco_waiter_enter(ngx_coco_waiter_t *waiter);
static void ngx_coco_waiter_leave(ngx_coco_waiter_t *waiter,
    ngx_connection_t *c);
static void ngx_coco_waiter_cleanup(void *data);


ngx_coco_waiter_t *
ngx_coco_waiter_create(ngx_http_request_t *r, ngx_coco_waiter_done_pt done,
    void *data)
{
    ngx_coco_waiter_t   *waiter;
    ngx_http_cleanup_t  *cln;

    waiter = ngx_pcalloc(r->pool, sizeof(*waiter));
    if (waiter == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_coco_waiter_cleanup;
    cln->data = waiter;

    waiter->request = r;
    waiter->done = done;
    waiter->data = data;

    return waiter;
}


void
ngx_coco_waiter_done_set(ngx_coco_waiter_t *waiter,
    ngx_coco_waiter_done_pt done)
{
    waiter->done = done;
}


void
ngx_coco_waiter_timeout_set(ngx_coco_waiter_t *waiter, ngx_msec_t timeout)
{
    waiter->timeout = timeout;
}


ngx_int_t
ngx_coco_waiter_redis(ngx_coco_waiter_t *waiter, ngx_uint_t argc,
    const ngx_str_t *argv, ngx_coco_redis_handler_pt handler)
{
    ngx_http_request_t      *r;
    ngx_coco_base_conf_t    *conf;
    ngx_coco_waiter_slot_t  *slot;

    r = waiter->request;
    conf = ngx_coco_base_conf(r);

    if (conf->redis == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "no \"coco_redis\" is configured");
        return NGX_ERROR;
    }

    slot = ngx_coco_waiter_slot(waiter);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->handler.redis = handler;
    slot->redis = ngx_coco_redis_send(conf->redis, argc, argv,
                                      ngx_coco_waiter_timeout(waiter,
                                                      conf->redis_timeout),
                                      ngx_coco_waiter_redis_handler, slot);
    if (slot->redis == NULL) {
        return NGX_ERROR;
    }

    waiter->pending++;

    return NGX_OK;
}


ngx_int_t
ngx_coco_waiter_pg(ngx_coco_waiter_t *waiter,
    ngx_coco_pg_statement_t *statement, const ngx_str_t *params,
    ngx_coco_pg_handler_pt handler)
{
    ngx_http_request_t      *r;
    ngx_coco_base_conf_t    *conf;
    ngx_coco_waiter_slot_t  *slot;

    r = waiter->request;
    conf = ngx_coco_base_conf(r);

    if (conf->pg == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "no \"coco_postgres\" is configured");
        return NGX_ERROR;
    }

    slot = ngx_coco_waiter_slot(waiter);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->handler.pg = handler;
    slot->supply = statement->supply;
    slot->pg = ngx_coco_pg_send(conf->pg, statement, params,
                                ngx_coco_waiter_timeout(waiter,
                                                conf->postgres_timeout),
                                ngx_coco_waiter_pg_handler, slot);
    if (slot->pg == NULL) {
        return NGX_ERROR;
    }

    waiter->pending++;

    return NGX_OK;
}


ngx_int_t
ngx_coco_waiter_inbox(ngx_coco_waiter_t *waiter,
    const ngx_coco_webhook_t *webhook, ngx_coco_pg_handler_pt handler)
{
    ngx_coco_base_conf_t    *conf;
    ngx_coco_waiter_slot_t  *slot;

    conf = ngx_coco_base_conf(waiter->request);

    slot = ngx_coco_waiter_slot(waiter);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->handler.pg = handler;
    slot->inbox = ngx_coco_inbox_send(conf->inbox, webhook,
                                      ngx_coco_waiter_timeout(waiter,
                                                conf->postgres_timeout),
                                      ngx_coco_waiter_pg_handler, slot);
    if (slot->inbox == NULL) {
        return NGX_ERROR;
    }

    waiter->pending++;

    return NGX_OK;
}


ngx_int_t
ngx_coco_waiter_replies(ngx_coco_waiter_t *waiter, const coco_id_t *command,
    ngx_uint_t begun, ngx_uint_t known, ngx_coco_replies_handler_pt handler)
{
    ngx_coco_base_conf_t    *conf;
    ngx_coco_waiter_slot_t  *slot;

    conf = ngx_coco_base_conf(waiter->request);

    slot = ngx_coco_waiter_slot(waiter);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->handler.replies = handler;
    slot->replies = ngx_coco_replies_wait(conf->replies, command, begun, known,
                                          ngx_coco_waiter_timeout(waiter,
                                                          conf->lid_timeout),
                                          ngx_coco_waiter_replies_handler,
                                          slot);
    if (slot->replies == NULL) {
        return NGX_ERROR;
    }

    waiter->pending++;

    return NGX_OK;
}


/* Nobody waits longer than the caller does. */

static ngx_msec_t
ngx_coco_waiter_timeout(ngx_coco_waiter_t *waiter, ngx_msec_t backend)
{
    return ngx_coco_grpc_left(waiter->request,
                              waiter->timeout ? waiter->timeout : backend);
}


ngx_int_t
ngx_coco_waiter_flight(ngx_coco_waiter_t *waiter, ngx_coco_document_e kind,
    const ngx_str_t *serial, ngx_coco_flight_handler_pt handler)
{
    ngx_int_t                rc;
    ngx_coco_base_conf_t    *conf;
    ngx_coco_waiter_slot_t  *slot;

    conf = ngx_coco_base_conf(waiter->request);

    slot = ngx_coco_waiter_slot(waiter);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->handler.flight = handler;

    rc = ngx_coco_flight_wait(conf->flights, conf->zone, kind, serial,
                              waiter->request->pool,
                              ngx_coco_waiter_flight_handler, slot,
                              &slot->flight);
    if (rc == NGX_OK) {
        waiter->pending++;
    }

    return rc;
}


static ngx_coco_waiter_slot_t *
ngx_coco_waiter_slot(ngx_coco_waiter_t *waiter)
{
    ngx_coco_waiter_slot_t  *slot;

    for (slot = waiter->slots; slot; slot = slot->next) {
        if (slot->redis == NULL && slot->pg == NULL && slot->inbox == NULL
            && slot->replies == NULL && slot->flight == NULL)
        {
            return slot;
        }
    }

    slot = ngx_pcalloc(waiter->request->pool, sizeof(*slot));
    if (slot == NULL) {
        return NULL;
    }

    slot->waiter = waiter;
    slot->next = waiter->slots;
    waiter->slots = slot;

    return slot;
}


ngx_int_t
ngx_coco_waiter_wait(ngx_coco_waiter_t *waiter)
{
    ngx_http_request_t  *r;

    r = waiter->request;

    waiter->waiting = 1;

    r->connection->log->action = "waiting for backends";

    return ngx_coco_wait(r);
}


void
ngx_coco_waiter_finalize(ngx_coco_waiter_t *waiter, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = waiter->request;

    ngx_coco_waiter_cleanup(waiter);

    r->connection->log->action = "sending to client";

    ngx_http_finalize_request(r, rc);
}


static void
ngx_coco_waiter_redis_handler(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    ngx_connection_t        *c;
    ngx_coco_waiter_t       *waiter;
    ngx_coco_waiter_slot_t  *slot;

    slot = data;
    waiter = slot->waiter;
    slot->redis = NULL;

    c = ngx_coco_waiter_enter(waiter);
    slot->handler.redis(waiter->data, outcome, reply);
    ngx_coco_waiter_leave(waiter, c);
}


static void
ngx_coco_waiter_pg_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_connection_t        *c;
    ngx_coco_waiter_t       *waiter;
    ngx_coco_waiter_slot_t  *slot;

    slot = data;
    waiter = slot->waiter;
    slot->pg = NULL;
    slot->inbox = NULL;

    c = ngx_coco_waiter_enter(waiter);

    if (slot->supply) {
        slot->supply = 0;
        ngx_coco_waiter_supply(waiter, outcome, result);
    }

    slot->handler.pg(waiter->data, outcome, result);
    ngx_coco_waiter_leave(waiter, c);
}


/* Whoever reads after the reply to a write must see it: the zone follows
 * before. */

static void
ngx_coco_waiter_supply(ngx_coco_waiter_t *waiter, ngx_coco_outcome_e outcome,
    const PGresult *result)
{
    int                    column;
    ngx_http_request_t    *r;
    ngx_coco_base_conf_t  *conf;

    r = waiter->request;
    conf = ngx_coco_base_conf(r);

    if (conf->zone == NULL) {
        return;
    }

    if (outcome != NGX_COCO_DONE) {
        ngx_coco_zone_doubt(conf->zone);
        return;
    }

    /* an error of the server's own has undone the statement */

    column = PQfnumber(result, "supply");

    if (column >= 0 && PQntuples(result)) {
        ngx_coco_zone_apply(conf->zone, ngx_coco_pg_field(result, 0, column),
                            r->connection->log);
    }
}


static void
ngx_coco_waiter_replies_handler(void *data, ngx_coco_outcome_e outcome,
    const PGresult *result, int row)
{
    ngx_connection_t        *c;
    ngx_coco_waiter_t       *waiter;
    ngx_coco_waiter_slot_t  *slot;

    slot = data;
    waiter = slot->waiter;
    slot->replies = NULL;

    c = ngx_coco_waiter_enter(waiter);
    slot->handler.replies(waiter->data, outcome, result, row);
    ngx_coco_waiter_leave(waiter, c);
}


static void
ngx_coco_waiter_flight_handler(void *data, const ngx_str_t *document)
{
    ngx_connection_t        *c;
    ngx_coco_waiter_t       *waiter;
    ngx_coco_waiter_slot_t  *slot;

    slot = data;
    waiter = slot->waiter;
    slot->flight = NULL;

    c = ngx_coco_waiter_enter(waiter);
    slot->handler.flight(waiter->data, document);
    ngx_coco_waiter_leave(waiter, c);
}


static ngx_connection_t *
ngx_coco_waiter_enter(ngx_coco_waiter_t *waiter)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = waiter->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);
    waiter->pending--;

    return c;
}


static void
ngx_coco_waiter_leave(ngx_coco_waiter_t *waiter, ngx_connection_t *c)
{
    if (waiter->pending == 0 && waiter->waiting) {
        waiter->done(waiter->request, waiter->data);
    }

    ngx_http_run_posted_requests(c);
}


/* Runs when the request ends, whoever ends it. */

static void
ngx_coco_waiter_cleanup(void *data)
{
    ngx_coco_zone_t         *zone;
    ngx_coco_waiter_t       *waiter;
    ngx_coco_waiter_slot_t  *slot;

    waiter = data;

    if (waiter->request == NULL) {
        return;
    }

    zone = ngx_coco_base_conf(waiter->request)->zone;

    for (slot = waiter->slots; slot; slot = slot->next) {

        if (slot->redis) {
            ngx_coco_redis_cancel(slot->redis);
            slot->redis = NULL;
        }

        if (slot->pg) {
            ngx_coco_pg_cancel(slot->pg);
            slot->pg = NULL;

            /* nobody will tell what became of it. It may be committed later
             * than what is polled for next: then, nobody having been told of
             * it, it is as if another host had made it. */

            if (slot->supply && zone) {
                ngx_coco_zone_doubt(zone);
            }
        }

        if (slot->inbox) {
            ngx_coco_inbox_cancel(slot->inbox);
            slot->inbox = NULL;
        }

        if (slot->replies) {
            ngx_coco_replies_cancel(slot->replies);
            slot->replies = NULL;
        }

        if (slot->flight) {
            ngx_coco_flight_cancel(slot->flight);
            slot->flight = NULL;
        }
    }

    waiter->slots = NULL;
    waiter->request = NULL;
}
