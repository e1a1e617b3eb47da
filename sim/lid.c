/*
 * The lid of one robot and the people at it. What an opening will come to
 * (jammed, closed at once, forgotten, reported late) is settled when it
 * begins. Must never look at a clock or at anything but its own state.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lid.h"

#define SIM_OVERTAKES  100              /* ms that an open comes after the
                                           close that was faster */
#define SIM_PATIENCE   15000            /* ms, for a lid that was asked for */

/* Another stream than that of the robot's drive, which must not change by
 * what happens to the lid. */
#define SIM_LID_STREAM  0x6c6964ULL

typedef struct {
    int  low, high;                     /* ms */
} sim_span_t;

static const char *sim_habit_parse(sim_lid_rules_t *rules, const char *text,
    size_t len);
static void sim_lid_begin(sim_lid_t *lid, sim_event_e report,
    const char *command, int64_t now);
static void sim_lid_latch(sim_lid_t *lid);
static void sim_lid_close(sim_lid_t *lid, sim_event_e report,
    const char *command, int64_t now);
static void sim_lid_act(sim_lid_t *lid);
static void sim_lid_leave(sim_lid_t *lid, int64_t now);
static bool sim_lid_seen(sim_lid_t *lid, const char *id);
static void sim_lid_report(sim_lid_t *lid, sim_event_e type,
    const char *command, int64_t at, int64_t send_at);
static void sim_lid_push(sim_lid_t *lid, const sim_event_t *event);
static bool sim_lid_happens(sim_lid_t *lid, sim_habit_e habit);
static int64_t sim_lid_between(sim_lid_t *lid, sim_span_t span);

static const sim_span_t  sim_comes = { 500, 2500 };     /* once it stands */
static const sim_span_t  sim_loads = { 3000, 8000 };    /* open to closed */
static const sim_span_t  sim_loads_fast = { 50, 300 };
static const sim_span_t  sim_offline = { 5000, 20000 };
static const sim_span_t  sim_repeats = { 1000, 4000 };  /* after the first */
static const sim_span_t  sim_next_one = { 20000, 60000 };

static const char *const  sim_habit_names[SIM_HABITS] = {
    [SIM_HABIT_PIN]    = "pin",
    [SIM_HABIT_QR]     = "qr",
    [SIM_HABIT_TOUCH]  = "touch",
    [SIM_HABIT_FAST]   = "fast",
    [SIM_HABIT_FORGET] = "forget",
    [SIM_HABIT_JAM]    = "jam",
    [SIM_HABIT_LATE]   = "late",
    [SIM_HABIT_TWICE]  = "twice",
};

/* Each with its members that are always the same. */
static const char *const  sim_event_texts[] = {
    [SIM_EVENT_ACK]        = "\"COMMAND_ACK\"",
    [SIM_EVENT_OPENED]     = "\"LID_OPENED\"",
    [SIM_EVENT_CLOSED]     = "\"LID_CLOSED\"",
    [SIM_EVENT_FAILED]     = "\"LID_OPEN_FAILED\"",
    [SIM_EVENT_PIN_OPENED] = "\"PIN_ENTRY_LID_OPEN\",\"lid_opened\":true",
    [SIM_EVENT_PIN_ASKED]  = "\"PIN_ENTRY_LID_OPEN\",\"lid_opened\":false",
    [SIM_EVENT_PIN_CLOSED] = "\"PIN_ENTRY_LID_CLOSE\","
                             "\"trigger\":\"PIN_ENTRY_CONFIRM\"",
};


const char *
sim_habits_parse(sim_lid_rules_t *ret, const char *list)
{
    size_t            len;
    const char       *error;
    sim_lid_rules_t   rules;

    rules = *ret;
    memset(rules.chance, 0, sizeof(rules.chance));
    rules.nobody = strcmp(list, "none") == 0;

    for (error = NULL; !rules.nobody && error == NULL; list += len + 1) {
        len = strcspn(list, ",");
        error = sim_habit_parse(&rules, list, len);

        if (list[len] == '\0') {
            break;
        }
    }

    if (error == NULL) {
        *ret = rules;
    }

    return error;
}


static const char *
sim_habit_parse(sim_lid_rules_t *rules, const char *text, size_t len)
{
    int      i;
    char    *end;
    size_t   name;
    double   chance;

    chance = 1;
    name = strcspn(text, ":,");

    if (name < len) {
        chance = strtod(text + name + 1, &end);

        if (name + 1 == len || end != text + len
            || !(chance >= 0 && chance <= 1))
        {
            return "a chance is a number from 0 to 1";
        }
    }

    for (i = 0; i < SIM_HABITS; i++) {
        if (strlen(sim_habit_names[i]) == name
            && memcmp(sim_habit_names[i], text, name) == 0)
        {
            rules->chance[i] = chance;
            return NULL;
        }
    }

    return "habits are pin qr touch fast forget jam late twice, or none alone";
}


