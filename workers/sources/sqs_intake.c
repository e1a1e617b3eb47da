/*
 * Decides by its body where a message goes. Must never refuse one: what
 * cannot be read goes to the lane, too, which sets it aside with a reason.
 */

#include <stdlib.h>
#include <openssl/md5.h>

#include "coco_connectivity.h"
#include "coco_queue_body.h"
#include "sinks/retry.h"
#include "sqs_intake.h"


typedef struct {
    coco_str_t      topic;      /* of messages that have none, and of their
                                   dead letters */
    coco_lane_id_e  lane;
} coco_sqs_kind_t;


static int coco_sqs_intake_body(coco_sqs_intake_t *in,
    const coco_sqs_received_t *received, coco_str_t *ret);
static bool coco_sqs_intake_whole(coco_sqs_intake_t *in, coco_str_t body,
    coco_str_t md5);
static void coco_sqs_intake_robot(coco_sqs_intake_t *in, coco_message_t *m,
    coco_str_t body);
static void coco_sqs_intake_webhook(coco_sqs_intake_t *in, coco_message_t *m,
    coco_str_t body);
static int coco_sqs_intake_push(void *data, const coco_message_t *message);


static const coco_sqs_kind_t  coco_sqs_queues[] = {
    [COCO_SQS_EVENTS] = { { "sqs/events", 10 }, COCO_LANE_EVENTS },
    [COCO_SQS_STATE] = { { "sqs/state", 9 }, COCO_LANE_TELEMETRY },
    [COCO_SQS_CONNECTIVITY] = { { "sqs/connectivity", 16 },
                                COCO_LANE_WEBHOOKS }
};


coco_lane_id_e
coco_sqs_intake_lane(coco_sqs_queue_e queue)
{
    return coco_sqs_queues[queue].lane;
}


int
coco_sqs_intake_init(coco_sqs_intake_t *in)
{
    in->body = NULL;
    in->inner = NULL;
    in->size = 0;

    in->digest = EVP_MD_CTX_new();
    if (in->digest == NULL) {
        return COCO_ERROR;
    }

    /* a build for FIPS has none: then TCP's and TLS's checks must do */
    in->md5 = EVP_MD_fetch(NULL, "MD5", NULL);

    return COCO_OK;
}


void
coco_sqs_intake_free(coco_sqs_intake_t *in)
{
    EVP_MD_CTX_free(in->digest);
    EVP_MD_free(in->md5);
    free(in->body);
    free(in->inner);
}


int
coco_sqs_intake_receive(coco_sqs_intake_t *in,
    const coco_sqs_received_t *received, int64_t now, int64_t extend_at,
    const char **ret_why)
{
    uint64_t        tag;
    coco_str_t      body, receipt;
    coco_message_t  m = { 0 };

    *ret_why = "out of memory";

    if (coco_sqs_intake_body(in, received, &body) != COCO_OK) {
        return COCO_ERROR;
    }

    /* the slot copies it, before SNS's text needs the buffer */
    receipt = coco_json_unescape(&received->receipt, in->inner);
    tag = coco_sqs_slots_take(in->slots, receipt, now, extend_at);

    if (tag == 0) {
        return COCO_ERROR;
    }

    if (!coco_sqs_intake_whole(in, body, received->md5)) {
        *ret_why = "its MD5 does not match its body";
        coco_sqs_slots_drop(in->slots, tag);
        return COCO_ERROR;
    }

    m.source = "sqs";
    m.topic = coco_sqs_queues[in->options->queue].topic;
    m.received_at = received->sent_at > 0 ? received->sent_at
                                          : coco_clock_ms();
    m.receives = received->receives;
    m.done = in->done;
    m.done_data = in->done_data;
    m.tag = tag;

    if (in->options->queue == COCO_SQS_CONNECTIVITY) {
        coco_sqs_intake_webhook(in, &m, body);
    } else {
        coco_sqs_intake_robot(in, &m, body);
    }

    coco_metrics_add(COCO_M_RECEIVED,
                     m.kind == COCO_KIND_CONNECTIVITY ? COCO_LANE_WEBHOOKS
                     : m.kind == COCO_KIND_ROBOT_EVENT ? COCO_LANE_EVENTS
                     : COCO_LANE_TELEMETRY, 1);

    coco_sqs_slots_await(in->slots, tag);

    if (coco_sqs_intake_push(in, &m) == COCO_OK) {
        return COCO_OK;
    }

    coco_sqs_slots_unawait(in->slots, tag);

    if (coco_sqs_slots_hold(in->slots, tag, &m) != COCO_OK) {
        coco_sqs_slots_drop(in->slots, tag);
        return COCO_ERROR;
    }

    return COCO_OK;
}


