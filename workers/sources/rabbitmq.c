/*
 * Events from RabbitMQ: each service's queue into the bus lane, acknowledged
 * once the effects are committed. Must never acknowledge a delivery before
 * that, nor read on while the lane has no room.
 */

#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "sinks/bus_amqp.h"
#include "sources/bus_member.h"

#define COCO_CONSUMER_TICK_MS   200     /* how soon a wait sees a stop */
#define COCO_CONSUMER_RETRY_MS  10      /* the lane is full */
#define COCO_CONSUMER_NAME_MAX  256     /* AMQP's short string */

/* The delivery that comes in, or that the lane had no room for. */
typedef struct {
    bool          whole;             /* and waits to be pushed */
    uint64_t      tag;
    uint64_t      left;              /* bytes of the body to come */
    size_t        name_len, serial_len, body_len, body_size;
    char          name[COCO_CONSUMER_NAME_MAX];
    char          serial[COCO_SERIAL_MAX + 1];
    char         *body;
    coco_cause_t  cause;
} coco_delivery_t;

typedef struct {
    coco_bus_member_t  *m;
    coco_amqp_t        *amqp;
    unsigned            generation;  /* whose deliveries are in the ledger */
    coco_delivery_t     d;
} coco_consumer_t;

static void *coco_consumer_thread(void *arg);
static void coco_consumer_run(coco_consumer_t *c);
static int coco_consumer_open(coco_consumer_t *c);
static int coco_consumer_turn(coco_consumer_t *c);
static int coco_consumer_ack(coco_consumer_t *c);
static int coco_consumer_frame(void *data, const amqp_frame_t *frame);
static int coco_consumer_header(coco_consumer_t *c, uint64_t size,
    const amqp_basic_properties_t *p);
static void coco_consumer_cause(coco_delivery_t *d, const amqp_table_t *t);
static int coco_consumer_body(coco_consumer_t *c, amqp_bytes_t part);
static int coco_consumer_push(coco_consumer_t *c);


bool
coco_source_rabbitmq_wanted(const coco_config_t *config)
{
    return (config->bus_engines & COCO_BUS_RABBITMQ) != 0
           && coco_bus_members_taking(config) != 0;
}


coco_source_bus_t *
coco_source_rabbitmq_start(const coco_source_bus_options_t *options)
{
    return coco_bus_members_start(options,
                                  coco_bus_members_taking(options->config),
                                  options->config->rabbitmq_prefetch,
                                  coco_consumer_thread);
}


static void *
coco_consumer_thread(void *arg)
{
    char             role[64];
    coco_consumer_t  c;

    memset(&c, 0, sizeof(c));
    c.m = arg;
    snprintf(role, sizeof(role), "consumer of %s", c.m->consumer->queue);

    do {
        c.amqp = coco_amqp_create(c.m->config, role, c.m->closing,
                                  coco_consumer_frame, &c);
    } while (c.amqp == NULL && !coco_stop_wait(c.m->stop, 1000));

    if (c.amqp == NULL) {
        return NULL;
    }

    coco_amqp_begin(c.amqp);
    coco_consumer_run(&c);
    coco_amqp_end(c.amqp);

    /* what is not acknowledged returns to the queue */
    coco_amqp_destroy(c.amqp);
    free(c.d.body);

    return NULL;
}


static void
coco_consumer_run(coco_consumer_t *c)
{
    coco_stop_t     *stop = c->m->stop, *closing = c->m->closing;
    coco_backoff_t   backoff = { 0, 0 };

    while (!atomic_load(&closing->set)) {
        coco_bus_member_turn(c->m);

        if (atomic_load(&stop->set) && coco_amqp_connection(c->amqp) == NULL) {
            return;                  /* nothing can be acknowledged */
        }

        if (coco_consumer_open(c) == COCO_OK
            && coco_consumer_turn(c) == COCO_OK)
        {
            coco_backoff_reset(&backoff);
            continue;
        }

        atomic_store(&c->m->connected, false);
        coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
        coco_log(COCO_LOG_WARN, "rabbitmq_unavailable", "queue", "%s",
                 c->m->consumer->queue, "error", "%s",
                 coco_amqp_error(c->amqp), NULL);
        coco_stop_wait(stop, coco_backoff_next(&backoff));
    }

    if (coco_amqp_connection(c->amqp) != NULL) {
        (void) coco_consumer_ack(c);
    }
}


