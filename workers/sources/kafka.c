/*
 * Events and raw telemetry from Kafka: each service's group into the bus
 * lane. A partition's offset is committed up to the first message whose
 * effects are not; must never be committed past that, on a rebalance either.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "services/service.h"
#include "sinks/bus_kafka.h"
#include "sources/bus_member.h"

#define COCO_KAFKA_IN_FLIGHT   10000   /* messages pushed, not committed */
#define COCO_KAFKA_TICK_MS     100     /* how soon a wait sees a stop */
#define COCO_KAFKA_RETRY_MS    10      /* the lane is full */
#define COCO_KAFKA_COMMIT_MS   200     /* between two commits */
#define COCO_KAFKA_CLOSE_MS    2000    /* what a stop leaves to the broker */
#define COCO_KAFKA_LAST_MS     1000    /* of that, to the last commit */
#define COCO_KAFKA_TOPIC       249     /* bytes of its name, at most */

typedef struct {
    coco_bus_member_t                *m;
    rd_kafka_t                       *rk;
    rd_kafka_topic_partition_list_t  *topics;    /* their place is their
                                                    number in the ledger */
    rd_kafka_topic_partition_list_t  *done;      /* offsets to be committed */
    rd_kafka_message_t               *pending;   /* the lane had no room */
    int64_t                           committed_at;   /* us */
    char                              error[512];
} coco_kafka_member_t;

static void *coco_kafka_thread(void *arg);
static unsigned coco_kafka_services(const coco_config_t *config);
static int coco_kafka_create(coco_kafka_member_t *k);
static int coco_kafka_subscribe(coco_kafka_member_t *k);
static bool coco_kafka_takes(coco_kafka_member_t *k,
    const coco_bus_name_t *name);
static void coco_kafka_close(coco_kafka_member_t *k);
static void coco_kafka_run(coco_kafka_member_t *k);
static bool coco_kafka_push(coco_kafka_member_t *k, rd_kafka_message_t *msg);
static coco_str_t coco_kafka_topic(const coco_message_t *m, const char *topic,
    char *buf, size_t size);
static void coco_kafka_cause(coco_cause_t *ret, const rd_kafka_message_t *msg);
static int coco_kafka_number(coco_kafka_member_t *k, const char *topic);
static void coco_kafka_commit(coco_kafka_member_t *k, bool last);
static rd_kafka_resp_err_t coco_kafka_commit_wait(coco_kafka_member_t *k);
static void coco_kafka_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *partitions, void *opaque);
static void coco_kafka_trouble(rd_kafka_t *rk, int code, const char *reason,
    void *opaque);


/* Events come by Kafka only where RabbitMQ does not bring them. */
static unsigned
coco_kafka_services(const coco_config_t *config)
{
    unsigned  services = 0;

    if ((config->bus_engines & COCO_BUS_KAFKA) == 0) {
        return 0;
    }

    if ((config->bus_engines & COCO_BUS_RABBITMQ) == 0) {
        services = coco_bus_members_taking(config);
    }

    if (config->kafka_feeds_fleet) {
        services |= config->service_bits & COCO_SERVICE_FLEET;
    }

    return services;
}


bool
coco_source_kafka_wanted(const coco_config_t *config)
{
    return coco_kafka_services(config) != 0;
}


coco_source_bus_t *
coco_source_kafka_start(const coco_source_bus_options_t *options)
{
    return coco_bus_members_start(options,
                                  coco_kafka_services(options->config),
                                  COCO_KAFKA_IN_FLIGHT, coco_kafka_thread);
}


static void *
coco_kafka_thread(void *arg)
{
    coco_kafka_member_t  k;

    memset(&k, 0, sizeof(k));
    k.m = arg;

    while (coco_kafka_create(&k) != COCO_OK) {
        coco_bus_member_turn(k.m);
        coco_log(COCO_LOG_ERROR, "kafka_unavailable", "service", "%s",
                 k.m->consumer->name, "error", "%s", k.error, NULL);

        if (coco_stop_wait(k.m->stop, 5000)) {
            return NULL;
        }
    }

    coco_kafka_run(&k);

    if (k.pending != NULL) {
        rd_kafka_message_destroy(k.pending);
    }

    coco_kafka_close(&k);
    rd_kafka_topic_partition_list_destroy(k.topics);
    rd_kafka_topic_partition_list_destroy(k.done);

    return NULL;
}