/* The body with its escapes undone, and room for as much in both buffers. */
static int
coco_sqs_intake_body(coco_sqs_intake_t *in,
    const coco_sqs_received_t *received, coco_str_t *ret)
{
    char    *body, *inner;
    size_t   need;

    need = received->body.string.len;

    if (need < received->receipt.string.len) {
        need = received->receipt.string.len;
    }

    if (need > in->size) {
        body = malloc(need);
        inner = malloc(need);

        if (body == NULL || inner == NULL) {
            free(body);
            free(inner);
            return COCO_ERROR;
        }

        free(in->body);
        free(in->inner);
        in->body = body;
        in->inner = inner;
        in->size = need;
    }

    *ret = coco_json_unescape(&received->body, in->body);

    return COCO_OK;
}


static bool
coco_sqs_intake_whole(coco_sqs_intake_t *in, coco_str_t body, coco_str_t md5)
{
    char           text[2 * MD5_DIGEST_LENGTH];
    unsigned       len;
    unsigned char  digest[EVP_MAX_MD_SIZE];

    static const char  digits[] = "0123456789abcdef";

    if (in->md5 == NULL || md5.len != sizeof(text)) {
        return true;
    }

    if (EVP_DigestInit_ex2(in->digest, in->md5, NULL) != 1
        || EVP_DigestUpdate(in->digest, body.data, body.len) != 1
        || EVP_DigestFinal_ex(in->digest, digest, &len) != 1)
    {
        return true;
    }

    for (int i = 0; i < MD5_DIGEST_LENGTH; i++) {
        text[2 * i] = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }

    return memcmp(text, md5.data, sizeof(text)) == 0;
}


static void
coco_sqs_intake_robot(coco_sqs_intake_t *in, coco_message_t *m,
    coco_str_t body)
{
    coco_error_t       err;
    coco_queue_body_t  read;

    if (coco_queue_body_read(&read, body, in->inner, &err) != COCO_OK) {
        /* the decoder refuses it as a heartbeat, and says why */
        m->kind = COCO_KIND_HEARTBEAT;
        m->payload = body;
        return;
    }

    m->kind = read.event ? COCO_KIND_ROBOT_EVENT : COCO_KIND_HEARTBEAT;
    m->serial = read.serial;
    m->payload = read.payload;
}


/* Webhooks of one robot share a shard by its serial, or by what stands for
 * it until it is known. */
static void
coco_sqs_intake_webhook(coco_sqs_intake_t *in, coco_message_t *m,
    coco_str_t body)
{
    size_t               errors;
    coco_str_t           key;
    coco_error_t         err[COCO_CONNECTIVITY_ERRORS];
    coco_connectivity_t  c;

    m->kind = COCO_KIND_CONNECTIVITY;
    m->payload = coco_queue_body_unwrap(body, in->inner);

    if (coco_connectivity_decode(&c, m->payload, m->received_at, err, &errors)
        != COCO_OK)
    {
        return;
    }

    key = c.vin.data != NULL ? c.vin : c.uuid;

    if (coco_serial_valid(key)) {
        m->serial = key;
    }
}


void
coco_sqs_intake_offer(coco_sqs_intake_t *in)
{
    coco_sqs_slots_offer(in->slots, coco_sqs_intake_push, in);
}


static int
coco_sqs_intake_push(void *data, const coco_message_t *message)
{
    coco_sqs_intake_t                *in = data;
    const coco_source_sqs_options_t  *o = in->options;

    return coco_lane_try_push(message->kind == COCO_KIND_CONNECTIVITY
                              ? o->webhooks
                              : message->kind == COCO_KIND_ROBOT_EVENT
                              ? o->events : o->heartbeats, message);
}
