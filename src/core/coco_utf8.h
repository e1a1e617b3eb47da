/*
 * The one check of UTF-8 that the core's readers and writers share.
 */

#ifndef COCO_UTF8_H
#define COCO_UTF8_H

#include <stddef.h>

/* The length of the sequence at p (RFC 3629: no overlong forms, surrogates
 * or code points over 10FFFF); 0 when it is invalid or cut off by end. */
static inline size_t
coco_utf8_len(const char *p, const char *end)
{
    size_t                left = (size_t) (end - p);
    const unsigned char  *u = (const unsigned char *) p;

    if (left == 0) {
        return 0;
    }

    if (u[0] < 0x80) {
        return 1;
    }

    if (u[0] < 0xe0) {
        return u[0] >= 0xc2 && left >= 2 && (u[1] & 0xc0) == 0x80 ? 2 : 0;
    }

    if (u[0] < 0xf0) {
        return left >= 3
               && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80
               && !(u[0] == 0xe0 && u[1] < 0xa0)
               && !(u[0] == 0xed && u[1] > 0x9f) ? 3 : 0;
    }

    return u[0] < 0xf5 && left >= 4
           && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80
           && (u[3] & 0xc0) == 0x80
           && !(u[0] == 0xf0 && u[1] < 0x90)
           && !(u[0] == 0xf4 && u[1] > 0x8f) ? 4 : 0;
}

#endif /* COCO_UTF8_H */
