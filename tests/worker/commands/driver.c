/*
 * Runs what sends commands, for the suite beside it, until "stop" or the end
 * of stdin; one command a line, answers on stdout. The configuration is the
 * worker's, from the environment. Must never decide whether a test has passed.
 *
 *     status     -> status ALIVE CONNECTED
 *     metrics    -> what Prometheus would read, then "."
 *     stop       -> stopped MS
 */

#include "../driver.h"
#include "sinks/commands.h"


int
main(void)
{
    char                     line[256];
    int64_t                  begin;
    coco_config_t            config;
    coco_commands_t         *commands;
    coco_commands_status_t   status;

    if (driver_begin(&config) != COCO_OK) {
        return 1;
    }

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
    driver_stopped(begin);

    return 0;
}
