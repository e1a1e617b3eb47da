/*
 * The emitter's statements, and the rows that it puts into them. Where a
 * robot was is found by the database: no place passes through here.
 */

#include "mds_work.h"

#define COCO_EMITTER_MEMORY_SIZE  4096
#define COCO_EMITTER_TRIPS_SIZE                                               \
    (COCO_MDS_TRIPS * (COCO_ID_TEXT_LEN + 1) + 2)


static void coco_emitter_events_put(const coco_emitter_round_t *r,
    coco_pg_t *pg);
static void coco_emitter_trips_put(coco_pg_t *pg,
    const coco_mds_told_t *told);
static void coco_emitter_starts_put(const coco_emitter_round_t *r,
    coco_pg_t *pg);
static void coco_emitter_ends_put(const coco_emitter_round_t *r,
    coco_pg_t *pg);
static void coco_emitter_keep_put(const coco_emitter_round_t *r,
    coco_pg_t *pg);
static void coco_emitter_letters_put(const coco_emitter_round_t *r,
    coco_pg_t *pg);
static void coco_emitter_memory_put(coco_pg_t *pg,
    const coco_mds_vehicle_t *memory);


/* Where the robot t.serial was at t.at, by its heartbeats; if it has said
 * nothing for an hour, where it is known to be. */
#define coco_emitter_place                                                    \
    " left join lateral ("                                                    \
    "  select (h.details #>> '{location,latitude}')::float8 as latitude,"     \
    "   (h.details #>> '{location,longitude}')::float8 as longitude,"         \
    "   (h.details #>> '{battery,percent}')::float8 as battery"               \
    "  from coco.state_history h"                                             \
    "  where h.serial = t.serial and h.date <= t.at"                          \
    "   and h.date > t.at - interval '1 hour'"                                \
    "   and h.details -> 'location' ? 'latitude'"                             \
    "  order by h.date desc limit 1) h on true"                               \
    " left join coco.resource r on r.id = t.serial"                           \
    "  and h.latitude is null"

#define coco_emitter_latitude                                                 \
    "coalesce(h.latitude, (r.data #>> '{location,latitude}')::float8)"
#define coco_emitter_longitude                                                \
    "coalesce(h.longitude, (r.data #>> '{location,longitude}')::float8)"
#define coco_emitter_battery                                                  \
    "coalesce(h.battery, (r.data ->> 'battery')::float8)::smallint"

