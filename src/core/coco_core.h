/*
 * What every file of the core shares: strings, ids, return codes, errors.
 * The core is pure: no clock, no I/O, no globals; time and input are
 * arguments.
 */

#ifndef COCO_CORE_H
#define COCO_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#define COCO_OK     0
#define COCO_ERROR  (-1)   /* the input is at fault; coco_error_t says how */
#define COCO_AGAIN  (-2)   /* the caller's buffer is too small */

#define COCO_SERIAL_MAX  64
#define COCO_ID_LEN      16

/* Not owned, not NUL-terminated. data NULL means absent. */
typedef struct {
    const char  *data;
    size_t       len;
} coco_str_t;

#define coco_string(s)  ((coco_str_t) { (s), sizeof(s) - 1 })

/* Derived from the cause by SHA-256, cut to 128 bits, with the version (8)
 * and variant bits of RFC 9562; shown as a UUID. */
typedef struct {
    uint8_t  bytes[COCO_ID_LEN];
} coco_id_t;

#define COCO_ID_TEXT_LEN  36

/* field names the member at fault ("battery.percent"), reason says what is
 * wrong and what would be right. Both NUL-terminated, cut when too long. */
typedef struct {
    char  field[64];
    char  reason[160];
} coco_error_t;

/* Fills *err and returns COCO_ERROR, so that callers can return it. */
int coco_error_set(coco_error_t *err, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 1 to 64 of [A-Za-z0-9._-]; ".", ".." and "stream" are refused. */
bool coco_serial_valid(coco_str_t serial);

/* The id of what `count` parts, in order, caused. Parts are length-prefixed
 * before hashing, so that ("a","bc") and ("ab","c") differ. */
void coco_id_derive(coco_id_t *ret, const coco_str_t *parts, size_t count);

/* Writes 36 characters, no NUL. */
void coco_id_format(char *ret, const coco_id_t *id);

/* COCO_ERROR when text is no UUID. */
int coco_id_parse(coco_id_t *ret, coco_str_t text);

/* 0 to 15; -1 when it is none. */
int coco_hex_digit(char c);

static inline bool
coco_str_equal(coco_str_t a, coco_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}


/* < 0, 0 or > 0: by bytes, and what is shorter first. */
static inline int
coco_str_compare(coco_str_t a, coco_str_t b)
{
    size_t  len = a.len < b.len ? a.len : b.len;
    int     order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}


/* The index of the first that is the name; `count` when none is. */
static inline size_t
coco_str_find(coco_str_t name, const coco_str_t *names, size_t count)
{
    size_t  i = 0;

    while (i < count && !coco_str_equal(name, names[i])) {
        i++;
    }

    return i;
}

#endif /* COCO_CORE_H */
