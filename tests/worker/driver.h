/*
 * What the suites' drivers of parts of the worker have in common: each is
 * configured as the worker is, and answers on stdout.
 */

#ifndef DRIVER_H
#define DRIVER_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "config.h"
#include "log.h"
#include "metrics.h"
#include "sinks/retry.h"


/* The configuration is in the environment; what is wrong goes to stderr. */
static inline int
driver_begin(coco_config_t *config)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    if (coco_config_load(config, NULL, NULL, stderr) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_log_init((coco_log_level_e) config->log_level, COCO_LOG_TEXT);

    return COCO_OK;
}


/* What Prometheus would read, then ".". */
static inline void
driver_metrics(void)
{
    char    *text;
    size_t   len;

    text = coco_metrics_encode(&len);
    printf("%s.\n", text ? text : "");
    free(text);
}


/* How long a stop has taken since `begin` (us, monotonic). */
static inline void
driver_stopped(int64_t begin)
{
    printf("stopped %lld\n",
           (long long) (coco_clock_monotonic_us() - begin) / 1000);
}

#endif /* DRIVER_H */
