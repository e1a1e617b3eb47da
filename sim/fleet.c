/*
 * A fleet: every robot has its turn at its own moment of each period, its
 * model takes a step, and the heartbeat leaves or waits for a network. ts
 * comes from the turn, never from the clock, so that a run can be repeated.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fleet.h"
#include "robot.h"

#define SIM_KEPT          256       /* heartbeats a robot keeps, then drops */
#define SIM_OPENING_MAX   64        /* connections being made at a time */
#define SIM_CARE_EVERY    100       /* ms */
#define SIM_ROBOT_WINDOW  1000      /* unacknowledged, of one robot */
#define SIM_TURNS_MAX     500       /* before the sockets are looked at */
#define SIM_DRAIN_MAX     30000     /* ms to wait for acknowledgements */
#define SIM_STOP_MAX      3000      /* the same, after a signal */

typedef struct {
    sim_robot_t    robot;
    sim_client_t   client;
    char           topic[SIM_SERIAL_MAX + sizeof("robot//status")];

    /* A ring of heartbeats that wait, oldest first; each is owned. */
    char         **kept;
    unsigned       kept_first, kept_count;
} sim_member_t;

typedef struct {
    sim_loop_t           *loop;
    const sim_options_t  *options;
    sim_member_t         *members;
    double                period_us;    /* between two turns of a robot */
    int64_t               start_ms;     /* ts of turn 0 */
    int64_t               began;        /* ms, monotonic */
    uint64_t              turn;         /* robots take turns: turn % robots */
    int64_t               care_at;      /* ms, monotonic */
    unsigned              care_count;
} sim_fleet_t;

static int sim_fleet_create(sim_fleet_t *fleet);
static void sim_fleet_destroy(sim_fleet_t *fleet);
static void sim_fleet_serve(sim_fleet_t *fleet);
static void sim_fleet_drain(sim_fleet_t *fleet);
static void sim_fleet_care(sim_fleet_t *fleet, bool all_online);
static bool sim_fleet_turn_ready(sim_fleet_t *fleet, int64_t now);
static void sim_fleet_turn(sim_fleet_t *fleet);
static int64_t sim_fleet_turn_us(const sim_fleet_t *fleet);
static bool sim_fleet_idle(const sim_fleet_t *fleet);
static int sim_member_create(sim_member_t *member, sim_fleet_t *fleet,
    int index);
static void sim_member_keep(sim_member_t *member, const char *payload);
static void sim_member_flush(sim_member_t *member);


