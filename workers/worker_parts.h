/*
 * What the worker is made of, for those that start it and those that show how
 * it is. Written by the start, before `ready`, and by the stop, once no thread
 * but its own is left to look.
 */

#ifndef COCO_WORKER_PARTS_H
#define COCO_WORKER_PARTS_H

#include <stdatomic.h>

#include "http.h"
#include "janitor.h"
#include "lane.h"
#include "mds.h"
#include "metrics.h"
#include "sinks/commands.h"
#include "sinks/partners.h"
#include "sinks/pulse.h"
#include "sinks/relay.h"
#include "sources/bus.h"
#include "sources/inbox.h"
#include "sources/mqtt.h"
#include "sources/sqs.h"
#include "sources/tasks.h"
#include "worker.h"

#define COCO_WORKER_SESSIONS  2    /* of MQTT: telemetry and events */

/* NULL: not in this process, by its services and its configuration. */
struct coco_worker_s {
    const coco_config_t  *config;
    atomic_bool           ready;
    char                  name[COCO_PULSE_NAME_MAX + 1];
    coco_bus_options_t    bus;
    coco_lane_t          *lanes[COCO_LANES];
    coco_source_mqtt_t   *mqtt[COCO_WORKER_SESSIONS];
    coco_source_sqs_t    *sqs[COCO_SQS_QUEUES];
    coco_aws_credentials_t  *credentials;
    coco_source_inbox_t  *inbox[COCO_INBOXES];
    coco_source_tasks_t  *tasks;
    coco_commands_t      *commands;
    coco_partners_t      *partners;
    coco_source_bus_t    *rabbitmq;
    coco_source_bus_t    *kafka;
    coco_relay_t         *relay;
    coco_emitter_t       *emitter;
    coco_pulse_t         *pulse;
    coco_janitor_t       *janitor;
    coco_http_t          *http;
};

extern const char  *coco_worker_lanes[COCO_LANES];

const coco_config_lane_t *coco_worker_lane_config(const coco_config_t *config,
    coco_lane_id_e lane);

/* worker_health.c: malloc'ed text, data is the worker. */
char *coco_worker_health(void *data, size_t *ret_len, bool *ret_healthy);
char *coco_worker_metrics(void *data, size_t *ret_len);

#endif /* COCO_WORKER_PARTS_H */