void
sim_lid_init(sim_lid_t *lid, const sim_lid_rules_t *rules, uint64_t seed,
    uint64_t index)
{
    memset(lid, 0, sizeof(*lid));
    lid->rules = rules;
    lid->due = SIM_NEVER;
    lid->close_at = SIM_NEVER;
    lid->visit_due = SIM_NEVER;
    sim_rng_seed(&lid->rng, seed ^ SIM_LID_STREAM, index);
}


void
sim_lid_command(sim_lid_t *lid, const sim_command_t *command, bool moves,
    int64_t now)
{
    sim_lid_step(lid, now);

    if (command->expires_at <= now || sim_lid_seen(lid, command->id)) {
        lid->counts.ignored++;
        return;
    }

    lid->counts.commands++;
    sim_lid_report(lid, SIM_EVENT_ACK, command->id, now, now);

    if (command->command == SIM_COMMAND_CLOSE) {
        if (lid->state == SIM_LID_OPEN) {
            sim_lid_close(lid, SIM_EVENT_CLOSED, command->id, now);
        }

        return;
    }

    if (moves) {
        lid->counts.failed++;
        sim_lid_report(lid, SIM_EVENT_FAILED, command->id, now, now);
        return;
    }

    switch (lid->state) {

    case SIM_LID_CLOSED:
        lid->keypad = lid->visit == SIM_VISIT_ASKED
                      && lid->way != SIM_HABIT_QR;
        sim_lid_begin(lid, SIM_EVENT_OPENED, command->id, now);
        break;

    case SIM_LID_OPENING:
        sim_lid_report(lid, lid->jam ? SIM_EVENT_FAILED : SIM_EVENT_OPENED,
                       command->id, lid->due, lid->report_at);
        break;

    case SIM_LID_OPEN:
        sim_lid_report(lid, SIM_EVENT_OPENED, command->id, now,
                       lid->report_at > now ? lid->report_at : now);

        /* Who forgot it is gone; who asked now closes it. */
        if (lid->due == SIM_NEVER && !lid->rules->nobody
            && !sim_lid_happens(lid, SIM_HABIT_FORGET))
        {
            lid->due = now + sim_lid_between(lid, sim_loads);
        }

        break;
    }
}


void
sim_lid_pin(sim_lid_t *lid, const char *pin)
{
    if (pin != NULL && strcmp(lid->pin, pin) != 0
        && lid->visit == SIM_VISIT_LEFT)
    {
        lid->visit = SIM_VISIT_NONE;
        lid->visit_due = SIM_NEVER;
    }

    snprintf(lid->pin, sizeof(lid->pin), "%s", pin ? pin : "");
}


void
sim_lid_stand(sim_lid_t *lid, bool stands, int64_t now)
{
    bool  possible;

    if (!stands) {
        if (lid->visit == SIM_VISIT_LEFT) {
            lid->visit = SIM_VISIT_NONE;
            lid->visit_due = SIM_NEVER;
        }

        return;
    }

    possible = (lid->rules->chance[SIM_HABIT_PIN] > 0 && lid->pin[0] != '\0')
               || lid->rules->chance[SIM_HABIT_QR] > 0
               || lid->rules->chance[SIM_HABIT_TOUCH] > 0;

    if (lid->visit != SIM_VISIT_NONE || lid->state != SIM_LID_CLOSED
        || lid->rules->nobody || !possible)
    {
        return;
    }

    if (lid->pin[0] != '\0' && sim_lid_happens(lid, SIM_HABIT_PIN)) {
        lid->way = SIM_HABIT_PIN;

    } else if (sim_lid_happens(lid, SIM_HABIT_QR)) {
        lid->way = SIM_HABIT_QR;

    } else if (sim_lid_happens(lid, SIM_HABIT_TOUCH)) {
        lid->way = SIM_HABIT_TOUCH;

    } else {
        sim_lid_leave(lid, now);
        return;
    }

    lid->visit = SIM_VISIT_COMING;
    lid->visit_due = now + sim_lid_between(lid, sim_comes);
}


/* In the order in which it would have happened, however rarely it is called:
 * a step that comes late changes no event. */

void
sim_lid_step(sim_lid_t *lid, int64_t now)
{
    while (lid->due <= now || lid->visit_due <= now) {
        if (lid->visit_due < lid->due) {
            sim_lid_act(lid);

        } else if (lid->state == SIM_LID_OPENING) {
            sim_lid_latch(lid);

        } else {
            sim_lid_close(lid, lid->keypad ? SIM_EVENT_PIN_CLOSED
                                           : SIM_EVENT_CLOSED,
                          NULL, lid->due);
        }
    }
}


/* The latch gets the order to open. Chances are drawn whatever the others
 * said, so that forcing one habit leaves the others as they were. */

