"""From the robot's publish to every place where its heartbeat can be read."""

import pytest

from harness import await_for, heartbeat, new_serial, now_ms

STATES = ("GROUNDED", "ON_TRIP", "PARKED", "OFF_DUTY", "DEPLOYED")


@pytest.fixture
def serial():
    return new_serial("read")


def test_current_state(system, serial):
    before = now_ms()
    beat = system.beat(serial, now_ms(), "PARKED", battery=61.5,
                       software="4.2.1", lid={"open": False})
    state = system.get("/state/" + serial)
    assert (state["serial"], state["state"]) == (serial, "PARKED")
    assert state["ts"] == beat["ts"]
    assert before <= state["receivedAt"] <= now_ms()
    assert state["details"]["battery"] == beat["battery"]
    assert state["details"]["location"] == beat["location"]
    assert state["details"]["components"] == beat["components"]
    assert state["details"]["software"] == "4.2.1"
    assert not {"serial", "ts", "state"} & set(state["details"])
    assert state["driveu"] is None
    assert state["remotelyControllable"] is False


def test_unknown_members_are_kept(system, serial):
    extra = {"deep": [1, {"ü": "\U0001f916"}], "big": 9007199254740993}
    system.beat(serial, now_ms(), "PARKED", vendor=extra)
    assert system.get("/state/" + serial)["details"]["vendor"] == extra


@pytest.mark.parametrize("text", [
    "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z",
    "2026-01-02T05:04:05.678+02:00"])
def test_time_as_iso_8601(system, serial, text):
    ts = 1767323045678 if "." in text else 1767323045000
    system.publish((serial, heartbeat(text, "PARKED")))
    system.await_history(serial, ts)
    assert system.get("/state/" + serial)["ts"] == ts


def test_history_newest_first_within_bounds(system, serial):
    now = now_ms()
    times = [now - 60000 + i * 1000 for i in range(5)]
    system.publish(*((serial, heartbeat(ts, STATES[i]))
                     for i, ts in enumerate(times)))
    for ts in times:
        system.await_history(serial, ts)

    path = "/state/%s/history" % serial
    shown = list(system.items(path))
    assert [item["state"] for item in shown] == list(reversed(STATES))
    bounds = {"from": times[1], "to": times[3]}
    assert [item["state"] for item in system.items(path, **bounds)] \
        == [STATES[2], STATES[1]], "from is inclusive, to exclusive"
    assert list(system.items(path, limit=2)) == shown
    assert list(system.items(path, **{"from": now + 1000})) == []


def test_robot(system, serial):
    beat = system.beat(serial, now_ms(), "DEPLOYED", battery=77)
    system.await_cached(serial, beat["ts"])
    robot = system.get("/robots/" + serial)
    assert robot["serial"] == serial
    assert robot["operationState"] == "DEPLOYED"
    telemetry = robot["telemetry"]
    assert telemetry["ts"] == beat["ts"]
    assert telemetry["operationState"] == "DEPLOYED"
    assert telemetry["healthy"] is True
    assert telemetry["battery"] == beat["battery"]
    assert telemetry["location"] == beat["location"]
    assert telemetry["components"] == beat["components"]
    assert robot["connectivity"]["online"] is True
    assert robot["connectivity"]["remotelyControllable"] is False
    assert robot["delivery"] is None
    assert robot["readiness"] == {"ready": True, "issue": None}
    assert robot["sources"]["telemetry"]["source"] == "redis"
    assert robot["sources"]["business"]["source"] == "postgres"
    assert robot["partial"] is False


def test_labor_row_is_the_cache_as_it_stands(system, serial):
    beat = system.beat(serial, now_ms(), "PARKED", battery=42)
    cached = system.await_cached(serial, beat["ts"])
    assert system.get("/fleet/v1/labor/robots/" + serial) == cached
    assert cached["serial"] == serial
    assert cached["battery"] == beat["battery"]
    assert cached["location"] == beat["location"]
    assert cached["components"] == beat["components"]
    assert cached["operationState"] == "PARKED"
    assert cached["healthy"] is True
    assert cached["receivedAt"] >= beat["ts"]


@pytest.mark.parametrize("age", [0, 60])
def test_cache_lives_120_s_from_the_heartbeat(system, serial, age):
    begun = now_ms()
    beat = system.beat(serial, begun - age * 1000, "PARKED")
    system.await_cached(serial, beat["ts"])
    seen = now_ms()
    left = system.redis.pttl("robot.heartbeat.cache." + serial)
    assert left > 0
    # what is left is told to Redis, which may take until the copy is seen
    end = beat["ts"] + 120000
    assert end - now_ms() - 250 < left < end - seen + (seen - begun) + 250
    assert system.redis.pttl("robot.ephemeral." + serial) > 0


def test_expired_heartbeat_is_not_cached(system, serial):
    system.beat(serial, now_ms() - 121000, "PARKED", battery=33)
    for marker in [new_serial("read") for _ in range(8)]:   # of each shard
        system.await_cached(marker, system.beat(marker, now_ms())["ts"])
    assert system.cached(serial) is None
    system.get("/fleet/v1/labor/robots/" + serial, status=404)
    robot = system.get("/robots/" + serial)
    assert robot["telemetry"]["battery"]["percent"] == 33
    assert robot["sources"]["telemetry"]["source"] == "state"
    assert robot["connectivity"]["online"] is False
    assert robot["readiness"]["issue"] == "OFFLINE"


