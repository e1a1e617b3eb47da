/*
 * The inbox: gathers the webhooks of a process into few statements. Answers
 * none before its commit, and must never let one webhook fail another.
 */

#include "ngx_coco_inbox.h"
#include "ngx_coco_op.h"
#include "coco_json_write.h"


#define NGX_COCO_INBOX_FLIGHTS      2

/* of one statement */
#define NGX_COCO_INBOX_ROWS         512
#define NGX_COCO_INBOX_BYTES        (4 * 1024 * 1024)

/* of what waits for one */
#define NGX_COCO_INBOX_ROWS_MAX     4096
#define NGX_COCO_INBOX_BYTES_MAX    (16 * 1024 * 1024)


struct ngx_coco_inbox_op_s {
    ngx_coco_op_t            op;        /* buffer: the row, JSON text; sent
                                           while it is in a flight's line */
    ngx_coco_inbox_t        *inbox;
    ngx_coco_pg_handler_pt   handler;
    void                    *data;
    size_t                   len;       /* of the row, bytes */
    unsigned                 waiting:1; /* in inbox->waiting, and counted */
    unsigned                 alone:1;   /* shares no statement any more */
};


/* A statement, under way while `line` has operations. */
typedef struct {
    ngx_coco_inbox_t        *inbox;
    ngx_queue_t              line;      /* orphans too */
} ngx_coco_inbox_flight_t;


struct ngx_coco_inbox_s {
    ngx_coco_pg_t           *pg;
    ngx_coco_metrics_t      *metrics;
    ngx_msec_t               timeout;   /* of a statement */
    ngx_pool_t              *pool;      /* NULL: not initialised */
    ngx_log_t               *log;
    ngx_coco_ops_t           ops;
    ngx_queue_t              waiting;   /* operations; those alone first */
    ngx_uint_t               nwaiting;
    size_t                   bytes;     /* of their rows */
    ngx_event_t              posted;    /* dispatches, once what came in this
                                           turn has been read */
    ngx_coco_inbox_flight_t  flights[NGX_COCO_INBOX_FLIGHTS];
};


static ngx_int_t ngx_coco_inbox_row(ngx_coco_inbox_op_t *op,
    const ngx_coco_webhook_t *webhook, ngx_log_t *log);
static void ngx_coco_inbox_wait(ngx_coco_inbox_op_t *op);
static void ngx_coco_inbox_no_longer_waiting(ngx_coco_inbox_op_t *op);
static void ngx_coco_inbox_posted_handler(ngx_event_t *ev);
static void ngx_coco_inbox_depart(ngx_coco_inbox_flight_t *flight);
static size_t ngx_coco_inbox_board(ngx_coco_inbox_flight_t *flight);
static ngx_int_t ngx_coco_inbox_send_rows(ngx_coco_inbox_flight_t *flight,
    size_t size);
static void ngx_coco_inbox_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_inbox_count(ngx_coco_inbox_t *inbox,
    const PGresult *result);
static ngx_uint_t ngx_coco_inbox_at_fault(const PGresult *result);
static void ngx_coco_inbox_again(ngx_coco_inbox_flight_t *flight);
static void ngx_coco_inbox_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome);
static void ngx_coco_inbox_answer(ngx_coco_inbox_op_t *op,
    ngx_coco_outcome_e outcome, PGresult *result);


ngx_coco_pg_statement_t  ngx_coco_inbox_statement = {
    ngx_string("coco_webhook_store"),
    "select coco.webhook_store($1::jsonb)",
    1, NGX_COCO_PG_SLOW, 0
};


ngx_coco_inbox_t *
ngx_coco_inbox_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_coco_inbox_t));
}


ngx_int_t
ngx_coco_inbox_init_process(ngx_coco_inbox_t *inbox, ngx_coco_pg_t *pg,
    ngx_coco_metrics_t *metrics, ngx_msec_t timeout, ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    inbox->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cycle->log);
    if (inbox->pool == NULL) {
        return NGX_ERROR;
    }

    inbox->pg = pg;
    inbox->metrics = metrics;
    inbox->timeout = timeout;
    inbox->log = cycle->log;

    ngx_coco_ops_init(&inbox->ops, inbox->pool, inbox->log,
                      sizeof(ngx_coco_inbox_op_t), ngx_coco_inbox_call);

    ngx_queue_init(&inbox->waiting);

    for (i = 0; i < NGX_COCO_INBOX_FLIGHTS; i++) {
        inbox->flights[i].inbox = inbox;
        ngx_queue_init(&inbox->flights[i].line);
    }

    inbox->posted.handler = ngx_coco_inbox_posted_handler;
    inbox->posted.data = inbox;
    inbox->posted.log = inbox->log;

    return NGX_OK;
}


/* The Postgres client has ended what was under way. */

