/*
 * Decodes robot events. Must never put a PIN into an error.
 */

#include "coco_robot_event.h"
#include "coco_message.h"


#define TYPE_MAX        64      /* bytes, as the others */
#define IDENTIFIER_MAX  128
#define REASON_MAX      4096


enum {
    SERIAL, ID, TYPE, TS, TRIGGER, LID_OPENED, PIN, COMMAND_ID, REASON,
    DETAILS, MEMBERS
};


static int type_decode(coco_robot_event_t *event,
    const coco_json_value_t *type, coco_error_t *err);
static int content_decode(coco_robot_event_t *event,
    const coco_json_value_t *m, coco_error_t *err);
static int trigger_decode(coco_robot_event_t *event,
    const coco_json_value_t *trigger, coco_error_t *err);
static int identifier_decode(coco_str_t *ret, const coco_json_value_t *value,
    const char *field, coco_error_t *err);
static int reason_decode(coco_robot_event_t *event,
    const coco_json_value_t *reason, coco_error_t *err);
static void id_derive(coco_robot_event_t *event);
static size_t pin_find(const char *p, size_t len, size_t at);
static size_t space_skip(const char *p, size_t len, size_t at);


static const coco_str_t  member_names[MEMBERS] = {
    [SERIAL] = coco_string("serial"),
    [ID] = coco_string("id"),
    [TYPE] = coco_string("type"),
    [TS] = coco_string("ts"),
    [TRIGGER] = coco_string("trigger"),
    [LID_OPENED] = coco_string("lid_opened"),
    [PIN] = coco_string("pin"),
    [COMMAND_ID] = coco_string("commandId"),
    [REASON] = coco_string("reason"),
    [DETAILS] = coco_string("details")
};

static const coco_str_t  type_names[] = {
    [COCO_EVENT_LID_OPENED] = coco_string("LID_OPENED"),
    [COCO_EVENT_LID_CLOSED] = coco_string("LID_CLOSED"),
    [COCO_EVENT_LID_OPEN_FAILED] = coco_string("LID_OPEN_FAILED"),
    [COCO_EVENT_PIN_ENTRY_LID_OPEN] = coco_string("PIN_ENTRY_LID_OPEN"),
    [COCO_EVENT_PIN_ENTRY_LID_CLOSE] = coco_string("PIN_ENTRY_LID_CLOSE"),
    [COCO_EVENT_COMMAND_ACK] = coco_string("COMMAND_ACK")
};


