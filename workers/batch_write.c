/*
 * The writer: takes a batch through Postgres and Redis, again and again until
 * it is done; sets aside what is the message's own fault. Must never give up
 * a message, nor let one hold up the others.
 */

#include <stdio.h>
#include <stdlib.h>

#include "batch_work.h"
#include "log.h"
#include "metrics.h"

#define COCO_DAY_MS           86400000LL
#define COCO_ORDER_TURNS_MAX  8

static unsigned coco_writer_parts(const coco_lane_options_t *options);
static int coco_writer_lists(coco_writer_t *w);
static int coco_writer_part(coco_writer_t *w, coco_item_t *items,
    size_t count);
static coco_turn_e coco_writer_try(coco_writer_t *w, coco_item_t *items,
    size_t count);
static coco_turn_e coco_writer_transaction(coco_writer_t *w,
    coco_item_t *items, size_t count);
static coco_turn_e coco_writer_turn(coco_writer_t *w);
static coco_turn_e coco_writer_begin(coco_writer_t *w);
static coco_turn_e coco_writer_lock(coco_writer_t *w);
static bool coco_writer_locked(coco_writer_t *w, const PGresult *res);
static coco_turn_e coco_writer_history(coco_writer_t *w);
static coco_turn_e coco_writer_stored(coco_writer_t *w);
static coco_turn_e coco_writer_operations(coco_writer_t *w);
static int coco_writer_operations_read(coco_writer_t *w, const PGresult *res);
static coco_turn_e coco_writer_finish(coco_writer_t *w);
static void coco_writer_newest(coco_writer_t *w, int states, int orders);
static coco_turn_e coco_writer_no_memory(coco_writer_t *w);
static coco_turn_e coco_writer_partitions(coco_writer_t *w);
static int coco_writer_set_aside(coco_writer_t *w, coco_item_t *item);
static void coco_writer_count(coco_writer_t *w);
static void coco_writer_observe_lag(coco_writer_t *w,
    const coco_items_t *heartbeats);
static bool coco_writer_wait(coco_writer_t *w, size_t count);


coco_writer_t *
coco_writer_create(const coco_lane_options_t *options, coco_stop_t *stop)
{
    size_t          n = options->batch_messages;
    coco_writer_t  *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return NULL;
    }

    w->options = options;
    w->parts = coco_writer_parts(options);
    w->stop = stop;
    w->max = n;

    for (w->seen_size = 64; w->seen_size < 2 * n; w->seen_size *= 2) {
        /* void */
    }

    w->items = calloc(n, sizeof(*w->items));
    w->seen = calloc(w->seen_size, sizeof(*w->seen));
    w->groups = calloc(n, sizeof(*w->groups));
    w->changes = calloc(n, sizeof(*w->changes));
    w->links = calloc(n, sizeof(*w->links));

    w->pg = coco_pg_create(options->postgres, coco_batch_statements,
                           COCO_STATEMENTS, stop, options->metrics_lane);
    w->redis = coco_redis_create(options->redis_host, options->redis_port,
                                 options->redis_password, options->redis_db,
                                 options->metrics_lane);

    if (options->bus != NULL) {
        w->bus = coco_bus_create(options->bus, stop);
    }

    if (coco_writer_lists(w) != COCO_OK || w->items == NULL || w->seen == NULL
        || w->groups == NULL || w->changes == NULL || w->links == NULL
        || w->pg == NULL || w->redis == NULL
        || (options->bus != NULL && w->bus == NULL))
    {
        coco_writer_destroy(w);
        return NULL;
    }

    return w;
}


/* Whose parts of a robot's own heartbeat are done with the state service's. */
static unsigned
coco_writer_parts(const coco_lane_options_t *options)
{
    unsigned  parts = 0;

    if (options->services & COCO_SERVICE_STATE) {
        parts |= COCO_PART_LID;
    }

    if (!options->direct) {
        return parts;
    }

    if (options->services & COCO_SERVICE_OPERATIONS) {
        parts |= COCO_PART_OPERATIONS;
    }

    if (options->services & COCO_SERVICE_FLEET) {
        parts |= options->fleet_from_kafka ? COCO_PART_BUSINESS
                                           : COCO_PARTS_FLEET;
    }

    if (options->services & COCO_SERVICE_DELIVERIES) {
        parts |= COCO_PART_DELIVERIES;
    }

    if (options->services & COCO_SERVICE_DISPATCH) {
        parts |= COCO_PART_DISPATCH;
    }

    return parts;
}


