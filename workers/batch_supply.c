/*
 * The supply of a batch: what its heartbeats, changes and lids make of the
 * rows of resource, of each robot once. Must never write what another writes:
 * demands, and what holds a robot, are the database's own.
 */

#include <stdlib.h>

#include "batch_lid.h"
#include "batch_supply.h"

#define COCO_SUPPLY_BUSINESS_SIZE  384    /* without what `deployed` says */

/* A lid was opened or closed. */
typedef struct {
    coco_str_t       serial;
    coco_lid_move_t  move;
} coco_supply_move_t;

/* How far the batch was walked, robot by robot. */
typedef struct {
    coco_supply_move_t  *moves;       /* by serial */
    size_t               count;
    size_t               group, change, move;
} coco_supply_walk_t;

static int coco_supply_moves(coco_writer_t *w, coco_supply_walk_t *walk);
static size_t coco_supply_moves_max(const coco_writer_t *w);
static void coco_supply_moves_made(coco_writer_t *w, coco_supply_walk_t *walk);
static void coco_supply_move_add(coco_supply_walk_t *walk, coco_str_t serial,
    int64_t at, bool open);
static int coco_supply_move_compare(const void *a, const void *b);
static bool coco_supply_next_robot(coco_writer_t *w, coco_supply_walk_t *walk,
    coco_supply_row_t *row);
static void coco_supply_group(coco_writer_t *w, coco_supply_walk_t *walk,
    coco_supply_row_t *row, const coco_group_t *g);
static void coco_supply_heartbeats(coco_supply_row_t *row,
    const coco_items_t *items);
static void coco_supply_keep(coco_supply_work_t *work);
static void coco_supply_serials(coco_writer_t *w, coco_statement_e statement,
    bool changed);
static void coco_supply_write_telemetry(coco_writer_t *w);
static void coco_supply_write_lids(coco_writer_t *w);
static void coco_supply_shown(coco_supply_shown_t *ret, const PGresult *res,
    int row);


int
coco_supply_apply(coco_writer_t *w)
{
    size_t               max;
    coco_supply_walk_t   walk;
    coco_supply_work_t  *work;

    w->supply = NULL;

    if (!(w->options->services & COCO_SERVICE_DISPATCH)) {
        return COCO_OK;
    }

    memset(&walk, 0, sizeof(walk));

    if (coco_supply_moves(w, &walk) != COCO_OK) {
        return COCO_ERROR;
    }

    max = w->group_count + walk.count;
    work = coco_arena_alloc(&w->arena, sizeof(*work)
                                       + max * sizeof(*work->rows));
    if (work == NULL) {
        return COCO_ERROR;
    }

    memset(work, 0, sizeof(*work));
    work->rows = (coco_supply_row_t *) (work + 1);
    work->locked = -1;
    work->silent = coco_clock_ms() - w->options->online_ms;
    work->events = w->bus != NULL
                   && coco_bus_carries_events(w->options->bus->config);

    while (coco_supply_next_robot(w, &walk, &work->rows[work->count])) {
        coco_supply_keep(work);
    }

    if (work->count > 0) {
        w->supply = work;
    }

    return COCO_OK;
}


/* Made here, or come by the bus. */
static int
coco_supply_moves(coco_writer_t *w, coco_supply_walk_t *walk)
{
    size_t        max = coco_supply_moves_max(w);
    coco_item_t  *item;

    if (max == 0) {
        return COCO_OK;
    }

    walk->moves = coco_arena_alloc(&w->arena, max * sizeof(*walk->moves));
    if (walk->moves == NULL) {
        return COCO_ERROR;
    }

    if (w->options->direct) {
        coco_supply_moves_made(w, walk);
    }

    for (size_t i = 0; i < w->bus_closes.count; i++) {
        item = w->bus_closes.v[i];

        if (item->parts & COCO_PART_DISPATCH) {
            coco_supply_move_add(walk, item->serial, item->close.closed_at,
                                 false);
        }
    }

    for (size_t i = 0; i < w->bus_moves.count; i++) {
        item = w->bus_moves.v[i];
        coco_supply_move_add(walk, item->serial, item->move.at,
                             item->move.open);
    }

    qsort(walk->moves, walk->count, sizeof(*walk->moves),
          coco_supply_move_compare);

    return COCO_OK;
}


