/*
 * Orders out of partners' webhooks. They are read leniently, as their senders
 * change them without notice: what an order takes may stand wherever one of
 * the partners' published forms has it. Must never guess a place.
 */

#include "coco_message.h"
#include "coco_order.h"


#define DAY_MS           INT64_C(86400000)
#define YEAR_10000_MS    INT64_C(253402300800000)

/* A number of a time: below, it is of seconds (up to the year 5138), else of
 * milliseconds (from 1973 on). */
#define SECONDS_MAX      INT64_C(100000000000)

/* bytes; what POST /deliveries takes */
#define TEXT_MAX         128
#define LONG_TEXT_MAX    256


/* What is asked for stands in the webhook's data (or meta), or at its top. */
typedef enum { IN_DATA, AT_TOP, WHERE } where_e;

typedef enum {
    NOTHING = 0,                        /* ends a list */
    KIND, EVENT_TYPE, EVENT_NAME, STATUS, DATA, META,
    ID, DELIVERY_ID, ORDER_ID, EXTERNAL_ORDER_ID, EXTERNAL_DELIVERY_ID,
    EXTERNAL_STORE_ID, PICKUP_EXTERNAL_STORE_ID, STORE_ID,
    VEHICLE_ID, PROVIDER_VEHICLE_ID, COURIER,
    REASON, CANCELATION_REASON, CANCELLATION_REASON, UNDELIVERABLE_REASON,
    UPDATED, UPDATED_AT, CREATED, CREATED_AT, EVENT_TIME,
    PICKUP_READY, PICKUP_READY_DT,
    PICKUP, PICKUP_LOCATION, PICKUP_LATITUDE, PICKUP_LONGITUDE,
    PICKUP_ADDRESS,
    DROPOFF, DROPOFF_LOCATION, DROPOFF_LATITUDE, DROPOFF_LONGITUDE,
    DROPOFF_ADDRESS,
    MEMBERS
} member_e;

typedef const member_e  members_t[5];   /* the first that is there counts */

typedef struct {
    coco_json_value_t  members[WHERE][MEMBERS];
    char              *buf;             /* for strings with escapes */
} reader_t;

typedef struct {
    const char  *name;
    member_e     object, location, latitude, longitude, address;
} place_members_t;


static int reader_begin(reader_t *r, coco_str_t payload, char *buf,
    coco_error_t *err);
static coco_order_action_e uber_action(reader_t *r, coco_str_t *ret_id);
static coco_order_action_e doordash_action(reader_t *r, coco_str_t *ret_id);
static coco_str_t vehicle_read(reader_t *r);
static coco_str_t reason_read(reader_t *r);
static int64_t order_at_read(const reader_t *r, int64_t received_at);
static int place_read(coco_order_place_t *ret, reader_t *r,
    const place_members_t *place, bool needed, coco_error_t *err);
static bool place_find(coco_order_place_t *ret, const reader_t *r,
    const place_members_t *place);
static bool object_find(coco_order_place_t *ret,
    const coco_json_value_t *object);
static bool pair_take(coco_order_place_t *ret,
    const coco_json_value_t *latitude, const coco_json_value_t *longitude);
static coco_str_t address_read(reader_t *r, const place_members_t *place);
static void place_encode(coco_json_out_t *out,
    const coco_order_place_t *place);
static coco_str_t text_find(reader_t *r, members_t members, size_t max);
static coco_str_t text_in(reader_t *r, where_e where, members_t members,
    size_t max);
static coco_str_t text_of(reader_t *r, const coco_json_value_t *object,
    coco_str_t name, size_t max);
static coco_str_t text_take(reader_t *r, const coco_json_value_t *value,
    size_t max);
static bool time_in(const reader_t *r, where_e where, members_t members,
    int64_t *ret);
static bool type_is(const coco_json_value_t *value, coco_json_type_e type);


