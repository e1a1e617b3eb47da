/*
 * Every option of the worker, once: what is parsed, what holds by default,
 * what is allowed. docs/worker.md and conf/coco-worker.conf are compared with
 * this table by scripts/check-worker-options.
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "config_options.h"

#define COCO_K  1024ull
#define COCO_M  (1024 * COCO_K)
#define COCO_G  (1024 * COCO_M)

#define COCO_SECOND  1000ull
#define COCO_MINUTE  (60 * COCO_SECOND)
#define COCO_HOUR    (60 * COCO_MINUTE)
#define COCO_DAY     (24 * COCO_HOUR)

#define COCO_OPTION_FAR  3      /* edits; what is farther is no mistyping */


static int coco_option_text_read(const coco_option_t *option, char **ret,
    const char *text, char *error, size_t error_size);
static int coco_option_choice_read(const coco_option_t *option,
    uint64_t *ret, const char *text, char *error, size_t error_size);
static int coco_option_unit(const coco_option_t *option, const char *unit,
    uint64_t *ret);
static int coco_option_number_read(const coco_option_t *option,
    uint64_t *ret, const char *text, char *error, size_t error_size);
static void coco_option_amount(char *ret, size_t size,
    const coco_option_t *option, uint64_t value);
static size_t coco_option_distance(const char *a, const char *b);


#define string(name, preset, min, max, field)                                 \
    { name, COCO_OPTION_STRING, preset, min, max, NULL,                       \
      offsetof(coco_config_t, field) }
#define secret(name, field)                                                   \
    { name, COCO_OPTION_SECRET, "", 0, 4096, NULL,                            \
      offsetof(coco_config_t, field) }
#define number(name, preset, min, max, field)                                 \
    { name, COCO_OPTION_NUMBER, preset, min, max, NULL,                       \
      offsetof(coco_config_t, field) }
#define duration(name, preset, min, max, field)                               \
    { name, COCO_OPTION_DURATION, preset, min, max, NULL,                     \
      offsetof(coco_config_t, field) }
#define bytes(name, preset, min, max, field)                                  \
    { name, COCO_OPTION_SIZE, preset, min, max, NULL,                         \
      offsetof(coco_config_t, field) }
#define choice(name, preset, words, field)                                    \
    { name, COCO_OPTION_CHOICE, preset, 0, 0, words,                          \
      offsetof(coco_config_t, field) }

