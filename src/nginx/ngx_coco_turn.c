/*
 * Requests that take turns, one at a time of a process, in the order in which
 * they came. Never calls one from within another.
 */

#include "ngx_coco_turn.h"
#include "ngx_coco_pause.h"


struct ngx_coco_turn_s {
    ngx_queue_t                link;        /* while it waits */
    ngx_event_t                event;       /* posted when its turn comes */
    ngx_http_request_t        *request;
    ngx_coco_turn_handler_pt   handler;
    void                      *data;
    ngx_uint_t                 waiting;
};


static void ngx_coco_turn_handler(ngx_event_t *ev);
static void ngx_coco_turn_cleanup(void *data);


/* Of this process. */
static ngx_queue_t  ngx_coco_turn_waiting = {
    &ngx_coco_turn_waiting, &ngx_coco_turn_waiting
};

static ngx_coco_turn_t  *ngx_coco_turn_taken;


ngx_int_t
ngx_coco_turn_take(ngx_http_request_t *r, ngx_coco_turn_handler_pt handler,
    void *data, ngx_coco_turn_t **ret_turn)
{
    ngx_coco_turn_t     *turn;
    ngx_http_cleanup_t  *cln;

    turn = ngx_pcalloc(r->pool, sizeof(ngx_coco_turn_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (turn == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_coco_turn_cleanup;
    cln->data = turn;

    turn->event.data = turn;
    turn->event.handler = ngx_coco_turn_handler;
    turn->event.log = r->connection->log;
    turn->request = r;
    turn->handler = handler;
    turn->data = data;

    *ret_turn = turn;

    if (ngx_coco_turn_taken == NULL) {
        ngx_coco_turn_taken = turn;
        return handler(r, data);
    }

    turn->waiting = 1;
    ngx_queue_insert_tail(&ngx_coco_turn_waiting, &turn->link);

    return ngx_coco_wait(r);
}


void
ngx_coco_turn_give(ngx_coco_turn_t *turn)
{
    ngx_queue_t  *head;

    if (turn->waiting) {
        turn->waiting = 0;
        ngx_queue_remove(&turn->link);
    }

    if (turn->event.posted) {
        ngx_delete_posted_event(&turn->event);
    }

    if (ngx_coco_turn_taken != turn) {
        return;
    }

    ngx_coco_turn_taken = NULL;

    if (ngx_queue_empty(&ngx_coco_turn_waiting)) {
        return;
    }

    head = ngx_queue_head(&ngx_coco_turn_waiting);
    ngx_queue_remove(head);

    turn = ngx_queue_data(head, ngx_coco_turn_t, link);
    turn->waiting = 0;
    ngx_coco_turn_taken = turn;

    ngx_post_event(&turn->event, &ngx_posted_events);
}


static void
ngx_coco_turn_handler(ngx_event_t *ev)
{
    ngx_coco_turn_t  *turn = ev->data;

    ngx_coco_resume(turn->request, turn->handler, turn->data);
}


/* Runs when the request ends, whoever ends it. */

static void
ngx_coco_turn_cleanup(void *data)
{
    ngx_coco_turn_give(data);
}
