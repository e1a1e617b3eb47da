/*
 * Starts and stops the parts of the worker in an order in which none calls
 * what is not there. Takes no decision about messages.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_json_write.h"
#include "http.h"
#include "janitor.h"
#include "services/service.h"
#include "sources/mqtt.h"
#include "sources/topic.h"
#include "worker.h"

#define COCO_WORKER_HEALTH_SIZE  2048
#define COCO_WORKER_SESSIONS     2      /* of MQTT: telemetry and events */


struct coco_worker_s {
    const coco_config_t  *config;
    coco_lane_t          *lanes[COCO_WORKER_SESSIONS];
    coco_source_mqtt_t   *sources[COCO_WORKER_SESSIONS];
    coco_janitor_t       *janitor;
    coco_http_t          *http;
};


static int coco_worker_lane_start(coco_worker_t *w, coco_lane_id_e lane);
static int coco_worker_source_open(coco_worker_t *w, coco_lane_id_e lane,
    char *error, size_t error_size);
static int coco_worker_janitor_start(coco_worker_t *w);
static int coco_worker_http_start(coco_worker_t *w);
static int coco_worker_replay(void *data, const coco_message_t *message);
static char *coco_worker_health(void *data, size_t *ret_len,
    bool *ret_healthy);
static void coco_worker_lane_encode(coco_json_out_t *out, coco_worker_t *w,
    coco_lane_id_e lane);
static char *coco_worker_metrics(void *data, size_t *ret_len);


static const char  *coco_worker_names[COCO_WORKER_SESSIONS] = {
    [COCO_LANE_TELEMETRY] = "telemetry",
    [COCO_LANE_EVENTS] = "events",
};


int
coco_worker_start(coco_worker_t **ret, const coco_config_t *config,
    char *error, size_t error_size)
{
    int             i;
    coco_worker_t  *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    w->config = config;

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (coco_worker_lane_start(w, (coco_lane_id_e) i) != COCO_OK) {
            snprintf(error, error_size, "the lane %s could not be started; "
                     "lower its shards, batch_messages or batch_bytes",
                     coco_worker_names[i]);
            goto failed;
        }

        if (coco_worker_source_open(w, (coco_lane_id_e) i, error, error_size)
            != COCO_OK)
        {
            goto failed;
        }
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

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (coco_source_mqtt_start(w->sources[i]) != COCO_OK) {
            snprintf(error, error_size, "no thread for the session of %s",
                     coco_worker_names[i]);
            goto failed;
        }
    }

    *ret = w;

    return COCO_OK;

failed:

    coco_worker_stop(w);

    return COCO_ERROR;
}


static int
coco_worker_lane_start(coco_worker_t *w, coco_lane_id_e lane)
{
    coco_lane_options_t        options = { 0 };
    const coco_config_t       *c;
    const coco_config_lane_t  *l;

    c = w->config;
    l = lane == COCO_LANE_TELEMETRY ? &c->telemetry : &c->events;

    options.name = coco_worker_names[lane];
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
    options.services = COCO_SERVICES_ALL;
    options.direct = true;

    w->lanes[lane] = coco_lane_create(&options);

    return w->lanes[lane] ? coco_lane_start(w->lanes[lane]) : COCO_ERROR;
}


static int
coco_worker_source_open(coco_worker_t *w, coco_lane_id_e lane, char *error,
    size_t error_size)
{
    coco_source_mqtt_options_t  options;

    options.config = w->config;
    options.name = coco_worker_names[lane];
    options.metrics_lane = lane;
    options.lane = w->lanes[lane];

    if (lane == COCO_LANE_TELEMETRY) {
        options.filter = w->config->mqtt_telemetry_filter;
        options.kind = COCO_KIND_HEARTBEAT;

    } else {
        options.filter = w->config->mqtt_events_filter;
        options.kind = COCO_KIND_ROBOT_EVENT;
    }

    return coco_source_mqtt_open(&w->sources[lane], &options, error,
                                 error_size);
}


