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

/* COCO_TURN_AGAIN: stored times of receipt changed the order of the batch. */
typedef enum {
    COCO_TURN_DONE = COCO_PG_DONE,
    COCO_TURN_DATA = COCO_PG_DATA,
    COCO_TURN_PARTITION = COCO_PG_PARTITION,
    COCO_TURN_RETRY = COCO_PG_RETRY,
    COCO_TURN_AGAIN
} coco_turn_e;

static int coco_writer_part(coco_writer_t *w, coco_item_t *items,
    size_t count);
static coco_turn_e coco_writer_transaction(coco_writer_t *w,
    coco_item_t *items, size_t count);
static coco_turn_e coco_writer_turn(coco_writer_t *w);
static coco_turn_e coco_writer_lock(coco_writer_t *w);
static coco_turn_e coco_writer_history(coco_writer_t *w);
static coco_turn_e coco_writer_stored(coco_writer_t *w);
static coco_turn_e coco_writer_operations(coco_writer_t *w);
static coco_turn_e coco_writer_finish(coco_writer_t *w);
static coco_turn_e coco_writer_partitions(coco_writer_t *w);
static int coco_writer_set_aside(coco_writer_t *w, coco_item_t *item);
static void coco_writer_count(coco_writer_t *w);
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
    w->stop = stop;
    w->max = n;

    for (w->seen_size = 64; w->seen_size < 2 * n; w->seen_size *= 2) {
        /* void */
    }

    w->items = calloc(n, sizeof(*w->items));
    w->seen = calloc(w->seen_size, sizeof(*w->seen));
    w->heartbeats = calloc(n, sizeof(*w->heartbeats));
    w->events = calloc(n, sizeof(*w->events));
    w->refused = calloc(n, sizeof(*w->refused));
    w->replays = calloc(n, sizeof(*w->replays));
    w->groups = calloc(n, sizeof(*w->groups));
    w->changes = calloc(n, sizeof(*w->changes));

    w->pg = coco_pg_create(options->postgres, coco_batch_statements,
                           COCO_STATEMENTS, stop, options->metrics_lane);
    w->redis = coco_redis_create(options->redis_host, options->redis_port,
                                 options->redis_password, options->redis_db,
                                 options->metrics_lane);

    if (w->items == NULL || w->seen == NULL || w->heartbeats == NULL
        || w->events == NULL || w->refused == NULL || w->replays == NULL
        || w->groups == NULL || w->changes == NULL || w->pg == NULL
        || w->redis == NULL)
    {
        coco_writer_destroy(w);
        return NULL;
    }

    return w;
}


void
coco_writer_destroy(coco_writer_t *w)
{
    if (w == NULL) {
        return;
    }

    coco_pg_destroy(w->pg);
    coco_redis_destroy(w->redis);
    coco_arena_free(&w->arena);
    free(w->items);
    free(w->seen);
    free(w->heartbeats);
    free(w->events);
    free(w->refused);
    free(w->replays);
    free(w->groups);
    free(w->changes);
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
        switch (coco_writer_transaction(w, items, count)) {

        case COCO_TURN_DONE:
            coco_backoff_reset(&w->backoff);
            coco_writer_count(w);
            coco_batch_redis(w);
            return COCO_OK;

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
        if (coco_batch_collect(w, items, count) != COCO_OK) {
            return COCO_TURN_RETRY;
        }

        rc = coco_writer_turn(w);

        if (rc != COCO_TURN_AGAIN) {
            return rc;
        }

        coco_pg_rollback(w->pg);
    }

    return COCO_TURN_RETRY;
}


/* Tables in the order in which everybody locks them: robot_state, the history,
 * robot_operation, the rest. */
static coco_turn_e
coco_writer_turn(coco_writer_t *w)
{
    coco_turn_e  rc;

    w->inserted = 0;
    w->inserted_events = 0;

    if (w->group_count == 0) {
        coco_pg_rows(w->pg, COCO_S_BEGIN);
        coco_pg_send(w->pg);
        return coco_writer_finish(w);
    }

    rc = coco_writer_lock(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    coco_batch_apply_state(w);

    rc = coco_writer_history(w);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (w->change_count > 0) {
        rc = coco_writer_operations(w);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }
    }

    coco_batch_apply_fleet(w);

    return coco_writer_finish(w);
}


static int
coco_group_find(coco_writer_t *w, size_t *at, coco_str_t serial)
{
    /* both are in the order of bytes: one walk finds them all */
    while (*at < w->group_count) {
        if (coco_str_equal(w->groups[*at].serial, serial)) {
            return COCO_OK;
        }
        (*at)++;
    }

    return COCO_ERROR;
}


/*
 * Locks robot_state. Rows that are missing are inserted first and then locked
 * with the others, in a transaction that held no lock before: two writers
 * that meet the same new robot wait for each other in the order of the keys.
 */
