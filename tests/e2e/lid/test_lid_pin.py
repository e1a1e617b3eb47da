"""Robots that ask before they open: the PIN is checked here, or where the
robot stands."""

import pytest
from harness import now_ms
from lid_field import AWAY, CLOSE, COMPLETE, DROPOFF, LOADED, OPEN, PICKUP, \
    PIN, PIN_SHOWN

STREET = {"latitude": 34.02979, "longitude": -118.4785}     # 10 m off


def asks(one, **members):
    return one.report("PIN_ENTRY_LID_OPEN", lid_opened=False, **members)


def refused(field, one, why):
    """Nothing was commanded, and the history says why without the PIN."""
    field.settle(one)
    assert field.types(one) == ["PIN_ENTRY_LID_OPEN", "LID_OPEN_REFUSED"]
    assert any(why in (event["reason"] or "") for event in field.events(one))
    assert field.commands(one) == [] and one.commands == []
    assert field.bus(one) == []
    assert field.lid(one)["state"] == "IDLE"


def test_pin_right(field, robot):
    one = robot()
    delivery = field.delivery(one, "PIN", pin=PIN)
    asks(one, pin=PIN)
    command = one.await_command()
    assert (command["command"], command["source"], command["referenceId"]) == (
        "OPEN_LID", "PIN", delivery.id)
    field.await_lid(one, "LID_CYCLE_INIT", source="PIN",
                    referenceId=delivery.id)
    one.confirms()
    delivery.await_loaded()
    field.settle(one)
    assert field.types(one) == [
        "PIN_ENTRY_LID_OPEN", "LID_OPEN_REQUEST", "LID_OPENED",
        "PIN_ENTRY_LID_CLOSE"]
    assert field.bus(one) == [
        (OPEN, "PIN", "COMMAND", delivery.id),
        (CLOSE, "PIN", "PIN_ENTRY_CONFIRM", delivery.id),
        (COMPLETE, "PIN", "PIN_ENTRY_CONFIRM", delivery.id)]
    assert field.commands(one) == [(command["id"], "OPENED")]
    assert field.anomalies(one) == []


@pytest.mark.parametrize("pin", ["0918", "0000"])
def test_pin_wrong(field, robot, pin):
    one = robot()
    delivery = field.delivery(one, "PIN", pin=PIN)
    asks(one, pin=pin)
    refused(field, one, "this PIN")
    assert delivery.status == "AtPickup"
    assert not any(pin in str(event["reason"]) + str(event["details"])
                   for event in field.events(one))


def test_pin_stale(field, robot):
    """Typed before the network was lost: who typed it has left."""
    one = robot()
    field.delivery(one, "PIN", pin=PIN)
    asks(one, pin=PIN, ts=now_ms() - 70000)
    refused(field, one, "late")


def test_pin_of_another_robot(field, robot):
    one, other = robot(), robot()
    field.delivery(other, "PIN", pin=PIN)
    asks(one, pin=PIN)
    refused(field, one, "this PIN")


def test_pin_once_loaded_opens_no_more(field, robot):
    """The custody has changed hands; at the drop-off it opens again."""
    one = robot()
    delivery = field.delivery(one, "PIN", pin=PIN)
    asks(one, pin=PIN)
    one.await_command()
    one.confirms()
    delivery.await_loaded()
    asks(one, pin=PIN)
    field.settle(one)
    assert field.types(one)[-2:] == ["PIN_ENTRY_LID_OPEN", "LID_OPEN_REFUSED"]

    delivery.do("depart")
    delivery.do("arrive", {"at": "dropoff"})
    asks(one, pin=PIN)
    one.await_command(2)
    one.report("LID_CLOSED")
    delivery.await_status("Completed")


def test_pin_event_twice_opens_once(field, robot):
    """By MQTT twice, and by SQS."""
    one = robot()
    field.delivery(one, "PIN", pin=PIN)
    event = asks(one, pin=PIN)
    one.send(event)
    one.queued(event)
    one.await_command()
    field.await_queued()
    field.settle(one)
    assert len({command["id"] for command in one.commands}) == 1
    assert len(field.commands(one)) == 1
    assert field.types(one) == ["PIN_ENTRY_LID_OPEN", "LID_OPEN_REQUEST",
                                "LID_OPENED"]


def test_pin_from_http(field, robot):
    """The unlock flow of an app that checked the PIN itself: the open is
    commanded, and LidCycle.Complete is what loads."""
    one = robot()
    delivery = field.delivery(one, "PIN", pin=PIN)
    answer = field.open_lid(one, "PIN", reference=delivery.id)
    one.report("LID_CLOSED")
    delivery.await_loaded()
    lid = field.lid(one)
    assert (lid["cycleId"], lid["source"], lid["referenceId"]) == (
        answer["cycleId"], "PIN", delivery.id)
    assert field.published(one) == [OPEN, CLOSE, COMPLETE]


