/*
 * The identity of a heartbeat, see coco_heartbeat.h.
 */

#ifndef COCO_HEARTBEAT_ID_H
#define COCO_HEARTBEAT_ID_H

#include "coco_heartbeat.h"
#include "coco_json_read.h"

/* Sets hb->id from its serial, ts and payload. space is what
 * coco_message_read_spaced counted; serial and topic are those members of the
 * payload, as coco_message_members gave them. */
void coco_heartbeat_id_derive(coco_heartbeat_t *hb, size_t space,
    const coco_json_value_t *serial, const coco_json_value_t *topic);

#endif /* COCO_HEARTBEAT_ID_H */
