/*
 * The lid's machine as a table, its names, and the data of its events. Must
 * never look at more than one event: coco_lid_walk.c does.
 */

#include "coco_lid.h"
#include "coco_message.h"


#define REFERENCE_MAX  (128 * 6)   /* bytes, were each of 128 escaped */

#define LID_TO(state, action)  { COCO_LID_##state, COCO_LID_DO_##action }

#define coco_names(table)  (table), sizeof(table) / sizeof((table)[0])


static coco_str_t name_of(const coco_str_t *names, size_t count, size_t i);
static size_t name_parse(const coco_str_t *names, size_t count,
    coco_str_t name);
static coco_str_t string_of(const coco_json_value_t *member);


/* IDLE: no cycle stands. COMPLETE: one was closed no longer than the window
 * ago; after it, EXPIRY leads to IDLE. */
const coco_lid_transition_t
    coco_lid_transitions[COCO_LID_STATES][COCO_LID_EVENTS] =
{
    [COCO_LID_IDLE] = {
        [COCO_LID_OPEN_REQUEST] = LID_TO(REQUEST, REMEMBER),
        [COCO_LID_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_ASKED] = LID_TO(IDLE, NOTHING),
        [COCO_LID_OPEN_FAILED] = LID_TO(IDLE, FORGET),
        [COCO_LID_REQUEST_TIMEOUT] = LID_TO(IDLE, FORGET),
        [COCO_LID_CLOSED] = LID_TO(COMPLETE, WAIT),
        [COCO_LID_PIN_CLOSED] = LID_TO(COMPLETE, WAIT),
        [COCO_LID_SEEN_OPEN] = LID_TO(INIT, BEGIN),
        [COCO_LID_SEEN_CLOSED] = LID_TO(IDLE, NOTHING),
        [COCO_LID_EXPIRY] = LID_TO(IDLE, NOTHING)
    },
    [COCO_LID_REQUEST] = {
        [COCO_LID_OPEN_REQUEST] = LID_TO(REQUEST, REMEMBER),
        [COCO_LID_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_ASKED] = LID_TO(REQUEST, NOTHING),
        [COCO_LID_OPEN_FAILED] = LID_TO(IDLE, FORGET),
        [COCO_LID_REQUEST_TIMEOUT] = LID_TO(IDLE, FORGET),
        [COCO_LID_CLOSED] = LID_TO(COMPLETE, WAIT),
        [COCO_LID_PIN_CLOSED] = LID_TO(COMPLETE, WAIT),
        [COCO_LID_SEEN_OPEN] = LID_TO(INIT, BEGIN),
        [COCO_LID_SEEN_CLOSED] = LID_TO(REQUEST, NOTHING),
        [COCO_LID_EXPIRY] = LID_TO(REQUEST, NOTHING)
    },
    [COCO_LID_INIT] = {
        [COCO_LID_OPEN_REQUEST] = LID_TO(INIT, REMEMBER),
        [COCO_LID_OPENED] = LID_TO(INIT, JOIN),
        [COCO_LID_PIN_OPENED] = LID_TO(INIT, JOIN),
        [COCO_LID_PIN_ASKED] = LID_TO(INIT, NOTHING),
        [COCO_LID_OPEN_FAILED] = LID_TO(INIT, FORGET),
        [COCO_LID_REQUEST_TIMEOUT] = LID_TO(INIT, FORGET),
        [COCO_LID_CLOSED] = LID_TO(COMPLETE, END),
        [COCO_LID_PIN_CLOSED] = LID_TO(COMPLETE, END),
        [COCO_LID_SEEN_OPEN] = LID_TO(INIT, JOIN),
        [COCO_LID_SEEN_CLOSED] = LID_TO(COMPLETE, END),
        [COCO_LID_EXPIRY] = LID_TO(IDLE, EXPIRE)
    },
    [COCO_LID_COMPLETE] = {
        [COCO_LID_OPEN_REQUEST] = LID_TO(COMPLETE, REMEMBER),
        [COCO_LID_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_OPENED] = LID_TO(INIT, BEGIN),
        [COCO_LID_PIN_ASKED] = LID_TO(COMPLETE, NOTHING),
        [COCO_LID_OPEN_FAILED] = LID_TO(COMPLETE, FORGET),
        [COCO_LID_REQUEST_TIMEOUT] = LID_TO(COMPLETE, FORGET),
        [COCO_LID_CLOSED] = LID_TO(COMPLETE, JOIN),
        [COCO_LID_PIN_CLOSED] = LID_TO(COMPLETE, JOIN),
        [COCO_LID_SEEN_OPEN] = LID_TO(INIT, BEGIN),
        [COCO_LID_SEEN_CLOSED] = LID_TO(COMPLETE, JOIN),
        [COCO_LID_EXPIRY] = LID_TO(IDLE, NOTHING)
    }
};

