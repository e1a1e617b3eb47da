/*
 * The Redis client: one connection per process, commands of all requests
 * pipelined on it. hiredis only parses replies; sockets and time are nginx's.
 * Never blocks, and calls no handler from within ngx_coco_redis_send().
 */

#include "ngx_coco_redis.h"
#include "ngx_coco_base.h"
#include "ngx_coco_op.h"
#include <ngx_event_connect.h>

#define NGX_COCO_REDIS_PORT      6379
#define NGX_COCO_REDIS_LINE_MAX  16384              /* operations */
#define NGX_COCO_REDIS_OUT_MIN   16384              /* bytes */
#define NGX_COCO_REDIS_OUT_MAX   (4 * 1024 * 1024)  /* bytes */

/* milliseconds */
#define NGX_COCO_REDIS_CONNECT   1000   /* for connecting and greeting */
#define NGX_COCO_REDIS_WATCH     1000   /* between looks at a connection */
#define NGX_COCO_REDIS_PING      5000   /* idle for that long: ask */
#define NGX_COCO_REDIS_DEAD      3000   /* silent, though asked: lost */


struct ngx_coco_redis_op_s {
    ngx_coco_op_t              op;
    ngx_coco_redis_handler_pt  handler;
    void                      *data;
};

/*
 * CLOSED      at the start; after a loss, until the timer opens it, or the
 *             next command does so (only while no attempt has failed); in a
 *             worker that leaves, once nothing is under way
 * CONNECTING  connect() has not ended
 * GREETING    AUTH, SELECT and PING are sent, not all answered
 * READY       commands are written as they come
 */
typedef enum {
    NGX_COCO_REDIS_CLOSED = 0,
    NGX_COCO_REDIS_CONNECTING,
    NGX_COCO_REDIS_GREETING,
    NGX_COCO_REDIS_READY
} ngx_coco_redis_state_e;

struct ngx_coco_redis_s {
    ngx_coco_ident_t         ident;     /* of the events below */

    /* configuration */
    ngx_addr_t               addr;
    ngx_str_t                password;
    ngx_int_t                db;

    /* of this process */
    ngx_coco_redis_state_e   state;
    ngx_uint_t               attempts;  /* failed since it was READY */
    ngx_coco_ops_t           ops;
    ngx_queue_t              line;      /* operations in the order of their
                                           commands, thus of the replies */
    ngx_uint_t               count;     /* of those in line */
    ngx_pool_t              *pool;
    ngx_log_t                log;
    ngx_peer_connection_t    peer;
    redisReader             *reader;
    u_char                  *greeting;  /* AUTH, SELECT, PING; in pool */
    size_t                   greeting_len;
    ngx_uint_t               greeted;   /* its replies still awaited */
    u_char                  *out;       /* commands not written yet: */
    size_t                   out_pos;   /* from here */
    size_t                   out_last;  /* to here */
    size_t                   out_size;
    ngx_event_t              flush;     /* posted: one write for all commands
                                           of this turn */
    ngx_event_t              timer;     /* CLOSED: open again; READY: look
                                           after it; else: give up */
    ngx_msec_t               heard;     /* the last bytes, or the command
                                           that ended an idle time */
    const char              *reason;
    u_char                   in[16384];
};


static char *ngx_coco_redis_option(ngx_conf_t *cf, ngx_coco_redis_t *redis,
    ngx_str_t *value);
static ngx_int_t ngx_coco_redis_greeting(ngx_coco_redis_t *redis);

static void ngx_coco_redis_open(ngx_coco_redis_t *redis);
static void ngx_coco_redis_greet(ngx_coco_redis_t *redis);
static ngx_int_t ngx_coco_redis_greeted(ngx_coco_redis_t *redis,
    redisReply *reply);
static void ngx_coco_redis_close(ngx_coco_redis_t *redis);
static void ngx_coco_redis_lost(ngx_coco_redis_t *redis, ngx_err_t err,
    const char *reason, const char *detail);

