/*
 * From messages to items: decoding, and repeats within the batch. Must never
 * let through what Postgres would refuse.
 */

#include "batch_work.h"

/* Far above any message, far below what Postgres cannot hold: 16 million
 * elements in 32 MiB end in an internal error, however often it is tried. Of
 * an order Postgres is given some strings alone; its webhook was within this
 * limit before it became jsonb, whose text is longer. */
#define COCO_PAYLOAD_MAX  (1 << 20)

static void coco_batch_decode_item(coco_writer_t *w, coco_item_t *item,
    coco_error_t *err);
static void coco_batch_join_repeats(coco_writer_t *w, size_t count);
static int coco_batch_heartbeat_decode(coco_writer_t *w, coco_item_t *item,
    int64_t now, coco_error_t *err);
static int coco_batch_robot_event_decode(coco_writer_t *w, coco_item_t *item,
    int64_t now, coco_error_t *err);
static const char *coco_batch_decoder_name(const coco_writer_t *w,
    const coco_message_t *m);
static bool coco_batch_from_bus(const coco_message_t *m);

/* Each fills the item; now is the time that it is judged by, ms. */
static int (*const coco_batch_decoders[])(coco_writer_t *w, coco_item_t *item,
    int64_t now, coco_error_t *err) =
{
    [COCO_KIND_HEARTBEAT] = coco_batch_heartbeat_decode,
    [COCO_KIND_ROBOT_EVENT] = coco_batch_robot_event_decode,
    [COCO_KIND_CONNECTIVITY] = coco_connectivity_decode_item,
    [COCO_KIND_EVENT] = coco_batch_event_decode,
    [COCO_KIND_TELEMETRY] = coco_batch_heartbeat_decode,
    [COCO_KIND_TASK] = coco_task_decode_item,
    [COCO_KIND_ORDER] = coco_order_decode_item,
};


int
coco_batch_decode(coco_writer_t *w, const coco_batch_t *b)
{
    coco_item_t   *item;
    coco_error_t   err;

    for (size_t i = 0; i < b->count; i++) {
        item = &w->items[i];
        memset(item, 0, offsetof(coco_item_t, heartbeat));
        memset(&item->state, 0,
               sizeof(*item) - offsetof(coco_item_t, state));
        item->message = &b->messages[i];

        if (item->message->kind == COCO_KIND_ORDER
            && coco_order_prepare(w, item) != COCO_OK)
        {
            return COCO_ERROR;
        }

        coco_batch_decode_item(w, item, &err);

        if (!item->accepted
            && coco_batch_refuse(w, item,
                                 coco_batch_decoder_name(w, item->message),
                                 &err) != COCO_OK)
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

    } else if (m->payload.len > COCO_PAYLOAD_MAX
               && m->kind != COCO_KIND_ORDER)
    {
        rc = coco_error_set(err, "payload", "over 1 MiB");

    } else {
        rc = coco_batch_decoders[m->kind](w, item, now, err);
    }

    item->accepted = rc == COCO_OK;
}


static int
coco_batch_heartbeat_decode(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    coco_heartbeat_t      *hb = &item->heartbeat;
    const coco_message_t  *m = item->message;

    if (coco_heartbeat_decode(hb, m->serial, m->payload, now, err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    hb->received_at = m->received_at;
    item->kind = COCO_ITEM_HEARTBEAT;
    item->parts = w->parts;
    item->id = hb->id;
    item->serial = hb->serial;
    item->order = coco_heartbeat_order(hb);

    if (m->kind == COCO_KIND_TELEMETRY) {
        item->parts = w->options->services & COCO_SERVICE_FLEET
                      ? COCO_PART_TELEMETRY : 0;
        item->kind = item->parts ? COCO_ITEM_COPY : COCO_ITEM_NOTHING;
    }

    return COCO_OK;
}


static int
coco_batch_robot_event_decode(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    const coco_message_t  *m = item->message;

    if (coco_robot_event_decode(&item->event, m->serial, m->payload, now, err)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    item->event.received_at = m->received_at;
    item->kind = COCO_ITEM_ROBOT_EVENT;
    item->id = item->event.id;
    item->serial = item->event.serial;

    return COCO_OK;
}


/* The first of equal ones is kept, with the earliest time of receipt. A copy
 * of RabbitMQ's and one of Kafka's are for different services. */
static void
coco_batch_join_repeats(coco_writer_t *w, size_t count)
{
    size_t        at;
    uint64_t      hash;
    coco_item_t  *item, *first;

    memset(w->seen, 0, w->seen_size * sizeof(*w->seen));

    for (size_t i = 0; i < count; i++) {
        item = &w->items[i];
        if (!item->accepted) {
            continue;
        }

        memcpy(&hash, item->id.bytes, sizeof(hash));

        for (at = hash & (w->seen_size - 1); w->seen[at] != 0;
             at = (at + 1) & (w->seen_size - 1))
        {
            first = &w->items[w->seen[at] - 1];

            if (first->kind != item->kind || first->parts != item->parts
                || memcmp(&first->id, &item->id, sizeof(item->id)) != 0)
            {
                continue;
            }

            item->same_as = first;

            if (item->kind <= COCO_ITEM_COPY
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


/* Each service takes an event of its own queue: who refuses it there is to
 * replay it. "decoder": all the services here. */
static const char *
coco_batch_decoder_name(const coco_writer_t *w, const coco_message_t *m)
{
    if (m->kind == COCO_KIND_TELEMETRY) {
        return "fleet";
    }

    if (m->kind == COCO_KIND_ORDER) {
        return "integrations";
    }

    if (m->kind != COCO_KIND_EVENT) {
        return "decoder";
    }

    switch (w->options->services & ~COCO_SERVICE_STATE) {
    case COCO_SERVICE_OPERATIONS: return "operations";
    case COCO_SERVICE_FLEET:      return "fleet";
    case COCO_SERVICE_DELIVERIES: return "deliveries";
    case COCO_SERVICE_DISPATCH:   return "dispatch";
    default:                      return "decoder";
    }
}


static bool
coco_batch_from_bus(const coco_message_t *m)
{
    return m->kind == COCO_KIND_EVENT || m->kind == COCO_KIND_TELEMETRY;
}


int
coco_batch_refuse(coco_writer_t *w, coco_item_t *item, const char *service,
    const coco_error_t *err)
{
    char                  *p;
    coco_str_t             parts[4];
    const coco_message_t  *m = item->message;

    item->kept = m->payload;

    /* letters are shown; nor may their id tell which PIN it was */
    if (coco_robot_event_has_pin(m->payload)) {
        if (coco_arena_copy(&w->arena, &item->kept, m->payload) != COCO_OK) {
            return COCO_ERROR;
        }

        p = (char *) item->kept.data;
        coco_robot_event_mask(p, item->kept.len);
    }

    item->error = coco_arena_alloc(&w->arena, sizeof(*err));
    if (item->error == NULL) {
        return COCO_ERROR;
    }

    *item->error = *err;
    item->refused_by = service;

    parts[0] = (coco_str_t) { m->source, strlen(m->source) };
    parts[1] = m->topic;
    parts[2] = item->kept;
    parts[3] = (coco_str_t) { service, strlen(service) };
    coco_id_derive(&item->letter, parts, coco_batch_from_bus(m) ? 4 : 3);

    return COCO_OK;
}