static int
coco_worker_janitor_start(coco_worker_t *w)
{
    coco_janitor_options_t  options;

    options.postgres = w->config->postgres_conninfo;
    options.retention_days = (unsigned) w->config->retention_days;
    options.outbox_hours = (unsigned) w->config->janitor_outbox_hours;
    options.dead_letter_days
        = (unsigned) w->config->janitor_dead_letter_days;
    options.dead_letter_max = (unsigned) w->config->janitor_dead_letter_max;
    options.idempotency_hours
        = (unsigned) w->config->janitor_idempotency_hours;
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


/* In the janitor's thread. The filters know more than the topic alone; what
 * neither matches may be of an older configuration. */
static int
coco_worker_replay(void *data, const coco_message_t *message)
{
    coco_worker_t   *w;
    coco_str_t       heartbeat, event;
    coco_message_t   m;

    w = data;
    m = *message;

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


bool
coco_worker_alive(coco_worker_t *w)
{
    int                        i;
    coco_source_mqtt_status_t  status;

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        coco_source_mqtt_status(w->sources[i], &status);
        if (!status.alive) {
            return false;
        }
    }

    return true;
}


static char *
coco_worker_health(void *data, size_t *ret_len, bool *ret_healthy)
{
    int               i;
    char             *text;
    coco_str_t        status;
    coco_worker_t    *w;
    coco_json_out_t   out;

    w = data;

    text = malloc(COCO_WORKER_HEALTH_SIZE);
    if (text == NULL) {
        return NULL;
    }

    *ret_healthy = coco_worker_alive(w);
    status = *ret_healthy ? coco_string("ok") : coco_string("stuck");

    coco_json_out_init(&out, text, COCO_WORKER_HEALTH_SIZE);
    coco_json_object_open(&out);
    coco_json_name(&out, "status");
    coco_json_string(&out, status);
    coco_json_name(&out, "version");
    coco_json_string(&out, coco_string(COCO_WORKER_VERSION));
    coco_json_name(&out, "lanes");
    coco_json_object_open(&out);

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        coco_json_key(&out, coco_worker_names[i],
                      strlen(coco_worker_names[i]));
        coco_worker_lane_encode(&out, w, (coco_lane_id_e) i);
    }

    coco_json_object_close(&out);
    coco_json_object_close(&out);

    *ret_len = out.len;

    return text;
}


static void
coco_worker_lane_encode(coco_json_out_t *out, coco_worker_t *w,
    coco_lane_id_e lane)
{
    uint64_t                   shards;
    coco_source_mqtt_status_t  status;

    coco_source_mqtt_status(w->sources[lane], &status);
    shards = lane == COCO_LANE_TELEMETRY ? w->config->telemetry.shards
                                         : w->config->events.shards;

    coco_json_object_open(out);
    coco_json_name(out, "alive");
    coco_json_bool(out, status.alive);
    coco_json_name(out, "mqttConnected");
    coco_json_bool(out, status.connected);
    coco_json_name(out, "journalBytes");
    coco_json_int(out, (int64_t) status.journal_bytes);
    coco_json_name(out, "stalledSeconds");
    coco_json_int(out, (int64_t) status.stalled);
    coco_json_name(out, "journalFull");
    coco_json_bool(out, status.full);
    coco_json_name(out, "shards");
    coco_json_int(out, (int64_t) shards);
    coco_json_name(out, "postgresConnected");
    coco_json_int(out, coco_metrics_gauge_get(COCO_G_POSTGRES_CONNECTED,
                                              lane));
    coco_json_name(out, "redisConnected");
    coco_json_int(out, coco_metrics_gauge_get(COCO_G_REDIS_CONNECTED, lane));
    coco_json_object_close(out);
}


static char *
coco_worker_metrics(void *data, size_t *ret_len)
{
    /* the gauges of journal and session as they are now */
    (void) coco_worker_alive(data);

    return coco_metrics_encode(ret_len);
}


void
coco_worker_stop(coco_worker_t *w)
{
    int  i;

    if (w->http != NULL) {
        coco_http_stop(w->http);
    }

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->sources[i] != NULL) {
            coco_source_mqtt_stop(w->sources[i]);
        }
    }

    /* before the janitor and the feeders, which may wait for room in them */
    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->lanes[i] != NULL) {
            coco_lane_stop(w->lanes[i]);
        }
    }

    if (w->janitor != NULL) {
        coco_janitor_stop(w->janitor);
        coco_janitor_destroy(w->janitor);
    }

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->sources[i] != NULL) {
            coco_source_mqtt_close(w->sources[i]);
        }
        if (w->lanes[i] != NULL) {
            coco_lane_destroy(w->lanes[i]);
        }
    }

    free(w);
}
