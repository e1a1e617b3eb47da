/*
 * From webhook_inbox to the webhooks lane. Must never call a row done: that is
 * the lane's, in the transaction that applies it.
 */

#include <stdlib.h>

#include "inbox.h"
#include "log.h"
#include "metrics.h"
#include "sinks/postgres.h"

#define COCO_INBOX_IN_FLIGHT   2000
#define COCO_INBOX_BUCKETS     4096     /* a power of two, above it */
#define COCO_INBOX_ROOM_MS     10       /* until a full lane is asked again */
#define COCO_INBOX_TICK_MS     200
#define COCO_INBOX_RELEASE_MS  3000
#define COCO_INBOX_STUCK_MS    120000   /* above what a round may take */

typedef enum {
    COCO_I_LISTEN = 0, COCO_I_LOCK, COCO_I_READ, COCO_I_RELEASE,
    COCO_I_WAITING, COCO_I_STATEMENTS
} coco_inbox_statement_e;

typedef struct {
    coco_id_t  id;            /* the thread's */
    bool       in_flight;     /* under the mutex */
} coco_inbox_slot_t;

struct coco_source_inbox_s {
    coco_source_inbox_options_t   options;
    coco_pg_t                    *pg;
    coco_stop_t                   stop;
    pthread_t                     thread;
    atomic_llong                  beat;        /* monotonic ms */

    /* the thread's */
    bool                          reading;     /* this worker has the lock */
    int64_t                       release_at;  /* monotonic ms */
    unsigned                      free_count;
    uint16_t                      free[COCO_INBOX_IN_FLIGHT];
    uint16_t                      buckets[COCO_INBOX_BUCKETS];  /* of ids: a
                                                   slot's place + 1; 0 none */

    pthread_mutex_t               mutex;       /* what is below */
    pthread_cond_t                room;        /* something is done */
    unsigned                      in_flight;
    coco_inbox_slot_t             slots[COCO_INBOX_IN_FLIGHT];
};

static void *coco_inbox_thread(void *arg);
static int coco_inbox_open(coco_source_inbox_t *s);
static int coco_inbox_round(coco_source_inbox_t *s, bool *ret_more);
static void coco_inbox_room_wait(coco_source_inbox_t *s);
static void coco_inbox_wait(coco_source_inbox_t *s, unsigned ms);
static void coco_inbox_sweep(coco_source_inbox_t *s);
static uint16_t *coco_inbox_bucket(coco_source_inbox_t *s,
    const coco_id_t *id);
static int coco_inbox_push(coco_source_inbox_t *s, const PGresult *res,
    int row);
static void coco_inbox_done(void *data, uint64_t tag);
static int coco_inbox_release(coco_source_inbox_t *s);
static int coco_inbox_sync(coco_source_inbox_t *s);
static int64_t coco_inbox_now(void);

/* Not by a cursor: a row may be committed after one with a larger seq. So all
 * that is pending is read, those in flight too; they are few. */
static const coco_pg_statement_t  coco_inbox_statements[] = {

[COCO_I_LISTEN] = { "listen coco_inbox", "", "state" },

[COCO_I_LOCK] = {
    "select pg_try_advisory_lock(hashtext('coco.inbox'))", "", "state" },

[COCO_I_READ] = {
    "select id, payload::text, received_at,"
    " coalesce(payload ->> 'vin', payload ->> 'uuid')"
    " from coco.webhook_inbox"
    " where done_at is null and waiting_for is null and provider = 'driveu'"
    " order by seq limit ($1::int4[])[1]",
    "i", "state" },

/* A mapping may be committed between the look for it and the commit of
 * waiting_for: its trigger has released nothing then. */
[COCO_I_RELEASE] = {
    "update coco.webhook_inbox set waiting_for = null where id = any (array("
    " select w.id from coco.webhook_inbox w"
    "  join coco.external_robot_mapping m on m.provider = w.provider"
    "   and m.provider_vehicle_id = w.waiting_for"
    "  where w.waiting_for is not null"
    "  order by w.id limit 10000 for update of w skip locked))",
    "", "state" },

[COCO_I_WAITING] = {
    "select count(*) from coco.webhook_inbox where waiting_for is not null",
    "", "state" },
};


coco_source_inbox_t *
coco_source_inbox_start(const coco_source_inbox_options_t *options)
{
    coco_source_inbox_t  *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    if (coco_stop_init(&s->stop) != COCO_OK) {
        free(s);
        return NULL;
    }

    s->options = *options;
    pthread_mutex_init(&s->mutex, NULL);
    coco_cond_init(&s->room);
    atomic_init(&s->beat, coco_inbox_now());

    s->pg = coco_pg_create(options->config->postgres_conninfo,
                           coco_inbox_statements, COCO_I_STATEMENTS, &s->stop,
                           COCO_LANE_WEBHOOKS);

    if (s->pg == NULL
        || pthread_create(&s->thread, NULL, coco_inbox_thread, s) != 0)
    {
        coco_pg_destroy(s->pg);
        coco_stop_free(&s->stop);
        free(s);
        return NULL;
    }

    return s;
}


