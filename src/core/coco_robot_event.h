/*
 * The robot event (robot/<serial>/events): lids, PIN entry, command acks.
 */

#ifndef COCO_ROBOT_EVENT_H
#define COCO_ROBOT_EVENT_H

#include "coco_core.h"

typedef enum {
    COCO_EVENT_OTHER = 0,       /* kept in the history and counted */
    COCO_EVENT_LID_OPENED,
    COCO_EVENT_LID_CLOSED,
    COCO_EVENT_LID_OPEN_FAILED,
    COCO_EVENT_PIN_ENTRY_LID_OPEN,
    COCO_EVENT_PIN_ENTRY_LID_CLOSE,
    COCO_EVENT_COMMAND_ACK
} coco_event_type_e;

typedef struct {
    coco_id_t          id;            /* of serial and event id, else of serial,
                                         type, ts */
    coco_str_t         serial;
    coco_event_type_e  type;
    coco_str_t         type_name;     /* 1 to 64 bytes */
    int64_t            ts, received_at;                 /* ms */
    coco_str_t         event_id;      /* the robot's own; data NULL if none */
    coco_str_t         trigger;       /* PIN_ENTRY_CONFIRM COMMAND OTHER */
    bool               lid_opened, has_lid_opened;
    coco_str_t         pin;           /* never stored, never logged */
    coco_str_t         command_id, reason;
    coco_str_t         details;       /* JSON text */
} coco_robot_event_t;

/* As coco_heartbeat_decode; strings with escapes are refused where an
 * identifier is expected (id, type, trigger, commandId, pin), and so are
 * empty ones and those over 128 bytes (type: 64). reason is kept as JSON text
 * between its quotes, up to 4096 bytes. Of a type we do not know, members
 * that do not fit (a trigger of its own, say) are taken as absent. */
int coco_robot_event_decode(coco_robot_event_t *ret, coco_str_t serial,
    coco_str_t payload, int64_t received_at, coco_error_t *err);

/* Is there what may be a PIN in a payload, whole or at fault, also where it is
 * quoted in another? coco_robot_event_mask() puts * for its digits. */
bool coco_robot_event_has_pin(coco_str_t payload);
void coco_robot_event_mask(char *payload, size_t len);

#endif /* COCO_ROBOT_EVENT_H */
