/*
 * Decodes heartbeats and writes the records made of them. Must never let
 * through what Postgres or a reader of its records would refuse.
 */

#include <math.h>
#include <stddef.h>

#include "coco_heartbeat.h"
#include "coco_heartbeat_id.h"
#include "coco_message.h"


enum {
    SERIAL, TS, STATE, HEALTHY, BATTERY, LOCATION, COMPONENTS, LID, SOFTWARE,
    TOPIC, MEMBERS
};

enum { PERCENT, VOLTAGE, CHARGING, BATTERY_MEMBERS };

enum { LATITUDE, LONGITUDE, HEADING, SPEED, ACCURACY, LOCATION_MEMBERS };

/* A number with its bounds, both inclusive. */
typedef struct {
    const char  *field;
    const char  *expected;
    double       min, max;
    bool         required;
} number_rule_t;


static int battery_decode(coco_heartbeat_t *hb,
    const coco_json_value_t *battery, coco_error_t *err);
static int location_decode(coco_heartbeat_t *hb,
    const coco_json_value_t *location, coco_error_t *err);
static int components_decode(coco_heartbeat_t *hb,
    const coco_json_value_t *components, coco_error_t *err);
static int component_error(coco_str_t name, const coco_json_value_t *value,
    coco_error_t *err);
static int lid_decode(coco_heartbeat_t *hb, const coco_json_value_t *lid,
    coco_error_t *err);
static int state_decode(coco_heartbeat_t *hb, const coco_json_value_t *state,
    coco_error_t *err);
static int number_decode(double *ret, bool *has, const number_rule_t *rule,
    const coco_json_value_t *value, coco_error_t *err);
static void head_encode(coco_json_out_t *out, const coco_heartbeat_t *hb);
static void state_encode(coco_json_out_t *out, coco_state_e state);
static void lid_encode(coco_json_out_t *out, const coco_heartbeat_t *hb);
static void teleoperation_encode(coco_json_out_t *out,
    bool remotely_controllable, coco_str_t driveu);


static const coco_str_t  member_names[MEMBERS] = {
    [SERIAL] = coco_string("serial"),
    [TS] = coco_string("ts"),
    [STATE] = coco_string("state"),
    [HEALTHY] = coco_string("healthy"),
    [BATTERY] = coco_string("battery"),
    [LOCATION] = coco_string("location"),
    [COMPONENTS] = coco_string("components"),
    [LID] = coco_string("lid"),
    [SOFTWARE] = coco_string("software"),
    [TOPIC] = coco_string("topic")
};

static const coco_str_t  battery_names[BATTERY_MEMBERS] = {
    [PERCENT] = coco_string("percent"),
    [VOLTAGE] = coco_string("voltage"),
    [CHARGING] = coco_string("charging")
};

static const number_rule_t  percent_rule = {
    "battery.percent", "a number from 0 to 100", 0, 100, true
};

static const number_rule_t  voltage_rule = {
    "battery.voltage", "a number", -HUGE_VAL, HUGE_VAL, false
};

static const coco_str_t  location_names[LOCATION_MEMBERS] = {
    [LATITUDE] = coco_string("latitude"),
    [LONGITUDE] = coco_string("longitude"),
    [HEADING] = coco_string("heading"),
    [SPEED] = coco_string("speed"),
    [ACCURACY] = coco_string("accuracy")
};

static const number_rule_t  location_rules[LOCATION_MEMBERS] = {
    [LATITUDE] = {
        "location.latitude", "a number from -90 to 90", -90, 90, true
    },
    [LONGITUDE] = {
        "location.longitude", "a number from -180 to 180", -180, 180, true
    },
    [HEADING] = {
        "location.heading", "a number from 0 to 360", 0, 360, false
    },
    [SPEED] = {
        "location.speed", "a number of at least 0", 0, HUGE_VAL, false
    },
    [ACCURACY] = {
        "location.accuracy", "a number of at least 0", 0, HUGE_VAL, false
    }
};

static const coco_str_t  state_names[] = {
    [COCO_STATE_NONE] = coco_string(""),
    [COCO_STATE_GROUNDED] = coco_string("GROUNDED"),
    [COCO_STATE_ON_TRIP] = coco_string("ON_TRIP"),
    [COCO_STATE_PARKED] = coco_string("PARKED"),
    [COCO_STATE_OFF_DUTY] = coco_string("OFF_DUTY"),
    [COCO_STATE_DEPLOYED] = coco_string("DEPLOYED")
};


