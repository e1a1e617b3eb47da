/*
 * The janitor: one thread that keeps the tables in bounds (partitions made
 * ahead and dropped, old rows deleted), lets time pass in the supply, and takes
 * replays from dead_letter.
 */

#ifndef COCO_JANITOR_H
#define COCO_JANITOR_H

#include "message.h"

typedef struct coco_janitor_s  coco_janitor_t;

typedef struct {
    const char  *postgres;            /* conninfo */
    unsigned     retention_days;      /* of state_history; as the lanes' */
    unsigned     outbox_hours;        /* 24 */
    bool         outbox_relayed;      /* only what every bus has confirmed */
    unsigned     dead_letter_days;    /* of finished ones; 30 */
    unsigned     dead_letter_max;     /* rows, the oldest go; 1,000,000 */
    unsigned     webhook_days;        /* of those that are done; 30 */
    unsigned     idempotency_hours;   /* 24 */
    unsigned     command_days;        /* of those that have ended; 90 */
    unsigned     anomaly_days;        /* 90 */
    unsigned     push_days;           /* of those that have ended; 30 */
    unsigned     online_ms;           /* of the dispatch service: a robot that
                                         is silent for longer is OFFLINE */

    /* Whose letters are replayed here: those of the state service's sources,
     * of the tasks of the services here, and with a bus lane those that the
     * services here have refused. */
    unsigned     services;            /* COCO_SERVICE_… */
    bool         bus;
    const char  *telemetry_topic;     /* of Kafka, with bus; the caller's */

    /* Hands a replay to its lane: source "replay", position 0, replay_of set.
     * May wait. COCO_ERROR: not now (it is offered again). */
    int        (*replay)(void *data, const coco_message_t *message);
    void        *data;
} coco_janitor_options_t;

/* The connection string is copied. */
coco_janitor_t *coco_janitor_create(const coco_janitor_options_t *options);
/* The first round begins at once, in the thread. */
int coco_janitor_start(coco_janitor_t *janitor);
/* Stop the lanes first: replay() may be waiting for room in one. */
void coco_janitor_stop(coco_janitor_t *janitor);
void coco_janitor_destroy(coco_janitor_t *janitor);

#endif /* COCO_JANITOR_H */
