-- Partners and cities: orders by webhook, statuses pushed, and what MDS shows.


-- --- orders -----------------------------------------------------------------

-- Partners' webhooks are so large that they are compressed: with lz4, where
-- Postgres was built with it, one takes a fifth less of its time to store.
do $$ begin
    alter table coco.webhook_inbox alter column payload set compression lz4;
exception when feature_not_supported then
    null;
end $$;


-- Where an order was to go that was canceled before it was placed, nobody may
-- have said.  order_at is the partner's time of what an order says of itself;
-- null: no webhook has placed it.
alter table coco.delivery
    alter column pickup_latitude drop not null,
    alter column pickup_longitude drop not null,
    alter column dropoff_latitude drop not null,
    alter column dropoff_longitude drop not null,
    add column order_at timestamptz,
    add constraint delivery_places check (
        status = 'Canceled'
        or (pickup_latitude is not null and pickup_longitude is not null
            and dropoff_latitude is not null
            and dropoff_longitude is not null));


-- As it was; the places follow, too.
create or replace function coco.demand_follow(d coco.delivery)
returns void language plpgsql as $$
begin
    if d.status in ('Completed', 'Canceled') then
        delete from coco.demand where id = d.id;
        return;
    end if;

    insert into coco.demand as m
           (id, delivery_id, type, serial, pickup_latitude, pickup_longitude,
            dropoff_latitude, dropoff_longitude, ready_at, created_at,
            updated_at)
    values (d.id, d.id,
            case when d.status in ('Created', 'Assigned')
                 then coco.demand_waits(d.ready_at) else 'ACTIVE' end,
            d.serial, d.pickup_latitude, d.pickup_longitude,
            d.dropoff_latitude, d.dropoff_longitude, d.ready_at, d.created_at,
            d.updated_at)
    on conflict (id) do update
       set type = excluded.type,
           serial = excluded.serial,
           pickup_latitude = excluded.pickup_latitude,
           pickup_longitude = excluded.pickup_longitude,
           dropoff_latitude = excluded.dropoff_latitude,
           dropoff_longitude = excluded.dropoff_longitude,
           ready_at = excluded.ready_at,
           updated_at = excluded.updated_at;
end $$;


-- The newest webhook that places an order says all there is to say of it; one
-- that cancels is heard only while none has placed it.  Of two of the same time
-- it is the larger that counts: whichever came first, the record is the same.
-- The pickup is no longer changed once a robot was there, the drop-off once one
-- was there or the order is over, for robots go by them; a cancellation counts
-- as where it found the order.  What was made otherwise keeps what the webhook
-- is silent about.
create function coco.order_merge(d coco.delivery, p_order jsonb)
returns coco.delivery language plpgsql as $$
declare
    said  coco.delivery := d;
    stood text := d.status;
    ours  boolean := d.order_at is null
                     and (d.status <> 'Canceled' or d.changes > 1);
