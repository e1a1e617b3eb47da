/*
 * The state machine of MDS 2.0, section "Delivery robots": every transition
 * of the standard, and no other.
 */

#include "coco_mds.h"


static const coco_str_t  state_names[COCO_MDS_STATES] = {
    [COCO_MDS_AVAILABLE] = coco_string("available"),
    [COCO_MDS_ELSEWHERE] = coco_string("elsewhere"),
    [COCO_MDS_MISSING] = coco_string("missing"),
    [COCO_MDS_NON_CONTACTABLE] = coco_string("non_contactable"),
    [COCO_MDS_NON_OPERATIONAL] = coco_string("non_operational"),
    [COCO_MDS_ON_TRIP] = coco_string("on_trip"),
    [COCO_MDS_REMOVED] = coco_string("removed"),
    [COCO_MDS_RESERVED] = coco_string("reserved"),
    [COCO_MDS_STOPPED] = coco_string("stopped")
};

static const coco_str_t  event_names[COCO_MDS_EVENTS] = {
    [COCO_MDS_COMMS_LOST] = coco_string("comms_lost"),
    [COCO_MDS_COMMS_RESTORED] = coco_string("comms_restored"),
    [COCO_MDS_CUSTOMER_CANCELLATION] = coco_string("customer_cancellation"),
    [COCO_MDS_DECOMMISSIONED] = coco_string("decommissioned"),
    [COCO_MDS_DRIVER_CANCELLATION] = coco_string("driver_cancellation"),
    [COCO_MDS_LOCATED] = coco_string("located"),
    [COCO_MDS_MAINTENANCE] = coco_string("maintenance"),
    [COCO_MDS_MAINTENANCE_END] = coco_string("maintenance_end"),
    [COCO_MDS_MAINTENANCE_PICK_UP] = coco_string("maintenance_pick_up"),
    [COCO_MDS_NOT_LOCATED] = coco_string("not_located"),
    [COCO_MDS_ORDER_DROP_OFF] = coco_string("order_drop_off"),
    [COCO_MDS_ORDER_PICK_UP] = coco_string("order_pick_up"),
    [COCO_MDS_PROVIDER_CANCELLATION] = coco_string("provider_cancellation"),
    [COCO_MDS_RECOMMISSIONED] = coco_string("recommissioned"),
    [COCO_MDS_RESERVATION_START] = coco_string("reservation_start"),
    [COCO_MDS_RESERVATION_STOP] = coco_string("reservation_stop"),
    [COCO_MDS_SERVICE_END] = coco_string("service_end"),
    [COCO_MDS_SERVICE_START] = coco_string("service_start"),
    [COCO_MDS_TRIP_END] = coco_string("trip_end"),
    [COCO_MDS_TRIP_ENTER_JURISDICTION] =
        coco_string("trip_enter_jurisdiction"),
    [COCO_MDS_TRIP_LEAVE_JURISDICTION] =
        coco_string("trip_leave_jurisdiction"),
    [COCO_MDS_TRIP_PAUSE] = coco_string("trip_pause"),
    [COCO_MDS_TRIP_RESUME] = coco_string("trip_resume"),
    [COCO_MDS_TRIP_START] = coco_string("trip_start")
};