static size_t
coco_supply_moves_max(const coco_writer_t *w)
{
    size_t  max = w->bus_closes.count + w->bus_moves.count;

    for (size_t i = 0; w->lid != NULL && i < w->lid->count; i++) {
        max += 2 * w->lid->robots[i].lid.cycle_count;
    }

    return max;
}


/* What is published, as others hear it. */
static void
coco_supply_moves_made(coco_writer_t *w, coco_supply_walk_t *walk)
{
    const coco_lid_t        *lid;
    const coco_lid_cycle_t  *c;

    for (size_t i = 0; w->lid != NULL && i < w->lid->count; i++) {
        lid = &w->lid->robots[i].lid;

        for (size_t k = 0; k < lid->cycle_count; k++) {
            c = &lid->cycles[k];

            if (c->publish_open) {
                coco_supply_move_add(walk, lid->serial, c->opened_at, true);
            }

            if (c->publish_close) {
                coco_supply_move_add(walk, lid->serial, c->closed_at, false);
            }
        }
    }
}


static void
coco_supply_move_add(coco_supply_walk_t *walk, coco_str_t serial, int64_t at,
    bool open)
{
    walk->moves[walk->count++] = (coco_supply_move_t) { serial, { at, open } };
}


static int
coco_supply_move_compare(const void *a, const void *b)
{
    const coco_supply_move_t  *x = a, *y = b;

    return coco_serial_compare(x->serial, y->serial);
}


/* False: that was all of them. */
static bool
coco_supply_next_robot(coco_writer_t *w, coco_supply_walk_t *walk,
    coco_supply_row_t *row)
{
    const coco_group_t        *g = NULL;
    const coco_supply_move_t  *m = NULL;

    if (walk->group < w->group_count) {
        g = &w->groups[walk->group];
    }

    if (walk->move < walk->count) {
        m = &walk->moves[walk->move];
    }

    if (g == NULL && m == NULL) {
        return false;
    }

    if (g != NULL && m != NULL
        && coco_serial_compare(m->serial, g->serial) < 0)
    {
        g = NULL;
    }

    memset(row, 0, sizeof(*row));
    row->serial = g != NULL ? g->serial : m->serial;

    if (g != NULL) {
        walk->group++;
        coco_supply_group(w, walk, row, g);
    }

    for ( /* void */ ; walk->move < walk->count; walk->move++) {
        m = &walk->moves[walk->move];

        if (!coco_str_equal(m->serial, row->serial)) {
            break;
        }

        row->lid_apart |= coco_service_dispatch_lid(&row->record, m->move.at,
                                                    m->move.open);
    }

    return true;
}


/* The changes are in the order of the groups. */
static void
coco_supply_group(coco_writer_t *w, coco_supply_walk_t *walk,
    coco_supply_row_t *row, const coco_group_t *g)
{
    const coco_item_t    *item;
    const coco_change_t  *c;

    coco_supply_heartbeats(row, &g->heartbeats);
    coco_supply_heartbeats(row, &g->copies);

    for ( /* void */ ; walk->change < w->change_count; walk->change++) {
        c = &w->changes[walk->change];

        if (c->group != g) {
            break;
        }

        if (c->effect.changed && c->item->parts & COCO_PART_DISPATCH) {
            coco_service_dispatch_business_change(&row->record,
                                                  &c->effect.change);
        }
    }

    for (size_t k = 0; k < g->business_changes.count; k++) {
        item = g->business_changes.v[k];

        if (item->parts & COCO_PART_DISPATCH) {
            coco_service_dispatch_business_change(&row->record,
                                                  &item->business_change);
        }
    }
}


