/*
 * What a Redis connection is to send, queued in the wire's form: the script by
 * which the newest wins, the copies of robots, and hints. Must never touch the
 * socket.
 */

#include <stdio.h>
#include <stdlib.h>

#include "redis_conn.h"

#define COCO_REDIS_KEEP  (4 << 20)    /* bytes kept for what is next */

static void coco_redis_number(coco_redis_t *redis, int64_t value);
static void coco_redis_eval(coco_redis_t *redis, int prefix,
    coco_str_t serial, coco_str_t mode, int args);

const coco_str_t  coco_redis_prefixes[COCO_REDIS_PREFIXES] = {
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
const char  coco_redis_script[] =
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


static void
coco_redis_number(coco_redis_t *redis, int64_t value)
{
    int   n;
    char  text[24];

    n = snprintf(text, sizeof(text), "%lld", (long long) value);
    coco_redis_arg(redis, text, (size_t) n);
}


void
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


void
coco_redis_arg(coco_redis_t *redis, const char *data, size_t len)
{
    int   n;
    char  head[32];

    n = snprintf(head, sizeof(head), "$%zu\r\n", len);
    coco_redis_put(redis, head, (size_t) n);
    coco_redis_put(redis, data, len);
    coco_redis_put(redis, "\r\n", 2);
}


void
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


void
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
