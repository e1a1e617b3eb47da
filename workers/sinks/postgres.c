/*
 * The Postgres connection of a thread: pipelined rounds of prepared, set-based
 * statements. Knows no table, and must never wait without a deadline.
 */

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "postgres.h"

#define COCO_PG_SLOTS_MAX     48
#define COCO_PG_COLUMNS_MAX   16
#define COCO_PG_CONNECT_MS    20000    /* to one of the hosts */
#define COCO_PG_SETTLE_MS     5000     /* prepare, rollback */
#define COCO_PG_ROUND_MS      35000    /* above statement_timeout */
#define COCO_PG_STOP_MS       5000     /* what a stop leaves to a round */
#define COCO_PG_TICK_MS       200      /* how soon a wait sees a stop */
#define COCO_PG_HEADER        20       /* of a one-dimensional binary array */
#define COCO_PG_SETTINGS      6
#define COCO_PG_KEEP          (1 << 20)
#define COCO_PG_DAY_MS        86400000LL

typedef struct {
    char      *data;
    size_t     len;
    size_t     size;
    uint32_t   count;
    bool       has_null;
    uint32_t   type;
} coco_pg_column_t;

struct coco_pg_s {
    PGconn                     *conn;       /* NULL: not connected */
    char                       *conninfo;
    const coco_pg_statement_t  *statements;
    int                         count;
    coco_stop_t                *stop;
    int                         gauge_lane;

    /* the rows being put */
    int                         statement;
    int                         columns;
    int                         column;
    coco_pg_column_t            column_data[COCO_PG_COLUMNS_MAX];
    bool                        failed;     /* no memory, or libpq refused */

    /* the round */
    int                         slots;
    int                         slot_statement[COCO_PG_SLOTS_MAX];
    PGresult                   *results[COCO_PG_SLOTS_MAX];
    coco_pg_error_t             error;
};

static int coco_pg_connect(coco_pg_t *pg, int64_t until);
static int coco_pg_prepare(coco_pg_t *pg);
static int coco_pg_wait(coco_pg_t *pg, bool writing, int64_t *until);
static int coco_pg_flush(coco_pg_t *pg, int64_t *until);
static int coco_pg_next(coco_pg_t *pg, int64_t until, PGresult **ret);
static coco_pg_rc_e coco_pg_round(coco_pg_t *pg, int64_t ms);
static coco_pg_rc_e coco_pg_classify(coco_pg_t *pg, const PGresult *res,
    int slot);
static coco_pg_rc_e coco_pg_lost(coco_pg_t *pg, const char *what);
static void coco_pg_clear(coco_pg_t *pg);
static char *coco_pg_element(coco_pg_t *pg, size_t len);
static void coco_pg_null(coco_pg_t *pg);
static bool coco_pg_notifications(coco_pg_t *pg);
static void coco_pg_notice(void *arg, const char *message);


static uint32_t
coco_pg_type(char letter)
{
    switch (letter) {
    case 't': return 25;
    case 'T': return 1184;
    case 'u': return 2950;
    case 'j': return 3802;
    case 'f': return 701;
    case 'b': return 16;
    case 'x': return 17;
    case 'i': return 23;
    default:  return 1082;
    }
}


coco_pg_t *
coco_pg_create(const char *conninfo, const coco_pg_statement_t *statements,
    int count, coco_stop_t *stop, int gauge_lane)
{
    coco_pg_t  *pg;

    pg = calloc(1, sizeof(*pg));
    if (pg == NULL) {
        return NULL;
    }

    pg->conninfo = strdup(conninfo);
    if (pg->conninfo == NULL) {
        free(pg);
        return NULL;
    }

    pg->statements = statements;
    pg->count = count;
    pg->stop = stop;
    pg->gauge_lane = gauge_lane;

    return pg;
}


void
coco_pg_destroy(coco_pg_t *pg)
{
    if (pg == NULL) {
        return;
    }

    coco_pg_close(pg);

    for (int i = 0; i < COCO_PG_COLUMNS_MAX; i++) {
        free(pg->column_data[i].data);
    }

    free(pg->conninfo);
    free(pg);
}