/* All of them in one piece of memory, which the first one holds. */
static int
coco_writer_lists(coco_writer_t *w)
{
    coco_items_t  *lists[COCO_ITEM_KINDS + 5];
    coco_item_t  **v;
    size_t         count = sizeof(lists) / sizeof(*lists);

    for (int kind = 0; kind < COCO_ITEM_KINDS; kind++) {
        lists[kind] = &w->kinds[kind];
    }

    lists[COCO_ITEM_KINDS] = &w->refused;
    lists[COCO_ITEM_KINDS + 1] = &w->replays;
    lists[COCO_ITEM_KINDS + 2] = &w->inbox;
    lists[COCO_ITEM_KINDS + 3] = &w->mapped;
    lists[COCO_ITEM_KINDS + 4] = &w->due;

    v = calloc(count * w->max, sizeof(*v));
    if (v == NULL) {
        return COCO_ERROR;
    }

    for (size_t i = 0; i < count; i++) {
        lists[i]->v = v + i * w->max;
    }

    return COCO_OK;
}


void
coco_writer_destroy(coco_writer_t *w)
{
    if (w == NULL) {
        return;
    }

    if (w->bus != NULL) {
        coco_bus_destroy(w->bus);
    }

    coco_pg_destroy(w->pg);
    coco_redis_destroy(w->redis);
    coco_arena_free(&w->arena);
    free(w->items);
    free(w->seen);
    free(w->kinds[0].v);
    free(w->groups);
    free(w->changes);
    free(w->links);
    free(w);
}


int
coco_writer_commit(coco_writer_t *w, const coco_batch_t *b)
{
    int  rc;

    while (coco_batch_decode(w, b) != COCO_OK) {
        coco_arena_reset(&w->arena);

        if (coco_writer_wait(w, b->count)) {
            return COCO_ERROR;
        }
    }

    coco_backoff_reset(&w->backoff);
    rc = coco_writer_part(w, w->items, b->count);
    coco_arena_reset(&w->arena);

    if (rc == COCO_OK) {
        coco_metrics_add(COCO_M_BATCHES, w->options->metrics_lane, 1);
        coco_metrics_observe(COCO_H_BATCH_SIZE, w->options->metrics_lane,
                             (double) b->count);
        coco_metrics_observe(COCO_H_BATCH_SECONDS, w->options->metrics_lane,
                             (coco_clock_monotonic_us() - b->first_at) / 1e6);
    }

    return rc;
}


int64_t
coco_writer_due(const coco_writer_t *w)
{
    return coco_redis_due(w->redis);
}


void
coco_writer_settle(coco_writer_t *w)
{
    if (coco_clock_monotonic_us() >= coco_redis_due(w->redis)) {
        coco_redis_open(w->redis);
    }
}


/* Halves what Postgres refuses, until the message at fault is alone. */
static int
coco_writer_part(coco_writer_t *w, coco_item_t *items, size_t count)
{
    bool  made = false;

    for ( ;; ) {
        switch (coco_writer_try(w, items, count)) {

        case COCO_TURN_DONE:
            coco_backoff_reset(&w->backoff);
            coco_writer_count(w);
            coco_batch_redis(w);
            coco_redis_told(w->redis);
            return coco_batch_publish(w);

        case COCO_TURN_DATA:
            if (count > 1) {
                if (coco_writer_part(w, items, count / 2) != COCO_OK) {
                    return COCO_ERROR;
                }

                items += count / 2;
                count -= count / 2;
                continue;
            }

            if (coco_writer_set_aside(w, items) == COCO_OK) {
                continue;
            }
            break;

        case COCO_TURN_PARTITION:
            /* a second time in a row it has not helped */
            made = !made && coco_writer_partitions(w) == COCO_TURN_DONE;
            if (made) {
                continue;
            }
            break;

        default:
            break;
        }

        if (coco_writer_wait(w, count)) {
            return COCO_ERROR;
        }
    }
}


/* A transaction that fails leaves nothing in the arena: it may have to be tried
 * for hours. */
