/*
 * Partners' webhooks in a batch: what they ask for goes to coco.order_apply(),
 * and who has to know of it is told. Must never decide what becomes of an
 * order: what the delivery is by then only its lock shows.
 */

#include <stdlib.h>

#include "batch_work.h"
#include "metrics.h"

#define COCO_ORDER_SIZE  1024      /* of an order's JSON, beside its strings */
#define COCO_MOVES_SIZE  2048

/* What was made of those that ask for something. */
struct coco_order_work_s {
    int          applied;          /* slots */
    int          listed;
    size_t       created, changed, canceled;
    coco_str_t  *robots;           /* that they are, or were, given to */
    size_t       count;
    size_t       max;              /* a robot for each order */
};

static int coco_order_compare_keys(const void *a, const void *b);
static int coco_orders_collect(coco_writer_t *w);
static int coco_orders_keys(coco_writer_t *w, coco_statement_e statement);
static int coco_orders_apply(coco_writer_t *w);
static void coco_order_json(coco_json_out_t *out, const void *data);
static int coco_order_moves(coco_writer_t *w, coco_delivery_event_e event,
    coco_str_t *ret);


/* COCO_ERROR: no memory. */
int
coco_order_prepare(coco_writer_t *w, coco_item_t *item)
{
    item->text = coco_arena_alloc(&w->arena, item->message->payload.len + 1);

    return item->text != NULL ? COCO_OK : COCO_ERROR;
}


/* Its time is that of its receipt where the partner says none, also when it is
 * replayed. */
