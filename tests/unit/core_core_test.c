/*
 * Serials, ids and errors.
 */

#include "core_test.h"


static void
serial_is_accepted(void **state)
{
    char  longest[COCO_SERIAL_MAX];

    memset(longest, 'Z', sizeof(longest));

    assert_true(coco_serial_valid(coco_string("a")));
    assert_true(coco_serial_valid(coco_string("azAZ09._-")));
    assert_true(coco_serial_valid(coco_string("...")));
    assert_true(coco_serial_valid(coco_string("streams")));
    assert_true(coco_serial_valid((coco_str_t) { longest, sizeof(longest) }));
}


static void
serial_is_refused(void **state)
{
    size_t             i;
    char               longer[COCO_SERIAL_MAX + 1];
    static const char  others[] = " /\\#+$:;,@`[{^~\"'\x01\x7f\xc3";

    memset(longer, 'Z', sizeof(longer));

    assert_false(coco_serial_valid((coco_str_t) { NULL, 0 }));
    assert_false(coco_serial_valid(coco_string("")));
    assert_false(coco_serial_valid(coco_string(".")));
    assert_false(coco_serial_valid(coco_string("..")));
    assert_false(coco_serial_valid(coco_string("stream")));
    assert_false(coco_serial_valid((coco_str_t) { longer, sizeof(longer) }));

    for (i = 0; i < sizeof(others); i++) {
        assert_false(coco_serial_valid((coco_str_t) { &others[i], 1 }));
    }
}


/* sha256(01 00*7 "a" 02 00*7 "bc"), made with sha256sum. */
static void
id_is_the_cut_sha256_of_length_prefixed_parts(void **state)
{
    char        text[COCO_ID_TEXT_LEN];
    coco_id_t   id, again;
    coco_str_t  parts[] = { coco_string("a"), coco_string("bc") };

    coco_id_derive(&id, parts, 2);
    coco_id_format(text, &id);

    assert_memory_equal(text, "9a8acca1-b6c6-80be-bd3f-bc756aed625d",
                        sizeof(text));

    assert_int_equal(coco_id_parse(&again, (coco_str_t) { text, 36 }),
                     COCO_OK);
    assert_memory_equal(&id, &again, sizeof(id));
}


static void
id_tells_parts_apart(void **state)
{
    coco_id_t   a, b;
    coco_str_t  ab[] = { coco_string("ab"), coco_string("c") };
    coco_str_t  bc[] = { coco_string("a"), coco_string("bc") };

    coco_id_derive(&a, ab, 2);
    coco_id_derive(&b, bc, 2);
    assert_memory_not_equal(&a, &b, sizeof(a));

    coco_id_derive(&b, ab, 1);
    assert_memory_not_equal(&a, &b, sizeof(a));
}


static void
id_parse_takes_uuids_only(void **state)
{
    size_t             i;
    coco_id_t          id;
    static const char  bad[][40] = {
        "", "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-0000000000000",
        "00000000-0000-0000-0000-00000000000g",
        "000000000-000-0000-0000-000000000000",
        "{0000000-0000-0000-0000-00000000000}"
    };

    assert_int_equal(coco_id_parse(&id,
                         coco_string("01234567-89aB-cdEf-0123-456789abcdef")),
                     COCO_OK);
    assert_memory_equal(id.bytes, "\x01\x23\x45\x67\x89\xab\xcd\xef"
                        "\x01\x23\x45\x67\x89\xab\xcd\xef", 16);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(coco_id_parse(&id, (coco_str_t) { bad[i],
                                                         strlen(bad[i]) }),
                         COCO_ERROR);
    }
}


/* A torn sequence would make Postgres refuse the dead letter itself. */
static void
error_is_cut_to_valid_utf8(void **state)
{
    char          field[64 + 2], *p;
    coco_error_t  err;

    memset(field, 'a', sizeof(field));
    memcpy(field + 62, "\xc3\xa9", 3);

    assert_int_equal(coco_error_set(&err, field, "%s", "r"), COCO_ERROR);
    assert_int_equal(strlen(err.field), 63);
    assert_string_equal(err.reason, "r");

    for (p = err.field; *p != '\0'; p++) {
        assert_true((unsigned char) *p < 0x80);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(serial_is_accepted),
        cmocka_unit_test(serial_is_refused),
        cmocka_unit_test(id_is_the_cut_sha256_of_length_prefixed_parts),
        cmocka_unit_test(id_tells_parts_apart),
        cmocka_unit_test(id_parse_takes_uuids_only),
        cmocka_unit_test(error_is_cut_to_valid_utf8)
    };

    return cmocka_run_group_tests_name("core: serials, ids, errors", tests,
                                       NULL, NULL);
}
