/*
 * Access tokens by the client credentials grant. Must never put a token or a
 * secret into an error.
 */

#include <strings.h>

#include <jansson.h>

#include "coco_oauth.h"


#define OAUTH_BACKOFF_MIN  50           /* ms */
#define OAUTH_BACKOFF_MAX  1000
#define OAUTH_MARGIN       10000        /* ms before its end it is not used */
#define OAUTH_AHEAD        300000       /* ms before its end it is renewed */
#define OAUTH_LIFETIME     300          /* s, where expires_in is not given */
#define OAUTH_LIFETIME_MAX 31622400     /* s, a year */


static void flight_end(coco_oauth_t *oauth, uint64_t flight);
static size_t form_text(char *ret, coco_str_t text);
static int grant_token(coco_oauth_grant_t *ret, const json_t *json,
    coco_error_t *err);
static int grant_lifetime(coco_oauth_grant_t *ret, const json_t *json,
    coco_error_t *err);


coco_oauth_turn_e
coco_oauth_take(coco_oauth_t *oauth, uint64_t refused, int64_t timeout,
    int64_t now, uint64_t *ret_flight)
{
    bool  good, idle;

    good = oauth->number != 0 && oauth->number != refused
           && now < oauth->expires;
    idle = !coco_oauth_pending(oauth, now);

    if (good && now < oauth->renew) {
        return COCO_OAUTH_USE;
    }

    if (!idle) {
        return good ? COCO_OAUTH_USE : COCO_OAUTH_WAIT;
    }

    if (now < oauth->retry) {
        return good ? COCO_OAUTH_USE : COCO_OAUTH_FAIL;
    }

    oauth->flight_until = now + timeout;
    *ret_flight = ++oauth->flights;

    return good ? COCO_OAUTH_RENEW : COCO_OAUTH_FETCH;
}


/* The margins are shares of a short life, so that such a token is used. */
void
coco_oauth_granted(coco_oauth_t *oauth, uint64_t flight, int64_t lifetime,
    int64_t now)
{
    int64_t  margin = lifetime / 10, ahead = lifetime / 5;

    oauth->number++;
    oauth->expires = now + lifetime
                     - (margin < OAUTH_MARGIN ? margin : OAUTH_MARGIN);
    oauth->renew = now + lifetime
                   - (ahead < OAUTH_AHEAD ? ahead : OAUTH_AHEAD);
    oauth->failures = 0;
    oauth->retry = 0;

    flight_end(oauth, flight);
}


void
coco_oauth_failed(coco_oauth_t *oauth, uint64_t flight, int32_t failure,
    int64_t now)
{
    int64_t  delay = OAUTH_BACKOFF_MAX;

    if (flight != oauth->flights) {
        return;                 /* a later one says more */
    }

    if (oauth->failures < 5) {
        delay = OAUTH_BACKOFF_MIN << oauth->failures;
    }

    oauth->failures++;
    oauth->failure = failure;
    oauth->retry = now + delay;

    flight_end(oauth, flight);
}


void
coco_oauth_abandoned(coco_oauth_t *oauth, uint64_t flight)
{
    flight_end(oauth, flight);
}


void
coco_oauth_refused(coco_oauth_t *oauth, uint64_t number, int32_t failure,
    int64_t now)
{
    if (number != oauth->number) {
        return;
    }

    oauth->failure = failure;
    oauth->retry = now + OAUTH_BACKOFF_MAX;
}


bool
coco_oauth_pending(const coco_oauth_t *oauth, int64_t now)
{
    return now < oauth->flight_until;
}


/* A flight that was lost may have been followed by another. */
static void
flight_end(coco_oauth_t *oauth, uint64_t flight)
{
    if (flight == oauth->flights) {
        oauth->flight_until = 0;
    }
}


size_t
coco_oauth_form(char *ret, coco_str_t client_id, coco_str_t client_secret,
    coco_str_t scope)
{
    size_t  i, len = 0;

    const struct {
        coco_str_t  name, value;
    } pairs[] = {
        { coco_string("grant_type="), coco_string("client_credentials") },
        { coco_string("&client_id="), client_id },
        { coco_string("&client_secret="), client_secret },
        { coco_string("&scope="), scope },
    };

    for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i].value.len == 0) {
            continue;
        }

        if (ret != NULL) {
            memcpy(ret + len, pairs[i].name.data, pairs[i].name.len);
        }

        len += pairs[i].name.len;
        len += form_text(ret == NULL ? NULL : ret + len, pairs[i].value);
    }

    return len;
}


/* RFC 6749, appendix B. */
static size_t
form_text(char *ret, coco_str_t text)
{
    char           c;
    size_t         i, len = 0;
    unsigned char  byte;

    static const char  hex[] = "0123456789ABCDEF";

    for (i = 0; i < text.len; i++) {
        c = text.data[i];
        byte = (unsigned char) c;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_')
        {
            if (ret != NULL) {
                ret[len] = c;
            }

            len++;
            continue;
        }

        if (ret != NULL) {
            ret[len] = '%';
            ret[len + 1] = hex[byte >> 4];
            ret[len + 2] = hex[byte & 15];
        }

        len += 3;
    }

    return len;
}


int
coco_oauth_grant_decode(coco_oauth_grant_t *ret, coco_str_t body,
    coco_error_t *err)
{
    int      rc;
    json_t  *json;

    json = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(json)) {
        json_decref(json);
        return coco_error_set(err, "", "is no JSON object");
    }

    rc = grant_token(ret, json, err);

    if (rc == COCO_OK) {
        rc = grant_lifetime(ret, json, err);
    }

    json_decref(json);

    return rc;
}


/* It is going to be part of a header: nothing may end that. */
static int
grant_token(coco_oauth_grant_t *ret, const json_t *json, coco_error_t *err)
{
    size_t         i;
    const char    *text, *type;
    const json_t  *token;

    type = json_string_value(json_object_get(json, "token_type"));

    if (type != NULL && strcasecmp(type, "bearer") != 0) {
        return coco_error_set(err, "token_type", "must be Bearer");
    }

    token = json_object_get(json, "access_token");
    text = json_string_value(token);
    ret->len = json_string_length(token);

    if (text == NULL || ret->len == 0 || ret->len > sizeof(ret->token)) {
        return coco_error_set(err, "access_token",
                              "must be a string of 1 to %d characters",
                              COCO_OAUTH_TOKEN_MAX);
    }

    for (i = 0; i < ret->len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return coco_error_set(err, "access_token",
                                  "has a character that no header may have");
        }
    }

    memcpy(ret->token, text, ret->len);

    return COCO_OK;
}


/* expires_in is recommended, not required (RFC 6749, section 5.1). */
static int
grant_lifetime(coco_oauth_grant_t *ret, const json_t *json,
    coco_error_t *err)
{
    double         seconds;
    const json_t  *expires;

    expires = json_object_get(json, "expires_in");
    seconds = expires == NULL ? OAUTH_LIFETIME : json_number_value(expires);

    if (seconds <= 0) {
        return coco_error_set(err, "expires_in",
                              "must be a number of seconds over 0");
    }

    if (seconds > OAUTH_LIFETIME_MAX) {
        seconds = OAUTH_LIFETIME_MAX;
    }

    ret->lifetime = (int64_t) (seconds * 1000);

    return COCO_OK;
}
