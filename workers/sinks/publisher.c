/*
 * libmosquitto on its owner's poll(). Every connection is a client made anew:
 * the library would send again, after a reconnection, what may have expired.
 * Must never log a payload.
 */

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "log.h"
#include "sinks/publisher.h"
#include "sinks/retry.h"
#include "sources/mqtt_client.h"

#define COCO_PUBLISHER_TICK_MS    1000
#define COCO_PUBLISHER_STEADY_US  1000000  /* so old, it was a good one */
#define COCO_PUBLISHER_ALIVE_MIN  5        /* s; the library's */

typedef struct {
    int       mid;                         /* 0: free */
    unsigned  tag;
    int64_t   sent_at;                     /* us, monotonic */
} coco_publisher_slot_t;

struct coco_publisher_s {
    coco_publisher_options_t   options;
    char                      *client_id;
    struct mosquitto          *mosq;       /* NULL: no attempt is under way */
    bool                       up;
    int64_t                    deadline;   /* us, monotonic: of the next
                                              attempt, or of this one's end */
    int64_t                    up_since;
    coco_backoff_t             backoff;
    char                       text[160];  /* why it ended */
    unsigned                   window;
    unsigned                   in_flight;
    coco_publisher_slot_t      slots[COCO_PUBLISHER_WINDOW];
};

static void coco_publisher_connect(coco_publisher_t *p);
static int coco_publisher_set(coco_publisher_t *p);
static int coco_publisher_tls(coco_publisher_t *p);
static int coco_publisher_step(coco_publisher_t *p, short revents);
static bool coco_publisher_late(const coco_publisher_t *p, int64_t now);
static void coco_publisher_down(coco_publisher_t *p);
static void coco_publisher_close(coco_publisher_t *p);
static void coco_publisher_on_connect(struct mosquitto *mosq, void *data,
    int reason, int flags, const mosquitto_property *properties);
static void coco_publisher_on_disconnect(struct mosquitto *mosq, void *data,
    int reason, const mosquitto_property *properties);
static void coco_publisher_on_publish(struct mosquitto *mosq, void *data,
    int mid, int reason, const mosquitto_property *properties);
static void coco_publisher_on_log(struct mosquitto *mosq, void *data,
    int level, const char *text);
static void coco_publisher_why(coco_publisher_t *p, const char *text);


coco_publisher_t *
coco_publisher_create(const coco_publisher_options_t *options)
{
    coco_publisher_t  *p;

    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return NULL;
    }

    p->options = *options;

    if (asprintf(&p->client_id, "%s-%s", options->config->mqtt_client_id,
                 options->name) == -1)
    {
        free(p);
        return NULL;
    }

    mosquitto_lib_init();

    return p;
}


void
coco_publisher_destroy(coco_publisher_t *p)
{
    if (p == NULL) {
        return;
    }

    if (p->up) {
        (void) mosquitto_disconnect(p->mosq);
    }

    coco_publisher_close(p);
    mosquitto_lib_cleanup();
    free(p->client_id);
    free(p);
}


unsigned
coco_publisher_poll(coco_publisher_t *p, struct pollfd *ret)
{
    int64_t  left;

    ret->fd = -1;
    ret->events = 0;

    if (p->mosq != NULL) {
        ret->fd = mosquitto_socket(p->mosq);
        ret->events = mosquitto_want_write(p->mosq) ? POLLIN | POLLOUT
                                                    : POLLIN;
    }

    if (p->up) {
        return COCO_PUBLISHER_TICK_MS;
    }

    left = (p->deadline - coco_clock_monotonic_us() + 999) / 1000;

    return left < 0 ? 0 : left > COCO_PUBLISHER_TICK_MS
                          ? COCO_PUBLISHER_TICK_MS : (unsigned) left;
}


