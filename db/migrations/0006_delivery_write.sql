-- Deliveries: how they are written, and how they are shown.


-- The pages of GET /deliveries, newest first.
create index delivery_serial on coco.delivery
    (serial, created_at desc, id desc) where serial is not null;
create index delivery_status on coco.delivery
    (status, created_at desc, id desc);


-- As before, of immutable parts alone: so the planner takes these into the
-- statements, where a call for every value had cost more than the rows.
create or replace function coco.to_ms(at timestamptz)
returns bigint language sql immutable parallel safe as $$
    select case when isfinite(at)
                then (extract(epoch from timezone('UTC', at)) * 1000)::bigint
           end
$$;


create or replace function coco.from_ms(ms bigint)
returns timestamptz language sql immutable parallel safe as $$
    select timezone('UTC', timestamp 'epoch' + ms * interval '1 millisecond')
$$;


-- Changes the business state of a robot, heard of or not, where p_changes
-- (columns of robot_operation; null clears one) differs from what stands.
create function coco.robot_operation_change(p_serial text, p_changes jsonb)
returns coco.robot_operation language plpgsql as $$
declare
    old coco.robot_operation;
    new coco.robot_operation;
begin
    insert into coco.robot_operation (serial, operation_state, changed_at)
    values (p_serial, 'OFF_DUTY', '-infinity')
    on conflict do nothing;

    select * into old from coco.robot_operation o
     where o.serial = p_serial for update;

    new := jsonb_populate_record(old, p_changes);

    if new is distinct from old then
        -- ascends for each robot, whatever the clocks say
        new.changed_at := greatest(
            date_trunc('milliseconds', clock_timestamp()),
            old.changed_at + interval '1 millisecond');
        perform coco.robot_operation_set(old, new);
    end if;

    return new;
end $$;


-- PATCH /robots/{serial}, of a robot that was heard of.
create or replace function coco.robot_patch(p_caller text, p_route text,
                                            p_key text, p_body_hash bytea,
                                            p_serial text, p_changes jsonb,
                                            out status integer,
                                            out response text)
language plpgsql as $$
declare
    new coco.robot_operation;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    if not exists (select from coco.robot_operation o
                    where o.serial = p_serial) then
        status := 404;
        response := 'No robot has this serial.';
    else
        new := coco.robot_operation_change(p_serial, p_changes);
        status := 200;

        -- a row's JSON is as compact and ordered as that of GET
        select row_to_json(reply)::text into response
          from (select p_serial as serial,
                       new.operation_state as "operationState",
                       (select row_to_json(business)
                          from (select new.needs_movement as "needsMovement",
                                       new.undergoing_maintenance
                                           as "undergoingMaintenance",
                                       new.needs_maintenance
                                           as "needsMaintenance",
                                       new.needs_pickup as "needsPickup",
                                       new.has_food as "hasFood",
                                       new.driveable as driveable,
                                       new.deployed as deployed,
                                       coco.to_ms(new.changed_at)
                                           as "changedAt")
                               business) as business) reply;
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;


-- A robot's shadow holds the PIN of its delivery at the pickup, no other.
-- The notification only wakes.
create function coco.robot_shadow_refresh(p_serial text)
returns void language plpgsql as $$
declare
    wanted text;
    held   boolean;
begin
    -- the lock first: what is wanted then counts whoever had it before
    perform from coco.robot_shadow s where s.serial = p_serial for update;
    held := found;

    select d.pin into wanted from coco.delivery d
     where d.serial = p_serial and d.status = 'AtPickup'
     order by d.updated_at desc, d.id limit 1;

    if not held and wanted is null then
        return;
    end if;

    -- next_send_at stays: while the version before is on its way, it says for
    -- how long this one must not overtake it
    insert into coco.robot_shadow as s (serial, pin) values (p_serial, wanted)
    on conflict (serial) do update
       set pin = excluded.pin, version = s.version + 1
     where s.pin is distinct from excluded.pin;

    if found then
        perform pg_notify('coco_command', '');
    end if;
end $$;


-- One change of a delivery, told: its row and its event.  Their id is derived
-- from the delivery and the number of the change.
create function coco.delivery_event_put(d coco.delivery, p_previous text,
                                        p_reason text)
returns void language plpgsql as $$
declare
    event_id uuid := coco.id_derive('Deliveries.DeliveryEvent' || d.id
                                    || d.changes);
    robot    text := coalesce(d.serial, d.id::text);
begin
    insert into coco.delivery_event (delivery_id, number, id, status,
                                     previous_status, serial, ts, reason)
    values (d.id, d.changes, event_id, d.status, p_previous, d.serial,
            d.updated_at, p_reason);

    insert into coco.outbox (id, name, serial, payload)
    values (event_id, 'Deliveries.DeliveryEvent', robot,
            jsonb_build_object('id', event_id,
                               'name', 'Deliveries.DeliveryEvent',
                               'serial', robot,
                               'ts', coco.to_ms(d.updated_at),
                               'data', jsonb_build_object(
                                   'deliveryId', d.id,
                                   'status', d.status,
                                   'previousStatus', p_previous)));
