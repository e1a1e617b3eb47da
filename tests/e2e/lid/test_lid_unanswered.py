"""Requests whose robots did not report in time. They were begun before the
other tests of this folder, so that nobody waits for them."""

from harness import await_for, now_ms
from lid_field import CLOSE, COMPLETE, OPEN

WINDOW = 2000           # lid.window, ms


def expired(field, one, silent):
    """The request's end: 504, in the history, and nothing else."""
    problem = silent.result()
    assert (problem["status"], problem["title"]) == (504, "Gateway Timeout")
    command = one.commands[0]["id"]
    await_for("the end of the command", lambda: field.commands(one) == [
        (command, "EXPIRED")])
    assert field.types(one) == ["LID_OPEN_REQUEST", "LID_OPEN_TIMEOUT"]
    assert field.lid(one)["state"] == "IDLE"
    assert field.bus(one) == [] and field.anomalies(one) == []


def test_silent_robot_is_504(field, unanswered):
    """It is told again and again, each time of the same command."""
    one, delivery, silent = unanswered["silent"]
    expired(field, one, silent)
    assert len(one.commands) > 3
    assert {command["id"] for command in one.commands} == {
        one.commands[0]["id"]}
    assert all(command == one.commands[0] for command in one.commands)
    assert delivery.status == "AtPickup"


def test_acknowledged_is_not_opened(field, unanswered):
    """What has reached the robot is not sent again; it is no open."""
    one, delivery, silent = unanswered["acknowledged"]
    expired(field, one, silent)
    took, = field.sql("select extract(epoch from acked_at - issued_at)::float8"
                      "  from coco.robot_command where serial = %s",
                      one.serial)[0]
    # once, unless the second until the next was over before the robot's word
    assert len(one.commands) <= 1 + int(took + 0.5)
    assert delivery.status == "AtPickup"


def test_late_open_of_a_command_that_expired(field, unanswered):
    """Nobody waits any more, but the context is not lost: the robot says
    which command it was."""
    one, delivery, silent = unanswered["late"]
    expired(field, one, silent)
    command = one.commands[0]["id"]
    one.report("LID_OPENED", commandId=command)
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.commands(one) == [(command, "OPENED")]
    assert field.bus(one) == [(OPEN, "QR", "COMMAND", delivery.id),
                              (CLOSE, "QR", "OTHER", delivery.id),
                              (COMPLETE, "QR", "OTHER", delivery.id)]


def test_qr_context_loss_request_timed_out_falls_back(field, unanswered):
    """The robot opens after the request's time and does not say for what: no
    reference, and the fallback saves the load."""
    one, delivery, silent = unanswered["lost"]
    expired(field, one, silent)
    one.clock(ahead=one.commands[0]["expiresAt"] + WINDOW + 1)
    opened = one.report("LID_OPENED")
    assert opened["ts"] <= now_ms()
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.bus(one) == [(OPEN, None, "OTHER", None),
                              (CLOSE, None, "OTHER", None),
                              (COMPLETE, None, "OTHER", None)]
    assert field.commands(one)[0][1] == "EXPIRED"
    assert field.anomalies(one) == []
