"""What robots and deliveries do, through the whole worker and the database's
functions, as a city is told of it."""

import json
import os
import subprocess
import time
import uuid

import pytest

import city
from process import rows
from stack import ROOT, wait_for

PICKUP = {"latitude": 34.0, "longitude": -118.0}
DROPOFF = {"latitude": 34.01, "longitude": -118.0}
LIFE = ["reservation_start", "reservation_stop", "trip_start",
        "order_pick_up", "trip_resume", "order_drop_off", "trip_end"]


@pytest.fixture
def one(stack, db, worker):
    """A worker with every service."""
    return worker("all").start().await_connected()


def beat(stack, serial, latitude=33.99, **members):
    subprocess.run(
        ["mosquitto_pub", "-p", str(stack.mqtt_port), "-q", "1", "-t",
         "robot/%s/status" % serial, "-s"],
        input=json.dumps(dict({
            "ts": int(time.time() * 1000), "state": "PARKED",
            "battery": {"percent": 50}, "location": {
                "latitude": latitude, "longitude": -118.0, "speed": 0}},
            **members)).encode(), check=True)


def create(stack):
    (status, response), = rows(
        stack, "select * from coco.delivery_create('me', 'r', null, null, %s)",
        json.dumps({"pickup": PICKUP, "dropoff": DROPOFF}))
    assert status == 201
    return json.loads(response)["id"]


def move(stack, delivery, to, **body):
    moves = {status: {"allowed": True, "to": to}
             for status in ["Created", *city.STATUSES]}
    (status, _), = rows(
        stack, "select * from coco.delivery_move('me', 'r', null, null, %s,"
        " %s, %s)", delivery, json.dumps(moves), json.dumps(body))
    assert status == 200


def change(stack, serial, **changes):
    rows(stack, "select coco.robot_operation_change(%s, %s)", serial,
         json.dumps(changes))


def await_status(stack, delivery, status):
    wait_for(lambda: rows(stack, "select status from coco.delivery"
                          " where id = %s", delivery) == [(status,)], 20,
             status)


def await_told(db, serial, *events, seconds=60):
    """That the robot's events end with these; all of them, checked."""
    def ends():
        found = city.told(db).get(serial, [])
        return [event for event, *_ in found][-len(events):] == list(events)
    try:
        wait_for(ends, seconds, "these events")
    finally:
        found = city.told(db).get(serial, [])
        print(serial, [event for event, *_ in found])
    city.check_legal(found)
    return found


METERS = 111195                         # of a degree of latitude


def trips(stack, serial):
    return rows(stack, "select trip_id::text, delivery_id::text, canceled,"
                " end_time is not null, distance from coco.mds_trip"
                " join coco.mds_vehicle using (device_id) where serial = %s"
                " order by start_time", serial)


