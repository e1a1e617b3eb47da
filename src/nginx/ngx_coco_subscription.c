/*
 * A subscription to one channel of Redis. hiredis only parses; sockets and
 * time are nginx's. Must never be sent a command but what subscribes and what
 * asks whether the server lives.
 */

#include "ngx_coco_subscription.h"
#include "ngx_coco_op.h"
#include <ngx_event_connect.h>

/* milliseconds */
#define NGX_COCO_SUBSCRIPTION_CONNECT  1000  /* for connecting and greeting */
#define NGX_COCO_SUBSCRIPTION_PING     5000  /* silent for that long: ask */
#define NGX_COCO_SUBSCRIPTION_DEAD     3000  /* silent, though asked: lost */


/*
 * CLOSED      at the start and after a loss, until the timer opens it
 * CONNECTING  connect() has not ended
 * GREETING    AUTH and SUBSCRIBE are sent, not all answered
 * READY       subscribed
 */
typedef enum {
    NGX_COCO_SUBSCRIPTION_CLOSED = 0,
    NGX_COCO_SUBSCRIPTION_CONNECTING,
    NGX_COCO_SUBSCRIPTION_GREETING,
    NGX_COCO_SUBSCRIPTION_READY
} ngx_coco_subscription_state_e;


struct ngx_coco_subscription_s {
    ngx_coco_ident_t                  ident;      /* of the timer */
    const ngx_addr_t                 *addr;
    const ngx_str_t                  *channel;
    ngx_coco_subscription_handler_pt  handler;
    void                             *data;

    ngx_coco_subscription_state_e     state;
    ngx_uint_t                        attempts;   /* failed since READY */
    ngx_log_t                         log;
    ngx_peer_connection_t             peer;
    redisReader                      *reader;
    u_char                           *greeting;   /* AUTH, SUBSCRIBE */
    size_t                            greeting_len;
    ngx_msec_t                        heard;      /* the last bytes */
    ngx_event_t                       timer;      /* CLOSED: open again;
                                                     READY: look after it;
                                                     else: give up */
    unsigned                          asked:1;    /* by a PING, since heard */
    u_char                            in[4096];
};


static ngx_int_t ngx_coco_subscription_greeting(ngx_coco_subscription_t *sub,
    ngx_pool_t *pool, const ngx_str_t *password);
static void ngx_coco_subscription_connect(ngx_coco_subscription_t *sub);
static void ngx_coco_subscription_greet(ngx_coco_subscription_t *sub);
static void ngx_coco_subscription_disconnect(ngx_coco_subscription_t *sub);
static void ngx_coco_subscription_lost(ngx_coco_subscription_t *sub,
    ngx_err_t err, const char *reason, const char *detail);
static void ngx_coco_subscription_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_coco_subscription_replies(ngx_coco_subscription_t *sub);
static ngx_int_t ngx_coco_subscription_reply(ngx_coco_subscription_t *sub,
    const redisReply *reply);
static void ngx_coco_subscription_write_handler(ngx_event_t *wev);
static void ngx_coco_subscription_timer_handler(ngx_event_t *ev);
static void ngx_coco_subscription_look_after(ngx_coco_subscription_t *sub);
static u_char *ngx_coco_subscription_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


static u_char  ngx_coco_subscription_ping[] = "*1\r\n$4\r\nPING\r\n";


ngx_coco_subscription_t *
ngx_coco_subscription_open(ngx_pool_t *pool, ngx_coco_redis_t *redis,
    const ngx_str_t *channel, ngx_coco_subscription_handler_pt handler,
    void *data, ngx_cycle_t *cycle)
{
    ngx_coco_subscription_t  *sub;

    sub = ngx_pcalloc(pool, sizeof(*sub));
    if (sub == NULL) {
        return NULL;
    }

    sub->ident.fd = (ngx_socket_t) -1;
    sub->addr = ngx_coco_redis_addr(redis);
    sub->channel = channel;
    sub->handler = handler;
    sub->data = data;

    sub->log = *cycle->log;
    sub->log.handler = ngx_coco_subscription_log_error;
    sub->log.data = sub;
    sub->log.action = NULL;

    if (ngx_coco_subscription_greeting(sub, pool,
                                       ngx_coco_redis_password(redis))
        != NGX_OK)
    {
        return NULL;
    }

    sub->timer.handler = ngx_coco_subscription_timer_handler;
    sub->timer.data = sub;
    sub->timer.log = &sub->log;
    sub->timer.cancelable = 1;

    /* at once, yet from the event loop */
    ngx_add_timer(&sub->timer, 0);

    return sub;
}


void
ngx_coco_subscription_close(ngx_coco_subscription_t *sub)
{
    ngx_coco_subscription_disconnect(sub);
}


ngx_uint_t
ngx_coco_subscription_up(ngx_coco_subscription_t *sub)
{
    return sub->state == NGX_COCO_SUBSCRIPTION_READY || sub->attempts == 0;
}


