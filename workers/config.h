/*
 * The worker's configuration: defaults, then the file, then the environment
 * (COCO_WORKER_<SECTION>_<KEY>). Every option is one row of the table in
 * config_options.c.
 */

#ifndef COCO_CONFIG_H
#define COCO_CONFIG_H

#include <stdio.h>

#include "coco_core.h"

/* Of a lane. */
typedef struct {
    uint64_t  shards;
    uint64_t  batch_messages;
    uint64_t  batch_bytes;
    uint64_t  linger;                   /* ms */
} coco_config_lane_t;

/* The queues of sqs_queue_url. */
enum {
    COCO_CONFIG_SQS_EVENTS = 0,
    COCO_CONFIG_SQS_STATE,
    COCO_CONFIG_SQS_CONNECTIVITY,
    COCO_CONFIG_SQS_QUEUES
};

/* Bits of bus_engines. */
#define COCO_BUS_RABBITMQ  1u
#define COCO_BUS_KAFKA     2u

/* Strings are malloc'ed; NULL where nothing is set. Durations in ms, sizes
 * in bytes. Choices hold the place of the word in the table's list. */
typedef struct {
    uint64_t             log_level;     /* coco_log_level_e */
    uint64_t             log_format;    /* coco_log_format_e */

    char                *http_address;
    uint64_t             http_port;

    uint64_t             stop_timeout;
    char                *services;      /* "all", or words and commas */
    unsigned             service_bits;  /* COCO_SERVICE_…, of services */

    char                *mqtt_host;
    uint64_t             mqtt_port;
    char                *mqtt_client_id;
    uint64_t             mqtt_version;  /* coco_mqtt_version_e */
    char                *mqtt_username;
    char                *mqtt_password;
    char                *mqtt_password_file;
    uint64_t             mqtt_keep_alive;
    uint64_t             mqtt_connect_timeout;
    uint64_t             mqtt_session_expiry;      /* s */
    uint64_t             mqtt_receive_maximum;
    char                *mqtt_telemetry_filter;
    char                *mqtt_events_filter;
    char                *mqtt_shared_group;
    uint64_t             mqtt_reconnect_min;
    uint64_t             mqtt_reconnect_max;
    uint64_t             mqtt_tls;      /* bool */
    char                *mqtt_tls_ca_file;
    char                *mqtt_tls_cert_file;
    char                *mqtt_tls_key_file;
    char                *mqtt_tls_alpn;

    char                *journal_path;
    uint64_t             journal_sync;  /* coco_journal_sync_e */
    uint64_t             journal_sync_interval;
    uint64_t             journal_segment_size;
    uint64_t             journal_high_water;
    uint64_t             journal_low_water;

    coco_config_lane_t   telemetry;
    coco_config_lane_t   events;
    coco_config_lane_t   webhooks;
    uint64_t             webhooks_poll;

    char                *sqs_region;
    char                *sqs_endpoint;  /* NULL: AWS's of the region */
    char                *sqs_queue_url[COCO_CONFIG_SQS_QUEUES];
    uint64_t             sqs_connections;          /* of each queue */
    uint64_t             sqs_wait;
    uint64_t             sqs_visibility;
    uint64_t             sqs_in_flight;            /* of each queue */
    uint64_t             sqs_receives_max;

    uint64_t             bus_engines;   /* COCO_BUS_… bits */
    uint64_t             bus_window;
    uint64_t             bus_timeout;
    uint64_t             bus_scramble;  /* bool */
    uint64_t             bus_scramble_seed;
    coco_config_lane_t   bus;

    char                *rabbitmq_host;
    uint64_t             rabbitmq_port;
    char                *rabbitmq_vhost;
    char                *rabbitmq_username;
    char                *rabbitmq_password;
    char                *rabbitmq_password_file;
    uint64_t             rabbitmq_heartbeat;
    uint64_t             rabbitmq_prefetch;
    uint64_t             rabbitmq_delivery_limit;
    uint64_t             rabbitmq_tls;  /* bool */
    char                *rabbitmq_tls_ca_file;

    char                *kafka_brokers;
    char                *kafka_telemetry_topic;
    uint64_t             kafka_feeds_fleet;        /* bool */
    char                *kafka_group;
    char                *kafka_properties;         /* name=value,… of
                                                      librdkafka's */

    char                *postgres_conninfo;        /* with the password */
    char                *postgres_password;
    char                *postgres_password_file;

    char                *redis_host;
    uint64_t             redis_port;    /* 0: redis_host is a path */
    uint64_t             redis_db;
    char                *redis_password;
    char                *redis_password_file;

    uint64_t             lid_window;
    uint64_t             lid_cycle_timeout;
    uint64_t             lid_pin_age;
    uint64_t             lid_command_timeout;
    uint64_t             tasks_poll;

    char                *commands_topic;           /* + stands for the serial */
    char                *commands_shadow_topic;
    uint64_t             commands_retry;
    uint64_t             commands_poll;

    uint64_t             dispatch_online_seconds;

    char                *partners_map;  /* JSON, coco_partner_map.h */
    uint64_t             partners_poll;
    uint64_t             partners_concurrency;     /* of each partner */
    uint64_t             partners_timeout;         /* of a call */
    uint64_t             partners_retry_min;
    uint64_t             partners_retry_max;
    uint64_t             partners_breaker_failures;
    uint64_t             partners_breaker_open;
    uint64_t             partners_location_interval;   /* 0: never */
    char                *partners_tls_ca_file;

    char                *uber_base_url; /* NULL: Uber is told nothing */
    uint64_t             uber_rate;     /* calls a second */
    char                *uber_oauth_url;
    char                *uber_client_id;
    char                *uber_client_secret;
    char                *uber_client_secret_file;
    char                *uber_scope;

    char                *doordash_base_url;
    uint64_t             doordash_rate;
    char                *doordash_developer_id;
    char                *doordash_key_id;
    char                *doordash_signing_secret;  /* base64url */
    char                *doordash_signing_secret_file;

    uint64_t             mds_poll;

    uint64_t             heartbeat_ttl;
    uint64_t             retention_days;
    uint64_t             janitor_outbox_hours;
    uint64_t             janitor_dead_letter_days;
    uint64_t             janitor_dead_letter_max;
    uint64_t             janitor_webhook_days;
    uint64_t             janitor_idempotency_hours;
    uint64_t             janitor_command_days;
    uint64_t             janitor_anomaly_days;
    uint64_t             janitor_push_days;
} coco_config_t;

/* Every mistake is a line on `errors`, with its place and a remedy; then
 * COCO_ERROR, and *ret needs no freeing. path NULL: defaults and environment
 * alone. services: the argument of --services, which goes before both; NULL:
 * none. */
int coco_config_load(coco_config_t *ret, const char *path,
    const char *services, FILE *errors);
void coco_config_free(coco_config_t *config);

/* A line for each option: name, type, default and environment variable,
 * separated by tabs. */
void coco_config_print(FILE *out);

#endif /* COCO_CONFIG_H */
