/*
 * The JSON reader against jansson, over generated texts and numbers; the
 * reader's own bounds; the writer.
 */

#include <math.h>

#include <jansson.h>

#include "core_test.h"
#include "coco_json_read.h"
#include "coco_json_write.h"


#define MUTANTS   400           /* of each file */
#define NUMBERS   200000


/* xorshift64: the same texts on every run. */
static uint64_t
random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;

    return *seed;
}


static coco_str_t
text_of(const char *text)
{
    return (coco_str_t) { text, strlen(text) };
}


static bool values_equal(const coco_json_value_t *value, const json_t *json);


static bool
objects_equal(const coco_json_value_t *object, const json_t *json)
{
    bool               equal = true;
    char              *plain;
    size_t             pos = 0, count = 0;
    coco_str_t         name;
    const json_t      *member;
    coco_json_value_t  value, key = { .escaped = true };

    while (equal && coco_json_member_next(object, &pos, &name, &value)) {
        plain = malloc(name.len + 1);
        assert_non_null(plain);

        key.string = name;
        name = coco_json_unescape(&key, plain);
        plain[name.len] = '\0';

        member = json_object_get(json, plain);
        equal = member != NULL && values_equal(&value, member);
        count++;

        free(plain);
    }

    return equal && count == json_object_size(json);
}


static bool
arrays_equal(const coco_json_value_t *array, const json_t *json)
{
    size_t             pos = 0, i = 0;
    coco_json_value_t  value;

    while (coco_json_element_next(array, &pos, &value)) {
        if (i == json_array_size(json)
            || !values_equal(&value, json_array_get(json, i++)))
        {
            return false;
        }
    }

    return i == json_array_size(json);
}


static bool
values_equal(const coco_json_value_t *value, const json_t *json)
{
    bool        equal;
    char       *plain;
    coco_str_t  string;

    switch (value->type) {

    case COCO_JSON_NULL:
        return json_is_null(json);

    case COCO_JSON_TRUE:
        return json_is_true(json);

    case COCO_JSON_FALSE:
        return json_is_false(json);

    case COCO_JSON_NUMBER:
        return json_is_real(json) && value->number == json_real_value(json)
               && !signbit(value->number) == !signbit(json_real_value(json));

    case COCO_JSON_ARRAY:
        return json_is_array(json) && arrays_equal(value, json);

    case COCO_JSON_OBJECT:
        return json_is_object(json) && objects_equal(value, json);

    default:
        plain = malloc(value->string.len + 1);
        assert_non_null(plain);

        string = coco_json_unescape(value, plain);
        equal = json_is_string(json)
                && string.len == json_string_length(json)
                && memcmp(string.data, json_string_value(json), string.len)
                   == 0;
        free(plain);

        return equal;
    }
}


/* Where we are stricter than jansson, on purpose; see coco_json_read.h. */
static bool
reason_is_stricter(const char *reason)
{
    return strstr(reason, "nested deeper") != NULL
           || strstr(reason, "out of a double's range") != NULL
           || strstr(reason, "too many members") != NULL;
}


/* Returns whether both accept the text; anything else is a failure, but for
 * our stricter rules. */
static bool
text_compare(coco_str_t text)
{
    int                rc;
    json_t            *json;
    coco_error_t       err;
    json_error_t       json_err;
    coco_json_value_t  value;

    rc = coco_json_read(&value, text, &err);

    if (memchr(text.data, '\0', text.len) != NULL) {    /* jansson skips it */
        assert_int_equal(rc, COCO_ERROR);
        return false;
    }

    json = json_loadb(text.data, text.len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY
                      | JSON_DECODE_INT_AS_REAL, &json_err);

    if (rc == COCO_OK && json == NULL) {
        fail_msg("only jansson refuses: %s: %.*s", json_err.text,
                 (int) text.len, text.data);
    }

    if (rc != COCO_OK && json != NULL && !reason_is_stricter(err.reason)) {
        fail_msg("only we refuse: %s: %s: %.*s", err.field, err.reason,
                 (int) text.len, text.data);
    }

    if (rc == COCO_OK && !values_equal(&value, json)) {
        fail_msg("read differently: %.*s", (int) text.len, text.data);
    }

    json_decref(json);

    return rc == COCO_OK;
}