def test_delivery(stack, db, one):
    """Its life: arrivals by heartbeats, the rest by its functions; the robot
    is told of with its places, and so is the trip."""
    beat(stack, "life-1")
    await_told(db, "life-1", "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="life-1")
    move(stack, delivery, "EnrouteToPickup")
    await_told(db, "life-1", "trip_start")
    beat(stack, "life-1", 33.995)
    beat(stack, "life-1", 34.0)
    await_status(stack, delivery, "AtPickup")
    move(stack, delivery, "LoadedWaitingForPilot")
    move(stack, delivery, "EnrouteToDropoff")
    beat(stack, "life-1", 34.01)
    await_status(stack, delivery, "AtDropoff")
    move(stack, delivery, "Completed")
    told = await_told(db, "life-1", *LIFE)
    assert [names for _, _, _, names in told] \
        == [()] * 2 + [(delivery,)] * len(LIFE)

    (trip, of, canceled, ended, distance), = trips(stack, "life-1")
    assert (trip, of, canceled, ended) == (delivery, delivery, False, True)
    assert abs(distance - 0.02 * METERS) < 1
    assert rows(stack, "select event_types[1], latitude, battery_percent"
                " from coco.mds_event where event_types[1]"
                " in ('trip_start', 'order_pick_up', 'trip_end')"
                " order by ts") == [("trip_start", 33.99, 50),
                                    ("order_pick_up", 34, 50),
                                    ("trip_end", 34.01, 50)]
    assert rows(stack, "select v.vehicle_state, e.event_types[1]"
                " from coco.mds_vehicle v join coco.mds_event e"
                " on e.event_id = v.event_id and e.ts = v.event_at"
                " where serial = 'life-1'") == [("available", "trip_end")]


def test_distance_to_the_first_heartbeat(stack, db, one):
    """It counts from where the trip began."""
    beat(stack, "way-1")
    await_told(db, "way-1", "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="way-1")
    move(stack, delivery, "EnrouteToPickup")
    await_told(db, "way-1", "trip_start")
    beat(stack, "way-1", 33.995)
    wait_for(lambda: rows(stack, "select count(*) from coco.state_history")
             == [(2,)], 60, "the heartbeat")
    move(stack, delivery, "Canceled", reason="closed")
    await_told(db, "way-1", "trip_pause", "provider_cancellation")
    (_, _, canceled, _, distance), = trips(stack, "way-1")
    assert canceled and abs(distance - 0.005 * METERS) < 1


def test_distance_without_heartbeats(stack, db, worker):
    """It is what lies between the places that are shown."""
    def stand(latitude):
        rows(stack, "insert into coco.resource as r (id, data) values"
             " ('mute-1', coco.supply_blank('mute-1') || %s::jsonb)"
             " on conflict (id) do update set data = r.data || %s::jsonb",
             *[json.dumps({"location": {"latitude": latitude,
                                        "longitude": -118.0}})] * 2)

    worker().start()
    stand(34.0)
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="mute-1")
    move(stack, delivery, "EnrouteToPickup")
    await_told(db, "mute-1", "trip_start")
    stand(34.02)
    move(stack, delivery, "Canceled", reason="closed")
    await_told(db, "mute-1", "provider_cancellation", "service_end")
    (*_, distance), = trips(stack, "mute-1")
    assert abs(distance - 0.02 * METERS) < 1


def test_offline_and_back(stack, db, one):
    """In the midst of a delivery, which goes on unseen; the state before it
    comes back, then what was missed is told."""
    def silent():
        rows(stack, "select coco.supply_sweep(0)")
        return rows(stack, "select data ->> 'status' from coco.resource"
                    " where id = 'silent-1'") == [("OFFLINE",)]

    beat(stack, "silent-1")
    await_told(db, "silent-1", "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="silent-1")
    wait_for(silent, 60, "silence")
    await_told(db, "silent-1", "reservation_start", "comms_lost")
    move(stack, delivery, "EnrouteToPickup")
    move(stack, delivery, "AtPickup")
    wait_for(lambda: rows(stack, "select count(*) from coco.mds_fact")
             == [(0,)], 60, "the facts to be taken")
    beat(stack, "silent-1")
    told = await_told(db, "silent-1", "comms_lost", "comms_restored",
                      "reservation_stop", "trip_start", "order_pick_up")
    assert [state for _, state, _, _ in told[-5:]] == [
        "non_contactable", "reserved", "stopped", "on_trip", "stopped"]


def test_maintenance(stack, db, one):
    beat(stack, "shop-1")
    await_told(db, "shop-1", "recommissioned", "service_start")
    change(stack, "shop-1", undergoing_maintenance=True)
    await_told(db, "shop-1", "service_end", "maintenance")
    change(stack, "shop-1", undergoing_maintenance=False)
    await_told(db, "shop-1", "maintenance_end", "service_start")
    change(stack, "shop-1", driveable=False)
    await_told(db, "shop-1", "service_end")


def test_late_business(stack, db, worker):
    """A change of before what is known says nothing, unless the record has
    taken it: the robot's clock may be behind."""
    def history(serial, state, seconds):
        rows(stack, "insert into coco.robot_state_history (id, robot_serial,"
             " operation_state, changed_at) values (gen_random_uuid(), %s,"
             " %s, now() - make_interval(secs => %s))", serial, state,
             seconds)

    worker().start()
    rows(stack, "insert into coco.robot_operation (serial, operation_state,"
         " changed_at) values ('late-2', 'PARKED', now())")
    history("late-2", "PARKED", 0)
    await_told(db, "late-2", "recommissioned", "service_start")
    history("late-2", "OFF_DUTY", 10)
    wait_for(lambda: rows(stack, "select count(*) from coco.mds_fact")
             == [(0,)], 60, "the fact to be taken")
    assert len(city.told(db)["late-2"]) == 2
    change(stack, "late-2", undergoing_maintenance=True)
    await_told(db, "late-2", "service_start", "service_end", "maintenance")
    with db, db.cursor() as cursor:
        cursor.execute("update coco.robot_operation set"
                       " undergoing_maintenance = null,"
                       " operation_state = 'DEPLOYED'"
                       " where serial = 'late-2'")
        cursor.execute("insert into coco.robot_state_history (id,"
                       " robot_serial, operation_state, changed_at) values"
                       " (gen_random_uuid(), 'late-2', 'DEPLOYED',"
                       " now() - interval '20 seconds')")
    await_told(db, "late-2", "maintenance", "maintenance_end",
               "service_start")


def test_reassignment(stack, db, one):
    """The robot that it was taken from is free again; the other's trip has an
    id of its own, and was asked for when the first one was."""
    for serial in ("first-1", "second-1"):
        beat(stack, serial)
        await_told(db, serial, "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="first-1")
    move(stack, delivery, "EnrouteToPickup")
    await_told(db, "first-1", *LIFE[:3])
    move(stack, delivery, "Assigned", serial="second-1")
    await_told(db, "first-1", "trip_pause", "provider_cancellation")
    for status in city.STATUSES[1:]:
        move(stack, delivery, status)
    told = await_told(db, "second-1", *LIFE)
    (first, of, canceled, ended, _), = trips(stack, "first-1")
    assert (first, of, canceled, ended) == (delivery, delivery, True, True)
    (second, of, canceled, ended, _), = trips(stack, "second-1")
    assert (of, canceled, ended) == (delivery, False, True)
    assert second != first and told[-1][3] == (second,)
    assert uuid.UUID(second).version == 5
    assert rows(stack, "select count(*) from coco.mds_trip t"
                " join coco.delivery d on d.id = t.delivery_id"
                " where t.requested_time = d.created_at") == [(2,)]


def test_two_deliveries(stack, db, one):
    """Of one robot, one after the other's beginning, one of them canceled."""
    beat(stack, "two-1")
    await_told(db, "two-1", "recommissioned", "service_start")
    kept, dropped = create(stack), create(stack)
    move(stack, kept, "Assigned", serial="two-1")
    move(stack, dropped, "Assigned", serial="two-1")
    move(stack, kept, "EnrouteToPickup")
    told = await_told(db, "two-1", "trip_start")
    assert set(told[-1][3]) == {kept, dropped}
    move(stack, dropped, "Canceled", reason="customer changed their mind")
    for status in city.STATUSES[2:]:
        move(stack, kept, status)
    told = await_told(db, "two-1", *LIFE[3:])
    assert told[-1][3] == (kept,)
    assert [(trip, canceled, ended) for trip, _, canceled, ended, _
            in trips(stack, "two-1")] == [(kept, False, True)]


def test_restart_midway(stack, db, one):
    """What happens while no worker is there is told by the next one, of the
    time when it happened."""
    beat(stack, "midway-1")
    await_told(db, "midway-1", "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="midway-1")
    await_told(db, "midway-1", LIFE[0])
    one.kill()
    for status in city.STATUSES[1:]:
        move(stack, delivery, status)
    one.start()
    told = await_told(db, "midway-1", *LIFE)
    (at,), = rows(stack, "select ts from coco.delivery_event"
                  " where delivery_id = %s and status = 'Completed'", delivery)
    assert told[-1][2] == at


def letter(stack, serial, delivery, status, trip=None):
    """The id of a dead letter of what a delivery did a minute ago."""
    (found,), = rows(
        stack, "insert into coco.dead_letter (id, source, service, topic,"
        " reason, payload, received_at)"
        " select gen_random_uuid(), 'mds', 'mds', 'mds/DELIVERY/' || %s,"
        "  'refused', convert_to(jsonb_build_object('serial', %s::text, 'ts',"
        "   now() - interval '1 minute', 'kind', 'DELIVERY', 'data',"
        "   jsonb_build_object('trip', %s::text, 'delivery', %s::text,"
        "    'status', %s::text, 'reason', null, 'requestedAt', 1))::text,"
        "  'UTF8'), now() returning id::text",
        serial, serial, trip or delivery, delivery, status)
    return found


def replay(stack, *letters):
    """All at once; what became of them."""
    rows(stack, "select coco.dead_letter_replay('me', 'r', null, null, id)"
         " from unnest(%s::uuid[]) id", list(letters))
    wait_for(lambda: rows(
        stack, "select count(*) from coco.dead_letter"
        " where replayed_at is not null and replay_outcome is null")
        == [(0,)], 60, "the replays")
    outcomes = dict(rows(stack, "select id::text, replay_outcome"
                         " from coco.dead_letter"))
    return [outcomes[each] for each in letters]


def test_replay_of_what_is_over(stack, db, one):
    """What a trip did is no fact once its end was told: it would never end.
    Of one that is on it is."""
    for serial in ("over-1", "over-2"):
        beat(stack, serial)
        await_told(db, serial, "recommissioned", "service_start")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="over-1")
    move(stack, delivery, "Assigned", serial="over-2")
    told = await_told(db, "over-1", "reservation_start",
                      "provider_cancellation")
    (second,), = rows(stack, "select coco.mds_trip_id(%s, 2)::text", delivery)
    assert replay(stack, letter(stack, "over-1", delivery, "Assigned"),
                  letter(stack, "over-2", delivery, "EnrouteToPickup",
                         second)) == ["REFUSED", "APPLIED"]
    await_told(db, "over-2", *LIFE[:3])
    for status in city.STATUSES[1:]:
        move(stack, delivery, status)
    await_told(db, "over-2", *LIFE)
    # its end does not make it a new one
    assert replay(stack, letter(stack, "over-2", delivery, "Assigned", second),
                  letter(stack, "over-2", delivery, "Completed", second)) \
        == ["REFUSED", "APPLIED"]
    beat(stack, "over-3")
    await_told(db, "over-3", "recommissioned", "service_start")
    assert city.told(db)["over-1"] == told
    await_told(db, "over-2", *LIFE)
    assert rows(stack, "select vehicle_state, memory -> 'trips'"
                " from coco.mds_vehicle where serial like 'over-_'") \
        == [("available", [])] * 3


def test_replay_of_a_whole_trip(stack, db, one):
    """All that was refused while a memory could not be read is told in its
    order, whatever the order in which it is asked for."""
    beat(stack, "whole-1")
    await_told(db, "whole-1", "recommissioned", "service_start")
    (memory,), = rows(stack, "update coco.mds_vehicle v set memory = '{}'"
                      " from coco.mds_vehicle o where o.serial = v.serial"
                      " returning o.memory")
    delivery = create(stack)
    move(stack, delivery, "Assigned", serial="whole-1")
    for status in city.STATUSES[1:]:
        move(stack, delivery, status)
    wait_for(lambda: rows(stack, "select count(*) from coco.mds_fact")
             == [(0,)], 60, "the facts to be taken")
    rows(stack, "update coco.mds_vehicle set memory = %s", json.dumps(memory))
    letters = [each for each, in rows(
        stack, "select id::text from coco.dead_letter"
        " order by convert_from(payload, 'UTF8')::jsonb ->> 'ts' desc")]
    assert len(letters) >= len(city.STATUSES)
    assert set(replay(stack, *letters)) == {"APPLIED"}
    await_told(db, "whole-1", *LIFE)
    assert trips(stack, "whole-1")[0][:4] == (delivery, delivery, False, True)


@pytest.mark.parametrize("payload", ["no more", "{}", '{"ts":"never"}',
                                     "\\xff"])
def test_replay_of_what_is_no_fact(stack, db, one, payload):
    """It is refused, and holds nothing up."""
    bad = letter(stack, "bad-1", create(stack), "Assigned")
    rows(stack, "update coco.dead_letter set payload = %s::bytea", payload)
    assert replay(stack, bad) == ["REFUSED"]
    beat(stack, "good-1")
    await_told(db, "good-1", "recommissioned", "service_start")


def test_without_mds(stack, db):
    """What docs/operations.md gives to those who never show it to anybody
    leaves no facts, whatever happens."""
    with open(os.path.join(ROOT, "docs", "operations.md")) as file:
        section = file.read().split("## MDS")[1].split("## ")[0]
    off, = (block for block in section.split("```")[1::2] if "alter" in block)
    delivery = create(stack)
    for done, kinds in ("select", ["BUSINESS", "COMMS", "DELIVERY"]), \
            (off, None):
        with db.cursor() as cursor:
            cursor.execute(done)
            cursor.execute(
                "insert into coco.resource (id, data, telemetry_order_ts)"
                " values ('off-1', coco.supply_blank('off-1'), now());"
                "update coco.resource set data = data || '{\"status\":\"?\"}'"
                " where id = 'off-1';"
                "insert into coco.robot_state_history (id, robot_serial,"
                " operation_state, changed_at) values (gen_random_uuid(),"
                " 'off-1', 'PARKED', now());"
                "insert into coco.delivery_attempt (delivery_id, number,"
                " driver_name, assigned_at) values (%s, 1, 'off-1', now());"
                "insert into coco.delivery_event (delivery_id, number, id,"
                " status, serial, ts) values (%s, 9, gen_random_uuid(),"
                " 'Assigned', 'off-1', now())", (delivery, delivery))
            cursor.execute("select array_agg(distinct kind order by kind)"
                           " from coco.mds_fact")
            assert cursor.fetchone() == (kinds,)
        db.rollback()
