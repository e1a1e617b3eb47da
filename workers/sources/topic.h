/*
 * Topics and the filter that a session subscribes to.
 */

#ifndef COCO_SOURCE_TOPIC_H
#define COCO_SOURCE_TOPIC_H

#include "coco_core.h"

/* The level of `topic` where the filter's + stands. Empty, but not absent
 * (data is not NULL), when the topic does not match: no serial is empty, so
 * that the decoder refuses the message. */
coco_str_t coco_topic_serial(const char *filter, coco_str_t topic);

#endif /* COCO_SOURCE_TOPIC_H */
