/*
 * The rows of a batch's statements, sorted by key; the order of the tables is
 * the caller's. Must never wait.
 */

#include "batch_work.h"
#include "coco_envelope.h"

#define COCO_DAY_MS         86400000LL
#define COCO_ENVELOPE_SIZE  640


static int coco_rows_heard(coco_writer_t *w, coco_statement_e statement);
static int coco_rows_change(coco_writer_t *w, const coco_change_t *c,
    bool business);


static coco_str_t
coco_rows_cstr(const char *s)
{
    return (coco_str_t) { s, s ? strlen(s) : 0 };
}


int
coco_rows_state_lock(coco_writer_t *w, bool seed)
{
    coco_pg_t  *pg = w->pg;

    if (seed) {
        coco_pg_rows(pg, COCO_S_STATE_SEED);

        for (size_t i = 0; i < w->group_count; i++) {
            if (w->groups[i].missing) {
                coco_pg_text(pg, w->groups[i].serial);
            }
        }

        coco_pg_send(pg);
    }

    return coco_rows_heard(w, COCO_S_STATE_LOCK);
}


int
coco_rows_driveu(coco_writer_t *w)
{
    return coco_rows_heard(w, COCO_S_DRIVEU);
}


/* The robots that were heard themselves. */
static int
coco_rows_heard(coco_writer_t *w, coco_statement_e statement)
{
    coco_pg_rows(w->pg, statement);

    for (size_t i = 0; i < w->group_count; i++) {
        if (w->groups[i].heartbeats.count > 0) {
            coco_pg_text(w->pg, w->groups[i].serial);
        }
    }

    return coco_pg_send(w->pg);
}


static void
coco_rows_history_row(coco_pg_t *pg, const coco_item_t *item)
{
    coco_pg_text(pg, item->heartbeat.serial);
    coco_pg_time(pg, item->heartbeat.ts);
    coco_pg_uuid(pg, &item->heartbeat.id);
    coco_pg_time(pg, item->heartbeat.received_at);
    coco_pg_text(pg, coco_state_name(item->state));
    coco_pg_text(pg, item->details);
}