static coco_turn_e
coco_writer_try(coco_writer_t *w, coco_item_t *items, size_t count)
{
    coco_turn_e        rc;
    coco_arena_mark_t  mark = coco_arena_mark(&w->arena);

    rc = coco_writer_transaction(w, items, count);

    if (rc != COCO_TURN_DONE) {
        coco_arena_rewind(&w->arena, mark);

        for (size_t i = 0; i < count; i++) {
            items[i].details.data = NULL;
        }
    }

    return rc;
}


/* True once the stop is set. */
static bool
coco_writer_wait(coco_writer_t *w, size_t count)
{
    unsigned                ms;
    const coco_pg_error_t  *e;

    e = coco_pg_error(w->pg);
    ms = coco_backoff_next(&w->backoff);

    coco_metrics_add(COCO_M_BATCH_RETRIES, w->options->metrics_lane, 1);
    coco_log(COCO_LOG_WARN, "batch_retry", "lane", "%s", w->options->name,
             "messages", "%zu", count, "sqlstate", "%s", e->sqlstate,
             "error", "%s", e->message, "wait_ms", "%u", ms, NULL);

    return coco_stop_wait(w->stop, ms);
}


static coco_turn_e
coco_writer_transaction(coco_writer_t *w, coco_item_t *items, size_t count)
{
    coco_turn_e  rc = COCO_TURN_RETRY;

    if (coco_pg_open(w->pg) != COCO_OK) {
        return COCO_TURN_RETRY;
    }

    /* the days that are late follow the clock, not the process's start; one
     * day of margin keeps clear of the partition that is being dropped */
    w->cutoff = coco_clock_ms() - w->options->retention_days * COCO_DAY_MS;
    w->cutoff = w->cutoff / COCO_DAY_MS * COCO_DAY_MS + COCO_DAY_MS;

    for (int i = 0; i < COCO_ORDER_TURNS_MAX; i++) {
        coco_batch_collect(w, items, count);
        rc = coco_writer_turn(w);

        if (rc != COCO_TURN_AGAIN) {
            return rc;
        }

        coco_pg_rollback(w->pg);
    }

    return COCO_TURN_RETRY;
}


/*
 * Tables in the order in which everybody locks them: robot_state, mappings
 * (shared), the history, lid_robot, the events of lids, cycles, commands,
 * deliveries, robot_operation and its history, driveu_status, fleet_robot,
 * resource, robot_shadow, anomalies, robot_task, webhook_inbox, outbox,
 * dead_letter. Partners' orders, whose lane has nothing of robots, change
 * deliveries, fleet_robot and resource in one go.
 */
