/*
 * Walks JSON texts that coco_json_check.c has found sound. Must never be
 * given others: it looks for ends, not for errors.
 */

#include "coco_json_read.h"
#include "coco_json_number.h"
#include "coco_json_text.h"


static const char *value_read(coco_json_value_t *ret, const char *p,
    const char *end);
static const char *string_read(coco_json_value_t *ret, const char *p,
    const char *end);
static const char *number_read(coco_json_value_t *ret, const char *p,
    const char *end);
static const char *container_end(const char *p, const char *end);


bool
coco_json_member_next(const coco_json_value_t *object, size_t *pos,
    coco_str_t *name, coco_json_value_t *value)
{
    if (!coco_json_name_next(object, pos, name)) {
        return false;
    }

    coco_json_member_value(object, pos, value);

    return true;
}


bool
coco_json_name_next(const coco_json_value_t *object, size_t *pos,
    coco_str_t *name)
{
    bool         escaped;
    const char  *p, *end;

    end = object->text.data + object->text.len;
    p = coco_json_space_skip(object->text.data + (*pos == 0 ? 1 : *pos), end);

    if (p < end && *p == ',') {
        p = coco_json_space_skip(p + 1, end);
    }

    if (p == end || *p != '"') {
        return false;
    }

    name->data = ++p;
    p = coco_json_string_end(p, end, &escaped);
    name->len = (size_t) (p - 1 - name->data);

    *pos = (size_t) (p - object->text.data);

    return true;
}


void
coco_json_member_value(const coco_json_value_t *object, size_t *pos,
    coco_json_value_t *value)
{
    const char  *p, *end;

    end = object->text.data + object->text.len;
    p = coco_json_space_skip(object->text.data + *pos, end);  /* the colon */
    p = value_read(value, coco_json_space_skip(p + 1, end), end);

    *pos = (size_t) (p - object->text.data);
}


bool
coco_json_element_next(const coco_json_value_t *array, size_t *pos,
    coco_json_value_t *value)
{
    const char  *p, *end;

    end = array->text.data + array->text.len;
    p = coco_json_space_skip(array->text.data + (*pos == 0 ? 1 : *pos), end);

    if (p < end && *p == ',') {
        p = coco_json_space_skip(p + 1, end);
    }

    if (p == end || *p == ']') {
        return false;
    }

    p = value_read(value, p, end);

    *pos = (size_t) (p - array->text.data);

    return true;
}


void
coco_json_value_read(coco_json_value_t *ret, coco_str_t text)
{
    if (*text.data == '{' || *text.data == '[') {
        ret->type = *text.data == '{' ? COCO_JSON_OBJECT : COCO_JSON_ARRAY;
        ret->text = text;
        return;
    }

    (void) value_read(ret, text.data, text.data + text.len);
}


/* Returns the end of the value at p. */
static const char *
value_read(coco_json_value_t *ret, const char *p, const char *end)
{
    const char  *start = p;

    switch (*p) {

    case '"':
        p = string_read(ret, p, end);
        break;

    case '{':
        ret->type = COCO_JSON_OBJECT;
        p = container_end(p, end);
        break;

    case '[':
        ret->type = COCO_JSON_ARRAY;
        p = container_end(p, end);
        break;

    case 't':
        ret->type = COCO_JSON_TRUE;
        p += 4;
        break;

    case 'f':
        ret->type = COCO_JSON_FALSE;
        p += 5;
        break;

    case 'n':
        ret->type = COCO_JSON_NULL;
        p += 4;
        break;

    default:
        p = number_read(ret, p, end);
    }

    ret->text = (coco_str_t) { start, (size_t) (p - start) };

    return p;
}


static const char *
string_read(coco_json_value_t *ret, const char *p, const char *end)
{
    const char  *start = p + 1;

    p = coco_json_string_end(start, end, &ret->escaped);

    ret->type = COCO_JSON_STRING;
    ret->string = (coco_str_t) { start, (size_t) (p - 1 - start) };

    return p;
}


