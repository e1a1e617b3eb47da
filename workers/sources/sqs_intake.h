/*
 * From an answer of SQS to the lanes: what each message is, and which lane it
 * goes to.
 */

#ifndef COCO_SQS_INTAKE_H
#define COCO_SQS_INTAKE_H

#include <openssl/evp.h>

#include "metrics.h"
#include "sqs.h"
#include "sqs_slots.h"
#include "sqs_wire.h"

/* The owner's thread alone. */
typedef struct {
    const coco_source_sqs_options_t  *options;
    coco_sqs_slots_t                 *slots;
    coco_message_done_pt              done;
    void                             *done_data;

    char                             *body;     /* escapes undone */
    char                             *inner;    /* what SNS wrapped */
    size_t                            size;     /* of both */
    EVP_MD                           *md5;      /* NULL: not to be had here */
    EVP_MD_CTX                       *digest;
} coco_sqs_intake_t;

/* The caller has set what stands above `body`. COCO_ERROR: no memory; then
 * there is nothing to free. */
int coco_sqs_intake_init(coco_sqs_intake_t *in);
void coco_sqs_intake_free(coco_sqs_intake_t *in);

/* Pushes one message, or keeps it back when its lane has no room; now and
 * extend_at as in coco_sqs_slots_take(). COCO_ERROR: it is let go and comes
 * again; *ret_why (static) says why. */
int coco_sqs_intake_receive(coco_sqs_intake_t *in,
    const coco_sqs_received_t *received, int64_t now, int64_t extend_at,
    const char **ret_why);
/* Pushes what was kept back, as far as there is room. */
void coco_sqs_intake_offer(coco_sqs_intake_t *in);

/* The lane whose numbers a queue's own are shown with. */
coco_lane_id_e coco_sqs_intake_lane(coco_sqs_queue_e queue);

#endif /* COCO_SQS_INTAKE_H */
