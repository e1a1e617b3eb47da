/*
 * The lines of a script: what is passed on byte for byte, and what is refused.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../sim/script.h"

#define line_decode(ret, text)  sim_line_decode(ret, text, strlen(text))


static void
payload_as_it_stands(void **state)
{
    size_t      i;
    char        text[256];
    sim_line_t  line;

    static const char *const  payloads[] = {
        "{}", "[]", "null", "true", "-1.5e400", "{\"a\":1,\"a\":2}",
        "{\"a\" : [1,{\"b\":\"]}\\\"\"}], \"c\":\"\\ud800\"}", "[[[[]]],{}]",
    };

    for (i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        snprintf(text, sizeof(text), "{\"topic\":\"t\",\"payload\":%s}\n",
                 payloads[i]);
        assert_null(line_decode(&line, text));
        assert_string_equal(line.payload, payloads[i]);
        assert_int_equal(line.len, strlen(payloads[i]));
        assert_string_equal(line.topic, "t");
        sim_line_destroy(&line);
    }
}


static void
text_as_it_says(void **state)
{
    sim_line_t  line;

    assert_null(line_decode(&line, " { \"afterMs\" : 12.5 , \"payload\" : "
                            "\"a\\\"\\u0000b\\n\" , \"topic\":\"r\\/x\" } "));
    assert_int_equal(line.len, 5);
    assert_memory_equal(line.payload, "a\"\0b\n", 5);
    assert_string_equal(line.topic, "r/x");
    assert_true(line.after_ms == 12.5);
    sim_line_destroy(&line);

    assert_null(line_decode(&line, "{\"payload\":\"\",\"qos\":[1],"
                            "\"topic\":\"t\"}"));
    assert_int_equal(line.len, 0);
    sim_line_destroy(&line);
}


static void
bad_lines_are_refused(void **state)
{
    size_t      i;
    sim_line_t  line;

    static const char *const  lines[] = {
        "", "x", "[]", "{}", "{", "{\"topic\":\"t\"}", "{\"payload\":1}",
        "{\"topic\":1,\"payload\":1}x", "{\"topic\":\"\",\"payload\":1}",
        "{\"topic\":\"a\\u0000b\",\"payload\":1}",
        "{\"topic\":\"t\",\"payload\":{}", "{\"topic\":\"t\",\"payload\":{]",
        "{\"topic\":\"t\",\"payload\":}", "{\"topic\":\"t\" \"payload\":1}",
        "{\"topic\":\"t\",\"payload\":\"\\ud800\"}",
        "{\"topic\":\"t\",\"payload\":\"x}",
        "{\"topic\":\"t\",\"payload\":\"\\",
        "{\"topic\":\"t\",\"payload\":1,\"afterMs\":-1}",
        "{\"topic\":\"t\",\"payload\":1,\"afterMs\":\"1\"}",
        "{\"topic\":\"t\",\"payload\":1,\"afterMs\":nan}",
        "{\"topic\":\"t\",\"payload\":1,}", "{\"topic\":\"t\",\"payload\":1}]",
    };

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        line.topic = NULL;
        if (line_decode(&line, lines[i]) == NULL) {
            fail_msg("accepted: %s", lines[i]);
        }
        assert_null(line.topic);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(payload_as_it_stands),
        cmocka_unit_test(text_as_it_says),
        cmocka_unit_test(bad_lines_are_refused),
    };

    return cmocka_run_group_tests_name("sim line", tests, NULL, NULL);
}
