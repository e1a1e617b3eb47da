/*
 * The relay: the outbox to the bus. Must never mark a row that some engine
 * has not confirmed, nor publish a robot's rows in another order than that of
 * their transactions.
 */

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "sinks/bus_topology.h"
#include "sinks/postgres.h"
#include "sinks/relay.h"

#define COCO_RELAY_SHARDS    16     /* of the outbox */
#define COCO_RELAY_CLASS     0x0c0c /* of its advisory locks */
#define COCO_RELAY_ROWS      250    /* of each shard in a round */
#define COCO_RELAY_EVENTS    (COCO_RELAY_SHARDS * COCO_RELAY_ROWS)
#define COCO_RELAY_IDLE_MS   50
#define COCO_RELAY_LOCK_MS   3000   /* between tries for others' shards */
#define COCO_RELAY_GAUGE_MS  10000
#define COCO_RELAY_GAUGE_MAX 10000  /* rows counted in each shard */

enum {
    COCO_R_LOCK = 0,
    COCO_R_READ,
    COCO_R_MARK,
    COCO_R_PENDING,
    COCO_R_STATEMENTS
};

struct coco_relay_s {
    coco_stop_t       stop;
    pthread_t         thread;
    coco_pg_t        *pg;
    coco_bus_t       *bus;
    bool              connected;
    bool              held[COCO_RELAY_SHARDS];
    int               shards;                    /* held */
    int64_t           locked_at;                 /* us; last tried */
    int64_t           counted_at;                /* us */
    coco_bus_event_t  events[COCO_RELAY_EVENTS];
};

static void *coco_relay_thread(void *arg);
static int coco_relay_open(coco_relay_t *r);
static int coco_relay_connect(coco_relay_t *r);
static int coco_relay_locks(coco_relay_t *r);
static int coco_relay_round(coco_relay_t *r, size_t *ret_count);
static PGresult *coco_relay_read(coco_relay_t *r);
static void coco_relay_event(coco_bus_event_t *event, const PGresult *res,
    int row);
static void coco_relay_unknown(const coco_bus_event_t *event);
static int coco_relay_mark(coco_relay_t *r, size_t sent, size_t unknown);
static void coco_relay_count(coco_relay_t *r);
static int coco_relay_sync(coco_relay_t *r, const char *what);


/* Rows of a robot are in one shard, and numbered under its row lock: seq is
 * the order of their transactions. "between" and the shard in the order leave
 * the planner the index of what is unrelayed alone: by the primary key, which
 * it prefers in a backlog, every round would pass all that is relayed. */
static const coco_pg_statement_t  coco_relay_statements[COCO_R_STATEMENTS] = {
    [COCO_R_LOCK] = {
    "select shard::bigint, pg_try_advisory_lock(class, shard)"
    " from unnest($1::int4[], $2::int4[]) as t (class, shard)",
    "ii", "relay" },

    [COCO_R_READ] = {
    "select o.id, o.name, o.serial, o.payload::text, o.created_at,"
    "       o.cause_ts, o.cause_id"
    " from unnest($1::int4[], $2::int4[]) as t (shard, rows),"
    " lateral (select * from coco.outbox u"
    "           where u.shard between t.shard::smallint and t.shard::smallint"
    "            and u.relayed_at is null"
    "           order by u.shard, u.seq limit t.rows) o"
    " order by o.seq",
    "ii", "relay" },

    [COCO_R_MARK] = {
    "update coco.outbox set relayed_at = now() where id = any ($1::uuid[])",
    "u", "relay" },

    [COCO_R_PENDING] = {
    "select count(*) from unnest($1::int4[], $2::int4[]) as t (shard, rows),"
    " lateral (select 1 from coco.outbox u"
    "           where u.shard = t.shard::smallint and u.relayed_at is null"
    "           limit t.rows) o",
    "ii", "relay" },
};


coco_relay_t *
coco_relay_start(const coco_config_t *config, const coco_bus_options_t *bus)
{
    coco_relay_t  *r;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }

    if (coco_stop_init(&r->stop) != COCO_OK) {
        free(r);
        return NULL;
    }

    r->pg = coco_pg_create(config->postgres_conninfo, coco_relay_statements,
                           COCO_R_STATEMENTS, &r->stop, -1);
    r->bus = coco_bus_create(bus, &r->stop);

    if (r->pg == NULL || r->bus == NULL
        || pthread_create(&r->thread, NULL, coco_relay_thread, r) != 0)
    {
        coco_bus_destroy(r->bus);
        coco_pg_destroy(r->pg);
        coco_stop_free(&r->stop);
        free(r);
        return NULL;
    }

    return r;
}


