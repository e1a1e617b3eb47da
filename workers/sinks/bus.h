/*
 * The bus, as a publisher sees it: events go to every engine that is
 * configured, and count as sent once all have confirmed them. One publisher
 * for each thread. Engines: rabbitmq (an exchange per name), kafka (a topic
 * per name), loop (back into this process, shuffled, doubled and split: the
 * test mode of the in-process engine, whose normal mode needs no bus at all,
 * for services then share a transaction).
 */

#ifndef COCO_BUS_H
#define COCO_BUS_H

#include "config.h"
#include "message.h"
#include "sinks/retry.h"

/* Strings are the caller's until coco_bus_send() returns. */
typedef struct {
    coco_str_t    name;         /* "IoT.Heartbeat"; exchange and topic */
    coco_str_t    serial;       /* Kafka's key */
    coco_id_t     id;
    int64_t       ts;           /* ms; Kafka's timestamp */
    coco_str_t    payload;      /* the envelope */
    coco_cause_t  cause;
    bool          raw;          /* the heartbeat as the robot sent it, for
                                   Kafka's telemetry topic alone; name is
                                   unused, ts is received_at */
} coco_bus_event_t;

typedef struct coco_bus_s  coco_bus_t;

/* The loop engine hands events to the process's own bus lane here; as
 * coco_lane_push. */
typedef struct coco_bus_options_s {
    const coco_config_t  *config;
    int                 (*loop)(void *data, const coco_message_t *message);
    void                 *loop_data;
} coco_bus_options_t;

/* options and what it points to outlive the publisher. No engine has to be
 * there yet. NULL: no memory. */
coco_bus_t *coco_bus_create(const coco_bus_options_t *options,
    coco_stop_t *stop);
void coco_bus_destroy(coco_bus_t *bus);

/* Any engine at all; without one nothing has to be published. And does one of
 * them carry events (rabbitmq, kafka, loop), raw telemetry (kafka)? */
bool coco_bus_carries_events(const coco_config_t *config);
bool coco_bus_carries_raw(const coco_config_t *config);

/* Prepares what a first event would find: the exchanges are there to be bound
 * to. COCO_ERROR: some engine is away; coco_bus_send() tries by itself. */
int coco_bus_open(coco_bus_t *bus);

/*
 * Publishes in order, with a window of unconfirmed events, and waits until
 * all engines have confirmed, or one has failed (connection lost, nack,
 * time-out), or the stop is set. Returns how many leading events every engine
 * has confirmed: count, or fewer; then send the rest again later (some may go
 * out twice, never in another order of the same robot). Connects when needed.
 * An event that no queue is bound for counts as confirmed, and is counted.
 */
size_t coco_bus_send(coco_bus_t *bus, const coco_bus_event_t *events,
    size_t count);

/* What the last coco_bus_open(), or short coco_bus_send(), failed of; for
 * logs. */
const char *coco_bus_error(const coco_bus_t *bus);

#endif /* COCO_BUS_H */