static void
file_agrees_with_jansson(void **state)
{
    const test_file_t  *file = *state;

    (void) text_compare(file->text);
}


/* One small change: a byte, a token put in, a piece cut out or repeated. */
static size_t
text_mutate(char *buf, size_t len, size_t size, uint64_t *seed)
{
    size_t      at = len > 0 ? random_next(seed) % len : 0;
    size_t      n = random_next(seed) % 12, m;
    const char  *token;

    static const char *const  tokens[] = {
        "\"", "\\", "{", "}", "[", "]", ",", ":", " ", "0", "-", ".", "e",
        "null", "true", "\"a\":1,", "\\u00e9", "\\ud83d\\ude00", "\\u0000",
        "\\ud800", "\xc3\xa9", "\xff", "1e308", "1e309", "9", "\"ts\":1,",
        "\t", "\x01", "\"\\u0074s\":2,", "\xf0\x9f\x98\x80", "\\/", "E+1"
    };

    switch (random_next(seed) % 4) {

    case 0:
        if (len > 0) {
            buf[at] = (char) random_next(seed);
        }

        return len;

    case 1:
        n = n < len - at ? n : len - at;
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;

    case 2:
        n = n < len - at ? n : len - at;

        if (len + n > size) {
            return len;
        }

        memmove(buf + at + n, buf + at, len - at);
        return len + n;

    default:
        token = tokens[random_next(seed) % (sizeof(tokens) / sizeof(char *))];
        m = strlen(token);

        if (len + m > size) {
            return len;
        }

        memmove(buf + at + m, buf + at, len - at);
        memcpy(buf + at, token, m);
        return len + m;
    }
}


static void
mutants_agree_with_jansson(void **state)
{
    char         *buf, *exact;
    size_t        i, n, len, changes, accepted = 0, refused = 0;
    uint64_t      seed = 88172645463325252;
    test_files_t  files;

    files = test_files_load("tests/data/heartbeat/accept");
    buf = malloc(65536);
    assert_non_null(buf);

    for (i = 0; i < files.count; i++) {
        for (n = 0; n < MUTANTS; n++) {
            len = files.files[i].text.len;
            memcpy(buf, files.files[i].text.data, len);

            for (changes = 1 + random_next(&seed) % 3; changes > 0; changes--) {
                len = text_mutate(buf, len, 65536, &seed);
            }

            exact = malloc(len + 1);
            assert_non_null(exact);
            memcpy(exact, buf, len);

            if (text_compare((coco_str_t) { exact, len })) {
                accepted++;

            } else {
                refused++;
            }

            free(exact);
        }
    }

    /* the generator makes enough of either kind */

    assert_true(accepted > 1000);
    assert_true(refused > 1000);

    free(buf);
    test_files_free(&files);
}


static void
number_compare(const char *text)
{
    bool               in_range;
    double             expected = strtod(text, NULL);
    coco_error_t       err;
    coco_json_value_t  value;

    /* zero is in range as long as no digit before its exponent is another */
    in_range = isfinite(expected)
               && (expected != 0
                   || strcspn(text, "123456789") >= strcspn(text, "eE"));

    if (coco_json_read(&value, text_of(text), &err)
        != (in_range ? COCO_OK : COCO_ERROR))
    {
        fail_msg("%s: read as if it were not %g", text, expected);
    }

    if (in_range
        && memcmp(&value.number, &expected, sizeof(expected)) != 0)
    {
        fail_msg("%s read as %.17g", text, value.number);
    }
}