static coco_turn_e
coco_writer_turn(coco_writer_t *w)
{
    coco_turn_e  rc;

    w->inserted = 0;
    w->inserted_events = 0;
    w->inserted_webhooks = 0;
    w->mapped.count = 0;
    w->link_count = 0;

    if (w->heartbeats.count > 0) {
        rc = coco_writer_lock(w);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }

    } else {
        rc = coco_writer_begin(w);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }
    }

    if (w->webhooks.count > 0) {
        rc = coco_connectivity_map(w);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }
    }

    coco_batch_apply_state(w);

    if (w->heartbeats.count > 0) {
        rc = coco_writer_history(w);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }
    }

    rc = coco_lid_turn(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    rc = coco_deliveries_turn(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    rc = coco_writer_operations(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    coco_batch_apply_fleet(w);

    return coco_supply_apply(w) == COCO_OK ? coco_writer_finish(w)
                                           : coco_writer_no_memory(w);
}


/* What locks no robot_state: copies are watched by a round of their own. */
static coco_turn_e
coco_writer_begin(coco_writer_t *w)
{
    int          watch;
    coco_turn_e  rc;

    coco_pg_rows(w->pg, COCO_S_BEGIN);
    coco_pg_send(w->pg);

    watch = coco_rows_watch(w);
    if (watch < 0) {
        return COCO_TURN_DONE;
    }

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    return coco_watch_read(w, coco_pg_result(w->pg, watch)) == COCO_OK
           ? COCO_TURN_DONE : coco_writer_no_memory(w);
}


/*
 * Locks robot_state. Rows that are missing are inserted first and then locked
 * with the others, in a transaction that held no lock before: two writers
 * that meet the same new robot wait for each other in the order of the keys.
 */
static coco_turn_e
coco_writer_lock(coco_writer_t *w)
{
    int          slot, driveu, watch;
    coco_turn_e  rc;

    for (size_t i = 0; i < w->group_count; i++) {
        w->groups[i].missing = w->groups[i].heartbeats.count > 0;
    }

    for (int seed = 0; seed < 2; seed++) {
        coco_pg_rows(w->pg, COCO_S_BEGIN);
        coco_pg_send(w->pg);
        slot = coco_rows_state_lock(w, seed);
        driveu = coco_rows_driveu(w);
        watch = coco_rows_watch(w);

        rc = (coco_turn_e) coco_pg_sync(w->pg);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }

        if (coco_writer_locked(w, coco_pg_result(w->pg, slot))) {
            rc = coco_connectivity_enrich(w, coco_pg_result(w->pg, driveu))
                 == COCO_OK && coco_batch_details(w) == COCO_OK
                 && (watch < 0
                     || coco_watch_read(w, coco_pg_result(w->pg, watch))
                        == COCO_OK)
                 ? COCO_TURN_DONE : coco_writer_no_memory(w);
            return rc;
        }

        coco_pg_rollback(w->pg);
    }

    return COCO_TURN_RETRY;
}


/* True when every robot has its row. */
static bool
coco_writer_locked(coco_writer_t *w, const PGresult *res)
{
    size_t         at = 0;
    coco_group_t  *g;

    for (int row = 0; row < PQntuples(res); row++) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));
        if (g == NULL) {
            break;
        }

        coco_pg_get_uuid(&g->state.order.id, res, row, 1);
        g->state.state = coco_state_parse(coco_pg_get(res, row, 2));
        g->state.order.order_ms = coco_pg_get_time(res, row, 3);
        g->state.order.ts = coco_pg_get_time(res, row, 4);
        g->state.heard = g->state.order.order_ms != COCO_PG_NEVER;
        g->missing = false;
    }

    for (size_t i = 0; i < w->group_count; i++) {
        if (w->groups[i].missing) {
            return false;
        }
    }

    return true;
}


/* The transaction goes with its connection. */
static coco_turn_e
coco_writer_no_memory(coco_writer_t *w)
{
    coco_pg_close(w->pg);

    return COCO_TURN_RETRY;
}


static coco_turn_e
coco_writer_history(coco_writer_t *w)
{
    int          history, late;
    coco_turn_e  rc;

    history = coco_rows_history(w);
    late = coco_rows_history_late(w);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (history >= 0) {
        w->inserted += (uint64_t) coco_pg_get_int64(
                                  coco_pg_result(w->pg, history), 0, 0);
    }

    if (late >= 0) {
        w->inserted += coco_pg_affected(w->pg, late);
    }

    return w->inserted < w->heartbeats.count ? coco_writer_stored(w)
                                            : COCO_TURN_DONE;
}


/*
 * Some are repeats: they keep the place that their first receipt gave them,
 * or a repeat of a robot whose clock runs ahead would look newer.
 */
static coco_turn_e
coco_writer_stored(coco_writer_t *w)
{
    int           slot;
    bool          moved = false;
    int64_t       received_at;
    PGresult     *res;
    coco_turn_e   rc;
    coco_item_t  *item;

    slot = coco_rows_history_stored(w);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    res = coco_pg_result(w->pg, slot);

    for (int row = 0; row < PQntuples(res); row++) {
        item = w->heartbeats.v[coco_pg_get_int64(res, row, 0) - 1];
        received_at = coco_pg_get_time(res, row, 1);

        if (received_at == item->heartbeat.received_at) {
            continue;
        }

        item->heartbeat.received_at = received_at;
        moved |= item->order.order_ms
                 != coco_heartbeat_order(&item->heartbeat).order_ms;
        item->order = coco_heartbeat_order(&item->heartbeat);
    }

    return moved ? COCO_TURN_AGAIN : COCO_TURN_DONE;
}


static coco_turn_e
coco_writer_operations(coco_writer_t *w)
{
    int          slot;
    bool         any = false;
    coco_turn_e  rc;

    for (size_t i = 0; i < w->change_count; i++) {
        any |= w->changes[i].group->operates;
    }

    if (!any) {
        return COCO_TURN_DONE;
    }

    slot = coco_rows_operation_lock(w);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (coco_writer_operations_read(w, coco_pg_result(w->pg, slot))
        != COCO_OK)
    {
        return coco_writer_no_memory(w);
    }

    coco_batch_apply_operations(w);

    return COCO_TURN_DONE;
}