void
coco_source_inbox_stop(coco_source_inbox_t *s)
{
    coco_stop_set(&s->stop);
}


void
coco_source_inbox_close(coco_source_inbox_t *s)
{
    coco_source_inbox_stop(s);
    pthread_join(s->thread, NULL);
    coco_pg_destroy(s->pg);
    pthread_cond_destroy(&s->room);
    pthread_mutex_destroy(&s->mutex);
    coco_stop_free(&s->stop);
    free(s);
}


bool
coco_source_inbox_alive(coco_source_inbox_t *s)
{
    return coco_inbox_now() - atomic_load(&s->beat) < COCO_INBOX_STUCK_MS;
}


static void *
coco_inbox_thread(void *arg)
{
    int                   rc;
    bool                  more;
    unsigned              poll;
    coco_backoff_t        backoff = { 0, 0 };
    coco_source_inbox_t  *s = arg;

    poll = (unsigned) s->options.config->webhooks_poll;

    while (!atomic_load(&s->stop.set)) {
        atomic_store(&s->beat, coco_inbox_now());
        more = false;
        rc = coco_inbox_open(s);

        if (rc == COCO_OK && s->reading) {
            rc = coco_inbox_round(s, &more);
        }

        if (rc == COCO_OK && s->reading && !more) {
            rc = coco_pg_notified(s->pg, poll);
        }

        if (rc == COCO_ERROR) {
            /* the lock goes with the connection */
            coco_pg_close(s->pg);
            s->reading = false;
            coco_stop_wait(&s->stop, coco_backoff_next(&backoff));
            continue;
        }

        coco_backoff_reset(&backoff);

        if (!s->reading) {
            coco_stop_wait(&s->stop, poll);
        }
    }

    coco_pg_close(s->pg);

    return NULL;
}


