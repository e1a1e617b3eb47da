/*
 * The integrations service: what a partner's webhook asks of a delivery. Must
 * never look at anything but its arguments.
 */

#include "services/service.h"


int
coco_service_integrations_order(coco_partner_order_t *ret,
    coco_str_t provider, coco_str_t payload, int64_t received_at, char *buf,
    coco_error_t *err)
{
    coco_partner_e  partner;

    partner = coco_partner_parse(provider);

    if (partner == COCO_PARTNERS) {
        return coco_error_set(err, "provider", "uber or doordash expected");
    }

    return coco_order_decode(ret, partner, payload, received_at, buf, err);
}
