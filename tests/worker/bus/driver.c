/*
 * Drives the bus from a script on stdin, for the suite beside it: one command
 * a line, answers on stdout. The lane is a fake one that tells what it was
 * given. The configuration is the worker's, from the environment. Must never
 * decide whether a test has passed.
 *
 *     send NAME FIRST COUNT ROBOTS ONCE   -> sent N ERROR
 *         envelopes FIRST.. of `COUNT`, by robot r-(number % ROBOTS); until
 *         all are confirmed, or one call of coco_bus_send() if ONCE; the name
 *         raw: telemetry
 *     consume rabbitmq|kafka              -> consuming, or nothing
 *         each message: got SOURCE KIND TOPIC SERIAL CAUSE_TS PAYLOAD
 *     hold | auto                         the lane keeps messages undone, or
 *                                         does them at once (at first)
 *     room N                              the lane takes N more; -1: any
 *     done N                              N of those held, the newest first
 *     relay                               -> relaying
 *     status                              -> status ALIVE CONNECTED IN_FLIGHT
 *     metrics                             -> what Prometheus would read, "."
 *     stop                                -> stopped MS
 */

#include "../driver.h"
#include "lane.h"
#include "sinks/relay.h"
#include "sources/bus.h"

#define DRIVER_HELD  100000

static pthread_mutex_t  driver_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool             driver_hold;
static long             driver_room = -1;
static size_t           driver_held;
static struct {
    coco_message_done_pt  done;
    void                 *data;
    uint64_t              tag;
} driver_messages[DRIVER_HELD];


/* In the place of the lane's own, which is not linked. */
int
coco_lane_try_push(coco_lane_t *lane, const coco_message_t *m)
{
    bool  hold;

    pthread_mutex_lock(&driver_mutex);

    if (driver_room == 0) {
        pthread_mutex_unlock(&driver_mutex);
        return COCO_AGAIN;
    }

    driver_room -= driver_room > 0;
    hold = driver_hold && driver_held < DRIVER_HELD;

    if (hold) {
        driver_messages[driver_held].done = m->done;
        driver_messages[driver_held].data = m->done_data;
        driver_messages[driver_held++].tag = m->tag;
    }

    printf("got %s %d %.*s %.*s %lld %.*s\n", m->source, (int) m->kind,
           (int) m->topic.len, m->topic.data, m->serial.len
           ? (int) m->serial.len : 1, m->serial.len ? m->serial.data : "-",
           m->cause.known ? (long long) m->cause.ts : -1,
           (int) m->payload.len, m->payload.data);

    pthread_mutex_unlock(&driver_mutex);

    if (!hold) {
        m->done(m->done_data, m->tag);
    }

    return COCO_OK;
}


static int
driver_loop(void *data, const coco_message_t *m)
{
    return coco_lane_try_push(data, m);
}


static void
driver_done(size_t n)
{
    pthread_mutex_lock(&driver_mutex);

    for (/* void */ ; n > 0 && driver_held > 0; n--) {
        driver_held--;
        driver_messages[driver_held].done(driver_messages[driver_held].data,
                                          driver_messages[driver_held].tag);
    }

    pthread_mutex_unlock(&driver_mutex);
}


/* The id of an event is that of its number. */
static void
driver_event(coco_bus_event_t *e, char *text, size_t size, const char *name,
    int number, int robots)
{
    int   n;
    char  id[COCO_ID_TEXT_LEN];

    memset(e, 0, sizeof(*e));
    n = snprintf(text, size, "%d", number);
    coco_id_derive(&e->id, &(coco_str_t) { text, (size_t) n }, 1);
    coco_id_format(id, &e->id);

    n = snprintf(text, 16, "r-%d", number % robots);
    e->serial = (coco_str_t) { text, (size_t) n };
    e->raw = strcmp(name, "raw") == 0;
    e->name = (coco_str_t) { name, strlen(name) };
    e->ts = 1700000000000 + number;
    e->cause.known = !e->raw && number % 2 == 0;
    e->cause.ts = e->ts;
    e->cause.id = e->id;

    text += 16;
    n = snprintf(text, size - 16, "{\"id\":\"%.36s\",\"name\":\"%s\","
                 "\"serial\":\"%.*s\",\"ts\":%lld,\"data\":{\"number\":%d}}",
                 id, name, (int) e->serial.len, e->serial.data,
                 (long long) e->ts,
                 number);
    e->payload = (coco_str_t) { text, (size_t) n };
}


