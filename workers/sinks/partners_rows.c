/*
 * What the sender asks of Postgres. Must never claim what is not the oldest
 * thing that a delivery's partner has not heard.
 */

#include "sinks/partners_rows.h"

/* Plans are made while tables are empty and kept while they grow: what one row
 * is looked up by stands inside of what is looked up, or the planner, to which
 * all ways cost the same then, may take one through the whole table. */

/* The vehicle is the robot's in this partner's words. */
#define COCO_PARTNERS_PUSHES                                                  \
    " select c.id, c.delivery_id, c.status, c.serial, c.reason, c.ts,"        \
    "  c.body, c.attempted::bigint, coco.to_ms(c.attempted_at),"              \
    "  d.external_id, d.store, m.provider_vehicle_id,"                        \
    "  (r.data #>> '{location,latitude}')::float8,"                           \
    "  (r.data #>> '{location,longitude}')::float8,"                          \
    "  coco.to_ms(r.telemetry_order_ts), (r.data ->> 'battery')::float8"      \
    " from c cross join lateral (select * from coco.delivery o"               \
    "   where o.id = c.delivery_id limit 1) d"                                \
    " left join lateral (select * from coco.resource o"                       \
    "   where o.id = c.serial limit 1) r on true"                             \
    " left join lateral (select * from coco.external_robot_mapping o"         \
    "   where o.serial = c.serial and o.provider = c.provider"                \
    "   order by o.created_at, o.provider_vehicle_id limit 1) m on true"

/* clock_timestamp() stands in a select of its own: as a value it is of the
 * index, as a volatile function it would be a filter over all that waits. */
const coco_pg_statement_t  coco_partners_statements[COCO_P_STATEMENTS] = {

[COCO_P_LOCK] = {
    "select pg_try_advisory_lock(hashtext('coco.partners'))", "",
    "integrations" },

/* What was claimed and has no attempt of that time was a sender's that is no
 * more. A position of such is left to the next one. */
[COCO_P_TAKE_OVER] = {
    "with positions as ("
    " update coco.partner_push set state = 'FAILED', done_at = now()"
    "  where kind = 'LOCATION' and state = 'PENDING')"
    " update coco.partner_push set due_at = now()"
    " where provider = any ('{uber,doordash}') and state = 'PENDING'"
    "  and due_at > now() and attempted_at is not null"
    "  and coalesce((attempts -> -1 ->> 'at')::bigint, 0)"
    "      < coco.to_ms(attempted_at)",
    "", "integrations" },

[COCO_P_FINISH] = {
    "select coco.partner_push_finish(($1::jsonb[])[1])", "j",
    "integrations" },

/* Nothing waits for longer than an hour: what seems to is of a clock that was
 * set back since, and due at the next claim. */
[COCO_P_CLAIM] = {
    "with ahead as ("
    " update coco.partner_push set due_at = clock_timestamp()"
    "  where provider = ($1::text[])[1] and state = 'PENDING'"
    "   and due_at > (select clock_timestamp()) + interval '61 minutes'),"
    " due as materialized ("
    " select id from coco.partner_push"
    "  where provider = ($1::text[])[1] and state = 'PENDING'"
    "   and due_at <= (select clock_timestamp())"
    "  order by due_at limit ($2::int4[])[1] for update skip locked),"
    " c as ("
    " update coco.partner_push p set attempted = attempted + 1,"
    "  attempted_at = clock_timestamp(), due_at = clock_timestamp()"
    "   + ($3::int4[])[1] * interval '1 ms'"
    "  where p.id = any (array(select id from due)) returning p.*)"
    COCO_PARTNERS_PUSHES,
    "tii", "integrations" },

[COCO_P_STORE] = {
    "update coco.partner_push p"
    " set body = ($2::text[])[array_position($1::uuid[], p.id)]"
    " where p.id = any ($1::uuid[])",
    "ut", "integrations" },

/* One of a delivery is under way at a time, for it is the newest that counts;
 * one whose end is not heard of is not waited for for ever.  coalesce() keeps
 * the planner from the index of all deliveries that ever were. */
[COCO_P_POSITIONS] = {
    "with news as materialized ("
    " select d.id, d.provider, d.status, d.serial, r.telemetry_order_ts as ts"
    "  from coco.delivery d"
    "  cross join lateral (select * from coco.resource o"
    "    where o.id = d.serial limit 1) r"
    "  left join lateral (select * from coco.partner_push o"
    "    where o.delivery_id = d.id and o.kind = 'LOCATION' limit 1) l on true"
    "  where d.serial is not null and d.status not in ('Completed', 'Canceled')"
    "   and coalesce(d.provider, '') = ($1::text[])[1]"
    "   and d.external_id is not null"
    "   and r.data #> '{location,latitude}' is not null"
    "   and r.telemetry_order_ts > coalesce(l.ts, '-infinity')"
    "   and (l.id is null or l.attempted_at <= now()"
    "    - case l.state when 'PENDING' then ($4::int4[])[1]"
    "      else ($3::int4[])[1] end * interval '1 ms')"
    "   and not exists (select from coco.partner_push s"
    "     where s.delivery_id = d.id and s.kind = 'STATUS'"
    "      and s.state = 'PENDING' offset 0)"
    "  order by l.attempted_at nulls first limit ($2::int4[])[1]),"
    " c as ("
    " insert into coco.partner_push as p (id, provider, delivery_id, kind,"
    "  status, serial, ts, attempted, attempted_at)"
    " select gen_random_uuid(), provider, id, 'LOCATION', status, serial, ts,"
    "  1, clock_timestamp() from news order by id"
    " on conflict (delivery_id) where kind = 'LOCATION' do update"
    "  set id = excluded.id, status = excluded.status,"
    "   serial = excluded.serial, ts = excluded.ts, state = 'PENDING',"
    "   body = null, attempted_at = excluded.attempted_at, attempts = '[]',"
    "   done_at = null"
    " returning p.*)"
    COCO_PARTNERS_PUSHES,
    "tiii", "integrations" },

[COCO_P_SKIP] = {
    "with due as materialized ("
    " select id from coco.partner_push"
    "  where provider = ($1::text[])[1] and state = 'PENDING'"
    "   and due_at <= (select clock_timestamp())"
    "  order by due_at limit ($2::int4[])[1])"
    " select count(*), coco.partner_push_finish("
    "  jsonb_agg(jsonb_build_object('id', id, 'state', 'SKIPPED')))"
    " from due",
    "ti", "integrations" },
};