const coco_option_t  coco_options[] = {
    choice("log.level", "info", "error warn info debug", log_level),
    choice("log.format", "text", "text json", log_format),

    string("http.address", "127.0.0.1", 1, 255, http_address),
    number("http.port", "8086", 1, 65535, http_port),

    duration("process.stop_timeout", "20s", COCO_SECOND, COCO_HOUR,
             stop_timeout),
    string("process.services", "all", 1, 255, services),

    string("mqtt.host", "127.0.0.1", 1, 255, mqtt_host),
    number("mqtt.port", "8081", 1, 65535, mqtt_port),
    string("mqtt.client_id", "coco-worker", 1, 200, mqtt_client_id),
    choice("mqtt.version", "5", "5 3.1.1", mqtt_version),
    string("mqtt.username", "", 0, 1024, mqtt_username),
    secret("mqtt.password", mqtt_password),
    string("mqtt.password_file", "", 0, 4096, mqtt_password_file),
    duration("mqtt.keep_alive", "30s", COCO_SECOND, COCO_HOUR,
             mqtt_keep_alive),
    duration("mqtt.connect_timeout", "10s", COCO_SECOND, 10 * COCO_MINUTE,
             mqtt_connect_timeout),
    number("mqtt.session_expiry", "4294967295", 60, UINT32_MAX,
           mqtt_session_expiry),
    number("mqtt.receive_maximum", "1000", 1, 65535, mqtt_receive_maximum),
    string("mqtt.telemetry_filter", "robot/+/status", 1, 1024,
           mqtt_telemetry_filter),
    string("mqtt.events_filter", "robot/+/events", 1, 1024,
           mqtt_events_filter),
    string("mqtt.shared_group", "", 0, 255, mqtt_shared_group),
    duration("mqtt.reconnect_min", "200ms", 10, COCO_HOUR,
             mqtt_reconnect_min),
    duration("mqtt.reconnect_max", "5s", 10, COCO_HOUR, mqtt_reconnect_max),
    choice("mqtt.tls", "off", "off on", mqtt_tls),
    string("mqtt.tls_ca_file", "", 0, 4096, mqtt_tls_ca_file),
    string("mqtt.tls_cert_file", "", 0, 4096, mqtt_tls_cert_file),
    string("mqtt.tls_key_file", "", 0, 4096, mqtt_tls_key_file),
    string("mqtt.tls_alpn", "", 0, 255, mqtt_tls_alpn),

    string("journal.path", "var/run/journal", 1, 4000, journal_path),
    choice("journal.sync", "none", "none interval always", journal_sync),
    duration("journal.sync_interval", "1s", 1, COCO_MINUTE,
             journal_sync_interval),
    bytes("journal.segment_size", "64M", 4 * COCO_K, COCO_G,
          journal_segment_size),
    bytes("journal.high_water", "1G", 4 * COCO_K, 1024 * COCO_G,
          journal_high_water),
    bytes("journal.low_water", "768M", 1, 1024 * COCO_G, journal_low_water),

    number("telemetry.shards", "2", 1, 64, telemetry.shards),
    number("telemetry.batch_messages", "4000", 1, 100000,
           telemetry.batch_messages),
    bytes("telemetry.batch_bytes", "4M", COCO_K, 256 * COCO_M,
          telemetry.batch_bytes),
    duration("telemetry.linger", "5ms", 0, COCO_MINUTE, telemetry.linger),

    number("events.shards", "1", 1, 64, events.shards),
    number("events.batch_messages", "200", 1, 100000, events.batch_messages),
    bytes("events.batch_bytes", "1M", COCO_K, 256 * COCO_M,
          events.batch_bytes),
    duration("events.linger", "1ms", 0, COCO_MINUTE, events.linger),

    number("webhooks.shards", "1", 1, 64, webhooks.shards),
    number("webhooks.batch_messages", "500", 1, 100000,
           webhooks.batch_messages),
    bytes("webhooks.batch_bytes", "4M", COCO_K, 256 * COCO_M,
          webhooks.batch_bytes),
    duration("webhooks.linger", "1ms", 0, COCO_MINUTE, webhooks.linger),
    duration("webhooks.poll", "1s", 10, COCO_MINUTE, webhooks_poll),

    string("sqs.region", "us-east-1", 1, 63, sqs_region),
    string("sqs.endpoint", "", 0, 1024, sqs_endpoint),
    string("sqs.events_queue_url", "", 0, 1024,
           sqs_queue_url[COCO_CONFIG_SQS_EVENTS]),
    string("sqs.state_queue_url", "", 0, 1024,
           sqs_queue_url[COCO_CONFIG_SQS_STATE]),
    string("sqs.connectivity_queue_url", "", 0, 1024,
           sqs_queue_url[COCO_CONFIG_SQS_CONNECTIVITY]),
    number("sqs.connections", "2", 1, 64, sqs_connections),
    duration("sqs.wait", "20s", 0, 20 * COCO_SECOND, sqs_wait),
    duration("sqs.visibility", "30s", COCO_SECOND, 12 * COCO_HOUR,
             sqs_visibility),
    number("sqs.in_flight", "2000", 10, 100000, sqs_in_flight),
    number("sqs.receives_max", "20", 2, 1000000, sqs_receives_max),

    choice("bus.engines", "none", "none rabbitmq kafka rabbitmq,kafka",
           bus_engines),
    number("bus.window", "1000", 1, 100000, bus_window),
    duration("bus.timeout", "10s", 100, 10 * COCO_MINUTE, bus_timeout),
    choice("bus.scramble", "off", "off on", bus_scramble),
    number("bus.scramble_seed", "1", 0, UINT32_MAX, bus_scramble_seed),
    number("bus.shards", "1", 1, 64, bus.shards),
    number("bus.batch_messages", "1000", 1, 100000, bus.batch_messages),
    bytes("bus.batch_bytes", "4M", COCO_K, 256 * COCO_M, bus.batch_bytes),
    duration("bus.linger", "5ms", 0, COCO_MINUTE, bus.linger),

    string("rabbitmq.host", "127.0.0.1", 1, 255, rabbitmq_host),
    number("rabbitmq.port", "8085", 1, 65535, rabbitmq_port),
    string("rabbitmq.vhost", "/", 1, 255, rabbitmq_vhost),
    string("rabbitmq.username", "guest", 0, 255, rabbitmq_username),
    secret("rabbitmq.password", rabbitmq_password),
    string("rabbitmq.password_file", "", 0, 4096, rabbitmq_password_file),
    duration("rabbitmq.heartbeat", "10s", COCO_SECOND, COCO_HOUR,
             rabbitmq_heartbeat),
    number("rabbitmq.prefetch", "2000", 1, 65535, rabbitmq_prefetch),
    number("rabbitmq.delivery_limit", "20", 1, 1000000,
           rabbitmq_delivery_limit),
    choice("rabbitmq.tls", "off", "off on", rabbitmq_tls),
    string("rabbitmq.tls_ca_file", "", 0, 4096, rabbitmq_tls_ca_file),

    string("kafka.brokers", "127.0.0.1:9092", 1, 4096, kafka_brokers),
    string("kafka.telemetry_topic", "robot_platform_robot_updates_v1", 1, 249,
           kafka_telemetry_topic),
    choice("kafka.feeds_fleet", "off", "off on", kafka_feeds_fleet),
    string("kafka.group", "coco-fleet", 1, 255, kafka_group),
    string("kafka.properties", "", 0, 4096, kafka_properties),

    string("postgres.conninfo",
           "host=127.0.0.1 port=8083 dbname=coco user=coco", 1, 4096,
           postgres_conninfo),
    secret("postgres.password", postgres_password),
    string("postgres.password_file", "", 0, 4096, postgres_password_file),

    string("redis.host", "127.0.0.1", 1, 255, redis_host),
    number("redis.port", "8082", 0, 65535, redis_port),
    number("redis.db", "0", 0, 65535, redis_db),
    secret("redis.password", redis_password),
    string("redis.password_file", "", 0, 4096, redis_password_file),

    duration("lid.window", "2s", 10, COCO_MINUTE, lid_window),
    duration("lid.cycle_timeout", "30m", COCO_SECOND, COCO_DAY,
             lid_cycle_timeout),
    duration("lid.pin_age", "60s", COCO_SECOND, COCO_HOUR, lid_pin_age),
    duration("lid.command_timeout", "10s", 100, 10 * COCO_MINUTE,
             lid_command_timeout),
    duration("tasks.poll", "1s", 10, COCO_MINUTE, tasks_poll),

    string("commands.topic", "robot/+/commands", 1, 1024, commands_topic),
    string("commands.shadow_topic", "robot/+/shadow/update", 1, 1024,
           commands_shadow_topic),
    duration("commands.retry", "1s", 10, COCO_MINUTE, commands_retry),
    duration("commands.poll", "1s", 10, COCO_MINUTE, commands_poll),

    number("dispatch.online_seconds", "60", 1, 86400,
           dispatch_online_seconds),

    string("partners.map", "conf/partners.json", 1, 4096, partners_map),
    duration("partners.poll", "100ms", 10, COCO_MINUTE, partners_poll),
    number("partners.concurrency", "16", 1, 256, partners_concurrency),
    duration("partners.timeout", "10s", 100, 5 * COCO_MINUTE,
             partners_timeout),
    duration("partners.retry_min", "1s", 10, COCO_HOUR, partners_retry_min),
    duration("partners.retry_max", "60s", 10, COCO_HOUR, partners_retry_max),
    number("partners.breaker_failures", "20", 1, 100000,
           partners_breaker_failures),
    duration("partners.breaker_open", "5s", 10, COCO_HOUR,
             partners_breaker_open),
    duration("partners.location_interval", "5s", 0, COCO_HOUR,
             partners_location_interval),
    string("partners.tls_ca_file", "", 0, 4096, partners_tls_ca_file),

    string("uber.base_url", "", 0, 1024, uber_base_url),
    number("uber.rate", "50", 1, 10000, uber_rate),
    string("uber.oauth_url", "https://auth.uber.com/oauth/v2/token", 1, 1024,
           uber_oauth_url),
    string("uber.client_id", "", 0, 255, uber_client_id),
    secret("uber.client_secret", uber_client_secret),
    string("uber.client_secret_file", "", 0, 4096, uber_client_secret_file),
    string("uber.scope", "eats.deliveries", 0, 255, uber_scope),

    string("doordash.base_url", "", 0, 1024, doordash_base_url),
    number("doordash.rate", "50", 1, 10000, doordash_rate),
    string("doordash.developer_id", "", 0, 255, doordash_developer_id),
    string("doordash.key_id", "", 0, 255, doordash_key_id),
    secret("doordash.signing_secret", doordash_signing_secret),
    string("doordash.signing_secret_file", "", 0, 4096,
           doordash_signing_secret_file),

    duration("mds.poll", "200ms", 10, COCO_MINUTE, mds_poll),

    duration("state.heartbeat_ttl", "120s", COCO_SECOND, COCO_DAY,
             heartbeat_ttl),
    number("state.retention_days", "30", 1, 36500, retention_days),

    number("janitor.outbox_hours", "24", 1, 8760, janitor_outbox_hours),
    number("janitor.dead_letter_days", "30", 1, 36500,
           janitor_dead_letter_days),
    number("janitor.dead_letter_max", "1000000", 1, 1000000000,
           janitor_dead_letter_max),
    number("janitor.webhook_days", "30", 1, 36500, janitor_webhook_days),
    number("janitor.idempotency_hours", "24", 24, 8760,
           janitor_idempotency_hours),
    number("janitor.command_days", "90", 1, 36500, janitor_command_days),
    number("janitor.anomaly_days", "90", 1, 36500, janitor_anomaly_days),
    number("janitor.push_days", "30", 1, 36500, janitor_push_days),
};

