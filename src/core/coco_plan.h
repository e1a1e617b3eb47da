/*
 * A plan: which robot serves which demand, as many as can be served and then
 * at the least sum of times to the pickups. Works on a snapshot of the robots,
 * so that it may run in another thread.
 */

#ifndef COCO_PLAN_H
#define COCO_PLAN_H

#include "coco_fleet_index.h"
#include "coco_trip.h"

/* A usable robot, copied. */
typedef struct {
    char                     serial[COCO_SERIAL_MAX];
    uint8_t                  serial_len;
    coco_supply_telemetry_t  telemetry;
} coco_plan_robot_t;

typedef struct {
    uint32_t        robot;        /* of the snapshot; COCO_ROBOT_NONE: none */
    double          cost;         /* seconds to the pickup, when there is */
    coco_reasons_t  reasons;      /* of the trip, when there is none: those that
                                     rule out every usable robot (where the
                                     trip itself has some, or no robot is in
                                     the area, that alone); 0: no single one
                                     does, and other demands have the robots
                                     that could, if any */
} coco_plan_result_t;

/* Bytes of work space for so many; 0 when that does not fit into size_t. */
size_t coco_plan_size(uint32_t trips, uint32_t robots);

/*
 * `trips` are planned (coco_trip_plan, all by the same rules) by the caller;
 * `work` is coco_plan_size() bytes, aligned to 16. Fills ret[count] in their
 * order. Ties are broken by the order of the trips and by serial.
 * *ret_total is the sum of the costs, seconds.
 */
void coco_plan(const coco_trip_plan_t *trips, uint32_t count,
    const coco_plan_robot_t *robots, uint32_t robot_count, void *work,
    coco_plan_result_t *ret, double *ret_total);

#endif /* COCO_PLAN_H */