int
coco_order_decode_item(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    coco_str_t             provider;
    const char            *slash;
    coco_webhook_event_t   event;
    const coco_message_t  *m = item->message;

    (void) w;
    (void) now;

    provider = m->topic;
    slash = memchr(provider.data, '/', provider.len);

    if (slash != NULL) {
        provider.len -= (size_t) (slash + 1 - provider.data);
        provider.data = slash + 1;
    }

    if (coco_service_integrations_order(&item->placed, provider, m->payload,
                                        m->received_at, item->text, err)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    item->kind = COCO_ITEM_ORDER;

    if (m->inbox) {
        item->id = m->inbox_id;
        return COCO_OK;
    }

    if (coco_webhook_identify(&event, item->placed.partner, m->payload, err)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    item->id = event.id;

    return COCO_OK;
}


/* New ones are inserted in this order by all writers. */
static int
coco_order_compare_keys(const void *a, const void *b)
{
    int                          rc;
    const coco_item_t           *x = *(coco_item_t *const *) a;
    const coco_item_t           *y = *(coco_item_t *const *) b;
    const coco_partner_order_t  *p = &x->placed, *q = &y->placed;

    if (p->partner != q->partner) {
        return p->partner < q->partner ? -1 : 1;
    }

    rc = coco_serial_compare(p->external_id, q->external_id);

    return rc ? rc : memcmp(&x->id, &y->id, sizeof(x->id));
}


/*
 * Everything is locked before the first order is applied, each table in its
 * own order: what one of them writes, another writer may have locked for one
 * that stands before it.
 */
int
coco_orders_write(coco_writer_t *w)
{
    int  rc;

    w->order = NULL;

    rc = coco_orders_collect(w);

    if (rc != COCO_OK || w->order == NULL) {
        return rc;
    }

    (void) coco_orders_keys(w, COCO_S_ORDERS_LOCK);
    (void) coco_orders_keys(w, COCO_S_ORDERS_FLEET);
    (void) coco_orders_keys(w, COCO_S_ORDERS_SUPPLY);

    if (coco_orders_apply(w) != COCO_OK) {
        return COCO_ERROR;
    }

    w->order->listed = coco_orders_keys(w, COCO_S_ORDERS_ROBOTS);

    return COCO_OK;
}


/* COCO_ERROR: no memory. */
static int
coco_orders_collect(coco_writer_t *w)
{
    char               *text;
    size_t              n = 0;
    coco_order_work_t  *work;

    for (size_t i = 0; i < w->orders.count; i++) {
        n += w->orders.v[i]->placed.action != COCO_ORDER_NOTHING;
    }

    if (n == 0) {
        return COCO_OK;
    }

    qsort(w->orders.v, w->orders.count, sizeof(*w->orders.v),
          coco_order_compare_keys);

    work = coco_arena_alloc(&w->arena, sizeof(*work)
                                       + n * (sizeof(*work->robots)
                                              + COCO_SERIAL_MAX));
    if (work == NULL) {
        return COCO_ERROR;
    }

    memset(work, 0, sizeof(*work));
    work->robots = (coco_str_t *) (work + 1);
    text = (char *) (work->robots + n);

    for (size_t i = 0; i < n; i++) {
        work->robots[i].data = text + i * COCO_SERIAL_MAX;
    }

    work->max = n;
    w->order = work;

    return COCO_OK;
}


/* Its slot. */
static int
coco_orders_keys(coco_writer_t *w, coco_statement_e statement)
{
    const coco_partner_order_t  *order;

    coco_pg_rows(w->pg, statement);

    for (size_t i = 0; i < w->orders.count; i++) {
        order = &w->orders.v[i]->placed;

        if (order->action != COCO_ORDER_NOTHING) {
            coco_pg_text(w->pg, coco_partner_name(order->partner));
            coco_pg_text(w->pg, order->external_id);
            coco_pg_text(w->pg, order->action == COCO_ORDER_PLACE
                                ? order->vehicle : (coco_str_t) { NULL, 0 });
        }
    }

    return coco_pg_send(w->pg);
}


/* The machine's rows are the same for all: with the first one only. */
static int
coco_orders_apply(coco_writer_t *w)
{
    coco_str_t                   json, cancels, assigns;
    const coco_partner_order_t  *order;

    if (coco_order_moves(w, COCO_DELIVERY_CANCEL, &cancels) != COCO_OK
        || coco_order_moves(w, COCO_DELIVERY_ASSIGN, &assigns) != COCO_OK)
    {
        return COCO_ERROR;
    }

    coco_pg_rows(w->pg, COCO_S_ORDERS_APPLY);

    for (size_t i = 0; i < w->orders.count; i++) {
        order = &w->orders.v[i]->placed;

        if (order->action == COCO_ORDER_NOTHING) {
            continue;
        }

        if (coco_arena_json(&w->arena, &json, COCO_ORDER_SIZE,
                            coco_order_json, order)
            != COCO_OK)
        {
            return COCO_ERROR;
        }

        coco_pg_json(w->pg, json);
        coco_pg_json(w->pg, cancels);
        coco_pg_json(w->pg, assigns);
        cancels.data = NULL;
        assigns.data = NULL;
    }

    w->order->applied = coco_pg_send(w->pg);

    return COCO_OK;
}


static void
coco_order_json(coco_json_out_t *out, const void *data)
{
    coco_order_encode(out, data);
}


/* COCO_ERROR: no memory. */
static int
coco_order_moves(coco_writer_t *w, coco_delivery_event_e event,
    coco_str_t *ret)
{
    char             *p;
    coco_json_out_t   out;

    p = coco_arena_alloc(&w->arena, COCO_MOVES_SIZE);
    if (p == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&out, p, COCO_MOVES_SIZE);
    coco_delivery_moves_encode(&out, event);
    coco_arena_trim(&w->arena, p, out.len);
    *ret = (coco_str_t) { p, out.len };

    return coco_json_out_ok(&out) ? COCO_OK : COCO_ERROR;
}


void
coco_orders_read(coco_writer_t *w)
{
    PGresult           *res;
    coco_str_t          word, *robot;
    coco_order_work_t  *work = w->order;

    if (work == NULL) {
        return;
    }

    res = coco_pg_result(w->pg, work->applied);

    for (int row = 0; row < PQntuples(res); row++) {
        word = coco_pg_get(res, row, 0);
        work->created += coco_str_equal(word, coco_string("CREATED"));
        work->changed += coco_str_equal(word, coco_string("CHANGED"));
        work->canceled += coco_str_equal(word, coco_string("CANCELED"));
    }

    res = coco_pg_result(w->pg, work->listed);

    for (int row = 0; row < PQntuples(res) && work->count < work->max; row++)
    {
        word = coco_pg_get(res, row, 0);
        robot = &work->robots[work->count];

        if (word.len <= COCO_SERIAL_MAX) {
            memcpy((char *) robot->data, word.data, word.len);
            robot->len = word.len;
            work->count++;
        }
    }
}


coco_str_t
coco_orders_robot(const coco_writer_t *w, size_t *at)
{
    if (w->order == NULL || *at == w->order->count) {
        return (coco_str_t) { NULL, 0 };
    }

    return w->order->robots[(*at)++];
}


void
coco_orders_count(coco_writer_t *w)
{
    int                       lane = w->options->metrics_lane;
    size_t                    refused = 0;
    coco_order_work_t         nothing = { 0 };
    const coco_order_work_t  *work;

    for (size_t i = 0; i < w->refused.count; i++) {
        refused += w->refused.v[i]->message->kind == COCO_KIND_ORDER;
    }

    work = w->order ? w->order : &nothing;

    coco_metrics_add(COCO_M_ORDERS_CREATED, lane, work->created);
    coco_metrics_add(COCO_M_ORDERS_CHANGED, lane, work->changed);
    coco_metrics_add(COCO_M_ORDERS_CANCELED, lane, work->canceled);
    coco_metrics_add(COCO_M_ORDERS_NOTHING, lane,
                     w->orders.count - work->created - work->changed
                     - work->canceled);
    coco_metrics_add(COCO_M_ORDERS_REFUSED, lane, refused);
}
