/*
 * What the webhooks of all senders have in common. Must never log a secret,
 * nor tell by its time how near a wrong one came.
 */

#include "ngx_coco_webhook.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


typedef struct {
    ngx_uint_t  kind;
    u_char      digest[SHA256_DIGEST_LENGTH];
} ngx_coco_webhook_secret_t;


typedef struct {
    ngx_http_request_t  *request;
    ngx_coco_sender_e    sender;
} ngx_coco_webhook_count_t;


static void ngx_coco_webhook_count_handler(void *data);
static ngx_coco_webhook_outcome_e ngx_coco_webhook_outcome(ngx_uint_t status);


ngx_int_t
ngx_coco_webhook_count(ngx_http_request_t *r, ngx_coco_sender_e sender)
{
    ngx_http_cleanup_t        *cln;
    ngx_coco_webhook_count_t  *count;

    count = ngx_palloc(r->pool, sizeof(ngx_coco_webhook_count_t));
    cln = ngx_http_cleanup_add(r, 0);
    if (count == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    count->request = r;
    count->sender = sender;

    cln->handler = ngx_coco_webhook_count_handler;
    cln->data = count;

    return NGX_OK;
}


static void
ngx_coco_webhook_count_handler(void *data)
{
    ngx_coco_webhook_count_t  *count = data;

    ngx_http_request_t  *r;

    r = count->request;

    ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                         (ngx_coco_counter_e) count->sender
                         + ngx_coco_webhook_outcome(r->headers_out.status),
                         1);
}


static ngx_coco_webhook_outcome_e
ngx_coco_webhook_outcome(ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_OK:
    case NGX_HTTP_ACCEPTED:
        return NGX_COCO_WEBHOOK_ACCEPTED;

    case NGX_HTTP_BAD_REQUEST:
        return NGX_COCO_WEBHOOK_INVALID;

    case NGX_HTTP_UNAUTHORIZED:
        return NGX_COCO_WEBHOOK_UNAUTHORIZED;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return NGX_COCO_WEBHOOK_TOO_LARGE;

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return NGX_COCO_WEBHOOK_UNSUPPORTED;

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        return NGX_COCO_WEBHOOK_FAILED;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return NGX_COCO_WEBHOOK_UNAVAILABLE;

    default:

        /* 408 and 499: its client did not stay for an answer */

        return NGX_COCO_WEBHOOK_ABANDONED;
    }
}


char *
ngx_coco_webhook_secret_add(ngx_conf_t *cf, ngx_array_t **secrets,
    ngx_uint_t kind, ngx_str_t *secret)
{
    ngx_coco_webhook_secret_t  *entry;

    if (*secrets == NGX_CONF_UNSET_PTR) {
        *secrets = ngx_array_create(cf->pool, 2, sizeof(*entry));
        if (*secrets == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    entry = ngx_array_push(*secrets);
    if (entry == NULL) {
        return NGX_CONF_ERROR;
    }

    entry->kind = kind;
    SHA256(secret->data, secret->len, entry->digest);
    ngx_explicit_memzero(secret->data, secret->len);

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_coco_webhook_secret_known(const ngx_array_t *secrets, ngx_uint_t kind,
    const ngx_str_t *secret)
{
    int                         known;
    u_char                      digest[SHA256_DIGEST_LENGTH];
    ngx_uint_t                  i;
    ngx_coco_webhook_secret_t  *entries;

    if (secrets == NULL) {
        return 0;
    }

    known = 0;
    entries = secrets->elts;
    SHA256(secret->data, secret->len, digest);

    for (i = 0; i < secrets->nelts; i++) {
        known |= (CRYPTO_memcmp(entries[i].digest, digest, sizeof(digest))
                  == 0) & (entries[i].kind == kind);
    }

    return known;
}


ngx_int_t
ngx_coco_webhook_refuse(ngx_http_request_t *r, const char *sender,
    const char *why, const ngx_str_t *challenge, const char *detail)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "coco: webhook of %s refused: %s", sender, why);

    if (ngx_coco_reply_header(r, "WWW-Authenticate", challenge) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_UNAUTHORIZED, detail);
}
