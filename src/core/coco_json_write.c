/*
 * Writes JSON into the caller's buffer. Must never write past it, and never
 * write what a strict reader would refuse.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_json_write.h"
#include "coco_utf8.h"


#define DOUBLE_INTEGERS  9007199254740992.0     /* 2^53 */


static void value_begin(coco_json_out_t *out);
static void string_escape(coco_json_out_t *out, unsigned char c);
static void unsigned_put(coco_json_out_t *out, uint64_t value, int decimals);
static bool double_decimal(coco_json_out_t *out, double value);
static void double_digits(coco_json_out_t *out, double value);
static void digits_put(coco_json_out_t *out, const char *digits, int n,
    int exponent);


void
coco_json_out_init(coco_json_out_t *out, char *start, size_t size)
{
    out->start = start;
    out->size = size;
    out->len = 0;
    out->comma = false;
}


bool
coco_json_out_ok(const coco_json_out_t *out)
{
    return out->len <= out->size;
}


void
coco_json_put(coco_json_out_t *out, const char *data, size_t len)
{
    if (len > 0 && out->len <= out->size && len <= out->size - out->len) {
        memcpy(out->start + out->len, data, len);
    }

    out->len += len;
}


void
coco_json_object_open(coco_json_out_t *out)
{
    value_begin(out);
    coco_json_put(out, "{", 1);
    out->comma = false;
}


void
coco_json_object_close(coco_json_out_t *out)
{
    coco_json_put(out, "}", 1);
    out->comma = true;
}


void
coco_json_array_open(coco_json_out_t *out)
{
    value_begin(out);
    coco_json_put(out, "[", 1);
    out->comma = false;
}


void
coco_json_array_close(coco_json_out_t *out)
{
    coco_json_put(out, "]", 1);
    out->comma = true;
}


void
coco_json_key(coco_json_out_t *out, const char *name, size_t len)
{
    value_begin(out);
    coco_json_put(out, "\"", 1);
    coco_json_put(out, name, len);
    coco_json_put(out, "\":", 2);
    out->comma = false;
}


static void
value_begin(coco_json_out_t *out)
{
    if (out->comma) {
        coco_json_put(out, ",", 1);
    }

    out->comma = true;
}


void
coco_json_string(coco_json_out_t *out, coco_str_t value)
{
    size_t       n;
    const char  *p, *end, *plain;

    if (value.data == NULL) {
        coco_json_null(out);
        return;
    }

    value_begin(out);
    coco_json_put(out, "\"", 1);

    p = plain = value.data;
    end = p + value.len;

    while (p < end) {
        n = coco_utf8_len(p, end);

        if (n > 1 || (n == 1 && (unsigned char) *p >= 0x20
                      && *p != '"' && *p != '\\'))
        {
            p += n;
            continue;
        }

        coco_json_put(out, plain, (size_t) (p - plain));

        if (n == 0) {
            coco_json_put(out, "\xef\xbf\xbd", 3);      /* U+FFFD */

        } else {
            string_escape(out, (unsigned char) *p);
        }

        plain = ++p;
    }

    coco_json_put(out, plain, (size_t) (p - plain));
    coco_json_put(out, "\"", 1);
}


static void
string_escape(coco_json_out_t *out, unsigned char c)
{
    char               code[6] = { '\\', 'u', '0', '0' };
    const char        *found;
    static const char  from[] = "\"\\\b\f\n\r\t";
    static const char  to[] = "\"\\bfnrt";
    static const char  hex[] = "0123456789abcdef";

    found = memchr(from, c, sizeof(from) - 1);

    if (found != NULL) {
        code[1] = to[found - from];
        coco_json_put(out, code, 2);
        return;
    }

    code[4] = hex[c >> 4];
    code[5] = hex[c & 0x0f];
    coco_json_put(out, code, sizeof(code));
}


void
coco_json_int(coco_json_out_t *out, int64_t value)
{
    value_begin(out);

    if (value < 0) {
        coco_json_put(out, "-", 1);
        unsigned_put(out, 0 - (uint64_t) value, 0);

    } else {
        unsigned_put(out, (uint64_t) value, 0);
    }
}


