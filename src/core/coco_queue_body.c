/*
 * Takes the bodies of queue messages apart. Must never judge what a robot's
 * decoder is to judge.
 */

#include "coco_queue_body.h"
#include "coco_message.h"


enum { SNS_TYPE, SNS_MESSAGE, TYPE, SERIAL, TOPIC, MEMBERS };


static coco_str_t notification_message(const coco_json_value_t *type,
    const coco_json_value_t *message, char *buf);
static coco_str_t topic_serial(const coco_json_value_t *topic);
static coco_str_t body_serial(const coco_json_value_t *serial);


static const coco_str_t  member_names[MEMBERS] = {
    [SNS_TYPE] = coco_string("Type"),
    [SNS_MESSAGE] = coco_string("Message"),
    [TYPE] = coco_string("type"),
    [SERIAL] = coco_string("serial"),
    [TOPIC] = coco_string("topic")
};


int
coco_queue_body_read(coco_queue_body_t *ret, coco_str_t body, char *buf,
    coco_error_t *err)
{
    coco_str_t         message;
    coco_error_t       inner;
    coco_json_value_t  object, m[MEMBERS];

    *ret = (coco_queue_body_t) { .payload = body };

    if (coco_message_read(&object, body, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, member_names, MEMBERS, m);
    message = notification_message(&m[SNS_TYPE], &m[SNS_MESSAGE], buf);

    if (message.data != NULL) {

        if (coco_message_read(&object, message, &inner) != COCO_OK) {
            return coco_error_set(err, "Message", "%s", inner.reason);
        }

        coco_message_members(&object, member_names, MEMBERS, m);
        ret->payload = message;
    }

    ret->event = coco_message_has(&m[TYPE]);
    ret->serial = topic_serial(&m[TOPIC]);

    if (ret->serial.data == NULL) {
        ret->serial = body_serial(&m[SERIAL]);
    }

    return COCO_OK;
}


coco_str_t
coco_queue_body_unwrap(coco_str_t body, char *buf)
{
    coco_str_t         message;
    coco_error_t       err;
    coco_json_value_t  object, m[SNS_MESSAGE + 1];

    if (coco_message_read(&object, body, &err) != COCO_OK) {
        return body;
    }

    coco_message_members(&object, member_names, SNS_MESSAGE + 1, m);
    message = notification_message(&m[SNS_TYPE], &m[SNS_MESSAGE], buf);

    return message.data != NULL ? message : body;
}


/* Absent when this is no notification. */
static coco_str_t
notification_message(const coco_json_value_t *type,
    const coco_json_value_t *message, char *buf)
{
    if (!coco_message_has(type) || type->type != COCO_JSON_STRING
        || !coco_str_equal(type->string, coco_string("Notification"))
        || !coco_message_has(message) || message->type != COCO_JSON_STRING)
    {
        return (coco_str_t) { NULL, 0 };
    }

    return coco_json_unescape(message, buf);
}


/* robot/<serial>/…; a topic of another form is the robot's own business. */
static coco_str_t
topic_serial(const coco_json_value_t *topic)
{
    const char              *end;
    coco_str_t               serial = { NULL, 0 };
    static const coco_str_t  prefix = coco_string("robot/");

    if (!coco_message_has(topic) || topic->type != COCO_JSON_STRING
        || topic->string.len < prefix.len
        || memcmp(topic->string.data, prefix.data, prefix.len) != 0)
    {
        return serial;
    }

    serial.data = topic->string.data + prefix.len;
    end = memchr(serial.data, '/', topic->string.len - prefix.len);

    if (end != NULL) {
        serial.len = (size_t) (end - serial.data);
    }

    return coco_serial_valid(serial) ? serial : (coco_str_t) { NULL, 0 };
}


/* An invalid one is left to the decoder, which says what is wrong with it. */
static coco_str_t
body_serial(const coco_json_value_t *serial)
{
    if (!coco_message_has(serial) || serial->type != COCO_JSON_STRING
        || !coco_serial_valid(serial->string))
    {
        return (coco_str_t) { NULL, 0 };
    }

    return serial->string;
}
