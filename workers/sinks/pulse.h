/*
 * The worker's pulse, by which every nginx knows that it was told everything:
 * a beat each 100 ms on COCO_SUPPLY_CHANNEL, from a thread and a connection of
 * its own, left out while any lane owes Redis something, or takes 400 ms from
 * a commit to telling it. What was committed before the first beat, or while
 * Redis was away, is to be read afresh: {"all":true} goes ahead of it on the
 * same connection.
 */

#ifndef COCO_PULSE_H
#define COCO_PULSE_H

#include "coco_core.h"

typedef struct coco_pulse_s  coco_pulse_t;

#define COCO_PULSE_MS        100
#define COCO_PULSE_NAME_MAX  96

/* Strings stay the caller's. */
typedef struct {
    const char  *redis_host;
    int          redis_port;
    const char  *redis_password;     /* NULL: none */
    int          redis_db;
    coco_str_t   name;               /* the worker's, on the channel */
} coco_pulse_options_t;

/* The same after a restart, another's on the same host: the host's name and a
 * port that is this worker's alone. NUL-terminated. */
void coco_pulse_name(char ret[COCO_PULSE_NAME_MAX + 1], unsigned port);

/* NULL: no thread or memory. */
coco_pulse_t *coco_pulse_start(const coco_pulse_options_t *options);

/* Once the lanes are stopped: says that there is nothing more to wait for,
 * unless something is still owed. */
void coco_pulse_stop(coco_pulse_t *pulse);

#endif /* COCO_PULSE_H */
