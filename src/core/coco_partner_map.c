/*
 * The mapping of what partners are told. Must never let through a map of which
 * a call could not be made.
 */

#include <stdio.h>
#include <strings.h>

#include "coco_partner_map.h"

#define MS_OF_DAY  86400000LL

typedef enum {
    PLACE_STATUS = 0,
    PLACE_OUR_STATUS,
    PLACE_DELIVERY,
    PLACE_EXTERNAL,
    PLACE_STORE,
    PLACE_SERIAL,
    PLACE_VEHICLE,
    PLACE_REASON,
    PLACE_TIMESTAMP,
    PLACE_TIMESTAMP_MS,
    PLACE_LATITUDE,
    PLACE_LONGITUDE,
    PLACE_LOCATED,
    PLACE_BATTERY,
    PLACE_PUSH,
    PLACES
} place_e;

/* What is read now, for errors: "uber.status.body". */
typedef struct {
    coco_partner_map_t  *map;
    const char          *partner;
    coco_error_t        *err;
} reader_t;

typedef int (*member_pt)(reader_t *r, const coco_json_value_t *value);

static int partner_read(reader_t *r, const coco_json_value_t *value);
static int members_read(reader_t *r, const coco_json_value_t *value,
    const char *const *names, const member_pt *readers, size_t count);
static int headers_read(reader_t *r, const coco_json_value_t *value);
static bool header_valid(const coco_partner_header_t *header);
static int statuses_read(reader_t *r, const coco_json_value_t *value);
static int status_form_read(reader_t *r, const coco_json_value_t *value);
static int location_form_read(reader_t *r, const coco_json_value_t *value);
static int form_read(reader_t *r, const char *name, coco_partner_form_t *form,
    const coco_json_value_t *value);
static int form_member(reader_t *r, const char *name,
    coco_partner_form_t *form, coco_str_t member,
    const coco_json_value_t *value);
static bool path_valid(coco_str_t path);
static int template_check(reader_t *r, const char *name,
    const coco_json_value_t *value);
static int fault(reader_t *r, const char *name, const char *member,
    const char *reason);
static place_e place_of(const coco_json_value_t *value);
static bool template_says(const coco_partner_map_t *map,
    const coco_partner_push_t *push, const coco_json_value_t *value);
static bool place_known(place_e place, const coco_partner_map_t *map,
    const coco_partner_push_t *push);
static void template_encode(coco_json_out_t *out,
    const coco_partner_map_t *map, const coco_partner_push_t *push,
    const coco_json_value_t *value);
static void place_encode(coco_json_out_t *out, place_e place,
    const coco_partner_map_t *map, const coco_partner_push_t *push);
static void time_encode(coco_json_out_t *out, int64_t ms);


static const char *const  places[PLACES] = {
    [PLACE_STATUS] = "$status",
    [PLACE_OUR_STATUS] = "$our_status",
    [PLACE_DELIVERY] = "$delivery_id",
    [PLACE_EXTERNAL] = "$external_delivery_id",
    [PLACE_STORE] = "$store",
    [PLACE_SERIAL] = "$serial",
    [PLACE_VEHICLE] = "$vehicle_id",
    [PLACE_REASON] = "$reason",
    [PLACE_TIMESTAMP] = "$timestamp",
    [PLACE_TIMESTAMP_MS] = "$timestamp_ms",
    [PLACE_LATITUDE] = "$latitude",
    [PLACE_LONGITUDE] = "$longitude",
    [PLACE_LOCATED] = "$location_timestamp",
    [PLACE_BATTERY] = "$battery_percent",
    [PLACE_PUSH] = "$push_id",
};


