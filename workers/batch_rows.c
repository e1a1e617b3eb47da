/*
 * The statements of a batch and their rows. Every statement is set-based, its
 * rows sorted by key; the order of the tables is the caller's. Must never
 * wait.
 */

#include "batch_work.h"
#include "coco_json_read.h"

#define COCO_DAY_MS         86400000LL
#define COCO_ENVELOPE_SIZE  640

#define COCO_STATE_INSERT                                                     \
    "insert into coco.robot_state (serial, id, state, ts, received_at,"       \
    " order_ts, details)"
#define COCO_STATE_UPDATE                                                     \
    " on conflict (serial) do update set id = excluded.id,"                   \
    " state = excluded.state, ts = excluded.ts,"                              \
    " received_at = excluded.received_at, order_ts = excluded.order_ts,"      \
    " details = excluded.details"

/* A robot is locked as an empty row first (never seen by others, for the same
 * transaction fills it): order_ts -infinity says that nothing was heard. */
const coco_pg_statement_t  coco_batch_statements[COCO_STATEMENTS] = {

[COCO_S_BEGIN] = { "begin", "", "state" },

[COCO_S_COMMIT] = { "commit", "", "state" },

[COCO_S_PARTITION] = {
    "select coco.state_history_partition_create(d) from unnest($1::date[]) d",
    "d", "state" },

[COCO_S_STATE_SEED] = {
    COCO_STATE_INSERT
    " select s, '00000000-0000-0000-0000-000000000000', 'OFF_DUTY',"
    " '-infinity', '-infinity', '-infinity', '{}' from unnest($1::text[]) s"
    " on conflict do nothing",
    "t", "state" },

[COCO_S_STATE_LOCK] = {
    "select serial, id, state, order_ts, ts from coco.robot_state"
    " where serial = any ($1::text[]) order by serial collate \"C\""
    " for update",
    "t", "state" },

/* Of those whose newest went to the late table: the others are written with
 * the history. */
[COCO_S_STATE_WRITE] = {
    COCO_STATE_INSERT
    " select * from unnest($1::text[], $2::uuid[], $3::text[],"
    " $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::jsonb[])"
    COCO_STATE_UPDATE,
    "tutTTTj", "state" },

/* One statement, so that Postgres parses details once, which is a good part of
 * what a heartbeat costs it. order_ts is null unless the row is a robot's
 * newest; robot_state is locked, so that nothing can come between. */
[COCO_S_HISTORY] = {
    "with u as materialized (select * from unnest($1::text[],"
    "  $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::text[],"
    "  $6::jsonb[], $7::timestamptz[])"
    "  u (serial, date, id, received_at, state, details, order_ts)),"
    " h as (insert into coco.state_history (serial, date, id, received_at,"
    "  state, details)"
    "  select serial, date, id, received_at, state, details from u"
    "  on conflict do nothing returning 1),"
    " r as (" COCO_STATE_INSERT
    "  select serial, id, state, date, received_at, order_ts, details from u"
    "  where order_ts is not null" COCO_STATE_UPDATE ")"
    " select count(*) from h",
    "tTuTtjT", "state" },

/* What was stored before its day became late is not stored again. "offset 0"
 * keeps this a lookup of one key, whatever the planner believes. */
[COCO_S_HISTORY_LATE] = {
    "insert into coco.state_history_late (serial, date, id, received_at,"
    " state, details)"
    " select u.* from unnest($1::text[], $2::timestamptz[], $3::uuid[],"
    " $4::timestamptz[], $5::text[], $6::jsonb[])"
    " u (serial, date, id, received_at, state, details)"
    " where not exists (select from coco.state_history h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id offset 0)"
    " on conflict do nothing",
    "tTuTtj", "state" },

[COCO_S_HISTORY_STORED] = {
    "select u.n, h.received_at from unnest($1::text[], $2::timestamptz[],"
    " $3::uuid[]) with ordinality u (serial, date, id, n), lateral ("
    " select received_at from coco.state_history h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id"
    " union all"
    " select received_at from coco.state_history_late h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id) h",
    "tTu", "state" },

[COCO_S_EVENTS] = {
    "insert into coco.lid_cycle_event_history (id, event_id, serial, type, ts,"
    " received_at, trigger, lid_opened, command_id, reason, details)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bool[],"
    " $9::text[], $10::text[], $11::jsonb[])"
    " on conflict do nothing",
    "utttTTtbttj", "state" },

[COCO_S_OPERATION_SEED] = {
    "insert into coco.robot_operation (serial, operation_state, changed_at)"
    " select s, 'OFF_DUTY', '-infinity' from unnest($1::text[]) s"
    " on conflict do nothing",
    "t", "operations" },

[COCO_S_OPERATION_LOCK] = {
    "select serial, operation_state, needs_movement, undergoing_maintenance,"
    " needs_maintenance, needs_pickup, has_food, driveable, deployed::text,"
    " changed_at, state_id, state_order_ts, state_ts"
    " from coco.robot_operation"
    " where serial = any ($1::text[]) order by serial collate \"C\""
    " for update",
    "t", "operations" },

[COCO_S_OPERATION_WRITE] = {
    "insert into coco.robot_operation (serial, operation_state, changed_at,"
    " state_id, state_order_ts, state_ts)"
    " select * from unnest($1::text[], $2::text[], $3::timestamptz[],"
    " $4::uuid[], $5::timestamptz[], $6::timestamptz[])"
    " on conflict (serial) do update set"
    " operation_state = excluded.operation_state,"
    " changed_at = greatest(robot_operation.changed_at, excluded.changed_at),"
    " state_id = excluded.state_id, state_ts = excluded.state_ts,"
    " state_order_ts = excluded.state_order_ts",
    "ttTuTT", "operations" },

[COCO_S_OPERATION_HISTORY] = {
    "insert into coco.robot_state_history (id, robot_serial, operation_state,"
    " needs_movement, undergoing_maintenance, needs_maintenance, needs_pickup,"
    " has_food, driveable, deployed, changed_at)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[],"
    " $5::bool[], $6::bool[], $7::bool[], $8::bool[], $9::bool[],"
    " $10::jsonb[], $11::timestamptz[])"
    " on conflict do nothing",
    "uttbbbbbbjT", "operations" },

[COCO_S_OPERATION_STATES] = {
    "select serial, operation_state from coco.robot_operation"
    " where serial = any ($1::text[]) order by serial collate \"C\"",
    "t", "operations" },

[COCO_S_FLEET_TELEMETRY] = {
    "insert into coco.fleet_robot as f (serial, telemetry_id, telemetry_ts,"
    " telemetry_order_ts, healthy, latitude, longitude, heading, speed,"
    " battery_percent, charging)"
    " select * from unnest($1::text[], $2::uuid[], $3::timestamptz[],"
    " $4::timestamptz[], $5::bool[], $6::float8[], $7::float8[],"
    " $8::float8[], $9::float8[], $10::float8[], $11::bool[])"
    " on conflict (serial) do update set"
    " telemetry_id = excluded.telemetry_id,"
    " telemetry_ts = excluded.telemetry_ts,"
    " telemetry_order_ts = excluded.telemetry_order_ts,"
    " healthy = excluded.healthy, latitude = excluded.latitude,"
    " longitude = excluded.longitude, heading = excluded.heading,"
    " speed = excluded.speed, battery_percent = excluded.battery_percent,"
    " charging = excluded.charging"
    " where f.telemetry_order_ts is null"
    " or (excluded.telemetry_order_ts, excluded.telemetry_ts,"
    "   excluded.telemetry_id)"
    "  > (f.telemetry_order_ts, f.telemetry_ts, f.telemetry_id)",
    "tuTTbfffffb", "fleet" },

[COCO_S_FLEET_BUSINESS] = {
    "insert into coco.fleet_robot as f (serial, operational_state,"
    " needs_movement, undergoing_maintenance, needs_maintenance, needs_pickup,"
    " has_food, driveable, deployed, business_changed_at)"
    " select * from unnest($1::text[], $2::text[], $3::bool[], $4::bool[],"
    " $5::bool[], $6::bool[], $7::bool[], $8::bool[], $9::jsonb[],"
    " $10::timestamptz[])"
    " on conflict (serial) do update set"
    " operational_state = excluded.operational_state,"
    " needs_movement = excluded.needs_movement,"
    " undergoing_maintenance = excluded.undergoing_maintenance,"
    " needs_maintenance = excluded.needs_maintenance,"
    " needs_pickup = excluded.needs_pickup, has_food = excluded.has_food,"
    " driveable = excluded.driveable, deployed = excluded.deployed,"
    " business_changed_at = excluded.business_changed_at"
    " where f.business_changed_at is null"
    " or excluded.business_changed_at > f.business_changed_at",
    "ttbbbbbbjT", "fleet" },

[COCO_S_OUTBOX] = {
    "insert into coco.outbox (id, name, serial, payload)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[])"
    " on conflict do nothing",
    "uttj", "state" },

/* The reason names the field.  The same again opens the letter again. */
[COCO_S_DEAD_LETTERS] = {
    "insert into coco.dead_letter (id, source, service, topic, field, reason,"
    " payload, received_at)"
    " select id, source, service, topic, field,"
    " concat_ws(': ', nullif(field, ''), reason), payload, received_at"
    " from unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::text[], $7::bytea[], $8::timestamptz[])"
    " u (id, source, service, topic, field, reason, payload, received_at)"
    " on conflict (id) do update set service = excluded.service,"
    " field = excluded.field, reason = excluded.reason,"
    " received_at = excluded.received_at, replayed_at = null,"
    " replay_outcome = null",
    "utttttxT", "dead letters" },

[COCO_S_REPLAYS] = {
    "update coco.dead_letter d set"
    " replay_outcome = case when u.reason is null then 'APPLIED'"
    "  else 'REFUSED' end,"
    " service = coalesce(u.service, d.service),"
    " field = case when u.reason is null then d.field else u.field end,"
    " reason = case when u.reason is null then d.reason"
    "  else concat_ws(': ', nullif(u.field, ''), u.reason) end"
    " from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])"
    " u (id, service, field, reason)"
    " where d.id = u.id and d.replayed_at is not null"
    " and d.replay_outcome is null",
    "uttt", "dead letters" },
};


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

    coco_pg_rows(pg, COCO_S_STATE_LOCK);

    for (size_t i = 0; i < w->group_count; i++) {
        coco_pg_text(pg, w->groups[i].serial);
    }

    return coco_pg_send(pg);
}


