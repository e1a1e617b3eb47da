/*
 * One session with the broker, kept up by a thread of its own. The callbacks
 * of the MQTT client only append to the journal and leave word for that
 * thread; it alone calls the client, and never with the mutex held, because
 * the client's lock is held around the callbacks.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "feeder.h"
#include "log.h"
#include "mqtt.h"
#include "mqtt_client.h"

#define COCO_MQTT_TICK_MS    1000
#define COCO_MQTT_DRAIN_MS   20       /* a full journal is looked at */
#define COCO_MQTT_LEAVE_MS   3000
#define COCO_MQTT_STEADY_MS  1000     /* a session this old was a good one */
#define COCO_MQTT_STUCK_MS   30000


typedef enum {
    COCO_SESSION_DOWN = 0,      /* until `deadline`; entered at the start and
                                   by whatever goes wrong */
    COCO_SESSION_CONNECTING,    /* until it is connected or has failed */
    COCO_SESSION_SUBSCRIBING,   /* connected; the filter was not there */
    COCO_SESSION_UNSUBSCRIBING, /* from the filter of an older configuration */
    COCO_SESSION_UP,            /* until the connection or the journal ends */
    COCO_SESSION_LEAVING,       /* the journal is full: disconnect asked for */
    COCO_SESSION_PAUSED         /* until the journal is below its low mark */
} coco_session_state_e;


struct coco_source_mqtt_s {
    coco_source_mqtt_options_t   options;
    char                        *client_id;
    char                        *path;           /* of the journal */
    char                        *subscription;   /* filter with its group */
    coco_journal_t              *journal;
    coco_feeder_t               *feeder;
    coco_mqtt_client_t          *client;

    pthread_t                    thread;
    bool                         started;
    atomic_bool                  up;
    _Atomic int64_t              beat;           /* ms, monotonic */

    pthread_mutex_t              mutex;          /* guards this part: */
    pthread_cond_t               word;           /* something below changed */
    unsigned                     events;         /* 1 << coco_mqtt_event_e */
    bool                         present;        /* of COCO_MQTT_CONNECTED */
    bool                         full;
    bool                         stopping;
    char                         text[160];      /* of FAILED or LOST */

    /* the thread's */
    coco_session_state_e         state;
    int64_t                      deadline;       /* ms, monotonic */
    int64_t                      up_since;
    unsigned                     failures;       /* in a row */
    char                         reason[160];    /* text, when it was taken */
    bool                         was_up;
    char                         old[1400];      /* subscription to give up */
};


static char *coco_source_mqtt_print(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
static void coco_source_mqtt_event(void *data, coco_mqtt_event_e event,
    int value, const char *text);
static void coco_source_mqtt_message(void *data, coco_str_t topic,
    coco_str_t payload);
static void *coco_source_mqtt_thread(void *data);
static void coco_source_mqtt_step(coco_source_mqtt_t *s, unsigned events,
    bool full);
static void coco_source_mqtt_connect(coco_source_mqtt_t *s);
static void coco_source_mqtt_connected(coco_source_mqtt_t *s);
static void coco_source_mqtt_subscribed(coco_source_mqtt_t *s);
static void coco_source_mqtt_enter_up(coco_source_mqtt_t *s);
static void coco_source_mqtt_down(coco_source_mqtt_t *s, const char *reason);
static void coco_source_mqtt_leave(coco_source_mqtt_t *s);
static void coco_source_mqtt_paused(coco_source_mqtt_t *s);
static int64_t coco_source_mqtt_backoff(coco_source_mqtt_t *s);
static void coco_source_mqtt_filter_read(coco_source_mqtt_t *s, char *ret,
    size_t size);
static void coco_source_mqtt_filter_write(coco_source_mqtt_t *s);
static void coco_source_mqtt_enter(coco_source_mqtt_t *s,
    coco_session_state_e state, int64_t ms);
static int64_t coco_source_mqtt_now(clockid_t clock);
static void coco_source_mqtt_free(coco_source_mqtt_t *s);


int
coco_source_mqtt_open(coco_source_mqtt_t **ret,
    const coco_source_mqtt_options_t *options, char *error,
    size_t error_size)
{
    pthread_condattr_t       attr;
    coco_source_mqtt_t      *s;
    const coco_config_t     *c;
    coco_mqtt_handlers_t     handlers;
    coco_journal_options_t   journal;

    snprintf(error, error_size, "out of memory");

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return COCO_ERROR;
    }

    c = options->config;
    s->options = *options;
    s->beat = coco_source_mqtt_now(CLOCK_MONOTONIC);

    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->word, &attr);
    pthread_condattr_destroy(&attr);

    s->client_id = coco_source_mqtt_print("%s-%s", c->mqtt_client_id,
                                          options->name);
    s->path = coco_source_mqtt_print("%s/%s", c->journal_path, options->name);
    s->subscription = c->mqtt_shared_group
                      ? coco_source_mqtt_print("$share/%s/%s",
                                               c->mqtt_shared_group,
                                               options->filter)
                      : strdup(options->filter);

    if (!s->client_id || !s->path || !s->subscription) {
        goto failed;
    }

    memset(&journal, 0, sizeof(journal));
    journal.path = s->path;
    journal.client_id = s->client_id;
    journal.segment_bytes = c->journal_segment_size;
    journal.high_bytes = c->journal_high_water;
    journal.low_bytes = c->journal_low_water;
    journal.sync = (coco_journal_sync_e) c->journal_sync;
    journal.interval_ms = (unsigned) c->journal_sync_interval;

    if (coco_journal_open(&s->journal, &journal, error, error_size)
        != COCO_OK)
    {
        goto failed;
    }

    handlers.event = coco_source_mqtt_event;
    handlers.message = coco_source_mqtt_message;
    handlers.data = s;

    s->client = coco_mqtt_client_create(c, s->client_id, &handlers);
    if (s->client == NULL) {
        snprintf(error, error_size, "the MQTT client for %s could not be "
                 "made; is mqtt.client_id valid UTF-8?", s->client_id);
        goto failed;
    }

    *ret = s;

    return COCO_OK;

