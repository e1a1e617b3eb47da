/*
 * Messages by their descriptors: from rows, from and to JSON and the wire.
 * Must never know what a message is about.
 */

#include "ngx_coco_message.h"
#include "ngx_coco_grpc.h"
#include "ngx_coco_reply.h"
#include "coco_message.h"


#define NGX_COCO_MESSAGE_NAME  64      /* bytes of a field's name */
#define NGX_COCO_MESSAGE_SIZE  1024    /* of most replies, in JSON */


/* Where a field of a message is kept: the value, and whether it is there. */
#define ngx_coco_message_at(message, offset)                                 \
    ((void *) ((char *) (message) + (offset)))


static void ngx_coco_message_field_read(const ProtobufCFieldDescriptor *field,
    void *value, char *text);
static const ProtobufCFieldDescriptor *ngx_coco_message_field(
    const ProtobufCMessageDescriptor *type, coco_str_t name);
static size_t ngx_coco_message_camel(char ret[NGX_COCO_MESSAGE_NAME],
    const char *name);
static ngx_int_t ngx_coco_message_value_read(ngx_pool_t *pool,
    const ProtobufCFieldDescriptor *field, void *value,
    const coco_json_value_t *json);
static ngx_int_t ngx_coco_message_string_read(ngx_pool_t *pool, char **ret,
    const coco_json_value_t *json);
static ngx_int_t ngx_coco_message_map_read(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *entry, ProtobufCMessage ***ret,
    size_t *ret_count, const coco_json_value_t *object);
static ngx_int_t ngx_coco_message_entry_read(ngx_pool_t *pool,
    ProtobufCMessage *entry, coco_str_t name, const coco_json_value_t *json);
static ngx_int_t ngx_coco_message_create(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret);
static void ngx_coco_message_reply_encode(coco_json_out_t *out, void *data);
static void ngx_coco_message_field_json(coco_json_out_t *out,
    const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
static void ngx_coco_message_value_json(coco_json_out_t *out,
    const ProtobufCFieldDescriptor *field, const void *value);
static void *ngx_coco_message_alloc(void *data, size_t size);
static void ngx_coco_message_free(void *data, void *pointer);


int
ngx_coco_message_row(ProtobufCMessage *message, const PGresult *result,
    int row, int column)
{
    unsigned                         i;
    const ProtobufCFieldDescriptor  *field;

    for (i = 0; i < message->descriptor->n_fields; i++) {
        field = &message->descriptor->fields[i];

        if (field->label == PROTOBUF_C_LABEL_REPEATED
            || field->type == PROTOBUF_C_TYPE_MESSAGE)
        {
            continue;
        }

        if (!PQgetisnull(result, row, column)) {
            ngx_coco_message_field_read(field,
                            ngx_coco_message_at(message, field->offset),
                            PQgetvalue(result, row, column));

            if (field->quantifier_offset) {
                *(protobuf_c_boolean *)
                    ngx_coco_message_at(message, field->quantifier_offset) = 1;
            }
        }

        column++;
    }

    return column;
}


static void
ngx_coco_message_field_read(const ProtobufCFieldDescriptor *field,
    void *value, char *text)
{
    switch (field->type) {

    case PROTOBUF_C_TYPE_STRING:
        *(char **) value = text;
        break;

    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *) value = *text == 't';
        break;

    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *) value = strtod(text, NULL);
        break;

    default: /* PROTOBUF_C_TYPE_INT64 */
        *(int64_t *) value = strtoll(text, NULL, 10);
    }
}