static void
coco_supply_heartbeats(coco_supply_row_t *row, const coco_items_t *items)
{
    const coco_item_t  *item;

    for (size_t k = 0; k < items->count; k++) {
        item = items->v[k];

        if (item->parts & COCO_PART_DISPATCH
            && coco_service_dispatch_heartbeat(&row->record, &item->heartbeat)
            && row->record.heartbeat == &item->heartbeat)
        {
            row->item = item;
        }
    }

    /* what is the newest that Postgres has heard, takes its lid along */
    if (row->record.has_lid
        && !(row->item->kind == COCO_ITEM_HEARTBEAT && row->item->newer
             && row->item->heartbeat.has_lid
             && row->record.lid_at == row->record.order.order_ms
             && row->record.lid_open == row->item->heartbeat.lid_open))
    {
        row->lid_apart = true;
    }
}


/* The row behind the last, if anything is known of it. */
static void
coco_supply_keep(coco_supply_work_t *work)
{
    coco_supply_row_t  *row = &work->rows[work->count];

    if (!row->record.heard && !row->record.has_business
        && !row->record.has_lid)
    {
        return;
    }

    row->online = row->record.order.order_ms >= work->silent;

    work->count++;
    work->heard += row->record.heard;
    work->changed += row->record.has_business;
    work->lids += row->lid_apart;
}


/*
 * Needed when what stands is read, and when the rows are not all written by one
 * statement in the order of their keys: those of deliveries that change are
 * written one by one. Rows of business are made first when they are missing.
 */
void
coco_supply_lock(coco_writer_t *w)
{
    coco_supply_work_t  *work = w->supply;

    if (work == NULL) {
        return;
    }

    work->moved = coco_deliveries_robot(w, &(size_t) { 0 }).data != NULL;

    if (work->changed > 0) {
        coco_supply_serials(w, COCO_S_SUPPLY_SEED, true);
    }

    if (work->changed > 0 || work->moved || (work->heard > 0 && work->lids > 0)
        || (work->heard > 0 && work->events))
    {
        coco_supply_serials(w, COCO_S_SUPPLY_LOCK, false);
    }
}


/* Of all robots, or of those whose business has changed. */
static void
coco_supply_serials(coco_writer_t *w, coco_statement_e statement,
    bool changed)
{
    int                  slot;
    size_t               at = 0;
    coco_str_t           serial;
    coco_supply_work_t  *work = w->supply;

    coco_pg_rows(w->pg, statement);

    for (size_t i = 0; i < work->count; i++) {
        if (!changed || work->rows[i].record.has_business) {
            coco_pg_text(w->pg, work->rows[i].serial);
        }
    }

    while (!changed && (serial = coco_deliveries_robot(w, &at)).data != NULL) {
        coco_pg_text(w->pg, serial);
    }

    slot = coco_pg_send(w->pg);

    if (!changed) {
        work->locked = slot;
    }
}


void
coco_supply_write(coco_writer_t *w)
{
    if (w->supply == NULL) {
        return;
    }

    if (w->supply->heard > 0) {
        coco_supply_write_telemetry(w);
    }

    if (w->supply->lids > 0) {
        coco_supply_write_lids(w);
    }
}


static void
coco_supply_write_telemetry(coco_writer_t *w)
{
    char                      data[COCO_SUPPLY_DATA_SIZE];
    bool                      lid;
    coco_pg_t                *pg = w->pg;
    coco_json_out_t           out;
    coco_supply_work_t       *work = w->supply;
    const coco_supply_row_t  *row;

    coco_pg_rows(pg, COCO_S_SUPPLY_TELEMETRY);

    for (size_t i = 0; i < work->count; i++) {
        row = &work->rows[i];

        if (!row->record.heard) {
            continue;
        }

        coco_json_out_init(&out, data, sizeof(data));
        coco_service_dispatch_encode(&out, row->record.heartbeat, row->online,
                                     COCO_SUPPLY_MEMBERS);
        lid = row->record.has_lid && !row->lid_apart;

        coco_pg_text(pg, row->serial);
        coco_pg_text(pg, (coco_str_t) { data, out.len });
        coco_pg_uuid(pg, &row->record.order.id);
        coco_pg_time(pg, row->record.order.ts);
        coco_pg_time(pg, row->record.order.order_ms);
        coco_pg_bool(pg, lid ? row->record.lid_open : -1);
        coco_pg_time(pg, lid ? row->record.lid_at : COCO_PG_NEVER);
    }

    coco_pg_send(pg);
}


