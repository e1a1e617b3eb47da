/*
 * Connections to Redis. hiredis only parses replies; sockets and time are
 * nginx's. Must never block, nor call its owner from within
 * ngx_coco_redis_conn_send().
 */

#include "ngx_coco_redis_conn.h"

#define NGX_COCO_REDIS_AWAITED_MAX  16384              /* replies */
#define NGX_COCO_REDIS_OUT_MIN      16384              /* bytes */
#define NGX_COCO_REDIS_OUT_MAX      (4 * 1024 * 1024)  /* bytes */

/* milliseconds */
#define NGX_COCO_REDIS_CONNECT   1000   /* for connecting and greeting */
#define NGX_COCO_REDIS_WATCH     1000   /* between looks at a connection */
#define NGX_COCO_REDIS_PING      5000   /* idle for that long: ask */
#define NGX_COCO_REDIS_DEAD      3000   /* silent, though asked: lost */


static ngx_int_t ngx_coco_redis_conn_greeting(ngx_coco_redis_conn_t *conn,
    ngx_pool_t *pool, ngx_uint_t argc, const ngx_str_t *argv);
static void ngx_coco_redis_conn_greet(ngx_coco_redis_conn_t *conn);
static ngx_int_t ngx_coco_redis_conn_greeted(ngx_coco_redis_conn_t *conn,
    redisReply *reply);
static void ngx_coco_redis_conn_close(ngx_coco_redis_conn_t *conn);
static void ngx_coco_redis_conn_lost(ngx_coco_redis_conn_t *conn,
    ngx_err_t err, const char *reason, const char *detail);

static ngx_int_t ngx_coco_redis_conn_reserve(ngx_coco_redis_conn_t *conn,
    ngx_uint_t argc, const ngx_str_t *argv);
static u_char *ngx_coco_redis_conn_format(u_char *p, ngx_uint_t argc,
    const ngx_str_t *argv);
static ngx_int_t ngx_coco_redis_conn_replies(ngx_coco_redis_conn_t *conn);
static ngx_int_t ngx_coco_redis_conn_reply(ngx_coco_redis_conn_t *conn,
    redisReply *reply);

static void ngx_coco_redis_conn_read_handler(ngx_event_t *rev);
static void ngx_coco_redis_conn_leave(ngx_coco_redis_conn_t *conn);
static void ngx_coco_redis_conn_write_handler(ngx_event_t *wev);
static void ngx_coco_redis_conn_flush_handler(ngx_event_t *ev);
static void ngx_coco_redis_conn_timer_handler(ngx_event_t *ev);
static void ngx_coco_redis_conn_look_after(ngx_coco_redis_conn_t *conn);
static u_char *ngx_coco_redis_conn_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_int_t
ngx_coco_redis_conn_init(ngx_coco_redis_conn_t *conn, ngx_pool_t *pool,
    ngx_cycle_t *cycle, ngx_uint_t argc, const ngx_str_t *argv)
{
    conn->ident.fd = (ngx_socket_t) -1;
    conn->reason = "not connected yet";

    conn->log = *cycle->log;
    conn->log.handler = ngx_coco_redis_conn_log_error;
    conn->log.data = conn;
    conn->log.action = NULL;

    if (ngx_coco_redis_conn_greeting(conn, pool, argc, argv) != NGX_OK) {
        return NGX_ERROR;
    }

    conn->flush.handler = ngx_coco_redis_conn_flush_handler;
    conn->flush.data = conn;
    conn->flush.log = &conn->log;

    conn->timer.handler = ngx_coco_redis_conn_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = &conn->log;
    conn->timer.cancelable = 1;

    /* at once, yet from the event loop */
    ngx_add_timer(&conn->timer, 0);

    return NGX_OK;
}


void
ngx_coco_redis_conn_done(ngx_coco_redis_conn_t *conn)
{
    ngx_coco_redis_conn_close(conn);

    if (conn->out) {
        ngx_free(conn->out);
        conn->out = NULL;
    }
}


