/*
 * What an engine of the bus is to bus.c. An engine belongs to one thread.
 */

#ifndef COCO_BUS_ENGINE_H
#define COCO_BUS_ENGINE_H

#include "sinks/bus.h"

typedef struct {
    const char  *name;
    /* NULL: no memory. Connects to nothing yet. */
    void       *(*create)(const coco_bus_options_t *options,
                          coco_stop_t *stop);
    void        (*destroy)(void *engine);
    /* As coco_bus_open(); NULL: there is nothing to prepare. */
    int         (*open)(void *engine);
    /* As coco_bus_send(), for this engine. */
    size_t      (*send)(void *engine, const coco_bus_event_t *events,
                        size_t count);
    /* Why the last open failed, or the last send was short. */
    const char *(*error)(const void *engine);
} coco_bus_engine_t;

extern const coco_bus_engine_t  coco_bus_rabbitmq;
extern const coco_bus_engine_t  coco_bus_kafka;
extern const coco_bus_engine_t  coco_bus_loop;

#endif /* COCO_BUS_ENGINE_H */
