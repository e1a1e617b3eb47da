"""Lids while backends are away or come back, and lids that are never closed.
The stack is this file's own."""

import pytest
from harness import await_for
from lid_field import CLOSE, COMPLETE, OPEN, PIN, Field, Robot
from stack import Stack


@pytest.fixture(scope="module")
def own():
    with Stack() as stack:
        with Field(stack.up()) as field:
            yield field


@pytest.fixture
def one(own):
    with Robot(own) as one:
        yield one


def test_qr_context_outlives_the_worker(own, one):
    """The reference is stored: whoever closes the cycle finds it."""
    delivery = own.delivery(one, "QR")
    own.open_for_load(delivery)
    own.stack.kill("worker")
    one.report("LID_CLOSED")
    own.stack.restart("worker")
    delivery.await_loaded()
    assert own.bus(one) == [(OPEN, "QR", "COMMAND", delivery.id),
                            (CLOSE, "QR", "OTHER", delivery.id),
                            (COMPLETE, "QR", "OTHER", delivery.id)]


def test_qr_api_failure_without_a_database(own, one):
    """Nothing starts; the merchant tries again."""
    delivery = own.delivery(one, "QR")
    own.stack.kill("postgres")
    own.open_for_load(delivery, 503)
    own.stack.restart("postgres")
    await_for("nginx's connection", lambda: own.get("/readyz"))
    own.settle(one)
    assert own.commands(one) == [] and one.commands == []
    assert own.types(one) == []
    own.open_for_load(delivery)
    one.report("LID_CLOSED")
    delivery.await_loaded()


def test_qr_without_redis(own, one):
    """A hint that is lost costs a second, not the answer."""
    delivery = own.delivery(one, "QR")
    own.stack.kill("redis")
    try:
        assert own.open_for_load(delivery)["opened"] is True
        one.report("LID_CLOSED")
        delivery.await_loaded()
    finally:
        own.stack.restart("redis")
    assert len({command["id"] for command in one.commands}) == 1


@pytest.fixture(scope="module")
def forgetful(own):
    """From here on a lid may stay open for a second and a half."""
    own.stack.environment.update(COCO_WORKER_LID_CYCLE_TIMEOUT="1500ms",
                                 COCO_WORKER_LID_WINDOW="500ms")
    own.stack.kill("worker")
    own.stack.restart("worker")
    return own


def never_closed(own, one):
    """The open cycle, once it has expired."""
    lid = own.await_lid(one, "LID_CYCLE_COMPLETE", closedAt=None,
                        reason="NEVER_CLOSED")
    anomaly, = own.anomalies(one)
    assert (anomaly["kind"], anomaly["cycleId"]) == ("NEVER_CLOSED",
                                                     lid["cycleId"])
    assert own.published(one) == [OPEN]
    return lid


def test_open_never_closes(forgetful, one):
    """It expires with its reason; nothing is loaded by it."""
    own = forgetful
    delivery = own.delivery(one, "QR")
    own.open_for_load(delivery)
    lid = never_closed(own, one)
    assert (lid["source"], lid["referenceId"]) == ("QR", delivery.id)
    assert delivery.status == "AtPickup"

    # the close was on its way all the time: by the robot's clock it was soon
    closed = one.report("LID_CLOSED", lid["openedAt"] + 400)
    delivery.await_loaded()
    assert own.await_lid(one, "LID_CYCLE_COMPLETE", cycleId=lid["cycleId"],
                         closedAt=closed["ts"], reason=None)
    assert own.bus(one)[1:] == [(CLOSE, "QR", "OTHER", delivery.id),
                                (COMPLETE, "QR", "OTHER", delivery.id)]


def test_open_never_closes_then_a_new_cycle(forgetful, one):
    """The next open begins one of its own."""
    own = forgetful
    delivery = own.delivery(one, "MAGIC_LID", pin=PIN)
    own.open_lid(one)
    first = never_closed(own, one)
    opened, closed = one.opens_by_itself(), one.confirms()
    delivery.await_loaded()
    second = own.await_lid(one, "LID_CYCLE_COMPLETE", source="MAGIC_LID",
                           openedAt=opened["ts"], closedAt=closed["ts"],
                           reason=None)
    assert second["cycleId"] != first["cycleId"]
    assert own.published(one) == [OPEN, OPEN, CLOSE, COMPLETE]