failed:

    coco_source_mqtt_free(s);

    return COCO_ERROR;
}


static char *
coco_source_mqtt_print(const char *fmt, ...)
{
    int       rc;
    char     *text;
    va_list   args;

    va_start(args, fmt);
    rc = vasprintf(&text, fmt, args);
    va_end(args);

    return rc == -1 ? NULL : text;
}


int
coco_source_mqtt_start(coco_source_mqtt_t *s)
{
    coco_feeder_options_t  feeder;

    feeder.journal = s->journal;
    feeder.lane = s->options.lane;
    feeder.kind = s->options.kind;
    feeder.metrics_lane = s->options.metrics_lane;
    feeder.filter = s->options.filter;

    s->feeder = coco_feeder_create(&feeder);
    if (s->feeder == NULL) {
        return COCO_ERROR;
    }

    s->full = coco_journal_full(s->journal);

    if (pthread_create(&s->thread, NULL, coco_source_mqtt_thread, s) != 0) {
        return COCO_ERROR;
    }

    s->started = true;

    return COCO_OK;
}


/* In the client's thread: leaves word. */
static void
coco_source_mqtt_event(void *data, coco_mqtt_event_e event, int value,
    const char *text)
{
    coco_source_mqtt_t  *s;

    s = data;
    pthread_mutex_lock(&s->mutex);

    s->events |= 1u << event;

    if (event == COCO_MQTT_CONNECTED) {
        s->present = (value != 0);
    }

    if (event == COCO_MQTT_FAILED || event == COCO_MQTT_LOST) {
        snprintf(s->text, sizeof(s->text), "%s", text);
    }

    pthread_cond_signal(&s->word);
    pthread_mutex_unlock(&s->mutex);
}


/* In the client's thread, before the acknowledgement. */
static void
coco_source_mqtt_message(void *data, coco_str_t topic, coco_str_t payload)
{
    coco_source_mqtt_t  *s;

    s = data;

    coco_journal_append(s->journal, coco_source_mqtt_now(CLOCK_REALTIME),
                        topic, payload);
    coco_metrics_add(COCO_M_RECEIVED, s->options.metrics_lane, 1);

    if (coco_journal_full(s->journal)) {
        pthread_mutex_lock(&s->mutex);
        if (!s->full) {
            s->full = true;
            pthread_cond_signal(&s->word);
        }
        pthread_mutex_unlock(&s->mutex);
    }
}