/* COCO_ERROR: no memory. */
static int
coco_writer_operations_read(coco_writer_t *w, const PGresult *res)
{
    size_t                    at = 0;
    coco_group_t             *g;
    coco_business_t          *b;
    coco_operation_record_t  *o;

    for (int row = 0; row < PQntuples(res); row++) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));
        if (g == NULL) {
            break;
        }

        o = &g->operation;
        b = &o->business;
        b->operation_state = coco_state_parse(coco_pg_get(res, row, 1));
        b->needs_movement = coco_pg_get_bool(res, row, 2);
        b->undergoing_maintenance = coco_pg_get_bool(res, row, 3);
        b->needs_maintenance = coco_pg_get_bool(res, row, 4);
        b->needs_pickup = coco_pg_get_bool(res, row, 5);
        b->has_food = coco_pg_get_bool(res, row, 6);
        b->driveable = coco_pg_get_bool(res, row, 7);

        o->changed_at = coco_pg_get_time(res, row, 9);
        o->exists = o->changed_at != COCO_PG_NEVER;
        coco_pg_get_uuid(&o->order.id, res, row, 10);
        o->order.order_ms = coco_pg_get_time(res, row, 11);
        o->order.ts = coco_pg_get_time(res, row, 12);
        o->heard = o->order.order_ms != COCO_PG_NEVER;

        /* the result goes with the next round */
        if (coco_arena_copy(&w->arena, &b->deployed,
                            coco_pg_get(res, row, 8)) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static coco_turn_e
coco_writer_finish(coco_writer_t *w)
{
    int          webhooks, states, orders;
    coco_turn_e  rc;

    if (coco_orders_write(w) != COCO_OK) {
        return coco_writer_no_memory(w);
    }

    coco_lid_write(w);
    coco_rows_operation_write(w);
    coco_rows_state_write(w);
    coco_connectivity_write(w);
    coco_rows_fleet(w);

    /* delivery_apply() writes events, too: the lids' are the cause of them */
    if (coco_lid_outbox(w) != COCO_OK) {
        return coco_writer_no_memory(w);
    }

    coco_deliveries_fleet(w);
    coco_supply_lock(w);
    coco_deliveries_write(w);
    coco_supply_write(w);

    if (coco_lid_tasks(w) != COCO_OK || coco_watch_write(w) != COCO_OK) {
        return coco_writer_no_memory(w);
    }

    coco_connectivity_inbox(w);

    if (coco_rows_outbox(w) != COCO_OK
        || coco_supply_write_business(w) != COCO_OK
        || coco_connectivity_outbox(w, &webhooks) != COCO_OK)
    {
        return coco_writer_no_memory(w);
    }

    coco_rows_dead_letters(w);
    states = coco_rows_operation_states(w);
    orders = coco_rows_state_orders(w);
    coco_pg_rows(w->pg, COCO_S_COMMIT);
    coco_redis_expect(w->redis);
    coco_pg_send(w->pg);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (webhooks >= 0) {
        w->inserted_webhooks = coco_pg_affected(w->pg, webhooks);
    }

    coco_writer_newest(w, states, orders);
    coco_supply_read(w);
    coco_orders_read(w);

    return COCO_TURN_DONE;
}


/* What Redis is to be told; slots -1: nothing was asked. */
static void
coco_writer_newest(coco_writer_t *w, int states, int orders)
{
    size_t         at = 0;
    PGresult      *res;
    coco_group_t  *g;
    coco_order_t   stored;

    res = states >= 0 ? coco_pg_result(w->pg, states) : NULL;

    for (int row = 0; res != NULL && row < PQntuples(res); row++) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));
        if (g == NULL) {
            break;
        }

        g->operation_state = coco_state_parse(coco_pg_get(res, row, 1));
    }

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        if (g->newest == NULL) {
            g->newest = coco_group_copy(g);
        }
    }

    res = orders >= 0 ? coco_pg_result(w->pg, orders) : NULL;
    at = 0;

    for (int row = 0; res != NULL && row < PQntuples(res); row++) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));
        if (g == NULL) {
            break;
        }

        coco_pg_get_uuid(&stored.id, res, row, 1);
        stored.order_ms = coco_pg_get_time(res, row, 2);
        stored.ts = coco_pg_get_time(res, row, 3);

        if (g->newest != NULL
            && coco_order_compare(&g->newest->order, &stored) < 0)
        {
            g->newest = NULL;
        }
    }
}


