/*
 * The thread of the pulse. Must never beat while something that was committed
 * was not told.
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "metrics.h"
#include "pulse.h"
#include "redis.h"

#define COCO_PULSE_BYE  " bye"

/* What was committed so long ago is told, or no beat says so: with the next
 * beat's time and what nginx allows a silent worker, less than a second. */
#define COCO_PULSE_TELL_US  400000

struct coco_pulse_s {
    coco_redis_t  *redis;
    coco_stop_t    stop;
    pthread_t      thread;
    char           text[1 + COCO_PULSE_NAME_MAX + sizeof(COCO_PULSE_BYE)];
    size_t         len;            /* of a beat */
};

static void *coco_pulse_thread(void *arg);
static void coco_pulse_beat(coco_pulse_t *pulse, bool bye);
static bool coco_pulse_owed(int64_t allowed_us);


void
coco_pulse_name(char ret[COCO_PULSE_NAME_MAX + 1], unsigned port)
{
    char   host[COCO_PULSE_NAME_MAX - sizeof(":65535") + 2];
    char  *p;

    if (gethostname(host, sizeof(host)) != 0) {
        snprintf(host, sizeof(host), "worker");
    }

    host[sizeof(host) - 1] = '\0';

    for (p = host; *p != '\0'; p++) {
        if ((*p < '0' || *p > '9') && (*p < 'A' || *p > 'Z')
            && (*p < 'a' || *p > 'z') && *p != '.' && *p != '_' && *p != '-')
        {
            *p = '-';
        }
    }

    snprintf(ret, COCO_PULSE_NAME_MAX + 1, "%s:%u", host, port);
}


coco_pulse_t *
coco_pulse_start(const coco_pulse_options_t *options)
{
    coco_pulse_t  *pulse;

    if (options->name.len > COCO_PULSE_NAME_MAX) {
        return NULL;
    }

    pulse = calloc(1, sizeof(*pulse));
    if (pulse == NULL) {
        return NULL;
    }

    pulse->len = (size_t) snprintf(pulse->text, sizeof(pulse->text), "@%.*s",
                                   (int) options->name.len,
                                   options->name.data);
    strcpy(pulse->text + pulse->len, COCO_PULSE_BYE);

    pulse->redis = coco_redis_create(options->redis_host, options->redis_port,
                                     options->redis_password,
                                     options->redis_db, -1);

    if (pulse->redis == NULL || coco_stop_init(&pulse->stop) != COCO_OK) {
        coco_redis_destroy(pulse->redis);
        free(pulse);
        return NULL;
    }

    if (pthread_create(&pulse->thread, NULL, coco_pulse_thread, pulse) != 0) {
        coco_stop_free(&pulse->stop);
        coco_redis_destroy(pulse->redis);
        free(pulse);
        return NULL;
    }

    return pulse;
}


void
coco_pulse_stop(coco_pulse_t *pulse)
{
    coco_stop_set(&pulse->stop);
    pthread_join(pulse->thread, NULL);
    coco_pulse_beat(pulse, true);

    coco_stop_free(&pulse->stop);
    coco_redis_destroy(pulse->redis);
    free(pulse);
}


/* By the clock: what a beat takes does not put off the next. */
static void *
coco_pulse_thread(void *arg)
{
    int64_t        now, due;
    sigset_t       pipe;
    coco_pulse_t  *pulse = arg;

    /* hiredis writes to sockets that may be gone: an error, not a signal */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    due = coco_clock_monotonic_us();

    do {
        coco_pulse_beat(pulse, false);

        now = coco_clock_monotonic_us();
        due += COCO_PULSE_MS * 1000;

        if (due < now) {
            due = now;
        }
    } while (!coco_stop_wait(&pulse->stop, (unsigned) ((due - now) / 1000)));

    return NULL;
}


static void
coco_pulse_beat(coco_pulse_t *pulse, bool bye)
{
    size_t  len = pulse->len;

    /* to connect takes a while: what is owed is looked at afterwards */

    if (!coco_redis_open(pulse->redis)
        || coco_pulse_owed(bye ? 0 : COCO_PULSE_TELL_US))
    {
        return;
    }

    if (bye) {
        len += sizeof(COCO_PULSE_BYE) - 1;
    }

    coco_redis_publish(pulse->redis, coco_string(COCO_SUPPLY_CHANNEL),
                       (coco_str_t) { pulse->text, len });
    (void) coco_redis_flush(pulse->redis);
}


/* Also what a lane was stopped at: nobody knows what came of it. */
static bool
coco_pulse_owed(int64_t allowed_us)
{
    int64_t  owed = 0;

    for (int lane = 0; lane < COCO_LANES; lane++) {
        owed += coco_metrics_gauge_get(COCO_G_REDIS_OWED,
                                       (coco_lane_id_e) lane);
    }

    return owed > 0
           || coco_redis_expected() < coco_clock_monotonic_us() - allowed_us;
}
