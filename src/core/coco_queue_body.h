/*
 * The body of a message of the events or the state queue: a heartbeat or a
 * robot event with the serial (or the topic) that the IoT rule put in, as it
 * is or inside an SNS notification.
 */

#ifndef COCO_QUEUE_BODY_H
#define COCO_QUEUE_BODY_H

#include "coco_core.h"

typedef struct {
    bool        event;      /* has a type: a robot event, else a heartbeat */
    coco_str_t  serial;     /* its topic's, else the body's; data NULL: none */
    coco_str_t  payload;    /* what the robot's decoder is to read */
} coco_queue_body_t;

/*
 * buf has body.len bytes; *ret points into body or buf. An SNS notification
 * is an object with "Type":"Notification" and a string "Message". The topic
 * is robot/<serial>/…; a body that names another serial than its topic is
 * thus refused by the robot's decoder, as over MQTT. Only valid serials are
 * given. COCO_ERROR: no JSON object (or the notification holds none): *err
 * says so, and ret->payload is the whole body.
 */
int coco_queue_body_read(coco_queue_body_t *ret, coco_str_t body, char *buf,
    coco_error_t *err);

/* The same unwrapping alone, for the connectivity queue: what the SNS
 * notification holds, else the body. */
coco_str_t coco_queue_body_unwrap(coco_str_t body, char *buf);

#endif /* COCO_QUEUE_BODY_H */
