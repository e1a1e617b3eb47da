/*
 * Clocks, the stop signal and jittered back-off. Must never wait in a way
 * that a stop cannot end.
 */

#include <stdlib.h>
#include <time.h>

#include "retry.h"

#define COCO_BACKOFF_MIN_MS  50
#define COCO_BACKOFF_MAX_MS  5000


int64_t
coco_clock_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int64_t
coco_clock_monotonic_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


int
coco_cond_init(pthread_cond_t *cond)
{
    int                 rc;
    pthread_condattr_t  attr;

    if (pthread_condattr_init(&attr) != 0) {
        return COCO_ERROR;
    }

    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);

    return rc == 0 ? COCO_OK : COCO_ERROR;
}


struct timespec
coco_cond_deadline(int64_t monotonic_us)
{
    return (struct timespec) { .tv_sec = monotonic_us / 1000000,
                               .tv_nsec = monotonic_us % 1000000 * 1000 };
}


int
coco_stop_init(coco_stop_t *stop)
{
    if (pthread_mutex_init(&stop->mutex, NULL) != 0) {
        return COCO_ERROR;
    }

    if (coco_cond_init(&stop->cond) != COCO_OK) {
        pthread_mutex_destroy(&stop->mutex);
        return COCO_ERROR;
    }

    atomic_init(&stop->set, false);

    return COCO_OK;
}


void
coco_stop_free(coco_stop_t *stop)
{
    pthread_cond_destroy(&stop->cond);
    pthread_mutex_destroy(&stop->mutex);
}


void
coco_stop_set(coco_stop_t *stop)
{
    pthread_mutex_lock(&stop->mutex);
    atomic_store(&stop->set, true);
    pthread_cond_broadcast(&stop->cond);
    pthread_mutex_unlock(&stop->mutex);
}


bool
coco_stop_wait(coco_stop_t *stop, unsigned ms)
{
    int              rc = 0;
    struct timespec  until;

    until = coco_cond_deadline(coco_clock_monotonic_us()
                               + (int64_t) ms * 1000);

    pthread_mutex_lock(&stop->mutex);

    while (!atomic_load(&stop->set) && rc == 0) {
        rc = pthread_cond_timedwait(&stop->cond, &stop->mutex, &until);
    }

    pthread_mutex_unlock(&stop->mutex);

    return atomic_load(&stop->set);
}


void
coco_backoff_reset(coco_backoff_t *b)
{
    b->ms = 0;
}


unsigned
coco_backoff_next(coco_backoff_t *b)
{
    return coco_backoff_within(b, COCO_BACKOFF_MIN_MS, COCO_BACKOFF_MAX_MS);
}


unsigned
coco_backoff_within(coco_backoff_t *b, unsigned min_ms, unsigned max_ms)
{
    if (b->seed == 0) {
        /* processes that lost the same server must not return in step */
        b->seed = (unsigned) coco_clock_monotonic_us()
                  ^ (unsigned) (uintptr_t) b;
    }

    /* halves are compared: no doubling overflows */
    b->ms = b->ms == 0 ? min_ms : b->ms > max_ms / 2 ? max_ms : b->ms * 2;

    return b->ms / 2 + (unsigned) rand_r(&b->seed) % (b->ms / 2 + 1);
}
