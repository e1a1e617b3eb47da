/*
 * The best robot for one trip. Must never visit a robot that is farther than
 * one that will do, nor write to the index.
 */

#include <math.h>

#include "coco_quote.h"

/* Once so many were out of reach, those farther away are not asked: they
 * would say the same. */
#define COCO_QUOTE_FAR    64

/* What a bound is widened by, so that robots that are as near as the best are
 * visited too, whatever rounding did. */
#define COCO_QUOTE_WIDER  (1 + 1e-9)
#define COCO_QUOTE_MORE   1e-3          /* m */

typedef struct {
    const coco_fleet_index_t  *index;
    const coco_trip_plan_t    *plan;
    const coco_supply_rules_t *rules;
    coco_quote_t              *quote;
} quote_search_t;


static double quote_visit(void *data, uint32_t robot, double meters);
static bool quote_better(const quote_search_t *search, uint32_t robot,
    const coco_trip_cost_t *cost);
static double quote_bound(const quote_search_t *search);
static void quote_reject(coco_quote_t *quote, coco_reasons_t reasons,
    uint32_t robots);


void
coco_quote(const coco_fleet_index_t *index, const coco_trip_plan_t *plan,
    coco_quote_t *ret)
{
    uint32_t        usable;
    quote_search_t  search;

    memset(ret, 0, sizeof(*ret));
    ret->robot = COCO_ROBOT_NONE;

    coco_fleet_index_counts(index, ret->rejected, &usable);

    if (plan->reasons != 0) {
        quote_reject(ret, plan->reasons, usable);
        return;
    }

    search.index = index;
    search.plan = plan;
    search.rules = coco_fleet_index_rules(index);
    search.quote = ret;

    coco_fleet_index_near(index, plan->trip.pickup.latitude,
                          plan->trip.pickup.longitude, INFINITY, quote_visit,
                          &search);
}


coco_reasons_t
coco_quote_explain(const coco_fleet_index_t *index, uint32_t robot,
    const coco_trip_plan_t *plan, coco_trip_cost_t *ret_cost)
{
    coco_place_t                place;
    coco_reasons_t              reasons;
    coco_trip_cost_t            cost;
    const coco_supply_state_t  *state;

    state = coco_fleet_index_state(index, robot);
    reasons = coco_supply_reasons(state, coco_fleet_index_rules(index),
                                  plan->now, NULL);

    /* where it stands is not known */
    if (!(state->parts & COCO_SUPPLY_TELEMETRY)) {
        return reasons | plan->reasons;
    }

    place = coco_trip_place(&state->telemetry);
    reasons |= coco_trip_cost(plan, &state->telemetry,
                              coco_trip_distance(&place, &plan->trip.pickup),
                              &cost);

    if (reasons == 0) {
        *ret_cost = cost;
    }

    return reasons;
}


static double
quote_visit(void *data, uint32_t robot, double meters)
{
    coco_reasons_t              reasons;
    quote_search_t             *search = data;
    coco_trip_cost_t            cost;
    const coco_supply_state_t  *state;

    state = coco_fleet_index_state(search->index, robot);

    /* the index counts it as usable until the next sweep */
    reasons = coco_supply_reasons(state, search->rules, search->plan->now,
                                  NULL);

    if (reasons == 0) {
        reasons = coco_trip_cost(search->plan, &state->telemetry, meters,
                                 &cost);
    }

    if (reasons != 0) {
        quote_reject(search->quote, reasons, 1);

    } else if (quote_better(search, robot, &cost)) {
        search->quote->robot = robot;
        search->quote->cost = cost;
    }

    return quote_bound(search);
}


static bool
quote_better(const quote_search_t *search, uint32_t robot,
    const coco_trip_cost_t *cost)
{
    const coco_quote_t  *best = search->quote;

    if (best->robot == COCO_ROBOT_NONE
        || cost->pickup_eta != best->cost.pickup_eta)
    {
        return best->robot == COCO_ROBOT_NONE
               || cost->pickup_eta < best->cost.pickup_eta;
    }

    return coco_str_compare(coco_fleet_index_serial(search->index, robot),
                            coco_fleet_index_serial(search->index,
                                                    best->robot)) < 0;
}


/* The distance beyond which no robot can be as good as the best: a router's
 * ways are no shorter than the distance. */
static double
quote_bound(const quote_search_t *search)
{
    double                    way;
    const coco_quote_t       *quote = search->quote;
    const coco_trip_rules_t  *rules = search->plan->rules;

    if (quote->robot != COCO_ROBOT_NONE) {
        way = quote->cost.pickup_eta * rules->speed;

    } else if (quote->rejected[COCO_REASON_TOO_FAR] >= COCO_QUOTE_FAR) {
        way = rules->reach_meters;

    } else {
        return INFINITY;
    }

    return (rules->route == NULL ? way / rules->detour : way)
           * COCO_QUOTE_WIDER + COCO_QUOTE_MORE;
}


static void
quote_reject(coco_quote_t *quote, coco_reasons_t reasons, uint32_t robots)
{
    int  reason;

    for (reason = 0; reason < COCO_REASONS; reason++) {
        if (reasons & (1u << reason)) {
            quote->rejected[reason] += robots;
        }
    }
}
