/*
 * Routes: from method and path to a handler, past everything that can be
 * refused without asking a backend. Must never take a domain decision.
 */

#include "ngx_coco_route.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"


typedef struct {
    ngx_coco_call_t          call;
    const ngx_coco_route_t  *route;
} ngx_coco_route_ctx_t;


static ngx_uint_t ngx_coco_route_match(const ngx_str_t *template,
    ngx_str_t *uri, ngx_str_t *ret_args);
static ngx_int_t ngx_coco_route_not_allowed(ngx_http_request_t *r,
    ngx_uint_t methods);
static ngx_int_t ngx_coco_route_caller_check(ngx_http_request_t *r,
    ngx_coco_route_ctx_t *ctx, ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_route_serial_check(ngx_http_request_t *r,
    ngx_coco_route_ctx_t *ctx);
static ngx_int_t ngx_coco_route_body_read(ngx_http_request_t *r,
    ngx_coco_route_ctx_t *ctx);
static ngx_uint_t ngx_coco_route_media_type_json(ngx_http_request_t *r);
static ngx_int_t ngx_coco_route_too_large(ngx_http_request_t *r);
static void ngx_coco_route_body_handler(ngx_http_request_t *r);


static const struct {
    ngx_uint_t   method;
    ngx_str_t    name;
} ngx_coco_route_methods[] = {
    { NGX_HTTP_GET,    ngx_string("GET, HEAD") },
    { NGX_HTTP_POST,   ngx_string("POST") },
    { NGX_HTTP_PUT,    ngx_string("PUT") },
    { NGX_HTTP_PATCH,  ngx_string("PATCH") },
    { NGX_HTTP_DELETE, ngx_string("DELETE") },
};


ngx_int_t
ngx_coco_route_handle(ngx_http_request_t *r, const ngx_coco_route_t *routes)
{
    ngx_int_t                rc;
    ngx_str_t                args[NGX_COCO_ROUTE_ARGS];
    ngx_uint_t               allowed, method;
    ngx_coco_route_ctx_t    *ctx;
    const ngx_coco_route_t  *route;

    allowed = 0;
    method = r->method == NGX_HTTP_HEAD ? NGX_HTTP_GET : r->method;

    for (route = routes; route->path.len; route++) {

        if (!ngx_coco_route_match(&route->path, &r->uri, args)) {
            continue;
        }

        if (route->methods & method) {
            break;
        }

        allowed |= route->methods;
    }

    if (route->path.len == 0 || route->body_max == 0) {
        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (route->path.len == 0) {
        return allowed ? ngx_coco_route_not_allowed(r, allowed)
                       : ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                                "There is no such resource.");
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_coco_route_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(ctx->call.path, args, sizeof(args));
    ctx->route = route;

    if (route->body_max) {
        return ngx_coco_route_body_read(r, ctx);
    }

    if (ngx_coco_route_caller_check(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    rc = ngx_coco_route_serial_check(r, ctx);

    return rc == NGX_DECLINED ? route->handler(r, &ctx->call) : rc;
}


ngx_int_t
ngx_coco_route_get_only(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    /* before any reply: what is left of a body would be the next request */

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_coco_route_not_allowed(r, NGX_HTTP_GET);
    }

    return NGX_DECLINED;
}


char *
ngx_coco_route_location(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "cannot share its location with another handler";
    }

    clcf->handler = handler;

    return NGX_CONF_OK;
}


/* {…} stands for one segment that is not empty. */

static ngx_uint_t
ngx_coco_route_match(const ngx_str_t *template, ngx_str_t *uri,
    ngx_str_t *ret_args)
{
    u_char      *t, *t_last, *u, *u_last, *start;
    ngx_uint_t   n;

    n = 0;
    t = template->data;
    t_last = t + template->len;
    u = uri->data;
    u_last = u + uri->len;

    while (t < t_last) {

        if (*t != '{') {
            if (u == u_last || *t++ != *u++) {
                return 0;
            }

            continue;
        }

        start = u;

        while (u < u_last && *u != '/') {
            u++;
        }

        if (u == start || n == NGX_COCO_ROUTE_ARGS) {
            return 0;
        }

        ret_args[n].data = start;
        ret_args[n].len = u - start;
        n++;

        t = ngx_strlchr(t, t_last, '}') + 1;
    }

    for ( /* void */ ; n < NGX_COCO_ROUTE_ARGS && u == u_last; n++) {
        ngx_str_null(&ret_args[n]);
    }

    return u == u_last;
}


static ngx_int_t
ngx_coco_route_not_allowed(ngx_http_request_t *r, ngx_uint_t methods)
{
    u_char      *p;
    ngx_str_t    value;
    ngx_uint_t   i;

    value.data = ngx_pnalloc(r->pool, 64);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = value.data;

    for (i = 0; i < sizeof(ngx_coco_route_methods)
                    / sizeof(ngx_coco_route_methods[0]); i++)
    {
        if (methods & ngx_coco_route_methods[i].method) {
            p = ngx_sprintf(p, "%s%V", p == value.data ? "" : ", ",
                            &ngx_coco_route_methods[i].name);
        }
    }

    value.len = p - value.data;

    if (ngx_coco_reply_header(r, "Allow", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_NOT_ALLOWED,
                                  "Allow names the methods of this resource.");
}


static ngx_int_t
ngx_coco_route_caller_check(ngx_http_request_t *r, ngx_coco_route_ctx_t *ctx,
    ngx_int_t *ret_rc)
{
    if (ctx->route->check) {
        return ctx->route->check(r, ret_rc);
    }

    return ngx_coco_auth_check(r, &ctx->route->scope, &ctx->call.caller,
                               ret_rc);
}


/* NGX_DECLINED: nothing to object. */

static ngx_int_t
ngx_coco_route_serial_check(ngx_http_request_t *r, ngx_coco_route_ctx_t *ctx)
{
    u_char        *p, *last;
    ngx_uint_t     n;
    coco_error_t   err;

    p = ctx->route->path.data;
    last = p + ctx->route->path.len;

    for (n = 0; (p = ngx_strlchr(p, last, '{')) != NULL; n++, p++) {

        if ((size_t) (last - p) < sizeof("{serial}") - 1
            || ngx_strncmp(p, "{serial}", sizeof("{serial}") - 1) != 0
            || coco_serial_valid(ngx_coco_str(ctx->call.path[n])))
        {
            continue;
        }

        (void) coco_error_set(&err, "serial", "must be 1 to 64 characters of "
                              "A-Z a-z 0-9 . _ -");

        return ngx_coco_reply_bad_field(r, &err);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_coco_route_body_read(ngx_http_request_t *r, ngx_coco_route_ctx_t *ctx)
{
    off_t      length;
    ngx_int_t  rc, discard;

    length = r->headers_in.content_length_n;

    if (ngx_coco_route_caller_check(r, ctx, &rc) != NGX_OK) {
        goto refused;
    }

    rc = ngx_coco_route_serial_check(r, ctx);
    if (rc != NGX_DECLINED) {
        goto refused;
    }

    if ((length > 0 || r->headers_in.chunked)
        && !ngx_coco_route_media_type_json(r))
    {
        rc = ngx_coco_reply_problem(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                    "The body must be application/json.");
        goto refused;
    }

    if (length > (off_t) ctx->route->body_max) {
        rc = ngx_coco_route_too_large(r);
        goto refused;
    }

    ngx_http_set_ctx(r, ctx, ngx_coco_base_module);

    rc = ngx_http_read_client_request_body(r, ngx_coco_route_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;

refused:

    /* the reply has been queued; what the client still sends is dropped, and
     * it must not be told to continue after that */

    r->expect_tested = 1;

    discard = ngx_http_discard_request_body(r);

    if (discard != NGX_OK) {
        r->keepalive = 0;
    }

    return rc;
}


/* application/json, or application/<anything>+json, with parameters or not */

static ngx_uint_t
ngx_coco_route_media_type_json(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t   type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = r->headers_in.content_type->value;
    p = type.data;
    last = p + type.len;

    while (p < last && *p != ';' && *p != ' ' && *p != '\t') {
        p++;
    }

    type.len = p - type.data;

    if (type.len < sizeof("application/json") - 1
        || ngx_strncasecmp(type.data, (u_char *) "application/", 12) != 0)
    {
        return 0;
    }

    return (type.len == sizeof("application/json") - 1
            && ngx_strncasecmp(p - 4, (u_char *) "json", 4) == 0)
           || (type.len > sizeof("application/+json") - 1
               && ngx_strncasecmp(p - 5, (u_char *) "+json", 5) == 0);
}


static ngx_int_t
ngx_coco_route_too_large(ngx_http_request_t *r)
{
    r->keepalive = 0;

    return ngx_coco_reply_problem(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                  "The body is larger than this resource "
                                  "takes.");
}


static void
ngx_coco_route_body_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_coco_route_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_coco_base_module);
    ngx_http_set_ctx(r, NULL, ngx_coco_base_module);

    rc = ngx_coco_route_body(r, ctx->route->body_max, &ctx->call.body);

    if (rc == NGX_OK) {
        rc = ctx->route->handler(r, &ctx->call);

    } else if (rc == NGX_DECLINED) {
        rc = ngx_coco_route_too_large(r);

    } else {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_finalize_request(r, rc);
}


/*
 * The body comes as a chain of any length, whose links lie in memory, in a
 * temporary file, or in neither (a last link that is empty). One link in
 * memory is used where it lies.
 */

ngx_int_t
ngx_coco_route_body(ngx_http_request_t *r, size_t max, ngx_str_t *ret)
{
    size_t        len;
    u_char       *p;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_str_null(ret);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        if (ngx_buf_in_memory(cl->buf) || cl->buf->in_file) {
            len += ngx_buf_size(cl->buf);
        }
    }

    if (len > max) {
        return NGX_DECLINED;
    }

    b = r->request_body->bufs->buf;

    if (ngx_buf_in_memory(b) && (size_t) (b->last - b->pos) == len) {
        ret->data = b->pos;
        ret->len = len;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ret->data = p;
    ret->len = len;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            n = ngx_read_file(b->file, p, b->file_last - b->file_pos,
                              b->file_pos);
            if (n != b->file_last - b->file_pos) {
                return NGX_ERROR;
            }

            p += n;
        }
    }

    return NGX_OK;
}