int
coco_pg_open(coco_pg_t *pg)
{
    int64_t  until;

    if (pg->conn != NULL) {
        return COCO_OK;
    }

    until = coco_clock_monotonic_us() + COCO_PG_CONNECT_MS * 1000LL;

    if (coco_pg_connect(pg, until) != COCO_OK
        || coco_pg_prepare(pg) != COCO_OK)
    {
        coco_log(COCO_LOG_WARN, "postgres_unavailable", "error", "%s",
                 pg->error.message, NULL);
        PQfinish(pg->conn);
        pg->conn = NULL;
        return COCO_ERROR;
    }

    if (pg->gauge_lane >= 0) {
        coco_metrics_shift(COCO_G_POSTGRES_CONNECTED, pg->gauge_lane, 1);
    }

    return COCO_OK;
}


void
coco_pg_close(coco_pg_t *pg)
{
    coco_pg_clear(pg);
    pg->slots = 0;
    pg->failed = false;

    if (pg->conn == NULL) {
        return;
    }

    PQfinish(pg->conn);
    pg->conn = NULL;

    if (pg->gauge_lane >= 0) {
        coco_metrics_shift(COCO_G_POSTGRES_CONNECTED, pg->gauge_lane, -1);
    }
}


static int
coco_pg_connect(coco_pg_t *pg, int64_t until)
{
    PostgresPollingStatusType  status;

    /* The operator's conninfo comes last, so that it overrides ours. The
     * asynchronous libpq has no connect_timeout: tcp_user_timeout is what
     * takes it from a host that is silent to the next of the list. */
    const char  *keys[] = { "application_name", "client_encoding",
                            "keepalives_idle", "keepalives_interval",
                            "keepalives_count", "tcp_user_timeout",
                            "gssencmode", "dbname", NULL };
    const char  *values[] = { "coco-worker", "UTF8", "10", "5", "3", "5000",
                              "disable", pg->conninfo, NULL };

    pg->conn = PQconnectStartParams(keys, values, 1);
    if (pg->conn == NULL) {
        snprintf(pg->error.message, sizeof(pg->error.message), "no memory");
        return COCO_ERROR;
    }

    PQsetNoticeProcessor(pg->conn, coco_pg_notice, NULL);
    status = PGRES_POLLING_WRITING;

    while (PQstatus(pg->conn) != CONNECTION_BAD
           && status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED)
    {
        if (coco_pg_wait(pg, status == PGRES_POLLING_WRITING, &until)
            != COCO_OK)
        {
            snprintf(pg->error.message, sizeof(pg->error.message),
                     "connecting took over %d ms", COCO_PG_CONNECT_MS);
            return COCO_ERROR;
        }

        status = PQconnectPoll(pg->conn);
    }

    if (PQstatus(pg->conn) != CONNECTION_OK
        || PQsetnonblocking(pg->conn, 1) != 0
        || PQenterPipelineMode(pg->conn) != 1)
    {
        snprintf(pg->error.message, sizeof(pg->error.message), "%.*s",
                 (int) strcspn(PQerrorMessage(pg->conn), "\n"),
                 PQerrorMessage(pg->conn));
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int
coco_pg_prepare(coco_pg_t *pg)
{
    int   sent = 0;
    char  name[16];

    /* Generic plans: the arrays' sizes vary, the right plan does not, and
     * planning each batch costs more than it can win. By index: a plan made
     * while a table is empty is kept while it grows. */
    static const char  *settings[COCO_PG_SETTINGS] = {
        "set statement_timeout = '30s'", "set lock_timeout = '15s'",
        "set idle_in_transaction_session_timeout = '60s'",
        "set plan_cache_mode = force_generic_plan", "set jit = off",
        "set enable_seqscan = off",
    };

    for (int i = 0; i < COCO_PG_SETTINGS; i++) {
        sent += PQsendQueryParams(pg->conn, settings[i], 0, NULL, NULL, NULL,
                                  NULL, 0);
    }

    for (int i = 0; i < pg->count; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        sent += PQsendPrepare(pg->conn, name, pg->statements[i].sql, 0, NULL);
    }

    if (sent != pg->count + COCO_PG_SETTINGS) {
        return COCO_ERROR;
    }

    return coco_pg_round(pg, COCO_PG_SETTLE_MS) == COCO_PG_DONE ? COCO_OK
                                                                : COCO_ERROR;
}


/* COCO_ERROR when the time is up; a stop brings *until nearer. */
static int
coco_pg_wait(coco_pg_t *pg, bool writing, int64_t *until)
{
    int            n;
    int64_t        now;
    struct pollfd  fd;

    for ( ;; ) {
        now = coco_clock_monotonic_us();

        if (pg->stop != NULL && atomic_load(&pg->stop->set)
            && *until > now + COCO_PG_STOP_MS * 1000LL)
        {
            *until = now + COCO_PG_STOP_MS * 1000LL;
        }

        if (now >= *until) {
            return COCO_ERROR;
        }

        fd.fd = PQsocket(pg->conn);
        fd.events = writing ? POLLIN | POLLOUT : POLLIN;

        if (writing && PQstatus(pg->conn) != CONNECTION_OK) {
            fd.events = POLLOUT;
        }

        n = poll(&fd, 1, COCO_PG_TICK_MS);

        if (n > 0) {
            return COCO_OK;
        }

        if (n < 0 && errno != EINTR) {
            return COCO_ERROR;
        }
    }
}


static int
coco_pg_flush(coco_pg_t *pg, int64_t *until)
{
    int  rc;

    for ( ;; ) {
        rc = PQflush(pg->conn);
        if (rc == 0) {
            return COCO_OK;
        }

        if (rc < 0 || coco_pg_wait(pg, true, until) != COCO_OK
            || PQconsumeInput(pg->conn) != 1)
        {
            return COCO_ERROR;
        }
    }
}


static int
coco_pg_next(coco_pg_t *pg, int64_t until, PGresult **ret)
{
    while (PQisBusy(pg->conn)) {
        if (coco_pg_wait(pg, false, &until) != COCO_OK
            || PQconsumeInput(pg->conn) != 1)
        {
            return COCO_ERROR;
        }
    }

    *ret = PQgetResult(pg->conn);

    return COCO_OK;
}


void
coco_pg_rows(coco_pg_t *pg, int statement)
{
    const char        *types;
    coco_pg_column_t  *c;

    types = pg->statements[statement].types;
    pg->statement = statement;
    pg->columns = (int) strlen(types);
    pg->column = 0;

    for (int i = 0; i < pg->columns; i++) {
        c = &pg->column_data[i];
        c->len = 0;
        c->count = 0;
        c->has_null = false;
        c->type = coco_pg_type(types[i]);
    }
}


/* Room for the next element of the current column, its length written. */
static char *
coco_pg_element(coco_pg_t *pg, size_t len)
{
    char              *data;
    size_t             size;
    uint32_t           be;
    coco_pg_column_t  *c;

    c = &pg->column_data[pg->column];
    pg->column = (pg->column + 1) % pg->columns;

    if (c->len == 0) {
        c->len = COCO_PG_HEADER;
    }

    if (c->len + len + sizeof(be) > c->size) {
        size = (c->len + len + sizeof(be)) * 2;
        data = realloc(c->data, size);

        if (data == NULL) {
            pg->failed = true;
            c->len = 0;
            return NULL;
        }

        c->data = data;
        c->size = size;
    }

    be = htobe32((uint32_t) len);
    memcpy(c->data + c->len, &be, sizeof(be));
    data = c->data + c->len + sizeof(be);
    c->len += sizeof(be) + len;
    c->count++;

    return data;
}


static void
coco_pg_null(coco_pg_t *pg)
{
    char              *p;
    coco_pg_column_t  *c = &pg->column_data[pg->column];

    p = coco_pg_element(pg, 0);
    if (p != NULL) {
        memset(p - sizeof(uint32_t), 0xff, sizeof(uint32_t));
        c->has_null = true;
    }
}


void
coco_pg_text(coco_pg_t *pg, coco_str_t value)
{
    char  *p;

    if (value.data == NULL) {
        coco_pg_null(pg);
        return;
    }

    p = coco_pg_element(pg, value.len);
    if (p != NULL) {
        memcpy(p, value.data, value.len);
    }
}


/* The length of the UTF-8 sequence at p; 0 when it is none, or NUL. */
static size_t
coco_pg_utf8(const unsigned char *p, size_t left)
{
    size_t    n;
    uint32_t  c;

    static const uint32_t  least[] = { 0, 1, 0x80, 0x800, 0x10000 };

    if (*p < 0x80) {
        return *p != 0;
    }

    n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
    if (*p < 0xc0 || *p > 0xf4 || n > left) {
        return 0;
    }

    c = *p & (0xff >> (n + 1));

    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }

    return n;
}


void
coco_pg_text_clean(coco_pg_t *pg, coco_str_t value)
{
    char    *p;
    size_t   n;

    if (value.data == NULL) {
        coco_pg_null(pg);
        return;
    }

    p = coco_pg_element(pg, value.len);
    if (p == NULL) {
        return;
    }

    for (size_t i = 0; i < value.len; i += n) {
        n = coco_pg_utf8((const unsigned char *) value.data + i,
                         value.len - i);
        if (n == 0) {
            p[i] = '?';
            n = 1;

        } else {
            memcpy(p + i, value.data + i, n);
        }
    }
}


void
coco_pg_json(coco_pg_t *pg, coco_str_t value)
{
    char  *p;

    if (value.data == NULL) {
        coco_pg_null(pg);
        return;
    }

    p = coco_pg_element(pg, value.len + 1);
    if (p != NULL) {
        *p = 1;     /* the version of jsonb's binary form */
        memcpy(p + 1, value.data, value.len);
    }
}


void
coco_pg_bytes(coco_pg_t *pg, coco_str_t value)
{
    coco_pg_text(pg, value.data ? value : coco_string(""));
}


static void
coco_pg_put64(coco_pg_t *pg, uint64_t value)
{
    char  *p;

    value = htobe64(value);
    p = coco_pg_element(pg, sizeof(value));
    if (p != NULL) {
        memcpy(p, &value, sizeof(value));
    }
}


void
coco_pg_time(coco_pg_t *pg, int64_t ms)
{
    if (ms == COCO_PG_NEVER) {
        coco_pg_null(pg);
        return;
    }

    coco_pg_time_us(pg, ms * 1000);
}


void
coco_pg_time_us(coco_pg_t *pg, int64_t us)
{
    coco_pg_put64(pg, (uint64_t) (us - COCO_PG_EPOCH_MS * 1000));
}


void
coco_pg_uuid(coco_pg_t *pg, const coco_id_t *value)
{
    if (value == NULL) {
        coco_pg_null(pg);
        return;
    }

    coco_pg_text(pg, (coco_str_t) { (const char *) value->bytes,
                                    sizeof(value->bytes) });
}


void
coco_pg_float(coco_pg_t *pg, double value, bool present)
{
    uint64_t  bits;

    if (!present) {
        coco_pg_null(pg);
        return;
    }

    memcpy(&bits, &value, sizeof(bits));
    coco_pg_put64(pg, bits);
}


void
coco_pg_bool(coco_pg_t *pg, int value)
{
    char  *p;

    if (value < 0) {
        coco_pg_null(pg);
        return;
    }

    p = coco_pg_element(pg, 1);
    if (p != NULL) {
        *p = value != 0;
    }
}


void
coco_pg_int(coco_pg_t *pg, int32_t value)
{
    char      *p;
    uint32_t   be;

    be = htobe32((uint32_t) value);
    p = coco_pg_element(pg, sizeof(be));
    if (p != NULL) {
        memcpy(p, &be, sizeof(be));
    }
}


void
coco_pg_date(coco_pg_t *pg, int64_t ms)
{
    coco_pg_int(pg, (int32_t) ((ms - COCO_PG_EPOCH_MS) / COCO_PG_DAY_MS));
}


int
coco_pg_send(coco_pg_t *pg)
{
    int                lengths[COCO_PG_COLUMNS_MAX];
    int                formats[COCO_PG_COLUMNS_MAX];
    char               name[16];
    uint32_t           header[5];
    const char        *values[COCO_PG_COLUMNS_MAX];
    coco_pg_column_t  *c;

    if (pg->conn == NULL || pg->failed || pg->slots == COCO_PG_SLOTS_MAX) {
        pg->failed = true;
        return 0;
    }

    for (int i = 0; i < pg->columns; i++) {
        c = &pg->column_data[i];

        if (c->count == 0) {
            pg->failed = true;
            return 0;
        }

        header[0] = htobe32(1);
        header[1] = htobe32(c->has_null);
        header[2] = htobe32(c->type);
        header[3] = htobe32(c->count);
        header[4] = htobe32(1);
        memcpy(c->data, header, sizeof(header));
        values[i] = c->data;
        lengths[i] = (int) c->len;
        formats[i] = 1;
    }

    snprintf(name, sizeof(name), "s%d", pg->statement);

    /* libpq copies the values: the columns are free again */
    if (PQsendQueryPrepared(pg->conn, name, pg->columns, values, lengths,
                            formats, 1) != 1)
    {
        pg->failed = true;
        return 0;
    }

    for (int i = 0; i < pg->columns; i++) {
        c = &pg->column_data[i];
        if (c->size > COCO_PG_KEEP && c->len < COCO_PG_KEEP / 4) {
            /* an unusually large batch must not be remembered for ever */
            free(c->data);
            c->data = NULL;
            c->size = 0;
        }
    }

    pg->slot_statement[pg->slots] = pg->statement;

    return pg->slots++;
}


coco_pg_rc_e
coco_pg_sync(coco_pg_t *pg)
{
    coco_pg_rc_e  rc;

    coco_pg_clear(pg);

    if (pg->conn == NULL || pg->failed) {
        return coco_pg_lost(pg, "the round could not be sent");
    }

    rc = coco_pg_round(pg, COCO_PG_ROUND_MS);
    pg->slots = 0;

    if (rc == COCO_PG_DONE || pg->conn == NULL) {
        return rc;
    }

    /* Unless others were in the way (40, 55), the fault may be this
     * connection's: to a primary that is one no more, or with plans that a
     * migration has made wrong. */
    if (rc == COCO_PG_RETRY && strncmp(pg->error.sqlstate, "40", 2) != 0
        && strncmp(pg->error.sqlstate, "55", 2) != 0)
    {
        coco_pg_close(pg);
        return rc;
    }

    coco_pg_rollback(pg);

    return rc;
}


/* Leaves no transaction open; what cannot be rolled back is cut. */
void
coco_pg_rollback(coco_pg_t *pg)
{
    coco_pg_error_t  error = pg->error;

    coco_pg_clear(pg);

    if (pg->conn == NULL
        || PQtransactionStatus(pg->conn) == PQTRANS_IDLE)
    {
        return;
    }

    if (PQsendQueryParams(pg->conn, "rollback", 0, NULL, NULL, NULL, NULL, 0)
        != 1 || coco_pg_round(pg, COCO_PG_SETTLE_MS) != COCO_PG_DONE)
    {
        coco_pg_close(pg);
    }

    coco_pg_clear(pg);
    pg->error = error;
}


/* Sends what is queued and takes every result up to the sync. The first error
 * decides; a lost connection is closed. */
static coco_pg_rc_e
coco_pg_round(coco_pg_t *pg, int64_t ms)
{
    int            slot = 0;
    bool           ended = true;      /* between two statements */
    int64_t        until;
    PGresult      *res;
    coco_pg_rc_e   rc = COCO_PG_DONE;

    until = coco_clock_monotonic_us() + ms * 1000;

    if (PQpipelineSync(pg->conn) != 1
        || coco_pg_flush(pg, &until) != COCO_OK)
    {
        return coco_pg_lost(pg, "the connection was lost");
    }

    for ( ;; ) {
        if (coco_pg_next(pg, until, &res) != COCO_OK
            || (res == NULL && ended))
        {
            return coco_pg_lost(pg, "the connection was lost or too slow");
        }

        if (res == NULL) {
            ended = true;
            slot++;
            continue;
        }

        ended = false;

        switch (PQresultStatus(res)) {

        case PGRES_PIPELINE_SYNC:
            PQclear(res);
            return rc;

        case PGRES_FATAL_ERROR:
            if (rc == COCO_PG_DONE) {
                rc = coco_pg_classify(pg, res, slot);
            }
            PQclear(res);
            break;

        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
            if (slot < pg->slots) {
                pg->results[slot] = res;
                break;
            }
            /* fall through */

        default:
            PQclear(res);
        }
    }
}


static coco_pg_rc_e
coco_pg_classify(coco_pg_t *pg, const PGresult *res, int slot)
{
    const char       *state, *message;
    coco_pg_error_t  *e = &pg->error;

    state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    e->statement = slot < pg->slots ? pg->slot_statement[slot] : -1;
    snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", state ? state : "");
    snprintf(e->message, sizeof(e->message), "%s",
             message ? message : PQresultErrorMessage(res));
    e->message[strcspn(e->message, "\n")] = '\0';

    /* a row without a partition is a check that no constraint names */
    if (strcmp(e->sqlstate, "23514") == 0
        && PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME) == NULL)
    {
        return COCO_PG_PARTITION;
    }

    if (strncmp(e->sqlstate, "22", 2) == 0
        || strncmp(e->sqlstate, "23", 2) == 0
        || strncmp(e->sqlstate, "54", 2) == 0)
    {
        return COCO_PG_DATA;
    }

    return COCO_PG_RETRY;
}