int
coco_rows_history(coco_writer_t *w)
{
    bool           newest;
    size_t         rows = 0;
    coco_item_t   *item;
    coco_group_t  *g;

    coco_pg_rows(w->pg, COCO_S_HISTORY);

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->heartbeats.count; k++) {
            item = g->heartbeats.v[k];
            newest = g->newer && k == g->heartbeats.count - 1;

            if (item->heartbeat.ts >= w->cutoff) {
                coco_rows_history_row(w->pg, item);
                coco_pg_time(w->pg, newest ? item->order.order_ms
                                           : COCO_PG_NEVER);
                rows++;
            }
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


int
coco_rows_history_late(coco_writer_t *w)
{
    size_t  rows = 0;

    coco_pg_rows(w->pg, COCO_S_HISTORY_LATE);

    for (size_t i = 0; i < w->heartbeats.count; i++) {
        if (w->heartbeats.v[i]->heartbeat.ts < w->cutoff) {
            coco_rows_history_row(w->pg, w->heartbeats.v[i]);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


int
coco_rows_history_stored(coco_writer_t *w)
{
    coco_heartbeat_t  *hb;

    coco_pg_rows(w->pg, COCO_S_HISTORY_STORED);

    for (size_t i = 0; i < w->heartbeats.count; i++) {
        hb = &w->heartbeats.v[i]->heartbeat;
        coco_pg_text(w->pg, hb->serial);
        coco_pg_time(w->pg, hb->ts);
        coco_pg_uuid(w->pg, &hb->id);
    }

    return coco_pg_send(w->pg);
}


int
coco_rows_operation_lock(coco_writer_t *w)
{
    int  slot = -1;

    for (int s = COCO_S_OPERATION_SEED; s <= COCO_S_OPERATION_LOCK; s++) {
        coco_pg_rows(w->pg, s);

        for (size_t i = 0; i < w->group_count; i++) {
            if (w->groups[i].operates) {
                coco_pg_text(w->pg, w->groups[i].serial);
            }
        }

        slot = coco_pg_send(w->pg);
    }

    return slot;
}


void
coco_rows_state_write(coco_writer_t *w)
{
    size_t             rows = 0;
    coco_item_t       *item;
    coco_group_t      *g;
    coco_heartbeat_t  *hb;

    coco_pg_rows(w->pg, COCO_S_STATE_WRITE);

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        if (!g->newer) {
            continue;
        }

        item = g->heartbeats.v[g->heartbeats.count - 1];
        hb = &item->heartbeat;

        if (hb->ts >= w->cutoff) {
            continue;
        }

        coco_pg_text(w->pg, hb->serial);
        coco_pg_uuid(w->pg, &hb->id);
        coco_pg_text(w->pg, coco_state_name(item->state));
        coco_pg_time(w->pg, hb->ts);
        coco_pg_time(w->pg, hb->received_at);
        coco_pg_time(w->pg, item->order.order_ms);
        coco_pg_json(w->pg, item->details);
        rows++;
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


static void
coco_rows_flags(coco_pg_t *pg, const coco_business_t *b)
{
    coco_pg_bool(pg, b->needs_movement);
    coco_pg_bool(pg, b->undergoing_maintenance);
    coco_pg_bool(pg, b->needs_maintenance);
    coco_pg_bool(pg, b->needs_pickup);
    coco_pg_bool(pg, b->has_food);
    coco_pg_bool(pg, b->driveable);
    coco_pg_json(pg, b->deployed);
}


void
coco_rows_operation_write(coco_writer_t *w)
{
    size_t                    rows = 0;
    coco_change_t            *c;
    coco_operation_record_t  *o;

    coco_pg_rows(w->pg, COCO_S_OPERATION_WRITE);

    for (size_t i = 0; i < w->group_count; i++) {
        o = &w->groups[i].operation;

        if (w->groups[i].operation_changed) {
            coco_pg_text(w->pg, w->groups[i].serial);
            coco_pg_text(w->pg, coco_state_name(o->business.operation_state));
            coco_pg_time(w->pg, o->changed_at);
            coco_pg_uuid(w->pg, &o->order.id);
            coco_pg_time(w->pg, o->order.order_ms);
            coco_pg_time(w->pg, o->order.ts);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }

    coco_pg_rows(w->pg, COCO_S_OPERATION_HISTORY);
    rows = 0;

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];

        if (c->effect.history) {
            coco_pg_uuid(w->pg, &c->change.id);
            coco_pg_text(w->pg, c->change.serial);
            coco_pg_text(w->pg,
                         coco_state_name(c->effect.business.operation_state));
            coco_rows_flags(w->pg, &c->effect.business);
            coco_pg_time(w->pg, c->effect.observed_at);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


void
coco_rows_fleet(coco_writer_t *w)
{
    size_t                   rows = 0;
    coco_pg_t               *pg = w->pg;
    coco_group_t            *g;
    const coco_heartbeat_t  *hb;

    coco_pg_rows(pg, COCO_S_FLEET_TELEMETRY);

    for (size_t i = 0; i < w->group_count; i++) {
        hb = w->groups[i].fleet.heartbeat;

        if (hb != NULL) {
            coco_pg_text(pg, hb->serial);
            coco_pg_uuid(pg, &hb->id);
            coco_pg_time(pg, hb->ts);
            coco_pg_time(pg, w->groups[i].fleet.order.order_ms);
            coco_pg_bool(pg, hb->healthy);
            coco_pg_float(pg, hb->latitude, true);
            coco_pg_float(pg, hb->longitude, true);
            coco_pg_float(pg, hb->heading, hb->has_heading);
            coco_pg_float(pg, hb->speed, hb->has_speed);
            coco_pg_float(pg, hb->battery_percent, true);
            coco_pg_bool(pg, hb->has_charging ? hb->charging : -1);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }

    coco_pg_rows(pg, COCO_S_FLEET_BUSINESS);
    rows = 0;

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        if (g->fleet.has_business) {
            coco_pg_text(pg, g->serial);
            coco_pg_text(pg,
                        coco_state_name(g->fleet.business.operation_state));
            coco_rows_flags(pg, &g->fleet.business);
            coco_pg_time(pg, g->fleet.changed_at);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }
}


static void
coco_rows_state_change_encode(coco_json_out_t *out, const coco_change_t *c)
{
    const coco_state_change_t  *e = &c->change;

    coco_envelope_open(out, &e->id, coco_string("Robots.StateChange"),
                       e->serial, e->order.order_ms);
    coco_json_object_open(out);
    coco_json_name(out, "from");

    if (e->from == COCO_STATE_NONE) {
        coco_json_null(out);

    } else {
        coco_json_string(out, coco_state_name(e->from));
    }

    coco_json_name(out, "to");
    coco_json_string(out, coco_state_name(e->to));
    coco_json_object_close(out);
    coco_json_object_close(out);
}


static void
coco_rows_business_change_encode(coco_json_out_t *out, const coco_change_t *c)
{
    const coco_business_change_t  *e = &c->effect.change;

    coco_envelope_open(out, &e->id,
                       coco_string("Robots.BusinessStateChange"), e->serial,
                       e->changed_at);
    coco_service_operations_event_encode(out, &e->business);
    coco_json_object_close(out);
}


/* The rows come in the order of the changes, which seq keeps per robot. */
int
coco_rows_outbox(coco_writer_t *w)
{
    size_t          rows = 0;
    coco_change_t  *c;

    coco_pg_rows(w->pg, COCO_S_OUTBOX);

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];

        /* one that came by the bus is in the outbox that it came from */
        if (c->item->kind == COCO_ITEM_HEARTBEAT) {
            if (coco_rows_change(w, c, false) != COCO_OK) {
                return COCO_ERROR;
            }
            rows++;
        }

        if (c->effect.changed) {
            if (coco_rows_change(w, c, true) != COCO_OK) {
                return COCO_ERROR;
            }
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }

    return COCO_OK;
}


static int
coco_rows_change(coco_writer_t *w, const coco_change_t *c, bool business)
{
    char             *p;
    size_t            size;
    coco_json_out_t   out;

    size = COCO_ENVELOPE_SIZE + c->effect.business.deployed.len;

    p = coco_arena_alloc(&w->arena, size);
    if (p == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&out, p, size);

    if (business) {
        coco_rows_business_change_encode(&out, c);

    } else {
        coco_rows_state_change_encode(&out, c);
    }

    if (!coco_json_out_ok(&out)) {
        return COCO_ERROR;
    }

    coco_arena_trim(&w->arena, p, out.len);
    coco_rows_outbox_row(w->pg,
                         business ? &c->effect.change.id : &c->change.id,
                         business ? coco_string("Robots.BusinessStateChange")
                                  : coco_string("Robots.StateChange"),
                         c->change.serial, (coco_str_t) { p, out.len },
                         business ? NULL : &c->change.order);

    return COCO_OK;
}


/* cause NULL: nothing else of the robot's stands before or after it. */
void
coco_rows_outbox_row(coco_pg_t *pg, const coco_id_t *id, coco_str_t name,
    coco_str_t serial, coco_str_t envelope, const coco_order_t *cause)
{
    coco_pg_uuid(pg, id);
    coco_pg_text(pg, name);
    coco_pg_text(pg, serial);
    coco_pg_json(pg, envelope);
    coco_pg_uuid(pg, cause ? &cause->id : NULL);
    coco_pg_time(pg, cause ? cause->ts : COCO_PG_NEVER);
}


void
coco_rows_dead_letters(coco_writer_t *w)
{
    coco_pg_t           *pg = w->pg;
    const coco_item_t   *item;
    const coco_cause_t  *cause;

    if (w->refused.count > 0) {
        coco_pg_rows(pg, COCO_S_DEAD_LETTERS);

        for (size_t i = 0; i < w->refused.count; i++) {
            item = w->refused.v[i];

            if (i > 0 && memcmp(&item->letter, &w->refused.v[i - 1]->letter,
                                sizeof(item->letter)) == 0)
            {
                continue;
            }

            coco_pg_uuid(pg, &item->letter);
            coco_pg_text(pg, coco_rows_cstr(item->message->source));
            coco_pg_text(pg, coco_rows_cstr(item->refused_by));
            coco_pg_text_clean(pg, item->message->topic);
            coco_pg_text_clean(pg, coco_rows_cstr(item->error->field));
            coco_pg_text_clean(pg, coco_rows_cstr(item->error->reason));
            coco_pg_bytes(pg, item->kept);
            coco_pg_time(pg, item->message->received_at);
            cause = &item->message->cause;
            coco_pg_uuid(pg, cause->known ? &cause->id : NULL);
            coco_pg_time(pg, cause->known ? cause->ts : COCO_PG_NEVER);
        }

        coco_pg_send(pg);
    }

    if (w->replays.count == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_S_REPLAYS);

    for (size_t i = 0; i < w->replays.count; i++) {
        item = w->replays.v[i];
        coco_pg_uuid(pg, &item->message->replay_of);

        if (item->same_as != NULL) {
            item = item->same_as;
        }

        coco_pg_text(pg, coco_rows_cstr(item->refused_by));
        coco_pg_text_clean(pg, coco_rows_cstr(item->error
                                              ? item->error->field : NULL));
        coco_pg_text_clean(pg, coco_rows_cstr(item->error
                                              ? item->error->reason : NULL));
    }

    coco_pg_send(pg);
}


/* Read last, so that a PATCH committed meanwhile is seen. */
int
coco_rows_operation_states(coco_writer_t *w)
{
    size_t         rows = 0;
    coco_group_t  *g;

    coco_pg_rows(w->pg, COCO_S_OPERATION_STATES);

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        if ((g->newest != NULL && g->newest->parts & COCO_PART_TELEMETRY)
            || coco_group_copy(g) != NULL || g->fleet.has_business)
        {
            coco_pg_text(w->pg, g->serial);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


int
coco_rows_state_orders(coco_writer_t *w)
{
    size_t  rows = 0;

    coco_pg_rows(w->pg, COCO_S_STATE_ORDERS);

    for (size_t i = 0; i < w->group_count; i++) {
        if (coco_group_copy(&w->groups[i]) != NULL) {
            coco_pg_text(w->pg, w->groups[i].serial);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


bool
coco_rows_partitions(coco_writer_t *w)
{
    bool     any = false;
    int64_t  ts, last = INT64_MIN;

    coco_pg_rows(w->pg, COCO_S_PARTITION);

    for (size_t i = 0; i < w->heartbeats.count; i++) {
        ts = w->heartbeats.v[i]->heartbeat.ts;

        /* days come in runs; the function takes one that is there */
        if (ts >= w->cutoff && ts / COCO_DAY_MS != last) {
            last = ts / COCO_DAY_MS;
            coco_pg_date(w->pg, ts);
            any = true;
        }
    }

    if (any) {
        coco_pg_send(w->pg);
    }

    return any;
}