static ngx_int_t ngx_coco_redis_reserve(ngx_coco_redis_t *redis,
    ngx_uint_t argc, const ngx_str_t *argv);
static ngx_int_t ngx_coco_redis_replies(ngx_coco_redis_t *redis);
static void ngx_coco_redis_answer(ngx_coco_redis_op_t *op,
    ngx_coco_outcome_e outcome, redisReply *reply);
static void ngx_coco_redis_call(ngx_coco_op_t *op,
    ngx_coco_outcome_e outcome);

static void ngx_coco_redis_read_handler(ngx_event_t *rev);
static void ngx_coco_redis_leave(ngx_coco_redis_t *redis);
static void ngx_coco_redis_write_handler(ngx_event_t *wev);
static void ngx_coco_redis_flush_handler(ngx_event_t *ev);
static void ngx_coco_redis_timer_handler(ngx_event_t *ev);
static void ngx_coco_redis_look_after(ngx_coco_redis_t *redis);
static u_char *ngx_coco_redis_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


static ngx_str_t  ngx_coco_redis_ping = ngx_string("PING");


ngx_coco_redis_op_t *
ngx_coco_redis_send(ngx_coco_redis_t *redis, ngx_uint_t argc,
    const ngx_str_t *argv, ngx_msec_t timeout,
    ngx_coco_redis_handler_pt handler, void *data)
{
    ngx_int_t             rc;
    ngx_coco_redis_op_t  *op;

    if (redis->state == NGX_COCO_REDIS_CLOSED && redis->attempts == 0) {
        ngx_coco_redis_open(redis);
    }

    if (ngx_queue_empty(&redis->line)) {
        redis->heard = ngx_current_msec;
    }

    op = ngx_coco_op_create(&redis->ops, &redis->line, timeout);
    if (op == NULL) {
        return NULL;
    }

    op->handler = handler;
    op->data = data;

    if (redis->state != NGX_COCO_REDIS_READY && redis->attempts) {
        ngx_coco_op_end(&op->op, NGX_COCO_DOWN);
        return op;
    }

    rc = ngx_coco_redis_reserve(redis, argc, argv);

    if (rc == NGX_BUSY) {
        ngx_coco_op_end(&op->op, NGX_COCO_FULL);
        return op;
    }

    if (rc != NGX_OK) {
        ngx_coco_op_orphan(&op->op);
        return NULL;
    }

    redis->out_last = ngx_coco_redis_format(redis->out + redis->out_last,
                                            argc, argv)
                      - redis->out;
    redis->count++;
    op->op.sent = 1;

    ngx_post_event(&redis->flush, &ngx_posted_events);

    return op;
}


void
ngx_coco_redis_cancel(ngx_coco_redis_op_t *op)
{
    ngx_coco_op_orphan(&op->op);
}


const char *
ngx_coco_redis_reason(ngx_coco_redis_t *redis)
{
    return (redis->state == NGX_COCO_REDIS_READY) ? "" : redis->reason;
}


const ngx_addr_t *
ngx_coco_redis_addr(ngx_coco_redis_t *redis)
{
    return &redis->addr;
}


const ngx_str_t *
ngx_coco_redis_password(ngx_coco_redis_t *redis)
{
    return &redis->password;
}


ngx_coco_redis_t *
ngx_coco_redis_create(ngx_conf_t *cf)
{
    ngx_url_t          u;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_coco_redis_t  *redis;

    redis = ngx_pcalloc(cf->pool, sizeof(*redis));
    if (redis == NULL) {
        return NULL;
    }

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(u));
    u.url = value[1];
    u.default_port = NGX_COCO_REDIS_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.uri.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_redis\": invalid address \"%V\"%s%s",
                           &u.url, u.err ? ": " : "", u.err ? u.err : "");
        return NULL;
    }

    if (u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_redis\": \"%V\" is a name, and looking it "
                           "up would block; give an address or unix:/path",
                           &u.host);
        return NULL;
    }

    redis->addr = u.addrs[0];

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_coco_redis_option(cf, redis, &value[i]) != NGX_CONF_OK) {
            return NULL;
        }
    }

    return redis;
}


