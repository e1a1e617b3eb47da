/*
 * The statements of a batch. Every one is set-based. Must never be built at
 * run time.
 */

#include "batch_work.h"

#define COCO_STATE_INSERT                                                     \
    "insert into coco.robot_state (serial, id, state, ts, received_at,"       \
    " order_ts, details)"
#define COCO_STATE_UPDATE                                                     \
    " on conflict (serial) do update set id = excluded.id,"                   \
    " state = excluded.state, ts = excluded.ts,"                              \
    " received_at = excluded.received_at, order_ts = excluded.order_ts,"      \
    " details = excluded.details"

/* From when on the marks and cycles of a robot are looked at: what is new,
 * what waits in its task, what may be confirmed; less the span of a look. What
 * is long past is looked at alone, until a time. */
#define COCO_LID_SINCE                                                        \
    " from unnest($1::text[], $2::timestamptz[], $3::timestamptz[],"          \
    " $4::uuid[], $5::int4[]) u (serial, since, until, task, span)"           \
    " cross join lateral (select case when u.until is null"                   \
    "   then least(u.since, l.suspect_at,"                                    \
    "    coco.from_ms((t.data ->> 'from')::bigint)) else u.since end"         \
    "  - u.span * interval '1 millisecond' as since,"                         \
    "  coalesce(u.until, 'infinity') as until"                                \
    "  from coco.lid_robot l left join coco.robot_task t on t.id = u.task"    \
    "  where l.serial = u.serial offset 0) s"

/* Those that have the orders, and those that the mappings give them to. */
#define COCO_ORDERS_ROBOTS                                                    \
    "select r.serial from unnest($1::text[], $2::text[], $3::text[])"         \
    " u (provider, external_id, vehicle)"                                     \
    " cross join lateral (select serial from coco.delivery d"                 \
    "  where d.provider = u.provider and d.external_id = u.external_id"       \
    " union all select serial from coco.external_robot_mapping m"             \
    "  where m.provider = u.provider and m.provider_vehicle_id = u.vehicle"   \
    " offset 0) r where r.serial is not null"

/* The newest that spoke of the lid; of two at the same time the open one. */
#define COCO_SUPPLY_LID_UPDATE                                                \
    " lid_open = case"                                                        \
    "  when r.lid_at is null or excluded.lid_at > r.lid_at"                   \
    "   then excluded.lid_open"                                               \
    "  when excluded.lid_at = r.lid_at then r.lid_open or excluded.lid_open"  \
    "  else r.lid_open end,"                                                  \
    " lid_at = greatest(r.lid_at, excluded.lid_at)"

/* What each heartbeat brings as JSON is text until its row is made: parsing
 * leaves kilobytes behind, which parameters keep to their end, in blocks so
 * small that the server gives each back to the system and asks for it anew.
 *
 * A robot is locked as an empty row first (never seen by others, for the same
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
    "with u as materialized (select serial, date, id, received_at, state,"
    "  details::jsonb as details, order_ts from unnest($1::text[],"
    "  $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::text[],"
    "  $6::text[], $7::timestamptz[])"
    "  u (serial, date, id, received_at, state, details, order_ts)),"
    " h as (insert into coco.state_history (serial, date, id, received_at,"
    "  state, details)"
    "  select serial, date, id, received_at, state, details from u"
    "  on conflict do nothing returning 1),"
    " r as (" COCO_STATE_INSERT
    "  select serial, id, state, date, received_at, order_ts, details from u"
    "  where order_ts is not null" COCO_STATE_UPDATE ")"
    " select count(*) from h",
    "tTuTttT", "state" },

/* What was stored before its day became late is not stored again. "offset 0"
 * keeps this a lookup of one key, whatever the planner believes. */
[COCO_S_HISTORY_LATE] = {
    "insert into coco.state_history_late (serial, date, id, received_at,"
    " state, details)"
    " select serial, date, id, received_at, state, details::jsonb"
    " from unnest($1::text[], $2::timestamptz[], $3::uuid[],"
    " $4::timestamptz[], $5::text[], $6::text[])"
    " u (serial, date, id, received_at, state, details)"
    " where not exists (select from coco.state_history h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id offset 0)"
    " on conflict do nothing",
    "tTuTtt", "state" },