static coco_pg_rc_e
coco_pg_lost(coco_pg_t *pg, const char *what)
{
    const char  *message;

    message = pg->conn ? PQerrorMessage(pg->conn) : "";
    pg->error.statement = -1;
    pg->error.sqlstate[0] = '\0';
    snprintf(pg->error.message, sizeof(pg->error.message), "%.*s",
             (int) strcspn(*message ? message : what, "\n"),
             *message ? message : what);

    coco_pg_close(pg);

    return COCO_PG_RETRY;
}


static void
coco_pg_clear(coco_pg_t *pg)
{
    for (int i = 0; i < COCO_PG_SLOTS_MAX; i++) {
        PQclear(pg->results[i]);
        pg->results[i] = NULL;
    }
}


PGresult *
coco_pg_result(coco_pg_t *pg, int slot)
{
    return pg->results[slot];
}


uint64_t
coco_pg_affected(coco_pg_t *pg, int slot)
{
    return strtoull(PQcmdTuples(pg->results[slot]), NULL, 10);
}


const coco_pg_error_t *
coco_pg_error(const coco_pg_t *pg)
{
    return &pg->error;
}


int
coco_pg_notified(coco_pg_t *pg, unsigned ms)
{
    int            n;
    int64_t        left, until;
    struct pollfd  fd;

    if (pg->conn == NULL) {
        return COCO_ERROR;
    }

    until = coco_clock_monotonic_us() + ms * 1000LL;

    for ( ;; ) {
        if (coco_pg_notifications(pg)) {
            return COCO_OK;
        }

        left = (until - coco_clock_monotonic_us() + 999) / 1000;

        if (left <= 0
            || (pg->stop != NULL && atomic_load(&pg->stop->set)))
        {
            return COCO_AGAIN;
        }

        fd.fd = PQsocket(pg->conn);
        fd.events = POLLIN;
        n = poll(&fd, 1, left < COCO_PG_TICK_MS ? (int) left
                                                : COCO_PG_TICK_MS);

        if ((n < 0 && errno != EINTR)
            || (n > 0 && PQconsumeInput(pg->conn) != 1))
        {
            coco_pg_lost(pg, "waiting for a notification failed");
            return COCO_ERROR;
        }
    }
}


int
coco_pg_socket(const coco_pg_t *pg)
{
    return pg->conn == NULL ? -1 : PQsocket(pg->conn);
}


/* Takes those that have come. */
static bool
coco_pg_notifications(coco_pg_t *pg)
{
    bool       any = false;
    PGnotify  *one;

    while ((one = PQnotifies(pg->conn)) != NULL) {
        PQfreemem(one);
        any = true;
    }

    return any;
}


static void
coco_pg_notice(void *arg, const char *message)
{
    (void) arg;

    coco_log(COCO_LOG_DEBUG, "postgres_notice", "message", "%.*s",
             (int) strcspn(message, "\n"), message, NULL);
}
