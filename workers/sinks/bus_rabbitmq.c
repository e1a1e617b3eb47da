/*
 * The RabbitMQ engine: persistent messages to an exchange per event, with
 * publisher confirms in a window. Must never take a message for sent before
 * its confirm, nor publish past one that the broker refused.
 */

#include <stdio.h>
#include <stdlib.h>

#include "metrics.h"
#include "sinks/bus_amqp.h"
#include "sinks/bus_engine.h"
#include "sinks/bus_topology.h"

#define COCO_RABBITMQ_BURST    64       /* publishes between two reads */
#define COCO_RABBITMQ_TICK_MS  200      /* how soon a wait sees a stop */

typedef struct {
    const coco_config_t  *config;
    coco_stop_t          *stop;
    coco_amqp_t          *amqp;
    unsigned              generation;   /* whose channel confirms */

    /* delivery tags of the channel: below low all are confirmed, below next
     * all are published; window has a byte for each between, by its remainder
     * of the window's size */
    uint64_t              low;
    uint64_t              next;
    uint8_t              *window;
} coco_rabbitmq_t;

static void *coco_rabbitmq_create(const coco_bus_options_t *options,
    coco_stop_t *stop);
static void coco_rabbitmq_destroy(void *engine);
static int coco_rabbitmq_connect(void *engine);
static size_t coco_rabbitmq_send(void *engine, const coco_bus_event_t *events,
    size_t count);
static const char *coco_rabbitmq_error(const void *engine);
static int coco_rabbitmq_open(coco_rabbitmq_t *e);
static void coco_rabbitmq_run(coco_rabbitmq_t *e,
    const coco_bus_event_t *events, size_t count);
static int coco_rabbitmq_burst(coco_rabbitmq_t *e,
    const coco_bus_event_t *events, size_t count, size_t *next);
static int coco_rabbitmq_publish(coco_rabbitmq_t *e,
    const coco_bus_event_t *event);
static int coco_rabbitmq_frame(void *data, const amqp_frame_t *frame);
static int coco_rabbitmq_ack(coco_rabbitmq_t *e, const amqp_basic_ack_t *ack);


const coco_bus_engine_t  coco_bus_rabbitmq = {
    "rabbitmq", coco_rabbitmq_create, coco_rabbitmq_destroy,
    coco_rabbitmq_connect, coco_rabbitmq_send, coco_rabbitmq_error,
};


static void *
coco_rabbitmq_create(const coco_bus_options_t *options, coco_stop_t *stop)
{
    coco_rabbitmq_t  *e;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    e->config = options->config;
    e->stop = stop;
    e->window = calloc(e->config->bus_window, 1);
    e->amqp = coco_amqp_create(e->config, "publisher", stop,
                               coco_rabbitmq_frame, e);

    if (e->window == NULL || e->amqp == NULL) {
        coco_rabbitmq_destroy(e);
        return NULL;
    }

    return e;
}


static void
coco_rabbitmq_destroy(void *engine)
{
    coco_rabbitmq_t  *e = engine;

    coco_amqp_destroy(e->amqp);
    free(e->window);
    free(e);
}


static const char *
coco_rabbitmq_error(const void *engine)
{
    return coco_amqp_error(((const coco_rabbitmq_t *) engine)->amqp);
}


static int
coco_rabbitmq_connect(void *engine)
{
    int               rc;
    coco_rabbitmq_t  *e = engine;

    coco_amqp_begin(e->amqp);
    rc = coco_rabbitmq_open(e);
    coco_amqp_end(e->amqp);

    return rc;
}


static size_t
coco_rabbitmq_send(void *engine, const coco_bus_event_t *events, size_t count)
{
    size_t            n;
    uint64_t          base, confirmed = 0;
    coco_rabbitmq_t  *e = engine;

    coco_amqp_begin(e->amqp);

    if (coco_rabbitmq_open(e) == COCO_OK) {
        base = e->next;
        coco_rabbitmq_run(e, events, count);
        confirmed = e->low > base ? e->low - base : 0;
    }

    coco_amqp_end(e->amqp);

    /* raw telemetry is not ours: it counts with the events before it */
    for (n = 0; n < count && (events[n].raw || confirmed > 0); n++) {
        confirmed -= !events[n].raw;
    }

    return n;
}


static int
coco_rabbitmq_open(coco_rabbitmq_t *e)
{
    if (coco_amqp_open(e->amqp) != COCO_OK) {
        return COCO_ERROR;
    }

    if (e->generation == coco_amqp_generation(e->amqp)) {
        return COCO_OK;
    }

    coco_amqp_arm(e->amqp);

    amqp_confirm_select(coco_amqp_connection(e->amqp), COCO_AMQP_CHANNEL);

    if (coco_amqp_answered(e->amqp, "confirm.select") != COCO_OK) {
        return COCO_ERROR;
    }

    e->generation = coco_amqp_generation(e->amqp);
    e->low = 1;
    e->next = 1;

    return COCO_OK;
}


/* What is unconfirmed at the end can be known no more: the connection is
 * closed, so that no late confirm is taken for one of the next send. */
