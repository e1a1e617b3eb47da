/*
 * Orders out of partners' webhooks. They are read leniently, as their senders
 * change them without notice: what an order takes may stand wherever one of
 * the partners' published forms has it. Must never guess a place.
 */

#include <stdio.h>

#include "coco_message.h"
#include "coco_order.h"


#define DAY_MS           INT64_C(86400000)
#define EXTERNAL_ID_MAX  128            /* bytes */
#define TEXT_MAX         256
#define ADDRESS_MAX      1000


/* What an order says stands in its data, or at the top. */
enum { DATA, TOP, WHERE };

typedef struct {
    coco_json_value_t  where[WHERE];
    char              *buf;             /* for strings with escapes */
    coco_error_t      *err;
} reader_t;

typedef const char *const  names_t[4];  /* the first that is there counts */


static int reader_begin(reader_t *r, coco_str_t payload, char *buf,
    coco_error_t *err);
static coco_order_action_e uber_action(reader_t *r, coco_str_t *ret_id);
static coco_order_action_e doordash_action(reader_t *r, coco_str_t *ret_id);
static int place_read(coco_order_place_t *ret, reader_t *r,
    const char *place, bool needed);
static bool place_find(coco_order_place_t *ret,
    const coco_json_value_t *object, const char *place);
static bool pair_find(coco_order_place_t *ret,
    const coco_json_value_t *object, const char *prefix);
static int pair_check(const coco_order_place_t *place, const char *name,
    coco_error_t *err);
static void place_encode(coco_json_out_t *out,
    const coco_order_place_t *place);
static coco_str_t text_find(reader_t *r, names_t names, size_t max);
static coco_str_t text_in(reader_t *r, const coco_json_value_t *object,
    names_t names, size_t max);
static bool time_find(const reader_t *r, names_t names, int64_t *ret);
static bool member_find(const coco_json_value_t *object, const char *name,
    coco_json_type_e type, coco_json_value_t *ret);


static const coco_str_t  partner_names[COCO_PARTNERS] = {
    [COCO_PARTNER_UBER] = coco_string("uber"),
    [COCO_PARTNER_DOORDASH] = coco_string("doordash")
};


coco_str_t
coco_partner_name(coco_partner_e partner)
{
    return partner_names[partner];
}


coco_partner_e
coco_partner_parse(coco_str_t name)
{
    coco_partner_e  partner = COCO_PARTNER_UBER;

    while (partner < COCO_PARTNERS
           && !coco_str_equal(name, partner_names[partner]))
    {
        partner++;
    }

    return partner;
}


