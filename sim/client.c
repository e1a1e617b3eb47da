/*
 * One MQTT connection over libmosquitto, whose socket lives on our epoll.
 * Must never wait for an answer: only connect() itself does.
 */

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <mqtt_protocol.h>

#include "client.h"

#define SIM_KEEPALIVE      30           /* seconds */
#define SIM_RETRY_FIRST    200          /* ms, doubles with each failure */
#define SIM_RETRY_DOUBLES  6
#define SIM_READ_PACKETS   100
#define SIM_SESSION        86400        /* seconds, as MQTT 5 wants it said */

static void sim_client_handler(sim_source_t *source, uint32_t events);
static int sim_client_connect(sim_client_t *client);
static void sim_client_watch(sim_client_t *client);
static void sim_client_closed(sim_client_t *client);
static void sim_client_connect_cb(struct mosquitto *mosq, void *data, int rc);
static void sim_client_disconnect_cb(struct mosquitto *mosq, void *data,
    int rc);
static void sim_client_publish_cb(struct mosquitto *mosq, void *data, int mid);
static void sim_client_message_cb(struct mosquitto *mosq, void *data,
    const struct mosquitto_message *message);


int64_t
sim_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int
sim_client_create(sim_client_t *client, const sim_options_t *options,
    const char *id, int epoll, sim_counts_t *counts)
{
    *client = (sim_client_t) {
        .source = { sim_client_handler },
        .host = options->host, .port = options->port,
        .keeps = id != NULL && options->mqtt_version == MQTT_PROTOCOL_V5,
        .epoll = epoll, .fd = -1, .counts = counts
    };

    client->mosq = mosquitto_new(id, id == NULL, client);
    if (client->mosq == NULL) {
        return -1;
    }

    mosquitto_int_option(client->mosq, MOSQ_OPT_PROTOCOL_VERSION,
                         options->mqtt_version);
    mosquitto_int_option(client->mosq, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_int_option(client->mosq, MOSQ_OPT_SEND_MAXIMUM, 65535);

    mosquitto_connect_callback_set(client->mosq, sim_client_connect_cb);
    mosquitto_disconnect_callback_set(client->mosq, sim_client_disconnect_cb);
    mosquitto_publish_callback_set(client->mosq, sim_client_publish_cb);
    mosquitto_message_callback_set(client->mosq, sim_client_message_cb);

    return 0;
}


void
sim_client_listen(sim_client_t *client, char *const topics[],
    sim_client_message_pt message, void *data)
{
    memcpy(client->topics, topics, sizeof(client->topics));
    client->message = message;
    client->data = data;
}


void
sim_client_open(sim_client_t *client, int64_t now)
{
    int  rc;

    if (client->state != SIM_IDLE || now < client->retry_at) {
        return;
    }

    rc = sim_client_connect(client);
    if (rc != MOSQ_ERR_SUCCESS) {
        if (client->counts->refused++ == 0) {
            fprintf(stderr, "coco-sim: no connection to %s:%d: %s\n",
                    client->host, client->port,
                    rc == MOSQ_ERR_ERRNO ? "refused or unreachable"
                                         : mosquitto_strerror(rc));
        }

        sim_client_closed(client);
        return;
    }

    client->state = SIM_OPENING;
    sim_client_watch(client);
}


static int
sim_client_connect(sim_client_t *client)
{
    int                  rc;
    mosquitto_property  *properties;

    properties = NULL;

    if (client->keeps) {
        rc = mosquitto_property_add_int32(&properties,
                                          MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                          SIM_SESSION);
        if (rc != MOSQ_ERR_SUCCESS) {
            return rc;
        }
    }

    rc = mosquitto_connect_bind_v5(client->mosq, client->host, client->port,
                                   SIM_KEEPALIVE, NULL, properties);
    mosquitto_property_free_all(&properties);

    return rc;
}


static void
sim_client_handler(sim_source_t *source, uint32_t events)
{
    sim_client_t  *client = (sim_client_t *) source;

    /* Errors come out of the read; both calls end in the disconnect callback
     * when the connection is gone. */

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        mosquitto_loop_read(client->mosq, SIM_READ_PACKETS);
    }

    if (client->state != SIM_IDLE && (events & EPOLLOUT)) {
        mosquitto_loop_write(client->mosq, 1);
    }

    sim_client_watch(client);
}


