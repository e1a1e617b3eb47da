/*
 * Decodes DriveU's webhooks, and keeps what is known of the units of a
 * robot's teleoperation. Must never put values of the payload into a reason.
 */

#include <math.h>

#include "coco_connectivity.h"
#include "coco_message.h"


#define DAY_US   INT64_C(86400000000)
#define YEAR_2015_US  INT64_C(1420070400000000)


enum { EVENT_NAME, UNIT, STATUS, UUID, VIN, TIME, MEMBERS };

/* Each field has its say before the webhook is refused. */
typedef struct {
    coco_error_t  *errors;
    size_t         count;
} faults_t;


static int event_name_decode(const coco_json_value_t *name,
    coco_error_t *err);
static int unit_decode(coco_unit_e *ret, const coco_json_value_t *unit,
    coco_error_t *err);
static int text_decode(coco_str_t *ret, const coco_json_value_t *value,
    const char *field, size_t max, const char *expected, coco_error_t *err);
static int vin_decode(coco_str_t *ret, const coco_json_value_t *vin,
    coco_error_t *err);
static int time_decode(int64_t *ret, const coco_json_value_t *time,
    int64_t received_at, coco_error_t *err);
static bool time_plausible(double time_us, int64_t received_at);
static void id_derive(coco_connectivity_t *c);
static int unit_status_compare(const coco_unit_status_t *a,
    const coco_unit_status_t *b);
static bool unit_is(const coco_unit_status_t *unit, coco_str_t status);


static const coco_str_t  member_names[MEMBERS] = {
    [EVENT_NAME] = coco_string("eventName"),
    [UNIT] = coco_string("unit"),
    [STATUS] = coco_string("status"),
    [UUID] = coco_string("uuid"),
    [VIN] = coco_string("vin"),
    [TIME] = coco_string("time")
};

static const coco_str_t  unit_names[COCO_UNITS] = {
    [COCO_UNIT_STREAMER] = coco_string("streamer"),
    [COCO_UNIT_NODE] = coco_string("node"),
    [COCO_UNIT_RELAY] = coco_string("relay")
};


coco_str_t
coco_unit_name(coco_unit_e unit)
{
    return unit_names[unit];
}


int
coco_unit_parse(coco_unit_e *ret, coco_str_t name)
{
    coco_unit_e  unit;

    unit = coco_str_find(name, unit_names, COCO_UNITS);

    if (unit == COCO_UNITS) {
        return COCO_ERROR;
    }

    *ret = unit;

    return COCO_OK;
}


/* The place of the next fault; the fields have one each. */
static inline coco_error_t *
fault_next(faults_t *faults)
{
    return &faults->errors[faults->count];
}


static inline void
fault_count(faults_t *faults, int rc)
{
    faults->count += rc != COCO_OK;
}


int
coco_connectivity_decode(coco_connectivity_t *ret, coco_str_t payload,
    int64_t received_at, coco_error_t *errors, size_t *ret_count)
{
    faults_t           f = { .errors = errors };
    coco_json_value_t  object, m[MEMBERS];

    *ret = (coco_connectivity_t) { .received_at = received_at };
    *ret_count = 1;

    if (coco_message_read(&object, payload, errors) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_message_members(&object, member_names, MEMBERS, m);

    fault_count(&f, event_name_decode(&m[EVENT_NAME], fault_next(&f)));
    fault_count(&f, unit_decode(&ret->unit, &m[UNIT], fault_next(&f)));
    fault_count(&f, text_decode(&ret->status, &m[STATUS], "status",
                                COCO_CONNECTIVITY_STATUS_MAX,
                                "a string of 1 to 64 bytes, unescaped,",
                                fault_next(&f)));
    fault_count(&f, text_decode(&ret->uuid, &m[UUID], "uuid",
                                COCO_CONNECTIVITY_UUID_MAX,
                                "a string of 1 to 128 bytes, unescaped,",
                                fault_next(&f)));
    fault_count(&f, vin_decode(&ret->vin, &m[VIN], fault_next(&f)));
    fault_count(&f, time_decode(&ret->time_us, &m[TIME], received_at,
                                fault_next(&f)));

    *ret_count = f.count;

    if (f.count > 0) {
        return COCO_ERROR;
    }

    id_derive(ret);

    return COCO_OK;
}


static int
event_name_decode(const coco_json_value_t *name, coco_error_t *err)
{
    static const char  expected[] = "\"status\"";

    if (!coco_message_has(name) || name->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "eventName", expected, name);
    }

    if (!coco_str_equal(name->string, coco_string("status"))) {
        return coco_error_set(err, "eventName", "%s expected", expected);
    }

    return COCO_OK;
}


static int
unit_decode(coco_unit_e *ret, const coco_json_value_t *unit,
    coco_error_t *err)
{
    static const char  expected[] = "one of streamer node relay";

    if (!coco_message_has(unit) || unit->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "unit", expected, unit);
    }

    if (coco_unit_parse(ret, unit->string) != COCO_OK) {
        return coco_error_set(err, "unit", "%s expected", expected);
    }

    return COCO_OK;
}


/* Without escapes: the text is the same however the webhook came, also when
 * Postgres has written it anew. */
static int
text_decode(coco_str_t *ret, const coco_json_value_t *value,
    const char *field, size_t max, const char *expected, coco_error_t *err)
{
    if (!coco_message_has(value) || value->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, field, expected, value);
    }

    if (value->escaped || value->string.len == 0 || value->string.len > max) {
        return coco_error_set(err, field, "%s expected", expected);
    }

    *ret = value->string;

    return COCO_OK;
}