coco_str_t
coco_state_name(coco_state_e state)
{
    return state_names[state];
}


coco_state_e
coco_state_parse(coco_str_t name)
{
    size_t  state;

    state = coco_str_find(name, state_names, COCO_STATE_DEPLOYED + 1);

    return state <= COCO_STATE_DEPLOYED ? (coco_state_e) state
                                        : COCO_STATE_NONE;
}


int
coco_order_compare(const coco_order_t *a, const coco_order_t *b)
{
    if (a->order_ms != b->order_ms) {
        return a->order_ms < b->order_ms ? -1 : 1;
    }

    if (a->ts != b->ts) {
        return a->ts < b->ts ? -1 : 1;
    }

    return memcmp(a->id.bytes, b->id.bytes, COCO_ID_LEN);
}


coco_order_t
coco_heartbeat_order(const coco_heartbeat_t *hb)
{
    return (coco_order_t) {
        .order_ms = hb->ts < hb->received_at ? hb->ts : hb->received_at,
        .ts = hb->ts,
        .id = hb->id
    };
}


int
coco_heartbeat_decode(coco_heartbeat_t *ret, coco_str_t serial,
    coco_str_t payload, int64_t received_at, coco_error_t *err)
{
    bool               has_healthy, healthy;
    size_t             space;
    coco_json_value_t  object, m[MEMBERS];

    *ret = (coco_heartbeat_t) {
        .received_at = received_at, .payload = payload, .healthy = true
    };

    if (coco_serial_valid(serial)) {
        ret->serial = serial;
    }

    if (coco_message_read_spaced(&object, &space, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, member_names, MEMBERS, m);

    if (coco_message_serial(&ret->serial, serial, &m[SERIAL], err) != COCO_OK
        || coco_message_ts(&ret->ts, &m[TS], received_at, err) != COCO_OK
        || state_decode(ret, &m[STATE], err) != COCO_OK
        || battery_decode(ret, &m[BATTERY], err) != COCO_OK
        || location_decode(ret, &m[LOCATION], err) != COCO_OK
        || components_decode(ret, &m[COMPONENTS], err) != COCO_OK
        || lid_decode(ret, &m[LID], err) != COCO_OK
        || coco_message_bool(&healthy, &has_healthy, &m[HEALTHY], "healthy",
                             err) != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (has_healthy) {
        ret->healthy = healthy;
    }

    if (coco_message_has(&m[SOFTWARE])) {
        if (m[SOFTWARE].type != COCO_JSON_STRING
            && m[SOFTWARE].type != COCO_JSON_OBJECT)
        {
            return coco_message_unexpected(err, "software",
                                           "a string or an object",
                                           &m[SOFTWARE]);
        }

        ret->software = m[SOFTWARE].text;
    }

    coco_heartbeat_id_derive(ret, space, &m[SERIAL], &m[TOPIC]);

    return COCO_OK;
}


static int
state_decode(coco_heartbeat_t *hb, const coco_json_value_t *state,
    coco_error_t *err)
{
    static const char  expected[] = "one of GROUNDED ON_TRIP PARKED OFF_DUTY "
                                    "DEPLOYED";

    if (!coco_message_has(state)) {
        return COCO_OK;
    }

    if (state->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "state", expected, state);
    }

    hb->state = coco_state_parse(state->string);

    if (hb->state == COCO_STATE_NONE) {
        return coco_error_set(err, "state", "%s expected", expected);
    }

    return COCO_OK;
}


static int
battery_decode(coco_heartbeat_t *hb, const coco_json_value_t *battery,
    coco_error_t *err)
{
    bool               has;
    double             voltage;
    coco_json_value_t  m[BATTERY_MEMBERS];

    if (!coco_message_has(battery) || battery->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "battery", "an object", battery);
    }

    hb->battery = battery->text;

    coco_message_members(battery, battery_names, BATTERY_MEMBERS, m);

    if (number_decode(&hb->battery_percent, &has, &percent_rule, &m[PERCENT],
                      err) != COCO_OK
        || number_decode(&voltage, &has, &voltage_rule, &m[VOLTAGE], err)
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    return coco_message_bool(&hb->charging, &hb->has_charging, &m[CHARGING],
                             "battery.charging", err);
}


static int
location_decode(coco_heartbeat_t *hb, const coco_json_value_t *location,
    coco_error_t *err)
{
    bool               has[LOCATION_MEMBERS];
    size_t             i;
    double             n[LOCATION_MEMBERS];
    coco_json_value_t  m[LOCATION_MEMBERS];

    if (!coco_message_has(location) || location->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "location", "an object",
                                       location);
    }

    hb->location = location->text;

    coco_message_members(location, location_names, LOCATION_MEMBERS, m);

    for (i = 0; i < LOCATION_MEMBERS; i++) {
        if (number_decode(&n[i], &has[i], &location_rules[i], &m[i], err)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    hb->latitude = n[LATITUDE];
    hb->longitude = n[LONGITUDE];
    hb->heading = n[HEADING];
    hb->speed = n[SPEED];
    hb->has_heading = has[HEADING];
    hb->has_speed = has[SPEED];

    return COCO_OK;
}


static int
number_decode(double *ret, bool *has, const number_rule_t *rule,
    const coco_json_value_t *value, coco_error_t *err)
{
    *ret = 0;
    *has = coco_message_has(value);

    if (!*has && !rule->required) {
        return COCO_OK;
    }

    if (!*has || value->type != COCO_JSON_NUMBER) {
        return coco_message_unexpected(err, rule->field, rule->expected,
                                       value);
    }

    if (value->number < rule->min || value->number > rule->max) {
        return coco_error_set(err, rule->field, "%s expected, not %g",
                              rule->expected, value->number);
    }

    *ret = value->number;

    return COCO_OK;
}


/* healthy, when the robot does not say, follows from the components. */
static int
components_decode(coco_heartbeat_t *hb, const coco_json_value_t *components,
    coco_error_t *err)
{
    size_t             pos = 0;
    coco_str_t         name;
    coco_json_value_t  value;

    if (!coco_message_has(components)) {
        return COCO_OK;
    }

    if (components->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "components", "an object",
                                       components);
    }

    hb->components = components->text;

    while (coco_json_member_next(components, &pos, &name, &value)) {

        if (value.type == COCO_JSON_NULL) {
            continue;
        }

        if (value.type != COCO_JSON_STRING) {
            return component_error(name, &value, err);
        }

        if (coco_str_equal(value.string, coco_string("ERROR"))) {
            hb->healthy = false;

        } else if (!coco_str_equal(value.string, coco_string("OK"))
                   && !coco_str_equal(value.string, coco_string("DEGRADED")))
        {
            return component_error(name, &value, err);
        }
    }

    return COCO_OK;
}


static int
component_error(coco_str_t name, const coco_json_value_t *value,
    coco_error_t *err)
{
    char               field[128] = "components.";
    size_t             len = strlen(field);
    static const char  expected[] = "one of OK DEGRADED ERROR";

    if (name.len > sizeof(field) - 1 - len) {
        name.len = sizeof(field) - 1 - len;
    }

    memcpy(field + len, name.data, name.len);

    if (value->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, field, expected, value);
    }

    return coco_error_set(err, field, "%s expected", expected);
}