void
coco_relay_stop(coco_relay_t *r)
{
    if (r == NULL) {
        return;
    }

    coco_stop_set(&r->stop);
    pthread_join(r->thread, NULL);

    coco_bus_destroy(r->bus);
    coco_pg_destroy(r->pg);
    coco_stop_free(&r->stop);
    free(r);
}


static void *
coco_relay_thread(void *arg)
{
    size_t           count;
    unsigned         ms = 0;
    coco_relay_t    *r = arg;
    coco_backoff_t   backoff = { 0, 0 };

    while (!coco_stop_wait(&r->stop, ms)) {
        if (coco_relay_open(r) != COCO_OK
            || coco_relay_connect(r) != COCO_OK
            || coco_relay_locks(r) != COCO_OK
            || coco_relay_round(r, &count) != COCO_OK)
        {
            ms = coco_backoff_next(&backoff);
            continue;
        }

        coco_backoff_reset(&backoff);
        coco_relay_count(r);
        ms = count > 0 ? 0 : COCO_RELAY_IDLE_MS;
    }

    coco_pg_close(r->pg);

    return NULL;
}


/* Before there is anything to relay, and after a loss: somebody may want to
 * bind a queue. */
static int
coco_relay_open(coco_relay_t *r)
{
    if (coco_bus_open(r->bus) == COCO_OK) {
        return COCO_OK;
    }

    coco_log(COCO_LOG_WARN, "relay_held_up", "error", "%s",
             coco_bus_error(r->bus), NULL);

    return COCO_ERROR;
}


/* A connection that was lost has lost its locks: another worker may hold them
 * by now. */
