/*
 * What is sent to robots: commands, and what their shadow is to hold.
 */

#ifndef COCO_COMMAND_H
#define COCO_COMMAND_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef struct {
    coco_id_t   id;
    coco_str_t  command;                /* OPEN_LID, CLOSE_LID */
    coco_str_t  reference, source;      /* data NULL: left out */
    int64_t     issued_at, expires_at;  /* ms */
} coco_command_t;

/* CONTRACT "Command": {"id","command","referenceId"?,"source"?,"issuedAt",
 * "expiresAt"}. */
void coco_command_encode(coco_json_out_t *out, const coco_command_t *command);

/* {"state":{"desired":{"pin":"1234"|null}}}; pin data NULL: null. */
void coco_shadow_encode(coco_json_out_t *out, coco_str_t pin);

#endif /* COCO_COMMAND_H */