/* value / 10^decimals, with a digit before the point. */
static void
unsigned_put(coco_json_out_t *out, uint64_t value, int decimals)
{
    char  buf[48], *p = buf + sizeof(buf);

    do {
        *--p = (char) ('0' + value % 10);
        value /= 10;

        if (--decimals == 0) {
            *--p = '.';
        }

    } while (value > 0 || decimals >= 0);

    coco_json_put(out, p, (size_t) (buf + sizeof(buf) - p));
}


void
coco_json_double(coco_json_out_t *out, double value)
{
    if (!isfinite(value)) {
        coco_json_null(out);
        return;
    }

    value_begin(out);

    if (signbit(value)) {
        coco_json_put(out, "-", 1);
        value = -value;
    }

    if (!double_decimal(out, value)) {
        double_digits(out, value);
    }
}


/*
 * The numbers of daily life: m / 10^k with m an exact double. As m and 10^k
 * are exact, one correctly rounded division gives what a reader of the text
 * will get; the first k that gives the value back is the shortest text.
 */
static bool
double_decimal(coco_json_out_t *out, double value)
{
    int     k;
    double  scale, m;

    for (k = 0, scale = 1; k <= 15; k++, scale *= 10) {
        m = nearbyint(value * scale);

        if (m >= DOUBLE_INTEGERS) {
            return false;
        }

        if (m / scale == value) {
            unsigned_put(out, (uint64_t) m, k);
            return true;
        }
    }

    return false;
}


/* Digits and exponent are taken out of printf's text one by one, and put
 * together without a point for strtod: both follow the locale for it. */
static void
double_digits(coco_json_out_t *out, double value)
{
    int          precision, exponent;
    char         text[64], digits[24], again[48];
    size_t       n;
    const char  *p;

    for (precision = 0; precision <= 16; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision, value);

        for (p = text, n = 0; *p != 'e'; p++) {
            if (*p >= '0' && *p <= '9') {
                digits[n++] = *p;
            }
        }

        digits[n] = '\0';
        exponent = atoi(p + 1);

        snprintf(again, sizeof(again), "%se%d", digits,
                 exponent - precision);

        if (strtod(again, NULL) == value) {
            break;
        }
    }

    digits_put(out, digits, (int) n, exponent);
}


/* d.ddd x 10^exponent, in plain notation where that is readable. */
static void
digits_put(coco_json_out_t *out, const char *digits, int n, int exponent)
{
    int                whole;
    char               text[16];
    static const char  zeros[] = "00000000000000000000";

    if (exponent < -4 || exponent > 20) {
        coco_json_put(out, digits, 1);
        whole = 1;

    } else if (exponent < 0) {
        coco_json_put(out, "0.", 2);
        coco_json_put(out, zeros, (size_t) (-exponent - 1));
        coco_json_put(out, digits, (size_t) n);
        return;

    } else {
        whole = n < exponent + 1 ? n : exponent + 1;
        coco_json_put(out, digits, (size_t) whole);
        coco_json_put(out, zeros, (size_t) (exponent + 1 - whole));
        exponent = 0;
    }

    if (n > whole) {
        coco_json_put(out, ".", 1);
        coco_json_put(out, digits + whole, (size_t) (n - whole));
    }

    if (exponent != 0) {
        n = snprintf(text, sizeof(text), "e%d", exponent);
        coco_json_put(out, text, (size_t) n);
    }
}


void
coco_json_bool(coco_json_out_t *out, bool value)
{
    value_begin(out);

    if (value) {
        coco_json_put(out, "true", 4);

    } else {
        coco_json_put(out, "false", 5);
    }
}


void
coco_json_null(coco_json_out_t *out)
{
    value_begin(out);
    coco_json_put(out, "null", 4);
}


void
coco_json_id(coco_json_out_t *out, const coco_id_t *id)
{
    char  text[COCO_ID_TEXT_LEN];

    coco_id_format(text, id);
    coco_json_string(out, (coco_str_t) { text, sizeof(text) });
}


void
coco_json_json(coco_json_out_t *out, coco_str_t text)
{
    if (text.data == NULL) {
        coco_json_null(out);
        return;
    }

    value_begin(out);
    coco_json_put(out, text.data, text.len);
}
