/*
 * SQS's JSON protocol as texts. Must never send anything.
 */

#include "coco_message.h"
#include "sqs_wire.h"


static void coco_sqs_message_read(coco_sqs_received_t *ret,
    const coco_json_value_t *object);
static int64_t coco_sqs_number(const coco_json_value_t *value);
static void coco_sqs_entries_read(coco_sqs_outcome_e ret[COCO_SQS_BATCH],
    coco_str_t *ret_code, const coco_json_value_t *entries, bool failed);
static coco_str_t coco_sqs_string(const coco_json_value_t *value);


void
coco_sqs_receive_encode(coco_json_out_t *out, coco_str_t queue_url,
    unsigned messages, unsigned wait, unsigned visibility)
{
    coco_json_object_open(out);
    coco_json_name(out, "QueueUrl");
    coco_json_string(out, queue_url);
    coco_json_name(out, "MaxNumberOfMessages");
    coco_json_int(out, messages);
    coco_json_name(out, "WaitTimeSeconds");
    coco_json_int(out, wait);
    coco_json_name(out, "VisibilityTimeout");
    coco_json_int(out, visibility);
    coco_json_name(out, "MessageSystemAttributeNames");
    coco_json_json(out, coco_string("[\"ApproximateReceiveCount\","
                                    "\"SentTimestamp\"]"));
    coco_json_object_close(out);
}


void
coco_sqs_batch_encode(coco_json_out_t *out, coco_str_t queue_url,
    const coco_str_t *receipts, size_t count, int visibility)
{
    char  id;

    coco_json_object_open(out);
    coco_json_name(out, "QueueUrl");
    coco_json_string(out, queue_url);
    coco_json_name(out, "Entries");
    coco_json_array_open(out);

    for (size_t i = 0; i < count; i++) {
        id = (char) ('0' + i);

        coco_json_object_open(out);
        coco_json_name(out, "Id");
        coco_json_string(out, (coco_str_t) { &id, 1 });
        coco_json_name(out, "ReceiptHandle");
        coco_json_string(out, receipts[i]);

        if (visibility != COCO_SQS_DELETE) {
            coco_json_name(out, "VisibilityTimeout");
            coco_json_int(out, visibility);
        }

        coco_json_object_close(out);
    }

    coco_json_array_close(out);
    coco_json_object_close(out);
}


int
coco_sqs_messages_read(coco_sqs_messages_t *ret, coco_str_t text,
    coco_error_t *err)
{
    coco_json_value_t  object;

    static const coco_str_t  names[] = { { "Messages", 8 } };

    if (coco_message_read(&object, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    ret->pos = 0;
    coco_message_members(&object, names, 1, &ret->messages);

    if (coco_message_has(&ret->messages)
        && ret->messages.type != COCO_JSON_ARRAY)
    {
        return coco_message_unexpected(err, "Messages", "an array",
                                       &ret->messages);
    }

    return COCO_OK;
}


bool
coco_sqs_messages_next(coco_sqs_messages_t *m, coco_sqs_received_t *ret)
{
    coco_json_value_t  element;

    if (!coco_message_has(&m->messages)) {
        return false;
    }

    while (coco_json_element_next(&m->messages, &m->pos, &element)) {
        if (element.type != COCO_JSON_OBJECT) {
            continue;
        }

        coco_sqs_message_read(ret, &element);

        if (ret->receipt.text.data != NULL && ret->body.text.data != NULL) {
            return true;
        }
    }

    return false;
}


static void
coco_sqs_message_read(coco_sqs_received_t *ret,
    const coco_json_value_t *object)
{
    coco_json_value_t  m[4], a[2];

    static const coco_str_t  names[] = {
        { "ReceiptHandle", 13 }, { "Body", 4 }, { "MD5OfBody", 9 },
        { "Attributes", 10 }
    };
    static const coco_str_t  attributes[] = {
        { "ApproximateReceiveCount", 23 }, { "SentTimestamp", 13 }
    };

    coco_message_members(object, names, 4, m);
    memset(ret, 0, sizeof(*ret));

    if (coco_sqs_string(&m[0]).len > 0 && m[1].type == COCO_JSON_STRING) {
        ret->receipt = m[0];
        ret->body = m[1];
    }

    ret->md5 = coco_sqs_string(&m[2]);

    if (coco_message_has(&m[3]) && m[3].type == COCO_JSON_OBJECT) {
        coco_message_members(&m[3], attributes, 2, a);
        ret->receives = (unsigned) coco_sqs_number(&a[0]);
        ret->sent_at = coco_sqs_number(&a[1]);
    }
}


/* Between its quotes, as it stands; absent when it is no string. */
static coco_str_t
coco_sqs_string(const coco_json_value_t *value)
{
    if (!coco_message_has(value) || value->type != COCO_JSON_STRING) {
        return (coco_str_t) { NULL, 0 };
    }

    return value->string;
}


/* Attributes are digits in a string; 0 when it is none. */
static int64_t
coco_sqs_number(const coco_json_value_t *value)
{
    int64_t     number = 0;
    coco_str_t  text;

    text = coco_sqs_string(value);

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 18) {
            return 0;
        }
        number = number * 10 + (text.data[i] - '0');
    }

    return number;
}


int
coco_sqs_batch_read(coco_sqs_outcome_e ret[COCO_SQS_BATCH],
    coco_str_t *ret_code, coco_str_t text, coco_error_t *err)
{
    coco_json_value_t  object, m[2];

    static const coco_str_t  names[] = { { "Successful", 10 },
                                         { "Failed", 6 } };

    memset(ret, 0, sizeof(*ret) * COCO_SQS_BATCH);
    *ret_code = (coco_str_t) { NULL, 0 };

    if (coco_message_read(&object, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, names, 2, m);
    coco_sqs_entries_read(ret, ret_code, &m[0], false);
    coco_sqs_entries_read(ret, ret_code, &m[1], true);

    return COCO_OK;
}


static void
coco_sqs_entries_read(coco_sqs_outcome_e ret[COCO_SQS_BATCH],
    coco_str_t *ret_code, const coco_json_value_t *entries, bool failed)
{
    size_t             pos = 0;
    coco_str_t         id;
    coco_json_value_t  entry, m[3];

    static const coco_str_t  names[] = {
        { "Id", 2 }, { "SenderFault", 11 }, { "Code", 4 }
    };

    if (!coco_message_has(entries) || entries->type != COCO_JSON_ARRAY) {
        return;
    }

    while (coco_json_element_next(entries, &pos, &entry)) {
        if (entry.type != COCO_JSON_OBJECT) {
            continue;
        }

        coco_message_members(&entry, names, 3, m);
        id = coco_sqs_string(&m[0]);

        if (id.len != 1 || id.data[0] < '0' || id.data[0] > '9') {
            continue;
        }

        ret[id.data[0] - '0'] = !failed ? COCO_SQS_SUCCEEDED
                                : coco_message_has(&m[1])
                                  && m[1].type == COCO_JSON_TRUE
                                ? COCO_SQS_REFUSED : COCO_SQS_FAILED;

        if (failed && ret_code->data == NULL) {
            *ret_code = coco_sqs_string(&m[2]);
        }
    }
}