static const coco_str_t  member_names[MEMBERS] = {
    [KIND] = coco_string("kind"),
    [EVENT_TYPE] = coco_string("event_type"),
    [EVENT_NAME] = coco_string("event_name"),
    [STATUS] = coco_string("status"),
    [DATA] = coco_string("data"),
    [META] = coco_string("meta"),
    [ID] = coco_string("id"),
    [DELIVERY_ID] = coco_string("delivery_id"),
    [ORDER_ID] = coco_string("order_id"),
    [EXTERNAL_ORDER_ID] = coco_string("external_order_id"),
    [EXTERNAL_DELIVERY_ID] = coco_string("external_delivery_id"),
    [EXTERNAL_STORE_ID] = coco_string("external_store_id"),
    [PICKUP_EXTERNAL_STORE_ID] = coco_string("pickup_external_store_id"),
    [STORE_ID] = coco_string("store_id"),
    [VEHICLE_ID] = coco_string("vehicle_id"),
    [PROVIDER_VEHICLE_ID] = coco_string("provider_vehicle_id"),
    [COURIER] = coco_string("courier"),
    [REASON] = coco_string("reason"),
    [CANCELATION_REASON] = coco_string("cancelation_reason"),
    [CANCELLATION_REASON] = coco_string("cancellation_reason"),
    [UNDELIVERABLE_REASON] = coco_string("undeliverable_reason"),
    [UPDATED] = coco_string("updated"),
    [UPDATED_AT] = coco_string("updated_at"),
    [CREATED] = coco_string("created"),
    [CREATED_AT] = coco_string("created_at"),
    [EVENT_TIME] = coco_string("event_time"),
    [PICKUP_READY] = coco_string("pickup_ready"),
    [PICKUP_READY_DT] = coco_string("pickup_ready_dt"),
    [PICKUP] = coco_string("pickup"),
    [PICKUP_LOCATION] = coco_string("pickup_location"),
    [PICKUP_LATITUDE] = coco_string("pickup_latitude"),
    [PICKUP_LONGITUDE] = coco_string("pickup_longitude"),
    [PICKUP_ADDRESS] = coco_string("pickup_address"),
    [DROPOFF] = coco_string("dropoff"),
    [DROPOFF_LOCATION] = coco_string("dropoff_location"),
    [DROPOFF_LATITUDE] = coco_string("dropoff_latitude"),
    [DROPOFF_LONGITUDE] = coco_string("dropoff_longitude"),
    [DROPOFF_ADDRESS] = coco_string("dropoff_address")
};

static const place_members_t  pickup = {
    "pickup", PICKUP, PICKUP_LOCATION, PICKUP_LATITUDE, PICKUP_LONGITUDE,
    PICKUP_ADDRESS
};

static const place_members_t  dropoff = {
    "dropoff", DROPOFF, DROPOFF_LOCATION, DROPOFF_LATITUDE,
    DROPOFF_LONGITUDE, DROPOFF_ADDRESS
};

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
    return coco_str_find(name, partner_names, COCO_PARTNERS);
}


int
coco_order_decode(coco_partner_order_t *ret, coco_partner_e partner,
    coco_str_t payload, int64_t received_at, char *buf, coco_error_t *err)
{
    bool      places;
    reader_t  r;

    static members_t  stores = {
        EXTERNAL_STORE_ID, PICKUP_EXTERNAL_STORE_ID, STORE_ID };
    static members_t  ready = { PICKUP_READY, PICKUP_READY_DT };

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
                              "a string of 1 to %d bytes expected", TEXT_MAX);
    }

    ret->store = text_find(&r, stores, TEXT_MAX);
    ret->vehicle = vehicle_read(&r);
    ret->reason = reason_read(&r);
    ret->order_at = order_at_read(&r, received_at);
    ret->has_ready_at = time_in(&r, IN_DATA, ready, &ret->ready_at)
                        || time_in(&r, AT_TOP, ready, &ret->ready_at);

    places = ret->action == COCO_ORDER_PLACE;

    if (place_read(&ret->pickup, &r, &pickup, places, err) != COCO_OK) {
        return COCO_ERROR;
    }

    return place_read(&ret->dropoff, &r, &dropoff, places, err);
}


static int
reader_begin(reader_t *r, coco_str_t payload, char *buf, coco_error_t *err)
{
    size_t                    i;
    coco_json_value_t         top;
    const coco_json_value_t  *data;

    r->buf = buf;

    if (coco_message_read(&top, payload, err) != COCO_OK) {
        return COCO_ERROR;
    }

    /* NOTHING has no name */

    coco_message_members(&top, &member_names[1], MEMBERS - 1,
                         &r->members[AT_TOP][1]);

    data = &r->members[AT_TOP][DATA];

    if (!type_is(data, COCO_JSON_OBJECT)) {
        data = &r->members[AT_TOP][META];
    }

    if (type_is(data, COCO_JSON_OBJECT)) {
        coco_message_members(data, &member_names[1], MEMBERS - 1,
                             &r->members[IN_DATA][1]);
        return COCO_OK;
    }

    for (i = 1; i < MEMBERS; i++) {
        r->members[IN_DATA][i].text = (coco_str_t) { NULL, 0 };
    }

    return COCO_OK;
}


/* event.delivery_status, and the older dapi.status_changed, which names its
 * order in meta and ends with FAILED; it creates one if it says where to,
 * which its published form does not. Other statuses are of couriers. */
