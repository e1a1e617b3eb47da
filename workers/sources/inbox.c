/*
 * From webhook_inbox to the webhooks lane. Must never call a row done: that is
 * the lane's, in the transaction that applies it.
 */

#include <stdlib.h>

#include "log.h"
#include "sources/inbox.h"
#include "sources/table.h"

#define COCO_INBOX_RELEASE_MS  3000

typedef enum {
    COCO_I_READ = COCO_TABLE_OWN, COCO_I_AGAIN, COCO_I_RELEASE,
    COCO_I_WAITING, COCO_I_STATEMENTS
} coco_inbox_statement_e;

struct coco_source_inbox_s {
    coco_table_t  *table;
    unsigned       poll;

    /* the table's thread's */
    bool           asked;          /* a first time */
    int64_t        release_at;     /* monotonic ms; partners': never */
    int            released;       /* slots of the round; -1: not asked */
    int            waiting;
};

static int coco_inbox_ask(void *data, coco_pg_t *pg, int limit);
static unsigned coco_inbox_rest(void *data, coco_pg_t *pg);
static void coco_inbox_message(coco_message_t *ret, const PGresult *res,
    int row);

/* Not by a cursor: a row may be committed after one with a larger seq. So all
 * that is pending is read, those in flight too; they are few. 16 MiB at a time,
 * and one more: partners' webhooks may be large. A text is made of no more than
 * 4 MiB as they are stored, compressed, and once (what has an order is not
 * merged): of a pile of large ones, each look would take seconds. */
#define COCO_INBOX_READ(providers, key)                                       \
    "select id, payload, received_at, key, 'webhook/' || provider from ("     \
    " select *, sum(octet_length(payload)) over (order by seq)"               \
    "  - octet_length(payload) as before from ("                              \
    "  select seq, id, payload::text as payload, received_at, provider, "     \
       key " as key from ("                                                   \
    "   select *, sum(pg_column_size(payload)) over (order by seq)"           \
    "    - pg_column_size(payload) as stored from ("                          \
    "    select * from coco.webhook_inbox"                                    \
    "    where done_at is null and waiting_for is null"                       \
    "    and provider in (" providers ")"                                     \
    "    order by seq limit ($1::int4[])[1]) pending) pending"                \
    "  where stored < 4194304 order by seq) pending) pending"                 \
    " where before < 16777216 order by seq"

/* Whoever read before may have been killed between the commit of its last
 * webhooks and what Redis was to be told of them. Applied again, they change
 * nothing else. */
#define COCO_INBOX_AGAIN(providers)                                           \
    "update coco.webhook_inbox set done_at = null, outcome = null"            \
    " where id = any (array(select id from coco.webhook_inbox"                \
    "  where done_at >= (select max(done_at) from coco.webhook_inbox"         \
    "    where provider in (" providers ")) - interval '5 seconds'"           \
    "   and outcome = 'APPLIED' and provider in (" providers ")"              \
    "  order by done_at desc limit 5000))"

/* Each has a lock of its own. key: what is applied by one shard. */
#define COCO_INBOX_STATEMENTS(lock, providers, key)                           \
    [COCO_TABLE_LISTEN] = { "listen coco_inbox", "", "state" },               \
    [COCO_TABLE_LOCK] = {                                                     \
        "select pg_try_advisory_lock(hashtext('" lock "'))", "", "state" },   \
    [COCO_I_READ] = { COCO_INBOX_READ(providers, key), "i", "state" },        \
    [COCO_I_AGAIN] = { COCO_INBOX_AGAIN(providers), "", "state" }

static const coco_pg_statement_t  coco_inbox_driveu[COCO_I_STATEMENTS] = {

COCO_INBOX_STATEMENTS("coco.inbox", "'driveu'",
    "coalesce(payload ->> 'vin', payload ->> 'uuid')"),

/* A mapping may be committed between the look for it and the commit of
 * waiting_for: its trigger has released nothing then. */
[COCO_I_RELEASE] = {
    "update coco.webhook_inbox set waiting_for = null where id = any (array("
    " select w.id from coco.webhook_inbox w"
    "  join coco.external_robot_mapping m on m.provider = w.provider"
    "   and m.provider_vehicle_id = w.waiting_for"
    "  where w.waiting_for is not null"
    "  order by w.id limit 10000 for update of w skip locked))",
    "", "state" },

[COCO_I_WAITING] = {
    "select count(*) from coco.webhook_inbox where waiting_for is not null",
    "", "state" },
};