static int
coco_relay_connect(coco_relay_t *r)
{
    if (r->connected) {
        return COCO_OK;
    }

    memset(r->held, 0, sizeof(r->held));
    r->shards = 0;
    r->locked_at = 0;

    if (coco_pg_open(r->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    r->connected = true;

    return COCO_OK;
}


static int
coco_relay_locks(coco_relay_t *r)
{
    int        slot, shard;
    int64_t    now = coco_clock_monotonic_us();
    PGresult  *res;

    if (r->shards == COCO_RELAY_SHARDS
        || (r->locked_at != 0
            && now - r->locked_at < COCO_RELAY_LOCK_MS * 1000LL))
    {
        return COCO_OK;
    }

    r->locked_at = now;

    coco_pg_rows(r->pg, COCO_R_LOCK);

    for (shard = 0; shard < COCO_RELAY_SHARDS; shard++) {
        if (!r->held[shard]) {
            coco_pg_int(r->pg, COCO_RELAY_CLASS);
            coco_pg_int(r->pg, shard);
        }
    }

    slot = coco_pg_send(r->pg);

    if (coco_relay_sync(r, "locks") != COCO_OK) {
        return COCO_ERROR;
    }

    res = coco_pg_result(r->pg, slot);

    for (int row = 0; row < PQntuples(res); row++) {
        if (coco_pg_get_bool(res, row, 1) == 1) {
            shard = (int) coco_pg_get_int64(res, row, 0);
            r->held[shard] = true;
            r->shards++;
        }
    }

    return COCO_OK;
}


/* Reads what is not relayed, publishes it, and marks what was confirmed. */
static int
coco_relay_round(coco_relay_t *r, size_t *ret_count)
{
    size_t             count = 0, sent = 0, unknown = 0;
    PGresult          *res;
    coco_bus_event_t   event;

    *ret_count = 0;

    if (r->shards == 0) {
        return COCO_OK;
    }

    res = coco_relay_read(r);
    if (res == NULL) {
        return COCO_ERROR;
    }

    for (int row = 0; row < PQntuples(res); row++) {
        coco_relay_event(&event, res, row);

        if (coco_bus_name_find(event.name) != NULL) {
            r->events[count++] = event;

        } else {
            coco_relay_unknown(&event);
            r->events[COCO_RELAY_EVENTS - ++unknown] = event;
        }
    }

    if (count > 0) {
        sent = coco_bus_send(r->bus, r->events, count);
    }

    if (sent < count && !atomic_load(&r->stop.set)) {
        coco_log(COCO_LOG_WARN, "relay_held_up", "confirmed", "%zu", sent,
                 "of", "%zu", count, "error", "%s", coco_bus_error(r->bus),
                 NULL);
    }

    if (sent + unknown > 0 && coco_relay_mark(r, sent, unknown) != COCO_OK) {
        return COCO_ERROR;
    }

    *ret_count = sent + unknown;

    return sent == count ? COCO_OK : COCO_ERROR;
}


/* NULL: try later. */
static PGresult *
coco_relay_read(coco_relay_t *r)
{
    int  slot;

    coco_pg_rows(r->pg, COCO_R_READ);

    for (int shard = 0; shard < COCO_RELAY_SHARDS; shard++) {
        if (r->held[shard]) {
            coco_pg_int(r->pg, shard);
            coco_pg_int(r->pg, COCO_RELAY_ROWS);
        }
    }

    slot = coco_pg_send(r->pg);

    return coco_relay_sync(r, "read") == COCO_OK ? coco_pg_result(r->pg, slot)
                                                 : NULL;
}


/* The event's strings are the result's, which stands until the next round. */
static void
coco_relay_event(coco_bus_event_t *event, const PGresult *res, int row)
{
    memset(event, 0, sizeof(*event));
    coco_pg_get_uuid(&event->id, res, row, 0);
    event->name = coco_pg_get(res, row, 1);
    event->serial = coco_pg_get(res, row, 2);
    event->payload = coco_pg_get(res, row, 3);
    event->ts = coco_pg_get_time(res, row, 4);
    event->cause.ts = coco_pg_get_time(res, row, 5);
    event->cause.known = event->cause.ts != COCO_PG_NEVER;
    coco_pg_get_uuid(&event->cause.id, res, row, 6);
}


/* No engine has a place for it, however often it is tried: the rows behind it
 * must not wait. */
static void
coco_relay_unknown(const coco_bus_event_t *event)
{
    coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
    coco_log(COCO_LOG_ERROR, "relay_unknown_event", "name", "%.*s",
             (int) event->name.len, event->name.data, "serial", "%.*s",
             (int) event->serial.len, event->serial.data, "remedy", "%s",
             "it is left out: run workers as new as what wrote the outbox",
             NULL);
}


/* The first ones, which were sent, and the last ones, which nobody knows. */
static int
coco_relay_mark(coco_relay_t *r, size_t sent, size_t unknown)
{
    coco_pg_rows(r->pg, COCO_R_MARK);

    for (size_t i = 0; i < COCO_RELAY_EVENTS; i++) {
        if (i < sent || i >= COCO_RELAY_EVENTS - unknown) {
            coco_pg_uuid(r->pg, &r->events[i].id);
        }
    }

    (void) coco_pg_send(r->pg);

    if (coco_relay_sync(r, "mark") != COCO_OK) {
        return COCO_ERROR;
    }

    coco_metrics_add(COCO_M_RELAYED, COCO_LANE_BUS, sent);

    return COCO_OK;
}


/* Each worker counts the shards that it holds: the sum is all of them. */
static void
coco_relay_count(coco_relay_t *r)
{
    int      slot;
    int64_t  now = coco_clock_monotonic_us();

    if (r->shards == 0) {
        /* another worker's to count */
        coco_metrics_set(COCO_G_OUTBOX_PENDING, COCO_LANE_BUS, 0);
        return;
    }

    if (r->counted_at != 0
        && now - r->counted_at < COCO_RELAY_GAUGE_MS * 1000LL)
    {
        return;
    }

    r->counted_at = now;
    coco_pg_rows(r->pg, COCO_R_PENDING);

    for (int shard = 0; shard < COCO_RELAY_SHARDS; shard++) {
        if (r->held[shard]) {
            coco_pg_int(r->pg, shard);
            coco_pg_int(r->pg, COCO_RELAY_GAUGE_MAX);
        }
    }

    slot = coco_pg_send(r->pg);

    if (coco_relay_sync(r, "count") == COCO_OK) {
        coco_metrics_set(COCO_G_OUTBOX_PENDING, COCO_LANE_BUS,
                         coco_pg_get_int64(coco_pg_result(r->pg, slot), 0, 0));
    }
}


/* Whatever failed, the connection is made anew, and with it the locks. */
static int
coco_relay_sync(coco_relay_t *r, const char *what)
{
    if (coco_pg_sync(r->pg) == COCO_PG_DONE) {
        return COCO_OK;
    }

    coco_log(COCO_LOG_WARN, "relay_failed", "step", "%s", what, "error", "%s",
             coco_pg_error(r->pg)->message, NULL);
    coco_pg_close(r->pg);
    r->connected = false;

    return COCO_ERROR;
}