static coco_order_action_e
uber_action(reader_t *r, coco_str_t *ret_id)
{
    coco_str_t          kind, status;
    coco_order_place_t  place;

    static members_t  kinds = { KIND, EVENT_TYPE };
    static members_t  statuses = { STATUS };
    static members_t  ids = { DELIVERY_ID };
    static members_t  orders = {
        DELIVERY_ID, ORDER_ID, EXTERNAL_ORDER_ID, ID };

    kind = text_in(r, AT_TOP, kinds, TEXT_MAX);
    status = text_in(r, AT_TOP, statuses, TEXT_MAX);

    if (status.data == NULL) {
        status = text_in(r, IN_DATA, statuses, TEXT_MAX);
    }

    *ret_id = text_in(r, AT_TOP, ids, TEXT_MAX);

    if (ret_id->data == NULL) {
        *ret_id = text_in(r, IN_DATA, orders, TEXT_MAX);
    }

    if (coco_str_equal(kind, coco_string("event.delivery_status"))) {
        return coco_str_equal(status, coco_string("pending"))
               ? COCO_ORDER_PLACE
               : coco_str_equal(status, coco_string("canceled"))
               ? COCO_ORDER_CANCEL : COCO_ORDER_NOTHING;
    }

    if (!coco_str_equal(kind, coco_string("dapi.status_changed"))) {
        return COCO_ORDER_NOTHING;
    }

    return coco_str_equal(status, coco_string("FAILED"))
           ? COCO_ORDER_CANCEL
           : coco_str_equal(status, coco_string("SCHEDULED"))
             && place_find(&place, r, &pickup)
             && place_find(&place, r, &dropoff)
           ? COCO_ORDER_PLACE : COCO_ORDER_NOTHING;
}


static coco_order_action_e
doordash_action(reader_t *r, coco_str_t *ret_id)
{
    coco_str_t  name;

    static members_t  names = { EVENT_NAME, EVENT_TYPE };
    static members_t  ids = { EXTERNAL_DELIVERY_ID };

    name = text_in(r, AT_TOP, names, TEXT_MAX);
    *ret_id = text_find(r, ids, TEXT_MAX);

    return coco_str_equal(name, coco_string("DELIVERY_CREATED"))
           ? COCO_ORDER_PLACE
           : coco_str_equal(name, coco_string("DELIVERY_CANCELLED"))
           ? COCO_ORDER_CANCEL : COCO_ORDER_NOTHING;
}


static coco_str_t
vehicle_read(reader_t *r)
{
    where_e     where;
    coco_str_t  text;

    static members_t  vehicles = { VEHICLE_ID, PROVIDER_VEHICLE_ID };

    text = text_find(r, vehicles, TEXT_MAX);

    for (where = IN_DATA; where < WHERE && text.data == NULL; where++) {
        text = text_of(r, &r->members[where][COURIER],
                       member_names[VEHICLE_ID], TEXT_MAX);
    }

    return text;
}


static coco_str_t
reason_read(reader_t *r)
{
    where_e     where;
    coco_str_t  text;

    static members_t  reasons = {
        CANCELLATION_REASON, CANCELATION_REASON, UNDELIVERABLE_REASON, REASON
    };

    text = text_find(r, reasons, LONG_TEXT_MAX);

    for (where = IN_DATA; where < WHERE && text.data == NULL; where++) {
        text = text_of(r, &r->members[where][CANCELATION_REASON],
                       coco_string("primary_reason"), LONG_TEXT_MAX);
    }

    return text.data != NULL ? text : coco_string("canceled by the partner");
}


/* When the order was changed, else when its event was made: data's created is
 * that of the order's first event. A clock that is ahead is not to freeze an
 * order for long. */
static int64_t
order_at_read(const reader_t *r, int64_t received_at)
{
    int64_t  at;

    static members_t  updated = { UPDATED, UPDATED_AT };
    static members_t  created = { CREATED, CREATED_AT, EVENT_TIME };

    if (!time_in(r, IN_DATA, updated, &at) && !time_in(r, AT_TOP, updated, &at)
        && !time_in(r, AT_TOP, created, &at)
        && !time_in(r, IN_DATA, created, &at))
    {
        return received_at;
    }

    return at < received_at + DAY_MS ? at : received_at + DAY_MS;
}


static int
place_read(coco_order_place_t *ret, reader_t *r,
    const place_members_t *place, bool needed, coco_error_t *err)
{
    ret->address = address_read(r, place);
    ret->known = place_find(ret, r, place);

    if (ret->known && ret->latitude >= -90 && ret->latitude <= 90
        && ret->longitude >= -180 && ret->longitude <= 180)
    {
        return COCO_OK;
    }

    if (!needed) {
        ret->known = false;
        return COCO_OK;
    }

    return coco_error_set(err, place->name, ret->known
                          ? "a latitude from -90 to 90 and a longitude from "
                            "-180 to 180 expected"
                          : "its latitude and longitude are missing");
}