static void
sim_lid_begin(sim_lid_t *lid, sim_event_e report, const char *command,
    int64_t now)
{
    bool     fast, forget, late;
    int64_t  quick, slow, offline;

    lid->jam = sim_lid_happens(lid, SIM_HABIT_JAM);
    fast = sim_lid_happens(lid, SIM_HABIT_FAST);
    forget = sim_lid_happens(lid, SIM_HABIT_FORGET) || lid->rules->nobody;
    late = sim_lid_happens(lid, SIM_HABIT_LATE);
    lid->twice = sim_lid_happens(lid, SIM_HABIT_TWICE);
    quick = sim_lid_between(lid, sim_loads_fast);
    slow = sim_lid_between(lid, sim_loads);
    offline = sim_lid_between(lid, sim_offline);

    lid->state = SIM_LID_OPENING;
    lid->due = now + lid->rules->latch_ms;
    lid->close_at = forget ? SIM_NEVER : lid->due + (fast ? quick : slow);
    lid->report_at = fast && !forget && !lid->jam
                     ? lid->close_at + SIM_OVERTAKES : lid->due;

    lid->visit = SIM_VISIT_LOADING;
    lid->visit_due = SIM_NEVER;

    if (late) {
        lid->offline_until = now + offline;
    }

    sim_lid_report(lid, lid->jam ? SIM_EVENT_FAILED : report, command,
                   lid->due, lid->report_at);
}


static void
sim_lid_latch(sim_lid_t *lid)
{
    if (lid->jam) {
        lid->counts.failed++;
        lid->state = SIM_LID_CLOSED;
        sim_lid_leave(lid, lid->due);
        lid->due = SIM_NEVER;
        return;
    }

    lid->counts.opened++;
    lid->state = SIM_LID_OPEN;
    lid->due = lid->close_at;
}


static void
sim_lid_close(sim_lid_t *lid, sim_event_e report, const char *command,
    int64_t now)
{
    lid->counts.closed++;
    lid->state = SIM_LID_CLOSED;
    lid->due = SIM_NEVER;
    sim_lid_report(lid, report, command, now, now);
    sim_lid_leave(lid, now);
}


/* Who is there does what it came for, or has waited for long enough. */

static void
sim_lid_act(sim_lid_t *lid)
{
    int64_t  now;

    now = lid->visit_due;
    lid->visit_due = SIM_NEVER;

    if (lid->visit == SIM_VISIT_LEFT) {
        lid->visit = SIM_VISIT_NONE;
        return;
    }

    /* It is open for somebody else, or its PIN was taken away. */
    if (lid->visit == SIM_VISIT_ASKED || lid->state != SIM_LID_CLOSED
        || (lid->way == SIM_HABIT_PIN && lid->pin[0] == '\0'))
    {
        sim_lid_leave(lid, now);
        return;
    }

    if (lid->way == SIM_HABIT_PIN && !lid->rules->pin_ask) {
        lid->keypad = true;
        sim_lid_begin(lid, SIM_EVENT_PIN_OPENED, NULL, now);
        return;
    }

    lid->visit = SIM_VISIT_ASKED;
    lid->visit_due = now + SIM_PATIENCE;

    if (lid->way == SIM_HABIT_QR) {
        lid->scanned = true;

    } else {
        sim_lid_report(lid, SIM_EVENT_PIN_ASKED, NULL, now, now);
    }
}


static void
sim_lid_leave(sim_lid_t *lid, int64_t now)
{
    lid->visit = SIM_VISIT_LEFT;
    lid->visit_due = now + sim_lid_between(lid, sim_next_one);
}


bool
sim_lid_scan(sim_lid_t *lid)
{
    bool  scanned;

    scanned = lid->scanned;
    lid->scanned = false;

    return scanned;
}


void
sim_lid_scan_end(sim_lid_t *lid, bool opened, int64_t now)
{
    if (!opened && lid->visit == SIM_VISIT_ASKED
        && lid->way == SIM_HABIT_QR)
    {
        sim_lid_leave(lid, now);
    }
}


int64_t
sim_lid_due(const sim_lid_t *lid, int64_t now)
{
    int64_t   due, send_at;
    unsigned  i;

    due = lid->due < lid->visit_due ? lid->due : lid->visit_due;

    for (i = 0; i < lid->event_count; i++) {
        send_at = lid->events[i].send_at > lid->offline_until
                  ? lid->events[i].send_at : lid->offline_until;

        /* What could be sent and was not waits for its connection. */
        if (send_at > now && send_at < due) {
            due = send_at;
        }
    }

    return due;
}


bool
sim_lid_holds(const sim_lid_t *lid)
{
    return lid->state != SIM_LID_CLOSED || lid->visit == SIM_VISIT_COMING
           || lid->visit == SIM_VISIT_ASKED;
}


