/*
 * Protobuf messages of libprotobuf-c as replies: made from a row or from JSON,
 * and sent as what the caller asked for, JSON or gRPC. One description, the
 * .proto, says what is in either.
 */

#ifndef NGX_COCO_MESSAGE_H
#define NGX_COCO_MESSAGE_H

#include "ngx_coco.h"
#include "coco_json_read.h"
#include "coco_json_write.h"

#include <libpq-fe.h>
#include <protobuf-c/protobuf-c.h>

/*
 * Fills the scalar fields of a message that was initialised, in the order of
 * their numbers, from the columns of a row, text, beginning with `column`;
 * null leaves a field absent. Columns and fields have the same types (text,
 * boolean, double precision, bigint). Strings point into `result`. Returns the
 * column after them.
 */
int ngx_coco_message_row(ProtobufCMessage *message, const PGresult *result,
    int row, int column);

/* The other way: from a checked object. What has no field, and what is null,
 * is left out. NGX_DECLINED when a member has another type than its field;
 * NGX_ERROR when memory is out. What is not in the message itself is in
 * `pool`. An object may stand for a map of strings. */
ngx_int_t ngx_coco_message_read(ngx_pool_t *pool, ProtobufCMessage *message,
    const coco_json_value_t *object);

/* As a JSON object: names in lowerCamelCase, null for what is absent. May hold
 * scalars, messages, and arrays of messages. */
void ngx_coco_message_json(coco_json_out_t *out,
    const ProtobufCMessage *message);

/* Sends it, 200 or OK; returns what ngx_http_finalize_request takes. */
ngx_int_t ngx_coco_message_reply(ngx_http_request_t *r,
    const ProtobufCMessage *message);

/* A gRPC message: its five bytes of prefix, then the message, in `pool`.
 * NGX_ERROR when memory is out. */
#define NGX_COCO_MESSAGE_PREFIX  5

ngx_int_t ngx_coco_message_frame(ngx_pool_t *pool,
    const ProtobufCMessage *message, ngx_str_t *ret);

/* Reads one, without its prefix; NULL when the bytes are none of this type, a
 * string holds a NUL, or memory is out. All of it is in `pool`. */
ProtobufCMessage *ngx_coco_message_unpack(ngx_pool_t *pool,
    const ProtobufCMessageDescriptor *type, ngx_str_t *bytes);

/* The value of a string field; data NULL when it is absent. */
ngx_str_t ngx_coco_message_string(const char *value);

#endif /* NGX_COCO_MESSAGE_H */
