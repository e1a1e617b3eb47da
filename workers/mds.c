/*
 * The emitter's thread: rounds that take facts and write what is told, each in
 * one transaction, under a lock that goes with the connection which writes. A
 * kill at any instant loses and doubles nothing. Must never call a time
 * complete while a transaction may still write a fact of before it.
 */

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "mds.h"
#include "mds_work.h"
#include "metrics.h"

#define COCO_EMITTER_LOCK_MS   1000     /* between tries for the lock */
#define COCO_EMITTER_IDLE_MS   1000     /* between writes of progress alone */
#define COCO_EMITTER_SLACK_MS  2000     /* of clocks */
#define COCO_EMITTER_STUCK_MS  120000   /* above what a round may take */
#define COCO_EMITTER_SEQ_SIZE  24
#define COCO_EMITTER_HOUR_MS   3600000

struct coco_emitter_s {
    unsigned              poll;             /* ms */
    coco_stop_t           stop;
    pthread_t             thread;
    coco_pg_t            *pg;
    _Atomic int64_t       beat;             /* monotonic ms */
    atomic_bool           emitting;

    /* the thread's: */
    int32_t               limit;            /* facts of the next round */
    int64_t               idle_at;          /* monotonic ms, of the last
                                               look at what is rare */
    char                  refuse_seq[COCO_EMITTER_SEQ_SIZE];
    char                  refuse_reason[160];   /* the database's */
    const char           *gave_up;          /* why; NULL: ask the database */

    /* What was found at the beginning of the round; ms by Postgres' clock. */
    int64_t               now;
    int64_t               up_to;            /* stored; COCO_PG_NEVER: none */
    int64_t               xmin, xmax;

    /* Transactions below mark_xmax had begun to write by mark_at, no other
     * had. Once they have ended, and all that they wrote is taken, facts of
     * before mark_at are complete: that is bound. */
    int64_t               mark_at, mark_xmax;
    int64_t               bound;

    coco_emitter_round_t  round;
};


static void *coco_emitter_thread(void *arg);
static int coco_emitter_lock(coco_emitter_t *e);
static coco_pg_rc_e coco_emitter_round(coco_emitter_t *e, bool *ret_more);
static coco_pg_rc_e coco_emitter_read(coco_emitter_t *e);
static void coco_emitter_bound(coco_emitter_t *e);
static coco_pg_rc_e coco_emitter_vehicles(coco_emitter_t *e);
static coco_pg_rc_e coco_emitter_write(coco_emitter_t *e);
static coco_pg_rc_e coco_emitter_idle(coco_emitter_t *e);
static void coco_emitter_progress_put(coco_emitter_t *e);
static void coco_emitter_failed(coco_emitter_t *e, coco_pg_rc_e rc);
static void coco_emitter_leave(coco_emitter_t *e);
static void coco_emitter_count(const coco_emitter_t *e);
static coco_pg_rc_e coco_emitter_give_up(coco_emitter_t *e,
    const char *reason);
static int64_t coco_emitter_now(void);


coco_emitter_t *
coco_emitter_start(const coco_config_t *config)
{
    coco_emitter_t  *e;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    if (coco_stop_init(&e->stop) != COCO_OK) {
        free(e);
        return NULL;
    }

    e->poll = (unsigned) config->mds_poll;
    e->limit = COCO_EMITTER_FACTS;
    e->bound = COCO_PG_NEVER;
    atomic_init(&e->beat, coco_emitter_now());
    e->pg = coco_pg_create(config->postgres_conninfo, coco_emitter_statements,
                           COCO_E_STATEMENTS, &e->stop, -1);

    if (e->pg == NULL
        || pthread_create(&e->thread, NULL, coco_emitter_thread, e) != 0)
    {
        coco_pg_destroy(e->pg);
        coco_stop_free(&e->stop);
        free(e);
        return NULL;
    }

    return e;
}


void
coco_emitter_stop(coco_emitter_t *e)
{
    coco_stop_set(&e->stop);
    pthread_join(e->thread, NULL);
    coco_pg_destroy(e->pg);
    coco_stop_free(&e->stop);
    coco_arena_free(&e->round.arena);
    free(e->round.told);
    free(e);
}


void
coco_emitter_status(coco_emitter_t *e, coco_emitter_status_t *ret)
{
    ret->alive = coco_emitter_now() - atomic_load(&e->beat)
                 < COCO_EMITTER_STUCK_MS;
    ret->emitting = atomic_load(&e->emitting);
}


static void *
coco_emitter_thread(void *arg)
{
    bool             more;
    unsigned         ms = 0;
    coco_pg_rc_e     rc;
    coco_emitter_t  *e = arg;
    coco_backoff_t   backoff = { 0, 0 };

    while (!coco_stop_wait(&e->stop, ms)) {
        atomic_store(&e->beat, coco_emitter_now());

        if (coco_emitter_lock(e) != COCO_OK) {
            ms = coco_backoff_next(&backoff);
            continue;
        }

        if (!atomic_load(&e->emitting)) {
            ms = COCO_EMITTER_LOCK_MS;
            continue;
        }

        rc = coco_emitter_round(e, &more);

        if (rc == COCO_PG_DONE) {
            coco_backoff_reset(&backoff);
            ms = more ? 0 : e->poll;
            continue;
        }

        coco_emitter_failed(e, rc);
        ms = rc == COCO_PG_DATA ? 0 : coco_backoff_next(&backoff);
    }

    coco_emitter_leave(e);

    return NULL;
}


