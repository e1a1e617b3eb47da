/*
 * What Redis is told after a commit: copies of the newest, then who changed.
 * Must never decide anything: Redis holds copies and hints only.
 */

#include "batch_work.h"

#define COCO_COPY_SIZE  512    /* of a copy, beside what it quotes */

/* Both encoders, as one: which tells them apart. */
typedef enum { COCO_COPY_ROBOT_STATE, COCO_COPY_EPHEMERAL } coco_copy_e;

static void coco_batch_copies(coco_writer_t *w);
static bool coco_batch_copy(coco_writer_t *w, coco_group_t *g, int64_t ttl);
static void coco_batch_links(coco_writer_t *w);
static void coco_batch_parked(coco_writer_t *w);
static const coco_item_t *coco_batch_newest(const coco_group_t *g,
    unsigned part);
static coco_str_t coco_batch_copy_encode(coco_writer_t *w,
    const coco_group_t *g, const coco_item_t *item, coco_copy_e which);
static bool coco_batch_told(const coco_group_t *g);
static void coco_batch_owe(coco_writer_t *w);
static int coco_batch_invalidate(coco_writer_t *w);


void
coco_batch_redis(coco_writer_t *w)
{
    bool    any = w->link_count > 0, changed, parked, told;
    size_t  at = 0, order = 0, supply = 0;

    coco_lid_replies(w);

    for (size_t i = 0; i < w->group_count; i++) {
        any |= coco_batch_told(&w->groups[i]);
    }

    any |= coco_deliveries_next(w, &at, &parked).data != NULL;
    any |= coco_orders_robot(w, &order).data != NULL;
    changed = any;
    any |= coco_supply_next(w, &supply).data != NULL;

    if (!any) {
        coco_writer_settle(w);
        return;
    }

    if (!coco_redis_open(w->redis)) {
        coco_batch_owe(w);
        return;
    }

    coco_batch_copies(w);
    coco_batch_links(w);
    coco_batch_parked(w);
    told = (!changed || coco_batch_invalidate(w) == COCO_OK)
           && coco_supply_feed(w) == COCO_OK;

    if (!coco_redis_flush(w->redis) || !told) {
        coco_batch_owe(w);
    }
}


/* Whose records have changed, as far as others keep copies of them. */
static bool
coco_batch_told(const coco_group_t *g)
{
    return g->newest != NULL || g->operation_changed || g->fleet.has_business;
}


static void
coco_batch_copies(coco_writer_t *w)
{
    int64_t        now, ttl;
    coco_group_t  *g;

    now = coco_clock_ms();

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        if (g->newest == NULL) {
            if (g->fleet.has_business) {
                coco_redis_operation_state(w->redis, g->serial,
                                        coco_state_name(g->operation_state));
            }
            continue;
        }

        ttl = (int64_t) w->options->heartbeat_ttl_ms;

        /* it is ahead of us only when our clock was set back */
        if (now > g->newest->order.order_ms) {
            ttl -= now - g->newest->order.order_ms;
        }

        if (ttl > 0 && !coco_batch_copy(w, g, ttl)) {
            coco_redis_owe(w->redis, g->serial);
        }
    }
}


/* False: no memory. */
static bool
coco_batch_copy(coco_writer_t *w, coco_group_t *g, int64_t ttl)
{
    coco_str_t          state = { NULL, 0 }, ephemeral = { NULL, 0 };
    const coco_item_t  *item;

    item = coco_batch_newest(g, COCO_PART_TELEMETRY);

    if (item != NULL) {
        state = coco_batch_copy_encode(w, g, item, COCO_COPY_ROBOT_STATE);
        if (state.data == NULL) {
            return false;
        }
    }

    item = coco_batch_newest(g, COCO_PART_OPERATIONS);

    if (item != NULL) {
        ephemeral = coco_batch_copy_encode(w, g, item, COCO_COPY_EPHEMERAL);
        if (ephemeral.data == NULL) {
            return false;
        }
    }

    if (state.data != NULL || ephemeral.data != NULL) {
        coco_redis_robot(w->redis, g->serial, &g->newest->order, state,
                         ephemeral, ttl);
    }

    return true;
}


/* The newest as it came for this part: where RabbitMQ and Kafka share the
 * parts, it may have come twice. NULL: it is not for this part. */
static const coco_item_t *
coco_batch_newest(const coco_group_t *g, unsigned part)
{
    const coco_item_t  *item = g->newest;

    for (size_t k = g->copies.count; !(item->parts & part); /* void */ ) {
        if (k == 0) {
            return NULL;
        }

        item = g->copies.v[--k];

        if (coco_order_compare(&item->order, &g->newest->order) != 0) {
            return NULL;
        }
    }

    return item;
}


