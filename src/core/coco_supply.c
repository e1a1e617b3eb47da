/*
 * Decides what is newer of a robot, and which standing checks it fails. Must
 * never look at a trip: that is coco_trip.h.
 */

#include "coco_supply.h"


static const coco_str_t  reason_names[COCO_REASONS] = {
    [COCO_REASON_OFFLINE] = coco_string("OFFLINE"),
    [COCO_REASON_UNHEALTHY] = coco_string("UNHEALTHY"),
    [COCO_REASON_NOT_DRIVEABLE] = coco_string("NOT_DRIVEABLE"),
    [COCO_REASON_MAINTENANCE] = coco_string("MAINTENANCE"),
    [COCO_REASON_NEEDS_PICKUP] = coco_string("NEEDS_PICKUP"),
    [COCO_REASON_HAS_FOOD] = coco_string("HAS_FOOD"),
    [COCO_REASON_ON_TRIP] = coco_string("ON_TRIP"),
    [COCO_REASON_OFF_DUTY] = coco_string("OFF_DUTY"),
    [COCO_REASON_GROUNDED] = coco_string("GROUNDED"),
    [COCO_REASON_LID_OPEN] = coco_string("LID_OPEN"),
    [COCO_REASON_HELD] = coco_string("HELD"),
    [COCO_REASON_BUSY] = coco_string("BUSY"),
    [COCO_REASON_LOW_BATTERY] = coco_string("LOW_BATTERY"),
    [COCO_REASON_BATTERY_RANGE] = coco_string("BATTERY_RANGE"),
    [COCO_REASON_OUT_OF_AREA] = coco_string("OUT_OF_AREA"),
    [COCO_REASON_TOO_FAR] = coco_string("TOO_FAR")
};


coco_str_t
coco_reason_name(coco_reason_e reason)
{
    return reason_names[reason];
}


unsigned
coco_supply_merge(coco_supply_state_t *state, const coco_supply_state_t *from)
{
    unsigned  newer = from->parts & ~state->parts;
    unsigned  both = from->parts & state->parts;

    if ((both & COCO_SUPPLY_TELEMETRY)
        && coco_order_compare(&from->telemetry.order,
                              &state->telemetry.order) > 0)
    {
        newer |= COCO_SUPPLY_TELEMETRY;
    }

    if ((both & COCO_SUPPLY_BUSINESS)
        && from->business.changed_at > state->business.changed_at)
    {
        newer |= COCO_SUPPLY_BUSINESS;
    }

    if ((both & COCO_SUPPLY_DEMAND)
        && from->demand.version > state->demand.version)
    {
        newer |= COCO_SUPPLY_DEMAND;
    }

    if ((both & COCO_SUPPLY_LID)
        && (from->lid.at > state->lid.at
            || (from->lid.at == state->lid.at
                && from->lid.open && !state->lid.open)))
    {
        newer |= COCO_SUPPLY_LID;
    }

    if (newer & COCO_SUPPLY_TELEMETRY) {
        state->telemetry = from->telemetry;
    }

    if (newer & COCO_SUPPLY_BUSINESS) {
        state->business = from->business;
    }

    if (newer & COCO_SUPPLY_DEMAND) {
        state->demand = from->demand;
    }

    if (newer & COCO_SUPPLY_LID) {
        state->lid = from->lid;
    }

    state->parts |= newer;

    return newer;
}


static inline coco_reasons_t
reason_if(bool fails, coco_reason_e reason)
{
    return (coco_reasons_t) fails << reason;
}


static coco_reasons_t
telemetry_reasons(const coco_supply_state_t *state,
    const coco_supply_rules_t *rules, int64_t now, int64_t *until)
{
    int64_t                         online_until;
    coco_reasons_t                  reasons;
    const coco_supply_telemetry_t  *telemetry = &state->telemetry;

    if (!(state->parts & COCO_SUPPLY_TELEMETRY)) {
        return reason_if(true, COCO_REASON_OFFLINE);
    }

    if (__builtin_add_overflow(telemetry->order.order_ms, rules->online_ms,
                               &online_until))
    {
        online_until = INT64_MAX;
    }

    if (now <= online_until && online_until < *until) {
        *until = online_until;
    }

    reasons = reason_if(now > online_until, COCO_REASON_OFFLINE)
              | reason_if(!telemetry->healthy, COCO_REASON_UNHEALTHY)
              /* as floats: what was said to be at the limit still is */
              | reason_if(telemetry->battery_percent
                          < (float) rules->low_battery_percent,
                          COCO_REASON_LOW_BATTERY);

    if (state->parts & COCO_SUPPLY_LID) {
        reasons |= reason_if(state->lid.open, COCO_REASON_LID_OPEN);
    }

    return reasons;
}


static coco_reasons_t
business_reasons(const coco_supply_state_t *state)
{
    const coco_supply_business_t  *business = &state->business;

    if (!(state->parts & COCO_SUPPLY_BUSINESS)) {
        return reason_if(true, COCO_REASON_OFF_DUTY);
    }

    return reason_if(business->driveable == COCO_FALSE,
                     COCO_REASON_NOT_DRIVEABLE)
           | reason_if(business->undergoing_maintenance == COCO_TRUE
                       || business->needs_maintenance == COCO_TRUE,
                       COCO_REASON_MAINTENANCE)
           | reason_if(business->needs_pickup == COCO_TRUE,
                       COCO_REASON_NEEDS_PICKUP)
           | reason_if(business->has_food == COCO_TRUE, COCO_REASON_HAS_FOOD)
           | reason_if(business->operation_state == COCO_STATE_ON_TRIP,
                       COCO_REASON_ON_TRIP)
           | reason_if(business->operation_state == COCO_STATE_OFF_DUTY
                       || business->operation_state == COCO_STATE_NONE,
                       COCO_REASON_OFF_DUTY)
           | reason_if(business->operation_state == COCO_STATE_GROUNDED,
                       COCO_REASON_GROUNDED);
}


static coco_reasons_t
demand_reasons(const coco_supply_state_t *state, int64_t now, int64_t *until)
{
    const coco_supply_demand_t  *demand = &state->demand;

    if (!(state->parts & COCO_SUPPLY_DEMAND)) {
        return 0;
    }

    if (demand->held_until > now && demand->held_until - 1 < *until) {
        *until = demand->held_until - 1;
    }

    return reason_if(demand->held_until > now, COCO_REASON_HELD)
           | reason_if(demand->demands > 0, COCO_REASON_BUSY);
}


coco_reasons_t
coco_supply_reasons(const coco_supply_state_t *state,
    const coco_supply_rules_t *rules, int64_t now, int64_t *ret_until)
{
    int64_t         until = INT64_MAX;
    coco_reasons_t  reasons;

    reasons = telemetry_reasons(state, rules, now, &until)
              | business_reasons(state)
              | demand_reasons(state, now, &until);

    if (ret_until != NULL) {
        *ret_until = until;
    }

    return reasons;
}
