/*
 * Drives a lane from a script on stdin, for the suites beside it: one command
 * a line, one answer a line. Must never decide whether a test has passed.
 *
 *     push KIND POSITION RECEIVED_AT SOURCE REPLAY_OF TOPIC SERIAL PAYLOAD
 *          RECEIVES INBOX_ID CAUSE_TS CAUSE_ID
 *     wait PUSHED TIMEOUT_MS        -> low LOW_WATER
 *     janitor                       starts one; its replays go to the lane
 *     bench ROBOTS HEARTBEATS       -> seconds and CPU
 *     metrics                       -> what Prometheus would read, then "."
 *     line TEXT                     -> of the supply, decoded, encoded again
 *     stop                          -> stopped
 *
 * KIND is heartbeat, robot, webhook, event, telemetry, task or order; SERIAL
 * and PAYLOAD are in hexadecimal; - for none. With DRIVER_LOOP the lane sends
 * to the bus lane of the same process, which is there then, too, and a relay
 * runs; with DRIVER_PULSE, the pulse. With DRIVER_DONE, a file, each message
 * that is told of as done is a line there: its position, and how many rows of
 * state_history others see.
 */

#include <sys/resource.h>

#include <libpq-fe.h>

#include "../driver.h"
#include "coco_supply.h"
#include "janitor.h"
#include "lane.h"
#include "services/service.h"
#include "sinks/pulse.h"
#include "sinks/relay.h"

#define DRIVER_LINE    (8 << 20)
#define DRIVER_FIELDS  12
#define DRIVER_NAME    "driver:1"       /* of the worker, for nginx */

typedef struct {
    coco_lane_t         *lane;
    coco_lane_t         *bus_lane;      /* with DRIVER_LOOP */
    coco_config_t        config;
    coco_bus_options_t   bus;
    coco_relay_t        *relay;
    coco_pulse_t        *pulse;
    coco_janitor_t      *janitor;
    FILE                *done;
    PGconn              *observer;      /* of the done file */
    pthread_mutex_t      done_mutex;
} driver_t;

static driver_t  driver = { .done_mutex = PTHREAD_MUTEX_INITIALIZER };


static int
driver_number(const char *name, int otherwise)
{
    const char  *value = getenv(name);

    return value ? atoi(value) : otherwise;
}


static int
driver_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}


/* Not by sscanf(), which measures all that is left each time. */
static coco_str_t
driver_unhex(char *text)
{
    size_t  n = 0;

    if (strcmp(text, "-") == 0) {
        return (coco_str_t) { NULL, 0 };
    }

    for (char *p = text; p[0] && p[1]; p += 2) {
        text[n++] = (char) (driver_digit(p[0]) << 4 | driver_digit(p[1]));
    }

    return (coco_str_t) { text, n };
}


static coco_kind_e
driver_kind(const char *name)
{
    static const char  *names[] = { "heartbeat", "robot", "webhook", "event",
                                    "telemetry", "task", "order" };

    for (int i = 0; i < 7; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (coco_kind_e) i;
        }
    }

    fprintf(stderr, "no such kind: %s\n", name);
    exit(1);
}


/* Sources are static strings. */
static const char *
driver_source(const char *name)
{
    static const char  *names[] = { "mqtt", "sqs", "webhook", "rabbitmq",
                                    "kafka", "bus", "replay", "task" };

    for (int i = 0; i < 8; i++) {
        if (strcmp(name, names[i]) == 0) {
            return names[i];
        }
    }

    fprintf(stderr, "no such source: %s\n", name);
    exit(1);
}


static bool
driver_id(coco_id_t *ret, const char *text)
{
    return coco_id_parse(ret, (coco_str_t) { text, strlen(text) }) == COCO_OK;
}


static void
driver_done(void *data, uint64_t tag)
{
    PGresult  *res;

    pthread_mutex_lock(&driver.done_mutex);
    res = PQexec(driver.observer, "select count(*) from coco.state_history");
    fprintf(driver.done, "%llu %s\n", (unsigned long long) tag,
            PQntuples(res) == 1 ? PQgetvalue(res, 0, 0) : "-1");
    fflush(driver.done);
    PQclear(res);
    pthread_mutex_unlock(&driver.done_mutex);
}


