"""Services that are apart, in any order, to the records of one transaction;
what is told of as done, and when."""

import json
import random
import uuid

import psycopg2
import pytest

from servers import MODES, until
from test_pipeline import cached, count, heartbeat, letters, now, one

STATE, OPERATIONS, FLEET = 1, 2, 4
STATES = ["GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED"]


def envelope(name, serial, ts, data, id=None):
    return json.dumps({"id": str(id or uuid.uuid4()), "name": name,
                       "serial": serial, "ts": ts, "data": data})


def business(state, **flags):
    data = dict.fromkeys(("needsMovement", "undergoingMaintenance",
                          "needsMaintenance", "needsPickup", "hasFood",
                          "driveable", "deployed"))
    return dict(data, operationState=state, **flags)


def event(lane, name, serial, ts, data, cause=None, id=None, **more):
    lane.push(serial, envelope(name, serial, ts, data, id), kind="v",
              source="rabbitmq", topic=name, cause=cause, **more)


def records(servers):
    return {table: servers.query("select %s from coco.%s order by 1, 2, 3"
                                 % (columns, table))
            for table, columns in (
                ("robot_state", "*"),
                ("state_history", "*"),
                ("robot_operation", "*"),
                ("robot_state_history",
                 "id, robot_serial, operation_state, changed_at"),
                ("driveu_status", "*"),
                ("fleet_robot",
                 "serial, telemetry_id, telemetry_ts, telemetry_order_ts,"
                 " healthy, latitude, longitude, battery_percent, charging,"
                 " operational_state, has_food, business_changed_at"),
                ("resource",
                 "id, data, telemetry_id, telemetry_ts, telemetry_order_ts,"
                 " lid_open, lid_at, business_changed_at"))}


def outbox_ids(servers, name):
    return sorted(i for i, in servers.query(
        "select id from coco.outbox where name = %s", name))


# --- the same records, whatever the way -------------------------------------

def traffic(seed):
    """What robots and DriveU send, each robot's in its order."""
    chance = random.Random(seed)
    at = now() - 20000        # a robot is online when it is applied
    messages = []
    for i in range(500):
        serial = "r-%d" % chance.randrange(9)
        if chance.random() < 0.1:
            messages.append((serial, webhook(
                chance.choice(["streamer", "node", "relay"]),
                chance.choice(["online", "offline"]), (at + i) * 1000,
                vin=serial), at + i, "w"))
        else:
            lid = {"lid": {"open": chance.random() < 0.5}}
            messages.append((serial, heartbeat(
                at + i, chance.choice(STATES), i % 100,
                **(lid if chance.random() < 0.3 else {})), at + i, "h"))
        if chance.random() < 0.2:
            messages.append(messages[-1])
    return messages


def webhook(unit, status, time_us, uuid="u-1", vin=None, **more):
    payload = {"eventName": "status", "unit": unit, "status": status,
               "uuid": uuid, "time": time_us}
    if vin:
        payload["vin"] = vin
    return json.dumps(dict(payload, **more))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scrambled_is_as_direct(servers, drive, seed):
    messages, results, ids = traffic(seed), [], []
    for mode in MODES:
        for table in ("robot_state", "robot_operation", "fleet_robot",
                      "resource", "state_history", "outbox",
                      "robot_state_history", "driveu_status"):
            servers.query("truncate coco.%s" % table)
        servers.redis().flushall()
        # one batch at a time: what a heartbeat is enriched with is the same;
        # however long the first took, robots are online in the second
        lane = drive(linger=1, shards=1, batch=50, seed=seed, online=3600000,
                     **MODES[mode])
        for i in range(0, len(messages), 50):
            for serial, payload, received_at, kind in messages[i:i + 50]:
                lane.push(serial, payload, received_at=received_at, kind=kind,
                          source="webhook" if kind == "w" else "mqtt")
                if kind == "w":
                    lane.done()
        lane.done()
        assert lane.stop()
        assert count(servers, "dead_letter") == 0
        results.append(records(servers))
        ids.append([outbox_ids(servers, name) for name in (
            "Robots.StateChange", "ConnectivityRawStatusChanged")])

    for table, rows in results[0].items():
        assert results[1][table] == rows, table
    assert ids[1] == ids[0]
    assert len(results[0]["robot_state"]) == 9


