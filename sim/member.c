/*
 * One robot of a fleet. Must never look at a clock: the fleet says what time
 * it is.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member.h"
#include "message.h"

#define SIM_KEPT          256       /* heartbeats a robot keeps, then drops */
#define SIM_ROBOT_WINDOW  1000      /* unacknowledged, of one robot */

static void sim_member_keep(sim_member_t *member, const char *payload);
static bool sim_member_writable(const sim_member_t *member);


int
sim_member_create(sim_member_t *member, const sim_options_t *options,
    int index, int epoll, sim_counts_t *counts, sim_client_message_pt message,
    void *fleet)
{
    char   serial[SIM_SERIAL_MAX + 1];
    char  *topics[SIM_CLIENT_TOPICS] = { member->commands, member->shadow };

    snprintf(serial, sizeof(serial), "%s%04d", options->serial_prefix,
             index + 1);
    snprintf(member->status, SIM_TOPIC_MAX, "robot/%s/status", serial);
    snprintf(member->events, SIM_TOPIC_MAX, "robot/%s/events", serial);
    snprintf(member->commands, SIM_TOPIC_MAX, "robot/%s/commands", serial);
    snprintf(member->shadow, SIM_TOPIC_MAX, "robot/%s/shadow/update", serial);

    sim_robot_init(&member->robot, serial, options->seed, (uint64_t) index);
    sim_lid_init(&member->lid, &options->lid, options->seed,
                 (uint64_t) index);

    if (options->stand) {
        sim_robot_park(&member->robot);
    }

    member->fleet = fleet;
    member->due = SIM_NEVER;
    member->kept = calloc(SIM_KEPT, sizeof(*member->kept));

    if (member->kept == NULL
        || sim_client_create(&member->client, options, serial, epoll, counts)
           != 0)
    {
        return -1;
    }

    sim_client_listen(&member->client, topics, message, member);

    return 0;
}


void
sim_member_destroy(sim_member_t *member)
{
    sim_client_destroy(&member->client);

    while (member->kept_count > 0) {
        free(member->kept[member->kept_first]);
        member->kept_first = (member->kept_first + 1) % SIM_KEPT;
        member->kept_count--;
    }

    free(member->kept);
}


void
sim_member_turn(sim_member_t *member, int64_t ts, double seconds, int64_t now)
{
    char  payload[SIM_HEARTBEAT_MAX];

    member->robot.lid_open = member->lid.state == SIM_LID_OPEN;
    sim_robot_encode(&member->robot, ts, payload, sizeof(payload));

    member->robot.held = sim_lid_holds(&member->lid);
    sim_robot_step(&member->robot, seconds);
    sim_lid_stand(&member->lid, sim_robot_stands(&member->robot), now);

    sim_member_keep(member, payload);
    sim_member_flush(member, now);
}


/* What cannot be read is counted with what is ignored: a robot has nobody to
 * tell. */

void
sim_member_take(sim_member_t *member, const char *topic, const char *payload,
    size_t len, int64_t now)
{
    char           pin[SIM_PIN_MAX + 1];
    sim_command_t  command;

    if (strcmp(topic, member->shadow) == 0) {
        if (sim_shadow_decode(pin, payload, len) == 0) {
            sim_lid_pin(&member->lid, pin);
        }

    } else if (sim_command_decode(&command, payload, len) == 0) {
        sim_lid_command(&member->lid, &command, member->robot.speed > 0, now);

    } else {
        member->lid.counts.ignored++;
    }
}


bool
sim_member_online(const sim_member_t *member, int64_t now)
{
    return sim_robot_online(&member->robot)
           && sim_lid_online(&member->lid, now);
}


void
sim_member_flush(sim_member_t *member, int64_t now)
{
    char               *payload, text[SIM_LID_EVENT_MAX];
    size_t              len;
    const sim_event_t  *event;

    while (sim_member_writable(member)
           && (event = sim_lid_event(&member->lid, now)) != NULL)
    {
        len = sim_event_encode(event, text, sizeof(text));

        if (sim_client_publish(&member->client, member->events, text, len)
            != 0)
        {
            return;
        }

        sim_lid_event_sent(&member->lid, event);
    }

    while (sim_member_writable(member) && member->kept_count > 0) {
        payload = member->kept[member->kept_first];

        if (sim_client_publish(&member->client, member->status, payload,
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


bool
sim_member_idle(const sim_member_t *member)
{
    return member->kept_count == 0 && member->lid.event_count == 0
           && member->client.outstanding == 0;
}


uint64_t
sim_member_dropped(const sim_member_t *member)
{
    return member->kept_count + member->lid.event_count
           + member->lid.counts.dropped;
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


static bool
sim_member_writable(const sim_member_t *member)
{
    return member->client.state == SIM_OPEN
           && member->client.outstanding < SIM_ROBOT_WINDOW;
}