/* A transaction of its own: other writers wait while a table is made. */
static coco_turn_e
coco_writer_partitions(coco_writer_t *w)
{
    if (coco_pg_open(w->pg) != COCO_OK || !coco_rows_partitions(w)) {
        return COCO_TURN_RETRY;
    }

    return (coco_turn_e) coco_pg_sync(w->pg);
}


/*
 * The one message that Postgres refuses. What the fleet or the dispatch service
 * refuses is only left out of its part; a state or operations service that
 * refuses takes the whole message with it, for its events could not be made
 * again later.
 */
static int
coco_writer_set_aside(coco_writer_t *w, coco_item_t *item)
{
    unsigned                parts = 0;
    const char             *service;
    coco_error_t            err;
    const coco_pg_error_t  *e;

    e = coco_pg_error(w->pg);
    service = e->statement < 0 ? "state"
                               : coco_batch_statements[e->statement].service;

    if (strcmp(service, "fleet") == 0) {
        parts = COCO_PARTS_FLEET;

    } else if (strcmp(service, "dispatch") == 0) {
        parts = COCO_PART_DISPATCH;
    }

    if (!item->accepted || (parts != 0 && !(item->parts & parts))) {
        return COCO_ERROR;
    }

    if (parts != 0) {
        item->parts &= ~parts;

    } else {
        item->accepted = false;
    }

    snprintf(err.field, sizeof(err.field), "%s", "");
    snprintf(err.reason, sizeof(err.reason), "%s", e->message);

    coco_log(COCO_LOG_WARN, "message_set_aside", "service", "%s", service,
             "sqlstate", "%s", e->sqlstate, "error", "%s", e->message, NULL);

    return coco_batch_refuse(w, item, service, &err);
}


static void
coco_writer_count(coco_writer_t *w)
{
    int       lane = w->options->metrics_lane;
    uint64_t  older = 0, repeated, unknown = 0, events;

    for (size_t i = 0; i < w->heartbeats.count; i++) {
        older += !w->heartbeats.v[i]->newer;
    }

    for (size_t i = 0; i < w->events.count; i++) {
        unknown += w->events.v[i]->event.type == COCO_EVENT_OTHER;
    }

    /* tasks, and what came by the bus, leave no row that would tell a repeat */
    events = w->copies.count + w->state_changes.count
             + w->business_changes.count + w->tasks.count
             + w->bus_closes.count + w->bus_moves.count + w->orders.count;

    /* a repeat is older than what is stored, too, but it is not stale */
    repeated = w->heartbeats.count - w->inserted;
    older = older > repeated ? older - repeated : 0;

    coco_metrics_add(COCO_M_COMMITTED, lane,
                     w->inserted + w->inserted_events + w->inserted_webhooks
                     + events);
    coco_metrics_add(COCO_M_DUPLICATES, lane,
                     repeated + w->events.count - w->inserted_events
                     + w->mapped.count - w->inserted_webhooks
                     + w->joined_count);
    coco_metrics_add(COCO_M_STALE, lane, older);
    coco_metrics_add(COCO_M_DEAD_LETTERS, lane, w->refused.count);
    coco_metrics_add(COCO_M_UNKNOWN_EVENTS, lane, unknown);

    coco_deliveries_count(w);
    coco_orders_count(w);
    coco_writer_observe_lag(w, &w->heartbeats);
    coco_writer_observe_lag(w, &w->copies);
}


static void
coco_writer_observe_lag(coco_writer_t *w, const coco_items_t *heartbeats)
{
    int64_t  now = coco_clock_ms();

    for (size_t i = 0; i < heartbeats->count; i++) {
        coco_metrics_observe(COCO_H_LAG_SECONDS, w->options->metrics_lane,
                             (now - heartbeats->v[i]->heartbeat.ts) / 1000.0);
    }
}