static int
coco_consumer_open(coco_consumer_t *c)
{
    coco_amqp_t              *a = c->amqp;
    amqp_connection_state_t   conn;

    if (coco_amqp_open(a) != COCO_OK) {
        return COCO_ERROR;
    }

    if (c->generation == coco_amqp_generation(a)) {
        return COCO_OK;
    }

    conn = coco_amqp_connection(a);
    c->generation = coco_amqp_generation(a);
    c->d.whole = false;
    coco_bus_ledger_reset(&c->m->ledger);
    coco_amqp_arm(a);

    amqp_basic_qos(conn, COCO_AMQP_CHANNEL, 0,
                   (uint16_t) c->m->config->rabbitmq_prefetch, 0);

    if (coco_amqp_answered(a, "basic.qos") != COCO_OK) {
        return COCO_ERROR;
    }

    amqp_basic_consume(conn, COCO_AMQP_CHANNEL,
                       amqp_cstring_bytes(c->m->consumer->queue),
                       amqp_empty_bytes, 0, 0, 0, amqp_empty_table);

    if (coco_amqp_answered(a, c->m->consumer->queue) != COCO_OK) {
        return COCO_ERROR;
    }

    atomic_store(&c->m->connected, true);

    return COCO_OK;
}


/* While a delivery waits for room, or after a stop, nothing more is read:
 * TCP and the prefetch hold the broker back. */
