/*
 * What a partner is shown with each call: DoorDash a token that we sign, Uber
 * one that its server gives for our client id and secret. One thread; the
 * fetch is on the caller's multi handle.
 */

#ifndef COCO_PARTNERS_AUTH_H
#define COCO_PARTNERS_AUTH_H

#include <curl/curl.h>

#include "coco_dd_jwt.h"
#include "coco_order.h"
#include "config.h"
#include "sinks/retry.h"

#define COCO_PARTNERS_TOKEN_MAX  4096
#define COCO_PARTNERS_REPLY_MAX  16384

typedef struct {
    const coco_config_t  *config;
    coco_partner_e        partner;
    char                  token[COCO_PARTNERS_TOKEN_MAX];   /* "": none */
    unsigned              serial;        /* counts tokens, from 1 */
    int64_t               renew_at;      /* us, monotonic */
    int64_t               ends_at;
    coco_dd_jwt_key_t     key;           /* of DoorDash */

    /* of Uber */
    CURL                 *easy;
    bool                  fetching;
    int64_t               failed_until;  /* no fetch before; us */
    coco_backoff_t        backoff;
    char                 *form;          /* holds the secret */
    char                  error[CURL_ERROR_SIZE];
    char                  reply[COCO_PARTNERS_REPLY_MAX];
    size_t                reply_len;
} coco_partners_auth_t;

/* COCO_ERROR with a message that names the option. */
int coco_partners_auth_init(coco_partners_auth_t *auth,
    const coco_config_t *config, coco_partner_e partner, char *error,
    size_t error_size);
/* The multi handle may be gone. */
void coco_partners_auth_free(coco_partners_auth_t *auth);

/* COCO_OK: there is a token; near its end the next one is under way.
 * COCO_AGAIN: it is being fetched. COCO_ERROR: none could be had; error says
 * why. */
int coco_partners_auth_ready(coco_partners_auth_t *auth, CURLM *multi,
    int64_t now);
/* The partner refuses the token of this serial; does nothing when it is no
 * longer the one in use. */
void coco_partners_auth_refused(coco_partners_auth_t *auth, unsigned serial);
/* The fetch is over. True when there is a new token. */
bool coco_partners_auth_fetched(coco_partners_auth_t *auth, CURLM *multi,
    CURLcode code, int64_t now);

/* What calls to partners and fetches have in common. NULL: no memory. */
CURL *coco_partners_easy(const coco_config_t *config, char *error);

#endif /* COCO_PARTNERS_AUTH_H */
