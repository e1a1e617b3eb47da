-- What the HTTP modules ask of the database in one statement.


-- Milliseconds since the epoch, as all times on the wire are.  '-infinity',
-- which says that something never was, is null.
create function coco.to_ms(at timestamptz)
returns bigint language sql immutable parallel safe as $$
    select case when isfinite(at)
                then (extract(epoch from at) * 1000)::bigint end
$$;


create function coco.from_ms(ms bigint)
returns timestamptz language sql immutable parallel safe as $$
    select 'epoch'::timestamptz + ms * interval '1 millisecond'
$$;


-- Of the details of a heartbeat: said, else true unless a component is ERROR.
create function coco.heartbeat_healthy(details jsonb)
returns boolean language sql immutable parallel safe as $$
    select coalesce((details ->> 'healthy')::boolean,
                    not details @? '$.components.* ? (@ == "ERROR")')
$$;


-- The first issue that keeps a robot from working, null when it is ready.
-- The list, the order and the meaning of null are those of
-- coco_readiness_issue() in the core; a suite compares the two.
create function coco.readiness_issue(undergoing_maintenance boolean,
                                     needs_maintenance boolean,
                                     needs_pickup boolean,
                                     driveable boolean,
                                     online boolean,
                                     healthy boolean,
                                     battery_percent double precision,
                                     low_battery_percent double precision,
                                     operation_state text,
                                     remotely_controllable boolean,
                                     teleoperation_required boolean)
returns text language sql immutable parallel safe as $$
    select case
        when undergoing_maintenance then 'UNDERGOING_MAINTENANCE'
        when needs_maintenance then 'NEEDS_MAINTENANCE'
        when needs_pickup then 'NEEDS_PICKUP'
        when not driveable then 'NOT_DRIVEABLE'
        when not coalesce(online, false) then 'OFFLINE'
        when not healthy then 'UNHEALTHY'
        when battery_percent < low_battery_percent then 'LOW_BATTERY'
        when operation_state in ('OFF_DUTY', 'GROUNDED') then operation_state
        when teleoperation_required
             and not coalesce(remotely_controllable, false)
            then 'NOT_REMOTELY_CONTROLLABLE'
    end
$$;


-- The data of Robots.BusinessStateChange: every business flag.
create function coco.business_state(op coco.robot_operation)
returns jsonb language sql immutable parallel safe as $$
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


-- Puts one event into the outbox, in its envelope.
create function coco.outbox_put(event text, robot text, at timestamptz,
                                data jsonb)
returns void language sql as $$
    insert into coco.outbox (id, name, serial, payload)
    select id, event, robot,
           jsonb_build_object('id', id, 'name', event, 'serial', robot,
                              'ts', coco.to_ms(at), 'data', data)
    from gen_random_uuid() as id
$$;


-- Idempotency-Key.  A write calls begin first and finish last, in one
-- transaction.  begin returns no status when the write is to be done: no key
-- was given, or this is its first use in 24 hours.  Otherwise it returns the
-- answer: the one kept, or 422 when the key came with another body.  While
-- the first write is under way a repeat waits in begin, on the primary key.
create function coco.idempotency_begin(p_caller text, p_route text,
                                       p_key text, p_body_hash bytea,
                                       out status integer, out response text)
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
    end if;
end $$;


-- What refuses the request is not kept: the key may be used again.
create function coco.idempotency_finish(p_caller text, p_route text,
                                        p_key text, p_status integer,
                                        p_response text)
returns void language sql as $$
    delete from coco.idempotency_key
     where caller = p_caller and route = p_route and key = p_key
       and p_status >= 400;

    update coco.idempotency_key set status = p_status, response = p_response
     where caller = p_caller and route = p_route and key = p_key;
$$;


-- PATCH /robots/{serial}.  changes names columns of robot_operation; null
-- clears one.  Locks robot_operation before fleet_robot, as the worker does.
create function coco.robot_patch(p_caller text, p_route text, p_key text,
                                 p_body_hash bytea, p_serial text,
                                 p_changes jsonb,
                                 out status integer, out response text)
language plpgsql as $$
declare
    old coco.robot_operation;
    new coco.robot_operation;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    select * into old from coco.robot_operation o
     where o.serial = p_serial for update;

    if not found then
        status := 404;
        response := 'No robot has this serial.';
        perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                        response);
        return;
    end if;

    new := jsonb_populate_record(old, p_changes);

    if new is distinct from old then
        -- ascends for each robot, whatever the clocks say
        new.changed_at := greatest(
            date_trunc('milliseconds', clock_timestamp()),
            old.changed_at + interval '1 millisecond');
        perform coco.robot_operation_set(old, new);
    end if;

    status := 200;

    -- a row's JSON is as compact and ordered as that of GET
    select row_to_json(reply)::text into response
      from (select p_serial as serial,
                   new.operation_state as "operationState",
                   (select row_to_json(business)
                      from (select new.needs_movement as "needsMovement",
                                   new.undergoing_maintenance
                                       as "undergoingMaintenance",
                                   new.needs_maintenance as "needsMaintenance",
                                   new.needs_pickup as "needsPickup",
                                   new.has_food as "hasFood",
                                   new.driveable as driveable,
                                   new.deployed as deployed,
                                   coco.to_ms(new.changed_at) as "changedAt")
                           business) as business) reply;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- Writes a change of the business state everywhere it is read from, with its
-- history and its events.  The caller holds the lock on robot_operation.
create function coco.robot_operation_set(old coco.robot_operation,
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
end $$;


-- POST /dead-letters/{id}/replay.  The row asks; the notification only wakes.
create function coco.dead_letter_replay(p_caller text, p_route text,
                                        p_key text, p_body_hash bytea,
                                        p_id uuid,
                                        out status integer, out response text)
language plpgsql as $$
declare
    asked_at timestamptz;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    update coco.dead_letter d
       set replayed_at = date_trunc('milliseconds', clock_timestamp()),
           replay_outcome = null
     where d.id = p_id
    returning d.replayed_at into asked_at;

    if found then
        perform pg_notify('coco_replay', p_id::text);
        status := 202;
        select row_to_json(reply)::text into response
          from (select p_id as id,
                       coco.to_ms(asked_at) as "replayedAt") reply;
    else
        status := 404;
        response := 'No dead letter has this id.';
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;
