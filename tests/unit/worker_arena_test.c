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


static void
text_encode(coco_json_out_t *out, const void *data)
{
    coco_json_string(out, *(const coco_str_t *) data);
}


static void
test_json_is_whole_whatever_was_guessed(void **state)
{
    char          text[100], *next;
    coco_str_t    json, s = { text, sizeof(text) };
    coco_arena_t  arena = { NULL };

    memset(text, 'j', sizeof(text));

    for (size_t size = 1; size <= 2 * sizeof(text); size++) {
        assert_int_equal(coco_arena_json(&arena, &json, size, text_encode, &s),
                         COCO_OK);
        next = coco_arena_alloc(&arena, 1);
        memset(next, 'x', 1);

        /* nothing is kept behind it, and nobody writes into it */
        assert_true(next - (json.data + json.len) < 16);
        assert_int_equal(json.len, sizeof(text) + 2);
        assert_memory_equal(json.data + 1, text, sizeof(text));
        assert_int_equal(json.data[0], '"');
        assert_int_equal(json.data[json.len - 1], '"');
    }

    coco_arena_free(&arena);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_rewind_gives_back_what_came_after),
        cmocka_unit_test(test_rewind_to_nothing),
        cmocka_unit_test(test_json_is_whole_whatever_was_guessed)
    };

    return cmocka_run_group_tests_name("worker: arena", tests, NULL, NULL);
}
