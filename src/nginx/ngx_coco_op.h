/*
 * What the Redis and the Postgres client have in common: operations, each
 * with a caller that may go away and a deadline, and their timely end.
 */

#ifndef NGX_COCO_OP_H
#define NGX_COCO_OP_H

#include "ngx_coco.h"

/* What the data of a timer must begin with: nginx's debug log reads fd, at
 * the place where ngx_connection_t has it. */
typedef struct {
    void          *unused[3];
    ngx_socket_t   fd;          /* -1 */
} ngx_coco_ident_t;

typedef struct ngx_coco_ops_s  ngx_coco_ops_t;

/* Embedded, as the first member, in the clients' own operations. */
typedef struct {
    ngx_coco_ops_t     *ops;
    ngx_queue_t         link;       /* in a line of its client's, or among
                                       the ended; always in one of them */
    ngx_queue_t         due;        /* by deadline; while `timed` */
    ngx_msec_t          deadline;   /* of ngx_current_msec */
    void               *buffer;     /* ngx_free()d with the operation */
    ngx_coco_outcome_e  outcome;    /* of the ended */
    unsigned            live:1;     /* 0: orphaned, nobody is called */
    unsigned            timed:1;
    unsigned            sent:1;     /* its reply is still to come: the
                                       operation outlives its caller */
} ngx_coco_op_t;

/* Calls the operation's handler with no reply. Takes the handler out of the
 * operation, then ngx_coco_op_orphan()s it, and only then calls. */
typedef void (*ngx_coco_op_call_pt)(ngx_coco_op_t *op,
    ngx_coco_outcome_e outcome);

struct ngx_coco_ops_s {
    ngx_coco_ident_t     ident;
    ngx_coco_op_call_pt  call;
    size_t               size;      /* of the client's operation */
    ngx_pool_t          *pool;
    ngx_queue_t          due;       /* the earliest deadline first */
    ngx_queue_t          ended;     /* to be called within this turn */
    ngx_queue_t          free;
    ngx_event_t          timer;     /* for the head of `due`, or early */
    ngx_event_t          posted;    /* for `ended` */
};

void ngx_coco_ops_init(ngx_coco_ops_t *ops, ngx_pool_t *pool, ngx_log_t *log,
    size_t size, ngx_coco_op_call_pt call);
void ngx_coco_ops_done(ngx_coco_ops_t *ops);

/* A live operation at the end of `line`, timed; NULL when memory is out. */
void *ngx_coco_op_create(ngx_coco_ops_t *ops, ngx_queue_t *line,
    ngx_msec_t timeout);

/* An operation nobody waits for (a PING). */
void *ngx_coco_op_create_orphan(ngx_coco_ops_t *ops, ngx_queue_t *line);

/* Takes the caller away. Frees the operation unless it is `sent`; clear that
 * first when its reply has come. */
void ngx_coco_op_orphan(ngx_coco_op_t *op);

/* Takes the deadline away: something else is sure to end it soon, and keeps
 * a worker that leaves until then. */
void ngx_coco_op_untime(ngx_coco_op_t *op);

/* Frees a line's operations, sent or not, and calls nobody: the process
 * exits. */
void ngx_coco_ops_drop(ngx_queue_t *line);

/* Takes the operation out of its line and has the caller called from a
 * posted event, never from within. */
void ngx_coco_op_end(ngx_coco_op_t *op, ngx_coco_outcome_e outcome);

/* How long to wait before the next attempt to connect: 50 ms, doubled with
 * each attempt that failed, up to 2 s, plus or minus half, so that processes
 * and hosts do not come back in step; next to nothing while none failed. */
ngx_msec_t ngx_coco_backoff(ngx_uint_t attempts);

#endif /* NGX_COCO_OP_H */