static const char *
number_read(coco_json_value_t *ret, const char *p, const char *end)
{
    const char          *start = p;
    coco_json_number_t   n;

    p = coco_json_number_scan(&n, start, end);

    ret->type = COCO_JSON_NUMBER;
    ret->number = coco_json_number_double(&n, start, p);
    ret->integer = coco_json_number_int64(&n, &ret->int64);

    return p;
}


static const char *
container_end(const char *p, const char *end)
{
    char      c;
    bool      escaped;
    unsigned  depth = 0;

    while (p < end) {
        c = *p++;

        if (c == '"') {
            p = coco_json_string_end(p, end, &escaped);
            continue;
        }

        c |= 0x20;                      /* makes brackets braces */

        if (c == '{') {
            depth++;

        } else if (c == '}' && --depth == 0) {
            break;
        }
    }

    return p;
}


const char *
coco_json_string_end(const char *p, const char *end, bool *ret_escaped)
{
    *ret_escaped = false;

    for ( ;; ) {
        p = coco_json_plain_skip(p, end);

        if (*p == '"') {
            return p + 1;
        }

        if (*p == '\\') {
            *ret_escaped = true;
            p++;
        }

        p++;
    }
}


coco_str_t
coco_json_unescape(const coco_json_value_t *value, char *buf)
{
    char        *to = buf, c[4];
    size_t       n;
    const char  *p, *end;

    if (!value->escaped) {
        return value->string;
    }

    p = value->string.data;
    end = p + value->string.len;

    while (p < end) {
        n = coco_json_char_decode(&p, c);
        memcpy(to, c, n);
        to += n;
    }

    return (coco_str_t) { buf, (size_t) (to - buf) };
}


size_t
coco_json_char_decode(const char **p, char out[4])
{
    int                c;
    const char        *from, *found;
    static const char  names[] = "bfnrt";
    static const char  bytes[] = "\b\f\n\r\t";

    from = *p;

    if (*from != '\\') {
        out[0] = *from;
        *p = from + 1;
        return 1;
    }

    if (from[1] != 'u') {
        found = memchr(names, from[1], sizeof(names) - 1);
        out[0] = found != NULL ? bytes[found - names] : from[1];
        *p = from + 2;
        return 1;
    }

    c = coco_json_hex4(from + 2);
    *p = from + 6;

    if (c < 0x80) {
        out[0] = (char) c;
        return 1;
    }

    if (c < 0x800) {
        out[0] = (char) (0xc0 | c >> 6);
        out[1] = (char) (0x80 | (c & 0x3f));
        return 2;
    }

    if (c < 0xd800 || c > 0xdfff) {
        out[0] = (char) (0xe0 | c >> 12);
        out[1] = (char) (0x80 | (c >> 6 & 0x3f));
        out[2] = (char) (0x80 | (c & 0x3f));
        return 3;
    }

    /* the first half of a pair; a checked text holds the second */

    c = 0x10000 + ((c & 0x3ff) << 10) + (coco_json_hex4(from + 8) & 0x3ff);
    *p = from + 12;

    out[0] = (char) (0xf0 | c >> 18);
    out[1] = (char) (0x80 | (c >> 12 & 0x3f));
    out[2] = (char) (0x80 | (c >> 6 & 0x3f));
    out[3] = (char) (0x80 | (c & 0x3f));

    return 4;
}


int
coco_json_hex4(const char *p)
{
    int       value = 0;
    unsigned  i, c;

    for (i = 0; i < 4; i++) {
        c = (unsigned char) p[i];

        if (c - '0' <= 9) {
            c -= '0';

        } else {
            c = (c | 0x20) - 'a';

            if (c > 5) {
                return -1;
            }

            c += 10;
        }

        value = value << 4 | (int) c;
    }

    return value;
}
