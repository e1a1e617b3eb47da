/*
 * Drives a lane from a script on stdin, for the suites beside it: one command
 * a line, one answer a line. Must never decide whether a test has passed.
 *
 *     push KIND POSITION RECEIVED_AT SOURCE REPLAY_OF TOPIC SERIAL PAYLOAD
 *     wait PUSHED TIMEOUT_MS        -> low LOW_WATER
 *     janitor                       starts one; its replays go to the lane
 *     bench ROBOTS HEARTBEATS       -> seconds and CPU
 *     metrics                       -> what Prometheus would read, then "."
 *     stop                          -> stopped
 *
 * KIND is h or e; SERIAL and PAYLOAD are in hexadecimal, - for none.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "janitor.h"
#include "lane.h"
#include "log.h"
#include "metrics.h"
#include "services/service.h"
#include "sinks/retry.h"

#define DRIVER_LINE  (8 << 20)


static int
driver_number(const char *name, int otherwise)
{
    const char  *value = getenv(name);

    return value ? atoi(value) : otherwise;
}


static coco_str_t
driver_unhex(char *text)
{
    size_t    n = 0;
    unsigned  byte;

    if (strcmp(text, "-") == 0) {
        return (coco_str_t) { NULL, 0 };
    }

    for (char *p = text; p[0] && sscanf(p, "%2x", &byte) == 1; p += 2) {
        text[n++] = (char) byte;
    }

    return (coco_str_t) { text, n };
}


static void
driver_push(coco_lane_t *lane, char *args)
{
    char            *field[8], *save;
    coco_message_t   m;

    for (int i = 0; i < 8; i++) {
        field[i] = strtok_r(i ? NULL : args, " \n", &save);
        if (field[i] == NULL) {
            printf("error\n");
            return;
        }
    }

    memset(&m, 0, sizeof(m));
    m.kind = *field[0] == 'h' ? COCO_KIND_HEARTBEAT : COCO_KIND_ROBOT_EVENT;
    m.position = strtoull(field[1], NULL, 10);
    m.received_at = strtoll(field[2], NULL, 10);
    m.source = strcmp(field[3], "replay") == 0 ? "replay"
               : strcmp(field[3], "sqs") == 0 ? "sqs" : "mqtt";
    coco_id_parse(&m.replay_of, (coco_str_t) { field[4], strlen(field[4]) });
    m.topic = (coco_str_t) { field[5], strlen(field[5]) };
    m.serial = driver_unhex(field[6]);
    m.payload = driver_unhex(field[7]);

    if (coco_lane_push(lane, &m) != COCO_OK) {
        printf("error\n");
    }
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
        .services = COCO_SERVICES_ALL,
        .replay = driver_replay,
        .data = lane,
    };

    janitor = coco_janitor_create(&o);
    if (janitor == NULL || coco_janitor_start(janitor) != COCO_OK) {
        exit(1);
    }

    return janitor;
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


int
main(void)
{
    char                 *line, *metrics;
    size_t                len;
    coco_lane_t          *lane;
    coco_janitor_t       *janitor = NULL;
    unsigned long long    pushed;
    unsigned              ms;
    coco_lane_options_t   o;

    coco_log_init(COCO_LOG_INFO, COCO_LOG_TEXT);
    setvbuf(stdout, NULL, _IOLBF, 0);

    o = (coco_lane_options_t) {
        .name = "telemetry",
        .metrics_lane = COCO_LANE_TELEMETRY,
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
        .fleet_from_kafka = driver_number("DRIVER_KAFKA", 0),
    };

    line = malloc(DRIVER_LINE);
    lane = coco_lane_create(&o);

    if (line == NULL || lane == NULL || coco_lane_start(lane) != COCO_OK) {
        return 1;
    }

    while (fgets(line, DRIVER_LINE, stdin) != NULL) {
        if (strncmp(line, "push ", 5) == 0) {
            driver_push(lane, line + 5);

        } else if (sscanf(line, "wait %llu %u", &pushed, &ms) == 2) {
            coco_lane_wait(lane, pushed, ms);
            printf("low %llu\n",
                   (unsigned long long) coco_lane_low_water(lane, pushed));

        } else if (strncmp(line, "janitor", 7) == 0) {
            janitor = driver_janitor(lane);

        } else if (strncmp(line, "bench ", 6) == 0) {
            driver_bench(lane, line + 6);

        } else if (strncmp(line, "metrics", 7) == 0) {
            metrics = coco_metrics_encode(&len);
            printf("%s.\n", metrics ? metrics : "");
            free(metrics);

        } else if (strncmp(line, "stop", 4) == 0) {
            break;
        }
    }

    coco_lane_stop(lane);

    if (janitor != NULL) {
        coco_janitor_stop(janitor);
        coco_janitor_destroy(janitor);
    }

    coco_lane_destroy(lane);
    free(line);
    printf("stopped\n");

    return 0;
}
