/*
 * Requests that wait for the outcome of commands: who waits for which, when
 * a row is looked at, and who is told. Must never take a hint for an answer,
 * nor look at rows one by one while there are many.
 */

#include "ngx_coco_replies.h"
#include "ngx_coco_op.h"
#include "ngx_coco_subscription.h"

#define NGX_COCO_REPLIES_PREFIX   "coco.replies."

#define NGX_COCO_REPLIES_FLIGHTS  2
#define NGX_COCO_REPLIES_ROWS     512     /* of one statement */

/* milliseconds */
#define NGX_COCO_REPLIES_PERIOD   1000    /* between looks at a row */
#define NGX_COCO_REPLIES_SLACK    50      /* looks that are due so soon go
                                             along */


typedef struct ngx_coco_replies_command_s  ngx_coco_replies_command_t;


struct ngx_coco_replies_op_s {
    ngx_coco_op_t                 op;       /* in its command's line */
    ngx_coco_replies_t           *replies;
    ngx_coco_replies_command_t   *command;
    ngx_coco_replies_handler_pt   handler;
    void                         *data;
    unsigned                      last:1;   /* its time is over: the next look
                                               ends it */
};


/*
 * IDLE    its next look is not due
 * URGENT  to be looked at by the next statement
 * FLYING  being looked at; nobody may wait for it any more
 */
typedef enum {
    NGX_COCO_REPLIES_IDLE = 0,
    NGX_COCO_REPLIES_URGENT,
    NGX_COCO_REPLIES_FLYING
} ngx_coco_replies_state_e;


/* A command that is waited for. */
struct ngx_coco_replies_command_s {
    ngx_rbtree_node_t             node;     /* by the first bytes of id */
    coco_id_t                     id;
    ngx_queue_t                   ops;      /* those that wait for it */
    ngx_queue_t                   link;     /* in the line of its state, or
                                               among the free */
    ngx_coco_replies_state_e      state;
    ngx_msec_t                    looked;   /* or began to wait */
    unsigned                      again:1;  /* FLYING: what is being read may
                                               be old, look once more */
};


/* A statement, under way while `line` has commands. */
typedef struct {
    ngx_coco_replies_t           *replies;
    ngx_queue_t                   line;
} ngx_coco_replies_flight_t;


struct ngx_coco_replies_s {
    ngx_coco_ident_t              ident;    /* of the events below */
    ngx_coco_pg_t                *pg;
    ngx_coco_metrics_t           *metrics;
    ngx_msec_t                    timeout;  /* of a statement */
    ngx_str_t                     channel;
    ngx_coco_subscription_t      *sub;      /* NULL: there are no hints */
    ngx_pool_t                   *pool;     /* NULL: not initialised */
    ngx_log_t                    *log;
    ngx_coco_ops_t                ops;
    ngx_uint_t                    waiting;  /* operations */
    ngx_uint_t                    strays;   /* hints that nobody waited for */
    ngx_rbtree_t                  tree;     /* of commands */
    ngx_rbtree_node_t             sentinel;
    ngx_queue_t                   idle;     /* the oldest look first */
    ngx_queue_t                   urgent;
    ngx_queue_t                   free;
    ngx_event_t                   timer;    /* for the head of idle */
    ngx_event_t                   posted;   /* departs, once the hints of this
                                               turn have been read */
    ngx_coco_replies_flight_t     flights[NGX_COCO_REPLIES_FLIGHTS];
    unsigned                      wake:1;   /* the worker is to be woken */
    unsigned                      waking:1; /* by a statement under way */

    /* "{id,id,…}" of a statement that is being sent */
    u_char                        ids[NGX_COCO_REPLIES_ROWS
                                      * (COCO_ID_TEXT_LEN + 1) + 2];
};


static ngx_int_t ngx_coco_replies_subscribe(ngx_coco_replies_t *replies,
    const ngx_coco_replies_backends_t *backends, ngx_cycle_t *cycle);
static void ngx_coco_replies_hint(void *data, coco_str_t channel,
    coco_str_t message);
static ngx_coco_replies_command_t *ngx_coco_replies_find(
    ngx_coco_replies_t *replies, const coco_id_t *id);
static ngx_coco_replies_command_t *ngx_coco_replies_command(
    ngx_coco_replies_t *replies, const coco_id_t *id);
static void ngx_coco_replies_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static int ngx_coco_replies_compare(const ngx_rbtree_node_t *node,
    ngx_rbtree_key_t key, const coco_id_t *id);
