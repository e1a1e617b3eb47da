/*
 * How the worker is: the health document and the scrape. Must never wait for
 * a backend: what it shows is what the parts know already.
 */

#include <stdlib.h>

#include "coco_json_write.h"
#include "worker_parts.h"

#define COCO_WORKER_HEALTH_SIZE  4096


static void coco_worker_parts_encode(coco_json_out_t *out, coco_worker_t *w);
static void coco_worker_name(coco_json_out_t *out, const char *name);
static void coco_worker_lane_encode(coco_json_out_t *out, coco_worker_t *w,
    coco_lane_id_e lane);
static void coco_worker_session_encode(coco_json_out_t *out,
    coco_source_mqtt_t *session);
static void coco_worker_sqs_encode(coco_json_out_t *out, coco_worker_t *w);
static void coco_worker_bus_encode(coco_json_out_t *out, coco_worker_t *w);
static void coco_worker_inbox_encode(coco_json_out_t *out, coco_worker_t *w);
static void coco_worker_robots_encode(coco_json_out_t *out,
    coco_worker_t *w);
static void coco_worker_emitter_encode(coco_json_out_t *out,
    coco_worker_t *w);
static void coco_worker_part_open(coco_json_out_t *out, const char *name,
    bool alive);
static void coco_worker_source_encode(coco_json_out_t *out, const char *name,
    bool alive, bool connected, uint64_t in_flight);


static const char  *coco_worker_queues[COCO_SQS_QUEUES] = {
    [COCO_SQS_EVENTS] = "events",
    [COCO_SQS_STATE] = "state",
    [COCO_SQS_CONNECTIVITY] = "connectivity",
};


bool
coco_worker_alive(coco_worker_t *w)
{
    int                        i;
    bool                       alive;
    coco_commands_status_t     commands;
    coco_partners_status_t     partners;
    coco_emitter_status_t      emitter;
    coco_source_bus_status_t   bus;
    coco_source_sqs_status_t   sqs;
    coco_source_mqtt_status_t  mqtt;

    alive = w->tasks == NULL || coco_source_tasks_alive(w->tasks);

    for (i = 0; i < COCO_INBOXES; i++) {
        alive &= w->inbox[i] == NULL || coco_source_inbox_alive(w->inbox[i]);
    }

    /* all are asked: the gauges follow from that */
    if (w->commands != NULL) {
        coco_commands_status(w->commands, &commands);
        alive &= commands.alive;
    }

    if (w->partners != NULL) {
        coco_partners_status(w->partners, &partners);
        alive &= partners.alive;
    }

    for (i = 0; i < COCO_WORKER_SESSIONS; i++) {
        if (w->mqtt[i] != NULL) {
            coco_source_mqtt_status(w->mqtt[i], &mqtt);
            alive &= mqtt.alive;
        }
    }

    for (i = 0; i < COCO_SQS_QUEUES; i++) {
        if (w->sqs[i] != NULL) {
            coco_source_sqs_status(w->sqs[i], &sqs);
            alive &= sqs.alive;
        }
    }

    if (w->emitter != NULL) {
        coco_emitter_status(w->emitter, &emitter);
        alive &= emitter.alive;
    }

    if (w->rabbitmq != NULL) {
        coco_source_bus_status(w->rabbitmq, &bus);
        alive &= bus.alive;
    }

    if (w->kafka != NULL) {
        coco_source_bus_status(w->kafka, &bus);
        alive &= bus.alive;
    }

    return alive;
}


