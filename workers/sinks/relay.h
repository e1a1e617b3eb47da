/*
 * The relay: one thread that takes the outbox to the bus, in order per robot,
 * and marks each row once every engine has confirmed it. Shards of serials
 * are owned by advisory lock, so that any number of workers may run one.
 */

#ifndef COCO_RELAY_H
#define COCO_RELAY_H

#include "sinks/bus.h"

typedef struct coco_relay_s  coco_relay_t;

/* What it is given outlives it. NULL when the thread could not be started. */
coco_relay_t *coco_relay_start(const coco_config_t *config,
    const coco_bus_options_t *bus);
void coco_relay_stop(coco_relay_t *relay);

#endif /* COCO_RELAY_H */
