/*
 * The Redis connection of a thread: the newest-wins script, invalidations,
 * reconnecting by time. Must never hold up a batch.
 */

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "redis.h"

#define COCO_REDIS_CONNECT_MS  200
#define COCO_REDIS_REPLY_MS    500
#define COCO_REDIS_SHA_LEN     40
#define COCO_REDIS_KEEP        (4 << 20)

struct coco_redis_s {
    redisContext    *context;      /* NULL: not connected */
    const char      *host;
    int              port;
    const char      *password;
    int              db;
    int              gauge_lane;

    coco_backoff_t   backoff;
    int64_t          retry_at;     /* monotonic us */
    char             sha[COCO_REDIS_SHA_LEN + 1];

    /* commands, in the wire's form, so that they can be sent twice */
    char            *data;
    size_t           len;
    size_t           size;
    unsigned         commands;
    bool             failed;       /* no memory: the commands are cut */
};

static bool coco_redis_ended(const coco_redis_t *redis);
static int coco_redis_connect(coco_redis_t *redis);
static int coco_redis_script_load(coco_redis_t *redis);
static int coco_redis_exchange(coco_redis_t *redis, bool *ret_noscript);
static void coco_redis_close(coco_redis_t *redis, const char *error);
static void coco_redis_clear(coco_redis_t *redis);
static void coco_redis_put(coco_redis_t *redis, const char *data, size_t len);
static void coco_redis_arg(coco_redis_t *redis, const char *data, size_t len);

/*
 * Order and id stand at the head of the values (coco_robot_state_encode,
 * coco_ephemeral_encode), so they are matched, not parsed. A value that has
 * no such head is none of ours and gives way.
 */
static const char  coco_redis_script[] =
    "local function gives_way(key)\n"
    "  local id, ts, received = string.match(\n"
    "    redis.call('GETRANGE', key, 0, 255),\n"
    "    '^{\"serial\":\"[^\"]*\",\"id\":\"([^\"]*)\",'\n"
    "    .. '\"ts\":(%-?%d+),\"receivedAt\":(%-?%d+)')\n"
    "  if not id then return true end\n"
    "  local order = math.min(tonumber(ts), tonumber(received))\n"
    "  local new = tonumber(ARGV[1])\n"
    "  return order < new or order == new and id <= ARGV[2]\n"
    "end\n"
    "for i = 1, 2 do\n"
    "  if gives_way(KEYS[i]) then\n"
    "    redis.call('SET', KEYS[i], ARGV[2 + i], 'PX', ARGV[5])\n"
    "  end\n"
    "end\n"
    "return 1\n";


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

    return redis;
}


void
coco_redis_destroy(coco_redis_t *redis)
{
    if (redis == NULL) {
        return;
    }

    coco_redis_close(redis, NULL);
    free(redis->data);
    free(redis);
}


bool
coco_redis_open(coco_redis_t *redis)
{
    int64_t  now;

    if (redis->context != NULL) {
        if (!coco_redis_ended(redis)) {
            return true;
        }

        coco_redis_close(redis, "ended while idle");
    }

    now = coco_clock_monotonic_us();
    if (now < redis->retry_at) {
        return false;
    }

    if (coco_redis_connect(redis) == COCO_OK) {
        coco_backoff_reset(&redis->backoff);
        return true;
    }

    redis->retry_at = coco_clock_monotonic_us()
                      + coco_backoff_next(&redis->backoff) * 1000LL;

    return false;
}


/* Nothing is awaited between batches: what can be read then is the end of the
 * connection. Seen here, it does not cost the next batch its copies. */
static bool
coco_redis_ended(const coco_redis_t *redis)
{
    struct pollfd  fd = { .fd = redis->context->fd, .events = POLLIN };

    return poll(&fd, 1, 0) != 0;
}


