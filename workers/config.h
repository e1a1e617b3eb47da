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

/* Strings are malloc'ed; NULL where nothing is set. Durations in ms, sizes
 * in bytes. Choices hold the place of the word in the table's list. */
typedef struct {
    uint64_t             log_level;     /* coco_log_level_e */
    uint64_t             log_format;    /* coco_log_format_e */

    char                *http_address;
    uint64_t             http_port;

    uint64_t             stop_timeout;

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

    char                *postgres_conninfo;        /* with the password */
    char                *postgres_password;
    char                *postgres_password_file;

    char                *redis_host;
    uint64_t             redis_port;    /* 0: redis_host is a path */
    uint64_t             redis_db;
    char                *redis_password;
    char                *redis_password_file;

    uint64_t             heartbeat_ttl;
    uint64_t             retention_days;
    uint64_t             janitor_outbox_hours;
    uint64_t             janitor_dead_letter_days;
    uint64_t             janitor_dead_letter_max;
    uint64_t             janitor_idempotency_hours;
} coco_config_t;

/* Every mistake is a line on `errors`, with its place and a remedy; then
 * COCO_ERROR, and *ret needs no freeing. path NULL: defaults and environment
 * alone. */
int coco_config_load(coco_config_t *ret, const char *path, FILE *errors);
void coco_config_free(coco_config_t *config);

/* A line for each option: name, type, default and environment variable,
 * separated by tabs. */
void coco_config_print(FILE *out);

#endif /* COCO_CONFIG_H */