/* Leaves the group, and its rebalance commits what is done. A broker that is
 * away is given up: librdkafka would wait for it until two requests, one
 * after the other, have timed out. */
static void
coco_kafka_close(coco_kafka_member_t *k)
{
    int                flags = 0;
    int64_t            until;
    rd_kafka_queue_t  *queue;
    rd_kafka_error_t  *error;

    until = coco_clock_monotonic_us() + COCO_KAFKA_CLOSE_MS * 1000LL;
    queue = rd_kafka_queue_new(k->rk);
    error = rd_kafka_consumer_close_queue(k->rk, queue);

    while (error == NULL && !rd_kafka_consumer_closed(k->rk)) {
        if (coco_clock_monotonic_us() > until) {
            flags = RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE;
            break;
        }

        (void) rd_kafka_queue_poll_callback(queue, COCO_KAFKA_TICK_MS);
    }

    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }

    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy_flags(k->rk, flags);
}


/* A group for each service, as RabbitMQ has queues: one that moves to another
 * process takes its offsets along. */
static int
coco_kafka_create(coco_kafka_member_t *k)
{
    char                  group[300];
    rd_kafka_conf_t      *conf;
    const coco_config_t  *c = k->m->config;

    snprintf(group, sizeof(group), "%s%s%s", c->kafka_group,
             k->m->consumer->service == COCO_SERVICE_FLEET ? "" : ".",
             k->m->consumer->service == COCO_SERVICE_FLEET
             ? "" : k->m->consumer->name);

    const char  *settings[][2] = {
        { "group.id", group },
        { "enable.auto.commit", "false" },
        { "enable.auto.offset.store", "false" },
        { "auto.offset.reset", "earliest" },
        { "allow.auto.create.topics", "true" },
        { "fetch.wait.max.ms", "50" },
        /* what a member's death may take, and a stop without a broker, for
         * librdkafka waits for what is under way */
        { "session.timeout.ms", "10000" },
        { "socket.timeout.ms", "10000" },
    };

    conf = coco_kafka_conf(c, settings,
                           sizeof(settings) / sizeof(settings[0]), k->error,
                           sizeof(k->error));
    if (conf == NULL) {
        return COCO_ERROR;
    }

    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_rebalance_cb(conf, coco_kafka_rebalance);
    rd_kafka_conf_set_error_cb(conf, coco_kafka_trouble);

    k->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, k->error, sizeof(k->error));
    if (k->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return COCO_ERROR;
    }

    rd_kafka_poll_set_consumer(k->rk);

    return coco_kafka_subscribe(k);
}


static int
coco_kafka_subscribe(coco_kafka_member_t *k)
{
    rd_kafka_resp_err_t   err;
    const coco_config_t  *c = k->m->config;

    k->topics = rd_kafka_topic_partition_list_new(8);
    k->done = rd_kafka_topic_partition_list_new(8);

    for (size_t i = 0; i < coco_bus_names_count; i++) {
        if (coco_kafka_takes(k, &coco_bus_names[i])) {
            rd_kafka_topic_partition_list_add(k->topics,
                coco_bus_names[i].name, RD_KAFKA_PARTITION_UA);
        }
    }

    if (c->kafka_feeds_fleet
        && k->m->consumer->service == COCO_SERVICE_FLEET)
    {
        rd_kafka_topic_partition_list_add(k->topics, c->kafka_telemetry_topic,
                                          RD_KAFKA_PARTITION_UA);
    }

    err = rd_kafka_subscribe(k->rk, k->topics);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(k->error, sizeof(k->error), "subscribe: %s",
                 rd_kafka_err2str(err));
        rd_kafka_topic_partition_list_destroy(k->topics);
        rd_kafka_topic_partition_list_destroy(k->done);
        rd_kafka_destroy(k->rk);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static bool
coco_kafka_takes(coco_kafka_member_t *k, const coco_bus_name_t *name)
{
    return (k->m->config->bus_engines & COCO_BUS_RABBITMQ) == 0
           && coco_bus_takes(k->m->config, name, k->m->consumer->service);
}


/* While a message waits for room nothing is polled: librdkafka's queue is
 * bounded, and its own thread keeps the membership for max.poll.interval.ms.
 * After that the group goes on without us, and we join it again. */
static void
coco_kafka_run(coco_kafka_member_t *k)
{
    rd_kafka_message_t  *msg;

    while (!atomic_load(&k->m->closing->set)) {
        coco_bus_member_turn(k->m);
        coco_kafka_commit(k, false);

        if (atomic_load(&k->m->stop->set)) {
            coco_bus_member_wait(k->m, COCO_KAFKA_TICK_MS);
            continue;
        }

        if (k->pending != NULL) {
            msg = k->pending;
            k->pending = NULL;

            if (!coco_kafka_push(k, msg)) {
                coco_bus_member_wait(k->m, COCO_KAFKA_RETRY_MS);
            }
            continue;
        }

        msg = rd_kafka_consumer_poll(k->rk, COCO_KAFKA_TICK_MS);

        if (msg == NULL) {
            continue;
        }

        if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            coco_log(COCO_LOG_WARN, "kafka_error", "service", "%s",
                     k->m->consumer->name, "error", "%s",
                     rd_kafka_message_errstr(msg), NULL);
            rd_kafka_message_destroy(msg);
            continue;
        }

        (void) coco_kafka_push(k, msg);
    }
}


