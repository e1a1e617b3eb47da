"""The Magic Lid loading flow: the robot opens by itself, the backend looks
on; and the lookup of the delivery when nothing names it."""

from itertools import groupby

import pytest
from harness import await_for
from lid_field import CLOSE, COMPLETE, LOADED, OPEN, PICKUP, PIN

MAGIC = [(OPEN, "MAGIC_LID", "PIN_ENTRY_CONFIRM", None),
         (CLOSE, "MAGIC_LID", "PIN_ENTRY_CONFIRM", None),
         (COMPLETE, "MAGIC_LID", "PIN_ENTRY_CONFIRM", None)]


def test_magic_lid_success(field, robot):
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", "EnrouteToPickup", pin=PIN)
    one.shows(PICKUP, state="ON_TRIP")
    delivery.await_status("AtPickup")
    one.await_pin(PIN)
    assert field.get("/robots/" + one.serial)["operationState"] == "PARKED"

    opened = one.opens_by_itself()
    lid = field.await_lid(one, "LID_CYCLE_INIT", source="MAGIC_LID",
                          openedAt=opened["ts"], referenceId=None)
    assert field.bus(one) == MAGIC[:1]
    assert delivery.status == "AtPickup"

    closed = one.confirms()
    delivery.await_loaded()
    one.await_pin(None)
    # one may come again: it leaves until the broker has acknowledged it
    assert [pin for pin, _ in groupby(one.pins)] == [PIN, None]
    assert field.await_lid(one, "LID_CYCLE_COMPLETE", cycleId=lid["cycleId"],
                           closedAt=closed["ts"], trigger="PIN_ENTRY_CONFIRM")
    assert field.types(one) == ["PIN_ENTRY_LID_OPEN", "PIN_ENTRY_LID_CLOSE"]
    assert field.bus(one) == MAGIC
    assert delivery.statuses() == ["Created", "Assigned", "EnrouteToPickup",
                                   "AtPickup", LOADED]
    assert one.commands == []


def test_magic_lid_missing_reference_id_falls_back(field, robot):
    """Others of the robot are final, and others are out with other robots."""
    one, other = robot(), robot()
    done = field.delivery(one, "MAGIC_LID", pin=PIN)
    done.do("cancel", {"reason": "closed"})
    elsewhere = field.delivery(other, "MAGIC_LID", pin=PIN)
    delivery = field.delivery(one, "MAGIC_LID", pin=PIN)
    one.opens_by_itself()
    one.confirms()
    delivery.await_loaded()
    assert field.bus(one) == MAGIC
    assert (done.status, elsewhere.status) == ("Canceled", "AtPickup")
    assert field.anomalies(one) == []


def test_magic_lid_pin_of_the_integration(field, robot):
    """The store's static PIN and flow, which no answer shows."""
    one = robot()
    store = "store-" + one.serial
    field.sql("insert into coco.integration (provider, store, loading_flow,"
              " pin) values ('uber', %s, 'MAGIC_LID', %s)", store, PIN)
    delivery = field.delivery(one, provider="uber", store=store,
                              externalId=one.serial)
    assert field.get(delivery.path)["loadingFlow"] == "MAGIC_LID"
    one.await_pin(PIN)
    one.opens_by_itself()
    one.confirms()
    delivery.await_loaded()
    one.await_pin(None)


def test_magic_lid_pin_leaves_with_the_delivery(field, robot):
    """Canceled, or given to another robot: the first forgets its PIN."""
    first, second = robot(), robot()
    delivery = field.delivery(first, "MAGIC_LID", pin=PIN)
    first.await_pin(PIN)
    delivery.do("assign", {"serial": second.serial})
    first.await_pin(None)
    delivery.do("depart")
    delivery.do("arrive", {"at": "pickup"})
    second.await_pin(PIN)
    delivery.do("cancel", {"reason": "closed"})
    second.await_pin(None)


def test_magic_lid_jammed_keypad(field, robot):
    """The PIN was right, the latch was not: history, and nothing else."""
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", pin=PIN)
    one.report("LID_OPEN_FAILED", reason="latch jammed")
    field.settle(one)
    assert field.types(one) == ["LID_OPEN_FAILED"]
    assert field.events(one)[0]["reason"] == "latch jammed"
    assert field.lid(one)["state"] == "IDLE"
    assert field.bus(one) == []
    assert delivery.status == "AtPickup"


