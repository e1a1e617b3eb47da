/*
 * The command line of coco-sim.
 */

#ifndef COCO_SIM_OPTIONS_H
#define COCO_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lid.h"

typedef struct {
    const char  *host;
    int          port;
    int          mqtt_version;      /* MQTT_PROTOCOL_V311 or _V5 */
    const char  *serial_prefix;
    const char  *script;            /* NULL: a fleet, "-": standard input */
    int          robots;
    double       hz;                /* heartbeats a second of each robot */
    uint64_t     seed;
    double       seconds;           /* 0: until a signal */
    uint64_t     burst;             /* 0: at hz */
    int          window;            /* unacknowledged heartbeats in a burst */
    int64_t      start_ms;          /* ts of the first heartbeat; 0: now */
    bool         stand;             /* robots wait where they begin */
    sim_lid_rules_t  lid;
    const char  *http;              /* where codes lead to; NULL: nowhere */
    const char  *token_file;
    const char  *delivery;          /* NULL: the robot's own */
} sim_options_t;

/* Returns 0, or the exit status + 1 with which to leave: help was asked for,
 * or an option is wrong and standard error says which and what would do. */
int sim_options_parse(sim_options_t *ret, int argc, char **argv);

#endif /* COCO_SIM_OPTIONS_H */