void
coco_publisher_serve(coco_publisher_t *p, short revents)
{
    int      rc;
    int64_t  now = coco_clock_monotonic_us();

    if (p->mosq == NULL) {
        if (now >= p->deadline) {
            coco_publisher_connect(p);
        }
        return;
    }

    rc = coco_publisher_step(p, revents);

    if (rc != MOSQ_ERR_SUCCESS || mosquitto_socket(p->mosq) == -1) {
        coco_publisher_why(p, rc == MOSQ_ERR_SUCCESS
                              ? "the broker ended the connection"
                              : mosquitto_strerror(rc));
        coco_publisher_down(p);

    } else if (coco_publisher_late(p, now)) {
        coco_publisher_why(p, "no answer in time");
        coco_publisher_down(p);
    }
}


static int
coco_publisher_step(coco_publisher_t *p, short revents)
{
    int        rc = MOSQ_ERR_SUCCESS, error = 0;
    socklen_t  len = sizeof(error);

    if (!p->up && revents & POLLERR
        && getsockopt(mosquitto_socket(p->mosq), SOL_SOCKET, SO_ERROR, &error,
                      &len) == 0
        && error != 0)
    {
        errno = error;
        return MOSQ_ERR_ERRNO;
    }

    /* the library takes an errno of before for its own and reads less */
    errno = 0;

    if (revents & (POLLIN | POLLERR | POLLHUP)) {
        rc = mosquitto_loop_read(p->mosq, 1);
    }

    if (rc == MOSQ_ERR_SUCCESS && revents & POLLOUT) {
        rc = mosquitto_loop_write(p->mosq, 1);
    }

    /* the library would go on shaking hands with nobody */
    if (rc == MOSQ_ERR_SUCCESS && !p->up && revents & POLLHUP) {
        rc = MOSQ_ERR_CONN_LOST;
    }

    return rc != MOSQ_ERR_SUCCESS || mosquitto_socket(p->mosq) == -1
           ? rc : mosquitto_loop_misc(p->mosq);
}


/* A broker that answers pings but acknowledges nothing is no use either. */
static bool
coco_publisher_late(const coco_publisher_t *p, int64_t now)
{
    int64_t  timeout;

    if (!p->up) {
        return now >= p->deadline;
    }

    timeout = (int64_t) p->options.config->mqtt_connect_timeout * 1000;

    for (size_t i = 0; p->in_flight > 0 && i < COCO_PUBLISHER_WINDOW; i++) {
        if (p->slots[i].mid != 0 && now - p->slots[i].sent_at >= timeout) {
            return true;
        }
    }

    return false;
}


static void
coco_publisher_connect(coco_publisher_t *p)
{
    int                   rc, alive;
    const coco_config_t  *c = p->options.config;

    p->text[0] = '\0';
    p->deadline = coco_clock_monotonic_us()
                  + (int64_t) c->mqtt_connect_timeout * 1000;

    p->mosq = mosquitto_new(p->client_id, true, p);
    if (p->mosq == NULL) {
        coco_publisher_why(p, "the client could not be made; is "
                              "mqtt.client_id valid UTF-8?");
        coco_publisher_down(p);
        return;
    }

    mosquitto_connect_v5_callback_set(p->mosq, coco_publisher_on_connect);
    mosquitto_disconnect_v5_callback_set(p->mosq,
                                         coco_publisher_on_disconnect);
    mosquitto_publish_v5_callback_set(p->mosq, coco_publisher_on_publish);
    mosquitto_log_callback_set(p->mosq, coco_publisher_on_log);

    rc = coco_publisher_set(p);

    if (rc == MOSQ_ERR_SUCCESS) {
        alive = (int) ((c->mqtt_keep_alive + 999) / 1000);
        rc = mosquitto_connect_async(p->mosq, c->mqtt_host,
                                     (int) c->mqtt_port,
                                     alive < COCO_PUBLISHER_ALIVE_MIN
                                     ? COCO_PUBLISHER_ALIVE_MIN : alive);
    }

    if (rc != MOSQ_ERR_SUCCESS) {
        coco_publisher_why(p, mosquitto_strerror(rc));
        coco_publisher_down(p);
    }
}


