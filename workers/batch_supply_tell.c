/*
 * What others are told of the supply after the commit: nginx, line by line,
 * and the bus, of what heartbeats have changed. Must never wait.
 */

#include "batch_supply.h"
#include "coco_envelope.h"

/* An event, beside its data. */
#define COCO_SUPPLY_EVENT_SIZE  384

static int coco_supply_event(coco_writer_t *w, coco_bus_event_t *event,
    const coco_supply_row_t *row);


/* Also what Postgres had already: nginx takes what is newer than what it has,
 * and a repeat may be of a batch that it was never told of. */
int
coco_supply_feed(coco_writer_t *w)
{
    char                *start, *p;
    coco_str_t           name = w->options->feed_name;
    coco_supply_work_t  *work = w->supply;
    coco_supply_state_t  state;

    if (work == NULL) {
        return COCO_OK;
    }

    start = coco_arena_alloc(&w->arena, name.len + 2
                             + work->count * (COCO_SUPPLY_LINE_MAX + 1));
    if (start == NULL) {
        return COCO_ERROR;
    }

    p = start;
    *p++ = '@';
    memcpy(p, name.data, name.len);
    p += name.len;
    *p++ = '\n';

    for (size_t i = 0; i < work->count; i++) {
        coco_service_dispatch_state(&state, &work->rows[i].record);
        p += coco_supply_line_encode(p, work->rows[i].serial, &state);
        *p++ = '\n';
    }

    coco_redis_publish(w->redis, coco_string(COCO_SUPPLY_CHANNEL),
                       (coco_str_t) { start, (size_t) (p - start) });
    coco_arena_trim(&w->arena, start, 0);

    return COCO_OK;
}


coco_str_t
coco_supply_next(const coco_writer_t *w, size_t *at)
{
    if (w->supply == NULL || *at == w->supply->count) {
        return (coco_str_t) { NULL, 0 };
    }

    return w->supply->rows[(*at)++].serial;
}


size_t
coco_supply_event_count(const coco_writer_t *w)
{
    size_t  n = 0;

    for (size_t i = 0; w->supply != NULL && i < w->supply->count; i++) {
        n += w->supply->rows[i].members != 0;
    }

    return n;
}


int
coco_supply_events(coco_writer_t *w, coco_bus_event_t *events,
    size_t *ret_count)
{
    size_t                    n = 0;
    const coco_supply_row_t  *row;

    for (size_t i = 0; w->supply != NULL && i < w->supply->count; i++) {
        row = &w->supply->rows[i];

        if (row->members != 0
            && coco_supply_event(w, &events[n++], row) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    *ret_count = n;

    return COCO_OK;
}


static int
coco_supply_event(coco_writer_t *w, coco_bus_event_t *event,
    const coco_supply_row_t *row)
{
    char                    *p;
    coco_str_t               cause[2];
    coco_json_out_t          out;
    const coco_heartbeat_t  *hb = row->record.heartbeat;

    static const size_t  size = COCO_SUPPLY_EVENT_SIZE + COCO_SUPPLY_DATA_SIZE;

    p = coco_arena_alloc(&w->arena, size);
    if (p == NULL) {
        return COCO_ERROR;
    }

    memset(event, 0, sizeof(*event));
    event->name = coco_string("DispatchEngine.SupplyEvent");
    event->serial = row->serial;
    event->ts = hb->ts;

    cause[0] = event->name;
    cause[1] = (coco_str_t) { (const char *) hb->id.bytes, COCO_ID_LEN };
    coco_id_derive(&event->id, cause, 2);

    coco_json_out_init(&out, p, size);
    coco_envelope_open(&out, &event->id, event->name, event->serial, hb->ts);
    coco_service_dispatch_encode(&out, hb, row->online, row->members);
    coco_json_object_close(&out);
    coco_arena_trim(&w->arena, p, out.len);
    event->payload = (coco_str_t) { p, out.len };

    return COCO_OK;
}
