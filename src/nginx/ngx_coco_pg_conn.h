/*
 * Inside the Postgres client: lanes, connections, operations. No file but
 * ngx_coco_pg*.c includes it.
 */

#ifndef NGX_COCO_PG_CONN_H
#define NGX_COCO_PG_CONN_H

#include "ngx_coco_pg.h"
#include "ngx_coco_op.h"

#define NGX_COCO_PG_LANES  2

typedef struct ngx_coco_pg_lane_s  ngx_coco_pg_lane_t;

struct ngx_coco_pg_op_s {
    ngx_coco_op_t             op;         /* buffer: values[], then texts */
    ngx_coco_pg_lane_t       *lane;
    ngx_coco_pg_statement_t  *statement;
    ngx_coco_pg_handler_pt    handler;
    void                     *data;
    ngx_uint_t                waiting;    /* in lane->waiting */
};

/*
 * CLOSED      at the start; after a loss, until the timer opens it, or an
 *             operation does so (only while no attempt has failed); the
 *             connections above lane->warm while they are not needed; in a
 *             worker that leaves, once nothing is under way
 * CONNECTING  PQconnectPoll() has not ended
 * PREPARING   the lane's statements are sent, not all answered
 * READY       in pipeline mode, takes operations up to lane->depth
 */
typedef enum {
    NGX_COCO_PG_CLOSED = 0,
    NGX_COCO_PG_CONNECTING,
    NGX_COCO_PG_PREPARING,
    NGX_COCO_PG_READY
} ngx_coco_pg_state_e;

typedef struct {
    ngx_coco_ident_t      ident;       /* of the timer */
    ngx_coco_pg_lane_t   *lane;
    ngx_coco_pg_state_e   state;
    ngx_uint_t            attempts;    /* failed since it was READY */
    PGconn               *db;
    ngx_connection_t     *connection;  /* of db's socket, which is libpq's
                                          to close */
    ino_t                 inode;       /* of that socket: libpq may open
                                          another with the same number */
    ngx_queue_t           line;        /* operations sent, in order */
    ngx_uint_t            depth;       /* of line */
    PGresult             *result;      /* of the first, until its sync */
    ngx_uint_t            prepared;    /* statements so far */
    ngx_event_t           timer;       /* CLOSED: open again; READY: look
                                          after it; else: give up */
    ngx_msec_t            heard;       /* the last result, or the operation
                                          that ended an idle time */
} ngx_coco_pg_conn_t;

struct ngx_coco_pg_lane_s {
    ngx_coco_pg_t        *pg;
    ngx_coco_pg_lane_e    type;
    ngx_coco_pg_conn_t   *conns;
    ngx_uint_t            nconns;
    ngx_uint_t            warm;        /* of these, kept open */
    ngx_uint_t            depth;       /* operations on one connection */
    ngx_queue_t           waiting;     /* operations not sent yet */
    ngx_uint_t            nwaiting;
    char                  reason[96];  /* of the last loss */
};

struct ngx_coco_pg_s {
    /* configuration */
    const char          **keywords;    /* for PQconnectStartParams() */
    const char          **values;
    ngx_str_t             name;        /* for the log */
    ngx_str_t             password;
    ngx_uint_t            points;      /* connections of each lane */
    ngx_uint_t            connections;
    ngx_msec_t            timeout;
    ngx_array_t          *statements;  /* of ngx_coco_pg_statement_t * */

    /* of this process */
    ngx_pool_t           *pool;
    ngx_log_t             log;
    ngx_coco_ops_t        ops;
    ngx_coco_pg_lane_t    lanes[NGX_COCO_PG_LANES];
};

/* Sends what waits as far as connections can take it, opens another one
 * where that helps, ends the rest where nothing can. */
void ngx_coco_pg_dispatch(ngx_coco_pg_lane_t *lane);

/* The result of the operation at the head of the line; frees it. */
void ngx_coco_pg_done(ngx_coco_pg_conn_t *conn, PGresult *result);

void ngx_coco_pg_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome);

void ngx_coco_pg_conn_init(ngx_coco_pg_conn_t *conn,
    ngx_coco_pg_lane_t *lane);
void ngx_coco_pg_conn_open(ngx_coco_pg_conn_t *conn);
void ngx_coco_pg_conn_close(ngx_coco_pg_conn_t *conn);
void ngx_coco_pg_conn_flush(ngx_coco_pg_conn_t *conn);

/* Ends what was under way with NGX_COCO_DOWN; `detail` is for the log. */
void ngx_coco_pg_conn_lost(ngx_coco_pg_conn_t *conn, const char *reason,
    const char *detail);

#endif /* NGX_COCO_PG_CONN_H */
