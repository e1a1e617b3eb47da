/*
 * Runs what sends commands, for the suite beside it, until "stop" or the end
 * of stdin; one command a line, answers on stdout. The configuration is the
 * worker's, from the environment. Must never decide whether a test has passed.
 *
 *     status     -> status ALIVE CONNECTED
 *     metrics    -> what Prometheus would read, then "."
 *     stop       -> stopped MS
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "sinks/commands.h"
#include "sinks/retry.h"


static void
driver_metrics(void)
{
    char    *text;
    size_t   len;

    text = coco_metrics_encode(&len);
    printf("%s.\n", text ? text : "");
    free(text);
}


int
main(void)
{
    char                     line[256];
    int64_t                  begin;
    coco_config_t            config;
    coco_commands_t         *commands;
    coco_commands_status_t   status;

    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    if (coco_config_load(&config, NULL, NULL, stderr) != COCO_OK) {
        return 1;
    }

    coco_log_init((coco_log_level_e) config.log_level, COCO_LOG_TEXT);

    commands = coco_commands_start(&config);
    if (commands == NULL) {
        return 1;
    }

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strcmp(line, "status\n") == 0) {
            coco_commands_status(commands, &status);
            printf("status %d %d\n", status.alive, status.connected);

        } else if (strcmp(line, "metrics\n") == 0) {
            driver_metrics();

        } else if (strcmp(line, "stop\n") == 0) {
            break;
        }
    }

    begin = coco_clock_monotonic_us();
    coco_commands_stop(commands);
    coco_config_free(&config);
    printf("stopped %lld\n",
           (long long) (coco_clock_monotonic_us() - begin) / 1000);

    return 0;
}
