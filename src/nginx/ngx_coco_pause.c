/*
 * Requests that wait, and those that come back in a moment. Never keeps one
 * that has ended.
 */

#include "ngx_coco_pause.h"
#include "ngx_coco_op.h"


typedef struct {
    ngx_coco_ident_t            ident;      /* first: the event's data */
    ngx_event_t                 event;
    ngx_http_request_t         *request;
    ngx_coco_pause_handler_pt   handler;
    void                       *data;
} ngx_coco_pause_t;


static void ngx_coco_pause_handler(ngx_event_t *ev);
static void ngx_coco_pause_cleanup(void *data);


ngx_int_t
ngx_coco_pause(ngx_http_request_t *r, ngx_msec_t delay,
    ngx_coco_pause_handler_pt handler, void *data)
{
    ngx_coco_pause_t    *pause;
    ngx_http_cleanup_t  *cln;

    pause = ngx_pcalloc(r->pool, sizeof(ngx_coco_pause_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (pause == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_coco_pause_cleanup;
    cln->data = pause;

    pause->ident.fd = (ngx_socket_t) -1;
    pause->event.data = pause;
    pause->event.handler = ngx_coco_pause_handler;
    pause->event.log = r->connection->log;
    pause->request = r;
    pause->handler = handler;
    pause->data = data;

    /* a timer, not a posted event: it keeps a worker that is about to exit */

    ngx_add_timer(&pause->event, delay);

    return ngx_coco_wait(r);
}


ngx_int_t
ngx_coco_wait(ngx_http_request_t *r)
{
    r->main->count++;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (r == r->main) {
        /* a client that goes away ends the request, and so the waiting; of
         * one that had gone when its request was read no event comes */

        r->read_event_handler = ngx_http_test_reading;

        if (r->connection->read->pending_eof) {
            ngx_post_event(r->connection->read, &ngx_posted_events);
        }
    }

    return NGX_DONE;
}


static void
ngx_coco_pause_handler(ngx_event_t *ev)
{
    ngx_coco_pause_t  *pause = ev->data;

    ngx_coco_resume(pause->request, pause->handler, pause->data);
}


void
ngx_coco_resume(ngx_http_request_t *r, ngx_coco_pause_handler_pt handler,
    void *data)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, handler(r, data));
    ngx_http_run_posted_requests(c);
}


/* Runs when the request ends, whoever ends it. */

static void
ngx_coco_pause_cleanup(void *data)
{
    ngx_coco_pause_t  *pause = data;

    if (pause->event.timer_set) {
        ngx_del_timer(&pause->event);
    }
}