int
coco_webhook_identify(coco_webhook_event_t *ret, coco_partner_e partner,
    coco_str_t payload, coco_error_t *err)
{
    size_t             i, count;
    coco_str_t         parts[6], own;
    coco_json_value_t  top, value;

    /* what tells events apart, the last of them their time */
    static const char *const  members[COCO_PARTNERS][4] = {
        [COCO_PARTNER_UBER] = { "kind", "delivery_id", "status", "created" },
        [COCO_PARTNER_DOORDASH] = {
            "event_name", "event_type", "external_delivery_id", "updated_at" }
    };

    if (coco_message_read(&top, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    parts[0] = partner_names[partner];

    if (partner == COCO_PARTNER_UBER
        && (member_find(&top, "id", COCO_JSON_STRING, &value)
            || member_find(&top, "event_id", COCO_JSON_STRING, &value)))
    {
        own = value.string;

        if (own.len > 0 && own.len <= sizeof(ret->event_id)
            && !value.escaped)
        {
            memcpy(ret->event_id, own.data, own.len);
            ret->len = own.len;
            parts[1] = own;
            coco_id_derive(&ret->id, parts, 2);

            return COCO_OK;
        }
    }

    for (i = 0, count = 1; i < 4; i++) {
        parts[count++] = member_find(&top, members[partner][i],
                                     COCO_JSON_STRING, &value)
                         ? value.string : coco_string("");
    }

    if (parts[count - 1].len == 0) {
        parts[1] = payload;
        count = 2;
    }

    coco_id_derive(&ret->id, parts, count);
    coco_id_format(ret->event_id, &ret->id);
    ret->len = COCO_ID_TEXT_LEN;

    return COCO_OK;
}


int
coco_order_decode(coco_partner_order_t *ret, coco_partner_e partner,
    coco_str_t payload, int64_t received_at, char *buf, coco_error_t *err)
{
    bool      places;
    reader_t  r;

    static names_t  stores = {
        "external_store_id", "pickup_external_store_id", "store_id", NULL };
    static names_t  vehicles = { "vehicle_id", "provider_vehicle_id", NULL };
    static names_t  reasons = {
        "cancellation_reason", "undeliverable_reason", "reason", NULL };
    static names_t  updated = { "updated", "updated_at", NULL };
    static names_t  created = {
        "created", "created_at", "event_time", NULL };
    static names_t  ready = { "pickup_ready", "pickup_ready_dt", NULL };

    *ret = (coco_partner_order_t) { .partner = partner };

    if (reader_begin(&r, payload, buf, err) != COCO_OK) {
        return COCO_ERROR;
    }

    ret->action = partner == COCO_PARTNER_UBER
                  ? uber_action(&r, &ret->external_id)
                  : doordash_action(&r, &ret->external_id);

    if (ret->action == COCO_ORDER_NOTHING) {
        return COCO_OK;
    }

    if (ret->external_id.data == NULL) {
        return coco_error_set(err, partner == COCO_PARTNER_UBER
                                   ? "delivery_id" : "external_delivery_id",
                              "a string of 1 to %d bytes expected",
                              EXTERNAL_ID_MAX);
    }

    ret->store = text_find(&r, stores, TEXT_MAX);
    ret->vehicle = text_find(&r, vehicles, TEXT_MAX);
    ret->reason = text_find(&r, reasons, TEXT_MAX);
    ret->has_ready_at = time_find(&r, ready, &ret->ready_at);

    if (ret->reason.data == NULL) {
        ret->reason = coco_string("canceled by the partner");
    }

    /* a wrong clock of the partner's is not to freeze an order for long */

    if (!time_find(&r, updated, &ret->order_at)
        && !time_find(&r, created, &ret->order_at))
    {
        ret->order_at = received_at;

    } else if (ret->order_at > received_at + DAY_MS) {
        ret->order_at = received_at + DAY_MS;
    }

    places = ret->action == COCO_ORDER_PLACE;

    if (place_read(&ret->pickup, &r, "pickup", places) != COCO_OK) {
        return COCO_ERROR;
    }

    return place_read(&ret->dropoff, &r, "dropoff", places);
}


static int
reader_begin(reader_t *r, coco_str_t payload, char *buf, coco_error_t *err)
{
    coco_json_value_t  *top = &r->where[TOP];

    r->buf = buf;
    r->err = err;

    if (coco_message_read(top, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    if (!member_find(top, "data", COCO_JSON_OBJECT, &r->where[DATA])
        && !member_find(top, "meta", COCO_JSON_OBJECT, &r->where[DATA]))
    {
        r->where[DATA] = *top;
    }

    return COCO_OK;
}


/* event.delivery_status, and the older dapi.status_changed, whose order is
 * named in meta. Other statuses are of couriers that Uber has sent. */
static coco_order_action_e
uber_action(reader_t *r, coco_str_t *ret_id)
{
    coco_str_t  kind, status;

    static names_t  kinds = { "kind", "event_type", NULL };
    static names_t  statuses = { "status", NULL };
    static names_t  ids = { "delivery_id", NULL };
    static names_t  orders = { "order_id", "id", NULL };

    kind = text_in(r, &r->where[TOP], kinds, TEXT_MAX);
    status = text_in(r, &r->where[TOP], statuses, TEXT_MAX);
    *ret_id = text_in(r, &r->where[TOP], ids, EXTERNAL_ID_MAX);

    if (status.data == NULL) {
        status = text_in(r, &r->where[DATA], statuses, TEXT_MAX);
    }

    if (ret_id->data == NULL) {
        *ret_id = text_in(r, &r->where[DATA], orders, EXTERNAL_ID_MAX);
    }

    if (coco_str_equal(kind, coco_string("event.delivery_status"))) {
        return coco_str_equal(status, coco_string("pending"))
               ? COCO_ORDER_PLACE
               : coco_str_equal(status, coco_string("canceled"))
               ? COCO_ORDER_CANCEL : COCO_ORDER_NOTHING;
    }

    return coco_str_equal(kind, coco_string("dapi.status_changed"))
           && coco_str_equal(status, coco_string("FAILED"))
           ? COCO_ORDER_CANCEL : COCO_ORDER_NOTHING;
}


static coco_order_action_e
doordash_action(reader_t *r, coco_str_t *ret_id)
{
    coco_str_t  name;

    static names_t  names = { "event_name", "event_type", NULL };
    static names_t  ids = { "external_delivery_id", NULL };

    name = text_in(r, &r->where[TOP], names, TEXT_MAX);
    *ret_id = text_find(r, ids, EXTERNAL_ID_MAX);

    return coco_str_equal(name, coco_string("DELIVERY_CREATED"))
           ? COCO_ORDER_PLACE
           : coco_str_equal(name, coco_string("DELIVERY_CANCELLED"))
           ? COCO_ORDER_CANCEL : COCO_ORDER_NOTHING;
}


static int
place_read(coco_order_place_t *ret, reader_t *r, const char *place,
    bool needed)
{
    int                i;
    char               name[32];
    coco_json_value_t  object;

    names_t  flat = { name, NULL };

    static names_t  addresses = { "address", "detailed_address", NULL };

    snprintf(name, sizeof(name), "%s_address", place);
    ret->address = text_find(r, flat, ADDRESS_MAX);

    for (i = DATA; i < WHERE && !ret->known; i++) {
        ret->known = place_find(ret, &r->where[i], place);

        if (ret->address.data == NULL
            && member_find(&r->where[i], place, COCO_JSON_OBJECT, &object))
        {
            ret->address = text_in(r, &object, addresses, ADDRESS_MAX);
        }
    }

    if (ret->known) {
        return pair_check(ret, place, r->err);
    }

    return needed ? coco_error_set(r->err, place,
                                   "its latitude and longitude are missing")
                  : COCO_OK;
}


/* {"pickup":{"location":{"lat","lng"}}}, or the pair in pickup itself;
 * {"pickup_location":{"lat","lng"}}; {"pickup_latitude","pickup_longitude"}. */
static bool
place_find(coco_order_place_t *ret, const coco_json_value_t *object,
    const char *place)
{
    char               name[32];
    coco_json_value_t  inner, location;

    if (member_find(object, place, COCO_JSON_OBJECT, &inner)
        && ((member_find(&inner, "location", COCO_JSON_OBJECT, &location)
             && pair_find(ret, &location, ""))
            || pair_find(ret, &inner, "")))
    {
        return true;
    }

    snprintf(name, sizeof(name), "%s_location", place);

    if (member_find(object, name, COCO_JSON_OBJECT, &location)
        && pair_find(ret, &location, ""))
    {
        return true;
    }

    snprintf(name, sizeof(name), "%s_", place);

    return pair_find(ret, object, name);
}


static bool
pair_find(coco_order_place_t *ret, const coco_json_value_t *object,
    const char *prefix)
{
    size_t             i;
    char               latitude[32], longitude[32];
    coco_json_value_t  a, b;

    static const char *const  pairs[][2] = {
        { "latitude", "longitude" }, { "lat", "lng" }, { "lat", "lon" }
    };

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        snprintf(latitude, sizeof(latitude), "%s%s", prefix, pairs[i][0]);
        snprintf(longitude, sizeof(longitude), "%s%s", prefix, pairs[i][1]);

        if (member_find(object, latitude, COCO_JSON_NUMBER, &a)
            && member_find(object, longitude, COCO_JSON_NUMBER, &b))
        {
            ret->latitude = a.number;
            ret->longitude = b.number;
            return true;
        }
    }

    return false;
}


static int
pair_check(const coco_order_place_t *place, const char *name,
    coco_error_t *err)
{
    if (place->latitude < -90 || place->latitude > 90
        || place->longitude < -180 || place->longitude > 180)
    {
        return coco_error_set(err, name, "a latitude from -90 to 90 and a "
                              "longitude from -180 to 180 expected");
    }

    return COCO_OK;
}


void
coco_order_encode(coco_json_out_t *out, const coco_partner_order_t *order)
{
    coco_json_object_open(out);
    coco_json_name(out, "action");
    coco_json_string(out, order->action == COCO_ORDER_CANCEL
                          ? coco_string("CANCEL") : coco_string("PLACE"));
    coco_json_name(out, "provider");
    coco_json_string(out, partner_names[order->partner]);
    coco_json_name(out, "externalId");
    coco_json_string(out, order->external_id);
    coco_json_name(out, "orderAt");
    coco_json_int(out, order->order_at);
    coco_json_name(out, "store");
    coco_json_string(out, order->store);
    coco_json_name(out, "vehicle");
    coco_json_string(out, order->vehicle);
    coco_json_name(out, "reason");
    coco_json_string(out, order->reason);
    coco_json_name(out, "pickup");
    place_encode(out, &order->pickup);
    coco_json_name(out, "dropoff");
    place_encode(out, &order->dropoff);

    if (order->has_ready_at) {
        coco_json_name(out, "readyAt");
        coco_json_int(out, order->ready_at);
    }

    coco_json_object_close(out);
}


static void
place_encode(coco_json_out_t *out, const coco_order_place_t *place)
{
    coco_json_object_open(out);

    if (place->known) {
        coco_json_name(out, "latitude");
        coco_json_double(out, place->latitude);
        coco_json_name(out, "longitude");
        coco_json_double(out, place->longitude);
    }

    coco_json_name(out, "address");
    coco_json_string(out, place->address);
    coco_json_object_close(out);
}


static coco_str_t
text_find(reader_t *r, names_t names, size_t max)
{
    coco_str_t  text;

    text = text_in(r, &r->where[DATA], names, max);

    return text.data != NULL ? text
                             : text_in(r, &r->where[TOP], names, max);
}


/* Empty ones and those that are too long are not there. */
static coco_str_t
text_in(reader_t *r, const coco_json_value_t *object, names_t names,
    size_t max)
{
    size_t             i;
    coco_str_t         text;
    coco_json_value_t  value;

    for (i = 0; names[i] != NULL; i++) {

        if (!member_find(object, names[i], COCO_JSON_STRING, &value)) {
            continue;
        }

        text = coco_json_unescape(&value, r->buf);

        if (text.len > 0 && text.len <= max) {
            r->buf += value.escaped ? text.len : 0;
            return text;
        }
    }

    return (coco_str_t) { NULL, 0 };
}


static bool
time_find(const reader_t *r, names_t names, int64_t *ret)
{
    int                i;
    size_t             n;
    coco_json_value_t  value;

    for (i = DATA; i < WHERE; i++) {
        for (n = 0; names[n] != NULL; n++) {
            if (member_find(&r->where[i], names[n], COCO_JSON_STRING, &value)
                && coco_time_parse(ret, value.string) == COCO_OK)
            {
                return true;
            }
        }
    }

    return false;
}


static bool
member_find(const coco_json_value_t *object, const char *name,
    coco_json_type_e type, coco_json_value_t *ret)
{
    coco_str_t  names = { name, strlen(name) };

    coco_message_members(object, &names, 1, ret);

    return coco_message_has(ret) && ret->type == type;
}
