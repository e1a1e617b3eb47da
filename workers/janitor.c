/*
 * The janitor's thread: partitions and old rows by the hour, the sweep of the
 * supply and replays by the second, and a look at what waits where nobody may
 * take it. Must never write what a message says: replays go through a lane.
 */

#include <stdlib.h>

#include "coco_order.h"
#include "janitor.h"
#include "janitor_letter.h"
#include "log.h"
#include "metrics.h"
#include "services/service.h"
#include "sinks/postgres.h"

#define COCO_JANITOR_TICK_MS   1000
#define COCO_JANITOR_ROUND_MS  (3600 * 1000)
#define COCO_JANITOR_RETRY_MS  (60 * 1000)
#define COCO_JANITOR_PIECE     10000     /* rows of one delete */
#define COCO_JANITOR_SWEPT     1000      /* rows of one sweep */
#define COCO_JANITOR_REPLAYS   100       /* offered in a tick, at most */
#define COCO_JANITOR_OFFER_MS  30000     /* until it is offered once more */
#define COCO_JANITOR_AHEAD     7         /* days of partitions */
#define COCO_JANITOR_LOOK_MS   5000      /* between looks at what waits */
#define COCO_JANITOR_BUS       256       /* beside COCO_SERVICE_… */

typedef enum {
    COCO_J_PARTITIONS = 0, COCO_J_OUTBOX, COCO_J_OUTBOX_RELAYED,
    COCO_J_LETTERS, COCO_J_LETTERS_MAX, COCO_J_WEBHOOKS, COCO_J_KEYS,
    COCO_J_COMMANDS, COCO_J_ANOMALIES, COCO_J_PUSHES, COCO_J_QUOTES,
    COCO_J_SWEEP, COCO_J_REPLAYS, COCO_J_FACTS_WAIT, COCO_J_PUSHES_WAIT,
    COCO_J_STATEMENTS
} coco_janitor_statement_e;

struct coco_janitor_s {
    coco_janitor_options_t   options;
    coco_pg_t               *pg;
    coco_stop_t              stop;
    pthread_t                thread;
    bool                     started;
    int64_t                  round_at;   /* monotonic ms, of the next round */
    int64_t                  look_at;    /* monotonic ms, of the next look */

    /* Offered, and not yet seen to be done: not to be offered again at every
     * tick while the lane is at it. Asked for once more, it is another. */
    coco_id_t                offered[COCO_JANITOR_REPLAYS];
    int64_t                  asked_at[COCO_JANITOR_REPLAYS];    /* ms */
    int64_t                  offered_at[COCO_JANITOR_REPLAYS];  /* ms */
    unsigned                 next;
};

static void *coco_janitor_thread(void *arg);
static void coco_janitor_round(coco_janitor_t *j);
static int coco_janitor_delete(coco_janitor_t *j, int statement,
    unsigned bound);
static int coco_janitor_failed(const coco_janitor_t *j, int statement);
static int coco_janitor_run(coco_janitor_t *j, int statement, unsigned a,
    unsigned b, uint64_t *ret_rows);
static int coco_janitor_quotes(coco_janitor_t *j);
static int coco_janitor_sweep(coco_janitor_t *j);
static int coco_janitor_call(coco_janitor_t *j, int statement,
    int64_t *ret_rows);
static void coco_janitor_replays(coco_janitor_t *j);
static bool coco_janitor_offer(coco_janitor_t *j, const PGresult *res,
    int row);
static bool coco_janitor_offered(coco_janitor_t *j, const coco_id_t *id,
    int64_t asked_at);
static void coco_janitor_look(coco_janitor_t *j);

/* One janitor at a time, whatever the number of workers: who does not get the
 * lock leaves the round to the one that has it. */