static ngx_rbtree_key_t ngx_coco_replies_key(const coco_id_t *id);
static void ngx_coco_replies_forget(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command);
static void ngx_coco_replies_urge(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command);
static void ngx_coco_replies_rest(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command);
static void ngx_coco_replies_timer_handler(ngx_event_t *ev);
static void ngx_coco_replies_posted_handler(ngx_event_t *ev);
static void ngx_coco_replies_depart(ngx_coco_replies_flight_t *flight);
static void ngx_coco_replies_woken(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_replies_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_replies_land(ngx_coco_replies_flight_t *flight,
    ngx_coco_outcome_e outcome, const PGresult *result);
static void ngx_coco_replies_tell(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command, const PGresult *result, int row);
static void ngx_coco_replies_give_up(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command, ngx_coco_outcome_e outcome);
static void ngx_coco_replies_call(ngx_coco_op_t *op,
    ngx_coco_outcome_e outcome);
static void ngx_coco_replies_answer(ngx_coco_replies_op_t *op,
    ngx_coco_outcome_e outcome, const PGresult *result, int row);
static void ngx_coco_replies_count(ngx_coco_replies_t *replies, int n);


ngx_coco_pg_statement_t  ngx_coco_replies_statement = {
    ngx_string("coco_command_outcome"),
    "select id::text, outcome, reason, cycle_id::text"
    "  from coco.robot_command"
    " where id = any ($1::uuid[]) and outcome is not null",
    1, NGX_COCO_PG_POINT, 0
};


/* In no transaction that has to reach the disk: those that notify wait for
 * each other's commits. */

ngx_coco_pg_statement_t  ngx_coco_replies_wake_statement = {
    ngx_string("coco_command_wake"),
    "select pg_notify('coco_command', '')",
    0, NGX_COCO_PG_POINT, 0
};


static const ngx_coco_subscriber_t  ngx_coco_replies_subscriber = {
    ngx_coco_replies_hint, NULL, NULL
};


ngx_coco_replies_t *
ngx_coco_replies_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_coco_replies_t));
}


ngx_int_t
ngx_coco_replies_init_process(ngx_coco_replies_t *replies,
    const ngx_coco_replies_backends_t *backends, ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    replies->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cycle->log);
    if (replies->pool == NULL) {
        return NGX_ERROR;
    }

    replies->ident.fd = (ngx_socket_t) -1;
    replies->pg = backends->pg;
    replies->metrics = backends->metrics;
    replies->timeout = backends->timeout;
    replies->log = cycle->log;

    ngx_coco_ops_init(&replies->ops, replies->pool, replies->log,
                      sizeof(ngx_coco_replies_op_t), ngx_coco_replies_call);

    ngx_rbtree_init(&replies->tree, &replies->sentinel,
                    ngx_coco_replies_insert);
    ngx_queue_init(&replies->idle);
    ngx_queue_init(&replies->urgent);
    ngx_queue_init(&replies->free);

    for (i = 0; i < NGX_COCO_REPLIES_FLIGHTS; i++) {
        replies->flights[i].replies = replies;
        ngx_queue_init(&replies->flights[i].line);
    }

    replies->timer.handler = ngx_coco_replies_timer_handler;
    replies->timer.data = replies;
    replies->timer.log = replies->log;
    replies->timer.cancelable = 1;

    replies->posted.handler = ngx_coco_replies_posted_handler;
    replies->posted.data = replies;
    replies->posted.log = replies->log;

    return backends->redis
           ? ngx_coco_replies_subscribe(replies, backends, cycle) : NGX_OK;
}


