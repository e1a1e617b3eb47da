/*
 * The round of the lids: locks the robots, inserts their events, reads what
 * the records are made of. One round, for somebody waits for the lid. Must
 * leave nothing in the result: the strings are copied.
 */

#include <stdlib.h>

#include "batch_lid.h"
#include "coco_json_read.h"

typedef struct {
    int  lock, events, due, marks, cycles, commands, deliveries;
} coco_lid_slots_t;

static void coco_lid_send(coco_writer_t *w, coco_lid_slots_t *slots);
static int coco_lid_send_events(coco_writer_t *w);
static coco_str_t coco_lid_reason(coco_writer_t *w, coco_str_t escaped);
static int coco_lid_send_serials(coco_writer_t *w, coco_statement_e statement,
    bool asks);
static int coco_lid_send_readers(coco_writer_t *w, coco_statement_e statement);
static int coco_lid_send_due(coco_writer_t *w);
static int coco_lid_send_expiries(coco_writer_t *w);
static int coco_lid_take(coco_writer_t *w, const coco_lid_slots_t *slots);
static void coco_lid_take_events(coco_writer_t *w, const PGresult *res);
static int coco_lid_id_find(const void *key, const void *element);
static void coco_lid_take_due(coco_lid_work_t *work, const PGresult *res);
static int coco_lid_take_place(coco_lid_work_t *work, const PGresult *res);
static int coco_lid_take_marks(coco_writer_t *w, const PGresult *res);
static int coco_lid_take_mark(coco_writer_t *w, coco_lid_robot_t *r,
    const PGresult *res, int row);
static int coco_lid_take_named(coco_writer_t *w, coco_lid_robot_t *r,
    const PGresult *res, int row);
static int coco_lid_take_cycles(coco_writer_t *w, const PGresult *res);
static int coco_lid_take_cycle(coco_writer_t *w, coco_lid_cycle_t *c,
    const PGresult *res, int row);
static int coco_lid_take_commands(coco_writer_t *w, const PGresult *res);
static int coco_lid_take_deliveries(coco_writer_t *w, const PGresult *res);
static int coco_lid_take_delivery(coco_writer_t *w, coco_lid_robot_t *r,
    coco_delivery_record_t *d, const PGresult *res, int row);
static size_t coco_lid_run(const PGresult *res, int row, coco_str_t serial);


coco_turn_e
coco_lid_round(coco_writer_t *w)
{
    coco_turn_e       rc;
    coco_lid_slots_t  slots;

    coco_lid_send(w, &slots);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (coco_lid_take(w, &slots) != COCO_OK) {
        coco_pg_close(w->pg);
        return COCO_TURN_RETRY;
    }

    return COCO_TURN_DONE;
}


/* Each statement sees what those before it have locked and written. */
static void
coco_lid_send(coco_writer_t *w, coco_lid_slots_t *slots)
{
    coco_lid_send_serials(w, COCO_S_LID_SEED, false);
    slots->lock = coco_lid_send_serials(w, COCO_S_LID_LOCK, false);
    slots->events = coco_lid_send_events(w);
    slots->due = coco_lid_send_due(w);
    slots->marks = coco_lid_send_readers(w, COCO_S_LID_MARKS);
    slots->cycles = coco_lid_send_readers(w, COCO_S_LID_CYCLES);
    slots->commands = coco_lid_send_expiries(w);
    slots->deliveries = coco_lid_send_serials(w, COCO_S_LID_DELIVERIES, true);
}


