/*
 * The loop engine of the bus, and the ledger of its consumers: what is
 * shuffled and doubled by a seed, and what may be acknowledged when.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/service.h"
#include "sinks/bus.h"
#include "sources/bus_ledger.h"

#define EVENTS  400
#define PUSHES  (2 * EVENTS)

/* A lane of one thread, which does what was pushed once nothing more comes
 * for a moment, as a batch. */
typedef struct {
    pthread_mutex_t  mutex;
    pthread_cond_t   cond;
    pthread_t        thread;
    bool             ended;
    bool             deaf;              /* gives messages up */
    size_t           pushed, done, runs;
    int              order[PUSHES];     /* numbers of the events */
    coco_message_t   messages[PUSHES];
} lane_t;


static int
lane_push(void *data, const coco_message_t *m)
{
    lane_t  *lane = data;

    pthread_mutex_lock(&lane->mutex);
    assert_true(lane->pushed < PUSHES);
    assert_int_equal(m->kind, COCO_KIND_EVENT);
    assert_string_equal(m->source, "bus");
    lane->order[lane->pushed] = atoi(m->payload.data);
    lane->messages[lane->pushed++] = *m;
    pthread_cond_broadcast(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);

    return COCO_OK;
}


static void *
lane_thread(void *data)
{
    size_t            from, to;
    lane_t           *lane = data;
    struct timespec   until;

    pthread_mutex_lock(&lane->mutex);

    while (!lane->ended) {
        if (lane->pushed == lane->done || lane->deaf) {
            pthread_cond_wait(&lane->cond, &lane->mutex);
            continue;
        }

        to = 0;
        while (to != lane->pushed) {
            to = lane->pushed;
            until = coco_cond_deadline(coco_clock_monotonic_us() + 2000);
            pthread_cond_timedwait(&lane->cond, &lane->mutex, &until);
        }

        from = lane->done;
        lane->done = to;
        lane->runs++;
        pthread_mutex_unlock(&lane->mutex);

        /* the newest first: an engine must wait for all of them */
        for (size_t i = to; i-- > from; /* void */ ) {
            lane->messages[i].done(lane->messages[i].done_data,
                                   lane->messages[i].tag);
        }

        pthread_mutex_lock(&lane->mutex);
    }

    pthread_mutex_unlock(&lane->mutex);

    return NULL;
}


static lane_t *
lane_start(void)
{
    lane_t  *lane;

    lane = calloc(1, sizeof(*lane));
    assert_non_null(lane);
    assert_int_equal(pthread_mutex_init(&lane->mutex, NULL), 0);
    assert_int_equal(coco_cond_init(&lane->cond), COCO_OK);
    assert_int_equal(pthread_create(&lane->thread, NULL, lane_thread, lane),
                     0);

    return lane;
}


static void
lane_end(lane_t *lane)
{
    pthread_mutex_lock(&lane->mutex);
    lane->ended = true;
    pthread_cond_broadcast(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);
    pthread_join(lane->thread, NULL);
    free(lane);
}


static coco_config_t
looping(unsigned services, uint64_t seed)
{
    coco_config_t  config;

    memset(&config, 0, sizeof(config));
    config.bus_scramble = 1;
    config.bus_scramble_seed = seed;
    config.service_bits = services;

    return config;
}


static void
events_make(coco_bus_event_t *events, char (*text)[8], const char *name)
{
    memset(events, 0, EVENTS * sizeof(*events));

    for (int i = 0; i < EVENTS; i++) {
        events[i].name = (coco_str_t) { name, strlen(name) };
        events[i].serial = coco_string("r-1");
        snprintf(text[i], sizeof(text[i]), "%d", i);
        events[i].payload = (coco_str_t) { text[i], strlen(text[i]) };
    }
}


