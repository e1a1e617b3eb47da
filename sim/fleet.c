/*
 * A fleet: every robot has its turn at its own moment of each period, its
 * model takes a step, and the heartbeat leaves or waits for a network. ts
 * comes from the turn, never from the clock, so that a run can be repeated.
 * Lids move between turns, in the time of the clock.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fleet.h"
#include "http.h"
#include "member.h"

#define SIM_OPENING_MAX   64        /* connections being made at a time */
#define SIM_CARE_EVERY    100       /* ms */
#define SIM_TURNS_MAX     500       /* before the sockets are looked at */
#define SIM_DRAIN_MAX     30000     /* ms to wait for acknowledgements */
#define SIM_STOP_MAX      3000      /* the same, after a signal */

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

    int64_t               clock;        /* ms, the robots' less ours */
    int64_t               lid_due;      /* the earliest, on the robots' */
    sim_member_t        **listed;       /* those with a due time */
    int                   listed_count;
    bool                  ended;        /* the robots are switched off */
    sim_http_t           *http;         /* NULL: nobody scans codes */
    uint64_t              scans, scans_opened;
} sim_fleet_t;

static int sim_fleet_create(sim_fleet_t *fleet);
static void sim_fleet_start(sim_fleet_t *fleet);
static void sim_fleet_destroy(sim_fleet_t *fleet);
static void sim_fleet_serve(sim_fleet_t *fleet);
static void sim_fleet_drain(sim_fleet_t *fleet);
static void sim_fleet_care(sim_fleet_t *fleet, bool all_online);
static bool sim_fleet_turn_ready(sim_fleet_t *fleet, int64_t now);
static void sim_fleet_turn(sim_fleet_t *fleet);
static int64_t sim_fleet_turn_us(const sim_fleet_t *fleet);
static bool sim_fleet_idle(const sim_fleet_t *fleet);
static int64_t sim_fleet_clock(const sim_fleet_t *fleet);
static void sim_fleet_lids(sim_fleet_t *fleet);
static void sim_fleet_attend(sim_fleet_t *fleet, sim_member_t *member);
static void sim_fleet_list(sim_fleet_t *fleet, sim_member_t *member);
static void sim_fleet_message_cb(void *data, const char *topic,
    const char *payload, size_t len);
static void sim_fleet_scan_cb(void *data, bool opened);
static void sim_fleet_report(const sim_fleet_t *fleet);


int
sim_fleet_run(sim_loop_t *loop, const sim_options_t *options)
{
    int          status;
    sim_fleet_t  fleet;

    memset(&fleet, 0, sizeof(fleet));
    fleet.loop = loop;
    fleet.options = options;
    fleet.period_us = 1e6 / options->hz;
    fleet.lid_due = SIM_NEVER;
    status = EXIT_FAILURE;

    if (sim_fleet_create(&fleet) == 0) {
        sim_fleet_start(&fleet);
        sim_fleet_serve(&fleet);
        sim_fleet_drain(&fleet);
        status = sim_loop_report(loop);
        sim_fleet_report(&fleet);
    }

    sim_fleet_destroy(&fleet);

    return status;
}


static int
sim_fleet_create(sim_fleet_t *fleet)
{
    int                   i;
    sim_loop_t           *loop = fleet->loop;
    const sim_options_t  *o = fleet->options;

    if (o->lid.chance[SIM_HABIT_QR] > 0) {
        fleet->http = sim_http_open(o, loop->epoll);
        if (fleet->http == NULL) {
            return -1;
        }
    }

    fleet->members = calloc((size_t) o->robots, sizeof(*fleet->members));
    fleet->listed = calloc((size_t) o->robots, sizeof(*fleet->listed));
    i = 0;

    if (fleet->members != NULL && fleet->listed != NULL) {
        while (i < o->robots
               && sim_member_create(&fleet->members[i], o, i, loop->epoll,
                                    &loop->counts, sim_fleet_message_cb,
                                    fleet) == 0)
        {
            i++;
        }
    }

    if (i < o->robots) {
        fprintf(stderr, "coco-sim: out of memory\n");
        return -1;
    }

    return 0;
}