const coco_pg_statement_t  coco_emitter_statements[COCO_E_STATEMENTS] = {

[COCO_E_LOCK] = {
    "select pg_try_advisory_lock(hashtext('coco.mds'))", "", "mds" },

[COCO_E_NOW] = {
    "select clock_timestamp(), pg_snapshot_xmin(s)::text::int8,"
    " pg_snapshot_xmax(s)::text::int8, p.up_to"
    " from pg_current_snapshot() s left join coco.mds_progress p on true",
    "", "mds" },

/* Always from the beginning, not from a cursor: a fact may be committed after
 * one with a larger seq. Those of a robot are numbered under its locks. */
[COCO_E_FACTS] = {
    "select f.seq::text, f.serial, f.ts, f.kind, f.data::text"
    " from (select * from coco.mds_fact order by seq limit ($1::int4[])[1]) f"
    " order by f.serial collate \"C\", f.seq",
    "i", "mds" },

[COCO_E_BEGIN] = { "begin", "", "mds" },

[COCO_E_MAKE] = {
    "with made as ("
    " insert into coco.mds_vehicle (serial, registered_at, memory,"
    "  vehicle_state)"
    " select t.*, 'removed'"
    "  from unnest($1::text[], $2::timestamptz[], $3::jsonb[]) t"
    " on conflict (serial) do nothing returning registered_at)"
    " update coco.mds_progress set"
    "  since = least(since, (select min(registered_at) from made))"
    " where exists (select from made)",
    "tTj", "mds" },

[COCO_E_MEMORY] = {
    "select v.device_id, v.memory::text"
    " from coco.mds_vehicle v where v.serial = any ($1::text[])"
    " order by v.serial collate \"C\" for update",
    "t", "mds" },

[COCO_E_KEEP] = {
    "update coco.mds_vehicle v set memory = t.memory,"
    " vehicle_state = t.state,"
    " event_id = coalesce(t.event_id, v.event_id),"
    " event_at = coalesce(t.event_at, v.event_at)"
    " from unnest($1::text[], $2::jsonb[], $3::text[], $4::uuid[],"
    "  $5::timestamptz[]) t (serial, memory, state, event_id, event_at)"
    " where v.serial = t.serial",
    "tjtuT", "mds" },

[COCO_E_EVENTS] = {
    "insert into coco.mds_event (event_id, device_id, vehicle_state,"
    " event_types, ts, publication_time, latitude, longitude,"
    " battery_percent, trip_ids)"
    " select t.id, t.device, t.state, array[t.type], t.at, now(),"
    " " coco_emitter_latitude ", " coco_emitter_longitude ","
    " " coco_emitter_battery ", t.trips::uuid[]"
    " from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],"
    "  $6::timestamptz[], $7::text[])"
    "  t (id, device, serial, state, type, at, trips)" coco_emitter_place,
    "uutttTt", "mds" },

[COCO_E_STARTS] = {
    "insert into coco.mds_trip (trip_id, device_id, delivery_id,"
    " requested_time, start_time, start_latitude, start_longitude)"
    " select t.trip, t.device, t.delivery, t.requested, t.at,"
    " " coco_emitter_latitude ", " coco_emitter_longitude
    " from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[],"
    "  $5::text[], $6::timestamptz[])"
    "  t (trip, device, delivery, requested, serial, at)" coco_emitter_place
    " on conflict (trip_id) do nothing",
    "uuuTtT", "mds" },

/* From the place where it began over those of the heartbeats to that where it
 * ended: not shorter than what lies between the two that are shown. */
[COCO_E_ENDS] = {
    "update coco.mds_trip m set end_time = e.at, canceled = e.canceled,"
    " end_latitude = e.latitude, end_longitude = e.longitude,"
    " distance = (select coalesce(sum(coco.distance_meters("
    "   s.from_latitude, s.from_longitude, s.latitude, s.longitude)), 0)"
    "  from (select p.latitude, p.longitude,"
    "    lag(p.latitude) over w as from_latitude,"
    "    lag(p.longitude) over w as from_longitude"
    "   from (select 1 as part, null::timestamptz as date, null::uuid as id,"
    "     m.start_latitude as latitude, m.start_longitude as longitude"
    "    where m.start_latitude is not null"
    "    union all"
    "    select 2, h.date, h.id,"
    "     (h.details #>> '{location,latitude}')::float8,"
    "     (h.details #>> '{location,longitude}')::float8"
    "    from coco.state_history h"
    "    where h.serial = e.serial and h.date >= m.start_time"
    "     and h.date <= e.at"
    "     and h.details -> 'location' ? 'latitude'"
    "    union all"
    "    select 3, null, null, e.latitude, e.longitude"
    "    where e.latitude is not null) p"
    "   window w as (order by p.part, p.date, p.id)) s)"
    " from (select t.trip, t.serial, t.at, t.canceled,"
    "  " coco_emitter_latitude " as latitude,"
    "  " coco_emitter_longitude " as longitude"
    "  from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bool[])"
    "   t (trip, serial, at, canceled)" coco_emitter_place ") e"
    " where m.trip_id = e.trip and m.end_time is null",
    "utTb", "mds" },

/* Known by what they say: one that is refused again, after its replay, is the
 * same. */
[COCO_E_LETTERS] = {
    "insert into coco.dead_letter as d (id, source, service, topic, field,"
    " reason, payload, received_at)"
    " select distinct on (id) id, 'mds', 'mds',"
    " 'mds/' || f.kind || '/' || f.serial, t.field,"
    " concat_ws(': ', nullif(t.field, ''), t.reason),"
    " convert_to(jsonb_build_object('serial', f.serial, 'ts', f.ts,"
    "  'kind', f.kind, 'data', f.data)::text, 'UTF8'), now()"
    " from unnest($1::text[], $2::text[], $3::text[]) t (seq, field, reason)"
    " join coco.mds_fact f on f.seq = t.seq::int8"
    " cross join lateral coco.id_derive('mds_fact' || f.serial || '/'"
    "  || extract(epoch from f.ts) || f.kind || f.data) id"
    " on conflict (id) do update set field = excluded.field,"
    " reason = excluded.reason, received_at = excluded.received_at,"
    " replay_outcome = case when d.replayed_at is not null then 'REFUSED'"
    " end",
    "ttt", "mds" },

[COCO_E_DELETE] = {
    "delete from coco.mds_fact where seq = any (($1::text[])::int8[])",
    "t", "mds" },

[COCO_E_PROGRESS] = {
    "update coco.mds_progress set"
    " up_to = greatest(up_to, ($1::timestamptz[])[1])",
    "T", "mds" },

[COCO_E_COMMIT] = { "commit", "", "mds" },

/* Applied means: it is a fact once more. */
[COCO_E_REPLAY] = { "select coco.mds_replay()", "", "mds" },
};


