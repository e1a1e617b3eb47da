/*
 * A connection to RabbitMQ and the guard beside it: how it is made, kept
 * alive, read and given up. Knows no publishing and no consuming, and must
 * never leave its owner in a call of librabbitmq that a stop cannot end.
 */

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "log.h"
#include "metrics.h"
#include "sinks/bus_amqp.h"
#include "sinks/bus_topology.h"

#define COCO_AMQP_FRAME_MAX   131072
#define COCO_AMQP_CONNECT_MS  2000      /* TCP and TLS; no stop ends it */
#define COCO_AMQP_TICK_MS     200       /* of the guard */
#define COCO_AMQP_STOP_MS     800       /* what a stop leaves to a call */

struct coco_amqp_s {
    const coco_config_t      *config;
    coco_stop_t              *stop;
    coco_amqp_frame_pt        frame;
    void                     *data;
    char                      name[96];

    pthread_mutex_t           use;      /* held between begin and end; the
                                           guard only tries it */
    amqp_connection_state_t   conn;     /* NULL: not connected */
    unsigned                  generation;
    bool                      up;       /* counted as connected */
    bool                      blocked;
    int64_t                   beaten;   /* us; heartbeats were serviced */
    char                      error[320];

    pthread_t                 thread;
    pthread_mutex_t           mutex;    /* of what follows */
    pthread_cond_t            cond;
    bool                      ended;
    int                       fd;       /* to be cut; -1: none */
    int64_t                   until;    /* us, of the call; 0: in none */
};

static void *coco_amqp_guard(void *arg);
static void coco_amqp_idle(coco_amqp_t *a, int64_t now);
static int64_t coco_amqp_pause(coco_amqp_t *a);
static void coco_amqp_disarm(coco_amqp_t *a);
static int coco_amqp_connect(coco_amqp_t *a);
static int coco_amqp_socket(coco_amqp_t *a);
static int coco_amqp_login(coco_amqp_t *a);
static int coco_amqp_declare(coco_amqp_t *a);
static int coco_amqp_exchange(coco_amqp_t *a, const char *name);
static int coco_amqp_queue(coco_amqp_t *a, const char *name, bool dead);
static int coco_amqp_bind(coco_amqp_t *a, const char *queue,
    const char *exchange);
static int coco_amqp_reply(coco_amqp_t *a, amqp_rpc_reply_t reply,
    const char *what);
static void coco_amqp_drop(coco_amqp_t *a);
static int coco_amqp_take(coco_amqp_t *a, const amqp_frame_t *frame);


coco_amqp_t *
coco_amqp_create(const coco_config_t *config, const char *role,
    coco_stop_t *stop, coco_amqp_frame_pt frame, void *data)
{
    coco_amqp_t  *a;

    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return NULL;
    }

    a->config = config;
    a->stop = stop;
    a->frame = frame;
    a->data = data;
    a->fd = -1;
    snprintf(a->name, sizeof(a->name), "coco-worker %s", role);

    if (pthread_mutex_init(&a->use, NULL) != 0
        || pthread_mutex_init(&a->mutex, NULL) != 0
        || coco_cond_init(&a->cond) != COCO_OK
        || pthread_create(&a->thread, NULL, coco_amqp_guard, a) != 0)
    {
        free(a);
        return NULL;
    }

    return a;
}


void
coco_amqp_destroy(coco_amqp_t *a)
{
    if (a == NULL) {
        return;
    }

    coco_amqp_begin(a);
    coco_amqp_close(a);
    coco_amqp_end(a);

    pthread_mutex_lock(&a->mutex);
    a->ended = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);

    pthread_cond_destroy(&a->cond);
    pthread_mutex_destroy(&a->mutex);
    pthread_mutex_destroy(&a->use);
    free(a);
}


void
coco_amqp_begin(coco_amqp_t *a)
{
    pthread_mutex_lock(&a->use);
}


void
coco_amqp_end(coco_amqp_t *a)
{
    coco_amqp_disarm(a);
    pthread_mutex_unlock(&a->use);
}


/* Shutting the socket down ends the poll and the send that librabbitmq is in;
 * closing it is the owner's. */