end $$;


-- Writes a change of a delivery with all that follows from it: the state of
-- its robot, the PIN in the robot's shadow, the attempts, the event.  The
-- caller holds the lock on old and has decided that the change is allowed.
-- p_at is when it happened; the changes of a delivery ascend whatever it is,
-- and none is ahead of our clock.
create function coco.delivery_set(old coco.delivery, new coco.delivery,
                                  p_at timestamptz, p_reason text)
returns coco.delivery language plpgsql as $$
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

    if old.serial is not null then
        perform coco.robot_shadow_refresh(old.serial);
    end if;

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

    perform coco.delivery_event_put(new, old.status, p_reason);

    return new;
end $$;


-- What a message changes: true when the delivery was in p_from and is now in
-- p_to, at p_at by the robot's clock.  p_cycle is the lid cycle that loaded it.
-- With p_to = p_from only the early close is kept.
create function coco.delivery_apply(p_delivery uuid, p_from text, p_to text,
                                    p_at timestamptz, p_cycle uuid,
                                    p_early_close timestamptz)
returns boolean language plpgsql as $$
declare
    old coco.delivery;
    new coco.delivery;
begin
    select * into old from coco.delivery d
     where d.id = p_delivery and d.status = p_from for update;

    if not found then
        return false;
    end if;

    new := old;
    new.early_close_at := greatest(old.early_close_at, p_early_close);

    if p_to = p_from then
        update coco.delivery d set early_close_at = new.early_close_at
         where d.id = p_delivery;
        return true;
    end if;

    new.status := p_to;
    new.arrived_at := case when p_to in ('AtPickup', 'AtDropoff') then p_at
                      end;

    if p_to = 'LoadedWaitingForPilot' then
        new.loaded_cycle := p_cycle;
        new.loaded_at := p_at;
    end if;

    perform coco.delivery_set(old, new, p_at, null);

    return true;
end $$;


-- A delivery as the HTTP replies show it: never its PIN.
create function coco.delivery_document(d coco.delivery)
returns text language sql stable parallel safe as $$
    select row_to_json(reply)::text from (
        select d.id, d.status, d.serial, d.provider,
               d.external_id as "externalId", d.store,
               d.loading_flow as "loadingFlow",
               (select row_to_json(place)
                  from (select d.pickup_latitude as latitude,
                               d.pickup_longitude as longitude,
                               d.pickup_address as address) place) as pickup,
               (select row_to_json(place)
                  from (select d.dropoff_latitude as latitude,
                               d.dropoff_longitude as longitude,
                               d.dropoff_address as address) place) as dropoff,
               coco.to_ms(d.ready_at) as "readyAt",
               (select ('[' || coalesce(string_agg(row_to_json(attempt)::text,
                                                   ','
                                                   order by attempt.number),
                                        '') || ']')::json
                  from (select a.number, a.driver_name as serial,
                               coco.to_ms(a.assigned_at) as "assignedAt",
                               coco.to_ms(a.ended_at) as "endedAt",
                               a.cancellation_reason as "cancellationReason"
                          from coco.delivery_attempt a
                         where a.delivery_id = d.id) attempt) as attempts,
               d.cancel_reason as "cancelReason",
               coco.to_ms(d.created_at) as "createdAt",
               coco.to_ms(d.updated_at) as "updatedAt") reply
$$;


-- POST /deliveries.  p_body is the request's, checked.  What it does not say
-- is as the store's row of integration has it; Uber's robots open by Magic
-- Lid.
create function coco.delivery_create(p_caller text, p_route text, p_key text,
                                     p_body_hash bytea, p_body jsonb,
                                     out status integer, out response text)
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


-- POST /deliveries/{id}/….  p_moves is the row of the machine for this event,
-- as coco_delivery_moves_encode() in the core gives it; p_body, the request's,
-- may name the robot (assign) or the reason (cancel).  To be assigned again to
-- its robot changes nothing while it is only assigned.
create function coco.delivery_move(p_caller text, p_route text, p_key text,
                                   p_body_hash bytea, p_delivery uuid,
                                   p_moves jsonb, p_body jsonb,
                                   out status integer, out response text)
language plpgsql as $$
declare
    old  coco.delivery;
    new  coco.delivery;
    move jsonb;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is not null then
        return;
    end if;

    select * into old from coco.delivery d where d.id = p_delivery for update;
    move := p_moves -> old.status;

    if old.id is null then
        status := 404;
        response := 'No delivery has this id.';

    elsif not (move -> 'allowed')::boolean then
        status := 409;
        response := format('A delivery that is %s cannot become %s.',
                           old.status, move ->> 'to');

    else
        new := old;
        new.status := move ->> 'to';
        new.serial := coalesce(p_body ->> 'serial', old.serial);
        new.cancel_reason := p_body ->> 'reason';
        new.arrived_at := null;

        if new is distinct from old then
            new := coco.delivery_set(old, new, clock_timestamp(),
                                     new.cancel_reason);
        end if;

        status := 200;
        response := coco.delivery_document(new);
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;