static void
coco_rabbitmq_run(coco_rabbitmq_t *e, const coco_bus_event_t *events,
    size_t count)
{
    size_t    i = 0;
    int64_t   until = 0, now;
    uint64_t  low = 0;

    for ( ;; ) {
        while (i < count && events[i].raw) {
            i++;
        }

        if (i == count && e->low == e->next) {
            return;
        }

        if (atomic_load(&e->stop->set)) {
            (void) coco_amqp_fail(e->amqp, "the worker stops");
            return;
        }

        now = coco_clock_monotonic_us();

        if (e->low != low || coco_amqp_blocked(e->amqp)) {
            low = e->low;
            until = now + (int64_t) e->config->bus_timeout * 1000;

        } else if (now > until) {
            (void) coco_amqp_fail(e->amqp, "no confirm within bus.timeout");
            return;
        }

        if (coco_rabbitmq_burst(e, events, count, &i) != COCO_OK) {
            return;
        }
    }
}


/* Publishes a few, and takes the confirms that are there; waits for some when
 * there is nothing to publish. */
static int
coco_rabbitmq_burst(coco_rabbitmq_t *e, const coco_bus_event_t *events,
    size_t count, size_t *next)
{
    int       n = 0;
    unsigned  wait;

    coco_amqp_arm(e->amqp);

    while (*next < count && n < COCO_RABBITMQ_BURST
           && e->next - e->low < e->config->bus_window
           && !coco_amqp_blocked(e->amqp))
    {
        if (!events[*next].raw) {
            if (coco_rabbitmq_publish(e, &events[*next]) != COCO_OK) {
                return COCO_ERROR;
            }
            n++;
        }

        (*next)++;
    }

    wait = n == COCO_RABBITMQ_BURST ? 0 : COCO_RABBITMQ_TICK_MS;

    return coco_amqp_frames(e->amqp, wait, -1);
}


static int
coco_rabbitmq_publish(coco_rabbitmq_t *e, const coco_bus_event_t *event)
{
    int                      rc;
    char                     id[COCO_ID_TEXT_LEN], cause[COCO_ID_TEXT_LEN];
    amqp_bytes_t             name;
    amqp_basic_properties_t  p;
    amqp_table_entry_t       headers[3];

    name = coco_amqp_bytes(event->name);
    coco_id_format(id, &event->id);

    headers[0] = (amqp_table_entry_t) {
        amqp_cstring_bytes(COCO_BUS_SERIAL),
        { AMQP_FIELD_KIND_UTF8,
          { .bytes = coco_amqp_bytes(event->serial) } } };

    if (event->cause.known) {
        coco_id_format(cause, &event->cause.id);
        headers[1] = (amqp_table_entry_t) {
            amqp_cstring_bytes(COCO_BUS_CAUSE_TS),
            { AMQP_FIELD_KIND_I64, { .i64 = event->cause.ts } } };
        headers[2] = (amqp_table_entry_t) {
            amqp_cstring_bytes(COCO_BUS_CAUSE_ID),
            { AMQP_FIELD_KIND_UTF8, { .bytes = { sizeof(cause), cause } } } };
    }

    memset(&p, 0, sizeof(p));
    p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG
               | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG
               | AMQP_BASIC_HEADERS_FLAG;
    p.content_type = amqp_cstring_bytes("application/json");
    p.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    p.message_id = (amqp_bytes_t) { sizeof(id), id };
    p.type = name;
    p.headers = (amqp_table_t) { event->cause.known ? 3 : 1, headers };

    rc = amqp_basic_publish(coco_amqp_connection(e->amqp), COCO_AMQP_CHANNEL,
                            name, amqp_empty_bytes, 1, 0, &p,
                            coco_amqp_bytes(event->payload));
    if (rc != AMQP_STATUS_OK) {
        return coco_amqp_check(e->amqp, rc, "publish");
    }

    e->window[e->next % e->config->bus_window] = 0;
    e->next++;

    return COCO_OK;
}


static int
coco_rabbitmq_frame(void *data, const amqp_frame_t *frame)
{
    coco_rabbitmq_t  *e = data;

    if (frame->frame_type != AMQP_FRAME_METHOD) {
        return COCO_OK;              /* of a message that was returned */
    }

    switch (frame->payload.method.id) {

    case AMQP_BASIC_ACK_METHOD:
        return coco_rabbitmq_ack(e, frame->payload.method.decoded);

    case AMQP_BASIC_NACK_METHOD:
        return coco_amqp_fail(e->amqp, "the broker refused a message "
                              "(basic.nack); see its log");

    case AMQP_BASIC_RETURN_METHOD:
        coco_metrics_add(COCO_M_BUS_UNROUTABLE, COCO_LANE_BUS, 1);
        return COCO_OK;

    default:
        return COCO_OK;
    }
}


static int
coco_rabbitmq_ack(coco_rabbitmq_t *e, const amqp_basic_ack_t *ack)
{
    uint64_t  tag = ack->delivery_tag, from = ack->multiple ? e->low : tag;

    if (tag == 0) {                  /* AMQP 0-9-1: all so far */
        tag = e->next - 1;
        from = e->low;
    }

    if (tag < e->low) {
        return COCO_OK;
    }

    if (tag >= e->next) {
        return coco_amqp_fail(e->amqp, "a confirm of what was not published");
    }

    for (/* void */ ; from <= tag; from++) {
        e->window[from % e->config->bus_window] = 1;
    }

    while (e->low < e->next && e->window[e->low % e->config->bus_window]) {
        e->low++;
    }

    return COCO_OK;
}
