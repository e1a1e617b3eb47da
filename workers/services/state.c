/*
 * The state service: which heartbeat is a robot's newest, and when the state
 * it reports changes. Must never look at anything but its arguments.
 */

#include "coco_message.h"
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


int
coco_service_state_event_decode(coco_state_change_t *ret, coco_str_t data,
    coco_error_t *err)
{
    coco_json_value_t  object = { .text = data }, m[2];

    static const char        expected[] = "one of GROUNDED ON_TRIP PARKED "
                                          "OFF_DUTY DEPLOYED";
    static const coco_str_t  names[] = { coco_string("from"),
                                         coco_string("to") };

    coco_message_members(&object, names, 2, m);

    ret->from = COCO_STATE_NONE;

    if (coco_message_has(&m[0])) {
        ret->from = m[0].type == COCO_JSON_STRING
                    ? coco_state_parse(m[0].string) : COCO_STATE_NONE;

        if (ret->from == COCO_STATE_NONE) {
            return coco_error_set(err, "data.from", "%s, or null, expected",
                                  expected);
        }
    }

    ret->to = coco_message_has(&m[1]) && m[1].type == COCO_JSON_STRING
              ? coco_state_parse(m[1].string) : COCO_STATE_NONE;

    if (ret->to == COCO_STATE_NONE) {
        return coco_error_set(err, "data.to", "%s expected", expected);
    }

    return COCO_OK;
}
