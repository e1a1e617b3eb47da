/*
 * Time and patience, for the threads that talk to servers: clocks, a stop
 * signal that interrupts every wait, and jittered back-off.
 */

#ifndef COCO_RETRY_H
#define COCO_RETRY_H

#include <pthread.h>
#include <stdatomic.h>

#include "coco_core.h"

int64_t coco_clock_ms(void);          /* ms since the epoch */
int64_t coco_clock_monotonic_us(void);

typedef struct {
    pthread_mutex_t  mutex;
    pthread_cond_t   cond;
    atomic_bool      set;
} coco_stop_t;

int coco_stop_init(coco_stop_t *stop);
void coco_stop_free(coco_stop_t *stop);
void coco_stop_set(coco_stop_t *stop);
/* Waits ms at most; true once the stop was set. */
bool coco_stop_wait(coco_stop_t *stop, unsigned ms);

/* A condition variable on the monotonic clock, and its absolute time. */
int coco_cond_init(pthread_cond_t *cond);
struct timespec coco_cond_deadline(int64_t monotonic_us);

/* From 50 ms, doubled each time, to 5 s; each between half and whole. */
typedef struct {
    unsigned  ms;
    unsigned  seed;
} coco_backoff_t;

void coco_backoff_reset(coco_backoff_t *b);
unsigned coco_backoff_next(coco_backoff_t *b);
/* The same between other bounds. */
unsigned coco_backoff_within(coco_backoff_t *b, unsigned min_ms,
    unsigned max_ms);

#endif /* COCO_RETRY_H */