static void *
coco_amqp_guard(void *arg)
{
    int64_t       now, stopped = 0;
    coco_amqp_t  *a = arg;

    for ( ;; ) {
        now = coco_amqp_pause(a);
        if (now == 0) {
            return NULL;
        }

        if (stopped == 0 && atomic_load(&a->stop->set)) {
            stopped = now;
        }

        if (pthread_mutex_trylock(&a->use) == 0) {
            coco_amqp_idle(a, now);
            pthread_mutex_unlock(&a->use);
            continue;
        }

        pthread_mutex_lock(&a->mutex);

        if (a->fd != -1 && a->until != 0
            && (now > a->until
                || (stopped != 0
                    && now > stopped + COCO_AMQP_STOP_MS * 1000)))
        {
            shutdown(a->fd, SHUT_RDWR);
        }

        pthread_mutex_unlock(&a->mutex);
    }
}


/* The time, us, after a tick; 0: the guard is to end. */
static int64_t
coco_amqp_pause(coco_amqp_t *a)
{
    int              rc = 0;
    bool             ended;
    struct timespec  tick;

    tick = coco_cond_deadline(coco_clock_monotonic_us()
                              + COCO_AMQP_TICK_MS * 1000);

    pthread_mutex_lock(&a->mutex);

    while (!a->ended && rc == 0) {
        rc = pthread_cond_timedwait(&a->cond, &a->mutex, &tick);
    }

    ended = a->ended;
    pthread_mutex_unlock(&a->mutex);

    return ended ? 0 : coco_clock_monotonic_us();
}


static void
coco_amqp_idle(coco_amqp_t *a, int64_t now)
{
    if (a->conn == NULL
        || now - a->beaten < (int64_t) a->config->rabbitmq_heartbeat * 300)
    {
        return;
    }

    if (coco_amqp_frames(a, 0, -1) != COCO_OK) {
        coco_log(COCO_LOG_WARN, "rabbitmq_lost", "name", "%s", a->name,
                 "error", "%s", a->error, NULL);
    }

    coco_amqp_disarm(a);
}


void
coco_amqp_arm(coco_amqp_t *a)
{
    pthread_mutex_lock(&a->mutex);
    a->until = coco_clock_monotonic_us()
               + (int64_t) a->config->bus_timeout * 1000;
    pthread_mutex_unlock(&a->mutex);
}


static void
coco_amqp_disarm(coco_amqp_t *a)
{
    pthread_mutex_lock(&a->mutex);
    a->until = 0;
    pthread_mutex_unlock(&a->mutex);
}


int
coco_amqp_open(coco_amqp_t *a)
{
    if (a->conn != NULL) {
        return COCO_OK;
    }

    if (coco_amqp_connect(a) != COCO_OK) {
        return COCO_ERROR;
    }

    a->beaten = coco_clock_monotonic_us();

    if (coco_amqp_declare(a) != COCO_OK) {
        return COCO_ERROR;
    }

    a->generation++;
    a->up = true;
    coco_metrics_shift(COCO_G_BUS_CONNECTED, COCO_LANE_BUS, 1);
    coco_log(COCO_LOG_INFO, "rabbitmq_connected", "name", "%s", a->name,
             "host", "%s", a->config->rabbitmq_host, "port", "%d",
             (int) a->config->rabbitmq_port, NULL);

    return COCO_OK;
}