#define ROW(from, event, to) \
    { COCO_MDS_ ## from, COCO_MDS_ ## event, COCO_MDS_ ## to }

const coco_mds_transition_t  coco_mds_transitions[COCO_MDS_TRANSITIONS] = {
    ROW(AVAILABLE, TRIP_LEAVE_JURISDICTION, ELSEWHERE),
    ROW(AVAILABLE, COMMS_LOST, NON_CONTACTABLE),
    ROW(AVAILABLE, SERVICE_END, NON_OPERATIONAL),
    ROW(AVAILABLE, RESERVATION_START, RESERVED),

    ROW(ELSEWHERE, TRIP_ENTER_JURISDICTION, AVAILABLE),
    ROW(ELSEWHERE, TRIP_ENTER_JURISDICTION, NON_OPERATIONAL),
    ROW(ELSEWHERE, TRIP_ENTER_JURISDICTION, ON_TRIP),
    ROW(ELSEWHERE, TRIP_ENTER_JURISDICTION, RESERVED),
    ROW(ELSEWHERE, COMMS_LOST, NON_CONTACTABLE),

    ROW(MISSING, LOCATED, AVAILABLE),
    ROW(MISSING, LOCATED, ELSEWHERE),
    ROW(MISSING, LOCATED, NON_OPERATIONAL),
    ROW(MISSING, LOCATED, ON_TRIP),
    ROW(MISSING, LOCATED, REMOVED),
    ROW(MISSING, LOCATED, RESERVED),
    ROW(MISSING, LOCATED, STOPPED),

    ROW(NON_CONTACTABLE, COMMS_RESTORED, AVAILABLE),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, ELSEWHERE),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, NON_OPERATIONAL),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, ON_TRIP),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, REMOVED),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, RESERVED),
    ROW(NON_CONTACTABLE, COMMS_RESTORED, STOPPED),
    ROW(NON_CONTACTABLE, NOT_LOCATED, MISSING),

    ROW(NON_OPERATIONAL, SERVICE_START, AVAILABLE),
    ROW(NON_OPERATIONAL, TRIP_LEAVE_JURISDICTION, ELSEWHERE),
    ROW(NON_OPERATIONAL, COMMS_LOST, NON_CONTACTABLE),
    ROW(NON_OPERATIONAL, MAINTENANCE, NON_OPERATIONAL),
    ROW(NON_OPERATIONAL, MAINTENANCE_END, NON_OPERATIONAL),
    ROW(NON_OPERATIONAL, MAINTENANCE_PICK_UP, REMOVED),
    ROW(NON_OPERATIONAL, DECOMMISSIONED, REMOVED),

    ROW(ON_TRIP, TRIP_LEAVE_JURISDICTION, ELSEWHERE),
    ROW(ON_TRIP, COMMS_LOST, NON_CONTACTABLE),
    ROW(ON_TRIP, ORDER_DROP_OFF, STOPPED),
    ROW(ON_TRIP, ORDER_PICK_UP, STOPPED),
    ROW(ON_TRIP, TRIP_PAUSE, STOPPED),

    ROW(REMOVED, COMMS_LOST, NON_CONTACTABLE),
    ROW(REMOVED, MAINTENANCE_END, NON_OPERATIONAL),
    ROW(REMOVED, RECOMMISSIONED, NON_OPERATIONAL),

    ROW(RESERVED, CUSTOMER_CANCELLATION, AVAILABLE),
    ROW(RESERVED, DRIVER_CANCELLATION, AVAILABLE),
    ROW(RESERVED, PROVIDER_CANCELLATION, AVAILABLE),
    ROW(RESERVED, TRIP_LEAVE_JURISDICTION, ELSEWHERE),
    ROW(RESERVED, COMMS_LOST, NON_CONTACTABLE),
    ROW(RESERVED, RESERVATION_STOP, STOPPED),

    ROW(STOPPED, CUSTOMER_CANCELLATION, AVAILABLE),
    ROW(STOPPED, DRIVER_CANCELLATION, AVAILABLE),
    ROW(STOPPED, PROVIDER_CANCELLATION, AVAILABLE),
    ROW(STOPPED, TRIP_END, AVAILABLE),
    ROW(STOPPED, COMMS_LOST, NON_CONTACTABLE),
    ROW(STOPPED, TRIP_RESUME, ON_TRIP),
    ROW(STOPPED, TRIP_START, ON_TRIP)
};


coco_str_t
coco_mds_state_name(coco_mds_state_e state)
{
    return state_names[state];
}


coco_mds_state_e
coco_mds_state_parse(coco_str_t name)
{
    return coco_str_find(name, state_names, COCO_MDS_STATES);
}


coco_str_t
coco_mds_event_name(coco_mds_event_e event)
{
    return event_names[event];
}


coco_mds_event_e
coco_mds_event_parse(coco_str_t name)
{
    return coco_str_find(name, event_names, COCO_MDS_EVENTS);
}


bool
coco_mds_allowed(coco_mds_state_e from, coco_mds_event_e event,
    coco_mds_state_e to)
{
    const coco_mds_transition_t  *t, *end;

    end = coco_mds_transitions + COCO_MDS_TRANSITIONS;

    for (t = coco_mds_transitions; t < end; t++) {
        if (t->from == from && t->event == event && t->to == to) {
            return true;
        }
    }

    return false;
}
