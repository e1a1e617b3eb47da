/*
 * What producer and consumer of Kafka have in common: their configuration.
 */

#ifndef COCO_BUS_KAFKA_H
#define COCO_BUS_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "config.h"

/* The brokers, `count` settings of ours, then kafka.properties; log lines go
 * to ours. NULL: error says which property is wrong. */
rd_kafka_conf_t *coco_kafka_conf(const coco_config_t *config,
    const char *settings[][2], size_t count, char *error, size_t error_size);

#endif /* COCO_BUS_KAFKA_H */
