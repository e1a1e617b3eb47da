/*
 * The sender: one thread that tells partners of their deliveries, by the rows
 * of coco.partner_push. One of a database sends at a time, by an advisory lock;
 * the others wait to take over.
 */

#ifndef COCO_PARTNERS_H
#define COCO_PARTNERS_H

#include "coco_partner_map.h"
#include "config.h"

typedef struct coco_partners_s  coco_partners_t;

typedef struct {
    bool      alive;        /* the thread goes round */
    bool      sending;      /* it has the lock */
    unsigned  in_flight;    /* pushes in memory */
} coco_partners_status_t;

/* config outlives it. COCO_ERROR with a message that says what to do. */
int coco_partners_start(coco_partners_t **ret, const coco_config_t *config,
    char *error, size_t error_size);
/* Waits for what is under way, two seconds at most. */
void coco_partners_stop(coco_partners_t *partners);
void coco_partners_status(coco_partners_t *partners,
    coco_partners_status_t *ret);

/* Reads partners.map; the maps point into *ret_text, malloc'ed. COCO_ERROR with
 * a message. */
int coco_partners_map_load(coco_partner_map_t ret[COCO_PARTNERS],
    char **ret_text, const char *path, char *error, size_t error_size);

#endif /* COCO_PARTNERS_H */
