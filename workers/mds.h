/*
 * The emitter: one thread that turns the facts of robots (mds_fact) into what
 * a city is told of them. One at a time by a session's advisory lock, whatever
 * the number of workers; rules: docs/mds.md.
 */

#ifndef COCO_EMITTER_H
#define COCO_EMITTER_H

#include "config.h"

typedef struct coco_emitter_s  coco_emitter_t;

typedef struct {
    bool  alive;        /* its thread has not got stuck */
    bool  emitting;     /* it has the lock */
} coco_emitter_status_t;

/* config outlives it. NULL: no thread or memory. */
coco_emitter_t *coco_emitter_start(const coco_config_t *config);
/* Ends the round under way, gives up the lock, and frees everything. */
void coco_emitter_stop(coco_emitter_t *emitter);

/* Of any thread. */
void coco_emitter_status(coco_emitter_t *emitter,
    coco_emitter_status_t *ret);

#endif /* COCO_EMITTER_H */