static void
driver_push(char *args)
{
    char            *field[DRIVER_FIELDS], *save;
    coco_message_t   m;

    for (int i = 0; i < DRIVER_FIELDS; i++) {
        field[i] = strtok_r(i ? NULL : args, " \n", &save);
        if (field[i] == NULL) {
            printf("error\n");
            return;
        }
    }

    memset(&m, 0, sizeof(m));
    m.kind = driver_kind(field[0]);
    m.position = strtoull(field[1], NULL, 10);
    m.received_at = strtoll(field[2], NULL, 10);
    m.source = driver_source(field[3]);
    driver_id(&m.replay_of, field[4]);
    m.topic = (coco_str_t) { field[5], strlen(field[5]) };
    m.serial = driver_unhex(field[6]);
    m.payload = driver_unhex(field[7]);
    m.receives = (unsigned) strtoul(field[8], NULL, 10);
    m.inbox = driver_id(&m.inbox_id, field[9]);
    m.cause.ts = strtoll(field[10], NULL, 10);
    m.cause.known = driver_id(&m.cause.id, field[11]);

    if (driver.done != NULL) {
        m.done = driver_done;
        m.tag = m.position;
    }

    if (coco_lane_push(driver.lane, &m) != COCO_OK) {
        printf("error\n");
    }
}


static int
driver_loop(void *data, const coco_message_t *message)
{
    return coco_lane_push(driver.bus_lane, message);
}


static int
driver_replay(void *data, const coco_message_t *message)
{
    return coco_lane_push(data, message);
}


static coco_janitor_t *
driver_janitor(coco_lane_t *lane)
{
    coco_janitor_t          *janitor;
    coco_janitor_options_t   o;

    o = (coco_janitor_options_t) {
        .postgres = getenv("DRIVER_POSTGRES"),
        .retention_days = driver_number("DRIVER_RETENTION", 30),
        .outbox_hours = 24,
        .dead_letter_days = 30,
        .dead_letter_max = driver_number("DRIVER_LETTERS", 1000000),
        .webhook_days = 30,
        .idempotency_hours = 24,
        .online_ms = driver_number("DRIVER_ONLINE", 60000),
        .services = (unsigned) driver_number("DRIVER_SERVICES",
                                             COCO_SERVICES_ALL),
        .bus = true,
        .telemetry_topic = "robot_platform_robot_updates_v1",
        .replay = driver_replay,
        .data = lane,
    };

    janitor = coco_janitor_create(&o);
    if (janitor == NULL || coco_janitor_start(janitor) != COCO_OK) {
        exit(1);
    }

    return janitor;
}


static void
driver_supply(char *text)
{
    char                 line[COCO_SUPPLY_LINE_MAX];
    size_t               len;
    coco_str_t           serial;
    coco_error_t         err;
    coco_supply_state_t  state;

    text[strcspn(text, "\n")] = '\0';

    if (coco_supply_line_decode((coco_str_t) { text, strlen(text) }, &serial,
                                &state, &err) != COCO_OK)
    {
        printf("error %s: %s\n", err.field, err.reason);
        return;
    }

    len = coco_supply_line_encode(line, serial, &state);
    printf("%.*s\n", (int) len, line);
}


static double
driver_cpu(void)
{
    struct rusage  u;

    getrusage(RUSAGE_SELF, &u);

    return u.ru_utime.tv_sec + u.ru_stime.tv_sec
           + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}


