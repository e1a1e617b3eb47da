/*
 * The test mode of the in-process engine: events go back into the process's
 * own bus lane shuffled, some doubled, in runs of random length, each run
 * committed before the next. The same seed gives the same order. Must never
 * be freed under a lane that may still tell of a message as done.
 */

#include <stdlib.h>

#include "sinks/bus_engine.h"
#include "sinks/bus_topology.h"

#define COCO_LOOP_RUN_MAX  256
#define COCO_LOOP_TICK_MS  50       /* how soon a wait sees a stop */
#define COCO_LOOP_STOP_MS  500      /* what a stop leaves to the lane */

/* One send. Freed by the last of the sender and the messages pushed: a lane
 * that stops gives messages up without a word, and then it stays. */
typedef struct {
    pthread_mutex_t  mutex;
    pthread_cond_t   cond;
    size_t           users;         /* under the mutex, as what follows */
    size_t           waiting;       /* pushed, not done */
    uint8_t          left[];        /* for each event: copies not done */
} coco_loop_send_t;

typedef struct {
    const coco_bus_options_t  *options;
    coco_stop_t               *stop;
    uint64_t                   random;
    const char                *error;
} coco_loop_t;

static void *coco_loop_create(const coco_bus_options_t *options,
    coco_stop_t *stop);
static void coco_loop_destroy(void *engine);
static size_t coco_loop_send(void *engine, const coco_bus_event_t *events,
    size_t count);
static const char *coco_loop_error(const void *engine);
static size_t coco_loop_plan(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *events, size_t count, uint32_t *order);
static void coco_loop_runs(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *events, const uint32_t *order, size_t total);
static int coco_loop_push(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *event, uint32_t index);
static int coco_loop_wait(coco_loop_t *e, coco_loop_send_t *s);
static void coco_loop_done(void *data, uint64_t tag);
static void coco_loop_release(coco_loop_send_t *s);


const coco_bus_engine_t  coco_bus_loop = {
    "loop", coco_loop_create, coco_loop_destroy, NULL, coco_loop_send,
    coco_loop_error,
};


static void *
coco_loop_create(const coco_bus_options_t *options, coco_stop_t *stop)
{
    coco_loop_t  *e;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    e->options = options;
    e->stop = stop;
    e->random = options->config->bus_scramble_seed;
    e->error = "";

    return e;
}


static void
coco_loop_destroy(void *engine)
{
    free(engine);
}


static const char *
coco_loop_error(const void *engine)
{
    return ((const coco_loop_t *) engine)->error;
}


/* splitmix64 */
static uint64_t
coco_loop_random(coco_loop_t *e, uint64_t below)
{
    uint64_t  z;

    e->random += 0x9e3779b97f4a7c15ULL;
    z = e->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

    return (z ^ (z >> 31)) % below;
}


static size_t
coco_loop_send(void *engine, const coco_bus_event_t *events, size_t count)
{
    size_t             n, total;
    uint32_t          *order;
    coco_loop_t       *e = engine;
    coco_loop_send_t  *s;

    order = malloc(2 * count * sizeof(*order) + 1);
    s = calloc(1, sizeof(*s) + count);

    if (order == NULL || s == NULL || pthread_mutex_init(&s->mutex, NULL) != 0
        || coco_cond_init(&s->cond) != COCO_OK)
    {
        free(order);
        free(s);
        e->error = "out of memory";
        return 0;
    }

    s->users = 1;
    total = coco_loop_plan(e, s, events, count, order);
    coco_loop_runs(e, s, events, order, total);

    pthread_mutex_lock(&s->mutex);
    for (n = 0; n < count && s->left[n] == 0; n++) { /* void */ }
    pthread_mutex_unlock(&s->mutex);

    if (n < count) {
        e->error = "the worker stops";
    }

    free(order);
    coco_loop_release(s);

    return n;
}