/* {"pickup":{"location":{"lat","lng"}}}, or the pair in pickup itself;
 * {"pickup_location":{"lat","lng"}}, or the pair as pickup_latitude and
 * pickup_longitude. */
static bool
place_find(coco_order_place_t *ret, const reader_t *r,
    const place_members_t *place)
{
    where_e                   where;
    coco_json_value_t         location;
    const coco_json_value_t  *members;

    for (where = IN_DATA; where < WHERE; where++) {
        members = r->members[where];

        if (type_is(&members[place->object], COCO_JSON_OBJECT)) {
            coco_message_members(&members[place->object],
                                 &coco_string("location"), 1, &location);

            if (object_find(ret, &location)) {
                return true;
            }
        }

        if (object_find(ret, &members[place->object])
            || object_find(ret, &members[place->location])
            || pair_take(ret, &members[place->latitude],
                         &members[place->longitude]))
        {
            return true;
        }
    }

    return false;
}


static bool
object_find(coco_order_place_t *ret, const coco_json_value_t *object)
{
    coco_json_value_t  values[4];

    static const coco_str_t  names[4] = {
        coco_string("latitude"), coco_string("longitude"),
        coco_string("lat"), coco_string("lng")
    };

    if (!type_is(object, COCO_JSON_OBJECT)) {
        return false;
    }

    coco_message_members(object, names, 4, values);

    return pair_take(ret, &values[0], &values[1])
           || pair_take(ret, &values[2], &values[3]);
}


static bool
pair_take(coco_order_place_t *ret, const coco_json_value_t *latitude,
    const coco_json_value_t *longitude)
{
    if (!type_is(latitude, COCO_JSON_NUMBER)
        || !type_is(longitude, COCO_JSON_NUMBER))
    {
        return false;
    }

    ret->latitude = latitude->number;
    ret->longitude = longitude->number;

    return true;
}


static coco_str_t
address_read(reader_t *r, const place_members_t *place)
{
    where_e     where;
    coco_str_t  text;
    members_t   flat = { place->address };

    text = text_find(r, flat, LONG_TEXT_MAX);

    for (where = IN_DATA; where < WHERE && text.data == NULL; where++) {
        text = text_of(r, &r->members[where][place->object],
                       coco_string("address"), LONG_TEXT_MAX);
    }

    return text;
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
    coco_json_string(out, order->action == COCO_ORDER_CANCEL
                          ? order->reason : (coco_str_t) { NULL, 0 });
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
text_find(reader_t *r, members_t members, size_t max)
{
    coco_str_t  text = text_in(r, IN_DATA, members, max);

    return text.data != NULL ? text : text_in(r, AT_TOP, members, max);
}


static coco_str_t
text_in(reader_t *r, where_e where, members_t members, size_t max)
{
    size_t      i;
    coco_str_t  text = { NULL, 0 };

    for (i = 0; members[i] != NOTHING && text.data == NULL; i++) {
        text = text_take(r, &r->members[where][members[i]], max);
    }

    return text;
}


static coco_str_t
text_of(reader_t *r, const coco_json_value_t *object, coco_str_t name,
    size_t max)
{
    coco_json_value_t  value;

    if (!type_is(object, COCO_JSON_OBJECT)) {
        return (coco_str_t) { NULL, 0 };
    }

    coco_message_members(object, &name, 1, &value);

    return text_take(r, &value, max);
}


/* Empty ones and those that are too long are not there. No member is taken
 * twice, so that buf has room for all. */
static coco_str_t
text_take(reader_t *r, const coco_json_value_t *value, size_t max)
{
    coco_str_t  text;

    if (!type_is(value, COCO_JSON_STRING)) {
        return (coco_str_t) { NULL, 0 };
    }

    text = coco_json_unescape(value, r->buf);

    if (text.len == 0 || text.len > max) {
        return (coco_str_t) { NULL, 0 };
    }

    r->buf += value->escaped ? text.len : 0;

    return text;
}


static bool
time_in(const reader_t *r, where_e where, members_t members, int64_t *ret)
{
    size_t                    i;
    const coco_json_value_t  *value;

    for (i = 0; members[i] != NOTHING; i++) {
        value = &r->members[where][members[i]];

        if (type_is(value, COCO_JSON_STRING)
            && coco_time_parse(ret, value->string) == COCO_OK)
        {
            return true;
        }

        if (type_is(value, COCO_JSON_NUMBER) && value->integer
            && value->int64 > 0 && value->int64 < YEAR_10000_MS)
        {
            *ret = value->int64 < SECONDS_MAX ? value->int64 * 1000
                                              : value->int64;
            return true;
        }
    }

    return false;
}


static bool
type_is(const coco_json_value_t *value, coco_json_type_e type)
{
    return coco_message_has(value) && value->type == type;
}