/* False: it waits for room. */
static bool
coco_kafka_push(coco_kafka_member_t *k, rd_kafka_message_t *msg)
{
    int64_t                ts;
    const char            *topic;
    char                   raw[COCO_KAFKA_TOPIC + COCO_SERIAL_MAX + 2];
    coco_message_t         m;
    coco_bus_entry_t       entry;
    rd_kafka_timestamp_type_t  type;

    topic = rd_kafka_topic_name(msg->rkt);
    entry = (coco_bus_entry_t) { .topic = coco_kafka_number(k, topic),
                                 .partition = msg->partition,
                                 .position = (uint64_t) msg->offset };

    memset(&m, 0, sizeof(m));
    m.kind = strcmp(topic, k->m->config->kafka_telemetry_topic) == 0
             ? COCO_KIND_TELEMETRY : COCO_KIND_EVENT;
    m.source = "kafka";
    m.payload = (coco_str_t) { msg->payload ? msg->payload : "", msg->len };

    if (msg->key != NULL) {
        m.serial = (coco_str_t) { msg->key, msg->key_len };
    }

    m.topic = coco_kafka_topic(&m, topic, raw, sizeof(raw));

    ts = rd_kafka_message_timestamp(msg, &type);
    m.received_at = m.kind == COCO_KIND_TELEMETRY && ts > 0 ? ts
                                                            : coco_clock_ms();
    if (m.kind == COCO_KIND_EVENT) {
        coco_kafka_cause(&m.cause, msg);
    }

    if (coco_bus_member_push(k->m, &m, &entry) != COCO_OK) {
        k->pending = msg;
        return false;
    }

    rd_kafka_message_destroy(msg);

    return true;
}


/* Raw telemetry need not name its robot: the key is kept behind the topic, or
 * its dead letter could never be replayed. */
static coco_str_t
coco_kafka_topic(const coco_message_t *m, const char *topic, char *buf,
    size_t size)
{
    int  n;

    if (m->kind != COCO_KIND_TELEMETRY || m->serial.data == NULL
        || !coco_serial_valid(m->serial))
    {
        return (coco_str_t) { topic, strlen(topic) };
    }

    n = snprintf(buf, size, "%s/%.*s", topic, (int) m->serial.len,
                 m->serial.data);

    return (coco_str_t) { buf, (size_t) n };
}


