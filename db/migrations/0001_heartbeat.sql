-- The heartbeat path: what the state, operations and fleet services keep.
-- Forward only.  Who writes which table is said above each.

-- State service.  Every heartbeat once.  date is the heartbeat's own ts;
-- details is the payload less serial, ts and state, plus the enrichment.
create table coco.state_history (
    serial       text        not null,
    date         timestamptz not null,
    id           uuid        not null,
    received_at  timestamptz not null,
    state        text        not null,
    details      jsonb       not null,
    primary key (serial, date, id)
) partition by range (date);

-- State service.  What came when the partition of its day was already gone.
create table coco.state_history_late (
    like coco.state_history,
    primary key (serial, date, id)
);

-- State service.  The newest heartbeat of each robot, by
-- order_ts = least(ts, received_at), ties by ts, then by id.
create table coco.robot_state (
    serial       text        primary key,
    id           uuid        not null,
    state        text        not null,
    ts           timestamptz not null,
    received_at  timestamptz not null,
    order_ts     timestamptz not null,
    details      jsonb       not null
) with (fillfactor = 50);

-- State service.  Every robot event once, whatever its type.  id is derived
-- from the robot's own event id, else from (serial, type, ts).  PINs are
-- never stored here.
create table coco.lid_cycle_event_history (
    id           uuid        primary key,
    event_id     text,
    serial       text        not null,
    type         text        not null,
    ts           timestamptz not null,
    received_at  timestamptz not null,
    trigger      text,
    lid_opened   boolean,
    command_id   text,
    reason       text,
    details      jsonb
);

create index lid_cycle_event_history_serial_ts
    on coco.lid_cycle_event_history (serial, ts desc, id desc);

-- Operations service.  The business state of each robot.  A null flag was
-- never set.  changed_at ascends for each robot; state_id, state_ts and
-- state_order_ts are the place of the heartbeat whose change of state was applied last, which
-- a change made over HTTP leaves alone.
create table coco.robot_operation (
    serial                 text        primary key,
    operation_state        text        not null,
    needs_movement         boolean,
    undergoing_maintenance boolean,
    needs_maintenance      boolean,
    needs_pickup           boolean,
    has_food               boolean,
    driveable              boolean,
    deployed               jsonb,
    changed_at             timestamptz not null,
    state_id               uuid,
    state_ts               timestamptz,
    state_order_ts         timestamptz
) with (fillfactor = 70);

-- Operations service.  One row for each change of the business state.
create table coco.robot_state_history (
    id                     uuid        primary key,
    robot_serial           text        not null,
    operation_state        text        not null,
    needs_movement         boolean,
    undergoing_maintenance boolean,
    needs_maintenance      boolean,
    needs_pickup           boolean,
    has_food               boolean,
    driveable              boolean,
    deployed               jsonb,
    changed_at             timestamptz not null
);

create index robot_state_history_serial_changed
    on coco.robot_state_history (robot_serial, changed_at desc, id desc);

-- Fleet service.  Telemetry fields are written from heartbeats only,
-- business fields from Robots.BusinessStateChange only.
create table coco.fleet_robot (
    id                     uuid        primary key default gen_random_uuid(),
    serial                 text        not null unique,

    telemetry_id           uuid,
    telemetry_ts           timestamptz,
    telemetry_order_ts     timestamptz,
    healthy                boolean,
    latitude               double precision,
    longitude              double precision,
    heading                double precision,
    speed                  double precision,
    battery_percent        double precision,
    charging               boolean,

    operational_state      text,
    needs_movement         boolean,
    undergoing_maintenance boolean,
    needs_maintenance      boolean,
    needs_pickup           boolean,
    has_food               boolean,
    driveable              boolean,
    deployed               jsonb,
    business_changed_at    timestamptz
) with (fillfactor = 50);

-- Events about stored state, written by the transaction that changed it.
-- id is derived from the cause; seq gives the order per serial.
create table coco.outbox (
    seq          bigint      generated always as identity primary key,
    id           uuid        not null unique,
    name         text        not null,
    serial       text        not null,
    payload      jsonb       not null,
    created_at   timestamptz not null default now()
);

-- What a service refused, whole.  A replay is asked for by replayed_at with
-- replay_outcome null; the worker then writes the outcome: APPLIED | REFUSED.
create table coco.dead_letter (
    id             uuid        primary key,
    source         text        not null,
    service        text        not null,
    topic          text        not null,
    field          text,
    reason         text        not null,
    payload        bytea       not null,
    received_at    timestamptz not null,
    replayed_at    timestamptz,
    replay_outcome text
);

create index dead_letter_received on coco.dead_letter (received_at desc, id desc);
create index dead_letter_replay on coco.dead_letter (replayed_at)
    where replayed_at is not null and replay_outcome is null;

-- Answers given under an Idempotency-Key, 24 hours.
create table coco.idempotency_key (
    caller       text        not null,
    route        text        not null,
    key          text        not null,
    body_hash    bytea       not null,
    status       integer     not null,
    response     text        not null,
    created_at   timestamptz not null default now(),
    primary key (caller, route, key)
);


-- Makes the partition of one UTC day, if absent.
create function coco.state_history_partition_create(day date)
returns void language plpgsql as $$
declare
    name  text := 'state_history_' || to_char(day, 'YYYYMMDD');
    lower timestamptz := day::timestamp at time zone 'UTC';
begin
    perform pg_advisory_xact_lock(hashtext('coco.state_history_partition'));
    if to_regclass('coco.' || quote_ident(name)) is null then
        execute format(
            'create table coco.%I partition of coco.state_history '
            'for values from (%L) to (%L)',
            name, lower, lower + interval '1 day');
    end if;
end $$;


-- Makes the partitions of today and of the days ahead, drops those that end
-- before the retention.  Returns how many it dropped.
create function coco.state_history_partition_maintain(ahead integer,
                                                      retention interval)
returns integer language plpgsql as $$
declare
    today    date := (now() at time zone 'UTC')::date;
    oldest   date := ((now() - retention) at time zone 'UTC')::date;
    dropped  integer := 0;
    child    text;
begin
    for i in 0 .. ahead loop
        perform coco.state_history_partition_create(today + i);
    end loop;

    for child in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'coco.state_history'::regclass
          and c.relname ~ '^state_history_[0-9]{8}$'
          and to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
        order by c.relname
    loop
        execute format('drop table coco.%I', child);
        dropped := dropped + 1;
    end loop;

    return dropped;
end $$;


do $$
begin
    for i in -2 .. 7 loop
        perform coco.state_history_partition_create(
            (now() at time zone 'UTC')::date + i);
    end loop;
end $$;
