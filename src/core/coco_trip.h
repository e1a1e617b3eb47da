/*
 * A trip for a robot: from where it stands to the pickup, to the drop-off, and
 * then to a charger. How long it takes, what it costs of the battery, and
 * whether this robot can do it. Times in seconds, lengths in metres.
 */

#ifndef COCO_TRIP_H
#define COCO_TRIP_H

#include "coco_supply.h"

typedef struct {
    double  latitude, longitude;      /* WGS84 degrees */
} coco_place_t;

/* The length of the way, metres; INFINITY: there is none. `meters` is the
 * distance on the sphere. */
typedef double (*coco_route_pt)(void *data, const coco_place_t *from,
    const coco_place_t *to, double meters);

typedef struct {
    double               speed;              /* m/s; > 0 */
    double               detour;             /* way ÷ distance; >= 1 */
    double               dwell_seconds;      /* at the pickup */
    double               percent_per_km;     /* of the battery, driving */
    double               percent_per_hour;   /* and at all times */
    double               reserve_percent;    /* left when all is over */
    double               reach_meters;       /* of the way to the pickup */

    const coco_place_t  *area;               /* the service area's corners, in
                                                order; fewer than 3: all the
                                                world. Not over 180° */
    size_t               area_count;
    const coco_place_t  *chargers;           /* none: nothing is set aside for
                                                the way to one */
    size_t               chargers_count;

    coco_route_pt        route;              /* NULL: distance × detour. A
                                                router that finds ways shorter
                                                than the distance is wrong */
    void                *route_data;
} coco_trip_rules_t;

typedef struct {
    coco_place_t  pickup, dropoff;
    int64_t       ready_at;                  /* ms; 0: now. A robot that is at
                                                the pickup before waits there */
} coco_trip_t;

/* What all robots have in common of a trip, computed once. */
typedef struct {
    const coco_trip_rules_t  *rules;
    coco_trip_t               trip;
    int64_t                   now;           /* ms */
    double                    trip_meters;   /* way from pickup to drop-off */
    double                    charger_meters;/* way from there to the nearest */
    coco_reasons_t            reasons;       /* that rule out every robot */
} coco_trip_plan_t;

void coco_trip_plan(coco_trip_plan_t *ret, const coco_trip_rules_t *rules,
    const coco_trip_t *trip, int64_t now);

typedef struct {
    double  pickup_eta;           /* seconds from now */
    double  dropoff_eta;          /* ready_at and the dwell in between */
    double  meters;               /* way to the pickup and to the drop-off */
    double  battery_at_end;       /* percent, at the drop-off */
} coco_trip_cost_t;

/* The reasons of the trip, BATTERY_RANGE OUT_OF_AREA TOO_FAR, that rule out a
 * robot at this place; 0: none, and only then *ret is filled. `meters` is its
 * distance on the sphere to the pickup. */
coco_reasons_t coco_trip_cost(const coco_trip_plan_t *plan,
    const coco_supply_telemetry_t *robot, double meters,
    coco_trip_cost_t *ret);

/* What so long a way and so much time take of the battery, percent. */
double coco_trip_energy(const coco_trip_rules_t *rules, double meters,
    double seconds);

/* What the battery must hold at the pickup when the goods are ready, percent:
 * for the trip, for the way to the charger, and the reserve. */
double coco_trip_need(const coco_trip_plan_t *plan);

/* Seconds from now until the goods are ready; not over 0: they are. */
double coco_trip_ready(const coco_trip_plan_t *plan);

/* Where the robot stands. */
coco_place_t coco_trip_place(const coco_supply_telemetry_t *robot);

/* On the sphere, metres; coco_distance_meters(). */
double coco_trip_distance(const coco_place_t *from, const coco_place_t *to);

/* Is the place inside, or on the edge? */
bool coco_area_contains(const coco_place_t *area, size_t count,
    const coco_place_t *place);

#endif /* COCO_TRIP_H */