static void *
coco_source_mqtt_thread(void *data)
{
    bool                 full;
    int64_t              until;
    unsigned             events;
    struct timespec      deadline;
    coco_source_mqtt_t  *s;

    s = data;
    pthread_mutex_lock(&s->mutex);

    while (!s->stopping) {

        s->beat = coco_source_mqtt_now(CLOCK_MONOTONIC);
        until = s->beat + COCO_MQTT_TICK_MS;
        if (s->deadline < until) {
            until = s->deadline;
        }

        deadline.tv_sec = until / 1000;
        deadline.tv_nsec = until % 1000 * 1000000;

        if (s->events == 0
            && !(s->full && s->state == COCO_SESSION_UP)
            && pthread_cond_timedwait(&s->word, &s->mutex, &deadline) == 0
            && s->stopping)
        {
            break;
        }

        events = s->events;
        full = s->full;
        s->events = 0;
        memcpy(s->reason, s->text, sizeof(s->reason));
        pthread_mutex_unlock(&s->mutex);

        coco_source_mqtt_step(s, events, full);

        pthread_mutex_lock(&s->mutex);
    }

    pthread_mutex_unlock(&s->mutex);

    return NULL;
}


/* Answers what has happened since the last step, or the deadline. */
static void
coco_source_mqtt_step(coco_source_mqtt_t *s, unsigned events, bool full)
{
    bool  due;

    due = coco_source_mqtt_now(CLOCK_MONOTONIC) >= s->deadline;

    if (s->state == COCO_SESSION_LEAVING) {
        if (events & (1u << COCO_MQTT_LEFT | 1u << COCO_MQTT_LOST
                      | 1u << COCO_MQTT_FAILED) || due)
        {
            coco_source_mqtt_paused(s);
        }
        return;
    }

    if (s->state == COCO_SESSION_PAUSED) {
        coco_source_mqtt_paused(s);
        return;
    }

    if (events & (1u << COCO_MQTT_LOST | 1u << COCO_MQTT_FAILED)
        && s->state != COCO_SESSION_DOWN)
    {
        coco_source_mqtt_down(s, s->reason);
        return;
    }

    /* late, of an attempt before: this connection is the one that it ended */
    if (events & 1u << COCO_MQTT_LEFT && s->state != COCO_SESSION_DOWN
        && s->state != COCO_SESSION_CONNECTING)
    {
        coco_source_mqtt_down(s, "the disconnect came late");
        return;
    }

    if (events & (1u << COCO_MQTT_CONNECTED)) {
        coco_source_mqtt_connected(s);

    } else if (events & (1u << COCO_MQTT_SUBSCRIBED)) {
        coco_source_mqtt_subscribed(s);

    } else if (events & (1u << COCO_MQTT_UNSUBSCRIBED)) {
        coco_source_mqtt_enter_up(s);

    } else if (s->state == COCO_SESSION_UP) {
        if (full) {
            coco_source_mqtt_leave(s);
        }

    } else if (due) {
        if (s->state == COCO_SESSION_DOWN) {
            coco_source_mqtt_connect(s);
        } else {
            coco_source_mqtt_down(s, "no answer in time");
        }
    }
}


static void
coco_source_mqtt_connect(coco_source_mqtt_t *s)
{
    const char  *text;

    if (coco_journal_full(s->journal)) {
        coco_source_mqtt_paused(s);
        return;
    }

    /* the client's own timeout comes first */
    coco_source_mqtt_enter(s, COCO_SESSION_CONNECTING,
                           (int64_t) s->options.config->mqtt_connect_timeout
                           * 2 + COCO_MQTT_LEAVE_MS);

    if (coco_mqtt_connect(s->client, &text) != COCO_OK) {
        coco_source_mqtt_down(s, text);
    }
}


/* A session that was there has its subscription; asking again would only
 * bring the retained messages again. */
static void
coco_source_mqtt_connected(coco_source_mqtt_t *s)
{
    bool         present;
    const char  *text;

    pthread_mutex_lock(&s->mutex);
    present = s->present;
    pthread_mutex_unlock(&s->mutex);

    s->old[0] = '\0';

    if (present) {
        coco_source_mqtt_filter_read(s, s->old, sizeof(s->old));

        if (strcmp(s->old, s->subscription) == 0) {
            s->old[0] = '\0';
            coco_source_mqtt_enter_up(s);
            return;
        }
    }

    coco_source_mqtt_enter(s, COCO_SESSION_SUBSCRIBING,
                           (int64_t) s->options.config->mqtt_connect_timeout);

    if (coco_mqtt_subscribe(s->client, s->subscription, &text) != COCO_OK) {
        coco_source_mqtt_down(s, text);
    }
}


