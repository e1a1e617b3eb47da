/*
 * What a source hands to a lane: one message as it came, and where it came
 * from. Everything is owned by the source; a lane copies what it keeps.
 */

#ifndef COCO_MESSAGE_H
#define COCO_MESSAGE_H

#include "coco_core.h"

typedef enum {
    COCO_KIND_HEARTBEAT = 0,
    COCO_KIND_ROBOT_EVENT
} coco_kind_e;

typedef struct {
    coco_kind_e  kind;
    const char  *source;        /* "mqtt", "replay"; static */
    uint64_t     position;      /* the source's, ascending; 0: not tracked */
    int64_t      received_at;   /* ms since the epoch */
    coco_str_t   topic;
    coco_str_t   serial;        /* from the topic; may be invalid */
    coco_str_t   payload;
    coco_id_t    replay_of;     /* the dead letter, when source is "replay" */
} coco_message_t;

#endif /* COCO_MESSAGE_H */