static ngx_int_t
ngx_coco_replies_subscribe(ngx_coco_replies_t *replies,
    const ngx_coco_replies_backends_t *backends, ngx_cycle_t *cycle)
{
    u_char  *p;

    p = ngx_pnalloc(replies->pool, sizeof(NGX_COCO_REPLIES_PREFIX ".") - 1
                                   + backends->edge.len + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    replies->channel.data = p;
    replies->channel.len = ngx_sprintf(p, NGX_COCO_REPLIES_PREFIX "%V.%P",
                                       &backends->edge, ngx_pid)
                           - p;

    replies->sub = ngx_coco_subscription_open(replies->pool, backends->redis,
                                              1, &replies->channel,
                                              &ngx_coco_replies_subscriber,
                                              replies, cycle);

    return replies->sub ? NGX_OK : NGX_ERROR;
}


/* The Postgres client has ended what was under way; requests are gone. */

void
ngx_coco_replies_exit_process(ngx_coco_replies_t *replies)
{
    if (replies->pool == NULL) {
        return;
    }

    if (replies->sub) {
        ngx_coco_subscription_close(replies->sub);
        replies->sub = NULL;
    }

    if (replies->timer.timer_set) {
        ngx_del_timer(&replies->timer);
    }

    if (replies->posted.posted) {
        ngx_delete_posted_event(&replies->posted);
    }

    ngx_coco_ops_done(&replies->ops);
    ngx_destroy_pool(replies->pool);
    replies->pool = NULL;
}


ngx_uint_t
ngx_coco_replies_begin(ngx_coco_replies_t *replies, ngx_str_t *ret_channel)
{
    if (replies->sub && ngx_coco_subscription_up(replies->sub)) {
        *ret_channel = replies->channel;

    } else {
        ngx_str_null(ret_channel);
    }

    return replies->strays;
}


void
ngx_coco_replies_wake(ngx_coco_replies_t *replies)
{
    replies->wake = 1;
    ngx_post_event(&replies->posted, &ngx_posted_events);
}


ngx_coco_replies_op_t *
ngx_coco_replies_wait(ngx_coco_replies_t *replies, const coco_id_t *id,
    ngx_uint_t begun, ngx_uint_t known, ngx_msec_t timeout,
    ngx_coco_replies_handler_pt handler, void *data)
{
    ngx_coco_replies_op_t       *op;
    ngx_coco_replies_command_t  *command;

    command = ngx_coco_replies_find(replies, id);

    if (command == NULL) {
        command = ngx_coco_replies_command(replies, id);
        if (command == NULL) {
            return NULL;
        }
    }

    op = ngx_coco_op_create(&replies->ops, &command->ops, timeout);

    if (op == NULL) {
        ngx_coco_replies_forget(replies, command);
        return NULL;
    }

    op->replies = replies;
    op->command = command;
    op->handler = handler;
    op->data = data;

    ngx_coco_replies_count(replies, 1);

    /* a hint of a command that was not waited for may have been this one's */

    if (known || begun != replies->strays) {
        ngx_coco_replies_urge(replies, command);
    }

    return op;
}


void
ngx_coco_replies_cancel(ngx_coco_replies_op_t *op)
{
    ngx_coco_replies_t          *replies;
    ngx_coco_replies_command_t  *command;

    replies = op->replies;
    command = op->command;

    ngx_coco_op_orphan(&op->op);
    ngx_coco_replies_forget(replies, command);
    ngx_coco_replies_count(replies, -1);
}


static void
ngx_coco_replies_hint(void *data, coco_str_t channel, coco_str_t message)
{
    ngx_coco_replies_t *replies = data;

    coco_id_t                    id;
    ngx_coco_replies_command_t  *command;

    command = coco_id_parse(&id, message) == COCO_OK
              ? ngx_coco_replies_find(replies, &id) : NULL;

    if (command) {
        ngx_coco_replies_urge(replies, command);
    } else {
        replies->strays++;
    }
}


static ngx_coco_replies_command_t *
ngx_coco_replies_find(ngx_coco_replies_t *replies, const coco_id_t *id)
{
    int                 order;
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node;

    key = ngx_coco_replies_key(id);
    node = replies->tree.root;

    while (node != &replies->sentinel) {
        order = ngx_coco_replies_compare(node, key, id);

        if (order == 0) {
            return (ngx_coco_replies_command_t *) node;
        }

        node = order < 0 ? node->left : node->right;
    }

    return NULL;
}


static ngx_coco_replies_command_t *
ngx_coco_replies_command(ngx_coco_replies_t *replies, const coco_id_t *id)
{
    ngx_queue_t                 *q;
    ngx_coco_replies_command_t  *command;

    if (ngx_queue_empty(&replies->free)) {
        command = ngx_palloc(replies->pool, sizeof(*command));
        if (command == NULL) {
            return NULL;
        }

    } else {
        q = ngx_queue_head(&replies->free);
        ngx_queue_remove(q);
        command = ngx_queue_data(q, ngx_coco_replies_command_t, link);
    }

    ngx_memzero(command, sizeof(*command));

    command->id = *id;
    ngx_queue_init(&command->ops);

    command->node.key = ngx_coco_replies_key(id);
    ngx_rbtree_insert(&replies->tree, &command->node);

    ngx_coco_replies_rest(replies, command);

    return command;
}


static void
ngx_coco_replies_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t           **p;
    ngx_coco_replies_command_t   *command;

    command = (ngx_coco_replies_command_t *) node;

    for ( ;; ) {
        p = ngx_coco_replies_compare(temp, node->key, &command->id) < 0
            ? &temp->left : &temp->right;

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static int
ngx_coco_replies_compare(const ngx_rbtree_node_t *node, ngx_rbtree_key_t key,
    const coco_id_t *id)
{
    if (key != node->key) {
        return key < node->key ? -1 : 1;
    }

    return ngx_memcmp(id, &((ngx_coco_replies_command_t *) node)->id,
                      sizeof(*id));
}


static ngx_rbtree_key_t
ngx_coco_replies_key(const coco_id_t *id)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, id->bytes, sizeof(key));

    return key;
}


