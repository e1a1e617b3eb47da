/*
 * The webhooks of marketplaces: who sends them is checked, then they are
 * stored for the worker, whatever they say. Must never read a body before
 * its signature was found good, nor log a secret.
 */

#include "ngx_coco_ops_webhook.h"
#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_ops_conf.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_webhook.h"
#include "coco_order.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


#define NGX_COCO_SIGNATURE_TEXT  (2 * SHA256_DIGEST_LENGTH)


typedef enum {
    NGX_COCO_TOKEN_BEARER = 0,
    NGX_COCO_TOKEN_BASIC,
    NGX_COCO_TOKENS
} ngx_coco_token_e;


static const char *ngx_coco_ops_uber_signature(ngx_http_request_t *r,
    u_char *ret);
static ngx_uint_t ngx_coco_ops_uber_signed(const ngx_array_t *keys,
    const ngx_str_t *body, const u_char *signature);
static ngx_int_t ngx_coco_ops_uber_refuse(ngx_http_request_t *r,
    const char *why);
static const char *ngx_coco_ops_doordash_token_check(ngx_http_request_t *r);
static ngx_int_t ngx_coco_ops_doordash_basic(ngx_http_request_t *r,
    ngx_str_t *token);
static ngx_int_t ngx_coco_ops_webhook_store(ngx_http_request_t *r,
    coco_partner_e partner, const ngx_str_t *body);
static ngx_int_t ngx_coco_ops_webhook_reply(ngx_http_request_t *r,
    PGresult *result, void *data);


static const ngx_str_t  ngx_coco_token_schemes[NGX_COCO_TOKENS] = {
    [NGX_COCO_TOKEN_BEARER] = ngx_string("bearer"),
    [NGX_COCO_TOKEN_BASIC] = ngx_string("basic")
};


ngx_int_t
ngx_coco_ops_uber_check(ngx_http_request_t *r, ngx_int_t *ret_rc)
{
    u_char                    signature[SHA256_DIGEST_LENGTH];
    const char               *why;
    ngx_coco_ops_loc_conf_t  *olcf;

    if (ngx_coco_webhook_count(r, NGX_COCO_SENDER_UBER) != NGX_OK) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    olcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_module);

    why = olcf->uber_keys == NULL ? "no coco_uber_signing_key is configured"
                                  : ngx_coco_ops_uber_signature(r, signature);
    if (why == NULL) {
        return NGX_OK;
    }

    *ret_rc = ngx_coco_ops_uber_refuse(r, why);

    return NGX_DECLINED;
}


ngx_int_t
ngx_coco_ops_uber_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    u_char                    signature[SHA256_DIGEST_LENGTH];
    ngx_coco_ops_loc_conf_t  *olcf;

    olcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_module);

    if (ngx_coco_ops_uber_signature(r, signature) != NULL
        || !ngx_coco_ops_uber_signed(olcf->uber_keys, &call->body, signature))
    {
        return ngx_coco_ops_uber_refuse(r, "the signature is wrong");
    }

    return ngx_coco_ops_webhook_store(r, COCO_PARTNER_UBER, &call->body);
}


/* Undoes the hex; of several headers the first one counts. NULL, or what is
 * wrong with it. */

static const char *
ngx_coco_ops_uber_signature(ngx_http_request_t *r, u_char *ret)
{
    int               high, low;
    u_char           *p;
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    static const ngx_str_t  names[] = {
        ngx_string("x-uber-signature"), ngx_string("x-postmates-signature")
    };

    h = ngx_coco_header_find(r, &names[0]);
    h = h ? h : ngx_coco_header_find(r, &names[1]);

    if (h == NULL) {
        return "the signature is missing";
    }

    p = h->value.data;

    if (h->value.len != NGX_COCO_SIGNATURE_TEXT) {
        return "the signature is not of 64 digits";
    }

    for (i = 0; i < SHA256_DIGEST_LENGTH; i++, p += 2) {
        high = coco_hex_digit(p[0]);
        low = coco_hex_digit(p[1]);

        if (high < 0 || low < 0 || (p[0] >= 'A' && p[0] <= 'F')
            || (p[1] >= 'A' && p[1] <= 'F'))
        {
            return "the signature is not lower-case hex";
        }

        ret[i] = (u_char) (high << 4 | low);
    }

    return NULL;
}


static ngx_uint_t
ngx_coco_ops_uber_signed(const ngx_array_t *keys, const ngx_str_t *body,
    const u_char *signature)
{
    int         equal;
    u_char      mac[EVP_MAX_MD_SIZE];
    ngx_str_t  *key;
    ngx_uint_t  i;

    equal = 0;
    key = keys->elts;

    /* all of them, so that the time does not tell which one it was */

    for (i = 0; i < keys->nelts; i++) {
        equal |= HMAC(EVP_sha256(), key[i].data, (int) key[i].len, body->data,
                      body->len, mac, NULL) != NULL
                 && CRYPTO_memcmp(mac, signature, SHA256_DIGEST_LENGTH) == 0;
    }

    return equal;
}


static ngx_int_t
ngx_coco_ops_uber_refuse(ngx_http_request_t *r, const char *why)
{
    static const ngx_str_t  challenge =
                                 ngx_string("x-uber-signature realm=\"coco\"");

    return ngx_coco_webhook_refuse(r, "uber", why, &challenge,
                                   "The HMAC-SHA256 of the body, as 64 "
                                   "lower-case hex digits, is needed in the "
                                   "header x-uber-signature.");
}


