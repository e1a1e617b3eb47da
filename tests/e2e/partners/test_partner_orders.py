"""Orders of both partners, from their webhooks to what they were told."""

import pytest

import sender
from harness import await_for
from partner_field import MAP, fresh_seed


def order_of(provider):
    """One that its partner neither changes nor cancels."""
    seed = fresh_seed()
    return next(order for order in (
        sender.Order(seed, number, cancel=0, change=0)
        for number in range(1000)) if order.provider == provider)


def last_places(turns):
    """{order: where it is to go to, after all that was sent}"""
    return {event.order: event.order.dropoff for event in turns}


def test_every_webhook_has_its_effect_once_in_any_order(field):
    turns = sender.events(fresh_seed(), 150, cancel=0.3, change=0.3,
                          twice=0.4, shuffle=12)
    field.send(turns)
    for order, place in last_places(turns).items():
        await_for("what became of " + order.external_id,
                  lambda: right(field, order, place))

    ids = [order.external_id for order in last_places(turns)]
    assert field.value("select count(*) from coco.delivery"
                       " where external_id = any(%s)", ids) == len(ids)
    # one row of the inbox for each event, however often it came
    events = {event.data for event in turns}
    assert field.value(
        "select count(*) from coco.webhook_inbox where payload::text ~ %s",
        "|".join(ids)) == len(events)


def right(field, order, place):
    delivery = field.find(order)
    assert delivery, "there is none"
    assert delivery["status"] == ("Canceled" if order.canceled else "Created")
    if not order.canceled:
        rows = field.sql("select dropoff_latitude, dropoff_longitude"
                         "  from coco.delivery where id = %s", delivery["id"])
        assert rows == [place]
    return True


@pytest.mark.parametrize("provider", ["uber", "doordash"])
def test_a_partner_hears_of_its_order_to_the_end(field, provider):
    order = order_of(provider)
    serial = field.robot(provider)
    delivery = field.place(order)
    field.bring(delivery, serial, order)
    words = field.await_told(order)[order]
    assert words[-1] == MAP[provider]["statuses"]["Completed"]
    told = field.ledger(partner=provider, delivery=order.external_id)
    assert {entry["body"].get("vehicle_id", "v-" + serial)
            for entry in told} == {"v-" + serial}
    # Uber's simulator has forgotten the token of the test before, which a
    # status and a position may have been sent with
    assert [entry["status"] for entry in told if entry["status"] != 200] in (
        [], [401], [401, 401])


def test_a_cancellation_is_told(field):
    order = sender.Order(fresh_seed(), 1, cancel=1, change=0)
    delivery = field.place(order)
    field.move(delivery, "assign", serial=field.robot())
    field.send([e for e in order.events() if e.kind == "cancel"])
    field.await_status(delivery, "Canceled")
    words = field.await_told(order)[order]
    assert words[-1] == MAP[order.provider]["statuses"]["Canceled"]


def test_half_of_the_calls_fail_and_all_is_told_in_order(field):
    seed = fresh_seed()
    orders = [sender.Order(seed, number, 0, 0) for number in range(6)]
    field.control(fail=0.4, lose=0.2, status=503)
    deliveries = [field.place(order) for order in orders]
    for order, delivery in zip(orders, deliveries):
        field.bring(delivery, field.robot(order.provider), order)
    for words in field.await_told(*orders).values():
        assert len(words) >= 7
    faults = [entry["fault"] for entry in field.ledger()]
    assert "fail" in faults and "lose" in faults


def test_a_refusal_sets_one_status_aside(field):
    order = order_of("doordash")
    word = MAP["doordash"]["statuses"]["EnrouteToPickup"]
    field.control(partner="doordash", fail=1, status=422, match=word)
    delivery = field.place(order)
    field.bring(delivery, field.robot("doordash"), order)
    field.await_told(order, without=[word])

    letters = await_for("the letter", lambda: [
        item for item in field.items("/dead-letters", limit=500)
        if item["source"] == "partner"
        and order.external_id in str(item["payload"])])
    assert len(letters) == 1
    field.control(partner="doordash")
    field.call("POST", "/dead-letters/%s/replay" % letters[0]["id"], 409)
    field.await_told(order, without=[word])
