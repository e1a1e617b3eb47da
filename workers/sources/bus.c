/*
 * The life of a source of the bus: its members' threads, and the way of a
 * message into the lane. Knows no broker.
 */

#include <poll.h>
#include <stdlib.h>

#include "sources/bus_member.h"

#define COCO_BUS_ALIVE_MS  60000    /* without a turn a thread hangs */

struct coco_source_bus_s {
    coco_stop_t         stop;
    coco_stop_t         closing;
    coco_lane_t        *lane;
    coco_bus_member_t   members[COCO_BUS_CONSUMERS];
    int                 count;
};

static int coco_bus_member_start(coco_source_bus_t *s,
    const coco_source_bus_options_t *options,
    const coco_bus_consumer_t *consumer, size_t size,
    void *(*thread)(void *member));
static void coco_bus_member_done(void *data, uint64_t tag);


coco_source_bus_t *
coco_bus_members_start(const coco_source_bus_options_t *options,
    unsigned services, size_t size, void *(*thread)(void *member))
{
    coco_source_bus_t  *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    if (coco_stop_init(&s->stop) != COCO_OK) {
        free(s);
        return NULL;
    }

    if (coco_stop_init(&s->closing) != COCO_OK) {
        coco_stop_free(&s->stop);
        free(s);
        return NULL;
    }

    s->lane = options->lane;

    for (size_t i = 0; i < COCO_BUS_CONSUMERS; i++) {
        if ((services & coco_bus_consumers[i].service) != 0
            && coco_bus_member_start(s, options, &coco_bus_consumers[i], size,
                                     thread) != COCO_OK)
        {
            coco_source_bus_close(s);
            return NULL;
        }
    }

    return s;
}


static int
coco_bus_member_start(coco_source_bus_t *s,
    const coco_source_bus_options_t *options,
    const coco_bus_consumer_t *consumer, size_t size,
    void *(*thread)(void *member))
{
    coco_bus_member_t  *m = &s->members[s->count];

    if (coco_bus_ledger_init(&m->ledger, size) != COCO_OK) {
        return COCO_ERROR;
    }

    m->source = s;
    m->config = options->config;
    m->consumer = consumer;
    m->stop = &s->stop;
    m->closing = &s->closing;
    coco_bus_member_turn(m);

    if (pthread_create(&m->thread, NULL, thread, m) != 0) {
        coco_bus_ledger_free(&m->ledger);
        return COCO_ERROR;
    }

    s->count++;

    return COCO_OK;
}


unsigned
coco_bus_members_taking(const coco_config_t *config)
{
    unsigned  service, services = 0;

    for (size_t i = 0; i < COCO_BUS_CONSUMERS; i++) {
        service = coco_bus_consumers[i].service;

        for (size_t j = 0; j < coco_bus_names_count; j++) {
            if (coco_bus_takes(config, &coco_bus_names[j], service)) {
                services |= service;
            }
        }
    }

    return services;
}


void
coco_source_bus_status(coco_source_bus_t *s, coco_source_bus_status_t *ret)
{
    int64_t             turn;
    coco_bus_member_t  *m;

    *ret = (coco_source_bus_status_t) { true, true, 0 };

    for (int i = 0; i < s->count; i++) {
        m = &s->members[i];
        turn = atomic_load(&m->turn);

        ret->alive &= coco_clock_monotonic_us() - turn
                      < COCO_BUS_ALIVE_MS * 1000LL;
        ret->connected &= atomic_load(&m->connected);
        ret->in_flight += coco_bus_ledger_in_flight(&m->ledger);
    }
}


void
coco_source_bus_stop(coco_source_bus_t *s)
{
    coco_stop_set(&s->stop);
}


void
coco_source_bus_close(coco_source_bus_t *s)
{
    if (s == NULL) {
        return;
    }

    coco_stop_set(&s->stop);
    coco_stop_set(&s->closing);

    for (int i = 0; i < s->count; i++) {
        pthread_join(s->members[i].thread, NULL);
        coco_bus_ledger_free(&s->members[i].ledger);
    }

    coco_stop_free(&s->closing);
    coco_stop_free(&s->stop);
    free(s);
}


int
coco_bus_member_push(coco_bus_member_t *m, coco_message_t *message,
    const coco_bus_entry_t *entry)
{
    int  rc;

    rc = coco_bus_ledger_enter(&m->ledger, entry, &message->tag);
    if (rc != COCO_OK) {
        return rc;
    }

    message->done = coco_bus_member_done;
    message->done_data = &m->ledger;

    rc = coco_lane_try_push(m->source->lane, message);
    if (rc != COCO_OK) {
        coco_bus_ledger_cancel(&m->ledger);
    }

    return rc;
}


static void
coco_bus_member_done(void *data, uint64_t tag)
{
    coco_bus_ledger_done(data, tag);
}


void
coco_bus_member_wait(coco_bus_member_t *m, int ms)
{
    struct pollfd  fd = { m->ledger.wake_fd, POLLIN, 0 };

    (void) poll(&fd, 1, ms);
    coco_bus_ledger_wake_take(&m->ledger);
}


void
coco_bus_member_turn(coco_bus_member_t *m)
{
    atomic_store(&m->turn, coco_clock_monotonic_us());
}
