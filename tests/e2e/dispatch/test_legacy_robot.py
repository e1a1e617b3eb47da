"""Every field of LegacyRobot, filled by what robots say and operators do: in
GET /supply, in coco.resource and on the bus."""

import pytest

from dispatch_field import EVENT, FIELDS, PLACES, Robot
from harness import await_for, now_ms

STALE = 60000           # ms; coco_online_window
SOON = 10000            # ms; in which all have seen what is so until then


@pytest.fixture
def robot(field):
    robot = Robot(field)
    robot.shown(status="ONLINE", operationState="PARKED")
    return robot


def test_telemetry(field, robot):
    robot.place = {"latitude": 37.7812345, "longitude": -122.4054321}
    beat = robot.beat(battery=42.5)
    robot.shown(battery=42.5, lastSynced=beat["ts"], location=robot.place)
    assert field.supply_of(robot.serial)["healthy"] is True
    robot.beat(components={"motor": "ERROR"})
    robot.shown(healthy=False)
    robot.beat(healthy=True)
    robot.shown(healthy=True)


def test_online_and_offline(field, robot):
    """Heard so long ago that its time is over soon."""
    late = Robot(field, ago=STALE - SOON)
    late.shown(status="ONLINE")
    late.shown(status="OFFLINE")
    assert now_ms() - late.ts >= STALE
    assert late.reasons() == ["OFFLINE"]
    late.beat()
    late.shown(status="ONLINE")
    assert late.reasons() == []


def test_flags(robot):
    """As they were patched; nothing is known before."""
    for name in ("needsMovement", "needsMaintenance", "needsPickup",
                 "driveable", "undergoingMaintenance", "hasFood"):
        assert robot.field.supply_of(robot.serial)[name] is None
        for value in (True, False, None):
            robot.patch(**{name: value})
            robot.shown(**{name: value})


def test_operation_state_and_deployed(robot):
    robot.beat("ON_TRIP")
    robot.shown(operationState="ON_TRIP")
    robot.patch(operationState="GROUNDED")
    robot.shown(operationState="GROUNDED")
    for kind in ("PARKING_LOT", "MRO", "POD"):
        place = {"type": kind, "id": "p-" + kind, "latitude": 37.7,
                 "longitude": -122.4}
        robot.patch(deployed=place)
        robot.shown(deployed=place)
    robot.patch(deployed=None)
    robot.shown(deployed=None)


def test_trips(field, robot):
    robot.beat("ON_TRIP")
    robot.shown(tripType="RETURN")
    robot.patch(deployed={"type": "POD", "id": "pod", "latitude": 37.7,
                          "longitude": -122.4})
    robot.shown(tripType="DEPLOYMENT")
    delivery = field.deliver()
    delivery.do("assign", serial=robot.serial)
    delivery.do("depart")
    robot.shown(tripType="DELIVERY")
    delivery.do("cancel", reason="closed")
    robot.shown(tripType="DEPLOYMENT")
    robot.beat("PARKED")
    robot.shown(tripType=None)


def test_a_delivery(field, robot):
    """From its assignment, by the lid, to its end."""
    robot.said = len(field.bound.messages)
    delivery = field.deliver(loadingFlow="MAGIC_LID")
    delivery.do("assign", serial=robot.serial)
    demand = field.supply_of(robot.serial)["activeDemand"]
    assert demand == {"id": delivery.id, "type": "PENDING",
                      "deliveryId": delivery.id, "serial": robot.serial,
                      **PLACES, "readyAt": None,
                      "createdAt": demand["createdAt"]}
    robot.shown(activeDemand=demand)
    assert field.supply_of(robot.serial)["tripType"] is None

    delivery.do("depart")
    robot.shown(activeDemand={**demand, "type": "ACTIVE"},
                tripType="DELIVERY")
    delivery.do("arrive", at="pickup")
    robot.event("PIN_ENTRY_LID_OPEN", lid_opened=True)
    robot.event("PIN_ENTRY_LID_CLOSE", trigger="PIN_ENTRY_CONFIRM")
    delivery.await_status("LoadedWaitingForPilot")
    robot.shown(hasFood=True)
    delivery.do("depart")
    delivery.do("arrive", at="dropoff")
    delivery.do("complete")
    robot.shown(hasFood=False, activeDemand=None, tripType=None)


def test_demands_to_come(field, robot):
    """A second delivery is PENDING, also when it is the one under way in
    truth; what is for later is SCHEDULED, until its time has come."""
    first, second = field.deliver(), field.deliver()
    for delivery in (first, second):
        delivery.do("assign", serial=robot.serial)
    robot.shown(
        activeDemand=lambda d: (d["id"], d["type"]) == (first.id, "PENDING"),
        futureDemand=types((second.id, "PENDING")))
    for delivery in (first, second):
        delivery.do("depart")
    robot.shown(
        activeDemand=lambda d: (d["id"], d["type"]) == (first.id, "ACTIVE"))
    assert field.supply_of(robot.serial)["futureDemand"] == [
        {**second.demand(), "type": "PENDING"}]
    assert second.demand()["type"] == "ACTIVE"

    ready = now_ms() + SOON
    later = field.demand(robot.serial, readyAt=ready)
    robot.shown(futureDemand=types((second.id, "PENDING"),
                                   (later, "SCHEDULED")))
    robot.shown(futureDemand=types((second.id, "PENDING"),
                                   (later, "PENDING")))
    assert now_ms() >= ready

    for delivery in (first, second):
        delivery.do("cancel", reason="closed")
    field.call("DELETE", "/demands/" + later, 204)
    robot.shown(activeDemand=None, futureDemand=[])


def types(*wanted):
    return lambda demands: [(d["id"], d["type"]) for d in demands] == list(
        wanted)


def test_why_an_attempt_ended(field, robot):
    delivery = field.deliver()
    delivery.do("assign", serial=robot.serial)
    delivery.do("cancel", reason="the kitchen is closed")
    robot.shown(attemptCancellationReason="the kitchen is closed")
    again = field.deliver()
    again.do("assign", serial=robot.serial)
    robot.shown(attemptCancellationReason=None)


def test_what_the_bus_told_adds_up(field, robot):
    """Events hold what changed, by its name: all of them together are the
    robot. Its status aside, whose two writers nobody puts in order."""
    robot.patch(needsMovement=True, driveable=True)
    field.deliver().do("assign", serial=robot.serial)
    robot.beat("DEPLOYED", battery=33)
    robot.shown(battery=33, operationState="DEPLOYED")

    def added_up():
        sum_ = {"futureDemand": []}
        for data in field.told(robot.serial):
            assert set(data) <= FIELDS
            sum_.update(data)
        row = field.resource(robot.serial)
        return all(sum_.get(name) == row[name]
                   for name in FIELDS - {"serial", "status"})

    await_for("they add up", added_up)
    ids = [message.payload for message in field.bound.messages
           if message.key == robot.serial]
    assert len(ids) == len(set(ids)), "each was told once"
    assert all(b'"%b"' % EVENT.encode() in text for text in ids)
