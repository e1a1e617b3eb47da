/*
 * One Postgres connection of one thread: set-based statements with binary
 * arrays, sent in pipelined rounds. Every wait has a deadline and ends on a
 * stop.
 *
 * A statement's parameters are arrays, one per letter of `types`:
 *     t text, T timestamptz, u uuid, j jsonb, f float8, b bool, x bytea,
 *     i int4, d date
 * Rows are put column after column:
 *     coco_pg_rows(pg, S_X); for each row { coco_pg_text(...), ... }
 *     slot = coco_pg_send(pg);
 */

#ifndef COCO_POSTGRES_H
#define COCO_POSTGRES_H

#include <libpq-fe.h>

#include "retry.h"

typedef struct coco_pg_s  coco_pg_t;

typedef struct {
    const char  *sql;
    const char  *types;
    const char  *service;    /* whose refusal an error of it is */
} coco_pg_statement_t;

typedef enum {
    COCO_PG_DONE = 0,
    COCO_PG_DATA,            /* SQLSTATE class 22, 23, 54: the rows' fault */
    COCO_PG_PARTITION,       /* a row's day has no partition */
    COCO_PG_RETRY            /* anything else: the same again, later */
} coco_pg_rc_e;

/* What the last failed round said. */
typedef struct {
    int   statement;         /* index in the table; -1: none in particular */
    char  sqlstate[6];
    char  message[160];
} coco_pg_error_t;

/* statements stay the caller's. gauge_lane: whose connected gauge moves; -1:
 * none. */
coco_pg_t *coco_pg_create(const char *conninfo,
    const coco_pg_statement_t *statements, int count, coco_stop_t *stop,
    int gauge_lane);
void coco_pg_destroy(coco_pg_t *pg);

/* Connects and prepares when that is not so already. COCO_ERROR: try later. */
int coco_pg_open(coco_pg_t *pg);
void coco_pg_close(coco_pg_t *pg);

/* Starts the rows of a statement (also of one without parameters). */
void coco_pg_rows(coco_pg_t *pg, int statement);
void coco_pg_text(coco_pg_t *pg, coco_str_t value);  /* NULL data: null */
/* As text, with what is no UTF-8, or NUL, replaced by '?'. */
void coco_pg_text_clean(coco_pg_t *pg, coco_str_t value);
void coco_pg_json(coco_pg_t *pg, coco_str_t value);
void coco_pg_bytes(coco_pg_t *pg, coco_str_t value);
void coco_pg_time(coco_pg_t *pg, int64_t ms);
void coco_pg_time_us(coco_pg_t *pg, int64_t us);     /* since the epoch */
void coco_pg_uuid(coco_pg_t *pg, const coco_id_t *value);  /* NULL: null */
void coco_pg_float(coco_pg_t *pg, double value, bool present);
void coco_pg_bool(coco_pg_t *pg, int value);         /* below 0: null */
void coco_pg_int(coco_pg_t *pg, int32_t value);
void coco_pg_date(coco_pg_t *pg, int64_t ms);        /* the UTC day of ms */
/* Queues it in the round; the slot of its result. */
int coco_pg_send(coco_pg_t *pg);

/* Ends the round and waits for its results; rolls back what failed. */
coco_pg_rc_e coco_pg_sync(coco_pg_t *pg);
/* Gives up the transaction that is open, after a round that was done. */
void coco_pg_rollback(coco_pg_t *pg);
/* Of the last round that was COCO_PG_DONE, until the next. */
PGresult *coco_pg_result(coco_pg_t *pg, int slot);
uint64_t coco_pg_affected(coco_pg_t *pg, int slot);
const coco_pg_error_t *coco_pg_error(const coco_pg_t *pg);

/* Between rounds, after a statement "listen": waits for a notification, ms at
 * most. COCO_OK: there was one, or several. COCO_AGAIN: the time is up, or the
 * stop is set. COCO_ERROR: the connection is lost, and closed. */
int coco_pg_notified(coco_pg_t *pg, unsigned ms);
/* To wait for it among others: readable when something may have come, -1 while
 * not connected. Then coco_pg_notified(pg, 1): 0 ms looks only at what has
 * come with the last round. */
int coco_pg_socket(const coco_pg_t *pg);

/* Reads a binary result. */
coco_str_t coco_pg_get(const PGresult *res, int row, int column);
int64_t coco_pg_get_int64(const PGresult *res, int row, int column);
/* ms since the epoch; COCO_PG_NEVER for null and -infinity. */
int64_t coco_pg_get_time(const PGresult *res, int row, int column);
int64_t coco_pg_get_time_us(const PGresult *res, int row, int column);
void coco_pg_get_uuid(coco_id_t *ret, const PGresult *res, int row,
    int column);
int coco_pg_get_bool(const PGresult *res, int row, int column);  /* -1 null */
double coco_pg_get_float(const PGresult *res, int row, int column);

#define COCO_PG_NEVER     INT64_MIN

/* Postgres counts time from 2000-01-01. */
#define COCO_PG_EPOCH_MS  946684800000LL

#endif /* COCO_POSTGRES_H */