void
coco_partners_push_read(coco_partner_push_t *ret, const PGresult *res,
    int row)
{
    coco_pg_get_uuid(&ret->id, res, row, COCO_P_ID);
    coco_pg_get_uuid(&ret->delivery_id, res, row, COCO_P_DELIVERY);
    ret->external_id = coco_pg_get(res, row, COCO_P_EXTERNAL);
    ret->store = coco_pg_get(res, row, COCO_P_STORE_NAME);
    ret->serial = coco_pg_get(res, row, COCO_P_SERIAL);
    ret->vehicle = coco_pg_get(res, row, COCO_P_VEHICLE);
    ret->status = coco_delivery_status_parse(coco_pg_get(res, row,
                                                         COCO_P_STATUS));
    ret->reason = coco_pg_get(res, row, COCO_P_REASON);
    ret->ts = coco_pg_get_time(res, row, COCO_P_TS);
    ret->located = !PQgetisnull(res, row, COCO_P_LATITUDE)
                   && !PQgetisnull(res, row, COCO_P_LONGITUDE)
                   && !PQgetisnull(res, row, COCO_P_LOCATED_AT);
    ret->has_battery = !PQgetisnull(res, row, COCO_P_BATTERY);

    if (ret->located) {
        ret->latitude = coco_pg_get_float(res, row, COCO_P_LATITUDE);
        ret->longitude = coco_pg_get_float(res, row, COCO_P_LONGITUDE);
        ret->located_at = coco_pg_get_int64(res, row, COCO_P_LOCATED_AT);
    }

    if (ret->has_battery) {
        ret->battery_percent = coco_pg_get_float(res, row, COCO_P_BATTERY);
    }
}
