/*
 * The Redis connection of a thread: reconnecting by time, sending what was
 * queued, removing copies that were not kept up. Must never hold up a batch.
 */

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "redis_conn.h"

#define COCO_REDIS_CONNECT_MS  200
#define COCO_REDIS_REPLY_MS    500
#define COCO_REDIS_PIECE       1000        /* commands; keys of a scan */
#define COCO_REDIS_SCAN_US     100000      /* at a time */

typedef enum {
    COCO_REDIS_DONE = 0,
    COCO_REDIS_MORE,               /* time is up, the rest is for later */
    COCO_REDIS_NOSCRIPT,
    COCO_REDIS_REFUSED,            /* by a sound connection */
    COCO_REDIS_LOST                /* closed */
} coco_redis_result_e;

static bool coco_redis_ended(const coco_redis_t *redis);
static int coco_redis_connect(coco_redis_t *redis);
static int coco_redis_script_load(coco_redis_t *redis);
static int coco_redis_supersede(coco_redis_t *redis);
static coco_redis_result_e coco_redis_settle(coco_redis_t *redis);
static coco_redis_result_e coco_redis_repay(coco_redis_t *redis);
static coco_redis_result_e coco_redis_scan(coco_redis_t *redis);
static coco_redis_result_e coco_redis_scan_page(coco_redis_t *redis);
static coco_redis_result_e coco_redis_unlink_owed(coco_redis_t *redis);
static coco_redis_result_e coco_redis_run(coco_redis_t *redis);
static coco_redis_result_e coco_redis_exchange(coco_redis_t *redis);
static void coco_redis_refused(coco_redis_t *redis, unsigned commands,
    const char *first);
static void coco_redis_later(coco_redis_t *redis);
static bool coco_redis_owes(const coco_redis_t *redis);
static void coco_redis_show(coco_redis_t *redis);
static void coco_redis_close(coco_redis_t *redis, const char *error);
static void coco_redis_gauge(const coco_redis_t *redis, coco_gauge_e gauge,
    int64_t by);
static void coco_redis_errors(const coco_redis_t *redis, unsigned count);


/* All there are. */
static pthread_mutex_t  coco_redis_lock = PTHREAD_MUTEX_INITIALIZER;
static coco_redis_t    *coco_redis_all;


coco_redis_t *
coco_redis_create(const char *host, int port, const char *password, int db,
    int gauge_lane)
{
    coco_redis_t  *redis;

    redis = calloc(1, sizeof(*redis));
    if (redis == NULL) {
        return NULL;
    }

    redis->host = host;
    redis->port = port;
    redis->password = password;
    redis->db = db;
    redis->gauge_lane = gauge_lane;
    redis->expected = INT64_MAX;

    pthread_mutex_lock(&coco_redis_lock);
    redis->next = coco_redis_all;
    coco_redis_all = redis;
    pthread_mutex_unlock(&coco_redis_lock);

    return redis;
}


void
coco_redis_destroy(coco_redis_t *redis)
{
    coco_redis_t  **at;

    if (redis == NULL) {
        return;
    }

    pthread_mutex_lock(&coco_redis_lock);

    for (at = &coco_redis_all; *at != redis; at = &(*at)->next) { /* void */ }

    *at = redis->next;
    pthread_mutex_unlock(&coco_redis_lock);

    coco_redis_close(redis, NULL);
    coco_redis_gauge(redis, COCO_G_REDIS_OWED, -redis->shown);
    coco_owed_clear(&redis->owed);
    free(redis->data);
    free(redis);
}


bool
coco_redis_open(coco_redis_t *redis)
{
    if (redis->context != NULL && coco_redis_ended(redis)) {
        coco_redis_close(redis, "ended while idle");
    }

    if (coco_clock_monotonic_us() < redis->retry_at) {
        return redis->context != NULL;
    }

    if (redis->context == NULL) {
        if (coco_redis_connect(redis) == COCO_OK && !coco_redis_owes(redis)) {
            coco_backoff_reset(&redis->backoff);
        }

    } else if (coco_redis_owes(redis)) {
        coco_redis_settle(redis);
    }

    if (redis->context == NULL) {
        coco_redis_later(redis);
    }

    return redis->context != NULL;
}


/* The next time to connect or to settle. On a sound connection a time to come
 * stands, or batch after batch would put it off. */
static void
coco_redis_later(coco_redis_t *redis)
{
    int64_t  now;

    now = coco_clock_monotonic_us();

    if (redis->context == NULL || now >= redis->retry_at) {
        redis->retry_at = now + coco_backoff_next(&redis->backoff) * 1000LL;
    }
}


/* Nothing is awaited between batches: what can be read then is the end of the
 * connection. Seen here, it does not cost the next batch its copies. */
