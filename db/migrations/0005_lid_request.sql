-- Requests to open a lid: commands to robots, made by one statement each.
-- Their answer is 202 and the command's id when its outcome is to be waited
-- for, else final.


-- As it was, with plans that a session keeps, and nothing to do without a key.
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
           set status = p_status, response = p_response
         where caller = p_caller and route = p_route and key = p_key;
    end if;
end $$;


-- Somebody else waits for a command.  Once there is an outcome nobody is told
-- any more: who waits looks first.
create function coco.lid_join(p_command uuid, p_reply_to text)
returns void language sql as $$
    update coco.robot_command set reply_to = array_append(reply_to, p_reply_to)
     where id = p_command and outcome is null
       and p_reply_to is not null and p_reply_to <> all (reply_to)
$$;


-- Commands a robot to open its lid, unless it moves, and puts down in the
-- history what was asked for, and by whom in the command.  The command expires
-- a little before those who wait give up, so that they can be told of what
-- came at the last moment; its outcome is EXPIRED only once they have.  Who
-- calls it wakes the worker after the commit:
-- transactions that notify commit one by one.
create function coco.lid_command(p_caller text, p_serial text, p_source text,
                                 p_reference text, p_timeout_ms bigint,
                                 p_reply_to text,
                                 out status integer, out response text)
language plpgsql as $$
declare
    v_id      uuid := gen_random_uuid();
    v_now     timestamptz := date_trunc('milliseconds', clock_timestamp());
    v_expires timestamptz := v_now + interval '1 millisecond'
                             * (p_timeout_ms
                                - least(1000, p_timeout_ms / 10));
    v_speed   double precision;
begin
    select (s.details #>> '{location,speed}')::double precision into v_speed
      from coco.robot_state s where s.serial = p_serial;

    if v_speed > 0.1 then
        status := 409;
        response := format('The robot moves at %s m/s.',
                           trim_scale(round(v_speed::numeric, 3)));

        insert into coco.lid_cycle_event_history
               (id, serial, type, ts, received_at, source, reference_id,
                reason)
        values (coco.id_derive('LID_OPEN_REFUSED ' || v_id), p_serial,
                'LID_OPEN_REFUSED', v_now, v_now, p_source, p_reference,
                response);
        return;
    end if;

    insert into coco.robot_command
           (id, serial, command, source, reference_id, caller, issued_at,
            expires_at, reply_to, next_send_at)
    values (v_id, p_serial, 'OPEN_LID', p_source, p_reference, p_caller,
            v_now, v_expires,
            array_remove(array[p_reply_to], null), v_now);

    insert into coco.lid_cycle_event_history
           (id, serial, type, ts, received_at, command_id, source,
            reference_id)
    values (coco.id_derive('LID_OPEN_REQUEST ' || v_id), p_serial,
            'LID_OPEN_REQUEST', v_now, v_now, v_id::text, p_source,
            p_reference);

    perform coco.robot_task_put(coco.id_derive('EXPIRY ' || v_id), p_serial,
                                'EXPIRY', v_now + interval '1 millisecond'
                                          * p_timeout_ms,
                                jsonb_build_object('command', v_id));

    status := 202;
    response := v_id;
end $$;


-- POST /state/{serial}/lid/open.
create function coco.lid_open(p_caller text, p_route text, p_key text,
                              p_body_hash bytea, p_serial text, p_source text,
                              p_reference text, p_timeout_ms bigint,
                              p_reply_to text,
                              out status integer, out response text)
language plpgsql as $$
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status is null then
        select c.status, c.response into status, response
          from coco.lid_command(p_caller, p_serial, p_source, p_reference,
                                p_timeout_ms, p_reply_to) c;

        perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                        response);
    elsif status = 202 then
        perform coco.lid_join(response::uuid, p_reply_to);
    end if;
end $$;


-- POST /open-lid-for-load, the QR flow.
create function coco.lid_open_for_load(p_caller text, p_route text,
                                       p_key text, p_body_hash bytea,
                                       p_delivery uuid, p_timeout_ms bigint,
                                       p_reply_to text,
                                       out status integer, out response text)
language plpgsql as $$
declare
    v_serial text;
    v_status text;
begin
    select b.status, b.response into status, response
      from coco.idempotency_begin(p_caller, p_route, p_key, p_body_hash) b;

    if status = 202 then
        perform coco.lid_join(response::uuid, p_reply_to);
    end if;

    if status is not null then
        return;
    end if;

    -- what is being reassigned or canceled is waited for
    select d.serial, d.status into v_serial, v_status
      from coco.delivery d where d.id = p_delivery for share;

    if not found then
        status := 404;
        response := 'No delivery has this id.';
    elsif v_status not in ('Assigned', 'EnrouteToPickup', 'AtPickup') then
        status := 409;
        response := format('The delivery is %s; a lid is opened for loading '
                           'while it is Assigned, EnrouteToPickup or '
                           'AtPickup.', v_status);
    else
        select c.status, c.response into status, response
          from coco.lid_command(p_caller, v_serial, 'QR', p_delivery::text,
                                p_timeout_ms, p_reply_to) c;
    end if;

    perform coco.idempotency_finish(p_caller, p_route, p_key, status,
                                    response);
end $$;
