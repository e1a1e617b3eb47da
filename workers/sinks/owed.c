/*
 * The set of serials whose copies are owed. Must never forget one: without
 * memory or room it owes all.
 */

#include <stdlib.h>

#include "owed.h"

#define COCO_OWED_MIN  64          /* slots */

static int coco_owed_grow(coco_owed_t *owed);
static coco_owed_slot_t *coco_owed_find(const coco_owed_t *owed,
    coco_str_t serial);


void
coco_owed_add(coco_owed_t *owed, coco_str_t serial)
{
    coco_owed_slot_t  *slot;

    if (owed->all) {
        return;
    }

    if (serial.len == 0 || serial.len > COCO_SERIAL_MAX
        || coco_owed_grow(owed) != COCO_OK)
    {
        coco_owed_clear(owed);
        owed->all = true;
        return;
    }

    slot = coco_owed_find(owed, serial);
    if (slot->len > 0) {
        return;
    }

    if (owed->count == COCO_OWED_MAX) {
        coco_owed_clear(owed);
        owed->all = true;
        return;
    }

    slot->len = (unsigned char) serial.len;
    memcpy(slot->serial, serial.data, serial.len);
    owed->count++;
}


/* Makes room for one more. */
static int
coco_owed_grow(coco_owed_t *owed)
{
    size_t       at = 0;
    coco_str_t   serial;
    coco_owed_t  grown = *owed;

    if (owed->count < owed->size / 2 || owed->count == COCO_OWED_MAX) {
        return COCO_OK;
    }

    grown.size = owed->size == 0 ? COCO_OWED_MIN : owed->size * 2;
    grown.slots = calloc(grown.size, sizeof(*grown.slots));
    if (grown.slots == NULL) {
        return COCO_ERROR;
    }

    while (coco_owed_next(owed, &at, &serial)) {
        *coco_owed_find(&grown, serial) = owed->slots[at - 1];
    }

    free(owed->slots);
    *owed = grown;

    return COCO_OK;
}


/* The serial's slot, or the free one where it belongs. */
static coco_owed_slot_t *
coco_owed_find(const coco_owed_t *owed, coco_str_t serial)
{
    size_t             i;
    uint32_t           hash = 2166136261u;     /* FNV-1a */
    coco_owed_slot_t  *slot;

    for (i = 0; i < serial.len; i++) {
        hash = (hash ^ (unsigned char) serial.data[i]) * 16777619u;
    }

    /* of one shard, the low bits alone are alike */
    hash ^= hash >> 16;

    for (i = hash; ; i++) {
        slot = &owed->slots[i & (owed->size - 1)];

        if (slot->len == 0
            || (slot->len == serial.len
                && memcmp(slot->serial, serial.data, serial.len) == 0))
        {
            return slot;
        }
    }
}


bool
coco_owed_any(const coco_owed_t *owed)
{
    return owed->all || owed->count > 0;
}


size_t
coco_owed_count(const coco_owed_t *owed)
{
    return owed->all ? COCO_OWED_MAX : owed->count;
}


bool
coco_owed_next(const coco_owed_t *owed, size_t *at, coco_str_t *ret_serial)
{
    coco_owed_slot_t  *slot;

    while (*at < owed->size) {
        slot = &owed->slots[(*at)++];

        if (slot->len > 0) {
            *ret_serial = (coco_str_t) { slot->serial, slot->len };
            return true;
        }
    }

    return false;
}


void
coco_owed_clear(coco_owed_t *owed)
{
    free(owed->slots);
    memset(owed, 0, sizeof(*owed));
}
