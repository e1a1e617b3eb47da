/*
 * The set of serials that a sink owes: each once, bounded, and "all" beyond.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "sinks/owed.h"


static coco_str_t
serial(char *text, unsigned i)
{
    int  n;

    n = snprintf(text, COCO_SERIAL_MAX + 1, "r-%u", i);

    return (coco_str_t) { text, (size_t) n };
}


static void
add(coco_owed_t *owed, unsigned from, unsigned to)
{
    char  text[COCO_SERIAL_MAX + 1];

    for (unsigned i = from; i < to; i++) {
        coco_owed_add(owed, serial(text, i));
    }
}


static void
test_empty(void **state)
{
    size_t       at = 0;
    coco_str_t   s;
    coco_owed_t  owed = { 0 };

    assert_false(coco_owed_any(&owed));
    assert_false(coco_owed_next(&owed, &at, &s));
    assert_int_equal(coco_owed_count(&owed), 0);
    coco_owed_clear(&owed);
    assert_false(coco_owed_any(&owed));
}


static void
test_each_once(void **state)
{
    char         text[COCO_SERIAL_MAX + 1];
    bool         found[1000] = { false };
    size_t       at = 0, n = 0;
    unsigned     i;
    coco_str_t   s;
    coco_owed_t  owed = { 0 };

    add(&owed, 0, 1000);
    add(&owed, 0, 1000);
    assert_int_equal(coco_owed_count(&owed), 1000);

    while (coco_owed_next(&owed, &at, &s)) {
        assert_true(s.len < sizeof(text));
        memcpy(text, s.data, s.len);
        text[s.len] = '\0';
        assert_int_equal(sscanf(text, "r-%u", &i), 1);
        assert_true(i < 1000);
        assert_false(found[i]);
        found[i] = true;
        n++;
    }

    assert_int_equal(n, 1000);
    assert_false(owed.all);
    coco_owed_clear(&owed);
    assert_false(coco_owed_any(&owed));
}


static void
test_serials_alike(void **state)
{
    char         text[COCO_SERIAL_MAX];
    coco_str_t   s = { text, 0 };
    coco_owed_t  owed = { 0 };

    memset(text, 'a', sizeof(text));

    for (s.len = 1; s.len <= COCO_SERIAL_MAX; s.len++) {
        coco_owed_add(&owed, s);
    }

    assert_int_equal(coco_owed_count(&owed), COCO_SERIAL_MAX);
    assert_false(owed.all);
    coco_owed_clear(&owed);
}


static void
test_all_beyond_the_cap(void **state)
{
    size_t       at = 0;
    coco_str_t   s;
    coco_owed_t  owed = { 0 };

    add(&owed, 0, COCO_OWED_MAX);
    assert_false(owed.all);
    assert_int_equal(coco_owed_count(&owed), COCO_OWED_MAX);

    add(&owed, 7, 8);
    assert_false(owed.all);

    add(&owed, COCO_OWED_MAX, COCO_OWED_MAX + 1);
    assert_true(owed.all);
    assert_true(coco_owed_any(&owed));
    assert_int_equal(coco_owed_count(&owed), COCO_OWED_MAX);

    /* nothing is kept beside the flag */
    add(&owed, 0, 10);
    assert_null(owed.slots);
    assert_false(coco_owed_next(&owed, &at, &s));

    coco_owed_clear(&owed);
    assert_false(coco_owed_any(&owed));
    add(&owed, 0, 1);
    assert_int_equal(coco_owed_count(&owed), 1);
    coco_owed_clear(&owed);
}


static void
test_what_cannot_be_kept_is_all(void **state)
{
    char         text[COCO_SERIAL_MAX + 1] = "x";
    coco_owed_t  owed = { 0 };

    coco_owed_add(&owed, (coco_str_t) { text, sizeof(text) });
    assert_true(owed.all);
    coco_owed_clear(&owed);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_serials_alike),
        cmocka_unit_test(test_all_beyond_the_cap),
        cmocka_unit_test(test_what_cannot_be_kept_is_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
