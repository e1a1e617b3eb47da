"""What operators set, against what the robot reports."""

import pytest

from harness import await_for, new_serial, now_ms


@pytest.fixture
def robot(system):
    """A parked, ready robot."""
    serial = new_serial("patch")
    ts = system.beat(serial, now_ms(), "PARKED")["ts"]
    system.await_cached(serial, ts)
    return serial


def patch(system, serial, status=200, **body):
    return system.call("PATCH", "/robots/" + serial, status, json=body)


def operation_state(system, serial):
    robot = system.get("/robots/" + serial)
    assert robot["telemetry"]["operationState"] == robot["operationState"]
    return robot["operationState"]


def test_visible_to_the_next_read(system, robot):
    for i in range(20):
        state = ("GROUNDED", "DEPLOYED")[i % 2]
        patch(system, robot, operationState=state, hasFood=i % 2 == 0)
        shown = system.get("/robots/" + robot)
        assert shown["operationState"] == state
        assert shown["business"]["hasFood"] is (i % 2 == 0)


def test_holds_until_the_reported_state_changes(system, robot):
    patch(system, robot, operationState="GROUNDED")
    assert operation_state(system, robot) == "GROUNDED"
    for state in ("PARKED", None, "PARKED"):
        ts = system.beat(robot, now_ms(), state)["ts"]
        assert system.await_cached(robot, ts)["operationState"] == "GROUNDED"
        assert operation_state(system, robot) == "GROUNDED"
    system.beat(robot, now_ms() - 60000, "DEPLOYED")      # older: no change
    assert operation_state(system, robot) == "GROUNDED"
    ts = system.beat(robot, now_ms(), "ON_TRIP")["ts"]
    assert system.await_cached(robot, ts)["operationState"] == "ON_TRIP"
    await_for("the new state is shown",
              lambda: operation_state(system, robot) == "ON_TRIP")


def test_telemetry_leaves_flags_alone(system, robot):
    patch(system, robot, needsMovement=True, driveable=False, hasFood=True)
    system.beat(robot, now_ms(), "ON_TRIP")
    business = system.get("/robots/" + robot)["business"]
    assert (business["needsMovement"], business["driveable"],
            business["hasFood"]) == (True, False, True)
    assert system.sql("select needs_movement, driveable, has_food"
                      "  from coco.fleet_robot where serial = %s",
                      robot) == [(True, False, True)]


def test_readiness_follows_the_first_issue(system, robot):
    for field, issue in (("needsPickup", "NEEDS_PICKUP"),
                         ("needsMaintenance", "NEEDS_MAINTENANCE"),
                         ("undergoingMaintenance", "UNDERGOING_MAINTENANCE")):
        patch(system, robot, **{field: True})
        assert system.get("/robots/" + robot)["readiness"] == {
            "ready": False, "issue": issue}
    patch(system, robot, needsPickup=None, needsMaintenance=False,
          undergoingMaintenance=False, driveable=False)
    assert system.get("/robots/" + robot)["readiness"]["issue"] \
        == "NOT_DRIVEABLE"
    patch(system, robot, driveable=True)
    assert system.get("/robots/" + robot)["readiness"] == {
        "ready": True, "issue": None}


def test_emits_events(system, robot):
    last = system.value("select max(seq) from coco.outbox")
    patch(system, robot, operationState="GROUNDED", needsPickup=True)
    rows = system.sql("select name, payload->'data' from coco.outbox"
                      " where serial = %s and seq > %s order by seq",
                      robot, last)
    events = dict(rows)
    assert len(rows) == 3
    assert events["Robots.StateChange"] == {"from": "PARKED",
                                            "to": "GROUNDED"}
    assert events["Robots.BusinessStateChange"]["operationState"] == "GROUNDED"
    assert events["Robots.BusinessStateChange"]["needsPickup"] is True
    assert events["DispatchEngine.SupplyEvent"].items() >= {
        "operationState": "GROUNDED", "needsPickup": True}.items()
    assert system.sql("select operation_state, needs_pickup"
                      "  from coco.robot_state_history"
                      " where robot_serial = %s order by changed_at",
                      robot) == [("PARKED", None), ("GROUNDED", True)]


def test_unchanged_emits_nothing(system, robot):
    patch(system, robot, needsPickup=True)
    count = ("select count(*) from coco.outbox where serial = '%s'" % robot)
    before = system.value(count)
    patch(system, robot, needsPickup=True)
    assert system.value(count) == before


def test_idempotency_key(system, robot):
    headers = {"Idempotency-Key": robot}

    def send(status, **body):
        return system.call("PATCH", "/robots/" + robot, status, json=body,
                           headers=headers)

    first = send(200, hasFood=True)
    patch(system, robot, hasFood=False)
    assert send(200, hasFood=True) == first
    assert system.get("/robots/" + robot)["business"]["hasFood"] is False
    send(422, hasFood=False)


def test_races_with_heartbeats(system, robot):
    """Neither side loses a change of its own fields or deadlocks."""
    for i in range(30):
        ts = now_ms()
        system.publish((robot, {
            "ts": ts, "state": ("PARKED", "ON_TRIP")[i % 2],
            "battery": {"percent": i},
            "location": {"latitude": 1, "longitude": 2}}))
        patch(system, robot, hasFood=i % 2 == 0, needsPickup=i % 3 == 0)
        assert system.get("/robots/" + robot)["business"]["hasFood"] \
            is (i % 2 == 0)
    system.await_history(robot, ts)
    await_for("both sides' last word", lambda: system.sql(
        "select battery_percent, has_food, needs_pickup, operational_state"
        "  from coco.fleet_robot where serial = %s", robot) == [
            (29, False, False, "ON_TRIP")])


def test_unknown_robot(system):
    patch(system, new_serial("patch"), status=404, hasFood=True)
