/*
 * One connection of the Postgres client: libpq's socket on nginx's event
 * loop, from PQconnectStart to the loss. Never waits for libpq, never calls
 * what does (PQcancel, PQreset, PQexec).
 */

#include "ngx_coco_pg_conn.h"

/* milliseconds */
#define NGX_COCO_PG_CONNECT  3000   /* for connecting and preparing */
#define NGX_COCO_PG_WATCH    1000   /* between looks at a connection */
#define NGX_COCO_PG_DEAD     1000   /* silent beyond statement_timeout */


static void ngx_coco_pg_conn_poll(ngx_coco_pg_conn_t *conn);
static ngx_int_t ngx_coco_pg_conn_watch(ngx_coco_pg_conn_t *conn,
    ngx_uint_t read, ngx_uint_t write);
static ngx_int_t ngx_coco_pg_conn_attach(ngx_coco_pg_conn_t *conn);
static void ngx_coco_pg_conn_detach(ngx_coco_pg_conn_t *conn);
static void ngx_coco_pg_conn_prepare(ngx_coco_pg_conn_t *conn);
static void ngx_coco_pg_conn_prepared(ngx_coco_pg_conn_t *conn,
    PGresult *result);
static void ngx_coco_pg_conn_ready(ngx_coco_pg_conn_t *conn);
static void ngx_coco_pg_conn_refused(ngx_coco_pg_conn_t *conn,
    PGresult *result);
static void ngx_coco_pg_conn_results(ngx_coco_pg_conn_t *conn);

static void ngx_coco_pg_conn_handler(ngx_event_t *ev);
static void ngx_coco_pg_conn_leave(ngx_coco_pg_conn_t *conn);
static void ngx_coco_pg_conn_timer_handler(ngx_event_t *ev);
static void ngx_coco_pg_conn_notice_cb(void *data, const char *message);


void
ngx_coco_pg_conn_init(ngx_coco_pg_conn_t *conn, ngx_coco_pg_lane_t *lane)
{
    conn->ident.fd = (ngx_socket_t) -1;
    conn->lane = lane;
    ngx_queue_init(&conn->line);

    conn->timer.handler = ngx_coco_pg_conn_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = &lane->pg->log;
    conn->timer.cancelable = 1;

    if (conn < lane->conns + lane->warm) {
        /* at once, yet from the event loop */
        ngx_add_timer(&conn->timer, 0);
    }
}


void
ngx_coco_pg_conn_open(ngx_coco_pg_conn_t *conn)
{
    ngx_coco_pg_t  *pg;

    pg = conn->lane->pg;
    pg->log.action = "connecting";

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_add_timer(&conn->timer, NGX_COCO_PG_CONNECT);

    conn->state = NGX_COCO_PG_CONNECTING;
    conn->db = PQconnectStartParams(pg->keywords, pg->values, 0);

    if (PQstatus(conn->db) == CONNECTION_BAD) {
        ngx_coco_pg_conn_lost(conn, "cannot connect",
                              PQerrorMessage(conn->db));
        return;
    }

    (void) PQsetNoticeProcessor(conn->db, ngx_coco_pg_conn_notice_cb, conn);

    if (ngx_coco_pg_conn_watch(conn, 0, 1) != NGX_OK) {
        ngx_coco_pg_conn_lost(conn, "cannot connect", "");
    }
}


static void
ngx_coco_pg_conn_poll(ngx_coco_pg_conn_t *conn)
{
    ngx_int_t  rc;

    switch (PQconnectPoll(conn->db)) {

    case PGRES_POLLING_READING:
        rc = ngx_coco_pg_conn_watch(conn, 1, 0);
        break;

    case PGRES_POLLING_WRITING:
        rc = ngx_coco_pg_conn_watch(conn, 0, 1);
        break;

    case PGRES_POLLING_OK:
        rc = ngx_coco_pg_conn_watch(conn, 1, 0);

        if (rc == NGX_OK) {
            ngx_coco_pg_conn_prepare(conn);
        }

        break;

    default:
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_coco_pg_conn_lost(conn, "cannot connect",
                              PQerrorMessage(conn->db));
    }
}


