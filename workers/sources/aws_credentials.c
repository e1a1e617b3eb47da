/*
 * Keeps AWS credentials fresh. Must never hand out expired ones, or show any
 * of them in a log.
 */

#include <stdio.h>
#include <stdlib.h>
#include <openssl/crypto.h>

#include "aws_credentials.h"
#include "aws_providers.h"
#include "log.h"

/* As AWS's own tools: new ones are asked for 15 minutes before the old ones
 * expire, and with more insistence 10 minutes before. */
#define COCO_AWS_ADVISED_MS   (15 * 60 * 1000)
#define COCO_AWS_URGENT_MS    (10 * 60 * 1000)

#define COCO_AWS_RELAXED_MS   30000     /* between tries while not urgent */
#define COCO_AWS_SHORT_MS     60000     /* at most, when they live that short */
#define COCO_AWS_REFUSED_MIN  1000      /* between refusals heeded, doubled */
#define COCO_AWS_REFUSED_MAX  60000
#define COCO_AWS_LOG_MS       60000     /* between lines about one failure */


/* The strings follow in the same allocation of `size` bytes. */
typedef struct {
    coco_aws_keys_t  keys;
    unsigned         holders;           /* the mutex's */
    size_t           size;
} coco_aws_held_t;

struct coco_aws_credentials_s {
    const coco_aws_provider_t  *provider;
    char                       *region;
    pthread_t                   thread;
    coco_stop_t                 stop;

    pthread_mutex_t             mutex;          /* everything down to refused */
    pthread_cond_t              changed;        /* refused, or a stop */
    coco_aws_held_t            *held;           /* NULL: none yet */
    int64_t                     fetched_at;     /* monotonic ms */
    int64_t                     refused_gap;    /* ms */
    bool                        refused;

    /* the thread's */
    uint64_t                    version;
    coco_backoff_t              backoff;
    int64_t                     logged_at;      /* monotonic ms; 0: no failure
                                                   stands */
};


static void *coco_aws_credentials_thread(void *data);
static int64_t coco_aws_credentials_renew(coco_aws_credentials_t *c);
static int64_t coco_aws_credentials_failed(coco_aws_credentials_t *c,
    const char *error);
static int64_t coco_aws_credentials_next(int64_t left);
static void coco_aws_credentials_wait(coco_aws_credentials_t *c, int64_t ms);
static coco_aws_held_t *coco_aws_held_create(const coco_aws_secret_t *secret,
    uint64_t version);
static void coco_aws_held_drop(coco_aws_held_t *held);
static coco_str_t coco_aws_held_copy(char **p, const char *text);
static int64_t coco_aws_now(void);


int
coco_aws_credentials_start(coco_aws_credentials_t **ret, const char *region,
    char *error, size_t error_size)
{
    coco_aws_credentials_t  *c;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        goto memory;
    }

    c->region = strdup(region);
    c->refused_gap = COCO_AWS_REFUSED_MIN;

    if (c->region == NULL || coco_stop_init(&c->stop) != COCO_OK) {
        free(c->region);
        free(c);
        goto memory;
    }

    /* neither can fail: no attributes, or only the clock's */
    pthread_mutex_init(&c->mutex, NULL);
    coco_cond_init(&c->changed);

    c->provider = coco_aws_provider_choose(error, error_size);

    if (c->provider != NULL
        && pthread_create(&c->thread, NULL, coco_aws_credentials_thread, c)
           != 0)
    {
        snprintf(error, error_size, "no thread for the AWS credentials");
        c->provider = NULL;
    }

    if (c->provider == NULL) {
        coco_aws_credentials_stop(c);
        return COCO_ERROR;
    }

    *ret = c;

    return COCO_OK;

memory:

    snprintf(error, error_size, "out of memory");

    return COCO_ERROR;
}


