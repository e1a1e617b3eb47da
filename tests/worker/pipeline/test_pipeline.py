"""From a lane's messages to Postgres and Redis, against the real servers."""

import contextlib
import json
import random
import socket
import time
import uuid

import psycopg2
import pytest

from servers import MODES, until

DAY = 86400000


def now():
    return int(time.time() * 1000)


def heartbeat(ts, state=None, percent=50, **more):
    payload = {"ts": ts, "battery": {"percent": percent},
               "location": {"latitude": 37.7, "longitude": -122.4}}
    if state:
        payload["state"] = state
    payload.update(more)
    return json.dumps(payload)


def one(servers, sql, *args):
    rows = servers.query(sql, *args)
    assert len(rows) == 1, rows
    return rows[0]


def robot_state(servers, serial):
    return one(servers, "select (extract(epoch from ts) * 1000)::bigint, state"
                        " from coco.robot_state where serial = %s", serial)


def cached(servers, serial, prefix="robot.heartbeat.cache."):
    value = servers.redis().get(prefix + serial)
    return value and json.loads(value)


def count(servers, table, where="true"):
    return one(servers, "select count(*) from coco.%s where %s"
               % (table, where))[0]


def outbox(servers, serial):
    return servers.query("select name, payload->'data' from coco.outbox"
                         " where serial = %s order by seq", serial)


def changes(servers, serial):
    return [(d["from"], d["to"]) for name, d in outbox(servers, serial)
            if name == "Robots.StateChange"]


# --- what a heartbeat leaves ------------------------------------------------

def test_first_heartbeat(servers, either):
    ts = now()
    either.push("r-1", heartbeat(ts, "PARKED", 71.5, lid={"open": False},
                                 components={"lidar": "OK"}, software="7"))
    either.done()

    assert robot_state(servers, "r-1") == (ts, "PARKED")
    state, details = one(servers, "select state, details"
                                  " from coco.state_history")
    assert state == "PARKED"
    assert details["battery"]["percent"] == 71.5
    assert not {"ts", "serial", "state"} & set(details)

    assert one(servers, "select operation_state, has_food"
                        " from coco.robot_operation") == ("PARKED", None)
    assert one(servers, "select operation_state from coco.robot_state_history"
               ) == ("PARKED",)
    assert one(servers, "select battery_percent, latitude, operational_state,"
                        " speed from coco.fleet_robot"
               ) == (71.5, 37.7, "PARKED", None)

    names = [name for name, _ in outbox(servers, "r-1")]
    assert names == ["Robots.StateChange", "Robots.BusinessStateChange",
                     "DispatchEngine.SupplyEvent"]
    assert changes(servers, "r-1") == [(None, "PARKED")]
    envelope = one(servers, "select id, payload from coco.outbox where name ="
                            " 'Robots.BusinessStateChange'")
    assert envelope[1]["id"] == envelope[0]
    assert envelope[1]["serial"] == "r-1"
    assert envelope[1]["data"] == {
        "operationState": "PARKED", "needsMovement": None,
        "undergoingMaintenance": None, "needsMaintenance": None,
        "needsPickup": None, "hasFood": None, "driveable": None,
        "deployed": None}

    copy = cached(servers, "r-1")
    assert (copy["ts"], copy["operationState"]) == (ts, "PARKED")
    assert cached(servers, "r-1", "robot.ephemeral.")["ts"] == ts
    assert 110000 < servers.redis().pttl("robot.heartbeat.cache.r-1") <= 120000


def test_state_absent_is_the_last_known(servers, either):
    ts = now() - 10000
    either.push("r-1", heartbeat(ts))
    either.push("r-1", heartbeat(ts + 1, "ON_TRIP"))
    either.push("r-1", heartbeat(ts + 2))
    either.done()
    either.push("r-1", heartbeat(ts + 3))
    either.done()

    assert [s for s, in servers.query(
        "select state from coco.state_history order by date")] == [
            "OFF_DUTY", "ON_TRIP", "ON_TRIP", "ON_TRIP"]
    assert changes(servers, "r-1") == [(None, "OFF_DUTY"),
                                       ("OFF_DUTY", "ON_TRIP")]


@contextlib.contextmanager
def one_batch(servers, lane):
    """What is pushed meanwhile waits, and is written together."""
    with contextlib.closing(psycopg2.connect(servers.postgres)) as blocker:
        blocker.cursor().execute(
            "lock table coco.robot_state in exclusive mode")
        lane.push("warm", heartbeat(now()))
        until(lambda: servers.query("select 1 from pg_locks"
                                    " where not granted"))
        yield
        lane.metrics()                          # all of it has come


