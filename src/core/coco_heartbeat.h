/*
 * The heartbeat: the aggregated HardwareStatus a robot publishes
 * (robot/<serial>/status), its decoding, its identity and its place in time.
 */

#ifndef COCO_HEARTBEAT_H
#define COCO_HEARTBEAT_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef enum {
    COCO_STATE_NONE = 0,        /* not said; the last known stands */
    COCO_STATE_GROUNDED,
    COCO_STATE_ON_TRIP,
    COCO_STATE_PARKED,
    COCO_STATE_OFF_DUTY,        /* what stands at first */
    COCO_STATE_DEPLOYED
} coco_state_e;

coco_str_t coco_state_name(coco_state_e state);       /* "" for NONE */
coco_state_e coco_state_parse(coco_str_t name);       /* NONE if unknown */

/* Where an observation stands among others of the same robot: newer is the
 * larger order_ms = least(ts, receivedAt), ties by ts, then by id. A robot
 * whose clock runs ahead thus cannot freeze its own state; what it sends within
 * a millisecond of ours keeps the order of its own clock. */
typedef struct {
    int64_t    order_ms;
    int64_t    ts;
    coco_id_t  id;
} coco_order_t;

int coco_order_compare(const coco_order_t *a, const coco_order_t *b);

typedef struct {
    coco_id_t     id;             /* of (serial, ts, payload), see below */
    coco_str_t    serial;
    int64_t       ts;             /* ms since the epoch, the robot's clock */
    int64_t       received_at;    /* ms since the epoch, ours */
    coco_state_e  state;
    bool          healthy;        /* said, else no component is ERROR */

    double        battery_percent;            /* 0 to 100 */
    bool          charging;
    bool          has_charging;
    double        latitude, longitude;        /* WGS84 degrees */
    double        heading, speed;             /* degrees, m/s */
    bool          has_heading, has_speed;
    bool          lid_open, has_lid;

    /* Slices of the payload, JSON as it stands; data NULL when absent. */
    coco_str_t    battery, location, components, software;

    coco_str_t    payload;
} coco_heartbeat_t;

/*
 * The id is the same from MQTT and from a queue, where the IoT rule puts a
 * serial or a topic into the payload: it is made of the payload less its
 * top-level "serial" and "topic", and less the space between its tokens.
 */

/*
 * Decodes and checks one heartbeat. `serial` is the topic's (NULL data when
 * the source has none: then the payload must name it); when both are there
 * they must match. `received_at` in ms. Everything returned points into
 * `payload` or `serial`; nothing is allocated.
 * COCO_ERROR: *err names the field. *ret is then undefined except .serial
 * when it was valid.
 * Rules: CONTRACT "Heartbeat": ts is whole milliseconds (1700000000000.0 too)
 * or an ISO-8601 string, not before 2015, not over a day ahead of
 * received_at; state one of five or absent; percent, latitude and longitude
 * required; heading 0 to 360, speed and accuracy not negative; software a
 * string or an object. A null optional member is an absent one, also a
 * component; unknown members are let through and kept.
 */
int coco_heartbeat_decode(coco_heartbeat_t *ret, coco_str_t serial,
    coco_str_t payload, int64_t received_at, coco_error_t *err);

coco_order_t coco_heartbeat_order(const coco_heartbeat_t *hb);

/* The details of state_history: the payload less serial, ts, state and topic,
 * plus the enrichment ("remotelyControllable", "driveu": JSON text or absent),
 * which takes the place of members of these names. */
void coco_heartbeat_details_encode(coco_json_out_t *out,
    const coco_heartbeat_t *hb, bool remotely_controllable,
    coco_str_t driveu);

/* RobotState, the value of robot.heartbeat.cache.<serial>:
 * {"serial","id","ts","receivedAt","operationState","healthy","battery",
 *  "location","components"}, in this order, so that a script can read the
 * head without parsing. operation_state: the one that stands. */
void coco_robot_state_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    coco_state_e operation_state);

/* Operations' ephemeral data, the value of robot.ephemeral.<serial>:
 * {"serial","id","ts","receivedAt","healthy","components","lid",
 *  "remotelyControllable","driveu"}; driveu is JSON text or absent. */
void coco_ephemeral_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    bool remotely_controllable, coco_str_t driveu);

/* The data of the event IoT.Heartbeat. state: the one that stands. */
void coco_heartbeat_event_encode(coco_json_out_t *out,
    const coco_heartbeat_t *hb, coco_state_e state,
    bool remotely_controllable, coco_str_t driveu);

#endif /* COCO_HEARTBEAT_H */
