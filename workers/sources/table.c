/*
 * From the rows of a table to a lane, each once while it is in flight. Must
 * never push what it has no lock for, nor wait in a way that a stop does not
 * end.
 */

#include <stdlib.h>

#include "log.h"
#include "sources/table.h"

#define COCO_TABLE_IN_FLIGHT   2000
#define COCO_TABLE_BUCKETS     4096     /* a power of two, above it */
#define COCO_TABLE_ROOM_MS     10       /* until a full lane is asked again */
#define COCO_TABLE_TICK_MS     200
#define COCO_TABLE_STUCK_MS    120000   /* above what a round may take */

typedef struct {
    coco_id_t  id;            /* the thread's */
    bool       in_flight;     /* under the mutex */
} coco_table_slot_t;

struct coco_table_s {
    coco_table_options_t  options;
    coco_pg_t            *pg;
    coco_stop_t           stop;
    pthread_t             thread;
    atomic_llong          beat;        /* monotonic ms */

    /* the thread's */
    bool                  reading;     /* this worker has the lock */
    unsigned              free_count;
    uint16_t              free[COCO_TABLE_IN_FLIGHT];
    uint16_t              buckets[COCO_TABLE_BUCKETS];  /* of ids: a slot's
                                                           place + 1; 0 none */

    pthread_mutex_t       mutex;       /* what is below */
    pthread_cond_t        room;        /* something is done */
    unsigned              in_flight;
    coco_table_slot_t     slots[COCO_TABLE_IN_FLIGHT];
};

static void *coco_table_thread(void *arg);
static int coco_table_open(coco_table_t *t);
static int coco_table_round(coco_table_t *t, unsigned *ret_ms);
static void coco_table_room_wait(coco_table_t *t);
static void coco_table_wait(coco_table_t *t, unsigned ms);
static void coco_table_sweep(coco_table_t *t);
static uint16_t *coco_table_bucket(coco_table_t *t, const coco_id_t *id);
static int coco_table_push(coco_table_t *t, const PGresult *res, int row,
    uint16_t *bucket, const coco_id_t *id);
static void coco_table_done(void *data, uint64_t tag);
static int coco_table_sync(coco_table_t *t);
static int64_t coco_table_now(void);


coco_table_t *
coco_table_start(const coco_table_options_t *options)
{
    coco_table_t  *t;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return NULL;
    }

    if (coco_stop_init(&t->stop) != COCO_OK) {
        free(t);
        return NULL;
    }

    t->options = *options;
    pthread_mutex_init(&t->mutex, NULL);
    coco_cond_init(&t->room);
    atomic_init(&t->beat, coco_table_now());

    t->pg = coco_pg_create(options->postgres, options->kind->statements,
                           options->kind->count, &t->stop, -1);

    if (t->pg == NULL
        || pthread_create(&t->thread, NULL, coco_table_thread, t) != 0)
    {
        coco_pg_destroy(t->pg);
        coco_stop_free(&t->stop);
        free(t);
        return NULL;
    }

    return t;
}


void
coco_table_stop(coco_table_t *t)
{
    coco_stop_set(&t->stop);
}


void
coco_table_close(coco_table_t *t)
{
    coco_table_stop(t);
    pthread_join(t->thread, NULL);
    coco_pg_destroy(t->pg);
    pthread_cond_destroy(&t->room);
    pthread_mutex_destroy(&t->mutex);
    coco_stop_free(&t->stop);
    free(t);
}


bool
coco_table_alive(coco_table_t *t)
{
    return coco_table_now() - atomic_load(&t->beat) < COCO_TABLE_STUCK_MS;
}


static void *
coco_table_thread(void *arg)
{
    int              rc;
    unsigned         ms;
    coco_table_t    *t = arg;
    coco_backoff_t   backoff = { 0, 0 };

    while (!atomic_load(&t->stop.set)) {
        atomic_store(&t->beat, coco_table_now());
        ms = 0;
        rc = coco_table_open(t);

        if (rc == COCO_OK && t->reading) {
            rc = coco_table_round(t, &ms);
        }

        if (rc == COCO_OK && ms > 0) {
            rc = coco_pg_notified(t->pg, ms);
        }

        if (rc == COCO_ERROR) {
            /* the lock goes with the connection */
            coco_pg_close(t->pg);
            t->reading = false;
            coco_stop_wait(&t->stop, coco_backoff_next(&backoff));
            continue;
        }

        coco_backoff_reset(&backoff);

        if (!t->reading) {
            coco_stop_wait(&t->stop, t->options.poll);
        }
    }

    coco_pg_close(t->pg);

    return NULL;
}


