/*
 * Connectivity: what DriveU says of the units of a robot's teleoperation
 * (IWebhookEvent of seed 000, "DriveU"), and whether the robot can be driven
 * remotely.
 */

#ifndef COCO_CONNECTIVITY_H
#define COCO_CONNECTIVITY_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef enum {
    COCO_UNIT_STREAMER = 0,
    COCO_UNIT_NODE,
    COCO_UNIT_RELAY,
    COCO_UNITS
} coco_unit_e;

coco_str_t coco_unit_name(coco_unit_e unit);
/* COCO_ERROR: none of the three. */
int coco_unit_parse(coco_unit_e *ret, coco_str_t name);

#define COCO_CONNECTIVITY_STATUS_MAX  64     /* bytes */
#define COCO_CONNECTIVITY_UUID_MAX    128

/* One webhook. Strings point into the payload. */
typedef struct {
    coco_id_t    id;            /* of unit, status, uuid, vin and time: the
                                   same by webhook and by queue */
    coco_unit_e  unit;
    coco_str_t   status;        /* an unknown word is kept */
    coco_str_t   uuid;
    coco_str_t   vin;           /* a valid serial, or absent */
    int64_t      time_us;       /* DriveU's clock, microseconds */
    int64_t      received_at;   /* ms, ours */
} coco_connectivity_t;

#define COCO_CONNECTIVITY_ERRORS  6

/*
 * Decodes and checks one webhook; received_at in ms. COCO_ERROR: *ret_count
 * of errors[] (COCO_CONNECTIVITY_ERRORS places) are filled, one for each bad
 * field, at least one. Rules: CONTRACT "POST /driveu/webhook": eventName is
 * "status"; unit streamer, node or relay; status 1 to 64 bytes and uuid 1 to
 * 128 bytes, both without escapes; vin a serial, null or absent; time whole
 * microseconds, not before 2015, not over a day ahead of received_at (a time
 * that looks like seconds, milliseconds or nanoseconds is told so). Other
 * members are let through.
 */
int coco_connectivity_decode(coco_connectivity_t *ret, coco_str_t payload,
    int64_t received_at, coco_error_t *errors, size_t *ret_count);

/*
 * The place of a webhook among others of its unit: least(time, received at).
 * Received at is the end of its millisecond, so that the times of a clock
 * that agrees with ours are never cut.
 */
int64_t coco_connectivity_order_us(const coco_connectivity_t *c);

/* The newest status of one unit. */
typedef struct {
    bool        known;
    int64_t     order_us;       /* see coco_connectivity_order_us */
    int64_t     time_us;
    coco_id_t   id;
    coco_str_t  status;
    coco_str_t  uuid;
} coco_unit_status_t;

typedef struct {
    coco_unit_status_t  units[COCO_UNITS];
} coco_driveu_t;

/* Takes the status over when it is newer than the one known: by order_us,
 * then time_us, then id. True when it did. */
bool coco_driveu_apply(coco_driveu_t *driveu, const coco_connectivity_t *c);

/* CONTRACT: the streamer's latest status is online or connectedToNode and
 * neither its node nor its relay was last reported offline. */
bool coco_remotely_controllable(const coco_driveu_t *driveu);

/* {"streamer":{"status","ts","receivedAt"?,"uuid"},…}, a member per unit that
 * is known, times in ms, receivedAt only when ts was ahead of it and the unit
 * goes by it; null when none is. */
void coco_driveu_encode(coco_json_out_t *out, const coco_driveu_t *driveu);

/* The data of ConnectivityRawStatusChanged:
 * {"unit","status","uuid","vin","ts"}, ts in ms. */
void coco_connectivity_event_encode(coco_json_out_t *out,
    const coco_connectivity_t *c);

#endif /* COCO_CONNECTIVITY_H */
