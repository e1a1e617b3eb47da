/*
 * Bearer tokens: who calls, and may they. The signature, the algorithm (by
 * the key, never by the token), exp, nbf, iss and aud are checked once; then
 * the token is remembered by its SHA-256 until it expires, and those used
 * lately by their text, which is compared faster. Never logs a token or a key.
 */

#include "ngx_coco_auth.h"
#include "ngx_coco_base.h"
#include "ngx_coco_reply.h"

#include <jansson.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>


#define NGX_COCO_AUTH_KEY_MAX    65536
#define NGX_COCO_AUTH_SECRET_MIN 32       /* RFC 7518, section 3.2 */
#define NGX_COCO_AUTH_TOKEN_MAX  8192     /* libjwt decodes on the stack */
#define NGX_COCO_AUTH_NBF_LEEWAY 5        /* seconds, for clocks apart */
#define NGX_COCO_AUTH_SUBJECT_MAX 255     /* beyond, its digest stands for it:
                                             callers are keys of an index */
#define NGX_COCO_AUTH_EXP_MAX    253402300799.0     /* the year 9999 ends */

#define NGX_COCO_AUTH_SETS       256
#define NGX_COCO_AUTH_WAYS       4

#define NGX_COCO_AUTH_RECENT     64       /* a power of two */


typedef struct {
    u_char       digest[SHA256_DIGEST_LENGTH];
    time_t       exp;                     /* 0: free */
    time_t       used;
    uint16_t     subject_len;
    uint16_t     scope_len;
    u_char       text[456];               /* subject, then scope */
} ngx_coco_auth_entry_t;


/* What the digest of a token was. */
typedef struct {
    size_t       len;                     /* 0: free */
    u_char       digest[SHA256_DIGEST_LENGTH];
    u_char       text[984];
} ngx_coco_auth_recent_t;


typedef struct {
    ngx_str_t    secret;                  /* with a NUL after it */
    jwt_alg_t    alg;
    ngx_str_t    kid;                     /* empty: any */
} ngx_coco_auth_key_t;


/* The tables belong to the process: memory made before the fork is its own
 * copy after it. An entry whose subject and scope do not fit is not kept. */
struct ngx_coco_auth_s {
    ngx_array_t              keys;        /* of ngx_coco_auth_key_t */
    ngx_str_t                issuer;
    ngx_str_t                audience;
    ngx_coco_auth_entry_t   *table;       /* SETS x WAYS */
    ngx_coco_auth_recent_t  *recent;      /* RECENT, of good tokens */
};


typedef struct {
    time_t       exp;
    ngx_str_t    subject;
    ngx_str_t    scope;
} ngx_coco_claims_t;


static ngx_int_t ngx_coco_auth_refuse(ngx_http_request_t *r,
    const char *reason);
static ngx_int_t ngx_coco_auth_forbid(ngx_http_request_t *r,
    const ngx_str_t *scope);
static ngx_int_t ngx_coco_auth_token(ngx_http_request_t *r, ngx_str_t *ret);
static ngx_coco_auth_recent_t *ngx_coco_auth_digest(ngx_coco_auth_t *auth,
    const ngx_str_t *token, u_char *ret);
static ngx_uint_t ngx_coco_auth_same(const u_char *a, const u_char *b,
    size_t len);
static ngx_coco_auth_entry_t *ngx_coco_auth_find(ngx_coco_auth_t *auth,
    const u_char *digest);
static void ngx_coco_auth_remember(ngx_coco_auth_t *auth, u_char *digest,
    ngx_coco_claims_t *claims);
static const char *ngx_coco_auth_verify(ngx_http_request_t *r,
    ngx_coco_auth_t *auth, ngx_str_t *token, ngx_coco_claims_t *ret);
static ngx_int_t ngx_coco_auth_decode(ngx_coco_auth_t *auth, char *token,
    jwt_t **ret);
static const char *ngx_coco_auth_claims(ngx_pool_t *pool,
    ngx_coco_auth_t *auth, json_t *json, ngx_coco_claims_t *ret);
static ngx_uint_t ngx_coco_auth_audience_has(json_t *aud,
    ngx_str_t *audience);
static ngx_int_t ngx_coco_auth_copy(ngx_pool_t *pool, json_t *json,
    ngx_str_t *ret);
static ngx_uint_t ngx_coco_auth_scopes(const ngx_str_t *scopes,
    const ngx_str_t *asked);