/* Heartbeats as a fleet sends them: one robot after the other, moving. */
static void
driver_bench(coco_lane_t *lane, char *args)
{
    int              robots = 1000, count = 100000, n;
    char             topic[64], serial[32], *payloads;
    double           cpu;
    int64_t          now, begin, took;
    coco_message_t   m;

    sscanf(args, "%d %d", &robots, &count);
    payloads = malloc((size_t) count * 512);
    if (payloads == NULL) {
        exit(1);
    }

    now = coco_clock_ms();

    for (int i = 0; i < count; i++) {
        snprintf(payloads + (size_t) i * 512, 512,
            "{\"ts\":%lld,\"state\":\"ON_TRIP\",\"healthy\":true,"
            "\"battery\":{\"percent\":%d.5,\"charging\":false,"
            "\"voltage\":48.2},\"location\":{\"latitude\":37.7%05d,"
            "\"longitude\":-122.4%05d,\"heading\":%d.5,\"speed\":1.42,"
            "\"accuracy\":2.5},\"components\":{\"camera\":\"OK\","
            "\"lidar\":\"OK\",\"motor\":\"OK\",\"lid\":\"OK\","
            "\"modem\":\"DEGRADED\"},\"lid\":{\"open\":false},"
            "\"software\":\"7.4.1\"}",
            (long long) (now - count / robots * 10 + i / robots * 10),
            i % 100, i % 100000, i * 7 % 100000, i % 360);
    }

    memset(&m, 0, sizeof(m));
    m.source = "mqtt";
    cpu = driver_cpu();
    begin = coco_clock_monotonic_us();

    for (int i = 0; i < count; i++) {
        n = snprintf(serial, sizeof(serial), "bench-%d", i % robots);
        m.serial = (coco_str_t) { serial, (size_t) n };
        n = snprintf(topic, sizeof(topic), "robot/%s/status", serial);
        m.topic = (coco_str_t) { topic, (size_t) n };
        m.payload = (coco_str_t) { payloads + (size_t) i * 512,
                                   strlen(payloads + (size_t) i * 512) };
        m.position = (uint64_t) i + 1;
        m.received_at = now;
        coco_lane_push(lane, &m);
    }

    while (coco_lane_low_water(lane, (uint64_t) count) < (uint64_t) count) {
        coco_lane_wait(lane, (uint64_t) count, 1000);
    }

    took = coco_clock_monotonic_us() - begin;
    printf("bench %.3f s, %.0f heartbeats/s, %.2f us CPU each\n", took / 1e6,
           count / (took / 1e6), (driver_cpu() - cpu) * 1e6 / count);
    free(payloads);
}


static coco_lane_t *
driver_lane(const char *name, coco_lane_id_e id, const coco_bus_options_t *bus)
{
    coco_lane_t          *lane;
    coco_lane_options_t   o;

    o = (coco_lane_options_t) {
        .name = name,
        .metrics_lane = id,
        .shards = driver_number("DRIVER_SHARDS", 2),
        .batch_messages = driver_number("DRIVER_BATCH", 1000),
        .batch_bytes = driver_number("DRIVER_BYTES", 1 << 20),
        .linger_ms = driver_number("DRIVER_LINGER", 5),
        .postgres = getenv("DRIVER_POSTGRES"),
        .redis_host = getenv("DRIVER_REDIS"),
        .redis_port = driver_number("DRIVER_REDIS_PORT", 0),
        .heartbeat_ttl_ms = driver_number("DRIVER_TTL", 120000),
        .retention_days = driver_number("DRIVER_RETENTION", 30),
        .receives_max = driver_number("DRIVER_RECEIVES", 5),
        .services = driver_number("DRIVER_SERVICES", COCO_SERVICES_ALL),
        .direct = driver_number("DRIVER_DIRECT", 1),
        .lid_window_ms = driver_number("DRIVER_LID_WINDOW", 2000),
        .lid_cycle_ms = driver_number("DRIVER_LID_CYCLE", 1800000),
        .lid_pin_age_ms = driver_number("DRIVER_LID_PIN_AGE", 60000),
        .lid_timeout_ms = driver_number("DRIVER_LID_TIMEOUT", 10000),
        .online_ms = driver_number("DRIVER_ONLINE", 60000),
        .feed_name = coco_string(DRIVER_NAME),
        .fleet_from_kafka = driver_number("DRIVER_KAFKA", 0),
        .bus = bus,
    };

    lane = coco_lane_create(&o);

    if (lane == NULL || coco_lane_start(lane) != COCO_OK) {
        exit(1);
    }

    return lane;
}


