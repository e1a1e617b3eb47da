/*
 * What leaves for robots: rows of robot_command, published until they are
 * acknowledged, answered or expired, and rows of robot_shadow, until the
 * broker has them. Several workers share the rows by claiming them.
 */

#ifndef COCO_COMMANDS_H
#define COCO_COMMANDS_H

#include "config.h"

typedef struct coco_commands_s  coco_commands_t;

typedef struct {
    bool  alive;
    bool  connected;              /* to the broker */
} coco_commands_status_t;

/* Starts the thread; the configuration outlives it. NULL when it could not. */
coco_commands_t *coco_commands_start(const coco_config_t *config);
void coco_commands_status(coco_commands_t *c, coco_commands_status_t *ret);
void coco_commands_stop(coco_commands_t *c);

#endif /* COCO_COMMANDS_H */
