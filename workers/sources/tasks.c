/*
 * From robot_task to the events lane, each row at its time. Must never delete
 * a row: that is the lane's, in the transaction that applies it.
 */

#include <stdlib.h>

#include "services/service.h"
#include "sources/table.h"
#include "sources/tasks.h"

#define COCO_TASKS_SETS  2

typedef enum {
    COCO_T_READ = COCO_TABLE_OWN, COCO_T_NEXT, COCO_T_STATEMENTS
} coco_tasks_statement_e;

/* The rows that one service applies. */
typedef struct {
    unsigned           service;    /* COCO_SERVICE_… */
    coco_table_kind_t  kind;
} coco_tasks_set_t;

typedef struct {
    coco_table_t  *table;          /* NULL: the service is not here */
    unsigned       poll;
    int            next;           /* the table's thread's: a slot */
} coco_tasks_reader_t;

struct coco_source_tasks_s {
    coco_tasks_reader_t  readers[COCO_TASKS_SETS];
};

static int coco_tasks_ask(void *data, coco_pg_t *pg, int limit);
static unsigned coco_tasks_rest(void *data, coco_pg_t *pg);
static void coco_tasks_message(coco_message_t *ret, const PGresult *res,
    int row);

/* Postgres' clock alone says what is due: now() is the same in a round. The
 * row that comes next may be another service's: then it wakes for nothing,
 * but looks at one row. */
#define coco_tasks_statements(word, kinds)                                    \
    {                                                                         \
        [COCO_TABLE_LISTEN] = { "listen coco_task", "", word },               \
        [COCO_TABLE_LOCK] = {                                                 \
            "select pg_try_advisory_lock(hashtext('coco.tasks." word "'))",   \
            "", word },                                                       \
        [COCO_T_READ] = {                                                     \
            "select id, kind || '/' || serial, serial,"                       \
            " coalesce(data::text, ''), due_at"                               \
            " from coco.robot_task"                                           \
            " where due_at <= now() and kind in (" kinds ")"                  \
            " order by due_at, seq limit ($1::int4[])[1]",                    \
            "i", word },                                                      \
        [COCO_T_NEXT] = {                                                     \
            "select ceil(extract(epoch from due_at - now()) * 1000)::int8"    \
            " from coco.robot_task where due_at > now()"                      \
            " order by due_at, seq limit 1",                                  \
            "", word },                                                       \
    }

static const coco_pg_statement_t  coco_tasks_state[]
    = coco_tasks_statements("state", "'LID', 'SEEN', 'EXPIRY'");
static const coco_pg_statement_t  coco_tasks_deliveries[]
    = coco_tasks_statements("deliveries", "'ARRIVAL'");

#undef coco_tasks_statements

#define coco_tasks_kind(statements)                                           \
    { statements, COCO_T_STATEMENTS, "tasks_reading", "tasks_failed",         \
      COCO_LANE_EVENTS, coco_tasks_ask, coco_tasks_rest, coco_tasks_message }

static const coco_tasks_set_t  coco_tasks_sets[COCO_TASKS_SETS] = {
    { COCO_SERVICE_STATE, coco_tasks_kind(coco_tasks_state) },
    { COCO_SERVICE_DELIVERIES, coco_tasks_kind(coco_tasks_deliveries) },
};

#undef coco_tasks_kind


coco_source_tasks_t *
coco_source_tasks_start(const coco_source_tasks_options_t *options)
{
    coco_tasks_reader_t   *reader;
    coco_source_tasks_t   *s;
    coco_table_options_t   table;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    for (int i = 0; i < COCO_TASKS_SETS; i++) {
        if ((options->config->service_bits & coco_tasks_sets[i].service) == 0)
        {
            continue;
        }

        reader = &s->readers[i];
        reader->poll = (unsigned) options->config->tasks_poll;

        table.kind = &coco_tasks_sets[i].kind;
        table.postgres = options->config->postgres_conninfo;
        table.lane = options->lane;
        table.poll = reader->poll;
        table.data = reader;
        reader->table = coco_table_start(&table);

        if (reader->table == NULL) {
            coco_source_tasks_close(s);
            return NULL;
        }
    }

    return s;
}


void
coco_source_tasks_stop(coco_source_tasks_t *s)
{
    for (int i = 0; i < COCO_TASKS_SETS; i++) {
        if (s->readers[i].table != NULL) {
            coco_table_stop(s->readers[i].table);
        }
    }
}


void
coco_source_tasks_close(coco_source_tasks_t *s)
{
    for (int i = 0; i < COCO_TASKS_SETS; i++) {
        if (s->readers[i].table != NULL) {
            coco_table_close(s->readers[i].table);
        }
    }

    free(s);
}


bool
coco_source_tasks_alive(coco_source_tasks_t *s)
{
    for (int i = 0; i < COCO_TASKS_SETS; i++) {
        if (s->readers[i].table != NULL
            && !coco_table_alive(s->readers[i].table))
        {
            return false;
        }
    }

    return true;
}


static int
coco_tasks_ask(void *data, coco_pg_t *pg, int limit)
{
    int                   read;
    coco_tasks_reader_t  *reader = data;

    coco_pg_rows(pg, COCO_T_READ);
    coco_pg_int(pg, limit);
    read = coco_pg_send(pg);

    coco_pg_rows(pg, COCO_T_NEXT);
    reader->next = coco_pg_send(pg);

    return read;
}


static unsigned
coco_tasks_rest(void *data, coco_pg_t *pg)
{
    int64_t               ms;
    PGresult             *res;
    coco_tasks_reader_t  *reader = data;

    res = coco_pg_result(pg, reader->next);

    if (PQntuples(res) == 0) {
        return reader->poll;
    }

    ms = coco_pg_get_int64(res, 0, 0);

    return ms < reader->poll ? (unsigned) ms : reader->poll;
}


/* Its time is when it was due: so it stays, however often it is tried. */
static void
coco_tasks_message(coco_message_t *ret, const PGresult *res, int row)
{
    ret->kind = COCO_KIND_TASK;
    ret->source = "task";
    ret->topic = coco_pg_get(res, row, 1);
    ret->serial = coco_pg_get(res, row, 2);
    ret->payload = coco_pg_get(res, row, 3);
    ret->received_at = coco_pg_get_time(res, row, 4);
    ret->inbox = true;
    coco_pg_get_uuid(&ret->inbox_id, res, row, 0);
}