/* Unless somebody waits for it, or a statement is reading it. */

static void
ngx_coco_replies_forget(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command)
{
    if (!ngx_queue_empty(&command->ops)
        || command->state == NGX_COCO_REPLIES_FLYING)
    {
        return;
    }

    ngx_rbtree_delete(&replies->tree, &command->node);

    ngx_queue_remove(&command->link);
    ngx_queue_insert_head(&replies->free, &command->link);
}


static void
ngx_coco_replies_urge(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command)
{
    if (command->state == NGX_COCO_REPLIES_FLYING) {
        command->again = 1;
        return;
    }

    if (command->state == NGX_COCO_REPLIES_IDLE) {
        command->state = NGX_COCO_REPLIES_URGENT;
        ngx_queue_remove(&command->link);
        ngx_queue_insert_tail(&replies->urgent, &command->link);
    }

    ngx_post_event(&replies->posted, &ngx_posted_events);
}


static void
ngx_coco_replies_rest(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command)
{
    command->state = NGX_COCO_REPLIES_IDLE;
    command->looked = ngx_current_msec;
    ngx_queue_insert_tail(&replies->idle, &command->link);

    if (!replies->timer.timer_set) {
        ngx_add_timer(&replies->timer, NGX_COCO_REPLIES_PERIOD);
    }
}


static void
ngx_coco_replies_timer_handler(ngx_event_t *ev)
{
    ngx_msec_int_t               left;
    ngx_coco_replies_t          *replies;
    ngx_coco_replies_command_t  *command;

    replies = ev->data;

    while (!ngx_queue_empty(&replies->idle)) {

        command = ngx_queue_data(ngx_queue_head(&replies->idle),
                                 ngx_coco_replies_command_t, link);

        left = (ngx_msec_int_t) (command->looked + NGX_COCO_REPLIES_PERIOD
                                 - ngx_current_msec);

        if (left > NGX_COCO_REPLIES_SLACK) {
            ngx_add_timer(&replies->timer, (ngx_msec_t) left);
            return;
        }

        ngx_coco_replies_urge(replies, command);
    }
}


static void
ngx_coco_replies_posted_handler(ngx_event_t *ev)
{
    ngx_uint_t           i;
    ngx_coco_replies_t  *replies;

    replies = ev->data;

    if (replies->wake && !replies->waking) {
        replies->wake = 0;
        replies->waking = ngx_coco_pg_send(replies->pg,
                                           &ngx_coco_replies_wake_statement,
                                           NULL, replies->timeout,
                                           ngx_coco_replies_woken, replies)
                          != NULL;
    }

    for (i = 0; i < NGX_COCO_REPLIES_FLIGHTS; i++) {
        if (ngx_queue_empty(&replies->flights[i].line)) {
            ngx_coco_replies_depart(&replies->flights[i]);
        }
    }
}


/* Also when it failed: the worker looks by itself once in a while. */

static void
ngx_coco_replies_woken(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_replies_t *replies = data;

    replies->waking = 0;

    if (replies->wake) {
        ngx_post_event(&replies->posted, &ngx_posted_events);
    }
}


static void
ngx_coco_replies_depart(ngx_coco_replies_flight_t *flight)
{
    u_char                      *p;
    ngx_str_t                    ids;
    ngx_uint_t                   n;
    ngx_queue_t                 *q;
    ngx_coco_replies_t          *replies;
    ngx_coco_replies_command_t  *command;

    replies = flight->replies;
    p = replies->ids;
    *p++ = '{';

    for (n = 0; n < NGX_COCO_REPLIES_ROWS; n++) {

        if (ngx_queue_empty(&replies->urgent)) {
            break;
        }

        q = ngx_queue_head(&replies->urgent);
        command = ngx_queue_data(q, ngx_coco_replies_command_t, link);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&flight->line, q);
        command->state = NGX_COCO_REPLIES_FLYING;

        coco_id_format((char *) p, &command->id);
        p += COCO_ID_TEXT_LEN;
        *p++ = ',';
    }

    if (n == 0) {
        return;
    }

    p[-1] = '}';

    ids.data = replies->ids;
    ids.len = p - replies->ids;

    if (ngx_coco_pg_send(replies->pg, &ngx_coco_replies_statement, &ids,
                         replies->timeout, ngx_coco_replies_handler, flight)
        == NULL)
    {
        ngx_coco_replies_land(flight, NGX_COCO_DOWN, NULL);
    }
}


