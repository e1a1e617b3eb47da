/*
 * What partners' webhooks say: which event each is, so that a repeat is known,
 * and what it asks for. The forms they have: docs/partners.md.
 */

#ifndef COCO_ORDER_H
#define COCO_ORDER_H

#include "coco_core.h"
#include "coco_json_write.h"

typedef enum {
    COCO_PARTNER_UBER = 0,
    COCO_PARTNER_DOORDASH,
    COCO_PARTNERS
} coco_partner_e;

coco_str_t coco_partner_name(coco_partner_e partner);
/* COCO_PARTNERS: there is none of this name. */
coco_partner_e coco_partner_parse(coco_str_t name);

#define COCO_WEBHOOK_EVENT_MAX  128     /* bytes of an event's id */

typedef struct {
    coco_id_t   id;                     /* of the partner and the event's id */
    size_t      len;
    char        event_id[COCO_WEBHOOK_EVENT_MAX];
} coco_webhook_event_t;

/* The partner's own id of the event; without one it is made of what tells
 * its events apart (the event's name, the delivery, its status and the time),
 * without the delivery or the time of the whole payload. COCO_ERROR: the
 * payload is no JSON object. */
int coco_webhook_identify(coco_webhook_event_t *ret, coco_partner_e partner,
    coco_str_t payload, coco_error_t *err);

typedef enum {
    COCO_ORDER_NOTHING = 0,             /* kept, and no more */
    COCO_ORDER_PLACE,
    COCO_ORDER_CANCEL
} coco_order_action_e;

typedef struct {
    bool        known;
    double      latitude, longitude;
    coco_str_t  address;                /* data NULL: not said */
} coco_order_place_t;

typedef struct {
    coco_partner_e       partner;
    coco_order_action_e  action;
    coco_str_t           external_id;
    coco_str_t           store;         /* data NULL: not said; so are these */
    coco_str_t           vehicle;       /* the partner's id of the robot */
    coco_str_t           reason;        /* CANCEL: never absent */
    coco_order_place_t   pickup, dropoff;    /* PLACE: both known */
    int64_t              order_at;      /* ms, the partner's; at most a day
                                           ahead of received_at */
    bool                 has_ready_at;
    int64_t              ready_at;      /* ms */
} coco_partner_order_t;

/* Strings point into the payload or into buf, which has payload.len bytes.
 * COCO_ERROR: it asks for something and lacks, or has wrong, what that takes;
 * err names the field as the partner calls it. */
int coco_order_decode(coco_partner_order_t *ret, coco_partner_e partner,
    coco_str_t payload, int64_t received_at, char *buf, coco_error_t *err);

/* For coco.order_apply() of the database. */
void coco_order_encode(coco_json_out_t *out,
    const coco_partner_order_t *order);

#endif /* COCO_ORDER_H */
