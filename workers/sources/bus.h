/*
 * The bus, as a consumer sees it: the events that this process's services
 * consume and that others produce, pushed into the bus lane, acknowledged
 * (RabbitMQ) or their offsets committed (Kafka) once the effects are.
 */

#ifndef COCO_SOURCE_BUS_H
#define COCO_SOURCE_BUS_H

#include "config.h"
#include "lane.h"

typedef struct coco_source_bus_s  coco_source_bus_t;

typedef struct {
    const coco_config_t  *config;
    coco_lane_t          *lane;
} coco_source_bus_options_t;

typedef struct {
    bool      alive;
    bool      connected;
    uint64_t  in_flight;
} coco_source_bus_status_t;

/* Is there anything to consume, by the configuration? */
bool coco_source_rabbitmq_wanted(const coco_config_t *config);
bool coco_source_kafka_wanted(const coco_config_t *config);

/* Each starts a thread; NULL when it could not. */
coco_source_bus_t *coco_source_rabbitmq_start(
    const coco_source_bus_options_t *options);
coco_source_bus_t *coco_source_kafka_start(
    const coco_source_bus_options_t *options);

void coco_source_bus_status(coco_source_bus_t *s,
    coco_source_bus_status_t *ret);
/* Takes nothing more; does not wait. */
void coco_source_bus_stop(coco_source_bus_t *s);
/* After the lane's stop: acknowledges what it has committed. */
void coco_source_bus_close(coco_source_bus_t *s);

#endif /* COCO_SOURCE_BUS_H */