static char *
ngx_coco_redis_option(ngx_conf_t *cf, ngx_coco_redis_t *redis,
    ngx_str_t *value)
{
    ngx_str_t  file;

    if (ngx_strncmp(value->data, "db=", 3) == 0) {
        redis->db = ngx_atoi(value->data + 3, value->len - 3);

        if (redis->db != NGX_ERROR) {
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {
        file.data = value->data + 14;
        file.len = value->len - 14;

        return ngx_coco_secret_read(cf, &file, &redis->password);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"coco_redis\": invalid parameter \"%V\"", value);
    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_coco_redis_init_process(ngx_coco_redis_t *redis, ngx_cycle_t *cycle)
{
    redis->log = *cycle->log;
    redis->log.handler = ngx_coco_redis_log_error;
    redis->log.data = redis;
    redis->log.action = NULL;

    redis->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, &redis->log);
    if (redis->pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_coco_redis_greeting(redis) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_coco_ops_init(&redis->ops, redis->pool, &redis->log,
                      sizeof(ngx_coco_redis_op_t), ngx_coco_redis_call);
    ngx_queue_init(&redis->line);

    redis->ident.fd = (ngx_socket_t) -1;
    redis->reason = "not connected yet";

    redis->flush.handler = ngx_coco_redis_flush_handler;
    redis->flush.data = redis;
    redis->flush.log = &redis->log;

    redis->timer.handler = ngx_coco_redis_timer_handler;
    redis->timer.data = redis;
    redis->timer.log = &redis->log;
    redis->timer.cancelable = 1;

    /* at once, yet from the event loop */
    ngx_add_timer(&redis->timer, 0);

    return NGX_OK;
}


void
ngx_coco_redis_exit_process(ngx_coco_redis_t *redis)
{
    if (redis->pool == NULL) {
        return;
    }

    ngx_coco_redis_close(redis);
    ngx_coco_ops_done(&redis->ops);

    if (redis->out) {
        ngx_free(redis->out);
        redis->out = NULL;
    }

    ngx_destroy_pool(redis->pool);
    redis->pool = NULL;
}


static ngx_int_t
ngx_coco_redis_greeting(ngx_coco_redis_t *redis)
{
    u_char     *p, db[NGX_INT_T_LEN];
    ngx_str_t   auth[2], select[2];

    ngx_str_set(&auth[0], "AUTH");
    auth[1] = redis->password;

    ngx_str_set(&select[0], "SELECT");
    select[1].data = db;
    select[1].len = ngx_sprintf(db, "%i", redis->db) - db;

    /* 128: the three names, counts and line ends around them */
    p = ngx_pnalloc(redis->pool, 128 + auth[1].len + select[1].len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    redis->greeting = p;

    if (redis->password.len) {
        p = ngx_coco_redis_format(p, 2, auth);
    }

    if (redis->db) {
        p = ngx_coco_redis_format(p, 2, select);
    }

    p = ngx_coco_redis_format(p, 1, &ngx_coco_redis_ping);
    redis->greeting_len = p - redis->greeting;

    return NGX_OK;
}


static void
ngx_coco_redis_open(ngx_coco_redis_t *redis)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *peer;

    redis->log.action = "connecting";
    redis->state = NGX_COCO_REDIS_CONNECTING;
    redis->reader = redisReaderCreate();

    if (redis->reader == NULL) {
        ngx_coco_redis_lost(redis, 0, "out of memory", "");
        return;
    }

    peer = &redis->peer;
    ngx_memzero(peer, sizeof(*peer));
    peer->sockaddr = redis->addr.sockaddr;
    peer->socklen = redis->addr.socklen;
    peer->name = &redis->addr.name;
    peer->get = ngx_event_get_peer;
    peer->log = &redis->log;
    peer->log_error = NGX_ERROR_ERR;

    rc = ngx_event_connect_peer(peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_coco_redis_lost(redis, 0, "cannot connect", "");
        return;
    }

    c = peer->connection;
    c->data = redis;
    c->read->handler = ngx_coco_redis_read_handler;
    c->write->handler = ngx_coco_redis_write_handler;

    /* a worker that leaves may close it whenever nothing is under way */
    c->idle = 1;

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    ngx_add_timer(&redis->timer, NGX_COCO_REDIS_CONNECT);

    if (rc == NGX_OK) {
        ngx_coco_redis_greet(redis);
    }
}


static void
ngx_coco_redis_greet(ngx_coco_redis_t *redis)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = redis->peer.connection;

    if (redis->addr.sockaddr->sa_family != AF_UNIX
        && ngx_tcp_nodelay(c) != NGX_OK)
    {
        ngx_coco_redis_lost(redis, 0, "cannot connect", "");
        return;
    }

    redis->log.action = "greeting";
    redis->state = NGX_COCO_REDIS_GREETING;
    redis->greeted = (redis->password.len != 0) + (redis->db != 0) + 1;

    /* a new socket's buffer takes far more */

    n = c->send(c, redis->greeting, redis->greeting_len);

    if (n != (ssize_t) redis->greeting_len
        || ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_coco_redis_lost(redis, 0, "cannot connect", "greeting not sent");
        return;
    }

    if (c->read->ready) {
        /* refused already: the event came while connecting, and was ignored */
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* NGX_ERROR: the connection is gone. */

static ngx_int_t
ngx_coco_redis_greeted(ngx_coco_redis_t *redis, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        /* the server's text names no secret */
        ngx_coco_redis_lost(redis, 0, "refused by the server", reply->str);
        return NGX_ERROR;
    }

    if (--redis->greeted) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_NOTICE, &redis->log, 0, "connected");

    redis->log.action = "talking";
    redis->state = NGX_COCO_REDIS_READY;
    redis->attempts = 0;
    redis->heard = ngx_current_msec;

    ngx_del_timer(&redis->timer);
    ngx_add_timer(&redis->timer, NGX_COCO_REDIS_WATCH);

    ngx_post_event(&redis->flush, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_coco_redis_close(ngx_coco_redis_t *redis)
{
    redis->state = NGX_COCO_REDIS_CLOSED;

    if (redis->peer.connection) {
        ngx_close_connection(redis->peer.connection);
        redis->peer.connection = NULL;
    }

    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    if (redis->flush.posted) {
        ngx_delete_posted_event(&redis->flush);
    }

    redis->out_pos = 0;
    redis->out_last = 0;
}


/* Must not be called below a handler that still uses the connection. */

static void
ngx_coco_redis_lost(ngx_coco_redis_t *redis, ngx_err_t err,
    const char *reason, const char *detail)
{
    ngx_uint_t    level;
    ngx_queue_t  *q;

    redis->attempts = (redis->state == NGX_COCO_REDIS_READY)
                      ? 0 : redis->attempts + 1;
    redis->reason = reason;

    /* the first failure says it all, the following ones repeat it */
    level = (redis->attempts > 1) ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, &redis->log, err, "%s%s%s", reason,
                  detail[0] ? ": " : "", detail);

    ngx_coco_redis_close(redis);

    while (!ngx_queue_empty(&redis->line)) {
        q = ngx_queue_head(&redis->line);
        ngx_coco_op_end(ngx_queue_data(q, ngx_coco_op_t, link),
                        NGX_COCO_DOWN);
    }

    redis->count = 0;

    ngx_add_timer(&redis->timer, ngx_coco_backoff(redis->attempts));
}


/* NGX_BUSY: too much waits already. */

static ngx_int_t
ngx_coco_redis_reserve(ngx_coco_redis_t *redis, ngx_uint_t argc,
    const ngx_str_t *argv)
{
    u_char      *out;
    size_t       need, size, unsent;
    ngx_uint_t   i;

    unsent = redis->out_last - redis->out_pos;
    need = unsent;

    /* each has "$", its length and two line ends; "*argc" counts as one */

    for (i = 0; i <= argc && need <= NGX_COCO_REDIS_OUT_MAX; i++) {
        need += NGX_INT_T_LEN + sizeof("$" CRLF CRLF) - 1;
        need += (i < argc) ? argv[i].len : 0;
    }

    if (need > NGX_COCO_REDIS_OUT_MAX
        || redis->count >= NGX_COCO_REDIS_LINE_MAX)
    {
        return NGX_BUSY;
    }

    if (redis->out_pos + need <= redis->out_size) {
        return NGX_OK;
    }

    out = redis->out;

    if (need > redis->out_size) {
        size = NGX_COCO_REDIS_OUT_MIN;

        while (size < need) {
            size *= 2;
        }

        out = ngx_alloc(size, &redis->log);
        if (out == NULL) {
            return NGX_ERROR;
        }

        redis->out_size = size;
    }

    if (unsent) {
        ngx_memmove(out, redis->out + redis->out_pos, unsent);
    }

    if (out != redis->out && redis->out) {
        ngx_free(redis->out);
    }

    redis->out = out;
    redis->out_pos = 0;
    redis->out_last = unsent;

    return NGX_OK;
}


u_char *
ngx_coco_redis_format(u_char *p, ngx_uint_t argc, const ngx_str_t *argv)
{
    ngx_uint_t  i;

    p = ngx_sprintf(p, "*%ui" CRLF, argc);

    for (i = 0; i < argc; i++) {
        p = ngx_sprintf(p, "$%uz" CRLF, argv[i].len);
        p = ngx_cpymem(p, argv[i].data, argv[i].len);
        *p++ = CR;
        *p++ = LF;
    }

    return p;
}


/* NGX_ERROR: the connection is gone. */

static ngx_int_t
ngx_coco_redis_replies(ngx_coco_redis_t *redis)
{
    ngx_int_t             rc;
    redisReply           *reply;
    ngx_coco_redis_op_t  *op;

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(redis->reader, (void **) &reply) != REDIS_OK) {
            ngx_coco_redis_lost(redis, 0, "protocol error",
                                redis->reader->errstr);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        if (redis->state == NGX_COCO_REDIS_GREETING) {
            rc = ngx_coco_redis_greeted(redis, reply);
            freeReplyObject(reply);

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_queue_empty(&redis->line)) {
            /* such as the farewell of a server that has too many clients */
            ngx_coco_redis_lost(redis, 0, "protocol error",
                                reply->str ? reply->str : "unasked reply");
            freeReplyObject(reply);
            return NGX_ERROR;
        }

        op = ngx_queue_data(ngx_queue_head(&redis->line),
                            ngx_coco_redis_op_t, op.link);
        op->op.sent = 0;
        redis->count--;

        ngx_coco_redis_answer(op, NGX_COCO_DONE, reply);
        freeReplyObject(reply);
    }
}


static void
ngx_coco_redis_answer(ngx_coco_redis_op_t *op, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    void                       *data;
    ngx_coco_redis_handler_pt   handler;

    data = op->data;
    handler = op->op.live ? op->handler : NULL;

    ngx_coco_op_orphan(&op->op);

    if (handler) {
        handler(data, outcome, reply);
    }
}


static void
ngx_coco_redis_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_redis_answer((ngx_coco_redis_op_t *) op, outcome, NULL);
}


static void
ngx_coco_redis_read_handler(ngx_event_t *rev)
{
    ssize_t            n;
    ngx_connection_t  *c;
    ngx_coco_redis_t  *redis;

    c = rev->data;
    redis = c->data;

    if (c->close) {

        if (c->error) {
            ngx_coco_redis_lost(redis, 0, "shut down", "");
            return;
        }

        /* not an event of the socket: nginx closes idle connections */
        c->close = 0;
        ngx_coco_redis_leave(redis);
        return;
    }

    if (redis->state == NGX_COCO_REDIS_CONNECTING) {
        return;
    }

    do {
        n = c->recv(c, redis->in, sizeof(redis->in));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_coco_redis_lost(redis, 0, "connection lost",
                                n == 0 ? "closed by the server" : "");
            return;
        }

        redis->heard = ngx_current_msec;

        if (redisReaderFeed(redis->reader, (char *) redis->in, n)
            != REDIS_OK)
        {
            ngx_coco_redis_lost(redis, 0, "protocol error",
                                redis->reader->errstr);
            return;
        }

        if (ngx_coco_redis_replies(redis) != NGX_OK) {
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_coco_redis_lost(redis, 0, "connection lost", "");
        return;
    }

    if (ngx_exiting) {
        ngx_coco_redis_leave(redis);
    }
}


/* The worker leaves; a command that still comes opens the connection. */

static void
ngx_coco_redis_leave(ngx_coco_redis_t *redis)
{
    if (ngx_queue_empty(&redis->line)) {
        ngx_coco_redis_close(redis);
        redis->attempts = 0;
    }
}


static void
ngx_coco_redis_write_handler(ngx_event_t *wev)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;
    ngx_coco_redis_t  *redis;

    c = wev->data;
    redis = c->data;

    if (redis->state != NGX_COCO_REDIS_CONNECTING) {
        ngx_coco_redis_flush_handler(&redis->flush);
        return;
    }

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_coco_redis_lost(redis, err, "cannot connect", "");
        return;
    }

    ngx_coco_redis_greet(redis);
}