/* The broker would otherwise go on delivering what the old filter matches. */
static void
coco_source_mqtt_subscribed(coco_source_mqtt_t *s)
{
    const char  *text;

    coco_log(COCO_LOG_INFO, "mqtt_subscribed", "client", "%s", s->client_id,
             "filter", "%s", s->subscription, NULL);

    if (s->old[0] == '\0') {
        coco_source_mqtt_enter_up(s);
        return;
    }

    coco_source_mqtt_enter(s, COCO_SESSION_UNSUBSCRIBING,
                           (int64_t) s->options.config->mqtt_connect_timeout);

    if (coco_mqtt_unsubscribe(s->client, s->old, &text) != COCO_OK) {
        coco_source_mqtt_down(s, text);
    }
}


static void
coco_source_mqtt_enter_up(coco_source_mqtt_t *s)
{
    if (s->state == COCO_SESSION_SUBSCRIBING
        || s->state == COCO_SESSION_UNSUBSCRIBING)
    {
        coco_source_mqtt_filter_write(s);
    }

    if (s->was_up) {
        coco_metrics_add(COCO_M_RECONNECTS, s->options.metrics_lane, 1);
    }

    s->was_up = true;
    s->up = true;
    s->up_since = coco_source_mqtt_now(CLOCK_MONOTONIC);
    coco_source_mqtt_enter(s, COCO_SESSION_UP, 0);
    s->deadline = INT64_MAX;

    coco_log(COCO_LOG_INFO, "mqtt_connected", "client", "%s", s->client_id,
             NULL);
}


static void
coco_source_mqtt_down(coco_source_mqtt_t *s, const char *reason)
{
    int64_t      ms;
    const char  *text;

    if (s->state == COCO_SESSION_UP
        && coco_source_mqtt_now(CLOCK_MONOTONIC) - s->up_since
           >= COCO_MQTT_STEADY_MS)
    {
        s->failures = 0;
    }

    /* connected, but not subscribed: the next attempt starts afresh. An
     * error says that it was not connected. */
    if (s->state != COCO_SESSION_DOWN) {
        (void) coco_mqtt_leave(s->client, &text);
    }

    ms = coco_source_mqtt_backoff(s);

    coco_log(COCO_LOG_WARN, "mqtt_down", "client", "%s", s->client_id,
             "host", "%s", s->options.config->mqtt_host,
             "port", "%d", (int) s->options.config->mqtt_port,
             "reason", "%s", reason, "retry_ms", "%lld", (long long) ms,
             NULL);

    s->up = false;
    s->failures++;
    coco_source_mqtt_enter(s, COCO_SESSION_DOWN, ms);
}


static void
coco_source_mqtt_leave(coco_source_mqtt_t *s)
{
    const char  *text;

    coco_log(COCO_LOG_WARN, "journal_full", "client", "%s", s->client_id,
             "bytes", "%llu",
             (unsigned long long) coco_journal_pending(s->journal), NULL);

    s->up = false;
    coco_source_mqtt_enter(s, COCO_SESSION_LEAVING, COCO_MQTT_LEAVE_MS);

    if (coco_mqtt_leave(s->client, &text) != COCO_OK) {
        coco_source_mqtt_paused(s);
    }
}


static void
coco_source_mqtt_paused(coco_source_mqtt_t *s)
{
    bool  full;

    pthread_mutex_lock(&s->mutex);
    full = s->full = coco_journal_full(s->journal);
    pthread_mutex_unlock(&s->mutex);

    if (full) {
        coco_source_mqtt_enter(s, COCO_SESSION_PAUSED, COCO_MQTT_DRAIN_MS);
        return;
    }

    coco_log(COCO_LOG_INFO, "journal_drained", "client", "%s", s->client_id,
             NULL);

    coco_source_mqtt_enter(s, COCO_SESSION_DOWN, 0);
}


/* Doubles up to the limit; between half and all of it, so that the workers
 * of a fleet do not come back in step. */
static int64_t
coco_source_mqtt_backoff(coco_source_mqtt_t *s)
{
    uint32_t  noise;
    uint64_t  ms;

    ms = s->options.config->mqtt_reconnect_max;

    if (s->failures < 32) {
        ms = s->options.config->mqtt_reconnect_min << s->failures;
        if (ms > s->options.config->mqtt_reconnect_max) {
            ms = s->options.config->mqtt_reconnect_max;
        }
    }

    noise = 0;
    if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) == -1) {
        noise = (uint32_t) coco_source_mqtt_now(CLOCK_MONOTONIC);
    }

    return (int64_t) (ms - noise % (ms / 2 + 1));
}


