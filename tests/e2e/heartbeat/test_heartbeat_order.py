"""Older never overwrites newer, wherever it is kept and however it comes."""

import random

import pytest

from harness import await_for, heartbeat, new_serial, now_ms

HOUR, DAY = 3600_000, 86400_000


@pytest.fixture
def serial():
    return new_serial("order")


def assert_newest(system, serial, ts, state, battery):
    """Every copy shows this heartbeat."""
    def shown():
        assert system.sql(
            "select round(extract(epoch from s.ts) * 1000)::bigint, s.state,"
            " round(extract(epoch from f.telemetry_ts) * 1000)::bigint,"
            " f.battery_percent, f.operational_state, o.operation_state"
            "  from coco.robot_state s join coco.fleet_robot f using (serial)"
            "  join coco.robot_operation o using (serial)"
            " where serial = %s", serial) == [
                (ts, state, ts, battery, state, state)]
        copy = system.cached(serial)
        assert copy, "Redis has none yet"
        assert (copy["ts"], copy["battery"]["percent"],
                copy["operationState"]) == (ts, battery, state)
        assert system.get("/state/" + serial)["ts"] == ts
        assert system.get("/state/" + serial)["state"] == state
        assert system.get("/robots/" + serial)["telemetry"] == copy
        assert system.get("/fleet/v1/labor/robots/" + serial) == copy
        return True
    await_for("newest of %s everywhere" % serial, shown)


def settle(system):
    """Everything published before is in, Redis included; by several, for
    each shard of the worker has its own."""
    markers, ts = [new_serial("order") for _ in range(8)], now_ms()
    system.publish(*((marker, heartbeat(ts)) for marker in markers))
    for marker in markers:
        system.await_cached(marker, ts)


def test_late_in_a_batch_of_its_own(system, serial):
    ts = now_ms()
    system.beat(serial, ts, "PARKED", battery=90)
    system.beat(serial, ts - 5000, "ON_TRIP", battery=10)
    assert_newest(system, serial, ts, "PARKED", 90)
    assert system.history(serial) == [(ts - 5000, "ON_TRIP"), (ts, "PARKED")]


def test_shuffled_in_one_batch(system, serial):
    ts = now_ms() - 50000
    order = list(range(50))
    random.Random(7).shuffle(order)
    system.publish(*((serial, heartbeat(ts + i, "PARKED", battery=i))
                     for i in order))
    for i in order:
        system.await_history(serial, ts + i)
    assert_newest(system, serial, ts + 49, "PARKED", 49)


def test_repeated_after_newer(system, serial):
    ts = now_ms() - 3000
    old = system.beat(serial, ts, "ON_TRIP", battery=20)
    system.beat(serial, ts + 1000, "PARKED", battery=21)
    received = system.get("/state/" + serial)["receivedAt"]
    system.publish((serial, old), (serial, old))
    settle(system)
    assert_newest(system, serial, ts + 1000, "PARKED", 21)
    assert system.get("/state/" + serial)["receivedAt"] == received
    assert len(system.history(serial)) == 2


def test_repeat_of_the_newest_fills_redis_again(system, serial):
    beat = system.beat(serial, now_ms(), "PARKED", battery=20)
    first = system.await_cached(serial, beat["ts"])
    system.redis.delete("robot.heartbeat.cache." + serial)
    system.publish((serial, beat))
    assert system.await_cached(serial, beat["ts"]) == first
    assert len(system.history(serial)) == 1


def test_counts_of_repeats_and_stale(system, serial):
    names = "coco_messages_duplicate_total", "coco_messages_stale_total"
    before = [system.metric(name) for name in names]
    ts = now_ms()
    beat = system.beat(serial, ts, "PARKED")
    system.beat(serial, ts - 1000, "PARKED")
    system.publish((serial, beat))
    await_for("metrics move", lambda: all(
        system.metric(name) > old for name, old in zip(names, before)))


def test_same_time_ties_by_id(system, serial):
    for ts in (now_ms() - 10, now_ms()):
        for battery in (1, 2, 3, 4):
            system.publish((serial, heartbeat(ts, "PARKED", battery=battery)))
        system.await_history(serial, ts, count=4)
        winner = system.value(
            "select id::text from coco.state_history where serial = %s"
            " order by date desc, id desc limit 1", serial)
        assert system.value("select id::text from coco.robot_state"
                            " where serial = %s", serial) == winner
        await_for("Redis holds the winner", lambda: (
            system.cached(serial) or {}).get("id") == winner)


