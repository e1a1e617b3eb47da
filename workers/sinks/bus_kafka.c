/*
 * The Kafka engine: an idempotent producer, events to the topic of their
 * name, raw telemetry to its own, all keyed by serial. Must never leave a
 * message queued once a send has returned: strings are the caller's. Nor let
 * one that Kafka can never take hold up the others.
 */

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "sinks/bus_engine.h"
#include "sinks/bus_kafka.h"
#include "sinks/bus_topology.h"

#define COCO_KAFKA_TICK_MS  100     /* how soon a wait sees a stop */

typedef struct {
    const coco_config_t  *config;
    coco_stop_t          *stop;
    rd_kafka_t           *rk;       /* NULL: to be made by the next send */
    bool                  up;       /* it has confirmed something */
    bool                  alone;    /* the next send is of one message at a
                                       time: Kafka refuses whole batches, for
                                       the fault of one */
    char                  error[512];

    /* of the send under way */
    uint8_t              *done;     /* a byte for each event */
    size_t                window;
    size_t                low;      /* events confirmed without a gap */
    size_t                waiting;  /* produced, neither confirmed nor failed */
    size_t                answered;
    bool                  failed;
} coco_kafka_t;

static void *coco_kafka_create(const coco_bus_options_t *options,
    coco_stop_t *stop);
static void coco_kafka_destroy(void *engine);
static size_t coco_kafka_send(void *engine, const coco_bus_event_t *events,
    size_t count);
static const char *coco_kafka_error(const void *engine);
static int coco_kafka_open(coco_kafka_t *e);
static void coco_kafka_close(coco_kafka_t *e);
static void coco_kafka_run(coco_kafka_t *e, const coco_bus_event_t *events,
    size_t count);
static bool coco_kafka_produce(coco_kafka_t *e, const coco_bus_event_t *event,
    size_t index);
static void coco_kafka_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m,
    void *opaque);
static bool coco_kafka_never(rd_kafka_resp_err_t code);
static void coco_kafka_give_up(coco_kafka_t *e, size_t index,
    const char *topic, size_t bytes, rd_kafka_resp_err_t code);
static void coco_kafka_trouble(rd_kafka_t *rk, int code, const char *reason,
    void *opaque);
static void coco_kafka_log(const rd_kafka_t *rk, int level,
    const char *facility, const char *text);
static int coco_kafka_properties(rd_kafka_conf_t *conf, const char *list,
    char *error, size_t error_size);


const coco_bus_engine_t  coco_bus_kafka = {
    "kafka", coco_kafka_create, coco_kafka_destroy, NULL, coco_kafka_send,
    coco_kafka_error,
};


static void *
coco_kafka_create(const coco_bus_options_t *options, coco_stop_t *stop)
{
    coco_kafka_t  *e;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    e->config = options->config;
    e->stop = stop;

    return e;
}


static void
coco_kafka_destroy(void *engine)
{
    coco_kafka_t  *e = engine;

    coco_kafka_close(e);
    free(e);
}


static const char *
coco_kafka_error(const void *engine)
{
    return ((const coco_kafka_t *) engine)->error;
}


/* After anything but success the producer is made anew: what it still holds
 * would otherwise go out later, behind its own repeat. */
static size_t
coco_kafka_send(void *engine, const coco_bus_event_t *events, size_t count)
{
    coco_kafka_t  *e = engine;

    e->low = 0;
    e->waiting = 0;
    e->answered = 0;
    e->failed = false;

    if (count == 0 || coco_kafka_open(e) != COCO_OK) {
        return 0;
    }

    e->done = calloc(count, 1);
    if (e->done == NULL) {
        snprintf(e->error, sizeof(e->error), "out of memory");
        return 0;
    }

    coco_kafka_run(e, events, count);

    if (e->low < count) {
        coco_kafka_close(e);
    }

    while (e->low < count && e->done[e->low]) {
        e->low++;
    }

    free(e->done);
    e->done = NULL;
    e->alone = e->alone && e->low < count;

    return e->low;
}


