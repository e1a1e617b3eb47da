/*
 * Tokens for partners. Must never log a token, a secret, or what a server of
 * tokens has answered.
 */

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "coco_json_read.h"
#include "log.h"
#include "sinks/partners_auth.h"

#define COCO_AUTH_CONNECT_MS  5000
#define COCO_AUTH_MARGIN_US   60000000LL    /* before the end of a token */
#define COCO_AUTH_LIFE_S      3600          /* where none is said */
#define COCO_AUTH_LIFE_MAX_S  (366 * 86400)

static int coco_auth_form(coco_partners_auth_t *auth);
static int coco_auth_sign(coco_partners_auth_t *auth, int64_t now);
static int coco_auth_fetch(coco_partners_auth_t *auth, CURLM *multi,
    int64_t now);
static size_t coco_auth_write(char *data, size_t size, size_t count,
    void *user);
static int coco_auth_decode(coco_partners_auth_t *auth, int64_t *ret_life);
static void coco_auth_failed(coco_partners_auth_t *auth, int64_t now);


CURL *
coco_partners_easy(const coco_config_t *config, char *error)
{
    CURL  *easy;

    easy = curl_easy_init();
    if (easy == NULL) {
        return NULL;
    }

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);

    /* or what ends while its name is looked up waits for the name server, and
     * with it all others */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long) CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     config->partners_timeout < COCO_AUTH_CONNECT_MS
                     ? (long) config->partners_timeout
                     : (long) COCO_AUTH_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long) config->partners_timeout);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "coco-worker");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);

    if (config->partners_tls_ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->partners_tls_ca_file);
    }

    return easy;
}


int
coco_partners_auth_init(coco_partners_auth_t *auth,
    const coco_config_t *config, coco_partner_e partner, char *error,
    size_t error_size)
{
    coco_str_t    secret;
    coco_error_t  err;

    auth->config = config;
    auth->partner = partner;

    if (partner == COCO_PARTNER_DOORDASH) {
        auth->key.developer_id = (coco_str_t) {
            config->doordash_developer_id,
            strlen(config->doordash_developer_id) };
        auth->key.key_id = (coco_str_t) {
            config->doordash_key_id, strlen(config->doordash_key_id) };
        secret = (coco_str_t) { config->doordash_signing_secret,
                                strlen(config->doordash_signing_secret) };

        if (coco_dd_jwt_secret(&auth->key, secret, &err) != COCO_OK) {
            snprintf(error, error_size, "doordash.signing_secret: %s",
                     err.reason);
            return COCO_ERROR;
        }

        return COCO_OK;
    }

    auth->easy = coco_partners_easy(config, auth->error);

    if (auth->easy == NULL || coco_auth_form(auth) != COCO_OK) {
        snprintf(error, error_size, "no memory for uber.oauth_url");
        return COCO_ERROR;
    }

    curl_easy_setopt(auth->easy, CURLOPT_URL, config->uber_oauth_url);
    curl_easy_setopt(auth->easy, CURLOPT_POSTFIELDS, auth->form);
    curl_easy_setopt(auth->easy, CURLOPT_WRITEFUNCTION, coco_auth_write);
    curl_easy_setopt(auth->easy, CURLOPT_WRITEDATA, auth);
    curl_easy_setopt(auth->easy, CURLOPT_PRIVATE, NULL);

    return COCO_OK;
}


static int
coco_auth_form(coco_partners_auth_t *auth)
{
    int                   i, rc;
    char                 *part[3] = { NULL, NULL, NULL };
    const coco_config_t  *c = auth->config;
    const char           *text[3] = { c->uber_client_id,
                                      c->uber_client_secret, c->uber_scope };

    for (i = 0; i < 3; i++) {
        part[i] = curl_easy_escape(auth->easy, text[i] ? text[i] : "", 0);
    }

    rc = part[0] == NULL || part[1] == NULL || part[2] == NULL ? -1
         : asprintf(&auth->form, "client_id=%s&client_secret=%s"
                    "&grant_type=client_credentials%s%s", part[0], part[1],
                    text[2] ? "&scope=" : "", part[2]);

    if (rc == -1) {
        auth->form = NULL;
    }

    for (i = 0; i < 3; i++) {
        if (part[i] != NULL) {
            OPENSSL_cleanse(part[i], strlen(part[i]));
            curl_free(part[i]);
        }
    }

    return rc == -1 ? COCO_ERROR : COCO_OK;
}


void
coco_partners_auth_free(coco_partners_auth_t *auth)
{
    curl_easy_cleanup(auth->easy);

    if (auth->form != NULL) {
        OPENSSL_cleanse(auth->form, strlen(auth->form));
        free(auth->form);
    }

    OPENSSL_cleanse(auth, sizeof(*auth));
}


int
coco_partners_auth_ready(coco_partners_auth_t *auth, CURLM *multi,
    int64_t now)
{
    bool  has = auth->token[0] != '\0' && now < auth->ends_at;

    if (has && now < auth->renew_at) {
        return COCO_OK;
    }

    if (auth->partner == COCO_PARTNER_DOORDASH) {
        return coco_auth_sign(auth, now);
    }

    if (!auth->fetching && now >= auth->failed_until
        && coco_auth_fetch(auth, multi, now) != COCO_OK)
    {
        coco_auth_failed(auth, now);
    }

    return has ? COCO_OK : auth->fetching ? COCO_AGAIN : COCO_ERROR;
}