/*
 * Level-triggered, since libpq does not promise to read all there is. While
 * connecting, only what PQconnectPoll() asked for: it takes any call for
 * that event.
 */

static ngx_int_t
ngx_coco_pg_conn_watch(ngx_coco_pg_conn_t *conn, ngx_uint_t read,
    ngx_uint_t write)
{
    ngx_event_t  *rev, *wev;

    if (conn->state == NGX_COCO_PG_CONNECTING
        && ngx_coco_pg_conn_attach(conn) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rev = conn->connection->read;
    wev = conn->connection->write;

    if (read != rev->active
        && (read ? ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT)
                 : ngx_del_event(rev, NGX_READ_EVENT, 0)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (write != wev->active
        && (write ? ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT)
                  : ngx_del_event(wev, NGX_WRITE_EVENT, 0)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Libpq may have closed its socket and opened another since the last call,
 * most likely with the same number. */

static ngx_int_t
ngx_coco_pg_conn_attach(ngx_coco_pg_conn_t *conn)
{
    int                fd;
    struct stat        st;
    ngx_log_t         *log;
    ngx_connection_t  *c;

    fd = PQsocket(conn->db);

    if (fd == -1 || fstat(fd, &st) == -1) {
        return NGX_ERROR;
    }

    c = conn->connection;

    if (c) {
        if (c->fd == fd && conn->inode == st.st_ino) {
            return NGX_OK;
        }

        ngx_coco_pg_conn_detach(conn);
    }

    log = &conn->lane->pg->log;

    c = ngx_get_connection(fd, log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = conn;
    c->shared = 1;      /* the descriptor is libpq's */
    c->idle = 1;        /* a worker that leaves may close it */
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    c->read->log = log;
    c->write->log = log;
    c->read->handler = ngx_coco_pg_conn_handler;
    c->write->handler = ngx_coco_pg_conn_handler;

    conn->connection = c;
    conn->inode = st.st_ino;

    return NGX_OK;
}


/* As ngx_close_connection() does for descriptors that are its own; a closed
 * one has left epoll by itself. */

static void
ngx_coco_pg_conn_detach(ngx_coco_pg_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->connection;
    conn->connection = NULL;

    if (ngx_del_conn) {
        (void) ngx_del_conn(c, NGX_CLOSE_EVENT);

    } else {
        if (c->read->active) {
            (void) ngx_del_event(c->read, NGX_READ_EVENT, NGX_CLOSE_EVENT);
        }

        if (c->write->active) {
            (void) ngx_del_event(c->write, NGX_WRITE_EVENT, NGX_CLOSE_EVENT);
        }
    }

    ngx_close_connection(c);
}


static void
ngx_coco_pg_conn_prepare(ngx_coco_pg_conn_t *conn)
{
    ngx_uint_t                 i;
    ngx_coco_pg_t             *pg;
    ngx_coco_pg_statement_t  **st;

    pg = conn->lane->pg;
    pg->log.action = "preparing statements";

    conn->state = NGX_COCO_PG_PREPARING;
    conn->prepared = 0;

    if (PQsetnonblocking(conn->db, 1) != 0
        || PQenterPipelineMode(conn->db) != 1)
    {
        goto failed;
    }

    st = pg->statements->elts;

    for (i = 0; i < pg->statements->nelts; i++) {
        if (st[i]->lane == conn->lane->type
            && PQsendPrepare(conn->db, (char *) st[i]->name.data, st[i]->sql,
                             st[i]->nparams, NULL) != 1)
        {
            goto failed;
        }
    }

    if (PQpipelineSync(conn->db) != 1) {
        goto failed;
    }

    ngx_coco_pg_conn_flush(conn);

    return;

failed:

    ngx_coco_pg_conn_lost(conn, "cannot connect", PQerrorMessage(conn->db));
}


static void
ngx_coco_pg_conn_prepared(ngx_coco_pg_conn_t *conn, PGresult *result)
{
    switch (PQresultStatus(result)) {

    case PGRES_COMMAND_OK:
        conn->prepared++;
        break;

    case PGRES_PIPELINE_SYNC:
        ngx_coco_pg_conn_ready(conn);
        break;

    default:
        ngx_coco_pg_conn_refused(conn, result);
    }

    PQclear(result);
}


static void
ngx_coco_pg_conn_ready(ngx_coco_pg_conn_t *conn)
{
    ngx_log_error(NGX_LOG_NOTICE, &conn->lane->pg->log, 0,
                  "connected, %ui statements", conn->prepared);

    conn->lane->pg->log.action = "talking";
    conn->state = NGX_COCO_PG_READY;
    conn->attempts = 0;

    ngx_del_timer(&conn->timer);
    ngx_add_timer(&conn->timer, NGX_COCO_PG_WATCH);
}


/* Most likely the schema is older than this program: the connection cannot
 * serve, and a later one may. */

static void
ngx_coco_pg_conn_refused(ngx_coco_pg_conn_t *conn, PGresult *result)
{
    char                       *state, *message;
    char                        reason[sizeof(conn->lane->reason)];
    u_char                      detail[NGX_MAX_ERROR_STR / 2];
    ngx_uint_t                  i, n;
    ngx_array_t                *statements;
    ngx_coco_pg_statement_t   **st;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    statements = conn->lane->pg->statements;
    st = statements->elts;
    n = 0;

    for (i = 0; i < statements->nelts; i++) {
        if (st[i]->lane == conn->lane->type && n++ == conn->prepared) {
            break;
        }
    }

    ngx_snprintf((u_char *) reason, sizeof(reason),
                 "a statement cannot be prepared (SQLSTATE %s)%Z",
                 state ? state : "?");

    ngx_snprintf(detail, sizeof(detail), "\"%s\": %s%Z",
                 i < statements->nelts ? (char *) st[i]->name.data : "?",
                 message ? message : "?");
    detail[sizeof(detail) - 1] = '\0';

    ngx_coco_pg_conn_lost(conn, reason, (char *) detail);
}


void
ngx_coco_pg_conn_flush(ngx_coco_pg_conn_t *conn)
{
    int  rc;

    rc = PQflush(conn->db);

    if (rc == -1 || ngx_coco_pg_conn_watch(conn, 1, rc) != NGX_OK) {
        ngx_coco_pg_conn_lost(conn, "connection lost",
                              PQerrorMessage(conn->db));
        return;
    }

    if (rc == 1) {
        /* libpq reads when it cannot write: there may be results already
         * that no event of the socket will tell of */
        ngx_post_event(conn->connection->read, &ngx_posted_events);
    }
}


static void
ngx_coco_pg_conn_results(ngx_coco_pg_conn_t *conn)
{
    PGresult    *result;
    ngx_uint_t   ends;

    ends = 0;

    /* handlers may send more, and may so lose the connection */

    while ((conn->state == NGX_COCO_PG_PREPARING
            || (conn->state == NGX_COCO_PG_READY && conn->depth))
           && !PQisBusy(conn->db))
    {
        result = PQgetResult(conn->db);

        if (PQstatus(conn->db) == CONNECTION_BAD || (!result && ends++)) {
            /* FATAL: such as a server that is told to stop */
            PQclear(result);
            ngx_coco_pg_conn_lost(conn, "connection lost",
                                  PQerrorMessage(conn->db));
            return;
        }

        if (result == NULL) {
            continue;
        }

        ends = 0;
        conn->heard = ngx_current_msec;

        if (conn->state == NGX_COCO_PG_PREPARING) {
            ngx_coco_pg_conn_prepared(conn, result);

        } else {
            ngx_coco_pg_done(conn, result);
        }
    }
}


void
ngx_coco_pg_conn_close(ngx_coco_pg_conn_t *conn)
{
    conn->state = NGX_COCO_PG_CLOSED;

    if (conn->connection) {
        ngx_coco_pg_conn_detach(conn);
    }

    PQclear(conn->result);
    conn->result = NULL;

    PQfinish(conn->db);
    conn->db = NULL;

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }
}


void
ngx_coco_pg_conn_lost(ngx_coco_pg_conn_t *conn, const char *reason,
    const char *detail)
{
    size_t               len;
    ngx_uint_t           level;
    ngx_queue_t         *q;
    ngx_coco_pg_lane_t  *lane;

    lane = conn->lane;

    conn->attempts = (conn->state == NGX_COCO_PG_READY)
                     ? 0 : conn->attempts + 1;

    ngx_cpystrn((u_char *) lane->reason, (u_char *) reason,
                sizeof(lane->reason));

    /* libpq's messages end with a line end; the first failure says it all,
     * the following ones repeat it */

    level = (conn->attempts > 1) ? NGX_LOG_INFO : NGX_LOG_ERR;
    len = strcspn(detail, "\n");

    ngx_log_error(level, &lane->pg->log, 0, "%s%s%*s",
                  reason, len ? ": " : "", len, detail);

    ngx_coco_pg_conn_close(conn);

    while (!ngx_queue_empty(&conn->line)) {
        q = ngx_queue_head(&conn->line);
        ngx_coco_op_end(ngx_queue_data(q, ngx_coco_op_t, link),
                        NGX_COCO_DOWN);
    }

    conn->depth = 0;

    ngx_add_timer(&conn->timer, ngx_coco_backoff(conn->attempts));

    ngx_coco_pg_dispatch(lane);
}


static void
ngx_coco_pg_conn_handler(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_coco_pg_conn_t  *conn;

    c = ev->data;
    conn = c->data;

    if (c->close) {

        if (c->error) {
            ngx_coco_pg_conn_lost(conn, "shut down", "");
            return;
        }

        /* not an event of the socket: nginx closes idle connections */
        c->close = 0;
        ngx_coco_pg_conn_leave(conn);
        return;
    }

    if (conn->state == NGX_COCO_PG_CONNECTING) {
        ngx_coco_pg_conn_poll(conn);
        return;
    }

    if (ev->write) {
        ngx_coco_pg_conn_flush(conn);
        return;
    }

    if (PQconsumeInput(conn->db) == 0) {
        ngx_coco_pg_conn_lost(conn, "connection lost",
                              PQerrorMessage(conn->db));
        return;
    }

    ngx_coco_pg_conn_results(conn);
    ngx_coco_pg_dispatch(conn->lane);

    if (ngx_exiting) {
        ngx_coco_pg_conn_leave(conn);
    }
}


/* The worker leaves; an operation that still comes opens the connection. */

static void
ngx_coco_pg_conn_leave(ngx_coco_pg_conn_t *conn)
{
    if (conn->state != NGX_COCO_PG_CLOSED && conn->depth == 0
        && ngx_queue_empty(&conn->lane->waiting))
    {
        ngx_coco_pg_conn_close(conn);
        conn->attempts = 0;
    }
}


static void
ngx_coco_pg_conn_timer_handler(ngx_event_t *ev)
{
    ngx_coco_pg_conn_t  *conn;
    ngx_coco_pg_lane_t  *lane;

    conn = ev->data;
    lane = conn->lane;

    switch (conn->state) {

    case NGX_COCO_PG_CLOSED:
        if (ngx_exiting
            || (conn >= lane->conns + lane->warm
                && ngx_queue_empty(&lane->waiting)))
        {
            conn->attempts = 0;     /* on demand from now on */

        } else {
            ngx_coco_pg_conn_open(conn);
        }

        break;

    case NGX_COCO_PG_READY:
        if (conn->depth
            && ngx_current_msec - conn->heard
               >= lane->pg->timeout + NGX_COCO_PG_DEAD)
        {
            ngx_coco_pg_conn_lost(conn, "connection lost", "no answer");
            break;
        }

        ngx_add_timer(&conn->timer, NGX_COCO_PG_WATCH);
        break;

    default:
        ngx_coco_pg_conn_lost(conn, "cannot connect", "timed out");
    }
}


static void
ngx_coco_pg_conn_notice_cb(void *data, const char *message)
{
    ngx_coco_pg_conn_t  *conn;

    conn = data;

    ngx_log_debug1(NGX_LOG_DEBUG_CORE, &conn->lane->pg->log, 0,
                   "coco pg notice: %s", message);
}
