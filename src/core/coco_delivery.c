/*
 * The delivery's machine, as a table, and the distance of a robot from where
 * it is to be. Decides; must never look anything up.
 */

#include <math.h>

#include "coco_delivery.h"


static const coco_str_t  coco_delivery_names[COCO_DELIVERY_STATUSES] = {
    [COCO_DELIVERY_NONE] = { NULL, 0 },
    [COCO_DELIVERY_CREATED] = coco_string("Created"),
    [COCO_DELIVERY_ASSIGNED] = coco_string("Assigned"),
    [COCO_DELIVERY_ENROUTE_TO_PICKUP] = coco_string("EnrouteToPickup"),
    [COCO_DELIVERY_AT_PICKUP] = coco_string("AtPickup"),
    [COCO_DELIVERY_LOADED] = coco_string("LoadedWaitingForPilot"),
    [COCO_DELIVERY_ENROUTE_TO_DROPOFF] = coco_string("EnrouteToDropoff"),
    [COCO_DELIVERY_AT_DROPOFF] = coco_string("AtDropoff"),
    [COCO_DELIVERY_COMPLETED] = coco_string("Completed"),
    [COCO_DELIVERY_CANCELED] = coco_string("Canceled")
};


/* Cells that are not named are forbidden: NONE. */
const coco_delivery_status_e
coco_delivery_transitions[COCO_DELIVERY_STATUSES][COCO_DELIVERY_EVENTS] = {

[COCO_DELIVERY_CREATED] = {
    [COCO_DELIVERY_ASSIGN] = COCO_DELIVERY_ASSIGNED,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_ASSIGNED] = {
    [COCO_DELIVERY_ASSIGN] = COCO_DELIVERY_ASSIGNED,
    [COCO_DELIVERY_DEPART] = COCO_DELIVERY_ENROUTE_TO_PICKUP,
    [COCO_DELIVERY_LOAD] = COCO_DELIVERY_LOADED,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_ENROUTE_TO_PICKUP] = {
    [COCO_DELIVERY_ASSIGN] = COCO_DELIVERY_ASSIGNED,
    [COCO_DELIVERY_ARRIVE_PICKUP] = COCO_DELIVERY_AT_PICKUP,
    [COCO_DELIVERY_LOAD] = COCO_DELIVERY_LOADED,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_AT_PICKUP] = {
    [COCO_DELIVERY_ASSIGN] = COCO_DELIVERY_ASSIGNED,
    [COCO_DELIVERY_LOAD] = COCO_DELIVERY_LOADED,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_LOADED] = {
    [COCO_DELIVERY_DEPART] = COCO_DELIVERY_ENROUTE_TO_DROPOFF,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_ENROUTE_TO_DROPOFF] = {
    [COCO_DELIVERY_ARRIVE_DROPOFF] = COCO_DELIVERY_AT_DROPOFF,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED },

[COCO_DELIVERY_AT_DROPOFF] = {
    [COCO_DELIVERY_COMPLETE] = COCO_DELIVERY_COMPLETED,
    [COCO_DELIVERY_CANCEL] = COCO_DELIVERY_CANCELED }
};


coco_str_t
coco_delivery_status_name(coco_delivery_status_e status)
{
    return coco_delivery_names[status];
}


coco_delivery_status_e
coco_delivery_status_parse(coco_str_t name)
{
    coco_delivery_status_e  status;

    status = coco_str_find(name, coco_delivery_names, COCO_DELIVERY_STATUSES);

    return status < COCO_DELIVERY_STATUSES ? status : COCO_DELIVERY_NONE;
}


const char *
coco_delivery_event_text(coco_delivery_event_e event)
{
    static const char *const  texts[COCO_DELIVERY_EVENTS] = {
        [COCO_DELIVERY_ASSIGN] = "assign",
        [COCO_DELIVERY_DEPART] = "depart",
        [COCO_DELIVERY_ARRIVE_PICKUP] = "arrive at the pickup",
        [COCO_DELIVERY_LOAD] = "load",
        [COCO_DELIVERY_ARRIVE_DROPOFF] = "arrive at the drop-off",
        [COCO_DELIVERY_COMPLETE] = "complete",
        [COCO_DELIVERY_CANCEL] = "cancel"
    };

    return texts[event];
}


coco_delivery_status_e
coco_delivery_aim(coco_delivery_status_e status, coco_delivery_event_e event)
{
    switch (event) {

    case COCO_DELIVERY_ASSIGN:
        return COCO_DELIVERY_ASSIGNED;

    case COCO_DELIVERY_DEPART:
        return coco_delivery_loaded(status) ? COCO_DELIVERY_ENROUTE_TO_DROPOFF
                                            : COCO_DELIVERY_ENROUTE_TO_PICKUP;

    case COCO_DELIVERY_ARRIVE_PICKUP:
        return COCO_DELIVERY_AT_PICKUP;

    case COCO_DELIVERY_LOAD:
        return COCO_DELIVERY_LOADED;

    case COCO_DELIVERY_ARRIVE_DROPOFF:
        return COCO_DELIVERY_AT_DROPOFF;

    case COCO_DELIVERY_COMPLETE:
        return COCO_DELIVERY_COMPLETED;

    default:
        return COCO_DELIVERY_CANCELED;
    }
}


bool
coco_delivery_final(coco_delivery_status_e status)
{
    return status == COCO_DELIVERY_COMPLETED
           || status == COCO_DELIVERY_CANCELED;
}


bool
coco_delivery_loaded(coco_delivery_status_e status)
{
    return status >= COCO_DELIVERY_LOADED && status <= COCO_DELIVERY_COMPLETED;
}


void
coco_delivery_moves_encode(coco_json_out_t *out, coco_delivery_event_e event)
{
    bool                    allowed;
    coco_str_t              name;
    coco_delivery_status_e  status, to;

    coco_json_object_open(out);

    for (int s = COCO_DELIVERY_CREATED; s < COCO_DELIVERY_STATUSES; s++) {
        status = (coco_delivery_status_e) s;
        to = coco_delivery_transitions[status][event];
        allowed = to != COCO_DELIVERY_NONE;
        name = coco_delivery_names[status];

        coco_json_key(out, name.data, name.len);
        coco_json_object_open(out);
        coco_json_name(out, "to");
        coco_json_string(out, coco_delivery_names[allowed ? to
                                       : coco_delivery_aim(status, event)]);
        coco_json_name(out, "allowed");
        coco_json_bool(out, allowed);
        coco_json_object_close(out);
    }

    coco_json_object_close(out);
}


/* The haversine: exact also where the cosine of a small angle is not. */
double
coco_distance_meters(double latitude, double longitude, double to_latitude,
    double to_longitude)
{
    double  a, north, east;

    north = sin((to_latitude - latitude) * M_PI / 360);
    east = sin((to_longitude - longitude) * M_PI / 360);
    a = north * north + cos(latitude * M_PI / 180)
        * cos(to_latitude * M_PI / 180) * east * east;

    /* rounding may take it over 1 for antipodes */
    return 2 * COCO_EARTH_RADIUS * asin(fmin(1, sqrt(a)));
}
