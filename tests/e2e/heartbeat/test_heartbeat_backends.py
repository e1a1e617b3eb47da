"""Reading while Redis, Postgres or both are away, and after they return."""

import pytest

from harness import await_for, new_serial, now_ms


@pytest.fixture
def robot(system):
    serial = new_serial("away")
    beat = system.beat(serial, now_ms(), "PARKED", battery=64)
    system.await_cached(serial, beat["ts"])
    return serial


@pytest.fixture
def away(stack, system):
    """Kills a server; all that were killed are back when the test ends."""
    killed = []

    def kill(*names):
        for name in names:
            stack.kill(name)
            killed.append(name)

    def back():
        for name in killed:
            stack.restart(name)
        killed.clear()
        await_for("ready again", lambda: system.get("/readyz"))

    kill.back = back
    yield kill
    if killed:
        back()


def part(robot, name):
    return robot["sources"][name]["source"]


def test_redis_flushed(system, robot):
    system.redis.flushall()
    first = system.get("/robots/" + robot)
    assert part(first, "telemetry") == "state"
    assert first["telemetry"]["battery"]["percent"] == 64
    assert first["partial"] is False
    copy = await_for("the cache is filled", lambda: system.cached(robot))
    assert 0 < system.redis.pttl("robot.heartbeat.cache." + robot) <= 120000

    # the zone may keep the first document, and where that was from
    system.redis.publish("coco.invalidate", '{"serials":["%s"]}' % robot)
    again = await_for("the copy is read", lambda: next((
        shown for shown in [system.get("/robots/" + robot)]
        if part(shown, "telemetry") == "redis"), None))
    assert again["telemetry"] == first["telemetry"] == copy
    assert system.get("/fleet/v1/labor/robots/" + robot) == copy


def test_filled_cache_gives_way_to_the_next_heartbeat(system, robot):
    system.redis.flushall()
    system.get("/robots/" + robot)
    await_for("the cache is filled", lambda: system.cached(robot))
    ts = system.beat(robot, now_ms(), "ON_TRIP", battery=63)["ts"]
    system.await_cached(robot, ts)


def test_redis_down(system, robot, away):
    away("redis")
    shown = system.get("/robots/" + robot)
    assert shown["partial"] is True
    assert part(shown, "telemetry") == "state"
    assert shown["telemetry"]["battery"]["percent"] == 64
    assert shown["operationState"] == "PARKED"
    system.get("/state/" + robot)
    row = system.get("/fleet/v1/labor/robots/" + robot)
    assert row == shown["telemetry"]
    # Heartbeats are still taken, committed and shown.
    ts = system.beat(robot, now_ms(), "ON_TRIP", battery=63)["ts"]
    assert system.get("/robots/" + robot)["telemetry"]["ts"] == ts
    system.call("PATCH", "/robots/" + robot, json={"hasFood": True})
    assert system.get("/robots/" + robot)["business"]["hasFood"] is True
    system.get("/readyz", status=503)
    away.back()
    await_for("whole again", lambda: not system.get(
        "/robots/" + robot)["partial"])
    # until then the worker may still be away from Redis, which removes copies
    await_for("the worker owes nothing",
              lambda: system.metric("coco_redis_owed") == 0)
    ts = system.beat(robot, now_ms(), "ON_TRIP", battery=62)["ts"]
    system.await_cached(robot, ts)


def test_redis_restarted_while_nobody_spoke(system, away):
    """The very first heartbeat afterwards is copied, whatever its shard."""
    serials = [new_serial("away") for _ in range(8)]
    for serial in serials:
        system.await_cached(serial, system.beat(serial, now_ms())["ts"])
    away("redis")
    away.back()
    for serial in serials:
        system.await_cached(serial, system.beat(serial, now_ms())["ts"])


def test_postgres_down(system, robot, away):
    away("postgres")
    shown = system.get("/robots/" + robot)
    assert shown["partial"] is True
    assert shown["business"] is None
    assert shown["telemetry"]["battery"]["percent"] == 64
    assert part(shown, "telemetry") == "redis"
    assert system.get("/fleet/v1/labor/robots/" + robot)["serial"] == robot
    system.get("/state/" + robot, status=503)
    system.get("/robots", status=503)
    system.call("PATCH", "/robots/" + robot, 503, json={"hasFood": True})
    system.get("/readyz", status=503)
    # What is published meanwhile waits, and is not lost.
    ts = now_ms()
    system.publish((robot, {"ts": ts, "battery": {"percent": 1},
                            "location": {"latitude": 1, "longitude": 2}}))
    away.back()
    system.await_history(robot, ts)
    await_for("whole again", lambda: not system.get(
        "/robots/" + robot)["partial"])
    await_for("the newest is shown", lambda: system.get(
        "/robots/" + robot)["telemetry"]["ts"] == ts)


def test_both_down(system, robot, away):
    away("redis", "postgres")
    for path in ("/robots/%s", "/state/%s", "/fleet/v1/labor/robots/%s"):
        reply = system.http.get(system.url + path % robot, timeout=15)
        assert reply.status_code == 503
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert "Retry-After" in reply.headers
    system.get("/healthz")
    away.back()
    await_for("whole again", lambda: not system.get(
        "/robots/" + robot)["partial"])


def test_worker_down(system, robot, away):
    """The broker keeps what is published; reads go on."""
    away("worker")
    ts = now_ms()
    system.publish(*((robot, {"ts": ts + i, "battery": {"percent": i},
                              "location": {"latitude": 1, "longitude": 2}})
                     for i in range(100)))
    assert system.get("/robots/" + robot)["telemetry"]["battery"][
        "percent"] == 64
    away.back()
    for i in (0, 99):
        system.await_history(robot, ts + i)
    await_for("all are in", lambda: len(system.history(robot)) == 101)