static void
numbers_agree_with_strtod(void **state)
{
    int       i, digits;
    char      text[128], *p;
    uint64_t  seed = 1234567;

    for (i = 0; i < NUMBERS; i++) {
        p = text;

        if (random_next(&seed) % 2) {
            *p++ = '-';
        }

        *p++ = (char) ('1' + random_next(&seed) % 9);

        for (digits = (int) (random_next(&seed) % 22); digits > 0; digits--) {
            *p++ = (char) ('0' + random_next(&seed) % 10);
        }

        if (random_next(&seed) % 2) {
            *p++ = '.';

            for (digits = (int) (random_next(&seed) % 20); digits >= 0;
                 digits--)
            {
                *p++ = (char) ('0' + random_next(&seed) % 10);
            }
        }

        *p = '\0';

        if (random_next(&seed) % 2) {
            sprintf(p, "e%d", (int) (random_next(&seed) % 700) - 350);
        }

        number_compare(text);
    }
}


static void
numbers_at_the_edges(void **state)
{
    size_t                    i;
    static const char *const  texts[] = {
        "0", "-0", "0.0", "-0.0e5", "0e400", "1.7976931348623157e308",
        "1.7976931348623158e308", "1.7976931348623159e308",
        "17976931348623158079e289", "2.2250738585072011e-308", "5e-324",
        "2e-324", "-2e-324", "3e-324", "24e-325", "25e-325", "0.3e-323",
        "1e-400", "0e-400", "0.0e-9999", "9007199254740993", "9007199254740992",
        "9007199254740991e22", "9007199254740993e-22", "1e23", "1e22",
        "8.5e-23", "0.000000000000000000000000000000000000000000001",
        "123456789012345678901234567890", "1000000000000000000000000000000",
        "0.1000000000000000000000000000000000001", "3e0", "3E+0", "3E-0"
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        number_compare(texts[i]);
    }
}


static void
integers_are_told_from_other_numbers(void **state)
{
    size_t             i;
    coco_error_t       err;
    coco_json_value_t  value;

    static const struct {
        const char  *text;
        bool         integer;
        int64_t      value;
    } cases[] = {
        { "0", true, 0 }, { "-0", true, 0 }, { "-17", true, -17 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "99999999999999999999", false, 0 },
        { "10000000000000000000000", false, 0 },
        { "1.0", false, 0 }, { "1e3", false, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_json_read(&value, text_of(cases[i].text), &err),
                         COCO_OK);
        assert_int_equal(value.integer, cases[i].integer);

        if (value.integer) {
            assert_true(value.int64 == cases[i].value);
        }
    }
}


/* {"000000":0,"000001":0,...}, the last name as the caller says. */
static char *
wide_object_make(unsigned count, unsigned last)
{
    char      *text = malloc(count * 11 + 3), *p = text;
    unsigned   i;

    assert_non_null(text);

    for (i = 0; i < count; i++) {
        p += sprintf(p, "%c\"%06u\":0", i ? ',' : '{',
                     i == count - 1 ? last : i);
    }

    strcpy(p, "}");

    return text;
}


static void
wide_objects_know_every_name(void **state)
{
    char              *text;
    unsigned           count, last;
    coco_error_t       err;
    coco_json_value_t  value;

    for (count = 2; count <= COCO_JSON_NAMES_MAX + 1; count += count / 2) {
        for (last = 0; last < count; last += 1 + count / 7) {
            text = wide_object_make(count, last);
            assert_int_equal(coco_json_read(&value, text_of(text), &err),
                             last == count - 1 ? COCO_OK : COCO_ERROR);
            free(text);
        }

        text = wide_object_make(count, count);
        assert_int_equal(coco_json_read(&value, text_of(text), &err),
                         count <= COCO_JSON_NAMES_MAX ? COCO_OK : COCO_ERROR);
        free(text);
    }
}


static void
names_are_bounded(void **state)
{
    char              *text;
    coco_error_t       err;
    coco_json_value_t  value;

    text = wide_object_make(COCO_JSON_NAMES_MAX, 999999);
    assert_int_equal(coco_json_read(&value, text_of(text), &err), COCO_OK);
    free(text);

    text = wide_object_make(COCO_JSON_NAMES_MAX + 1, 999999);
    assert_int_equal(coco_json_read(&value, text_of(text), &err), COCO_ERROR);
    assert_non_null(strstr(err.reason, "too many members"));
    free(text);
}