/* COCO_ERROR: no connection. Another worker may have the lock. */
static int
coco_emitter_lock(coco_emitter_t *e)
{
    int  slot;

    if (atomic_load(&e->emitting)) {
        return COCO_OK;
    }

    if (coco_pg_open(e->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_pg_rows(e->pg, COCO_E_LOCK);
    slot = coco_pg_send(e->pg);

    if (coco_pg_sync(e->pg) != COCO_PG_DONE) {
        coco_log(COCO_LOG_WARN, "mds_failed", "error", "%s",
                 coco_pg_error(e->pg)->message, NULL);
        coco_emitter_leave(e);
        return COCO_ERROR;
    }

    if (coco_pg_get_bool(coco_pg_result(e->pg, slot), 0, 0) == 1) {
        atomic_store(&e->emitting, true);
        coco_log(COCO_LOG_INFO, "mds_emitting", NULL);
    }

    return COCO_OK;
}


/* *ret_more: there may be more than was read. */
static coco_pg_rc_e
coco_emitter_round(coco_emitter_t *e, bool *ret_more)
{
    coco_pg_rc_e           rc;
    coco_emitter_round_t  *r = &e->round;

    rc = coco_emitter_read(e);
    if (rc != COCO_PG_DONE) {
        return rc;
    }

    *ret_more = r->nfacts == (unsigned) e->limit;

    if (!*ret_more) {
        coco_emitter_bound(e);
    }

    if (r->nfacts > 0) {
        coco_emitter_vehicles_find(r);

        rc = coco_emitter_vehicles(e);
        if (rc != COCO_PG_DONE) {
            return rc;
        }

        if (coco_emitter_apply(r) != COCO_OK) {
            return coco_emitter_give_up(e, "no memory, or random numbers");
        }

        rc = coco_emitter_write(e);
        if (rc != COCO_PG_DONE) {
            return rc;
        }

        e->up_to = e->bound > e->up_to ? e->bound : e->up_to;
        coco_emitter_count(e);
    }

    /* what was too much for a round is tried as a whole again, bit by bit */
    e->limit = e->limit > COCO_EMITTER_FACTS / 2 ? COCO_EMITTER_FACTS
                                                 : e->limit * 2;

    return coco_emitter_idle(e);
}


static coco_pg_rc_e
coco_emitter_read(coco_emitter_t *e)
{
    int                    now, facts;
    int64_t                floor;
    PGresult              *res;
    coco_pg_rc_e           rc;
    coco_emitter_fact_t   *f;
    coco_emitter_round_t  *r = &e->round;

    r->nfacts = 0;
    e->gave_up = NULL;

    /* the snapshot first: what it sees as ended is in the rows */
    coco_pg_rows(e->pg, COCO_E_NOW);
    now = coco_pg_send(e->pg);
    coco_pg_rows(e->pg, COCO_E_FACTS);
    coco_pg_int(e->pg, e->limit);
    facts = coco_pg_send(e->pg);

    rc = coco_pg_sync(e->pg);
    if (rc != COCO_PG_DONE) {
        return rc;
    }

    res = coco_pg_result(e->pg, now);
    e->now = coco_pg_get_time(res, 0, 0);
    e->xmin = coco_pg_get_int64(res, 0, 1);
    e->xmax = coco_pg_get_int64(res, 0, 2);
    e->up_to = coco_pg_get_time(res, 0, 3);

    /* an hour that is complete is added to no more: what comes late is told
     * at the beginning of the next one */
    floor = e->up_to == COCO_PG_NEVER
            ? 0 : e->up_to - e->up_to % COCO_EMITTER_HOUR_MS;

    if (coco_emitter_facts_read(r, coco_pg_result(e->pg, facts), floor,
                                e->now) != COCO_OK)
    {
        return coco_emitter_give_up(e, "no memory");
    }

    for (f = r->facts; f < r->facts + r->nfacts; f++) {
        if (coco_str_equal(f->seq, (coco_str_t) { e->refuse_seq,
                                                  strlen(e->refuse_seq) }))
        {
            coco_emitter_refuse(f, "", e->refuse_reason);
        }
    }

    return COCO_PG_DONE;
}


/* All that this round sees has been read. */
static void
coco_emitter_bound(coco_emitter_t *e)
{
    if (e->mark_at != 0) {
        if (e->xmin < e->mark_xmax) {
            return;
        }

        e->bound = e->mark_at - COCO_EMITTER_SLACK_MS;
    }

    e->mark_at = e->now;
    e->mark_xmax = e->xmax;
}


/* Opens the transaction, and reads and locks what it changes. */
static coco_pg_rc_e
coco_emitter_vehicles(coco_emitter_t *e)
{
    int                    slot;
    coco_pg_rc_e           rc;
    coco_emitter_round_t  *r = &e->round;

    if (r->nvehicles == 0) {
        return COCO_PG_DONE;
    }

    coco_pg_rows(e->pg, COCO_E_BEGIN);
    (void) coco_pg_send(e->pg);
    slot = coco_emitter_vehicles_put(r, e->pg);

    rc = coco_pg_sync(e->pg);
    if (rc != COCO_PG_DONE) {
        return rc;
    }

    if (coco_emitter_memory_read(r, coco_pg_result(e->pg, slot)) != COCO_OK) {
        return coco_emitter_give_up(e, "a row of mds_vehicle is gone");
    }

    return COCO_PG_DONE;
}


/* Without vehicles no transaction was opened: the round trip is one. */
static coco_pg_rc_e
coco_emitter_write(coco_emitter_t *e)
{
    coco_emitter_rows_put(&e->round, e->pg);
    coco_emitter_progress_put(e);

    if (e->round.nvehicles > 0) {
        coco_pg_rows(e->pg, COCO_E_COMMIT);
        (void) coco_pg_send(e->pg);
    }

    return coco_pg_sync(e->pg);
}


/* Once a second: the progress if nothing else was written, and replays. */
static coco_pg_rc_e
coco_emitter_idle(coco_emitter_t *e)
{
    int64_t  now = coco_emitter_now();

    if (now - e->idle_at < COCO_EMITTER_IDLE_MS) {
        return COCO_PG_DONE;
    }

    e->idle_at = now;
    coco_emitter_progress_put(e);
    coco_pg_rows(e->pg, COCO_E_REPLAY);
    (void) coco_pg_send(e->pg);

    coco_metrics_set(COCO_G_MDS_LAG, COCO_LANE_EVENTS,
                     e->up_to == COCO_PG_NEVER
                     ? 0 : (e->now - e->up_to) / 1000);

    return coco_pg_sync(e->pg);
}


static void
coco_emitter_progress_put(coco_emitter_t *e)
{
    if (e->bound == COCO_PG_NEVER || e->bound <= e->up_to) {
        return;
    }

    coco_pg_rows(e->pg, COCO_E_PROGRESS);
    coco_pg_time(e->pg, e->bound);
    (void) coco_pg_send(e->pg);
}


/* A smaller round next: it may have been too much, or one of the facts be at
 * fault, which is found so. The lock goes with the connection. */
static void
coco_emitter_failed(coco_emitter_t *e, coco_pg_rc_e rc)
{
    const coco_pg_error_t       *error = coco_pg_error(e->pg);
    const coco_emitter_round_t  *r = &e->round;

    coco_log(COCO_LOG_WARN, "mds_failed", "facts", "%u", r->nfacts, "error",
             "%s", e->gave_up != NULL ? e->gave_up : error->message, NULL);

    e->mark_at = 0;
    e->bound = COCO_PG_NEVER;

    if (r->nfacts > 0) {
        e->limit = r->nfacts > 1 ? (int32_t) r->nfacts / 2 : 1;
    }

    if (rc != COCO_PG_DATA) {
        coco_emitter_leave(e);

    } else if (r->nfacts == 1) {
        snprintf(e->refuse_seq, sizeof(e->refuse_seq), "%.*s",
                 (int) r->facts[0].seq.len, r->facts[0].seq.data);
        snprintf(e->refuse_reason, sizeof(e->refuse_reason), "%s",
                 error->message);
    }
}


static void
coco_emitter_leave(coco_emitter_t *e)
{
    coco_pg_close(e->pg);
    atomic_store(&e->emitting, false);
    coco_metrics_set(COCO_G_MDS_LAG, COCO_LANE_EVENTS, 0);
}


static void
coco_emitter_count(const coco_emitter_t *e)
{
    const coco_emitter_round_t  *r = &e->round;
    const coco_emitter_fact_t   *f;

    coco_metrics_add(COCO_M_MDS_FACTS, COCO_LANE_EVENTS, r->nfacts);
    coco_metrics_add(COCO_M_MDS_EVENTS, COCO_LANE_EVENTS, r->events);
    coco_metrics_add(COCO_M_DEAD_LETTERS, COCO_LANE_EVENTS, r->refused);

    for (f = r->facts; r->refused > 0 && f < r->facts + r->nfacts; f++) {
        if (f->refused) {
            coco_log(COCO_LOG_WARN, "dead_letter", "service", "%s", "mds",
                     "serial", "%.*s", (int) f->serial.len, f->serial.data,
                     "field", "%s", f->error.field, "reason", "%s",
                     f->error.reason, NULL);
        }
    }
}


static coco_pg_rc_e
coco_emitter_give_up(coco_emitter_t *e, const char *reason)
{
    e->gave_up = reason;

    return COCO_PG_RETRY;
}


static int64_t
coco_emitter_now(void)
{
    return coco_clock_monotonic_us() / 1000;
}
