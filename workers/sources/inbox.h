/*
 * The webhooks that nginx stored: read in their order, pushed into the
 * webhooks lane, done within the transaction that applies them. One worker
 * reads those of DriveU, one those of partners, at a time (advisory locks);
 * the others stand by.
 */

#ifndef COCO_SOURCE_INBOX_H
#define COCO_SOURCE_INBOX_H

#include "config.h"
#include "lane.h"

typedef struct coco_source_inbox_s  coco_source_inbox_t;

typedef enum {
    COCO_INBOX_DRIVEU = 0,      /* the state service's */
    COCO_INBOX_PARTNERS,        /* the integrations service's */
    COCO_INBOXES
} coco_inbox_e;

typedef struct {
    coco_inbox_e          inbox;
    const coco_config_t  *config;
    coco_lane_t          *lane;
} coco_source_inbox_options_t;

/* Starts the thread; NULL when it could not. */
coco_source_inbox_t *coco_source_inbox_start(
    const coco_source_inbox_options_t *options);
/* Pushes nothing more; does not wait (the lane may hold the thread). */
void coco_source_inbox_stop(coco_source_inbox_t *s);
/* After the lane's stop. */
void coco_source_inbox_close(coco_source_inbox_t *s);

bool coco_source_inbox_alive(coco_source_inbox_t *s);

#endif /* COCO_SOURCE_INBOX_H */