void
ngx_coco_inbox_exit_process(ngx_coco_inbox_t *inbox)
{
    ngx_uint_t  i;

    if (inbox->pool == NULL) {
        return;
    }

    ngx_coco_ops_drop(&inbox->waiting);

    for (i = 0; i < NGX_COCO_INBOX_FLIGHTS; i++) {
        ngx_coco_ops_drop(&inbox->flights[i].line);
    }

    if (inbox->posted.posted) {
        ngx_delete_posted_event(&inbox->posted);
    }

    ngx_coco_ops_done(&inbox->ops);
    ngx_destroy_pool(inbox->pool);
    inbox->pool = NULL;
}


ngx_coco_inbox_op_t *
ngx_coco_inbox_send(ngx_coco_inbox_t *inbox,
    const ngx_coco_webhook_t *webhook, ngx_msec_t timeout,
    ngx_coco_pg_handler_pt handler, void *data)
{
    ngx_coco_inbox_op_t  *op;

    op = ngx_coco_op_create(&inbox->ops, &inbox->waiting, timeout);
    if (op == NULL) {
        return NULL;
    }

    op->inbox = inbox;
    op->handler = handler;
    op->data = data;

    if (inbox->nwaiting >= NGX_COCO_INBOX_ROWS_MAX
        || inbox->bytes + webhook->payload.len > NGX_COCO_INBOX_BYTES_MAX)
    {
        ngx_coco_op_end(&op->op, NGX_COCO_FULL);
        return op;
    }

    if (ngx_coco_inbox_row(op, webhook, inbox->log) != NGX_OK) {
        ngx_coco_op_orphan(&op->op);
        return NULL;
    }

    ngx_coco_inbox_wait(op);

    return op;
}


void
ngx_coco_inbox_cancel(ngx_coco_inbox_op_t *op)
{
    ngx_coco_inbox_no_longer_waiting(op);
    ngx_coco_op_orphan(&op->op);
}


/* Makes op->op.buffer. */

static ngx_int_t
ngx_coco_inbox_row(ngx_coco_inbox_op_t *op, const ngx_coco_webhook_t *webhook,
    ngx_log_t *log)
{
    size_t           size;
    coco_json_out_t  out;

    /* escapes take six bytes at most */

    size = webhook->payload.len
           + 6 * (webhook->provider.len + webhook->event_id.len) + 256;

    op->op.buffer = ngx_alloc(size, log);
    if (op->op.buffer == NULL) {
        return NGX_ERROR;
    }

    coco_json_out_init(&out, op->op.buffer, size);

    coco_json_object_open(&out);
    coco_json_name(&out, "id");
    coco_json_id(&out, &webhook->id);
    coco_json_name(&out, "provider");
    coco_json_string(&out, webhook->provider);
    coco_json_name(&out, "eventId");
    coco_json_string(&out, webhook->event_id);
    coco_json_name(&out, "receivedAt");
    coco_json_int(&out, webhook->received_at);
    coco_json_name(&out, "payload");
    coco_json_json(&out, webhook->payload);
    coco_json_object_close(&out);

    op->len = out.len;

    return coco_json_out_ok(&out) ? NGX_OK : NGX_ERROR;
}


static void
ngx_coco_inbox_wait(ngx_coco_inbox_op_t *op)
{
    ngx_coco_inbox_t  *inbox;

    inbox = op->inbox;

    op->waiting = 1;
    inbox->nwaiting++;
    inbox->bytes += op->len;

    ngx_coco_metrics_set(inbox->metrics, NGX_COCO_GAUGE_WAITING,
                         inbox->nwaiting);

    ngx_post_event(&inbox->posted, &ngx_posted_events);
}


static void
ngx_coco_inbox_no_longer_waiting(ngx_coco_inbox_op_t *op)
{
    ngx_coco_inbox_t  *inbox;

    if (!op->waiting) {
        return;
    }

    inbox = op->inbox;

    op->waiting = 0;
    inbox->nwaiting--;
    inbox->bytes -= op->len;

    ngx_coco_metrics_set(inbox->metrics, NGX_COCO_GAUGE_WAITING,
                         inbox->nwaiting);
}


static void
ngx_coco_inbox_posted_handler(ngx_event_t *ev)
{
    ngx_uint_t         i;
    ngx_coco_inbox_t  *inbox;

    inbox = ev->data;

    for (i = 0; i < NGX_COCO_INBOX_FLIGHTS; i++) {

        if (ngx_queue_empty(&inbox->waiting)) {
            return;
        }

        if (ngx_queue_empty(&inbox->flights[i].line)) {
            ngx_coco_inbox_depart(&inbox->flights[i]);
        }
    }
}


static void
ngx_coco_inbox_depart(ngx_coco_inbox_flight_t *flight)
{
    size_t          size;
    ngx_coco_op_t  *op;

    size = ngx_coco_inbox_board(flight);

    if (ngx_coco_inbox_send_rows(flight, size) == NGX_OK) {
        return;
    }

    while (!ngx_queue_empty(&flight->line)) {
        op = ngx_queue_data(ngx_queue_head(&flight->line), ngx_coco_op_t,
                            link);
        ngx_coco_op_end(op, NGX_COCO_DOWN);
    }
}


/* Takes the first that wait; the bytes that their array needs at most. */

