/*
 * Events to every engine that is configured. Knows no engine's protocol, and
 * must never count an event as sent that some engine has not confirmed.
 */

#include <stdlib.h>

#include "metrics.h"
#include "sinks/bus_engine.h"

#define COCO_BUS_ENGINES_MAX  3

/* What an engine has confirmed while another had not: it is not sent there
 * again, or a broker that is away would flood the others with repeats. */
typedef struct {
    coco_id_t  id;
    bool       raw;
} coco_bus_ahead_t;

typedef struct {
    const coco_bus_engine_t  *type;
    void                     *data;
    coco_bus_ahead_t         *ahead;     /* of the next send, in its order */
    size_t                    ahead_count;
} coco_bus_slot_t;

struct coco_bus_s {
    coco_bus_slot_t  slots[COCO_BUS_ENGINES_MAX];
    size_t           count;
    const char      *error;
};

static int coco_bus_add(coco_bus_t *bus, const coco_bus_engine_t *type,
    const coco_bus_options_t *options, coco_stop_t *stop);
static size_t coco_bus_skip(const coco_bus_slot_t *s,
    const coco_bus_event_t *events, size_t count);
static void coco_bus_keep(coco_bus_slot_t *s, const coco_bus_event_t *events,
    size_t count);


bool
coco_bus_carries_events(const coco_config_t *config)
{
    return config->bus_engines != 0 || config->bus_scramble;
}


bool
coco_bus_carries_raw(const coco_config_t *config)
{
    return (config->bus_engines & COCO_BUS_KAFKA) != 0;
}


coco_bus_t *
coco_bus_create(const coco_bus_options_t *options, coco_stop_t *stop)
{
    int                   rc = COCO_OK;
    coco_bus_t           *bus;
    const coco_config_t  *c = options->config;

    bus = calloc(1, sizeof(*bus));
    if (bus == NULL) {
        return NULL;
    }

    bus->error = "";

    if (c->bus_engines & COCO_BUS_RABBITMQ) {
        rc |= coco_bus_add(bus, &coco_bus_rabbitmq, options, stop);
    }

    if (c->bus_engines & COCO_BUS_KAFKA) {
        rc |= coco_bus_add(bus, &coco_bus_kafka, options, stop);
    }

    if (c->bus_scramble) {
        rc |= coco_bus_add(bus, &coco_bus_loop, options, stop);
    }

    if (rc != COCO_OK) {
        coco_bus_destroy(bus);
        return NULL;
    }

    return bus;
}


static int
coco_bus_add(coco_bus_t *bus, const coco_bus_engine_t *type,
    const coco_bus_options_t *options, coco_stop_t *stop)
{
    coco_bus_slot_t  *s = &bus->slots[bus->count];

    s->type = type;
    s->data = type->create(options, stop);
    if (s->data == NULL) {
        return COCO_ERROR;
    }

    bus->count++;

    return COCO_OK;
}


void
coco_bus_destroy(coco_bus_t *bus)
{
    if (bus == NULL) {
        return;
    }

    for (size_t i = 0; i < bus->count; i++) {
        bus->slots[i].type->destroy(bus->slots[i].data);
        free(bus->slots[i].ahead);
    }

    free(bus);
}


int
coco_bus_open(coco_bus_t *bus)
{
    int               rc = COCO_OK;
    coco_bus_slot_t  *s;

    for (size_t i = 0; i < bus->count; i++) {
        s = &bus->slots[i];

        if (s->type->open != NULL && s->type->open(s->data) != COCO_OK) {
            bus->error = s->type->error(s->data);
            rc = COCO_ERROR;
        }
    }

    return rc;
}


size_t
coco_bus_send(coco_bus_t *bus, const coco_bus_event_t *events, size_t count)
{
    size_t            sent[COCO_BUS_ENGINES_MAX], least = count;
    coco_bus_slot_t  *s;

    for (size_t i = 0; i < bus->count; i++) {
        s = &bus->slots[i];
        sent[i] = coco_bus_skip(s, events, count);
        sent[i] += s->type->send(s->data, events + sent[i], count - sent[i]);

        if (sent[i] < count) {
            bus->error = s->type->error(s->data);
            coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
        }

        if (sent[i] < least) {
            least = sent[i];
        }
    }

    for (size_t i = 0; i < bus->count; i++) {
        coco_bus_keep(&bus->slots[i], events + least, sent[i] - least);
    }

    coco_metrics_add(COCO_M_BUS_PUBLISHED, COCO_LANE_BUS, least);

    return least;
}


const char *
coco_bus_error(const coco_bus_t *bus)
{
    return bus->error;
}


static size_t
coco_bus_skip(const coco_bus_slot_t *s, const coco_bus_event_t *events,
    size_t count)
{
    size_t  i;

    for (i = 0; i < count && i < s->ahead_count; i++) {
        if (s->ahead[i].raw != events[i].raw
            || memcmp(&s->ahead[i].id, &events[i].id, sizeof(coco_id_t)) != 0)
        {
            break;
        }
    }

    return i;
}


/* Without memory the events are sent once more, no worse. */
static void
coco_bus_keep(coco_bus_slot_t *s, const coco_bus_event_t *events, size_t count)
{
    free(s->ahead);
    s->ahead_count = 0;
    s->ahead = count ? malloc(count * sizeof(*s->ahead)) : NULL;

    if (s->ahead == NULL) {
        return;
    }

    for (size_t i = 0; i < count; i++) {
        s->ahead[i] = (coco_bus_ahead_t) { events[i].id, events[i].raw };
    }

    s->ahead_count = count;
}