static bool
coco_redis_ended(const coco_redis_t *redis)
{
    struct pollfd  fd = { .fd = redis->context->fd, .events = POLLIN };

    return poll(&fd, 1, 0) != 0;
}


/* One command and its reply, which may be an error; NULL: closed. */
static redisReply *
coco_redis_ask(coco_redis_t *redis, const char *format, va_list args)
{
    redisReply  *reply;

    reply = redisvCommand(redis->context, format, args);

    if (reply == NULL) {
        coco_redis_close(redis, redis->context->errstr);
    }

    return reply;
}


static redisReply *
coco_redis_reply(coco_redis_t *redis, const char *format, ...)
{
    va_list      args;
    redisReply  *reply;

    va_start(args, format);
    reply = coco_redis_ask(redis, format, args);
    va_end(args);

    return reply;
}


/* One command; true when its reply is no error. Closes otherwise. */
static bool
coco_redis_command(coco_redis_t *redis, const char *format, ...)
{
    bool         ok;
    va_list      args;
    redisReply  *reply;

    va_start(args, format);
    reply = coco_redis_ask(redis, format, args);
    va_end(args);

    if (reply == NULL) {
        return false;
    }

    ok = reply->type != REDIS_REPLY_ERROR;
    if (!ok) {
        coco_redis_close(redis, reply->str);
    }

    freeReplyObject(reply);

    return ok;
}


static int
coco_redis_connect(coco_redis_t *redis)
{
    redisContext    *c;
    struct timeval   connect = { 0, COCO_REDIS_CONNECT_MS * 1000 };
    struct timeval   reply = { 0, COCO_REDIS_REPLY_MS * 1000 };

    c = redis->port == 0
        ? redisConnectUnixWithTimeout(redis->host, connect)
        : redisConnectWithTimeout(redis->host, redis->port, connect);

    if (c == NULL) {
        return COCO_ERROR;
    }

    redis->context = c;
    coco_redis_gauge(redis, COCO_G_REDIS_CONNECTED, 1);

    if (c->err || redisSetTimeout(c, reply) != REDIS_OK) {
        coco_redis_close(redis, c->errstr);
        return COCO_ERROR;
    }

    if (redis->password != NULL
        && !coco_redis_command(redis, "AUTH %s", redis->password))
    {
        return COCO_ERROR;
    }

    if (redis->db != 0 && !coco_redis_command(redis, "SELECT %d", redis->db)) {
        return COCO_ERROR;
    }

    if (coco_redis_script_load(redis) != COCO_OK
        || coco_redis_supersede(redis) != COCO_OK
        || coco_redis_settle(redis) == COCO_REDIS_LOST)
    {
        return COCO_ERROR;
    }

    coco_log(COCO_LOG_INFO, "redis_connected", "host", "%s", redis->host,
             NULL);

    return COCO_OK;
}


static int
coco_redis_script_load(coco_redis_t *redis)
{
    redisReply  *reply;

    reply = redisCommand(redis->context, "SCRIPT LOAD %s", coco_redis_script);

    if (reply == NULL || reply->type != REDIS_REPLY_STRING
        || reply->len != COCO_REDIS_SHA_LEN)
    {
        coco_redis_close(redis, reply && reply->type == REDIS_REPLY_ERROR
                                ? reply->str : redis->context->errstr);
        freeReplyObject(reply);
        return COCO_ERROR;
    }

    memcpy(redis->sha, reply->str, COCO_REDIS_SHA_LEN);
    freeReplyObject(reply);

    return COCO_OK;
}


/*
 * A Redis that hung still finds in its socket what the connection before this
 * one had sent, copies older than those that are removed now: that connection
 * has to end first. By id and address, for a server that was restarted gives
 * its ids anew. A server that forbids it, or does not know how (before 6.2),
 * goes without.
 */
static int
coco_redis_supersede(coco_redis_t *redis)
{
    redisReply           *reply;
    coco_redis_client_t  *self = &redis->self;

    if (self->id[0] != '\0') {
        reply = coco_redis_reply(redis, "CLIENT KILL ID %s ADDR %s", self->id,
                                 self->address);
        if (reply == NULL) {
            return COCO_ERROR;
        }
        freeReplyObject(reply);
    }

    reply = coco_redis_reply(redis, "CLIENT INFO");
    if (reply == NULL) {
        return COCO_ERROR;
    }

    if (reply->type == REDIS_REPLY_ERROR
        || sscanf(reply->str, "id=%23s addr=%127s", self->id, self->address)
           != 2)
    {
        self->id[0] = '\0';
    }

    freeReplyObject(reply);

    return COCO_OK;
}


/*
 * Removes what is owed, and tells that what was committed while nobody told
 * Redis must be read afresh. The debt stands until both are acknowledged.
 */