void
coco_aws_credentials_stop(coco_aws_credentials_t *c)
{
    coco_stop_set(&c->stop);

    pthread_mutex_lock(&c->mutex);
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mutex);

    if (c->provider != NULL) {
        pthread_join(c->thread, NULL);
    }

    if (c->held != NULL) {
        coco_aws_held_drop(c->held);
    }

    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    coco_stop_free(&c->stop);
    free(c->region);
    free(c);
}


static void *
coco_aws_credentials_thread(void *data)
{
    coco_aws_credentials_t  *c;

    c = data;

    while (!atomic_load(&c->stop.set)) {
        coco_aws_credentials_wait(c, coco_aws_credentials_renew(c));
    }

    return NULL;
}


/* Returns how long to wait until the next time, ms. */
static int64_t
coco_aws_credentials_renew(coco_aws_credentials_t *c)
{
    int                 rc;
    char                error[512];
    int64_t             left, next;
    coco_aws_held_t    *held = NULL, *old;
    coco_aws_secret_t   secret;

    rc = c->provider->fetch(&secret, c->region, &c->stop, error,
                            sizeof(error));

    if (rc == COCO_OK && secret.expires_at <= coco_clock_ms()) {
        snprintf(error, sizeof(error), "they came expired: check this "
                 "machine's clock");
        rc = COCO_ERROR;
    }

    if (rc == COCO_OK) {
        held = coco_aws_held_create(&secret, c->version + 1);
        if (held == NULL) {
            snprintf(error, sizeof(error), "out of memory");
            rc = COCO_ERROR;
        }
    }

    left = rc == COCO_OK && secret.expires_at != INT64_MAX
           ? secret.expires_at - coco_clock_ms() : INT64_MAX;
    OPENSSL_cleanse(&secret, sizeof(secret));

    if (rc != COCO_OK) {
        return coco_aws_credentials_failed(c, error);
    }

    c->version++;
    c->logged_at = 0;
    coco_backoff_reset(&c->backoff);
    next = coco_aws_credentials_next(left);

    pthread_mutex_lock(&c->mutex);

    old = c->held;
    c->held = held;
    c->fetched_at = coco_aws_now();

    if (old != NULL && --old->holders == 0) {
        coco_aws_held_drop(old);
    }

    pthread_mutex_unlock(&c->mutex);

    coco_log(COCO_LOG_INFO, "aws_credentials", "source", "%s",
             c->provider->name, "valid_s", "%lld",
             left == INT64_MAX ? -1LL : (long long) left / 1000, NULL);

    return next;
}


/* The old ones serve until they expire. */
static int64_t
coco_aws_credentials_failed(coco_aws_credentials_t *c, const char *error)
{
    bool     urgent;
    int64_t  now, left;

    if (atomic_load(&c->stop.set)) {
        return 0;
    }

    pthread_mutex_lock(&c->mutex);
    left = c->held == NULL ? 0 : c->held->keys.expires_at - coco_clock_ms();
    pthread_mutex_unlock(&c->mutex);

    urgent = left < COCO_AWS_URGENT_MS;
    now = coco_aws_now();

    if (c->logged_at == 0 || now - c->logged_at >= COCO_AWS_LOG_MS) {
        c->logged_at = now;
        coco_log(urgent ? COCO_LOG_ERROR : COCO_LOG_WARN,
                 "aws_credentials_failed", "source", "%s", c->provider->name,
                 "left_s", "%lld", (long long) (left > 0 ? left / 1000 : 0),
                 "error", "%s", error, NULL);
    }

    return urgent ? coco_backoff_next(&c->backoff) : COCO_AWS_RELAXED_MS;
}


/* left: what they live, ms. */
static int64_t
coco_aws_credentials_next(int64_t left)
{
    if (left == INT64_MAX) {
        return INT64_MAX;
    }

    if (left - COCO_AWS_ADVISED_MS > COCO_AWS_SHORT_MS) {
        return left - COCO_AWS_ADVISED_MS;
    }

    return left / 2 < COCO_AWS_SHORT_MS ? left / 2 + 1 : COCO_AWS_SHORT_MS;
}


