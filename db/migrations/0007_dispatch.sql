-- Dispatch: the supply, demands, held quotes; and how each of them is written.


-- Dispatch service.  What the planner knows of a robot: id is its serial, data
-- a LegacyRobot, of which each writer changes its own fields alone: telemetry
-- (status, battery, lastSynced, healthy, location) by the order of heartbeats,
-- business (the flags, operationState, deployed) by business_changed_at,
-- demands (futureDemand, activeDemand, attemptCancellationReason) and what
-- holds the robot (held_by is the quote) under the row's lock, counted by
-- demand_version; tripType follows from both.  lid_open is what a heartbeat or
-- an event of the time lid_at said.  change_txid is the transaction that
-- changed anything else than telemetry and lid last, or a delivery of the
-- robot: what an nginx polls for.
-- Locked after all other tables but robot_shadow; several, in the order of the
-- keys.
create table coco.resource (
    id                   text        primary key,
    type                 text        not null default 'Robot',
    data                 jsonb       not null,
    telemetry_id         uuid,
    telemetry_ts         timestamptz,
    telemetry_order_ts   timestamptz,
    lid_open             boolean,
    lid_at               timestamptz,
    business_changed_at  timestamptz,
    demands              integer     not null default 0,
    held_until           timestamptz,
    held_by              uuid,
    demand_version       bigint      not null default 0,
    change_txid          xid8        not null default pg_current_xact_id()
) with (fillfactor = 50);

create index resource_change on coco.resource (change_txid);


-- Dispatch service.  What a robot is wanted for.  That of a delivery has its
-- id, and lives from its creation until it is over.  type is PENDING,
-- SCHEDULED (ready_at is to come) or ACTIVE (a robot is on its way).  Locked
-- by who has locked the delivery, before anything of a robot.
create table coco.demand (
    id                 uuid        primary key default gen_random_uuid(),
    delivery_id        uuid        unique
                       references coco.delivery on delete cascade,
    type               text        not null
                       check (type in ('PENDING', 'SCHEDULED', 'ACTIVE')),
    serial             text,
    pickup_latitude    double precision not null,
    pickup_longitude   double precision not null,
    dropoff_latitude   double precision not null,
    dropoff_longitude  double precision not null,
    ready_at           timestamptz,
    created_at         timestamptz not null,
    updated_at         timestamptz not null
) with (fillfactor = 70);

create index demand_created on coco.demand (created_at desc, id desc);
create index demand_serial on coco.demand (serial) where serial is not null;
create index demand_ready on coco.demand (ready_at) where type = 'SCHEDULED';


-- Dispatch service.  Quotes that held their robot until expires_at, or until
-- released_at.
create table coco.quote (
    id           uuid        primary key,
    serial       text        not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    released_at  timestamptz
);

create index quote_expires on coco.quote (expires_at);


-- Whose the robot's latest attempt is.
create index delivery_attempt_driver on coco.delivery_attempt
    (driver_name, assigned_at desc);


-- One of t, f and -, for a flag of data.
create function coco.supply_flag(flag jsonb)
returns text language sql immutable parallel safe as $$
    select case flag when 'true' then 't' when 'false' then 'f' else '-' end
$$;