def test_postgres_rows(system, serial):
    beat = system.beat(serial, now_ms(), "ON_TRIP", battery=55.5,
                       components={"motor": "ERROR"})
    row = system.sql(
        "select healthy, latitude, longitude, speed, battery_percent,"
        " charging, operational_state from coco.fleet_robot"
        " where serial = %s", serial)
    assert row == [(False, beat["location"]["latitude"],
                    beat["location"]["longitude"], 0.5, 55.5, False,
                    "ON_TRIP")]
    assert system.sql(
        "select operation_state, needs_movement, undergoing_maintenance,"
        " has_food, driveable from coco.robot_state_history"
        " where robot_serial = %s", serial) == [("ON_TRIP",) + (None,) * 4]
    details = system.value(
        "select details from coco.state_history where serial = %s", serial)
    assert details["components"] == {"motor": "ERROR"}
    assert not {"serial", "ts", "state"} & set(details)


def test_changes_leave_through_the_outbox(system, serial):
    ts = now_ms() - 5000
    for i, state in enumerate(("PARKED", "PARKED", None, "ON_TRIP", "PARKED")):
        system.beat(serial, ts + i, state)
    rows = system.sql(
        "select name, payload from coco.outbox where serial = %s order by seq",
        serial)
    changes = [event["data"] for name, event in rows
               if name == "Robots.StateChange"]
    assert changes == [{"from": None, "to": "PARKED"},
                       {"from": "PARKED", "to": "ON_TRIP"},
                       {"from": "ON_TRIP", "to": "PARKED"}]
    business = [event["data"] for name, event in rows
                if name == "Robots.BusinessStateChange"]
    assert [b["operationState"] for b in business] == [
        "PARKED", "ON_TRIP", "PARKED"]
    for name, event in rows:
        assert set(event) == {"id", "name", "serial", "ts", "data"}
        assert (event["name"], event["serial"]) == (name, serial)


def test_two_robots_of_one_batch_do_not_mix(system):
    serials = [new_serial("read") for _ in range(20)]
    ts = now_ms()
    system.publish(*((serial, heartbeat(ts, STATES[i % 5], battery=i))
                     for i, serial in enumerate(serials)))
    for i, serial in enumerate(serials):
        system.await_history(serial, ts)
        robot = system.get("/robots/" + serial)
        assert robot["operationState"] == STATES[i % 5]
        assert robot["telemetry"]["battery"]["percent"] == i


def test_list_filters_and_pages(system):
    serials = [new_serial("list") for _ in range(7)]
    latitude = -10 - (now_ms() % 1000000) / 50000       # a place of its own
    for i, serial in enumerate(serials):
        system.beat(serial, now_ms(), "PARKED" if i < 4 else "GROUNDED",
                    latitude=latitude, longitude=20 + i / 1000)
    box = {"bbox": "19.999,%f,20.0055,%f" % (latitude - 1e-5,
                                             latitude + 1e-5)}

    def listed(**params):
        return [item["serial"] for item in
                system.items("/robots", **box, **params)]

    assert sorted(listed()) == sorted(serials[:6])
    assert sorted(listed(limit=2)) == sorted(serials[:6])
    assert sorted(listed(operationState="PARKED")) == sorted(serials[:4])
    assert sorted(listed(operationState="GROUNDED")) == sorted(serials[4:6])
    assert sorted(listed(ready="true")) == sorted(serials[:4])
    assert sorted(listed(ready="false")) == sorted(serials[4:6])
    one = next(item for item in system.items("/robots", **box)
               if item["serial"] == serials[0])
    alone = system.get("/robots/" + serials[0])
    assert set(one) <= set(alone)
    assert one["readiness"] == alone["readiness"]


@pytest.mark.parametrize("state, battery, components, issue", [
    ("DEPLOYED", 80, {}, None),
    ("PARKED", 5, {}, "LOW_BATTERY"),
    ("OFF_DUTY", 80, {}, "OFF_DUTY"),
    ("GROUNDED", 80, {}, "GROUNDED"),
    ("GROUNDED", 5, {"motor": "ERROR"}, "UNHEALTHY"),
    ("DEPLOYED", 80, {"motor": "DEGRADED"}, None)])
def test_readiness(system, serial, state, battery, components, issue):
    system.beat(serial, now_ms(), state, battery=battery,
                components=components)
    readiness = system.get("/robots/" + serial)["readiness"]
    assert readiness == {"ready": issue is None, "issue": issue}


def test_unknown_robot(system, serial):
    for path in ("/state/%s", "/robots/%s", "/fleet/v1/labor/robots/%s"):
        system.get(path % serial, status=404)


def test_robot_event_is_kept_once(system, serial):
    event = {"id": serial + "-1", "type": "LID_OPENED", "ts": now_ms(),
             "trigger": "OTHER", "pin": "4321"}
    system.publish((serial, event), (serial, event),
                   (serial, dict(event, type="LID_CLOSED")),
                   (serial, {"type": "BLINKED", "ts": event["ts"]}),
                   (serial, {"type": "BLINKED", "ts": event["ts"],
                             "reason": "again"}), kind="events")
    await_for("events of " + serial, lambda: system.value(
        "select count(*) from coco.lid_cycle_event_history"
        " where serial = %s and type = 'BLINKED'", serial) == 1)
    rows = system.sql("select type, event_id, reason, t::text"
                      "  from coco.lid_cycle_event_history t"
                      " where serial = %s order by type", serial)
    assert [row[:3] for row in rows] == [
        ("BLINKED", None, None), ("LID_OPENED", event["id"], None)]
    assert not any("4321" in row[3] for row in rows), "a PIN was stored"