/* Lids live by the clock that heartbeats of this run have, or would have if
 * they were not sent in a burst. */

static void
sim_fleet_start(sim_fleet_t *fleet)
{
    int64_t               turns;
    struct timespec       ts;
    const sim_options_t  *o = fleet->options;

    fleet->began = sim_now();
    fleet->start_ms = o->start_ms;

    if (fleet->start_ms == 0) {
        clock_gettime(CLOCK_REALTIME, &ts);
        fleet->start_ms = (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    }

    fleet->clock = fleet->start_ms - fleet->began;

    if (o->start_ms == 0) {
        /* The last heartbeat of a burst is of now, not of the future. */
        turns = (int64_t) (o->burst / (uint64_t) o->robots);
        fleet->start_ms -= (int64_t) ((double) turns * fleet->period_us / 1e3);
    }
}


static void
sim_fleet_destroy(sim_fleet_t *fleet)
{
    int  i;

    sim_http_close(fleet->http);

    for (i = 0; fleet->members && i < fleet->options->robots; i++) {
        sim_member_destroy(&fleet->members[i]);
    }

    free(fleet->members);
    free(fleet->listed);
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

        if (fleet->lid_due <= now + fleet->clock) {
            sim_fleet_lids(fleet);
        }

        /* However late the turns are, acknowledgements are read between. */

        for (n = 0; n < SIM_TURNS_MAX && sim_fleet_turn_ready(fleet, now); n++)
        {
            sim_fleet_turn(fleet);
        }

        timeout = fleet->care_at - now;

        if (fleet->lid_due - fleet->clock - now < timeout) {
            timeout = fleet->lid_due - fleet->clock - now;
        }

        if (o->burst == 0 && fleet->began + sim_fleet_turn_us(fleet) / 1000
                             - now < timeout)
        {
            timeout = fleet->began + sim_fleet_turn_us(fleet) / 1000 - now;
        }

        sim_loop_wait(fleet->loop, timeout);
    }
}


/* At the end every robot has a network again, so that nothing is left; what
 * still is counts as dropped. Nobody comes any more, no command is heard. */