static void
ngx_coco_redis_flush_handler(ngx_event_t *ev)
{
    ssize_t            n;
    ngx_connection_t  *c;
    ngx_coco_redis_t  *redis;

    redis = ev->data;

    if (redis->state != NGX_COCO_REDIS_READY) {
        return;
    }

    c = redis->peer.connection;

    while (redis->out_pos < redis->out_last) {

        n = c->send(c, redis->out + redis->out_pos,
                    redis->out_last - redis->out_pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_coco_redis_lost(redis, 0, "connection lost", "");
            return;
        }

        redis->out_pos += n;
    }

    if (redis->out_pos == redis->out_last) {
        redis->out_pos = 0;
        redis->out_last = 0;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_coco_redis_lost(redis, 0, "connection lost", "");
    }
}


static void
ngx_coco_redis_timer_handler(ngx_event_t *ev)
{
    ngx_coco_redis_t  *redis;

    redis = ev->data;

    switch (redis->state) {

    case NGX_COCO_REDIS_CLOSED:
        if (ngx_exiting) {
            redis->attempts = 0;    /* on demand from now on */

        } else {
            ngx_coco_redis_open(redis);
        }

        break;

    case NGX_COCO_REDIS_READY:
        ngx_coco_redis_look_after(redis);
        break;

    default:
        ngx_coco_redis_lost(redis, NGX_ETIMEDOUT, "cannot connect", "");
    }
}


