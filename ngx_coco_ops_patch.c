/*
 * The body of PATCH /robots/{serial}: what may be said, member by member.
 * Changes nothing itself.
 */

#include "ngx_coco_ops_patch.h"
#include "coco_heartbeat.h"
#include "coco_json_read.h"
#include "coco_json_write.h"
#include "coco_message.h"


#define NGX_COCO_DEPLOYED_ID_MAX  64


/* NULL, or what the value must be. */
typedef const char *(*ngx_coco_patch_check_pt)(const coco_json_value_t *value);

typedef struct {
    coco_str_t                name;
    const char               *column;
    ngx_coco_patch_check_pt   check;        /* NULL: a place */
} ngx_coco_patch_member_t;


static ngx_int_t ngx_coco_patch_member(const coco_json_value_t *value,
    const ngx_coco_patch_member_t *member, const char *field,
    ngx_array_t *errors);
static ngx_int_t ngx_coco_patch_deployed(const coco_json_value_t *value,
    const char *field, ngx_array_t *errors);
static const char *ngx_coco_patch_flag(const coco_json_value_t *value);
static const char *ngx_coco_patch_state(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_type(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_id(const coco_json_value_t *value);
static const char *ngx_coco_patch_latitude(const coco_json_value_t *value);
static const char *ngx_coco_patch_longitude(const coco_json_value_t *value);
static const ngx_coco_patch_member_t *ngx_coco_patch_find(
    const ngx_coco_patch_member_t *members, coco_str_t name);
static ngx_int_t ngx_coco_patch_unknown(coco_str_t name, const char *prefix,
    ngx_array_t *errors);
static ngx_int_t ngx_coco_patch_bad(const char *field, const char *reason,
    ngx_array_t *errors);


static const ngx_coco_patch_member_t  ngx_coco_patch_members[] = {
    { coco_string("operationState"), "operation_state", ngx_coco_patch_state },
    { coco_string("needsMovement"), "needs_movement", ngx_coco_patch_flag },
    { coco_string("undergoingMaintenance"), "undergoing_maintenance",
      ngx_coco_patch_flag },
    { coco_string("needsMaintenance"), "needs_maintenance",
      ngx_coco_patch_flag },
    { coco_string("needsPickup"), "needs_pickup", ngx_coco_patch_flag },
    { coco_string("hasFood"), "has_food", ngx_coco_patch_flag },
    { coco_string("driveable"), "driveable", ngx_coco_patch_flag },
    { coco_string("deployed"), "deployed", NULL },
    { { NULL, 0 }, NULL, NULL }
};


/* here `column` is the path that errors name */
static const ngx_coco_patch_member_t  ngx_coco_patch_place[] = {
    { coco_string("type"), "deployed.type", ngx_coco_patch_place_type },
    { coco_string("id"), "deployed.id", ngx_coco_patch_place_id },
    { coco_string("latitude"), "deployed.latitude", ngx_coco_patch_latitude },
    { coco_string("longitude"), "deployed.longitude",
      ngx_coco_patch_longitude },
    { { NULL, 0 }, NULL, NULL }
};


ngx_int_t
ngx_coco_patch_read(ngx_pool_t *pool, const ngx_str_t *body,
    ngx_str_t *ret_changes, ngx_array_t *errors)
{
    char                           *start;
    size_t                          pos, size;
    ngx_int_t                       rc;
    coco_str_t                      name;
    coco_error_t                    err;
    coco_json_out_t                 out;
    coco_json_value_t               object, value;
    const ngx_coco_patch_member_t  *member;

    if (coco_message_read(&object, ngx_coco_str(*body), &err) != COCO_OK) {
        rc = ngx_coco_patch_bad(err.field, err.reason, errors);
        return rc == NGX_OK ? NGX_DECLINED : rc;
    }

    /* a column's name is a byte longer than its member's */

    size = body->len + sizeof(ngx_coco_patch_members)
                       / sizeof(ngx_coco_patch_members[0]);
    start = ngx_pnalloc(pool, size);

    if (start == NULL) {
        return NGX_ERROR;
    }

    coco_json_out_init(&out, start, size);
    coco_json_object_open(&out);

    pos = 0;

    while (coco_json_member_next(&object, &pos, &name, &value)) {
        member = ngx_coco_patch_find(ngx_coco_patch_members, name);

        if (member == NULL) {
            rc = ngx_coco_patch_unknown(name, "", errors);

        } else {
            rc = ngx_coco_patch_member(&value, member, member->name.data,
                                       errors);

            coco_json_key(&out, member->column, ngx_strlen(member->column));
            coco_json_json(&out, value.text);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    coco_json_object_close(&out);

    if (pos == 0
        && ngx_coco_patch_bad("", "at least one member must be given", errors)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (errors->nelts) {
        return NGX_DECLINED;
    }

    if (!coco_json_out_ok(&out)) {
        return NGX_ERROR;
    }

    ret_changes->data = (u_char *) start;
    ret_changes->len = out.len;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_patch_member(const coco_json_value_t *value,
    const ngx_coco_patch_member_t *member, const char *field,
    ngx_array_t *errors)
{
    const char  *reason;

    if (member->check == NULL) {
        return ngx_coco_patch_deployed(value, field, errors);
    }

    reason = member->check(value);

    return reason ? ngx_coco_patch_bad(field, reason, errors) : NGX_OK;
}


static ngx_int_t
ngx_coco_patch_deployed(const coco_json_value_t *value, const char *field,
    ngx_array_t *errors)
{
    size_t                          pos;
    ngx_int_t                       rc;
    coco_str_t                      name;
    ngx_uint_t                      seen;
    coco_json_value_t               v;
    const ngx_coco_patch_member_t  *member;

    if (value->type == COCO_JSON_NULL) {
        return NGX_OK;
    }

    if (value->type != COCO_JSON_OBJECT) {
        return ngx_coco_patch_bad(field, "must be null or an object of type, "
                                  "id, latitude and longitude", errors);
    }

    pos = 0;
    seen = 0;

    while (coco_json_member_next(value, &pos, &name, &v)) {
        member = ngx_coco_patch_find(ngx_coco_patch_place, name);

        if (member == NULL) {
            rc = ngx_coco_patch_unknown(name, "deployed.", errors);

        } else {
            rc = ngx_coco_patch_member(&v, member, member->column, errors);
            seen |= 1 << (member - ngx_coco_patch_place);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    for (member = ngx_coco_patch_place; member->column; member++) {
        if (!(seen & (1 << (member - ngx_coco_patch_place)))
            && ngx_coco_patch_bad(member->column, "is missing", errors)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static const char *
ngx_coco_patch_flag(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_TRUE || value->type == COCO_JSON_FALSE
           || value->type == COCO_JSON_NULL
           ? NULL : "must be true, false, or null to clear it";
}


static const char *
ngx_coco_patch_state(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && coco_state_parse(value->string) != COCO_STATE_NONE
           ? NULL : "must be one of GROUNDED, ON_TRIP, PARKED, OFF_DUTY, "
                    "DEPLOYED";
}


static const char *
ngx_coco_patch_place_type(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("PARKING_LOT"))
               || coco_str_equal(value->string, coco_string("MRO"))
               || coco_str_equal(value->string, coco_string("POD")))
           ? NULL : "must be PARKING_LOT, MRO or POD";
}


static const char *
ngx_coco_patch_place_id(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING && value->string.len > 0
           && value->string.len <= NGX_COCO_DEPLOYED_ID_MAX
           ? NULL : "must be a string of 1 to 64 bytes";
}


static const char *
ngx_coco_patch_latitude(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER
           && value->number >= -90 && value->number <= 90
           ? NULL : "must be a number from -90 to 90";
}


static const char *
ngx_coco_patch_longitude(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER
           && value->number >= -180 && value->number <= 180
           ? NULL : "must be a number from -180 to 180";
}


/* The longest known name, each character escaped, is shorter than buf. */

static const ngx_coco_patch_member_t *
ngx_coco_patch_find(const ngx_coco_patch_member_t *members, coco_str_t name)
{
    char               buf[128];
    coco_json_value_t  value;

    if (name.len >= sizeof(buf)) {
        return NULL;
    }

    value.string = name;
    value.escaped = memchr(name.data, '\\', name.len) != NULL;
    name = coco_json_unescape(&value, buf);

    for ( /* void */ ; members->column; members++) {
        if (coco_str_equal(name, members->name)) {
            return members;
        }
    }

    return NULL;
}


/* name is shown as it stands in the text, escapes included. */

static ngx_int_t
ngx_coco_patch_unknown(coco_str_t name, const char *prefix,
    ngx_array_t *errors)
{
    char  field[sizeof(((coco_error_t *) 0)->field)];

    snprintf(field, sizeof(field), "%s%.*s", prefix, (int) name.len,
             name.data);

    return ngx_coco_patch_bad(field, "is not known, or cannot be set", errors);
}


static ngx_int_t
ngx_coco_patch_bad(const char *field, const char *reason, ngx_array_t *errors)
{
    coco_error_t  *err;

    err = ngx_array_push(errors);
    if (err == NULL) {
        return NGX_ERROR;
    }

    (void) coco_error_set(err, field, "%s", reason);

    return NGX_OK;
}
