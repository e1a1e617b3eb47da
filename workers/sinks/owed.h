/*
 * The robots whose copies in Redis are older than what was committed. A set
 * of serials, bounded: beyond COCO_OWED_MAX it is everybody. Of one thread.
 */

#ifndef COCO_OWED_H
#define COCO_OWED_H

#include "coco_core.h"

#define COCO_OWED_MAX  65536

typedef struct {
    unsigned char  len;            /* 0: free */
    char           serial[COCO_SERIAL_MAX];
} coco_owed_slot_t;

/* Zeroed is empty. */
typedef struct {
    coco_owed_slot_t  *slots;      /* open addressing, half full at most */
    size_t             size;       /* a power of two, or 0 */
    size_t             count;
    bool               all;        /* then slots is NULL */
} coco_owed_t;

/* Never fails: what cannot be kept makes it all. */
void coco_owed_add(coco_owed_t *owed, coco_str_t serial);
bool coco_owed_any(const coco_owed_t *owed);
/* COCO_OWED_MAX for all. */
size_t coco_owed_count(const coco_owed_t *owed);
/* Walks the serials, from *at = 0; false at the end, or when it is all. The
 * serial points into the set. */
bool coco_owed_next(const coco_owed_t *owed, size_t *at,
    coco_str_t *ret_serial);
/* Empties it, and frees its memory. */
void coco_owed_clear(coco_owed_t *owed);

#endif /* COCO_OWED_H */
