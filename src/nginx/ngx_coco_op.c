/*
 * Operations under way: deadlines and endings, the same for both backends.
 * Never calls a handler but from the event loop.
 */

#include "ngx_coco_op.h"

/* milliseconds */
#define NGX_COCO_BACKOFF_SOON  10
#define NGX_COCO_BACKOFF_MIN   50
#define NGX_COCO_BACKOFF_MAX   2000

static void ngx_coco_ops_timer_handler(ngx_event_t *ev);
static void ngx_coco_ops_posted_handler(ngx_event_t *ev);
static void ngx_coco_ops_arm(ngx_coco_ops_t *ops);


void
ngx_coco_ops_init(ngx_coco_ops_t *ops, ngx_pool_t *pool, ngx_log_t *log,
    size_t size, ngx_coco_op_call_pt call)
{
    ngx_memzero(ops, sizeof(*ops));

    ops->ident.fd = (ngx_socket_t) -1;
    ops->call = call;
    ops->size = size;
    ops->pool = pool;

    ngx_queue_init(&ops->due);
    ngx_queue_init(&ops->ended);
    ngx_queue_init(&ops->free);

    ops->timer.handler = ngx_coco_ops_timer_handler;
    ops->timer.data = ops;
    ops->timer.log = log;
    ops->timer.cancelable = 1;

    ops->posted.handler = ngx_coco_ops_posted_handler;
    ops->posted.data = ops;
    ops->posted.log = log;
}


void
ngx_coco_ops_done(ngx_coco_ops_t *ops)
{
    if (ops->timer.timer_set) {
        ngx_del_timer(&ops->timer);
    }

    if (ops->posted.posted) {
        ngx_delete_posted_event(&ops->posted);
    }
}


void *
ngx_coco_op_create(ngx_coco_ops_t *ops, ngx_queue_t *line, ngx_msec_t timeout)
{
    ngx_queue_t    *q;
    ngx_coco_op_t  *op, *other;

    op = ngx_coco_op_create_orphan(ops, line);
    if (op == NULL) {
        return NULL;
    }

    op->live = 1;
    op->timed = 1;
    op->deadline = ngx_current_msec + timeout;

    /* most have the same timeout, so the place is at or near the end */

    for (q = ngx_queue_last(&ops->due);
         q != ngx_queue_sentinel(&ops->due);
         q = ngx_queue_prev(q))
    {
        other = ngx_queue_data(q, ngx_coco_op_t, due);

        if ((ngx_msec_int_t) (other->deadline - op->deadline) <= 0) {
            break;
        }
    }

    ngx_queue_insert_after(q, &op->due);

    if (ngx_queue_head(&ops->due) == &op->due) {
        ngx_coco_ops_arm(ops);
    }

    return op;
}


void *
ngx_coco_op_create_orphan(ngx_coco_ops_t *ops, ngx_queue_t *line)
{
    ngx_queue_t    *q;
    ngx_coco_op_t  *op;

    if (ngx_queue_empty(&ops->free)) {
        op = ngx_palloc(ops->pool, ops->size);
        if (op == NULL) {
            return NULL;
        }

    } else {
        q = ngx_queue_head(&ops->free);
        ngx_queue_remove(q);
        op = ngx_queue_data(q, ngx_coco_op_t, link);
    }

    ngx_memzero(op, ops->size);
    op->ops = ops;
    ngx_queue_insert_tail(line, &op->link);

    return op;
}


void
ngx_coco_op_orphan(ngx_coco_op_t *op)
{
    ngx_coco_ops_t  *ops;

    ops = op->ops;
    op->live = 0;

    ngx_coco_op_untime(op);

    if (op->sent) {
        return;
    }

    if (op->buffer) {
        ngx_free(op->buffer);
        op->buffer = NULL;
    }

    ngx_queue_remove(&op->link);
    ngx_queue_insert_head(&ops->free, &op->link);
}


void
ngx_coco_op_untime(ngx_coco_op_t *op)
{
    if (op->timed) {
        op->timed = 0;
        ngx_queue_remove(&op->due);

        /* the timer stays, it costs less than moving it with each reply */
        op->ops->timer.cancelable = ngx_queue_empty(&op->ops->due);
    }
}


void
ngx_coco_ops_drop(ngx_queue_t *line)
{
    ngx_coco_op_t  *op;

    while (!ngx_queue_empty(line)) {
        op = ngx_queue_data(ngx_queue_head(line), ngx_coco_op_t, link);
        op->sent = 0;
        ngx_coco_op_orphan(op);
    }
}


void
ngx_coco_op_end(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_ops_t  *ops;

    ops = op->ops;
    op->sent = 0;

    if (!op->live) {
        ngx_coco_op_orphan(op);
        return;
    }

    op->outcome = outcome;
    ngx_coco_op_untime(op);

    ngx_queue_remove(&op->link);
    ngx_queue_insert_tail(&ops->ended, &op->link);

    ngx_post_event(&ops->posted, &ngx_posted_events);
}


ngx_msec_t
ngx_coco_backoff(ngx_uint_t attempts)
{
    ngx_msec_t  delay;

    if (attempts == 0) {
        return 1 + ngx_random() % NGX_COCO_BACKOFF_SOON;
    }

    delay = NGX_COCO_BACKOFF_MIN << ngx_min(attempts - 1, 6);
    delay = ngx_min(delay, NGX_COCO_BACKOFF_MAX);

    return delay / 2 + ngx_random() % delay;
}


static void
ngx_coco_ops_timer_handler(ngx_event_t *ev)
{
    ngx_coco_op_t   *op;
    ngx_coco_ops_t  *ops;

    ops = ev->data;

    while (!ngx_queue_empty(&ops->due)) {

        op = ngx_queue_data(ngx_queue_head(&ops->due), ngx_coco_op_t, due);

        if ((ngx_msec_int_t) (op->deadline - ngx_current_msec) > 0) {
            ngx_coco_ops_arm(ops);
            return;
        }

        ops->call(op, NGX_COCO_TIMEOUT);
    }
}


static void
ngx_coco_ops_posted_handler(ngx_event_t *ev)
{
    ngx_coco_op_t   *op;
    ngx_coco_ops_t  *ops;

    ops = ev->data;

    while (!ngx_queue_empty(&ops->ended)) {
        op = ngx_queue_data(ngx_queue_head(&ops->ended), ngx_coco_op_t, link);
        ops->call(op, op->outcome);
    }
}


static void
ngx_coco_ops_arm(ngx_coco_ops_t *ops)
{
    ngx_coco_op_t   *op;
    ngx_msec_int_t   left;

    op = ngx_queue_data(ngx_queue_head(&ops->due), ngx_coco_op_t, due);

    /* somebody waits: a worker that leaves must stay until then */
    ops->timer.cancelable = 0;

    if (ops->timer.timer_set) {

        if ((ngx_msec_int_t) (ops->timer.timer.key - op->deadline) <= 0) {
            return;
        }

        /* ngx_add_timer() alone would keep a later one that is near */
        ngx_del_timer(&ops->timer);
    }

    left = (ngx_msec_int_t) (op->deadline - ngx_current_msec);
    ngx_add_timer(&ops->timer, (ngx_msec_t) ngx_max(left, 0));
}