static const coco_pg_statement_t  coco_janitor_statements[] = {

[COCO_J_PARTITIONS] = {
    "select coco.state_history_partition_maintain(($1::int4[])[1],"
    " make_interval(days => ($2::int4[])[1]))"
    " where pg_try_advisory_xact_lock(hashtext('coco.janitor'))",
    "ii", "janitor" },

[COCO_J_OUTBOX] = {
    "delete from coco.outbox where seq = any (array("
    " select seq from coco.outbox"
    "  where created_at < now() - make_interval(hours => ($1::int4[])[1])"
    "  order by seq limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_OUTBOX_RELAYED] = {
    "delete from coco.outbox where seq = any (array("
    " select seq from coco.outbox"
    "  where created_at < now() - make_interval(hours => ($1::int4[])[1])"
    "   and relayed_at is not null"
    "  order by seq limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_LETTERS] = {
    "delete from coco.dead_letter where id = any (array("
    " select id from coco.dead_letter where replay_outcome is not null"
    "  and received_at < now() - make_interval(days => ($1::int4[])[1])"
    "  limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_LETTERS_MAX] = {
    "delete from coco.dead_letter where id = any (array("
    " select id from coco.dead_letter order by received_at desc, id desc"
    "  offset ($1::int4[])[1] limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_WEBHOOKS] = {
    "delete from coco.webhook_inbox where id = any (array("
    " select id from coco.webhook_inbox"
    "  where done_at < now() - make_interval(days => ($1::int4[])[1])"
    "  limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_KEYS] = {
    "delete from coco.idempotency_key where ctid = any (array("
    " select ctid from coco.idempotency_key"
    "  where created_at < now() - make_interval(hours => ($1::int4[])[1])"
    "  limit ($2::int4[])[1]))",
    "ii", "janitor" },

[COCO_J_COMMANDS] = {
    "delete from coco.robot_command where id = any (array("
    " select id from coco.robot_command"
    "  where issued_at < now() - make_interval(days => ($1::int4[])[1])"
    "   and (outcome is not null or expires_at < now())"
    "  order by issued_at limit ($2::int4[])[1]))",
    "ii", "janitor" },

/* Not by ts: a robot's clock may be years behind. */
[COCO_J_ANOMALIES] = {
    "delete from coco.anomaly where id = any (array("
    " select id from coco.anomaly"
    "  where created_at < now() - make_interval(days => ($1::int4[])[1])"
    "  limit ($2::int4[])[1]))",
    "ii", "janitor" },

/* The history of a delivery that waits is whole. */
[COCO_J_PUSHES] = {
    "delete from coco.partner_push where id = any (array("
    " select p.id from coco.partner_push p"
    "  where p.done_at < now() - make_interval(days => ($1::int4[])[1])"
    "   and not exists (select from coco.partner_push w"
    "    where w.delivery_id = p.delivery_id and w.kind = 'STATUS'"
    "     and w.state = 'PENDING')"
    "  limit ($2::int4[])[1]))",
    "ii", "janitor" },

/* Both say how many rows that were; who finds another at the sweep leaves it to
 * that one. */
[COCO_J_QUOTES] = { "select coco.quote_clean()::int8", "", "janitor" },

[COCO_J_SWEEP] = {
    "select coco.supply_sweep(($1::int4[])[1])::int8", "i", "janitor" },

/* 256: a bus lane; below, COCO_SERVICE_… What the decoder has refused of the
 * bus is any consumer's. Letters of other sources are not ours to touch. */
[COCO_J_REPLAYS] = {
    "select id, topic, payload, received_at, replayed_at, source, cause_id,"
    " cause_ts"
    " from coco.dead_letter"
    " where replayed_at is not null and replay_outcome is null"
    "  and case when source in ('mqtt', 'sqs') or topic = 'webhook/driveu'"
    "   then ($1::int4[])[1] & 1 <> 0"
    "   when topic in ('webhook/uber', 'webhook/doordash')"
    "   then ($1::int4[])[1] & 32 <> 0"
    "   when source = 'task' then ($1::int4[])[1]"
    "    & case when topic like 'ARRIVAL/%' then 8 else 1 end <> 0"
    "   when source in ('rabbitmq', 'kafka', 'bus')"
    "   then ($1::int4[])[1] & 256 <> 0 and ($1::int4[])[1]"
    "    & case service when 'operations' then 2 when 'fleet' then 4"
    "     when 'deliveries' then 8 when 'dispatch' then 16 else 30 end <> 0"
    "   else false end"
    " order by replayed_at, id limit 100",
    "i", "janitor" },

/* Both say how many wait, and for how many seconds the first. Facts by their
 * numbers, which are taken in order: a day of them is not counted. */
[COCO_J_FACTS_WAIT] = {
    "select coalesce(l.seq - f.seq + 1, 0), coalesce(greatest(0,"
    "  extract(epoch from clock_timestamp() - f.ts)), 0)::int8"
    " from (select) one"
    " left join lateral (select seq, ts from coco.mds_fact"
    "  order by seq limit 1) f on true"
    " left join lateral (select seq from coco.mds_fact"
    "  order by seq desc limit 1) l on true",
    "", "janitor" },

/* Of 10,000 at most, in no order: nothing is sorted. */
[COCO_J_PUSHES_WAIT] = {
    "select count(*), coalesce(greatest(0,"
    "  extract(epoch from clock_timestamp() - min(created_at))), 0)::int8"
    " from (select created_at from coco.partner_push"
    "  where provider = ($1::text[])[1] and state = 'PENDING'"
    "   and due_at is not null limit 10000) waiting",
    "t", "janitor" },
};


