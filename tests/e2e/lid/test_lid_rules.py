"""Who may open, what a close does at which place, and what heartbeats say."""

import concurrent.futures

from harness import await_for
from lid_field import AWAY, CLOSE, COMPLETE, DROPOFF, LOADED, OPEN, PICKUP, PIN


def loaded(field, one):
    """A delivery that is on its way to the drop-off."""
    delivery = field.delivery(one, "QR")
    field.open_for_load(delivery)
    one.report("LID_CLOSED")
    delivery.await_loaded()
    delivery.do("depart")
    return delivery


def test_operator_never_loads(field, robot):
    """Neither by the reference nor by the fallback, and nobody is alarmed."""
    one = robot()
    delivery = field.delivery(one, "QR")
    for reference in (None, delivery.id):
        field.open_lid(one, reference=reference)
        one.report("LID_CLOSED")
    field.settle(one)
    assert field.bus(one)[-2:] == [(CLOSE, "OPERATOR", "OTHER", delivery.id),
                                   (COMPLETE, "OPERATOR", "OTHER",
                                    delivery.id)]
    assert delivery.status == "AtPickup"
    assert field.anomalies(one) == []


def test_close_at_dropoff_completes(field, robot):
    """It completes instead of loading, also by an operator's hand."""
    one = robot()
    delivery = loaded(field, one)
    one.shows(DROPOFF)
    delivery.await_status("AtDropoff")
    field.open_lid(one, reference=delivery.id)
    one.report("LID_CLOSED")
    delivery.await_status("Completed")
    assert delivery.statuses() == [
        "Created", "Assigned", "EnrouteToPickup", "AtPickup", LOADED,
        "EnrouteToDropoff", "AtDropoff", "Completed"]
    assert field.get("/robots/" + one.serial)["business"]["hasFood"] is False
    assert field.anomalies(one) == []


def test_close_overtakes_the_arrival_at_the_dropoff(field, robot):
    """The heartbeat that shows the arrival comes after the close."""
    one = robot()
    delivery = loaded(field, one)
    arrived = one.clock()
    field.open_lid(one, reference=delivery.id)
    one.report("LID_CLOSED")
    field.settle(one)
    assert delivery.status == "EnrouteToDropoff"
    field.beat(one.serial, arrived, location={**DROPOFF, "speed": 0})
    delivery.await_status("Completed")
    assert delivery.statuses()[-2:] == ["AtDropoff", "Completed"]


def test_arrival_by_heartbeat(field, robot):
    """Within 30 m and standing; not while it rolls, not farther off."""
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", "EnrouteToPickup", pin=PIN)
    one.shows(AWAY, state="ON_TRIP")
    one.shows(PICKUP, speed=0.3)
    field.settle(one)
    assert delivery.status == "EnrouteToPickup" and one.pins == []
    one.shows({**PICKUP, "latitude": PICKUP["latitude"] + 0.0002}, speed=0.1)
    delivery.await_status("AtPickup")
    one.await_pin(PIN)
    assert field.get("/robots/" + one.serial)["operationState"] == "PARKED"

    one.opens_by_itself()
    one.confirms()
    delivery.await_loaded()
    delivery.do("depart")
    one.shows(DROPOFF, speed=1.2)
    one.shows(PICKUP)
    field.settle(one)
    assert delivery.status == "EnrouteToDropoff"
    one.shows(DROPOFF)
    delivery.await_status("AtDropoff")


def test_moving_is_409(field, robot):
    """Over 0.1 m/s; the robot is not even asked."""
    one = robot()
    delivery = field.delivery(one, "QR")
    one.shows(PICKUP, speed=0.8)
    problem = field.open_for_load(delivery, 409)
    assert "0.8 m/s" in problem["detail"]
    assert "0.8 m/s" in field.open_lid(one, status=409)["detail"]
    field.settle(one)
    assert field.types(one) == ["LID_OPEN_REFUSED"] * 2
    assert field.commands(one) == [] and one.commands == []
    one.shows(PICKUP, speed=0.1)
    assert field.open_for_load(delivery)["opened"] is True