@pytest.mark.parametrize("mode", MODES)
def test_every_transition_within_a_batch(servers, drive, mode):
    lane = drive(shards=1, **MODES[mode])
    ts = now() - 1000
    states = ["PARKED", "ON_TRIP", "ON_TRIP", "PARKED", "GROUNDED"]
    with one_batch(servers, lane):
        for i, state in enumerate(states):
            lane.push("r-1", heartbeat(ts + i, state))
    lane.done()

    assert changes(servers, "r-1") == [
        (None, "PARKED"), ("PARKED", "ON_TRIP"), ("ON_TRIP", "PARKED"),
        ("PARKED", "GROUNDED")]
    assert lane.metrics()["coco_batches_total"] == 2
    assert count(servers, "robot_state_history",
                 "robot_serial = 'r-1'") == 4


def test_robot_events_first_wins(servers, lane):
    ts = now()
    event = {"id": "e-1", "type": "LID_OPENED", "ts": ts, "trigger": "COMMAND",
             "lid_opened": True, "commandId": "c-1", "reason": "say \"ah\"",
             "details": {"n": 1}, "pin": "4321"}
    lane.push("r-1", json.dumps(event), kind="e")
    lane.done()
    lane.push("r-1", json.dumps(dict(event, trigger="OTHER")), kind="e",
              source="sqs")
    lane.push("r-1", json.dumps({"type": "BUMPER_HIT", "ts": ts}), kind="e")
    lane.done()

    assert one(servers, "select trigger, lid_opened, command_id, reason,"
                        " details from coco.lid_cycle_event_history"
                        " where event_id = 'e-1'") == (
        "COMMAND", True, "c-1", 'say "ah"', {"n": 1})
    assert count(servers, "lid_cycle_event_history") == 2
    assert "4321" not in str(servers.query(
        "select * from coco.lid_cycle_event_history"))
    metrics = lane.metrics()
    assert metrics["coco_robot_events_unknown_total"] == 1
    assert metrics["coco_messages_duplicate_total"] == 1
    assert count(servers, "robot_state") == 0


# --- newest wins ------------------------------------------------------------

def test_older_changes_nothing_but_history(servers, either):
    ts = now() - 5000
    either.push("r-1", heartbeat(ts, "PARKED", 80))
    either.done()
    either.push("r-1", heartbeat(ts - 1000, "ON_TRIP", 20))
    either.done()

    assert count(servers, "state_history") == 2
    assert robot_state(servers, "r-1") == (ts, "PARKED")
    assert one(servers, "select battery_percent from coco.fleet_robot")[0] == 80
    assert cached(servers, "r-1")["ts"] == ts
    assert changes(servers, "r-1") == [(None, "PARKED")]
    assert either.metrics()["coco_messages_stale_total"] == 1


def test_redis_keeps_the_newer_of_two_writers(servers, lane):
    ts = now()
    newer = {"serial": "r-1", "id": str(uuid.UUID(int=1)), "ts": ts + 500,
             "receivedAt": ts + 500, "operationState": "PARKED"}
    servers.redis().set("robot.heartbeat.cache.r-1",
                        json.dumps(newer, separators=(",", ":")))
    lane.push("r-1", heartbeat(ts, "ON_TRIP"))
    lane.done()
    assert cached(servers, "r-1") == newer
    assert cached(servers, "r-1", "robot.ephemeral.")["ts"] == ts


def test_a_clock_ahead_does_not_freeze_the_robot(servers, either):
    at = now()
    either.push("r-1", heartbeat(at + 3600000, "PARKED", 10), received_at=at)
    either.done()
    either.push("r-1", heartbeat(at + 1000, "ON_TRIP", 20),
              received_at=at + 1000)
    either.done()
    assert robot_state(servers, "r-1") == (at + 1000, "ON_TRIP")
    assert cached(servers, "r-1")["battery"]["percent"] == 20
    assert one(servers, "select battery_percent from coco.fleet_robot")[0] == 20


def test_a_burst_of_a_clock_ahead_keeps_its_order(servers, either):
    """All heard in one millisecond, in batches of their own and shuffled."""
    at = now()
    states = ["PARKED", "ON_TRIP", "GROUNDED", "OFF_DUTY", "DEPLOYED"]
    for i in (3, 0, 9, 5, 1, 7, 2, 8, 4, 6):
        either.push("r-1", heartbeat(at + 60000 + i, states[i % 5], i),
                  received_at=at)
        either.done()
    assert robot_state(servers, "r-1") == (at + 60009, "DEPLOYED")
    assert cached(servers, "r-1")["ts"] == at + 60009
    assert cached(servers, "r-1", "robot.ephemeral.")["ts"] == at + 60009
    assert one(servers, "select battery_percent from coco.fleet_robot")[0] == 9
    assert one(servers, "select operation_state from coco.robot_operation"
               )[0] == "DEPLOYED"


