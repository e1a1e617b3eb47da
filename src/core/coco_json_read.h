/*
 * A pull reader over one JSON text (RFC 8259), in place, without allocation.
 * Stricter than the RFC where Postgres or we are: it refuses invalid UTF-8,
 * \u0000, lone surrogates, duplicate member names, depth over 32, numbers
 * that overflow or underflow a double (1e400, 1e-400: no double precision for
 * Postgres) or that its numeric cannot hold (over 1,000 characters, or an
 * exponent beyond 9999), anything after the value, and more than 4,096 members
 * in the objects that are open at one point.
 */

#ifndef COCO_JSON_READ_H
#define COCO_JSON_READ_H

#include "coco_core.h"

#define COCO_JSON_DEPTH_MAX  32
#define COCO_JSON_NAMES_MAX  4096

typedef enum {
    COCO_JSON_NULL, COCO_JSON_FALSE, COCO_JSON_TRUE, COCO_JSON_NUMBER,
    COCO_JSON_STRING, COCO_JSON_ARRAY, COCO_JSON_OBJECT
} coco_json_type_e;

typedef struct {
    coco_json_type_e  type;
    coco_str_t        text;     /* the value as it stands, quotes included */
    coco_str_t        string;   /* STRING: between the quotes, still escaped */
    bool              escaped;  /* STRING: holds a backslash */
    double            number;   /* NUMBER */
    bool              integer;  /* NUMBER: no fraction, no exponent, fits */
    int64_t           int64;    /* NUMBER with integer set */
} coco_json_value_t;

/* Checks the whole text and returns its value (an OBJECT or ARRAY only by
 * its extent: walk it with coco_json_member_next). COCO_ERROR with err->field
 * "" (syntax) or the path of the member at fault ("battery.percent",
 * "stops[2].name"); the reason ends with the byte's offset, from 0. After
 * COCO_OK the walkers below cannot fail on any part of the text. */
int coco_json_read(coco_json_value_t *ret, coco_str_t text, coco_error_t *err);

/* Walks a checked OBJECT or ARRAY value. *pos starts at 0. Returns false at
 * the end. name is between its quotes, still escaped. */
bool coco_json_member_next(const coco_json_value_t *object, size_t *pos,
    coco_str_t *name, coco_json_value_t *value);
bool coco_json_element_next(const coco_json_value_t *array, size_t *pos,
    coco_json_value_t *value);

/* Undoes the escapes of a STRING into buf (value->string.len bytes are always
 * enough). Without escapes it points into the text and leaves buf alone. */
coco_str_t coco_json_unescape(const coco_json_value_t *value, char *buf);

#endif /* COCO_JSON_READ_H */