static void
coco_kafka_run(coco_kafka_t *e, const coco_bus_event_t *events, size_t count)
{
    size_t   i = 0, answered = 0;
    int64_t  until = 0, now;

    e->window = e->alone ? 1 : (size_t) e->config->bus_window;

    while (!e->failed && e->low < count) {
        now = coco_clock_monotonic_us();

        if (i == 0 || e->answered != answered) {
            answered = e->answered;
            until = now + (int64_t) e->config->bus_timeout * 1000;

        } else if (now > until) {
            if (e->error[0] == '\0') {
                snprintf(e->error, sizeof(e->error),
                         "no confirm within bus.timeout");
            }
            return;
        }

        if (atomic_load(&e->stop->set)) {
            snprintf(e->error, sizeof(e->error), "the worker stops");
            return;
        }

        while (i < count && e->waiting < e->window
               && coco_kafka_produce(e, &events[i], i))
        {
            i++;
        }

        (void) rd_kafka_poll(e->rk, COCO_KAFKA_TICK_MS);

        while (e->low < count && e->done[e->low]) {
            e->low++;
        }
    }
}


/* False: its queue is full (the next poll makes room), or the send failed. */
static bool
coco_kafka_produce(coco_kafka_t *e, const coco_bus_event_t *event,
    size_t index)
{
    size_t               n = 0;
    char                 topic[256], ts[24], id[COCO_ID_TEXT_LEN];
    rd_kafka_vu_t        v[9];
    rd_kafka_error_t    *error;
    rd_kafka_resp_err_t  code;

    snprintf(topic, sizeof(topic), "%.*s", (int) event->name.len,
             event->name.data ? event->name.data : "");

    v[n++] = (rd_kafka_vu_t) {
        .vtype = RD_KAFKA_VTYPE_TOPIC,
        .u.cstr = event->raw ? e->config->kafka_telemetry_topic : topic };
    v[n++] = (rd_kafka_vu_t) {
        .vtype = RD_KAFKA_VTYPE_KEY,
        .u.mem = { (void *) event->serial.data, event->serial.len } };
    v[n++] = (rd_kafka_vu_t) {
        .vtype = RD_KAFKA_VTYPE_VALUE,
        .u.mem = { (void *) event->payload.data, event->payload.len } };
    v[n++] = (rd_kafka_vu_t) {
        .vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = event->ts };
    v[n++] = (rd_kafka_vu_t) {
        .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *) index };

    if (!event->raw && event->cause.known) {
        snprintf(ts, sizeof(ts), "%lld", (long long) event->cause.ts);
        coco_id_format(id, &event->cause.id);
        v[n++] = (rd_kafka_vu_t) {
            .vtype = RD_KAFKA_VTYPE_HEADER,
            .u.header = { COCO_BUS_CAUSE_TS, ts, (ssize_t) strlen(ts) } };
        v[n++] = (rd_kafka_vu_t) {
            .vtype = RD_KAFKA_VTYPE_HEADER,
            .u.header = { COCO_BUS_CAUSE_ID, id, sizeof(id) } };
    }

    error = rd_kafka_produceva(e->rk, v, n);

    if (error == NULL) {
        e->waiting++;
        return true;
    }

    code = rd_kafka_error_code(error);

    if (coco_kafka_never(code)) {
        coco_kafka_give_up(e, index, v[0].u.cstr, event->payload.len, code);

    } else if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        snprintf(e->error, sizeof(e->error), "topic %s: %s", v[0].u.cstr,
                 rd_kafka_error_string(error));
        e->failed = true;
    }

    rd_kafka_error_destroy(error);

    return e->done[index];
}


static void
coco_kafka_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    coco_kafka_t  *e = opaque;

    e->waiting--;
    e->answered++;

    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        e->done[(size_t) m->_private] = 1;

        if (!e->up) {
            e->up = true;
            e->error[0] = '\0';
            coco_metrics_shift(COCO_G_BUS_CONNECTED, COCO_LANE_BUS, 1);
        }

    } else if (e->window == 1 && coco_kafka_never(m->err)) {
        coco_kafka_give_up(e, (size_t) m->_private,
                           rd_kafka_topic_name(m->rkt), m->len, m->err);

    } else if (m->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE
               && m->err != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
    {
        snprintf(e->error, sizeof(e->error), "topic %s: %s",
                 rd_kafka_topic_name(m->rkt), rd_kafka_err2str(m->err));
        e->failed = true;
        e->alone |= coco_kafka_never(m->err);
    }
}


/* However often it is tried. */
static bool
coco_kafka_never(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
           || code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
           || code == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}


/* It counts as sent, or all that is behind it would wait for ever. */
static void
coco_kafka_give_up(coco_kafka_t *e, size_t index, const char *topic,
    size_t bytes, rd_kafka_resp_err_t code)
{
    e->done[index] = 1;
    coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
    coco_log(COCO_LOG_ERROR, "kafka_refused", "topic", "%s", topic, "bytes",
             "%zu", bytes, "error", "%s", rd_kafka_err2str(code), "remedy",
             "%s", "it is left out; for the next ones, raise "
             "message.max.bytes (kafka.properties) and the topic's "
             "max.message.bytes, or see its rules for timestamps and records",
             NULL);
}