char *
coco_worker_health(void *data, size_t *ret_len, bool *ret_healthy)
{
    char             *text;
    bool              ready;
    coco_worker_t    *w;
    coco_json_out_t   out;

    w = data;

    text = malloc(COCO_WORKER_HEALTH_SIZE);
    if (text == NULL) {
        return NULL;
    }

    ready = atomic_load(&w->ready);
    *ret_healthy = ready && coco_worker_alive(w);

    coco_json_out_init(&out, text, COCO_WORKER_HEALTH_SIZE);
    coco_json_object_open(&out);
    coco_json_name(&out, "status");
    coco_json_string(&out, *ret_healthy ? coco_string("ok")
                           : ready ? coco_string("stuck")
                                   : coco_string("starting"));
    coco_json_name(&out, "version");
    coco_json_string(&out, coco_string(COCO_WORKER_VERSION));

    if (ready) {
        coco_worker_parts_encode(&out, w);
    }

    coco_json_object_close(&out);

    *ret_len = out.len;

    return text;
}


static void
coco_worker_parts_encode(coco_json_out_t *out, coco_worker_t *w)
{
    int  i;

    coco_json_name(out, "services");
    coco_json_string(out, (coco_str_t) { w->config->services,
                                         strlen(w->config->services) });
    coco_json_name(out, "lanes");
    coco_json_object_open(out);

    for (i = 0; i < COCO_LANES; i++) {
        if (w->lanes[i] != NULL) {
            coco_worker_name(out, coco_worker_lanes[i]);
            coco_worker_lane_encode(out, w, (coco_lane_id_e) i);
        }
    }

    coco_json_object_close(out);
    coco_worker_sqs_encode(out, w);
    coco_worker_bus_encode(out, w);

    coco_worker_inbox_encode(out, w);
    coco_worker_robots_encode(out, w);
    coco_worker_emitter_encode(out, w);

    if (w->relay != NULL) {
        coco_json_name(out, "relay");
        coco_json_object_open(out);
        coco_json_name(out, "pending");
        coco_json_int(out, coco_metrics_gauge_get(COCO_G_OUTBOX_PENDING,
                                                   COCO_LANE_BUS));
        coco_json_object_close(out);
    }
}


static void
coco_worker_name(coco_json_out_t *out, const char *name)
{
    coco_json_key(out, name, strlen(name));
}


static void
coco_worker_lane_encode(coco_json_out_t *out, coco_worker_t *w,
    coco_lane_id_e lane)
{
    uint64_t  shards;

    shards = coco_worker_lane_config(w->config, lane)->shards;

    coco_json_object_open(out);

    if ((int) lane < COCO_WORKER_SESSIONS && w->mqtt[lane] != NULL) {
        coco_worker_session_encode(out, w->mqtt[lane]);
    }

    coco_json_name(out, "shards");
    coco_json_int(out, (int64_t) shards);
    coco_json_name(out, "postgresConnected");
    coco_json_int(out, coco_metrics_gauge_get(COCO_G_POSTGRES_CONNECTED,
                                              lane));
    coco_json_name(out, "redisConnected");
    coco_json_int(out, coco_metrics_gauge_get(COCO_G_REDIS_CONNECTED, lane));
    coco_json_object_close(out);
}


static void
coco_worker_session_encode(coco_json_out_t *out, coco_source_mqtt_t *session)
{
    coco_source_mqtt_status_t  status;

    coco_source_mqtt_status(session, &status);

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
}


static void
coco_worker_sqs_encode(coco_json_out_t *out, coco_worker_t *w)
{
    int                       i;
    coco_source_sqs_status_t  status;

    if (w->sqs[0] == NULL && w->sqs[1] == NULL && w->sqs[2] == NULL) {
        return;
    }

    coco_json_name(out, "sqs");
    coco_json_object_open(out);

    for (i = 0; i < COCO_SQS_QUEUES; i++) {
        if (w->sqs[i] != NULL) {
            coco_source_sqs_status(w->sqs[i], &status);
            coco_worker_source_encode(out, coco_worker_queues[i],
                                      status.alive, status.connected,
                                      status.in_flight);
        }
    }

    coco_json_object_close(out);
}