def test_a_repeat_of_a_clock_ahead_is_not_newer(servers, either):
    at = now() - 10000
    ahead = heartbeat(at + 3600000, "PARKED", 10)
    either.push("r-1", ahead, received_at=at)
    either.push("r-1", heartbeat(at + 1000, "ON_TRIP", 20),
              received_at=at + 1000)
    either.done()
    either.push("r-1", ahead, received_at=at + 5000, source="sqs")
    either.push("r-1", heartbeat(at + 2000), received_at=at + 2000)
    either.done()

    assert count(servers, "state_history") == 3
    assert robot_state(servers, "r-1") == (at + 2000, "ON_TRIP")
    assert cached(servers, "r-1")["ts"] == at + 2000
    assert one(servers, "select state from coco.state_history"
                        " order by received_at desc limit 1")[0] == "ON_TRIP"
    assert either.metrics()["coco_messages_duplicate_total"] == 1


def test_repeats_count_once_and_refill_redis(servers, either):
    ts = now()
    for _ in range(3):
        either.push("r-1", heartbeat(ts, "PARKED"))
    either.done()
    servers.redis().flushall()
    either.push("r-1", heartbeat(ts, "PARKED"))
    either.done()

    assert count(servers, "state_history") == 1
    assert cached(servers, "r-1")["ts"] == ts
    metrics = either.metrics()
    assert metrics["coco_messages_committed_total"] == 1
    assert metrics["coco_messages_duplicate_total"] == 3
    assert metrics.get("coco_messages_stale_total", 0) == 0


def test_an_expired_copy_is_not_written(servers, either):
    either.push("r-1", heartbeat(now() - 121000, "PARKED"))
    either.done()
    assert cached(servers, "r-1") is None
    assert count(servers, "robot_state") == 1


def test_a_patched_state_holds_until_the_reported_one_changes(servers, either):
    ts = now() - 5000
    either.push("r-1", heartbeat(ts, "PARKED"))
    either.done()
    servers.query("""
        with patched as (
            update coco.robot_operation set operation_state = 'GROUNDED',
                has_food = true, changed_at = now() + interval '1 minute'
            returning *)
        update coco.fleet_robot f set operational_state = p.operation_state,
            has_food = p.has_food, business_changed_at = p.changed_at
        from patched p where f.serial = p.serial""")
    either.push("r-1", heartbeat(ts + 1, "PARKED"))
    either.done()
    assert cached(servers, "r-1")["operationState"] == "GROUNDED"

    either.push("r-1", heartbeat(ts + 2, "ON_TRIP"))
    either.done()
    assert cached(servers, "r-1")["operationState"] == "ON_TRIP"
    assert one(servers, "select operation_state, has_food"
                        " from coco.robot_operation") == ("ON_TRIP", True)
    assert one(servers, "select operational_state, has_food"
                        " from coco.fleet_robot") == ("ON_TRIP", True)
    assert outbox(servers, "r-1")[-1][1]["hasFood"] is True


def test_invalidations(servers, lane):
    feed = servers.redis().pubsub(ignore_subscribe_messages=True)
    feed.subscribe("coco.invalidate")
    feed.get_message(timeout=1)
    ts = now()
    lane.push("r-1", heartbeat(ts, "PARKED"))
    lane.done()

    def messages():
        message = feed.get_message(timeout=0.1)
        return message and json.loads(message["data"])

    assert until(messages) == {"all": True}     # on connecting
    assert until(messages) == {"serials": ["r-1"]}
    feed.close()


# --- days -------------------------------------------------------------------

def test_late_rows_have_a_home(servers, lane):
    late = now() - 60 * DAY
    lane.push("r-1", heartbeat(late, "PARKED"))
    lane.push("r-1", heartbeat(now(), "ON_TRIP"))
    lane.done()
    lane.push("r-1", heartbeat(late, "PARKED"))
    lane.done()
    assert count(servers, "state_history_late") == 1
    assert count(servers, "state_history") == 1
    assert lane.metrics()["coco_messages_duplicate_total"] == 1


def test_a_missing_partition_is_made(servers, lane):
    day = now() - 20 * DAY
    lane.push("r-1", heartbeat(day, "PARKED"))
    lane.push("r-2", heartbeat(day + DAY, "PARKED"))
    lane.push("r-3", heartbeat(now(), "PARKED"))
    lane.done()
    assert count(servers, "state_history") == 3
    assert count(servers, "dead_letter") == 0
    assert count(servers, "state_history_late") == 0


