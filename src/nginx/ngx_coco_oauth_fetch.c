/*
 * A token's fetch: a POST to an internal location, which passes it on, beside
 * the request that began it. Must never end that request, whatever comes back,
 * nor let anything of the caller's go along.
 */

#include "ngx_coco_oauth_fetch.h"


typedef struct {
    ngx_coco_oauth_t  *oauth;
    uint64_t           flight;
    unsigned           ended:1;
} ngx_coco_oauth_fetch_t;


static ngx_int_t ngx_coco_oauth_fetch_send(ngx_http_request_t *r,
    ngx_coco_oauth_fetch_t *fetch);
static ngx_int_t ngx_coco_oauth_fetch_header(ngx_http_request_t *sr,
    const char *name, const char *lowcase, const char *value);
static ngx_int_t ngx_coco_oauth_fetch_body(ngx_http_request_t *sr,
    const ngx_str_t *form);
static void ngx_coco_oauth_fetch_cleanup(void *data);
static ngx_int_t ngx_coco_oauth_fetch_done(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static ngx_int_t ngx_coco_oauth_fetch_granted(ngx_http_request_t *sr,
    ngx_coco_oauth_t *oauth, ngx_int_t rc, coco_oauth_grant_t *ret,
    ngx_coco_oauth_failure_e *ret_failure);


ngx_int_t
ngx_coco_oauth_fetch(ngx_http_request_t *r, ngx_coco_oauth_t *oauth,
    uint64_t flight)
{
    ngx_http_cleanup_t      *cln;
    ngx_coco_oauth_fetch_t  *fetch;

    fetch = ngx_pcalloc(r->pool, sizeof(*fetch));
    cln = ngx_http_cleanup_add(r, 0);

    if (fetch == NULL || cln == NULL) {
        ngx_coco_oauth_zone_abandon(oauth->zone, &oauth->key, flight);
        return NGX_ERROR;
    }

    fetch->oauth = oauth;
    fetch->flight = flight;

    cln->handler = ngx_coco_oauth_fetch_cleanup;
    cln->data = fetch;

    if (ngx_coco_oauth_fetch_send(r, fetch) != NGX_OK) {
        ngx_coco_oauth_fetch_cleanup(fetch);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_coco_oauth_fetch_is(ngx_http_request_t *r)
{
    return r->post_subrequest
           && r->post_subrequest->handler == ngx_coco_oauth_fetch_done;
}


/* What is buffered of a background subrequest waits for its end: with more than
 * the buffers take nginx would read no further, nor would it time out. Without
 * buffers the answer that is too large ends at once. */

ngx_int_t
ngx_coco_oauth_filter(ngx_http_request_t *r)
{
    if (!ngx_coco_oauth_fetch_is(r)) {
        return NGX_OK;
    }

    if (r->headers_out.status == 0) {
        return NGX_ERROR;               /* it had no status line */
    }

    r->upstream->buffering = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_oauth_fetch_send(ngx_http_request_t *r,
    ngx_coco_oauth_fetch_t *fetch)
{
    ngx_str_t                   *uri;
    ngx_http_request_t          *sr;
    ngx_http_headers_in_t        none;
    ngx_http_post_subrequest_t  *ps;

    static const ngx_str_t  post = { 4, (u_char *) "POST " };

    ps = ngx_palloc(r->pool, sizeof(*ps));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_coco_oauth_fetch_done;
    ps->data = fetch;

    uri = &fetch->oauth->uri;

    if (ngx_http_subrequest(r, uri, NULL, &sr, ps,
                            NGX_HTTP_SUBREQUEST_IN_MEMORY
                            |NGX_HTTP_SUBREQUEST_BACKGROUND)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* it has begun: from here on it ends by its handler */

    ngx_memzero(&none, sizeof(none));
    none.server = r->headers_in.server;
    none.content_length_n = fetch->oauth->form.len;
    none.keep_alive_n = -1;

    sr->headers_in = none;
    sr->method = NGX_HTTP_POST;
    sr->method_name = post;

    if (ngx_list_init(&sr->headers_in.headers, r->pool, 2,
                      sizeof(ngx_table_elt_t))
        != NGX_OK
        || ngx_coco_oauth_fetch_header(sr, "Content-Type", "content-type",
                                       "application/x-www-form-urlencoded")
           != NGX_OK
        || ngx_coco_oauth_fetch_header(sr, "Accept", "accept",
                                       "application/json")
           != NGX_OK
        || ngx_coco_oauth_fetch_body(sr, &fetch->oauth->form) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_coco_oauth_fetch_header(ngx_http_request_t *sr, const char *name,
    const char *lowcase, const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&sr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(*h));
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


/* The request's own body, if it was read, is not to be seen here. */

static ngx_int_t
ngx_coco_oauth_fetch_body(ngx_http_request_t *sr, const ngx_str_t *form)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb;

    rb = ngx_pcalloc(sr->pool, sizeof(*rb));
    b = ngx_calloc_buf(sr->pool);
    cl = ngx_alloc_chain_link(sr->pool);

    sr->request_body = rb;

    if (rb == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->pos = form->data;
    b->last = form->data + form->len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;

    return NGX_OK;
}


/* The request ended before its fetch did: another is to fetch. */

static void
ngx_coco_oauth_fetch_cleanup(void *data)
{
    ngx_coco_oauth_fetch_t  *fetch = data;

    if (fetch->ended) {
        return;
    }

    fetch->ended = 1;

    ngx_coco_oauth_zone_abandon(fetch->oauth->zone, &fetch->oauth->key,
                                fetch->flight);
    ngx_coco_oauth_wake(fetch->oauth);
}


/* What is returned takes rc's place: an error would end the request. */

static ngx_int_t
ngx_coco_oauth_fetch_done(ngx_http_request_t *sr, void *data, ngx_int_t rc)
{
    ngx_coco_oauth_fetch_t  *fetch = data;

    ngx_coco_oauth_t          *oauth;
    coco_oauth_grant_t         grant;
    ngx_coco_oauth_failure_e   failure;

    if (fetch->ended) {
        return NGX_OK;
    }

    fetch->ended = 1;
    oauth = fetch->oauth;

    if (ngx_coco_oauth_fetch_granted(sr, oauth, rc, &grant, &failure)
        == NGX_OK)
    {
        ngx_coco_oauth_zone_end(oauth->zone, &oauth->key, fetch->flight,
                                &grant, 0);
        ngx_explicit_memzero(grant.token, grant.len);

    } else {
        ngx_coco_oauth_zone_end(oauth->zone, &oauth->key, fetch->flight,
                                NULL, failure);
    }

    ngx_coco_oauth_wake(oauth);

    return NGX_OK;
}


/* rc is nginx's own word for what went wrong; without one the server's status
 * is looked at. */

static ngx_int_t
ngx_coco_oauth_fetch_granted(ngx_http_request_t *sr, ngx_coco_oauth_t *oauth,
    ngx_int_t rc, coco_oauth_grant_t *ret,
    ngx_coco_oauth_failure_e *ret_failure)
{
    ngx_buf_t     *b;
    ngx_uint_t     status;
    coco_str_t     body;
    coco_error_t   err;

    status = sr->headers_out.status;

    if (rc == NGX_HTTP_GATEWAY_TIME_OUT) {
        *ret_failure = NGX_COCO_OAUTH_LATE;
        (void) coco_error_set(&err, "", "did not answer in time");

    } else if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        *ret_failure = NGX_COCO_OAUTH_UNREACHABLE;
        (void) coco_error_set(&err, "", "cannot be reached (%d)", (int) rc);

    } else if (rc != NGX_OK && status == 0) {
        *ret_failure = NGX_COCO_OAUTH_UNUSABLE;
        (void) coco_error_set(&err, "", "did not answer in HTTP");

    } else if (rc != NGX_OK || sr->out == NULL) {
        *ret_failure = NGX_COCO_OAUTH_UNUSABLE;
        (void) coco_error_set(&err, "", "gave no answer of a size that "
                              "subrequest_output_buffer_size allows");

    } else if (status == 429 || status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        *ret_failure = NGX_COCO_OAUTH_BUSY;
        (void) coco_error_set(&err, "", "answered %d", (int) status);

    } else if (status != NGX_HTTP_OK) {
        *ret_failure = NGX_COCO_OAUTH_DENIED;
        (void) coco_error_set(&err, "", "answered %d", (int) status);

    } else {
        b = sr->out->buf;
        body.data = (char *) b->pos;
        body.len = b->last - b->pos;

        if (coco_oauth_grant_decode(ret, body, &err) == COCO_OK) {
            return NGX_OK;
        }

        *ret_failure = NGX_COCO_OAUTH_UNUSABLE;
    }

    ngx_log_error(NGX_LOG_ERR, sr->connection->log, 0,
                  "coco: no token from %s: %s%s%s", oauth->name, err.field,
                  err.field[0] ? " " : "", err.reason);

    return NGX_ERROR;
}