static coco_redis_result_e
coco_redis_settle(coco_redis_t *redis)
{
    coco_redis_result_e  rc;

    rc = coco_redis_repay(redis);

    if (rc == COCO_REDIS_LOST
        || !coco_redis_command(redis, "PUBLISH coco.invalidate %s",
                               "{\"all\":true}"))
    {
        return COCO_REDIS_LOST;
    }

    if (rc == COCO_REDIS_REFUSED) {
        coco_redis_later(redis);

    } else if (rc == COCO_REDIS_DONE) {
        coco_owed_clear(&redis->owed);
        redis->scan.active = false;
    }

    coco_redis_show(redis);

    return rc;
}


static coco_redis_result_e
coco_redis_repay(coco_redis_t *redis)
{
    coco_redis_result_e  rc;

    if (redis->owed.all) {
        /* who is owed from here on may be behind the cursor already */
        coco_owed_clear(&redis->owed);
        redis->scan = (coco_redis_scan_t) { true, 0, "0" };
    }

    if (redis->scan.active) {
        rc = coco_redis_scan(redis);
        if (rc != COCO_REDIS_DONE) {
            return rc;
        }
    }

    return coco_redis_unlink_owed(redis);
}


static coco_redis_result_e
coco_redis_scan(coco_redis_t *redis)
{
    int64_t              until;
    coco_redis_scan_t   *scan = &redis->scan;
    coco_redis_result_e  rc;

    until = coco_clock_monotonic_us() + COCO_REDIS_SCAN_US;

    while (scan->prefix < COCO_REDIS_PREFIXES) {
        if (coco_clock_monotonic_us() >= until) {
            return COCO_REDIS_MORE;
        }

        rc = coco_redis_scan_page(redis);
        if (rc != COCO_REDIS_DONE) {
            return rc;
        }

        if (strcmp(scan->cursor, "0") == 0) {
            scan->prefix++;
        }
    }

    return COCO_REDIS_DONE;
}


/* The cursor moves once the keys that it has passed are gone. */
static coco_redis_result_e
coco_redis_scan_page(coco_redis_t *redis)
{
    redisReply          *reply, *key;
    coco_redis_scan_t   *scan = &redis->scan;
    coco_redis_result_e  rc;

    static const char  head[] = "*2\r\n$6\r\nUNLINK\r\n";

    reply = coco_redis_reply(redis, "SCAN %s MATCH %s* COUNT %d", scan->cursor,
                             coco_redis_prefixes[scan->prefix].data,
                             COCO_REDIS_PIECE);
    if (reply == NULL) {
        return COCO_REDIS_LOST;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        coco_redis_refused(redis, 1, reply->str ? reply->str : "SCAN");
        freeReplyObject(reply);
        return COCO_REDIS_REFUSED;
    }

    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        key = reply->element[1]->element[i];
        coco_redis_put(redis, head, sizeof(head) - 1);
        coco_redis_arg(redis, key->str, key->len);
        redis->commands++;
    }

    rc = coco_redis_run(redis);

    if (rc == COCO_REDIS_DONE) {
        snprintf(scan->cursor, sizeof(scan->cursor), "%s",
                 reply->element[0]->str);
    }

    freeReplyObject(reply);

    return rc;
}


static coco_redis_result_e
coco_redis_unlink_owed(coco_redis_t *redis)
{
    size_t               at = 0;
    coco_str_t           serial;
    coco_redis_result_e  rc;

    static const char  head[] = "*4\r\n$6\r\nUNLINK\r\n";

    while (coco_owed_next(&redis->owed, &at, &serial)) {
        coco_redis_put(redis, head, sizeof(head) - 1);

        for (int i = 0; i < COCO_REDIS_PREFIXES; i++) {
            coco_redis_key(redis, coco_redis_prefixes[i], serial);
        }

        if (++redis->commands == COCO_REDIS_PIECE) {
            rc = coco_redis_run(redis);
            if (rc != COCO_REDIS_DONE) {
                return rc;
            }
        }
    }

    return coco_redis_run(redis);
}


void
coco_redis_owe(coco_redis_t *redis, coco_str_t serial)
{
    coco_owed_add(&redis->owed, serial);
    coco_redis_show(redis);
}


void
coco_redis_expect(coco_redis_t *redis)
{
    pthread_mutex_lock(&coco_redis_lock);

    /* what came of an attempt before may not be known: it counts on */
    if (redis->expected == INT64_MAX) {
        redis->expected = coco_clock_monotonic_us();
    }

    pthread_mutex_unlock(&coco_redis_lock);
}


void
coco_redis_told(coco_redis_t *redis)
{
    pthread_mutex_lock(&coco_redis_lock);
    redis->expected = INT64_MAX;
    pthread_mutex_unlock(&coco_redis_lock);
}