int
coco_partner_map_read(coco_partner_map_t ret[COCO_PARTNERS], coco_str_t text,
    coco_error_t *err)
{
    bool               seen[COCO_PARTNERS] = { false };
    size_t             pos = 0;
    reader_t           r = { NULL, "", err };
    coco_str_t         name;
    coco_partner_e     partner;
    coco_json_value_t  root, value;

    memset(ret, 0, sizeof(ret[0]) * COCO_PARTNERS);

    if (coco_json_read(&root, text, err) != COCO_OK) {
        return COCO_ERROR;
    }

    if (root.type != COCO_JSON_OBJECT) {
        return coco_error_set(err, "", "an object expected, with a member for "
                              "each partner");
    }

    while (coco_json_member_next(&root, &pos, &name, &value)) {
        partner = coco_partner_parse(name);

        if (partner == COCO_PARTNERS) {
            return coco_error_set(err, "", "\"%.*s\" is no partner; there are "
                                  "uber and doordash",
                                  (int) (name.len < 64 ? name.len : 64),
                                  name.data);
        }

        seen[partner] = true;
        r.map = &ret[partner];
        r.partner = coco_partner_name(partner).data;

        if (partner_read(&r, &value) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    for (int i = 0; i < COCO_PARTNERS; i++) {
        if (!seen[i]) {
            return coco_error_set(err, coco_partner_name(i).data, "missing");
        }
    }

    return COCO_OK;
}


static int
partner_read(reader_t *r, const coco_json_value_t *value)
{
    static const char *const  names[] = { "statuses", "status", "location",
                                          "headers" };
    static const member_pt    readers[] = { statuses_read, status_form_read,
                                            location_form_read,
                                            headers_read };

    if (value->type != COCO_JSON_OBJECT) {
        return fault(r, NULL, NULL, "an object expected");
    }

    return members_read(r, value, names, readers, 4);
}


/* The last of them may be missing. */
static int
members_read(reader_t *r, const coco_json_value_t *value,
    const char *const *names, const member_pt *readers, size_t count)
{
    size_t             i, pos = 0, seen = 0;
    coco_str_t         name;
    coco_json_value_t  member;

    while (coco_json_member_next(value, &pos, &name, &member)) {

        for (i = 0; i < count; i++) {
            if (strlen(names[i]) == name.len
                && memcmp(names[i], name.data, name.len) == 0)
            {
                break;
            }
        }

        if (i == count) {
            return fault(r, NULL, NULL, "has a member other than statuses, "
                         "status, location and headers");
        }

        seen |= (size_t) 1 << i;

        if (readers[i](r, &member) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    for (i = 0; i < count - 1; i++) {
        if (!(seen & (size_t) 1 << i)) {
            return fault(r, names[i], NULL, "missing");
        }
    }

    return COCO_OK;
}


static int
headers_read(reader_t *r, const coco_json_value_t *value)
{
    size_t                  pos = 0;
    coco_str_t              name;
    coco_json_value_t       text;
    coco_partner_header_t  *header;

    if (value->type != COCO_JSON_OBJECT) {
        return fault(r, "headers", NULL, "an object of strings expected");
    }

    while (coco_json_member_next(value, &pos, &name, &text)) {
        if (r->map->header_count == COCO_PARTNER_HEADERS_MAX) {
            return fault(r, "headers", NULL, "too many; eight at most");
        }

        if (text.type != COCO_JSON_STRING || text.escaped) {
            return fault(r, "headers", NULL, "strings without escapes "
                         "expected");
        }

        header = &r->map->headers[r->map->header_count++];
        header->name = name;
        header->value = text.string;

        if (!header_valid(header)) {
            return fault(r, "headers", NULL, "a name of letters, digits and "
                         "hyphens expected, with a value in ASCII; the sender "
                         "sets Authorization, Content-…, Host and "
                         "Idempotency-Key itself");
        }
    }

    return COCO_OK;
}


static bool
header_valid(const coco_partner_header_t *header)
{
    size_t                   i;
    char                     c;
    static const coco_str_t  ours[] = {
        coco_string("authorization"), coco_string("content-type"),
        coco_string("content-length"), coco_string("host"),
        coco_string("idempotency-key"), coco_string("transfer-encoding"),
    };

    for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ours[i].len == header->name.len
            && strncasecmp(ours[i].data, header->name.data, ours[i].len) == 0)
        {
            return false;
        }
    }

    for (i = 0; i < header->name.len; i++) {
        c = (char) (header->name.data[i] | 0x20);

        if (!(c >= 'a' && c <= 'z') && header->name.data[i] != '-'
            && !(header->name.data[i] >= '0' && header->name.data[i] <= '9'))
        {
            return false;
        }
    }

    for (i = 0; i < header->value.len; i++) {
        c = header->value.data[i];

        if (c < ' ' || c > '~') {
            return false;
        }
    }

    return header->name.len > 0 && header->value.len > 0;
}


static int
statuses_read(reader_t *r, const coco_json_value_t *value)
{
    bool                    seen[COCO_DELIVERY_STATUSES] = { false };
    size_t                  pos = 0;
    coco_str_t              name;
    coco_json_value_t       word;
    coco_delivery_status_e  status;

    if (value->type != COCO_JSON_OBJECT) {
        return fault(r, "statuses", NULL, "an object expected");
    }

    while (coco_json_member_next(value, &pos, &name, &word)) {
        status = coco_delivery_status_parse(name);

        if (status == COCO_DELIVERY_NONE) {
            return fault(r, "statuses", NULL, "has a name that is no status "
                         "of a delivery");
        }

        if (word.type != COCO_JSON_STRING && word.type != COCO_JSON_NULL) {
            return fault(r, "statuses", NULL, "each is the partner's word, or "
                         "null where it is not told");
        }

        seen[status] = true;

        if (word.type == COCO_JSON_STRING) {
            r->map->statuses[status] = word.text;
        }
    }

    for (int i = COCO_DELIVERY_NONE + 1; i < COCO_DELIVERY_STATUSES; i++) {
        if (!seen[i]) {
            return fault(r, "statuses", coco_delivery_status_name(i).data,
                         "missing; null: it is not told");
        }
    }

    return COCO_OK;
}


static int
status_form_read(reader_t *r, const coco_json_value_t *value)
{
    return form_read(r, "status", &r->map->forms[COCO_PARTNER_STATUS], value);
}


static int
location_form_read(reader_t *r, const coco_json_value_t *value)
{
    if (value->type == COCO_JSON_NULL) {
        return COCO_OK;
    }

    return form_read(r, "location", &r->map->forms[COCO_PARTNER_LOCATION],
                     value);
}


static int
form_read(reader_t *r, const char *name, coco_partner_form_t *form,
    const coco_json_value_t *value)
{
    size_t             pos = 0;
    coco_str_t         member;
    coco_json_value_t  v;

    if (value->type != COCO_JSON_OBJECT) {
        return fault(r, name, NULL, "an object of method, path and body "
                     "expected");
    }

    while (coco_json_member_next(value, &pos, &member, &v)) {
        if (form_member(r, name, form, member, &v) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    if (form->method.data == NULL) {
        return fault(r, name, "method", "missing");
    }

    if (form->path.data == NULL) {
        return fault(r, name, "path", "missing");
    }

    if (form->body.text.data == NULL) {
        return fault(r, name, "body", "missing");
    }

    form->told = true;

    return COCO_OK;
}


static int
form_member(reader_t *r, const char *name, coco_partner_form_t *form,
    coco_str_t member, const coco_json_value_t *value)
{
    if (coco_str_equal(member, coco_string("method"))) {
        form->method = value->string;

        return value->type == COCO_JSON_STRING
               && (coco_str_equal(value->string, coco_string("POST"))
                   || coco_str_equal(value->string, coco_string("PUT"))
                   || coco_str_equal(value->string, coco_string("PATCH")))
               ? COCO_OK : fault(r, name, "method",
                                 "POST, PUT or PATCH expected");
    }

    if (coco_str_equal(member, coco_string("path"))) {
        form->path = value->string;

        return value->type == COCO_JSON_STRING && !value->escaped
               && path_valid(value->string)
               ? COCO_OK : fault(r, name, "path", "a path that begins with / "
                                 "expected, as it stands in a URL");
    }

    if (coco_str_equal(member, coco_string("body"))) {
        form->body = *value;

        return value->type == COCO_JSON_OBJECT
               ? template_check(r, name, value)
               : fault(r, name, "body", "an object expected");
    }

    return fault(r, name, NULL, "has a member other than method, path and "
                 "body");
}


static bool
path_valid(coco_str_t path)
{
    if (path.len == 0 || path.data[0] != '/') {
        return false;
    }

    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] <= ' ' || path.data[i] > '~' || path.data[i] == '#') {
            return false;
        }
    }

    return true;
}


static int
template_check(reader_t *r, const char *name, const coco_json_value_t *value)
{
    size_t             pos = 0;
    coco_str_t         member;
    coco_json_value_t  v;

    if (value->type == COCO_JSON_STRING && value->string.len > 0
        && value->string.data[0] == '$' && place_of(value) == PLACES)
    {
        return fault(r, name, "body", "has a placeholder that is not known; "
                     "docs/partners.md lists them all");
    }

    if (value->type == COCO_JSON_OBJECT) {
        while (coco_json_member_next(value, &pos, &member, &v)) {
            if (template_check(r, name, &v) != COCO_OK) {
                return COCO_ERROR;
            }
        }
    }

    if (value->type == COCO_JSON_ARRAY) {
        while (coco_json_element_next(value, &pos, &v)) {
            if (template_check(r, name, &v) != COCO_OK) {
                return COCO_ERROR;
            }
        }
    }

    return COCO_OK;
}


static int
fault(reader_t *r, const char *name, const char *member, const char *reason)
{
    char  field[64];

    snprintf(field, sizeof(field), "%s%s%s%s%s", r->partner,
             name ? "." : "", name ? name : "", member ? "." : "",
             member ? member : "");

    return coco_error_set(r->err, field, "%s", reason);
}


static place_e
place_of(const coco_json_value_t *value)
{
    int  i;

    if (value->type != COCO_JSON_STRING) {
        return PLACES;
    }

    for (i = 0; i < PLACES; i++) {
        if (strlen(places[i]) == value->string.len
            && memcmp(places[i], value->string.data, value->string.len) == 0)
        {
            break;
        }
    }

    return (place_e) i;
}


bool
coco_partner_map_told(const coco_partner_map_t *map, coco_partner_kind_e kind,
    coco_delivery_status_e status)
{
    return map->forms[kind].told
           && (kind != COCO_PARTNER_STATUS
               || map->statuses[status].data != NULL);
}


void
coco_partner_map_encode(coco_json_out_t *out, const coco_partner_map_t *map,
    coco_partner_kind_e kind, const coco_partner_push_t *push)
{
    template_encode(out, map, push, &map->forms[kind].body);
}


static bool
template_says(const coco_partner_map_t *map, const coco_partner_push_t *push,
    const coco_json_value_t *value)
{
    bool               empty = true;
    size_t             pos = 0;
    place_e            place = place_of(value);
    coco_str_t         member;
    coco_json_value_t  v;

    if (place != PLACES) {
        return place_known(place, map, push);
    }

    if (value->type != COCO_JSON_OBJECT && value->type != COCO_JSON_ARRAY) {
        return true;
    }

    while (value->type == COCO_JSON_OBJECT
           ? coco_json_member_next(value, &pos, &member, &v)
           : coco_json_element_next(value, &pos, &v))
    {
        if (template_says(map, push, &v)) {
            return true;
        }

        empty = false;
    }

    return empty;
}


static bool
place_known(place_e place, const coco_partner_map_t *map,
    const coco_partner_push_t *push)
{
    switch (place) {
    case PLACE_STATUS:
        return map->statuses[push->status].data != NULL;
    case PLACE_EXTERNAL:
        return push->external_id.data != NULL;
    case PLACE_STORE:
        return push->store.data != NULL;
    case PLACE_SERIAL:
        return push->serial.data != NULL;
    case PLACE_VEHICLE:
        return push->vehicle.data != NULL || push->serial.data != NULL;
    case PLACE_REASON:
        return push->reason.data != NULL;
    case PLACE_LATITUDE:
    case PLACE_LONGITUDE:
    case PLACE_LOCATED:
        return push->located;
    case PLACE_BATTERY:
        return push->has_battery;
    default:
        return true;
    }
}


static void
template_encode(coco_json_out_t *out, const coco_partner_map_t *map,
    const coco_partner_push_t *push, const coco_json_value_t *value)
{
    size_t             pos = 0;
    place_e            place = place_of(value);
    coco_str_t         member;
    coco_json_value_t  v;

    if (place != PLACES) {
        place_encode(out, place, map, push);

    } else if (value->type == COCO_JSON_OBJECT) {
        coco_json_object_open(out);

        while (coco_json_member_next(value, &pos, &member, &v)) {
            if (template_says(map, push, &v)) {
                coco_json_key(out, member.data, member.len);
                template_encode(out, map, push, &v);
            }
        }

        coco_json_object_close(out);

    } else if (value->type == COCO_JSON_ARRAY) {
        coco_json_array_open(out);

        while (coco_json_element_next(value, &pos, &v)) {
            if (template_says(map, push, &v)) {
                template_encode(out, map, push, &v);
            }
        }

        coco_json_array_close(out);

    } else {
        coco_json_json(out, value->text);
    }
}


static void
place_encode(coco_json_out_t *out, place_e place,
    const coco_partner_map_t *map, const coco_partner_push_t *push)
{
    switch (place) {
    case PLACE_STATUS:
        coco_json_json(out, map->statuses[push->status]);
        break;
    case PLACE_OUR_STATUS:
        coco_json_string(out, coco_delivery_status_name(push->status));
        break;
    case PLACE_DELIVERY:
        coco_json_id(out, &push->delivery_id);
        break;
    case PLACE_EXTERNAL:
        coco_json_string(out, push->external_id);
        break;
    case PLACE_STORE:
        coco_json_string(out, push->store);
        break;
    case PLACE_SERIAL:
        coco_json_string(out, push->serial);
        break;
    case PLACE_VEHICLE:
        coco_json_string(out, push->vehicle.data ? push->vehicle
                                                 : push->serial);
        break;
    case PLACE_REASON:
        coco_json_string(out, push->reason);
        break;
    case PLACE_TIMESTAMP:
        time_encode(out, push->ts);
        break;
    case PLACE_TIMESTAMP_MS:
        coco_json_int(out, push->ts);
        break;
    case PLACE_LATITUDE:
        coco_json_double(out, push->latitude);
        break;
    case PLACE_LONGITUDE:
        coco_json_double(out, push->longitude);
        break;
    case PLACE_LOCATED:
        time_encode(out, push->located_at);
        break;
    case PLACE_BATTERY:
        coco_json_double(out, push->battery_percent);
        break;
    default:
        coco_json_id(out, &push->id);
        break;
    }
}


/* RFC 3339, in UTC: "2026-11-22T14:52:00.000Z". Years of four digits; days
 * are counted from March, so that February ends the year. */
static void
time_encode(coco_json_out_t *out, int64_t ms)
{
    int      len, month;
    char     text[40];
    int64_t  days, of_day, era, of_era, year, of_year;

    days = ms / MS_OF_DAY - (ms % MS_OF_DAY < 0);
    of_day = ms - days * MS_OF_DAY;

    days += 719468;             /* from 0000-03-01 on */
    era = (days >= 0 ? days : days - 146096) / 146097;
    of_era = days - era * 146097;
    year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year + year / 4 - year / 100);
    month = (int) ((5 * of_year + 2) / 153);

    len = snprintf(text, sizeof(text),
                   "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                   (int) (year + era * 400 + (month >= 10)),
                   month < 10 ? month + 3 : month - 9,
                   (int) (of_year - (153 * month + 2) / 5 + 1),
                   (int) (of_day / 3600000), (int) (of_day / 60000 % 60),
                   (int) (of_day / 1000 % 60), (int) (of_day % 1000));

    coco_json_string(out, (coco_str_t) { text, (size_t) len });
}