static int
vin_decode(coco_str_t *ret, const coco_json_value_t *vin, coco_error_t *err)
{
    static const char  expected[] = "a serial (1 to 64 of [A-Za-z0-9._-]) or "
                                    "null";

    if (!coco_message_has(vin)) {
        return COCO_OK;
    }

    if (vin->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "vin", expected, vin);
    }

    if (!coco_serial_valid(vin->string)) {
        return coco_error_set(err, "vin", "%s expected", expected);
    }

    *ret = vin->string;

    return COCO_OK;
}


static int
time_decode(int64_t *ret, const coco_json_value_t *time, int64_t received_at,
    coco_error_t *err)
{
    size_t             i;
    static const char  expected[] = "whole microseconds since 1970";

    static const struct {
        const char  *unit;
        double       scale;
    } others[] = {
        { "seconds", 1e6 }, { "milliseconds", 1e3 }, { "nanoseconds", 1e-3 }
    };

    if (!coco_message_has(time) || time->type != COCO_JSON_NUMBER) {
        return coco_message_unexpected(err, "time", expected, time);
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (time_plausible(time->number * others[i].scale, received_at)) {
            return coco_error_set(err, "time", "looks like %s; microseconds "
                                  "expected", others[i].unit);
        }
    }

    if (!time_plausible(time->number, received_at)) {
        return coco_error_set(err, "time",
                              time->number < (double) YEAR_2015_US
                              ? "before 2015"
                              : "over a day ahead of the receiver's clock");
    }

    if (time->number != trunc(time->number)) {
        return coco_error_set(err, "time", "%s expected, without a fraction",
                              expected);
    }

    *ret = (int64_t) time->number;

    return COCO_OK;
}


/* Times of this range are exact as doubles. */
static bool
time_plausible(double time_us, int64_t received_at)
{
    return time_us >= (double) YEAR_2015_US
           && time_us <= (double) (received_at * 1000 + DAY_US);
}


static void
id_derive(coco_connectivity_t *c)
{
    char        time[sizeof(uint64_t)];
    size_t      i;
    coco_str_t  parts[] = {
        coco_string("connectivity"), unit_names[c->unit], c->status, c->uuid,
        c->vin, { time, sizeof(time) }
    };

    for (i = 0; i < sizeof(time); i++) {
        time[i] = (char) ((uint64_t) c->time_us >> (8 * i));
    }

    coco_id_derive(&c->id, parts, sizeof(parts) / sizeof(parts[0]));
}


int64_t
coco_connectivity_order_us(const coco_connectivity_t *c)
{
    int64_t  received_us = c->received_at * 1000 + 999;

    return c->time_us < received_us ? c->time_us : received_us;
}


bool
coco_driveu_apply(coco_driveu_t *driveu, const coco_connectivity_t *c)
{
    coco_unit_status_t  status, *known = &driveu->units[c->unit];

    status = (coco_unit_status_t) {
        .known = true,
        .order_us = coco_connectivity_order_us(c),
        .time_us = c->time_us,
        .id = c->id,
        .status = c->status,
        .uuid = c->uuid
    };

    if (known->known && unit_status_compare(&status, known) <= 0) {
        return false;
    }

    *known = status;

    return true;
}


static int
unit_status_compare(const coco_unit_status_t *a, const coco_unit_status_t *b)
{
    if (a->order_us != b->order_us) {
        return a->order_us < b->order_us ? -1 : 1;
    }

    if (a->time_us != b->time_us) {
        return a->time_us < b->time_us ? -1 : 1;
    }

    return memcmp(a->id.bytes, b->id.bytes, COCO_ID_LEN);
}


bool
coco_remotely_controllable(const coco_driveu_t *driveu)
{
    const coco_unit_status_t  *streamer, *units = driveu->units;

    streamer = &units[COCO_UNIT_STREAMER];

    return (unit_is(streamer, coco_string("online"))
            || unit_is(streamer, coco_string("connectedToNode")))
           && !unit_is(&units[COCO_UNIT_NODE], coco_string("offline"))
           && !unit_is(&units[COCO_UNIT_RELAY], coco_string("offline"));
}


static bool
unit_is(const coco_unit_status_t *unit, coco_str_t status)
{
    return unit->known && coco_str_equal(unit->status, status);
}


void
coco_driveu_encode(coco_json_out_t *out, const coco_driveu_t *driveu)
{
    bool                       any = false;
    coco_unit_e                i;
    const coco_unit_status_t  *unit;

    for (i = COCO_UNIT_STREAMER; i < COCO_UNITS; i++) {
        unit = &driveu->units[i];

        if (!unit->known) {
            continue;
        }

        if (!any) {
            coco_json_object_open(out);
            any = true;
        }

        coco_json_key(out, unit_names[i].data, unit_names[i].len);
        coco_json_object_open(out);
        coco_json_name(out, "status");
        coco_json_string(out, unit->status);
        coco_json_name(out, "ts");
        coco_json_int(out, unit->time_us / 1000);

        if (unit->order_us < unit->time_us) {
            coco_json_name(out, "receivedAt");
            coco_json_int(out, unit->order_us / 1000);
        }

        coco_json_name(out, "uuid");
        coco_json_string(out, unit->uuid);
        coco_json_object_close(out);
    }

    if (any) {
        coco_json_object_close(out);

    } else {
        coco_json_null(out);
    }
}


void
coco_connectivity_event_encode(coco_json_out_t *out,
    const coco_connectivity_t *c)
{
    coco_json_object_open(out);
    coco_json_name(out, "unit");
    coco_json_string(out, unit_names[c->unit]);
    coco_json_name(out, "status");
    coco_json_string(out, c->status);
    coco_json_name(out, "uuid");
    coco_json_string(out, c->uuid);
    coco_json_name(out, "vin");
    coco_json_string(out, c->vin);
    coco_json_name(out, "ts");
    coco_json_int(out, c->time_us / 1000);
    coco_json_object_close(out);
}