/* One command; true when its reply is no error. Closes on a lost connection. */
static bool
coco_redis_command(coco_redis_t *redis, const char *format, ...)
{
    bool         ok;
    va_list      args;
    redisReply  *reply;

    va_start(args, format);
    reply = redisvCommand(redis->context, format, args);
    va_end(args);

    if (reply == NULL) {
        coco_redis_close(redis, redis->context->errstr);
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
    coco_metrics_shift(COCO_G_REDIS_CONNECTED, redis->gauge_lane, 1);

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

    if (coco_redis_script_load(redis) != COCO_OK) {
        return COCO_ERROR;
    }

    /* what was committed while nobody told Redis must be read afresh */
    if (!coco_redis_command(redis, "PUBLISH coco.invalidate %s",
                            "{\"all\":true}"))
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


static void
coco_redis_close(coco_redis_t *redis, const char *error)
{
    if (redis->context == NULL) {
        return;
    }

    if (error != NULL) {
        coco_metrics_add(COCO_M_REDIS_ERRORS, redis->gauge_lane, 1);
        coco_log(COCO_LOG_WARN, "redis_unavailable", "error", "%s",
                 *error ? error : "connection closed", NULL);
    }

    redisFree(redis->context);
    redis->context = NULL;
    coco_metrics_shift(COCO_G_REDIS_CONNECTED, redis->gauge_lane, -1);
}


static void
coco_redis_put(coco_redis_t *redis, const char *data, size_t len)
{
    char    *p;
    size_t   size;

    if (redis->len + len > redis->size) {
        size = (redis->len + len) * 2;
        p = realloc(redis->data, size);

        if (p == NULL) {
            redis->failed = true;
            return;
        }

        redis->data = p;
        redis->size = size;
    }

    memcpy(redis->data + redis->len, data, len);
    redis->len += len;
}


static void
coco_redis_arg(coco_redis_t *redis, const char *data, size_t len)
{
    int   n;
    char  head[32];

    n = snprintf(head, sizeof(head), "$%zu\r\n", len);
    coco_redis_put(redis, head, (size_t) n);
    coco_redis_put(redis, data, len);
    coco_redis_put(redis, "\r\n", 2);
}


static void
coco_redis_key(coco_redis_t *redis, coco_str_t prefix, coco_str_t serial)
{
    int   n;
    char  head[32];

    n = snprintf(head, sizeof(head), "$%zu\r\n", prefix.len + serial.len);
    coco_redis_put(redis, head, (size_t) n);
    coco_redis_put(redis, prefix.data, prefix.len);
    coco_redis_put(redis, serial.data, serial.len);
    coco_redis_put(redis, "\r\n", 2);
}


static void
coco_redis_number(coco_redis_t *redis, int64_t value)
{
    int   n;
    char  text[24];

    n = snprintf(text, sizeof(text), "%lld", (long long) value);
    coco_redis_arg(redis, text, (size_t) n);
}


void
coco_redis_robot(coco_redis_t *redis, coco_str_t serial,
    const coco_order_t *order, coco_str_t robot_state, coco_str_t ephemeral,
    int64_t ttl_ms)
{
    char  id[COCO_ID_TEXT_LEN];

    static const char  head[] = "*10\r\n$7\r\nEVALSHA\r\n";

    coco_id_format(id, &order->id);

    coco_redis_put(redis, head, sizeof(head) - 1);
    coco_redis_arg(redis, redis->sha, COCO_REDIS_SHA_LEN);
    coco_redis_arg(redis, "2", 1);
    coco_redis_key(redis, coco_string("robot.heartbeat.cache."), serial);
    coco_redis_key(redis, coco_string("robot.ephemeral."), serial);
    coco_redis_number(redis, order->order_ms);
    coco_redis_arg(redis, id, sizeof(id));
    coco_redis_arg(redis, robot_state.data, robot_state.len);
    coco_redis_arg(redis, ephemeral.data, ephemeral.len);
    coco_redis_number(redis, ttl_ms);
    redis->commands++;
}


void
coco_redis_invalidate(coco_redis_t *redis, coco_str_t json)
{
    static const char  head[] = "*3\r\n$7\r\nPUBLISH\r\n"
                                "$15\r\ncoco.invalidate\r\n";

    coco_redis_put(redis, head, sizeof(head) - 1);
    coco_redis_arg(redis, json.data, json.len);
    redis->commands++;
}


void
coco_redis_flush(coco_redis_t *redis)
{
    bool  noscript = false;

    if (redis->failed) {
        coco_metrics_add(COCO_M_REDIS_ERRORS, redis->gauge_lane, 1);

    } else if (redis->commands > 0
               && coco_redis_exchange(redis, &noscript) == COCO_OK
               && noscript
               && coco_redis_script_load(redis) == COCO_OK)
    {
        /* somebody flushed the scripts; the commands may be sent twice */
        coco_redis_exchange(redis, &noscript);
    }

    if (redis->context == NULL) {
        redis->retry_at = coco_clock_monotonic_us()
                          + coco_backoff_next(&redis->backoff) * 1000LL;
    }

    coco_redis_clear(redis);
}


static int
coco_redis_exchange(coco_redis_t *redis, bool *ret_noscript)
{
    unsigned     errors = 0;
    char         first[128] = "";
    redisReply  *reply;

    *ret_noscript = false;

    if (redisAppendFormattedCommand(redis->context, redis->data, redis->len)
        != REDIS_OK)
    {
        coco_redis_close(redis, redis->context->errstr);
        return COCO_ERROR;
    }

    for (unsigned i = 0; i < redis->commands; i++) {
        if (redisGetReply(redis->context, (void **) &reply) != REDIS_OK) {
            coco_redis_close(redis, redis->context->errstr);
            return COCO_ERROR;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
                *ret_noscript = true;

            } else if (errors++ == 0) {
                snprintf(first, sizeof(first), "%s", reply->str);
            }
        }

        freeReplyObject(reply);
    }

    if (errors > 0) {
        coco_metrics_add(COCO_M_REDIS_ERRORS, redis->gauge_lane, errors);
        coco_log(COCO_LOG_WARN, "redis_refused", "commands", "%u", errors,
                 "first", "%s", first, NULL);
    }

    return COCO_OK;
}


static void
coco_redis_clear(coco_redis_t *redis)
{
    redis->len = 0;
    redis->commands = 0;
    redis->failed = false;

    if (redis->size > COCO_REDIS_KEEP) {
        free(redis->data);
        redis->data = NULL;
        redis->size = 0;
    }
}