static void
ngx_coco_redis_look_after(ngx_coco_redis_t *redis)
{
    ngx_msec_t            silent;
    ngx_coco_redis_op_t  *op;

    silent = ngx_current_msec - redis->heard;

    if (!ngx_queue_empty(&redis->line)) {

        if (silent >= NGX_COCO_REDIS_DEAD) {
            ngx_coco_redis_lost(redis, NGX_ETIMEDOUT, "connection lost",
                                "no answer");
            return;
        }

    } else if (silent >= NGX_COCO_REDIS_PING
               && ngx_coco_redis_reserve(redis, 1, &ngx_coco_redis_ping)
                  == NGX_OK)
    {
        op = ngx_coco_op_create_orphan(&redis->ops, &redis->line);

        if (op) {
            op->op.sent = 1;
            redis->count++;
            redis->heard = ngx_current_msec;
            redis->out_last = ngx_coco_redis_format(redis->out
                                                    + redis->out_last,
                                                    1, &ngx_coco_redis_ping)
                              - redis->out;

            ngx_post_event(&redis->flush, &ngx_posted_events);
        }
    }

    ngx_add_timer(&redis->timer, NGX_COCO_REDIS_WATCH);
}


static u_char *
ngx_coco_redis_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char            *p;
    ngx_coco_redis_t  *redis;

    redis = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", redis: \"%V\"", &redis->addr.name);
}