static void
coco_kafka_cause(coco_cause_t *ret, const rd_kafka_message_t *msg)
{
    char                 text[24];
    size_t               len;
    const void          *value;
    rd_kafka_headers_t  *headers;

    if (rd_kafka_message_headers(msg, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR
        || rd_kafka_header_get_last(headers, COCO_BUS_CAUSE_TS, &value, &len)
           != RD_KAFKA_RESP_ERR_NO_ERROR
        || value == NULL || len >= sizeof(text))
    {
        return;
    }

    memcpy(text, value, len);
    text[len] = '\0';
    errno = 0;
    ret->ts = strtoll(text, NULL, 10);

    ret->known = errno == 0 && len > 0
                 && rd_kafka_header_get_last(headers, COCO_BUS_CAUSE_ID,
                                             &value, &len)
                    == RD_KAFKA_RESP_ERR_NO_ERROR
                 && value != NULL
                 && coco_id_parse(&ret->id, (coco_str_t) { value, len })
                    == COCO_OK;
}


static int
coco_kafka_number(coco_kafka_member_t *k, const char *topic)
{
    int  i;

    for (i = 0; i < k->topics->cnt - 1; i++) {
        if (strcmp(k->topics->elems[i].topic, topic) == 0) {
            break;
        }
    }

    return i;
}


/* Of each partition the offset behind the last message that is done without a
 * gap. */
static void
coco_kafka_commit(coco_kafka_member_t *k, bool last)
{
    int64_t                          now;
    const char                      *topic;
    coco_bus_entry_t                 e;
    rd_kafka_resp_err_t              err;
    rd_kafka_topic_partition_t      *p;

    while (coco_bus_ledger_release(&k->m->ledger, &e)) {
        topic = k->topics->elems[e.topic].topic;
        p = rd_kafka_topic_partition_list_find(k->done, topic, e.partition);

        if (p == NULL) {
            p = rd_kafka_topic_partition_list_add(k->done, topic,
                                                  e.partition);
        }

        p->offset = (int64_t) e.position + 1;
    }

    now = coco_clock_monotonic_us();

    if (k->done->cnt == 0
        || (!last && now - k->committed_at < COCO_KAFKA_COMMIT_MS * 1000LL))
    {
        return;
    }

    k->committed_at = now;
    err = last ? coco_kafka_commit_wait(k)
               : rd_kafka_commit(k->rk, k->done, 1);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* the messages come again, and have no second effect */
        coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
        coco_log(COCO_LOG_WARN, "kafka_commit_failed", "service", "%s",
                 k->m->consumer->name, "error", "%s", rd_kafka_err2str(err),
                 NULL);
    }

    rd_kafka_topic_partition_list_destroy(k->done);
    k->done = rd_kafka_topic_partition_list_new(8);
}


/* Not by rd_kafka_commit(), which waits for as long as a broker is away. */
static rd_kafka_resp_err_t
coco_kafka_commit_wait(coco_kafka_member_t *k)
{
    rd_kafka_event_t     *event = NULL;
    rd_kafka_queue_t     *queue;
    rd_kafka_resp_err_t   err;

    queue = rd_kafka_queue_new(k->rk);
    err = rd_kafka_commit_queue(k->rk, k->done, queue, NULL, NULL);

    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        event = rd_kafka_queue_poll(queue, COCO_KAFKA_LAST_MS);
        err = event ? rd_kafka_event_error(event)
                    : RD_KAFKA_RESP_ERR__TIMED_OUT;
    }

    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }

    rd_kafka_queue_destroy(queue);

    return err;
}


/* Within rd_kafka_consumer_poll() and coco_kafka_close(), on the member's
 * thread. */
static void
coco_kafka_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
    rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    bool                  assigned;
    coco_kafka_member_t  *k = opaque;

    assigned = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;

    if (assigned) {
        rd_kafka_assign(rk, partitions);

    } else {
        coco_kafka_commit(k, true);
        coco_bus_ledger_reset(&k->m->ledger);
        rd_kafka_assign(rk, NULL);
    }

    if (atomic_exchange(&k->m->connected, assigned) != assigned) {
        coco_metrics_shift(COCO_G_BUS_CONNECTED, COCO_LANE_BUS,
                           assigned ? 1 : -1);
    }

    coco_log(COCO_LOG_INFO, assigned ? "kafka_assigned" : "kafka_revoked",
             "service", "%s", k->m->consumer->name, "partitions", "%d",
             partitions->cnt, NULL);
}


static void
coco_kafka_trouble(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    coco_kafka_member_t  *k = opaque;

    coco_metrics_add(COCO_M_BUS_ERRORS, COCO_LANE_BUS, 1);
    coco_log(COCO_LOG_WARN, "kafka_error", "service", "%s",
             k->m->consumer->name, "error", "%s: %s",
             rd_kafka_err2str((rd_kafka_resp_err_t) code), reason, NULL);
}