[COCO_S_HISTORY_STORED] = {
    "select u.n, h.received_at from unnest($1::text[], $2::timestamptz[],"
    " $3::uuid[]) with ordinality u (serial, date, id, n), lateral ("
    " select received_at from coco.state_history h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id"
    " union all"
    " select received_at from coco.state_history_late h"
    "  where h.serial = u.serial and h.date = u.date and h.id = u.id) h",
    "tTu", "state" },

/* Where the copies of heartbeats that came by the bus stand. */
[COCO_S_STATE_ORDERS] = {
    "select serial, id, order_ts, ts from coco.robot_state"
    " where serial = any ($1::text[]) order by serial collate \"C\"",
    "t", "state" },

/* Which robots the vehicles are; n is the place of the vehicle. */
[COCO_S_MAPPINGS] = {
    "select u.n, m.serial from unnest($1::text[])"
    " with ordinality u (vehicle, n)"
    " join coco.external_robot_mapping m on m.provider = 'driveu'"
    " and m.provider_vehicle_id = u.vehicle",
    "t", "state" },

/* Who inserts a mapping releases what waits for it: none may come between a
 * vehicle that was not found and the row that waits for it. */
[COCO_S_MAPPINGS_LOCK] = {
    "lock table coco.external_robot_mapping in share mode", "", "state" },

[COCO_S_DRIVEU] = {
    "select serial, unit, status, uuid, time, order_time, id"
    " from coco.driveu_status"
    " where serial = any ($1::text[]) order by serial collate \"C\"",
    "t", "state" },

/* Two lookups of a key for each robot, whatever the planner believes ("offset
 * 0"); most have neither row, and leave none. */
[COCO_S_WATCH] = {
    "select s.serial, l.serial is not null, l.is_open, l.changed_at,"
    " l.suspect_id is not null, d.id, d.status, d.pickup_latitude,"
    " d.pickup_longitude, d.dropoff_latitude, d.dropoff_longitude,"
    " d.updated_at"
    " from unnest($1::text[]) s (serial)"
    " left join lateral (select * from coco.lid_robot l"
    "  where l.serial = s.serial offset 0) l on true"
    " left join lateral (select * from coco.delivery d"
    "  where d.serial = s.serial"
    "  and d.status not in ('Completed', 'Canceled')"
    "  and d.status in ('EnrouteToPickup', 'EnrouteToDropoff') offset 0) d"
    " on true"
    " where l.serial is not null or d.id is not null"
    " order by s.serial collate \"C\"",
    "t", "state" },

[COCO_S_DRIVEU_WRITE] = {
    "insert into coco.driveu_status as d (serial, unit, status, uuid, vin,"
    " time, received_at, order_time, id)"
    " select * from unnest($1::text[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],"
    " $9::uuid[])"
    " on conflict (serial, unit) do update set status = excluded.status,"
    " uuid = excluded.uuid, vin = excluded.vin, time = excluded.time,"
    " received_at = excluded.received_at, order_time = excluded.order_time,"
    " id = excluded.id"
    " where (excluded.order_time, excluded.time, excluded.id)"
    "  > (d.order_time, d.time, d.id)",
    "tttttTTTu", "state" },

/* One of a queue has no row yet. */
[COCO_S_INBOX_WAIT] = {
    "insert into coco.webhook_inbox as w (id, provider, event_id, payload,"
    " received_at, waiting_for)"
    " select id, 'driveu', id::text, payload, received_at, waiting_for"
    " from unnest($1::uuid[], $2::jsonb[], $3::timestamptz[], $4::text[])"
    " u (id, payload, received_at, waiting_for)"
    " on conflict (id) do update set waiting_for = excluded.waiting_for"
    " where w.done_at is null",
    "ujTt", "state" },

[COCO_S_INBOX_DONE] = {
    "update coco.webhook_inbox w set done_at = now(), outcome = u.outcome,"
    " waiting_for = null"
    " from unnest($1::uuid[], $2::text[]) u (id, outcome)"
    " where w.id = u.id and w.outcome is distinct from 'APPLIED'",
    "ut", "state" },

/* First rows for all, then locks for all, in the order of the keys both times:
 * of two writers neither holds a key that the other one seeds before it. */
[COCO_S_LID_SEED] = {
    "insert into coco.lid_robot (serial, is_open)"
    " select s, false from unnest($1::text[]) s on conflict do nothing",
    "t", "state" },

