/*
 * The ordered list of reasons why a robot may not work. Decides, and must
 * never look anything up: all it needs is in its input.
 */

#include "coco_readiness.h"


enum {
    UNDERGOING_MAINTENANCE, NEEDS_MAINTENANCE, NEEDS_PICKUP, NOT_DRIVEABLE,
    OFFLINE, UNHEALTHY, LOW_BATTERY, OFF_DUTY, GROUNDED,
    NOT_REMOTELY_CONTROLLABLE, ISSUES
};


const coco_str_t coco_readiness_issues[ISSUES] = {
    coco_string("UNDERGOING_MAINTENANCE"),
    coco_string("NEEDS_MAINTENANCE"),
    coco_string("NEEDS_PICKUP"),
    coco_string("NOT_DRIVEABLE"),
    coco_string("OFFLINE"),
    coco_string("UNHEALTHY"),
    coco_string("LOW_BATTERY"),
    coco_string("OFF_DUTY"),
    coco_string("GROUNDED"),
    coco_string("NOT_REMOTELY_CONTROLLABLE")
};

const size_t coco_readiness_issues_count = ISSUES;


coco_str_t
coco_readiness_issue(const coco_readiness_input_t *in)
{
    size_t  i;

    const bool  applies[ISSUES] = {
        [UNDERGOING_MAINTENANCE] = in->undergoing_maintenance == COCO_TRUE,
        [NEEDS_MAINTENANCE] = in->needs_maintenance == COCO_TRUE,
        [NEEDS_PICKUP] = in->needs_pickup == COCO_TRUE,
        [NOT_DRIVEABLE] = in->driveable == COCO_FALSE,
        [OFFLINE] = !in->online,
        [UNHEALTHY] = !in->healthy,
        /* not so for NAN, a level that is not known */
        [LOW_BATTERY] = in->battery_percent < in->low_battery_percent,
        [OFF_DUTY] = in->operation_state == COCO_STATE_OFF_DUTY,
        [GROUNDED] = in->operation_state == COCO_STATE_GROUNDED,
        [NOT_REMOTELY_CONTROLLABLE] = in->teleoperation_required
                                      && !in->remotely_controllable
    };

    for (i = 0; i < ISSUES; i++) {
        if (applies[i]) {
            return coco_readiness_issues[i];
        }
    }

    return (coco_str_t) { NULL, 0 };
}