static void
coco_rows_history_row(coco_pg_t *pg, const coco_item_t *item)
{
    coco_pg_text(pg, item->heartbeat.serial);
    coco_pg_time(pg, item->heartbeat.ts);
    coco_pg_uuid(pg, &item->heartbeat.id);
    coco_pg_time(pg, item->heartbeat.received_at);
    coco_pg_text(pg, coco_state_name(item->state));
    coco_pg_json(pg, item->details);
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

        for (size_t k = 0; k < g->count; k++) {
            item = g->items[k];
            newest = g->newer && k == g->count - 1;

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

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        if (w->heartbeats[i]->heartbeat.ts < w->cutoff) {
            coco_rows_history_row(w->pg, w->heartbeats[i]);
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

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        hb = &w->heartbeats[i]->heartbeat;
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
            if (w->groups[i].changes) {
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
    coco_heartbeat_t  *hb;

    coco_pg_rows(w->pg, COCO_S_STATE_WRITE);

    for (size_t i = 0; i < w->group_count; i++) {
        item = w->groups[i].items[w->groups[i].count - 1];
        hb = &item->heartbeat;

        if (!w->groups[i].newer || hb->ts >= w->cutoff) {
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


/* reason is kept as JSON text by the decoder; the column holds what it says. */
static coco_str_t
coco_rows_reason(coco_writer_t *w, coco_str_t escaped)
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


int
coco_rows_events(coco_writer_t *w)
{
    coco_pg_t           *pg = w->pg;
    coco_robot_event_t  *e;

    if (w->event_count == 0) {
        return -1;
    }

    coco_pg_rows(pg, COCO_S_EVENTS);

    for (size_t i = 0; i < w->event_count; i++) {
        e = &w->events[i]->event;
        coco_pg_uuid(pg, &e->id);
        coco_pg_text(pg, e->event_id);
        coco_pg_text(pg, e->serial);
        coco_pg_text(pg, e->type_name);
        coco_pg_time(pg, e->ts);
        coco_pg_time(pg, e->received_at);
        coco_pg_text(pg, e->trigger);
        coco_pg_bool(pg, e->has_lid_opened ? e->lid_opened : -1);
        coco_pg_text(pg, e->command_id);
        coco_pg_text(pg, coco_rows_reason(w, e->reason));
        coco_pg_json(pg, e->details);
    }

    return coco_pg_send(pg);
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
coco_rows_envelope_open(coco_json_out_t *out, const coco_id_t *id,
    coco_str_t name, coco_str_t serial, int64_t ts)
{
    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_id(out, id);
    coco_json_name(out, "name");
    coco_json_string(out, name);
    coco_json_name(out, "serial");
    coco_json_string(out, serial);
    coco_json_name(out, "ts");
    coco_json_int(out, ts);
    coco_json_name(out, "data");
}


static void
coco_rows_state_change_encode(coco_json_out_t *out, const coco_change_t *c)
{
    const coco_state_change_t  *e = &c->change;

    coco_rows_envelope_open(out, &e->id, coco_string("Robots.StateChange"),
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

    coco_rows_envelope_open(out, &e->id,
                            coco_string("Robots.BusinessStateChange"),
                            e->serial, e->changed_at);
    coco_service_operations_event_encode(out, &e->business);
    coco_json_object_close(out);
}


/* The rows come in the order of the changes, which seq keeps per robot. */
int
coco_rows_outbox(coco_writer_t *w)
{
    char             *p;
    size_t            size;
    coco_change_t    *c;
    coco_json_out_t   out;

    if (w->change_count == 0) {
        return COCO_OK;
    }

    coco_pg_rows(w->pg, COCO_S_OUTBOX);

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];
        size = COCO_ENVELOPE_SIZE + c->effect.business.deployed.len;

        for (int business = 0; business < (c->effect.changed ? 2 : 1);
             business++)
        {
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
            coco_pg_uuid(w->pg, business ? &c->effect.change.id
                                         : &c->change.id);
            coco_pg_text(w->pg, business
                                ? coco_string("Robots.BusinessStateChange")
                                : coco_string("Robots.StateChange"));
            coco_pg_text(w->pg, c->change.serial);
            coco_pg_json(w->pg, (coco_str_t) { p, out.len });
        }
    }

    coco_pg_send(w->pg);

    return COCO_OK;
}


void
coco_rows_dead_letters(coco_writer_t *w)
{
    coco_pg_t          *pg = w->pg;
    const coco_item_t  *item;

    if (w->refused_count > 0) {
        coco_pg_rows(pg, COCO_S_DEAD_LETTERS);

        for (size_t i = 0; i < w->refused_count; i++) {
            item = w->refused[i];

            if (i > 0 && memcmp(&item->letter, &w->refused[i - 1]->letter,
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
            coco_pg_bytes(pg, item->message->payload);
            coco_pg_time(pg, item->message->received_at);
        }

        coco_pg_send(pg);
    }

    if (w->replay_count == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_S_REPLAYS);

    for (size_t i = 0; i < w->replay_count; i++) {
        item = w->replays[i];
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
    size_t  rows = 0;

    coco_pg_rows(w->pg, COCO_S_OPERATION_STATES);

    for (size_t i = 0; i < w->group_count; i++) {
        if (w->groups[i].current) {
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

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        ts = w->heartbeats[i]->heartbeat.ts;

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