bool
sim_lid_online(const sim_lid_t *lid, int64_t now)
{
    return lid->offline_until <= now;
}


const sim_event_t *
sim_lid_event(const sim_lid_t *lid, int64_t now)
{
    unsigned            i;
    const sim_event_t  *event, *first;

    first = NULL;

    for (i = 0; i < lid->event_count && sim_lid_online(lid, now); i++) {
        event = &lid->events[i];

        if (event->send_at <= now
            && (first == NULL || event->send_at < first->send_at
                || (event->send_at == first->send_at
                    && event->number < first->number)))
        {
            first = event;
        }
    }

    return first;
}


void
sim_lid_event_sent(sim_lid_t *lid, const sim_event_t *event)
{
    lid->events[event - lid->events] = lid->events[--lid->event_count];
}


void
sim_lid_end(sim_lid_t *lid, int64_t now)
{
    unsigned  i;

    lid->due = SIM_NEVER;
    lid->visit_due = SIM_NEVER;
    lid->offline_until = 0;

    for (i = lid->event_count; i-- > 0; /* void */) {
        if (lid->events[i].at > now) {
            lid->events[i] = lid->events[--lid->event_count];

        } else if (lid->events[i].send_at > now) {
            lid->events[i].send_at = now;
        }
    }
}


size_t
sim_event_encode(const sim_event_t *event, char *buf, size_t size)
{
    bool         with_trigger;
    char         command[SIM_COMMAND_ID_MAX + 20];
    char         reason[40], pin[SIM_PIN_MAX + 12];
    const char  *trigger;

    command[0] = reason[0] = pin[0] = '\0';
    with_trigger = event->type == SIM_EVENT_OPENED
                   || event->type == SIM_EVENT_CLOSED;
    trigger = !with_trigger ? ""
              : event->command[0] ? ",\"trigger\":\"COMMAND\""
                                  : ",\"trigger\":\"OTHER\"";

    if (event->command[0] != '\0') {
        snprintf(command, sizeof(command), ",\"commandId\":\"%s\"",
                 event->command);
    }

    if (event->reason != NULL) {
        snprintf(reason, sizeof(reason), ",\"reason\":\"%s\"", event->reason);
    }

    if (event->pin[0] != '\0') {
        snprintf(pin, sizeof(pin), ",\"pin\":\"%s\"", event->pin);
    }

    return (size_t) snprintf(buf, size,
        "{\"id\":\"%lld-%u\",\"ts\":%lld,\"type\":%s%s%s%s%s}",
        (long long) event->at, event->number, (long long) event->at,
        sim_event_texts[event->type], trigger, command, reason, pin);
}


/* FNV-1a: ids are many and long, and a robot's memory is small. */

static bool
sim_lid_seen(sim_lid_t *lid, const char *id)
{
    uint32_t  i;
    uint64_t  hash;

    hash = 0xcbf29ce484222325ULL;

    while (*id) {
        hash = (hash ^ (unsigned char) *id++) * 0x100000001b3ULL;
    }

    for (i = 0; i < lid->seen_count && i < SIM_LID_SEEN; i++) {
        if (lid->seen[i] == hash) {
            return true;
        }
    }

    lid->seen[lid->seen_count++ % SIM_LID_SEEN] = hash;

    return false;
}


static void
sim_lid_report(sim_lid_t *lid, sim_event_e type, const char *command,
    int64_t at, int64_t send_at)
{
    sim_event_t  event;

    event = (sim_event_t) {
        .type = type, .number = ++lid->number, .at = at, .send_at = send_at
    };

    /* A robot whose lid opens stands. */
    if (type == SIM_EVENT_FAILED) {
        event.reason = lid->state == SIM_LID_OPENING ? "latch jammed"
                                                     : "moving";
    }

    if (type == SIM_EVENT_PIN_ASKED && lid->way == SIM_HABIT_PIN) {
        snprintf(event.pin, sizeof(event.pin), "%s", lid->pin);
    }

    snprintf(event.command, sizeof(event.command), "%s",
             command ? command : "");

    sim_lid_push(lid, &event);

    if (lid->twice) {
        event.send_at += sim_lid_between(lid, sim_repeats);
        sim_lid_push(lid, &event);
    }
}


static void
sim_lid_push(sim_lid_t *lid, const sim_event_t *event)
{
    if (lid->event_count == SIM_LID_EVENTS) {
        lid->counts.dropped++;
        return;
    }

    lid->events[lid->event_count++] = *event;
}


static bool
sim_lid_happens(sim_lid_t *lid, sim_habit_e habit)
{
    return sim_rng_between(&lid->rng, 0, 1) < lid->rules->chance[habit];
}


static int64_t
sim_lid_between(sim_lid_t *lid, sim_span_t span)
{
    return sim_rng_pick(&lid->rng, span.low, span.high);
}