/* What the broker's session is subscribed to, as far as we know. */
static void
coco_source_mqtt_filter_read(coco_source_mqtt_t *s, char *ret, size_t size)
{
    int      fd;
    char     path[4400];
    ssize_t  n;

    snprintf(path, sizeof(path), "%s/subscription", s->path);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd == -1 ? 0 : read(fd, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';

    if (fd != -1) {
        close(fd);
    }
}


static void
coco_source_mqtt_filter_write(coco_source_mqtt_t *s)
{
    int     fd;
    char    path[4400], made[4400];
    size_t  len;

    len = strlen(s->subscription);
    snprintf(path, sizeof(path), "%s/subscription", s->path);
    snprintf(made, sizeof(made), "%s/subscription.new", s->path);

    fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd == -1 || write(fd, s->subscription, len) != (ssize_t) len
        || rename(made, path) == -1)
    {
        /* it is then subscribed to again at the next connection */
        coco_log(COCO_LOG_WARN, "mqtt_subscription_not_kept", "path", "%s",
                 path, "error", "%s", strerror(errno), NULL);
    }

    if (fd != -1) {
        close(fd);
    }
}


static void
coco_source_mqtt_enter(coco_source_mqtt_t *s, coco_session_state_e state,
    int64_t ms)
{
    s->state = state;
    s->deadline = coco_source_mqtt_now(CLOCK_MONOTONIC) + ms;
}


static int64_t
coco_source_mqtt_now(clockid_t clock)
{
    struct timespec  now;

    clock_gettime(clock, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


void
coco_source_mqtt_status(coco_source_mqtt_t *s,
    coco_source_mqtt_status_t *ret)
{
    coco_lane_id_e  lane;

    lane = s->options.metrics_lane;

    ret->alive = coco_source_mqtt_now(CLOCK_MONOTONIC) - s->beat
                 < COCO_MQTT_STUCK_MS;
    ret->connected = s->up;
    ret->full = coco_journal_full(s->journal);
    ret->journal_bytes = coco_journal_pending(s->journal);
    ret->stalled = coco_journal_stalled(s->journal) / 1000;

    coco_metrics_set(COCO_G_MQTT_CONNECTED, lane, ret->connected);
    coco_metrics_set(COCO_G_JOURNAL_FULL, lane, ret->full);
    coco_metrics_set(COCO_G_JOURNAL_BYTES, lane, (int64_t) ret->journal_bytes);
    coco_metrics_set(COCO_G_JOURNAL_STALLED, lane, (int64_t) ret->stalled);
}


void
coco_source_mqtt_stop(coco_source_mqtt_t *s)
{
    const char       *text;
    struct timespec   deadline;

    if (s->started) {
        pthread_mutex_lock(&s->mutex);
        s->stopping = true;
        pthread_cond_signal(&s->word);
        pthread_mutex_unlock(&s->mutex);

        pthread_join(s->thread, NULL);
        s->started = false;
    }

    s->up = false;

    pthread_mutex_lock(&s->mutex);
    s->events = 0;
    pthread_mutex_unlock(&s->mutex);

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += COCO_MQTT_LEAVE_MS / 1000;

    if (coco_mqtt_leave(s->client, &text) == COCO_OK) {
        pthread_mutex_lock(&s->mutex);

        while (!(s->events & (1u << COCO_MQTT_LEFT | 1u << COCO_MQTT_FAILED
                              | 1u << COCO_MQTT_LOST))
               && pthread_cond_timedwait(&s->word, &s->mutex, &deadline) == 0)
        {
            /* something else */
        }

        pthread_mutex_unlock(&s->mutex);
    }

    /* nothing is appended from here on */
    coco_mqtt_client_destroy(s->client);
    s->client = NULL;

    if (s->feeder != NULL) {
        coco_feeder_stop(s->feeder);
    }
}


void
coco_source_mqtt_close(coco_source_mqtt_t *s)
{
    if (s->feeder != NULL) {
        coco_feeder_destroy(s->feeder);
    }

    coco_source_mqtt_free(s);
}


static void
coco_source_mqtt_free(coco_source_mqtt_t *s)
{
    if (s->client != NULL) {
        coco_mqtt_client_destroy(s->client);
    }

    if (s->journal != NULL) {
        coco_journal_close(s->journal);
    }

    pthread_cond_destroy(&s->word);
    pthread_mutex_destroy(&s->mutex);

    free(s->client_id);
    free(s->path);
    free(s->subscription);
    free(s);
}
