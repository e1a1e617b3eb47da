/*
 * What a trip takes and costs, and what rules a robot out of it. Must never
 * look at what the robot does otherwise: coco_supply_reasons() does.
 */

#include <math.h>

#include "coco_delivery.h"
#include "coco_trip.h"

#define COCO_AREA_EDGE   1e-9       /* degrees, 0.1 mm: still on the edge */
#define COCO_MS          1000.0
#define COCO_KM          1000.0
#define COCO_HOUR        3600.0     /* s */


static double trip_way(const coco_trip_rules_t *rules,
    const coco_place_t *from, const coco_place_t *to, double meters);
static double trip_energy_after(const coco_trip_plan_t *plan);
static bool area_edge(const coco_place_t *a, const coco_place_t *b,
    const coco_place_t *place);


coco_place_t
coco_trip_place(const coco_supply_telemetry_t *robot)
{
    return (coco_place_t) {
        (double) robot->latitude_e7 / COCO_DEGREE_E7,
        (double) robot->longitude_e7 / COCO_DEGREE_E7
    };
}


double
coco_trip_distance(const coco_place_t *from, const coco_place_t *to)
{
    return coco_distance_meters(from->latitude, from->longitude, to->latitude,
                                to->longitude);
}


void
coco_trip_plan(coco_trip_plan_t *ret, const coco_trip_rules_t *rules,
    const coco_trip_t *trip, int64_t now)
{
    size_t               i;
    double               meters;
    const coco_place_t  *charger;

    ret->rules = rules;
    ret->trip = *trip;
    ret->now = now;
    ret->reasons = 0;

    ret->trip_meters = trip_way(rules, &trip->pickup, &trip->dropoff,
                                coco_trip_distance(&trip->pickup,
                                                   &trip->dropoff));

    ret->charger_meters = rules->chargers_count == 0 ? 0 : INFINITY;

    for (i = 0; i < rules->chargers_count; i++) {
        charger = &rules->chargers[i];
        meters = trip_way(rules, &trip->dropoff, charger,
                          coco_trip_distance(&trip->dropoff, charger));
        ret->charger_meters = fmin(ret->charger_meters, meters);
    }

    if (!coco_area_contains(rules->area, rules->area_count, &trip->pickup)
        || !coco_area_contains(rules->area, rules->area_count,
                               &trip->dropoff))
    {
        ret->reasons |= 1u << COCO_REASON_OUT_OF_AREA;
    }

    if (isinf(ret->trip_meters)) {
        ret->reasons |= 1u << COCO_REASON_TOO_FAR;
        return;
    }

    if (coco_trip_need(ret) > 100) {
        ret->reasons |= 1u << COCO_REASON_BATTERY_RANGE;
    }
}


double
coco_trip_energy(const coco_trip_rules_t *rules, double meters, double seconds)
{
    return rules->percent_per_km * meters / COCO_KM
           + rules->percent_per_hour * seconds / COCO_HOUR;
}


double
coco_trip_need(const coco_trip_plan_t *plan)
{
    const coco_trip_rules_t  *rules = plan->rules;

    return coco_trip_energy(rules, plan->trip_meters,
                            rules->dwell_seconds
                            + plan->trip_meters / rules->speed)
           + trip_energy_after(plan);
}


double
coco_trip_ready(const coco_trip_plan_t *plan)
{
    return plan->trip.ready_at == 0
           ? 0 : (double) (plan->trip.ready_at - plan->now) / COCO_MS;
}


coco_reasons_t
coco_trip_cost(const coco_trip_plan_t *plan,
    const coco_supply_telemetry_t *robot, double meters, coco_trip_cost_t *ret)
{
    double                    way;
    coco_place_t              place;
    coco_reasons_t            reasons;
    coco_trip_cost_t          cost;
    const coco_trip_rules_t  *rules;

    rules = plan->rules;
    reasons = plan->reasons;
    place = coco_trip_place(robot);

    if (!coco_area_contains(rules->area, rules->area_count, &place)) {
        reasons |= 1u << COCO_REASON_OUT_OF_AREA;
    }

    way = trip_way(rules, &place, &plan->trip.pickup, meters);

    if (way > rules->reach_meters || isinf(way)) {
        reasons |= 1u << COCO_REASON_TOO_FAR;
    }

    cost.pickup_eta = way / rules->speed;
    cost.dropoff_eta = fmax(cost.pickup_eta, coco_trip_ready(plan))
                       + rules->dwell_seconds
                       + plan->trip_meters / rules->speed;
    cost.meters = way + plan->trip_meters;
    cost.battery_at_end = (double) robot->battery_percent
                          - coco_trip_energy(rules, cost.meters,
                                             cost.dropoff_eta);

    /* where there is no way, no battery is short of it */
    if (!isinf(cost.meters) && cost.battery_at_end < trip_energy_after(plan)) {
        reasons |= 1u << COCO_REASON_BATTERY_RANGE;
    }

    if (reasons == 0) {
        *ret = cost;
    }

    return reasons;
}


bool
coco_area_contains(const coco_place_t *area, size_t count,
    const coco_place_t *place)
{
    bool                 inside;
    size_t               i;
    const coco_place_t  *a, *b;

    if (count < 3) {
        return true;
    }

    inside = false;
    a = &area[count - 1];

    for (i = 0; i < count; i++) {
        b = &area[i];

        if (area_edge(a, b, place)) {
            return true;
        }

        if ((a->latitude > place->latitude) != (b->latitude > place->latitude)
            && place->longitude < a->longitude
               + (place->latitude - a->latitude)
                 * (b->longitude - a->longitude) / (b->latitude - a->latitude))
        {
            inside = !inside;
        }

        a = b;
    }

    return inside;
}


static double
trip_way(const coco_trip_rules_t *rules, const coco_place_t *from,
    const coco_place_t *to, double meters)
{
    return rules->route == NULL
           ? meters * rules->detour
           : rules->route(rules->route_data, from, to, meters);
}


/* What the battery must hold at the drop-off: the way to the charger, and the
 * reserve. */
static double
trip_energy_after(const coco_trip_plan_t *plan)
{
    return plan->rules->reserve_percent
           + coco_trip_energy(plan->rules, plan->charger_meters,
                              plan->charger_meters / plan->rules->speed);
}


static bool
area_edge(const coco_place_t *a, const coco_place_t *b,
    const coco_place_t *place)
{
    double  north, east, to_north, to_east, length, along;

    north = b->latitude - a->latitude;
    east = b->longitude - a->longitude;
    to_north = place->latitude - a->latitude;
    to_east = place->longitude - a->longitude;

    length = hypot(north, east);

    if (length == 0) {
        return hypot(to_north, to_east) <= COCO_AREA_EDGE;
    }

    along = (to_north * north + to_east * east) / length;

    return along >= -COCO_AREA_EDGE && along <= length + COCO_AREA_EDGE
           && fabs(north * to_east - east * to_north)
              <= COCO_AREA_EDGE * length;
}