/* Sends all in `calls` calls; the caller ends the lane. */
static lane_t *
run(unsigned services, uint64_t seed, const char *name, int calls)
{
    char                text[EVENTS][8];
    size_t              count = (size_t) (EVENTS / calls);
    lane_t             *lane = lane_start();
    coco_bus_t         *bus;
    coco_stop_t         stop;
    coco_config_t       config = looping(services, seed);
    coco_bus_event_t    events[EVENTS];
    coco_bus_options_t  options = { &config, lane_push, lane };

    assert_int_equal(coco_stop_init(&stop), COCO_OK);
    bus = coco_bus_create(&options, &stop);
    assert_non_null(bus);
    events_make(events, text, name);

    for (int i = 0; i < calls; i++) {
        assert_int_equal(coco_bus_send(bus, events + (size_t) i * count,
                                       count), count);

        pthread_mutex_lock(&lane->mutex);
        assert_int_equal(lane->done, lane->pushed);
        pthread_mutex_unlock(&lane->mutex);
    }

    coco_bus_destroy(bus);
    coco_stop_free(&stop);

    return lane;
}


static void
test_all_come_shuffled_doubled_and_split(void **state)
{
    int      seen[EVENTS] = { 0 }, twice = 0, inverted = 0;
    lane_t  *lane;

    lane = run(COCO_SERVICES_ALL, 7, "Robots.StateChange", 1);

    for (size_t i = 0; i < lane->pushed; i++) {
        seen[lane->order[i]]++;
        inverted += i > 0 && lane->order[i] < lane->order[i - 1];
    }

    for (int i = 0; i < EVENTS; i++) {
        assert_in_range(seen[i], 1, 2);
        twice += seen[i] == 2;
    }

    assert_in_range(twice, EVENTS / 8, EVENTS / 2);
    assert_in_range(inverted, EVENTS / 4, EVENTS);
    assert_true(lane->runs > 1);
    lane_end(lane);
}


static void
test_the_seed_decides(void **state)
{
    lane_t  *a, *b, *c;

    a = run(COCO_SERVICES_ALL, 7, "Robots.StateChange", 2);
    b = run(COCO_SERVICES_ALL, 7, "Robots.StateChange", 2);
    c = run(COCO_SERVICES_ALL, 8, "Robots.StateChange", 2);

    assert_int_equal(a->pushed, b->pushed);
    assert_memory_equal(a->order, b->order, sizeof(a->order));
    assert_memory_not_equal(a->order, c->order, sizeof(a->order));

    lane_end(a);
    lane_end(b);
    lane_end(c);
}


static void
test_what_nobody_here_consumes_counts_as_sent(void **state)
{
    lane_t  *lane;

    lane = run(COCO_SERVICE_STATE, 7, "Robots.StateChange", 1);
    assert_int_equal(lane->pushed, 0);
    lane_end(lane);

    lane = run(COCO_SERVICES_ALL, 7, "ConnectivityRawStatusChanged", 1);
    assert_int_equal(lane->pushed, 0);
    lane_end(lane);

    lane = run(COCO_SERVICE_STATE, 7, "Robots.LidClose", 1);
    assert_int_equal(lane->pushed, 0);
    lane_end(lane);

    lane = run(COCO_SERVICE_DELIVERIES, 7, "Robots.LidClose", 1);
    assert_in_range(lane->pushed, EVENTS, 2 * EVENTS);
    lane_end(lane);
}


static void *
stopper(void *data)
{
    lane_t       *lane = ((void **) data)[0];
    coco_stop_t  *stop = ((void **) data)[1];

    pthread_mutex_lock(&lane->mutex);
    while (lane->pushed == 0) {
        pthread_cond_wait(&lane->cond, &lane->mutex);
    }
    pthread_mutex_unlock(&lane->mutex);

    coco_stop_set(stop);

    return NULL;
}