static void
ngx_coco_replies_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_replies_flight_t *flight = data;

    if (outcome == NGX_COCO_DONE
        && PQresultStatus(result) != PGRES_TUPLES_OK)
    {
        outcome = NGX_COCO_DOWN;
    }

    ngx_coco_replies_land(flight, outcome, result);

    if (!ngx_queue_empty(&flight->replies->urgent)) {
        ngx_post_event(&flight->replies->posted, &ngx_posted_events);
    }
}


/* Requests that are told may end others, and others may begin to wait. */

static void
ngx_coco_replies_land(ngx_coco_replies_flight_t *flight,
    ngx_coco_outcome_e outcome, const PGresult *result)
{
    int                          row;
    coco_id_t                    id;
    ngx_queue_t                 *q;
    ngx_coco_replies_t          *replies;
    ngx_coco_replies_command_t  *command;

    replies = flight->replies;

    for (row = 0; outcome == NGX_COCO_DONE && row < PQntuples(result); row++) {

        if (coco_id_parse(&id, ngx_coco_pg_field(result, row,
                                                 NGX_COCO_REPLIES_ID))
            != COCO_OK)
        {
            continue;
        }

        command = ngx_coco_replies_find(replies, &id);

        if (command) {
            ngx_coco_replies_tell(replies, command, result, row);
        }
    }

    while (!ngx_queue_empty(&flight->line)) {

        q = ngx_queue_head(&flight->line);
        command = ngx_queue_data(q, ngx_coco_replies_command_t, link);

        if (!command->again || outcome != NGX_COCO_DONE) {
            ngx_coco_replies_give_up(replies, command,
                                     outcome == NGX_COCO_DONE
                                     ? NGX_COCO_TIMEOUT : NGX_COCO_DOWN);
        }

        ngx_queue_remove(q);
        ngx_coco_replies_rest(replies, command);

        if (command->again && outcome == NGX_COCO_DONE) {
            ngx_coco_replies_urge(replies, command);
        }

        command->again = 0;
        ngx_coco_replies_forget(replies, command);
    }
}


/* Those that wait for a command whose outcome is known. */

static void
ngx_coco_replies_tell(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command, const PGresult *result, int row)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&command->ops)) {
        q = ngx_queue_head(&command->ops);
        ngx_coco_replies_answer(ngx_queue_data(q, ngx_coco_replies_op_t,
                                               op.link),
                                NGX_COCO_DONE, result, row);
    }
}


/* Those whose time is over, which the last look did not help: the oldest are
 * first in the line. */

static void
ngx_coco_replies_give_up(ngx_coco_replies_t *replies,
    ngx_coco_replies_command_t *command, ngx_coco_outcome_e outcome)
{
    ngx_queue_t            *q;
    ngx_coco_replies_op_t  *op;

    while (!ngx_queue_empty(&command->ops)) {
        q = ngx_queue_head(&command->ops);
        op = ngx_queue_data(q, ngx_coco_replies_op_t, op.link);

        if (!op->last) {
            return;
        }

        ngx_coco_replies_answer(op, outcome, NULL, -1);
    }
}


/* The time of one is over: a last look, by a statement that has a deadline of
 * its own. */

static void
ngx_coco_replies_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_replies_op_t  *waiting;

    waiting = (ngx_coco_replies_op_t *) op;
    waiting->last = 1;

    ngx_coco_op_untime(op);
    ngx_coco_replies_urge(waiting->replies, waiting->command);
}


static void
ngx_coco_replies_answer(ngx_coco_replies_op_t *op, ngx_coco_outcome_e outcome,
    const PGresult *result, int row)
{
    void                         *data;
    ngx_coco_replies_handler_pt   handler;

    data = op->data;
    handler = op->handler;

    ngx_coco_replies_cancel(op);

    handler(data, outcome, result, row);
}


static void
ngx_coco_replies_count(ngx_coco_replies_t *replies, int n)
{
    replies->waiting += n;

    ngx_coco_metrics_set(replies->metrics, NGX_COCO_GAUGE_LID_WAITING,
                         replies->waiting);
}
