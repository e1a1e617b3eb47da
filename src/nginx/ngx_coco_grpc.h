/*
 * Unary gRPC calls over nginx's own HTTP/2: the framing, the statuses, the
 * deadlines. The requests of a location of coco_grpc are calls; whoever
 * answers one uses the replies that HTTP uses, and they come out as statuses.
 */

#ifndef NGX_COCO_GRPC_H
#define NGX_COCO_GRPC_H

#include "ngx_coco.h"
#include "ngx_coco_message.h"

/* Of a request's message, bytes: what a call asks for are names. */
#define NGX_COCO_GRPC_MESSAGE_MAX  16384

/* Returns what ngx_http_finalize_request takes. `request` is in r->pool. */
typedef ngx_int_t (*ngx_coco_grpc_handler_pt)(ngx_http_request_t *r,
    const ProtobufCMessage *request);

typedef struct {
    ngx_str_t                          path;    /* "/package.Service/Method" */
    ngx_str_t                          scope;
    const ProtobufCMessageDescriptor  *request;
    ngx_coco_grpc_handler_pt           handler;
} ngx_coco_grpc_method_t;

/*
 * The content handler's whole work: what is no gRPC over HTTP/2 is refused by
 * HTTP's own statuses (405, 415), everything later by gRPC's: the method, the
 * deadline, the token, the message. `methods` ends with an empty path. Errors
 * of nginx's own, which error_page sends to such a location, become statuses.
 */
ngx_int_t ngx_coco_grpc_handle(ngx_http_request_t *r,
    const ngx_coco_grpc_method_t *methods);

/* The request is a call: replies to it are messages and statuses. */
ngx_uint_t ngx_coco_grpc_call(ngx_http_request_t *r);

/* What the caller still waits, ms, or `most` when that is less or it waits
 * without end; at least 1. */
ngx_msec_t ngx_coco_grpc_left(ngx_http_request_t *r, ngx_msec_t most);

/* Sends a frame (ngx_coco_message_frame(), in r->pool) and OK. */
ngx_int_t ngx_coco_grpc_reply(ngx_http_request_t *r, ngx_str_t *frame);

/* Sends the status that stands for one of HTTP; detail is NUL-terminated.
 * What the caller no longer waited for is DEADLINE_EXCEEDED. */
ngx_int_t ngx_coco_grpc_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail);

/* Holds the calls' contexts. */
extern ngx_module_t  ngx_coco_grpc_module;

#endif /* NGX_COCO_GRPC_H */