/* What nobody here consumes is left out: it counts as sent. */
static size_t
coco_loop_plan(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *events, size_t count, uint32_t *order)
{
    size_t                  total = 0, other;
    uint32_t                swap;
    const coco_bus_name_t  *name;

    for (size_t i = 0; i < count; i++) {
        name = events[i].raw ? NULL : coco_bus_name_find(events[i].name);

        if (name == NULL || !coco_bus_loops(e->options->config, name)) {
            continue;
        }

        s->left[i] = coco_loop_random(e, 4) == 0 ? 2 : 1;

        for (uint8_t copy = 0; copy < s->left[i]; copy++) {
            order[total++] = (uint32_t) i;
        }
    }

    for (size_t i = total; i > 1; i--) {
        other = coco_loop_random(e, i);
        swap = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swap;
    }

    return total;
}


static void
coco_loop_runs(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *events, const uint32_t *order, size_t total)
{
    size_t  i = 0, end;

    while (i < total) {
        end = i + 1 + coco_loop_random(e, COCO_LOOP_RUN_MAX);

        for (/* void */ ; i < end && i < total; i++) {
            if (coco_loop_push(e, s, &events[order[i]], order[i]) != COCO_OK) {
                (void) coco_loop_wait(e, s);
                return;
            }
        }

        if (coco_loop_wait(e, s) != COCO_OK) {
            return;
        }
    }
}


static int
coco_loop_push(coco_loop_t *e, coco_loop_send_t *s,
    const coco_bus_event_t *event, uint32_t index)
{
    int             rc;
    coco_message_t  m;

    memset(&m, 0, sizeof(m));
    m.kind = COCO_KIND_EVENT;
    m.source = "bus";
    m.done = coco_loop_done;
    m.done_data = s;
    m.tag = index;
    m.received_at = coco_clock_ms();
    m.topic = event->name;
    m.serial = event->serial;
    m.payload = event->payload;
    m.cause = event->cause;

    pthread_mutex_lock(&s->mutex);
    s->users++;
    s->waiting++;
    pthread_mutex_unlock(&s->mutex);

    rc = e->options->loop(e->options->loop_data, &m);

    if (rc != COCO_OK) {
        pthread_mutex_lock(&s->mutex);
        s->users--;
        s->waiting--;
        pthread_mutex_unlock(&s->mutex);
    }

    return rc;
}


/* Until all that was pushed is done; a stop leaves a moment to it. */
static int
coco_loop_wait(coco_loop_t *e, coco_loop_send_t *s)
{
    int              rc;
    int64_t          now, until = INT64_MAX;
    struct timespec  tick;

    pthread_mutex_lock(&s->mutex);

    while (s->waiting > 0) {
        now = coco_clock_monotonic_us();

        if (atomic_load(&e->stop->set) && until == INT64_MAX) {
            until = now + COCO_LOOP_STOP_MS * 1000;
        }

        if (now >= until) {
            break;
        }

        tick = coco_cond_deadline(now + COCO_LOOP_TICK_MS * 1000);
        (void) pthread_cond_timedwait(&s->cond, &s->mutex, &tick);
    }

    rc = s->waiting == 0 && !atomic_load(&e->stop->set) ? COCO_OK : COCO_ERROR;
    pthread_mutex_unlock(&s->mutex);

    return rc;
}


static void
coco_loop_done(void *data, uint64_t tag)
{
    coco_loop_send_t  *s = data;

    pthread_mutex_lock(&s->mutex);
    s->left[tag]--;
    s->waiting--;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);

    coco_loop_release(s);
}


static void
coco_loop_release(coco_loop_send_t *s)
{
    bool  last;

    pthread_mutex_lock(&s->mutex);
    last = --s->users == 0;
    pthread_mutex_unlock(&s->mutex);

    if (last) {
        pthread_cond_destroy(&s->cond);
        pthread_mutex_destroy(&s->mutex);
        free(s);
    }
}