static const coco_str_t  state_names[COCO_LID_STATES] = {
    [COCO_LID_IDLE] = coco_string("IDLE"),
    [COCO_LID_REQUEST] = coco_string("IDLE"),
    [COCO_LID_INIT] = coco_string("LID_CYCLE_INIT"),
    [COCO_LID_COMPLETE] = coco_string("LID_CYCLE_COMPLETE")
};

static const coco_str_t  event_names[COCO_LID_EVENTS] = {
    [COCO_LID_OPEN_REQUEST] = coco_string("LID_OPEN_REQUEST"),
    [COCO_LID_OPENED] = coco_string("LID_OPENED"),
    [COCO_LID_PIN_OPENED] = coco_string("PIN_ENTRY_LID_OPEN"),
    [COCO_LID_PIN_ASKED] = coco_string("PIN_ENTRY_LID_OPEN"),
    [COCO_LID_OPEN_FAILED] = coco_string("LID_OPEN_FAILED"),
    [COCO_LID_REQUEST_TIMEOUT] = coco_string("LID_OPEN_TIMEOUT"),
    [COCO_LID_CLOSED] = coco_string("LID_CLOSED"),
    [COCO_LID_PIN_CLOSED] = coco_string("PIN_ENTRY_LID_CLOSE"),
    [COCO_LID_SEEN_OPEN] = coco_string("LID_OPENED"),
    [COCO_LID_SEEN_CLOSED] = coco_string("LID_CLOSED")
};

static const coco_str_t  source_names[COCO_SOURCES] = {
    [COCO_SOURCE_QR] = coco_string("QR"),
    [COCO_SOURCE_MAGIC_LID] = coco_string("MAGIC_LID"),
    [COCO_SOURCE_PINLESS] = coco_string("PINLESS"),
    [COCO_SOURCE_PIN] = coco_string("PIN"),
    [COCO_SOURCE_OPERATOR] = coco_string("OPERATOR"),
    [COCO_SOURCE_RESYNC] = coco_string("RESYNC")
};

static const coco_str_t  trigger_names[COCO_TRIGGERS] = {
    [COCO_TRIGGER_OTHER] = coco_string("OTHER"),
    [COCO_TRIGGER_COMMAND] = coco_string("COMMAND"),
    [COCO_TRIGGER_PIN_ENTRY_CONFIRM] = coco_string("PIN_ENTRY_CONFIRM")
};

static const coco_str_t  reason_names[] = {
    [COCO_LID_NEVER_CLOSED] = coco_string("NEVER_CLOSED"),
    [COCO_LID_CLOSE_WITHOUT_OPEN] = coco_string("CLOSE_WITHOUT_OPEN")
};


coco_str_t
coco_lid_state_name(coco_lid_state_e state)
{
    return name_of(coco_names(state_names), state);
}


coco_str_t
coco_lid_event_name(coco_lid_event_e event)
{
    return name_of(coco_names(event_names), event);
}


coco_str_t
coco_lid_source_name(coco_lid_source_e source)
{
    return name_of(coco_names(source_names), source);
}


coco_lid_source_e
coco_lid_source_parse(coco_str_t name)
{
    return name_parse(coco_names(source_names), name);
}


coco_str_t
coco_lid_trigger_name(coco_lid_trigger_e trigger)
{
    return name_of(coco_names(trigger_names), trigger);
}


coco_lid_trigger_e
coco_lid_trigger_parse(coco_str_t name)
{
    return name_parse(coco_names(trigger_names), name);
}


coco_str_t
coco_lid_reason_name(coco_lid_reason_e reason)
{
    return name_of(coco_names(reason_names), reason);
}


static coco_str_t
name_of(const coco_str_t *names, size_t count, size_t i)
{
    return i < count ? names[i] : (coco_str_t) { NULL, 0 };
}


/* The index of the name; 0, which has none, when it is not known. */
static size_t
name_parse(const coco_str_t *names, size_t count, coco_str_t name)
{
    size_t  i = coco_str_find(name, names, count);

    return i < count ? i : 0;
}