void
sim_client_tick(sim_client_t *client)
{
    if (client->state != SIM_IDLE) {
        mosquitto_loop_misc(client->mosq);
        sim_client_watch(client);
    }
}


int
sim_client_publish(sim_client_t *client, const char *topic,
    const char *payload, size_t len)
{
    int  rc;

    rc = mosquitto_publish(client->mosq, NULL, topic, (int) len, payload, 1,
                           false);

    /* A connection found to be lost here keeps the message and sends it again
     * after the next CONNACK. */

    if (rc != MOSQ_ERR_SUCCESS && rc != MOSQ_ERR_NO_CONN
        && rc != MOSQ_ERR_CONN_LOST)
    {
        fprintf(stderr, "coco-sim: cannot publish on \"%s\": %s\n", topic,
                mosquitto_strerror(rc));
        return -1;
    }

    client->outstanding++;
    client->counts->published++;
    sim_client_watch(client);

    return 0;
}


void
sim_client_cut(sim_client_t *client)
{
    if (client->state != SIM_IDLE) {
        shutdown(mosquitto_socket(client->mosq), SHUT_RDWR);
    }
}


void
sim_client_destroy(sim_client_t *client)
{
    if (client->mosq == NULL) {
        return;
    }

    if (client->state == SIM_OPEN) {
        mosquitto_disconnect(client->mosq);
    }

    mosquitto_destroy(client->mosq);
    client->mosq = NULL;
}


/* The library opens, closes and fills the socket as it likes: after every
 * call to it, epoll is told what is true now. */

static void
sim_client_watch(sim_client_t *client)
{
    int                 fd;
    struct epoll_event  event;

    fd = mosquitto_socket(client->mosq);

    if (fd < 0) {
        /* Closing it has taken it off the loop. */
        if (client->state != SIM_IDLE) {
            sim_client_closed(client);
        }

        return;
    }

    event.events = EPOLLIN;
    event.data.ptr = client;

    if (mosquitto_want_write(client->mosq)) {
        event.events |= EPOLLOUT;
    }

    if (client->fd == -1) {
        if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event) == -1) {
            perror("coco-sim: epoll_ctl");
            sim_client_cut(client);
            return;
        }

    } else if (event.events != client->events) {
        epoll_ctl(client->epoll, EPOLL_CTL_MOD, fd, &event);
    }

    client->fd = fd;
    client->events = event.events;
}


static void
sim_client_closed(sim_client_t *client)
{
    unsigned  doubles;

    doubles = client->failures < SIM_RETRY_DOUBLES ? client->failures
                                                   : SIM_RETRY_DOUBLES;
    client->failures++;
    client->retry_at = sim_now() + (SIM_RETRY_FIRST << doubles);
    client->state = SIM_IDLE;
    client->fd = -1;
}


static void
sim_client_connect_cb(struct mosquitto *mosq, void *data, int rc)
{
    sim_client_t  *client = data;

    if (rc != 0) {
        fprintf(stderr, "coco-sim: the broker refuses: %s\n",
                mosquitto_connack_string(rc));
        return;
    }

    if (client->was_open) {
        client->counts->reconnects++;
    }

    client->was_open = true;
    client->failures = 0;
    client->counts->refused = 0;
    client->state = SIM_OPEN;

    if (client->topics[0] != NULL) {
        rc = mosquitto_subscribe_multiple(mosq, NULL, SIM_CLIENT_TOPICS,
                                          client->topics, 1, 0, NULL);
        if (rc != MOSQ_ERR_SUCCESS) {
            fprintf(stderr, "coco-sim: cannot subscribe to \"%s\": %s\n",
                    client->topics[0], mosquitto_strerror(rc));
        }
    }
}


static void
sim_client_disconnect_cb(struct mosquitto *mosq, void *data, int rc)
{
    sim_client_t  *client = data;

    if (client->state != SIM_IDLE) {
        sim_client_closed(client);
    }
}


static void
sim_client_publish_cb(struct mosquitto *mosq, void *data, int mid)
{
    sim_client_t  *client = data;

    client->outstanding--;
    client->counts->acknowledged++;
}


static void
sim_client_message_cb(struct mosquitto *mosq, void *data,
    const struct mosquitto_message *message)
{
    sim_client_t  *client = data;

    if (client->message != NULL && message->payloadlen > 0) {
        client->message(client->data, message->topic, message->payload,
                        (size_t) message->payloadlen);
    }
}
