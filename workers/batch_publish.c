/*
 * What leaves for the bus straight after a commit: IoT.Heartbeat, the raw
 * telemetry, and what heartbeats have changed of the supply. Must never let a
 * batch count as done before every engine has confirmed it; what was stored
 * before is published again with its repeat.
 */

#include "batch_work.h"
#include "coco_envelope.h"
#include "log.h"

#define COCO_PUBLISH_SIZE  768     /* of an event, beside what it quotes */

static int coco_publish_events(coco_writer_t *w, coco_bus_event_t *events,
    size_t *ret_count);
static int coco_publish_heartbeat(coco_writer_t *w, coco_bus_event_t *event,
    const coco_item_t *item);
static void coco_publish_heartbeat_encode(coco_json_out_t *out,
    const void *data);
static void coco_publish_raw(coco_bus_event_t *event, const coco_item_t *item);


int
coco_batch_publish(coco_writer_t *w)
{
    size_t             max, count = 0, sent = 0;
    unsigned           ms;
    coco_bus_event_t  *events = NULL;

    if (w->bus == NULL) {
        return COCO_OK;
    }

    max = 2 * w->heartbeats.count + coco_supply_event_count(w);

    if (max == 0) {
        return COCO_OK;
    }

    for ( ;; ) {
        if (events == NULL) {
            events = coco_arena_alloc(&w->arena, max * sizeof(*events));

            if (events != NULL
                && coco_publish_events(w, events, &count) != COCO_OK)
            {
                events = NULL;
            }
        }

        if (events != NULL) {
            sent += coco_bus_send(w->bus, events + sent, count - sent);

            if (sent == count) {
                coco_backoff_reset(&w->backoff);
                return COCO_OK;
            }
        }

        ms = coco_backoff_next(&w->backoff);
        coco_log(COCO_LOG_WARN, "publish_retry", "lane", "%s",
                 w->options->name, "events", "%zu", count - sent, "error",
                 "%s", events ? coco_bus_error(w->bus) : "out of memory",
                 "wait_ms", "%u", ms, NULL);

        if (coco_stop_wait(w->stop, ms)) {
            return COCO_ERROR;
        }
    }
}


/* COCO_ERROR: no memory. */
static int
coco_publish_events(coco_writer_t *w, coco_bus_event_t *events,
    size_t *ret_count)
{
    bool    raw, carried;
    size_t  n = 0, supply;

    raw = coco_bus_carries_raw(w->options->bus->config);
    carried = coco_bus_carries_events(w->options->bus->config);

    for (size_t i = 0; i < w->heartbeats.count; i++) {
        if (raw) {
            coco_publish_raw(&events[n++], w->heartbeats.v[i]);
        }

        if (carried
            && coco_publish_heartbeat(w, &events[n++], w->heartbeats.v[i])
               != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    if (coco_supply_events(w, events + n, &supply) != COCO_OK) {
        return COCO_ERROR;
    }

    *ret_count = n + supply;

    return COCO_OK;
}


static void
coco_publish_raw(coco_bus_event_t *event, const coco_item_t *item)
{
    memset(event, 0, sizeof(*event));
    event->serial = item->serial;
    event->id = item->id;
    event->ts = item->heartbeat.received_at;
    event->payload = item->message->payload;
    event->raw = true;
}


static int
coco_publish_heartbeat(coco_writer_t *w, coco_bus_event_t *event,
    const coco_item_t *item)
{
    const coco_heartbeat_t  *hb = &item->heartbeat;

    memset(event, 0, sizeof(*event));
    event->name = coco_string("IoT.Heartbeat");
    event->serial = item->serial;
    event->id = item->id;
    event->ts = hb->ts;

    return coco_arena_json(&w->arena, &event->payload,
                           hb->payload.len + item->driveu.len
                           + COCO_PUBLISH_SIZE,
                           coco_publish_heartbeat_encode, item);
}


static void
coco_publish_heartbeat_encode(coco_json_out_t *out, const void *data)
{
    const coco_item_t  *item = data;

    coco_envelope_open(out, &item->id, coco_string("IoT.Heartbeat"),
                       item->serial, item->heartbeat.ts);
    coco_heartbeat_event_encode(out, &item->heartbeat, item->state,
                                item->controllable, item->driveu);
    coco_json_object_close(out);
}
