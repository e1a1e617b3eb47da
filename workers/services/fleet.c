/*
 * The fleet service: telemetry from heartbeats and business fields from
 * Robots.BusinessStateChange, each only when newer, never one from the other.
 * Must never look at anything but its arguments.
 */

#include "services/service.h"


bool
coco_service_fleet_heartbeat(coco_fleet_record_t *record,
    const coco_heartbeat_t *hb)
{
    coco_order_t  order;

    order = coco_heartbeat_order(hb);

    if (record->heard && coco_order_compare(&order, &record->order) <= 0) {
        return false;
    }

    record->heard = true;
    record->order = order;
    record->heartbeat = hb;

    return true;
}


bool
coco_service_fleet_business_change(coco_fleet_record_t *record,
    const coco_business_change_t *change)
{
    if (record->has_business && change->changed_at <= record->changed_at) {
        return false;
    }

    record->has_business = true;
    record->changed_at = change->changed_at;
    record->business = change->business;

    return true;
}
