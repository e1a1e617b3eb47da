/*
 * Request bodies that are a JSON object, checked by a table. Never knows what
 * a member means.
 */

#include "ngx_coco_body.h"
#include "ngx_coco_reply.h"
#include "coco_json_write.h"
#include "coco_message.h"


#define NGX_COCO_BODY_STRING_MAX  256


/* One object of a body, being checked. */
typedef struct {
    const ngx_coco_body_member_t  *members;
    const char                    *path;      /* NUL-terminated, "pickup." */
    coco_json_out_t               *out;       /* NULL: put out by its parent */
    ngx_array_t                   *errors;
} ngx_coco_body_object_t;


static ngx_int_t ngx_coco_body_object(const ngx_coco_body_object_t *object,
    const coco_json_value_t *value);
static ngx_int_t ngx_coco_body_member(const ngx_coco_body_object_t *object,
    const ngx_coco_body_member_t *member, const coco_json_value_t *value);
static const ngx_coco_body_member_t *ngx_coco_body_find(
    const ngx_coco_body_member_t *members, coco_str_t name);
static ngx_int_t ngx_coco_body_bad(const ngx_coco_body_object_t *object,
    coco_str_t name, const char *reason);


ngx_int_t
ngx_coco_body_read(ngx_pool_t *pool, const ngx_str_t *body,
    const ngx_coco_body_member_t *members, ngx_str_t *ret,
    ngx_array_t *errors)
{
    char                          *start;
    size_t                         size;
    coco_str_t                     text;
    coco_error_t                   err, *e;
    coco_json_out_t                out;
    coco_json_value_t              value;
    ngx_coco_body_object_t         object;
    const ngx_coco_body_member_t  *m;

    text = body->len ? ngx_coco_str(*body) : coco_string("{}");

    if (coco_message_read(&value, text, &err) != COCO_OK) {
        e = ngx_array_push(errors);
        if (e == NULL) {
            return NGX_ERROR;
        }

        *e = err;
        return NGX_DECLINED;
    }

    size = text.len;

    for (m = members; m->name.data; m++) {
        size += m->column ? ngx_strlen(m->column) : 0;
    }

    start = ngx_pnalloc(pool, size);
    if (start == NULL) {
        return NGX_ERROR;
    }

    coco_json_out_init(&out, start, size);

    object.members = members;
    object.path = "";
    object.out = &out;
    object.errors = errors;

    if (ngx_coco_body_object(&object, &value) != NGX_OK
        || !coco_json_out_ok(&out))
    {
        return NGX_ERROR;
    }

    ret->data = (u_char *) start;
    ret->len = out.len;

    return errors->nelts ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_coco_body_take(ngx_http_request_t *r, const ngx_str_t *body,
    const ngx_coco_body_member_t *members, ngx_str_t *ret, ngx_int_t *ret_rc)
{
    ngx_int_t    rc;
    ngx_array_t  errors;

    *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    if (ngx_array_init(&errors, r->pool, 4, sizeof(coco_error_t)) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_coco_body_read(r->pool, body, members, ret, &errors);

    if (rc == NGX_DECLINED) {
        *ret_rc = ngx_coco_reply_bad_fields(r, errors.elts, errors.nelts);
    }

    return rc == NGX_OK ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_coco_body_check(const coco_json_value_t *value,
    const ngx_coco_body_member_t *members, const char *path,
    ngx_array_t *errors)
{
    ngx_coco_body_object_t  object;

    object.members = members;
    object.path = path;
    object.out = NULL;
    object.errors = errors;

    return ngx_coco_body_object(&object, value);
}


static ngx_int_t
ngx_coco_body_object(const ngx_coco_body_object_t *object,
    const coco_json_value_t *value)
{
    size_t                         pos;
    ngx_int_t                      rc;
    coco_str_t                     name;
    ngx_uint_t                     seen;
    coco_json_value_t              v;
    const ngx_coco_body_member_t  *m;

    pos = 0;
    seen = 0;

    if (object->out) {
        coco_json_object_open(object->out);
    }

    while (coco_json_member_next(value, &pos, &name, &v)) {
        m = ngx_coco_body_find(object->members, name);

        if (m == NULL) {
            /* shown as it stands in the text, escapes included */
            rc = ngx_coco_body_bad(object, name,
                                   "is not known, or cannot be set");
        } else {
            rc = ngx_coco_body_member(object, m, &v);
            seen |= 1 << (m - object->members);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (m = object->members; m->name.data; m++) {
        if (m->required && !(seen & (1 << (m - object->members)))
            && ngx_coco_body_bad(object, m->name, "is missing") != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (object->out) {
        coco_json_object_close(object->out);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_coco_body_member(const ngx_coco_body_object_t *object,
    const ngx_coco_body_member_t *member, const coco_json_value_t *value)
{
    char                    path[sizeof(((coco_error_t *) 0)->field)];
    const char             *reason;
    ngx_coco_body_object_t  inner;

    if (object->out) {
        if (member->column) {
            coco_json_key(object->out, member->column,
                          ngx_strlen(member->column));
        } else {
            coco_json_key(object->out, member->name.data, member->name.len);
        }

        coco_json_json(object->out, value->text);
    }

    if (member->nullable && value->type == COCO_JSON_NULL) {
        return NGX_OK;
    }

    if (member->check) {
        reason = member->check(value);
        return reason ? ngx_coco_body_bad(object, member->name, reason)
                      : NGX_OK;
    }

    if (value->type != COCO_JSON_OBJECT) {
        return ngx_coco_body_bad(object, member->name, "must be an object");
    }

    snprintf(path, sizeof(path), "%s%.*s.", object->path,
             (int) member->name.len, member->name.data);

    inner.members = member->members;
    inner.path = path;
    inner.out = NULL;
    inner.errors = object->errors;

    return ngx_coco_body_object(&inner, value);
}


/* The longest known name, each character escaped, is shorter than buf. */

static const ngx_coco_body_member_t *
ngx_coco_body_find(const ngx_coco_body_member_t *members, coco_str_t name)
{
    char               buf[128];
    coco_json_value_t  value;

    if (name.len >= sizeof(buf)) {
        return NULL;
    }

    value.string = name;
    value.escaped = memchr(name.data, '\\', name.len) != NULL;
    name = coco_json_unescape(&value, buf);

    for ( /* void */ ; members->name.data; members++) {
        if (coco_str_equal(name, members->name)) {
            return members;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_coco_body_bad(const ngx_coco_body_object_t *object, coco_str_t name,
    const char *reason)
{
    char           field[sizeof(((coco_error_t *) 0)->field)];
    coco_error_t  *err;

    err = ngx_array_push(object->errors);
    if (err == NULL) {
        return NGX_ERROR;
    }

    snprintf(field, sizeof(field), "%s%.*s", object->path, (int) name.len,
             name.data);

    (void) coco_error_set(err, field, "%s", reason);

    return NGX_OK;
}


bool
ngx_coco_body_string(const coco_json_value_t *value, size_t max)
{
    char        buf[6 * NGX_COCO_BODY_STRING_MAX];
    coco_str_t  text;

    /* an escape is six characters at most for a byte or more */

    if (value->type != COCO_JSON_STRING || value->string.len > 6 * max
        || value->string.len > sizeof(buf))
    {
        return false;
    }

    text = coco_json_unescape(value, buf);

    return text.len > 0 && text.len <= max;
}


const char *
ngx_coco_body_latitude(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER
           && value->number >= -90 && value->number <= 90
           ? NULL : "must be a number from -90 to 90";
}


const char *
ngx_coco_body_longitude(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER
           && value->number >= -180 && value->number <= 180
           ? NULL : "must be a number from -180 to 180";
}


const char *
ngx_coco_body_serial(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING && coco_serial_valid(value->string)
           ? NULL : "must be 1 to 64 of [A-Za-z0-9._-]";
}
