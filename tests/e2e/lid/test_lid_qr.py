"""The QR loading flow, and what goes wrong in it."""

import pytest
from lid_field import CLOSE, COMPLETE, LOADED, OPEN, jams


def test_qr_success(field, robot):
    """Request, command, open, close: the reference goes from the first to the
    last, and loads."""
    one = robot()
    delivery = field.delivery(one, "QR")
    answer = field.open_for_load(delivery)
    assert answer["opened"] is True

    command, = one.asked()
    assert command == {
        "id": answer["commandId"], "command": "OPEN_LID", "source": "QR",
        "referenceId": delivery.id, "issuedAt": command["issuedAt"],
        "expiresAt": command["expiresAt"]}
    assert 0 < command["expiresAt"] - command["issuedAt"] <= 10000
    lid = field.await_lid(one, "LID_CYCLE_INIT")
    assert (lid["cycleId"], lid["source"], lid["referenceId"]) == (
        answer["cycleId"], "QR", delivery.id)
    assert delivery.status == "AtPickup"

    one.report("LID_CLOSED", trigger="OTHER")
    delivery.await_loaded()
    lid = field.lid(one)
    assert (lid["state"], lid["source"], lid["referenceId"]) == (
        "LID_CYCLE_COMPLETE", "QR", delivery.id)
    assert field.types(one) == ["LID_OPEN_REQUEST", "LID_OPENED",
                                "LID_CLOSED"]
    request = field.events(one)[0]
    assert (request["source"], request["referenceId"], request["commandId"]
            ) == ("QR", delivery.id, answer["commandId"])
    assert field.bus(one) == [
        (OPEN, "QR", "COMMAND", delivery.id),
        (CLOSE, "QR", "OTHER", delivery.id),
        (COMPLETE, "QR", "OTHER", delivery.id)]
    assert field.anomalies(one) == []
    assert delivery.statuses() == ["Created", "Assigned", "EnrouteToPickup",
                                   "AtPickup", LOADED]
    assert field.get("/robots/" + one.serial)["business"]["hasFood"] is True


@pytest.mark.parametrize("said", [{}, {"trigger": "OTHER"},
                                  {"trigger": "COMMAND"}])
def test_qr_manual_close_trigger_other(field, robot, said):
    """Nobody presses a button: a close of any trigger loads."""
    one = robot()
    delivery = field.delivery(one, "QR")
    field.open_for_load(delivery)
    one.report("LID_CLOSED", **said)
    delivery.await_loaded()
    assert field.bus(one)[1] == (CLOSE, "QR", said.get("trigger", "OTHER"),
                                 delivery.id)


def test_qr_reference_needs_no_lookup(field, robot):
    """Of two deliveries of the robot, the one that was asked for is loaded:
    the fallback could not tell them apart."""
    one = robot()
    wanted, other = (field.delivery(one, "QR") for _ in range(2))
    field.open_for_load(wanted)
    one.report("LID_CLOSED")
    wanted.await_loaded()
    assert other.status == "AtPickup"
    assert field.anomalies(one) == []


def test_qr_before_the_arrival_was_noticed(field, robot):
    """The merchant is faster than the heartbeat."""
    one = robot()
    delivery = field.delivery(one, "QR", "Assigned")
    field.open_for_load(delivery)
    one.report("LID_CLOSED")
    delivery.await_loaded()


@pytest.mark.parametrize("how", ["mqtt", "sqs"])
def test_qr_close_before_its_open(field, robot, how):
    """The events overtake each other: the reference is not lost."""
    one = robot(answer=None)
    delivery = field.delivery(one, "QR")
    answer = field.later("POST", "/open-lid-for-load",
                         json={"deliveryId": delivery.id})
    opened = one.event("LID_OPENED", commandId=one.await_command()["id"])
    one.report("LID_CLOSED")
    one.send(opened) if how == "mqtt" else one.queued(opened)
    assert answer.result()["opened"] is True
    delivery.await_loaded()
    assert field.bus(one) == [(OPEN, "QR", "COMMAND", delivery.id),
                              (CLOSE, "QR", "OTHER", delivery.id),
                              (COMPLETE, "QR", "OTHER", delivery.id)]
    assert field.anomalies(one) == []


