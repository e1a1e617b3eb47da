/*
 * The lid cycle: who opened a robot's lid, for what, and when it was closed.
 *
 * The records are a function of the set of events, not of the order in which
 * they came: coco_lid_reconcile() walks the events of a robot in the order of
 * its clock over the table coco_lid_transitions, and says what is to change
 * in the records that are stored. Rules: CONTRACT "Lid rules", the seeds'
 * Magic Lid and QR documents, docs/machines.md.
 */

#ifndef COCO_LID_H
#define COCO_LID_H

#include "coco_core.h"
#include "coco_json_write.h"

#define COCO_NEVER  INT64_MIN    /* a time that is not known */

typedef enum {
    COCO_LID_IDLE = 0,
    COCO_LID_REQUEST,            /* in the history only */
    COCO_LID_INIT,
    COCO_LID_COMPLETE,
    COCO_LID_STATES
} coco_lid_state_e;

typedef enum {
    COCO_LID_OPEN_REQUEST = 0,
    COCO_LID_OPENED,             /* LID_OPENED */
    COCO_LID_PIN_OPENED,         /* PIN_ENTRY_LID_OPEN with lid_opened true */
    COCO_LID_PIN_ASKED,          /* the same with false: asks the backend */
    COCO_LID_OPEN_FAILED,
    COCO_LID_REQUEST_TIMEOUT,    /* LID_OPEN_TIMEOUT */
    COCO_LID_CLOSED,             /* LID_CLOSED */
    COCO_LID_PIN_CLOSED,         /* PIN_ENTRY_LID_CLOSE */
    COCO_LID_SEEN_OPEN,          /* LID_OPENED with source RESYNC */
    COCO_LID_SEEN_CLOSED,        /* LID_CLOSED with source RESYNC */
    COCO_LID_EXPIRY,             /* an open is over rules.cycle_ms old, a close
                                    over rules.window_ms */
    COCO_LID_EVENTS
} coco_lid_event_e;

typedef enum {
    COCO_SOURCE_NONE = 0,        /* nobody knows */
    COCO_SOURCE_QR,
    COCO_SOURCE_MAGIC_LID,
    COCO_SOURCE_PINLESS,
    COCO_SOURCE_PIN,
    COCO_SOURCE_OPERATOR,
    COCO_SOURCE_RESYNC,
    COCO_SOURCES
} coco_lid_source_e;

typedef enum {
    COCO_TRIGGER_NONE = 0,
    COCO_TRIGGER_OTHER,
    COCO_TRIGGER_COMMAND,
    COCO_TRIGGER_PIN_ENTRY_CONFIRM,
    COCO_TRIGGERS
} coco_lid_trigger_e;

/* Why a complete cycle lacks a movement. */
typedef enum {
    COCO_LID_WHOLE = 0,
    COCO_LID_NEVER_CLOSED,
    COCO_LID_CLOSE_WITHOUT_OPEN
} coco_lid_reason_e;

/* Names as the wire and the tables have them: "LID_CYCLE_INIT" (IDLE for the
 * first two), "LID_OPENED", "QR", "PIN_ENTRY_CONFIRM", "NEVER_CLOSED"; data
 * NULL for NONE, WHOLE and EXPIRY. Parsing gives NONE for what is not known. */
coco_str_t coco_lid_state_name(coco_lid_state_e state);
coco_str_t coco_lid_event_name(coco_lid_event_e event);
coco_str_t coco_lid_source_name(coco_lid_source_e source);
coco_lid_source_e coco_lid_source_parse(coco_str_t name);
coco_str_t coco_lid_trigger_name(coco_lid_trigger_e trigger);
coco_lid_trigger_e coco_lid_trigger_parse(coco_str_t name);
coco_str_t coco_lid_reason_name(coco_lid_reason_e reason);

/* The event that a row of the history stands for; lid_opened as it was said,
 * -1 when it was not. -1: none of the machine's (COMMAND_ACK,
 * LID_OPEN_REFUSED, types we do not know). */
int coco_lid_event_parse(coco_str_t type, int lid_opened, coco_str_t source);

/* The machine, for the code, its tests and docs/machines.md alike. */
typedef enum {
    COCO_LID_DO_NOTHING = 0,     /* the history has it, no more */
    COCO_LID_DO_REMEMBER,        /* the request, for the open to come */
    COCO_LID_DO_FORGET,          /* the request, if any: it failed or timed
                                    out */
    COCO_LID_DO_BEGIN,           /* a cycle: Robots.LidOpen */
    COCO_LID_DO_JOIN,            /* another report of the movement that began
                                    or ended the cycle: fills what it lacks */
    COCO_LID_DO_END,             /* the cycle: Robots.LidClose and
                                    LidCycle.Complete */
    COCO_LID_DO_WAIT,            /* a close without an open: after its wait a
                                    cycle of its own, unless it joins */
    COCO_LID_DO_EXPIRE           /* the cycle ends, nothing is published */
} coco_lid_action_e;

typedef struct {
    coco_lid_state_e   next;
    coco_lid_action_e  action;
} coco_lid_transition_t;

extern const coco_lid_transition_t
    coco_lid_transitions[COCO_LID_STATES][COCO_LID_EVENTS];
const char *coco_lid_action_text(coco_lid_action_e action);

