-- Lids and deliveries: the custody chain, commands to robots, and what is due.


-- State service.  What an event of a lid is told by beside the robot: requests
-- (LID_OPEN_REQUEST, LID_OPEN_REFUSED, LID_OPEN_TIMEOUT) are rows of ours,
-- with our clock as ts; what two heartbeats have shown is LID_OPENED or
-- LID_CLOSED with source RESYNC.  order_at is the place among the events of
-- the robot.  wait_until: a close waits until then for its open.
alter table coco.lid_cycle_event_history
    add column source        text,
    add column reference_id  text,
    add column wait_until    timestamptz,
    add column order_at      timestamptz generated always as
                             (least(ts, received_at)) stored;

create index lid_cycle_event_history_serial_order
    on coco.lid_cycle_event_history (serial, order_at, id);


-- State service.  A cycle is what lies between two closes of a lid.  state is
-- LID_CYCLE_INIT or LID_CYCLE_COMPLETE; source QR, MAGIC_LID, PINLESS, PIN,
-- OPERATOR, RESYNC or null (nobody knows).  opened_at or closed_at is null
-- when that movement was never reported; reason says why a complete one has
-- none: NEVER_CLOSED, CLOSE_WITHOUT_OPEN.  open_event and close_event are
-- rows of the history.  Which events were published is kept, so that what
-- comes late publishes nothing again.
create table coco.lid_cycle (
    id               uuid        primary key,
    serial           text        not null,
    state            text        not null,
    source           text,
    reference_id     text,
    trigger          text,
    command_id       uuid,
    opened_at        timestamptz,
    closed_at        timestamptz,
    reason           text,
    open_event       uuid,
    close_event      uuid,
    open_published   boolean     not null default false,
    close_published  boolean     not null default false,
    order_at         timestamptz generated always as
                     (coalesce(opened_at, closed_at)) stored,
    updated_at       timestamptz not null default now()
);

create index lid_cycle_serial_order on coco.lid_cycle (serial, order_at desc);


-- State service.  One row for each robot whose lid was ever heard of: the lock
-- under which its events are applied, and what its heartbeats are compared
-- with.  is_open null: not known.  The suspect is the first of two heartbeats
-- in a row that contradict.
create table coco.lid_robot (
    serial       text        primary key,
    is_open      boolean,
    changed_at   timestamptz,
    suspect_id   uuid,
    suspect_at   timestamptz
) with (fillfactor = 70);


-- Commands to robots, and what came of them.  outcome: OPENED, FAILED or
-- EXPIRED.  reply_to are the Redis channels of the nginx processes that wait.
-- A command is sent again until it is acknowledged or has expired.
create table coco.robot_command (
    id            uuid        primary key,
    serial        text        not null,
    command       text        not null,
    source        text,
    reference_id  text,
    caller        text,
    issued_at     timestamptz not null,
    expires_at    timestamptz not null,
    reply_to      text[]      not null default '{}',
    attempts      integer     not null default 0,
    next_send_at  timestamptz not null,
    sent_at       timestamptz,
    acked_at      timestamptz,
    outcome       text,
    reason        text,
    cycle_id      uuid,
    done_at       timestamptz
) with (fillfactor = 70);

create index robot_command_pending on coco.robot_command (next_send_at)
    where acked_at is null and outcome is null;
create index robot_command_serial on coco.robot_command (serial, issued_at desc);
create index robot_command_issued on coco.robot_command (issued_at);


-- What a robot's shadow is to hold; it was published up to sent_version.
create table coco.robot_shadow (
    serial        text        primary key,
    pin           text,
    version       bigint      not null default 1,
    sent_version  bigint      not null default 0,
    next_send_at  timestamptz not null default now()
);

create index robot_shadow_pending on coco.robot_shadow (next_send_at)
    where sent_version < version;


-- What is to be done for a robot at a time: rows of our own for the events
-- lane, deleted by the transaction that applies them.  kind:
--   LID      {"from"}: look at the lid again, from that time (ms) on: a close
--            has waited, a cycle expires
--   SEEN     {"id","open","ts"}: a heartbeat contradicts the lid, or agrees
--            with it again while there is a suspect
--   EXPIRY   {"command"}: the time of a command is over
--   ARRIVAL  {"id","delivery","at","ts"}: a heartbeat was at the target
create table coco.robot_task (
    id       uuid        primary key,
    seq      bigint      generated always as identity,
    serial   text        not null,
    kind     text        not null,
    due_at   timestamptz not null,
    data     jsonb
);