static size_t
ngx_coco_inbox_board(ngx_coco_inbox_flight_t *flight)
{
    size_t                size;
    ngx_uint_t            n;
    ngx_queue_t          *q;
    ngx_coco_inbox_t     *inbox;
    ngx_coco_inbox_op_t  *op;

    inbox = flight->inbox;
    size = sizeof("[") - 1;

    for (n = 0; n < NGX_COCO_INBOX_ROWS; n++) {

        if (ngx_queue_empty(&inbox->waiting)) {
            break;
        }

        q = ngx_queue_head(&inbox->waiting);
        op = ngx_queue_data(q, ngx_coco_inbox_op_t, op.link);

        if (n && (op->alone || size + op->len > NGX_COCO_INBOX_BYTES)) {
            break;
        }

        ngx_coco_inbox_no_longer_waiting(op);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&flight->line, q);
        op->op.sent = 1;

        size += op->len + 1;

        if (op->alone) {
            break;
        }
    }

    return size;
}


static ngx_int_t
ngx_coco_inbox_send_rows(ngx_coco_inbox_flight_t *flight, size_t size)
{
    u_char               *p;
    ngx_str_t             rows;
    ngx_queue_t          *q;
    ngx_coco_inbox_t     *inbox;
    ngx_coco_pg_op_t     *statement;
    ngx_coco_inbox_op_t  *op;

    inbox = flight->inbox;

    rows.data = ngx_alloc(size, inbox->log);
    if (rows.data == NULL) {
        return NGX_ERROR;
    }

    p = rows.data;
    *p++ = '[';

    for (q = ngx_queue_head(&flight->line);
         q != ngx_queue_sentinel(&flight->line);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, ngx_coco_inbox_op_t, op.link);

        p = ngx_cpymem(p, op->op.buffer, op->len);
        *p++ = ',';
    }

    p[-1] = ']';
    rows.len = p - rows.data;

    statement = ngx_coco_pg_send(inbox->pg, &ngx_coco_inbox_statement, &rows,
                                 inbox->timeout, ngx_coco_inbox_handler,
                                 flight);
    ngx_free(rows.data);

    return statement ? NGX_OK : NGX_ERROR;
}


static void
ngx_coco_inbox_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_inbox_flight_t  *flight = data;

    ngx_queue_t           line, *q;
    ngx_coco_inbox_t     *inbox;
    ngx_coco_inbox_op_t  *op;

    inbox = flight->inbox;

    if (outcome == NGX_COCO_DONE && ngx_coco_inbox_at_fault(result)
        && ngx_queue_head(&flight->line) != ngx_queue_last(&flight->line))
    {
        ngx_coco_inbox_again(flight);
        return;
    }

    if (outcome == NGX_COCO_DONE) {
        ngx_coco_inbox_count(inbox, result);
    }

    /* while they are answered, the next statement may be on its way */

    ngx_queue_init(&line);
    ngx_queue_add(&line, &flight->line);
    ngx_queue_init(&flight->line);

    if (!ngx_queue_empty(&inbox->waiting)) {
        ngx_coco_inbox_depart(flight);
    }

    while (!ngx_queue_empty(&line)) {
        q = ngx_queue_head(&line);
        op = ngx_queue_data(q, ngx_coco_inbox_op_t, op.link);
        op->op.sent = 0;
        ngx_coco_inbox_answer(op, outcome, result);
    }
}


static void
ngx_coco_inbox_count(ngx_coco_inbox_t *inbox, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        return;
    }

    ngx_coco_metrics_add(inbox->metrics, NGX_COCO_COUNTER_STATEMENTS, 1);
    ngx_coco_metrics_add(inbox->metrics, NGX_COCO_COUNTER_STORED,
                         strtoul(PQgetvalue(result, 0, 0), NULL, 10));
}


/* The server took offence at what a row holds: SQLSTATE's classes "data
 * exception" and "integrity constraint violation". */

static ngx_uint_t
ngx_coco_inbox_at_fault(const PGresult *result)
{
    char  *state;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && state[0] == '2' && (state[1] == '2' || state[1] == '3');
}


/* Each in a statement of its own, before those that came later. */

static void
ngx_coco_inbox_again(ngx_coco_inbox_flight_t *flight)
{
    ngx_queue_t          *q;
    ngx_coco_inbox_op_t  *op;

    while (!ngx_queue_empty(&flight->line)) {

        q = ngx_queue_last(&flight->line);
        op = ngx_queue_data(q, ngx_coco_inbox_op_t, op.link);
        op->op.sent = 0;

        if (!op->op.live) {
            ngx_coco_op_orphan(&op->op);
            continue;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_head(&flight->inbox->waiting, q);

        op->alone = 1;
        ngx_coco_inbox_wait(op);
    }

    ngx_post_event(&flight->inbox->posted, &ngx_posted_events);
}


static void
ngx_coco_inbox_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_inbox_no_longer_waiting((ngx_coco_inbox_op_t *) op);
    ngx_coco_inbox_answer((ngx_coco_inbox_op_t *) op, outcome, NULL);
}


static void
ngx_coco_inbox_answer(ngx_coco_inbox_op_t *op, ngx_coco_outcome_e outcome,
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
