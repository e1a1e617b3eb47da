/*
 * The metrics' text against the exposition format's rules (Prometheus,
 * "Exposition formats", text version 0.0.4), read by a small reader of it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics.h"

#define NAME    "[a-zA-Z_:][a-zA-Z0-9_:]*"
#define LABEL   "[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\\]|\\\\[\\\\\"n])*\""
#define NUMBER  "([-+]?[0-9.]+(e[-+]?[0-9]+)?|[+-]Inf|NaN)"


static bool
matches(const char *pattern, const char *text)
{
    bool     match;
    regex_t  regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    match = (regexec(&regex, text, 0, NULL, 0) == 0);
    regfree(&regex);

    return match;
}


/* The family that a sample must follow: histograms add a suffix. */
static bool
belongs(const char *sample, const char *family, const char *type)
{
    size_t       n;
    const char  *rest;

    n = strlen(family);
    rest = sample + n;

    if (strncmp(sample, family, n) != 0) {
        return false;
    }

    if (strcmp(type, "histogram") == 0) {
        return strncmp(rest, "_bucket{", 8) == 0
               || strncmp(rest, "_sum{", 5) == 0
               || strncmp(rest, "_count{", 7) == 0;
    }

    return *rest == '{' || *rest == ' ';
}


/* NULL when the text is well formed, else the line at fault. */
static const char *
fault(char *text)
{
    char   *line, *next, family[128], helped[128], type[32];
    size_t  len;

    family[0] = helped[0] = '\0';
    len = strlen(text);

    if (len == 0 || text[len - 1] != '\n') {
        return "(no newline at the end)";
    }

    for (line = text; *line != '\0'; line = next) {
        next = strchr(line, '\n');
        *next++ = '\0';

        if (sscanf(line, "# HELP %127s ", helped) == 1) {
            if (!matches("^# HELP " NAME " [^ ].*$", line)) {
                return line;
            }

        } else if (sscanf(line, "# TYPE %127s %31s", family, type) == 2) {
            if (strcmp(family, helped) != 0
                || !matches("^# TYPE " NAME
                            " (counter|gauge|histogram)$", line)
                || (strcmp(type, "counter") == 0)
                   != matches("_total$", family))
            {
                return line;
            }

        } else if (!matches("^" NAME "(\\{" LABEL "(," LABEL ")*\\})? "
                            NUMBER "$", line)
                   || !belongs(line, family, type))
        {
            return line;
        }
    }

    return NULL;
}


static void
assert_well_formed(void)
{
    char        *text;
    size_t       len;
    const char  *wrong;

    text = coco_metrics_encode(&len);
    assert_non_null(text);
    assert_int_equal(len, strlen(text));
    wrong = fault(text);

    if (wrong != NULL) {
        fail_msg("not well formed: %s", wrong);
    }

    free(text);
}


static double
value(const char *sample)
{
    char    *text, *p, key[256];
    double   v;
    size_t   len;

    text = coco_metrics_encode(&len);
    assert_non_null(text);
    snprintf(key, sizeof(key), "\n%s ", sample);
    p = strstr(text, key);

    if (p == NULL) {
        fail_msg("no sample %s", sample);
    }

    v = strtod(p + strlen(key), NULL);
    free(text);

    return v;
}


static void
test_reader_refuses(void **state)
{
    size_t  i;
    char    text[256];

    static const char  *wrong[] = {
        "a 1",
        "a 1\n",
        "# HELP a x\n# TYPE a gauge\na{l=\"x} 1\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\na one\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        "# HELP b x\n# TYPE a gauge\na 1\n",
        "# HELP a x\n# TYPE a histogram\na{le=\"1\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\n\n",
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        strcpy(text, wrong[i]);
        assert_non_null(fault(text));
    }

    strcpy(text, "# HELP a x\n# TYPE a gauge\na{l=\"x\"} -1.5e+09\n");
    assert_null(fault(text));
}


static void
test_all_well_formed(void **state)
{
    int  i, lane;

    assert_well_formed();

    for (lane = 0; lane < COCO_LANES; lane++) {
        for (i = 0; i < COCO_M_COUNTERS; i++) {
            coco_metrics_add((coco_counter_e) i, (coco_lane_id_e) lane,
                             UINT32_MAX);
        }
        for (i = 0; i < COCO_M_GAUGES; i++) {
            coco_metrics_set((coco_gauge_e) i, (coco_lane_id_e) lane, -5);
        }
        for (i = 0; i < COCO_M_HISTOGRAMS; i++) {
            coco_metrics_observe((coco_histogram_e) i, (coco_lane_id_e) lane,
                                 1e12);
            coco_metrics_observe((coco_histogram_e) i, (coco_lane_id_e) lane,
                                 -3);
        }
    }

    assert_well_formed();
}


static void
test_histogram(void **state)
{
#define BUCKET(le) "coco_batch_messages_bucket{lane=\"events\",le=\"" le "\"}"

    /* a bound is inclusive, buckets are cumulative */
    coco_metrics_observe(COCO_H_BATCH_SIZE, COCO_LANE_EVENTS, 1);
    coco_metrics_observe(COCO_H_BATCH_SIZE, COCO_LANE_EVENTS, 2);
    coco_metrics_observe(COCO_H_BATCH_SIZE, COCO_LANE_EVENTS, 1.5);
    coco_metrics_observe(COCO_H_BATCH_SIZE, COCO_LANE_EVENTS, 20000);

    assert_true(value(BUCKET("1")) == 1);
    assert_true(value(BUCKET("2")) == 3);
    assert_true(value(BUCKET("10000")) == 3);
    assert_true(value(BUCKET("+Inf")) == 4);
    assert_true(value("coco_batch_messages_count{lane=\"events\"}") == 4);
    assert_true(value("coco_batch_messages_sum{lane=\"events\"}")
                == 20004.5);
    assert_true(value("coco_batch_messages_count{lane=\"telemetry\"}") == 0);
}


static void *
adder(void *data)
{
    int  i;

    for (i = 0; i < 50000; i++) {
        coco_metrics_add(COCO_M_BATCHES, COCO_LANE_EVENTS, 1);
        coco_metrics_shift(COCO_G_REDIS_CONNECTED, COCO_LANE_EVENTS, 1);
        coco_metrics_observe(COCO_H_LAG_SECONDS, COCO_LANE_EVENTS, 0.25);
    }

    return NULL;
}


static void
test_threads(void **state)
{
    int        i;
    double     batches, lag;
    int64_t    gauge;
    pthread_t  threads[4];

    coco_metrics_set(COCO_G_REDIS_CONNECTED, COCO_LANE_EVENTS, 0);
    batches = value("coco_batches_total{lane=\"events\"}");
    lag = value("coco_lag_seconds_count{lane=\"events\"}");

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, adder, NULL), 0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }

    gauge = coco_metrics_gauge_get(COCO_G_REDIS_CONNECTED, COCO_LANE_EVENTS);
    assert_int_equal(gauge, 200000);
    assert_true(value("coco_batches_total{lane=\"events\"}")
                == batches + 200000);
    assert_true(value("coco_lag_seconds_count{lane=\"events\"}")
                == lag + 200000);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_reader_refuses),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_all_well_formed),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
