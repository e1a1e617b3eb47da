/*
 * What the consumers of RabbitMQ and Kafka have in common. A source has a
 * member for each service that consumes here: a thread with a queue (or a
 * group) of its own, so that services can be moved between processes.
 */

#ifndef COCO_BUS_MEMBER_H
#define COCO_BUS_MEMBER_H

#include <stdatomic.h>

#include "sinks/bus_topology.h"
#include "sinks/retry.h"
#include "sources/bus.h"
#include "sources/bus_ledger.h"

typedef struct {
    coco_source_bus_t          *source;
    const coco_config_t        *config;
    const coco_bus_consumer_t  *consumer;
    coco_bus_ledger_t           ledger;
    coco_stop_t                *stop;       /* take nothing more */
    coco_stop_t                *closing;    /* acknowledge, and end */
    pthread_t                   thread;
    atomic_bool                 connected;
    _Atomic int64_t             turn;       /* us; its thread went round */
} coco_bus_member_t;

/* A member for each service of the bits (COCO_SERVICE_…), with room for
 * `size` messages in flight. */
coco_source_bus_t *coco_bus_members_start(
    const coco_source_bus_options_t *options, unsigned services, size_t size,
    void *(*thread)(void *member));

/* The services here that take some event from a broker. */
unsigned coco_bus_members_taking(const coco_config_t *config);

/* Pushes the message, entered as `entry`. COCO_AGAIN: no room now.
 * COCO_ERROR: the lane stops. */
int coco_bus_member_push(coco_bus_member_t *m, coco_message_t *message,
    const coco_bus_entry_t *entry);

/* Waits for done messages, or ms. */
void coco_bus_member_wait(coco_bus_member_t *m, int ms);

void coco_bus_member_turn(coco_bus_member_t *m);

#endif /* COCO_BUS_MEMBER_H */
