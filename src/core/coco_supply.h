/*
 * A robot as the planner sees it: what is known of it, in parts that are
 * written by different hands and each carry their own version; the checks that
 * its standing state has to pass; and the line of text in which parts travel
 * from the worker and from Postgres to nginx.
 */

#ifndef COCO_SUPPLY_H
#define COCO_SUPPLY_H

#include "coco_core.h"
#include "coco_heartbeat.h"
#include "coco_readiness.h"

/* The checks, in the order in which they are listed. Standing ones depend on
 * the robot alone; the others on the trip. CONTRACT "Dispatch module". */
typedef enum {
    COCO_REASON_OFFLINE = 0,
    COCO_REASON_UNHEALTHY,
    COCO_REASON_NOT_DRIVEABLE,
    COCO_REASON_MAINTENANCE,       /* undergoing, or needs it */
    COCO_REASON_NEEDS_PICKUP,
    COCO_REASON_HAS_FOOD,
    COCO_REASON_ON_TRIP,
    COCO_REASON_OFF_DUTY,
    COCO_REASON_GROUNDED,
    COCO_REASON_LID_OPEN,
    COCO_REASON_HELD,              /* by a quote */
    COCO_REASON_BUSY,              /* promised to a demand */
    COCO_REASON_LOW_BATTERY,
    COCO_REASONS_STANDING,

    COCO_REASON_BATTERY_RANGE = COCO_REASONS_STANDING,
    COCO_REASON_OUT_OF_AREA,
    COCO_REASON_TOO_FAR,
    COCO_REASONS
} coco_reason_e;

/* A set of them: bit 1u << reason. 0: usable. */
typedef uint32_t  coco_reasons_t;

coco_str_t coco_reason_name(coco_reason_e reason);

/* A ten-millionth of a degree: 1.1 cm at most. */
#define COCO_DEGREE_E7  10000000

typedef enum {
    COCO_SUPPLY_TELEMETRY = 1,     /* bits */
    COCO_SUPPLY_BUSINESS = 2,
    COCO_SUPPLY_DEMAND = 4,
    COCO_SUPPLY_LID = 8
} coco_supply_part_e;

/* Newer by order. */
typedef struct {
    coco_order_t  order;
    int32_t       latitude_e7, longitude_e7;
    float         battery_percent;
    bool          healthy;
} coco_supply_telemetry_t;

/* Newer by changed_at, ms. */
typedef struct {
    int64_t       changed_at;
    coco_state_e  operation_state;
    int8_t        undergoing_maintenance, needs_maintenance, needs_pickup;
    int8_t        has_food, driveable, needs_movement;  /* coco_flag_e */
} coco_supply_business_t;

/* Newer by version, which the database counts up for each robot. */
typedef struct {
    int64_t       version;
    uint32_t      demands;         /* promised to so many */
    int64_t       held_until;      /* ms; 0: no quote holds it */
} coco_supply_demand_t;

/* Newer by at, ms: of an event, or of a heartbeat that speaks of the lid. Of
 * two at the same time the open one counts, whichever came first. */
typedef struct {
    int64_t       at;
    bool          open;
} coco_supply_lid_t;

/* `parts` says which are known, or meant. */
typedef struct {
    unsigned                 parts;
    coco_supply_telemetry_t  telemetry;
    coco_supply_business_t   business;
    coco_supply_demand_t     demand;
    coco_supply_lid_t        lid;
} coco_supply_state_t;

/* Takes over each part of `from` that is newer, or that `state` does not know.
 * Returns those that were: 0, nothing has changed. */
unsigned coco_supply_merge(coco_supply_state_t *state,
    const coco_supply_state_t *from);

typedef struct {
    int64_t  online_ms;            /* heard within: online */
    double   low_battery_percent;
} coco_supply_rules_t;

/*
 * The standing checks that fail at `now` (ms). What is not known: never heard
 * is OFFLINE (and then neither health, battery nor lid are checked), a flag
 * that was never set does not block, an operation state that was never set is
 * OFF_DUTY. *ret_until (unless NULL): the time up to which, and including
 * which, the answer stands if nothing is written: it goes offline or its hold
 * ends; INT64_MAX when time changes nothing.
 */
coco_reasons_t coco_supply_reasons(const coco_supply_state_t *state,
    const coco_supply_rules_t *rules, int64_t now, int64_t *ret_until);

/*
 * A line, without its newline; parts in any order, each at most once:
 *
 *   <serial> T <latitude_e7> <longitude_e7> <battery> <order_ms> <ts> <id>
 *            <healthy 0|1>
 *            B <changed_at> <operation state> <flags>
 *            D <version> <demands> <held_until>
 *            L <at> <open 0|1>
 *
 * battery is a number as JSON has it, from 0 to 100; the operation state is -
 * when it was never set; flags are six of t, f and -, in the order
 * undergoingMaintenance needsMaintenance needsPickup hasFood driveable
 * needsMovement; times are ms. One space between tokens. The database writes
 * the same (coco.supply_line), where a battery may take more bytes than ours.
 */
#define COCO_SUPPLY_LINE_MAX  384  /* bytes that ours takes at most */

/* Returns the bytes written into ret, without a NUL. */
size_t coco_supply_line_encode(char ret[COCO_SUPPLY_LINE_MAX],
    coco_str_t serial, const coco_supply_state_t *state);

/* COCO_ERROR: *err says which token. *ret_serial points into line. */
int coco_supply_line_decode(coco_str_t line, coco_str_t *ret_serial,
    coco_supply_state_t *ret, coco_error_t *err);

#endif /* COCO_SUPPLY_H */
