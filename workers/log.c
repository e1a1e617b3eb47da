/*
 * Log lines on stderr, one write(2) each, so that lines of several threads
 * never mix. Must never allocate, block on a lock, or print a raw control
 * character: a value with a line break stays on its line.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define COCO_LOG_LINE   4096    /* what is longer is cut */
#define COCO_LOG_VALUE  1024


typedef struct {
    char    data[COCO_LOG_LINE];
    size_t  len;
} coco_log_line_t;

/* One value: its text, and whether JSON may show it without quotes. */
typedef struct {
    char    data[COCO_LOG_VALUE];
    size_t  len;
    bool    number;
} coco_log_value_t;


static void coco_log_pair(coco_log_line_t *line, const char *key,
    const coco_log_value_t *value);
static void coco_log_put(coco_log_line_t *line, const char *data, size_t len);
static void coco_log_quote(coco_log_line_t *line, const char *data,
    size_t len);
static size_t coco_log_utf8(const unsigned char *p, size_t len);
static void coco_log_time(coco_log_value_t *value);


static _Atomic coco_log_level_e   coco_log_limit = COCO_LOG_INFO;
static _Atomic coco_log_format_e  coco_log_form = COCO_LOG_TEXT;

static const char  *coco_log_levels[] = { "error", "warn", "info", "debug" };


void
coco_log_init(coco_log_level_e level, coco_log_format_e format)
{
    coco_log_limit = level;
    coco_log_form = format;
}


void
coco_log_level_set(coco_log_level_e level)
{
    coco_log_limit = level;
}


coco_log_level_e
coco_log_level(void)
{
    return coco_log_limit;
}


static void
coco_log_append(coco_log_value_t *value, int n)
{
    size_t  room;

    room = sizeof(value->data) - value->len;

    if (n > 0) {
        value->len += (size_t) n < room ? (size_t) n : room - 1;
    }
}


#define coco_log_print(value, ...)                                            \
    coco_log_append(value, snprintf((value)->data + (value)->len,             \
                                    sizeof((value)->data) - (value)->len,     \
                                    __VA_ARGS__))

/* An argument of the promoted type that the length modifier asks for. */
#define coco_log_integer(value, spec, size, ap, sign)                         \
    do {                                                                      \
        switch (size) {                                                       \
        case 'L':                                                             \
            coco_log_print(value, spec, va_arg(*(ap), sign long long));       \
            break;                                                            \
        case 'l': case 'z': case 'j': case 't':                               \
            coco_log_print(value, spec, va_arg(*(ap), sign long));            \
            break;                                                            \
        default:                                                              \
            coco_log_print(value, spec, va_arg(*(ap), sign int));             \
        }                                                                     \
    } while (0)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"


/* One conversion that starts after the '%' at *p, which moves behind it.
 * vsnprintf() cannot be used: it leaves the va_list undefined, and the next
 * pair is still to be read from it. long, size_t, intmax_t and ptrdiff_t are
 * of one size on every LP64 system. */
static void
coco_log_conversion(coco_log_value_t *value, const char **p, va_list *ap)
{
    char    spec[16], size;
    int     width;
    size_t  n;

    n = 0;
    size = 0;
    width = -1;
    spec[n++] = '%';

    for (/* void */ ; **p != '\0' && n < sizeof(spec) - 2; (*p)++) {

        if (**p == '*') {
            width = va_arg(*ap, int);

        } else if (strchr("hlzjt", **p)) {
            size = size == 'l' ? 'L' : **p;

        } else if (!strchr("0123456789.-+ #", **p)) {
            break;
        }

        spec[n++] = **p;
    }

    spec[n++] = **p;
    spec[n] = '\0';

    switch (*(*p)++) {
    case 'd': case 'i':
        coco_log_integer(value, spec, size, ap, signed);
        break;
    case 'u':
        coco_log_integer(value, spec, size, ap, unsigned);
        break;
    case 'x': case 'X': case 'o': case 'c':
        value->number = false;
        coco_log_integer(value, spec, size, ap, unsigned);
        break;
    case 'f': case 'e': case 'g':
        coco_log_print(value, spec, va_arg(*ap, double));
        break;
    case 'p':
        value->number = false;
        coco_log_print(value, spec, va_arg(*ap, void *));
        break;
    case 's':
        value->number = false;

        if (width == -1) {
            coco_log_print(value, spec, va_arg(*ap, const char *));
        } else {
            coco_log_print(value, spec, width, va_arg(*ap, const char *));
        }

        break;
    default:
        (*p)--;
        value->number = false;
    }
}

#pragma GCC diagnostic pop


