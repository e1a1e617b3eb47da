/*
 * The lid of one robot, and the people at it: who types its PIN, scans its
 * code, loads it and closes it, and with which bad habits. Pure: no clock, no
 * I/O, no globals; the same seed and calls give the same events.
 *
 * Times are ms of the robot's clock; `now` never goes back.
 */

#ifndef COCO_SIM_LID_H
#define COCO_SIM_LID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"

#define SIM_PIN_MAX         16
#define SIM_COMMAND_ID_MAX  64
#define SIM_LID_EVENTS      32      /* kept without a network, then dropped */
#define SIM_LID_SEEN        32      /* ids of commands that are remembered */
#define SIM_LID_EVENT_MAX   512     /* bytes; the longest is about 260 */
#define SIM_NEVER           INT64_MAX

/* The first three bring somebody to a robot that stands; the others are what
 * may come over whoever had the lid opened. */
typedef enum {
    SIM_HABIT_PIN = 0,              /* types the PIN that the shadow holds */
    SIM_HABIT_QR,                   /* scans the code */
    SIM_HABIT_TOUCH,                /* touches the keypad, without a PIN */
    SIM_HABIT_FAST,                 /* closes before the open is reported */
    SIM_HABIT_FORGET,               /* leaves it open */
    SIM_HABIT_JAM,                  /* the latch does not open */
    SIM_HABIT_LATE,                 /* no network from the opening on */
    SIM_HABIT_TWICE,                /* every event comes again, later */
    SIM_HABITS
} sim_habit_e;

typedef struct {
    double    chance[SIM_HABITS];   /* 0 to 1 */
    bool      nobody;               /* what was opened stays open */
    bool      pin_ask;              /* the keypad asks the backend */
    int64_t   latch_ms;             /* from the order to the open lid */
} sim_lid_rules_t;

typedef enum {
    SIM_LID_CLOSED = 0,
    SIM_LID_OPENING,                /* until due: then open, or jammed */
    SIM_LID_OPEN                    /* until due, or a command closes it */
} sim_lid_state_e;

typedef enum {
    SIM_VISIT_NONE = 0,
    SIM_VISIT_COMING,               /* at the keypad or the code when due */
    SIM_VISIT_ASKED,                /* waits for the lid, gives up when due */
    SIM_VISIT_LOADING,              /* somebody has it opening or open */
    SIM_VISIT_LEFT                  /* when due the next one may come */
} sim_visit_e;

typedef enum {
    SIM_COMMAND_OPEN = 0,
    SIM_COMMAND_CLOSE
} sim_command_e;

typedef struct {
    char           id[SIM_COMMAND_ID_MAX + 1];      /* no escapes needed */
    sim_command_e  command;
    int64_t        expires_at;
} sim_command_t;

typedef enum {
    SIM_EVENT_ACK = 0,
    SIM_EVENT_OPENED,
    SIM_EVENT_CLOSED,
    SIM_EVENT_FAILED,
    SIM_EVENT_PIN_OPENED,           /* the robot opened by itself */
    SIM_EVENT_PIN_ASKED,
    SIM_EVENT_PIN_CLOSED
} sim_event_e;

typedef struct {
    sim_event_e  type;
    uint32_t     number;            /* of this lid; a repeat has the same */
    int64_t      at, send_at;
    const char  *reason;            /* static; NULL: none */
    char         command[SIM_COMMAND_ID_MAX + 1];   /* "": none */
    char         pin[SIM_PIN_MAX + 1];              /* "": none */
} sim_event_t;

typedef struct {
    uint64_t  commands;             /* that were acted on or refused */
    uint64_t  ignored;              /* expired, repeated */
    uint64_t  opened, closed, failed;
    uint64_t  dropped;              /* events that found no room */
} sim_lid_counts_t;

typedef struct {
    const sim_lid_rules_t  *rules;          /* not owned */
    sim_rng_t               rng;

    sim_lid_state_e         state;
    int64_t                 due;
    bool                    jam;            /* this opening will fail */
    bool                    keypad;         /* closes by it too */
    bool                    twice;
    int64_t                 report_at;      /* the open, when not earlier */
    int64_t                 close_at;
    int64_t                 offline_until;

    sim_visit_e             visit;
    sim_habit_e             way;            /* of who is COMING */
    int64_t                 visit_due;
    bool                    scanned;        /* taken by sim_lid_scan() */

    char                    pin[SIM_PIN_MAX + 1];   /* "": none */
    uint64_t                seen[SIM_LID_SEEN];     /* a ring of hashes */
    uint32_t                seen_count;

    sim_event_t             events[SIM_LID_EVENTS]; /* in no order */
    unsigned                event_count;
    uint32_t                number;
    sim_lid_counts_t        counts;
} sim_lid_t;

/* "pin,jam:0.1": habits and their chances (1 when not given), or "none". Adds
 * nothing to ret but chances and nobody. Returns NULL, or what is wrong. */
const char *sim_habits_parse(sim_lid_rules_t *ret, const char *list);

/* Robots of one fleet share seed and rules, and differ by index. */
void sim_lid_init(sim_lid_t *lid, const sim_lid_rules_t *rules, uint64_t seed,
    uint64_t index);

/* A command came. moves: the robot drives. */
void sim_lid_command(sim_lid_t *lid, const sim_command_t *command, bool moves,
    int64_t now);

/* What the shadow holds; NULL: no PIN. A new one brings somebody who has it. */
void sim_lid_pin(sim_lid_t *lid, const char *pin);

/* Does the robot stand where people are? To be told often: they come then. */
void sim_lid_stand(sim_lid_t *lid, bool stands, int64_t now);

/* Lets everything happen that is due. */
void sim_lid_step(sim_lid_t *lid, int64_t now);

/* Has somebody scanned the code since it was last asked? The scan's end is to
 * be told: without success, who scanned it leaves. */
bool sim_lid_scan(sim_lid_t *lid);
void sim_lid_scan_end(sim_lid_t *lid, bool opened, int64_t now);

/* When to step or to send next; NEVER: nothing will happen by itself. */
int64_t sim_lid_due(const sim_lid_t *lid, int64_t now);

/* Somebody is at it, or it is not closed: it does not drive. */
bool sim_lid_holds(const sim_lid_t *lid);

bool sim_lid_online(const sim_lid_t *lid, int64_t now);

/* The event to be sent next; NULL: none before sim_lid_due(). It stands until
 * sim_lid_event_sent(). */
const sim_event_t *sim_lid_event(const sim_lid_t *lid, int64_t now);
void sim_lid_event_sent(sim_lid_t *lid, const sim_event_t *event);

/* The robot is switched off: it has a network, what happened until now is
 * reported at once, and what would have happened does not. */
void sim_lid_end(sim_lid_t *lid, int64_t now);

/* Its JSON, NUL-terminated; size is at least SIM_LID_EVENT_MAX. Returns the
 * length. */
size_t sim_event_encode(const sim_event_t *event, char *buf, size_t size);

#endif /* COCO_SIM_LID_H */