#undef string
#undef secret
#undef number
#undef duration
#undef bytes
#undef choice

const size_t  coco_options_count
    = sizeof(coco_options) / sizeof(coco_options[0]);


const coco_option_t *
coco_option_find(const char *name)
{
    size_t  i;

    for (i = 0; i < coco_options_count; i++) {
        if (strcmp(coco_options[i].name, name) == 0) {
            return &coco_options[i];
        }
    }

    return NULL;
}


/* The same key in another section is near, however far the sections are. */
const coco_option_t *
coco_option_nearest(const char *name)
{
    size_t                i, distance, best;
    const char           *key;
    const coco_option_t  *nearest, *namesake;

    best = COCO_OPTION_FAR + 1;
    nearest = NULL;
    namesake = NULL;
    key = strrchr(name, '.');

    for (i = 0; i < coco_options_count; i++) {
        distance = coco_option_distance(name, coco_options[i].name);

        if (distance < best) {
            best = distance;
            nearest = &coco_options[i];
        }

        if (key && strcmp(strchr(coco_options[i].name, '.'), key) == 0) {
            namesake = &coco_options[i];
        }
    }

    return nearest ? nearest : namesake;
}


/* Levenshtein's, over one row. Longer names than ours are far. */
static size_t
coco_option_distance(const char *a, const char *b)
{
    size_t  row[COCO_OPTION_NAME_SIZE], i, n, above, diagonal, best;

    n = strlen(b);

    if (strlen(a) >= COCO_OPTION_NAME_SIZE || n >= COCO_OPTION_NAME_SIZE) {
        return COCO_OPTION_FAR + 1;
    }

    for (i = 0; i <= n; i++) {
        row[i] = i;
    }

    for (/* void */ ; *a != '\0'; a++) {
        diagonal = row[0]++;

        for (i = 1; i <= n; i++) {
            above = row[i];
            best = diagonal + (*a != b[i - 1]);

            if (row[i - 1] + 1 < best) {
                best = row[i - 1] + 1;
            }

            if (above + 1 < best) {
                best = above + 1;
            }

            row[i] = best;
            diagonal = above;
        }
    }

    return row[n];
}


