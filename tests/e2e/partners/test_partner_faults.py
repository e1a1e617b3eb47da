"""Orders and pushes while servers are killed and partners fail: what was
answered has its effect once, and each partner hears all of it, in order."""

import random
import threading

import sender
from harness import await_for
from partner_field import fresh_seed
from test_partner_orders import last_places, right

KILLED = ("worker", "nginx", "postgres", "worker", "redis", "nginx", "worker")


def test_nothing_is_lost_when_all_is_killed(field):
    seed = fresh_seed()
    turns = sender.events(seed, 250, cancel=0.3, change=0.3, twice=0.4,
                          shuffle=12)
    dice, answered = random.Random(seed), []
    field.control(fail=0.35, lose=0.15, seed=seed % 1000)

    def send():
        for said in field.sender.send_all(turns, at_once=3):
            answered.append(said)

    sending = threading.Thread(target=send)
    sending.start()
    for name, moment in zip(KILLED, sorted(
            dice.uniform(0.02, 0.8) for _ in KILLED)):
        await_for("a part of the load", lambda: not sending.is_alive()
                  or len(answered) >= moment * len(turns), 120, 0.001)
        field.stack.kill(name)
        field.stack.restart(name)
    sending.join()
    assert len(answered) == len(turns)
    assert all(said["statuses"][-1] == 200 for said in answered)

    places = last_places(turns)
    for order, place in places.items():
        await_for("what became of " + order.external_id,
                  lambda: right(field, order, place), 60)
    field.await_told(*places, seconds=120)
    faults = {entry["fault"] for entry in field.ledger()}
    assert {"fail", "lose"} <= faults
