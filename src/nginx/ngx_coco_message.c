/*
 * Messages by their descriptors: from rows, to JSON, to and from the wire.
 * Must never know what a message is about.
 */

#include "ngx_coco_message.h"
#include "ngx_coco_grpc.h"
#include "ngx_coco_reply.h"


#define NGX_COCO_MESSAGE_NAME  64      /* bytes of a field's name */
#define NGX_COCO_MESSAGE_SIZE  1024    /* of most replies, in JSON */


/* Where a field of a message is kept: the value, and whether it is there. */
#define ngx_coco_message_at(message, offset)                                 \
    ((void *) ((char *) (message) + (offset)))


static void ngx_coco_message_field_read(const ProtobufCFieldDescriptor *field,
    void *value, char *text);
static void ngx_coco_message_reply_encode(coco_json_out_t *out, void *data);
static void ngx_coco_message_name(coco_json_out_t *out, const char *name);
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
    unsigned  i;

    coco_json_object_open(out);

    for (i = 0; i < message->descriptor->n_fields; i++) {
        ngx_coco_message_name(out, message->descriptor->fields[i].name);
        ngx_coco_message_field_json(out, message,
                                    &message->descriptor->fields[i]);
    }

    coco_json_object_close(out);
}


/* snake_case to lowerCamelCase */

static void
ngx_coco_message_name(coco_json_out_t *out, const char *name)
{
    char    camel[NGX_COCO_MESSAGE_NAME];
    size_t  len;

    for (len = 0; *name && len < sizeof(camel); name++) {

        if (*name == '_') {
            name++;
            camel[len++] = ngx_toupper(*name);
            continue;
        }

        camel[len++] = *name;
    }

    coco_json_key(out, camel, len);
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