/* Names of closed objects are forgotten, those of open ones are not. */
static void
names_belong_to_their_object(void **state)
{
    char              *wide = wide_object_make(300, 299);
    char              *text = malloc(strlen(wide) * 3 + 100);
    coco_error_t       err;
    coco_json_value_t  value;

    assert_non_null(text);

    sprintf(text, "{\"000001\":%s,\"000002\":[%s,%s]}", wide, wide, wide);
    assert_int_equal(coco_json_read(&value, text_of(text), &err), COCO_OK);

    sprintf(text, "{\"000001\":%s,\"000002\":[],\"000001\":%s}", wide, wide);
    assert_int_equal(coco_json_read(&value, text_of(text), &err), COCO_ERROR);
    assert_string_equal(err.field, "000001");

    /* wide outside, wide inside, then a name of the outer one again */

    sprintf(text, "%.*s,\"in\":%s,\"000007\":1}", (int) strlen(wide) - 1,
            wide, wide);
    assert_int_equal(coco_json_read(&value, text_of(text), &err), COCO_ERROR);
    assert_string_equal(err.field, "000007");

    free(text);
    free(wide);
}


static void
equal_names_are_found_through_escapes(void **state)
{
    size_t                    i;
    coco_error_t              err;
    coco_json_value_t         value;
    static const char *const  same[] = {
        "{\"a\":1,\"\\u0061\":2}", "{\"\\u0061\":1,\"a\":2}",
        "{\"\\u0061\":1,\"\\u0061\":2}", "{\"/\":1,\"\\/\":2}",
        "{\"\\u00e9\":1,\"\xc3\xa9\":2}", "{\"\xc3\xa9\":1,\"\\u00E9\":2}",
        "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}",
        "{\"\\n\":1,\"\\u000a\":2}", "{\"\":1,\"\":2}",
        "{\"abcdefgh\":1,\"abcdefg\\u0068\":2}",
        "{\"abcdefghi\":1,\"\\u0061bcdefghi\":2}"
    };
    static const char *const  other[] = {
        "{\"a\":1,\"\\u0062\":2}", "{\"a\":1,\"a\\\\\":2}",
        "{\"\\\\u0061\":1,\"a\":2}", "{\"a\":1,\"\":2,\"A\":3,\"aa\":4}"
    };

    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(coco_json_read(&value, text_of(same[i]), &err),
                         COCO_ERROR);
        assert_non_null(strstr(err.reason, "duplicate name"));
    }

    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        assert_int_equal(coco_json_read(&value, text_of(other[i]), &err),
                         COCO_OK);
    }
}