static int
coco_consumer_turn(coco_consumer_t *c)
{
    bool  stopped = atomic_load(&c->m->stop->set);

    if (coco_consumer_ack(c) != COCO_OK) {
        return COCO_ERROR;
    }

    if (c->d.whole && !stopped) {
        (void) coco_consumer_push(c);
    }

    if (c->d.whole || stopped) {
        if (coco_amqp_beat(c->amqp) != COCO_OK) {
            return COCO_ERROR;
        }

        coco_bus_member_wait(c->m, stopped ? COCO_CONSUMER_TICK_MS
                                           : COCO_CONSUMER_RETRY_MS);
        return COCO_OK;
    }

    if (coco_amqp_frames(c->amqp, COCO_CONSUMER_TICK_MS, c->m->ledger.wake_fd)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    coco_bus_ledger_wake_take(&c->m->ledger);

    return COCO_OK;
}


static int
coco_consumer_ack(coco_consumer_t *c)
{
    int               rc;
    uint64_t          tag = 0;
    coco_bus_entry_t  entry;

    while (coco_bus_ledger_release(&c->m->ledger, &entry)) {
        tag = entry.position;
    }

    if (tag == 0) {
        return COCO_OK;
    }

    coco_amqp_arm(c->amqp);
    rc = amqp_basic_ack(coco_amqp_connection(c->amqp), COCO_AMQP_CHANNEL, tag,
                        1);

    return coco_amqp_check(c->amqp, rc, "ack");
}


static int
coco_consumer_frame(void *data, const amqp_frame_t *frame)
{
    coco_consumer_t             *c = data;
    const amqp_basic_deliver_t  *deliver;

    if (frame->frame_type == AMQP_FRAME_HEADER) {
        return coco_consumer_header(c, frame->payload.properties.body_size,
                                    frame->payload.properties.decoded);
    }

    if (frame->frame_type == AMQP_FRAME_BODY) {
        return coco_consumer_body(c, frame->payload.body_fragment);
    }

    if (frame->payload.method.id == AMQP_BASIC_CANCEL_METHOD) {
        return coco_amqp_fail(c->amqp, "the broker cancelled the consumer: "
                              "the queue was deleted, or its leader moved");
    }

    if (frame->payload.method.id != AMQP_BASIC_DELIVER_METHOD) {
        return COCO_OK;
    }

    deliver = frame->payload.method.decoded;
    c->d.tag = deliver->delivery_tag;
    c->d.name_len = deliver->exchange.len;
    memcpy(c->d.name, deliver->exchange.bytes, deliver->exchange.len);

    return COCO_OK;
}


/* The type goes before the exchange: a message that an operator has taken
 * from the dead ones back into the queue came by no exchange of ours. */
static int
coco_consumer_header(coco_consumer_t *c, uint64_t size,
    const amqp_basic_properties_t *p)
{
    char             *body;
    coco_delivery_t  *d = &c->d;

    if (size > d->body_size) {
        body = realloc(d->body, size);
        if (body == NULL) {
            return coco_amqp_fail(c->amqp, "no memory for a message of %llu "
                                  "bytes", (unsigned long long) size);
        }

        d->body = body;
        d->body_size = size;
    }

    d->body_len = 0;
    d->left = size;
    d->serial_len = 0;
    memset(&d->cause, 0, sizeof(d->cause));

    if ((p->_flags & AMQP_BASIC_TYPE_FLAG) != 0 && p->type.len > 0
        && p->type.len <= COCO_CONSUMER_NAME_MAX)
    {
        d->name_len = p->type.len;
        memcpy(d->name, p->type.bytes, p->type.len);
    }

    if ((p->_flags & AMQP_BASIC_HEADERS_FLAG) != 0) {
        coco_consumer_cause(d, &p->headers);
    }

    return size == 0 ? coco_consumer_body(c, amqp_empty_bytes) : COCO_OK;
}


static void
coco_consumer_cause(coco_delivery_t *d, const amqp_table_t *t)
{
    bool                       has_ts = false, has_id = false;
    coco_str_t                 key, text;
    const amqp_field_value_t  *v;

    for (int i = 0; i < t->num_entries; i++) {
        v = &t->entries[i].value;
        key = (coco_str_t) { t->entries[i].key.bytes,
                             t->entries[i].key.len };
        text = (coco_str_t) { NULL, 0 };

        if (v->kind == AMQP_FIELD_KIND_UTF8) {
            text = (coco_str_t) { v->value.bytes.bytes, v->value.bytes.len };
        }

        if (coco_str_equal(key, coco_string(COCO_BUS_SERIAL))
            && text.len > 0 && text.len < sizeof(d->serial))
        {
            d->serial_len = text.len;
            memcpy(d->serial, text.data, text.len);

        } else if (coco_str_equal(key, coco_string(COCO_BUS_CAUSE_TS))
                   && v->kind == AMQP_FIELD_KIND_I64)
        {
            has_ts = true;
            d->cause.ts = v->value.i64;

        } else if (coco_str_equal(key, coco_string(COCO_BUS_CAUSE_ID))) {
            has_id = coco_id_parse(&d->cause.id, text) == COCO_OK;
        }
    }

    d->cause.known = has_ts && has_id;
}


static int
coco_consumer_body(coco_consumer_t *c, amqp_bytes_t part)
{
    coco_delivery_t  *d = &c->d;

    if (part.len > d->left) {
        return coco_amqp_fail(c->amqp, "a body longer than it said");
    }

    if (part.len > 0) {
        memcpy(d->body + d->body_len, part.bytes, part.len);
    }

    d->body_len += part.len;
    d->left -= part.len;

    if (d->left > 0) {
        return COCO_OK;
    }

    d->whole = true;

    return coco_consumer_push(c);
}


/* What is not ours to consume is done at once; what is no event of ours at
 * all goes to the lane, which says so in a dead letter. */
static int
coco_consumer_push(coco_consumer_t *c)
{
    int                     rc;
    uint64_t                tag;
    coco_message_t          m;
    coco_delivery_t        *d = &c->d;
    coco_bus_entry_t        entry = { .position = d->tag };
    const coco_bus_name_t  *name;

    name = coco_bus_name_find((coco_str_t) { d->name, d->name_len });

    if (name != NULL && !coco_bus_takes(c->m->config, name,
                                        c->m->consumer->service))
    {
        entry.done = true;
        rc = coco_bus_ledger_enter(&c->m->ledger, &entry, &tag);
        d->whole = rc != COCO_OK;
        return rc;
    }

    memset(&m, 0, sizeof(m));
    m.kind = COCO_KIND_EVENT;
    m.source = "rabbitmq";
    m.received_at = coco_clock_ms();
    m.topic = (coco_str_t) { d->name, d->name_len };
    m.payload = (coco_str_t) { d->body ? d->body : "", d->body_len };
    m.cause = d->cause;

    if (d->serial_len > 0) {
        m.serial = (coco_str_t) { d->serial, d->serial_len };
    }

    rc = coco_bus_member_push(c->m, &m, &entry);
    d->whole = rc != COCO_OK;

    if (rc == COCO_OK) {
        return COCO_OK;
    }

    return COCO_AGAIN;              /* full, or stopping: it waits */
}
