/*
 * SQS queues: long polls on several connections, messages pushed into their
 * lanes, deleted in batches once committed. One thread for each queue.
 */

#ifndef COCO_SOURCE_SQS_H
#define COCO_SOURCE_SQS_H

#include "aws_credentials.h"
#include "config.h"
#include "lane.h"

typedef struct coco_source_sqs_s  coco_source_sqs_t;

typedef enum {
    COCO_SQS_EVENTS = 0,
    COCO_SQS_STATE,
    COCO_SQS_CONNECTIVITY,
    COCO_SQS_QUEUES
} coco_sqs_queue_e;

/* All of it outlives the source. */
typedef struct {
    const coco_config_t     *config;
    coco_sqs_queue_e         queue;
    coco_aws_credentials_t  *credentials; /* one for all queues */
    coco_lane_t             *heartbeats;  /* where each kind goes; not NULL */
    coco_lane_t             *events;
    coco_lane_t             *webhooks;
} coco_source_sqs_options_t;

typedef struct {
    bool      alive;             /* its thread goes round */
    bool      connected;         /* the last answer was no error */
    uint64_t  in_flight;         /* received and not deleted yet */
} coco_source_sqs_status_t;

/* Starts the thread. COCO_ERROR with a message that says what to do. */
int coco_source_sqs_start(coco_source_sqs_t **ret,
    const coco_source_sqs_options_t *options, char *error,
    size_t error_size);
/* Receives nothing more. Does not wait. */
void coco_source_sqs_stop(coco_source_sqs_t *s);
/* After coco_source_sqs_stop() and the lanes' stops: deletes what they have
 * committed, and ends the thread. */
void coco_source_sqs_close(coco_source_sqs_t *s);

void coco_source_sqs_status(coco_source_sqs_t *s,
    coco_source_sqs_status_t *ret);

#endif /* COCO_SOURCE_SQS_H */
