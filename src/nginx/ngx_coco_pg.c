/*
 * The Postgres client: statements on their way, lane by lane. Connections
 * are made and watched in ngx_coco_pg_conn.c, configured in
 * ngx_coco_pg_conf.c. Never blocks, and calls no handler from within
 * ngx_coco_pg_send().
 */

#include "ngx_coco_pg_conn.h"

#define NGX_COCO_PG_WAITING_MAX  1024   /* operations in one lane */
#define NGX_COCO_PG_POINT_DEPTH  64     /* operations on one connection */

#define NGX_COCO_PG_CANCELED     "57014"    /* SQLSTATE */


static ngx_int_t ngx_coco_pg_lane_init(ngx_coco_pg_t *pg,
    ngx_coco_pg_lane_e type);
static ngx_int_t ngx_coco_pg_params(ngx_coco_pg_op_t *op,
    const ngx_str_t *params, ngx_log_t *log);
static ngx_coco_pg_conn_t *ngx_coco_pg_pick(ngx_coco_pg_lane_t *lane);
static void ngx_coco_pg_submit(ngx_coco_pg_conn_t *conn,
    ngx_coco_pg_op_t *op);
static ngx_uint_t ngx_coco_pg_hope(ngx_coco_pg_lane_t *lane);
static void ngx_coco_pg_no_longer_waiting(ngx_coco_pg_op_t *op);
static void ngx_coco_pg_answer(ngx_coco_pg_op_t *op,
    ngx_coco_outcome_e outcome, PGresult *result);
static void ngx_coco_pg_error_log(ngx_coco_pg_op_t *op, PGresult *result);
static u_char *ngx_coco_pg_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_coco_pg_op_t *
ngx_coco_pg_send(ngx_coco_pg_t *pg, ngx_coco_pg_statement_t *statement,
    const ngx_str_t *params, ngx_msec_t timeout,
    ngx_coco_pg_handler_pt handler, void *data)
{
    ngx_coco_pg_op_t    *op;
    ngx_coco_pg_lane_t  *lane;

    lane = &pg->lanes[statement->lane];

    op = ngx_coco_op_create(&pg->ops, &lane->waiting, timeout);
    if (op == NULL) {
        return NULL;
    }

    op->lane = lane;
    op->statement = statement;
    op->handler = handler;
    op->data = data;

    if (lane->nwaiting >= NGX_COCO_PG_WAITING_MAX) {
        ngx_coco_op_end(&op->op, NGX_COCO_FULL);
        return op;
    }

    if (ngx_coco_pg_params(op, params, &pg->log) != NGX_OK) {
        ngx_coco_op_orphan(&op->op);
        return NULL;
    }

    op->waiting = 1;
    lane->nwaiting++;

    ngx_coco_pg_dispatch(lane);

    return op;
}


void
ngx_coco_pg_cancel(ngx_coco_pg_op_t *op)
{
    ngx_coco_pg_no_longer_waiting(op);
    ngx_coco_op_orphan(&op->op);
}


coco_str_t
ngx_coco_pg_field(const PGresult *result, int row, int column)
{
    coco_str_t  field;

    if (PQgetisnull(result, row, column)) {
        field.data = NULL;
        field.len = 0;
        return field;
    }

    field.data = PQgetvalue(result, row, column);
    field.len = PQgetlength(result, row, column);

    return field;
}


ngx_int_t
ngx_coco_pg_copy(ngx_pool_t *pool, coco_str_t *field)
{
    u_char  *p;

    if (pool == NULL || field->data == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, field->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, field->data, field->len);
    field->data = (char *) p;

    return NGX_OK;
}


const char *
ngx_coco_pg_reason(ngx_coco_pg_t *pg, ngx_coco_pg_lane_e lane)
{
    ngx_uint_t  i;

    for (i = 0; i < pg->lanes[lane].nconns; i++) {
        if (pg->lanes[lane].conns[i].state == NGX_COCO_PG_READY) {
            return "";
        }
    }

    return pg->lanes[lane].reason;
}


