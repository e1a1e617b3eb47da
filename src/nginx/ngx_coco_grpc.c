/*
 * Unary gRPC over nginx's HTTP/2, after the protocol's description
 * ("gRPC over HTTP2"). Must never know a method's meaning.
 */

#include "ngx_coco_grpc.h"
#include "ngx_coco_args.h"
#include "ngx_coco_auth.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"


#define NGX_COCO_GRPC_TIMEOUT_DIGITS  8


typedef enum {
    NGX_COCO_GRPC_OK = 0,
    NGX_COCO_GRPC_UNKNOWN = 2,
    NGX_COCO_GRPC_INVALID_ARGUMENT = 3,
    NGX_COCO_GRPC_DEADLINE_EXCEEDED = 4,
    NGX_COCO_GRPC_NOT_FOUND = 5,
    NGX_COCO_GRPC_ALREADY_EXISTS = 6,
    NGX_COCO_GRPC_PERMISSION_DENIED = 7,
    NGX_COCO_GRPC_RESOURCE_EXHAUSTED = 8,
    NGX_COCO_GRPC_UNIMPLEMENTED = 12,
    NGX_COCO_GRPC_INTERNAL = 13,
    NGX_COCO_GRPC_UNAVAILABLE = 14,
    NGX_COCO_GRPC_UNAUTHENTICATED = 16
} ngx_coco_grpc_status_e;


typedef struct {
    const ngx_coco_grpc_method_t  *method;
    ngx_msec_t                     deadline;
    unsigned                       limited:1;    /* there is a deadline */
} ngx_coco_grpc_ctx_t;