# --- poison -----------------------------------------------------------------

def letters(servers):
    return servers.query("select source, service, topic, field, payload"
                         " from coco.dead_letter order by received_at")


def test_refused_by_the_decoder(servers, lane):
    bad = b'{"ts": %d, "battery": {"percent": "full"}, ' \
          b'"location": {"latitude": 1, "longitude": 2}}' % now()
    lane.push("r-1", bad)
    lane.push("r-1", b"\xff\x00 no json")
    lane.push("a b", heartbeat(now()))
    for i in range(20):
        lane.push("r-%d" % (i + 2), heartbeat(now(), "PARKED"))
    lane.done()

    found = letters(servers)
    assert len(found) == 3
    assert {service for _, service, *_ in found} == {"decoder"}
    assert {bytes(payload) for *_, payload in found} > {
        bad, b"\xff\x00 no json"}
    assert "battery.percent" in [field for *_, field, _ in found]
    assert count(servers, "state_history") == 20
    assert lane.metrics()["coco_dead_letters_total"] == 3


def test_a_payload_beyond_all_measure_is_not_tried(servers, lane):
    """Postgres would take this one; at 32 MiB it would fail for ever."""
    lane.push("r-1", heartbeat(now(), "PARKED", log="x" * (1 << 20)))
    lane.push("r-2", heartbeat(now(), "PARKED", log="x" * (1 << 19)))
    lane.done()
    assert [l[:3] for l in letters(servers)] == [
        ("mqtt", "decoder", "robot/r-1/status")]
    assert count(servers, "state_history") == 1


@pytest.mark.parametrize("why", ["the decoder", "Postgres"])
def test_a_letter_shows_no_pin(servers, lane, why):
    ts = now() + (3 * 86400000 if why == "the decoder" else 0)
    text = '{"type":"PIN_ENTRY_LID_OPEN","ts":%d,"lid_opened":false,' \
           '"pin":"%s"}'
    if why == "Postgres":
        servers.query("alter table coco.lid_cycle_event_history"
                      " add constraint poison check (serial <> 'r-1')")
    try:
        for pin in ("9041", "7355"):
            lane.push("r-1", text % (ts, pin), kind="e")
            lane.done()
    finally:
        servers.query("alter table coco.lid_cycle_event_history"
                      " drop constraint if exists poison")
    assert [bytes(l[4]).decode() for l in letters(servers)] == [
        text % (ts, "****")]


def test_the_same_letter_is_opened_again(servers, lane):
    lane.push("r-1", b"junk", received_at=now() - 5000)
    lane.push("r-1", b"junk", received_at=now() - 5000)
    lane.done()
    servers.query("update coco.dead_letter set replayed_at = now(),"
                  " replay_outcome = 'REFUSED'")
    at = now()
    lane.push("r-1", b"junk", received_at=at)
    lane.done()
    assert one(servers, "select replayed_at, replay_outcome,"
                        " (extract(epoch from received_at) * 1000)::bigint"
                        " from coco.dead_letter") == (None, None, at)


def test_poison_is_isolated(servers, drive):
    lane = drive(linger=300, shards=1)
    servers.query("alter table coco.state_history add constraint poison"
                  " check (serial not in ('r-13', 'r-40'))")
    try:
        lane.push("warm", heartbeat(now()))
        for i in range(60):
            lane.push("r-%d" % i, heartbeat(now(), "PARKED"))
        lane.done()
    finally:
        servers.query("alter table coco.state_history drop constraint poison")

    assert count(servers, "state_history") == 59
    assert [(service, topic) for _, service, topic, *_ in
            sorted(letters(servers), key=lambda l: l[2])] == [
        ("state", "robot/r-13/status"), ("state", "robot/r-40/status")]
    assert "poison" in one(servers, "select reason from coco.dead_letter"
                                    " where topic like '%%13%%'")[0]
    assert count(servers, "robot_state", "serial in ('r-13', 'r-40')") == 0


def test_what_passes_a_limit_of_postgres_is_poison(servers, lane):
    """Class 54, as of a jsonb with too many elements: no retry helps."""
    servers.query("""
        create function coco.limit() returns trigger language plpgsql as $$
        begin
            raise exception 'too many elements' using errcode = '54000';
        end $$;
        create trigger poison before insert on coco.state_history
            for each row when (new.serial = 'r-1')
            execute function coco.limit()""")
    try:
        lane.push("r-1", heartbeat(now(), "PARKED"))
        lane.push("r-2", heartbeat(now(), "PARKED"))
        lane.done()
    finally:
        servers.query("drop trigger poison on coco.state_history;"
                      " drop function coco.limit()")

    assert [l[2] for l in letters(servers)] == ["robot/r-1/status"]
    assert count(servers, "state_history") == 1


