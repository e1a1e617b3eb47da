/*
 * What SQS's errors mean for us. Must never decide by the text that is meant
 * for people.
 */

#include "coco_message.h"
#include "sqs_wire.h"


typedef struct {
    coco_str_t        code;         /* without "Exception" at its end */
    coco_sqs_fault_e  fault;
    const char       *remedy;
} coco_sqs_code_t;


static coco_str_t coco_sqs_code_trim(coco_str_t code);


#define code(name, fault, remedy)                                             \
    { { name, sizeof(name) - 1 }, COCO_SQS_FAULT_##fault, remedy }

#define COCO_SQS_KMS  "let these credentials use the queue's KMS key " \
                      "(kms:Decrypt), and see that it is enabled"
#define COCO_SQS_RENEW  "new credentials are being asked for; those of the " \
                        "environment must be replaced there"
#define COCO_SQS_WAIT  "tried again with growing pauses"

static const coco_sqs_code_t  coco_sqs_codes[] = {
    code("QueueDoesNotExist", SETUP, "check the queue's URL (sqs.*_queue_url) "
         "and sqs.region"),
    code("AWS.SimpleQueueService.NonExistentQueue", SETUP, "check the queue's "
         "URL (sqs.*_queue_url) and sqs.region"),
    code("InvalidAddress", SETUP, "check the queue's URL (sqs.*_queue_url)"),
    code("AccessDenied", SETUP, "allow sqs:ReceiveMessage, sqs:DeleteMessage "
         "and sqs:ChangeMessageVisibility on the queue to these credentials"),
    code("InvalidSecurity", SETUP, "use https in sqs.endpoint, and check "
         "sqs.region and the credentials"),
    code("SignatureDoesNotMatch", SETUP, "check the secret key, sqs.region "
         "and this machine's clock"),
    code("InvalidSignature", SETUP, "check the secret key, sqs.region and "
         "this machine's clock"),
    code("RequestExpired", SETUP, "set this machine's clock"),
    code("RequestTimeTooSkewed", SETUP, "set this machine's clock"),
    code("OptInRequired", SETUP, "enable the region in the AWS account"),

    code("ExpiredToken", KEYS, COCO_SQS_RENEW),
    code("InvalidClientTokenId", KEYS, COCO_SQS_RENEW),
    code("UnrecognizedClient", KEYS, COCO_SQS_RENEW),
    code("InvalidAccessKeyId", KEYS, COCO_SQS_RENEW),
    code("MissingAuthenticationToken", KEYS, COCO_SQS_RENEW),

    code("OverLimit", BUSY, "too many messages of the queue are in flight: "
         "is another consumer stuck?"),
    code("RequestThrottled", BUSY, COCO_SQS_WAIT),
    code("Throttling", BUSY, COCO_SQS_WAIT),
    code("Throttled", BUSY, COCO_SQS_WAIT),
    code("TooManyRequests", BUSY, COCO_SQS_WAIT),
    code("ServiceUnavailable", BUSY, COCO_SQS_WAIT),
    code("InternalFailure", BUSY, COCO_SQS_WAIT),
    code("InternalError", BUSY, COCO_SQS_WAIT),

    code("KmsThrottled", BUSY, COCO_SQS_WAIT),
    code("KmsAccessDenied", SETUP, COCO_SQS_KMS),
    code("KmsDisabled", SETUP, COCO_SQS_KMS),
    code("KmsInvalidKeyUsage", SETUP, COCO_SQS_KMS),
    code("KmsInvalidState", SETUP, COCO_SQS_KMS),
    code("KmsNotFound", SETUP, COCO_SQS_KMS),
    code("KmsOptInRequired", SETUP, COCO_SQS_KMS)
};

#define COCO_SQS_CODES  (sizeof(coco_sqs_codes) / sizeof(coco_sqs_codes[0]))


void
coco_sqs_error_read(coco_sqs_error_t *ret, long status, coco_str_t text)
{
    coco_str_t         trimmed;
    coco_error_t       err;
    coco_json_value_t  object, m[3];

    static const coco_str_t  names[] = {
        { "__type", 6 }, { "message", 7 }, { "Message", 7 }
    };

    memset(ret, 0, sizeof(*ret));

    if (text.data != NULL && coco_message_read(&object, text, &err) == COCO_OK)
    {
        coco_message_members(&object, names, 3, m);

        if (coco_message_has(&m[0]) && m[0].type == COCO_JSON_STRING) {
            ret->code = m[0].string;
        }

        m[1] = coco_message_has(&m[1]) ? m[1] : m[2];

        if (coco_message_has(&m[1]) && m[1].type == COCO_JSON_STRING) {
            ret->message = m[1].string;
        }
    }

    trimmed = coco_sqs_code_trim(ret->code);

    for (size_t i = 0; i < COCO_SQS_CODES; i++) {
        if (coco_str_equal(trimmed, coco_sqs_codes[i].code)) {
            ret->code = trimmed;
            ret->fault = coco_sqs_codes[i].fault;
            ret->remedy = coco_sqs_codes[i].remedy;
            return;
        }
    }

    /* one of a proxy's, or not known yet */
    ret->code = trimmed.data != NULL ? trimmed : coco_string("none");

    if (status >= 500 || status == 429 || status == 408) {
        ret->fault = COCO_SQS_FAULT_BUSY;
        ret->remedy = COCO_SQS_WAIT;

    } else {
        ret->fault = COCO_SQS_FAULT_SETUP;
        ret->remedy = "check sqs.endpoint, sqs.region and the queue's URL";
    }
}


/* "com.amazonaws.sqs#QueueDoesNotExist" to what stands behind the mark. */
static coco_str_t
coco_sqs_code_trim(coco_str_t code)
{
    const char  *mark;

    static const coco_str_t  end = { "Exception", 9 };

    if (code.data == NULL) {
        return code;
    }

    mark = memrchr(code.data, '#', code.len);

    if (mark != NULL) {
        code.len -= (size_t) (mark + 1 - code.data);
        code.data = mark + 1;
    }

    if (code.len > end.len
        && memcmp(code.data + code.len - end.len, end.data, end.len) == 0)
    {
        code.len -= end.len;
    }

    return code;
}
