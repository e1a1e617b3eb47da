/*
 * The texts of SQS's JSON protocol: requests, answers, errors. Pure.
 */

#ifndef COCO_SQS_WIRE_H
#define COCO_SQS_WIRE_H

#include "coco_json_read.h"
#include "coco_json_write.h"

#define COCO_SQS_BATCH  10      /* messages in a receive, entries in a batch */

/* wait and visibility in seconds. */
void coco_sqs_receive_encode(coco_json_out_t *out, coco_str_t queue_url,
    unsigned messages, unsigned wait, unsigned visibility);

/* DeleteMessageBatch, or with a visibility (seconds, not below 0)
 * ChangeMessageVisibilityBatch. An entry's Id is its place, "0" to "9". */
#define COCO_SQS_DELETE  (-1)

void coco_sqs_batch_encode(coco_json_out_t *out, coco_str_t queue_url,
    const coco_str_t *receipts, size_t count, int visibility);

/* One message of an answer; text points into that. */
typedef struct {
    coco_json_value_t  receipt;     /* STRING */
    coco_json_value_t  body;        /* STRING */
    coco_str_t         md5;         /* of the body, hexadecimal; or absent */
    int64_t            sent_at;     /* ms since the epoch; 0: not said */
    unsigned           receives;    /* 0: not said */
} coco_sqs_received_t;

typedef struct {
    coco_json_value_t  messages;    /* an ARRAY; text.data NULL: none came */
    size_t             pos;
} coco_sqs_messages_t;

/* Checks the whole answer. COCO_ERROR: it is no answer to a receive. */
int coco_sqs_messages_read(coco_sqs_messages_t *ret, coco_str_t text,
    coco_error_t *err);
/* Elements without a receipt or a body are passed over. */
bool coco_sqs_messages_next(coco_sqs_messages_t *m, coco_sqs_received_t *ret);

typedef enum {
    COCO_SQS_UNSAID = 0,        /* the answer does not name it */
    COCO_SQS_SUCCEEDED,
    COCO_SQS_FAILED,            /* the service's fault: try again */
    COCO_SQS_REFUSED            /* the sender's: never again */
} coco_sqs_outcome_e;

/* Of each entry of a batch. *ret_code: the first Failed one's Code, or
 * absent. */
int coco_sqs_batch_read(coco_sqs_outcome_e ret[COCO_SQS_BATCH],
    coco_str_t *ret_code, coco_str_t text, coco_error_t *err);

typedef enum {
    COCO_SQS_FAULT_BUSY = 0,    /* throttled, or the service's own trouble */
    COCO_SQS_FAULT_KEYS,        /* credentials expired or unknown */
    COCO_SQS_FAULT_SETUP        /* somebody has to change something */
} coco_sqs_fault_e;

/* Everything of an error; strings point into the answer or are static. */
typedef struct {
    coco_sqs_fault_e  fault;
    coco_str_t        code;
    coco_str_t        message;      /* may still hold JSON's escapes */
    const char       *remedy;
} coco_sqs_error_t;

/* text: whatever came with that status. */
void coco_sqs_error_read(coco_sqs_error_t *ret, long status, coco_str_t text);

#endif /* COCO_SQS_WIRE_H */