static ngx_int_t
ngx_coco_subscription_greeting(ngx_coco_subscription_t *sub, ngx_pool_t *pool,
    const ngx_str_t *password)
{
    u_char     *p;
    ngx_str_t   auth[2], subscribe[2];

    ngx_str_set(&auth[0], "AUTH");
    auth[1] = *password;

    ngx_str_set(&subscribe[0], "SUBSCRIBE");
    subscribe[1] = *sub->channel;

    /* 128: the two names, counts and line ends around them */
    p = ngx_pnalloc(pool, 128 + auth[1].len + subscribe[1].len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sub->greeting = p;

    if (password->len) {
        p = ngx_coco_redis_format(p, 2, auth);
    }

    p = ngx_coco_redis_format(p, 2, subscribe);
    sub->greeting_len = p - sub->greeting;

    return NGX_OK;
}


static void
ngx_coco_subscription_connect(ngx_coco_subscription_t *sub)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *peer;

    sub->log.action = "connecting";
    sub->state = NGX_COCO_SUBSCRIPTION_CONNECTING;
    sub->reader = redisReaderCreate();

    if (sub->reader == NULL) {
        ngx_coco_subscription_lost(sub, 0, "out of memory", "");
        return;
    }

    peer = &sub->peer;
    ngx_memzero(peer, sizeof(*peer));
    peer->sockaddr = sub->addr->sockaddr;
    peer->socklen = sub->addr->socklen;
    peer->name = (ngx_str_t *) &sub->addr->name;
    peer->get = ngx_event_get_peer;
    peer->log = &sub->log;
    peer->log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_coco_subscription_lost(sub, 0, "cannot connect", "");
        return;
    }

    c = peer->connection;
    c->data = sub;
    c->read->handler = ngx_coco_subscription_read_handler;
    c->write->handler = ngx_coco_subscription_write_handler;
    c->idle = 1;

    ngx_add_timer(&sub->timer, NGX_COCO_SUBSCRIPTION_CONNECT);

    if (rc == NGX_OK) {
        ngx_coco_subscription_greet(sub);
    }
}


