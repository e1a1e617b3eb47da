/*
 * CRC32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction
 * where there is one.
 */

#ifndef COCO_CRC32C_H
#define COCO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 at first) over len bytes. */
uint32_t coco_crc32c(uint32_t crc, const void *data, size_t len);

/* The same without the instruction; for its test. */
uint32_t coco_crc32c_table(uint32_t crc, const void *data, size_t len);

#endif /* COCO_CRC32C_H */
