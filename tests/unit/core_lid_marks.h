/*
 * What the tests of the lid cycle share: events by name, one robot's store,
 * what is expected of its cycles. Times are in ms after T.
 */

#ifndef CORE_LID_MARKS_H
#define CORE_LID_MARKS_H

#include "core_test.h"
#include "core_lid_store.h"


#define T       INT64_C(1795000000000)
#define WINDOW  INT64_C(2000)
#define CYCLE   INT64_C(1800000)
#define LATER   (T + 3 * CYCLE)     /* all that is due has come */

#define QR_REF  coco_string("delivery-1")

static lid_store_t  store;


static inline int
setup(void **state)
{
    store_init(&store, WINDOW, CYCLE);

    return 0;
}


static inline int
teardown(void **state)
{
    assert_string_equal(store.fault, "");

    return 0;
}


static inline coco_id_t
id_make(const char *name)
{
    coco_id_t   id;
    coco_str_t  cause = { name, strlen(name) };

    coco_id_derive(&id, &cause, 1);

    return id;
}


/* An event of the machine; its name is its identity. */
static inline coco_lid_mark_t
mark_make(const char *name, coco_lid_event_e event, int64_t at)
{
    return (coco_lid_mark_t) {
        .id = id_make(name),
        .event = event,
        .at = T + at,
        .wait_until = COCO_NEVER,
        .source = event == COCO_LID_SEEN_OPEN
                  || event == COCO_LID_SEEN_CLOSED
                  ? COCO_SOURCE_RESYNC : COCO_SOURCE_NONE
    };
}


static inline coco_lid_mark_t
request_make(const char *name, coco_lid_source_e source, coco_str_t reference,
    int64_t at)
{
    coco_lid_mark_t  mark = mark_make(name, COCO_LID_OPEN_REQUEST, at);

    mark.source = source;
    mark.reference = reference;
    mark.expires_at = mark.at + 9000;
    mark.has_command = true;
    mark.command = id_make(name);

    return mark;
}


/* The same, as the answer to the command of a request. */
static inline coco_lid_mark_t
answering(coco_lid_mark_t mark, const char *request)
{
    mark.has_command = true;
    mark.command = id_make(request);

    return mark;
}


/* One event, in a transaction of its own. */
static inline void
put(coco_lid_mark_t mark, int64_t now)
{
    store_wait(&store, T + now);
    store_apply(&store, &mark, 1, T + now);
}


/* The event comes as soon as it happens. */
static inline void
happen(const char *name, coco_lid_event_e event, int64_t at)
{
    put(mark_make(name, event, at), at);
}


static inline int
by_time(const void *a, const void *b)
{
    const coco_lid_cycle_t  *left = a, *right = b;
    int64_t                  l, r;

    l = left->has_open ? left->opened_at : left->closed_at;
    r = right->has_open ? right->opened_at : right->closed_at;

    return (l > r) - (l < r);
}


/* The n-th stored cycle by time; there are `of` altogether. */
static inline coco_lid_cycle_t *
cycle_of(size_t n, size_t of)
{
    assert_string_equal(store.fault, "");
    assert_int_equal(store.cycle_count, of);
    qsort(store.cycles, store.cycle_count, sizeof(store.cycles[0]), by_time);

    return &store.cycles[n];
}


static inline void
assert_times(const coco_lid_cycle_t *cycle, int64_t opened, int64_t closed)
{
    assert_int_equal(cycle->opened_at,
                     opened == COCO_NEVER ? COCO_NEVER : T + opened);
    assert_int_equal(cycle->closed_at,
                     closed == COCO_NEVER ? COCO_NEVER : T + closed);
    assert_int_equal(cycle->has_open, opened != COCO_NEVER);
    assert_int_equal(cycle->has_close, closed != COCO_NEVER);
}


static inline void
assert_whole(const coco_lid_cycle_t *cycle, coco_lid_source_e source,
    coco_str_t reference, int64_t opened, int64_t closed)
{
    assert_int_equal(cycle->state, COCO_LID_COMPLETE);
    assert_int_equal(cycle->reason, COCO_LID_WHOLE);
    assert_int_equal(cycle->source, source);
    assert_true(coco_str_equal(cycle->reference, reference));
    assert_times(cycle, opened, closed);
}


static inline void
assert_id(const coco_id_t *id, const char *name)
{
    coco_id_t  expected = id_make(name);

    assert_memory_equal(id, &expected, sizeof(expected));
}


static inline size_t
published(bool close)
{
    size_t  i, count = 0;

    for (i = 0; i < store.published_count; i++) {
        count += store.published[i].close == close;
    }

    return count;
}


static inline void
assert_published(size_t opens, size_t closes)
{
    assert_int_equal(published(false), opens);
    assert_int_equal(published(true), closes);
}


#define none  ((coco_str_t) { NULL, 0 })

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif /* CORE_LID_MARKS_H */
