/*
 * A quote: the usable robot that is at the pickup first. Exact; of equal ones
 * the serial that sorts first. Allocates nothing; reads the index, see there
 * for what that means beside a writer.
 */

#ifndef COCO_QUOTE_H
#define COCO_QUOTE_H

#include "coco_fleet_index.h"
#include "coco_trip.h"

typedef struct {
    uint32_t          robot;                 /* COCO_ROBOT_NONE: no robot */
    coco_trip_cost_t  cost;                  /* when there is one */
    uint32_t          rejected[COCO_REASONS];/* robots: standing reasons, all
                                                of them; the trip's, of those
                                                that were looked at, or of all
                                                usable ones when it rules out
                                                every robot by itself */
} coco_quote_t;

/* A robot that has gone offline since the last sweep is not taken. */
void coco_quote(const coco_fleet_index_t *index, const coco_trip_plan_t *plan,
    coco_quote_t *ret);

/* All reasons of one robot, standing ones as of plan->now, and those of the
 * trip where it is known where the robot is; *ret_cost is filled when it has
 * none. */
coco_reasons_t coco_quote_explain(const coco_fleet_index_t *index,
    uint32_t robot, const coco_trip_plan_t *plan, coco_trip_cost_t *ret_cost);

#endif /* COCO_QUOTE_H */