static int
coco_amqp_connect(coco_amqp_t *a)
{
    struct timeval  timeout;

    a->conn = amqp_new_connection();
    if (a->conn == NULL) {
        snprintf(a->error, sizeof(a->error), "out of memory");
        return COCO_ERROR;
    }

    timeout = (struct timeval) {
        .tv_sec = (time_t) (a->config->bus_timeout / 1000),
        .tv_usec = (suseconds_t) (a->config->bus_timeout % 1000 * 1000)
    };

    amqp_set_handshake_timeout(a->conn, &timeout);
    amqp_set_rpc_timeout(a->conn, &timeout);

    a->blocked = false;

    if (coco_amqp_socket(a) != COCO_OK || coco_amqp_login(a) != COCO_OK) {
        coco_amqp_drop(a);
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int
coco_amqp_socket(coco_amqp_t *a)
{
    int                   rc;
    amqp_socket_t        *s;
    struct timeval        timeout;
    const coco_config_t  *c = a->config;

    s = c->rabbitmq_tls ? amqp_ssl_socket_new(a->conn)
                        : amqp_tcp_socket_new(a->conn);
    if (s == NULL) {
        snprintf(a->error, sizeof(a->error), "out of memory");
        return COCO_ERROR;
    }

    if (c->rabbitmq_tls) {
        amqp_ssl_socket_set_verify_peer(s, 1);
        amqp_ssl_socket_set_verify_hostname(s, 1);
        amqp_ssl_socket_set_ssl_versions(s, AMQP_TLSv1_2, AMQP_TLSvLATEST);

        if (c->rabbitmq_tls_ca_file != NULL && *c->rabbitmq_tls_ca_file
            && amqp_ssl_socket_set_cacert(s, c->rabbitmq_tls_ca_file) != 0)
        {
            snprintf(a->error, sizeof(a->error), "cannot read the "
                     "certificates in rabbitmq.tls_ca_file %s",
                     c->rabbitmq_tls_ca_file);
            return COCO_ERROR;
        }
    }

    timeout = (struct timeval) { .tv_sec = COCO_AMQP_CONNECT_MS / 1000 };
    rc = amqp_socket_open_noblock(s, c->rabbitmq_host, (int) c->rabbitmq_port,
                                  &timeout);
    if (rc != AMQP_STATUS_OK) {
        snprintf(a->error, sizeof(a->error), "cannot connect to %s port %d: "
                 "%s", c->rabbitmq_host, (int) c->rabbitmq_port,
                 amqp_error_string2(rc));
        return COCO_ERROR;
    }

    pthread_mutex_lock(&a->mutex);
    a->fd = amqp_get_sockfd(a->conn);
    pthread_mutex_unlock(&a->mutex);
    coco_amqp_arm(a);

    return COCO_OK;
}


/* librabbitmq logs in with PLAIN; without a password configured it is the one
 * that RabbitMQ gives to guest, who may come from loopback only. */
static int
coco_amqp_login(coco_amqp_t *a)
{
    int                   heartbeat;
    amqp_table_t          capabilities, properties;
    amqp_rpc_reply_t      reply;
    const coco_config_t  *c = a->config;
    amqp_table_entry_t    able[] = {
        { amqp_cstring_bytes("connection.blocked"),
          { AMQP_FIELD_KIND_BOOLEAN, { .boolean = 1 } } },
        { amqp_cstring_bytes("consumer_cancel_notify"),
          { AMQP_FIELD_KIND_BOOLEAN, { .boolean = 1 } } },
        { amqp_cstring_bytes("basic.nack"),
          { AMQP_FIELD_KIND_BOOLEAN, { .boolean = 1 } } },
        { amqp_cstring_bytes("publisher_confirms"),
          { AMQP_FIELD_KIND_BOOLEAN, { .boolean = 1 } } },
    };
    amqp_table_entry_t    entries[2];

    capabilities = (amqp_table_t) { sizeof(able) / sizeof(able[0]), able };
    entries[0] = (amqp_table_entry_t) {
        amqp_cstring_bytes("capabilities"),
        { AMQP_FIELD_KIND_TABLE, { .table = capabilities } } };
    entries[1] = (amqp_table_entry_t) {
        amqp_cstring_bytes("connection_name"),
        { AMQP_FIELD_KIND_UTF8, { .bytes = amqp_cstring_bytes(a->name) } } };
    properties = (amqp_table_t) { 2, entries };

    heartbeat = (int) ((c->rabbitmq_heartbeat + 999) / 1000);
    reply = amqp_login_with_properties(a->conn, c->rabbitmq_vhost, 0,
                COCO_AMQP_FRAME_MAX, heartbeat, &properties,
                AMQP_SASL_METHOD_PLAIN, c->rabbitmq_username,
                c->rabbitmq_password ? c->rabbitmq_password : "guest");

    if (coco_amqp_reply(a, reply, "login") != COCO_OK) {
        return COCO_ERROR;
    }

    amqp_channel_open(a->conn, COCO_AMQP_CHANNEL);

    return coco_amqp_answered(a, "channel.open");
}


/* What is elsewhere is declared, too: nothing that is published before its
 * first start is lost. A process with all services declares exchanges only,
 * or its queues would fill for nobody. */
static int
coco_amqp_declare(coco_amqp_t *a)
{
    const coco_bus_name_t      *name;
    const coco_bus_consumer_t  *consumer;

    for (size_t i = 0; i < coco_bus_names_count; i++) {
        if (coco_amqp_exchange(a, coco_bus_names[i].name) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    if (coco_bus_whole(a->config)) {
        return COCO_OK;
    }

    if (coco_amqp_exchange(a, COCO_BUS_DEAD) != COCO_OK
        || coco_amqp_queue(a, COCO_BUS_DEAD, true) != COCO_OK
        || coco_amqp_bind(a, COCO_BUS_DEAD, COCO_BUS_DEAD) != COCO_OK)
    {
        return COCO_ERROR;
    }

    for (size_t i = 0; i < COCO_BUS_CONSUMERS; i++) {
        consumer = &coco_bus_consumers[i];

        if (coco_amqp_queue(a, consumer->queue, false) != COCO_OK) {
            return COCO_ERROR;
        }

        for (size_t j = 0; j < coco_bus_names_count; j++) {
            name = &coco_bus_names[j];

            if (coco_bus_consumes(a->config, name, consumer->service)
                && coco_amqp_bind(a, consumer->queue, name->name) != COCO_OK)
            {
                return COCO_ERROR;
            }
        }
    }

    return COCO_OK;
}


static int
coco_amqp_exchange(coco_amqp_t *a, const char *name)
{
    char  what[96];

    snprintf(what, sizeof(what), "exchange %s", name);
    amqp_exchange_declare(a->conn, COCO_AMQP_CHANNEL, amqp_cstring_bytes(name),
                          amqp_cstring_bytes("fanout"), 0, 1, 0, 0,
                          amqp_empty_table);

    return coco_amqp_answered(a, what);
}


static int
coco_amqp_queue(coco_amqp_t *a, const char *name, bool dead)
{
    char                what[192];
    amqp_table_t        arguments;
    amqp_table_entry_t  entries[] = {
        { amqp_cstring_bytes("x-queue-type"),
          { AMQP_FIELD_KIND_UTF8,
            { .bytes = amqp_cstring_bytes("quorum") } } },
        { amqp_cstring_bytes("x-delivery-limit"),
          { AMQP_FIELD_KIND_I32,
            { .i32 = (int32_t) a->config->rabbitmq_delivery_limit } } },
        { amqp_cstring_bytes("x-dead-letter-exchange"),
          { AMQP_FIELD_KIND_UTF8,
            { .bytes = amqp_cstring_bytes(COCO_BUS_DEAD) } } },
    };

    arguments = (amqp_table_t) { dead ? 1 : 3, entries };
    snprintf(what, sizeof(what), "queue %s (when it exists with other "
             "arguments, delete it once it is empty, or set "
             "rabbitmq.delivery_limit as it was)", name);
    amqp_queue_declare(a->conn, COCO_AMQP_CHANNEL, amqp_cstring_bytes(name), 0,
                       1, 0, 0, arguments);

    return coco_amqp_answered(a, what);
}


static int
coco_amqp_bind(coco_amqp_t *a, const char *queue, const char *exchange)
{
    char  what[160];

    snprintf(what, sizeof(what), "binding of queue %s to exchange %s", queue,
             exchange);
    amqp_queue_bind(a->conn, COCO_AMQP_CHANNEL, amqp_cstring_bytes(queue),
                    amqp_cstring_bytes(exchange), amqp_empty_bytes,
                    amqp_empty_table);

    return coco_amqp_answered(a, what);
}


static int
coco_amqp_reply(coco_amqp_t *a, amqp_rpc_reply_t reply, const char *what)
{
    amqp_channel_close_t     *channel;
    amqp_connection_close_t  *connection;

    coco_amqp_arm(a);

    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return COCO_OK;
    }

    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        return coco_amqp_fail(a, "%s: %s", what,
                              amqp_error_string2(reply.library_error));
    }

    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION
        && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
    {
        channel = reply.reply.decoded;
        return coco_amqp_fail(a, "%s: %.*s", what,
                              (int) channel->reply_text.len,
                              (char *) channel->reply_text.bytes);
    }

    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION
        && reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
    {
        connection = reply.reply.decoded;
        return coco_amqp_fail(a, "%s: %.*s", what,
                              (int) connection->reply_text.len,
                              (char *) connection->reply_text.bytes);
    }

    return coco_amqp_fail(a, "%s: no answer", what);
}


int
coco_amqp_answered(coco_amqp_t *a, const char *what)
{
    return coco_amqp_reply(a, amqp_get_rpc_reply(a->conn), what);
}


int
coco_amqp_check(coco_amqp_t *a, int status, const char *what)
{
    if (status == AMQP_STATUS_OK) {
        return COCO_OK;
    }

    return coco_amqp_fail(a, "%s: %s", what, amqp_error_string2(status));
}


int
coco_amqp_fail(coco_amqp_t *a, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(a->error, sizeof(a->error), fmt, args);
    va_end(args);

    coco_amqp_drop(a);

    if (a->up) {
        a->up = false;
        coco_metrics_shift(COCO_G_BUS_CONNECTED, COCO_LANE_BUS, -1);
    }

    return COCO_ERROR;
}


void
coco_amqp_close(coco_amqp_t *a)
{
    if (a->conn == NULL) {
        return;
    }

    coco_amqp_arm(a);
    amqp_connection_close(a->conn, AMQP_REPLY_SUCCESS);
    (void) coco_amqp_fail(a, "closed");
}


static void
coco_amqp_drop(coco_amqp_t *a)
{
    if (a->conn == NULL) {
        return;
    }

    pthread_mutex_lock(&a->mutex);
    a->fd = -1;
    pthread_mutex_unlock(&a->mutex);

    amqp_destroy_connection(a->conn);
    a->conn = NULL;
}


int
coco_amqp_frames(coco_amqp_t *a, unsigned timeout_ms, int extra_fd)
{
    int             rc;
    bool            waited = timeout_ms == 0;
    amqp_frame_t    frame;
    struct pollfd   fds[2];
    struct timeval  zero = { 0, 0 };

    coco_amqp_arm(a);

    for ( ;; ) {
        rc = amqp_simple_wait_frame_noblock(a->conn, &frame, &zero);

        if (rc == AMQP_STATUS_TIMEOUT) {
            a->beaten = coco_clock_monotonic_us();

            if (waited) {
                return COCO_OK;
            }

            coco_amqp_disarm(a);
            fds[0] = (struct pollfd) { amqp_get_sockfd(a->conn), POLLIN, 0 };
            fds[1] = (struct pollfd) { extra_fd, POLLIN, 0 };
            (void) poll(fds, 2, (int) timeout_ms);
            coco_amqp_arm(a);
            waited = true;
            continue;
        }

        if (coco_amqp_check(a, rc, "connection lost") != COCO_OK) {
            return COCO_ERROR;
        }

        waited = true;
        rc = coco_amqp_take(a, &frame);

        if (rc == COCO_ERROR) {
            return COCO_ERROR;
        }

        amqp_maybe_release_buffers(a->conn);

        if (rc == COCO_AGAIN) {
            return COCO_OK;
        }
    }
}


static int
coco_amqp_take(coco_amqp_t *a, const amqp_frame_t *frame)
{
    amqp_channel_close_t       *channel;
    amqp_connection_close_t    *connection;
    amqp_connection_blocked_t  *blocked;

    if (frame->frame_type != AMQP_FRAME_METHOD) {
        return a->frame(a->data, frame);
    }

    switch (frame->payload.method.id) {

    case AMQP_CONNECTION_BLOCKED_METHOD:
        blocked = frame->payload.method.decoded;
        a->blocked = true;
        coco_log(COCO_LOG_WARN, "rabbitmq_blocked", "name", "%s", a->name,
                 "reason", "%.*s", (int) blocked->reason.len,
                 (char *) blocked->reason.bytes, NULL);
        return COCO_OK;

    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        a->blocked = false;
        coco_log(COCO_LOG_INFO, "rabbitmq_unblocked", "name", "%s", a->name,
                 NULL);
        return COCO_OK;

    case AMQP_CHANNEL_CLOSE_METHOD:
        channel = frame->payload.method.decoded;
        return coco_amqp_fail(a, "the broker closed the channel: %.*s",
                              (int) channel->reply_text.len,
                              (char *) channel->reply_text.bytes);

    case AMQP_CONNECTION_CLOSE_METHOD:
        connection = frame->payload.method.decoded;
        return coco_amqp_fail(a, "the broker closed the connection: %.*s",
                              (int) connection->reply_text.len,
                              (char *) connection->reply_text.bytes);

    default:
        return a->frame(a->data, frame);
    }
}


/* The broker's heartbeats are told from what it sends at the next read. */
int
coco_amqp_beat(coco_amqp_t *a)
{
    int64_t       now = coco_clock_monotonic_us();
    amqp_frame_t  frame = { .frame_type = AMQP_FRAME_HEARTBEAT };

    if (now - a->beaten < (int64_t) a->config->rabbitmq_heartbeat * 300) {
        return COCO_OK;
    }

    a->beaten = now;
    coco_amqp_arm(a);

    return coco_amqp_check(a, amqp_send_frame(a->conn, &frame), "heartbeat");
}


amqp_connection_state_t
coco_amqp_connection(coco_amqp_t *a)
{
    return a->conn;
}


unsigned
coco_amqp_generation(const coco_amqp_t *a)
{
    return a->generation;
}


bool
coco_amqp_blocked(const coco_amqp_t *a)
{
    return a->blocked;
}


const char *
coco_amqp_error(const coco_amqp_t *a)
{
    return a->error;
}


amqp_bytes_t
coco_amqp_bytes(coco_str_t s)
{
    return (amqp_bytes_t) { s.len, (void *) s.data };
}