create index robot_task_due on coco.robot_task (due_at, seq);


-- Deliveries service.  How a store loads; null: as the delivery says.
create table coco.integration (
    provider      text        not null,
    store         text        not null,
    loading_flow  text        check (loading_flow in
                              ('QR', 'MAGIC_LID', 'PIN', 'PINLESS')),
    pin           text        check (pin ~ '^[0-9]{4}$'),
    primary key (provider, store)
);


-- Deliveries service.  serial is the driver of the attempt under way.
-- changes counts delivery_event.  loaded_cycle is the cycle that loaded it, by
-- its close at loaded_at; arrived_at the time of the heartbeat that brought it
-- where it is, null when none did; early_close_at a close that came on the way
-- to the drop-off: the arrival may be on its way still.  These three times are
-- the robot's.
create table coco.delivery (
    id                 uuid        primary key default gen_random_uuid(),
    provider           text,
    external_id        text,
    store              text,
    status             text        not null,
    serial             text,
    loading_flow       text,
    pin                text,
    pickup_latitude    double precision not null,
    pickup_longitude   double precision not null,
    pickup_address     text,
    dropoff_latitude   double precision not null,
    dropoff_longitude  double precision not null,
    dropoff_address    text,
    ready_at           timestamptz,
    cancel_reason      text,
    changes            integer     not null default 0,
    loaded_cycle       uuid,
    loaded_at          timestamptz,
    arrived_at         timestamptz,
    early_close_at     timestamptz,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,
    unique (provider, external_id)
) with (fillfactor = 70);

create index delivery_created on coco.delivery (created_at desc, id desc);
create index delivery_active on coco.delivery (serial, created_at desc)
    where serial is not null and status not in ('Completed', 'Canceled');


create table coco.delivery_attempt (
    delivery_id          uuid        not null references coco.delivery,
    number               integer     not null,
    driver_name          text        not null,
    assigned_at          timestamptz not null,
    ended_at             timestamptz,
    cancellation_reason  text,
    primary key (delivery_id, number)
);


-- One row for each change; id is that of its Deliveries.DeliveryEvent.
create table coco.delivery_event (
    delivery_id      uuid        not null references coco.delivery,
    number           integer     not null,
    id               uuid        not null,
    status           text        not null,
    previous_status  text,
    serial           text,
    ts               timestamptz not null,
    reason           text,
    primary key (delivery_id, number)
);


-- What somebody should look at.  id is derived from the cause.
create table coco.anomaly (
    id          uuid        primary key,
    kind        text        not null,
    serial      text        not null,
    ts          timestamptz not null,
    reason      text        not null,
    candidates  uuid[]      not null default '{}',
    cycle_id    uuid,
    created_at  timestamptz not null default now()
);

create index anomaly_ts on coco.anomaly (ts desc, id desc);
create index anomaly_serial on coco.anomaly (serial, ts desc, id desc);
create index anomaly_kind on coco.anomaly (kind, ts desc, id desc);


-- An id of the form that the core derives (version 8 of RFC 9562), of text.  One
-- expression, so that it becomes part of the statement that calls it.
create function coco.id_derive(p_cause text)
returns uuid language sql immutable parallel safe as $$
    select encode(set_byte(set_byte(
               substr(sha256(convert_to(p_cause, 'UTF8')), 1, 16),
               6, (get_byte(sha256(convert_to(p_cause, 'UTF8')), 6) & 15)
                  | 128),
               8, (get_byte(sha256(convert_to(p_cause, 'UTF8')), 8) & 63)
                  | 128), 'hex')::uuid
$$;


-- Has something done for a robot; the notification only wakes, and what is due
-- later is found without: transactions that notify commit one by one.
create function coco.robot_task_put(p_id uuid, p_serial text, p_kind text,
                                    p_due_at timestamptz, p_data jsonb)
returns void language plpgsql as $$
begin
    insert into coco.robot_task as t (id, serial, kind, due_at, data)
    values (p_id, p_serial, p_kind, p_due_at, p_data)
    on conflict (id) do update set due_at = excluded.due_at,
                                   data = excluded.data;

    if p_due_at < clock_timestamp() + interval '1 second' then
        perform pg_notify('coco_task', '');
    end if;
end $$;
