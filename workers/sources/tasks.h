/*
 * What is due for robots: rows of robot_task, in the order of their times,
 * pushed into the events lane, deleted by the transaction that applies them.
 * Those of the state service (LID, SEEN, EXPIRY) and those of the deliveries
 * service (ARRIVAL) are read apart, each by one worker at a time (advisory
 * lock); the others stand by.
 */

#ifndef COCO_SOURCE_TASKS_H
#define COCO_SOURCE_TASKS_H

#include "config.h"
#include "lane.h"

typedef struct coco_source_tasks_s  coco_source_tasks_t;

typedef struct {
    const coco_config_t  *config;
    coco_lane_t          *lane;
} coco_source_tasks_options_t;

/* Starts a thread for each of the services that is here; NULL when it could
 * not. */
coco_source_tasks_t *coco_source_tasks_start(
    const coco_source_tasks_options_t *options);
/* Pushes nothing more; does not wait (the lane may hold the threads). */
void coco_source_tasks_stop(coco_source_tasks_t *s);
/* After the lane's stop. */
void coco_source_tasks_close(coco_source_tasks_t *s);

bool coco_source_tasks_alive(coco_source_tasks_t *s);

#endif /* COCO_SOURCE_TASKS_H */
