-- Dispatch: the supply, demands, held quotes; and how each of them is written.


-- Dispatch service.  What the planner knows of a robot: id is its serial, data
-- a LegacyRobot, of which each writer changes its own fields alone: telemetry
-- (status, battery, lastSynced, healthy, location) by the order of heartbeats,
-- business (the flags, operationState, deployed) by business_changed_at,
-- demands (futureDemand, activeDemand, attemptCancellationReason) and what
-- holds the robot under the row's lock, counted by demand_version; tripType
-- follows from both.  lid_open is what a heartbeat or an event of the time
-- lid_at said.  change_txid is the transaction that changed anything else than
-- telemetry and lid last: what an nginx polls for.
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
    demand_version       bigint      not null default 0,
    change_txid          xid8        not null default pg_current_xact_id()
) with (fillfactor = 50);

create index resource_change on coco.resource (change_txid);


-- Dispatch service.  What a robot is wanted for.  That of a delivery has its
-- id, and lives from its creation until it is over.  type is PENDING,
-- SCHEDULED (ready_at is to come) or ACTIVE (a robot is on its way).
create table coco.demand (
    id                 uuid        primary key default gen_random_uuid(),
    delivery_id        uuid        unique references coco.delivery,
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