static ngx_int_t ngx_coco_grpc_refuse(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail);
static ngx_uint_t ngx_coco_grpc_media_type(ngx_http_request_t *r);
static ngx_int_t ngx_coco_grpc_begin(ngx_http_request_t *r,
    ngx_coco_grpc_ctx_t *ctx, const ngx_coco_grpc_method_t *methods,
    ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_grpc_timeout(ngx_http_request_t *r,
    ngx_coco_grpc_ctx_t *ctx);
static void ngx_coco_grpc_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_grpc_message(ngx_http_request_t *r,
    ngx_coco_grpc_ctx_t *ctx);
static ngx_int_t ngx_coco_grpc_error(ngx_http_request_t *r);
static ngx_int_t ngx_coco_grpc_status(ngx_http_request_t *r,
    ngx_coco_grpc_status_e status, const char *message);
static ngx_int_t ngx_coco_grpc_escape(ngx_pool_t *pool, const char *text,
    ngx_str_t *ret);


static const ngx_str_t  ngx_coco_grpc_type = ngx_string("application/grpc");


static ngx_http_module_t  ngx_coco_grpc_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_grpc_module = {
    NGX_MODULE_V1,
    &ngx_coco_grpc_module_ctx,             /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_int_t
ngx_coco_grpc_handle(ngx_http_request_t *r,
    const ngx_coco_grpc_method_t *methods)
{
    ngx_int_t             rc;
    ngx_coco_grpc_ctx_t  *ctx;

    static ngx_str_t  post = ngx_string("POST");

    if (r->err_status) {
        return ngx_coco_grpc_error(r);
    }

    if (r->method != NGX_HTTP_POST) {
        if (ngx_coco_reply_header(r, "Allow", &post) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_coco_grpc_refuse(r, NGX_HTTP_NOT_ALLOWED,
                                    "A gRPC call is a POST.");
    }

    if (r->http_version != NGX_HTTP_VERSION_20 || !ngx_coco_grpc_media_type(r))
    {
        return ngx_coco_grpc_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                    "Only gRPC is served here: HTTP/2 and "
                                    "application/grpc.");
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_coco_grpc_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, ctx, ngx_coco_grpc_module);

    if (ngx_coco_grpc_begin(r, ctx, methods, &rc) != NGX_OK) {
        (void) ngx_http_discard_request_body(r);
        return rc;
    }

    rc = ngx_http_read_client_request_body(r, ngx_coco_grpc_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* What is no call at all. */

static ngx_int_t
ngx_coco_grpc_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);

    return rc == NGX_OK ? ngx_coco_reply_problem(r, status, detail) : rc;
}


/* application/grpc or application/grpc+proto, with parameters or not */

static ngx_uint_t
ngx_coco_grpc_media_type(ngx_http_request_t *r)
{
    size_t      n;
    ngx_str_t   type;

    static const ngx_str_t  proto = ngx_string("+proto");

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = r->headers_in.content_type->value;

    for (n = 0; n < type.len; n++) {
        if (type.data[n] == ';' || type.data[n] == ' ') {
            break;
        }
    }

    if (n == ngx_coco_grpc_type.len + proto.len
        && ngx_strncasecmp(type.data + ngx_coco_grpc_type.len, proto.data,
                           proto.len)
           == 0)
    {
        n = ngx_coco_grpc_type.len;
    }

    return n == ngx_coco_grpc_type.len
           && ngx_strncasecmp(type.data, ngx_coco_grpc_type.data, n) == 0;
}


/* What can be refused before the message is read. NGX_DECLINED: it was, with
 * *ret_rc. */

static ngx_int_t
ngx_coco_grpc_begin(ngx_http_request_t *r, ngx_coco_grpc_ctx_t *ctx,
    const ngx_coco_grpc_method_t *methods, ngx_int_t *ret_rc)
{
    ngx_coco_caller_t              caller;
    const ngx_coco_grpc_method_t  *m;

    for (m = methods; m->path.len; m++) {
        if (m->path.len == r->uri.len
            && ngx_memcmp(m->path.data, r->uri.data, r->uri.len) == 0)
        {
            break;
        }
    }

    if (m->path.len == 0) {
        *ret_rc = ngx_coco_grpc_status(r, NGX_COCO_GRPC_UNIMPLEMENTED,
                                       "There is no such method.");
        return NGX_DECLINED;
    }

    ctx->method = m;

    if (ngx_coco_grpc_timeout(r, ctx) != NGX_OK) {
        *ret_rc = ngx_coco_grpc_status(r, NGX_COCO_GRPC_INVALID_ARGUMENT,
                                       "grpc-timeout must be 1 to 8 digits and "
                                       "one of H M S m u n.");
        return NGX_DECLINED;
    }

    if (ngx_coco_auth_check(r, &m->scope, &caller, ret_rc) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (r->headers_in.content_length_n
        > NGX_COCO_GRPC_MESSAGE_MAX + NGX_COCO_MESSAGE_PREFIX)
    {
        *ret_rc = ngx_coco_grpc_problem(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "The message is too large.");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is one, and it has not the right form. */

static ngx_int_t
ngx_coco_grpc_timeout(ngx_http_request_t *r, ngx_coco_grpc_ctx_t *ctx)
{
    size_t            digits;
    int64_t           ms;
    ngx_int_t         n;
    ngx_table_elt_t  *h;

    static const ngx_str_t  name = ngx_string("grpc-timeout");

    h = ngx_coco_header_find(r, &name);
    if (h == NULL) {
        return NGX_OK;
    }

    if (h->value.len < 2 || h->value.len > NGX_COCO_GRPC_TIMEOUT_DIGITS + 1) {
        return NGX_DECLINED;
    }

    digits = h->value.len - 1;
    n = ngx_atoi(h->value.data, digits);
    if (n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    switch (h->value.data[digits]) {

    case 'H':
        ms = (int64_t) n * 3600000;
        break;

    case 'M':
        ms = (int64_t) n * 60000;
        break;

    case 'S':
        ms = (int64_t) n * 1000;
        break;

    case 'm':
        ms = n;
        break;

    case 'u':
        ms = n / 1000;
        break;

    case 'n':
        ms = n / 1000000;
        break;

    default:
        return NGX_DECLINED;
    }

    /* nothing here waits for a day */

    ctx->deadline = ngx_current_msec + (ngx_msec_t) ngx_min(ms, 86400000);
    ctx->limited = 1;

    return NGX_OK;
}


static void
ngx_coco_grpc_body_handler(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r,
        ngx_coco_grpc_message(r, ngx_http_get_module_ctx(r,
                                                      ngx_coco_grpc_module)));
}


/* One message, and nothing after it. */

static ngx_int_t
ngx_coco_grpc_message(ngx_http_request_t *r, ngx_coco_grpc_ctx_t *ctx)
{
    size_t             len;
    ngx_int_t          rc;
    ngx_str_t          body;
    ProtobufCMessage  *request;

    static const ngx_str_t  identity = ngx_string("identity");

    rc = ngx_coco_route_body(r, NGX_COCO_GRPC_MESSAGE_MAX
                                + NGX_COCO_MESSAGE_PREFIX, &body);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_coco_grpc_problem(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                     "The message is too large.");
    }

    if (body.len >= 1 && body.data[0] == 1) {
        if (ngx_coco_reply_header(r, "grpc-accept-encoding", &identity)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_coco_grpc_status(r, NGX_COCO_GRPC_UNIMPLEMENTED,
                                    "The message must not be compressed.");
    }

    len = 0;

    if (body.len >= NGX_COCO_MESSAGE_PREFIX) {
        len = (size_t) body.data[1] << 24 | body.data[2] << 16
              | body.data[3] << 8 | body.data[4];
    }

    if (body.len != NGX_COCO_MESSAGE_PREFIX + len || body.data[0] != 0) {
        return ngx_coco_grpc_status(r, NGX_COCO_GRPC_INVALID_ARGUMENT,
                                    "The call must have one message, of the "
                                    "length that is before it.");
    }

    body.data += NGX_COCO_MESSAGE_PREFIX;
    body.len = len;

    request = ngx_coco_message_unpack(r->pool, ctx->method->request, &body);

    if (request == NULL) {
        return ngx_coco_grpc_status(r, NGX_COCO_GRPC_INVALID_ARGUMENT,
                                    "The message is not of the method's "
                                    "type.");
    }

    if (ctx->limited && (ngx_msec_int_t) (ctx->deadline - ngx_current_msec)
                        <= 0)
    {
        return ngx_coco_grpc_status(r, NGX_COCO_GRPC_DEADLINE_EXCEEDED,
                                    "The deadline passed before the call was "
                                    "read.");
    }

    return ctx->method->handler(r, request);
}


ngx_uint_t
ngx_coco_grpc_call(ngx_http_request_t *r)
{
    return ngx_http_get_module_ctx(r, ngx_coco_grpc_module) != NULL;
}


ngx_msec_t
ngx_coco_grpc_left(ngx_http_request_t *r, ngx_msec_t most)
{
    ngx_msec_int_t        left;
    ngx_coco_grpc_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_coco_grpc_module);

    if (ctx == NULL || !ctx->limited) {
        return most;
    }

    left = (ngx_msec_int_t) (ctx->deadline - ngx_current_msec);

    return left < 1 ? 1 : ngx_min((ngx_msec_t) left, most);
}


ngx_int_t
ngx_coco_grpc_reply(ngx_http_request_t *r, ngx_str_t *frame)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    static const ngx_str_t  ok = ngx_string("0");

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = ngx_coco_grpc_type;
    r->headers_out.content_type_len = ngx_coco_grpc_type.len;
    r->headers_out.content_length_n = -1;
    r->expect_trailers = 1;

    b = ngx_calloc_buf(r->pool);

    if (b == NULL
        || ngx_coco_reply_field(&r->headers_out.trailers, "grpc-status", &ok)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->pos = frame->data;
    b->last = frame->data + frame->len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                         NGX_COCO_COUNTER_GRPC_OK, 1);

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_coco_grpc_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    ngx_coco_grpc_ctx_t     *ctx;
    ngx_coco_grpc_status_e   code;

    ctx = ngx_http_get_module_ctx(r, ngx_coco_grpc_module);

    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        code = NGX_COCO_GRPC_INVALID_ARGUMENT;
        break;

    case NGX_HTTP_UNAUTHORIZED:
        code = NGX_COCO_GRPC_UNAUTHENTICATED;
        break;

    case NGX_HTTP_FORBIDDEN:
        code = NGX_COCO_GRPC_PERMISSION_DENIED;
        break;

    case NGX_HTTP_NOT_FOUND:
        code = NGX_COCO_GRPC_NOT_FOUND;
        break;

    case NGX_HTTP_CONFLICT:
        code = NGX_COCO_GRPC_ALREADY_EXISTS;
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        code = NGX_COCO_GRPC_RESOURCE_EXHAUSTED;
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        code = ctx && ctx->limited
               && (ngx_msec_int_t) (ctx->deadline - ngx_current_msec) <= 0
               ? NGX_COCO_GRPC_DEADLINE_EXCEEDED : NGX_COCO_GRPC_UNAVAILABLE;
        break;

    case NGX_HTTP_GATEWAY_TIME_OUT:
        code = NGX_COCO_GRPC_DEADLINE_EXCEEDED;
        break;

    default:
        code = NGX_COCO_GRPC_INTERNAL;
    }

    return ngx_coco_grpc_status(r, code, detail);
}


/* What nginx refused, or a handler that could say nothing. Statuses as
 * "HTTP to gRPC Status Code Mapping" has them, where it knows better than
 * UNKNOWN. The context is gone with the first location. */

static ngx_int_t
ngx_coco_grpc_error(ngx_http_request_t *r)
{
    ngx_uint_t              status;
    ngx_coco_grpc_status_e  code;

    status = r->err_status;

    (void) ngx_http_discard_request_body(r);

    switch (status) {

    case NGX_HTTP_UNAUTHORIZED:
        code = NGX_COCO_GRPC_UNAUTHENTICATED;
        break;

    case NGX_HTTP_FORBIDDEN:
        code = NGX_COCO_GRPC_PERMISSION_DENIED;
        break;

    case NGX_HTTP_NOT_FOUND:
        code = NGX_COCO_GRPC_UNIMPLEMENTED;
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
    case NGX_HTTP_REQUEST_URI_TOO_LARGE:
    case NGX_HTTP_REQUEST_HEADER_TOO_LARGE:
        code = NGX_COCO_GRPC_RESOURCE_EXHAUSTED;
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_GATEWAY_TIME_OUT:
        code = NGX_COCO_GRPC_UNAVAILABLE;
        break;

    case NGX_HTTP_REQUEST_TIME_OUT:
        code = NGX_COCO_GRPC_DEADLINE_EXCEEDED;
        break;

    case NGX_HTTP_BAD_REQUEST:
    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        code = NGX_COCO_GRPC_INTERNAL;
        break;

    default:
        code = NGX_COCO_GRPC_UNKNOWN;
    }

    return ngx_coco_grpc_status(r, code,
                                status == NGX_HTTP_INTERNAL_SERVER_ERROR
                                ? "The server's log says why."
                                : "Refused before any method saw the call.");
}


/* Trailers only: the headers are all of the reply. */

static ngx_int_t
ngx_coco_grpc_status(ngx_http_request_t *r, ngx_coco_grpc_status_e status,
    const char *message)
{
    ngx_str_t  code, text;

    ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                         NGX_COCO_COUNTER_GRPC_ERROR, 1);

    code.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);

    if (code.data == NULL
        || ngx_coco_grpc_escape(r->pool, message, &text) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    code.len = ngx_sprintf(code.data, "%ui", (ngx_uint_t) status) - code.data;

    if (ngx_coco_reply_header(r, "grpc-status", &code) != NGX_OK
        || ngx_coco_reply_header(r, "grpc-message", &text) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->err_status = 0;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = ngx_coco_grpc_type;
    r->headers_out.content_type_len = ngx_coco_grpc_type.len;
    r->headers_out.content_length_n = -1;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


/* Percent-Encoded: all but what is printable ASCII, and the percent sign. */

static ngx_int_t
ngx_coco_grpc_escape(ngx_pool_t *pool, const char *text, ngx_str_t *ret)
{
    u_char  c, *p;

    static const u_char  hex[] = "0123456789ABCDEF";

    p = ngx_pnalloc(pool, 3 * ngx_strlen(text) + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ret->data = p;

    while ((c = *text++) != '\0') {

        if (c >= ' ' && c <= '~' && c != '%') {
            *p++ = c;
            continue;
        }

        *p++ = '%';
        *p++ = hex[c >> 4];
        *p++ = hex[c & 0xf];
    }

    ret->len = p - ret->data;

    return NGX_OK;
}
