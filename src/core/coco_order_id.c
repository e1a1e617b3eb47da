/*
 * Which event a partner's webhook is. Must give a repeat the id of the first,
 * and no two events the same.
 */

#include "coco_message.h"
#include "coco_order.h"


/* own: the partner's id of the event. */
typedef enum {
    NAME = 0, OTHER_NAME, DELIVERY, TIME, STATUS, OWN, OTHER_OWN, MEMBERS
} member_e;


static bool own_take(coco_webhook_event_t *ret, coco_str_t partner,
    const coco_json_value_t *own);


int
coco_webhook_identify(coco_webhook_event_t *ret, coco_partner_e partner,
    coco_str_t payload, coco_error_t *err)
{
    size_t             i;
    coco_str_t         parts[1 + OWN];
    coco_json_value_t  top, values[MEMBERS];

    /* DoorDash numbers nothing, and names each status */
    static const struct {
        size_t      count;
        coco_str_t  names[MEMBERS];
    } members[COCO_PARTNERS] = {
        [COCO_PARTNER_UBER] = { MEMBERS, {
            coco_string("kind"), coco_string("event_type"),
            coco_string("delivery_id"), coco_string("created"),
            coco_string("status"), coco_string("id"),
            coco_string("event_id") } },
        [COCO_PARTNER_DOORDASH] = { STATUS, {
            coco_string("event_name"), coco_string("event_type"),
            coco_string("external_delivery_id"),
            coco_string("updated_at") } }
    };

    if (coco_message_read(&top, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    for (i = members[partner].count; i < MEMBERS; i++) {
        values[i].text = values[i].string = (coco_str_t) { NULL, 0 };
    }

    coco_message_members(&top, members[partner].names, members[partner].count,
                         values);

    parts[0] = coco_partner_name(partner);

    if (own_take(ret, parts[0], &values[OWN])
        || own_take(ret, parts[0], &values[OTHER_OWN]))
    {
        return COCO_OK;
    }

    for (i = NAME; i < OWN; i++) {
        parts[1 + i] = values[i].text;
    }

    if (coco_message_has(&values[DELIVERY])
        && coco_message_has(&values[TIME]))
    {
        coco_id_derive(&ret->id, parts, 1 + OWN);

    } else {
        parts[1] = payload;
        coco_id_derive(&ret->id, parts, 2);
    }

    coco_id_format(ret->event_id, &ret->id);
    ret->len = COCO_ID_TEXT_LEN;

    return COCO_OK;
}


/* One that is too long is told by its digest. */
static bool
own_take(coco_webhook_event_t *ret, coco_str_t partner,
    const coco_json_value_t *own)
{
    char        buf[6 * COCO_WEBHOOK_EVENT_MAX];    /* escapes take six */
    coco_str_t  parts[2] = { partner, own->string };

    if (!coco_message_has(own) || own->type != COCO_JSON_STRING
        || own->string.len == 0)
    {
        return false;
    }

    if (own->string.len <= sizeof(buf)) {
        parts[1] = coco_json_unescape(own, buf);
    }

    coco_id_derive(&ret->id, parts, 2);

    if (parts[1].len <= sizeof(ret->event_id)) {
        memcpy(ret->event_id, parts[1].data, parts[1].len);
        ret->len = parts[1].len;

    } else {
        coco_id_format(ret->event_id, &ret->id);
        ret->len = COCO_ID_TEXT_LEN;
    }

    return true;
}
