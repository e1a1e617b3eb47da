/*
 * May this robot work, and if not, what is the first thing to see to.
 * Source of the order: CONTRACT "Readiness", after the seeds'
 * getRobotOperationalReadinessIssue.
 */

#ifndef COCO_READINESS_H
#define COCO_READINESS_H

#include "coco_core.h"
#include "coco_heartbeat.h"

/* A flag that was never set does not block. */
typedef enum { COCO_UNSET = -1, COCO_FALSE = 0, COCO_TRUE = 1 } coco_flag_e;

typedef struct {
    coco_flag_e   undergoing_maintenance, needs_maintenance, needs_pickup;
    coco_flag_e   driveable;
    coco_state_e  operation_state;
    bool          online;
    bool          healthy;                   /* true when not known */
    double        battery_percent;           /* NAN when not known */
    bool          remotely_controllable;
    double        low_battery_percent;       /* configuration */
    bool          teleoperation_required;    /* configuration */
} coco_readiness_input_t;

/* The names of all issues, in the order in which they are looked for. */
extern const coco_str_t  coco_readiness_issues[];
extern const size_t      coco_readiness_issues_count;

/* The first issue that applies; data NULL when the robot is ready. */
coco_str_t coco_readiness_issue(const coco_readiness_input_t *in);

#endif /* COCO_READINESS_H */
