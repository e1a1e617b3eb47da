/*
 * Takes a dead letter to the message that it once was. Must never judge its
 * content: that is for the lane's decoder.
 */

#include "coco_envelope.h"
#include "coco_queue_body.h"
#include "janitor_letter.h"


static void coco_letter_bus(coco_message_t *m, const coco_letter_t *letter,
    const char *telemetry_topic, char *buf);
static bool coco_letter_raw(coco_message_t *m, const char *telemetry_topic,
    char *buf);
static void coco_letter_queue(coco_message_t *m, char *buf);
static void coco_letter_task(coco_message_t *m);
static void coco_letter_device(coco_message_t *m);
static bool coco_letter_is(coco_str_t text, const char *word);


void
coco_letter_message(coco_message_t *ret, const coco_letter_t *letter,
    const char *telemetry_topic, char *buf)
{
    memset(ret, 0, sizeof(*ret));

    ret->source = "replay";
    ret->topic = letter->topic;
    ret->payload = letter->payload;
    ret->received_at = letter->received_at;
    ret->serial = coco_string("");

    if (coco_letter_is(letter->source, "rabbitmq")
        || coco_letter_is(letter->source, "kafka")
        || coco_letter_is(letter->source, "bus"))
    {
        coco_letter_bus(ret, letter, telemetry_topic, buf);

    } else if (coco_letter_is(letter->topic, "webhook/driveu")
               || coco_letter_is(letter->topic, "sqs/connectivity"))
    {
        ret->kind = COCO_KIND_CONNECTIVITY;

    } else if (coco_letter_is(letter->source, "webhook")) {
        ret->kind = COCO_KIND_ORDER;

    } else if (coco_letter_is(letter->source, "sqs")) {
        coco_letter_queue(ret, buf);

    } else if (coco_letter_is(letter->source, "task")) {
        coco_letter_task(ret);

    } else {
        coco_letter_device(ret);
    }
}


static void
coco_letter_bus(coco_message_t *m, const coco_letter_t *letter,
    const char *telemetry_topic, char *buf)
{
    coco_error_t     error;
    coco_envelope_t  envelope;

    if (telemetry_topic != NULL && coco_letter_raw(m, telemetry_topic, buf)) {
        return;
    }

    m->kind = COCO_KIND_EVENT;
    m->cause = letter->cause;

    if (coco_envelope_decode(&envelope, m->payload, &error) == COCO_OK) {
        m->serial = envelope.serial;
    }
}


/* Kafka's raw topic, and the message's key behind it, if it had one. */
static bool
coco_letter_raw(coco_message_t *m, const char *telemetry_topic, char *buf)
{
    size_t  len = strlen(telemetry_topic);

    if (m->topic.len < len || memcmp(m->topic.data, telemetry_topic, len) != 0
        || (m->topic.len > len && m->topic.data[len] != '/'))
    {
        return false;
    }

    if (m->topic.len > len) {
        m->serial = (coco_str_t) { m->topic.data + len + 1,
                                   m->topic.len - len - 1 };

    } else {
        coco_letter_queue(m, buf);
    }

    m->kind = COCO_KIND_TELEMETRY;

    return true;
}


static void
coco_letter_queue(coco_message_t *m, char *buf)
{
    coco_error_t       error;
    coco_queue_body_t  body;

    m->kind = COCO_KIND_HEARTBEAT;

    if (coco_queue_body_read(&body, m->payload, buf, &error) != COCO_OK) {
        return;
    }

    m->payload = body.payload;

    if (body.event) {
        m->kind = COCO_KIND_ROBOT_EVENT;
    }

    if (body.serial.data != NULL) {
        m->serial = body.serial;
    }
}


/* The kind, and the serial behind it. */
static void
coco_letter_task(coco_message_t *m)
{
    const char  *slash;

    m->kind = COCO_KIND_TASK;
    slash = memchr(m->topic.data, '/', m->topic.len);

    if (slash != NULL) {
        m->serial = (coco_str_t) { slash + 1, m->topic.len - 1
                                   - (size_t) (slash - m->topic.data) };
    }
}


/* robot/<serial>/status or /events, whatever comes before. */
static void
coco_letter_device(coco_message_t *m)
{
    size_t       len;
    const char  *first, *last;

    m->kind = COCO_KIND_HEARTBEAT;
    last = memrchr(m->topic.data, '/', m->topic.len);

    if (last == NULL) {
        return;
    }

    len = (size_t) (last - m->topic.data);

    if (coco_letter_is((coco_str_t) { last, m->topic.len - len }, "/events"))
    {
        m->kind = COCO_KIND_ROBOT_EVENT;
    }

    first = memrchr(m->topic.data, '/', len);

    if (first != NULL) {
        m->serial = (coco_str_t) { first + 1, (size_t) (last - first - 1) };
    }
}


static bool
coco_letter_is(coco_str_t text, const char *word)
{
    return coco_str_equal(text, (coco_str_t) { word, strlen(word) });
}
