/*
 * One call to a partner: sent by libcurl, and judged by its answer. One
 * thread.
 */

#ifndef COCO_PARTNERS_CALL_H
#define COCO_PARTNERS_CALL_H

#include "coco_partner_map.h"
#include "sinks/partners_auth.h"
#include "sinks/partners_gate.h"

#define COCO_PARTNERS_REPLY   160    /* bytes that an error quotes */
#define COCO_PARTNERS_ERROR   320
#define COCO_PARTNERS_END_MAX 1600   /* bytes of coco_partners_call_encode() */

/* From top to bottom, but for TOKEN, to which a call returns once. */
typedef enum {
    COCO_CALL_FREE = 0,
    COCO_CALL_STORE,                 /* its body is not stored yet */
    COCO_CALL_TOKEN,                 /* waits for what it is to show */
    COCO_CALL_SENT,
    COCO_CALL_OVER                   /* what became of it is not stored yet */
} coco_call_state_e;

typedef enum {
    COCO_END_DELIVERED = 0, COCO_END_PENDING, COCO_END_REFUSED,
    COCO_END_FAILED,                 /* a position that is not tried again */
    COCO_END_SKIPPED
} coco_call_end_e;

typedef struct {
    coco_call_state_e    state;
    coco_partner_kind_e  kind;
    coco_id_t            id;         /* of the push, and the key */
    int64_t              at;         /* ms, when it was claimed; Postgres' */
    unsigned             attempted;  /* this one, too */
    char                *body;       /* malloc'ed */
    size_t               body_len;

    CURL                *easy;
    struct curl_slist   *headers;    /* hold the token */
    unsigned             token;      /* serial of the one it shows */
    bool                 anew;       /* the first one was refused */
    int64_t              begun_at;   /* us */
    char                 curl_error[CURL_ERROR_SIZE];
    char                 reply[COCO_PARTNERS_REPLY];
    size_t               reply_len;

    coco_call_end_e      end;        /* OVER */
    long                 status;     /* 0: no answer */
    int64_t              took_ms;
    int64_t              retry_ms;   /* PENDING */
    char                 error[COCO_PARTNERS_ERROR];
} coco_partners_call_t;

/* A partner. */
typedef struct {
    const coco_config_t       *config;
    coco_partner_e             partner;
    const char                *base_url;   /* NULL: it is told nothing */
    const coco_partner_map_t  *map;
    char                      *urls[COCO_PARTNER_KINDS];    /* malloc'ed */
    coco_partners_gate_t       gate;
    coco_partners_auth_t       auth;
    coco_partners_call_t      *calls;      /* config->partners_concurrency */
    unsigned                   in_flight;  /* calls that are not FREE */
    unsigned                   seed;
} coco_partners_peer_t;

/* Sends it with the token of now; COCO_ERROR: no memory. */
int coco_partners_call_send(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi, int64_t now);

/* libcurl is through with it: it is OVER, or once more in TOKEN. */
void coco_partners_call_done(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi, CURLcode code, int64_t now);

/* Ends a call that was not sent, for want of a token or memory. */
void coco_partners_call_fail(coco_partners_call_t *call,
    coco_partners_peer_t *peer, const char *why);
void coco_partners_call_skip(coco_partners_call_t *call);

/* An element of what coco.partner_push_finish() takes. */
void coco_partners_call_encode(coco_json_out_t *out,
    const coco_partners_call_t *call);

/* FREE again, whatever it was. */
void coco_partners_call_reset(coco_partners_call_t *call,
    coco_partners_peer_t *peer, CURLM *multi);

#endif /* COCO_PARTNERS_CALL_H */