[COCO_S_LID_LOCK] = {
    "select serial, is_open, changed_at, suspect_id, suspect_at"
    " from coco.lid_robot"
    " where serial = any ($1::text[]) order by serial collate \"C\""
    " for update",
    "t", "state" },

[COCO_S_EVENTS] = {
    "insert into coco.lid_cycle_event_history (id, event_id, serial, type, ts,"
    " received_at, trigger, lid_opened, command_id, reason, details, source,"
    " reference_id, wait_until)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bool[],"
    " $9::text[], $10::text[], $11::jsonb[], $12::text[], $13::text[],"
    " $14::timestamptz[])"
    " on conflict do nothing returning id",
    "utttTTtbttjttT", "state" },

/* n is the place of the robot, in all that are read. */
[COCO_S_LID_DUE] = {
    "select u.n, coco.from_ms((t.data ->> 'from')::bigint)"
    " from unnest($1::uuid[]) with ordinality u (id, n)"
    " join coco.robot_task t on t.id = u.id",
    "u", "state" },

/* A type of ours that has no source was made up by a robot. The command that
 * something long past names was issued now, by our clock. */
[COCO_S_LID_MARKS] = {
    "select u.serial, h.id, h.type, h.order_at, h.trigger, h.lid_opened,"
    " h.command_id, h.reason, h.source, h.reference_id, h.wait_until,"
    " c.expires_at, c.id, c.issued_at, c.source, c.reference_id"
    COCO_LID_SINCE
    " cross join lateral (select * from coco.lid_cycle_event_history h"
    "  where h.serial = u.serial and h.order_at >= s.since"
    "  and h.order_at <= s.until offset 0) h"
    " left join lateral (select * from coco.robot_command c where c.id = case"
    "  when h.type = 'LID_OPEN_REQUEST' and h.source is not null"
    "   or u.until is not null and h.command_id ~*"
    "    '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'"
    "  then h.command_id::uuid end and c.serial = h.serial offset 0) c on true"
    " order by u.serial collate \"C\"",
    "tTTui", "state" },

[COCO_S_LID_CYCLES] = {
    "select u.serial, y.id, y.state, y.source, y.reference_id, y.trigger,"
    " y.command_id, y.opened_at, y.closed_at, y.reason, y.open_event,"
    " y.close_event, y.open_published, y.close_published"
    COCO_LID_SINCE
    " cross join lateral (select * from coco.lid_cycle y"
    "  where y.serial = u.serial and y.order_at >= s.since"
    "  and y.order_at <= s.until offset 0) y"
    " order by u.serial collate \"C\"",
    "tTTui", "state" },

/* n is the place of the task. */
[COCO_S_LID_COMMANDS] = {
    "select u.n, c.serial, c.source, c.reference_id, c.expires_at,"
    " c.outcome is null"
    " from unnest($1::uuid[]) with ordinality u (id, n)"
    " join coco.robot_command c on c.id = u.id",
    "u", "state" },

/* Of robots whose lid somebody asks to have opened, and where they were when
 * they were last heard. */
[COCO_S_LID_DELIVERIES] = {
    "select d.serial, d.id, d.status, d.loading_flow, d.pin, d.created_at,"
    " d.pickup_latitude, d.pickup_longitude, d.dropoff_latitude,"
    " d.dropoff_longitude,"
    " (r.details #>> '{location,latitude}')::float8,"
    " (r.details #>> '{location,longitude}')::float8,"
    " coalesce((r.details #>> '{location,speed}')::float8, 0), r.order_ts"
    " from unnest($1::text[]) u (serial)"
    " cross join lateral (select * from coco.delivery d"
    "  where d.serial = u.serial and d.serial is not null"
    "  and d.status not in ('Completed', 'Canceled') offset 0) d"
    " left join coco.robot_state r on r.serial = u.serial"
    "  and r.order_ts > '-infinity'"
    " order by u.serial collate \"C\", d.created_at, d.id",
    "t", "state" },

[COCO_S_LID_WRITE] = {
    "update coco.lid_robot l set is_open = u.is_open,"
    " changed_at = u.changed_at, suspect_id = u.suspect_id,"
    " suspect_at = u.suspect_at"
    " from unnest($1::text[], $2::bool[], $3::timestamptz[], $4::uuid[],"
    " $5::timestamptz[]) u (serial, is_open, changed_at, suspect_id,"
    " suspect_at)"
    " where l.serial = u.serial",
    "tbTuT", "state" },