def test_other_services_stand_when_fleet_refuses(servers, lane):
    servers.query("alter table coco.fleet_robot add constraint poison"
                  " check (serial <> 'r-1')")
    try:
        lane.push("r-1", heartbeat(now(), "PARKED"))
        lane.push("r-2", heartbeat(now(), "PARKED"))
        lane.done()
    finally:
        servers.query("alter table coco.fleet_robot drop constraint poison")

    assert [l[1] for l in letters(servers)] == ["fleet"]
    assert count(servers, "robot_state") == 2
    assert count(servers, "robot_operation") == 2
    assert count(servers, "fleet_robot") == 1


def test_replay(servers, lane):
    ts = now()
    servers.query("alter table coco.state_history add constraint poison"
                  " check (serial <> 'r-1')")
    lane.push("r-1", heartbeat(ts, "PARKED"))
    lane.push("r-2", b"junk")
    lane.push("r-3", b'{"type": 5}', kind="e")
    lane.done()
    servers.query("alter table coco.state_history drop constraint poison")
    assert count(servers, "dead_letter") == 3

    lane.process.stdin.write("janitor\n")
    servers.query("update coco.dead_letter set replayed_at = now()")
    until(lambda: count(servers, "dead_letter",
                        "replay_outcome is null") == 0)
    assert dict(servers.query("select topic, replay_outcome"
                              " from coco.dead_letter")) == {
        "robot/r-1/status": "APPLIED", "robot/r-2/status": "REFUSED",
        "robot/r-3/events": "REFUSED"}
    assert robot_state(servers, "r-1") == (ts, "PARKED")
    assert count(servers, "dead_letter") == 3


def test_a_replay_is_judged_by_todays_clock(servers, lane):
    """Refused as over a day ahead of its receipt; three days later it is not,
    and takes the place of then: what came since stays newer."""
    received = now() - 3 * DAY
    lane.push("r-1", heartbeat(received + 2 * DAY, "PARKED"),
              received_at=received)
    lane.push("r-1", heartbeat(received + 1000, "ON_TRIP"),
              received_at=received + 1000)
    lane.push("r-2", heartbeat(now() + 2 * DAY, "PARKED"))
    lane.done()
    assert [l[3] for l in letters(servers)] == ["ts", "ts"]

    lane.process.stdin.write("janitor\n")
    servers.query("update coco.dead_letter set replayed_at = now()")
    until(lambda: count(servers, "dead_letter",
                        "replay_outcome is null") == 0)
    assert dict(servers.query("select topic, replay_outcome"
                              " from coco.dead_letter")) == {
        "robot/r-1/status": "APPLIED", "robot/r-2/status": "REFUSED"}
    assert robot_state(servers, "r-1") == (received + 1000, "ON_TRIP")
    assert one(servers, "select (extract(epoch from received_at) * 1000)"
                        "::bigint from coco.state_history"
                        " where state = 'PARKED'")[0] == received


# --- failures ---------------------------------------------------------------

def test_a_partition_out_of_reach_is_waited_for(servers, lane):
    """Its name is taken, so that making it changes nothing: no spinning."""
    at = now()
    name = "coco.state_history_" + time.strftime("%Y%m%d", time.gmtime(
        at / 1000))
    lane.push("warm", heartbeat(at, "PARKED"))
    lane.done()
    servers.query("alter table coco.state_history detach partition " + name)
    try:
        lane.push("r-1", heartbeat(at, "PARKED"))
        until(lambda: lane.metrics()["coco_batch_retries_total"] > 2)
    finally:
        day = time.strftime("%Y-%m-%d", time.gmtime(at / 1000))
        servers.query("alter table coco.state_history attach partition %s for"
                      " values from ('%s Z') to (timestamptz '%s Z' + interval"
                      " '1 day')" % (name, day, day))
    lane.done()
    assert count(servers, "state_history") == 2


def test_a_connection_that_has_become_useless_is_left(servers, lane):
    """A migration changed a column's type under the prepared statements."""
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    servers.query("alter table coco.robot_state alter state type varchar")
    try:
        lane.push("r-1", heartbeat(now(), "ON_TRIP"))
        lane.done()
    finally:
        servers.query("alter table coco.robot_state alter state type text")
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()