static void
driver_pulse(void)
{
    coco_pulse_options_t  o;

    o = (coco_pulse_options_t) {
        .redis_host = getenv("DRIVER_REDIS"),
        .redis_port = driver_number("DRIVER_REDIS_PORT", 0),
        .name = coco_string(DRIVER_NAME),
    };

    driver.pulse = coco_pulse_start(&o);

    if (driver.pulse == NULL) {
        exit(1);
    }
}


static void
driver_start(void)
{
    const char  *done = getenv("DRIVER_DONE");

    if (done != NULL) {
        driver.done = fopen(done, "w");
        driver.observer = PQconnectdb(getenv("DRIVER_POSTGRES"));

        if (driver.done == NULL
            || PQstatus(driver.observer) != CONNECTION_OK)
        {
            exit(1);
        }
    }

    if (driver_number("DRIVER_PULSE", 0)) {
        driver_pulse();
    }

    if (!driver_number("DRIVER_LOOP", 0)) {
        driver.lane = driver_lane("telemetry", COCO_LANE_TELEMETRY, NULL);
        return;
    }

    if (coco_config_load(&driver.config, NULL, NULL, stderr) != COCO_OK) {
        exit(1);
    }

    driver.bus.config = &driver.config;
    driver.bus.loop = driver_loop;
    driver.bus_lane = driver_lane("bus", COCO_LANE_BUS, &driver.bus);
    driver.lane = driver_lane("telemetry", COCO_LANE_TELEMETRY, &driver.bus);
    driver.relay = coco_relay_start(&driver.config, &driver.bus);

    if (driver.relay == NULL) {
        exit(1);
    }
}


static void
driver_stop(void)
{
    coco_lane_stop(driver.lane);

    if (driver.bus_lane != NULL) {
        coco_relay_stop(driver.relay);
        coco_lane_stop(driver.bus_lane);
    }

    if (driver.pulse != NULL) {
        coco_pulse_stop(driver.pulse);
    }

    if (driver.janitor != NULL) {
        coco_janitor_stop(driver.janitor);
        coco_janitor_destroy(driver.janitor);
    }

    coco_lane_destroy(driver.lane);

    if (driver.bus_lane != NULL) {
        coco_lane_destroy(driver.bus_lane);
        coco_config_free(&driver.config);
    }

    if (driver.done != NULL) {
        fclose(driver.done);
        PQfinish(driver.observer);
    }
}


int
main(void)
{
    char                *line;
    unsigned             ms;
    unsigned long long   pushed;

    coco_log_init(COCO_LOG_INFO, COCO_LOG_TEXT);
    setvbuf(stdout, NULL, _IOLBF, 0);

    line = malloc(DRIVER_LINE);
    if (line == NULL) {
        return 1;
    }

    driver_start();

    while (fgets(line, DRIVER_LINE, stdin) != NULL) {
        if (strncmp(line, "push ", 5) == 0) {
            driver_push(line + 5);

        } else if (sscanf(line, "wait %llu %u", &pushed, &ms) == 2) {
            coco_lane_wait(driver.lane, pushed, ms);
            printf("low %llu\n", (unsigned long long)
                   coco_lane_low_water(driver.lane, pushed));

        } else if (strncmp(line, "janitor", 7) == 0) {
            driver.janitor = driver_janitor(driver.lane);

        } else if (strncmp(line, "bench ", 6) == 0) {
            driver_bench(driver.lane, line + 6);

        } else if (strncmp(line, "line ", 5) == 0) {
            driver_supply(line + 5);

        } else if (strncmp(line, "metrics", 7) == 0) {
            driver_metrics();

        } else if (strncmp(line, "stop", 4) == 0) {
            break;
        }
    }

    driver_stop();
    free(line);
    printf("stopped\n");

    return 0;
}
