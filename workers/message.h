/*
 * What a source hands to a lane: one message as it came, and where it came
 * from. Everything is owned by the source; a lane copies what it keeps.
 */

#ifndef COCO_MESSAGE_H
#define COCO_MESSAGE_H

#include "coco_core.h"

typedef enum {
    COCO_KIND_HEARTBEAT = 0,
    COCO_KIND_ROBOT_EVENT,
    COCO_KIND_CONNECTIVITY,     /* a DriveU webhook */
    COCO_KIND_EVENT,            /* an event of the bus, in its envelope */
    COCO_KIND_TELEMETRY,        /* a heartbeat of the Kafka topic, for the
                                   fleet service alone; keyed by serial */
    COCO_KIND_TASK,             /* a row of robot_task: payload is its data,
                                   topic its kind, a slash and the serial */
    COCO_KIND_ORDER             /* a partner's webhook: topic is
                                   webhook/<provider> */
} coco_kind_e;

/* Where an event's cause stands among others of the robot, as the bus carries
 * it beside the envelope. */
typedef struct {
    bool       known;
    int64_t    ts;              /* ms, the robot's clock */
    coco_id_t  id;              /* of the heartbeat */
} coco_cause_t;

/* Called once the message's effects are committed, by a thread of the lane:
 * must be quick and must not call the lane. A message that is given up (the
 * lane stops) is not told of. */
typedef void (*coco_message_done_pt)(void *data, uint64_t tag);

typedef struct {
    coco_kind_e           kind;
    const char           *source;       /* "mqtt" "sqs" "webhook" "task"
                                           "rabbitmq" "kafka" "bus" "replay";
                                           static */
    uint64_t              position;     /* the source's, ascending; 0: not
                                           tracked */
    coco_message_done_pt  done;         /* NULL: nobody wants to know */
    void                 *done_data;
    uint64_t              tag;

    int64_t               received_at;  /* ms since the epoch */
    coco_str_t            topic;        /* or queue, or exchange */
    coco_str_t            serial;       /* from the topic; may be invalid */
    coco_str_t            payload;
    unsigned              receives;     /* how often it was delivered; above
                                           the limit it is set aside unread;
                                           0: not counted */
    coco_cause_t          cause;        /* COCO_KIND_EVENT */
    bool                  inbox;        /* it is a row of webhook_inbox or,
                                           COCO_KIND_TASK, of robot_task: */
    coco_id_t             inbox_id;
    coco_id_t             replay_of;    /* the dead letter, when source is
                                           "replay" */
} coco_message_t;

#endif /* COCO_MESSAGE_H */