/* Listening comes first: what is stored after it is not missed. */
static int
coco_inbox_open(coco_source_inbox_t *s)
{
    int  slot;

    if (s->reading) {
        return COCO_OK;
    }

    if (coco_pg_open(s->pg) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_pg_rows(s->pg, COCO_I_LISTEN);
    (void) coco_pg_send(s->pg);
    coco_pg_rows(s->pg, COCO_I_LOCK);
    slot = coco_pg_send(s->pg);

    if (coco_inbox_sync(s) != COCO_OK) {
        return COCO_ERROR;
    }

    s->reading = coco_pg_get_bool(coco_pg_result(s->pg, slot), 0, 0) == 1;

    if (s->reading) {
        coco_log(COCO_LOG_INFO, "inbox_reading", NULL);
        s->release_at = 0;
    }

    return COCO_OK;
}


/* *ret_more: there may be more than was read. */
static int
coco_inbox_round(coco_source_inbox_t *s, bool *ret_more)
{
    int        row, rows, slot;
    PGresult  *res;

    if (coco_inbox_now() >= s->release_at && coco_inbox_release(s) != COCO_OK)
    {
        return COCO_ERROR;
    }

    coco_inbox_room_wait(s);

    /* what is done by now is not pending in what is read after it */
    coco_inbox_sweep(s);

    coco_pg_rows(s->pg, COCO_I_READ);
    coco_pg_int(s->pg, COCO_INBOX_IN_FLIGHT);
    slot = coco_pg_send(s->pg);

    if (coco_inbox_sync(s) != COCO_OK) {
        return COCO_ERROR;
    }

    res = coco_pg_result(s->pg, slot);
    rows = PQntuples(res);

    for (row = 0; row < rows && s->free_count > 0; row++) {
        if (coco_inbox_push(s, res, row) != COCO_OK) {
            return COCO_OK;      /* it stops */
        }
    }

    *ret_more = row < rows || rows == COCO_INBOX_IN_FLIGHT;

    return COCO_OK;
}


/* Until half of the slots are free: no row is read again and again while the
 * lane is slow. */
static void
coco_inbox_room_wait(coco_source_inbox_t *s)
{
    pthread_mutex_lock(&s->mutex);

    while (s->in_flight > COCO_INBOX_IN_FLIGHT / 2
           && !atomic_load(&s->stop.set))
    {
        coco_inbox_wait(s, COCO_INBOX_TICK_MS);
    }

    pthread_mutex_unlock(&s->mutex);
}


/* With the mutex: until something is done, ms at most. */
static void
coco_inbox_wait(coco_source_inbox_t *s, unsigned ms)
{
    struct timespec  until;

    atomic_store(&s->beat, coco_inbox_now());
    until = coco_cond_deadline(coco_clock_monotonic_us() + ms * 1000LL);
    pthread_cond_timedwait(&s->room, &s->mutex, &until);
}


static void
coco_inbox_sweep(coco_source_inbox_t *s)
{
    unsigned            i;
    coco_inbox_slot_t  *slot;

    s->free_count = 0;
    memset(s->buckets, 0, sizeof(s->buckets));

    pthread_mutex_lock(&s->mutex);

    for (i = 0; i < COCO_INBOX_IN_FLIGHT; i++) {
        slot = &s->slots[i];

        if (slot->in_flight) {
            *coco_inbox_bucket(s, &slot->id) = (uint16_t) (i + 1);
        } else {
            s->free[s->free_count++] = (uint16_t) i;
        }
    }

    pthread_mutex_unlock(&s->mutex);
}


/* The id's own bucket, or the one to put it in: 0 then. */
static uint16_t *
coco_inbox_bucket(coco_source_inbox_t *s, const coco_id_t *id)
{
    uint32_t   at;
    uint16_t  *bucket;

    /* ids are hashes already */
    memcpy(&at, id->bytes, sizeof(at));

    for ( ;; at++) {
        bucket = &s->buckets[at % COCO_INBOX_BUCKETS];

        if (*bucket == 0
            || memcmp(&s->slots[*bucket - 1].id, id, sizeof(*id)) == 0)
        {
            return bucket;
        }
    }
}


/* COCO_ERROR: it stops. */
static int
coco_inbox_push(coco_source_inbox_t *s, const PGresult *res, int row)
{
    int              rc;
    coco_id_t        id;
    uint16_t        *bucket, slot;
    coco_message_t   m;

    coco_pg_get_uuid(&id, res, row, 0);
    bucket = coco_inbox_bucket(s, &id);

    if (*bucket != 0) {
        return COCO_OK;
    }

    slot = s->free[--s->free_count];
    *bucket = (uint16_t) (slot + 1);

    memset(&m, 0, sizeof(m));
    m.kind = COCO_KIND_CONNECTIVITY;
    m.source = "webhook";
    m.done = coco_inbox_done;
    m.done_data = s;
    m.tag = slot;
    m.topic = coco_string("webhook/driveu");
    m.payload = coco_pg_get(res, row, 1);
    m.received_at = coco_pg_get_time(res, row, 2);
    m.serial = coco_pg_get(res, row, 3);
    m.inbox = true;
    m.inbox_id = id;

    if (m.serial.data == NULL || !coco_serial_valid(m.serial)) {
        m.serial = coco_string("");
    }

    pthread_mutex_lock(&s->mutex);
    s->slots[slot].id = id;
    s->slots[slot].in_flight = true;
    s->in_flight++;
    pthread_mutex_unlock(&s->mutex);

    while ((rc = coco_lane_try_push(s->options.lane, &m)) == COCO_AGAIN
           && !atomic_load(&s->stop.set))
    {
        pthread_mutex_lock(&s->mutex);
        coco_inbox_wait(s, COCO_INBOX_ROOM_MS);
        pthread_mutex_unlock(&s->mutex);
    }

    if (rc != COCO_OK) {
        return COCO_ERROR;
    }

    coco_metrics_add(COCO_M_RECEIVED, COCO_LANE_WEBHOOKS, 1);

    return COCO_OK;
}


static void
coco_inbox_done(void *data, uint64_t tag)
{
    coco_source_inbox_t  *s = data;

    pthread_mutex_lock(&s->mutex);
    s->slots[tag].in_flight = false;
    s->in_flight--;
    pthread_cond_signal(&s->room);
    pthread_mutex_unlock(&s->mutex);
}


static int
coco_inbox_release(coco_source_inbox_t *s)
{
    int  released, waiting;

    coco_pg_rows(s->pg, COCO_I_RELEASE);
    released = coco_pg_send(s->pg);
    coco_pg_rows(s->pg, COCO_I_WAITING);
    waiting = coco_pg_send(s->pg);

    if (coco_inbox_sync(s) != COCO_OK) {
        return COCO_ERROR;
    }

    if (coco_pg_affected(s->pg, released) > 0) {
        coco_log(COCO_LOG_INFO, "inbox_released", "webhooks", "%llu",
                 (unsigned long long) coco_pg_affected(s->pg, released),
                 NULL);
    }

    coco_metrics_set(COCO_G_WEBHOOKS_WAITING, COCO_LANE_WEBHOOKS,
                     coco_pg_get_int64(coco_pg_result(s->pg, waiting), 0, 0));
    s->release_at = coco_inbox_now() + COCO_INBOX_RELEASE_MS;

    return COCO_OK;
}


static int
coco_inbox_sync(coco_source_inbox_t *s)
{
    if (coco_pg_sync(s->pg) != COCO_PG_DONE) {
        coco_log(COCO_LOG_WARN, "inbox_failed", "error", "%s",
                 coco_pg_error(s->pg)->message, NULL);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int64_t
coco_inbox_now(void)
{
    return coco_clock_monotonic_us() / 1000;
}