begin
    said.order_at := case p_order ->> 'action' when 'PLACE'
                     then coco.from_ms((p_order ->> 'orderAt')::bigint) end;

    if said.order_at is null and (ours or d.order_at is not null)
       or said.order_at < d.order_at
    then
        return d;
    end if;

    if d.status = 'Canceled' then
        select coalesce(e.previous_status, 'Created') into stood
          from coco.delivery_event e
         where e.delivery_id = d.id and e.number = d.changes;
    end if;

    if stood in ('Created', 'Assigned', 'EnrouteToPickup') then
        said.store := coalesce(p_order ->> 'store',
                               case when ours then d.store end);
        said.pickup_latitude :=
            (p_order #>> '{pickup,latitude}')::double precision;
        said.pickup_longitude :=
            (p_order #>> '{pickup,longitude}')::double precision;
        said.pickup_address := coalesce(p_order #>> '{pickup,address}',
                                        case when ours
                                             then d.pickup_address end);
        said.ready_at := coalesce(coco.from_ms(
                                      (p_order ->> 'readyAt')::bigint),
                                  case when ours then d.ready_at end);
    end if;

    if stood not in ('AtDropoff', 'Completed') then
        said.dropoff_latitude :=
            (p_order #>> '{dropoff,latitude}')::double precision;
        said.dropoff_longitude :=
            (p_order #>> '{dropoff,longitude}')::double precision;
        said.dropoff_address := coalesce(p_order #>> '{dropoff,address}',
                                         case when ours
                                              then d.dropoff_address end);
    end if;

    if said.store is distinct from d.store and not ours then
        select l.loading_flow, l.pin into said.loading_flow, said.pin
          from coco.order_loading(d.provider, said.store) l;
    end if;

    if said.order_at is not distinct from d.order_at
       and to_jsonb(said) <= to_jsonb(d)
    then
        return d;
    end if;

    return said;
end $$;


-- How orders of a store are loaded.
create function coco.order_loading(p_provider text, p_store text,
                                   out loading_flow text, out pin text)
language sql stable as $$
    select coalesce(i.loading_flow,
                    case p_provider when 'uber' then 'MAGIC_LID' end), i.pin
      from (select) one
      left join coco.integration i
             on i.provider = p_provider and i.store = p_store
$$;


-- The delivery of an order, made if there is none, locked.
create function coco.order_delivery(p_order jsonb, out d coco.delivery,
                                    out made boolean)
language plpgsql as $$
declare
    cancels boolean := p_order ->> 'action' = 'CANCEL';
    at      timestamptz := date_trunc('milliseconds', clock_timestamp());
begin
    insert into coco.delivery as n
           (provider, external_id, store, status, loading_flow, pin,
            pickup_latitude, pickup_longitude, pickup_address,
            dropoff_latitude, dropoff_longitude, dropoff_address, ready_at,
            cancel_reason, order_at, changes, created_at, updated_at)
    select p_order ->> 'provider', p_order ->> 'externalId',
           p_order ->> 'store',
           case when cancels then 'Canceled' else 'Created' end,
           l.loading_flow, l.pin,
           (p_order #>> '{pickup,latitude}')::double precision,
           (p_order #>> '{pickup,longitude}')::double precision,
           p_order #>> '{pickup,address}',
           (p_order #>> '{dropoff,latitude}')::double precision,
           (p_order #>> '{dropoff,longitude}')::double precision,
           p_order #>> '{dropoff,address}',
           coco.from_ms((p_order ->> 'readyAt')::bigint),
           case when cancels then p_order ->> 'reason' end,
           case when not cancels
                then coco.from_ms((p_order ->> 'orderAt')::bigint) end,
           1, at, at
      from coco.order_loading(p_order ->> 'provider', p_order ->> 'store') l
    on conflict (provider, external_id) do nothing
    returning n.* into d;

    made := found;

    if not made then
        select * into d from coco.delivery o
         where o.provider = p_order ->> 'provider'
           and o.external_id = p_order ->> 'externalId' for update;
    end if;
end $$;


-- Moves a delivery by a row of the machine (coco_delivery_moves_encode()), if
-- that is allowed from where it is; returns it as it is then.
create function coco.order_move(old coco.delivery, p_moves jsonb,
                                p_serial text, p_reason text)
returns coco.delivery language plpgsql as $$
declare
    move jsonb := p_moves -> old.status;
    new  coco.delivery := old;
begin
    if not (move -> 'allowed')::boolean then
        return old;
    end if;

    new.status := move ->> 'to';
    new.serial := coalesce(p_serial, old.serial);
    new.cancel_reason := p_reason;
    new.arrived_at := null;

    if new is distinct from old then
        perform coco.delivery_fleet_lock(array[old.id]);
        new := coco.delivery_set(old, new, clock_timestamp(), p_reason);
    end if;

    return new;
end $$;


-- What a partner's webhook asks for.  p_order is coco_order_encode()'s:
--   {"action":"PLACE"|"CANCEL","provider","externalId","orderAt"(ms),
--    "store"?,"vehicle"?,"pickup":{"latitude","longitude","address"?},
--    "dropoff":{…},"readyAt"?(ms),"reason"?}
-- CANCEL may lack the places, and has a reason.  p_cancels and p_assigns are
-- the machine's moves for these events.  Webhooks come in any order and more
-- than once; the delivery is the same in the end.  The vehicle's robot, if the
-- mappings know it, is given an order that has none.  Returns what was done:
-- CREATED, CHANGED, CANCELED, NOTHING.
create function coco.order_apply(p_order jsonb, p_cancels jsonb,
                                 p_assigns jsonb)
returns text language plpgsql as $$
declare
    found_or_made record;
    old   coco.delivery;
    new   coco.delivery;
    robot text;
    done  text := 'NOTHING';
begin
    select o.d, o.made into found_or_made from coco.order_delivery(p_order) o;
    old := found_or_made.d;
    new := old;

    if found_or_made.made then
        perform coco.demand_follow(new);
        perform coco.delivery_event_put(new, null, new.cancel_reason);
        done := case new.status when 'Created' then 'CREATED'
                                else 'CANCELED' end;
    else
        new := coco.order_merge(old, p_order);

        if new is distinct from old then
            new.updated_at := greatest(
                date_trunc('milliseconds', clock_timestamp()),
                old.updated_at + interval '1 millisecond');

            update coco.delivery d
               set store = new.store,
                   loading_flow = new.loading_flow,
                   pin = new.pin,
                   pickup_latitude = new.pickup_latitude,
                   pickup_longitude = new.pickup_longitude,
                   pickup_address = new.pickup_address,
                   dropoff_latitude = new.dropoff_latitude,
                   dropoff_longitude = new.dropoff_longitude,
                   dropoff_address = new.dropoff_address,
                   ready_at = new.ready_at,
                   order_at = new.order_at,
                   updated_at = new.updated_at
             where d.id = new.id;

            perform coco.demand_follow(new);
            perform coco.supply_demand_refresh(new.serial);

            -- who shows the robot shows when its delivery was changed
            update coco.resource r set change_txid = pg_current_xact_id()
             where r.id = new.serial
               and r.change_txid <> pg_current_xact_id();
            done := 'CHANGED';
        end if;

        if p_order ->> 'action' = 'CANCEL' then
            old := new;
            new := coco.order_move(old, p_cancels, null, p_order ->> 'reason');

            if new.status <> old.status then
                done := 'CANCELED';
            end if;
        end if;
    end if;

    if new.status = 'Created' and p_order ->> 'vehicle' is not null then
        select m.serial into robot from coco.external_robot_mapping m
         where m.provider = p_order ->> 'provider'
           and m.provider_vehicle_id = p_order ->> 'vehicle';

        if found then
            perform coco.order_move(new, p_assigns, robot, null);
        end if;
    end if;

    return done;
end $$;


-- --- what partners are told -------------------------------------------------

-- One row for each change of a delivery that its partner is told of (STATUS,
-- by number, that of the delivery_event), and one for its robot's position
-- (LOCATION), which the next position overwrites.  id is the Idempotency-Key
-- of every attempt; body is made before the first one and sent as it is in all.
-- due_at is when it may leave: of STATUS the oldest one that is PENDING alone
-- has one, so that they keep their order.  state: PENDING, DELIVERED, REFUSED
-- (the partner will not have it: of STATUS there is a dead letter), SKIPPED (the
-- mapping has nothing to say of it), of LOCATION also FAILED (it did not reach
-- the partner, or nobody knows; the next one is newer).  attempts tell of the
-- latest ones, newest last: [{"at","ms","status","error"}].  attempted_at is of
-- the latest one; a replay that has not left yet has none.
create table coco.partner_push (
    id               uuid        primary key,
    provider         text        not null,
    delivery_id      uuid        not null
                                 references coco.delivery on delete cascade,
    kind             text        not null check (kind in ('STATUS', 'LOCATION')),
    number           integer,
    status           text        not null,
    serial           text,
    reason           text,
    ts               timestamptz not null,
    state            text        not null default 'PENDING',
    due_at           timestamptz,
    body             text,
    attempted        integer     not null default 0,
    attempted_at     timestamptz,
    attempts         jsonb       not null default '[]',
    done_at          timestamptz,
    created_at       timestamptz not null default now(),
    unique (delivery_id, number),
    check ((kind = 'STATUS') = (number is not null))
) with (fillfactor = 70);

create index partner_push_due on coco.partner_push (provider, due_at)
    where state = 'PENDING' and due_at is not null;
create unique index partner_push_location on coco.partner_push (delivery_id)
    where kind = 'LOCATION';
create index partner_push_done on coco.partner_push (done_at)
    where done_at is not null;


-- Which pushes a dead letter is of.
alter table coco.dead_letter add column push_id uuid;


-- A change of a delivery is told to its partner, once what was before is.
create function coco.partner_push_put()
returns trigger language plpgsql as $$
begin
    insert into coco.partner_push (id, provider, delivery_id, kind, number,
                                   status, serial, reason, ts, due_at)
    select coco.id_derive('partner_push' || new.id), d.provider, d.id,
           'STATUS', new.number, new.status, new.serial, new.reason, new.ts,
           case when not exists (select from coco.partner_push p
                                  where p.delivery_id = d.id
                                    and p.kind = 'STATUS'
                                    and p.state = 'PENDING')
                then clock_timestamp() end
      from coco.delivery d
     where d.id = new.delivery_id and d.provider in ('uber', 'doordash')
       and d.external_id is not null;

    return null;
end $$;

create trigger delivery_event_partner
    after insert on coco.delivery_event
    for each row execute function coco.partner_push_put();


-- What became of attempts.  p_ends is an array of
--   {"id","state","at"(ms),"ms","status"?,"error"?,"retry"?(ms from now)}
-- state is PENDING (again after retry), or what the table has.  Locks the
-- delivery first, as whoever adds a push does: none is left without its
-- turn.  Of a position that a newer one has overwritten nothing is left.
create function coco.partner_push_finish(p_ends jsonb)
returns void language plpgsql as $$
declare
    ending record;
    push   coco.partner_push;
begin
    -- by what the keys are, whatever the tables were when this was planned
    perform from coco.delivery d
      where d.id = any (array(
          select p.delivery_id
            from jsonb_array_elements(p_ends) e,
                 lateral (select o.delivery_id from coco.partner_push o
                           where o.id = (e ->> 'id')::uuid limit 1) p))
      order by d.id for no key update;

    for ending in
        select (e ->> 'id')::uuid as id, e ->> 'state' as state,
               e - 'id' - 'state' - 'retry' as attempt,
               (e ->> 'retry')::bigint as retry
          from jsonb_array_elements(p_ends) e
    loop
        update coco.partner_push p
           set state = ending.state,
               attempts = case when jsonb_array_length(p.attempts) >= 20
                               then p.attempts - 0 else p.attempts end
                          || case when ending.state = 'SKIPPED' then '[]'
                                  else jsonb_build_array(ending.attempt) end,
               due_at = case ending.state when 'PENDING'
                        then clock_timestamp()
                             + ending.retry * interval '1 millisecond' end,
               done_at = case when ending.state <> 'PENDING'
                              then clock_timestamp() end
         where p.id = ending.id and p.state = 'PENDING'
        returning p.* into push;

        continue when not found or push.state = 'PENDING';

        if push.state = 'REFUSED' and push.kind = 'STATUS' then
            insert into coco.dead_letter (id, source, topic, service, reason,
                                          payload, received_at, push_id)
            values (coco.id_derive('partner_push refused' || push.id
                                   || push.attempted),
                    'partner', push.provider, 'integrations',
                    ending.attempt ->> 'error',
                    convert_to(coalesce(push.body, ''), 'UTF8'),
                    clock_timestamp(), push.id)
            on conflict do nothing;
        end if;

        update coco.dead_letter l
           set replay_outcome = case push.state when 'DELIVERED'
                                then 'APPLIED' else 'REFUSED' end
         where l.push_id = push.id and l.replayed_at is not null
           and l.replay_outcome is null;

        if push.kind = 'STATUS' then
            update coco.partner_push p set due_at = clock_timestamp()
             where p.delivery_id = push.delivery_id and p.due_at is null
               and p.number = (select min(n.number) from coco.partner_push n
                                where n.delivery_id = push.delivery_id
                                  and n.kind = 'STATUS'
                                  and n.state = 'PENDING');
        end if;
    end loop;
end $$;


-- As it was; what a partner has refused goes to it again, unless a later
-- status has, or may have, reached it.
create or replace function coco.dead_letter_replay(p_caller text,
                                                   p_route text, p_key text,
                                                   p_body_hash bytea,
                                                   p_id uuid,
                                                   out status integer,
                                                   out response text)
language plpgsql as $$
declare
    asked_at timestamptz;
    push     uuid;
    reason   text;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    select d.push_id into push from coco.dead_letter d where d.id = p_id;

    if not found then
        status := 404;
        response := 'No dead letter has this id.';
    elsif push is not null then
        reason := coco.partner_push_again(push);
    end if;

    if reason is not null then
        status := 409;
        response := reason;
    elsif status is null then
        update coco.dead_letter d
           set replayed_at = date_trunc('milliseconds', clock_timestamp()),
               replay_outcome = null
         where d.id = p_id
        returning d.replayed_at into asked_at;

        perform pg_notify('coco_replay', p_id::text);
        status := 202;
        select row_to_json(reply)::text into response
          from (select p_id as id,
                       coco.to_ms(asked_at) as "replayedAt") reply;
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- Gives a push that was refused its turn once more, before all later ones of
-- its delivery; null, or why it has none.
create function coco.partner_push_again(p_id uuid)
returns text language plpgsql as $$
declare
    push coco.partner_push;
begin
    perform from coco.delivery d
      where d.id = (select p.delivery_id from coco.partner_push p
                     where p.id = p_id)
        for no key update;

    -- a later one that is being claimed is seen as such, or is not claimed
    perform from coco.partner_push p
      where p.delivery_id = (select o.delivery_id from coco.partner_push o
                              where o.id = p_id)
        and p.kind = 'STATUS' and p.state = 'PENDING'
      order by p.id for update;

    select * into push from coco.partner_push p where p.id = p_id;

    case push.state
        when 'PENDING' then
            return null;
        when 'DELIVERED' then
            return 'The partner has taken this status by now.';
        when 'SKIPPED' then
            return 'The partner is no longer told of this status.';
        when 'REFUSED' then
            null;
        else
            return 'This status is no longer kept, nor what its partner has '
                   'heard since.';
    end case;

    if exists (select from coco.partner_push p
                where p.delivery_id = push.delivery_id
                  and p.number > push.number
                  and (p.state = 'DELIVERED'
                       or p.state = 'PENDING' and p.attempted_at is not null))
    then
        return 'The partner has heard of a later status of this delivery, '
               'or is about to.';
    end if;

    update coco.partner_push p set due_at = null
     where p.delivery_id = push.delivery_id and p.kind = 'STATUS'
       and p.state = 'PENDING' and p.number > push.number;

    -- one before it that is replayed as well goes first
    update coco.partner_push p
       set state = 'PENDING', done_at = null, attempted_at = null,
           due_at = case when not exists (
                              select from coco.partner_push o
                               where o.delivery_id = push.delivery_id
                                 and o.state = 'PENDING'
                                 and o.number < push.number)
                    then clock_timestamp() end
     where p.id = p_id;

    return null;
end $$;


-- --- MDS ----------------------------------------------------------------------

-- What has happened to a robot that a city may want to know, in the order in
-- which it was committed for it; taken, and deleted, by the emitter.  kind:
--   COMMS     {"online"}
--   BUSINESS  {"operationState","undergoingMaintenance","needsMaintenance",
--              "needsPickup","driveable"}
--   DELIVERY  {"trip","delivery","status","reason","requestedAt"(ms)}; status
--             is the delivery's, or "Canceled" for the robot that it was taken
--             from; trip: the delivery's id, of later attempts one derived;
--             requestedAt: when the delivery was made
create table coco.mds_fact (
    seq     bigint      generated always as identity primary key,
    serial  text        not null,
    ts      timestamptz not null,
    kind    text        not null,
    data    jsonb       not null
);


-- A vehicle as a city knows it.  memory is the emitter's (coco_mds_encode()):
-- vehicle_state and the rest are what GET /mds/vehicles/status shows.
create table coco.mds_vehicle (
    serial         text        primary key,
    device_id      uuid        not null unique default gen_random_uuid(),
    registered_at  timestamptz not null,
    memory         jsonb       not null,
    vehicle_state  text        not null,
    event_id       uuid,
    event_at       timestamptz
) with (fillfactor = 70);


-- What was told, for ever; ts ascends strictly for each vehicle.
create table coco.mds_event (
    event_id          uuid        primary key default gen_random_uuid(),
    device_id         uuid        not null references coco.mds_vehicle (device_id),
    vehicle_state     text        not null,
    event_types       text[]      not null,
    ts                timestamptz not null,
    publication_time  timestamptz not null,
    latitude          double precision,
    longitude         double precision,
    battery_percent   smallint,
    trip_ids          uuid[]      not null default '{}'
);

create index mds_event_ts on coco.mds_event (ts, event_id);
create unique index mds_event_device_ts on coco.mds_event (device_id, ts);


-- From trip_start to the end of what it was for.  distance in metres, from the
-- place of its start over those of the heartbeats between to that of its end.
-- requested_time: when the delivery was asked for.  end_time null: under way.
create table coco.mds_trip (
    trip_id          uuid        primary key,
    device_id        uuid        not null references coco.mds_vehicle (device_id),
    delivery_id      uuid        not null,
    requested_time   timestamptz,
    start_time       timestamptz not null,
    start_latitude   double precision,
    start_longitude  double precision,
    end_time         timestamptz,
    end_latitude     double precision,
    end_longitude    double precision,
    distance         double precision,
    canceled         boolean     not null default false
);

create index mds_trip_end on coco.mds_trip (end_time, trip_id);
create index mds_trip_device
    on coco.mds_trip (device_id, (coalesce(end_time, 'infinity')));


-- Facts of before up_to were all turned into events.  since: when the first
-- robot was heard of: there was no operation before.
create table coco.mds_progress (
    one    boolean     primary key default true check (one),
    since  timestamptz,
    up_to  timestamptz not null default '-infinity'
);

insert into coco.mds_progress default values;


create function coco.mds_fact_put(p_serial text, p_ts timestamptz,
                                  p_kind text, p_data jsonb)
returns void language sql as $$
    insert into coco.mds_fact (serial, ts, kind, data)
    values (p_serial, p_ts, p_kind, p_data)
$$;


create function coco.mds_comms()
returns trigger language plpgsql as $$
begin
    perform coco.mds_fact_put(
        new.id,
        case new.data ->> 'status'
        when 'ONLINE' then coalesce(new.telemetry_order_ts, clock_timestamp())
        else clock_timestamp() end,
        'COMMS',
        jsonb_build_object('online', new.data ->> 'status' = 'ONLINE'));

    return null;
end $$;

create trigger resource_mds_insert
    after insert on coco.resource
    for each row when (new.telemetry_order_ts is not null)
    execute function coco.mds_comms();

create trigger resource_mds_update
    after update of data on coco.resource
    for each row
    when (old.data -> 'status' is distinct from new.data -> 'status')
    execute function coco.mds_comms();


-- A row from before what was known already may be late, and change nothing, or
-- of a robot whose clock is behind: then the record says what holds.
create function coco.mds_business()
returns trigger language plpgsql as $$
begin
    insert into coco.mds_fact (serial, ts, kind, data)
    with known as (
        select n.*, exists (select from coco.robot_state_history h
                             where h.robot_serial = n.robot_serial
                               and h.changed_at > n.changed_at
                               and h.id not in (select m.id from news m))
                    as late
          from news n)
    select f.serial, f.ts, 'BUSINESS',
           jsonb_build_object(
               'operationState', f.operation_state,
               'undergoingMaintenance', f.undergoing_maintenance,
               'needsMaintenance', f.needs_maintenance,
               'needsPickup', f.needs_pickup,
               'driveable', f.driveable)
      from (select k.robot_serial as serial, k.changed_at as ts, 1 as part,
                   k.operation_state, k.undergoing_maintenance,
                   k.needs_maintenance, k.needs_pickup, k.driveable
              from known k where not k.late
            union all
            select o.serial, o.changed_at, 2,
                   o.operation_state, o.undergoing_maintenance,
                   o.needs_maintenance, o.needs_pickup, o.driveable
              from coco.robot_operation o
             where o.serial in (select k.robot_serial from known k
                                 where k.late)) f
     order by f.serial, f.part, f.ts;

    return null;
end $$;

create trigger robot_state_history_mds
    after insert on coco.robot_state_history
    referencing new table as news
    for each statement execute function coco.mds_business();


-- Of an attempt: the delivery's id, of later ones one derived, with the version
-- digit 5: cities' standard knows no 8.
create function coco.mds_trip_id(p_delivery uuid, p_number integer)
returns uuid language sql immutable as $$
    select case p_number when 1 then p_delivery
           else overlay(coco.id_derive('mds_trip' || p_delivery
                                       || p_number)::text
                        placing '5' from 15)::uuid end
$$;


create function coco.mds_delivery()
returns trigger language plpgsql as $$
declare
    attempt record;
begin
    if new.serial is null then
        return null;
    end if;

    for attempt in
        select a.*, d.created_at
          from coco.delivery_attempt a
          join coco.delivery d on d.id = a.delivery_id
         where a.delivery_id = new.delivery_id
         order by a.number desc limit 2
    loop
        -- the robot of now, and that from which it was just taken
        continue when attempt.driver_name <> new.serial
                      and attempt.ended_at is distinct from new.ts;

        perform coco.mds_fact_put(
            attempt.driver_name, new.ts, 'DELIVERY',
            jsonb_build_object(
                'trip', coco.mds_trip_id(new.delivery_id, attempt.number),
                'delivery', new.delivery_id,
                'status', case when attempt.ended_at = new.ts
                               and new.status = 'Assigned'
                          then 'Canceled' else new.status end,
                'reason', attempt.cancellation_reason,
                'requestedAt', coco.to_ms(attempt.created_at)));

        exit when new.status <> 'Assigned';
    end loop;

    return null;
end $$;

create trigger delivery_event_mds
    after insert on coco.delivery_event
    for each row execute function coco.mds_delivery();


-- What was refused and is asked for once more is a fact again. One that can be
-- none, for somebody has changed it, is refused with those beside it.
create function coco.mds_replay()
returns void language plpgsql as $$
declare
    asked uuid[] := array(select id from coco.dead_letter
                           where source = 'mds' and replayed_at is not null
                             and replay_outcome is null);
begin
    if asked <> '{}' then
        perform coco.mds_facts_again(asked);
    end if;
exception
    when data_exception or integrity_constraint_violation then
        update coco.dead_letter set replay_outcome = 'REFUSED'
         where id = any (asked);
end $$;


-- In the order in which they were facts. Of a trip that is over the end alone
-- is one, or all that comes with its end: nothing else would end it. Deliveries
-- are locked, so that none ends unseen.
create function coco.mds_facts_again(p_letters uuid[])
returns void language plpgsql as $$
begin
    perform from coco.delivery d
      where d.id = any (array(select f.delivery
                                from coco.mds_letters(p_letters) f))
      order by d.id for share;

    with facts as materialized (
        select f.*, not f.ends
               and (exists (select from coco.mds_trip t
                             where t.trip_id = f.trip
                               and t.end_time is not null)
                    or exists (select from coco.delivery_attempt a
                                where a.delivery_id = f.delivery
                                  and a.ended_at is not null
                                  and coco.mds_trip_id(f.delivery, a.number)
                                      = f.trip)
                       and not exists (
                           select from coco.mds_letters(p_letters) e
                            where e.ends and e.trip = f.trip)) is true as over
          from coco.mds_letters(p_letters) f),
    letters as (
        update coco.dead_letter l
           set replay_outcome = case when f.over then 'REFUSED'
                                     else 'APPLIED' end
          from facts f where l.id = f.id)
    insert into coco.mds_fact (serial, ts, kind, data)
    select f.serial, f.ts, f.kind, f.data
      from facts f where not f.over
     order by f.ts, f.ends nulls first, f.id;
end $$;


create function coco.uuid_or_null(p_text text)
returns uuid language sql immutable parallel safe as $$
    select case when p_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
           then p_text::uuid end
$$;


-- The facts that dead letters are of. trip, delivery: null where they are none.
create function coco.mds_letters(p_ids uuid[])
returns table (id uuid, serial text, ts timestamptz, kind text, data jsonb,
               trip uuid, delivery uuid, ends boolean)
language sql stable as $$
    select l.id, f ->> 'serial', (f ->> 'ts')::timestamptz, f ->> 'kind',
           f -> 'data', coco.uuid_or_null(f #>> '{data,trip}'),
           coco.uuid_or_null(f #>> '{data,delivery}'),
           f #>> '{data,status}' in ('Completed', 'Canceled')
      from coco.dead_letter l
     cross join lateral (select convert_from(l.payload, 'UTF8')::jsonb) j (f)
     where l.id = any (p_ids)
$$;


-- Which of its trips a vehicle was on at a time; null: none.
create function coco.mds_trips_at(p_device uuid, p_at timestamptz)
returns uuid[] language sql stable parallel safe as $$
    select array_agg(t.trip_id order by t.start_time, t.trip_id)
      from coco.mds_trip t
     where t.device_id = p_device and t.start_time <= p_at
       and coalesce(t.end_time, 'infinity') > p_at
$$;


-- What was heard of vehicles from p_from until before p_to, by (serial, date,
-- id), from after that of the arguments on; p_limit rows at most. It goes from
-- vehicle to vehicle, so that each is read by (serial, date), whatever the
-- planner thinks of their number. So that one call does not look at any number
-- of vehicles in vain, it ends after 1,000 of them, too: then the last row has
-- a serial alone, after which to go on.
create function coco.mds_telemetry(
    p_from timestamptz, p_to timestamptz, p_serial text, p_date timestamptz,
    p_id uuid, p_limit integer)
returns table (serial text, device_id uuid, date timestamptz, id uuid,
               trip_ids uuid[], details jsonb)
language plpgsql stable as $$
declare
    vehicle coco.mds_vehicle;
    trips   coco.mds_trip[];
    looked  integer := 0;
    taken   integer;
begin
    for vehicle in
        select * from coco.mds_vehicle v
         where v.serial >= p_serial order by v.serial limit 1000
    loop
        looked := looked + 1;
        serial := vehicle.serial;

        if vehicle.serial <> p_serial then
            p_date := p_from;
            p_id := '00000000-0000-0000-0000-000000000000';
        end if;

        trips := array(
            select t from coco.mds_trip t
             where t.device_id = vehicle.device_id and t.start_time < p_to
               and coalesce(t.end_time, 'infinity') > p_from
             order by t.start_time, t.trip_id);

        return query
        select vehicle.serial, vehicle.device_id, h.date, h.id,
               case when trips <> '{}'
                    then (select array_agg(t.trip_id)
                            from unnest(trips) t
                           where t.start_time <= h.date
                             and coalesce(t.end_time, 'infinity') > h.date)
               end,
               h.details
          from ((select s.date, s.id, s.details from coco.state_history s
                  where s.serial = vehicle.serial
                    and s.date >= p_from and s.date < p_to
                    and (s.date, s.id) > (p_date, p_id)
                  order by s.date, s.id limit p_limit)
                union all
                (select l.date, l.id, l.details from coco.state_history_late l
                  where l.serial = vehicle.serial
                    and l.date >= p_from and l.date < p_to
                    and (l.date, l.id) > (p_date, p_id)
                  order by l.date, l.id limit p_limit)) h
         order by h.date, h.id limit p_limit;

        get diagnostics taken = row_count;
        p_limit := p_limit - taken;

        if p_limit <= 0 then
            return;
        end if;
    end loop;

    if looked = 1000 then
        return next;
    end if;
end $$;


-- Great circle, in metres, as coco_distance_meters() in the core has it; null
-- where a number is, which least() would take for nothing. Not strict: it is a
-- part of the statement that calls it, and so 15 times as fast.
create function coco.distance_meters(lat_a double precision,
                                     lon_a double precision,
                                     lat_b double precision,
                                     lon_b double precision)
returns double precision language sql immutable parallel safe as $$
    select case when lat_a + lon_a + lat_b + lon_b is not null
           then 2 * 6371008.8 * asin(least(1, sqrt(
               sin(radians(lat_b - lat_a) / 2) ^ 2
               + cos(radians(lat_a)) * cos(radians(lat_b))
                 * sin(radians(lon_b - lon_a) / 2) ^ 2))) end
$$;


-- What there is already.
insert into coco.mds_fact (serial, ts, kind, data)
select serial, ts, kind, data
  from (select o.serial, now() as ts, 1 as n, 'BUSINESS' as kind,
               jsonb_build_object(
                   'operationState', o.operation_state,
                   'undergoingMaintenance', o.undergoing_maintenance,
                   'needsMaintenance', o.needs_maintenance,
                   'needsPickup', o.needs_pickup,
                   'driveable', o.driveable) as data
          from coco.robot_operation o
        union all
        select r.id, now(), 2, 'COMMS',
               jsonb_build_object('online', r.data ->> 'status' = 'ONLINE')
          from coco.resource r
         where r.telemetry_order_ts is not null
        union all
        select d.serial, now(), 3, 'DELIVERY',
               jsonb_build_object(
                   'trip', coco.mds_trip_id(d.id, a.number),
                   'delivery', d.id, 'status', d.status, 'reason', null,
                   'requestedAt', coco.to_ms(d.created_at))
          from coco.delivery d
          join lateral (select * from coco.delivery_attempt a
                         where a.delivery_id = d.id
                         order by a.number desc limit 1) a on true
         where d.serial is not null
           and d.status not in ('Completed', 'Canceled')) known
 order by serial, n, ts;
