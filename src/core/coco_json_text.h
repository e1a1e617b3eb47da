/*
 * What the checker and the walkers of JSON texts share: finding the end of
 * plain runs of a string, and undoing one escape.
 */

#ifndef COCO_JSON_TEXT_H
#define COCO_JSON_TEXT_H

#include <endian.h>

#include "coco_json_read.h"

#define COCO_EACH_BYTE(b)  (UINT64_C(0x0101010101010101) * (b))

/* Eight bytes as a number whose lowest byte is the first. */
static inline uint64_t
coco_json_load(const char *p)
{
    uint64_t  word;

    memcpy(&word, p, sizeof(word));

    return le64toh(word);
}


/* The first byte at or after p that a string does not hold as it stands and
 * unexamined: a quote, a backslash, a control character, or non-ASCII. */
static inline const char *
coco_json_plain_skip(const char *p, const char *end)
{
    uint64_t       word, hits;
    unsigned char  c;

    for ( /* void */ ; end - p >= 8; p += 8) {
        word = coco_json_load(p);

        /* the lowest bit set is true; those above it may be borrows */
        hits = (word | (word - COCO_EACH_BYTE(0x20))
                | ((word ^ COCO_EACH_BYTE('"')) - COCO_EACH_BYTE(1))
                | ((word ^ COCO_EACH_BYTE('\\')) - COCO_EACH_BYTE(1)))
               & COCO_EACH_BYTE(0x80);

        if (hits != 0) {
            return p + __builtin_ctzll(hits) / 8;
        }
    }

    for ( /* void */ ; p < end; p++) {
        c = (unsigned char) *p;

        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') {
            break;
        }
    }

    return p;
}


/* The space that may stand between tokens. */
static inline bool
coco_json_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}


static inline const char *
coco_json_space_skip(const char *p, const char *end)
{
    while (p < end && coco_json_space(*p)) {
        p++;
    }

    return p;
}


/* coco_json_read, which also counts the space between the tokens, in bytes. */
int coco_json_read_spaced(coco_json_value_t *ret, size_t *ret_space,
    coco_str_t text, coco_error_t *err);

/* p is behind the opening quote of a checked string; returns what is behind
 * the closing one. */
const char *coco_json_string_end(const char *p, const char *end,
    bool *ret_escaped);

/* Decodes the character or escape at *p of a checked string into out, moves
 * *p behind it and returns the number of bytes, 1 to 4. */
size_t coco_json_char_decode(const char **p, char out[4]);

/* The checked value that text holds, without space around it. */
void coco_json_value_read(coco_json_value_t *ret, coco_str_t text);

/* coco_json_member_next in two steps: the name, then its value. */
bool coco_json_name_next(const coco_json_value_t *object, size_t *pos,
    coco_str_t *name);
void coco_json_member_value(const coco_json_value_t *object, size_t *pos,
    coco_json_value_t *value);

/* Four hexadecimal digits; -1 when one is none. */
int coco_json_hex4(const char *p);

#endif /* COCO_JSON_TEXT_H */
