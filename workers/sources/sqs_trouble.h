/*
 * Log lines about what fails at a queue: each cause at most once in ten
 * seconds, whatever the rate of the requests that fail of it.
 */

#ifndef COCO_SQS_TROUBLE_H
#define COCO_SQS_TROUBLE_H

#include "coco_core.h"

#define COCO_SQS_CAUSES  8      /* remembered; the oldest goes first */

/* Zeroed: nothing has failed yet. */
typedef struct {
    struct {
        char     code[64];
        int64_t  at;            /* ms, monotonic; 0: unused */
    } causes[COCO_SQS_CAUSES];
} coco_sqs_trouble_t;

/* now in ms, monotonic; code names the cause, absent strings are let through.
 */
void coco_sqs_trouble_log(coco_sqs_trouble_t *t, int64_t now,
    coco_str_t queue_url, coco_str_t action, coco_str_t code,
    coco_str_t detail, const char *remedy);

#endif /* COCO_SQS_TROUBLE_H */