static void
coco_worker_bus_encode(coco_json_out_t *out, coco_worker_t *w)
{
    coco_source_bus_status_t  status;

    if (w->rabbitmq == NULL && w->kafka == NULL) {
        return;
    }

    coco_json_name(out, "bus");
    coco_json_object_open(out);

    if (w->rabbitmq != NULL) {
        coco_source_bus_status(w->rabbitmq, &status);
        coco_worker_source_encode(out, "rabbitmq", status.alive,
                                  status.connected, status.in_flight);
    }

    if (w->kafka != NULL) {
        coco_source_bus_status(w->kafka, &status);
        coco_worker_source_encode(out, "kafka", status.alive,
                                  status.connected, status.in_flight);
    }

    coco_json_object_close(out);
}


static void
coco_worker_inbox_encode(coco_json_out_t *out, coco_worker_t *w)
{
    coco_source_inbox_t  *inbox;

    inbox = w->inbox[COCO_INBOX_DRIVEU];

    if (inbox != NULL) {
        coco_worker_part_open(out, "inbox", coco_source_inbox_alive(inbox));
        coco_json_name(out, "waiting");
        coco_json_int(out, coco_metrics_gauge_get(COCO_G_WEBHOOKS_WAITING,
                                                   COCO_LANE_WEBHOOKS));
        coco_json_object_close(out);
    }

    inbox = w->inbox[COCO_INBOX_PARTNERS];

    if (inbox != NULL) {
        coco_worker_part_open(out, "orders", coco_source_inbox_alive(inbox));
        coco_json_object_close(out);
    }
}


/* What is due for them, and what leaves for them. */
static void
coco_worker_robots_encode(coco_json_out_t *out, coco_worker_t *w)
{
    coco_commands_status_t  commands;
    coco_partners_status_t  partners;

    if (w->tasks != NULL) {
        coco_worker_part_open(out, "tasks", coco_source_tasks_alive(w->tasks));
        coco_json_object_close(out);
    }

    if (w->commands != NULL) {
        coco_commands_status(w->commands, &commands);
        coco_worker_part_open(out, "commands", commands.alive);
        coco_json_name(out, "connected");
        coco_json_bool(out, commands.connected);
        coco_json_object_close(out);
    }

    if (w->partners != NULL) {
        coco_partners_status(w->partners, &partners);
        coco_worker_part_open(out, "partners", partners.alive);
        coco_json_name(out, "sending");
        coco_json_bool(out, partners.sending);
        coco_json_name(out, "inFlight");
        coco_json_int(out, partners.in_flight);
        coco_json_object_close(out);
    }
}


static void
coco_worker_emitter_encode(coco_json_out_t *out, coco_worker_t *w)
{
    coco_emitter_status_t  status;

    if (w->emitter == NULL) {
        return;
    }

    coco_emitter_status(w->emitter, &status);
    coco_worker_part_open(out, "mds", status.alive);
    coco_json_name(out, "emitting");
    coco_json_bool(out, status.emitting);
    coco_json_object_close(out);
}


/* The caller closes it. */
static void
coco_worker_part_open(coco_json_out_t *out, const char *name, bool alive)
{
    coco_worker_name(out, name);
    coco_json_object_open(out);
    coco_json_name(out, "alive");
    coco_json_bool(out, alive);
}


static void
coco_worker_source_encode(coco_json_out_t *out, const char *name, bool alive,
    bool connected, uint64_t in_flight)
{
    coco_worker_part_open(out, name, alive);
    coco_json_name(out, "connected");
    coco_json_bool(out, connected);
    coco_json_name(out, "inFlight");
    coco_json_int(out, (int64_t) in_flight);
    coco_json_object_close(out);
}


char *
coco_worker_metrics(void *data, size_t *ret_len)
{
    coco_worker_t  *w;

    w = data;

    /* the gauges of the sources as they are now */
    if (atomic_load(&w->ready)) {
        (void) coco_worker_alive(w);
    }

    return coco_metrics_encode(ret_len);
}
