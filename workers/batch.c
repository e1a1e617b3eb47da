/*
 * Messages gathered for one shard. Must never keep a pointer of the source's.
 */

#include <stdlib.h>

#include "batch.h"


int
coco_batch_init(coco_batch_t *b, size_t messages, size_t bytes)
{
    memset(b, 0, sizeof(*b));

    b->messages = calloc(messages, sizeof(*b->messages));
    b->data = malloc(bytes);

    if (b->messages == NULL || b->data == NULL) {
        coco_batch_free(b);
        return COCO_ERROR;
    }

    b->max = messages;
    b->size = bytes;
    b->limit = bytes;

    return COCO_OK;
}


void
coco_batch_free(coco_batch_t *b)
{
    free(b->messages);
    free(b->data);
    b->messages = NULL;
    b->data = NULL;
}


void
coco_batch_reset(coco_batch_t *b)
{
    char  *data;

    b->count = 0;
    b->len = 0;
    b->low = 0;
    b->tracked = false;

    if (b->size > b->limit) {
        data = realloc(b->data, b->limit);
        if (data != NULL) {
            b->data = data;
            b->size = b->limit;
        }
    }
}


static coco_str_t
coco_batch_copy(coco_batch_t *b, coco_str_t s)
{
    coco_str_t  copy;

    if (s.data == NULL) {
        return s;
    }

    copy.data = memcpy(b->data + b->len, s.data, s.len);
    copy.len = s.len;
    b->len += s.len;

    return copy;
}


int
coco_batch_add(coco_batch_t *b, const coco_message_t *message)
{
    char            *data;
    size_t           need;
    coco_message_t  *m;

    need = message->topic.len + message->serial.len + message->payload.len;

    if (b->count == b->max || (b->len + need > b->size && b->count > 0)) {
        return COCO_AGAIN;
    }

    if (need > b->size) {
        /* one message above the limit has a batch to itself */
        data = realloc(b->data, need);
        if (data == NULL) {
            return COCO_ERROR;
        }

        b->data = data;
        b->size = need;
    }

    m = &b->messages[b->count++];
    *m = *message;
    m->topic = coco_batch_copy(b, message->topic);
    m->serial = coco_batch_copy(b, message->serial);
    m->payload = coco_batch_copy(b, message->payload);

    return COCO_OK;
}
