/*
 * What the emitter's files share: a round, from the facts that were read to
 * the rows that are written. Of one thread.
 */

#ifndef COCO_EMITTER_WORK_H
#define COCO_EMITTER_WORK_H

#include "coco_mds.h"
#include "sinks/arena.h"
#include "sinks/postgres.h"

#define COCO_EMITTER_FACTS  1000    /* of a round, at most */

typedef enum {
    COCO_E_LOCK = 0, COCO_E_NOW, COCO_E_FACTS, COCO_E_BEGIN, COCO_E_MAKE,
    COCO_E_MEMORY, COCO_E_KEEP, COCO_E_EVENTS, COCO_E_STARTS, COCO_E_ENDS,
    COCO_E_LETTERS, COCO_E_DELETE, COCO_E_PROGRESS, COCO_E_COMMIT,
    COCO_E_REPLAY, COCO_E_STATEMENTS
} coco_emitter_statement_e;

/* Strings are the arena's. */
typedef struct {
    coco_str_t       seq;
    coco_str_t       serial;
    coco_mds_fact_t  fact;
    bool             refused;       /* it becomes a dead letter: */
    coco_error_t     error;
} coco_emitter_fact_t;

typedef struct {
    coco_str_t          serial;     /* its first fact's */
    coco_id_t           device;
    coco_mds_vehicle_t  memory;
    bool                unreadable; /* so it stays as it is */
    bool                told;       /* in this round, and last by: */
    coco_id_t           event_id;
    int64_t             event_at;   /* ms */
} coco_emitter_vehicle_t;

typedef struct {
    unsigned         vehicle;       /* index */
    coco_id_t        event_id;      /* random */
    coco_mds_told_t  told;
} coco_emitter_told_t;

/* Facts are ordered by serial and seq, vehicles by serial. */
typedef struct {
    coco_arena_t             arena;
    unsigned                 nfacts, nvehicles, ntold, told_size;
    coco_emitter_fact_t      facts[COCO_EMITTER_FACTS];
    coco_emitter_vehicle_t   vehicles[COCO_EMITTER_FACTS];
    coco_emitter_told_t     *told;          /* malloc'ed; kept */
    uint64_t                 events, refused;
} coco_emitter_round_t;

extern const coco_pg_statement_t
    coco_emitter_statements[COCO_E_STATEMENTS];

/* From the rows of COCO_E_FACTS. None is taken to be of after now or before
 * floor, which goes first (ms). COCO_ERROR: no memory. */
int coco_emitter_facts_read(coco_emitter_round_t *r, const PGresult *res,
    int64_t floor, int64_t now);
void coco_emitter_refuse(coco_emitter_fact_t *f, const char *field,
    const char *reason);
/* Their vehicles. */
void coco_emitter_vehicles_find(coco_emitter_round_t *r);
/* From the rows of COCO_E_MEMORY. COCO_ERROR: they are not those vehicles. */
int coco_emitter_memory_read(coco_emitter_round_t *r, const PGresult *res);
/* COCO_ERROR: no memory, or no random numbers. */
int coco_emitter_apply(coco_emitter_round_t *r);

/* Queue statements. COCO_E_MAKE, then COCO_E_MEMORY, whose slot it is. */
int coco_emitter_vehicles_put(const coco_emitter_round_t *r, coco_pg_t *pg);
/* All that the round writes, but its progress. */
void coco_emitter_rows_put(const coco_emitter_round_t *r, coco_pg_t *pg);

#endif /* COCO_EMITTER_WORK_H */