ngx_int_t
ngx_coco_message_read(ngx_pool_t *pool, ProtobufCMessage *message,
    const coco_json_value_t *object)
{
    char                             buf[COCO_MESSAGE_NAME_MAX];
    void                            *value, *present;
    size_t                           pos;
    ngx_int_t                        rc;
    coco_str_t                       name;
    coco_json_value_t                json;
    const ProtobufCFieldDescriptor  *field;

    pos = 0;

    while (coco_json_member_next(object, &pos, &name, &json)) {
        field = ngx_coco_message_field(message->descriptor,
                                       coco_message_name(name, buf));

        if (field == NULL || json.type == COCO_JSON_NULL) {
            continue;
        }

        value = ngx_coco_message_at(message, field->offset);
        present = ngx_coco_message_at(message, field->quantifier_offset);

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            rc = ngx_coco_message_map_read(pool, field->descriptor, value,
                                           present, &json);
        } else {
            rc = ngx_coco_message_value_read(pool, field, value, &json);

            if (field->quantifier_offset) {
                *(protobuf_c_boolean *) present = 1;
            }
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static const ProtobufCFieldDescriptor *
ngx_coco_message_field(const ProtobufCMessageDescriptor *type,
    coco_str_t name)
{
    char      camel[NGX_COCO_MESSAGE_NAME];
    size_t    len;
    unsigned  i;

    for (i = 0; i < type->n_fields; i++) {
        len = ngx_coco_message_camel(camel, type->fields[i].name);

        if (coco_str_equal(name, (coco_str_t) { camel, len })) {
            return &type->fields[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_coco_message_value_read(ngx_pool_t *pool,
    const ProtobufCFieldDescriptor *field, void *value,
    const coco_json_value_t *json)
{
    switch (field->type) {

    case PROTOBUF_C_TYPE_STRING:
        return ngx_coco_message_string_read(pool, value, json);

    case PROTOBUF_C_TYPE_MESSAGE:
        if (json->type != COCO_JSON_OBJECT) {
            return NGX_DECLINED;
        }

        if (ngx_coco_message_create(pool, field->descriptor, value) != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_coco_message_read(pool, *(ProtobufCMessage **) value, json);

    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *) value = json->type == COCO_JSON_TRUE;

        return json->type == COCO_JSON_TRUE || json->type == COCO_JSON_FALSE
               ? NGX_OK : NGX_DECLINED;

    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *) value = json->number;

        return json->type == COCO_JSON_NUMBER ? NGX_OK : NGX_DECLINED;

    default: /* PROTOBUF_C_TYPE_INT64 */
        *(int64_t *) value = json->int64;

        return json->type == COCO_JSON_NUMBER && json->integer
               ? NGX_OK : NGX_DECLINED;
    }
}


static ngx_int_t
ngx_coco_message_string_read(ngx_pool_t *pool, char **ret,
    const coco_json_value_t *json)
{
    char        *p;
    coco_str_t   text;

    if (json->type != COCO_JSON_STRING) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(pool, json->string.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text = coco_json_unescape(json, p);
    ngx_memmove(p, text.data, text.len);
    p[text.len] = '\0';

    *ret = p;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_message_map_read(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *entry, ProtobufCMessage ***ret,
    size_t *ret_count, const coco_json_value_t *object)
{
    size_t              n, pos;
    ngx_int_t           rc;
    coco_str_t          name;
    coco_json_value_t   json;
    ProtobufCMessage  **entries;

    if (object->type != COCO_JSON_OBJECT) {
        return NGX_DECLINED;
    }

    for (n = 0, pos = 0; coco_json_member_next(object, &pos, &name, &json); ) {
        n++;
    }

    entries = ngx_palloc(pool, (n + 1) * sizeof(ProtobufCMessage *));
    if (entries == NULL) {
        return NGX_ERROR;
    }

    for (n = 0, pos = 0; coco_json_member_next(object, &pos, &name, &json); ) {

        if (json.type == COCO_JSON_NULL) {
            continue;
        }

        if (ngx_coco_message_create(pool, entry, &entries[n]) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_coco_message_entry_read(pool, entries[n], name, &json);
        if (rc != NGX_OK) {
            return rc;
        }

        n++;
    }

    *ret = entries;
    *ret_count = n;

    return NGX_OK;
}


/* An entry of a map is a message of two fields, key and value. */

static ngx_int_t
ngx_coco_message_entry_read(ngx_pool_t *pool, ProtobufCMessage *entry,
    coco_str_t name, const coco_json_value_t *json)
{
    ngx_int_t                        rc;
    coco_json_value_t                key;
    const ProtobufCFieldDescriptor  *fields;

    ngx_memzero(&key, sizeof(coco_json_value_t));
    key.type = COCO_JSON_STRING;
    key.string = name;
    key.escaped = memchr(name.data, '\\', name.len) != NULL;

    fields = entry->descriptor->fields;

    rc = ngx_coco_message_string_read(pool,
                            ngx_coco_message_at(entry, fields[0].offset),
                            &key);

    return rc != NGX_OK ? rc
           : ngx_coco_message_string_read(pool,
                            ngx_coco_message_at(entry, fields[1].offset),
                            json);
}


static ngx_int_t
ngx_coco_message_create(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
    *ret = ngx_palloc(pool, type->sizeof_message);
    if (*ret == NULL) {
        return NGX_ERROR;
    }

    protobuf_c_message_init(type, *ret);

    return NGX_OK;
}


ngx_int_t
ngx_coco_message_reply(ngx_http_request_t *r, const ProtobufCMessage *message)
{
    ngx_str_t  frame;

    if (!ngx_coco_grpc_call(r)) {
        return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_MESSAGE_SIZE,
                                     ngx_coco_message_reply_encode,
                                     (void *) message);
    }

    if (ngx_coco_message_frame(r->pool, message, &frame) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_grpc_reply(r, &frame);
}


static void
ngx_coco_message_reply_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_message_json(out, data);
}


void
ngx_coco_message_json(coco_json_out_t *out, const ProtobufCMessage *message)
{
    char      camel[NGX_COCO_MESSAGE_NAME];
    unsigned  i;

    coco_json_object_open(out);

    for (i = 0; i < message->descriptor->n_fields; i++) {
        coco_json_key(out, camel, ngx_coco_message_camel(camel,
                                     message->descriptor->fields[i].name));
        ngx_coco_message_field_json(out, message,
                                    &message->descriptor->fields[i]);
    }

    coco_json_object_close(out);
}


/* snake_case to lowerCamelCase; returns its length. */

static size_t
ngx_coco_message_camel(char ret[NGX_COCO_MESSAGE_NAME], const char *name)
{
    size_t  len;

    for (len = 0; *name && len < NGX_COCO_MESSAGE_NAME; name++) {

        if (*name == '_') {
            name++;
            ret[len++] = ngx_toupper(*name);
            continue;
        }

        ret[len++] = *name;
    }

    return len;
}


static void
ngx_coco_message_field_json(coco_json_out_t *out,
    const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t                   i, n;
    const void              *value;
    ProtobufCMessage *const *items;

    value = ngx_coco_message_at(message, field->offset);

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        n = *(size_t *) ngx_coco_message_at(message, field->quantifier_offset);
        items = *(ProtobufCMessage *const *const *) value;

        coco_json_array_open(out);

        for (i = 0; i < n; i++) {
            ngx_coco_message_json(out, items[i]);
        }

        coco_json_array_close(out);
        return;
    }

    if (field->quantifier_offset
        && !*(protobuf_c_boolean *)
               ngx_coco_message_at(message, field->quantifier_offset))
    {
        coco_json_null(out);
        return;
    }

    ngx_coco_message_value_json(out, field, value);
}


static void
ngx_coco_message_value_json(coco_json_out_t *out,
    const ProtobufCFieldDescriptor *field, const void *value)
{
    const char              *string;
    const ProtobufCMessage  *message;

    switch (field->type) {

    case PROTOBUF_C_TYPE_STRING:
        string = *(char *const *) value;
        coco_json_string(out, string ? (coco_str_t) { string,
                                                      ngx_strlen(string) }
                                     : (coco_str_t) { NULL, 0 });
        break;

    case PROTOBUF_C_TYPE_MESSAGE:
        message = *(ProtobufCMessage *const *) value;

        if (message) {
            ngx_coco_message_json(out, message);
        } else {
            coco_json_null(out);
        }

        break;

    case PROTOBUF_C_TYPE_BOOL:
        coco_json_bool(out, *(const protobuf_c_boolean *) value);
        break;

    case PROTOBUF_C_TYPE_DOUBLE:
        coco_json_double(out, *(const double *) value);
        break;

    default: /* PROTOBUF_C_TYPE_INT64 */
        coco_json_int(out, *(const int64_t *) value);
    }
}


/* A byte that says that nothing is compressed, and the length, big-endian. */

ngx_int_t
ngx_coco_message_frame(ngx_pool_t *pool, const ProtobufCMessage *message,
    ngx_str_t *ret)
{
    size_t   len;
    u_char  *p;

    len = protobuf_c_message_get_packed_size(message);

    p = ngx_pnalloc(pool, NGX_COCO_MESSAGE_PREFIX + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ret->data = p;
    ret->len = NGX_COCO_MESSAGE_PREFIX + len;

    *p++ = 0;
    *p++ = (u_char) (len >> 24);
    *p++ = (u_char) (len >> 16);
    *p++ = (u_char) (len >> 8);
    *p++ = (u_char) len;

    protobuf_c_message_pack(message, p);

    return NGX_OK;
}


ProtobufCMessage *
ngx_coco_message_unpack(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *type, ngx_str_t *bytes)
{
    ProtobufCMessage    *message;
    ProtobufCAllocator   allocator;

    allocator.alloc = ngx_coco_message_alloc;
    allocator.free = ngx_coco_message_free;
    allocator.allocator_data = pool;

    message = protobuf_c_message_unpack(type, &allocator, bytes->len,
                                        bytes->data);

    /* strings end at their first NUL here: such a one would have become
     * another, shorter one */

    if (message && ngx_strlchr(bytes->data, bytes->data + bytes->len, '\0')
        && protobuf_c_message_get_packed_size(message) != bytes->len)
    {
        return NULL;
    }

    return message;
}


ngx_str_t
ngx_coco_message_string(const char *value)
{
    ngx_str_t  string;

    string.data = (u_char *) value;
    string.len = value ? ngx_strlen(value) : 0;

    return string;
}


static void *
ngx_coco_message_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


static void
ngx_coco_message_free(void *data, void *pointer)
{
    /* all of it goes with the pool */
}