static int
lid_decode(coco_heartbeat_t *hb, const coco_json_value_t *lid,
    coco_error_t *err)
{
    coco_json_value_t        open;
    static const coco_str_t  name = coco_string("open");

    if (!coco_message_has(lid)) {
        return COCO_OK;
    }

    if (lid->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "lid", "an object", lid);
    }

    coco_message_members(lid, &name, 1, &open);

    if (!coco_message_has(&open)) {
        return coco_message_unexpected(err, "lid.open", "true or false",
                                       &open);
    }

    return coco_message_bool(&hb->lid_open, &hb->has_lid, &open, "lid.open",
                             err);
}


void
coco_heartbeat_details_encode(coco_json_out_t *out,
    const coco_heartbeat_t *hb, bool remotely_controllable,
    coco_str_t driveu)
{
    char               buf[COCO_MESSAGE_NAME_MAX];
    size_t             pos = 0;
    coco_str_t         raw, name;
    coco_json_value_t  object, value;

    object.text = hb->payload;

    /* the walkers expect the brace first */

    while (*object.text.data != '{') {
        object.text.data++;
        object.text.len--;
    }

    coco_json_object_open(out);

    while (coco_json_member_next(&object, &pos, &raw, &value)) {

        name = coco_message_name(raw, buf);

        if (coco_str_equal(name, member_names[SERIAL])
            || coco_str_equal(name, member_names[TS])
            || coco_str_equal(name, member_names[STATE])
            || coco_str_equal(name, member_names[TOPIC])
            || coco_str_equal(name, coco_string("remotelyControllable"))
            || coco_str_equal(name, coco_string("driveu")))
        {
            continue;
        }

        coco_json_key(out, raw.data, raw.len);
        coco_json_json(out, value.text);
    }

    teleoperation_encode(out, remotely_controllable, driveu);

    coco_json_object_close(out);
}


