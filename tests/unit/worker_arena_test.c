/*
 * The arena of a batch: what is taken, and given back.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sinks/arena.h"

#define BIG  (1 << 20)


static void
test_rewind_gives_back_what_came_after(void **state)
{
    char               *kept, *p;
    coco_arena_t        arena = { NULL };
    coco_arena_mark_t   mark;

    kept = coco_arena_alloc(&arena, 100);
    assert_non_null(kept);
    memset(kept, 'k', 100);
    mark = coco_arena_mark(&arena);
    p = coco_arena_alloc(&arena, 100);

    /* leak checkers see the blocks, too */
    for (int i = 0; i < 50; i++) {
        memset(coco_arena_alloc(&arena, BIG), 'x', BIG);
        memset(coco_arena_alloc(&arena, 100), 'x', 100);
        coco_arena_rewind(&arena, mark);
        assert_ptr_equal(coco_arena_alloc(&arena, 100), p);
        coco_arena_rewind(&arena, mark);
    }

    assert_int_equal(kept[0], 'k');
    assert_int_equal(kept[99], 'k');
    coco_arena_free(&arena);
}


static void
test_rewind_to_nothing(void **state)
{
    coco_arena_t        arena = { NULL };
    coco_arena_mark_t   mark = coco_arena_mark(&arena);

    coco_arena_rewind(&arena, mark);
    assert_non_null(coco_arena_alloc(&arena, BIG));
    assert_non_null(coco_arena_alloc(&arena, 1));
    coco_arena_rewind(&arena, mark);
    assert_non_null(coco_arena_alloc(&arena, 1));
    coco_arena_free(&arena);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_rewind_gives_back_what_came_after),
        cmocka_unit_test(test_rewind_to_nothing)
    };

    return cmocka_run_group_tests_name("worker: arena", tests, NULL, NULL);
}