[COCO_S_LID_CYCLES_WRITE] = {
    "insert into coco.lid_cycle (id, serial, state, source, reference_id,"
    " trigger, command_id, opened_at, closed_at, reason, open_event,"
    " close_event, open_published, close_published)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::text[], $7::uuid[], $8::timestamptz[],"
    " $9::timestamptz[], $10::text[], $11::uuid[], $12::uuid[], $13::bool[],"
    " $14::bool[])"
    " on conflict (id) do update set state = excluded.state,"
    " source = excluded.source, reference_id = excluded.reference_id,"
    " trigger = excluded.trigger, command_id = excluded.command_id,"
    " opened_at = excluded.opened_at, closed_at = excluded.closed_at,"
    " reason = excluded.reason, open_event = excluded.open_event,"
    " close_event = excluded.close_event,"
    " open_published = excluded.open_published,"
    " close_published = excluded.close_published, updated_at = now()",
    "utttttuTTtuubb", "state" },

/* The notification only wakes, and not for what was there already. */
[COCO_S_COMMANDS_PUT] = {
    "with p as (insert into coco.robot_command (id, serial, command, source,"
    "  reference_id, issued_at, expires_at, next_send_at)"
    "  select id, serial, 'OPEN_LID', source, reference_id, issued_at,"
    "  expires_at, issued_at from unnest($1::uuid[], $2::text[], $3::text[],"
    "  $4::text[], $5::timestamptz[], $6::timestamptz[])"
    "  u (id, serial, source, reference_id, issued_at, expires_at)"
    "  on conflict do nothing returning 1)"
    " select pg_notify('coco_command', '') from p limit 1",
    "utttTT", "state" },

[COCO_S_COMMANDS_ACK] = {
    "update coco.robot_command c set acked_at = u.at"
    " from unnest($1::uuid[], $2::text[], $3::timestamptz[])"
    " u (id, serial, at)"
    " where c.id = u.id and c.serial = u.serial and c.acked_at is null",
    "utT", "state" },

/* What was OPENED stays so. A row for each channel that waits for it. Nothing
 * is left to do when the time of a request over HTTP is over. */
[COCO_S_COMMANDS_END] = {
    "with c as (update coco.robot_command c set outcome = u.outcome,"
    "  reason = u.reason, cycle_id = u.cycle_id, done_at = now(),"
    "  acked_at = case when u.outcome = 'EXPIRED' then c.acked_at"
    "   else coalesce(c.acked_at, now()) end"
    "  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[])"
    "  u (id, serial, outcome, reason, cycle_id)"
    "  where c.id = u.id and c.serial = u.serial and (c.outcome is null"
    "   or (u.outcome = 'OPENED' and c.outcome <> 'OPENED'))"
    "  returning c.id, c.reply_to),"
    " t as (delete from coco.robot_task t using c"
    "  where t.id = coco.id_derive('EXPIRY ' || c.id))"
    " select c.id, channel from c"
    " left join lateral unnest(c.reply_to) channel on true",
    "utttu", "state" },

[COCO_S_LID_ANOMALIES] = {
    "insert into coco.anomaly (id, kind, serial, ts, reason, cycle_id)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[],"
    " $4::timestamptz[], $5::text[], $6::uuid[])"
    " on conflict do nothing",
    "uttTtu", "state" },

[COCO_S_TASKS_DONE] = {
    "delete from coco.robot_task where id = any ($1::uuid[])",
    "u", "state" },

[COCO_S_TASKS_PUT] = {
    "with p as (insert into coco.robot_task as t (id, serial, kind, due_at,"
    "  data) select * from unnest($1::uuid[], $2::text[], $3::text[],"
    "  $4::timestamptz[], $5::jsonb[])"
    "  on conflict (id) do update set due_at = excluded.due_at,"
    "  data = excluded.data"
    "  where (t.due_at, t.data) is distinct from"
    "   (excluded.due_at, excluded.data) returning 1)"
    " select pg_notify('coco_task', '') from p limit 1",
    "uttTj", "state" },

/* As the requests of HTTP: what has come is kept for a day. */
[COCO_S_DELIVERY_ONCE] = {
    "insert into coco.idempotency_key (caller, route, key, body_hash, status,"
    " response)"
    " select 'bus', 'deliveries', id::text, '', 200, ''"
    " from unnest($1::uuid[]) id order by id"
    " on conflict do nothing returning key::uuid",
    "u", "deliveries" },