def test_events_in_any_order(servers, drive):
    """Services in three processes: what state wrote goes to the others by
    hand, shuffled and doubled."""
    at = now() - 20000        # a robot is online when it is applied
    chance = random.Random(5)
    state = drive(services=STATE)
    for i in range(200):
        state.push("r-%d" % (i % 5), heartbeat(at + i, chance.choice(STATES)),
                   received_at=at + i)
    state.done()
    assert count(servers, "robot_operation") == 0
    assert count(servers, "fleet_robot") == 0
    assert cached(servers, "r-1") is None

    changes = servers.query(
        "select name, serial, payload::text, coco.to_ms(cause_ts), cause_id"
        " from coco.outbox order by seq")
    assert {name for name, *_ in changes} == {"Robots.StateChange"}

    operations = drive(services=OPERATIONS, linger=1, batch=20)
    fleet = drive(services=FLEET, linger=1, batch=20)
    twice = changes + chance.sample(changes, len(changes) // 2)
    chance.shuffle(twice)
    for name, serial, text, ts, id in twice:
        operations.push(serial, text, kind="v", source="kafka", topic=name,
                        cause=(str(ts), id))
    operations.done()

    made = servers.query("select name, serial, payload::text from coco.outbox"
                         " where name = 'Robots.BusinessStateChange'")
    chance.shuffle(made)
    for name, serial, text in made + made[:20]:
        fleet.push(serial, text, kind="v", source="kafka", topic=name)
    fleet.done()

    for serial, s in servers.query(
            "select serial, state from coco.robot_state"):
        assert one(servers, "select operation_state from coco.robot_operation"
                            " where serial = %s", serial) == (s,)
        assert one(servers, "select operational_state from coco.fleet_robot"
                            " where serial = %s", serial) == (s,)
    assert count(servers, "robot_state_history") == len(changes)
    assert count(servers, "dead_letter") == 0


def test_a_change_without_a_cause_is_operations_own(servers, lane):
    event(lane, "Robots.StateChange", "r-1", now(),
          {"from": None, "to": "PARKED"})
    lane.done()
    assert count(servers, "robot_operation") == 0
    assert count(servers, "dead_letter") == 0


def test_business_changes_newest_wins(servers, drive):
    lane = drive(services=FLEET)
    ts = now()
    event(lane, "Robots.BusinessStateChange", "r-1", ts,
          business("PARKED", hasFood=True, deployed={"type": "POD"}))
    lane.done()
    event(lane, "Robots.BusinessStateChange", "r-1", ts - 1,
          business("ON_TRIP", hasFood=False))
    lane.done()
    assert one(servers, "select operational_state, has_food, deployed,"
                        " telemetry_id from coco.fleet_robot") == (
        "PARKED", True, {"type": "POD"}, None)


def beat(serial, ts, received_at=None, **more):
    return dict({"serial": serial, "id": str(uuid.uuid4()), "ts": ts,
                 "receivedAt": received_at or ts, "state": "PARKED",
                 "healthy": True, "battery": {"percent": 40},
                 "location": {"latitude": 1.5, "longitude": 2.5},
                 "components": None, "lid": None, "software": None,
                 "remotelyControllable": False, "driveu": None}, **more)


def test_heartbeats_of_the_bus(servers, drive):
    lane = drive(services=OPERATIONS | FLEET)
    ts, id = now(), uuid.uuid4()
    event(lane, "IoT.Heartbeat", "r-1", ts, beat(
        "r-1", ts, remotelyControllable=True,
        driveu={"streamer": {"status": "online", "ts": ts, "uuid": "u"}}),
        id=id)
    lane.done()
    event(lane, "IoT.Heartbeat", "r-1", ts - 500,
          beat("r-1", ts - 500, battery={"percent": 1}))
    lane.done()

    assert one(servers, "select telemetry_id, battery_percent,"
                        " operational_state from coco.fleet_robot") == (
        str(id), 40, None)
    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert (copy["ts"], copy["remotelyControllable"]) == (ts, True)
    assert copy["driveu"]["streamer"]["uuid"] == "u"
    assert cached(servers, "r-1")["operationState"] == "PARKED"
    assert count(servers, "state_history") == 0

    # a change of the business state is seen in the copy that is there
    event(lane, "Robots.StateChange", "r-1", ts,
          {"from": None, "to": "GROUNDED"}, cause=(str(ts), str(id)))
    lane.done()
    assert cached(servers, "r-1")["operationState"] == "GROUNDED"
    assert cached(servers, "r-1")["battery"] == {"percent": 40}


def test_a_copy_older_than_the_state_service_knows_is_left_out(servers, drive):
    state, fleet = drive(services=STATE), drive(services=FLEET)
    ts = now()
    state.push("r-1", heartbeat(ts, "PARKED"))
    state.done()
    event(fleet, "IoT.Heartbeat", "r-1", ts - 1000, beat("r-1", ts - 1000))
    fleet.done()
    assert cached(servers, "r-1") is None
    assert count(servers, "fleet_robot") == 1


def test_telemetry_of_kafka_feeds_fleet_alone(servers, drive):
    lane = drive(kafka=1)
    ts = now()
    lane.push("r-1", heartbeat(ts, "PARKED", 30))
    lane.done()
    assert one(servers, "select telemetry_id, operational_state"
                        " from coco.fleet_robot") == (None, "PARKED")
    assert cached(servers, "r-1") is None
    assert cached(servers, "r-1", "robot.ephemeral.")["ts"] == ts

    lane.push("r-1", heartbeat(ts, "PARKED", 30), kind="t", source="kafka")
    lane.done()
    assert one(servers, "select battery_percent from coco.fleet_robot") == (30,)
    assert cached(servers, "r-1")["ts"] == ts
    assert count(servers, "state_history") == 1


@pytest.mark.parametrize("raw_first", [True, False])
def test_a_heartbeat_of_both_brokers_is_for_both_services(servers, drive,
                                                          raw_first):
    ts = now()
    raw = heartbeat(ts, "PARKED", 30)
    state = drive(services=STATE)
    state.push("r-1", raw, ts)
    state.done()
    id, = one(servers, "select id::text from coco.robot_state")

    lane = drive(services=OPERATIONS | FLEET, kafka=1, shards=1, linger=50)
    with psycopg2.connect(servers.postgres) as blocker:
        blocker.cursor().execute(
            "lock table coco.fleet_robot in exclusive mode")
        lane.push("r-0", heartbeat(ts), ts, kind="t", source="kafka")
        until(lambda: one(servers, "select count(*) from pg_locks"
                                   " where not granted") == (1,))
        for kafka in (raw_first, not raw_first):   # they share a batch
            if kafka:
                lane.push("r-1", raw, ts, kind="t", source="kafka")
            else:
                event(lane, "IoT.Heartbeat", "r-1", ts,
                      beat("r-1", ts, remotelyControllable=True), id=id)
        lane.metrics()                  # they have come
    lane.done()
    assert one(servers, "select telemetry_id::text from coco.fleet_robot"
                        " where serial = 'r-1'") == (id,)
    assert cached(servers, "r-1")["battery"]["percent"] == 30
    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert (copy["ts"], copy["remotelyControllable"]) == (ts, True)


@pytest.mark.parametrize("text, field, reason", [
    (envelope("Robots.Explode", "r-1", 1, {}), "name",
     "no service consumes Robots.Explode"),
    (envelope("Robots.StateChange", "r-1", 1, {"to": "LOST"}), "data.to",
     "one of GROUNDED"),
    (envelope("Robots.BusinessStateChange", "r-1", 1,
              business("PARKED", hasFood=1)), "data.hasFood", "true, false"),
    (envelope("IoT.Heartbeat", "r-1", 1, {"ts": 1}), "data.receivedAt",
     "whole milliseconds"),
    ("{}", "serial", "missing"),
])
def test_events_that_say_nothing_are_set_aside(servers, lane, text, field,
                                               reason):
    id = str(uuid.uuid4())
    lane.push("r-1", text, kind="v", source="rabbitmq", topic="t",
              cause=("1700000000000", id))
    lane.done()
    row = one(servers, "select source, service, field, reason, cause_id,"
                       " coco.to_ms(cause_ts) from coco.dead_letter")
    assert row[:3] == ("rabbitmq", "decoder", field)
    assert reason in row[3]
    assert row[4:] == (id, 1700000000000)


def test_an_event_that_each_service_refuses_is_replayed_by_each(servers,
                                                                drive):
    lanes = [drive(services=s) for s in (OPERATIONS, FLEET)]
    for lane in lanes * 2:
        lane.push("r-1", "{}", kind="v", source="rabbitmq", topic="t")
        lane.done()
    assert sorted(row[1] for row in letters(servers)) == ["fleet",
                                                          "operations"]
    servers.query("update coco.dead_letter set replayed_at = now(),"
                  " reason = ''")
    for lane, open_ in zip(lanes, ([("fleet",)], [])):
        lane.process.stdin.write("janitor\n")
        until(lambda: servers.query(
            "select service from coco.dead_letter"
            " where replay_outcome is null") == open_)
    assert count(servers, "dead_letter", "replay_outcome = 'REFUSED'"
                                         " and reason <> ''") == 2


def test_what_fleet_refuses_of_an_event_stands_with_operations(servers, drive):
    lane = drive(services=OPERATIONS | FLEET)
    servers.query("alter table coco.fleet_robot add constraint planted"
                  " check (battery_percent <> 13) not valid")
    try:
        ts = now()
        event(lane, "IoT.Heartbeat", "r-1", ts,
              beat("r-1", ts, battery={"percent": 13}))
        lane.done()
        assert [row[1] for row in letters(servers)] == ["fleet"]
        assert cached(servers, "r-1", "robot.ephemeral.")["ts"] == ts
        assert cached(servers, "r-1") is None
    finally:
        servers.query("alter table coco.fleet_robot drop constraint planted")


# --- done -------------------------------------------------------------------

def told(path):
    """Position -> how many rows others saw; each is told of once."""
    with open(path) as lines:
        pairs = [line.split() for line in lines if line.endswith("\n")]
    assert len(pairs) == len(dict(pairs)), "told of twice"
    return {int(tag): int(rows) for tag, rows in pairs}


def test_done_once_and_after_the_commit(servers, drive, tmp_path):
    path = str(tmp_path / "done")
    lane = drive(done=path, shards=1, batch=1, linger=0)
    ts = now() - 1000
    for i in range(100):
        lane.push("r-%d" % (i % 7), heartbeat(ts + i))
    lane.push("r-1", "{}")                     # refused: it is told of, too
    lane.push("r-1", heartbeat(ts))            # a repeat, too
    lane.done()

    until(lambda: len(told(path)) == 102)
    rows = told(path)
    for n, position in enumerate(sorted(rows)[:100]):
        assert rows[position] >= n + 1
    assert count(servers, "dead_letter") == 1


def test_done_is_not_told_before(servers, drive, tmp_path):
    path = str(tmp_path / "done")
    lane = drive(done=path, shards=2)
    lane.push("r-1", heartbeat(now()))
    lane.done()
    until(lambda: len(told(path)) == 1)

    with psycopg2.connect(servers.postgres) as blocker:
        blocker.cursor().execute(
            "select from coco.robot_state where serial = 'r-1' for update")
        for _ in range(5):
            lane.push("r-1", heartbeat(now()))
        until(lambda: servers.query(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock'"))
        assert len(told(path)) == 1
    lane.done()
    until(lambda: len(told(path)) == 6)


def test_scrambled_done_comes_after_the_bus(servers, drive, tmp_path):
    """The heartbeat is done once the fleet service has it, too."""
    path = str(tmp_path / "done")
    lane = drive(done=path, **MODES["scrambled"])
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    with psycopg2.connect(servers.postgres) as blocker:
        blocker.cursor().execute(
            "select from coco.fleet_robot where serial = 'r-1' for update")
        lane.push("r-1", heartbeat(now() + 1))
        until(lambda: count(servers, "state_history") == 2)
        until(lambda: servers.query(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock'"))
        assert len(told(path)) == 1
    lane.done()
    until(lambda: len(told(path)) == 2)


def test_what_is_delivered_too_often_is_set_aside_unread(servers, drive):
    lane = drive(receives=3)
    lane.push("r-1", heartbeat(now()), source="sqs", receives=3)
    lane.push("r-2", heartbeat(now()), source="sqs", receives=4)
    lane.done()
    assert count(servers, "state_history") == 1
    assert one(servers, "select source, service, reason from coco.dead_letter"
               ) == ("sqs", "decoder", "delivered 4 times and never committed")


def test_killed_midway_the_scrambled_catch_up(servers, drive):
    """What was stored and not published is published with its repeat; what
    the relay had not marked it relays again."""
    ts = now() - 60000
    sent = [("r-%d" % (i % 20), heartbeat(ts + i, STATES[i % 5], i % 100),
             ts + i) for i in range(3000)]
    first = drive(linger=1, batch=100, **MODES["scrambled"])
    for serial, payload, at in sent:
        first.push(serial, payload, received_at=at)
    until(lambda: count(servers, "state_history") > 500)
    first.kill()

    second = drive(batch=100, **MODES["scrambled"])
    for serial, payload, at in sent:
        second.push(serial, payload, received_at=at)
    second.done(60)
    assert count(servers, "state_history") == 3000
    for serial, s in servers.query(
            "select serial, state from coco.robot_state"):
        assert one(servers, "select o.operation_state, f.operational_state,"
                            " f.telemetry_ts = r.ts from coco.robot_operation"
                            " o, coco.fleet_robot f, coco.robot_state r where"
                            " o.serial = %s and f.serial = o.serial"
                            " and r.serial = o.serial", serial) == (s, s, True)
