/*
 * The ring between deliveries and acknowledgements. Must never release an
 * entry before all that were delivered before it are done.
 */

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sources/bus_ledger.h"

/* A tag is the epoch above the entry's number: neither repeats in the life of
 * a process. */
#define COCO_LEDGER_EPOCH_SHIFT  44


int
coco_bus_ledger_init(coco_bus_ledger_t *l, size_t size)
{
    memset(l, 0, sizeof(*l));
    l->size = size;

    l->ring = calloc(size, sizeof(*l->ring));
    if (l->ring == NULL) {
        return COCO_ERROR;
    }

    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (l->wake_fd == -1 || pthread_mutex_init(&l->mutex, NULL) != 0) {
        if (l->wake_fd != -1) {
            close(l->wake_fd);
        }
        free(l->ring);
        return COCO_ERROR;
    }

    return COCO_OK;
}


void
coco_bus_ledger_free(coco_bus_ledger_t *l)
{
    pthread_mutex_destroy(&l->mutex);
    close(l->wake_fd);
    free(l->ring);
}


void
coco_bus_ledger_reset(coco_bus_ledger_t *l)
{
    pthread_mutex_lock(&l->mutex);
    l->epoch++;
    l->low = 0;
    l->next = 0;
    pthread_mutex_unlock(&l->mutex);
}


int
coco_bus_ledger_enter(coco_bus_ledger_t *l, const coco_bus_entry_t *entry,
    uint64_t *ret_tag)
{
    int  rc = COCO_AGAIN;

    pthread_mutex_lock(&l->mutex);

    if (l->next - l->low < l->size) {
        l->ring[l->next % l->size] = *entry;
        *ret_tag = l->epoch << COCO_LEDGER_EPOCH_SHIFT | l->next;
        l->next++;
        rc = COCO_OK;
    }

    pthread_mutex_unlock(&l->mutex);

    return rc;
}


void
coco_bus_ledger_cancel(coco_bus_ledger_t *l)
{
    pthread_mutex_lock(&l->mutex);
    l->next--;
    pthread_mutex_unlock(&l->mutex);
}


void
coco_bus_ledger_done(coco_bus_ledger_t *l, uint64_t tag)
{
    bool      first = false;
    uint64_t  one = 1, number;

    number = tag & ((1ULL << COCO_LEDGER_EPOCH_SHIFT) - 1);

    pthread_mutex_lock(&l->mutex);

    if (tag >> COCO_LEDGER_EPOCH_SHIFT == l->epoch && number >= l->low
        && number < l->next)
    {
        l->ring[number % l->size].done = true;
        first = number == l->low;
    }

    pthread_mutex_unlock(&l->mutex);

    if (first) {
        /* full: it wakes already */
        (void) !write(l->wake_fd, &one, sizeof(one));
    }
}


bool
coco_bus_ledger_release(coco_bus_ledger_t *l, coco_bus_entry_t *ret)
{
    bool  done;

    pthread_mutex_lock(&l->mutex);

    done = l->low < l->next && l->ring[l->low % l->size].done;

    if (done) {
        *ret = l->ring[l->low % l->size];
        l->low++;
    }

    pthread_mutex_unlock(&l->mutex);

    return done;
}


uint64_t
coco_bus_ledger_in_flight(coco_bus_ledger_t *l)
{
    uint64_t  n;

    pthread_mutex_lock(&l->mutex);
    n = l->next - l->low;
    pthread_mutex_unlock(&l->mutex);

    return n;
}


void
coco_bus_ledger_wake_take(coco_bus_ledger_t *l)
{
    uint64_t  n;

    (void) !read(l->wake_fd, &n, sizeof(n));
}
