/*
 * A dead letter as the message that it once was, for its replay. Pure.
 */

#ifndef COCO_JANITOR_LETTER_H
#define COCO_JANITOR_LETTER_H

#include "message.h"

/* A row of dead_letter; strings are the caller's. */
typedef struct {
    coco_str_t    source;
    coco_str_t    topic;
    coco_str_t    payload;
    int64_t       received_at;   /* ms */
    coco_cause_t  cause;
} coco_letter_t;

/* buf has payload.len bytes; *ret points into the letter and buf.
 * telemetry_topic: Kafka's; NULL: none. What cannot be read has no serial:
 * its lane will say why. */
void coco_letter_message(coco_message_t *ret, const coco_letter_t *letter,
    const char *telemetry_topic, char *buf);

#endif /* COCO_JANITOR_LETTER_H */