def test_a_host_that_does_not_answer(servers, drive):
    """The first of two hosts drops what it is sent, as one without power."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    port = silent.getsockname()[1]
    queue = [socket.socket() for _ in range(4)]
    for each in queue:
        each.setblocking(False)
        each.connect_ex(("127.0.0.1", port))
    try:
        lane = drive(postgres="host=127.0.0.1,%s port=%d,5432 user=postgres"
                              " dbname=postgres" % (servers.folder, port))
        lane.push("r-1", heartbeat(now(), "PARKED"))
        lane.done(30)
    finally:
        for each in queue + [silent]:
            each.close()


def test_postgres_killed_and_back(servers, lane):
    ts = now() - 60000
    for i in range(2000):
        if i == 1000:
            servers.postgres_kill()
        lane.push("r-%d" % (i % 50), heartbeat(ts + i, "PARKED"))
        if i == 1500:
            assert lane.low_water(300) < lane.position
            servers.postgres_start()
    lane.done(40)

    assert count(servers, "state_history") == 2000
    assert robot_state(servers, "r-49") == (ts + 1999, "PARKED")
    assert lane.metrics()["coco_batch_retries_total"] > 0
    assert count(servers, "dead_letter") == 0


def test_a_lane_killed_midway_repeats_without_counting_twice(servers, drive):
    ts = now() - 60000
    messages = [("r-%d" % (i % 50), heartbeat(ts + i, "PARKED"))
                for i in range(3000)]
    first = drive(linger=1)
    for serial, payload in messages[:2000]:
        first.push(serial, payload)
    until(lambda: first.low_water(50) > 0)
    first.kill()

    second = drive()
    for serial, payload in messages:
        second.push(serial, payload)
    second.done(40)
    assert count(servers, "state_history") == 3000
    assert count(servers, "outbox") == 150      # three of each robot
    assert count(servers, "robot_state_history") == 50


def test_low_water_stands_while_postgres_is_locked(servers, drive):
    lane = drive(shards=4)
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    before = lane.position
    with psycopg2.connect(servers.postgres) as blocker:
        blocker.cursor().execute("select from coco.robot_state for update")
        lane.push("r-1", heartbeat(now(), "ON_TRIP"))
        for i in range(20):
            lane.push("other-%d" % i, heartbeat(now(), "PARKED"))
        until(lambda: count(servers, "robot_state",
                            "serial like 'other-%%'") >= 10)
        assert lane.low_water(200) == before
        blocker.rollback()
    lane.done()


def test_stop_gives_up_what_postgres_keeps_waiting(servers, lane):
    servers.postgres_kill()
    try:
        lane.push("r-1", heartbeat(now(), "PARKED"))
        assert lane.low_water(300) == 0
        assert lane.stop()
    finally:
        servers.postgres_start()
    assert count(servers, "state_history") == 0


def test_redis_down_holds_nothing_and_returns(servers, lane):
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    feeds = []

    def listen(client):
        feeds.append(client.pubsub(ignore_subscribe_messages=True))
        feeds[0].subscribe("coco.invalidate")
        feeds[0].get_message(timeout=1)

    servers.redis_kill()
    try:
        for i in range(20):
            lane.push("r-1", heartbeat(now() + i, "ON_TRIP"))
            lane.done(10)
        assert robot_state(servers, "r-1")[1] == "ON_TRIP"
        assert lane.metrics()["coco_redis_errors_total"] > 0
    finally:
        servers.redis_start(listen)

    feed = feeds[0]

    def back():
        lane.push("r-1", heartbeat(now(), "PARKED"))
        lane.done()
        return cached(servers, "r-1")

    until(back)
    message = until(lambda: feed.get_message(timeout=0.1))
    assert json.loads(message["data"]) == {"all": True}
    feed.close()


def test_a_hanging_redis_holds_a_batch_for_a_moment_only(servers, lane):
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    servers.redis_pause(True)
    try:
        for i in range(10):
            lane.push("r-1", heartbeat(now() + i, "ON_TRIP"))
            lane.done(10)
        # and not every one: each time that it is waited for is told
        assert 1 <= lane.logged().count("redis_unavailable") < 10
    finally:
        servers.redis_pause(False)


def gone_or_fresh(servers, serial, ts):
    """Neither copy is older than what was committed."""
    return all(copy is None or copy["ts"] == ts for copy in (
        cached(servers, serial), cached(servers, serial, "robot.ephemeral.")))


def settled(lane):
    return lane.metrics()["coco_redis_owed"] == 0


def test_a_redis_that_hung_keeps_no_old_copy(servers, lane):
    """Nobody speaks any more when it comes back."""
    serials = ["r-%d" % i for i in range(9)]
    ts = now()
    for serial in serials:
        lane.push(serial, heartbeat(ts - 1000, "PARKED"))
    lane.done()
    servers.redis().set("robot.other", "stays")
    feed = servers.redis().pubsub(ignore_subscribe_messages=True)
    feed.subscribe("coco.invalidate")
    feed.get_message(timeout=1)
    servers.redis_pause(True)
    try:
        for serial in serials[1:]:
            lane.push(serial, heartbeat(ts, "ON_TRIP"))
        lane.done()
        assert lane.metrics()["coco_redis_owed"] == 8
    finally:
        servers.redis_pause(False)

    until(lambda: all(gone_or_fresh(servers, s, ts) for s in serials[1:]))
    # behind what was sent before it hung
    until(lambda: (feed.get_message(timeout=0.1) or {}).get("data")
          == '{"all":true}')
    feed.close()
    until(lambda: settled(lane))
    assert cached(servers, "r-0")["ts"] == ts - 1000
    assert servers.redis().get("robot.other") == "stays"

    lane.push("r-1", heartbeat(ts + 1, "PARKED"))
    lane.done()
    assert cached(servers, "r-1")["ts"] == ts + 1


def test_what_waits_in_a_hung_redis_comes_to_nothing(servers, drive):
    """A part of a pipeline lies in the socket's buffer when its sender gives
    up: an older copy, set after newer ones were removed."""
    lane = drive(shards=1, batch=200, linger=100)
    servers.redis().config_resetstat()
    serials = ["r-%d" % i for i in range(200)]
    ts = now()
    for turn in range(4):
        lane.push("other", heartbeat(ts + turn))
        lane.done()
        servers.redis_pause(True)
        try:
            for i in (1, 2):
                for serial in serials:
                    lane.push(serial, heartbeat(ts + 2 * turn + i, "PARKED"))
                lane.done()
            time.sleep(0.15)        # the next connection waits, too
        finally:
            servers.redis_pause(False)
        until(lambda: settled(lane))
        time.sleep(0.2)
        assert [s for s in serials if not gone_or_fresh(
            servers, s, ts + 2 * turn + 2)] == []
    # the moment is hard to meet; that the old connection is ended is not
    assert servers.redis().info("commandstats")[
        "cmdstat_client|kill"]["calls"] >= 4


def test_more_old_copies_than_are_remembered(servers, drive):
    """Then all go."""
    lane = drive(shards=1)
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    client = servers.redis()
    client.mset({prefix + "bench-%d" % i: "old" for i in range(2000) for prefix
                 in ("robot.heartbeat.cache.", "robot.ephemeral.")})
    client.set("robot.other", "stays")
    servers.redis_pause(True)
    try:
        print(lane.ask("bench 66000 66000"))
        assert lane.metrics()["coco_redis_owed"] == 65536
    finally:
        servers.redis_pause(False)
    until(lambda: settled(lane))
    assert client.keys() == ["robot.other"]


def commands(client):
    """All but those by which a test looks."""
    return sum(of["calls"] for name, of in
               client.info("commandstats").items() if name != "cmdstat_get")


def test_commands_refused_leave_no_old_copy(servers, lane):
    client, ts = servers.redis(), now()
    refusals = {
        "OOM": (("config", "set", "maxmemory", "1"),
                ("config", "set", "maxmemory", "0")),
        "READONLY": (("replicaof", "127.0.0.1", "1"),
                     ("replicaof", "no", "one")),
    }
    for reason, (refuse, heal) in refusals.items():
        ts += 2
        lane.push("r-1", heartbeat(ts, "PARKED"))
        lane.done()
        until(lambda: cached(servers, "r-1"))
        client.execute_command(*refuse)
        try:
            lane.push("r-1", heartbeat(ts + 1, "ON_TRIP"))
            lane.done()
            time.sleep(0.5)
        finally:
            before = commands(client)
            client.execute_command(*heal)
        assert reason in lane.logged()
        until(lambda: gone_or_fresh(servers, "r-1", ts + 1))
        until(lambda: settled(lane))
        assert commands(client) - before < 300
        assert lane.metrics()["coco_redis_connected"] == 1
        assert "redis_unavailable" not in lane.logged()


def test_refusals_without_end_are_not_answered_in_circles(servers, lane):
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    client = servers.redis()
    feed = client.pubsub(ignore_subscribe_messages=True)
    feed.subscribe("coco.invalidate")
    client.execute_command("replicaof", "127.0.0.1", "1")
    try:
        end, told = time.monotonic() + 2, 0
        while time.monotonic() < end:
            lane.push("r-1", heartbeat(now(), "ON_TRIP"))
            lane.done()
            message = feed.get_message(timeout=0.02)
            told += bool(message and "all" in message["data"])
        assert told < 12
        assert lane.metrics()["coco_redis_owed"] == 1
    finally:
        client.execute_command("replicaof", "no", "one")
        feed.close()
    until(lambda: settled(lane))


def test_flushed_scripts_are_loaded_again(servers, either):
    either.push("r-1", heartbeat(now(), "PARKED"))
    either.done()
    servers.redis().script_flush()
    ts = now()
    either.push("r-1", heartbeat(ts, "ON_TRIP"))
    either.done()
    assert cached(servers, "r-1")["ts"] == ts


# --- any order, twice, in any pieces ----------------------------------------

def final(servers):
    return [servers.query(sql) for sql in (
        "select * from coco.robot_state order by serial",
        "select serial, operation_state from coco.robot_operation"
        " order by serial",
        "select serial, telemetry_id, battery_percent, operational_state"
        " from coco.fleet_robot order by serial",
        "select serial, date, id, received_at, state from coco.state_history"
        " order by 1, 2, 3")]


def test_the_order_of_arrival_does_not_matter(servers, drive):
    """Nor does the way from one service to the other."""
    random.seed(7)
    at = now() - 60000
    states = ["GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED"]
    messages = []
    for i in range(400):
        ahead = random.choice([0, 0, 0, 3600000])
        messages.append(("r-%d" % random.randrange(12),
                         heartbeat(at + i + ahead, random.choice(states), i %
                                   100), at + i))

    results, caches = [], []
    for turn in range(5):
        for table in ("robot_state", "robot_operation", "fleet_robot",
                      "state_history", "outbox", "robot_state_history"):
            servers.query("truncate coco.%s" % table)
        servers.redis().flushall()
        # a copy outlives the turns, however long they take
        lane = drive(linger=2, batch=[1000, 7, 60, 40, 300][turn],
                     shards=turn % 3 + 1, seed=turn, ttl=3600000,
                     **MODES["scrambled" if turn > 2 else "direct"])
        sent = list(messages)
        if turn:
            sent += random.sample(messages, 150)
            random.shuffle(sent)
        for serial, payload, received_at in sent:
            lane.push(serial, payload, received_at=received_at)
        lane.done()
        assert lane.stop()
        results.append(final(servers))
        caches.append([cached(servers, "r-%d" % i) for i in range(12)])

    for turn in range(1, 5):
        assert results[turn] == results[0]
        assert caches[turn] == caches[0]


def test_two_processes_meet_the_same_new_robots(servers, drive):
    ts = now() - 60000
    lanes = [drive(shards=2, linger=1) for _ in range(3)]
    for i in range(1500):
        for n, lane in enumerate(lanes):
            lane.push("r-%d" % ((i * 7 + n) % 300),
                      heartbeat(ts + i, "PARKED", n))
    for lane in lanes:
        lane.done(60)
    assert count(servers, "state_history") == 4500
    assert count(servers, "robot_state") == 300
    for lane in lanes:
        assert "deadlock" not in lane.logged()


# --- the janitor ------------------------------------------------------------

def test_the_janitor_keeps_the_tables_in_bounds(servers, drive):
    lane = drive(letters=3)
    servers.query("select coco.state_history_partition_create("
                  "(now() - interval '40 days')::date)")
    servers.query("insert into coco.outbox (id, name, serial, payload,"
                  " created_at) select gen_random_uuid(), 'x', 'r', '{}',"
                  " now() - h * interval '1 hour' from unnest('{1,25}'::int[])"
                  " h")
    servers.query("insert into coco.idempotency_key select 'c', 'r', h::text,"
                  " '', 200, '', now() - h * interval '1 hour'"
                  " from unnest('{1,25}'::int[]) h")
    servers.query("insert into coco.dead_letter (id, source, service, topic,"
                  " reason, payload, received_at, replayed_at, replay_outcome)"
                  " select gen_random_uuid(), 'mqtt', 'decoder', 't', d::text,"
                  " '', now() - d * interval '1 day', now(), 'APPLIED'"
                  " from unnest('{0,1,2,3,31}'::int[]) d")
    lane.process.stdin.write("janitor\n")

    until(lambda: count(servers, "idempotency_key") == 1)
    assert count(servers, "outbox") == 1
    assert [r for r, in servers.query(
        "select reason from coco.dead_letter order by reason")] == [
            "0", "1", "2"]
    old, ahead = one(servers, """
        select count(*) filter (where d < now() - interval '31 days'),
               count(*) filter (where d > now() + interval '6 days')
        from (select to_date(right(relname, 8), 'YYYYMMDD') d
              from pg_class where relname ~ '^state_history_[0-9]{8}$') p""")
    assert (old, ahead) == (0, 1)