static void
ngx_coco_subscription_greet(ngx_coco_subscription_t *sub)
{
    ngx_connection_t  *c;

    c = sub->peer.connection;

    sub->log.action = "subscribing";
    sub->state = NGX_COCO_SUBSCRIPTION_GREETING;

    /* a new socket's buffer takes far more */

    if (c->send(c, sub->greeting, sub->greeting_len)
        != (ssize_t) sub->greeting_len
        || ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_coco_subscription_lost(sub, 0, "cannot connect",
                                   "greeting not sent");
        return;
    }

    if (c->read->ready) {
        /* refused already: the event came while connecting, and was ignored */
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


static void
ngx_coco_subscription_disconnect(ngx_coco_subscription_t *sub)
{
    sub->state = NGX_COCO_SUBSCRIPTION_CLOSED;

    if (sub->peer.connection) {
        ngx_close_connection(sub->peer.connection);
        sub->peer.connection = NULL;
    }

    if (sub->reader) {
        redisReaderFree(sub->reader);
        sub->reader = NULL;
    }

    if (sub->timer.timer_set) {
        ngx_del_timer(&sub->timer);
    }
}


/* The Redis client of the same server complains of what both suffer; here it
 * is told once, and as a notice. */

static void
ngx_coco_subscription_lost(ngx_coco_subscription_t *sub, ngx_err_t err,
    const char *reason, const char *detail)
{
    ngx_uint_t  level;

    sub->attempts = (sub->state == NGX_COCO_SUBSCRIPTION_READY)
                    ? 0 : sub->attempts + 1;

    level = (sub->attempts > 1) ? NGX_LOG_INFO : NGX_LOG_NOTICE;

    ngx_log_error(level, &sub->log, err, "%s%s%s", reason,
                  detail[0] ? ": " : "", detail);

    ngx_coco_subscription_disconnect(sub);

    ngx_add_timer(&sub->timer, ngx_coco_backoff(sub->attempts));
}


static void
ngx_coco_subscription_read_handler(ngx_event_t *rev)
{
    ssize_t                   n;
    ngx_connection_t         *c;
    ngx_coco_subscription_t  *sub;

    c = rev->data;
    sub = c->data;

    if (c->close) {

        if (c->error) {
            ngx_coco_subscription_lost(sub, 0, "shut down", "");
            return;
        }

        /* not an event of the socket: a worker that leaves closes what is
         * idle, and requests may wait here still; the connection alone does
         * not keep the worker */

        c->close = 0;
        return;
    }

    if (sub->state == NGX_COCO_SUBSCRIPTION_CONNECTING) {
        return;
    }

    do {
        n = c->recv(c, sub->in, sizeof(sub->in));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_coco_subscription_lost(sub, 0, "connection lost",
                                       n == 0 ? "closed by the server" : "");
            return;
        }

        sub->heard = ngx_current_msec;
        sub->asked = 0;

        if (redisReaderFeed(sub->reader, (char *) sub->in, n) != REDIS_OK) {
            ngx_coco_subscription_lost(sub, 0, "protocol error",
                                       sub->reader->errstr);
            return;
        }

        if (ngx_coco_subscription_replies(sub) != NGX_OK) {
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_coco_subscription_lost(sub, 0, "connection lost", "");
    }
}


/* NGX_ERROR: the connection is gone. */

static ngx_int_t
ngx_coco_subscription_replies(ngx_coco_subscription_t *sub)
{
    ngx_int_t    rc;
    redisReply  *reply;

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(sub->reader, (void **) &reply) != REDIS_OK) {
            ngx_coco_subscription_lost(sub, 0, "protocol error",
                                       sub->reader->errstr);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        rc = ngx_coco_subscription_reply(sub, reply);
        freeReplyObject(reply);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


/* ["message", channel, text], ["subscribe", channel, 1], ["pong", ""], or
 * what AUTH is answered. */

static ngx_int_t
ngx_coco_subscription_reply(ngx_coco_subscription_t *sub,
    const redisReply *reply)
{
    const redisReply  *kind, *text;

    if (reply->type == REDIS_REPLY_ERROR) {
        /* the server's text names no secret */
        ngx_coco_subscription_lost(sub, 0, "refused by the server",
                                   reply->str);
        return NGX_ERROR;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return NGX_OK;
    }

    kind = reply->element[0];
    text = reply->element[2];

    if (kind->type != REDIS_REPLY_STRING) {
        return NGX_OK;
    }

    if (ngx_strcmp(kind->str, "message") == 0) {

        if (text->type == REDIS_REPLY_STRING) {
            sub->handler(sub->data, (coco_str_t) { text->str, text->len });
        }

        return NGX_OK;
    }

    if (sub->state == NGX_COCO_SUBSCRIPTION_GREETING
        && ngx_strcmp(kind->str, "subscribe") == 0)
    {
        ngx_log_error(NGX_LOG_NOTICE, &sub->log, 0, "subscribed to \"%V\"",
                      sub->channel);

        sub->log.action = "listening";
        sub->state = NGX_COCO_SUBSCRIPTION_READY;
        sub->attempts = 0;

        ngx_del_timer(&sub->timer);
        ngx_add_timer(&sub->timer, NGX_COCO_SUBSCRIPTION_PING);
    }

    return NGX_OK;
}


static void
ngx_coco_subscription_write_handler(ngx_event_t *wev)
{
    int                       err;
    socklen_t                 len;
    ngx_connection_t         *c;
    ngx_coco_subscription_t  *sub;

    c = wev->data;
    sub = c->data;

    if (sub->state != NGX_COCO_SUBSCRIPTION_CONNECTING) {
        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_coco_subscription_lost(sub, 0, "connection lost", "");
        }

        return;
    }

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_coco_subscription_lost(sub, err, "cannot connect", "");
        return;
    }

    ngx_coco_subscription_greet(sub);
}


static void
ngx_coco_subscription_timer_handler(ngx_event_t *ev)
{
    ngx_coco_subscription_t  *sub;

    sub = ev->data;

    switch (sub->state) {

    case NGX_COCO_SUBSCRIPTION_CLOSED:
        ngx_coco_subscription_connect(sub);
        break;

    case NGX_COCO_SUBSCRIPTION_READY:
        ngx_coco_subscription_look_after(sub);
        break;

    default:
        ngx_coco_subscription_lost(sub, NGX_ETIMEDOUT, "cannot connect", "");
    }
}


static void
ngx_coco_subscription_look_after(ngx_coco_subscription_t *sub)
{
    size_t             len;
    ngx_msec_t         silent;
    ngx_connection_t  *c;

    if (sub->asked) {
        ngx_coco_subscription_lost(sub, NGX_ETIMEDOUT, "connection lost",
                                   "no answer");
        return;
    }

    silent = ngx_current_msec - sub->heard;

    if (silent < NGX_COCO_SUBSCRIPTION_PING) {
        ngx_add_timer(&sub->timer, NGX_COCO_SUBSCRIPTION_PING - silent);
        return;
    }

    c = sub->peer.connection;
    len = sizeof(ngx_coco_subscription_ping) - 1;

    /* all that was ever sent before it has been answered */

    if (c->send(c, ngx_coco_subscription_ping, len) != (ssize_t) len) {
        ngx_coco_subscription_lost(sub, 0, "connection lost", "PING not sent");
        return;
    }

    sub->asked = 1;
    ngx_add_timer(&sub->timer, NGX_COCO_SUBSCRIPTION_DEAD);
}


static u_char *
ngx_coco_subscription_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                   *p;
    ngx_coco_subscription_t  *sub;

    sub = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", redis subscription: \"%V\"",
                        &sub->addr->name);
}