int
coco_lid_event_parse(coco_str_t type, int lid_opened, coco_str_t source)
{
    int   event;
    bool  resync;

    resync = coco_str_equal(source, source_names[COCO_SOURCE_RESYNC]);

    for (event = 0; event < COCO_LID_EVENTS; event++) {
        if (event_names[event].data != NULL
            && coco_str_equal(event_names[event], type))
        {
            break;
        }
    }

    switch (event) {

    case COCO_LID_EVENTS:
        return -1;

    case COCO_LID_PIN_OPENED:
        return lid_opened > 0 ? COCO_LID_PIN_OPENED : COCO_LID_PIN_ASKED;

    case COCO_LID_OPENED:
        return resync ? COCO_LID_SEEN_OPEN : COCO_LID_OPENED;

    case COCO_LID_CLOSED:
        return resync ? COCO_LID_SEEN_CLOSED : COCO_LID_CLOSED;

    default:
        return event;
    }
}


const char *
coco_lid_action_text(coco_lid_action_e action)
{
    static const char *const  texts[] = {
        [COCO_LID_DO_NOTHING] = "history only",
        [COCO_LID_DO_REMEMBER] = "the request waits for its open",
        [COCO_LID_DO_FORGET] = "the request is over",
        [COCO_LID_DO_BEGIN] = "a cycle begins: Robots.LidOpen",
        [COCO_LID_DO_JOIN] = "another report of the same movement",
        [COCO_LID_DO_END] = "the cycle ends: Robots.LidClose, "
                            "LidCycle.Complete",
        [COCO_LID_DO_WAIT] = "waits for its open, else a cycle without one",
        [COCO_LID_DO_EXPIRE] = "the cycle ends: NEVER_CLOSED"
    };

    return texts[action];
}


void
coco_lid_data_encode(coco_json_out_t *out, const coco_lid_data_t *data)
{
    coco_json_object_open(out);
    coco_json_name(out, "cycleId");
    coco_json_id(out, &data->cycle);
    coco_json_name(out, "source");
    coco_json_string(out, coco_lid_source_name(data->source));
    coco_json_name(out, "trigger");
    coco_json_string(out, coco_lid_trigger_name(data->trigger));
    coco_json_name(out, "referenceId");
    coco_json_string(out, data->reference);
    coco_json_object_close(out);
}


int
coco_lid_data_decode(coco_lid_data_t *ret, coco_str_t text, coco_error_t *err)
{
    coco_json_value_t  object = { .text = text }, m[4];

    enum { CYCLE, SOURCE, TRIGGER, REFERENCE };

    static const coco_str_t  names[] = {
        [CYCLE] = coco_string("cycleId"),
        [SOURCE] = coco_string("source"),
        [TRIGGER] = coco_string("trigger"),
        [REFERENCE] = coco_string("referenceId")
    };

    *ret = (coco_lid_data_t) { .source = COCO_SOURCE_NONE };

    coco_message_members(&object, names, 4, m);

    if (coco_id_parse(&ret->cycle, string_of(&m[CYCLE])) != COCO_OK) {
        return coco_error_set(err, "data.cycleId", "a UUID expected");
    }

    ret->source = coco_lid_source_parse(string_of(&m[SOURCE]));

    if (ret->source == COCO_SOURCE_NONE && coco_message_has(&m[SOURCE])) {
        return coco_error_set(err, "data.source", "one of QR MAGIC_LID "
                              "PINLESS PIN OPERATOR RESYNC, or null, "
                              "expected");
    }

    ret->trigger = coco_lid_trigger_parse(string_of(&m[TRIGGER]));

    if (ret->trigger == COCO_TRIGGER_NONE) {
        return coco_error_set(err, "data.trigger", "one of PIN_ENTRY_CONFIRM "
                              "COMMAND OTHER expected");
    }

    ret->reference = string_of(&m[REFERENCE]);

    if (coco_message_has(&m[REFERENCE])
        && (ret->reference.len == 0 || ret->reference.len > REFERENCE_MAX))
    {
        return coco_error_set(err, "data.referenceId", "a string of 1 to %d "
                              "bytes, or null, expected", REFERENCE_MAX);
    }

    return COCO_OK;
}


/* Between the quotes; absent when the member is no string. */
static coco_str_t
string_of(const coco_json_value_t *member)
{
    return coco_message_has(member) && member->type == COCO_JSON_STRING
           ? member->string : (coco_str_t) { NULL, 0 };
}