static ngx_uint_t ngx_coco_auth_scope_has(const ngx_str_t *scopes,
    const ngx_str_t *scope);
static size_t ngx_coco_auth_word(u_char *p, u_char *last);
static char *ngx_coco_auth_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *ret);
static char *ngx_coco_auth_pem_check(ngx_conf_t *cf, ngx_str_t *name,
    ngx_coco_auth_key_t *key);


ngx_int_t
ngx_coco_auth_check(ngx_http_request_t *r, const ngx_str_t *scope,
    ngx_coco_caller_t *caller, ngx_int_t *ret_rc)
{
    u_char                   digest[SHA256_DIGEST_LENGTH];
    ngx_str_t                token;
    const char              *reason;
    ngx_coco_auth_t         *auth;
    ngx_coco_claims_t        claims;
    ngx_coco_auth_entry_t   *entry;
    ngx_coco_auth_recent_t  *recent;

    auth = ngx_coco_base_conf(r)->auth;

    if (ngx_coco_auth_token(r, &token) != NGX_OK) {
        *ret_rc = ngx_coco_auth_refuse(r, NULL);
        return NGX_DECLINED;
    }

    recent = ngx_coco_auth_digest(auth, &token, digest);
    entry = ngx_coco_auth_find(auth, digest);

    if (entry) {
        claims.subject.data = entry->text;
        claims.subject.len = entry->subject_len;
        claims.scope.data = entry->text + entry->subject_len;
        claims.scope.len = entry->scope_len;

    } else {
        reason = ngx_coco_auth_verify(r, auth, &token, &claims);

        if (reason) {
            *ret_rc = ngx_coco_auth_refuse(r, reason);
            return NGX_DECLINED;
        }

        ngx_coco_auth_remember(auth, digest, &claims);
    }

    if (recent) {
        recent->len = token.len;
        ngx_memcpy(recent->digest, digest, sizeof(digest));
        ngx_memcpy(recent->text, token.data, token.len);
    }

    caller->scopes = ngx_coco_auth_scopes(&claims.scope, scope);

    if (caller->scopes == 0) {
        *ret_rc = ngx_coco_auth_forbid(r, scope);
        return NGX_DECLINED;
    }

    if (claims.subject.len > NGX_COCO_AUTH_SUBJECT_MAX) {
        SHA256(claims.subject.data, claims.subject.len, digest);
        claims.subject.len = 0;
    }

    /* the entry may be another's before the request has ended */

    caller->subject.len = claims.subject.len ? claims.subject.len
                                             : 2 * sizeof(digest);
    caller->subject.data = ngx_pnalloc(r->pool, caller->subject.len);

    if (caller->subject.data == NULL) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    if (claims.subject.len) {
        ngx_memcpy(caller->subject.data, claims.subject.data,
                   claims.subject.len);
    } else {
        ngx_hex_dump(caller->subject.data, digest, sizeof(digest));
    }

    return NGX_OK;
}


/* reason NULL: no token was given (RFC 6750, section 3.1: then no error
 * code either). */

static ngx_int_t
ngx_coco_auth_refuse(ngx_http_request_t *r, const char *reason)
{
    ngx_str_t  value;

    static ngx_str_t  bare = ngx_string("Bearer realm=\"coco\"");

    value = bare;

    if (reason) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "coco: token refused: %s", reason);

        value.data = ngx_pnalloc(r->pool, 128);
        if (value.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        value.len = ngx_snprintf(value.data, 128, "%V, error=\"invalid_token"
                                 "\", error_description=\"%s\"", &bare, reason)
                    - value.data;
    }

    if (ngx_coco_reply_header(r, "WWW-Authenticate", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_UNAUTHORIZED,
                                  reason ? reason : "A bearer token is needed "
                                           "in the Authorization header.");
}


