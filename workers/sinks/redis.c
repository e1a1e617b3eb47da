/*
 * The Redis connection of a thread: the newest-wins script, invalidations,
 * reconnecting by time, removing copies that were not kept up. Must never
 * hold up a batch.
 */

#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "owed.h"
#include "redis.h"

#define COCO_REDIS_CONNECT_MS  200
#define COCO_REDIS_REPLY_MS    500
#define COCO_REDIS_SHA_LEN     40
#define COCO_REDIS_KEEP        (4 << 20)
#define COCO_REDIS_PIECE       1000        /* commands; keys of a scan */
#define COCO_REDIS_SCAN_US     100000      /* at a time */

/* Of the copies of a robot. */
enum {
    COCO_REDIS_CACHE = 0,
    COCO_REDIS_EPHEMERAL,
    COCO_REDIS_DRIVEU,
    COCO_REDIS_PREFIXES
};

typedef enum {
    COCO_REDIS_DONE = 0,
    COCO_REDIS_MORE,               /* time is up, the rest is for later */
    COCO_REDIS_NOSCRIPT,
    COCO_REDIS_REFUSED,            /* by a sound connection */
    COCO_REDIS_LOST                /* closed */
} coco_redis_result_e;

/* Through all copies, to remove them. */
typedef struct {
    bool       active;
    unsigned   prefix;             /* COCO_REDIS_PREFIXES: at the end */
    char       cursor[24];
} coco_redis_scan_t;

/* As the server sees a connection. */
typedef struct {
    char       id[24];             /* "": unknown */
    char       address[128];
} coco_redis_client_t;

struct coco_redis_s {
    redisContext    *context;      /* NULL: not connected */
    const char      *host;
    int              port;
    const char      *password;
    int              db;
    int              gauge_lane;   /* -1: none */

    coco_backoff_t   backoff;
    int64_t          retry_at;     /* monotonic us; to connect or settle */
    char             sha[COCO_REDIS_SHA_LEN + 1];
    coco_redis_client_t  self;     /* the last that was connected */

    coco_owed_t        owed;
    coco_redis_scan_t  scan;       /* active: all is owed, too */
    int64_t            shown;      /* our part of the gauge */

    int64_t            expected;   /* monotonic us; INT64_MAX: nothing */
    coco_redis_t      *next;       /* both under coco_redis_lock */

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
static void coco_redis_clear(coco_redis_t *redis);
static void coco_redis_put(coco_redis_t *redis, const char *data, size_t len);
static void coco_redis_arg(coco_redis_t *redis, const char *data, size_t len);
static void coco_redis_key(coco_redis_t *redis, coco_str_t prefix,
    coco_str_t serial);

static const coco_str_t  coco_redis_prefixes[COCO_REDIS_PREFIXES] = {
    [COCO_REDIS_CACHE] = coco_string("robot.heartbeat.cache."),
    [COCO_REDIS_EPHEMERAL] = coco_string("robot.ephemeral."),
    [COCO_REDIS_DRIVEU] = coco_string("driveu.status."),
};

/*
 * Times and id stand at the head of the values (coco_robot_state_encode,
 * coco_ephemeral_encode), teleoperation at the end, so they are matched, not
 * parsed. A value that has no such head is none of ours and gives way.
 * robot KEYS cache ephemeral; driveu KEYS status ephemeral; state KEYS cache.
 */
static const char  coco_redis_script[] =
    "local function gives_way(old)\n"
    "  local id, ts, received = string.match(old,\n"
    "    '^{\"serial\":\"[^\"]*\",\"id\":\"([^\"]*)\",'\n"
    "    .. '\"ts\":(%-?%d+),\"receivedAt\":(%-?%d+)')\n"
    "  if not id then return true end\n"
    "  local order = math.min(tonumber(ts), tonumber(received))\n"
    "  local new, new_ts = tonumber(ARGV[2]), tonumber(ARGV[7])\n"
    "  if order ~= new then return order < new end\n"
    "  if tonumber(ts) ~= new_ts then return tonumber(ts) < new_ts end\n"
    "  return id <= ARGV[3]\n"
    "end\n"
    "local function sum(text)\n"
    "  local all = 0\n"
    "  for ts, rest in string.gmatch(text, '\"ts\":(%-?%d+)([^}]*)') do\n"
    "    local at = string.match(rest, '^,\"receivedAt\":(%-?%d+)')\n"
    "    all = all + tonumber(at or ts)\n"
    "  end\n"
    "  return all\n"
    "end\n"
    "local function split(text)\n"
    "  return string.match(text, '^(.*)(,\"remotelyControllable\":.*)$')\n"
    "end\n"
    "local mode = ARGV[1]\n"
    "if mode == 'robot' then\n"
    "  if ARGV[4] ~= ''\n"
    "     and gives_way(redis.call('GETRANGE', KEYS[1], 0, 255)) then\n"
    "    redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[6])\n"
    "  end\n"
    "  if ARGV[5] == '' then return 1 end\n"
    "  local value, old = ARGV[5], redis.call('GET', KEYS[2])\n"
    "  if old and not gives_way(old) then return 1 end\n"
    "  local _, known = split(old or '')\n"
    "  local head, tail = split(value)\n"
    "  if known and known ~= tail and sum(known) > sum(tail) then\n"
    "    value = head .. known\n"
    "  end\n"
    "  redis.call('SET', KEYS[2], value, 'PX', ARGV[6])\n"
    "elseif mode == 'driveu' then\n"
    "  local mine = sum(ARGV[2])\n"
    "  local old = redis.call('GET', KEYS[1])\n"
    "  if not old or sum(old) <= mine then\n"
    "    redis.call('SET', KEYS[1], ARGV[2])\n"
    "  end\n"
    "  old = redis.call('GET', KEYS[2])\n"
    "  local head, tail = split(old or '')\n"
    "  if head and sum(tail) <= mine then\n"
    "    redis.call('SET', KEYS[2], head .. ARGV[3], 'KEEPTTL')\n"
    "  end\n"
    "else\n"
    "  local old = redis.call('GET', KEYS[1])\n"
    "  if old then\n"
    "    redis.call('SET', KEYS[1], (string.gsub(old,\n"
    "      '\"operationState\":[^,}]*',\n"
    "      '\"operationState\":\"' .. ARGV[2] .. '\"', 1)), 'KEEPTTL')\n"
    "  end\n"
    "end\n"
    "return 1\n";


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