static void
coco_log_value(coco_log_value_t *value, const char *format, va_list *ap)
{
    const char  *p;

    value->len = 0;
    value->number = (format[0] == '%');

    for (p = format; *p != '\0'; /* void */ ) {

        if (p[0] == '%' && p[1] != '%') {
            p++;
            coco_log_conversion(value, &p, ap);
            value->number = value->number && *p == '\0';
            continue;
        }

        p += (p[0] == '%');
        coco_log_print(value, "%c", *p++);
    }

    /* nan and inf are no JSON */
    if (value->number && value->len != 0) {
        value->number = strchr("0123456789", value->data[value->len - 1])
                        != NULL;
    }
}


void
coco_log(coco_log_level_e level, const char *event, ...)
{
    int                saved;
    va_list            ap;
    const char        *key;
    coco_log_line_t    line;
    coco_log_value_t   value;

    if (level > coco_log_limit) {
        return;
    }

    saved = errno;
    line.len = 0;

    coco_log_time(&value);
    coco_log_pair(&line, "time", &value);

    value.len = 0;
    coco_log_print(&value, "%s", coco_log_levels[level]);
    coco_log_pair(&line, "level", &value);

    value.len = 0;
    coco_log_print(&value, "%s", event);
    coco_log_pair(&line, "event", &value);

    va_start(ap, event);

    while ((key = va_arg(ap, const char *)) != NULL) {
        coco_log_value(&value, va_arg(ap, const char *), &ap);
        coco_log_pair(&line, key, &value);
    }

    va_end(ap);

    if (coco_log_form == COCO_LOG_JSON) {
        line.data[line.len++] = '}';
    }

    line.data[line.len++] = '\n';

    /* nobody can be told that stderr is gone */
    if (write(STDERR_FILENO, line.data, line.len) == -1) {
        errno = saved;
        return;
    }

    errno = saved;
}


/* A pair that does not fit is left out, so that JSON stays JSON. */
static void
coco_log_pair(coco_log_line_t *line, const char *key,
    const coco_log_value_t *value)
{
    size_t  i, start;
    bool    json, plain;

    start = line->len;
    json = (coco_log_form == COCO_LOG_JSON);
    plain = json ? value->number : value->len != 0;

    for (i = 0; plain && i < value->len; i++) {
        plain = value->data[i] > ' ' && value->data[i] != 0x7f
                && !strchr("\"\\=", value->data[i]);
    }

    coco_log_put(line, json ? (start == 0 ? "{\"" : ",\"") : " ",
                 json ? 1 + 1 : start != 0);
    coco_log_put(line, key, strlen(key));
    coco_log_put(line, json ? "\":" : "=", json ? 2 : 1);

    if (plain) {
        coco_log_put(line, value->data, value->len);
    } else {
        coco_log_quote(line, value->data, value->len);
    }

    if (line->len > sizeof(line->data) - 2) {
        line->len = start;
    }
}


/* len counts on when the line is full; the pair is then taken back. */
static void
coco_log_put(coco_log_line_t *line, const char *data, size_t len)
{
    if (line->len <= sizeof(line->data)
        && len <= sizeof(line->data) - line->len)
    {
        memcpy(line->data + line->len, data, len);
    }

    line->len += len;
}


static void
coco_log_quote(coco_log_line_t *line, const char *data, size_t len)
{
    size_t                n, i;
    char                  escape[8];
    const unsigned char  *p;

    coco_log_put(line, "\"", 1);

    for (i = 0; i < len; i += n) {
        p = (const unsigned char *) data + i;
        n = coco_log_utf8(p, len - i);

        if (n == 0) {
            n = 1;
            coco_log_put(line, "\\ufffd", 6);

        } else if (*p == '"' || *p == '\\') {
            escape[0] = '\\';
            escape[1] = (char) *p;
            coco_log_put(line, escape, 2);

        } else if (*p < 0x20 || *p == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", *p);
            coco_log_put(line, escape, 6);

        } else {
            coco_log_put(line, data + i, n);
        }
    }

    coco_log_put(line, "\"", 1);
}


/* The length of the UTF-8 sequence at p; 0 when there is none. Overlong
 * forms and surrogates are let through: they hurt nobody in a log. */
static size_t
coco_log_utf8(const unsigned char *p, size_t len)
{
    size_t  n, i;

    n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3
        : *p < 0xf5 ? 4 : 0;

    if (n > len) {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


static void
coco_log_time(coco_log_value_t *value)
{
    size_t           n;
    struct tm        tm;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    value->number = false;
    n = strftime(value->data, sizeof(value->data), "%Y-%m-%dT%H:%M:%S", &tm);
    value->len = n;
    coco_log_print(value, ".%03ldZ", now.tv_nsec / 1000000);
}