@pytest.mark.parametrize("place", [AWAY, None])
def test_pinless_far(field, robot, place):
    """A hundred metres off, and where nobody knows."""
    one = robot()
    delivery = field.delivery(one, "PINLESS")
    if place is not None:
        one.shows(place)
    asks(one)
    refused(field, one, "30 m" if place else "not known")
    assert delivery.status == "AtPickup"


def test_pinless_by_location(field, robot):
    """Any touch, within 30 m of the pickup."""
    one = robot()
    delivery = field.delivery(one, "PINLESS", "EnrouteToPickup")
    one.shows(AWAY)
    asks(one)
    refused(field, one, "30 m")
    one.shows(STREET)
    delivery.await_status("AtPickup")
    asks(one)
    command = one.await_command()
    assert (command["source"], command["referenceId"]) == ("PINLESS",
                                                           delivery.id)
    field.await_lid(one, "LID_CYCLE_INIT", source="PINLESS",
                    referenceId=delivery.id)
    one.report("LID_CLOSED")
    delivery.await_loaded()
    assert field.bus(one)[1] == (CLOSE, "PINLESS", "OTHER", delivery.id)


def test_pinless_opens_nothing_that_has_a_pin(field, robot):
    one = robot()
    field.delivery(one, "PIN", pin=PIN)
    one.shows(PICKUP)
    asks(one)
    refused(field, one, "pinless")


def test_pinless_heard_too_long_ago(field, robot):
    """Where it stood then says nothing of where it stands."""
    one = robot()
    field.delivery(one, "PINLESS")
    field.beat(one.serial, now_ms() - 70000, location={**PICKUP, "speed": 0})
    asks(one)
    refused(field, one, "last heard")


@pytest.mark.parametrize("flow, members", [("PIN", {"pin": PIN}),
                                           ("PINLESS", {})])
def test_asked_while_it_moves(field, robot, flow, members):
    """At the very door: nobody can reach into what drives."""
    one = robot()
    field.delivery(one, flow, **members)
    one.shows(PICKUP, speed=1.5)
    asks(one, **members)
    refused(field, one, "The robot moves at 1.5 m/s.")
    one.shows(PICKUP)
    asks(one, **members)
    assert one.await_command()["source"] == flow


def test_pinless_not_at_the_dropoff(field, robot):
    """Who stands there may be anybody."""
    one = robot()
    delivery = field.delivery(one, "PINLESS")
    one.shows(PICKUP)
    asks(one)
    one.await_command()
    one.report("LID_CLOSED")
    delivery.await_loaded()
    delivery.do("depart")
    asks(one)                           # on the way: no
    field.settle(one)
    assert len(one.asked()) == 1
    one.shows(DROPOFF)
    delivery.await_status("AtDropoff")
    asks(one)
    field.settle(one)
    assert len(one.asked()) == 1
    assert field.types(one)[-1] == "LID_OPEN_REFUSED"
    assert delivery.status == "AtDropoff"
    assert delivery.statuses().count(LOADED) == 1


def test_pin_is_nowhere_to_be_read(field, robot):
    """After all of the above: in no log, no history, no letter, no metric.
    That no answer shows it is checked with each."""
    one = robot()
    field.delivery(one, "PIN", pin=PIN)
    asks(one, pin=PIN)
    asks(one, pin=PIN, ts=now_ms() - 70000)
    one.report("LID_CLOSED", pin=PIN, trigger=7)        # not to be understood
    one.await_command()
    field.settle(one)

    texts = {name: field.stack.log(name) for name in ("worker", "nginx",
                                                      "postgres")}
    for table in ("lid_cycle_event_history", "anomaly", "robot_command",
                  "outbox", "delivery_event"):
        texts[table] = field.value("select string_agg(t::text, ' ')"
                                   "  from coco.%s as t" % table)
    texts["metrics"] = field.http.get(field.metrics_url, timeout=30).text
    texts["letter"], = field.sql("select reason from coco.dead_letter where"
                                 " topic = %s", "robot/%s/events"
                                 % one.serial)[0]
    for name, text in texts.items():
        assert not PIN_SHOWN.search(text or ""), name

    # a negative control: where it belongs, it is found
    assert PIN_SHOWN.search(field.value(
        "select t::text from coco.delivery as t where serial = %s",
        one.serial))