def test_qr_context_loss_request_not_recorded_falls_back(field, robot):
    """The robot opened, but no request is known: the close is anonymous, and
    the one active delivery is loaded."""
    one = robot()
    delivery = field.delivery(one, "QR")
    one.report("LID_OPENED")
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.types(one) == ["LID_OPENED", "LID_CLOSED"]
    assert field.bus(one) == [(OPEN, None, "OTHER", None),
                              (CLOSE, None, "OTHER", None),
                              (COMPLETE, None, "OTHER", None)]


def test_qr_context_loss_open_never_told_falls_back(field, robot):
    """Only the close reaches us: it waits for its open, then it is published
    without a reference, and loads by the fallback."""
    one = robot()
    delivery = field.delivery(one, "QR")
    closed = one.report("LID_CLOSED")
    delivery.await_loaded()
    lid = field.lid(one)
    assert (lid["openedAt"], lid["closedAt"], lid["reason"]) == (
        None, closed["ts"], "CLOSE_WITHOUT_OPEN")
    assert field.bus(one) == [(CLOSE, None, "OTHER", None),
                              (COMPLETE, None, "OTHER", None)]
    assert [a["kind"] for a in field.anomalies(one)] == ["CLOSE_WITHOUT_OPEN"]

    # an open that comes now joins the record, and nothing is told again
    one.report("LID_OPENED", closed["ts"] - 100)
    assert field.await_lid(one, "LID_CYCLE_COMPLETE", reason=None,
                           openedAt=closed["ts"] - 100,
                           cycleId=lid["cycleId"])
    assert field.published(one) == [CLOSE, COMPLETE]
    delivery.await_loaded()


def test_qr_lid_open_failed_creates_no_cycle_and_publishes_nothing(field,
                                                                   robot):
    one = robot(answer=jams)
    delivery = field.delivery(one, "QR")
    problem = field.open_for_load(delivery, 409)
    assert "latch jammed" in problem["detail"]
    lid = field.lid(one)
    assert (lid["state"], lid["cycleId"]) == ("IDLE", None)
    assert field.types(one) == ["LID_OPEN_REQUEST", "LID_OPEN_FAILED"]
    assert field.bus(one) == []
    assert field.anomalies(one) == []
    assert delivery.status == "AtPickup"


def test_qr_tries_again_after_a_failure(field, robot):
    """The flow ended; who tries again begins a new one."""
    one = robot(answer=jams)
    delivery = field.delivery(one, "QR")
    field.open_for_load(delivery, 409)
    one.answer = None
    answer = field.later("POST", "/open-lid-for-load",
                         json={"deliveryId": delivery.id})
    command = one.await_command(2)
    assert command["id"] != one.commands[0]["id"]
    one.report("LID_OPENED", commandId=command["id"])
    assert answer.result()["commandId"] == command["id"]
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.types(one) == ["LID_OPEN_REQUEST", "LID_OPEN_FAILED",
                                "LID_OPEN_REQUEST", "LID_OPENED",
                                "LID_CLOSED"]


def test_qr_api_failure(field, robot):
    """A call that fails starts nothing: no request, no command."""
    one = robot()
    created = field.delivery(one, "QR", "Created")
    canceled = field.delivery(one, "QR", "Assigned")
    canceled.do("cancel", {"reason": "closed"})
    path = "/open-lid-for-load"

    for delivery in (created, canceled):
        assert delivery.status in field.open_for_load(delivery, 409)["detail"]
    field.call("POST", path, 404, json={
        "deliveryId": "00000000-0000-8000-8000-000000000000"})
    for body in ({}, {"deliveryId": "x"}, {"deliveryId": None}):
        field.call("POST", path, 400, json=body)
    field.call("POST", path, 401, json={"deliveryId": created.id},
               headers={"Authorization": "Bearer x.y.z"})
    field.open_lid(one, source="MAGIC_LID", status=400)

    field.settle(one)
    assert one.commands == [] and field.commands(one) == []
    assert field.types(one) == []
    assert field.lid(one)["state"] == "IDLE"
