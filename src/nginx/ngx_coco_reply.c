/*
 * Replies: JSON documents and RFC 9457 problems. Sends, never decides: no
 * handler's knowledge belongs here.
 */

#include "ngx_coco_reply.h"
#include "ngx_coco_grpc.h"


#define NGX_COCO_PROBLEM_SIZE  512


typedef struct {
    ngx_uint_t                     status;
    coco_str_t                     detail;
    ngx_str_t                      instance;
    const ngx_coco_field_error_t  *errors;
    ngx_uint_t                     nerrors;
} ngx_coco_problem_t;


static ngx_int_t ngx_coco_reply_status(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail,
    const ngx_coco_field_error_t *errors, ngx_uint_t nerrors);
static void ngx_coco_reply_problem_encode(coco_json_out_t *out, void *data);
static coco_str_t ngx_coco_reply_title(ngx_uint_t status);


static const ngx_str_t  ngx_coco_json_type = ngx_string("application/json");
static const ngx_str_t  ngx_coco_problem_type =
                                    ngx_string("application/problem+json");


ngx_int_t
ngx_coco_reply_json(ngx_http_request_t *r, ngx_uint_t status, ngx_str_t *body)
{
    return ngx_coco_reply_typed(r, status, &ngx_coco_json_type, body);
}


ngx_int_t
ngx_coco_reply_empty(ngx_http_request_t *r, ngx_uint_t status)
{
    static ngx_str_t  nothing = ngx_null_string;

    return ngx_coco_reply_typed(r, status, &nothing, &nothing);
}