/* Listening comes first: what is stored after it is not missed. */
static int
coco_table_open(coco_table_t *t)
{
    int  slot;

    if (t->reading) {
        return COCO_OK;
    }

    if (coco_pg_open(t->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_pg_rows(t->pg, COCO_TABLE_LISTEN);
    (void) coco_pg_send(t->pg);
    coco_pg_rows(t->pg, COCO_TABLE_LOCK);
    slot = coco_pg_send(t->pg);

    if (coco_table_sync(t) != COCO_OK) {
        return COCO_ERROR;
    }

    t->reading = coco_pg_get_bool(coco_pg_result(t->pg, slot), 0, 0) == 1;

    if (t->reading) {
        coco_log(COCO_LOG_INFO, t->options.kind->reading, "service", "%s",
                 t->options.kind->statements[COCO_TABLE_LOCK].service, NULL);
    }

    return COCO_OK;
}


/* *ret_ms: how long to sleep; 0: there may be more than was read. */
static int
coco_table_round(coco_table_t *t, unsigned *ret_ms)
{
    int         row, rows, slot;
    bool        again;
    uint16_t   *bucket;
    unsigned    ms;
    PGresult   *res;
    coco_id_t   id;

    coco_table_room_wait(t);

    /* what is done by now is not pending in what is read after it */
    coco_table_sweep(t);

    slot = t->options.kind->ask(t->options.data, t->pg, COCO_TABLE_IN_FLIGHT);

    if (coco_table_sync(t) != COCO_OK) {
        return COCO_ERROR;
    }

    ms = t->options.kind->rest(t->options.data, t->pg);
    res = coco_pg_result(t->pg, slot);
    rows = PQntuples(res);
    again = false;

    for (row = 0; row < rows && t->free_count > 0; row++) {
        coco_pg_get_uuid(&id, res, row, 0);
        bucket = coco_table_bucket(t, &id);

        if (*bucket != 0) {
            again = true;
            continue;
        }

        if (coco_table_push(t, res, row, bucket, &id) != COCO_OK) {
            return COCO_OK;      /* it stops */
        }
    }

    /* a row that was in flight may have been written anew meanwhile */
    if (again && ms > COCO_TABLE_TICK_MS) {
        ms = COCO_TABLE_TICK_MS;
    }

    *ret_ms = row < rows || rows == COCO_TABLE_IN_FLIGHT ? 0 : ms;

    return COCO_OK;
}


/* Until half of the slots are free: no row is read again and again while the
 * lane is slow. */
static void
coco_table_room_wait(coco_table_t *t)
{
    pthread_mutex_lock(&t->mutex);

    while (t->in_flight > COCO_TABLE_IN_FLIGHT / 2
           && !atomic_load(&t->stop.set))
    {
        coco_table_wait(t, COCO_TABLE_TICK_MS);
    }

    pthread_mutex_unlock(&t->mutex);
}


/* With the mutex: until something is done, ms at most. */
static void
coco_table_wait(coco_table_t *t, unsigned ms)
{
    struct timespec  until;

    atomic_store(&t->beat, coco_table_now());
    until = coco_cond_deadline(coco_clock_monotonic_us() + ms * 1000LL);
    pthread_cond_timedwait(&t->room, &t->mutex, &until);
}


static void
coco_table_sweep(coco_table_t *t)
{
    unsigned            i;
    coco_table_slot_t  *slot;

    t->free_count = 0;
    memset(t->buckets, 0, sizeof(t->buckets));

    pthread_mutex_lock(&t->mutex);

    for (i = 0; i < COCO_TABLE_IN_FLIGHT; i++) {
        slot = &t->slots[i];

        if (slot->in_flight) {
            *coco_table_bucket(t, &slot->id) = (uint16_t) (i + 1);
        } else {
            t->free[t->free_count++] = (uint16_t) i;
        }
    }

    pthread_mutex_unlock(&t->mutex);
}


/* The id's own bucket, or the one to put it in: 0 then. */
static uint16_t *
coco_table_bucket(coco_table_t *t, const coco_id_t *id)
{
    uint32_t   at;
    uint16_t  *bucket;

    /* ids are hashes already */
    memcpy(&at, id->bytes, sizeof(at));

    for ( ;; at++) {
        bucket = &t->buckets[at % COCO_TABLE_BUCKETS];

        if (*bucket == 0
            || memcmp(&t->slots[*bucket - 1].id, id, sizeof(*id)) == 0)
        {
            return bucket;
        }
    }
}


/* COCO_ERROR: it stops. */
static int
coco_table_push(coco_table_t *t, const PGresult *res, int row,
    uint16_t *bucket, const coco_id_t *id)
{
    int              rc;
    uint16_t         slot;
    coco_message_t   m;

    slot = t->free[--t->free_count];
    *bucket = (uint16_t) (slot + 1);

    memset(&m, 0, sizeof(m));
    t->options.kind->message(&m, res, row);
    m.done = coco_table_done;
    m.done_data = t;
    m.tag = slot;

    pthread_mutex_lock(&t->mutex);
    t->slots[slot].id = *id;
    t->slots[slot].in_flight = true;
    t->in_flight++;
    pthread_mutex_unlock(&t->mutex);

    while ((rc = coco_lane_try_push(t->options.lane, &m)) == COCO_AGAIN
           && !atomic_load(&t->stop.set))
    {
        pthread_mutex_lock(&t->mutex);
        coco_table_wait(t, COCO_TABLE_ROOM_MS);
        pthread_mutex_unlock(&t->mutex);
    }

    if (rc != COCO_OK) {
        return COCO_ERROR;
    }

    coco_metrics_add(COCO_M_RECEIVED, t->options.kind->metrics_lane, 1);

    return COCO_OK;
}


static void
coco_table_done(void *data, uint64_t tag)
{
    coco_table_t  *t = data;

    pthread_mutex_lock(&t->mutex);
    t->slots[tag].in_flight = false;
    t->in_flight--;
    pthread_cond_signal(&t->room);
    pthread_mutex_unlock(&t->mutex);
}


static int
coco_table_sync(coco_table_t *t)
{
    if (coco_pg_sync(t->pg) != COCO_PG_DONE) {
        coco_log(COCO_LOG_WARN, t->options.kind->failed, "error", "%s",
                 coco_pg_error(t->pg)->message, NULL);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int64_t
coco_table_now(void)
{
    return coco_clock_monotonic_us() / 1000;
}
