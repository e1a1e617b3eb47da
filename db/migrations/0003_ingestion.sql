-- Ingestion: DriveU's statuses, webhooks, and events that leave by a bus.


-- Dispatch and Fleet.  Which of our robots a provider means by its vehicle.
create table coco.external_robot_mapping (
    provider             text        not null,
    provider_vehicle_id  text        not null,
    serial               text        not null,
    created_at           timestamptz not null default now(),
    primary key (provider, provider_vehicle_id)
);

create index external_robot_mapping_serial
    on coco.external_robot_mapping (serial);


-- State service.  The newest status of each unit of a robot's teleoperation.
-- Newer is the larger order_time = least(time, received_at), ties by time,
-- then by id; time is DriveU's, in microseconds, and received_at in
-- milliseconds: what is meant is the end of it.
create table coco.driveu_status (
    serial       text        not null,
    unit         text        not null,
    status       text        not null,
    uuid         text        not null,
    vin          text,
    time         timestamptz not null,
    received_at  timestamptz not null,
    order_time   timestamptz not null,
    id           uuid        not null,
    primary key (serial, unit)
) with (fillfactor = 70);


-- Webhooks that were answered: nginx writes them, the worker applies them.
-- id is derived from the provider and its event's id.  waiting_for is the
-- vehicle that no mapping knows yet; outcome is APPLIED or REFUSED (then
-- there is a dead letter).
create table coco.webhook_inbox (
    id           uuid        primary key,
    seq          bigint      generated always as identity,
    provider     text        not null,
    event_id     text        not null,
    payload      jsonb       not null,
    received_at  timestamptz not null,
    waiting_for  text,
    done_at      timestamptz,
    outcome      text
);

create index webhook_inbox_pending on coco.webhook_inbox (seq)
    where done_at is null and waiting_for is null;
create index webhook_inbox_waiting on coco.webhook_inbox (provider, waiting_for)
    where waiting_for is not null;
create index webhook_inbox_done on coco.webhook_inbox (done_at)
    where done_at is not null;


-- The relay: which shard a row belongs to, where its cause stands among
-- others of the robot (null: no heartbeat caused it), and when every bus had
-- confirmed it.
alter table coco.outbox
    add column shard      smallint generated always as
                          ((hashtext(serial) & 15)::smallint) stored,
    add column cause_id   uuid,
    add column cause_ts   timestamptz,
    add column relayed_at timestamptz;

create index outbox_unrelayed on coco.outbox (shard, seq)
    where relayed_at is null;
create index outbox_created on coco.outbox (created_at);


-- What the bus carries beside the envelope of an event, for its replay.
alter table coco.dead_letter
    add column cause_id uuid,
    add column cause_ts timestamptz;


-- What a robot's teleoperation is, one row for every serial: the document
-- that the HTTP replies show as driveu (a member per unit, null without any),
-- whether the robot can be driven remotely, and when the newest was learnt.
-- CONTRACT: the streamer's latest status is online or connectedToNode, and
-- neither its node nor its relay was last reported offline.  The rule is that
-- of coco_remotely_controllable() in the core; a suite compares the two.
-- ts is cut to milliseconds, as in the core: coco.to_ms() alone would round.
-- One query, so that the planner takes it into those that join it.
create function coco.driveu(p_serial text)
returns table (document text, controllable boolean, received_at timestamptz)
language sql stable parallel safe as $$
    select '{' || string_agg(
               '"' || s.unit || '":{"status":' || to_json(s.status)
                   || ',"ts":'
                   || coco.to_ms(date_trunc('milliseconds', s.time))
                   || case when s.order_time < s.time then ',"receivedAt":'
                      || coco.to_ms(date_trunc('milliseconds', s.order_time))
                      else '' end
                   || ',"uuid":' || to_json(s.uuid) || '}', ','
               order by array_position(array['streamer', 'node', 'relay'],
                                       s.unit)) || '}',
           coalesce(bool_or(s.unit = 'streamer'
                            and s.status in ('online', 'connectedToNode'))
                    and not bool_or(s.unit in ('node', 'relay')
                                    and s.status = 'offline'), false),
           max(s.received_at)
      from coco.driveu_status s where s.serial = p_serial
$$;


create function coco.remotely_controllable(p_serial text)
returns boolean language sql stable parallel safe as $$
    select controllable from coco.driveu(p_serial)
$$;


create function coco.driveu_document(p_serial text)
returns text language sql stable parallel safe as $$
    select document from coco.driveu(p_serial)
$$;


-- Stores webhooks, those that were stored before left out.  p_webhooks is an
-- array of {"id","provider","eventId","receivedAt","payload"}; receivedAt in
-- milliseconds.  The notification only wakes.
create function coco.webhook_store(p_webhooks jsonb)
returns integer language plpgsql as $$
declare
    stored integer;
begin
    insert into coco.webhook_inbox (id, provider, event_id, received_at,
                                    payload)
    select (w ->> 'id')::uuid, w ->> 'provider', w ->> 'eventId',
           coco.from_ms((w ->> 'receivedAt')::bigint), w -> 'payload'
      from jsonb_array_elements(p_webhooks) w
     order by 1
    on conflict do nothing;

    get diagnostics stored = row_count;

    if stored > 0 then
        perform pg_notify('coco_inbox', '');
    end if;

    return stored;
end $$;


-- A mapping releases the webhooks that waited for it.
create function coco.webhook_release()
returns trigger language plpgsql as $$
begin
    update coco.webhook_inbox w set waiting_for = null
     where w.provider = new.provider
       and w.waiting_for = new.provider_vehicle_id;

    if found then
        perform pg_notify('coco_inbox', '');
    end if;

    return null;
end $$;

create trigger external_robot_mapping_release
    after insert or update on coco.external_robot_mapping
    for each row execute function coco.webhook_release();