ngx_int_t
ngx_coco_reply_encode(ngx_http_request_t *r, ngx_uint_t status, size_t size,
    ngx_coco_encode_pt encode, void *data)
{
    ngx_str_t  body;

    if (ngx_coco_reply_fill(r, size, encode, data, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_json(r, status, &body);
}


ngx_int_t
ngx_coco_reply_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    return ngx_coco_reply_problem_fields(r, status, detail, NULL, 0);
}


ngx_int_t
ngx_coco_reply_problem_fields(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, const ngx_coco_field_error_t *errors,
    ngx_uint_t nerrors)
{
    size_t              len;
    ngx_str_t           body;
    ngx_coco_problem_t  problem;

    if (ngx_coco_grpc_call(r)) {
        return ngx_coco_reply_status(r, status, detail, errors, nerrors);
    }

    /* the decoded path may hold any byte; escaped again it is a valid URI */

    len = r->uri.len + 2 * ngx_escape_uri(NULL, r->uri.data, r->uri.len,
                                          NGX_ESCAPE_URI);
    problem.instance.data = ngx_pnalloc(r->pool, len);
    if (problem.instance.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_escape_uri(problem.instance.data, r->uri.data, r->uri.len,
                   NGX_ESCAPE_URI);
    problem.instance.len = len;

    problem.status = status;
    problem.detail = (coco_str_t) { detail, ngx_strlen(detail) };
    problem.errors = errors;
    problem.nerrors = nerrors;

    if (ngx_coco_reply_fill(r, NGX_COCO_PROBLEM_SIZE,
                            ngx_coco_reply_problem_encode, &problem, &body)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_typed(r, status, &ngx_coco_problem_type, &body);
}


/* To a gRPC call: its message has no members, so it is about the first field
 * at fault. */

static ngx_int_t
ngx_coco_reply_status(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, const ngx_coco_field_error_t *errors,
    ngx_uint_t nerrors)
{
    u_char  *p, text[256];

    if (nerrors == 0) {
        return ngx_coco_grpc_problem(r, status, detail);
    }

    p = ngx_snprintf(text, sizeof(text) - 1, "%s %s.", errors[0].field,
                     errors[0].detail);
    *p = '\0';

    return ngx_coco_grpc_problem(r, status, (char *) text);
}


ngx_int_t
ngx_coco_reply_bad_field(ngx_http_request_t *r, const coco_error_t *err)
{
    if (err->reason[0] == '\0') {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_bad_fields(r, err, 1);
}


ngx_int_t
ngx_coco_reply_bad_fields(ngx_http_request_t *r, const coco_error_t *errors,
    ngx_uint_t nerrors)
{
    ngx_uint_t               i;
    ngx_coco_field_error_t  *fields;

    fields = ngx_palloc(r->pool, nerrors * sizeof(ngx_coco_field_error_t));
    if (fields == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < nerrors; i++) {
        fields[i].field = errors[i].field[0] ? errors[i].field : "body";
        fields[i].detail = errors[i].reason;
    }

    return ngx_coco_reply_problem_fields(r, NGX_HTTP_BAD_REQUEST,
                                         "The request is not valid; "
                                         "errors names what to correct.",
                                         fields, nerrors);
}


ngx_int_t
ngx_coco_reply_unavailable(ngx_http_request_t *r, const char *backend,
    ngx_coco_outcome_e outcome)
{
    u_char            *p, detail[128];
    static ngx_str_t   retry_after = ngx_string("1");

    p = ngx_snprintf(detail, sizeof(detail) - 1, "%s %s; try again later.",
                     backend, ngx_coco_reply_outcome(outcome));
    *p = '\0';

    if (ngx_coco_reply_header(r, "Retry-After", &retry_after) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  (char *) detail);
}


const char *
ngx_coco_reply_outcome(ngx_coco_outcome_e outcome)
{
    switch (outcome) {

    case NGX_COCO_TIMEOUT:
        return "did not answer in time";

    case NGX_COCO_FULL:
        return "has too many requests waiting";

    default:
        return "cannot be reached";
    }
}


ngx_int_t
ngx_coco_reply_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    return ngx_coco_reply_field(&r->headers_out.headers, name, value);
}


ngx_int_t
ngx_coco_reply_field(ngx_list_t *fields, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(fields);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_coco_reply_typed(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, ngx_str_t *body)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_length_n = body->len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = body->len != 0;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;
    b->sync = !b->last_buf && !b->memory;    /* a subrequest's, and empty */

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_coco_reply_fill(ngx_http_request_t *r, size_t size,
    ngx_coco_encode_pt encode, void *data, ngx_str_t *ret)
{
    char             *start;
    coco_json_out_t   out;

    for ( ;; ) {
        start = ngx_pnalloc(r->pool, size);
        if (start == NULL) {
            return NGX_ERROR;
        }

        coco_json_out_init(&out, start, size);
        encode(&out, data);

        if (coco_json_out_ok(&out)) {
            ret->data = (u_char *) start;
            ret->len = out.len;
            return NGX_OK;
        }

        (void) ngx_pfree(r->pool, start);
        size = out.len;
    }
}


static void
ngx_coco_reply_problem_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_problem_t  *problem = data;

    ngx_uint_t                     i;
    const ngx_coco_field_error_t  *e;

    coco_json_object_open(out);
    coco_json_name(out, "type");
    coco_json_string(out, coco_string("about:blank"));
    coco_json_name(out, "title");
    coco_json_string(out, ngx_coco_reply_title(problem->status));
    coco_json_name(out, "status");
    coco_json_int(out, problem->status);
    coco_json_name(out, "detail");
    coco_json_string(out, problem->detail);
    coco_json_name(out, "instance");
    coco_json_string(out, ngx_coco_str(problem->instance));

    if (problem->nerrors) {
        coco_json_name(out, "errors");
        coco_json_array_open(out);

        for (i = 0; i < problem->nerrors; i++) {
            e = &problem->errors[i];

            coco_json_object_open(out);
            coco_json_name(out, "field");
            coco_json_string(out, (coco_str_t) { e->field,
                                                 ngx_strlen(e->field) });
            coco_json_name(out, "detail");
            coco_json_string(out, (coco_str_t) { e->detail,
                                                 ngx_strlen(e->detail) });
            coco_json_object_close(out);
        }

        coco_json_array_close(out);
    }

    coco_json_object_close(out);
}


/* RFC 9457, section 4.2.1: with about:blank the title is the status's own. */

static coco_str_t
ngx_coco_reply_title(ngx_uint_t status)
{
    switch (status) {
    case NGX_HTTP_BAD_REQUEST:
        return coco_string("Bad Request");
    case NGX_HTTP_UNAUTHORIZED:
        return coco_string("Unauthorized");
    case NGX_HTTP_FORBIDDEN:
        return coco_string("Forbidden");
    case NGX_HTTP_NOT_FOUND:
        return coco_string("Not Found");
    case NGX_HTTP_NOT_ALLOWED:
        return coco_string("Method Not Allowed");
    case NGX_HTTP_CONFLICT:
        return coco_string("Conflict");
    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return coco_string("Content Too Large");
    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return coco_string("Unsupported Media Type");
    case 422:
        return coco_string("Unprocessable Content");
    case NGX_HTTP_BAD_GATEWAY:
        return coco_string("Bad Gateway");
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return coco_string("Service Unavailable");
    case NGX_HTTP_GATEWAY_TIME_OUT:
        return coco_string("Gateway Timeout");
    default:
        return coco_string("Internal Server Error");
    }
}
