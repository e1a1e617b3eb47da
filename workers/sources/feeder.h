/*
 * The thread between a session's journal and its lane: reads, pushes, and
 * moves the journal's offset after the lane's commits.
 */

#ifndef COCO_SOURCE_FEEDER_H
#define COCO_SOURCE_FEEDER_H

#include "journal.h"
#include "lane.h"
#include "metrics.h"

typedef struct coco_feeder_s  coco_feeder_t;

/* All of it outlives the feeder. */
typedef struct {
    coco_journal_t  *journal;
    coco_lane_t     *lane;
    coco_kind_e      kind;
    coco_lane_id_e   metrics_lane;
    const char      *filter;         /* + stands for the serial */
} coco_feeder_options_t;

/* Starts the thread. NULL when it could not. */
coco_feeder_t *coco_feeder_create(const coco_feeder_options_t *options);

/* Pushes nothing more. Never waits: the thread may be held up by a full lane
 * until coco_lane_stop(). */
void coco_feeder_stop(coco_feeder_t *feeder);

/* After coco_lane_stop(): joins the thread and commits what the lane has. */
void coco_feeder_destroy(coco_feeder_t *feeder);

#endif /* COCO_SOURCE_FEEDER_H */
