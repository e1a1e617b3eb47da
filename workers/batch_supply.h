/*
 * What the files of the supply share: the robots of one part of a batch.
 * Everything lives in the arena of the writer.
 */

#ifndef COCO_BATCH_SUPPLY_H
#define COCO_BATCH_SUPPLY_H

#include "batch_work.h"

typedef struct {
    coco_str_t            serial;
    coco_supply_record_t  record;
    const coco_item_t    *item;       /* the record's heartbeat came by it */
    bool                  online;     /* that heartbeat is not too old */
    bool                  lid_apart;  /* the lid is not the heartbeat's, or
                                         that may not be the newest */
    unsigned              members;    /* COCO_SUPPLY_…, that it changed */
} coco_supply_row_t;

struct coco_supply_work_s {
    coco_supply_row_t    *rows;       /* by serial */
    size_t                count;
    size_t                heard, lids, changed;  /* rows with such a part */
    int64_t               silent;     /* ms: robots that were not heard since
                                         are OFFLINE */
    bool                  events;     /* the heartbeats' are published */
    bool                  moved;      /* deliveries change in the part, too */
    int                   locked;     /* the slot of what stands; -1 */
};

typedef struct coco_supply_work_s  coco_supply_work_t;

#endif /* COCO_BATCH_SUPPLY_H */
