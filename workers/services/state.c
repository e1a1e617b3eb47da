/*
 * The state service: which heartbeat is a robot's newest, and when the state
 * it reports changes. Must never look at anything but its arguments.
 */

#include "services/service.h"


void
coco_service_state_heartbeat(coco_state_record_t *record,
    const coco_heartbeat_t *hb, coco_state_effect_t *ret)
{
    coco_str_t    cause[2];
    coco_order_t  order;
    coco_state_e  standing;

    memset(ret, 0, sizeof(*ret));

    order = coco_heartbeat_order(hb);
    standing = record->heard ? record->state : COCO_STATE_OFF_DUTY;

    ret->state = hb->state != COCO_STATE_NONE ? hb->state : standing;
    ret->newer = !record->heard
                 || coco_order_compare(&order, &record->order) > 0;

    if (!ret->newer) {
        return;
    }

    if (!record->heard || ret->state != record->state) {
        cause[0] = coco_string("Robots.StateChange");
        cause[1] = (coco_str_t) { (const char *) hb->id.bytes, COCO_ID_LEN };

        ret->changed = true;
        coco_id_derive(&ret->change.id, cause, 2);
        ret->change.serial = hb->serial;
        ret->change.order = order;
        ret->change.from = record->heard ? record->state : COCO_STATE_NONE;
        ret->change.to = ret->state;
    }

    record->heard = true;
    record->order = order;
    record->state = ret->state;
}
