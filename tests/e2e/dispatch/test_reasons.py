"""Each reason, from what causes it: in GET /supply, and in a quote, counted
and explained."""

import pytest

from dispatch_field import Robot
from harness import await_for

# Nobody else is within reach of it.
ALONE = {"latitude": -33.0, "longitude": 18.0}
AREA = "coco_dispatch_area -34,17 -34,19 -32,19 -32,17"


@pytest.fixture(scope="module")
def host(nginx):
    """One whose area ends a degree around ALONE."""
    return nginx((r"coco_dispatch_area off", AREA))


@pytest.fixture
def robot(field):
    robot = Robot(field, ALONE)
    robot.shown(operationState="PARKED", status="ONLINE")
    field.await_quotable(robot)
    yield robot
    robot.patch(operationState="OFF_DUTY")      # out of the way


def hold(field, robot):
    assert field.quote(robot.place, hold=True)["serial"] == robot.serial


def promise(field, robot):
    field.deliver().do("assign", serial=robot.serial)


def open_lid(field, robot):
    robot.event("LID_OPENED", trigger="OTHER")


STANDING = {
    "UNHEALTHY": lambda field, robot: robot.beat(healthy=False),
    "NOT_DRIVEABLE": lambda field, robot: robot.patch(driveable=False),
    "MAINTENANCE": lambda field, robot: robot.patch(needsMaintenance=True),
    "MAINTENANCE under way": lambda field, robot: robot.patch(
        undergoingMaintenance=True),
    "NEEDS_PICKUP": lambda field, robot: robot.patch(needsPickup=True),
    "HAS_FOOD": lambda field, robot: robot.patch(hasFood=True),
    "ON_TRIP": lambda field, robot: robot.beat("ON_TRIP"),
    "OFF_DUTY": lambda field, robot: robot.beat("OFF_DUTY"),
    "GROUNDED": lambda field, robot: robot.beat("GROUNDED"),
    "LID_OPEN": open_lid,
    "LID_OPEN by heartbeat": lambda field, robot: robot.beat(
        lid={"open": True}),
    "HELD": hold,
    "BUSY": promise,
    "LOW_BATTERY": lambda field, robot: robot.beat(battery=14.5),
}


def explained(field, robot):
    """What the quote says of a robot."""
    quote = field.quote(robot.place, explain=True)
    one, = [row["reasons"] for row in quote["robots"]
            if row["serial"] == robot.serial]
    for reason in one:
        assert quote["rejected"][reason] == sum(
            reason in row["reasons"] for row in quote["robots"])
    return one


@pytest.mark.parametrize("cause", STANDING)
def test_a_standing_reason(field, robot, cause):
    reason = cause.split()[0]
    STANDING[cause](field, robot)
    # a battery that is as low as that cannot make the shortest of trips
    trip = ["BATTERY_RANGE"] if reason == "LOW_BATTERY" else []
    field.await_seen(lambda: robot.reasons() == [reason])
    field.await_seen(lambda: [why for why in explained(field, robot)
                              if why not in trip] == [reason])
    assert field.quote(robot.place)["serial"] != robot.serial

    # what is held elsewhere comes to its end meanwhile
    def counted_alike():
        short, whole = (field.quote(robot.place, explain=explain)["rejected"]
                        for explain in (False, True))
        return short[reason] == whole[reason]

    await_for("it is counted with the others", counted_alike)


def test_offline(field):
    robot = Robot(field, ALONE, ago=50000)      # online for so much longer
    robot.shown(status="ONLINE")
    field.await_quotable(robot)
    field.await_seen(lambda: robot.reasons() == ["OFFLINE"])
    field.await_seen(lambda: explained(field, robot) == ["OFFLINE"])
    assert field.quote(robot.place)["rejected"]["OFFLINE"] >= 1


def test_several_in_the_order_of_the_checks(field, robot):
    robot.patch(hasFood=True, driveable=False)
    robot.beat("GROUNDED", healthy=False, battery=3)
    standing = ["UNHEALTHY", "NOT_DRIVEABLE", "HAS_FOOD", "GROUNDED",
                "LOW_BATTERY"]
    field.await_seen(lambda: robot.reasons() == standing)
    field.await_seen(lambda: explained(field, robot) == standing + [
        "BATTERY_RANGE"])


def test_reasons_of_the_trip(field, robot, host):
    field.await_quotable(robot, host.http)

    def reasons(pickup, dropoff):
        quote = field.quote(pickup, dropoff, url=host.http, explain=True)
        one, = [row["reasons"] for row in quote["robots"]
                if row["serial"] == robot.serial]
        assert all(quote["rejected"][why] >= 1 for why in one)
        assert (quote["serial"] == robot.serial) is (one == [])
        assert quote["feasible"] is (one == [])
        return one

    def east(degrees):
        return {"latitude": -33.0, "longitude": 18.0 + degrees}

    assert reasons(ALONE, east(0.02)) == []
    assert reasons(ALONE, east(0.3)) == ["BATTERY_RANGE"]
    assert reasons(east(0.18), east(0.18)) == ["TOO_FAR"]
    assert reasons(ALONE, east(1.2)) == ["BATTERY_RANGE", "OUT_OF_AREA"]
    assert reasons(east(1.1), east(1.1)) == [
        "BATTERY_RANGE", "OUT_OF_AREA", "TOO_FAR"]
