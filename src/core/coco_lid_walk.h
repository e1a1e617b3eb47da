/*
 * The parts of coco_lid_reconcile(): marks are sorted, opens and failures are
 * linked to the requests they answer, then the cycles are walked.
 */

#ifndef COCO_LID_WALK_H
#define COCO_LID_WALK_H

#include "coco_lid.h"

#define COCO_LID_NO_INDEX  SIZE_MAX

/* Sets request, taken and failed of all marks, which are in order. */
void coco_lid_link(coco_lid_mark_t *marks, size_t count, int64_t window_ms);

/* Finds the first `stored` cycles again among the `walked` ones behind them:
 * gives these their ids, their index among those that come out and what is to
 * be done, and lid->due_at, due_from. */
void coco_lid_match(coco_lid_t *lid, size_t stored, size_t walked,
    int64_t now, const coco_lid_rules_t *rules);

/* Collects what the marks from `first` on say of commands, once for each; an
 * open outdoes a failure. `cycles` are those of the walk, with their index. */
void coco_lid_answer(coco_lid_t *lid, size_t first,
    const coco_lid_cycle_t *cycles);

/* Moves what comes out to the front, in order; tells the lid's position. */
void coco_lid_pack(coco_lid_t *lid, size_t stored, size_t walked);

/* The mark of a time, an event of the same rank, and an id. */
size_t coco_lid_mark_find(const coco_lid_t *lid, int64_t at,
    coco_lid_event_e event, const coco_id_t *id);

static inline int64_t
coco_lid_cycle_at(const coco_lid_cycle_t *cycle)
{
    return cycle->has_open ? cycle->opened_at : cycle->closed_at;
}


static inline bool
coco_lid_id_equal(const coco_id_t *a, const coco_id_t *b)
{
    return memcmp(a->bytes, b->bytes, COCO_ID_LEN) == 0;
}

#endif /* COCO_LID_WALK_H */
