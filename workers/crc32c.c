/*
 * CRC32C, with the SSE 4.2 instruction or a table filled before main().
 * Pure: nothing but its arguments decides the result.
 */

#include <string.h>

#include "crc32c.h"

#define COCO_CRC32C_POLYNOMIAL  0x82f63b78    /* reflected */


static uint32_t  coco_crc32c_entries[256];


/* Before main(): no thread exists yet that could see it half made. */
__attribute__((constructor)) static void
coco_crc32c_init(void)
{
    int       bit;
    uint32_t  i, crc;

    for (i = 0; i < 256; i++) {
        crc = i;

        for (bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? COCO_CRC32C_POLYNOMIAL : 0);
        }

        coco_crc32c_entries[i] = crc;
    }
}


uint32_t
coco_crc32c_table(uint32_t crc, const void *data, size_t len)
{
    const uint8_t  *p;

    crc = ~crc;

    for (p = data; len > 0; p++, len--) {
        crc = (crc >> 8) ^ coco_crc32c_entries[(crc ^ *p) & 0xff];
    }

    return ~crc;
}


#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t
coco_crc32c_sse(uint32_t crc, const void *data, size_t len)
{
    uint64_t        wide, word;
    const uint8_t  *p;

    p = data;
    wide = (uint32_t) ~crc;

    for (/* void */ ; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }

    for (/* void */ ; len > 0; p++, len--) {
        wide = __builtin_ia32_crc32qi((uint32_t) wide, *p);
    }

    return ~(uint32_t) wide;
}


uint32_t
coco_crc32c(uint32_t crc, const void *data, size_t len)
{
    if (__builtin_cpu_supports("sse4.2")) {
        return coco_crc32c_sse(crc, data, len);
    }

    return coco_crc32c_table(crc, data, len);
}

#else

uint32_t
coco_crc32c(uint32_t crc, const void *data, size_t len)
{
    return coco_crc32c_table(crc, data, len);
}

#endif