static void
driver_send(coco_bus_t *bus, const char *name, int first, int count,
    int robots, bool once)
{
    size_t             sent = 0;
    char             (*text)[512];
    coco_backoff_t     backoff = { 0, 0 };
    coco_bus_event_t  *events;
    struct timespec    pause = { 0, 0 };

    events = calloc((size_t) count, sizeof(*events));
    text = calloc((size_t) count, sizeof(*text));

    if (events == NULL || text == NULL) {
        exit(1);
    }

    for (int i = 0; i < count; i++) {
        driver_event(&events[i], text[i], sizeof(text[i]), name, first + i,
                     robots);
    }

    for ( ;; ) {
        sent += coco_bus_send(bus, events + sent, (size_t) count - sent);

        if (once || sent == (size_t) count) {
            break;
        }

        pause.tv_nsec = coco_backoff_next(&backoff) % 1000 * 1000000L;
        nanosleep(&pause, NULL);
    }

    printf("sent %zu %s\n", sent,
           sent < (size_t) count ? coco_bus_error(bus) : "");
    free(events);
    free(text);
}


static coco_source_bus_t *
driver_consume(const coco_config_t *config, const char *engine)
{
    coco_source_bus_t          *s = NULL;
    coco_source_bus_options_t   o = { config, NULL };

    if (strcmp(engine, "rabbitmq") == 0) {
        if (coco_source_rabbitmq_wanted(config)) {
            s = coco_source_rabbitmq_start(&o);
        }

    } else if (coco_source_kafka_wanted(config)) {
        s = coco_source_kafka_start(&o);
    }

    printf(s ? "consuming\n" : "nothing\n");

    return s;
}


int
main(void)
{
    int                        first, count, robots, once;
    char                       line[256], word[128];
    int64_t                    begin;
    coco_stop_t                stop;
    coco_bus_t                *bus;
    coco_relay_t              *relay = NULL;
    coco_config_t              config;
    coco_source_bus_t         *source = NULL;
    coco_bus_options_t         options = { &config, driver_loop, NULL };
    coco_source_bus_status_t   status;

    if (driver_begin(&config) != COCO_OK
        || coco_stop_init(&stop) != COCO_OK
        || (bus = coco_bus_create(&options, &stop)) == NULL)
    {
        return 1;
    }

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "send %127s %d %d %d %d", word, &first, &count,
                   &robots, &once) == 5)
        {
            driver_send(bus, word, first, count, robots, once);

        } else if (sscanf(line, "consume %127s", word) == 1) {
            source = driver_consume(&config, word);

        } else if (strcmp(line, "hold\n") == 0) {
            driver_hold = true;

        } else if (strcmp(line, "auto\n") == 0) {
            driver_hold = false;

        } else if (sscanf(line, "room %d", &count) == 1) {
            pthread_mutex_lock(&driver_mutex);
            driver_room = count;
            pthread_mutex_unlock(&driver_mutex);

        } else if (sscanf(line, "done %d", &count) == 1) {
            driver_done((size_t) count);

        } else if (strcmp(line, "relay\n") == 0) {
            relay = coco_relay_start(&config, &options);
            printf("relaying\n");

        } else if (strcmp(line, "status\n") == 0 && source != NULL) {
            coco_source_bus_status(source, &status);
            printf("status %d %d %llu\n", status.alive, status.connected,
                   (unsigned long long) status.in_flight);

        } else if (strcmp(line, "metrics\n") == 0) {
            driver_metrics();

        } else if (strcmp(line, "stop\n") == 0) {
            break;
        }
    }

    begin = coco_clock_monotonic_us();
    coco_stop_set(&stop);
    coco_relay_stop(relay);

    if (source != NULL) {
        coco_source_bus_stop(source);
    }

    coco_source_bus_close(source);
    coco_bus_destroy(bus);
    coco_stop_free(&stop);
    coco_config_free(&config);
    driver_stopped(begin);

    return 0;
}