/* An event of one robot, as the history has it. */
typedef struct {
    coco_id_t           id;
    coco_lid_event_e    event;
    int64_t             at;           /* ms: least(ts, received_at) */
    int64_t             wait_until;   /* closes: for their open; NEVER: none */
    int64_t             expires_at;   /* requests */
    bool                has_command;
    coco_id_t           command;      /* requests: theirs; opens and failures:
                                         the one that they answer, if said */
    coco_lid_source_e   source;       /* requests, RESYNC */
    coco_str_t          reference;    /* requests; data NULL: none */
    coco_lid_trigger_e  trigger;
    coco_str_t          reason;       /* failures */

    /* coco_lid_reconcile()'s own */
    bool                taken, failed;  /* requests */
    size_t              request;      /* opens, failures: the one they answer;
                                         requests: the one before */
    size_t              cycle;        /* in the order of the walk */
} coco_lid_mark_t;

typedef struct {
    coco_id_t           id;
    coco_lid_state_e    state;        /* INIT or COMPLETE */
    coco_lid_source_e   source;
    coco_str_t          reference;
    coco_lid_trigger_e  open_trigger; /* of Robots.LidOpen; not stored */
    coco_lid_trigger_e  trigger;      /* of the newest movement: stored */
    bool                has_command;
    coco_id_t           command;
    int64_t             opened_at, closed_at;        /* ms, or NEVER */
    coco_lid_reason_e   reason;
    bool                has_open, has_close;
    coco_id_t           open_event, close_event;     /* marks */
    bool                open_published, close_published;  /* out: with what
                                         is to be published now */

    /* what coco_lid_reconcile() has found */
    bool                stored;       /* there is a row of it */
    bool                changed;      /* the row is to be written */
    bool                publish_open, publish_close;
    bool                anomaly;      /* its reason is new: an anomaly */
    bool                resynced;     /* by a mark of RESYNC that is new:
                                         another */
    int64_t             wait_until;   /* its own: a close without an open */
    size_t              index;        /* its own */
} coco_lid_cycle_t;

/* What has become of a command. */
typedef struct {
    coco_id_t    command;
    bool         opened;              /* else it failed */
    size_t       cycle;               /* index in cycles; opened */
    coco_str_t   reason;              /* failed */
} coco_lid_answer_t;

typedef struct {
    int64_t  window_ms;     /* between two reports of one movement, and what
                               the clocks of a robot and ours may differ when
                               an open names no command */
    int64_t  cycle_ms;      /* an open that never closes expires after it */
} coco_lid_rules_t;

/* One robot. The arrays are the caller's; nothing is allocated, strings point
 * to where they came from. */
typedef struct {
    coco_str_t          serial;
    int64_t             until;        /* in: ms; nothing later is given. 0: all
                                         is, to the newest */
    coco_lid_mark_t    *marks;        /* in; sorted in place */
    size_t              mark_count;
    coco_lid_cycle_t   *cycles;       /* in: the stored ones (order free);
                                         out: all of the span, in order */
    size_t              cycle_count;
    size_t              cycle_max;    /* stored ones + marks are enough */
    coco_lid_answer_t  *answers;      /* out: mark_count are enough */
    size_t              answer_count;
    int64_t             due_at;       /* out: when to look again; NEVER */
    int64_t             due_from;     /* out: the `from` of then */
    bool                known;        /* out: the lid's position is known, */
    bool                is_open;      /* and is this */
    int64_t             changed_at;   /* since; NEVER without any */
} coco_lid_t;

/* All marks and cycles from `from` less this are to be given; up to the newest
 * of what is new and twice this, at least: opens that no close parts carry a
 * change along. */
int64_t coco_lid_span_ms(const coco_lid_rules_t *rules);

/* With an `until`: cycles that began later than this are left as they are, for
 * their end may not have been given. */
int64_t coco_lid_edge(int64_t until, const coco_lid_rules_t *rules);

/*
 * `from`: the least time (mark.at) of what is new and of the due_from that
 * the last call gave, while that is not done (kept in the robot's task, it
 * must not be lost when something newer comes first). Cycles that began more
 * than cycle_ms before it are left as they are. `now` in ms. The same marks
 * give the same records (but for ids and for what was published) in whatever
 * order and however often they came. (A late request reaches back cycle_ms;
 * in the worker none is late, a robot answers only what is stored.) With an
 * `until`, known, is_open and changed_at are of what was given.
 * COCO_AGAIN: cycle_max is too small.
 */
int coco_lid_reconcile(coco_lid_t *lid, int64_t from, int64_t now,
    const coco_lid_rules_t *rules);

/* The data of Robots.LidOpen, Robots.LidClose and LidCycle.Complete, in both
 * directions: {"cycleId","source","trigger","referenceId"}; source and
 * referenceId may be null. To be decoded is an object that was checked (the
 * envelope's data). COCO_ERROR names the member. */
typedef struct {
    coco_id_t           cycle;
    coco_lid_source_e   source;
    coco_lid_trigger_e  trigger;
    coco_str_t          reference;    /* decoded: escapes stay as they are;
                                         it is to be compared with ids */
} coco_lid_data_t;

void coco_lid_data_encode(coco_json_out_t *out, const coco_lid_data_t *data);
int coco_lid_data_decode(coco_lid_data_t *ret, coco_str_t text,
    coco_error_t *err);

#endif /* COCO_LID_H */