def test_magic_lid_never_loads_twice(field, robot):
    """Mixed configuration: a delivery of the PIN flow, a robot that opens by
    itself. LidCycle.Complete, which loads PIN flows, ignores MAGIC_LID."""
    one = robot()
    delivery = field.delivery(one, "PIN", pin=PIN)
    one.opens_by_itself()
    one.confirms()
    delivery.await_loaded()
    field.settle(one)
    assert field.bus(one) == MAGIC

    # nor does a second cycle of the loaded robot, of either handler
    one.opens_by_itself()
    one.confirms()
    field.open_lid(one, source="PIN", reference=delivery.id)
    one.report("LID_CLOSED")
    await_for("three cycles", lambda: field.published(one).count(COMPLETE)
              == 3)
    field.settle(one)
    delivery.await_loaded()
    assert field.anomalies(one) == []


def fast_close(one, how):
    """The close is published before the open that it follows."""
    opened, closed = one.event("PIN_ENTRY_LID_OPEN", lid_opened=True), \
        one.event("PIN_ENTRY_LID_CLOSE", trigger="PIN_ENTRY_CONFIRM")
    one.send(closed)
    if how == "mqtt":
        one.send(opened)
    else:
        one.queued(opened)
    return opened, closed


@pytest.mark.parametrize("how", ["mqtt", "sqs"])
def test_magic_lid_fast_close_before_open(field, robot, how):
    """By the robot's clock they are one cycle, told once."""
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", pin=PIN)
    opened, closed = fast_close(one, how)
    delivery.await_loaded()
    assert field.await_lid(one, "LID_CYCLE_COMPLETE", source="MAGIC_LID",
                           openedAt=opened["ts"], closedAt=closed["ts"],
                           reason=None)
    assert field.bus(one) == MAGIC
    assert field.anomalies(one) == []
    assert field.types(one) == ["PIN_ENTRY_LID_OPEN", "PIN_ENTRY_LID_CLOSE"]


def cycle(field, one):
    """A Magic Lid cycle, and what came of it; the events are all applied."""
    one.opens_by_itself()
    one.confirms()
    field.settle(one)
    assert field.bus(one) == MAGIC
    return field.lid(one), field.anomalies(one)


def test_fallback_none(field, robot):
    one = robot()
    done = field.delivery(one, "MAGIC_LID", pin=PIN)
    done.do("cancel", {"reason": "closed"})
    lid, (anomaly,) = cycle(field, one)
    assert (anomaly["kind"], anomaly["cycleId"], anomaly["candidates"]) == (
        "NO_DELIVERY", lid["cycleId"], [])
    assert done.status == "Canceled"


def test_fallback_several_deliveries(field, robot):
    one = robot()
    both = [field.delivery(one, "MAGIC_LID", pin=PIN) for _ in range(2)]
    lid, (anomaly,) = cycle(field, one)
    assert (anomaly["kind"], anomaly["cycleId"]) == ("SEVERAL_DELIVERIES",
                                                     lid["cycleId"])
    assert sorted(anomaly["candidates"]) == sorted(d.id for d in both)
    assert [d.status for d in both] == ["AtPickup"] * 2
    assert anomaly["reason"]


@pytest.mark.parametrize("age, found", [("23 hours 50 minutes", True),
                                        ("24 hours 10 minutes", False)])
def test_fallback_older_than_24_hours(field, robot, age, found):
    one = robot()
    delivery = field.delivery(one, "MAGIC_LID", pin=PIN)
    field.sql("update coco.delivery set created_at = now() - %s::interval"
              " where id = %s", age, delivery.id)
    lid, anomalies = cycle(field, one)
    assert delivery.status == (LOADED if found else "AtPickup")
    assert [a["kind"] for a in anomalies] == ([] if found
                                              else ["NO_DELIVERY"])


def test_fallback_of_the_aged_and_the_fresh(field, robot):
    """What is too old does not make several of one."""
    one = robot()
    old, fresh = (field.delivery(one, "MAGIC_LID", pin=PIN) for _ in range(2))
    field.sql("update coco.delivery set created_at = now()"
              " - interval '25 hours' where id = %s", old.id)
    lid, anomalies = cycle(field, one)
    assert (old.status, fresh.status) == ("AtPickup", LOADED)
    assert anomalies == []