static ngx_int_t
ngx_coco_auth_forbid(ngx_http_request_t *r, const ngx_str_t *scope)
{
    u_char     *p, detail[128];
    ngx_str_t   value;

    value.data = ngx_pnalloc(r->pool, 128);
    if (value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value.len = ngx_snprintf(value.data, 128, "Bearer realm=\"coco\", "
                             "error=\"insufficient_scope\", scope=\"%V\"",
                             scope)
                - value.data;

    if (ngx_coco_reply_header(r, "WWW-Authenticate", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_snprintf(detail, sizeof(detail) - 1,
                     ngx_strlchr(scope->data, scope->data + scope->len, ' ')
                     ? "The token has none of the scopes %V."
                     : "The token lacks the scope %V.", scope);
    *p = '\0';

    return ngx_coco_reply_problem(r, NGX_HTTP_FORBIDDEN, (char *) detail);
}


static ngx_int_t
ngx_coco_auth_token(ngx_http_request_t *r, ngx_str_t *ret)
{
    u_char           *p, *last;
    ngx_table_elt_t  *h;

    h = r->headers_in.authorization;

    if (h == NULL || h->value.len < sizeof("Bearer ")
        || ngx_strncasecmp(h->value.data, (u_char *) "Bearer ", 7) != 0)
    {
        return NGX_DECLINED;
    }

    p = h->value.data + 7;
    last = h->value.data + h->value.len;

    while (p < last && *p == ' ') {
        p++;
    }

    ret->data = p;
    ret->len = last - p;

    return p < last ? NGX_OK : NGX_DECLINED;
}


/* Returns where to keep the digest, once the token is found to be good; NULL
 * when it was kept there, or cannot be. A token's last bytes, which choose the
 * place, are its signature's. */

static ngx_coco_auth_recent_t *
ngx_coco_auth_digest(ngx_coco_auth_t *auth, const ngx_str_t *token,
    u_char *ret)
{
    uint64_t                 tail;
    ngx_coco_auth_recent_t  *recent;

    recent = NULL;

    if (token->len >= sizeof(tail) && token->len <= sizeof(recent->text)) {
        ngx_memcpy(&tail, token->data + token->len - sizeof(tail),
                   sizeof(tail));
        recent = auth->recent + (tail * 0x9e3779b97f4a7c15 >> 32)
                                % NGX_COCO_AUTH_RECENT;

        if (recent->len == token->len
            && ngx_coco_auth_same(recent->text, token->data, token->len))
        {
            ngx_memcpy(ret, recent->digest, SHA256_DIGEST_LENGTH);
            return NULL;
        }
    }

    SHA256(token->data, token->len, ret);

    return recent;
}


/* Of eight bytes or more. Takes the same time wherever they differ. */

static ngx_uint_t
ngx_coco_auth_same(const u_char *a, const u_char *b, size_t len)
{
    size_t    i;
    uint64_t  x, y, differ;

    differ = 0;

    for (i = 0; i < len; i += sizeof(x)) {
        i = ngx_min(i, len - sizeof(x));
        ngx_memcpy(&x, a + i, sizeof(x));
        ngx_memcpy(&y, b + i, sizeof(y));
        differ |= x ^ y;
    }

    return differ == 0;
}


static ngx_coco_auth_entry_t *
ngx_coco_auth_find(ngx_coco_auth_t *auth, const u_char *digest)
{
    time_t                  now;
    ngx_uint_t              i;
    ngx_coco_auth_entry_t  *entry;

    now = ngx_time();
    entry = auth->table + (digest[0] % NGX_COCO_AUTH_SETS)
                          * NGX_COCO_AUTH_WAYS;

    for (i = 0; i < NGX_COCO_AUTH_WAYS; i++, entry++) {

        if (entry->exp > now
            && CRYPTO_memcmp(entry->digest, digest, SHA256_DIGEST_LENGTH) == 0)
        {
            entry->used = now;
            return entry;
        }
    }

    return NULL;
}


/* Takes a free or expired entry of the set, else the one unused longest. */

static void
ngx_coco_auth_remember(ngx_coco_auth_t *auth, u_char *digest,
    ngx_coco_claims_t *claims)
{
    time_t                  now;
    ngx_uint_t              i;
    ngx_coco_auth_entry_t  *set, *entry;

    if (claims->subject.len + claims->scope.len > sizeof(set->text)) {
        return;
    }

    now = ngx_time();
    set = auth->table + (digest[0] % NGX_COCO_AUTH_SETS) * NGX_COCO_AUTH_WAYS;
    entry = set;

    for (i = 0; i < NGX_COCO_AUTH_WAYS; i++) {

        if (set[i].exp <= now) {
            entry = &set[i];
            break;
        }

        if (set[i].used < entry->used) {
            entry = &set[i];
        }
    }

    ngx_memcpy(entry->digest, digest, SHA256_DIGEST_LENGTH);
    entry->exp = claims->exp;
    entry->used = now;
    entry->subject_len = claims->subject.len;
    entry->scope_len = claims->scope.len;
    ngx_memcpy(ngx_cpymem(entry->text, claims->subject.data,
                          claims->subject.len),
               claims->scope.data, claims->scope.len);
}


/* NULL when the token is good, else why not. */

static const char *
ngx_coco_auth_verify(ngx_http_request_t *r, ngx_coco_auth_t *auth,
    ngx_str_t *token, ngx_coco_claims_t *ret)
{
    char        *text, *grants;
    jwt_t       *jwt;
    u_char       c;
    size_t       n;
    json_t      *json;
    ngx_uint_t   dots;
    const char  *reason;

    if (token->len > NGX_COCO_AUTH_TOKEN_MAX) {
        return "The token is too long.";
    }

    /* stricter than libjwt, which skips what is not of the alphabet */

    for (n = 0, dots = 0; n < token->len; n++) {
        c = token->data[n];

        if (c == '.') {
            dots++;

        } else if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
                     || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            break;
        }
    }

    if (n < token->len || dots != 2) {
        return "The token is no JWT.";
    }

    text = ngx_pnalloc(r->pool, token->len + 1);
    if (text == NULL) {
        return "No memory to verify the token.";
    }

    ngx_cpystrn((u_char *) text, token->data, token->len + 1);

    if (ngx_coco_auth_decode(auth, text, &jwt) != NGX_OK) {
        return "No key accepts the token.";
    }

    grants = jwt_get_grants_json(jwt, NULL);
    jwt_free(jwt);

    json = grants ? json_loads(grants, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(grants);

    reason = ngx_coco_auth_claims(r->pool, auth, json, ret);
    json_decref(json);

    return reason;
}


/*
 * Tries the keys whose algorithm and kid are those of the token's header.
 * The header is read first, unverified, only to choose: a token that names
 * "none", or HS256 where the key is public, finds no key of its algorithm.
 */

static ngx_int_t
ngx_coco_auth_decode(ngx_coco_auth_t *auth, char *token, jwt_t **ret)
{
    char                 *crit;
    jwt_t                *head;
    ngx_int_t             rc;
    ngx_uint_t            i;
    const char           *alg, *kid;
    ngx_coco_auth_key_t  *key;

    if (jwt_decode(&head, token, NULL, 0) != 0) {
        return NGX_DECLINED;
    }

    /* RFC 7515, section 4.1.11: what must be understood, and here is not */

    crit = jwt_get_headers_json(head, "crit");

    if (crit) {
        free(crit);
        jwt_free(head);
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;
    alg = jwt_get_header(head, "alg");
    kid = jwt_get_header(head, "kid");
    key = auth->keys.elts;

    for (i = 0; i < auth->keys.nelts; i++) {

        if (alg == NULL || ngx_strcmp(alg, jwt_alg_str(key[i].alg)) != 0
            || (kid && key[i].kid.len
                && (ngx_strlen(kid) != key[i].kid.len
                    || ngx_memcmp(kid, key[i].kid.data, key[i].kid.len) != 0)))
        {
            continue;
        }

        if (jwt_decode(ret, token, key[i].secret.data, key[i].secret.len)
            != 0)
        {
            continue;
        }

        if (jwt_get_alg(*ret) == key[i].alg) {
            rc = NGX_OK;
            break;
        }

        jwt_free(*ret);
    }

    jwt_free(head);

    return rc;
}


static const char *
ngx_coco_auth_claims(ngx_pool_t *pool, ngx_coco_auth_t *auth, json_t *json,
    ngx_coco_claims_t *ret)
{
    double   now, exp;
    json_t  *nbf;

    now = (double) ngx_time();

    if (!json_is_number(json_object_get(json, "exp"))) {
        return "The token has no exp.";
    }

    exp = json_number_value(json_object_get(json, "exp"));
    if (exp <= now) {
        return "The token has expired.";
    }

    if (exp > NGX_COCO_AUTH_EXP_MAX) {
        return "The token's exp is no time.";
    }

    nbf = json_object_get(json, "nbf");
    if (nbf && !json_is_null(nbf)
        && (!json_is_number(nbf)
            || json_number_value(nbf) > now + NGX_COCO_AUTH_NBF_LEEWAY))
    {
        return "The token is not valid yet.";
    }

    if (json_string_length(json_object_get(json, "iss")) != auth->issuer.len
        || ngx_memcmp(json_string_value(json_object_get(json, "iss")),
                      auth->issuer.data, auth->issuer.len)
           != 0)
    {
        return "The token is of another issuer.";
    }

    if (!ngx_coco_auth_audience_has(json_object_get(json, "aud"),
                                    &auth->audience))
    {
        return "The token is for another audience.";
    }

    ret->exp = (time_t) exp;

    if (ngx_coco_auth_copy(pool, json_object_get(json, "sub"), &ret->subject)
        != NGX_OK
        || ngx_coco_auth_copy(pool, json_object_get(json, "scope"),
                              &ret->scope)
           != NGX_OK)
    {
        return "No memory to verify the token.";
    }

    return NULL;
}


/* RFC 7519, section 4.1.3: a string or an array of strings. */

static ngx_uint_t
ngx_coco_auth_audience_has(json_t *aud, ngx_str_t *audience)
{
    size_t   i;
    json_t  *item;

    if (json_is_string(aud)) {
        return json_string_length(aud) == audience->len
               && ngx_memcmp(json_string_value(aud), audience->data,
                             audience->len)
                  == 0;
    }

    json_array_foreach(aud, i, item) {

        if (json_is_string(item)
            && ngx_coco_auth_audience_has(item, audience))
        {
            return 1;
        }
    }

    return 0;
}


/* What is no string counts as absent: it names nobody and allows nothing. */

static ngx_int_t
ngx_coco_auth_copy(ngx_pool_t *pool, json_t *json, ngx_str_t *ret)
{
    ngx_str_t  value;

    ngx_str_set(ret, "");

    if (!json_is_string(json) || json_string_length(json) == 0) {
        return NGX_OK;
    }

    value.data = (u_char *) json_string_value(json);
    value.len = json_string_length(json);

    ret->len = value.len;
    ret->data = ngx_pstrdup(pool, &value);

    return ret->data ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
ngx_coco_auth_scopes(const ngx_str_t *scopes, const ngx_str_t *asked)
{
    u_char      *last;
    ngx_str_t    scope;
    ngx_uint_t   n, found;

    found = 0;
    last = asked->data + asked->len;
    scope.data = asked->data;

    for (n = 0; scope.data < last; n++) {
        scope.len = ngx_coco_auth_word(scope.data, last);

        if (ngx_coco_auth_scope_has(scopes, &scope)) {
            found |= (ngx_uint_t) 1 << n;
        }

        scope.data += scope.len + 1;
    }

    return found;
}


static ngx_uint_t
ngx_coco_auth_scope_has(const ngx_str_t *scopes, const ngx_str_t *scope)
{
    size_t   len;
    u_char  *p, *last;

    last = scopes->data + scopes->len;

    for (p = scopes->data; p < last; p += len + 1) {
        len = ngx_coco_auth_word(p, last);

        if (len == scope->len && ngx_memcmp(p, scope->data, len) == 0) {
            return 1;
        }
    }

    return 0;
}


static size_t
ngx_coco_auth_word(u_char *p, u_char *last)
{
    u_char  *end;

    end = ngx_strlchr(p, last, ' ');

    return (end ? end : last) - p;
}


ngx_coco_auth_t *
ngx_coco_auth_create(ngx_conf_t *cf)
{
    ngx_coco_auth_t  *auth;

    auth = ngx_pcalloc(cf->pool, sizeof(ngx_coco_auth_t));
    if (auth == NULL) {
        return NULL;
    }

    if (ngx_array_init(&auth->keys, cf->pool, 2, sizeof(ngx_coco_auth_key_t))
        != NGX_OK)
    {
        return NULL;
    }

    return auth;
}


char *
ngx_coco_auth_init(ngx_conf_t *cf, ngx_coco_auth_t *auth)
{
    if (auth->issuer.data == NULL) {
        ngx_str_set(&auth->issuer, "coco");
    }

    if (auth->audience.data == NULL) {
        ngx_str_set(&auth->audience, "coco");
    }

    auth->recent = ngx_pcalloc(cf->pool, NGX_COCO_AUTH_RECENT
                                         * sizeof(ngx_coco_auth_recent_t));
    auth->table = ngx_pcalloc(cf->pool, NGX_COCO_AUTH_SETS
                                        * NGX_COCO_AUTH_WAYS
                                        * sizeof(ngx_coco_auth_entry_t));

    return auth->table && auth->recent ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_coco_auth_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_coco_auth_key_t  *key;

    key = ngx_array_push(&bcf->auth->keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(key, sizeof(ngx_coco_auth_key_t));
    key->alg = JWT_ALG_HS256;
    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "alg=HS256") == 0) {
            key->alg = JWT_ALG_HS256;

        } else if (ngx_strcmp(value[i].data, "alg=RS256") == 0) {
            key->alg = JWT_ALG_RS256;

        } else if (ngx_strcmp(value[i].data, "alg=ES256") == 0) {
            key->alg = JWT_ALG_ES256;

        } else if (ngx_strncmp(value[i].data, "kid=", 4) == 0
                   && value[i].len > 4)
        {
            key->kid.data = value[i].data + 4;
            key->kid.len = value[i].len - 4;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"coco_auth_key\""
                               ": alg=HS256|RS256|ES256 or kid=<id> expected",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_coco_auth_file(cf, &value[1], &key->secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_auth_pem_check(cf, &value[1], key);
}


char *
ngx_coco_auth_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    ngx_str_t  *value;

    if (bcf->auth->issuer.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bcf->auth->issuer = value[1];

    return value[1].len ? NGX_CONF_OK : "must not be empty";
}


char *
ngx_coco_auth_audience(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    ngx_str_t  *value;

    if (bcf->auth->audience.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    bcf->auth->audience = value[1];

    return value[1].len ? NGX_CONF_OK : "must not be empty";
}


/* The raw bytes, a last newline included; the path is relative to the
 * server's prefix. */

static char *
ngx_coco_auth_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *ret)
{
    char         *rv;
    ssize_t       n;
    ngx_str_t     path;
    ngx_file_t    file;

    rv = NGX_CONF_ERROR;
    path = *name;

    if (ngx_get_full_name(cf->pool, &cf->cycle->prefix, &path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&file, sizeof(ngx_file_t));
    file.name = path;
    file.log = cf->log;
    file.fd = ngx_open_file(path.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"coco_auth_key\": " ngx_open_file_n
                           " \"%V\" failed", &path);
        return NGX_CONF_ERROR;
    }

    ret->data = ngx_pcalloc(cf->pool, NGX_COCO_AUTH_KEY_MAX + 1);

    if (ret->data) {
        n = ngx_read_file(&file, ret->data, NGX_COCO_AUTH_KEY_MAX + 1, 0);

        if (n < 1 || n > NGX_COCO_AUTH_KEY_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"coco_auth_key\": \"%V\" must hold 1 to %d "
                               "bytes", &path, NGX_COCO_AUTH_KEY_MAX);
        } else {
            ret->len = n;
            rv = NGX_CONF_OK;
        }
    }

    ngx_close_file(file.fd);

    return rv;
}


/* A public key used as an HS256 secret would let everyone sign. */

static char *
ngx_coco_auth_pem_check(ngx_conf_t *cf, ngx_str_t *name,
    ngx_coco_auth_key_t *key)
{
    int        type;
    BIO       *bio;
    EVP_PKEY  *pkey;

    bio = BIO_new_mem_buf(key->secret.data, key->secret.len);
    if (bio == NULL) {
        return NGX_CONF_ERROR;
    }

    pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    type = pkey ? EVP_PKEY_base_id(pkey) : EVP_PKEY_NONE;

    EVP_PKEY_free(pkey);
    BIO_free(bio);
    ERR_clear_error();

    if (key->alg == JWT_ALG_HS256) {

        if (ngx_strstrn(key->secret.data, "-----BEGIN", 9)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"coco_auth_key\": \"%V\" is PEM, no secret: "
                               "say alg=RS256 or alg=ES256", name);
            return NGX_CONF_ERROR;
        }

        if (key->secret.len < NGX_COCO_AUTH_SECRET_MIN) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"coco_auth_key\": the secret in \"%V\" is "
                               "shorter than %d bytes", name,
                               NGX_COCO_AUTH_SECRET_MIN);
        }

        return NGX_CONF_OK;
    }

    if (type != (key->alg == JWT_ALG_RS256 ? EVP_PKEY_RSA : EVP_PKEY_EC)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_auth_key\": \"%V\" holds no PEM public "
                           "key for alg=%s", name, jwt_alg_str(key->alg));
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
