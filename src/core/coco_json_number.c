/*
 * Scans and converts numbers. Must never read past their end, which no NUL
 * follows, nor depend on the locale.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_json_number.h"


#define MANTISSA_DIGITS  19
#define DOUBLE_INTEGERS  (UINT64_C(1) << 53)
#define EXACT_POWER      22     /* 10^22 is the last exact power as a double */


static const char *digits_scan(coco_json_number_t *n, const char *p,
    const char *end, int fraction);
static const char *exponent_scan(coco_json_number_t *n, const char *p,
    const char *end);
static double number_slow(const coco_json_number_t *n, const char *start,
    const char *end);


static inline bool
is_digit(const char *p, const char *end)
{
    return p < end && (unsigned char) (*p - '0') <= 9;
}


const char *
coco_json_number_scan(coco_json_number_t *ret, const char *p, const char *end)
{
    coco_json_number_t  n = { .integer = true, .exact = true };

    if (p < end && *p == '-') {
        n.negative = true;
        p++;
    }

    if (!is_digit(p, end)) {
        return NULL;
    }

    if (*p == '0') {
        p++;

        if (is_digit(p, end)) {
            return NULL;
        }

    } else {
        p = digits_scan(&n, p, end, 0);
    }

    if (p < end && *p == '.') {
        n.integer = false;
        p++;

        if (!is_digit(p, end)) {
            return NULL;
        }

        p = digits_scan(&n, p, end, 1);
    }

    if (p < end && (*p | 0x20) == 'e') {
        n.integer = false;
        p = exponent_scan(&n, p + 1, end);
    }

    *ret = n;

    return p;
}


/* fraction: 1 after the point, else 0. */
static const char *
digits_scan(coco_json_number_t *n, const char *p, const char *end,
    int fraction)
{
    for ( /* void */ ; is_digit(p, end); p++) {

        if (n->digits < MANTISSA_DIGITS) {
            n->mantissa = n->mantissa * 10 + (unsigned) (*p - '0');
            n->digits += n->mantissa != 0;
            n->exponent -= fraction;
            continue;
        }

        n->exponent += 1 - fraction;
        n->exact &= *p == '0';
    }

    return p;
}


static const char *
exponent_scan(coco_json_number_t *n, const char *p, const char *end)
{
    int   value = 0;
    bool  negative = false;

    if (p < end && (*p == '-' || *p == '+')) {
        negative = *p == '-';
        p++;
    }

    if (!is_digit(p, end)) {
        return NULL;
    }

    for ( /* void */ ; is_digit(p, end); p++) {
        if (value <= COCO_JSON_EXPONENT_MAX) {
            value = value * 10 + (*p - '0');
        }
    }

    if (value > COCO_JSON_EXPONENT_MAX) {
        value = COCO_JSON_EXPONENT_MAX + 1;
    }

    n->written = negative ? -value : value;
    n->exponent += n->written;

    return p;
}


bool
coco_json_number_in_range(const coco_json_number_t *n, const char *start,
    const char *end)
{
    int     magnitude = n->digits + n->exponent;    /* |number| < 10^… */
    double  value;

    if (end - start > COCO_JSON_NUMBER_MAX
        || n->written > COCO_JSON_EXPONENT_MAX
        || n->written < -COCO_JSON_EXPONENT_MAX)
    {
        return false;
    }

    if (n->mantissa == 0 || (magnitude > -323 && magnitude <= 308)) {
        return true;
    }

    if (magnitude < -323 || magnitude > 309) {
        return false;
    }

    value = number_slow(n, start, end);

    return isfinite(value) && value != 0;
}


double
coco_json_number_double(const coco_json_number_t *n, const char *start,
    const char *end)
{
    double  value;

    static const double  powers[EXACT_POWER + 1] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
        1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22
    };

    /* Both operands exact: the one operation rounds correctly (Clinger). */

    if (!n->exact || n->mantissa > DOUBLE_INTEGERS
        || n->exponent < -EXACT_POWER || n->exponent > EXACT_POWER)
    {
        return number_slow(n, start, end);
    }

    value = (double) n->mantissa;

    if (n->exponent < 0) {
        value /= powers[-n->exponent];

    } else {
        value *= powers[n->exponent];
    }

    return n->negative ? -value : value;
}


/* strtod on "<digits>e<exponent>": its point would be the locale's. */
static double
number_slow(const coco_json_number_t *n, const char *start, const char *end)
{
    int          fraction = 0;
    bool         point = false;
    char         text[COCO_JSON_NUMBER_MAX + 24], *to = text;
    const char  *p;

    if (end - start > COCO_JSON_NUMBER_MAX) {
        return n->negative ? -HUGE_VAL : HUGE_VAL;
    }

    for (p = start; p < end && (*p | 0x20) != 'e'; p++) {

        if (*p == '.') {
            point = true;
            continue;
        }

        *to++ = *p;
        fraction += point;
    }

    snprintf(to, (size_t) (text + sizeof(text) - to), "e%d",
             n->written - fraction);

    return strtod(text, NULL);
}


bool
coco_json_number_int64(const coco_json_number_t *n, int64_t *ret)
{
    uint64_t  limit = (uint64_t) INT64_MAX + n->negative;

    if (!n->integer || n->exponent != 0 || n->mantissa > limit) {
        return false;
    }

    *ret = (int64_t) (n->negative ? 0 - n->mantissa : n->mantissa);

    return true;
}