static void
sim_fleet_drain(sim_fleet_t *fleet)
{
    int      i;
    int64_t  until;

    until = sim_now() + (fleet->loop->stop ? SIM_STOP_MAX : SIM_DRAIN_MAX);
    fleet->ended = true;

    for (i = 0; i < fleet->options->robots; i++) {
        sim_lid_end(&fleet->members[i].lid, sim_fleet_clock(fleet));
    }

    while (!sim_fleet_idle(fleet) && sim_now() < until) {
        sim_fleet_care(fleet, true);
        sim_loop_wait(fleet->loop, SIM_CARE_EVERY);

        if (fleet->loop->stop && until > sim_now() + SIM_STOP_MAX) {
            until = sim_now() + SIM_STOP_MAX;
        }
    }

    for (i = 0; i < fleet->options->robots; i++) {
        fleet->loop->counts.dropped += sim_member_dropped(&fleet->members[i]);
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

        if (!(all_online ? sim_lid_online(&member->lid, now + fleet->clock)
                         : sim_member_online(member, now + fleet->clock)))
        {
            sim_client_cut(&member->client);

        } else if (member->client.state == SIM_IDLE) {
            if (opening < SIM_OPENING_MAX) {
                sim_client_open(&member->client, now);
                opening += member->client.state == SIM_OPENING;
            }

        } else {
            sim_member_flush(member, now + fleet->clock);
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
    int64_t        ts;
    sim_member_t  *member;

    member = &fleet->members[fleet->turn % (uint64_t) fleet->options->robots];
    ts = fleet->start_ms + sim_fleet_turn_us(fleet) / 1000;
    fleet->turn++;

    sim_member_turn(member, ts, fleet->period_us / 1e6,
                    sim_fleet_clock(fleet));
    sim_fleet_attend(fleet, member);
}


static bool
sim_fleet_idle(const sim_fleet_t *fleet)
{
    int  i;

    for (i = 0; i < fleet->options->robots; i++) {
        if (!sim_member_idle(&fleet->members[i])) {
            return false;
        }
    }

    return true;
}


static int64_t
sim_fleet_clock(const sim_fleet_t *fleet)
{
    return sim_now() + fleet->clock;
}


/* Most robots stand with a closed lid and nobody near; the list spares looking
 * at them. */

static void
sim_fleet_lids(sim_fleet_t *fleet)
{
    int            i, count;
    int64_t        now;
    sim_member_t  *member;

    now = sim_fleet_clock(fleet);
    count = fleet->listed_count;
    fleet->listed_count = 0;
    fleet->lid_due = SIM_NEVER;

    /* Those that stay move up: never past the one that is looked at. */

    for (i = 0; i < count; i++) {
        member = fleet->listed[i];
        member->listed = false;

        if (member->due > now) {
            sim_fleet_list(fleet, member);

        } else {
            sim_fleet_attend(fleet, member);
        }
    }
}


/* After anything that may have changed a lid. */

static void
sim_fleet_attend(sim_fleet_t *fleet, sim_member_t *member)
{
    int64_t  now;

    now = sim_fleet_clock(fleet);
    sim_lid_step(&member->lid, now);

    if (sim_lid_scan(&member->lid)) {
        fleet->scans++;

        if (sim_http_scan(fleet->http, member->robot.serial,
                          sim_fleet_scan_cb, member) != 0)
        {
            sim_lid_scan_end(&member->lid, false, now);
        }
    }

    sim_member_flush(member, now);
    member->due = sim_lid_due(&member->lid, now);
    sim_fleet_list(fleet, member);
}


static void
sim_fleet_list(sim_fleet_t *fleet, sim_member_t *member)
{
    if (member->due == SIM_NEVER) {
        return;
    }

    if (!member->listed) {
        member->listed = true;
        fleet->listed[fleet->listed_count++] = member;
    }

    if (member->due < fleet->lid_due) {
        fleet->lid_due = member->due;
    }
}


static void
sim_fleet_message_cb(void *data, const char *topic, const char *payload,
    size_t len)
{
    sim_member_t  *member = data;
    sim_fleet_t   *fleet = member->fleet;

    if (!fleet->ended) {
        sim_member_take(member, topic, payload, len, sim_fleet_clock(fleet));
        sim_fleet_attend(fleet, member);
    }
}


static void
sim_fleet_scan_cb(void *data, bool opened)
{
    sim_member_t  *member = data;
    sim_fleet_t   *fleet = member->fleet;

    fleet->scans_opened += opened;

    if (!fleet->ended) {
        sim_lid_scan_end(&member->lid, opened, sim_fleet_clock(fleet));
        sim_fleet_attend(fleet, member);
    }
}


static void
sim_fleet_report(const sim_fleet_t *fleet)
{
    int               i;
    sim_lid_counts_t  sum;

    memset(&sum, 0, sizeof(sum));

    for (i = 0; i < fleet->options->robots; i++) {
        sum.commands += fleet->members[i].lid.counts.commands;
        sum.ignored += fleet->members[i].lid.counts.ignored;
        sum.opened += fleet->members[i].lid.counts.opened;
        sum.failed += fleet->members[i].lid.counts.failed;
        sum.closed += fleet->members[i].lid.counts.closed;
    }

    printf("commands=%llu ignored=%llu opened=%llu failed=%llu closed=%llu"
           " scans=%llu scans_opened=%llu\n",
           (unsigned long long) sum.commands,
           (unsigned long long) sum.ignored,
           (unsigned long long) sum.opened, (unsigned long long) sum.failed,
           (unsigned long long) sum.closed,
           (unsigned long long) fleet->scans,
           (unsigned long long) fleet->scans_opened);
    fflush(stdout);
}