/* The active ones of the robots, and those that are named. */
[COCO_S_DELIVERY_LOCK] = {
    "select d.id, d.status, d.serial, d.created_at, d.loaded_cycle,"
    " d.early_close_at, d.loaded_at, d.arrived_at"
    " from coco.delivery d where d.id in ("
    "  select a.id from unnest($1::text[]) s (serial)"
    "  cross join lateral (select id from coco.delivery d"
    "   where d.serial = s.serial"
    "   and d.status not in ('Completed', 'Canceled') offset 0) a"
    "  union select unnest($2::uuid[]))"
    " order by d.id for update",
    "tu", "deliveries" },

[COCO_S_DELIVERY_ROBOTS] = {
    "select from coco.robot_operation where serial = any ($1::text[])"
    " order by serial collate \"C\" for update",
    "t", "deliveries" },

[COCO_S_DELIVERY_FLEET] = {
    "select coco.delivery_fleet_lock($1::uuid[])",
    "u", "deliveries" },

[COCO_S_DELIVERY_APPLY] = {
    "select coco.delivery_apply(id, previous, status, at, cycle, early)"
    " from (select * from unnest($1::uuid[], $2::text[], $3::text[],"
    "  $4::timestamptz[], $5::uuid[], $6::timestamptz[]) with ordinality"
    "  u (id, previous, status, at, cycle, early, n) order by n offset 0) u",
    "uttTuT", "deliveries" },

[COCO_S_DELIVERY_ANOMALIES] = {
    "insert into coco.anomaly (id, kind, serial, ts, reason, cycle_id,"
    " candidates)"
    " select id, kind, serial, ts, reason, cycle_id, candidates::uuid[]"
    " from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[],"
    " $5::text[], $6::uuid[], $7::text[])"
    " u (id, kind, serial, ts, reason, cycle_id, candidates)"
    " order by id on conflict do nothing",
    "uttTtut", "deliveries" },

/* As whoever ends pushes to partners does. */
[COCO_S_ORDERS_LOCK] = {
    "select from coco.delivery d where d.id in (select r.id"
    " from unnest($1::text[], $2::text[], $3::text[])"
    " u (provider, external_id, vehicle)"
    " cross join lateral (select id from coco.delivery d"
    "  where d.provider = u.provider and d.external_id = u.external_id"
    "  offset 0) r) order by d.id for update",
    "ttt", "integrations" },

[COCO_S_ORDERS_FLEET] = {
    "select from coco.fleet_robot f where f.serial in (" COCO_ORDERS_ROBOTS
    ") order by f.serial collate \"C\" for update",
    "ttt", "integrations" },

/* Rows that are missing are made here: whoever makes one locks it. */
[COCO_S_ORDERS_SUPPLY] = {
    "select coco.supply_lock(serial) is null from (select distinct"
    " serial collate \"C\" as serial from (" COCO_ORDERS_ROBOTS ") r"
    " order by 1 offset 0) r",
    "ttt", "integrations" },

/* Each sees what those before it have done: the function is volatile. */
[COCO_S_ORDERS_APPLY] = {
    "select coco.order_apply(o, ($2::jsonb[])[1], ($3::jsonb[])[1])"
    " from (select o from unnest($1::jsonb[]) with ordinality u (o, n)"
    "  order by n offset 0) u",
    "jjj", "integrations" },

/* Whose deliveries they are now, also when nothing has changed: who applied
 * them before may have been killed before it told of it. */
[COCO_S_ORDERS_ROBOTS] = {
    "select distinct r.serial from unnest($1::text[], $2::text[], $3::text[])"
    " u (provider, external_id, vehicle)"
    " cross join lateral (select serial from coco.delivery d"
    "  where d.provider = u.provider and d.external_id = u.external_id"
    "  offset 0) r where r.serial is not null",
    "ttt", "integrations" },

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

[COCO_S_SUPPLY_SEED] = {
    "insert into coco.resource (id, data)"
    " select s, coco.supply_blank(s) from unnest($1::text[]) s"
    " on conflict do nothing",
    "t", "dispatch" },

