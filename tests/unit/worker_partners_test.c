/*
 * The gate before a partner: rate, pause and breaker, by a clock of the test's.
 */

#include <setjmp.h>
#include <stdarg.h>

#include "sinks/partners_gate.h"

#include <cmocka.h>

#define SECOND  INT64_C(1000000)


static coco_partners_gate_t
gate_of(unsigned rate, unsigned limit)
{
    coco_partners_gate_t  gate;

    coco_partners_gate_init(&gate, rate, limit, 1000, SECOND);

    return gate;
}


static void
rate_is_kept(void **state)
{
    int64_t               now = SECOND;
    unsigned              room, begun = 0;
    coco_partners_gate_t  gate = gate_of(10, 5);

    for ( /* void */ ; now < 11 * SECOND; now += 1000) {
        room = coco_partners_gate_room(&gate, 100, 0, now);
        coco_partners_gate_take(&gate, room);
        begun += room;
        assert_true(begun <= 10 + (unsigned) ((now - SECOND) / 100000) + 1);
    }

    /* a second's worth at once, then ten seconds at ten */
    assert_in_range(begun, 109, 110);

    /* an hour of silence saves up no more than a second's */
    assert_int_equal(coco_partners_gate_room(&gate, 100, 0,
                                             now + 3600 * SECOND), 10);
}


static void
concurrency_is_kept(void **state)
{
    coco_partners_gate_t  gate = gate_of(100, 5);

    assert_int_equal(coco_partners_gate_room(&gate, 8, 0, SECOND), 8);
    assert_int_equal(coco_partners_gate_room(&gate, 8, 5, SECOND), 3);
    assert_int_equal(coco_partners_gate_room(&gate, 8, 9, SECOND), 0);
}


static void
pause_is_kept(void **state)
{
    coco_partners_gate_t  gate = gate_of(100, 5);

    coco_partners_gate_pause(&gate, 4 * SECOND);
    coco_partners_gate_pause(&gate, 3 * SECOND);
    assert_int_equal(coco_partners_gate_room(&gate, 8, 0, 4 * SECOND - 1), 0);
    assert_int_equal(coco_partners_gate_room(&gate, 8, 0, 4 * SECOND), 8);
}


static void
breaker_opens_and_closes(void **state)
{
    int64_t               now = SECOND, last = 0;
    coco_partners_gate_t  gate = gate_of(100, 3);

    /* in a row */
    assert_false(coco_partners_gate_failed(&gate, now));
    assert_false(coco_partners_gate_failed(&gate, now));
    coco_partners_gate_passed(&gate);
    assert_false(coco_partners_gate_failed(&gate, now));
    assert_false(coco_partners_gate_failed(&gate, now));
    assert_int_equal(coco_partners_gate_room(&gate, 8, 0, now), 8);
    assert_true(coco_partners_gate_failed(&gate, now));

    for (int i = 0; i < 20; i++) {
        /* those under way say nothing new */
        assert_false(coco_partners_gate_failed(&gate, gate.open_until - 1));
        assert_int_equal(coco_partners_gate_room(&gate, 8, 0,
                                                 gate.open_until - 1), 0);
        assert_in_range(gate.open_until - now, SECOND / 2, 60 * SECOND);

        if (i >= 2) {
            assert_true(gate.open_until - now >= last / 2);
        }

        last = gate.open_until - now;
        now = gate.open_until;

        /* one at a time */
        assert_int_equal(coco_partners_gate_room(&gate, 8, 0, now), 1);
        assert_int_equal(coco_partners_gate_room(&gate, 8, 1, now), 0);
        assert_true(coco_partners_gate_failed(&gate, now));
    }

    assert_true(last >= 30 * SECOND);
    coco_partners_gate_passed(&gate);
    assert_int_equal(coco_partners_gate_room(&gate, 8, 0, now), 8);
    assert_false(coco_partners_gate_failed(&gate, now));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rate_is_kept),
        cmocka_unit_test(concurrency_is_kept),
        cmocka_unit_test(pause_is_kept),
        cmocka_unit_test(breaker_opens_and_closes),
    };

    return cmocka_run_group_tests_name("partners", tests, NULL, NULL);
}