coco_janitor_t *
coco_janitor_create(const coco_janitor_options_t *options)
{
    coco_janitor_t  *j;

    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return NULL;
    }

    if (coco_stop_init(&j->stop) != COCO_OK) {
        free(j);
        return NULL;
    }

    j->options = *options;
    j->pg = coco_pg_create(options->postgres, coco_janitor_statements,
                           COCO_J_STATEMENTS, &j->stop, -1);
    if (j->pg == NULL) {
        coco_janitor_destroy(j);
        return NULL;
    }

    return j;
}


void
coco_janitor_destroy(coco_janitor_t *j)
{
    if (j == NULL) {
        return;
    }

    coco_janitor_stop(j);
    coco_pg_destroy(j->pg);
    coco_stop_free(&j->stop);
    free(j);
}


int
coco_janitor_start(coco_janitor_t *j)
{
    if (pthread_create(&j->thread, NULL, coco_janitor_thread, j) != 0) {
        return COCO_ERROR;
    }

    j->started = true;

    return COCO_OK;
}


void
coco_janitor_stop(coco_janitor_t *j)
{
    coco_stop_set(&j->stop);

    if (j->started) {
        pthread_join(j->thread, NULL);
        j->started = false;
    }
}


static void *
coco_janitor_thread(void *arg)
{
    unsigned         ms = 0;
    coco_janitor_t  *j = arg;
    coco_backoff_t   backoff = { 0, 0 };

    while (!coco_stop_wait(&j->stop, ms)) {
        if (coco_pg_open(j->pg) != COCO_OK) {
            ms = coco_backoff_next(&backoff);
            continue;
        }

        coco_backoff_reset(&backoff);
        (void) coco_janitor_sweep(j);
        coco_janitor_replays(j);

        if (coco_clock_monotonic_us() / 1000 >= j->round_at) {
            coco_janitor_round(j);
        }

        if (coco_clock_monotonic_us() / 1000 >= j->look_at) {
            coco_janitor_look(j);
        }

        ms = COCO_JANITOR_TICK_MS;
    }

    coco_pg_close(j->pg);

    return NULL;
}


static void
coco_janitor_round(coco_janitor_t *j)
{
    int                            rc;
    const coco_janitor_options_t  *o = &j->options;

    /* each in a transaction of its own: one that fails holds up none */
    rc = coco_janitor_run(j, COCO_J_PARTITIONS, COCO_JANITOR_AHEAD,
                          o->retention_days, NULL);
    rc |= coco_janitor_delete(j, o->outbox_relayed ? COCO_J_OUTBOX_RELAYED
                                                   : COCO_J_OUTBOX,
                              o->outbox_hours);
    rc |= coco_janitor_delete(j, COCO_J_LETTERS, o->dead_letter_days);
    rc |= coco_janitor_delete(j, COCO_J_LETTERS_MAX, o->dead_letter_max);
    rc |= coco_janitor_delete(j, COCO_J_WEBHOOKS, o->webhook_days);
    rc |= coco_janitor_delete(j, COCO_J_KEYS, o->idempotency_hours);
    rc |= coco_janitor_delete(j, COCO_J_COMMANDS, o->command_days);
    rc |= coco_janitor_delete(j, COCO_J_ANOMALIES, o->anomaly_days);
    rc |= coco_janitor_delete(j, COCO_J_PUSHES, o->push_days);
    rc |= coco_janitor_quotes(j);

    j->round_at = coco_clock_monotonic_us() / 1000
                  + (rc == COCO_OK ? COCO_JANITOR_ROUND_MS
                                   : COCO_JANITOR_RETRY_MS);
}


