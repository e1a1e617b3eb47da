/*
 * The delivery: its states, and which event leads from which to which.
 * Rules: CONTRACT, POST /deliveries; docs/machines.md.
 */

#ifndef COCO_DELIVERY_H
#define COCO_DELIVERY_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef enum {
    COCO_DELIVERY_NONE = 0,
    COCO_DELIVERY_CREATED,
    COCO_DELIVERY_ASSIGNED,
    COCO_DELIVERY_ENROUTE_TO_PICKUP,
    COCO_DELIVERY_AT_PICKUP,
    COCO_DELIVERY_LOADED,               /* LoadedWaitingForPilot */
    COCO_DELIVERY_ENROUTE_TO_DROPOFF,
    COCO_DELIVERY_AT_DROPOFF,
    COCO_DELIVERY_COMPLETED,
    COCO_DELIVERY_CANCELED,
    COCO_DELIVERY_STATUSES
} coco_delivery_status_e;

typedef enum {
    COCO_DELIVERY_ASSIGN = 0,           /* and reassign, until it is loaded */
    COCO_DELIVERY_DEPART,
    COCO_DELIVERY_ARRIVE_PICKUP,
    COCO_DELIVERY_LOAD,                 /* a lid closed: the food is in; the
                                           arrival may come later than that */
    COCO_DELIVERY_ARRIVE_DROPOFF,
    COCO_DELIVERY_COMPLETE,
    COCO_DELIVERY_CANCEL,
    COCO_DELIVERY_EVENTS
} coco_delivery_event_e;

coco_str_t coco_delivery_status_name(coco_delivery_status_e status);
coco_delivery_status_e coco_delivery_status_parse(coco_str_t name);
const char *coco_delivery_event_text(coco_delivery_event_e event);

/* The machine: NONE where the event is forbidden. */
extern const coco_delivery_status_e
    coco_delivery_transitions[COCO_DELIVERY_STATUSES][COCO_DELIVERY_EVENTS];

/* Where the event would have led, to name it in a refusal. */
coco_delivery_status_e coco_delivery_aim(coco_delivery_status_e status,
    coco_delivery_event_e event);

bool coco_delivery_final(coco_delivery_status_e status);
bool coco_delivery_loaded(coco_delivery_status_e status);  /* or beyond */

/* A row of the machine for SQL: {"Created":{"to":"Assigned","allowed":true},
 * …} with a member for every status. */
void coco_delivery_moves_encode(coco_json_out_t *out,
    coco_delivery_event_e event);

/* CONTRACT: how near a target, and how slow, a robot has arrived; from which
 * speed it moves. */
#define COCO_ARRIVAL_METERS  30.0
#define COCO_ARRIVAL_SPEED   0.2     /* m/s, below it */
#define COCO_MOVING_SPEED    0.1     /* m/s, over it */

#define COCO_EARTH_RADIUS  6371008.8    /* m, the mean one (IUGG) */

/* Metres between two places (WGS84 degrees) on a sphere of that radius. */
double coco_distance_meters(double latitude, double longitude,
    double to_latitude, double to_longitude);

#endif /* COCO_DELIVERY_H */