-- The line of a resource, as coco_supply_line_decode() in the core reads it;
-- a suite compares the two.  Its concatenations are stable: were it immutable,
-- it could not become part of the statements that call it.
create function coco.supply_line(r coco.resource)
returns text language sql stable parallel safe as $$
    select r.id
        || case when r.telemetry_order_ts is null then '' else
               ' T ' || ((r.data #>> '{location,latitude}')::double precision
                         * 10000000)::integer
            || ' ' || ((r.data #>> '{location,longitude}')::double precision
                       * 10000000)::integer
            || ' ' || (r.data ->> 'battery')
            || ' ' || coco.to_ms(r.telemetry_order_ts)
            || ' ' || coco.to_ms(r.telemetry_ts)
            || ' ' || r.telemetry_id
            || case r.data -> 'healthy' when 'true' then ' 1' else ' 0' end
           end
        || case when r.business_changed_at is null then '' else
               ' B ' || coalesce(coco.to_ms(r.business_changed_at), 0)
            || ' ' || coalesce(r.data ->> 'operationState', '-')
            || ' ' || coco.supply_flag(r.data -> 'undergoingMaintenance')
            || coco.supply_flag(r.data -> 'needsMaintenance')
            || coco.supply_flag(r.data -> 'needsPickup')
            || coco.supply_flag(r.data -> 'hasFood')
            || coco.supply_flag(r.data -> 'driveable')
            || coco.supply_flag(r.data -> 'needsMovement')
           end
        || ' D ' || r.demand_version || ' ' || r.demands
        || ' ' || coalesce(coco.to_ms(r.held_until), 0)
        || case when r.lid_at is null then '' else
               ' L ' || coco.to_ms(r.lid_at)
            || case when r.lid_open then ' 1' else ' 0' end
           end
$$;


-- As they were, but that sessions keep their plans, or that they become part of
-- those that call them: what is written calls each of them, often twice.
create or replace function coco.outbox_put(event text, robot text,
                                           at timestamptz, data jsonb)
returns void language plpgsql as $$
declare
    event_id uuid := gen_random_uuid();
begin
    insert into coco.outbox (id, name, serial, payload)
    values (event_id, event, robot,
            jsonb_build_object('id', event_id, 'name', event, 'serial', robot,
                               'ts', coco.to_ms(at), 'data', data));
end $$;


create or replace function coco.business_state(op coco.robot_operation)
returns jsonb language sql stable parallel safe as $$
    select jsonb_build_object(
        'operationState', op.operation_state,
        'needsMovement', op.needs_movement,
        'undergoingMaintenance', op.undergoing_maintenance,
        'needsMaintenance', op.needs_maintenance,
        'needsPickup', op.needs_pickup,
        'hasFood', op.has_food,
        'driveable', op.driveable,
        'deployed', op.deployed)
$$;


-- What a robot is on its way for: a demand that it serves; else to where it is
-- deployed, or back.
create function coco.trip_type(p_operation_state text, p_active_demand jsonb,
                               p_deployed jsonb)
returns text language sql immutable parallel safe as $$
    select case
        when p_active_demand ->> 'type' = 'ACTIVE' then 'DELIVERY'
        when p_operation_state = 'ON_TRIP'
        then case when coalesce(p_deployed, 'null') = 'null' then 'RETURN'
                  else 'DEPLOYMENT' end
    end
$$;


-- A LegacyRobot of which nothing is known.
create function coco.supply_blank(p_serial text)
returns jsonb language sql stable parallel safe as $$
    select jsonb_build_object(
        'serial', p_serial, 'status', 'OFFLINE', 'battery', null,
        'lastSynced', null, 'healthy', null, 'deployed', null,
        'location', null, 'futureDemand', '[]'::jsonb, 'activeDemand', null,
        'needsMovement', null, 'hasFood', null, 'tripType', null,
        'needsMaintenance', null, 'needsPickup', null, 'driveable', null,
        'operationState', null, 'attemptCancellationReason', null,
        'undergoingMaintenance', null)
$$;


-- Who inserts a row may know a part of it alone: a heartbeat says what its
-- robot's telemetry is.  Not before the insert: what a conflict then updates
-- with must be that part, and for each of them this would run.
create function coco.resource_complete()
returns trigger language plpgsql as $$
begin
    update coco.resource r set data = coco.supply_blank(r.id) || r.data
     where r.id = new.id;

    return null;
end $$;

create trigger resource_complete
    after insert on coco.resource
    for each row when (not new.data ? 'futureDemand')
    execute function coco.resource_complete();


-- The robot's row, which is made if it is absent, locked.
create function coco.supply_lock(p_serial text)
returns coco.resource language plpgsql as $$
declare
    robot coco.resource;
begin
    insert into coco.resource (id, data)
    values (p_serial, coco.supply_blank(p_serial))
    on conflict do nothing;

    select * into robot from coco.resource r where r.id = p_serial for update;

    return robot;
end $$;


-- Changes members of a robot's data, where they differ from what stands, and
-- tells which did.  p_changes holds business or demand members alone.
create function coco.supply_put(p_serial text, p_changes jsonb,
                                p_at timestamptz)
returns void language plpgsql as $$
declare
    old jsonb := (coco.supply_lock(p_serial)).data;
    new jsonb := old || p_changes;
begin
    new := new || jsonb_build_object('tripType', coco.trip_type(
        new ->> 'operationState', new -> 'activeDemand', new -> 'deployed'));

    if new = old then
        return;
    end if;

    update coco.resource r
       set data = new, change_txid = pg_current_xact_id()
     where r.id = p_serial;

    perform coco.outbox_put('DispatchEngine.SupplyEvent', p_serial, p_at,
                            (select jsonb_object_agg(key, value)
                               from jsonb_each(new)
                              where value is distinct from old -> key));
end $$;


-- Robots whose lines the answer of this transaction has to carry, although it
-- may not change them: what it says of them was committed before, and an nginx
-- that gives the answer may not have heard of it yet.
create function coco.supply_tell(p_serials text[])
returns void language plpgsql as $$
begin
    perform set_config('coco.told', concat_ws(',',
        nullif(current_setting('coco.told', true), ''),
        array_to_string(p_serials, ',')), true);
end $$;


-- The lines of the robots that this transaction changed or tells of, and of
-- p_serial, each with its newline.  Volatile, so that it sees what the
-- statement that selects it has written.
create function coco.supply_changes(p_serial text default null)
returns text language plpgsql as $$
declare
    told text[] := string_to_array(current_setting('coco.told', true), ',');
begin
    return coalesce((select string_agg(coco.supply_line(r) || e'\n', ''
                                       order by r.id collate "C")
                       from coco.resource r
                      where r.change_txid = pg_current_xact_id_if_assigned()
                         or r.id = any (told || p_serial)),
                    '');
end $$;


-- Who repeats a request is told of the robots that the first one changed.
alter table coco.idempotency_key add column serials text[];

create or replace function coco.idempotency_begin(p_caller text, p_route text,
                                                  p_key text,
                                                  p_body_hash bytea,
                                                  out status integer,
                                                  out response text)
language plpgsql as $$
#variable_conflict use_column
declare
    kept coco.idempotency_key;
begin
    if p_key is null then
        return;
    end if;

    -- status 0 is never seen: finish, or a rollback, follows
    insert into coco.idempotency_key as i
           (caller, route, key, body_hash, status, response)
    values (p_caller, p_route, p_key, p_body_hash, 0, '')
    on conflict (caller, route, key) do update
       set body_hash = excluded.body_hash, created_at = now()
     where i.created_at < now() - interval '24 hours';

    if found then
        return;
    end if;

    select * into kept from coco.idempotency_key i
     where i.caller = p_caller and i.route = p_route and i.key = p_key;

    if kept.body_hash is distinct from p_body_hash then
        status := 422;
        response := 'The Idempotency-Key was used with another body.';
    else
        status := kept.status;
        response := kept.response;
        perform coco.supply_tell(kept.serials);
    end if;
end $$;

create or replace function coco.idempotency_finish(p_caller text,
                                                   p_route text, p_key text,
                                                   p_status integer,
                                                   p_response text)
returns void language plpgsql as $$
begin
    if p_key is null then
        return;
    end if;

    if p_status >= 400 then
        delete from coco.idempotency_key
         where caller = p_caller and route = p_route and key = p_key;
    else
        update coco.idempotency_key
           set status = p_status, response = p_response,
               serials = array(
                   select r.id from coco.resource r
                    where r.change_txid = pg_current_xact_id_if_assigned())
         where caller = p_caller and route = p_route and key = p_key;
    end if;
end $$;


-- A demand, as it is shown everywhere.
create function coco.demand_document(d coco.demand)
returns text language sql stable parallel safe as $$
    select row_to_json(reply)::text from (
        select d.id, d.type, d.delivery_id as "deliveryId", d.serial,
               (select row_to_json(place)
                  from (select d.pickup_latitude as latitude,
                               d.pickup_longitude as longitude) place)
                   as pickup,
               (select row_to_json(place)
                  from (select d.dropoff_latitude as latitude,
                               d.dropoff_longitude as longitude) place)
                   as dropoff,
               coco.to_ms(d.ready_at) as "readyAt",
               coco.to_ms(d.created_at) as "createdAt") reply
$$;


-- The members of a LegacyRobot that follow from its demands.  The one that is
-- served is an ACTIVE one, else a PENDING one, the oldest of them; another
-- ACTIVE one waits for its turn among those to come, PENDING there.
create function coco.supply_demands(p_serial text)
returns jsonb language sql stable as $$
    with d as materialized (
        select d.id, d.type, d.ready_at, d.created_at,
               coco.demand_document(d)::jsonb as document,
               d.type <> 'SCHEDULED'
               and row_number() over (order by array_position(
                       array['ACTIVE', 'PENDING', 'SCHEDULED'], d.type),
                       d.created_at, d.id) = 1 as served
          from coco.demand d where d.serial = p_serial)
    select jsonb_build_object(
        'activeDemand', (select document from d where served),
        'futureDemand', coalesce((select jsonb_agg(
                                             case type when 'ACTIVE'
                                             then document
                                                  || '{"type":"PENDING"}'
                                             else document end
                                             order by ready_at nulls first,
                                                      created_at, id)
                                    from d where not served), '[]'),
        'attemptCancellationReason', (select a.cancellation_reason
                                        from coco.delivery_attempt a
                                       where a.driver_name = p_serial
                                       order by a.assigned_at desc,
                                                a.number desc limit 1))
$$;


-- Brings the demands of a robot, if there is one, into its row.  p_unhold: one
-- was given to it, which ends what a quote holds.
create function coco.supply_demand_refresh(p_serial text,
                                           p_unhold boolean default false)
returns void language plpgsql as $$
declare
    old     coco.resource;
    changes jsonb;
    n       integer;
begin
    if p_serial is null then
        return;
    end if;

    -- the lock first: what is read then counts whoever had it before
    old := coco.supply_lock(p_serial);
    changes := coco.supply_demands(p_serial);
    n := jsonb_array_length(changes -> 'futureDemand')
         + (changes -> 'activeDemand' <> 'null')::integer;
    p_unhold := p_unhold and old.held_until is not null;

    if n = old.demands and old.data || changes = old.data and not p_unhold then
        return;
    end if;

    perform coco.supply_put(p_serial, changes,
                            date_trunc('milliseconds', clock_timestamp()));

    update coco.resource r
       set demands = n,
           held_until = case when not p_unhold then old.held_until end,
           held_by = case when not p_unhold then old.held_by end,
           demand_version = old.demand_version + 1,
           change_txid = pg_current_xact_id()
     where r.id = p_serial;
end $$;


-- Who changes several deliveries calls this first: their robots' fleet_robot is
-- locked before the supply of any, as by who writes both for many robots.
create function coco.delivery_fleet_lock(p_deliveries uuid[])
returns void language plpgsql as $$
begin
    perform from coco.fleet_robot f
      where f.serial in (select d.serial from coco.delivery d
                          where d.id = any (p_deliveries))
      order by f.serial collate "C" for update of f;
end $$;


-- As it was; then the supply.
create or replace function coco.robot_operation_set(old coco.robot_operation,
                                                    new coco.robot_operation)
returns void language plpgsql as $$
begin
    update coco.robot_operation o
       set operation_state = new.operation_state,
           needs_movement = new.needs_movement,
           undergoing_maintenance = new.undergoing_maintenance,
           needs_maintenance = new.needs_maintenance,
           needs_pickup = new.needs_pickup,
           has_food = new.has_food,
           driveable = new.driveable,
           deployed = new.deployed,
           changed_at = new.changed_at
     where o.serial = new.serial;

    insert into coco.robot_state_history
           (id, robot_serial, operation_state, needs_movement,
            undergoing_maintenance, needs_maintenance, needs_pickup,
            has_food, driveable, deployed, changed_at)
    values (gen_random_uuid(), new.serial, new.operation_state,
            new.needs_movement, new.undergoing_maintenance,
            new.needs_maintenance, new.needs_pickup, new.has_food,
            new.driveable, new.deployed, new.changed_at);

    insert into coco.fleet_robot as f
           (serial, operational_state, needs_movement, undergoing_maintenance,
            needs_maintenance, needs_pickup, has_food, driveable, deployed,
            business_changed_at)
    values (new.serial, new.operation_state, new.needs_movement,
            new.undergoing_maintenance, new.needs_maintenance,
            new.needs_pickup, new.has_food, new.driveable, new.deployed,
            new.changed_at)
    on conflict (serial) do update
       set operational_state = excluded.operational_state,
           needs_movement = excluded.needs_movement,
           undergoing_maintenance = excluded.undergoing_maintenance,
           needs_maintenance = excluded.needs_maintenance,
           needs_pickup = excluded.needs_pickup,
           has_food = excluded.has_food,
           driveable = excluded.driveable,
           deployed = excluded.deployed,
           business_changed_at = excluded.business_changed_at;

    if new.operation_state <> old.operation_state then
        perform coco.outbox_put('Robots.StateChange', new.serial,
            new.changed_at,
            jsonb_build_object('from', old.operation_state,
                               'to', new.operation_state));
    end if;

    perform coco.outbox_put('Robots.BusinessStateChange', new.serial,
                            new.changed_at, coco.business_state(new));

    perform coco.supply_put(new.serial, coco.business_state(new),
                            new.changed_at);

    update coco.resource r
       set business_changed_at = new.changed_at,
           change_txid = pg_current_xact_id()
     where r.id = new.serial;
end $$;


-- What a demand is that no robot is on its way for.
create function coco.demand_waits(p_ready_at timestamptz)
returns text language sql as $$
    select case when p_ready_at > clock_timestamp() then 'SCHEDULED'
                else 'PENDING' end
$$;


-- A delivery's demand, after its change.
create function coco.demand_follow(d coco.delivery)
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
           updated_at = excluded.updated_at;
end $$;


-- As it was, with its demand first and the supply, robot by robot, last.
create or replace function coco.delivery_set(old coco.delivery,
                                             new coco.delivery,
                                             p_at timestamptz, p_reason text)
returns coco.delivery language plpgsql as $$
declare
    robot text;
begin
    new.changes := old.changes + 1;
    new.updated_at := greatest(
        date_trunc('milliseconds', least(p_at, clock_timestamp())),
        old.updated_at + interval '1 millisecond');

    update coco.delivery d
       set status = new.status,
           serial = new.serial,
           cancel_reason = new.cancel_reason,
           changes = new.changes,
           loaded_cycle = new.loaded_cycle,
           loaded_at = new.loaded_at,
           arrived_at = new.arrived_at,
           early_close_at = new.early_close_at,
           updated_at = new.updated_at
     where d.id = new.id;

    perform coco.demand_follow(new);

    case new.status
        when 'AtPickup' then
            perform coco.robot_operation_change(new.serial,
                                            '{"operation_state":"PARKED"}');
        when 'LoadedWaitingForPilot' then
            perform coco.robot_operation_change(new.serial,
                                                '{"has_food":true}');
        when 'Completed' then
            perform coco.robot_operation_change(new.serial,
                                                '{"has_food":false}');
        else null;
    end case;

    if new.status in ('Assigned', 'Completed', 'Canceled') then
        update coco.delivery_attempt a
           set ended_at = new.updated_at,
               cancellation_reason = case new.status
                   when 'Assigned' then 'reassigned'
                   when 'Canceled' then p_reason end
         where a.delivery_id = new.id and a.ended_at is null;
    end if;

    if new.status = 'Assigned' then
        insert into coco.delivery_attempt (delivery_id, number, driver_name,
                                           assigned_at)
        select new.id, count(*) + 1, new.serial, new.updated_at
          from coco.delivery_attempt a where a.delivery_id = new.id;
    end if;

    for robot in
        select s from unnest(array[old.serial, new.serial]) s
         where s is not null group by s order by s collate "C"
    loop
        perform coco.supply_demand_refresh(robot, new.status = 'Assigned'
                                                  and robot = new.serial);

        -- also when its demands stay as they are: who shows the robot shows
        -- its delivery's status, too, and follows change_txid
        update coco.resource r set change_txid = pg_current_xact_id()
         where r.id = robot and r.change_txid <> pg_current_xact_id();

        if robot = old.serial then
            perform coco.robot_shadow_refresh(robot);
        end if;
    end loop;

    perform coco.delivery_event_put(new, old.status, p_reason);

    return new;
end $$;


-- As it was, with its demand.
create or replace function coco.delivery_create(p_caller text, p_route text,
                                                p_key text, p_body_hash bytea,
                                                p_body jsonb,
                                                out status integer,
                                                out response text)
language plpgsql as $$
declare
    new coco.delivery;
    kin uuid;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    insert into coco.delivery as d
           (provider, external_id, store, status, loading_flow, pin,
            pickup_latitude, pickup_longitude, pickup_address,
            dropoff_latitude, dropoff_longitude, dropoff_address, ready_at,
            changes, created_at, updated_at)
    select p_body ->> 'provider', p_body ->> 'externalId', p_body ->> 'store',
           'Created',
           coalesce(p_body ->> 'loadingFlow', i.loading_flow,
                    case p_body ->> 'provider' when 'uber' then 'MAGIC_LID'
                    end),
           coalesce(p_body ->> 'pin', i.pin),
           (p_body #>> '{pickup,latitude}')::double precision,
           (p_body #>> '{pickup,longitude}')::double precision,
           p_body #>> '{pickup,address}',
           (p_body #>> '{dropoff,latitude}')::double precision,
           (p_body #>> '{dropoff,longitude}')::double precision,
           p_body #>> '{dropoff,address}',
           coco.from_ms((p_body ->> 'readyAt')::numeric::bigint),
           1, at, at
      from date_trunc('milliseconds', clock_timestamp()) at
      left join coco.integration i
             on i.provider = p_body ->> 'provider'
            and i.store = p_body ->> 'store'
    on conflict (provider, external_id) do nothing
    returning d.* into new;

    if found then
        perform coco.demand_follow(new);
        perform coco.delivery_event_put(new, null, null);
        status := 201;
        response := coco.delivery_document(new);
    else
        select d.id into kin from coco.delivery d
         where d.provider = p_body ->> 'provider'
           and d.external_id = p_body ->> 'externalId';
        status := 409;
        response := format('Delivery %s has this provider and externalId.',
                           kin);
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- POST /demands.  p_body is the request's, checked.
create function coco.demand_create(p_caller text, p_route text, p_key text,
                                   p_body_hash bytea, p_body jsonb,
                                   out status integer, out response text)
language plpgsql as $$
declare
    robot text := p_body ->> 'serial';
    ready timestamptz := coco.from_ms((p_body ->> 'readyAt')::numeric::bigint);
    new   coco.demand;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    if robot is not null
       and not exists (select from coco.resource r where r.id = robot)
    then
        status := 422;
        response := 'serial: no robot has this serial.';
    else
        insert into coco.demand as d
               (type, serial, pickup_latitude, pickup_longitude,
                dropoff_latitude, dropoff_longitude, ready_at, created_at,
                updated_at)
        select case when p_body ->> 'type' in ('ACTIVE', 'PENDING')
                    then p_body ->> 'type' else coco.demand_waits(ready) end,
               robot,
               (p_body #>> '{pickup,latitude}')::double precision,
               (p_body #>> '{pickup,longitude}')::double precision,
               (p_body #>> '{dropoff,latitude}')::double precision,
               (p_body #>> '{dropoff,longitude}')::double precision,
               ready, at, at
          from date_trunc('milliseconds', clock_timestamp()) at
        returning d.* into new;

        perform coco.supply_demand_refresh(robot, true);
        status := 201;
        response := coco.demand_document(new);
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- DELETE /demands/{id}.
create function coco.demand_delete(p_caller text, p_route text, p_key text,
                                   p_body_hash bytea, p_id uuid,
                                   out status integer, out response text)
language plpgsql as $$
declare
    old coco.demand;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    delete from coco.demand d where d.id = p_id and d.delivery_id is null
    returning d.* into old;

    if found then
        perform coco.supply_demand_refresh(old.serial);
        status := 204;
        response := '';
    elsif exists (select from coco.demand d where d.id = p_id) then
        status := 409;
        response := 'The demand is a delivery''s: cancel the delivery.';
    else
        status := 404;
        response := 'No demand has this id.';
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- POST /quote that holds the robot until p_expires_ms, unless it is no longer
-- as the planner saw it (changed_at in ms, 0: never, and demand_version), or is
-- promised: then 409, and its line.  p_response is the quote, made before.
-- Without a serial it is one that found no robot: what is kept is the answer.
create function coco.quote_hold(p_caller text, p_route text, p_key text,
                                p_body_hash bytea, p_id uuid, p_serial text,
                                p_business_ms bigint,
                                p_demand_version bigint, p_expires_ms bigint,
                                p_response text,
                                out status integer, out response text)
language plpgsql as $$
declare
    robot coco.resource;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    if p_serial is null then
        status := 200;
        response := p_response;
        perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                        response);
        return;
    end if;

    select * into robot from coco.resource r where r.id = p_serial for update;

    if coalesce(coco.to_ms(robot.business_changed_at), 0) = p_business_ms
       and robot.demand_version = p_demand_version
       and robot.demands = 0
       and coalesce(robot.held_until, '-infinity') <= clock_timestamp()
    then
        insert into coco.quote (id, serial, created_at, expires_at)
        values (p_id, p_serial,
                date_trunc('milliseconds', clock_timestamp()),
                coco.from_ms(p_expires_ms));

        update coco.resource r
           set held_until = coco.from_ms(p_expires_ms),
               held_by = p_id,
               demand_version = robot.demand_version + 1,
               change_txid = pg_current_xact_id()
         where r.id = p_serial;

        status := 200;
        response := p_response;
    else
        status := 409;
        response := coalesce(coco.supply_line(robot), '');
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- DELETE /quote/{id}.
create function coco.quote_release(p_caller text, p_route text, p_key text,
                                   p_body_hash bytea, p_id uuid,
                                   out status integer, out response text)
language plpgsql as $$
declare
    robot text;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    select q.serial into robot from coco.quote q where q.id = p_id;

    if found then
        -- what others hold since stays
        update coco.resource r
           set held_until = null,
               held_by = null,
               demand_version = r.demand_version + 1,
               change_txid = pg_current_xact_id()
         where r.id = robot and r.held_by = p_id;

        update coco.quote q set released_at = clock_timestamp()
         where q.id = p_id and q.released_at is null;

        if not found then
            perform coco.supply_tell(array[robot]);
        end if;

        status := 204;
        response := '';
    else
        status := 404;
        response := 'No quote that held a robot has this id.';
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- PUT …/external-mappings/{provider}/{providerVehicleId}.
create function coco.mapping_put(p_caller text, p_route text, p_key text,
                                 p_body_hash bytea, p_provider text,
                                 p_vehicle text, p_serial text,
                                 out status integer, out response text)
language plpgsql as $$
declare
    mapped text;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    insert into coco.external_robot_mapping as m
           (provider, provider_vehicle_id, serial)
    values (p_provider, p_vehicle, p_serial)
    on conflict do nothing;

    select m.serial into mapped from coco.external_robot_mapping m
     where m.provider = p_provider and m.provider_vehicle_id = p_vehicle;

    if mapped = p_serial then
        status := 200;
        select row_to_json(reply)::text into response
          from (select p_provider as provider,
                       p_vehicle as "providerVehicleId",
                       p_serial as serial) reply;
    else
        status := 409;
        response := format('The vehicle is mapped to robot %s.', mapped);
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- Lets time pass in the supply: robots that were not heard for so long are
-- OFFLINE, and demands whose time has come PENDING; both are told.  Returns how
-- many rows it changed, 1,000 of either at most.  One session does it at a
-- time; it waits for nobody's locks.
create function coco.supply_sweep(p_online_ms bigint)
returns integer language plpgsql as $$
declare
    at     timestamptz := date_trunc('milliseconds', clock_timestamp());
    heard  timestamptz := at - p_online_ms * interval '1 millisecond';
    swept  integer := 0;
    robot  text;
    due    coco.demand;
begin
    if not pg_try_advisory_xact_lock(hashtext('coco.supply_sweep')) then
        return 0;
    end if;

    for robot in
        with silent as (
            select r.id from coco.resource r
             where r.telemetry_order_ts < heard
               and r.data ->> 'status' = 'ONLINE'
             limit 1000 for update skip locked)
        update coco.resource r
           set data = r.data || '{"status":"OFFLINE"}'
          from silent where r.id = silent.id
        returning r.id
    loop
        perform coco.outbox_put('DispatchEngine.SupplyEvent', robot, at,
                                '{"status":"OFFLINE"}');
        swept := swept + 1;
    end loop;

    for due in
        select * from coco.demand d
         where d.type = 'SCHEDULED' and d.ready_at <= at
         limit 1000 for update skip locked
    loop
        if due.serial is not null then
            perform from coco.resource r where r.id = due.serial
               for update skip locked;
            continue when not found;
        end if;

        update coco.demand d set type = 'PENDING', updated_at = at
         where d.id = due.id;
        perform coco.supply_demand_refresh(due.serial);
        swept := swept + 1;
    end loop;

    return swept;
end $$;


-- Forgets quotes that ended a day ago.  Returns how many, 10,000 at most.
create function coco.quote_clean()
returns integer language plpgsql as $$
declare
    cleaned integer;
begin
    delete from coco.quote where id = any (array(
        select q.id from coco.quote q
         where q.expires_at < now() - interval '24 hours'
         order by q.expires_at limit 10000));

    get diagnostics cleaned = row_count;

    return cleaned;
end $$;


-- What there is already.
select coco.demand_follow(d) from coco.delivery d
 where d.status not in ('Completed', 'Canceled');

insert into coco.resource (id, data, telemetry_id, telemetry_ts,
                           telemetry_order_ts, lid_open, lid_at,
                           business_changed_at, demands)
select known.serial,
       known.data || jsonb_build_object('tripType', coco.trip_type(
           known.data ->> 'operationState', known.data -> 'activeDemand',
           known.data -> 'deployed')),
       known.telemetry_id, known.telemetry_ts, known.telemetry_order_ts,
       known.lid_open, known.lid_at, known.business_changed_at,
       jsonb_array_length(known.data -> 'futureDemand')
       + (known.data -> 'activeDemand' <> 'null')::integer
  from (select s.serial, f.telemetry_id, f.telemetry_ts, f.telemetry_order_ts,
               l.lid_open, l.lid_at,
               nullif(o.changed_at, '-infinity') as business_changed_at,
               coco.supply_blank(s.serial)
               || case when f.telemetry_order_ts is null then '{}' else
                  jsonb_build_object(
                      'status', case when f.telemetry_order_ts
                                          >= now() - interval '60 seconds'
                                     then 'ONLINE' else 'OFFLINE' end,
                      'battery', f.battery_percent,
                      'lastSynced', coco.to_ms(f.telemetry_order_ts),
                      'healthy', f.healthy,
                      'location', jsonb_build_object(
                          'latitude', f.latitude,
                          'longitude', f.longitude)) end
               || case when isfinite(o.changed_at)
                       then coco.business_state(o) else '{}' end
               || coco.supply_demands(s.serial) as data
          from (select serial from coco.fleet_robot
                union select serial from coco.robot_operation
                union select serial from coco.demand where serial is not null
                union select driver_name from coco.delivery_attempt) s
          left join coco.fleet_robot f using (serial)
          left join coco.robot_operation o using (serial)
          left join lateral (
              select (h.details #>> '{lid,open}')::boolean as lid_open,
                     h.order_ts as lid_at
                from coco.robot_state h
               where h.serial = s.serial
                 and h.details #>> '{lid,open}' is not null
              union all
              select b.is_open, b.changed_at from coco.lid_robot b
               where b.serial = s.serial and b.is_open is not null
                 and b.changed_at is not null
              order by 2 desc limit 1) l on true
         order by s.serial collate "C") known;