static void
errors_say_where(void **state)
{
    size_t             i;
    coco_error_t       err;
    coco_json_value_t  value;

    static const struct {
        const char  *text, *field, *reason;
    } cases[] = {
        { "", "", "JSON text ends at byte 0, where a value is expected" },
        { "{\"a\" 1}", "", "not JSON: ':' expected at byte 5" },
        { "[1,2", "",
          "JSON text ends at byte 4, where ',' or ']' is expected" },
        { "[{},{\"a\":[0,1e999]}]", "[1].a[1]",
          "number out of a double's range, at byte 12" },
        { "{\"a\":{\"b\":\"\\x\"}}", "a.b", "unknown escape, at byte 11" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(coco_json_read(&value, text_of(cases[i].text), &err),
                         COCO_ERROR);
        assert_string_equal(err.field, cases[i].field);
        assert_string_equal(err.reason, cases[i].reason);
    }
}


static void
doubles_read_back(void **state)
{
    int              i;
    char             buf[64];
    double           value;
    uint64_t         bits, seed = 42;
    coco_json_out_t  out;

    for (i = 0; i < NUMBERS; i++) {
        bits = random_next(&seed);

        if (i % 2) {
            value = (double) (int64_t) (bits % 36000000000) / 1e8 - 180;

        } else {
            memcpy(&value, &bits, sizeof(value));
        }

        coco_json_out_init(&out, buf, sizeof(buf) - 1);
        coco_json_double(&out, value);
        assert_true(coco_json_out_ok(&out));
        buf[out.len] = '\0';

        if (!isfinite(value)) {
            assert_string_equal(buf, "null");

        } else if (strtod(buf, NULL) != value) {
            fail_msg("%.17g written as %s", value, buf);
        }
    }
}


static void
doubles_are_short(void **state)
{
    size_t           i;
    char             buf[64];
    coco_json_out_t  out;

    static const struct {
        double       value;
        const char  *text;
    } cases[] = {
        { 0, "0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" },
        { 37.7749, "37.7749" }, { -122.4194155, "-122.4194155" },
        { 81.05, "81.05" }, { 0.001, "0.001" }, { 1e15, "1000000000000000" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 1.0 / 3, "0.3333333333333333" }, { 1e300, "1e300" },
        { 5e-324, "5e-324" }, { 1.25e-9, "0.00000000125" }, { 1e21, "1e21" },
        { 123456789012345680.0, "123456789012345680" },
        { 122.41941550000001, "122.41941550000001" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        coco_json_out_init(&out, buf, sizeof(buf) - 1);
        coco_json_double(&out, cases[i].value);
        buf[out.len] = '\0';
        assert_string_equal(buf, cases[i].text);
    }
}


static void
writer_puts_commas_and_escapes(void **state)
{
    char             buf[256];
    coco_id_t        id = { { 0 } };
    coco_json_out_t  out;

    static const char  expected[] =
        "{\"a\":[1,-2,[],{},null],\"b\":{\"c\":true,\"d\":false},"
        "\"e\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u0000/\x7f\xc3\xa9\xef\xbf"
        "\xbd\",\"f\":\"00000000-0000-0000-0000-000000000000\"}";

    coco_json_out_init(&out, buf, sizeof(buf));
    coco_json_object_open(&out);
    coco_json_name(&out, "a");
    coco_json_array_open(&out);
    coco_json_int(&out, 1);
    coco_json_int(&out, -2);
    coco_json_array_open(&out);
    coco_json_array_close(&out);
    coco_json_object_open(&out);
    coco_json_object_close(&out);
    coco_json_string(&out, (coco_str_t) { NULL, 0 });
    coco_json_array_close(&out);
    coco_json_name(&out, "b");
    coco_json_json(&out, coco_string("{\"c\":true,\"d\":false}"));
    coco_json_name(&out, "e");
    coco_json_string(&out, coco_string("\"\\\b\f\n\r\t\x01\0/\x7f\xc3\xa9"
                                       "\xff"));
    coco_json_name(&out, "f");
    coco_json_id(&out, &id);
    coco_json_object_close(&out);

    assert_true(coco_json_out_ok(&out));
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(buf, expected, sizeof(expected) - 1);
}


static void
writer_counts_what_does_not_fit(void **state)
{
    char             buf[8] = "xxxxxxx";
    coco_json_out_t  out;

    coco_json_out_init(&out, buf, 4);
    coco_json_string(&out, coco_string("abcdef"));

    assert_int_equal(out.len, 8);
    assert_false(coco_json_out_ok(&out));
    assert_memory_equal(buf + 4, "xxx", 4);

    coco_json_out_init(&out, buf, 8);
    coco_json_string(&out, coco_string("abcdef"));

    assert_true(coco_json_out_ok(&out));
    assert_memory_equal(buf, "\"abcdef\"", 8);
}


int
main(void)
{
    int  failed;

    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(mutants_agree_with_jansson),
        cmocka_unit_test(numbers_agree_with_strtod),
        cmocka_unit_test(numbers_at_the_edges),
        cmocka_unit_test(integers_are_told_from_other_numbers),
        cmocka_unit_test(wide_objects_know_every_name),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(names_belong_to_their_object),
        cmocka_unit_test(equal_names_are_found_through_escapes),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(doubles_are_short),
        cmocka_unit_test(writer_puts_commas_and_escapes),
        cmocka_unit_test(writer_counts_what_does_not_fit)
    };

    failed = cmocka_run_group_tests_name("core: JSON", tests, NULL, NULL);
    failed += test_files_run("tests/data/heartbeat/accept",
                             file_agrees_with_jansson);
    failed += test_files_run("tests/data/heartbeat/refuse",
                             file_agrees_with_jansson);

    return failed;
}