static void
coco_aws_credentials_wait(coco_aws_credentials_t *c, int64_t ms)
{
    int              rc = 0;
    struct timespec  until;

    /* a year at most: the sum must not overflow */
    ms = ms < 365 * 86400000LL ? ms : 365 * 86400000LL;
    until = coco_cond_deadline(coco_clock_monotonic_us() + ms * 1000);

    pthread_mutex_lock(&c->mutex);

    while (rc == 0 && !c->refused && !atomic_load(&c->stop.set)) {
        rc = pthread_cond_timedwait(&c->changed, &c->mutex, &until);
    }

    if (!c->refused) {
        c->refused_gap = COCO_AWS_REFUSED_MIN;
    }

    c->refused = false;
    pthread_mutex_unlock(&c->mutex);
}


const coco_aws_keys_t *
coco_aws_keys_hold(coco_aws_credentials_t *c)
{
    coco_aws_held_t  *held;

    pthread_mutex_lock(&c->mutex);

    held = c->held;

    if (held != NULL && held->keys.expires_at <= coco_clock_ms()) {
        held = NULL;
    }

    if (held != NULL) {
        held->holders++;
    }

    pthread_mutex_unlock(&c->mutex);

    return held != NULL ? &held->keys : NULL;
}


void
coco_aws_keys_release(coco_aws_credentials_t *c, const coco_aws_keys_t *keys)
{
    coco_aws_held_t  *held;

    if (keys == NULL) {
        return;
    }

    held = (coco_aws_held_t *) keys;        /* its first member */

    pthread_mutex_lock(&c->mutex);

    if (--held->holders == 0) {
        coco_aws_held_drop(held);
    }

    pthread_mutex_unlock(&c->mutex);
}


void
coco_aws_keys_refused(coco_aws_credentials_t *c, uint64_t version)
{
    pthread_mutex_lock(&c->mutex);

    if (c->held != NULL && c->held->keys.version == version && !c->refused
        && coco_aws_now() - c->fetched_at >= c->refused_gap)
    {
        c->refused = true;

        if (c->refused_gap < COCO_AWS_REFUSED_MAX) {
            c->refused_gap *= 2;
        }

        pthread_cond_signal(&c->changed);
    }

    pthread_mutex_unlock(&c->mutex);
}


static coco_aws_held_t *
coco_aws_held_create(const coco_aws_secret_t *secret, uint64_t version)
{
    char             *p;
    size_t            size;
    coco_aws_held_t  *held;

    size = sizeof(*held) + strlen(secret->access_key)
           + strlen(secret->secret_key) + strlen(secret->token) + 3;

    held = malloc(size);
    if (held == NULL) {
        return NULL;
    }

    p = (char *) (held + 1);

    held->keys.keys.access_key = coco_aws_held_copy(&p, secret->access_key);
    held->keys.keys.secret_key = coco_aws_held_copy(&p, secret->secret_key);
    held->keys.keys.session_token = coco_aws_held_copy(&p, secret->token);
    held->keys.expires_at = secret->expires_at;
    held->keys.version = version;
    held->holders = 1;
    held->size = size;

    if (held->keys.keys.session_token.len == 0) {
        held->keys.keys.session_token.data = NULL;
    }

    return held;
}


static coco_str_t
coco_aws_held_copy(char **p, const char *text)
{
    coco_str_t  copy;

    copy.len = strlen(text);
    copy.data = memcpy(*p, text, copy.len + 1);
    *p += copy.len + 1;

    return copy;
}


static void
coco_aws_held_drop(coco_aws_held_t *held)
{
    OPENSSL_cleanse(held, held->size);
    free(held);
}


static int64_t
coco_aws_now(void)
{
    return coco_clock_monotonic_us() / 1000;
}