/* None of them waits. */
static const coco_pg_statement_t  coco_inbox_partners[COCO_I_RELEASE] = {

COCO_INBOX_STATEMENTS("coco.inbox.partners", "'uber', 'doordash'",
    "coalesce(payload ->> 'delivery_id', payload ->> 'external_delivery_id',"
    " payload #>> '{data,external_delivery_id}',"
    " payload #>> '{meta,order_id}', payload #>> '{data,id}')"),
};

static const coco_table_kind_t  coco_inbox_kinds[COCO_INBOXES] = {

[COCO_INBOX_DRIVEU] = {
    coco_inbox_driveu, COCO_I_STATEMENTS, "inbox_reading", "inbox_failed",
    COCO_LANE_WEBHOOKS, coco_inbox_ask, coco_inbox_rest, coco_inbox_message },

[COCO_INBOX_PARTNERS] = {
    coco_inbox_partners, COCO_I_RELEASE, "orders_reading", "orders_failed",
    COCO_LANE_WEBHOOKS, coco_inbox_ask, coco_inbox_rest, coco_inbox_message },
};


coco_source_inbox_t *
coco_source_inbox_start(const coco_source_inbox_options_t *options)
{
    coco_source_inbox_t   *s;
    coco_table_options_t   table;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    s->poll = (unsigned) options->config->webhooks_poll;

    if (options->inbox == COCO_INBOX_PARTNERS) {
        s->release_at = INT64_MAX;
    }

    table.kind = &coco_inbox_kinds[options->inbox];
    table.postgres = options->config->postgres_conninfo;
    table.lane = options->lane;
    table.poll = s->poll;
    table.data = s;
    s->table = coco_table_start(&table);

    if (s->table == NULL) {
        free(s);
        return NULL;
    }

    return s;
}


void
coco_source_inbox_stop(coco_source_inbox_t *s)
{
    coco_table_stop(s->table);
}


void
coco_source_inbox_close(coco_source_inbox_t *s)
{
    coco_table_close(s->table);
    free(s);
}


bool
coco_source_inbox_alive(coco_source_inbox_t *s)
{
    return coco_table_alive(s->table);
}


/* What is released is read in the same round. */
static int
coco_inbox_ask(void *data, coco_pg_t *pg, int limit)
{
    coco_source_inbox_t  *s = data;

    s->released = -1;

    if (!s->asked) {
        coco_pg_rows(pg, COCO_I_AGAIN);
        (void) coco_pg_send(pg);
    }

    if (coco_clock_monotonic_us() / 1000 >= s->release_at) {
        coco_pg_rows(pg, COCO_I_RELEASE);
        s->released = coco_pg_send(pg);
        coco_pg_rows(pg, COCO_I_WAITING);
        s->waiting = coco_pg_send(pg);
    }

    coco_pg_rows(pg, COCO_I_READ);
    coco_pg_int(pg, limit);

    return coco_pg_send(pg);
}


static unsigned
coco_inbox_rest(void *data, coco_pg_t *pg)
{
    uint64_t              released;
    coco_source_inbox_t  *s = data;

    s->asked = true;

    if (s->released != -1) {
        released = coco_pg_affected(pg, s->released);

        if (released > 0) {
            coco_log(COCO_LOG_INFO, "inbox_released", "webhooks", "%llu",
                     (unsigned long long) released, NULL);
        }

        coco_metrics_set(COCO_G_WEBHOOKS_WAITING, COCO_LANE_WEBHOOKS,
                         coco_pg_get_int64(coco_pg_result(pg, s->waiting), 0,
                                           0));
        s->release_at = coco_clock_monotonic_us() / 1000
                        + COCO_INBOX_RELEASE_MS;
    }

    return s->poll;
}


static void
coco_inbox_message(coco_message_t *ret, const PGresult *res, int row)
{
    ret->source = "webhook";
    ret->topic = coco_pg_get(res, row, 4);
    ret->kind = coco_str_equal(ret->topic, coco_string("webhook/driveu"))
                ? COCO_KIND_CONNECTIVITY : COCO_KIND_ORDER;
    ret->payload = coco_pg_get(res, row, 1);
    ret->received_at = coco_pg_get_time(res, row, 2);
    ret->serial = coco_pg_get(res, row, 3);
    ret->inbox = true;
    coco_pg_get_uuid(&ret->inbox_id, res, row, 0);

    if (ret->serial.data == NULL || !coco_serial_valid(ret->serial)) {
        ret->serial = coco_string("");
    }
}