static ngx_int_t
ngx_coco_redis_conn_greeting(ngx_coco_redis_conn_t *conn, ngx_pool_t *pool,
    ngx_uint_t argc, const ngx_str_t *argv)
{
    u_char      *p, db[NGX_INT_T_LEN];
    size_t       len;
    ngx_str_t    auth[2], select[2];
    ngx_uint_t   i;

    ngx_str_set(&auth[0], "AUTH");
    auth[1] = conn->server->password;

    ngx_str_set(&select[0], "SELECT");
    select[1].data = db;
    select[1].len = ngx_sprintf(db, "%i", conn->server->db) - db;

    /* 160: the names, counts and line ends */
    len = 160 + auth[1].len + select[1].len;

    for (i = 0; i < argc; i++) {
        len += argv[i].len + NGX_INT_T_LEN;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    conn->greeting.data = p;

    if (conn->server->password.len) {
        p = ngx_coco_redis_conn_format(p, 2, auth);
    }

    if (conn->server->db) {
        p = ngx_coco_redis_conn_format(p, 2, select);
    }

    p = ngx_coco_redis_conn_format(p, argc, argv);
    conn->greeting.len = p - conn->greeting.data;

    return NGX_OK;
}


void
ngx_coco_redis_conn_open(ngx_coco_redis_conn_t *conn)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *peer;

    conn->log.action = "connecting";
    conn->state = NGX_COCO_REDIS_CONNECTING;
    conn->reader = redisReaderCreate();

    if (conn->reader == NULL) {
        ngx_coco_redis_conn_lost(conn, 0, "out of memory", "");
        return;
    }

    peer = &conn->peer;
    ngx_memzero(peer, sizeof(*peer));
    peer->sockaddr = conn->server->addr.sockaddr;
    peer->socklen = conn->server->addr.socklen;
    peer->name = (ngx_str_t *) &conn->server->addr.name;
    peer->get = ngx_event_get_peer;
    peer->log = &conn->log;
    peer->log_error = conn->owner->log_error;

    rc = ngx_event_connect_peer(peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_coco_redis_conn_lost(conn, 0, "cannot connect", "");
        return;
    }

    c = peer->connection;
    c->data = conn;
    c->read->handler = ngx_coco_redis_conn_read_handler;
    c->write->handler = ngx_coco_redis_conn_write_handler;

    /* it alone does not keep a worker that leaves */
    c->idle = 1;

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_add_timer(&conn->timer, NGX_COCO_REDIS_CONNECT);

    if (rc == NGX_OK) {
        ngx_coco_redis_conn_greet(conn);
    }
}


