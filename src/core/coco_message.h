/*
 * What heartbeats and robot events have in common: named members, the serial
 * and the time. Functions return COCO_OK or COCO_ERROR with *err filled.
 */

#ifndef COCO_CORE_MESSAGE_H
#define COCO_CORE_MESSAGE_H

#include "coco_core.h"
#include "coco_json_read.h"

/* Checks the whole payload and that it is an object. */
int coco_message_read(coco_json_value_t *ret, coco_str_t payload,
    coco_error_t *err);

/* The same, which also counts the space between the tokens, in bytes. */
int coco_message_read_spaced(coco_json_value_t *ret, size_t *ret_space,
    coco_str_t payload, coco_error_t *err);

/* Fills ret[i] with the member called names[i], all in one walk. Absent and
 * null members have text.data NULL; where a null stands, string tells, which
 * is absent for an absent one. */
void coco_message_members(const coco_json_value_t *object,
    const coco_str_t *names, size_t count, coco_json_value_t *ret);

/* A member's name with its escapes undone, into buf when it has any. Longer
 * ones come back as they are: escaped six characters for one, the longest
 * name that we know ("components") takes 60. */
#define COCO_MESSAGE_NAME_MAX  64
coco_str_t coco_message_name(coco_str_t raw, char *buf);

static inline bool
coco_message_has(const coco_json_value_t *value)
{
    return value->text.data != NULL;
}

/* The payload's serial or the topic's (NULL data: none); equal when both are
 * there. *ret is set as soon as one of them is valid. */
int coco_message_serial(coco_str_t *ret, coco_str_t topic,
    const coco_json_value_t *member, coco_error_t *err);

/*
 * ts in ms: a whole number (1.7e12 and 1700000000000.0 too), or an ISO-8601
 * string, see coco_time_parse. Refused: before 2015, and over a day ahead of
 * received_at; the reason says so when the value looks like another unit.
 */
int coco_message_ts(int64_t *ret, const coco_json_value_t *member,
    int64_t received_at, coco_error_t *err);

/* An optional boolean; *ret is left alone unless *has. */
int coco_message_bool(bool *ret, bool *has, const coco_json_value_t *member,
    const char *field, coco_error_t *err);

/* "missing; <expected> expected", or "<expected> expected, not a string". */
int coco_message_unexpected(coco_error_t *err, const char *field,
    const char *expected, const coco_json_value_t *value);

/*
 * ISO-8601 in RFC 3339's profile to ms since the epoch:
 * YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm); the colon of the offset
 * may be left out. Digits beyond the millisecond are dropped; second 60 is
 * the next minute's first.
 */
int coco_time_parse(int64_t *ret, coco_str_t text);

#endif /* COCO_CORE_MESSAGE_H */
