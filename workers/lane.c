/*
 * The lane: shards, each a thread with a batch that fills and a batch that is
 * written, and the low water of their source. Must never move low water past
 * a message that is not committed.
 */

#include <signal.h>
#include <stdlib.h>

#include "batch.h"
#include "lane.h"
#include "log.h"

typedef struct {
    coco_lane_t      *lane;
    pthread_t         thread;
    pthread_mutex_t   mutex;       /* everything below */
    pthread_cond_t    work;        /* the filling batch changed, or stop */
    pthread_cond_t    room;        /* the filling batch was taken, or stop */
    coco_batch_t      batches[2];
    coco_batch_t     *filling;
    coco_batch_t     *writing;     /* NULL: the thread waits for work */
    bool              full;        /* somebody waits for room */
    int64_t           done_at;     /* monotonic us, of the last batch */
    coco_writer_t    *writer;      /* the thread's own */
} coco_shard_t;

struct coco_lane_s {
    coco_lane_options_t   options;
    char                 *strings[5];
    coco_shard_t         *shards;
    unsigned              ready;       /* shards with everything they need */
    unsigned              started;     /* shards with a thread */
    coco_stop_t           stop;

    pthread_mutex_t       mutex;       /* everything below; taken after a
                                          shard's, never before */
    pthread_cond_t        moved;
    uint64_t              pushed;      /* the last position that came */
    uint64_t              low;         /* never goes back */
    uint64_t              batches;     /* done */
};

static int coco_lane_options_copy(coco_lane_t *lane,
    const coco_lane_options_t *options);
static int coco_shard_init(coco_lane_t *lane, coco_shard_t *shard);
static void coco_shard_free(coco_shard_t *shard);
static void *coco_shard_thread(void *arg);
static bool coco_shard_take(coco_shard_t *shard);
static void coco_shard_idle(coco_shard_t *shard);
static void coco_shard_done(coco_shard_t *shard);
static coco_shard_t *coco_lane_shard(coco_lane_t *lane, coco_str_t serial);
static int coco_lane_add(coco_lane_t *lane, const coco_message_t *message,
    bool wait);
static void coco_shard_added(coco_shard_t *shard, uint64_t position);


coco_lane_t *
coco_lane_create(const coco_lane_options_t *options)
{
    coco_lane_t  *lane;

    lane = calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return NULL;
    }

    if (coco_stop_init(&lane->stop) != COCO_OK) {
        free(lane);
        return NULL;
    }

    /* neither can fail: no attributes, or only the clock's */
    pthread_mutex_init(&lane->mutex, NULL);
    coco_cond_init(&lane->moved);

    lane->shards = calloc(options->shards, sizeof(*lane->shards));

    if (lane->shards == NULL
        || coco_lane_options_copy(lane, options) != COCO_OK)
    {
        coco_lane_destroy(lane);
        return NULL;
    }

    while (lane->ready < options->shards) {
        if (coco_shard_init(lane, &lane->shards[lane->ready]) != COCO_OK) {
            coco_lane_destroy(lane);
            return NULL;
        }
        lane->ready++;
    }

    return lane;
}


static int
coco_lane_options_copy(coco_lane_t *lane, const coco_lane_options_t *options)
{
    coco_lane_options_t  *o = &lane->options;
    const char          **fields[] = { &o->name, &o->postgres, &o->redis_host,
                                       &o->redis_password,
                                       &o->feed_name.data };

    *o = *options;

    for (int i = 0; i < 5; i++) {
        if (*fields[i] != NULL) {
            lane->strings[i] = strdup(*fields[i]);
            if (lane->strings[i] == NULL) {
                return COCO_ERROR;
            }
            *fields[i] = lane->strings[i];
        }
    }

    return COCO_OK;
}


