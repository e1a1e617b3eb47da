/*
 * What heartbeats and robot events have in common. Must never put values of
 * the payload into a reason: a PIN could be among them.
 */

#include <math.h>

#include "coco_message.h"
#include "coco_json_text.h"


#define DAY_MS   INT64_C(86400000)
#define YEAR_2015_MS  INT64_C(1420070400000)


static int ts_number(double *ret, const coco_json_value_t *member,
    coco_error_t *err);
static bool ts_plausible(double ts, int64_t received_at);
static bool digits_parse(const char **p, const char *end, unsigned count,
    int64_t *ret);
static bool char_parse(const char **p, const char *end, const char *any);
static bool date_parse(const char **p, const char *end, int64_t *ret_days);
static bool clock_parse(const char **p, const char *end, int64_t *ret_ms);
static bool zone_parse(const char **p, const char *end, int64_t *ret_ms);


int
coco_message_read(coco_json_value_t *ret, coco_str_t payload,
    coco_error_t *err)
{
    size_t  space;

    return coco_message_read_spaced(ret, &space, payload, err);
}


int
coco_message_read_spaced(coco_json_value_t *ret, size_t *ret_space,
    coco_str_t payload, coco_error_t *err)
{
    if (coco_json_read_spaced(ret, ret_space, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    if (ret->type != COCO_JSON_OBJECT) {
        return coco_message_unexpected(err, "", "an object", ret);
    }

    return COCO_OK;
}


void
coco_message_members(const coco_json_value_t *object, const coco_str_t *names,
    size_t count, coco_json_value_t *ret)
{
    char               buf[COCO_MESSAGE_NAME_MAX];
    size_t             i, pos = 0;
    coco_str_t         name;
    coco_json_value_t  unknown, *value;

    for (i = 0; i < count; i++) {
        ret[i].text = ret[i].string = (coco_str_t) { NULL, 0 };
    }

    while (coco_json_name_next(object, &pos, &name)) {

        name = coco_message_name(name, buf);
        value = &unknown;

        for (i = 0; i < count; i++) {
            if (name.len == names[i].len
                && memcmp(name.data, names[i].data, name.len) == 0)
            {
                value = &ret[i];
                break;
            }
        }

        coco_json_member_value(object, &pos, value);

        if (value->type == COCO_JSON_NULL) {
            value->string = value->text;
            value->text = (coco_str_t) { NULL, 0 };
        }
    }
}


coco_str_t
coco_message_name(coco_str_t raw, char *buf)
{
    coco_json_value_t  value;

    if (raw.len > COCO_MESSAGE_NAME_MAX
        || memchr(raw.data, '\\', raw.len) == NULL)
    {
        return raw;
    }

    value.string = raw;
    value.escaped = true;

    return coco_json_unescape(&value, buf);
}


int
coco_message_serial(coco_str_t *ret, coco_str_t topic,
    const coco_json_value_t *member, coco_error_t *err)
{
    static const char  expected[] = "1 to 64 of [A-Za-z0-9._-]";

    *ret = (coco_str_t) { NULL, 0 };

    if (topic.data != NULL) {
        if (!coco_serial_valid(topic)) {
            return coco_error_set(err, "serial", "%s expected in the topic",
                                  expected);
        }

        *ret = topic;
    }

    if (!coco_message_has(member)) {
        return topic.data != NULL
               ? COCO_OK
               : coco_message_unexpected(err, "serial", expected, member);
    }

    if (member->type != COCO_JSON_STRING) {
        return coco_message_unexpected(err, "serial", expected, member);
    }

    if (member->escaped || !coco_serial_valid(member->string)) {
        return coco_error_set(err, "serial", "%s expected, and neither "
                              "\".\", \"..\" nor \"stream\"", expected);
    }

    if (topic.data != NULL && !coco_str_equal(topic, member->string)) {
        return coco_error_set(err, "serial", "not the topic's serial");
    }

    *ret = member->string;

    return COCO_OK;
}


int
coco_message_ts(int64_t *ret, const coco_json_value_t *member,
    int64_t received_at, coco_error_t *err)
{
    double   ts = 0;
    int64_t  parsed;

    if (coco_message_has(member) && member->type == COCO_JSON_STRING) {

        if (member->escaped
            || coco_time_parse(&parsed, member->string) != COCO_OK)
        {
            return coco_error_set(err, "ts", "ISO-8601 with a zone expected, "
                                  "like 2026-01-31T08:15:00.000Z");
        }

        ts = (double) parsed;

    } else if (ts_number(&ts, member, err) != COCO_OK) {
        return COCO_ERROR;
    }

    if (!ts_plausible(ts, received_at)) {

        if (ts_plausible(ts * 1e3, received_at)) {
            return coco_error_set(err, "ts", "looks like seconds; "
                                  "milliseconds expected");
        }

        if (ts_plausible(ts / 1e3, received_at)) {
            return coco_error_set(err, "ts", "looks like microseconds; "
                                  "milliseconds expected");
        }

        return coco_error_set(err, "ts", ts < (double) YEAR_2015_MS
                              ? "before 2015"
                              : "over a day ahead of the receiver's clock");
    }

    *ret = (int64_t) ts;

    return COCO_OK;
}


static int
ts_number(double *ret, const coco_json_value_t *member, coco_error_t *err)
{
    static const char  expected[] = "milliseconds since 1970 or an ISO-8601 "
                                    "string";

    if (!coco_message_has(member) || member->type != COCO_JSON_NUMBER) {
        return coco_message_unexpected(err, "ts", expected, member);
    }

    if (member->number != trunc(member->number)) {
        return coco_error_set(err, "ts", "whole milliseconds expected, "
                              "without a fraction");
    }

    *ret = member->number;

    return COCO_OK;
}


/* Times of this range are exact as doubles. */
static bool
ts_plausible(double ts, int64_t received_at)
{
    return ts >= (double) YEAR_2015_MS
           && ts <= (double) received_at + (double) DAY_MS;
}


int
coco_message_bool(bool *ret, bool *has, const coco_json_value_t *member,
    const char *field, coco_error_t *err)
{
    *has = false;

    if (!coco_message_has(member)) {
        return COCO_OK;
    }

    if (member->type != COCO_JSON_TRUE && member->type != COCO_JSON_FALSE) {
        return coco_message_unexpected(err, field, "true or false", member);
    }

    *has = true;
    *ret = member->type == COCO_JSON_TRUE;

    return COCO_OK;
}


int
coco_message_unexpected(coco_error_t *err, const char *field,
    const char *expected, const coco_json_value_t *value)
{
    static const char *const  types[] = {
        [COCO_JSON_NULL] = "null",
        [COCO_JSON_FALSE] = "a boolean",
        [COCO_JSON_TRUE] = "a boolean",
        [COCO_JSON_NUMBER] = "a number",
        [COCO_JSON_STRING] = "a string",
        [COCO_JSON_ARRAY] = "an array",
        [COCO_JSON_OBJECT] = "an object"
    };

    if (!coco_message_has(value)) {
        return coco_error_set(err, field, "missing; %s expected", expected);
    }

    return coco_error_set(err, field, "%s expected, not %s", expected,
                          types[value->type]);
}


int
coco_time_parse(int64_t *ret, coco_str_t text)
{
    int64_t      days, clock, offset;
    const char  *p = text.data, *end = p + text.len;

    if (!date_parse(&p, end, &days) || !char_parse(&p, end, "Tt")
        || !clock_parse(&p, end, &clock) || !zone_parse(&p, end, &offset)
        || p != end)
    {
        return COCO_ERROR;
    }

    *ret = days * DAY_MS + clock - offset;

    return COCO_OK;
}


static bool
digits_parse(const char **p, const char *end, unsigned count, int64_t *ret)
{
    *ret = 0;

    for ( /* void */ ; count > 0; count--, (*p)++) {

        if (*p == end || **p < '0' || **p > '9') {
            return false;
        }

        *ret = *ret * 10 + (**p - '0');
    }

    return true;
}


static bool
char_parse(const char **p, const char *end, const char *any)
{
    if (*p == end || **p == '\0' || strchr(any, **p) == NULL) {
        return false;
    }

    (*p)++;

    return true;
}


static bool
date_parse(const char **p, const char *end, int64_t *ret_days)
{
    bool     leap;
    int64_t  year, month, day, era_years;

    static const int  lengths[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    static const int  before[] = {
        0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334
    };

    if (!digits_parse(p, end, 4, &year) || !char_parse(p, end, "-")
        || !digits_parse(p, end, 2, &month) || !char_parse(p, end, "-")
        || !digits_parse(p, end, 2, &day)
        || year == 0 || month == 0 || month > 12 || day == 0)
    {
        return false;
    }

    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (day > lengths[month - 1] + (month == 2 && leap)) {
        return false;
    }

    era_years = year - 1;               /* whole years since 0001-01-01 */

    *ret_days = era_years * 365 + era_years / 4 - era_years / 100
                + era_years / 400 + before[month - 1] + (month > 2 && leap)
                + day - 1 - 719162;     /* days from 0001 to 1970 */

    return true;
}


static bool
clock_parse(const char **p, const char *end, int64_t *ret_ms)
{
    int64_t  hour, minute, second, digit, unit;

    if (!digits_parse(p, end, 2, &hour) || !char_parse(p, end, ":")
        || !digits_parse(p, end, 2, &minute) || !char_parse(p, end, ":")
        || !digits_parse(p, end, 2, &second)
        || hour > 23 || minute > 59 || second > 60)
    {
        return false;
    }

    *ret_ms = ((hour * 60 + minute) * 60 + second) * 1000;

    if (!char_parse(p, end, ".,")) {
        return true;
    }

    if (!digits_parse(p, end, 1, &digit)) {
        return false;
    }

    unit = 100;

    do {
        *ret_ms += digit * unit;
        unit /= 10;
    } while (digits_parse(p, end, 1, &digit));

    return true;
}


/* What is to be taken off the clock's time to get UTC. */
static bool
zone_parse(const char **p, const char *end, int64_t *ret_ms)
{
    int      sign;
    int64_t  hours, minutes;

    *ret_ms = 0;

    if (char_parse(p, end, "Zz")) {
        return true;
    }

    sign = *p < end && **p == '-' ? -1 : 1;

    if (!char_parse(p, end, "+-") || !digits_parse(p, end, 2, &hours)) {
        return false;
    }

    (void) char_parse(p, end, ":");

    if (!digits_parse(p, end, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }

    *ret_ms = sign * (hours * 60 + minutes) * 60 * 1000;

    return true;
}