int
sim_fleet_run(sim_loop_t *loop, const sim_options_t *options)
{
    int              status;
    int64_t          turns;
    sim_fleet_t      fleet;
    struct timespec  ts;

    memset(&fleet, 0, sizeof(fleet));
    fleet.loop = loop;
    fleet.options = options;
    fleet.period_us = 1e6 / options->hz;
    fleet.start_ms = options->start_ms;

    if (fleet.start_ms == 0) {
        /* The last heartbeat of a burst is of now, not of the future. */
        clock_gettime(CLOCK_REALTIME, &ts);
        turns = (int64_t) (options->burst / (uint64_t) options->robots);
        fleet.start_ms = (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000
                         - (int64_t) ((double) turns * fleet.period_us / 1e3);
    }

    status = EXIT_FAILURE;

    if (sim_fleet_create(&fleet) == 0) {
        fleet.began = sim_now();
        sim_fleet_serve(&fleet);
        sim_fleet_drain(&fleet);
        status = sim_loop_report(loop);

    } else {
        fprintf(stderr, "coco-sim: out of memory\n");
    }

    sim_fleet_destroy(&fleet);

    return status;
}


static int
sim_fleet_create(sim_fleet_t *fleet)
{
    int  i;

    fleet->members = calloc((size_t) fleet->options->robots,
                            sizeof(*fleet->members));
    if (fleet->members == NULL) {
        return -1;
    }

    for (i = 0; i < fleet->options->robots; i++) {
        if (sim_member_create(&fleet->members[i], fleet, i) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
sim_member_create(sim_member_t *member, sim_fleet_t *fleet, int index)
{
    char  serial[SIM_SERIAL_MAX + 1];

    snprintf(serial, sizeof(serial), "%s%04d", fleet->options->serial_prefix,
             index + 1);
    sim_robot_init(&member->robot, serial, fleet->options->seed,
                   (uint64_t) index);
    snprintf(member->topic, sizeof(member->topic), "robot/%s/status", serial);

    member->kept = calloc(SIM_KEPT, sizeof(*member->kept));

    return member->kept == NULL
           || sim_client_create(&member->client, fleet->options, serial,
                                fleet->loop->epoll, &fleet->loop->counts) != 0
           ? -1 : 0;
}


static void
sim_fleet_destroy(sim_fleet_t *fleet)
{
    int            i;
    sim_member_t  *member;

    for (i = 0; fleet->members && i < fleet->options->robots; i++) {
        member = &fleet->members[i];
        sim_client_destroy(&member->client);

        while (member->kept_count > 0) {
            free(member->kept[member->kept_first]);
            member->kept_first = (member->kept_first + 1) % SIM_KEPT;
            member->kept_count--;
        }

        free(member->kept);
    }

    free(fleet->members);
}


static void
sim_fleet_serve(sim_fleet_t *fleet)
{
    int                   n;
    int64_t               now, until, timeout;
    const sim_options_t  *o = fleet->options;

    until = o->seconds > 0 ? fleet->began + (int64_t) (o->seconds * 1e3)
                           : INT64_MAX;

    while (!fleet->loop->stop) {
        now = sim_now();

        if (now >= until || (o->burst > 0 && fleet->turn >= o->burst)) {
            return;
        }

        if (now >= fleet->care_at) {
            sim_fleet_care(fleet, o->burst > 0);
        }

        /* However late the turns are, acknowledgements are read between. */

        for (n = 0; n < SIM_TURNS_MAX && sim_fleet_turn_ready(fleet, now); n++)
        {
            sim_fleet_turn(fleet);
        }

        timeout = fleet->care_at - now;

        if (o->burst == 0 && fleet->began + sim_fleet_turn_us(fleet) / 1000
                             - now < timeout)
        {
            timeout = fleet->began + sim_fleet_turn_us(fleet) / 1000 - now;
        }

        sim_loop_wait(fleet->loop, timeout);
    }
}


/* At the end every robot has a network again, so that nothing is left; what
 * still is counts as dropped. */

static void
sim_fleet_drain(sim_fleet_t *fleet)
{
    int      i;
    int64_t  until;

    until = sim_now() + (fleet->loop->stop ? SIM_STOP_MAX : SIM_DRAIN_MAX);

    while (!sim_fleet_idle(fleet) && sim_now() < until) {
        sim_fleet_care(fleet, true);
        sim_loop_wait(fleet->loop, SIM_CARE_EVERY);

        if (fleet->loop->stop && until > sim_now() + SIM_STOP_MAX) {
            until = sim_now() + SIM_STOP_MAX;
        }
    }

    for (i = 0; i < fleet->options->robots; i++) {
        fleet->loop->counts.dropped += fleet->members[i].kept_count;
    }
}


/* Connections: made a few at a time, since a broker's queue of them is short;
 * cut where the model says that the network is gone. */

static void
sim_fleet_care(sim_fleet_t *fleet, bool all_online)
{
    int            i, opening;
    bool           tick;
    int64_t        now;
    sim_member_t  *member;

    now = sim_now();
    opening = 0;
    tick = fleet->care_count++ % (1000 / SIM_CARE_EVERY) == 0;
    fleet->care_at = now + SIM_CARE_EVERY;

    for (i = 0; i < fleet->options->robots; i++) {
        opening += fleet->members[i].client.state == SIM_OPENING;
    }

    for (i = 0; i < fleet->options->robots; i++) {
        member = &fleet->members[i];

        if (!all_online && !sim_robot_online(&member->robot)) {
            sim_client_cut(&member->client);

        } else if (member->client.state == SIM_IDLE) {
            if (opening < SIM_OPENING_MAX) {
                sim_client_open(&member->client, now);
                opening += member->client.state == SIM_OPENING;
            }

        } else {
            sim_member_flush(member);
        }

        if (tick) {
            sim_client_tick(&member->client);
        }
    }
}


/* us from turn 0 to the next one. */

static int64_t
sim_fleet_turn_us(const sim_fleet_t *fleet)
{
    return (int64_t) ((double) fleet->turn * fleet->period_us
                      / fleet->options->robots);
}


static bool
sim_fleet_turn_ready(sim_fleet_t *fleet, int64_t now)
{
    sim_member_t         *member;
    const sim_options_t  *o = fleet->options;
    const sim_counts_t   *counts = &fleet->loop->counts;

    if (o->burst == 0) {
        return sim_fleet_turn_us(fleet) <= (now - fleet->began) * 1000;
    }

    member = &fleet->members[fleet->turn % (uint64_t) o->robots];

    return fleet->turn < o->burst
           && counts->published - counts->acknowledged < (uint64_t) o->window
           && member->client.state == SIM_OPEN;
}


static void
sim_fleet_turn(sim_fleet_t *fleet)
{
    char           payload[SIM_HEARTBEAT_MAX];
    int64_t        ts;
    sim_member_t  *member;

    member = &fleet->members[fleet->turn % (uint64_t) fleet->options->robots];
    ts = fleet->start_ms + sim_fleet_turn_us(fleet) / 1000;
    fleet->turn++;

    sim_robot_encode(&member->robot, ts, payload, sizeof(payload));
    sim_robot_step(&member->robot, fleet->period_us / 1e6);

    sim_member_keep(member, payload);
    sim_member_flush(member);
}


static bool
sim_fleet_idle(const sim_fleet_t *fleet)
{
    int  i;

    for (i = 0; i < fleet->options->robots; i++) {
        if (fleet->members[i].kept_count > 0
            || fleet->members[i].client.outstanding > 0)
        {
            return false;
        }
    }

    return true;
}


/* When the ring is full the oldest heartbeat gives way. */

static void
sim_member_keep(sim_member_t *member, const char *payload)
{
    char      *copy, **slot;
    unsigned   last;

    copy = strdup(payload);
    if (copy == NULL) {
        member->client.counts->dropped++;
        return;
    }

    last = (member->kept_first + member->kept_count) % SIM_KEPT;
    slot = &member->kept[last];

    if (member->kept_count == SIM_KEPT) {
        free(*slot);
        member->kept_first = (member->kept_first + 1) % SIM_KEPT;
        member->client.counts->dropped++;

    } else {
        member->kept_count++;
    }

    *slot = copy;
}


static void
sim_member_flush(sim_member_t *member)
{
    char  *payload;

    while (member->kept_count > 0 && member->client.state == SIM_OPEN
           && member->client.outstanding < SIM_ROBOT_WINDOW)
    {
        payload = member->kept[member->kept_first];

        if (sim_client_publish(&member->client, member->topic, payload,
                               strlen(payload)) != 0)
        {
            return;
        }

        free(payload);
        member->kept[member->kept_first] = NULL;
        member->kept_first = (member->kept_first + 1) % SIM_KEPT;
        member->kept_count--;
    }
}
