/*
 * An access token by the client credentials grant (RFC 6749, section 4.4):
 * when it is to be fetched and by whom, what is asked, and what was answered.
 * Pure: the caller has the clock, the memory that is shared, and the lock.
 */

#ifndef COCO_OAUTH_H
#define COCO_OAUTH_H

#include "coco_core.h"

#define COCO_OAUTH_TOKEN_MAX  3840      /* bytes */

/*
 * One token and the fetch of its next, shared by all that need it. Times are
 * ms of one clock that never goes back; all zeroes is how it begins.
 */
typedef struct {
    uint64_t  number;           /* of the token, from 1; 0: there is none */
    int64_t   renew;            /* from then on the next one is fetched */
    int64_t   expires;          /* until then it is good */

    uint64_t  flights;          /* fetches begun; the last one's number */
    int64_t   flight_until;     /* 0: none is under way; past: it is lost */

    uint32_t  failures;         /* fetches that failed one after the other */
    int64_t   retry;            /* nothing is fetched before */
    int32_t   failure;          /* the caller's word for what went wrong */
} coco_oauth_t;

typedef enum {
    COCO_OAUTH_USE = 0,         /* the token is good */
    COCO_OAUTH_RENEW,           /* it is good; fetch the next */
    COCO_OAUTH_FETCH,           /* there is none: fetch one */
    COCO_OAUTH_WAIT,            /* there is none, and a fetch is under way */
    COCO_OAUTH_FAIL             /* there is none, and it is too early to try
                                   again: see `failure` */
} coco_oauth_turn_e;

/*
 * Asked before each use. `refused` is the number of the token that the server
 * would not take (0: none): then another one is wanted. Whoever gets RENEW or
 * FETCH holds flight *ret_flight for `timeout` ms, and ends it by one of the
 * three below; others are not told to fetch before that.
 */
coco_oauth_turn_e coco_oauth_take(coco_oauth_t *oauth, uint64_t refused,
    int64_t timeout, int64_t now, uint64_t *ret_flight);

/* A token came, good for `lifetime` ms from `now`. One that comes after its
 * flight's time counts, too. */
void coco_oauth_granted(coco_oauth_t *oauth, uint64_t flight,
    int64_t lifetime, int64_t now);

/* None came: no other try for 50 ms, then twice that, at most a second. */
void coco_oauth_failed(coco_oauth_t *oauth, uint64_t flight, int32_t failure,
    int64_t now);

/* Who fetched went away. */
void coco_oauth_abandoned(coco_oauth_t *oauth, uint64_t flight);

/* Token `number`, fetched as another had been refused, was refused as well:
 * fetching one for each request would help nobody, and so waits a second. */
void coco_oauth_refused(coco_oauth_t *oauth, uint64_t number, int32_t failure,
    int64_t now);

/* Whether one who was told to wait is to ask again. */
bool coco_oauth_pending(const coco_oauth_t *oauth, int64_t now);

/* The request's body, application/x-www-form-urlencoded; scope may be empty.
 * Returns its length; writes nothing where ret is NULL. */
size_t coco_oauth_form(char *ret, coco_str_t client_id,
    coco_str_t client_secret, coco_str_t scope);

typedef struct {
    char      token[COCO_OAUTH_TOKEN_MAX];
    size_t    len;
    int64_t   lifetime;         /* ms */
} coco_oauth_grant_t;

/* The body of an answer 200; err says why it is no good. */
int coco_oauth_grant_decode(coco_oauth_grant_t *ret, coco_str_t body,
    coco_error_t *err);

#endif /* COCO_OAUTH_H */
