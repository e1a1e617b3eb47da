/*
 * How a partner is told of its deliveries: which word it has for each of our
 * statuses, and the forms of the calls. Its form: docs/partners.md,
 * "Statuses"; as shipped: conf/partners.json.
 */

#ifndef COCO_PARTNER_MAP_H
#define COCO_PARTNER_MAP_H

#include "coco_delivery.h"
#include "coco_json_read.h"
#include "coco_json_write.h"
#include "coco_order.h"

#define COCO_PARTNER_HEADERS_MAX  8

typedef enum {
    COCO_PARTNER_STATUS = 0,
    COCO_PARTNER_LOCATION,
    COCO_PARTNER_KINDS
} coco_partner_kind_e;

typedef struct {
    bool               told;            /* false: no such call is made */
    coco_str_t         method;
    coco_str_t         path;            /* behind the partner's base URL */
    coco_json_value_t  body;            /* OBJECT, with placeholders */
} coco_partner_form_t;

typedef struct {
    coco_str_t  name, value;
} coco_partner_header_t;

/* Strings point into the text that was read. */
typedef struct {
    coco_str_t             statuses[COCO_DELIVERY_STATUSES];   /* JSON; data
                                                     NULL: it is not told */
    coco_partner_form_t    forms[COCO_PARTNER_KINDS];
    coco_partner_header_t  headers[COCO_PARTNER_HEADERS_MAX];
    size_t                 header_count;
} coco_partner_map_t;

/* A map of every partner. COCO_ERROR names the member. */
int coco_partner_map_read(coco_partner_map_t ret[COCO_PARTNERS],
    coco_str_t text, coco_error_t *err);

/* What a placeholder can stand for. Of strings, data NULL: not known. */
typedef struct {
    coco_id_t               id;         /* the Idempotency-Key */
    coco_id_t               delivery_id;
    coco_str_t              external_id;
    coco_str_t              store;
    coco_str_t              serial;
    coco_str_t              vehicle;    /* the partner's id of the robot */
    coco_delivery_status_e  status;
    coco_str_t              reason;
    int64_t                 ts;         /* ms, of the change or the position */
    bool                    located;
    double                  latitude, longitude;
    int64_t                 located_at; /* ms */
    bool                    has_battery;
    double                  battery_percent;
} coco_partner_push_t;

/* Whether a call is made. */
bool coco_partner_map_told(const coco_partner_map_t *map,
    coco_partner_kind_e kind, coco_delivery_status_e status);

/* The body. A member whose placeholder has no value is left out, and so is an
 * object or an array of nothing but such. */
void coco_partner_map_encode(coco_json_out_t *out,
    const coco_partner_map_t *map, coco_partner_kind_e kind,
    const coco_partner_push_t *push);

#endif /* COCO_PARTNER_MAP_H */