int
coco_robot_event_decode(coco_robot_event_t *ret, coco_str_t serial,
    coco_str_t payload, int64_t received_at, coco_error_t *err)
{
    coco_error_t       content_err;
    coco_json_value_t  object, m[MEMBERS];

    *ret = (coco_robot_event_t) { .received_at = received_at };

    if (coco_serial_valid(serial)) {
        ret->serial = serial;
    }

    if (coco_message_read(&object, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, member_names, MEMBERS, m);

    if (coco_message_serial(&ret->serial, serial, &m[SERIAL], err) != COCO_OK
        || identifier_decode(&ret->event_id, &m[ID], "id", err) != COCO_OK
        || type_decode(ret, &m[TYPE], err) != COCO_OK
        || coco_message_ts(&ret->ts, &m[TS], received_at, err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    ret->details = m[DETAILS].text;

    /* of a type that we do not know, a member may mean something else */

    if (content_decode(ret, m, &content_err) != COCO_OK
        && ret->type != COCO_EVENT_OTHER)
    {
        *err = content_err;
        return COCO_ERROR;
    }

    id_derive(ret);

    return COCO_OK;
}


/* The robot's own id is taken as unique among that robot's events only. */
static void
id_derive(coco_robot_event_t *event)
{
    char        ts[sizeof(uint64_t)];
    size_t      i, count;
    coco_str_t  parts[4] = { coco_string("event"), event->serial };

    if (event->event_id.data != NULL) {
        parts[2] = event->event_id;
        count = 3;

    } else {
        for (i = 0; i < sizeof(ts); i++) {
            ts[i] = (char) ((uint64_t) event->ts >> (8 * i));
        }

        parts[2] = event->type_name;
        parts[3] = (coco_str_t) { ts, sizeof(ts) };
        count = 4;
    }

    coco_id_derive(&event->id, parts, count);
}


static int
type_decode(coco_robot_event_t *event, const coco_json_value_t *type,
    coco_error_t *err)
{
    coco_event_type_e  i;
    static const char  expected[] = "a string of 1 to 64 bytes, unescaped,";

    if (!coco_message_has(type) || type->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "type", expected, type);
    }

    if (type->escaped || type->string.len == 0
        || type->string.len > TYPE_MAX)
    {
        return coco_error_set(err, "type", "%s expected", expected);
    }

    event->type_name = type->string;

    for (i = COCO_EVENT_LID_OPENED; i <= COCO_EVENT_COMMAND_ACK; i++) {
        if (coco_str_equal(type->string, type_names[i])) {
            event->type = i;
        }
    }

    return COCO_OK;
}


/* Decodes every member, also behind one at fault; *err names the last. */
static int
content_decode(coco_robot_event_t *event, const coco_json_value_t *m,
    coco_error_t *err)
{
    int  rc;

    rc = trigger_decode(event, &m[TRIGGER], err);
    rc |= coco_message_bool(&event->lid_opened, &event->has_lid_opened,
                            &m[LID_OPENED], "lid_opened", err);
    rc |= identifier_decode(&event->pin, &m[PIN], "pin", err);
    rc |= identifier_decode(&event->command_id, &m[COMMAND_ID], "commandId",
                            err);
    rc |= reason_decode(event, &m[REASON], err);

    return rc;
}


static int
trigger_decode(coco_robot_event_t *event, const coco_json_value_t *trigger,
    coco_error_t *err)
{
    static const char  expected[] = "one of PIN_ENTRY_CONFIRM COMMAND OTHER";

    if (!coco_message_has(trigger)) {
        return COCO_OK;
    }

    if (trigger->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "trigger", expected, trigger);
    }

    if (!coco_str_equal(trigger->string, coco_string("PIN_ENTRY_CONFIRM"))
        && !coco_str_equal(trigger->string, coco_string("COMMAND"))
        && !coco_str_equal(trigger->string, coco_string("OTHER")))
    {
        return coco_error_set(err, "trigger", "%s expected", expected);
    }

    event->trigger = trigger->string;

    return COCO_OK;
}


static int
identifier_decode(coco_str_t *ret, const coco_json_value_t *value,
    const char *field, coco_error_t *err)
{
    static const char  expected[] = "a string of 1 to 128 bytes, unescaped,";

    if (!coco_message_has(value)) {
        return COCO_OK;
    }

    if (value->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, field, expected, value);
    }

    if (value->escaped || value->string.len == 0
        || value->string.len > IDENTIFIER_MAX)
    {
        return coco_error_set(err, field, "%s expected", expected);
    }

    *ret = value->string;

    return COCO_OK;
}


static int
reason_decode(coco_robot_event_t *event, const coco_json_value_t *reason,
    coco_error_t *err)
{
    static const char  expected[] = "a string of up to 4096 bytes";

    if (!coco_message_has(reason)) {
        return COCO_OK;
    }

    if (reason->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "reason", expected, reason);
    }

    if (reason->string.len > REASON_MAX) {
        return coco_error_set(err, "reason", "%s expected", expected);
    }

    event->reason = reason->string;

    return COCO_OK;
}


bool
coco_robot_event_has_pin(coco_str_t payload)
{
    return pin_find(payload.data, payload.len, 0) < payload.len;
}


void
coco_robot_event_mask(char *p, size_t len)
{
    bool    string;
    size_t  at;

    for (at = pin_find(p, len, 0); at < len; at = pin_find(p, len, at)) {
        string = p[at] == '"';

        for (at += string; at < len; at++) {
            if (string ? p[at] == '"'
                       : p[at] == ',' || p[at] == '}' || p[at] == ']')
            {
                break;
            }

            if (p[at] >= '0' && p[at] <= '9') {
                p[at] = '*';
            }
        }
    }
}


/* The value of the next member "pin"; len: there is none. No JSON is needed
 * for it: what is at fault may be the JSON. */
static size_t
pin_find(const char *p, size_t len, size_t at)
{
    static const char  name[] = "\"pin";

    for ( ; at + sizeof(name) < len; at++) {
        if (memcmp(p + at, name, sizeof(name) - 1) != 0) {
            continue;
        }

        at += sizeof(name) - 1;
        at += p[at] == '\\';

        if (at >= len || p[at] != '"') {
            continue;
        }

        at = space_skip(p, len, at + 1);

        if (at < len && p[at] == ':') {
            return space_skip(p, len, at + 1);
        }
    }

    return len;
}


/* The backslash of a quoted quote, too. */
static size_t
space_skip(const char *p, size_t len, size_t at)
{
    while (at < len && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n'
                        || p[at] == '\r' || p[at] == '\\'))
    {
        at++;
    }

    return at;
}
