-- Dispatch: the supply, demands, held quotes; and how each of them is written.


-- Dispatch service.  What the planner knows of a robot: id is its serial, data
-- a LegacyRobot, of which each writer changes its own fields alone: telemetry
-- (status, battery, lastSynced, healthy, location) by the order of heartbeats,
-- business (the flags, operationState, deployed) by business_changed_at,
-- demands (futureDemand, activeDemand, attemptCancellationReason) and what
-- holds the robot (held_by is the quote) under the row's lock, counted by
-- demand_version; tripType follows from both.  lid_open is what a heartbeat or an event of the time
-- lid_at said.  change_txid is the transaction that changed anything else than
-- telemetry and lid last: what an nginx polls for.  Locked after all other
-- tables but robot_shadow, and by who locks several in the order of the keys.
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
-- a suite compares the two.
create function coco.supply_line(r coco.resource)
returns text language sql immutable parallel safe as $$
    select r.id
        || case when r.telemetry_order_ts is null then '' else
               ' T ' || round((r.data #>> '{location,latitude}')::numeric
                              * 10000000)::integer
            || ' ' || round((r.data #>> '{location,longitude}')::numeric
                            * 10000000)::integer
            || ' ' || (r.data ->> 'battery')
            || ' ' || coco.to_ms(r.telemetry_order_ts)
            || ' ' || coco.to_ms(r.telemetry_ts)
            || ' ' || r.telemetry_id
            || case r.data -> 'healthy' when 'true' then ' 1' else ' 0' end
           end
        || case when r.business_changed_at is null then '' else
               ' B ' || coalesce(coco.to_ms(r.business_changed_at), 0)
            || ' ' || (r.data ->> 'operationState')
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
returns jsonb language sql immutable parallel safe as $$
    select jsonb_build_object(
        'serial', p_serial, 'status', 'OFFLINE', 'battery', null,
        'lastSynced', null, 'healthy', null, 'deployed', null,
        'location', null, 'futureDemand', '[]'::jsonb, 'activeDemand', null,
        'needsMovement', null, 'hasFood', null, 'tripType', null,
        'needsMaintenance', null, 'needsPickup', null, 'driveable', null,
        'operationState', null, 'attemptCancellationReason', null,
        'undergoingMaintenance', null)
$$;


-- Changes members of a robot's data, where they differ from what stands, and
-- tells which did.  p_changes holds business or demand members alone.
create function coco.supply_put(p_serial text, p_changes jsonb,
                                p_at timestamptz)
returns void language plpgsql as $$
declare
    old jsonb;
    new jsonb;
begin
    insert into coco.resource (id, data)
    values (p_serial, coco.supply_blank(p_serial))
    on conflict do nothing;

    select r.data into old from coco.resource r where r.id = p_serial
       for update;

    new := old || p_changes;
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


-- The lines of the robots that this transaction changed, each with its
-- newline.  Volatile, so that it sees what the statement that selects it has
-- written.
create function coco.supply_changes()
returns text language plpgsql as $$
begin
    return coalesce((select string_agg(coco.supply_line(r) || e'\n', ''
                                       order by r.id collate "C")
                       from coco.resource r
                      where r.change_txid = pg_current_xact_id_if_assigned()),
                    '');
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