static int
coco_shard_init(coco_lane_t *lane, coco_shard_t *shard)
{
    coco_lane_options_t  *o = &lane->options;

    shard->lane = lane;
    shard->filling = &shard->batches[0];
    pthread_mutex_init(&shard->mutex, NULL);
    coco_cond_init(&shard->work);
    coco_cond_init(&shard->room);

    shard->writer = coco_writer_create(o, &lane->stop);

    if (shard->writer == NULL
        || coco_batch_init(&shard->batches[0], o->batch_messages,
                           o->batch_bytes) != COCO_OK
        || coco_batch_init(&shard->batches[1], o->batch_messages,
                           o->batch_bytes) != COCO_OK)
    {
        coco_shard_free(shard);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static void
coco_shard_free(coco_shard_t *shard)
{
    coco_writer_destroy(shard->writer);
    coco_batch_free(&shard->batches[0]);
    coco_batch_free(&shard->batches[1]);
    pthread_cond_destroy(&shard->room);
    pthread_cond_destroy(&shard->work);
    pthread_mutex_destroy(&shard->mutex);
}


int
coco_lane_start(coco_lane_t *lane)
{
    coco_shard_t  *shard;

    while (lane->started < lane->ready) {
        shard = &lane->shards[lane->started];

        if (pthread_create(&shard->thread, NULL, coco_shard_thread, shard)
            != 0)
        {
            coco_log(COCO_LOG_ERROR, "lane_thread_failed", "lane", "%s",
                     lane->options.name, NULL);
            return COCO_ERROR;
        }

        lane->started++;
    }

    return COCO_OK;
}


static coco_shard_t *
coco_lane_shard(coco_lane_t *lane, coco_str_t serial)
{
    uint32_t  hash = 2166136261u;     /* FNV-1a */

    if (serial.data == NULL || !coco_serial_valid(serial)) {
        return &lane->shards[0];
    }

    for (size_t i = 0; i < serial.len; i++) {
        hash = (hash ^ (unsigned char) serial.data[i]) * 16777619u;
    }

    return &lane->shards[hash % lane->ready];
}


int
coco_lane_push(coco_lane_t *lane, const coco_message_t *message)
{
    return coco_lane_add(lane, message, true);
}


int
coco_lane_try_push(coco_lane_t *lane, const coco_message_t *message)
{
    return coco_lane_add(lane, message, false);
}


static int
coco_lane_add(coco_lane_t *lane, const coco_message_t *message, bool wait)
{
    int            rc;
    coco_shard_t  *shard;

    shard = coco_lane_shard(lane, message->serial);
    pthread_mutex_lock(&shard->mutex);

    for ( ;; ) {
        if (atomic_load(&lane->stop.set)) {
            rc = COCO_ERROR;
            break;
        }

        if (coco_batch_add(shard->filling, message) == COCO_OK) {
            coco_shard_added(shard, message->position);
            rc = COCO_OK;
            break;
        }

        /* no memory is as good as full: the batch under way gives some back */
        shard->full = true;
        pthread_cond_signal(&shard->work);

        if (!wait) {
            rc = COCO_AGAIN;
            break;
        }

        pthread_cond_wait(&shard->room, &shard->mutex);
    }

    pthread_mutex_unlock(&shard->mutex);

    return rc;
}


/* With the shard's mutex. */
static void
coco_shard_added(coco_shard_t *shard, uint64_t position)
{
    coco_lane_t   *lane = shard->lane;
    coco_batch_t  *b = shard->filling;

    if (b->count == 1) {
        b->first_at = coco_clock_monotonic_us();
    }

    if (position != 0) {
        pthread_mutex_lock(&lane->mutex);

        if (!b->tracked) {
            b->tracked = true;
            b->low = lane->pushed;
        }

        lane->pushed = position;
        pthread_mutex_unlock(&lane->mutex);
    }

    if (b->count == 1 || b->count == b->max) {
        pthread_cond_signal(&shard->work);
    }
}


static void *
coco_shard_thread(void *arg)
{
    sigset_t       pipe;
    coco_shard_t  *shard = arg;

    /* hiredis writes to sockets that may be gone: an error, not a signal */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    while (coco_shard_take(shard)) {
        if (coco_writer_commit(shard->writer, shard->writing) != COCO_OK) {
            break;
        }
        coco_shard_done(shard);
    }

    return NULL;
}


/*
 * Waits for a batch worth writing: full, old enough, or the first after a
 * pause (then nothing is gained by letting it gather). False on a stop.
 */
static bool
coco_shard_take(coco_shard_t *shard)
{
    bool             stopped;
    int64_t          linger, now, until;
    coco_batch_t    *b;
    struct timespec  deadline;

    linger = shard->lane->options.linger_ms * 1000LL;
    pthread_mutex_lock(&shard->mutex);

    for ( ;; ) {
        b = shard->filling;
        stopped = atomic_load(&shard->lane->stop.set);

        if (stopped) {
            break;
        }

        if (b->count == 0 && !shard->full) {
            coco_shard_idle(shard);
            continue;
        }

        now = coco_clock_monotonic_us();
        until = b->first_at + linger;

        if (shard->full || b->count == b->max || now >= until
            || b->first_at - shard->done_at >= linger)
        {
            break;
        }

        deadline = coco_cond_deadline(until);
        pthread_cond_timedwait(&shard->work, &shard->mutex, &deadline);
    }

    if (!stopped) {
        shard->writing = b;
        shard->filling = &shard->batches[b == &shard->batches[0]];
        shard->full = false;
        pthread_cond_broadcast(&shard->room);
    }

    pthread_mutex_unlock(&shard->mutex);

    return !stopped;
}


/*
 * Waits for a change of the filling batch, with the shard's mutex; without it
 * while the writer talks to Redis, so that messages still come in. Only this
 * thread uses the writer.
 */
static void
coco_shard_idle(coco_shard_t *shard)
{
    int64_t          due;
    struct timespec  deadline;

    due = coco_writer_due(shard->writer);

    if (due == INT64_MAX) {
        pthread_cond_wait(&shard->work, &shard->mutex);

    } else if (due > coco_clock_monotonic_us()) {
        deadline = coco_cond_deadline(due);
        pthread_cond_timedwait(&shard->work, &shard->mutex, &deadline);

    } else {
        pthread_mutex_unlock(&shard->mutex);
        coco_writer_settle(shard->writer);
        pthread_mutex_lock(&shard->mutex);
    }
}


static void
coco_shard_done(coco_shard_t *shard)
{
    coco_lane_t           *lane = shard->lane;
    const coco_message_t  *m;

    /* Only this thread touches the batch that is written: its sources may
     * take locks of their own. */
    for (size_t i = 0; i < shard->writing->count; i++) {
        m = &shard->writing->messages[i];

        if (m->done != NULL) {
            m->done(m->done_data, m->tag);
        }
    }

    pthread_mutex_lock(&shard->mutex);
    coco_batch_reset(shard->writing);
    shard->writing = NULL;
    shard->done_at = coco_clock_monotonic_us();
    pthread_mutex_unlock(&shard->mutex);

    pthread_mutex_lock(&lane->mutex);
    lane->batches++;
    pthread_cond_broadcast(&lane->moved);
    pthread_mutex_unlock(&lane->mutex);
}


uint64_t
coco_lane_low_water(coco_lane_t *lane, uint64_t pushed)
{
    uint64_t       low = pushed;
    coco_shard_t  *shard;
    coco_batch_t  *b;

    for (unsigned i = 0; i < lane->ready; i++) {
        shard = &lane->shards[i];
        pthread_mutex_lock(&shard->mutex);

        b = shard->writing != NULL && shard->writing->tracked
            ? shard->writing : shard->filling;

        if (b->tracked && b->low < low) {
            low = b->low;
        }

        pthread_mutex_unlock(&shard->mutex);
    }

    pthread_mutex_lock(&lane->mutex);

    if (low > lane->low) {
        lane->low = low;
    }

    low = lane->low;
    pthread_mutex_unlock(&lane->mutex);

    return low;
}


void
coco_lane_wait(coco_lane_t *lane, uint64_t pushed, unsigned timeout_ms)
{
    int              rc = 0;
    uint64_t         before, low, batches;
    struct timespec  until;

    until = coco_cond_deadline(coco_clock_monotonic_us()
                               + timeout_ms * 1000LL);

    pthread_mutex_lock(&lane->mutex);
    before = lane->low;

    while (rc == 0 && !atomic_load(&lane->stop.set)) {
        batches = lane->batches;

        /* low water looks at the shards, whose mutexes come first */
        pthread_mutex_unlock(&lane->mutex);
        low = coco_lane_low_water(lane, pushed);
        pthread_mutex_lock(&lane->mutex);

        if (low >= pushed || low != before) {
            break;
        }

        while (rc == 0 && batches == lane->batches
               && !atomic_load(&lane->stop.set))
        {
            rc = pthread_cond_timedwait(&lane->moved, &lane->mutex, &until);
        }
    }

    pthread_mutex_unlock(&lane->mutex);
}


void
coco_lane_stop(coco_lane_t *lane)
{
    coco_stop_set(&lane->stop);

    for (unsigned i = 0; i < lane->ready; i++) {
        pthread_mutex_lock(&lane->shards[i].mutex);
        pthread_cond_broadcast(&lane->shards[i].work);
        pthread_cond_broadcast(&lane->shards[i].room);
        pthread_mutex_unlock(&lane->shards[i].mutex);
    }

    while (lane->started > 0) {
        pthread_join(lane->shards[--lane->started].thread, NULL);
    }

    pthread_mutex_lock(&lane->mutex);
    pthread_cond_broadcast(&lane->moved);
    pthread_mutex_unlock(&lane->mutex);
}


void
coco_lane_destroy(coco_lane_t *lane)
{
    if (lane == NULL) {
        return;
    }

    coco_lane_stop(lane);

    for (unsigned i = 0; i < lane->ready; i++) {
        coco_shard_free(&lane->shards[i]);
    }

    for (int i = 0; i < 5; i++) {
        free(lane->strings[i]);
    }

    free(lane->shards);
    pthread_cond_destroy(&lane->moved);
    pthread_mutex_destroy(&lane->mutex);
    coco_stop_free(&lane->stop);
    free(lane);
}
