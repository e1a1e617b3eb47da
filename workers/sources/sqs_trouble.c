/*
 * Bounds the log lines about a queue's failures. Must never show a receipt, a
 * body or a credential.
 */

#include "log.h"
#include "sqs_trouble.h"

#define COCO_SQS_TROUBLE_MS  10000


static bool coco_sqs_trouble_due(coco_sqs_trouble_t *t, int64_t now,
    coco_str_t code);


void
coco_sqs_trouble_log(coco_sqs_trouble_t *t, int64_t now,
    coco_str_t queue_url, coco_str_t action, coco_str_t code,
    coco_str_t detail, const char *remedy)
{
    if (code.data == NULL) {
        code = coco_string("none");
    }

    if (!coco_sqs_trouble_due(t, now, code)) {
        return;
    }

    coco_log(COCO_LOG_WARN, "sqs_failed", "queue", "%.*s",
             (int) queue_url.len, queue_url.data,
             "action", "%.*s", (int) action.len, action.data,
             "code", "%.*s", (int) code.len, code.data,
             "detail", "%.*s", (int) detail.len,
             detail.data != NULL ? detail.data : "",
             "remedy", "%s", remedy, NULL);
}


static bool
coco_sqs_trouble_due(coco_sqs_trouble_t *t, int64_t now, coco_str_t code)
{
    size_t  place = 0;

    if (code.len >= sizeof(t->causes[0].code)) {
        code.len = sizeof(t->causes[0].code) - 1;
    }

    for (size_t i = 0; i < COCO_SQS_CAUSES; i++) {
        if (t->causes[i].at != 0 && strlen(t->causes[i].code) == code.len
            && memcmp(t->causes[i].code, code.data, code.len) == 0)
        {
            if (now - t->causes[i].at < COCO_SQS_TROUBLE_MS) {
                return false;
            }

            place = i;
            break;
        }

        if (t->causes[i].at < t->causes[place].at) {
            place = i;
        }
    }

    memcpy(t->causes[place].code, code.data, code.len);
    t->causes[place].code[code.len] = '\0';
    t->causes[place].at = now;

    return true;
}
