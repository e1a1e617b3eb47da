/*
 * The planner for Python: arrays of numbers in, arrays of numbers out. Times
 * are of this thread's CPU, so that what else runs is not counted.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coco_assign.h"
#include "coco_plan.h"

#define EXPORT  __attribute__((visibility("default")))
#define NOW     INT64_C(1795000000000)

/* As Python gives them, all doubles. */
typedef struct {
    double  pickup_latitude, pickup_longitude;
    double  dropoff_latitude, dropoff_longitude;
    double  ready_seconds;
} planner_trip_t;

typedef struct {
    double  serial, latitude, longitude, battery;
} planner_robot_t;

typedef struct {
    double  speed, detour, dwell, energy, idle, reserve, reach;
} planner_rules_t;

typedef struct {
    coco_trip_rules_t   rules;
    coco_trip_plan_t   *trips;
    coco_plan_robot_t  *robots;
} planner_t;


EXPORT int64_t planner_assign(const double *cost, uint32_t rows,
    uint32_t columns, uint32_t *ret, double *ret_seconds);
EXPORT int planner_plan(const planner_rules_t *rules,
    const planner_trip_t *trips, uint32_t count,
    const planner_robot_t *robots, uint32_t robot_count, uint32_t *ret,
    double *ret_cost, uint32_t *ret_reasons, double *ret_total,
    double *ret_seconds);
EXPORT int planner_costs(const planner_rules_t *rules,
    const planner_trip_t *trips, uint32_t count,
    const planner_robot_t *robots, uint32_t robot_count, double *ret,
    uint32_t *ret_reasons);


static double
cpu_seconds(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);

    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}


/* -1: no memory */
int64_t
planner_assign(const double *cost, uint32_t rows, uint32_t columns,
    uint32_t *ret, double *ret_seconds)
{
    void    *work;
    size_t   size = coco_assign_size(rows, columns);
    int64_t  served;

    work = size == 0 ? NULL : malloc(size);
    if (work == NULL) {
        return -1;
    }

    *ret_seconds = cpu_seconds();
    served = coco_assign(cost, rows, columns, work, ret);
    *ret_seconds = cpu_seconds() - *ret_seconds;

    free(work);

    return served;
}


static void
planner_free(planner_t *p)
{
    free(p->trips);
    free(p->robots);
}


static int
planner_init(planner_t *p, const planner_rules_t *rules,
    const planner_trip_t *trips, uint32_t count,
    const planner_robot_t *robots, uint32_t robot_count)
{
    uint32_t     i;
    coco_trip_t  trip;

    p->rules = (coco_trip_rules_t) {
        .speed = rules->speed, .detour = rules->detour,
        .dwell_seconds = rules->dwell, .percent_per_km = rules->energy,
        .percent_per_hour = rules->idle, .reserve_percent = rules->reserve,
        .reach_meters = rules->reach
    };

    p->trips = calloc((size_t) count + 1, sizeof(*p->trips));
    p->robots = calloc((size_t) robot_count + 1, sizeof(*p->robots));

    if (p->trips == NULL || p->robots == NULL) {
        planner_free(p);
        return -1;
    }

    for (i = 0; i < count; i++) {
        trip.pickup = (coco_place_t) { trips[i].pickup_latitude,
                                       trips[i].pickup_longitude };
        trip.dropoff = (coco_place_t) { trips[i].dropoff_latitude,
                                        trips[i].dropoff_longitude };
        trip.ready_at = NOW + (int64_t) (trips[i].ready_seconds * 1000);
        coco_trip_plan(&p->trips[i], &p->rules, &trip, NOW);
    }

    for (i = 0; i < robot_count; i++) {
        p->robots[i].serial_len = (uint8_t) snprintf(
            p->robots[i].serial, COCO_SERIAL_MAX, "R-%06.0f",
            robots[i].serial);
        p->robots[i].telemetry.latitude_e7 =
            (int32_t) lround(robots[i].latitude * COCO_DEGREE_E7);
        p->robots[i].telemetry.longitude_e7 =
            (int32_t) lround(robots[i].longitude * COCO_DEGREE_E7);
        p->robots[i].telemetry.battery_percent = (float) robots[i].battery;
        p->robots[i].telemetry.healthy = true;
    }

    return 0;
}


/* -1: no memory */
int
planner_plan(const planner_rules_t *rules, const planner_trip_t *trips,
    uint32_t count, const planner_robot_t *robots, uint32_t robot_count,
    uint32_t *ret, double *ret_cost, uint32_t *ret_reasons, double *ret_total,
    double *ret_seconds)
{
    void                *work;
    size_t               size = coco_plan_size(count, robot_count);
    uint32_t             i;
    planner_t            p;
    coco_plan_result_t  *results;

    if (planner_init(&p, rules, trips, count, robots, robot_count) != 0) {
        return -1;
    }

    work = size == 0 ? NULL : malloc(size);
    results = calloc((size_t) count + 1, sizeof(*results));

    if (work != NULL && results != NULL) {
        *ret_seconds = cpu_seconds();
        coco_plan(p.trips, count, p.robots, robot_count, work, results,
                  ret_total);
        *ret_seconds = cpu_seconds() - *ret_seconds;

        for (i = 0; i < count; i++) {
            ret[i] = results[i].robot;
            ret_cost[i] = results[i].cost;
            ret_reasons[i] = results[i].reasons;
        }
    }

    free(results);
    free(work);
    planner_free(&p);

    return work != NULL && results != NULL ? 0 : -1;
}


/* trips × robots, what coco_trip_cost() says of each pair, and why not;
 * INFINITY: not possible. -1: no memory. */
int
planner_costs(const planner_rules_t *rules, const planner_trip_t *trips,
    uint32_t count, const planner_robot_t *robots, uint32_t robot_count,
    double *ret, uint32_t *ret_reasons)
{
    uint32_t                        i, k;
    planner_t                       p;
    coco_place_t                    place;
    coco_trip_cost_t                cost;
    const coco_supply_telemetry_t  *robot;

    if (planner_init(&p, rules, trips, count, robots, robot_count) != 0) {
        return -1;
    }

    for (i = 0; i < count; i++) {
        for (k = 0; k < robot_count; k++) {
            robot = &p.robots[k].telemetry;
            place = coco_trip_place(robot);

            *ret_reasons = coco_trip_cost(&p.trips[i], robot,
                coco_trip_distance(&place, &p.trips[i].trip.pickup), &cost);
            *ret++ = *ret_reasons++ == 0 ? cost.pickup_eta : (double) INFINITY;
        }
    }

    planner_free(&p);

    return 0;
}