def test_clock_ahead_then_corrected(system, serial):
    """least(ts, receivedAt): the hour ahead does not freeze the robot."""
    system.beat(serial, now_ms() + HOUR, "ON_TRIP", battery=50)
    assert system.get("/state/" + serial)["state"] == "ON_TRIP"
    left = system.redis.pttl("robot.heartbeat.cache." + serial)
    assert left <= 120000
    ts = now_ms()
    system.beat(serial, ts, "PARKED", battery=49)
    assert_newest(system, serial, ts, "PARKED", 49)
    # What is old by both clocks still changes nothing.
    system.beat(serial, ts - 60000, "GROUNDED", battery=1)
    settle(system)
    assert_newest(system, serial, ts, "PARKED", 49)


def test_clock_ahead_goes_on_moving(system, serial):
    for battery in (30, 29, 28):
        ts = now_ms() + 12 * HOUR
        system.beat(serial, ts, "ON_TRIP", battery=battery)
        assert_newest(system, serial, ts, "ON_TRIP", battery)


def test_no_state_keeps_the_last_known(system, serial):
    ts = now_ms() - 4000
    system.beat(serial, ts, battery=1)
    assert system.get("/state/" + serial)["state"] == "OFF_DUTY"
    system.beat(serial, ts + 1, "DEPLOYED", battery=2)
    system.beat(serial, ts + 2, battery=3)
    assert_newest(system, serial, ts + 2, "DEPLOYED", 3)
    system.publish((serial, heartbeat(ts + 3, battery=4)),
                   (serial, heartbeat(ts + 4, "PARKED", battery=5)),
                   (serial, heartbeat(ts + 5, battery=6)))
    system.await_history(serial, ts + 5)
    assert system.history(serial) == [
        (ts, "OFF_DUTY"), (ts + 1, "DEPLOYED"), (ts + 2, "DEPLOYED"),
        (ts + 3, "DEPLOYED"), (ts + 4, "PARKED"), (ts + 5, "PARKED")]


@pytest.mark.parametrize("days", [1, 3, 20, 400, 3000])
def test_days_late(system, serial, days):
    ts = now_ms()
    old = ts - days * DAY
    system.beat(serial, ts, "PARKED", battery=70)
    system.beat(serial, old, "ON_TRIP", battery=5)
    settle(system)
    assert_newest(system, serial, ts, "PARKED", 70)
    items = list(system.items("/state/%s/history" % serial))
    assert [item["state"] for item in items] == ["PARKED", "ON_TRIP"]
    bounds = {"from": old, "to": old + 1}
    assert [item["state"] for item in system.items(
        "/state/%s/history" % serial, **bounds)] == ["ON_TRIP"]


def test_days_late_repeated(system, serial):
    old = now_ms() - 3000 * DAY
    beat = system.beat(serial, old, "ON_TRIP")
    system.publish((serial, beat), (serial, beat))
    settle(system)
    assert system.history(serial) == [(old, "ON_TRIP")]


def test_retention_drops_whole_days_only(system, serial):
    day = "date '%s'" % system.value(
        "select ((now() at time zone 'UTC')::date - 2000)::text")
    name = system.value("select 'coco.state_history_'"
                        " || to_char(%s, 'YYYYMMDD')" % day)
    system.sql("select coco.state_history_partition_create(%s)" % day)
    assert system.value("select to_regclass(%s) is not null", name)
    ts = now_ms()
    system.beat(serial, ts, "PARKED")
    dropped = system.value("select coco.state_history_partition_maintain("
                           "7, interval '1999 days')")
    assert dropped >= 1
    assert system.value("select to_regclass(%s) is null", name)
    system.beat(serial, ts - 2000 * DAY, "ON_TRIP")
    assert [state for _, state in system.history(serial)] == [
        "ON_TRIP", "PARKED"]
    assert system.value("select to_regclass(%s) is null", name), \
        "a day past the retention came back"
