/*
 * Envelopes of events: every rule, by the cases of tests/data/envelope; what
 * is written is read again.
 */

#include "core_test.h"
#include "coco_envelope.h"


static void
case_is_accepted(void **state)
{
    char               *buf;
    coco_error_t        err;
    coco_envelope_t     a, b;
    coco_json_out_t     out;
    const test_file_t  *file = *state;

    if (coco_envelope_decode(&a, file->text, &err) != COCO_OK) {
        fail_msg("%s: %s", err.field, err.reason);
    }

    buf = malloc(file->text.len + 64);
    assert_non_null(buf);

    coco_json_out_init(&out, buf, file->text.len + 64);
    coco_envelope_open(&out, &a.id, a.name, a.serial, a.ts);
    coco_json_json(&out, a.data);
    coco_json_object_close(&out);
    assert_true(coco_json_out_ok(&out));

    assert_int_equal(coco_envelope_decode(&b, (coco_str_t) { buf, out.len },
                                          &err), COCO_OK);
    assert_memory_equal(&a.id, &b.id, sizeof(a.id));
    assert_true(coco_str_equal(a.name, b.name));
    assert_true(coco_str_equal(a.serial, b.serial));
    assert_true(coco_str_equal(a.data, b.data));
    assert_true(a.ts == b.ts);

    free(buf);
}


static void
case_is_refused(void **state)
{
    char                field[64];
    coco_error_t        err;
    coco_envelope_t     envelope;
    const test_file_t  *file = *state;

    test_file_field(file, field, sizeof(field));
    assert_int_equal(coco_envelope_decode(&envelope, file->text, &err),
                     COCO_ERROR);
    assert_string_equal(err.field, field);
    assert_true(strlen(err.reason) > 0);
}


static void
envelope_is_as_documented(void **state)
{
    char             buf[256];
    coco_id_t        id;
    coco_error_t     err;
    coco_envelope_t  envelope;
    coco_json_out_t  out;

    static const char  text[] =
        "{\"id\":\"abababab-abab-abab-abab-abababababab\","
        "\"name\":\"IoT.Heartbeat\",\"serial\":\"R-1\",\"ts\":1790000000000,"
        "\"data\":{\"a\":1}}";

    memset(&id, 0xab, sizeof(id));

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_envelope_open(&out, &id, coco_string("IoT.Heartbeat"), TOPIC,
                       INT64_C(1790000000000));
    coco_json_object_open(&out);
    coco_json_name(&out, "a");
    coco_json_int(&out, 1);
    coco_json_object_close(&out);
    coco_json_object_close(&out);

    assert_int_equal(out.len, sizeof(text) - 1);
    assert_memory_equal(buf, text, out.len);

    assert_int_equal(coco_envelope_decode(&envelope, coco_string(text), &err),
                     COCO_OK);
    assert_memory_equal(&envelope.id, &id, sizeof(id));
    assert_true(coco_str_equal(envelope.name, coco_string("IoT.Heartbeat")));
    assert_true(coco_str_equal(envelope.serial, TOPIC));
    assert_true(coco_str_equal(envelope.data, coco_string("{\"a\":1}")));
    assert_true(envelope.ts == INT64_C(1790000000000));
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(envelope_is_as_documented)
    };

    failed = cmocka_run_group_tests_name("core: envelopes", tests, NULL,
                                         NULL);
    failed += test_files_run("tests/data/envelope/accept", case_is_accepted);
    failed += test_files_run("tests/data/envelope/refuse", case_is_refused);

    return failed;
}
