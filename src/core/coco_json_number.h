/*
 * Numbers of JSON texts: syntax, range and value, whatever the locale.
 */

#ifndef COCO_JSON_NUMBER_H
#define COCO_JSON_NUMBER_H

#include "coco_core.h"

/* What Postgres' numeric can hold (16,383 digits after the point) bounds
 * what we may let through; nothing real comes near these. */
#define COCO_JSON_NUMBER_MAX    1000    /* characters */
#define COCO_JSON_EXPONENT_MAX  9999

typedef struct {
    uint64_t  mantissa;     /* up to 19 significant digits */
    int       digits;       /* how many those are */
    int       exponent;     /* of ten, to be applied to the mantissa */
    int       written;      /* exponent as it stands in the text, cut at
                               COCO_JSON_EXPONENT_MAX + 1 */
    bool      negative;
    bool      integer;      /* no fraction, no exponent */
    bool      exact;        /* no digit other than 0 was left out */
} coco_json_number_t;

/* Returns the end of the number at p; NULL when it is none. */
const char *coco_json_number_scan(coco_json_number_t *ret, const char *p,
    const char *end);

/* False when the number between start and end, as scanned, overflows a
 * double, is not 0 but so near that the double is, or passes the bounds
 * above. */
bool coco_json_number_in_range(const coco_json_number_t *n, const char *start,
    const char *end);

/* The nearest double. */
double coco_json_number_double(const coco_json_number_t *n, const char *start,
    const char *end);

/* False when it has a fraction or exponent, or does not fit. */
bool coco_json_number_int64(const coco_json_number_t *n, int64_t *ret);

#endif /* COCO_JSON_NUMBER_H */