static coco_turn_e
coco_writer_lock(coco_writer_t *w)
{
    int            slot;
    size_t         at, found;
    PGresult      *res;
    coco_turn_e    rc;
    coco_group_t  *g;

    for (size_t i = 0; i < w->group_count; i++) {
        w->groups[i].missing = true;
    }

    for (int seed = 0; seed < 2; seed++) {
        coco_pg_rows(w->pg, COCO_S_BEGIN);
        coco_pg_send(w->pg);
        slot = coco_rows_state_lock(w, seed);

        rc = (coco_turn_e) coco_pg_sync(w->pg);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }

        res = coco_pg_result(w->pg, slot);
        at = 0;
        found = 0;

        for (int row = 0; row < PQntuples(res); row++) {
            if (coco_group_find(w, &at, coco_pg_get(res, row, 0)) != COCO_OK) {
                break;
            }

            g = &w->groups[at];
            coco_pg_get_uuid(&g->state.order.id, res, row, 1);
            g->state.state = coco_state_parse(coco_pg_get(res, row, 2));
            g->state.order.order_ms = coco_pg_get_time(res, row, 3);
            g->state.order.ts = coco_pg_get_time(res, row, 4);
            g->state.heard = g->state.order.order_ms != COCO_PG_NEVER;
            g->missing = false;
            found++;
        }

        if (found == w->group_count) {
            return COCO_TURN_DONE;
        }

        coco_pg_rollback(w->pg);
    }

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

    return w->inserted < w->heartbeat_count ? coco_writer_stored(w)
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
        item = w->heartbeats[coco_pg_get_int64(res, row, 0) - 1];
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
    int                       slot;
    size_t                    at = 0;
    PGresult                 *res;
    coco_turn_e               rc;
    coco_business_t          *b;
    coco_operation_record_t  *o;

    slot = coco_rows_operation_lock(w);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    res = coco_pg_result(w->pg, slot);

    for (int row = 0; row < PQntuples(res); row++) {
        if (coco_group_find(w, &at, coco_pg_get(res, row, 0)) != COCO_OK) {
            break;
        }

        o = &w->groups[at].operation;
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
        b->deployed = coco_pg_get(res, row, 8);

        if (b->deployed.data != NULL) {
            char  *copy = coco_arena_alloc(&w->arena, b->deployed.len);

            if (copy == NULL) {
                coco_pg_close(w->pg);
                return COCO_TURN_RETRY;
            }

            b->deployed.data = memcpy(copy, b->deployed.data,
                                      b->deployed.len);
        }
    }

    coco_batch_apply_operations(w);

    return COCO_TURN_DONE;
}


static coco_turn_e
coco_writer_finish(coco_writer_t *w)
{
    int          events, states;
    size_t       at = 0;
    PGresult    *res;
    coco_turn_e  rc;

    coco_rows_operation_write(w);
    coco_rows_state_write(w);
    events = coco_rows_events(w);
    coco_rows_fleet(w);

    if (coco_rows_outbox(w) != COCO_OK) {
        coco_pg_close(w->pg);
        return COCO_TURN_RETRY;
    }

    coco_rows_dead_letters(w);
    states = coco_rows_operation_states(w);
    coco_pg_rows(w->pg, COCO_S_COMMIT);
    coco_pg_send(w->pg);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (events >= 0) {
        w->inserted_events = coco_pg_affected(w->pg, events);
    }

    res = states >= 0 ? coco_pg_result(w->pg, states) : NULL;

    for (int row = 0; res != NULL && row < PQntuples(res); row++) {
        if (coco_group_find(w, &at, coco_pg_get(res, row, 0)) != COCO_OK) {
            break;
        }

        w->groups[at].operation_state =
                                   coco_state_parse(coco_pg_get(res, row, 1));
    }

    return COCO_TURN_DONE;
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
 * The one message that Postgres refuses. What the fleet service refuses is
 * only left out of its part; a state or operations service that refuses takes
 * the whole message with it, for its events could not be made again later.
 */
static int
coco_writer_set_aside(coco_writer_t *w, coco_item_t *item)
{
    const char             *service;
    coco_error_t            err;
    const coco_pg_error_t  *e;

    e = coco_pg_error(w->pg);
    service = e->statement < 0 ? "state"
                               : coco_batch_statements[e->statement].service;

    if (!item->accepted
        || (item->no_fleet && strcmp(service, "fleet") == 0))
    {
        return COCO_ERROR;
    }

    if (strcmp(service, "fleet") == 0) {
        item->no_fleet = true;

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
    int64_t   now = coco_clock_ms();
    uint64_t  older = 0, repeated, unknown = 0;

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        older += !w->heartbeats[i]->newer;
        coco_metrics_observe(COCO_H_LAG_SECONDS, lane,
                           (now - w->heartbeats[i]->heartbeat.ts) / 1000.0);
    }

    for (size_t i = 0; i < w->event_count; i++) {
        unknown += w->events[i]->event.type == COCO_EVENT_OTHER;
    }

    /* a repeat is older than what is stored, too, but it is not stale */
    repeated = w->heartbeat_count - w->inserted;
    older = older > repeated ? older - repeated : 0;

    coco_metrics_add(COCO_M_COMMITTED, lane,
                     w->inserted + w->inserted_events);
    coco_metrics_add(COCO_M_DUPLICATES, lane,
                     repeated + w->event_count - w->inserted_events
                     + w->joined_count);
    coco_metrics_add(COCO_M_STALE, lane, older);
    coco_metrics_add(COCO_M_DEAD_LETTERS, lane, w->refused_count);
    coco_metrics_add(COCO_M_UNKNOWN_EVENTS, lane, unknown);
}
