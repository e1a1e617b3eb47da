/*
 * The batch that fills: bounds, copies, and the message above the limit.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch.h"
#include "sinks/arena.h"


static coco_message_t
test_message(char *payload, size_t len)
{
    coco_message_t  m;

    memset(&m, 0, sizeof(m));
    m.source = "mqtt";
    m.topic = coco_string("robot/r-1/status");
    m.serial = coco_string("r-1");
    m.payload = (coco_str_t) { payload, len };

    return m;
}


static void
test_copies(void **unused)
{
    char            payload[] = "abc";
    coco_batch_t    b;
    coco_message_t  m = test_message(payload, 3);

    assert_int_equal(coco_batch_init(&b, 2, 1024), COCO_OK);
    assert_int_equal(coco_batch_add(&b, &m), COCO_OK);
    payload[0] = 'x';
    assert_memory_equal(b.messages[0].payload.data, "abc", 3);
    assert_true(b.messages[0].serial.data != m.serial.data);

    m.serial.data = NULL;
    m.serial.len = 0;
    assert_int_equal(coco_batch_add(&b, &m), COCO_OK);
    assert_null(b.messages[1].serial.data);
    coco_batch_free(&b);
}


static void
test_bounds(void **unused)
{
    char            payload[600] = "";
    coco_batch_t    b;
    coco_message_t  m = test_message(payload, 100);

    assert_int_equal(coco_batch_init(&b, 3, 512), COCO_OK);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(coco_batch_add(&b, &m), COCO_OK);
    }

    assert_int_equal(coco_batch_add(&b, &m), COCO_AGAIN);      /* messages */
    coco_batch_reset(&b);

    m.payload.len = 300;
    assert_int_equal(coco_batch_add(&b, &m), COCO_OK);
    assert_int_equal(coco_batch_add(&b, &m), COCO_AGAIN);      /* bytes */
    coco_batch_reset(&b);

    m.payload.len = 600;
    assert_int_equal(coco_batch_add(&b, &m), COCO_OK);         /* alone */
    assert_int_equal(coco_batch_add(&b, &m), COCO_AGAIN);
    assert_true(b.size > 512);
    coco_batch_reset(&b);
    assert_int_equal(b.size, 512);
    coco_batch_free(&b);
}


static void
test_arena(void **unused)
{
    char          *p, *q;
    coco_arena_t   arena = { NULL };

    p = coco_arena_alloc(&arena, 1000);
    assert_non_null(p);
    coco_arena_trim(&arena, p, 10);
    q = coco_arena_alloc(&arena, 8);
    assert_ptr_equal(q, p + 16);

    q = coco_arena_alloc(&arena, 1 << 20);
    assert_non_null(q);
    memset(q, 1, 1 << 20);

    coco_arena_reset(&arena);
    assert_ptr_equal(coco_arena_alloc(&arena, 8), p);
    coco_arena_free(&arena);
}


static void
test_done(void *data, uint64_t tag)
{
    ++*(int *) data;
}


/* Nobody writes: the lane was not started. */
static void
test_try_push(void **unused)
{
    int                  done = 0;
    char                 payload[] = "{}";
    coco_lane_t         *lane;
    coco_message_t       m = test_message(payload, 2);
    coco_lane_options_t  o = { .name = "telemetry", .shards = 1,
                               .batch_messages = 3, .batch_bytes = 4096,
                               .linger_ms = 1, .postgres = "host=/nowhere",
                               .redis_host = "/nowhere" };

    lane = coco_lane_create(&o);
    assert_non_null(lane);

    m.done = test_done;
    m.done_data = &done;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(coco_lane_try_push(lane, &m), COCO_OK);
    }

    assert_int_equal(coco_lane_try_push(lane, &m), COCO_AGAIN);

    coco_lane_stop(lane);
    assert_int_equal(coco_lane_try_push(lane, &m), COCO_ERROR);
    assert_int_equal(coco_lane_push(lane, &m), COCO_ERROR);

    /* what is given up is not told of */
    coco_lane_destroy(lane);
    assert_int_equal(done, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_try_push),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