static int
coco_kafka_open(coco_kafka_t *e)
{
    char              window[24];
    rd_kafka_conf_t  *conf;

    if (e->rk != NULL) {
        return COCO_OK;
    }

    e->error[0] = '\0';
    snprintf(window, sizeof(window), "%llu",
             (unsigned long long) e->config->bus_window);

    /* A send gives up by itself: a message that librdkafka gave up alone
     * would let later ones of the robot pass. */
    const char  *settings[][2] = {
        { "enable.idempotence", "true" },
        { "message.timeout.ms", "0" },
        { "linger.ms", "2" },
        { "partitioner", "murmur2_random" },
        { "queue.buffering.max.messages", window },
    };

    conf = coco_kafka_conf(e->config, settings,
                           sizeof(settings) / sizeof(settings[0]), e->error,
                           sizeof(e->error));
    if (conf == NULL) {
        return COCO_ERROR;
    }

    rd_kafka_conf_set_opaque(conf, e);
    rd_kafka_conf_set_dr_msg_cb(conf, coco_kafka_delivered);
    rd_kafka_conf_set_error_cb(conf, coco_kafka_trouble);

    e->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, e->error, sizeof(e->error));
    if (e->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static void
coco_kafka_close(coco_kafka_t *e)
{
    if (e->rk == NULL) {
        return;
    }

    rd_kafka_purge(e->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void) rd_kafka_poll(e->rk, 0);
    rd_kafka_destroy(e->rk);
    e->rk = NULL;

    if (e->up) {
        e->up = false;
        coco_metrics_shift(COCO_G_BUS_CONNECTED, COCO_LANE_BUS, -1);
    }
}


static void
coco_kafka_trouble(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    coco_kafka_t  *e = opaque;

    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && e->error[0] != '\0') {
        return;                      /* the one before says which, and why */
    }

    snprintf(e->error, sizeof(e->error), "%s: %s",
             rd_kafka_err2str((rd_kafka_resp_err_t) code), reason);

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        e->failed = true;
    }
}


static void
coco_kafka_log(const rd_kafka_t *rk, int level, const char *facility,
    const char *text)
{
    coco_log(level <= 3 ? COCO_LOG_WARN : COCO_LOG_DEBUG, "kafka", "facility",
             "%s", facility, "message", "%s", text, NULL);
}


rd_kafka_conf_t *
coco_kafka_conf(const coco_config_t *config, const char *settings[][2],
    size_t count, char *error, size_t error_size)
{
    rd_kafka_conf_t  *conf;

    conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, coco_kafka_log);

    if (rd_kafka_conf_set(conf, "bootstrap.servers", config->kafka_brokers,
                          error, error_size) != RD_KAFKA_CONF_OK
        || rd_kafka_conf_set(conf, "client.id", "coco-worker", error,
                             error_size) != RD_KAFKA_CONF_OK)
    {
        goto failed;
    }

    for (size_t i = 0; i < count; i++) {
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error,
                              error_size) != RD_KAFKA_CONF_OK)
        {
            goto failed;
        }
    }

    if (config->kafka_properties != NULL
        && coco_kafka_properties(conf, config->kafka_properties, error,
                                 error_size) != COCO_OK)
    {
        goto failed;
    }

    return conf;

failed:

    rd_kafka_conf_destroy(conf);

    return NULL;
}


/* The operator's come last, so that they override ours. */
static int
coco_kafka_properties(rd_kafka_conf_t *conf, const char *list, char *error,
    size_t error_size)
{
    int    rc = COCO_OK;
    char  *copy, *name, *value, *save = NULL;

    copy = strdup(list);
    if (copy == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    for (name = strtok_r(copy, ",", &save); name != NULL && rc == COCO_OK;
         name = strtok_r(NULL, ",", &save))
    {
        value = strchr(name, '=');

        if (value == NULL) {
            snprintf(error, error_size, "kafka.properties: \"%s\" is no "
                     "name=value", name);
            rc = COCO_ERROR;
            break;
        }

        *value++ = '\0';

        if (rd_kafka_conf_set(conf, name, value, error, error_size)
            != RD_KAFKA_CONF_OK)
        {
            rc = COCO_ERROR;
        }
    }

    free(copy);

    return rc;
}