ngx_int_t
ngx_coco_pg_init_process(ngx_coco_pg_t *pg, ngx_cycle_t *cycle)
{
    pg->log = *cycle->log;
    pg->log.handler = ngx_coco_pg_log_error;
    pg->log.data = pg;
    pg->log.action = NULL;

    pg->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, &pg->log);
    if (pg->pool == NULL) {
        return NGX_ERROR;
    }

    /* nginx has set OpenSSL up */
    PQinitOpenSSL(0, 0);

    ngx_coco_ops_init(&pg->ops, pg->pool, &pg->log, sizeof(ngx_coco_pg_op_t),
                      ngx_coco_pg_call);

    if (ngx_coco_pg_lane_init(pg, NGX_COCO_PG_POINT) != NGX_OK
        || ngx_coco_pg_lane_init(pg, NGX_COCO_PG_SLOW) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_coco_pg_lane_init(ngx_coco_pg_t *pg, ngx_coco_pg_lane_e type)
{
    ngx_uint_t           i;
    ngx_coco_pg_lane_t  *lane;

    lane = &pg->lanes[type];
    lane->pg = pg;
    lane->type = type;

    if (type == NGX_COCO_PG_POINT) {
        lane->nconns = pg->points;
        lane->warm = pg->points;
        lane->depth = NGX_COCO_PG_POINT_DEPTH;

    } else {
        lane->nconns = pg->connections;
        lane->warm = 1;
        lane->depth = 1;
    }

    ngx_queue_init(&lane->waiting);
    ngx_cpystrn((u_char *) lane->reason, (u_char *) "not connected yet",
                sizeof(lane->reason));

    lane->conns = ngx_pcalloc(pg->pool, lane->nconns * sizeof(*lane->conns));
    if (lane->conns == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < lane->nconns; i++) {
        ngx_coco_pg_conn_init(&lane->conns[i], lane);
    }

    return NGX_OK;
}


void
ngx_coco_pg_exit_process(ngx_coco_pg_t *pg)
{
    ngx_uint_t           i, n;
    ngx_coco_pg_lane_t  *lane;

    if (pg->pool == NULL) {
        return;
    }

    for (n = 0; n < NGX_COCO_PG_LANES; n++) {
        lane = &pg->lanes[n];

        for (i = 0; i < lane->nconns; i++) {
            ngx_coco_pg_conn_close(&lane->conns[i]);
        }

        ngx_coco_ops_drop(&lane->waiting);
    }

    ngx_coco_ops_done(&pg->ops);
    ngx_destroy_pool(pg->pool);
    pg->pool = NULL;
}


/* Makes op->op.buffer: an array of C strings, followed by their bytes. */

static ngx_int_t
ngx_coco_pg_params(ngx_coco_pg_op_t *op, const ngx_str_t *params,
    ngx_log_t *log)
{
    int          i, n;
    char       **values;
    size_t       size;
    u_char      *p;

    n = op->statement->nparams;

    if (n == 0) {
        return NGX_OK;
    }

    size = n * sizeof(*values);

    for (i = 0; i < n; i++) {

        if (params[i].data
            && ngx_strlchr(params[i].data, params[i].data + params[i].len,
                           '\0'))
        {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "parameter %d of \"%V\" holds a NUL byte",
                          i + 1, &op->statement->name);
            return NGX_ERROR;
        }

        size += params[i].len + 1;
    }

    values = ngx_alloc(size, log);
    if (values == NULL) {
        return NGX_ERROR;
    }

    op->op.buffer = values;
    p = (u_char *) (values + n);

    for (i = 0; i < n; i++) {

        if (params[i].data == NULL) {
            values[i] = NULL;
            continue;
        }

        values[i] = (char *) p;
        p = ngx_cpymem(p, params[i].data, params[i].len);
        *p++ = '\0';
    }

    return NGX_OK;
}


void
ngx_coco_pg_dispatch(ngx_coco_pg_lane_t *lane)
{
    ngx_queue_t         *q;
    ngx_coco_pg_op_t    *op;
    ngx_coco_pg_conn_t  *conn;

    while (!ngx_queue_empty(&lane->waiting)) {

        q = ngx_queue_head(&lane->waiting);
        op = ngx_queue_data(q, ngx_coco_pg_op_t, op.link);
        conn = ngx_coco_pg_pick(lane);

        if (conn) {
            ngx_coco_pg_submit(conn, op);
            continue;
        }

        if (ngx_coco_pg_hope(lane)) {
            return;
        }

        /* looking for hope may have ended them all */

        if (ngx_queue_head(&lane->waiting) == q) {
            ngx_coco_pg_no_longer_waiting(op);
            ngx_coco_op_end(&op->op, NGX_COCO_DOWN);
        }
    }
}


static ngx_coco_pg_conn_t *
ngx_coco_pg_pick(ngx_coco_pg_lane_t *lane)
{
    ngx_uint_t           i;
    ngx_coco_pg_conn_t  *conn, *best;

    best = NULL;

    for (i = 0; i < lane->nconns; i++) {
        conn = &lane->conns[i];

        if (conn->state == NGX_COCO_PG_READY
            && conn->depth < (best ? best->depth : lane->depth))
        {
            best = conn;
        }
    }

    return best;
}