    if (len > 0) {
        memcpy(redis->data + redis->len, data, len);
        redis->len += len;
    }
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


/* Two keys and the mode; then come args arguments. */
static void
coco_redis_eval(coco_redis_t *redis, int prefix, coco_str_t serial,
    coco_str_t mode, int args)
{
    int   n;
    char  head[48];

    n = snprintf(head, sizeof(head), "*%d\r\n$7\r\nEVALSHA\r\n", 6 + args);
    coco_redis_put(redis, head, (size_t) n);
    coco_redis_arg(redis, redis->sha, COCO_REDIS_SHA_LEN);
    coco_redis_arg(redis, "2", 1);
    coco_redis_key(redis, coco_redis_prefixes[prefix], serial);
    coco_redis_key(redis, coco_redis_prefixes[COCO_REDIS_EPHEMERAL], serial);
    coco_redis_arg(redis, mode.data, mode.len);
    redis->commands++;
}


void
coco_redis_robot(coco_redis_t *redis, coco_str_t serial,
    const coco_order_t *order, coco_str_t robot_state, coco_str_t ephemeral,
    int64_t ttl_ms)
{
    char  id[COCO_ID_TEXT_LEN];

    coco_id_format(id, &order->id);

    coco_redis_eval(redis, COCO_REDIS_CACHE, serial, coco_string("robot"), 6);
    coco_redis_number(redis, order->order_ms);
    coco_redis_arg(redis, id, sizeof(id));
    coco_redis_arg(redis, robot_state.data, robot_state.len);
    coco_redis_arg(redis, ephemeral.data, ephemeral.len);
    coco_redis_number(redis, ttl_ms);
    coco_redis_number(redis, order->ts);
}


void
coco_redis_driveu(coco_redis_t *redis, coco_str_t serial, coco_str_t driveu,
    bool remotely_controllable)
{
    int          n;
    char         size[32];
    coco_str_t   head, tail = coco_string("}");

    /* as coco_ephemeral_encode ends */
    head = remotely_controllable
           ? coco_string(",\"remotelyControllable\":true,\"driveu\":")
           : coco_string(",\"remotelyControllable\":false,\"driveu\":");

    coco_redis_eval(redis, COCO_REDIS_DRIVEU, serial, coco_string("driveu"),
                    2);
    coco_redis_arg(redis, driveu.data, driveu.len);

    n = snprintf(size, sizeof(size), "$%zu\r\n",
                 head.len + driveu.len + tail.len);
    coco_redis_put(redis, size, (size_t) n);
    coco_redis_put(redis, head.data, head.len);
    coco_redis_put(redis, driveu.data, driveu.len);
    coco_redis_put(redis, tail.data, tail.len);
    coco_redis_put(redis, "\r\n", 2);
}


void
coco_redis_operation_state(coco_redis_t *redis, coco_str_t serial,
    coco_str_t state)
{
    coco_redis_eval(redis, COCO_REDIS_CACHE, serial, coco_string("state"), 1);
    coco_redis_arg(redis, state.data, state.len);
}


void
coco_redis_invalidate(coco_redis_t *redis, coco_str_t json)
{
    coco_redis_publish(redis, coco_string("coco.invalidate"), json);
}


void
coco_redis_publish(coco_redis_t *redis, coco_str_t channel, coco_str_t message)
{
    static const char  head[] = "*3\r\n$7\r\nPUBLISH\r\n";

    coco_redis_put(redis, head, sizeof(head) - 1);
    coco_redis_arg(redis, channel.data, channel.len);
    coco_redis_arg(redis, message.data, message.len);
    redis->commands++;
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