int
coco_option_read(const coco_option_t *option, coco_config_t *config,
    const char *text, char *error, size_t error_size)
{
    void    *value;
    size_t   len;

    value = coco_option_value(option, config);
    len = strlen(text);

    if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
        snprintf(error, error_size, "write the value without quotes");
        return COCO_ERROR;
    }

    if (coco_option_is_text(option)) {
        return coco_option_text_read(option, value, text, error, error_size);
    }

    if (option->type == COCO_OPTION_CHOICE) {
        return coco_option_choice_read(option, value, text, error,
                                       error_size);
    }

    return coco_option_number_read(option, value, text, error, error_size);
}


static int
coco_option_text_read(const coco_option_t *option, char **ret,
    const char *text, char *error, size_t error_size)
{
    char    *copy;
    size_t   len;

    len = strlen(text);

    if (len < option->min) {
        snprintf(error, error_size, "must not be empty; the default is %s",
                 option->preset);
        return COCO_ERROR;
    }

    if (len > option->max) {
        snprintf(error, error_size, "longer than %" PRIu64 " bytes",
                 option->max);
        return COCO_ERROR;
    }

    copy = NULL;

    if (len > 0) {
        copy = strdup(text);
        if (copy == NULL) {
            snprintf(error, error_size, "out of memory");
            return COCO_ERROR;
        }
    }

    free(*ret);
    *ret = copy;

    return COCO_OK;
}