static void
ngx_coco_redis_conn_greet(ngx_coco_redis_conn_t *conn)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = conn->peer.connection;

    if (conn->server->addr.sockaddr->sa_family != AF_UNIX
        && ngx_tcp_nodelay(c) != NGX_OK)
    {
        ngx_coco_redis_conn_lost(conn, 0, "cannot connect", "");
        return;
    }

    conn->log.action = "greeting";
    conn->state = NGX_COCO_REDIS_GREETING;
    conn->greeted = (conn->server->password.len != 0)
                    + (conn->server->db != 0) + 1;

    /* a new socket's buffer takes far more */

    n = c->send(c, conn->greeting.data, conn->greeting.len);

    if (n != (ssize_t) conn->greeting.len
        || ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_coco_redis_conn_lost(conn, 0, "cannot connect",
                                 "greeting not sent");
        return;
    }

    if (c->read->ready) {
        /* refused already: the event came while connecting, and was ignored */
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* NGX_ERROR: the connection is gone. */

static ngx_int_t
ngx_coco_redis_conn_greeted(ngx_coco_redis_conn_t *conn, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        /* the server's text names no secret */
        ngx_coco_redis_conn_lost(conn, 0, "refused by the server",
                                 reply->str);
        return NGX_ERROR;
    }

    if (--conn->greeted) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_NOTICE, &conn->log, 0, "connected");

    conn->log.action = "talking";
    conn->state = NGX_COCO_REDIS_READY;
    conn->attempts = 0;
    conn->heard = ngx_current_msec;

    ngx_del_timer(&conn->timer);
    ngx_add_timer(&conn->timer, NGX_COCO_REDIS_WATCH);

    ngx_post_event(&conn->flush, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_coco_redis_conn_close(ngx_coco_redis_conn_t *conn)
{
    conn->state = NGX_COCO_REDIS_CLOSED;

    if (conn->peer.connection) {
        ngx_close_connection(conn->peer.connection);
        conn->peer.connection = NULL;
    }

    if (conn->reader) {
        redisReaderFree(conn->reader);
        conn->reader = NULL;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    conn->awaited = 0;
    conn->out_pos = 0;
    conn->out_last = 0;
}


/* Must not be called below a handler that still uses the connection. */

static void
ngx_coco_redis_conn_lost(ngx_coco_redis_conn_t *conn, ngx_err_t err,
    const char *reason, const char *detail)
{
    ngx_uint_t  level;

    conn->attempts = (conn->state == NGX_COCO_REDIS_READY)
                     ? 0 : conn->attempts + 1;
    conn->reason = reason;

    /* the first failure says it all, the following ones repeat it */
    level = (conn->attempts > 1) ? NGX_LOG_INFO : conn->owner->level;

    ngx_log_error(level, &conn->log, err, "%s%s%s", reason,
                  detail[0] ? ": " : "", detail);

    ngx_coco_redis_conn_close(conn);

    if (conn->owner->lost) {
        conn->owner->lost(conn->data);
    }

    ngx_add_timer(&conn->timer, ngx_coco_backoff(conn->attempts));
}


void
ngx_coco_redis_conn_renew(ngx_coco_redis_conn_t *conn)
{
    if (conn->state == NGX_COCO_REDIS_READY) {
        ngx_coco_redis_conn_lost(conn, NGX_ETIMEDOUT, "connection lost",
                                 "no answer");

    } else if (conn->state == NGX_COCO_REDIS_CLOSED) {
        ngx_coco_redis_conn_open(conn);
    }
}


ngx_int_t
ngx_coco_redis_conn_send(ngx_coco_redis_conn_t *conn, ngx_uint_t argc,
    const ngx_str_t *argv)
{
    u_char     *p;
    ngx_int_t   rc;

    rc = ngx_coco_redis_conn_reserve(conn, argc, argv);

    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_coco_redis_conn_format(conn->out + conn->out_last, argc, argv);
    conn->out_last = p - conn->out;

    if (conn->awaited++ == 0) {
        conn->heard = ngx_current_msec;
    }

    ngx_post_event(&conn->flush, &ngx_posted_events);

    return NGX_OK;
}


ngx_int_t
ngx_coco_redis_conn_ping(ngx_coco_redis_conn_t *conn)
{
    static ngx_str_t  ping = ngx_string("PING");

    return ngx_coco_redis_conn_send(conn, 1, &ping);
}


/* NGX_BUSY: too much waits already. */

static ngx_int_t
ngx_coco_redis_conn_reserve(ngx_coco_redis_conn_t *conn, ngx_uint_t argc,
    const ngx_str_t *argv)
{
    u_char      *out;
    size_t       need, size, unsent;
    ngx_uint_t   i;

    unsent = conn->out_last - conn->out_pos;
    need = unsent;

    /* each has "$", its length and two line ends; "*argc" counts as one */

    for (i = 0; i <= argc && need <= NGX_COCO_REDIS_OUT_MAX; i++) {
        need += NGX_INT_T_LEN + sizeof("$" CRLF CRLF) - 1;
        need += (i < argc) ? argv[i].len : 0;
    }

    if (need > NGX_COCO_REDIS_OUT_MAX
        || conn->awaited >= NGX_COCO_REDIS_AWAITED_MAX)
    {
        return NGX_BUSY;
    }

    if (conn->out_pos + need <= conn->out_size) {
        return NGX_OK;
    }

    out = conn->out;

    if (need > conn->out_size) {
        size = NGX_COCO_REDIS_OUT_MIN;

        while (size < need) {
            size *= 2;
        }

        out = ngx_alloc(size, &conn->log);
        if (out == NULL) {
            return NGX_ERROR;
        }

        conn->out_size = size;
    }

    if (unsent) {
        ngx_memmove(out, conn->out + conn->out_pos, unsent);
    }

    if (out != conn->out && conn->out) {
        ngx_free(conn->out);
    }

    conn->out = out;
    conn->out_pos = 0;
    conn->out_last = unsent;

    return NGX_OK;
}


static u_char *
ngx_coco_redis_conn_format(u_char *p, ngx_uint_t argc, const ngx_str_t *argv)
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
ngx_coco_redis_conn_replies(ngx_coco_redis_conn_t *conn)
{
    ngx_int_t    rc;
    redisReply  *reply;

    for ( ;; ) {
        reply = NULL;

        if (redisReaderGetReply(conn->reader, (void **) &reply) != REDIS_OK) {
            ngx_coco_redis_conn_lost(conn, 0, "protocol error",
                                     conn->reader->errstr);
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        rc = ngx_coco_redis_conn_reply(conn, reply);
        freeReplyObject(reply);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


/* NGX_ERROR: the connection is gone. */

static ngx_int_t
ngx_coco_redis_conn_reply(ngx_coco_redis_conn_t *conn, redisReply *reply)
{
    if (conn->state == NGX_COCO_REDIS_GREETING) {
        return ngx_coco_redis_conn_greeted(conn, reply);
    }

    if (conn->awaited) {
        conn->awaited--;
    }

    if (conn->owner->reply(conn->data, reply) != NGX_OK) {
        /* such as the farewell of a server that has too many clients */
        ngx_coco_redis_conn_lost(conn, 0, "protocol error",
                                 reply->str ? reply->str : "unasked reply");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_coco_redis_conn_read_handler(ngx_event_t *rev)
{
    ssize_t                 n;
    ngx_connection_t       *c;
    ngx_coco_redis_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close) {

        if (c->error) {
            ngx_coco_redis_conn_lost(conn, 0, "shut down", "");
            return;
        }

        /* not an event of the socket: nginx closes idle connections */
        c->close = 0;
        ngx_coco_redis_conn_leave(conn);
        return;
    }

    if (conn->state == NGX_COCO_REDIS_CONNECTING) {
        return;
    }

    do {
        n = c->recv(c, conn->in, sizeof(conn->in));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_coco_redis_conn_lost(conn, 0, "connection lost",
                                     n == 0 ? "closed by the server" : "");
            return;
        }

        conn->heard = ngx_current_msec;

        if (redisReaderFeed(conn->reader, (char *) conn->in, n) != REDIS_OK) {
            ngx_coco_redis_conn_lost(conn, 0, "protocol error",
                                     conn->reader->errstr);
            return;
        }

        if (ngx_coco_redis_conn_replies(conn) != NGX_OK) {
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_coco_redis_conn_lost(conn, 0, "connection lost", "");
        return;
    }

    if (ngx_exiting) {
        ngx_coco_redis_conn_leave(conn);
    }
}


/* The worker leaves; a command that still comes opens the connection. */

static void
ngx_coco_redis_conn_leave(ngx_coco_redis_conn_t *conn)
{
    if (conn->awaited == 0 && !conn->owner->stays) {
        ngx_coco_redis_conn_close(conn);
        conn->attempts = 0;
    }
}


static void
ngx_coco_redis_conn_write_handler(ngx_event_t *wev)
{
    int                     err;
    socklen_t               len;
    ngx_connection_t       *c;
    ngx_coco_redis_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (conn->state != NGX_COCO_REDIS_CONNECTING) {
        ngx_coco_redis_conn_flush_handler(&conn->flush);
        return;
    }

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_coco_redis_conn_lost(conn, err, "cannot connect", "");
        return;
    }

    ngx_coco_redis_conn_greet(conn);
}


static void
ngx_coco_redis_conn_flush_handler(ngx_event_t *ev)
{
    ssize_t                 n;
    ngx_connection_t       *c;
    ngx_coco_redis_conn_t  *conn;

    conn = ev->data;

    if (conn->state != NGX_COCO_REDIS_READY) {
        return;
    }

    c = conn->peer.connection;

    while (conn->out_pos < conn->out_last) {

        n = c->send(c, conn->out + conn->out_pos,
                    conn->out_last - conn->out_pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_coco_redis_conn_lost(conn, 0, "connection lost", "");
            return;
        }

        conn->out_pos += n;
    }

    if (conn->out_pos == conn->out_last) {
        conn->out_pos = 0;
        conn->out_last = 0;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_coco_redis_conn_lost(conn, 0, "connection lost", "");
    }
}


static void
ngx_coco_redis_conn_timer_handler(ngx_event_t *ev)
{
    ngx_coco_redis_conn_t  *conn;

    conn = ev->data;

    switch (conn->state) {

    case NGX_COCO_REDIS_CLOSED:
        if (ngx_exiting && !conn->owner->stays) {
            conn->attempts = 0;     /* on demand from now on */

        } else {
            ngx_coco_redis_conn_open(conn);
        }

        break;

    case NGX_COCO_REDIS_READY:
        ngx_coco_redis_conn_look_after(conn);
        break;

    default:
        ngx_coco_redis_conn_lost(conn, NGX_ETIMEDOUT, "cannot connect", "");
    }
}


static void
ngx_coco_redis_conn_look_after(ngx_coco_redis_conn_t *conn)
{
    ngx_msec_t  silent;

    silent = ngx_current_msec - conn->heard;

    if (conn->awaited) {

        if (silent >= NGX_COCO_REDIS_DEAD) {
            ngx_coco_redis_conn_lost(conn, NGX_ETIMEDOUT, "connection lost",
                                     "no answer");
            return;
        }

    } else if (silent >= NGX_COCO_REDIS_PING) {
        conn->owner->idle(conn->data);
    }

    ngx_add_timer(&conn->timer, NGX_COCO_REDIS_WATCH);
}


static u_char *
ngx_coco_redis_conn_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                 *p;
    ngx_coco_redis_conn_t  *conn;

    conn = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", %s: \"%V\"", conn->owner->name,
                        &conn->server->addr.name);
}
