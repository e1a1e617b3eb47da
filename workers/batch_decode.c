/*
 * From messages to items: decoding, and repeats within the batch. Must never
 * let through what Postgres would refuse.
 */

#include "batch_work.h"

/* Far above any message, far below what Postgres cannot hold: 16 million
 * elements in 32 MiB end in an internal error, however often it is tried. */
#define COCO_PAYLOAD_MAX  (1 << 20)

static void coco_batch_decode_item(coco_writer_t *w, coco_item_t *item,
    coco_error_t *err);
static void coco_batch_join_repeats(coco_writer_t *w, size_t count);
static const coco_id_t *coco_batch_item_id(const coco_item_t *item);


int
coco_batch_decode(coco_writer_t *w, const coco_batch_t *b)
{
    coco_item_t   *item;
    coco_error_t   err;

    for (size_t i = 0; i < b->count; i++) {
        item = &w->items[i];
        item->message = &b->messages[i];
        item->newer = false;
        item->details.data = NULL;
        item->no_fleet = false;
        item->same_as = NULL;
        item->refused_by = NULL;
        item->error = NULL;

        coco_batch_decode_item(w, item, &err);

        if (!item->accepted
            && coco_batch_refuse(w, item, "decoder", &err) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    coco_batch_join_repeats(w, b->count);

    return COCO_OK;
}


static void
coco_batch_decode_item(coco_writer_t *w, coco_item_t *item,
    coco_error_t *err)
{
    int                    rc;
    int64_t                now;
    const coco_message_t  *m = item->message;

    /* A replay is judged by the time of the replay: what was too far ahead
     * need not be so for ever. Its place among others stays the old one. */
    now = strcmp(m->source, "replay") == 0 ? coco_clock_ms() : m->received_at;

    if (w->options->receives_max != 0
        && m->receives > w->options->receives_max)
    {
        rc = coco_error_set(err, "", "delivered %u times and never committed",
                            m->receives);

    } else if (m->payload.len > COCO_PAYLOAD_MAX) {
        rc = coco_error_set(err, "payload", "over 1 MiB");

    } else if (m->kind == COCO_KIND_HEARTBEAT) {
        rc = coco_heartbeat_decode(&item->heartbeat, m->serial, m->payload,
                                   now, err);
        if (rc == COCO_OK) {
            item->heartbeat.received_at = m->received_at;
            item->order = coco_heartbeat_order(&item->heartbeat);
        }

    } else {
        rc = coco_robot_event_decode(&item->event, m->serial, m->payload,
                                     now, err);
        item->event.received_at = m->received_at;
    }

    item->accepted = rc == COCO_OK;
}


/* The first of equal ones is kept, with the earliest time of receipt. */
static void
coco_batch_join_repeats(coco_writer_t *w, size_t count)
{
    size_t            at;
    uint64_t          hash;
    coco_item_t      *item, *first;
    const coco_id_t  *id;

    memset(w->seen, 0, w->seen_size * sizeof(*w->seen));

    for (size_t i = 0; i < count; i++) {
        item = &w->items[i];
        if (!item->accepted) {
            continue;
        }

        id = coco_batch_item_id(item);
        memcpy(&hash, id->bytes, sizeof(hash));

        for (at = hash & (w->seen_size - 1); w->seen[at] != 0;
             at = (at + 1) & (w->seen_size - 1))
        {
            first = &w->items[w->seen[at] - 1];

            if (first->message->kind != item->message->kind
                || memcmp(coco_batch_item_id(first), id, sizeof(*id)) != 0)
            {
                continue;
            }

            item->same_as = first;

            if (item->message->kind == COCO_KIND_HEARTBEAT
                && item->heartbeat.received_at < first->heartbeat.received_at)
            {
                first->heartbeat.received_at = item->heartbeat.received_at;
                first->order = coco_heartbeat_order(&first->heartbeat);
            }
            break;
        }

        if (item->same_as == NULL) {
            w->seen[at] = (uint32_t) i + 1;
        }
    }
}


static const coco_id_t *
coco_batch_item_id(const coco_item_t *item)
{
    return item->message->kind == COCO_KIND_HEARTBEAT ? &item->heartbeat.id
                                                      : &item->event.id;
}


int
coco_batch_refuse(coco_writer_t *w, coco_item_t *item, const char *service,
    const coco_error_t *err)
{
    coco_str_t             parts[3];
    const coco_message_t  *m = item->message;

    item->error = coco_arena_alloc(&w->arena, sizeof(*err));
    if (item->error == NULL) {
        return COCO_ERROR;
    }

    *item->error = *err;
    item->refused_by = service;

    parts[0] = (coco_str_t) { m->source, strlen(m->source) };
    parts[1] = m->topic;
    parts[2] = m->payload;
    coco_id_derive(&item->letter, parts, 3);

    return COCO_OK;
}
