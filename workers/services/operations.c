/*
 * The operations service: a robot's business state. Must never look at
 * anything but its arguments.
 */

#include <stdio.h>

#include "coco_message.h"
#include "services/service.h"

static void coco_service_flag_encode(coco_json_out_t *out, coco_flag_e flag);
static int coco_service_flag_decode(coco_flag_e *ret,
    const coco_json_value_t *value, coco_str_t name, coco_error_t *err);


void
coco_service_operations_state_change(coco_operation_record_t *record,
    const coco_state_change_t *change, coco_operation_effect_t *ret)
{
    int         order;
    bool        same;
    int64_t     at;
    coco_str_t  cause[2];

    memset(ret, 0, sizeof(*ret));

    order = record->heard
            ? coco_order_compare(&change->order, &record->order) : 1;

    if (order == 0) {
        return;
    }

    at = change->order.order_ms;
    ret->history = true;
    ret->observed_at = at;
    ret->business = record->business;
    ret->business.operation_state = change->to;

    if (order < 0) {
        return;
    }

    /*
     * What stands already was PATCHed, and then nothing changes; else a change
     * between the two is late, and this one counts as it would have after it.
     */
    same = record->exists && record->business.operation_state == change->to
           && !(record->heard && record->changed_at == record->order.order_ms);

    ret->applied = true;
    record->heard = true;
    record->order = change->order;

    if (same) {
        return;
    }

    /* A robot's clock may be behind a PATCH that came before: what the fleet
     * service orders by must still ascend. */
    if (record->exists && record->changed_at >= at) {
        at = record->changed_at + 1;
    }

    record->exists = true;
    record->changed_at = at;
    record->business.operation_state = change->to;

    cause[0] = coco_string("Robots.BusinessStateChange");
    cause[1] = (coco_str_t) { (const char *) change->id.bytes, COCO_ID_LEN };

    ret->changed = true;
    coco_id_derive(&ret->change.id, cause, 2);
    ret->change.serial = change->serial;
    ret->change.changed_at = at;
    ret->change.business = record->business;
}


void
coco_service_operations_event_encode(coco_json_out_t *out,
    const coco_business_t *b)
{
    coco_json_object_open(out);
    coco_json_name(out, "operationState");
    coco_json_string(out, coco_state_name(b->operation_state));
    coco_json_name(out, "needsMovement");
    coco_service_flag_encode(out, b->needs_movement);
    coco_json_name(out, "undergoingMaintenance");
    coco_service_flag_encode(out, b->undergoing_maintenance);
    coco_json_name(out, "needsMaintenance");
    coco_service_flag_encode(out, b->needs_maintenance);
    coco_json_name(out, "needsPickup");
    coco_service_flag_encode(out, b->needs_pickup);
    coco_json_name(out, "hasFood");
    coco_service_flag_encode(out, b->has_food);
    coco_json_name(out, "driveable");
    coco_service_flag_encode(out, b->driveable);
    coco_json_name(out, "deployed");
    coco_json_json(out, b->deployed);
    coco_json_object_close(out);
}


static void
coco_service_flag_encode(coco_json_out_t *out, coco_flag_e flag)
{
    if (flag == COCO_UNSET) {
        coco_json_null(out);
        return;
    }

    coco_json_bool(out, flag == COCO_TRUE);
}


int
coco_service_operations_event_decode(coco_business_t *ret, coco_str_t data,
    coco_error_t *err)
{
    enum { STATE, MOVEMENT, UNDERGOING, MAINTENANCE, PICKUP, FOOD, DRIVEABLE,
           DEPLOYED, MEMBERS };

    coco_json_value_t  object = { .text = data }, m[MEMBERS];

    static const coco_str_t  names[MEMBERS] = {
        [STATE] = coco_string("operationState"),
        [MOVEMENT] = coco_string("needsMovement"),
        [UNDERGOING] = coco_string("undergoingMaintenance"),
        [MAINTENANCE] = coco_string("needsMaintenance"),
        [PICKUP] = coco_string("needsPickup"),
        [FOOD] = coco_string("hasFood"),
        [DRIVEABLE] = coco_string("driveable"),
        [DEPLOYED] = coco_string("deployed")
    };

    coco_flag_e *const  flags[MEMBERS] = {
        [MOVEMENT] = &ret->needs_movement,
        [UNDERGOING] = &ret->undergoing_maintenance,
        [MAINTENANCE] = &ret->needs_maintenance,
        [PICKUP] = &ret->needs_pickup,
        [FOOD] = &ret->has_food,
        [DRIVEABLE] = &ret->driveable
    };

    coco_message_members(&object, names, MEMBERS, m);

    ret->operation_state = coco_message_has(&m[STATE])
                           && m[STATE].type == COCO_JSON_STRING
                           ? coco_state_parse(m[STATE].string)
                           : COCO_STATE_NONE;

    if (ret->operation_state == COCO_STATE_NONE) {
        return coco_error_set(err, "data.operationState", "one of GROUNDED "
                              "ON_TRIP PARKED OFF_DUTY DEPLOYED expected");
    }

    for (int i = MOVEMENT; i <= DRIVEABLE; i++) {
        if (coco_service_flag_decode(flags[i], &m[i], names[i], err)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    ret->deployed = m[DEPLOYED].text;

    return COCO_OK;
}


static int
coco_service_flag_decode(coco_flag_e *ret, const coco_json_value_t *value,
    coco_str_t name, coco_error_t *err)
{
    char  field[sizeof(err->field)];

    if (!coco_message_has(value)) {
        *ret = COCO_UNSET;
        return COCO_OK;
    }

    if (value->type != COCO_JSON_TRUE && value->type != COCO_JSON_FALSE) {
        snprintf(field, sizeof(field), "data.%s", name.data);
        return coco_error_set(err, field, "true, false or null expected");
    }

    *ret = value->type == COCO_JSON_TRUE ? COCO_TRUE : COCO_FALSE;

    return COCO_OK;
}
