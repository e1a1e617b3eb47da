/*
 * One robot of a fleet: its model, its lid, its connection, and what waits in
 * it for a network.
 */

#ifndef COCO_SIM_MEMBER_H
#define COCO_SIM_MEMBER_H

#include "client.h"
#include "lid.h"
#include "robot.h"

#define SIM_TOPIC_MAX  (SIM_SERIAL_MAX + sizeof("robot//shadow/update"))

typedef struct {
    sim_robot_t    robot;
    sim_lid_t      lid;
    sim_client_t   client;
    void          *fleet;           /* whose it is, for the callbacks */
    int64_t        due;             /* its lid's, ms of the robot's clock */
    bool           listed;          /* among those whose lid has a due time */

    char           status[SIM_TOPIC_MAX];
    char           events[SIM_TOPIC_MAX];
    char           commands[SIM_TOPIC_MAX];
    char           shadow[SIM_TOPIC_MAX];

    /* A ring of heartbeats that wait, oldest first; each is owned. */
    char         **kept;
    unsigned       kept_first, kept_count;
} sim_member_t;

/* It must not move from then on. message and fleet are for what it is sent.
 * -1: out of memory; it may be destroyed all the same. */
int sim_member_create(sim_member_t *member, const sim_options_t *options,
    int index, int epoll, sim_counts_t *counts, sim_client_message_pt message,
    void *fleet);
void sim_member_destroy(sim_member_t *member);

/* A turn: the heartbeat of ts, then `seconds` pass. `now` is the lid's. */
void sim_member_turn(sim_member_t *member, int64_t ts, double seconds,
    int64_t now);

/* A command or the shadow came; others are passed over. */
void sim_member_take(sim_member_t *member, const char *topic,
    const char *payload, size_t len, int64_t now);

/* The model's network and the lid's. */
bool sim_member_online(const sim_member_t *member, int64_t now);

/* Publishes what waits, the lid's events first. */
void sim_member_flush(sim_member_t *member, int64_t now);

/* Has it nothing more to say, nor to have acknowledged? */
bool sim_member_idle(const sim_member_t *member);

/* How many messages never left it. */
uint64_t sim_member_dropped(const sim_member_t *member);

#endif /* COCO_SIM_MEMBER_H */