def test_same_key_opens_once(field, robot):
    """Two at a time and one later: one command, one answer."""
    one = robot(answer=None)
    delivery = field.delivery(one, "QR")
    same = {"json": {"deliveryId": delivery.id},
            "headers": {"Idempotency-Key": one.serial}}
    pending = [field.later("POST", "/open-lid-for-load", **same)
               for _ in range(3)]
    command = one.await_command()
    one.report("LID_OPENED", commandId=command["id"])
    answers = [each.result() for each in pending]
    answers.append(field.call("POST", "/open-lid-for-load", **same))
    assert answers == [{"opened": True, "commandId": command["id"],
                        "cycleId": field.lid(one)["cycleId"]}] * 4
    assert {c["id"] for c in one.commands} == {command["id"]}
    assert field.commands(one) == [(command["id"], "OPENED")]
    field.call("POST", "/open-lid-for-load", 422, **{**same, "json": {
        "deliveryId": delivery.id.upper()}})

    one.report("LID_CLOSED")
    delivery.await_loaded()
    # also after the load, which another key would be refused for
    assert field.call("POST", "/open-lid-for-load", **same) == answers[0]
    field.open_for_load(delivery, 409, **{"Idempotency-Key": "other"})


def test_two_opens_in_a_row(field, robot):
    """The lid cannot open twice: one cycle, from the first open, with the
    reference of the one that loads."""
    one = robot()
    delivery = field.delivery(one, "QR")
    first = field.open_lid(one)
    opened = field.lid(one)["openedAt"]
    second = field.open_for_load(delivery)
    assert first["cycleId"] == second["cycleId"]
    assert first["commandId"] != second["commandId"]
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.await_lid(one, "LID_CYCLE_COMPLETE", openedAt=opened,
                           source="QR", referenceId=delivery.id)
    assert field.published(one) == [OPEN, CLOSE, COMPLETE]


def shows_lid(one, is_open):
    """A heartbeat, later than what was reported."""
    return one.shows(AWAY, lid={"open": is_open})


def test_resync_opens_and_closes(field, robot):
    """Two heartbeats in a row that contradict; one alone, or one that agrees
    in between, says nothing."""
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", pin=PIN)
    for is_open in (True, False, True):
        shows_lid(one, is_open)
        await_for("it is noticed", lambda: field.value(
            "select suspect_id is not null from coco.lid_robot"
            " where serial = %s", one.serial) is is_open)
    field.settle(one)
    assert field.lid(one)["state"] == "IDLE"

    shows_lid(one, True)
    lid = field.await_lid(one, "LID_CYCLE_INIT", source="RESYNC")
    await_for("the anomaly", lambda: [
        (a["kind"], a["cycleId"]) for a in field.anomalies(one)] == [
            ("RESYNC", lid["cycleId"])])
    assert field.bus(one) == [(OPEN, "RESYNC", "OTHER", None)]
    assert field.get("/robots/" + one.serial)["lid"]["open"] is True

    for _ in range(2):
        shows_lid(one, False)
    field.await_lid(one, "LID_CYCLE_COMPLETE", cycleId=lid["cycleId"],
                    source="RESYNC")
    assert field.published(one) == [OPEN, CLOSE, COMPLETE]
    await_for("two anomalies", lambda: [
        a["kind"] for a in field.anomalies(one)] == ["RESYNC"] * 2)
    delivery.await_loaded()


def test_resync_closes_what_was_opened(field, robot):
    """The close was never told: heartbeats end the cycle, whose reference
    stays, and the delivery is loaded."""
    one = robot()
    delivery = field.delivery(one, "QR")
    field.open_for_load(delivery)
    one.clock()                         # when it was closed
    for _ in range(2):
        shows_lid(one, False)
    lid = field.await_lid(one, "LID_CYCLE_COMPLETE", referenceId=delivery.id,
                          source="RESYNC")
    assert [a["kind"] for a in field.anomalies(one)] == ["RESYNC"]
    delivery.await_loaded()

    # the close itself, later: its time is the cycle's, nothing is told again
    closed = one.report("LID_CLOSED", lid["closedAt"] - 1)
    field.await_lid(one, "LID_CYCLE_COMPLETE", cycleId=lid["cycleId"],
                    closedAt=closed["ts"], source="QR")
    assert field.published(one) == [OPEN, CLOSE, COMPLETE]
    delivery.await_loaded()


def test_many_wait_at_once(field, robot):
    """Each is told of its own robot."""
    some = [robot() for _ in range(8)]
    pending = {field.later("POST", "/state/%s/lid/open" % one.serial,
                           json={"source": "OPERATOR"}): one for one in some}
    for each in concurrent.futures.as_completed(pending, 30):
        assert each.result()["commandId"] == \
            pending[each].commands[0]["id"]