/* A piece at a time: no delete runs into the time-out, nor holds many locks. */
static int
coco_janitor_delete(coco_janitor_t *j, int statement, unsigned bound)
{
    uint64_t  rows;

    do {
        if (coco_janitor_run(j, statement, bound, COCO_JANITOR_PIECE, &rows)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    } while (rows == COCO_JANITOR_PIECE && !atomic_load(&j->stop.set));

    return COCO_OK;
}


static int
coco_janitor_quotes(coco_janitor_t *j)
{
    int64_t  rows;

    if (!(j->options.services & COCO_SERVICE_DISPATCH)) {
        return COCO_OK;
    }

    do {
        if (coco_janitor_call(j, COCO_J_QUOTES, &rows) != COCO_OK) {
            return COCO_ERROR;
        }
    } while (rows == COCO_JANITOR_PIECE && !atomic_load(&j->stop.set));

    return COCO_OK;
}


/* As often as it has changed as many rows as it may at a time. */
static int
coco_janitor_sweep(coco_janitor_t *j)
{
    int64_t  rows;

    if (!(j->options.services & COCO_SERVICE_DISPATCH)) {
        return COCO_OK;
    }

    do {
        if (coco_janitor_call(j, COCO_J_SWEEP, &rows) != COCO_OK) {
            return COCO_ERROR;
        }
    } while (rows >= COCO_JANITOR_SWEPT && !atomic_load(&j->stop.set));

    return COCO_OK;
}


/* A function of the database's that returns rows. */
static int
coco_janitor_call(coco_janitor_t *j, int statement, int64_t *ret_rows)
{
    int  slot;

    if (coco_pg_open(j->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_pg_rows(j->pg, statement);

    if (statement == COCO_J_SWEEP) {
        coco_pg_int(j->pg, (int32_t) j->options.online_ms);
    }

    slot = coco_pg_send(j->pg);

    if (coco_pg_sync(j->pg) != COCO_PG_DONE) {
        return coco_janitor_failed(j, statement);
    }

    *ret_rows = coco_pg_get_int64(coco_pg_result(j->pg, slot), 0, 0);

    return COCO_OK;
}


/* Returns COCO_ERROR. */
static int
coco_janitor_failed(const coco_janitor_t *j, int statement)
{
    coco_log(COCO_LOG_WARN, "janitor_failed", "statement", "%d", statement,
             "error", "%s", coco_pg_error(j->pg)->message, NULL);

    return COCO_ERROR;
}


static int
coco_janitor_run(coco_janitor_t *j, int statement, unsigned a, unsigned b,
    uint64_t *ret_rows)
{
    int  slot;

    if (coco_pg_open(j->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_pg_rows(j->pg, statement);
    coco_pg_int(j->pg, (int32_t) a);
    coco_pg_int(j->pg, (int32_t) b);
    slot = coco_pg_send(j->pg);

    if (coco_pg_sync(j->pg) != COCO_PG_DONE) {
        return coco_janitor_failed(j, statement);
    }

    if (ret_rows != NULL) {
        *ret_rows = coco_pg_affected(j->pg, slot);
    }

    return COCO_OK;
}


/* The rows are the truth: what has no outcome is offered, and again later
 * when it still has none. */
static void
coco_janitor_replays(coco_janitor_t *j)
{
    int        slot;
    PGresult  *res;

    coco_pg_rows(j->pg, COCO_J_REPLAYS);
    coco_pg_int(j->pg, (int32_t) (j->options.services
                                  | (j->options.bus ? COCO_JANITOR_BUS : 0)));
    slot = coco_pg_send(j->pg);

    if (coco_pg_sync(j->pg) != COCO_PG_DONE) {
        (void) coco_janitor_failed(j, COCO_J_REPLAYS);
        return;
    }

    res = coco_pg_result(j->pg, slot);

    for (int row = 0; row < PQntuples(res); row++) {
        if (atomic_load(&j->stop.set) || !coco_janitor_offer(j, res, row)) {
            return;
        }
    }
}


static bool
coco_janitor_offer(coco_janitor_t *j, const PGresult *res, int row)
{
    int              rc;
    char            *buf;
    int64_t          asked_at;
    coco_id_t        id;
    coco_letter_t    letter;
    coco_message_t   m;

    coco_pg_get_uuid(&id, res, row, 0);
    asked_at = coco_pg_get_time(res, row, 4);

    if (coco_janitor_offered(j, &id, asked_at)) {
        return true;
    }

    letter.topic = coco_pg_get(res, row, 1);
    letter.payload = coco_pg_get(res, row, 2);
    letter.received_at = coco_pg_get_time(res, row, 3);
    letter.source = coco_pg_get(res, row, 5);
    letter.cause.known = !PQgetisnull(res, row, 6);
    coco_pg_get_uuid(&letter.cause.id, res, row, 6);
    letter.cause.ts = coco_pg_get_time(res, row, 7);

    buf = malloc(letter.payload.len + 1);
    if (buf == NULL) {
        return false;
    }

    coco_letter_message(&m, &letter, j->options.telemetry_topic, buf);
    m.replay_of = id;
    rc = j->options.replay(j->options.data, &m);
    free(buf);

    if (rc != COCO_OK) {
        return false;
    }

    j->offered[j->next] = id;
    j->asked_at[j->next] = asked_at;
    j->offered_at[j->next] = coco_clock_monotonic_us() / 1000;
    j->next = (j->next + 1) % COCO_JANITOR_REPLAYS;

    return true;
}


static bool
coco_janitor_offered(coco_janitor_t *j, const coco_id_t *id, int64_t asked_at)
{
    int64_t  since;

    since = coco_clock_monotonic_us() / 1000 - COCO_JANITOR_OFFER_MS;

    for (int i = 0; i < COCO_JANITOR_REPLAYS; i++) {
        if (j->offered_at[i] > since && j->asked_at[i] == asked_at
            && memcmp(&j->offered[i], id, sizeof(*id)) == 0)
        {
            return true;
        }
    }

    return false;
}


/* Any worker does, also one without the services that take these. */
static void
coco_janitor_look(coco_janitor_t *j)
{
    int              facts, pushes[COCO_PARTNERS];
    const PGresult  *res;

    j->look_at = coco_clock_monotonic_us() / 1000 + COCO_JANITOR_LOOK_MS;

    if (coco_pg_open(j->pg) != COCO_OK) {
        return;
    }

    coco_pg_rows(j->pg, COCO_J_FACTS_WAIT);
    facts = coco_pg_send(j->pg);

    for (int i = 0; i < COCO_PARTNERS; i++) {
        coco_pg_rows(j->pg, COCO_J_PUSHES_WAIT);
        coco_pg_text(j->pg, coco_partner_name((coco_partner_e) i));
        pushes[i] = coco_pg_send(j->pg);
    }

    if (coco_pg_sync(j->pg) != COCO_PG_DONE) {
        (void) coco_janitor_failed(j, COCO_J_FACTS_WAIT);
        return;
    }

    res = coco_pg_result(j->pg, facts);
    coco_metrics_set(COCO_G_MDS_WAITING, COCO_LANE_EVENTS,
                     coco_pg_get_int64(res, 0, 0));
    coco_metrics_set(COCO_G_MDS_OLDEST, COCO_LANE_EVENTS,
                     coco_pg_get_int64(res, 0, 1));

    for (int i = 0; i < COCO_PARTNERS; i++) {
        res = coco_pg_result(j->pg, pushes[i]);
        coco_metrics_set(COCO_G_PUSH_WAITING, (coco_lane_id_e) i,
                         coco_pg_get_int64(res, 0, 0));
        coco_metrics_set(COCO_G_PUSH_OLDEST, (coco_lane_id_e) i,
                         coco_pg_get_int64(res, 0, 1));
    }
}