int
coco_emitter_vehicles_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    unsigned                   vehicle = 0;
    coco_mds_vehicle_t         unknown = COCO_MDS_VEHICLE_NEW;
    const coco_emitter_fact_t  *f = r->facts;

    coco_pg_rows(pg, COCO_E_MAKE);

    for (vehicle = 0; vehicle < r->nvehicles; vehicle++) {
        while (f->refused
               || !coco_str_equal(f->serial, r->vehicles[vehicle].serial))
        {
            f++;
        }

        coco_pg_text(pg, f->serial);
        coco_pg_time(pg, f->fact.at);
        coco_emitter_memory_put(pg, &unknown);
    }

    (void) coco_pg_send(pg);

    coco_pg_rows(pg, COCO_E_MEMORY);

    for (vehicle = 0; vehicle < r->nvehicles; vehicle++) {
        coco_pg_text(pg, r->vehicles[vehicle].serial);
    }

    return coco_pg_send(pg);
}


void
coco_emitter_rows_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    unsigned  i;

    coco_emitter_events_put(r, pg);
    coco_emitter_starts_put(r, pg);
    coco_emitter_ends_put(r, pg);
    coco_emitter_keep_put(r, pg);
    coco_emitter_letters_put(r, pg);

    coco_pg_rows(pg, COCO_E_DELETE);

    for (i = 0; i < r->nfacts; i++) {
        coco_pg_text(pg, r->facts[i].seq);
    }

    (void) coco_pg_send(pg);
}


static void
coco_emitter_events_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    const coco_emitter_told_t     *t, *end;
    const coco_emitter_vehicle_t  *v;

    if (r->events == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_E_EVENTS);
    end = r->told + r->ntold;

    for (t = r->told; t < end; t++) {
        if (t->told.event == COCO_MDS_EVENTS) {
            continue;
        }

        v = &r->vehicles[t->vehicle];
        coco_pg_uuid(pg, &t->event_id);
        coco_pg_uuid(pg, &v->device);
        coco_pg_text(pg, v->serial);
        coco_pg_text(pg, coco_mds_state_name(t->told.state));
        coco_pg_text(pg, coco_mds_event_name(t->told.event));
        coco_pg_time(pg, t->told.at);
        coco_emitter_trips_put(pg, &t->told);
    }

    (void) coco_pg_send(pg);
}


