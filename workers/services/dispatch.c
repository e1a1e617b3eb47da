/*
 * The dispatch service: what messages make of a robot's supply, each part by
 * its own order: telemetry, business and lid. Must never look at anything but
 * its arguments.
 */

#include <math.h>

#include "services/service.h"


bool
coco_service_dispatch_heartbeat(coco_supply_record_t *record,
    const coco_heartbeat_t *hb)
{
    bool          lid;
    coco_order_t  order;

    order = coco_heartbeat_order(hb);

    lid = hb->has_lid
          && coco_service_dispatch_lid(record, order.order_ms, hb->lid_open);

    if (record->heard && coco_order_compare(&order, &record->order) <= 0) {
        return lid;
    }

    record->heard = true;
    record->order = order;
    record->heartbeat = hb;

    return true;
}


bool
coco_service_dispatch_business_change(coco_supply_record_t *record,
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


bool
coco_service_dispatch_lid(coco_supply_record_t *record, int64_t at, bool open)
{
    if (record->has_lid
        && (at < record->lid_at
            || (at == record->lid_at && (record->lid_open || !open))))
    {
        return false;
    }

    record->has_lid = true;
    record->lid_at = at;
    record->lid_open = open;

    return true;
}


void
coco_service_dispatch_state(coco_supply_state_t *ret,
    const coco_supply_record_t *record)
{
    const coco_business_t   *b = &record->business;
    const coco_heartbeat_t  *hb = record->heartbeat;

    memset(ret, 0, sizeof(*ret));

    if (record->heard) {
        ret->parts |= COCO_SUPPLY_TELEMETRY;
        ret->telemetry.order = record->order;

        /* a half to the even one, as the database's casts do */
        ret->telemetry.latitude_e7
            = (int32_t) lrint(hb->latitude * COCO_DEGREE_E7);
        ret->telemetry.longitude_e7
            = (int32_t) lrint(hb->longitude * COCO_DEGREE_E7);

        ret->telemetry.battery_percent = (float) hb->battery_percent;
        ret->telemetry.healthy = hb->healthy;
    }

    if (record->has_business) {
        ret->parts |= COCO_SUPPLY_BUSINESS;
        ret->business.changed_at = record->changed_at;
        ret->business.operation_state = b->operation_state;
        ret->business.undergoing_maintenance
            = (int8_t) b->undergoing_maintenance;
        ret->business.needs_maintenance = (int8_t) b->needs_maintenance;
        ret->business.needs_pickup = (int8_t) b->needs_pickup;
        ret->business.has_food = (int8_t) b->has_food;
        ret->business.driveable = (int8_t) b->driveable;
        ret->business.needs_movement = (int8_t) b->needs_movement;
    }

    if (record->has_lid) {
        ret->parts |= COCO_SUPPLY_LID;
        ret->lid.at = record->lid_at;
        ret->lid.open = record->lid_open;
    }
}


unsigned
coco_service_dispatch_changes(const coco_supply_shown_t *stored,
    const coco_heartbeat_t *hb, bool online)
{
    int           rc;
    unsigned      members = 0;
    coco_order_t  order;

    order = coco_heartbeat_order(hb);
    rc = stored->heard ? coco_order_compare(&order, &stored->order) : 1;

    if (rc < 0) {
        return 0;
    }

    if (rc == 0 || !stored->heard) {
        return COCO_SUPPLY_MEMBERS;
    }

    if (stored->online != online) {
        members |= COCO_SUPPLY_STATUS;
    }

    if (stored->battery_percent != hb->battery_percent) {
        members |= COCO_SUPPLY_BATTERY;
    }

    if (stored->order.order_ms != order.order_ms) {
        members |= COCO_SUPPLY_LAST_SYNCED;
    }

    if (stored->healthy != hb->healthy) {
        members |= COCO_SUPPLY_HEALTHY;
    }

    if (stored->latitude != hb->latitude
        || stored->longitude != hb->longitude)
    {
        members |= COCO_SUPPLY_LOCATION;
    }

    return members;
}


void
coco_service_dispatch_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    bool online, unsigned members)
{
    coco_json_object_open(out);

    if (members & COCO_SUPPLY_STATUS) {
        coco_json_name(out, "status");
        coco_json_string(out, online ? coco_string("ONLINE")
                                     : coco_string("OFFLINE"));
    }

    if (members & COCO_SUPPLY_BATTERY) {
        coco_json_name(out, "battery");
        coco_json_double(out, hb->battery_percent);
    }

    if (members & COCO_SUPPLY_LAST_SYNCED) {
        coco_json_name(out, "lastSynced");
        coco_json_int(out, coco_heartbeat_order(hb).order_ms);
    }

    if (members & COCO_SUPPLY_HEALTHY) {
        coco_json_name(out, "healthy");
        coco_json_bool(out, hb->healthy);
    }

    if (members & COCO_SUPPLY_LOCATION) {
        coco_json_name(out, "location");
        coco_json_object_open(out);
        coco_json_name(out, "latitude");
        coco_json_double(out, hb->latitude);
        coco_json_name(out, "longitude");
        coco_json_double(out, hb->longitude);
        coco_json_object_close(out);
    }

    coco_json_object_close(out);
}
