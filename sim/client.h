/*
 * One MQTT connection of a simulated robot, on an epoll loop that is not its
 * own. QoS 1; what was published and not yet acknowledged when a connection
 * ends is sent again on the next one. A client with a name keeps its session:
 * what it subscribes to waits for it while it is away.
 */

#ifndef COCO_SIM_CLIENT_H
#define COCO_SIM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mosquitto.h>

#include "options.h"
#include "source.h"

#define SIM_CLIENT_TOPICS  2

/* May publish. payload[len] is not NUL. */
typedef void (*sim_client_message_pt)(void *data, const char *topic,
    const char *payload, size_t len);

typedef struct {
    uint64_t  published;
    uint64_t  acknowledged;
    uint64_t  reconnects;
    uint64_t  dropped;          /* messages that never left their robot */
    uint64_t  refused;          /* connections since the last that opened */
} sim_counts_t;

/* IDLE: no connection, none wanted before retry_at. OPENING: waits for
 * CONNACK. OPEN: may publish. */
typedef enum { SIM_IDLE = 0, SIM_OPENING, SIM_OPEN } sim_client_state_e;

typedef struct {
    sim_source_t            source;
    struct mosquitto       *mosq;
    const char             *host;       /* the options', not owned */
    int                     port;
    bool                    keeps;      /* its session, as MQTT 5 says it */
    int                     epoll;      /* the loop's, not owned */
    int                     fd;         /* registered there, or -1 */
    uint32_t                events;     /* as registered */
    sim_client_state_e      state;
    bool                    was_open;   /* ever: the next is a reconnect */
    unsigned                failures;   /* connections in a row */
    int64_t                 retry_at;   /* ms, monotonic */
    uint64_t                outstanding;    /* published, unacknowledged */
    sim_counts_t           *counts;     /* shared by all, not owned */

    char                   *topics[SIM_CLIENT_TOPICS];  /* not owned; NULL: no
                                                           subscription */
    sim_client_message_pt   message;
    void                   *data;
} sim_client_t;

/* ms of the monotonic clock. */
int64_t sim_now(void);

/* The client is the epoll data of its socket and must not move. Makes no
 * connection yet. id NULL: one for this connection. -1: out of memory. */
int sim_client_create(sim_client_t *client, const sim_options_t *options,
    const char *id, int epoll, sim_counts_t *counts);

/* Before it is opened: subscribes to these on every connection. The topics
 * stay the caller's and must stand until it is destroyed. */
void sim_client_listen(sim_client_t *client, char *const topics[],
    sim_client_message_pt message, void *data);

/* Connects, unless it is too early after a failure. */
void sim_client_open(sim_client_t *client, int64_t now);

/* Keep-alive; call about once a second. */
void sim_client_tick(sim_client_t *client);

/* Only while OPEN. -1: the broker's protocol cannot carry it, or memory is
 * out; it was not published. */
int sim_client_publish(sim_client_t *client, const char *topic,
    const char *payload, size_t len);

/* The network goes away, without a word to the broker. */
void sim_client_cut(sim_client_t *client);

/* Says goodbye if it can, and frees. */
void sim_client_destroy(sim_client_t *client);

#endif /* COCO_SIM_CLIENT_H */