/* An array as text: of arrays in a column no two may differ in length. */
static void
coco_emitter_trips_put(coco_pg_t *pg, const coco_mds_told_t *told)
{
    char      text[COCO_EMITTER_TRIPS_SIZE];
    size_t    len = 0;
    unsigned  i;

    text[len++] = '{';

    for (i = 0; i < told->ntrips; i++) {
        if (i > 0) {
            text[len++] = ',';
        }

        coco_id_format(text + len, &told->trips[i]);
        len += COCO_ID_TEXT_LEN;
    }

    text[len++] = '}';
    coco_pg_text(pg, (coco_str_t) { text, len });
}


static void
coco_emitter_starts_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    unsigned                       count = 0;
    const coco_emitter_told_t     *t, *end;
    const coco_emitter_vehicle_t  *v;

    coco_pg_rows(pg, COCO_E_STARTS);
    end = r->told + r->ntold;

    for (t = r->told; t < end; t++) {
        if (!t->told.starts) {
            continue;
        }

        v = &r->vehicles[t->vehicle];
        coco_pg_uuid(pg, &t->told.trip.trip);
        coco_pg_uuid(pg, &v->device);
        coco_pg_uuid(pg, &t->told.trip.delivery);
        coco_pg_time(pg, t->told.trip.requested_at);
        coco_pg_text(pg, v->serial);
        coco_pg_time(pg, t->told.at);
        count++;
    }

    if (count > 0) {
        (void) coco_pg_send(pg);
    }
}


static void
coco_emitter_ends_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    unsigned                    count = 0;
    const coco_emitter_told_t  *t, *end;

    coco_pg_rows(pg, COCO_E_ENDS);
    end = r->told + r->ntold;

    for (t = r->told; t < end; t++) {
        if (!t->told.ends) {
            continue;
        }

        coco_pg_uuid(pg, &t->told.trip.trip);
        coco_pg_text(pg, r->vehicles[t->vehicle].serial);
        coco_pg_time(pg, t->told.at);
        coco_pg_bool(pg, t->told.canceled);
        count++;
    }

    if (count > 0) {
        (void) coco_pg_send(pg);
    }
}


static void
coco_emitter_keep_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    unsigned                       count = 0;
    const coco_emitter_vehicle_t  *v, *end;

    coco_pg_rows(pg, COCO_E_KEEP);
    end = r->vehicles + r->nvehicles;

    for (v = r->vehicles; v < end; v++) {
        if (v->unreadable) {
            continue;
        }

        coco_pg_text(pg, v->serial);
        coco_emitter_memory_put(pg, &v->memory);
        coco_pg_text(pg, coco_mds_state_name(v->memory.state));
        coco_pg_uuid(pg, v->told ? &v->event_id : NULL);
        coco_pg_time(pg, v->told ? v->event_at : COCO_PG_NEVER);
        count++;
    }

    if (count > 0) {
        (void) coco_pg_send(pg);
    }
}


static void
coco_emitter_letters_put(const coco_emitter_round_t *r, coco_pg_t *pg)
{
    const coco_emitter_fact_t  *f, *end;

    if (r->refused == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_E_LETTERS);
    end = r->facts + r->nfacts;

    for (f = r->facts; f < end; f++) {
        if (f->refused) {
            coco_pg_text(pg, f->seq);
            coco_pg_text(pg, (coco_str_t) { f->error.field,
                                            strlen(f->error.field) });
            coco_pg_text_clean(pg, (coco_str_t) { f->error.reason,
                                                  strlen(f->error.reason) });
        }
    }

    (void) coco_pg_send(pg);
}


static void
coco_emitter_memory_put(coco_pg_t *pg, const coco_mds_vehicle_t *memory)
{
    char             text[COCO_EMITTER_MEMORY_SIZE];
    coco_json_out_t  out;

    coco_json_out_init(&out, text, sizeof(text));
    coco_mds_encode(&out, memory);
    coco_pg_json(pg, (coco_str_t) { text, out.len });
}
