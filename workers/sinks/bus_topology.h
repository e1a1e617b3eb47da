/*
 * Which events there are and which services consume each: the one table that
 * publishers, declarations and consumers share.
 */

#ifndef COCO_BUS_TOPOLOGY_H
#define COCO_BUS_TOPOLOGY_H

#include "config.h"

typedef struct {
    const char  *name;          /* exchange and topic */
    unsigned     consumers;     /* COCO_SERVICE_… bits */
} coco_bus_name_t;

extern const coco_bus_name_t  coco_bus_names[];
extern const size_t           coco_bus_names_count;

/* Those that consume anything, each with a queue (and a group) of its own. */
typedef struct {
    unsigned     service;       /* COCO_SERVICE_… */
    const char  *name;          /* "operations" */
    const char  *queue;         /* "coco.operations" */
} coco_bus_consumer_t;

#define COCO_BUS_CONSUMERS  4
extern const coco_bus_consumer_t  coco_bus_consumers[COCO_BUS_CONSUMERS];

#define COCO_BUS_DEAD   "coco.dead"         /* exchange and queue */

/* What a message carries beside the envelope: headers of RabbitMQ and Kafka. */
#define COCO_BUS_CAUSE_TS  "coco-cause-ts"  /* ms */
#define COCO_BUS_CAUSE_ID  "coco-cause-id"  /* UUID */
#define COCO_BUS_SERIAL    "serial"

/* NULL: no event of ours. */
const coco_bus_name_t *coco_bus_name_find(coco_str_t name);

/* Does this service, wherever it runs, consume the event? Not fleet the
 * heartbeats that Kafka's telemetry topic brings it. */
bool coco_bus_consumes(const coco_config_t *config,
    const coco_bus_name_t *name, unsigned service);

/* Does the service, which runs here, take it from a broker? Also what is
 * produced here, although it has come within the transaction or by the loop
 * engine: another process may produce it too, the service's queue is one for
 * all, and what was applied before changes nothing. Where all services run
 * there is no queue. */
bool coco_bus_takes(const coco_config_t *config, const coco_bus_name_t *name,
    unsigned service);

/* Does any service here consume what the loop engine carries? */
bool coco_bus_loops(const coco_config_t *config, const coco_bus_name_t *name);

/* Are all services here that the bus connects? Then no queue is declared. */
bool coco_bus_whole(const coco_config_t *config);

#endif /* COCO_BUS_TOPOLOGY_H */