ngx_int_t
ngx_coco_ops_doordash_check(ngx_http_request_t *r, ngx_int_t *ret_rc)
{
    const char  *why;

    static const ngx_str_t  challenge =
                   ngx_string("Bearer realm=\"coco\", Basic realm=\"coco\"");

    if (ngx_coco_webhook_count(r, NGX_COCO_SENDER_DOORDASH) != NGX_OK) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    why = ngx_coco_ops_doordash_token_check(r);
    if (why == NULL) {
        return NGX_OK;
    }

    *ret_rc = ngx_coco_webhook_refuse(r, "doordash", why, &challenge,
                                      "The token, or the name and password, "
                                      "that was agreed on is needed in the "
                                      "header Authorization.");
    return NGX_DECLINED;
}


/* NULL, or what is wrong with it. */

static const char *
ngx_coco_ops_doordash_token_check(ngx_http_request_t *r)
{
    ngx_str_t                 token;
    ngx_uint_t                scheme;
    const ngx_str_t          *name;
    ngx_coco_ops_loc_conf_t  *olcf;

    olcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_module);

    if (olcf->doordash_tokens == NULL) {
        return "no coco_doordash_token is configured";
    }

    if (r->headers_in.authorization == NULL) {
        return "the token is missing";
    }

    for (scheme = 0; scheme < NGX_COCO_TOKENS; scheme++) {
        name = &ngx_coco_token_schemes[scheme];
        token = r->headers_in.authorization->value;

        if (token.len > name->len && token.data[name->len] == ' '
            && ngx_strncasecmp(token.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (scheme == NGX_COCO_TOKENS) {
        return "the scheme is neither Bearer nor Basic";
    }

    for (token.data += name->len, token.len -= name->len;
         token.len && *token.data == ' ';
         token.data++, token.len--)
    {
        /* void */
    }

    if (scheme == NGX_COCO_TOKEN_BASIC
        && ngx_coco_ops_doordash_basic(r, &token) != NGX_OK)
    {
        return "the name and password are not base64";
    }

    return ngx_coco_webhook_secret_known(olcf->doordash_tokens, scheme, &token)
           ? NULL : "the token is wrong";
}


/* Undoes the base64. */

static ngx_int_t
ngx_coco_ops_doordash_basic(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_str_t  plain;

    plain.data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(token->len)
                                      + 1);
    if (plain.data == NULL || ngx_decode_base64(&plain, token) != NGX_OK) {
        return NGX_ERROR;
    }

    *token = plain;

    return NGX_OK;
}


ngx_int_t
ngx_coco_ops_doordash_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_ops_webhook_store(r, COCO_PARTNER_DOORDASH, &call->body);
}


static ngx_int_t
ngx_coco_ops_webhook_store(ngx_http_request_t *r, coco_partner_e partner,
    const ngx_str_t *body)
{
    coco_error_t          err;
    ngx_coco_webhook_t    webhook;
    coco_webhook_event_t  event;

    webhook.provider = coco_partner_name(partner);
    webhook.payload = ngx_coco_str(*body);
    webhook.received_at = ngx_coco_now_ms();

    if (coco_webhook_identify(&event, partner, webhook.payload, &err)
        != COCO_OK)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    webhook.id = event.id;
    webhook.event_id = (coco_str_t) { event.event_id, event.len };

    return ngx_coco_query_store(r, &webhook, ngx_coco_ops_webhook_reply, NULL);
}


/* Some of Uber's senders take nothing but an empty 200 for a success. */

static ngx_int_t
ngx_coco_ops_webhook_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    return ngx_coco_reply_empty(r, NGX_HTTP_OK);
}


char *
ngx_coco_ops_uber_signing_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_loc_conf_t  *olcf = conf;

    ngx_str_t  *value, *key;

    value = cf->args->elts;

    if (olcf->uber_keys == NGX_CONF_UNSET_PTR) {
        olcf->uber_keys = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (olcf->uber_keys == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    key = ngx_array_push(olcf->uber_keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_secret_read(cf, &value[1], key);
}


char *
ngx_coco_ops_doordash_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_loc_conf_t  *olcf = conf;

    ngx_str_t   *value, secret;
    ngx_uint_t   scheme;

    value = cf->args->elts;

    for (scheme = 0; scheme < NGX_COCO_TOKENS; scheme++) {
        if (value[1].len == ngx_coco_token_schemes[scheme].len
            && ngx_strncmp(value[1].data, ngx_coco_token_schemes[scheme].data,
                           value[1].len) == 0)
        {
            break;
        }
    }

    if (scheme == NGX_COCO_TOKENS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_doordash_token\" must be \"bearer\" or "
                           "\"basic\" and a file, not \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_coco_secret_read(cf, &value[2], &secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (scheme == NGX_COCO_TOKEN_BASIC
        && ngx_strlchr(secret.data, secret.data + secret.len, ':') == NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_doordash_token\": the first line of \"%V\" "
                           "must be name:password", &value[2]);
        return NGX_CONF_ERROR;
    }

    return ngx_coco_webhook_secret_add(cf, &olcf->doordash_tokens, scheme,
                                       &secret);
}