static int
coco_option_choice_read(const coco_option_t *option, uint64_t *ret,
    const char *text, char *error, size_t error_size)
{
    size_t       len;
    uint64_t     i;
    const char  *p;

    for (p = option->words, i = 0; *p != '\0'; p += len, i++) {
        p += (*p == ' ');
        len = strcspn(p, " ");

        if (strlen(text) == len && memcmp(text, p, len) == 0) {
            *ret = i;
            return COCO_OK;
        }
    }

    snprintf(error, error_size, "\"%s\" is none of: %s", text, option->words);

    return COCO_ERROR;
}


/* What one of `unit` is worth. */
static int
coco_option_unit(const coco_option_t *option, const char *unit, uint64_t *ret)
{
    size_t  i;

    static const struct {
        coco_option_type_e   type;
        const char          *name;
        uint64_t             value;
    }  units[] = {
        { COCO_OPTION_NUMBER, "", 1 },
        { COCO_OPTION_DURATION, "d", COCO_DAY },
        { COCO_OPTION_DURATION, "h", COCO_HOUR },
        { COCO_OPTION_DURATION, "m", COCO_MINUTE },
        { COCO_OPTION_DURATION, "s", COCO_SECOND },
        { COCO_OPTION_DURATION, "ms", 1 },
        { COCO_OPTION_SIZE, "G", COCO_G },
        { COCO_OPTION_SIZE, "M", COCO_M },
        { COCO_OPTION_SIZE, "k", COCO_K },
        { COCO_OPTION_SIZE, "", 1 },
    };

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].type == option->type && strcmp(units[i].name, unit) == 0)
        {
            *ret = units[i].value;
            return COCO_OK;
        }
    }

    return COCO_ERROR;
}


static int
coco_option_number_read(const coco_option_t *option, uint64_t *ret,
    const char *text, char *error, size_t error_size)
{
    char      *end, min[32], max[32];
    uint64_t   value, unit;

    static const char  *forms[] = {
        [COCO_OPTION_NUMBER] = "a whole number",
        [COCO_OPTION_DURATION] = "a duration: a whole number with its unit, "
                                 "ms, s, m, h or d, as in 30s",
        [COCO_OPTION_SIZE] = "a size: a whole number of bytes, or with k, M "
                             "or G, as in 64M",
    };

    errno = 0;
    value = strtoull(text, &end, 10);

    if (!isdigit((unsigned char) text[0])
        || coco_option_unit(option, end, &unit) != COCO_OK)
    {
        snprintf(error, error_size, "\"%s\" is not %s", text,
                 forms[option->type]);
        return COCO_ERROR;
    }

    if (errno == ERANGE || __builtin_mul_overflow(value, unit, &value)
        || value < option->min || value > option->max)
    {
        coco_option_amount(min, sizeof(min), option, option->min);
        coco_option_amount(max, sizeof(max), option, option->max);
        snprintf(error, error_size, "\"%s\" is not between %s and %s", text,
                 min, max);
        return COCO_ERROR;
    }

    *ret = value;

    return COCO_OK;
}


/* In the largest unit that shows it exactly. */
static void
coco_option_amount(char *ret, size_t size, const coco_option_t *option,
    uint64_t value)
{
    size_t    i;
    uint64_t  unit;

    static const char  *units[] = { "d", "h", "m", "s", "ms", "G", "M", "k",
                                    "" };

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (coco_option_unit(option, units[i], &unit) == COCO_OK
            && (value % unit == 0 || unit == 1)
            && (value != 0 || unit == 1))
        {
            snprintf(ret, size, "%" PRIu64 "%s", value / unit, units[i]);
            return;
        }
    }
}


void
coco_option_env(char *ret, const coco_option_t *option)
{
    size_t       n;
    const char  *p;

    n = (size_t) sprintf(ret, "COCO_WORKER_");

    for (p = option->name; *p != '\0'; p++) {
        ret[n++] = *p == '.' ? '_' : (char) toupper((unsigned char) *p);
    }

    ret[n] = '\0';
}


const char *
coco_option_type(const coco_option_t *option)
{
    static const char  *types[] = { "string", "secret", "number", "duration",
                                    "size" };

    return option->type == COCO_OPTION_CHOICE ? option->words
                                              : types[option->type];
}