/* What the lane tells of after the sender has gone must find its memory. */
static void
test_a_stop_ends_the_wait(void **state)
{
    char                text[EVENTS][8];
    int64_t             begin;
    lane_t             *lane = lane_start();
    pthread_t           thread;
    coco_bus_t         *bus;
    coco_stop_t         stop;
    coco_config_t       config = looping(COCO_SERVICES_ALL, 7);
    coco_bus_event_t    events[EVENTS];
    coco_bus_options_t  options = { &config, lane_push, lane };
    void               *both[] = { lane, &stop };

    lane->deaf = true;
    assert_int_equal(coco_stop_init(&stop), COCO_OK);
    bus = coco_bus_create(&options, &stop);
    assert_non_null(bus);
    events_make(events, text, "Robots.StateChange");
    assert_int_equal(pthread_create(&thread, NULL, stopper, both), 0);

    begin = coco_clock_monotonic_us();
    assert_true(coco_bus_send(bus, events, EVENTS) < EVENTS);
    assert_true(coco_clock_monotonic_us() - begin < 2000000);
    pthread_join(thread, NULL);
    coco_bus_destroy(bus);
    coco_stop_free(&stop);

    for (size_t i = 0; i < lane->pushed; i++) {
        lane->messages[i].done(lane->messages[i].done_data,
                               lane->messages[i].tag);
    }

    lane_end(lane);
}


static void
test_ledger_releases_without_gaps(void **state)
{
    uint64_t           tags[4];
    coco_bus_entry_t   e = { 0 }, out;
    coco_bus_ledger_t  l;

    assert_int_equal(coco_bus_ledger_init(&l, 3), COCO_OK);

    for (int i = 0; i < 3; i++) {
        e.position = (uint64_t) i + 10;
        assert_int_equal(coco_bus_ledger_enter(&l, &e, &tags[i]), COCO_OK);
    }

    assert_int_equal(coco_bus_ledger_enter(&l, &e, &tags[3]), COCO_AGAIN);

    coco_bus_ledger_done(&l, tags[2]);
    coco_bus_ledger_done(&l, tags[1]);
    assert_false(coco_bus_ledger_release(&l, &out));

    coco_bus_ledger_done(&l, tags[0]);
    for (uint64_t position = 10; position < 13; position++) {
        assert_true(coco_bus_ledger_release(&l, &out));
        assert_int_equal(out.position, position);
    }

    assert_false(coco_bus_ledger_release(&l, &out));
    assert_int_equal(coco_bus_ledger_in_flight(&l), 0);

    /* what was not pushed leaves no trace */
    assert_int_equal(coco_bus_ledger_enter(&l, &e, &tags[3]), COCO_OK);
    coco_bus_ledger_cancel(&l);
    assert_int_equal(coco_bus_ledger_in_flight(&l), 0);

    coco_bus_ledger_free(&l);
}


static void
test_ledger_ignores_an_earlier_connection(void **state)
{
    uint64_t           old, tag;
    coco_bus_entry_t   e = { 0 }, out;
    coco_bus_ledger_t  l;

    assert_int_equal(coco_bus_ledger_init(&l, 3), COCO_OK);
    assert_int_equal(coco_bus_ledger_enter(&l, &e, &old), COCO_OK);
    coco_bus_ledger_reset(&l);
    assert_int_equal(coco_bus_ledger_enter(&l, &e, &tag), COCO_OK);

    coco_bus_ledger_done(&l, old);
    assert_false(coco_bus_ledger_release(&l, &out));
    coco_bus_ledger_done(&l, tag);
    assert_true(coco_bus_ledger_release(&l, &out));

    coco_bus_ledger_free(&l);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_all_come_shuffled_doubled_and_split),
        cmocka_unit_test(test_the_seed_decides),
        cmocka_unit_test(test_what_nobody_here_consumes_counts_as_sent),
        cmocka_unit_test(test_a_stop_ends_the_wait),
        cmocka_unit_test(test_ledger_releases_without_gaps),
        cmocka_unit_test(test_ledger_ignores_an_earlier_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