static void
ngx_coco_pg_submit(ngx_coco_pg_conn_t *conn, ngx_coco_pg_op_t *op)
{
    ngx_coco_pg_statement_t  *st;

    ngx_coco_pg_no_longer_waiting(op);

    ngx_queue_remove(&op->op.link);
    ngx_queue_insert_tail(&conn->line, &op->op.link);
    op->op.sent = 1;

    if (conn->depth++ == 0) {
        conn->heard = ngx_current_msec;
    }

    st = op->statement;

    /* with a sync of its own, each is its own transaction, and an error
     * spoils no other */

    if (PQsendQueryPrepared(conn->db, (char *) st->name.data, st->nparams,
                            op->op.buffer, NULL, NULL, st->result_format) != 1
        || PQpipelineSync(conn->db) != 1)
    {
        ngx_coco_pg_conn_lost(conn, "connection lost",
                              PQerrorMessage(conn->db));
        return;
    }

    if (op->op.buffer) {
        ngx_free(op->op.buffer);
        op->op.buffer = NULL;
    }

    ngx_coco_pg_conn_flush(conn);
}


/* Whether what waits will be sent without anybody's doing. */

static ngx_uint_t
ngx_coco_pg_hope(ngx_coco_pg_lane_t *lane)
{
    ngx_uint_t           i, ready;
    ngx_coco_pg_conn_t  *conn, *closed;

    ready = 0;
    closed = NULL;

    for (i = 0; i < lane->nconns; i++) {
        conn = &lane->conns[i];

        if (conn->state == NGX_COCO_PG_READY) {
            ready = 1;

        } else if (conn->attempts == 0) {

            if (conn->state != NGX_COCO_PG_CLOSED) {
                return 1;
            }

            /* the ones that are not kept warm only help others out */

            if (closed == NULL && (ready || i < lane->warm)) {
                closed = conn;
            }
        }
    }

    if (closed) {
        ngx_coco_pg_conn_open(closed);
        return ready || closed->state != NGX_COCO_PG_CLOSED;
    }

    return ready;
}


static void
ngx_coco_pg_no_longer_waiting(ngx_coco_pg_op_t *op)
{
    if (op->waiting) {
        op->waiting = 0;
        op->lane->nwaiting--;
    }
}


void
ngx_coco_pg_done(ngx_coco_pg_conn_t *conn, PGresult *result)
{
    char                *state;
    ngx_coco_pg_op_t    *op;
    ngx_coco_outcome_e   outcome;

    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
        /* an error of the commit comes after the statement's own result */
        PQclear(conn->result);
        conn->result = result;
        return;
    }

    PQclear(result);

    result = conn->result;
    conn->result = NULL;

    op = ngx_queue_data(ngx_queue_head(&conn->line), ngx_coco_pg_op_t,
                        op.link);
    op->op.sent = 0;
    conn->depth--;

    outcome = NGX_COCO_DONE;

    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        ngx_coco_pg_error_log(op, result);

        state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

        if (state && ngx_strcmp(state, NGX_COCO_PG_CANCELED) == 0) {
            /* by its statement_timeout, which is ours */
            outcome = NGX_COCO_TIMEOUT;
        }
    }

    ngx_coco_pg_answer(op, outcome,
                       outcome == NGX_COCO_DONE ? result : NULL);
    PQclear(result);
}


void
ngx_coco_pg_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_pg_no_longer_waiting((ngx_coco_pg_op_t *) op);
    ngx_coco_pg_answer((ngx_coco_pg_op_t *) op, outcome, NULL);
}


static void
ngx_coco_pg_answer(ngx_coco_pg_op_t *op, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    void                    *data;
    ngx_coco_pg_handler_pt   handler;

    data = op->data;
    handler = op->op.live ? op->handler : NULL;

    ngx_coco_op_orphan(&op->op);

    if (handler) {
        handler(data, outcome, result);
    }
}


/* Class 22 and 23 are the caller's data's fault. */

static void
ngx_coco_pg_error_log(ngx_coco_pg_op_t *op, PGresult *result)
{
    char        *state, *message;
    ngx_uint_t   level;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    level = (state && state[0] == '2' && (state[1] == '2' || state[1] == '3'))
            ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, &op->lane->pg->log, 0,
                  "statement \"%V\" failed: SQLSTATE %s: %s",
                  &op->statement->name, state ? state : "?",
                  message ? message : "?");
}


static u_char *
ngx_coco_pg_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char         *p;
    ngx_coco_pg_t  *pg;

    pg = log->data;
    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
    }

    return ngx_snprintf(p, len, ", postgres: \"%V\"", &pg->name);
}
