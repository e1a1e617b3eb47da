/*
 * Log lines as they reach stderr, in both forms: read back from a pipe.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"


static int   saved, pipes[2];
static char  line[8192];


static int
setup(void **state)
{
    saved = dup(STDERR_FILENO);

    return pipe(pipes) == 0 && dup2(pipes[1], STDERR_FILENO) != -1 ? 0 : -1;
}


static int
teardown(void **state)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[0]);
    close(pipes[1]);

    return 0;
}


/* What was logged since; every log call is one line. */
static const char *
logged(void)
{
    ssize_t  n;

    assert_int_equal(write(STDERR_FILENO, "#", 1), 1);
    n = read(pipes[0], line, sizeof(line) - 1);
    assert_true(n > 0 && line[n - 1] == '#');
    line[n - 1] = '\0';

    return line;
}


static void
test_text(void **state)
{
    const char  *text;

    coco_log_init(COCO_LOG_INFO, COCO_LOG_TEXT);
    coco_log(COCO_LOG_WARN, "some_event", "plain", "%s", "a-b:1",
             "space", "%s", "a b", "number", "%d", -7,
             "size", "%zu", (size_t) 12345678901ull,
             "long", "%" PRId64, INT64_MIN, "share", "%.2f", 0.5,
             "cut", "%.*s", 3, "abcdef", "mixed", "%s:%u", "host", 80u,
             "empty", "%s", "", "percent", "100%%",
             "hostile", "%s", "x\nlevel=error \"q\" \\ \x01 \xff", NULL);
    text = logged();

    assert_non_null(strstr(text, " level=warn event=some_event plain=a-b:1 "
        "space=\"a b\" number=-7 size=12345678901 "
        "long=-9223372036854775808 share=0.50 cut=abc mixed=host:80 "
        "empty=\"\" percent=100% hostile=\"x\\u000alevel=error \\\"q\\\" "
        "\\\\ \\u0001 \\ufffd\"\n"));
    assert_int_equal(strlen(text), strchr(text, '\n') + 1 - text);
    assert_memory_equal(text, "time=20", 7);
    assert_int_equal(strchr(text, 'Z') - text, 5 + 23);
}


static void
test_json(void **state)
{
    json_t        *json;
    json_error_t   error;

    coco_log_init(COCO_LOG_INFO, COCO_LOG_JSON);
    coco_log(COCO_LOG_ERROR, "e", "n", "%d", 5, "f", "%.1f", 2.5,
             "hex", "%x", 255u, "nan", "%f", 0.0 / 0.0, "text", "%s", "12",
             "hostile", "%s", "\"}\n\xc3\xa9\xc3", NULL);

    json = json_loads(logged(), 0, &error);
    assert_non_null(json);

    assert_string_equal(json_string_value(json_object_get(json, "level")),
                        "error");
    assert_string_equal(json_string_value(json_object_get(json, "event")),
                        "e");
    assert_int_equal(json_integer_value(json_object_get(json, "n")), 5);
    assert_true(json_real_value(json_object_get(json, "f")) == 2.5);
    assert_string_equal(json_string_value(json_object_get(json, "hex")),
                        "ff");
    assert_true(json_is_string(json_object_get(json, "nan")));
    assert_string_equal(json_string_value(json_object_get(json, "text")),
                        "12");
    assert_string_equal(json_string_value(json_object_get(json, "hostile")),
                        "\"}\n\xc3\xa9\xef\xbf\xbd");
    json_decref(json);
}


/* A value is cut, a pair that does not fit is left out; the line stays JSON
 * and goes on with what fits. */
static void
test_long(void **state)
{
    int            i;
    char           big[6000];
    json_t        *json;
    const char    *text;
    json_error_t   error;

    for (i = 0; i < (int) sizeof(big) - 1; i++) {
        big[i] = i % 7 == 0 ? '\n' : 'x';
    }
    big[i] = '\0';

    coco_log_init(COCO_LOG_INFO, COCO_LOG_JSON);
    coco_log(COCO_LOG_ERROR, "long", "a", "%s", big, "b", "%s", big,
             "c", "%s", big, "d", "%s", big, "last", "%d", 1, NULL);
    text = logged();
    assert_true(strlen(text) <= 4096);

    json = json_loads(text, 0, &error);
    assert_non_null(json);
    assert_int_equal(json_string_length(json_object_get(json, "a")), 1023);
    assert_null(json_object_get(json, "d"));
    assert_int_equal(json_integer_value(json_object_get(json, "last")), 1);
    json_decref(json);
}


static void
test_level(void **state)
{
    coco_log_init(COCO_LOG_WARN, COCO_LOG_TEXT);
    coco_log(COCO_LOG_INFO, "unseen", NULL);
    assert_string_equal(logged(), "");

    coco_log_level_set(COCO_LOG_DEBUG);
    assert_int_equal(coco_log_level(), COCO_LOG_DEBUG);
    coco_log(COCO_LOG_DEBUG, "seen", NULL);
    assert_non_null(strstr(logged(), "event=seen\n"));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define log_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        log_test(test_text),
        log_test(test_json),
        log_test(test_long),
        log_test(test_level),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