static int
coco_lid_send_serials(coco_writer_t *w, coco_statement_e statement, bool asks)
{
    size_t            rows = 0;
    coco_lid_work_t  *work = w->lid;

    coco_pg_rows(w->pg, statement);

    for (size_t i = 0; i < work->count; i++) {
        if (!asks || work->robots[i].asks) {
            coco_pg_text(w->pg, work->robots[i].serial);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


/* A close waits from now on, for its open may be on its way only now. */
static int
coco_lid_send_events(coco_writer_t *w)
{
    int                        event;
    coco_pg_t                 *pg = w->pg;
    coco_lid_work_t           *work = w->lid;
    const coco_robot_event_t  *e;

    if (w->events.count == 0) {
        return -1;
    }

    coco_pg_rows(pg, COCO_S_EVENTS);

    for (size_t i = 0; i < w->events.count; i++) {
        e = &w->events.v[i]->event;
        event = coco_lid_item_event(w->events.v[i]);

        coco_pg_uuid(pg, &e->id);
        coco_pg_text(pg, e->event_id);
        coco_pg_text(pg, e->serial);
        coco_pg_text(pg, e->type_name);
        coco_pg_time(pg, e->ts);
        coco_pg_time(pg, e->received_at);
        coco_pg_text(pg, e->trigger);
        coco_pg_bool(pg, e->has_lid_opened ? e->lid_opened : -1);
        coco_pg_text(pg, e->command_id);
        coco_pg_text(pg, coco_lid_reason(w, e->reason));
        coco_pg_json(pg, e->details);
        coco_pg_text(pg, (coco_str_t) { NULL, 0 });
        coco_pg_text(pg, (coco_str_t) { NULL, 0 });
        coco_pg_time(pg, event == COCO_LID_CLOSED
                         || event == COCO_LID_PIN_CLOSED
                         ? work->now + work->rules.window_ms : COCO_PG_NEVER);
    }

    return coco_pg_send(pg);
}


/* reason is kept as JSON text by the decoder; the column holds what it says. */
static coco_str_t
coco_lid_reason(coco_writer_t *w, coco_str_t escaped)
{
    char               *buf;
    coco_json_value_t   value;

    if (escaped.data == NULL
        || memchr(escaped.data, '\\', escaped.len) == NULL)
    {
        return escaped;
    }

    buf = coco_arena_alloc(&w->arena, escaped.len);
    if (buf == NULL) {
        return escaped;
    }

    memset(&value, 0, sizeof(value));
    value.type = COCO_JSON_STRING;
    value.string = escaped;
    value.escaped = true;

    return coco_json_unescape(&value, buf);
}


/* n counts from 1 over the robots that are read. */
static int
coco_lid_send_due(coco_writer_t *w)
{
    size_t            rows = 0;
    coco_lid_work_t  *work = w->lid;

    coco_pg_rows(w->pg, COCO_S_LID_DUE);

    for (size_t i = 0; i < work->count; i++) {
        if (work->robots[i].reads) {
            coco_pg_uuid(w->pg, &work->robots[i].task);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


static int
coco_lid_send_readers(coco_writer_t *w, coco_statement_e statement)
{
    size_t             rows = 0;
    coco_lid_work_t   *work = w->lid;
    coco_lid_robot_t  *r;

    coco_pg_rows(w->pg, statement);

    for (size_t i = 0; i < work->count; i++) {
        r = &work->robots[i];

        if (r->reads) {
            coco_pg_text(w->pg, r->serial);
            coco_pg_time(w->pg, r->since);
            coco_pg_time(w->pg, r->until);
            coco_pg_uuid(w->pg, &r->task);
            coco_pg_int(w->pg, (int32_t) coco_lid_span_ms(&work->rules));
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


static int
coco_lid_send_expiries(coco_writer_t *w)
{
    coco_lid_work_t  *work = w->lid;

    if (work->expiry_count == 0) {
        return -1;
    }

    coco_pg_rows(w->pg, COCO_S_LID_COMMANDS);

    for (size_t i = 0; i < work->expiry_count; i++) {
        coco_pg_uuid(w->pg, &work->expiries[i].id);
    }

    return coco_pg_send(w->pg);
}


/* COCO_ERROR: no memory. */
static int
coco_lid_take(coco_writer_t *w, const coco_lid_slots_t *slots)
{
    coco_lid_work_t  *work = w->lid;

    if (slots->events >= 0) {
        coco_lid_take_events(w, coco_pg_result(w->pg, slots->events));
    }

    if (slots->lock >= 0
        && coco_lid_take_place(work, coco_pg_result(w->pg, slots->lock))
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (slots->due >= 0) {
        coco_lid_take_due(work, coco_pg_result(w->pg, slots->due));

        if (coco_lid_take_marks(w, coco_pg_result(w->pg, slots->marks))
            != COCO_OK
            || coco_lid_take_cycles(w, coco_pg_result(w->pg, slots->cycles))
               != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    if (slots->commands >= 0
        && coco_lid_take_commands(w, coco_pg_result(w->pg, slots->commands))
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (slots->deliveries >= 0) {
        return coco_lid_take_deliveries(w, coco_pg_result(w->pg,
                                                          slots->deliveries));
    }

    return COCO_OK;
}


/* The others are repeats. */
static void
coco_lid_take_events(coco_writer_t *w, const PGresult *res)
{
    coco_id_t      id;
    coco_item_t  **item;

    w->inserted_events = (uint64_t) PQntuples(res);

    for (int row = 0; row < PQntuples(res); row++) {
        coco_pg_get_uuid(&id, res, row, 0);
        item = bsearch(&id, w->events.v, w->events.count,
                       sizeof(*w->events.v), coco_lid_id_find);

        if (item != NULL) {
            (*item)->newer = true;
        }
    }
}


static int
coco_lid_id_find(const void *key, const void *element)
{
    const coco_item_t  *item = *(coco_item_t *const *) element;

    return memcmp(key, &item->id, sizeof(item->id));
}


/* The seed has made a row for each. */
static int
coco_lid_take_place(coco_lid_work_t *work, const PGresult *res)
{
    int                row = 0;
    coco_lid_place_t  *p;
    coco_lid_robot_t  *r;

    for (size_t i = 0; i < work->count; i++, row++) {
        r = &work->robots[i];

        if (row >= PQntuples(res)
            || !coco_str_equal(coco_pg_get(res, row, 0), r->serial))
        {
            return COCO_ERROR;
        }

        p = &r->stored;
        p->known = coco_pg_get_bool(res, row, 1) >= 0;
        p->is_open = coco_pg_get_bool(res, row, 1) == 1;
        p->changed_at = coco_pg_get_time(res, row, 2);
        p->has_suspect = coco_pg_get(res, row, 3).data != NULL;
        coco_pg_get_uuid(&p->suspect, res, row, 3);
        p->suspect_at = coco_pg_get_time(res, row, 4);
    }

    return COCO_OK;
}


static void
coco_lid_take_due(coco_lid_work_t *work, const PGresult *res)
{
    int      row = 0;
    int64_t  n = 0;

    for (size_t i = 0; i < work->count && row < PQntuples(res); i++) {
        if (work->robots[i].reads
            && ++n == coco_pg_get_int64(res, row, 0))
        {
            work->robots[i].due_from = coco_pg_get_time(res, row++, 1);
        }
    }
}


/* How many rows from this one on are the robot's: they come by serial. */
static size_t
coco_lid_run(const PGresult *res, int row, coco_str_t serial)
{
    size_t  count = 0;

    while (row < PQntuples(res)
           && coco_str_equal(coco_pg_get(res, row, 0), serial))
    {
        row++;
        count++;
    }

    return count;
}


static int
coco_lid_take_marks(coco_writer_t *w, const PGresult *res)
{
    int                row = 0;
    size_t             count;
    coco_lid_work_t   *work = w->lid;
    coco_lid_robot_t  *r;

    for (size_t i = 0; i < work->count; i++) {
        r = &work->robots[i];
        count = coco_lid_run(res, row, r->serial);

        r->marks = coco_arena_alloc(&w->arena, (2 * count + r->count)
                                               * sizeof(*r->marks));
        if (r->marks == NULL) {
            return COCO_ERROR;
        }

        for ( ; count > 0; count--) {
            if (coco_lid_take_mark(w, r, res, row) != COCO_OK
                || coco_lid_take_named(w, r, res, row) != COCO_OK)
            {
                return COCO_ERROR;
            }

            row++;
        }
    }

    return COCO_OK;
}


/* A command that is none of ours is a command all the same: an open that names
 * it answers no request. */
static int
coco_lid_take_mark(coco_writer_t *w, coco_lid_robot_t *r, const PGresult *res,
    int row)
{
    int               event;
    coco_str_t        command, source;
    coco_lid_mark_t  *mark = &r->marks[r->mark_count];

    source = coco_pg_get(res, row, 8);
    event = coco_lid_event_parse(coco_pg_get(res, row, 2),
                                 coco_pg_get_bool(res, row, 5), source);

    if (event < 0
        || (source.data == NULL && (event == COCO_LID_OPEN_REQUEST
                                    || event == COCO_LID_REQUEST_TIMEOUT)))
    {
        return COCO_OK;
    }

    r->mark_count++;
    memset(mark, 0, sizeof(*mark));
    coco_pg_get_uuid(&mark->id, res, row, 1);
    mark->event = (coco_lid_event_e) event;
    mark->at = coco_pg_get_time(res, row, 3);
    mark->trigger = coco_lid_trigger_parse(coco_pg_get(res, row, 4));
    mark->source = coco_lid_source_parse(source);
    mark->wait_until = coco_pg_get_time(res, row, 10);
    mark->expires_at = coco_pg_get_time(res, row, 11);

    /* the command of an old request may be gone */
    if (event == COCO_LID_OPEN_REQUEST && mark->expires_at == COCO_NEVER) {
        mark->expires_at = mark->at + w->options->lid_timeout_ms;
    }

    command = coco_pg_get(res, row, 6);
    mark->has_command = command.data != NULL;

    if (mark->has_command
        && coco_id_parse(&mark->command, command) != COCO_OK)
    {
        coco_id_derive(&mark->command, &command, 1);
    }

    return coco_arena_copy(&w->arena, &mark->reason, coco_pg_get(res, row, 7))
           == COCO_OK
           ? coco_arena_copy(&w->arena, &mark->reference,
                             coco_pg_get(res, row, 9))
           : COCO_ERROR;
}


/* The request that an event long past names is not among what was read. */
static int
coco_lid_take_named(coco_writer_t *w, coco_lid_robot_t *r,
    const PGresult *res, int row)
{
    int64_t           at = coco_pg_get_time(res, row, 13);
    coco_lid_mark_t  *mark;

    if (!coco_lid_past(r) || at <= r->until) {
        return COCO_OK;
    }

    mark = &r->marks[r->mark_count++];
    memset(mark, 0, sizeof(*mark));
    coco_pg_get_uuid(&mark->command, res, row, 12);
    mark->has_command = true;
    mark->id = mark->command;
    mark->event = COCO_LID_OPEN_REQUEST;
    mark->at = at;
    mark->wait_until = COCO_NEVER;
    mark->expires_at = coco_pg_get_time(res, row, 11);
    mark->source = coco_lid_source_parse(coco_pg_get(res, row, 14));

    return coco_arena_copy(&w->arena, &mark->reference,
                           coco_pg_get(res, row, 15));
}


static int
coco_lid_take_cycles(coco_writer_t *w, const PGresult *res)
{
    int                row = 0;
    size_t             count;
    coco_lid_work_t   *work = w->lid;
    coco_lid_robot_t  *r;

    for (size_t i = 0; i < work->count; i++) {
        r = &work->robots[i];
        count = coco_lid_run(res, row, r->serial);

        r->cycles = coco_arena_alloc(&w->arena, count * sizeof(*r->cycles));
        if (r->cycles == NULL) {
            return COCO_ERROR;
        }

        while (r->cycle_count < count) {
            if (coco_lid_take_cycle(w, &r->cycles[r->cycle_count++], res,
                                    row++)
                != COCO_OK)
            {
                return COCO_ERROR;
            }
        }
    }

    return COCO_OK;
}


static int
coco_lid_take_cycle(coco_writer_t *w, coco_lid_cycle_t *c,
    const PGresult *res, int row)
{
    coco_str_t  reason;

    memset(c, 0, sizeof(*c));
    c->stored = true;
    coco_pg_get_uuid(&c->id, res, row, 1);
    c->state = coco_str_equal(coco_pg_get(res, row, 2),
                              coco_lid_state_name(COCO_LID_INIT))
               ? COCO_LID_INIT : COCO_LID_COMPLETE;
    c->source = coco_lid_source_parse(coco_pg_get(res, row, 3));
    c->trigger = coco_lid_trigger_parse(coco_pg_get(res, row, 5));
    c->has_command = coco_pg_get(res, row, 6).data != NULL;
    coco_pg_get_uuid(&c->command, res, row, 6);
    c->opened_at = coco_pg_get_time(res, row, 7);
    c->closed_at = coco_pg_get_time(res, row, 8);
    reason = coco_pg_get(res, row, 9);
    c->has_open = coco_pg_get(res, row, 10).data != NULL;
    coco_pg_get_uuid(&c->open_event, res, row, 10);
    c->has_close = coco_pg_get(res, row, 11).data != NULL;
    coco_pg_get_uuid(&c->close_event, res, row, 11);
    c->open_published = coco_pg_get_bool(res, row, 12) == 1;
    c->close_published = coco_pg_get_bool(res, row, 13) == 1;

    for (int n = COCO_LID_NEVER_CLOSED; n <= COCO_LID_CLOSE_WITHOUT_OPEN; n++)
    {
        if (reason.data != NULL
            && coco_str_equal(reason,
                              coco_lid_reason_name((coco_lid_reason_e) n)))
        {
            c->reason = (coco_lid_reason_e) n;
        }
    }

    return coco_arena_copy(&w->arena, &c->reference,
                           coco_pg_get(res, row, 4));
}


static int
coco_lid_take_commands(coco_writer_t *w, const PGresult *res)
{
    coco_lid_work_t     *work = w->lid;
    coco_lid_command_t  *c;

    for (int row = 0; row < PQntuples(res); row++) {
        c = &work->expiries[coco_pg_get_int64(res, row, 0) - 1];
        c->pending = coco_pg_get_bool(res, row, 5) == 1;
        c->expires_at = coco_pg_get_time(res, row, 4);

        if (coco_arena_copy(&w->arena, &c->serial, coco_pg_get(res, row, 1))
            != COCO_OK
            || coco_arena_copy(&w->arena, &c->source,
                               coco_pg_get(res, row, 2)) != COCO_OK
            || coco_arena_copy(&w->arena, &c->reference,
                               coco_pg_get(res, row, 3)) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_lid_take_deliveries(coco_writer_t *w, const PGresult *res)
{
    int                row = 0;
    size_t             count;
    coco_lid_work_t   *work = w->lid;
    coco_lid_robot_t  *r;

    for (size_t i = 0; i < work->count; i++) {
        r = &work->robots[i];
        count = coco_lid_run(res, row, r->serial);

        r->deliveries = coco_arena_alloc(&w->arena,
                                         count * sizeof(*r->deliveries));
        if (r->deliveries == NULL) {
            return COCO_ERROR;
        }

        while (r->delivery_count < count) {
            if (coco_lid_take_delivery(w, r,
                                       &r->deliveries[r->delivery_count++],
                                       res, row++)
                != COCO_OK)
            {
                return COCO_ERROR;
            }
        }
    }

    return COCO_OK;
}


static int
coco_lid_take_delivery(coco_writer_t *w, coco_lid_robot_t *r,
    coco_delivery_record_t *d, const PGresult *res, int row)
{
    memset(d, 0, sizeof(*d));
    coco_pg_get_uuid(&d->id, res, row, 1);
    d->serial = r->serial;
    d->status = coco_delivery_status_parse(coco_pg_get(res, row, 2));
    d->flow = coco_lid_source_parse(coco_pg_get(res, row, 3));
    d->created_at = coco_pg_get_time(res, row, 5);
    d->pickup_latitude = coco_pg_get_float(res, row, 6);
    d->pickup_longitude = coco_pg_get_float(res, row, 7);
    d->dropoff_latitude = coco_pg_get_float(res, row, 8);
    d->dropoff_longitude = coco_pg_get_float(res, row, 9);
    d->early_close_at = COCO_NEVER;
    d->loaded_at = COCO_NEVER;
    d->arrived_at = COCO_NEVER;

    r->position.latitude = coco_pg_get_float(res, row, 10);
    r->position.longitude = coco_pg_get_float(res, row, 11);
    r->position.speed = coco_pg_get_float(res, row, 12);

    if (coco_pg_get(res, row, 10).data != NULL
        && coco_pg_get(res, row, 11).data != NULL)
    {
        r->position.at = coco_pg_get_time(res, row, 13);
    }

    return coco_arena_copy(&w->arena, &d->pin, coco_pg_get(res, row, 4));
}