static int
coco_publisher_set(coco_publisher_t *p)
{
    int                   rc;
    const coco_config_t  *c = p->options.config;

    rc = mosquitto_int_option(p->mosq, MOSQ_OPT_PROTOCOL_VERSION,
                              c->mqtt_version == COCO_MQTT_5
                              ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    if (rc == MOSQ_ERR_SUCCESS) {
        rc = mosquitto_int_option(p->mosq, MOSQ_OPT_TCP_NODELAY, 1);
    }

    if (rc == MOSQ_ERR_SUCCESS) {
        rc = mosquitto_int_option(p->mosq, MOSQ_OPT_SEND_MAXIMUM,
                                  COCO_PUBLISHER_WINDOW);
    }

    if (rc == MOSQ_ERR_SUCCESS && c->mqtt_username != NULL) {
        rc = mosquitto_username_pw_set(p->mosq, c->mqtt_username,
                                       c->mqtt_password);
    }

    return rc == MOSQ_ERR_SUCCESS && c->mqtt_tls ? coco_publisher_tls(p) : rc;
}


/* The server's certificate and its name are verified unless told otherwise,
 * and nobody tells. */
static int
coco_publisher_tls(coco_publisher_t *p)
{
    int                   rc;
    const coco_config_t  *c = p->options.config;

    rc = mosquitto_tls_set(p->mosq, c->mqtt_tls_ca_file,
                           c->mqtt_tls_ca_file
                           ? NULL : X509_get_default_cert_dir(),
                           c->mqtt_tls_cert_file, c->mqtt_tls_key_file, NULL);

    if (rc != MOSQ_ERR_SUCCESS) {
        coco_publisher_why(p, "a file of mqtt.tls_ca_file, tls_cert_file or "
                              "tls_key_file cannot be read");
    }

    if (rc == MOSQ_ERR_SUCCESS && c->mqtt_tls_alpn != NULL) {
        rc = mosquitto_string_option(p->mosq, MOSQ_OPT_TLS_ALPN,
                                     c->mqtt_tls_alpn);
    }

    return rc;
}


static void
coco_publisher_on_connect(struct mosquitto *mosq, void *data, int reason,
    int flags, const mosquitto_property *properties)
{
    uint16_t           most = COCO_PUBLISHER_WINDOW;
    coco_publisher_t  *p = data;

    if (reason != 0) {
        coco_publisher_why(p, p->options.config->mqtt_version == COCO_MQTT_5
                              ? mosquitto_reason_string(reason)
                              : mosquitto_connack_string(reason));
        return;
    }

    (void) mosquitto_property_read_int16(properties,
                                         MQTT_PROP_RECEIVE_MAXIMUM, &most,
                                         false);
    p->window = most < COCO_PUBLISHER_WINDOW ? most : COCO_PUBLISHER_WINDOW;
    p->up_since = coco_clock_monotonic_us();
    p->up = true;

    coco_log(COCO_LOG_INFO, "mqtt_connected", "client", "%s", p->client_id,
             NULL);
}


/* reason: of MQTT 5, when the broker has sent one. */
static void
coco_publisher_on_disconnect(struct mosquitto *mosq, void *data, int reason,
    const mosquitto_property *properties)
{
    coco_publisher_t  *p = data;

    if (reason == MQTT_RC_SESSION_TAKEN_OVER) {
        coco_publisher_why(p, "another client has the same mqtt.client_id; "
                              "give each worker its own");

    } else if (reason >= MQTT_RC_UNSPECIFIED) {
        coco_publisher_why(p, mosquitto_reason_string(reason));
    }
}


static void
coco_publisher_on_publish(struct mosquitto *mosq, void *data, int mid,
    int reason, const mosquitto_property *properties)
{
    bool               taken = reason < MQTT_RC_UNSPECIFIED;
    coco_publisher_t  *p = data;

    for (size_t i = 0; i < COCO_PUBLISHER_WINDOW; i++) {
        if (p->slots[i].mid == mid) {
            p->slots[i].mid = 0;
            p->in_flight--;
            p->options.done(p->options.data, p->slots[i].tag,
                            taken ? COCO_PUBLISHER_TAKEN
                                  : COCO_PUBLISHER_REFUSED,
                            taken ? "" : mosquitto_reason_string(reason));
            return;
        }
    }
}


/* What the library has to say of a certificate comes only so. */
static void
coco_publisher_on_log(struct mosquitto *mosq, void *data, int level,
    const char *text)
{
    if (level == MOSQ_LOG_ERR || level == MOSQ_LOG_WARNING) {
        coco_publisher_why(data, text);
    }
}


/* The first cause is the one that is told. */
static void
coco_publisher_why(coco_publisher_t *p, const char *text)
{
    if (p->text[0] == '\0') {
        snprintf(p->text, sizeof(p->text), "%s", text);
    }
}


static void
coco_publisher_down(coco_publisher_t *p)
{
    int64_t               now = coco_clock_monotonic_us();
    unsigned              ms;
    const coco_config_t  *c = p->options.config;

    if (p->up && now - p->up_since >= COCO_PUBLISHER_STEADY_US) {
        coco_backoff_reset(&p->backoff);
    }

    ms = coco_backoff_within(&p->backoff, (unsigned) c->mqtt_reconnect_min,
                             (unsigned) c->mqtt_reconnect_max);

    coco_log(COCO_LOG_WARN, "mqtt_down", "client", "%s", p->client_id,
             "host", "%s", c->mqtt_host, "port", "%d", (int) c->mqtt_port,
             "reason", "%s", p->text, "retry_ms", "%u", ms, NULL);

    coco_publisher_close(p);
    p->deadline = now + ms * 1000LL;
}


static void
coco_publisher_close(coco_publisher_t *p)
{
    p->up = false;

    /* may report a message, with the socket closed already */
    mosquitto_destroy(p->mosq);
    p->mosq = NULL;

    for (size_t i = 0; i < COCO_PUBLISHER_WINDOW; i++) {
        if (p->slots[i].mid != 0) {
            p->slots[i].mid = 0;
            p->options.done(p->options.data, p->slots[i].tag,
                            COCO_PUBLISHER_LOST, p->text);
        }
    }

    p->in_flight = 0;
}


bool
coco_publisher_up(const coco_publisher_t *p)
{
    return p->up;
}


unsigned
coco_publisher_room(const coco_publisher_t *p)
{
    return p->up ? p->window - p->in_flight : 0;
}


int
coco_publisher_send(coco_publisher_t *p, const char *topic,
    coco_str_t payload, unsigned expiry, unsigned tag)
{
    int                     rc, mid;
    mosquitto_property     *properties = NULL;
    coco_publisher_slot_t  *slot = p->slots;

    if (coco_publisher_room(p) == 0) {
        return COCO_ERROR;
    }

    if (expiry > 0 && p->options.config->mqtt_version == COCO_MQTT_5
        && mosquitto_property_add_int32(&properties,
                                        MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                        expiry) != MOSQ_ERR_SUCCESS)
    {
        return COCO_ERROR;
    }

    rc = mosquitto_publish_v5(p->mosq, &mid, topic, (int) payload.len,
                              payload.data, 1, false, properties);
    mosquitto_property_free_all(&properties);

    /* a connection that has just ended is found by coco_publisher_serve() */
    if (rc != MOSQ_ERR_SUCCESS) {
        return COCO_ERROR;
    }

    while (slot->mid != 0) {
        slot++;
    }

    slot->mid = mid;
    slot->tag = tag;
    slot->sent_at = coco_clock_monotonic_us();
    p->in_flight++;

    return COCO_OK;
}