/* What all records of a heartbeat begin with. */
static void
head_encode(coco_json_out_t *out, const coco_heartbeat_t *hb)
{
    coco_json_name(out, "serial");
    coco_json_string(out, hb->serial);
    coco_json_name(out, "id");
    coco_json_id(out, &hb->id);
    coco_json_name(out, "ts");
    coco_json_int(out, hb->ts);
    coco_json_name(out, "receivedAt");
    coco_json_int(out, hb->received_at);
}


static void
teleoperation_encode(coco_json_out_t *out, bool remotely_controllable,
    coco_str_t driveu)
{
    coco_json_name(out, "remotelyControllable");
    coco_json_bool(out, remotely_controllable);
    coco_json_name(out, "driveu");
    coco_json_json(out, driveu);
}


static void
lid_encode(coco_json_out_t *out, const coco_heartbeat_t *hb)
{
    coco_json_name(out, "lid");

    if (!hb->has_lid) {
        coco_json_null(out);
        return;
    }

    coco_json_object_open(out);
    coco_json_name(out, "open");
    coco_json_bool(out, hb->lid_open);
    coco_json_object_close(out);
}


static void
state_encode(coco_json_out_t *out, coco_state_e state)
{
    if (state == COCO_STATE_NONE) {
        coco_json_null(out);

    } else {
        coco_json_string(out, coco_state_name(state));
    }
}


void
coco_robot_state_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    coco_state_e operation_state)
{
    coco_json_object_open(out);
    head_encode(out, hb);
    coco_json_name(out, "operationState");
    state_encode(out, operation_state);
    coco_json_name(out, "healthy");
    coco_json_bool(out, hb->healthy);
    coco_json_name(out, "battery");
    coco_json_json(out, hb->battery);
    coco_json_name(out, "location");
    coco_json_json(out, hb->location);
    coco_json_name(out, "components");
    coco_json_json(out, hb->components);
    coco_json_object_close(out);
}


void
coco_ephemeral_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    bool remotely_controllable, coco_str_t driveu)
{
    coco_json_object_open(out);
    head_encode(out, hb);
    coco_json_name(out, "healthy");
    coco_json_bool(out, hb->healthy);
    coco_json_name(out, "components");
    coco_json_json(out, hb->components);
    lid_encode(out, hb);
    teleoperation_encode(out, remotely_controllable, driveu);
    coco_json_object_close(out);
}


void
coco_heartbeat_event_encode(coco_json_out_t *out, const coco_heartbeat_t *hb,
    coco_state_e state, bool remotely_controllable, coco_str_t driveu)
{
    coco_json_object_open(out);
    head_encode(out, hb);
    coco_json_name(out, "state");
    state_encode(out, state);
    coco_json_name(out, "healthy");
    coco_json_bool(out, hb->healthy);
    coco_json_name(out, "battery");
    coco_json_json(out, hb->battery);
    coco_json_name(out, "location");
    coco_json_json(out, hb->location);
    coco_json_name(out, "components");
    coco_json_json(out, hb->components);
    lid_encode(out, hb);
    coco_json_name(out, "software");
    coco_json_json(out, hb->software);
    teleoperation_encode(out, remotely_controllable, driveu);
    coco_json_object_close(out);
}