int64_t
coco_redis_expected(void)
{
    int64_t        first = INT64_MAX;
    coco_redis_t  *redis;

    pthread_mutex_lock(&coco_redis_lock);

    for (redis = coco_redis_all; redis != NULL; redis = redis->next) {
        if (redis->expected < first) {
            first = redis->expected;
        }
    }

    pthread_mutex_unlock(&coco_redis_lock);

    return first;
}


int64_t
coco_redis_due(const coco_redis_t *redis)
{
    return coco_redis_owes(redis) ? redis->retry_at : INT64_MAX;
}


static bool
coco_redis_owes(const coco_redis_t *redis)
{
    return redis->scan.active || coco_owed_any(&redis->owed);
}


static void
coco_redis_show(coco_redis_t *redis)
{
    int64_t  owed;

    owed = redis->scan.active ? COCO_OWED_MAX
                              : (int64_t) coco_owed_count(&redis->owed);

    coco_redis_gauge(redis, COCO_G_REDIS_OWED, owed - redis->shown);
    redis->shown = owed;
}


static void
coco_redis_close(coco_redis_t *redis, const char *error)
{
    if (redis->context == NULL) {
        return;
    }

    if (error != NULL) {
        coco_redis_errors(redis, 1);
        coco_log(COCO_LOG_WARN, "redis_unavailable", "error", "%s",
                 *error ? error : "connection closed", NULL);
    }

    redisFree(redis->context);
    redis->context = NULL;
    coco_redis_gauge(redis, COCO_G_REDIS_CONNECTED, -1);

    /* the next server's cursors may be others */
    redis->scan = (coco_redis_scan_t) { redis->scan.active, 0, "0" };
}


bool
coco_redis_flush(coco_redis_t *redis)
{
    coco_redis_result_e  rc;

    if (redis->commands == 0 && !redis->failed) {
        return true;
    }

    rc = coco_redis_exchange(redis);

    if (rc == COCO_REDIS_NOSCRIPT && coco_redis_script_load(redis) == COCO_OK)
    {
        /* somebody flushed the scripts; the commands may be sent twice */
        rc = coco_redis_exchange(redis);
    }

    coco_redis_clear(redis);

    if (rc == COCO_REDIS_DONE) {
        coco_backoff_reset(&redis->backoff);
        redis->retry_at = 0;

    } else {
        coco_redis_later(redis);
    }

    return rc == COCO_REDIS_DONE;
}


/* An exchange that is not tried again. */
static coco_redis_result_e
coco_redis_run(coco_redis_t *redis)
{
    coco_redis_result_e  rc;

    rc = coco_redis_exchange(redis);
    coco_redis_clear(redis);

    return rc;
}


static coco_redis_result_e
coco_redis_exchange(coco_redis_t *redis)
{
    bool         noscript = false;
    unsigned     errors = 0;
    char         first[128] = "";
    redisReply  *reply;

    if (redis->failed) {
        coco_redis_errors(redis, 1);
        return COCO_REDIS_REFUSED;
    }

    if (redis->commands > 0
        && redisAppendFormattedCommand(redis->context, redis->data, redis->len)
           != REDIS_OK)
    {
        coco_redis_close(redis, redis->context->errstr);
        return COCO_REDIS_LOST;
    }

    for (unsigned i = 0; i < redis->commands; i++) {
        if (redisGetReply(redis->context, (void **) &reply) != REDIS_OK) {
            coco_redis_close(redis, redis->context->errstr);
            return COCO_REDIS_LOST;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
                noscript = true;

            } else if (errors++ == 0) {
                snprintf(first, sizeof(first), "%s", reply->str);
            }
        }

        freeReplyObject(reply);
    }

    if (errors > 0) {
        coco_redis_refused(redis, errors, first);
    }

    return noscript ? COCO_REDIS_NOSCRIPT
           : errors > 0 ? COCO_REDIS_REFUSED : COCO_REDIS_DONE;
}


static void
coco_redis_refused(coco_redis_t *redis, unsigned commands, const char *first)
{
    coco_redis_errors(redis, commands);
    coco_log(COCO_LOG_WARN, "redis_refused", "commands", "%u", commands,
             "first", "%s", first, NULL);
}


static void
coco_redis_gauge(const coco_redis_t *redis, coco_gauge_e gauge, int64_t by)
{
    if (redis->gauge_lane >= 0) {
        coco_metrics_shift(gauge, (coco_lane_id_e) redis->gauge_lane, by);
    }
}


static void
coco_redis_errors(const coco_redis_t *redis, unsigned count)
{
    if (redis->gauge_lane >= 0) {
        coco_metrics_add(COCO_M_REDIS_ERRORS,
                         (coco_lane_id_e) redis->gauge_lane, count);
    }
}
