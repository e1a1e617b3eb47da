/*
 * What the sources that read a table have in common: a thread with a
 * connection of its own, a lock that lets one worker read at a time, a table
 * of the rows in flight, and the way into the lane. A row is never called
 * done here: that is the lane's, in the transaction that applies it.
 */

#ifndef COCO_SOURCE_TABLE_H
#define COCO_SOURCE_TABLE_H

#include "lane.h"
#include "metrics.h"
#include "sinks/postgres.h"

typedef struct coco_table_s  coco_table_t;

/* The first statements of every table: "listen …", and a try for the advisory
 * lock. */
#define COCO_TABLE_LISTEN  0
#define COCO_TABLE_LOCK    1
#define COCO_TABLE_OWN     2

/* Callbacks are of the source's thread. */
typedef struct {
    const coco_pg_statement_t  *statements;
    int                         count;
    const char                 *reading;       /* names of log lines: it has */
    const char                 *failed;        /* the lock; Postgres said no */
    coco_lane_id_e              metrics_lane;

    /* Queues a round: the slot of the statement that reads `limit` rows at
     * most, those in flight too, with their ids in column 0. */
    int      (*ask)(void *data, coco_pg_t *pg, int limit);
    /* From its results: after how many ms there may be more, unless a
     * notification comes. */
    unsigned (*rest)(void *data, coco_pg_t *pg);
    /* The message of a row: all but done, done_data and tag. */
    void     (*message)(coco_message_t *ret, const PGresult *res, int row);
} coco_table_kind_t;

typedef struct {
    const coco_table_kind_t  *kind;            /* static */
    const char               *postgres;        /* conninfo */
    coco_lane_t              *lane;
    unsigned                  poll;            /* ms between tries for the
                                                  lock */
    void                     *data;            /* the kind's */
} coco_table_options_t;

/* Starts the thread; NULL when it could not. */
coco_table_t *coco_table_start(const coco_table_options_t *options);
/* Pushes nothing more; does not wait (the lane may hold the thread). */
void coco_table_stop(coco_table_t *t);
/* After the lane's stop. */
void coco_table_close(coco_table_t *t);

bool coco_table_alive(coco_table_t *t);

#endif /* COCO_SOURCE_TABLE_H */