static int
coco_auth_sign(coco_partners_auth_t *auth, int64_t now)
{
    char  token[COCO_DD_JWT_MAX];

    if (coco_dd_jwt_sign(token, &auth->key, coco_clock_ms()) != COCO_OK) {
        snprintf(auth->error, sizeof(auth->error), "doordash.developer_id or "
                 "doordash.key_id is too long for a token");
        return COCO_ERROR;
    }

    strcpy(auth->token, token);
    auth->serial++;
    auth->ends_at = now + COCO_DD_JWT_LIFETIME * 1000000LL;
    auth->renew_at = auth->ends_at - COCO_AUTH_MARGIN_US;

    return COCO_OK;
}


static int
coco_auth_fetch(coco_partners_auth_t *auth, CURLM *multi, int64_t now)
{
    auth->reply_len = 0;
    auth->error[0] = '\0';

    if (curl_multi_add_handle(multi, auth->easy) != CURLM_OK) {
        snprintf(auth->error, sizeof(auth->error), "no memory");
        return COCO_ERROR;
    }

    auth->fetching = true;

    return COCO_OK;
}


void
coco_partners_auth_refused(coco_partners_auth_t *auth, unsigned serial)
{
    if (auth->serial == serial) {
        auth->token[0] = '\0';
    }
}


static size_t
coco_auth_write(char *data, size_t size, size_t count, void *user)
{
    coco_partners_auth_t  *auth = user;

    count *= size;

    if (count >= sizeof(auth->reply) - auth->reply_len) {
        return 0;
    }

    memcpy(auth->reply + auth->reply_len, data, count);
    auth->reply_len += count;

    return count;
}


bool
coco_partners_auth_fetched(coco_partners_auth_t *auth, CURLM *multi,
    CURLcode code, int64_t now)
{
    int      rc = COCO_ERROR;
    long     status = 0;
    int64_t  life = 0, margin;

    curl_easy_getinfo(auth->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(multi, auth->easy);
    auth->fetching = false;

    if (code != CURLE_OK) {
        if (auth->error[0] == '\0') {
            snprintf(auth->error, sizeof(auth->error), "%s",
                     curl_easy_strerror(code));
        }

    } else if (status != 200) {
        snprintf(auth->error, sizeof(auth->error), "HTTP %ld; see "
                 "uber.client_id and its secret", status);

    } else {
        rc = coco_auth_decode(auth, &life);
    }

    OPENSSL_cleanse(auth->reply, auth->reply_len);

    if (rc != COCO_OK) {
        coco_auth_failed(auth, now);
        return false;
    }

    /* of a token that lives for minutes, a fifth */
    margin = life / 5 < COCO_AUTH_MARGIN_US ? life / 5 : COCO_AUTH_MARGIN_US;

    auth->serial++;
    auth->ends_at = now + life;
    auth->renew_at = auth->ends_at - margin;
    auth->failed_until = 0;
    coco_backoff_reset(&auth->backoff);

    return true;
}


/* The old token is kept when there is no new one. */
static int
coco_auth_decode(coco_partners_auth_t *auth, int64_t *ret_life)
{
    char               token[COCO_PARTNERS_TOKEN_MAX];
    size_t             pos = 0, len = 0;
    int64_t            life = COCO_AUTH_LIFE_S;
    coco_str_t         name;
    coco_error_t       err;
    coco_json_value_t  root, value;

    if (coco_json_read(&root, (coco_str_t) { auth->reply, auth->reply_len },
                       &err) == COCO_OK
        && root.type == COCO_JSON_OBJECT)
    {
        while (coco_json_member_next(&root, &pos, &name, &value)) {
            if (coco_str_equal(name, coco_string("access_token"))
                && value.type == COCO_JSON_STRING && !value.escaped
                && value.string.len < sizeof(token))
            {
                len = value.string.len;
                memcpy(token, value.string.data, len);
            }

            if (coco_str_equal(name, coco_string("expires_in"))
                && value.type == COCO_JSON_NUMBER && value.integer
                && value.int64 > 0 && value.int64 < COCO_AUTH_LIFE_MAX_S)
            {
                life = value.int64;
            }
        }
    }

    for (size_t i = 0; i < len; i++) {
        if (token[i] <= ' ' || token[i] > '~') {
            len = 0;
        }
    }

    if (len == 0) {
        snprintf(auth->error, sizeof(auth->error), "the answer has no "
                 "access_token that could be sent");
        return COCO_ERROR;
    }

    memcpy(auth->token, token, len);
    auth->token[len] = '\0';
    OPENSSL_cleanse(token, sizeof(token));
    *ret_life = life * 1000000;

    return COCO_OK;
}


static void
coco_auth_failed(coco_partners_auth_t *auth, int64_t now)
{
    unsigned  ms;

    ms = coco_backoff_within(&auth->backoff,
                             (unsigned) auth->config->partners_retry_min,
                             (unsigned) auth->config->partners_retry_max);
    auth->failed_until = now + ms * 1000LL;

    coco_log(COCO_LOG_WARN, "partner_token_failed", "partner", "%s",
             coco_partner_name(auth->partner).data, "error", "%s",
             auth->error, NULL);
}