/* What its telemetry stands at is for those that publish what changes. */
[COCO_S_SUPPLY_LOCK] = {
    "select id, telemetry_id, telemetry_order_ts, telemetry_ts,"
    " data ->> 'status' = 'ONLINE', (data ->> 'battery')::float8,"
    " (data ->> 'healthy')::bool, (data #>> '{location,latitude}')::float8,"
    " (data #>> '{location,longitude}')::float8"
    " from coco.resource where id = any ($1::text[])"
    " order by id collate \"C\" for update",
    "t", "dispatch" },

/* Runs for every heartbeat of the fleet. data is the telemetry alone: a row
 * that is new is made whole by the table. Touches no column that is indexed,
 * so that the row stays in its page. */
[COCO_S_SUPPLY_TELEMETRY] = {
    "insert into coco.resource as r (id, data, telemetry_id, telemetry_ts,"
    " telemetry_order_ts, lid_open, lid_at)"
    " select id, data::jsonb, telemetry_id, ts, order_ts, lid_open, lid_at"
    " from unnest($1::text[], $2::text[], $3::uuid[], $4::timestamptz[],"
    " $5::timestamptz[], $6::bool[], $7::timestamptz[])"
    " u (id, data, telemetry_id, ts, order_ts, lid_open, lid_at)"
    " on conflict (id) do update set data = r.data || excluded.data,"
    " telemetry_id = excluded.telemetry_id,"
    " telemetry_ts = excluded.telemetry_ts,"
    " telemetry_order_ts = excluded.telemetry_order_ts,"
    COCO_SUPPLY_LID_UPDATE
    " where r.telemetry_order_ts is null"
    " or (excluded.telemetry_order_ts, excluded.telemetry_ts,"
    "   excluded.telemetry_id)"
    "  > (r.telemetry_order_ts, r.telemetry_ts, r.telemetry_id)",
    "ttuTTbT", "dispatch" },

[COCO_S_SUPPLY_LID] = {
    "insert into coco.resource as r (id, data, lid_open, lid_at)"
    " select id, '{}', open, at"
    " from unnest($1::text[], $2::bool[], $3::timestamptz[]) u (id, open, at)"
    " on conflict (id) do update set" COCO_SUPPLY_LID_UPDATE
    " where r.lid_at is null"
    " or (excluded.lid_at, excluded.lid_open) > (r.lid_at, r.lid_open)",
    "tbT", "dispatch" },

/* Of rows that are locked. */
[COCO_S_SUPPLY_BUSINESS] = {
    "select coco.supply_put(u.id, u.data, u.at)"
    " from unnest($1::text[], $2::jsonb[], $3::timestamptz[])"
    " u (id, data, at) join coco.resource r on r.id = u.id"
    " where r.business_changed_at is null or r.business_changed_at < u.at",
    "tjT", "dispatch" },

[COCO_S_SUPPLY_CHANGED] = {
    "update coco.resource r set business_changed_at = u.at,"
    " change_txid = pg_current_xact_id()"
    " from unnest($1::text[], $2::timestamptz[]) u (id, at)"
    " where r.id = u.id"
    " and (r.business_changed_at is null or r.business_changed_at < u.at)",
    "tT", "dispatch" },

/* Those of a heartbeat say where it stands among others. */
[COCO_S_OUTBOX] = {
    "insert into coco.outbox (id, name, serial, payload, cause_id, cause_ts)"
    " select * from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[],"
    " $5::uuid[], $6::timestamptz[])"
    " on conflict do nothing",
    "uttjuT", "state" },

/* The reason names the field.  The same again opens the letter again. */
[COCO_S_DEAD_LETTERS] = {
    "insert into coco.dead_letter (id, source, service, topic, field, reason,"
    " payload, received_at, cause_id, cause_ts)"
    " select id, source, service, topic, field,"
    " concat_ws(': ', nullif(field, ''), reason), payload, received_at,"
    " cause_id, cause_ts"
    " from unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::text[], $7::bytea[], $8::timestamptz[], $9::uuid[],"
    " $10::timestamptz[])"
    " u (id, source, service, topic, field, reason, payload, received_at,"
    " cause_id, cause_ts)"
    " on conflict (id) do update set service = excluded.service,"
    " field = excluded.field, reason = excluded.reason,"
    " received_at = excluded.received_at, replayed_at = null,"
    " replay_outcome = null",
    "utttttxTuT", "dead letters" },

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
