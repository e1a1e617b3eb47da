/*
 * Errors, serials and ids. Must never keep state between calls.
 */

/* SHA256_Init() and friends: the EVP interface that replaces them allocates
 * and looks the digest up for every hash, which doubles an id's cost. */
#define OPENSSL_API_COMPAT  0x10100000L

#include <stdarg.h>
#include <stdio.h>

#include "coco_core.h"
#include "coco_id.h"
#include "coco_utf8.h"


static void text_clean(char *text);


int
coco_error_set(coco_error_t *err, const char *field, const char *fmt, ...)
{
    va_list  args;

    snprintf(err->field, sizeof(err->field), "%s", field);
    text_clean(err->field);

    va_start(args, fmt);
    vsnprintf(err->reason, sizeof(err->reason), fmt, args);
    va_end(args);
    text_clean(err->reason);

    return COCO_ERROR;
}


/* Errors are stored as text: a sequence that the cut left torn would make
 * Postgres refuse the very row that reports it. */
static void
text_clean(char *text)
{
    char   *end = text + strlen(text);
    size_t  n;

    while (text < end) {
        n = coco_utf8_len(text, end);
        if (n == 0) {
            *text = '?';
            n = 1;
        }

        text += n;
    }
}


bool
coco_serial_valid(coco_str_t serial)
{
    size_t  i;
    char    c;

    if (serial.data == NULL || serial.len == 0
        || serial.len > COCO_SERIAL_MAX)
    {
        return false;
    }

    for (i = 0; i < serial.len; i++) {
        c = serial.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
        {
            return false;
        }
    }

    return !coco_str_equal(serial, coco_string("."))
           && !coco_str_equal(serial, coco_string(".."))
           && !coco_str_equal(serial, coco_string("stream"));
}


void
coco_id_derive(coco_id_t *ret, const coco_str_t *parts, size_t count)
{
    size_t          i;
    coco_id_hash_t  hash;

    coco_id_begin(&hash);

    for (i = 0; i < count; i++) {
        coco_id_part(&hash, parts[i].len);
        coco_id_put(&hash, parts[i].data, parts[i].len);
    }

    coco_id_end(&hash, ret);
}


void
coco_id_begin(coco_id_hash_t *hash)
{
    SHA256_Init(&hash->sha);
}


void
coco_id_part(coco_id_hash_t *hash, size_t len)
{
    size_t   i;
    uint8_t  prefix[8];

    for (i = 0; i < sizeof(prefix); i++) {
        prefix[i] = (uint8_t) ((uint64_t) len >> (8 * i));
    }

    SHA256_Update(&hash->sha, prefix, sizeof(prefix));
}


void
coco_id_put(coco_id_hash_t *hash, const char *data, size_t len)
{
    SHA256_Update(&hash->sha, data, len);
}


void
coco_id_end(coco_id_hash_t *hash, coco_id_t *ret)
{
    uint8_t  digest[SHA256_DIGEST_LENGTH];

    SHA256_Final(digest, &hash->sha);

    memcpy(ret->bytes, digest, COCO_ID_LEN);

    /* RFC 9562 section 5.8: version 8, the variant that all UUIDs have */
    ret->bytes[6] = (ret->bytes[6] & 0x0f) | 0x80;
    ret->bytes[8] = (ret->bytes[8] & 0x3f) | 0x80;
}


void
coco_id_format(char *ret, const coco_id_t *id)
{
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < COCO_ID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *ret++ = '-';
        }

        *ret++ = hex[id->bytes[i] >> 4];
        *ret++ = hex[id->bytes[i] & 0x0f];
    }
}


int
coco_id_parse(coco_id_t *ret, coco_str_t text)
{
    int          high, low;
    size_t       i;
    coco_id_t    id;
    const char  *p = text.data;

    if (p == NULL || text.len != COCO_ID_TEXT_LEN) {
        return COCO_ERROR;
    }

    for (i = 0; i < COCO_ID_LEN; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-') {
            return COCO_ERROR;
        }

        high = coco_hex_digit(*p++);
        low = coco_hex_digit(*p++);

        if (high < 0 || low < 0) {
            return COCO_ERROR;
        }

        id.bytes[i] = (uint8_t) (high << 4 | low);
    }

    *ret = id;

    return COCO_OK;
}


int
coco_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
