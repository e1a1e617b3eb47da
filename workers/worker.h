/*
 * The worker put together: a lane and an MQTT session each for telemetry and
 * robot events, the janitor, and the HTTP that shows how they are.
 */

#ifndef COCO_WORKER_H
#define COCO_WORKER_H

#include "config.h"

#define COCO_WORKER_VERSION  "0.1.0"

typedef struct coco_worker_s  coco_worker_t;

/* Starts everything; no backend needs to be there yet. config outlives the
 * worker. COCO_ERROR with a message that says what to do. */
int coco_worker_start(coco_worker_t **ret, const coco_config_t *config,
    char *error, size_t error_size);

/* No thread that matters has got stuck. */
bool coco_worker_alive(coco_worker_t *worker);

/* Leaves the broker, lets the batches under way end, keeps what is committed,
 * and frees everything. */
void coco_worker_stop(coco_worker_t *worker);

#endif /* COCO_WORKER_H */
