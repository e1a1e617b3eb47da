/*
 * What a consumer has pushed into the lane, in the order in which the broker
 * delivered it, and how much of it is done: all before the low water may be
 * acknowledged. Tags of an earlier connection are ignored.
 */

#ifndef COCO_BUS_LEDGER_H
#define COCO_BUS_LEDGER_H

#include <pthread.h>

#include "coco_core.h"

/* The delivery that an entry stands for: RabbitMQ's tag, or Kafka's. */
typedef struct {
    int32_t   topic;          /* the consumer's number of it */
    int32_t   partition;
    uint64_t  position;       /* delivery tag, or offset */
    bool      done;
} coco_bus_entry_t;

typedef struct {
    pthread_mutex_t    mutex;
    coco_bus_entry_t  *ring;
    size_t             size;
    uint64_t           epoch;      /* of the connection, or the assignment */
    uint64_t           low;        /* the first that is not released */
    uint64_t           next;
    int                wake_fd;    /* written when low could move; an eventfd */
} coco_bus_ledger_t;

/* COCO_ERROR: no memory, or no descriptor. */
int coco_bus_ledger_init(coco_bus_ledger_t *l, size_t size);
void coco_bus_ledger_free(coco_bus_ledger_t *l);

/* Forgets all: the broker will deliver it again. */
void coco_bus_ledger_reset(coco_bus_ledger_t *l);

/* Enters one and gives the tag for its message; COCO_AGAIN: the ring is
 * full. Only the consumer's thread enters, resets and releases. */
int coco_bus_ledger_enter(coco_bus_ledger_t *l, const coco_bus_entry_t *entry,
    uint64_t *ret_tag);
/* Takes the last one back: it was not pushed. */
void coco_bus_ledger_cancel(coco_bus_ledger_t *l);

/* Any thread. */
void coco_bus_ledger_done(coco_bus_ledger_t *l, uint64_t tag);

/* Takes the first entry out when it is done. */
bool coco_bus_ledger_release(coco_bus_ledger_t *l, coco_bus_entry_t *ret);

uint64_t coco_bus_ledger_in_flight(coco_bus_ledger_t *l);

/* Empties wake_fd. */
void coco_bus_ledger_wake_take(coco_bus_ledger_t *l);

#endif /* COCO_BUS_LEDGER_H */
