/*
 * Starts and stops the parts of the worker in an order in which none calls
 * what is not there. Takes no decision about messages.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/service.h"
#include "sources/topic.h"
#include "worker_parts.h"

/* The services that have rows in robot_task. */
#define COCO_WORKER_TASKS  (COCO_SERVICE_STATE | COCO_SERVICE_DELIVERIES)


static int coco_worker_sources_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_lanes_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_lane_start(coco_worker_t *w, coco_lane_id_e lane);
static bool coco_worker_lane_wanted(const coco_config_t *config,
    coco_lane_id_e lane);
static bool coco_worker_lane_publishes(const coco_config_t *config,
    coco_lane_id_e lane);
static int coco_worker_sessions_open(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_queues_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_inboxes_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_robots_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_partners_start(coco_worker_t *w, char *error,
    size_t error_size);
static int coco_worker_bus_start(coco_worker_t *w);
static int coco_worker_pulse_start(coco_worker_t *w);
static int coco_worker_janitor_start(coco_worker_t *w);
static int coco_worker_http_start(coco_worker_t *w);
static int coco_worker_loop(void *data, const coco_message_t *message);
static int coco_worker_replay(void *data, const coco_message_t *message);
static void coco_worker_sources_stop(coco_worker_t *w);
static void coco_worker_sources_close(coco_worker_t *w);


const char  *coco_worker_lanes[COCO_LANES] = {
    [COCO_LANE_TELEMETRY] = "telemetry",
    [COCO_LANE_EVENTS] = "events",
    [COCO_LANE_WEBHOOKS] = "webhooks",
    [COCO_LANE_BUS] = "bus",
};


int
coco_worker_start(coco_worker_t **ret, const coco_config_t *config,
    char *error, size_t error_size)
{
    coco_worker_t  *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    w->config = config;
    w->bus.config = config;
    w->bus.loop = coco_worker_loop;
    w->bus.loop_data = w;
    coco_pulse_name(w->name, (unsigned) config->http_port);

    if (coco_worker_lanes_start(w, error, error_size) != COCO_OK
        || coco_worker_sessions_open(w, error, error_size) != COCO_OK)
    {
        goto failed;
    }

    if (coco_worker_pulse_start(w) != COCO_OK) {
        snprintf(error, error_size, "no thread or memory for the pulse");
        goto failed;
    }

    if (coco_worker_janitor_start(w) != COCO_OK) {
        snprintf(error, error_size, "the janitor could not be started");
        goto failed;
    }

    if (coco_worker_http_start(w) != COCO_OK) {
        snprintf(error, error_size, "cannot listen on %s port %d: %s; choose "
                 "another http.address or http.port", config->http_address,
                 (int) config->http_port, strerror(errno));
        goto failed;
    }

    if (coco_worker_sources_start(w, error, error_size) != COCO_OK) {
        goto failed;
    }

    atomic_store(&w->ready, true);
    *ret = w;

    return COCO_OK;

failed:

    coco_worker_stop(w);

    return COCO_ERROR;
}


/* What brings messages, and what sends of its own accord. */
static int
coco_worker_sources_start(coco_worker_t *w, char *error, size_t error_size)
{
    int  i;

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->mqtt[i] != NULL
            && coco_source_mqtt_start(w->mqtt[i]) != COCO_OK)
        {
            snprintf(error, error_size, "no thread for the session of %s",
                     coco_worker_lanes[i]);
            return COCO_ERROR;
        }
    }

    if (coco_worker_queues_start(w, error, error_size) != COCO_OK
        || coco_worker_inboxes_start(w, error, error_size) != COCO_OK
        || coco_worker_robots_start(w, error, error_size) != COCO_OK
        || coco_worker_partners_start(w, error, error_size) != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (coco_worker_bus_start(w) != COCO_OK) {
        snprintf(error, error_size, "no thread or memory for the bus");
        return COCO_ERROR;
    }

    if ((w->config->service_bits & COCO_SERVICE_MDS) != 0) {
        w->emitter = coco_emitter_start(w->config);

        if (w->emitter == NULL) {
            snprintf(error, error_size, "no thread or memory for MDS");
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* The bus lane first: the loop engine of the others pushes into it. */
static int
coco_worker_lanes_start(coco_worker_t *w, char *error, size_t error_size)
{
    int             i;
    coco_lane_id_e  lane;

    for (i = COCO_LANES - 1; i >= 0; i--) {
        lane = (coco_lane_id_e) i;

        if (coco_worker_lane_wanted(w->config, lane)
            && coco_worker_lane_start(w, lane) != COCO_OK)
        {
            snprintf(error, error_size, "the lane %s could not be started; "
                     "lower its shards, batch_messages or batch_bytes",
                     coco_worker_lanes[lane]);
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static bool
coco_worker_lane_wanted(const coco_config_t *config, coco_lane_id_e lane)
{
    switch (lane) {
    case COCO_LANE_EVENTS:
        return (config->service_bits & COCO_WORKER_TASKS) != 0;
    case COCO_LANE_WEBHOOKS:
        return (config->service_bits & (COCO_SERVICE_STATE
                                        | COCO_SERVICE_INTEGRATIONS)) != 0;
    case COCO_LANE_BUS:
        return config->bus_scramble || coco_source_rabbitmq_wanted(config)
               || coco_source_kafka_wanted(config);
    default:
        return (config->service_bits & COCO_SERVICE_STATE) != 0;
    }
}


const coco_config_lane_t *
coco_worker_lane_config(const coco_config_t *config, coco_lane_id_e lane)
{
    switch (lane) {
    case COCO_LANE_TELEMETRY:
        return &config->telemetry;
    case COCO_LANE_EVENTS:
        return &config->events;
    case COCO_LANE_WEBHOOKS:
        return &config->webhooks;
    default:
        return &config->bus;
    }
}


static int
coco_worker_lane_start(coco_worker_t *w, coco_lane_id_e lane)
{
    coco_lane_options_t        options = { 0 };
    const coco_config_t       *c;
    const coco_config_lane_t  *l;

    c = w->config;
    l = coco_worker_lane_config(c, lane);

    options.name = coco_worker_lanes[lane];
    options.metrics_lane = (int) lane;
    options.shards = (unsigned) l->shards;
    options.batch_messages = (unsigned) l->batch_messages;
    options.batch_bytes = (size_t) l->batch_bytes;
    options.linger_ms = (unsigned) l->linger;
    options.postgres = c->postgres_conninfo;
    options.redis_host = c->redis_host;
    options.redis_port = (int) c->redis_port;
    options.redis_password = c->redis_password;
    options.redis_db = (int) c->redis_db;
    options.heartbeat_ttl_ms = (unsigned) c->heartbeat_ttl;
    options.retention_days = (unsigned) c->retention_days;
    options.receives_max = lane == COCO_LANE_BUS
                           ? 0 : (unsigned) c->sqs_receives_max;
    options.services = c->service_bits;
    options.direct = !c->bus_scramble;
    options.lid_window_ms = (unsigned) c->lid_window;
    options.lid_cycle_ms = (unsigned) c->lid_cycle_timeout;
    options.lid_pin_age_ms = (unsigned) c->lid_pin_age;
    options.lid_timeout_ms = (unsigned) c->lid_command_timeout;
    options.online_ms = (unsigned) c->dispatch_online_seconds * 1000;
    options.feed_name = (coco_str_t) { w->name, strlen(w->name) };
    options.fleet_from_kafka = c->kafka_feeds_fleet;

    if (coco_worker_lane_publishes(c, lane)) {
        options.bus = &w->bus;
    }

    w->lanes[lane] = coco_lane_create(&options);

    return w->lanes[lane] ? coco_lane_start(w->lanes[lane]) : COCO_ERROR;
}


/* Heartbeats alone go to the bus without an outbox, and what those that come
 * by the bus change of the supply. */
static bool
coco_worker_lane_publishes(const coco_config_t *config, coco_lane_id_e lane)
{
    switch (lane) {
    case COCO_LANE_TELEMETRY:
        return coco_bus_carries_events(config) || coco_bus_carries_raw(config);
    case COCO_LANE_BUS:
        return (config->service_bits & COCO_SERVICE_DISPATCH) != 0
               && coco_bus_carries_events(config);
    default:
        return false;
    }
}


static int
coco_worker_sessions_open(coco_worker_t *w, char *error, size_t error_size)
{
    int                         i;
    coco_source_mqtt_options_t  options;

    if ((w->config->service_bits & COCO_SERVICE_STATE) == 0) {
        return COCO_OK;
    }

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        options.config = w->config;
        options.name = coco_worker_lanes[i];
        options.metrics_lane = (coco_lane_id_e) i;
        options.lane = w->lanes[i];

        if (i == COCO_LANE_TELEMETRY) {
            options.filter = w->config->mqtt_telemetry_filter;
            options.kind = COCO_KIND_HEARTBEAT;

        } else {
            options.filter = w->config->mqtt_events_filter;
            options.kind = COCO_KIND_ROBOT_EVENT;
        }

        if (coco_source_mqtt_open(&w->mqtt[i], &options, error, error_size)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_worker_queues_start(coco_worker_t *w, char *error, size_t error_size)
{
    int                        i;
    coco_source_sqs_options_t  queue;

    if ((w->config->service_bits & COCO_SERVICE_STATE) == 0) {
        return COCO_OK;
    }

    queue.config = w->config;
    queue.heartbeats = w->lanes[COCO_LANE_TELEMETRY];
    queue.events = w->lanes[COCO_LANE_EVENTS];
    queue.webhooks = w->lanes[COCO_LANE_WEBHOOKS];

    for (i = 0; i < COCO_SQS_QUEUES; i++) {
        if (w->config->sqs_queue_url[i] == NULL) {
            continue;
        }

        if (w->credentials == NULL
            && coco_aws_credentials_start(&w->credentials,
                                          w->config->sqs_region, error,
                                          error_size) != COCO_OK)
        {
            return COCO_ERROR;
        }

        queue.queue = (coco_sqs_queue_e) i;
        queue.credentials = w->credentials;

        if (coco_source_sqs_start(&w->sqs[i], &queue, error, error_size)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_worker_inboxes_start(coco_worker_t *w, char *error, size_t error_size)
{
    int                          i;
    coco_source_inbox_options_t  options;

    static const unsigned  services[COCO_INBOXES] = {
        [COCO_INBOX_DRIVEU] = COCO_SERVICE_STATE,
        [COCO_INBOX_PARTNERS] = COCO_SERVICE_INTEGRATIONS,
    };

    options.config = w->config;
    options.lane = w->lanes[COCO_LANE_WEBHOOKS];

    for (i = 0; i < COCO_INBOXES; i++) {
        if ((w->config->service_bits & services[i]) == 0) {
            continue;
        }

        options.inbox = (coco_inbox_e) i;
        w->inbox[i] = coco_source_inbox_start(&options);

        if (w->inbox[i] == NULL) {
            snprintf(error, error_size, "no thread or memory for the inbox");
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* What is due for robots, and what leaves for them. */
static int
coco_worker_robots_start(coco_worker_t *w, char *error, size_t error_size)
{
    coco_source_tasks_options_t  tasks;

    if (w->lanes[COCO_LANE_EVENTS] != NULL) {
        tasks.config = w->config;
        tasks.lane = w->lanes[COCO_LANE_EVENTS];
        w->tasks = coco_source_tasks_start(&tasks);

        if (w->tasks == NULL) {
            snprintf(error, error_size, "no thread or memory for the tasks");
            return COCO_ERROR;
        }
    }

    if ((w->config->service_bits & COCO_SERVICE_STATE) != 0) {
        w->commands = coco_commands_start(w->config);

        if (w->commands == NULL) {
            snprintf(error, error_size, "no thread or memory for the "
                     "commands");
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_worker_partners_start(coco_worker_t *w, char *error, size_t error_size)
{
    if ((w->config->service_bits & COCO_SERVICE_INTEGRATIONS) == 0) {
        return COCO_OK;
    }

    return coco_partners_start(&w->partners, w->config, error, error_size);
}


static int
coco_worker_bus_start(coco_worker_t *w)
{
    const coco_config_t        *c;
    coco_source_bus_options_t   source;

    c = w->config;
    source.config = c;
    source.lane = w->lanes[COCO_LANE_BUS];

    if (coco_source_rabbitmq_wanted(c)) {
        w->rabbitmq = coco_source_rabbitmq_start(&source);
        if (w->rabbitmq == NULL) {
            return COCO_ERROR;
        }
    }

    if (coco_source_kafka_wanted(c)) {
        w->kafka = coco_source_kafka_start(&source);
        if (w->kafka == NULL) {
            return COCO_ERROR;
        }
    }

    /* who runs none of the services that the bus connects declares no queue,
     * and would publish what nobody takes yet */
    if (coco_bus_carries_events(c)
        && (c->service_bits & COCO_SERVICES_BUS) != 0)
    {
        w->relay = coco_relay_start(c, &w->bus);
        if (w->relay == NULL) {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_worker_pulse_start(coco_worker_t *w)
{
    coco_pulse_options_t  options;

    options.redis_host = w->config->redis_host;
    options.redis_port = (int) w->config->redis_port;
    options.redis_password = w->config->redis_password;
    options.redis_db = (int) w->config->redis_db;
    options.name = (coco_str_t) { w->name, strlen(w->name) };

    w->pulse = coco_pulse_start(&options);

    return w->pulse ? COCO_OK : COCO_ERROR;
}


static int
coco_worker_janitor_start(coco_worker_t *w)
{
    coco_janitor_options_t  options;

    options.postgres = w->config->postgres_conninfo;
    options.retention_days = (unsigned) w->config->retention_days;
    options.outbox_hours = (unsigned) w->config->janitor_outbox_hours;
    options.outbox_relayed = coco_bus_carries_events(w->config);
    options.dead_letter_days
        = (unsigned) w->config->janitor_dead_letter_days;
    options.dead_letter_max = (unsigned) w->config->janitor_dead_letter_max;
    options.webhook_days = (unsigned) w->config->janitor_webhook_days;
    options.idempotency_hours
        = (unsigned) w->config->janitor_idempotency_hours;
    options.command_days = (unsigned) w->config->janitor_command_days;
    options.anomaly_days = (unsigned) w->config->janitor_anomaly_days;
    options.push_days = (unsigned) w->config->janitor_push_days;
    options.online_ms = (unsigned) w->config->dispatch_online_seconds * 1000;
    options.services = w->config->service_bits;
    options.bus = w->lanes[COCO_LANE_BUS] != NULL;
    options.telemetry_topic = w->config->kafka_telemetry_topic;
    options.replay = coco_worker_replay;
    options.data = w;

    w->janitor = coco_janitor_create(&options);

    return w->janitor ? coco_janitor_start(w->janitor) : COCO_ERROR;
}


static int
coco_worker_http_start(coco_worker_t *w)
{
    coco_http_handlers_t  handlers;

    handlers.health = coco_worker_health;
    handlers.metrics = coco_worker_metrics;
    handlers.data = w;

    w->http = coco_http_start(w->config->http_address,
                              (uint16_t) w->config->http_port, &handlers);

    return w->http ? COCO_OK : COCO_ERROR;
}


/* In the threads of publishers: lanes and the relay. */
static int
coco_worker_loop(void *data, const coco_message_t *message)
{
    coco_worker_t  *w;

    w = data;

    return coco_lane_push(w->lanes[COCO_LANE_BUS], message);
}


/* In the janitor's thread. The filters know more than an MQTT topic alone;
 * what neither matches may be of an older configuration. */
static int
coco_worker_replay(void *data, const coco_message_t *message)
{
    coco_worker_t   *w;
    coco_str_t       heartbeat, event;
    coco_message_t   m;

    w = data;
    m = *message;

    switch (m.kind) {
    case COCO_KIND_EVENT:
    case COCO_KIND_TELEMETRY:
        return coco_lane_push(w->lanes[COCO_LANE_BUS], &m);
    case COCO_KIND_CONNECTIVITY:
    case COCO_KIND_ORDER:
        return coco_lane_push(w->lanes[COCO_LANE_WEBHOOKS], &m);
    case COCO_KIND_TASK:
        return coco_lane_push(w->lanes[COCO_LANE_EVENTS], &m);
    default:
        break;
    }

    heartbeat = coco_topic_serial(w->config->mqtt_telemetry_filter, m.topic);
    event = coco_topic_serial(w->config->mqtt_events_filter, m.topic);

    if (heartbeat.len > 0) {
        m.kind = COCO_KIND_HEARTBEAT;
        m.serial = heartbeat;

    } else if (event.len > 0) {
        m.kind = COCO_KIND_ROBOT_EVENT;
        m.serial = event;
    }

    return coco_lane_push(w->lanes[m.kind == COCO_KIND_HEARTBEAT
                                   ? COCO_LANE_TELEMETRY
                                   : COCO_LANE_EVENTS], &m);
}


void
coco_worker_stop(coco_worker_t *w)
{
    int  i;

    if (w->http != NULL) {
        coco_http_stop(w->http);
    }

    coco_worker_sources_stop(w);

    /* Before the janitor, the relay and the sources, which may wait for room
     * in them; the bus lane first, for the others' loop engine may wait for
     * room in that one. */
    for (i = COCO_LANES - 1; i >= 0; i--) {
        if (w->lanes[i] != NULL) {
            coco_lane_stop(w->lanes[i]);
        }
    }

    if (w->pulse != NULL) {
        coco_pulse_stop(w->pulse);
    }

    if (w->commands != NULL) {
        coco_commands_stop(w->commands);
    }

    if (w->partners != NULL) {
        coco_partners_stop(w->partners);
    }

    if (w->relay != NULL) {
        coco_relay_stop(w->relay);
    }

    if (w->emitter != NULL) {
        coco_emitter_stop(w->emitter);
    }

    if (w->janitor != NULL) {
        coco_janitor_stop(w->janitor);
        coco_janitor_destroy(w->janitor);
    }

    coco_worker_sources_close(w);

    for (i = 0; i < COCO_LANES; i++) {
        coco_lane_destroy(w->lanes[i]);
    }

    free(w);
}


static void
coco_worker_sources_stop(coco_worker_t *w)
{
    int  i;

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->mqtt[i] != NULL) {
            coco_source_mqtt_stop(w->mqtt[i]);
        }
    }

    for (i = 0; i < COCO_SQS_QUEUES; i++) {
        if (w->sqs[i] != NULL) {
            coco_source_sqs_stop(w->sqs[i]);
        }
    }

    for (i = 0; i < COCO_INBOXES; i++) {
        if (w->inbox[i] != NULL) {
            coco_source_inbox_stop(w->inbox[i]);
        }
    }

    if (w->tasks != NULL) {
        coco_source_tasks_stop(w->tasks);
    }

    if (w->rabbitmq != NULL) {
        coco_source_bus_stop(w->rabbitmq);
    }

    if (w->kafka != NULL) {
        coco_source_bus_stop(w->kafka);
    }
}


static void
coco_worker_sources_close(coco_worker_t *w)
{
    int  i;

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->mqtt[i] != NULL) {
            coco_source_mqtt_close(w->mqtt[i]);
        }
    }

    for (i = 0; i < COCO_SQS_QUEUES; i++) {
        if (w->sqs[i] != NULL) {
            coco_source_sqs_close(w->sqs[i]);
        }
    }

    if (w->credentials != NULL) {
        coco_aws_credentials_stop(w->credentials);
    }

    for (i = 0; i < COCO_INBOXES; i++) {
        if (w->inbox[i] != NULL) {
            coco_source_inbox_close(w->inbox[i]);
        }
    }

    if (w->tasks != NULL) {
        coco_source_tasks_close(w->tasks);
    }

    if (w->rabbitmq != NULL) {
        coco_source_bus_close(w->rabbitmq);
    }

    if (w->kafka != NULL) {
        coco_source_bus_close(w->kafka);
    }
}
