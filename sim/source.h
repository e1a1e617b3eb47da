/*
 * What epoll's data points to: the first member of everything that has a
 * descriptor on the loop, and must not move while it has.
 */

#ifndef COCO_SIM_SOURCE_H
#define COCO_SIM_SOURCE_H

#include <stdint.h>

typedef struct sim_source_s  sim_source_t;

struct sim_source_s {
    void (*handler)(sim_source_t *source, uint32_t events);
};

#endif /* COCO_SIM_SOURCE_H */