/* Statuses have no time to live: they stand until the next. */
static void
coco_batch_links(coco_writer_t *w)
{
    coco_link_t  *link;

    if (w->link_count > 0) {
        (void) coco_connectivity_read(w);
    }

    for (size_t i = 0; i < w->link_count; i++) {
        link = &w->links[i];

        if (link->driveu.data != NULL) {
            coco_redis_driveu(w->redis, link->serial, link->driveu,
                              link->controllable);

        } else {
            coco_redis_owe(w->redis, link->serial);
        }
    }
}


/* By an arrival, which is no heartbeat: the copy's state stands alone. */
static void
coco_batch_parked(coco_writer_t *w)
{
    bool        parked;
    size_t      at = 0;
    coco_str_t  serial;

    while ((serial = coco_deliveries_next(w, &at, &parked)).data != NULL) {
        if (parked) {
            coco_redis_operation_state(w->redis, serial,
                                       coco_state_name(COCO_STATE_PARKED));
        }
    }
}


static void
coco_batch_owe(coco_writer_t *w)
{
    bool        parked;
    size_t      at = 0, order = 0, supply = 0;
    coco_str_t  serial;

    while ((serial = coco_deliveries_next(w, &at, &parked)).data != NULL) {
        coco_redis_owe(w->redis, serial);
    }

    while ((serial = coco_orders_robot(w, &order)).data != NULL) {
        coco_redis_owe(w->redis, serial);
    }

    while ((serial = coco_supply_next(w, &supply)).data != NULL) {
        coco_redis_owe(w->redis, serial);
    }

    for (size_t i = 0; i < w->group_count; i++) {
        if (coco_batch_told(&w->groups[i])) {
            coco_redis_owe(w->redis, w->groups[i].serial);
        }
    }

    for (size_t i = 0; i < w->link_count; i++) {
        coco_redis_owe(w->redis, w->links[i].serial);
    }
}


/* data NULL without memory: the copy is left out, and owed. */
static coco_str_t
coco_batch_copy_encode(coco_writer_t *w, const coco_group_t *g,
    const coco_item_t *item, coco_copy_e which)
{
    char                    *p;
    size_t                   size;
    coco_json_out_t          out;
    const coco_heartbeat_t  *hb = &item->heartbeat;

    size = hb->payload.len + item->driveu.len + COCO_COPY_SIZE;

    for ( ;; ) {
        p = coco_arena_alloc(&w->arena, size);
        if (p == NULL) {
            return (coco_str_t) { NULL, 0 };
        }

        coco_json_out_init(&out, p, size);

        if (which == COCO_COPY_ROBOT_STATE) {
            coco_robot_state_encode(&out, hb, g->operation_state);

        } else {
            coco_ephemeral_encode(&out, hb, item->controllable, item->driveu);
        }

        if (coco_json_out_ok(&out)) {
            coco_arena_trim(&w->arena, p, out.len);
            return (coco_str_t) { p, out.len };
        }

        size = out.len;
    }
}


/* COCO_ERROR: no memory. */
static int
coco_batch_invalidate(coco_writer_t *w)
{
    char             *p;
    bool              parked;
    size_t            size = 16, at = 0, order = 0;
    coco_str_t        serial;
    coco_json_out_t   out;

    while ((serial = coco_deliveries_next(w, &at, &parked)).data != NULL) {
        size += serial.len + sizeof("\"\",");
    }

    while ((serial = coco_orders_robot(w, &order)).data != NULL) {
        size += serial.len + sizeof("\"\",");
    }

    for (size_t i = 0; i < w->group_count; i++) {
        size += w->groups[i].serial.len + sizeof("\"\",");
    }

    for (size_t i = 0; i < w->link_count; i++) {
        size += w->links[i].serial.len + sizeof("\"\",");
    }

    p = coco_arena_alloc(&w->arena, size);
    if (p == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&out, p, size);
    coco_json_object_open(&out);
    coco_json_name(&out, "serials");
    coco_json_array_open(&out);

    for (size_t i = 0; i < w->group_count; i++) {
        if (coco_batch_told(&w->groups[i])) {
            coco_json_string(&out, w->groups[i].serial);
        }
    }

    for (size_t i = 0; i < w->link_count; i++) {
        coco_json_string(&out, w->links[i].serial);
    }

    at = 0;
    order = 0;

    while ((serial = coco_deliveries_next(w, &at, &parked)).data != NULL) {
        coco_json_string(&out, serial);
    }

    while ((serial = coco_orders_robot(w, &order)).data != NULL) {
        coco_json_string(&out, serial);
    }

    coco_json_array_close(&out);
    coco_json_object_close(&out);
    coco_redis_invalidate(w->redis, (coco_str_t) { p, out.len });

    return COCO_OK;
}