static void
coco_supply_write_lids(coco_writer_t *w)
{
    coco_supply_work_t       *work = w->supply;
    const coco_supply_row_t  *row;

    coco_pg_rows(w->pg, COCO_S_SUPPLY_LID);

    for (size_t i = 0; i < work->count; i++) {
        row = &work->rows[i];

        if (row->lid_apart) {
            coco_pg_text(w->pg, row->serial);
            coco_pg_bool(w->pg, row->record.lid_open);
            coco_pg_time(w->pg, row->record.lid_at);
        }
    }

    coco_pg_send(w->pg);
}


int
coco_supply_write_business(coco_writer_t *w)
{
    char                     *p;
    size_t                    size;
    coco_pg_t                *pg = w->pg;
    coco_json_out_t           out;
    const coco_supply_row_t  *row;

    if (w->supply == NULL || w->supply->changed == 0) {
        return COCO_OK;
    }

    coco_pg_rows(pg, COCO_S_SUPPLY_BUSINESS);

    for (size_t i = 0; i < w->supply->count; i++) {
        row = &w->supply->rows[i];

        if (!row->record.has_business) {
            continue;
        }

        size = COCO_SUPPLY_BUSINESS_SIZE + row->record.business.deployed.len;
        p = coco_arena_alloc(&w->arena, size);

        if (p == NULL) {
            return COCO_ERROR;
        }

        coco_json_out_init(&out, p, size);
        coco_service_operations_event_encode(&out, &row->record.business);
        coco_pg_text(pg, row->serial);
        coco_pg_json(pg, (coco_str_t) { p, out.len });
        coco_pg_time(pg, row->record.changed_at);
    }

    coco_pg_send(pg);
    coco_pg_rows(pg, COCO_S_SUPPLY_CHANGED);

    for (size_t i = 0; i < w->supply->count; i++) {
        row = &w->supply->rows[i];

        if (row->record.has_business) {
            coco_pg_text(pg, row->serial);
            coco_pg_time(pg, row->record.changed_at);
        }
    }

    coco_pg_send(pg);

    return COCO_OK;
}


/* Both are in the order of bytes: one walk finds them all. A robot without a
 * row was never heard. */
void
coco_supply_read(coco_writer_t *w)
{
    int                  rows, at = 0;
    PGresult            *res;
    coco_supply_row_t   *row;
    coco_supply_work_t  *work = w->supply;
    coco_supply_shown_t  shown;

    if (work == NULL || !work->events || work->heard == 0) {
        return;
    }

    res = coco_pg_result(w->pg, work->locked);
    rows = PQntuples(res);

    for (size_t i = 0; i < work->count; i++) {
        row = &work->rows[i];

        if (!row->record.heard) {
            continue;
        }

        while (at < rows
               && coco_serial_compare(coco_pg_get(res, at, 0), row->serial)
                  < 0)
        {
            at++;
        }

        memset(&shown, 0, sizeof(shown));

        if (at < rows
            && coco_str_equal(coco_pg_get(res, at, 0), row->serial)
            && !PQgetisnull(res, at, 2))
        {
            coco_supply_shown(&shown, res, at);
        }

        row->members = coco_service_dispatch_changes(&shown,
                                                     row->record.heartbeat,
                                                     row->online);
    }
}


static void
coco_supply_shown(coco_supply_shown_t *ret, const PGresult *res, int row)
{
    ret->heard = true;
    coco_pg_get_uuid(&ret->order.id, res, row, 1);
    ret->order.order_ms = coco_pg_get_time(res, row, 2);
    ret->order.ts = coco_pg_get_time(res, row, 3);
    ret->online = coco_pg_get_bool(res, row, 4) == 1;
    ret->battery_percent = coco_pg_get_float(res, row, 5);
    ret->healthy = coco_pg_get_bool(res, row, 6) == 1;
    ret->latitude = coco_pg_get_float(res, row, 7);
    ret->longitude = coco_pg_get_float(res, row, 8);
}
