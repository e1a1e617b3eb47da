"""The judge of the partners' ledgers finds: each thing that may be wrong, in
books and calls that are right but for it."""

import copy

import partner_judge
import pytest
from partner_judge import Position, Push

STATES = ("Created", "Assigned", "Canceled")
WORDS = ("created", "confirmed", "cancelled")


def call(number, key, status=200, repeat=False, **body):
    return {"partner": "doordash", "delivery": "D", "key": key,
            "digest": key, "path": "/v3/updateVehicleStatus",
            "came": 1000 * number, "at": 1000 * number + 10,
            "status": status, "repeat": repeat, "body": body}


def told(number, index, status=200, repeat=False):
    return call(number, "k%d" % index, status, repeat,
                delivery_status=WORDS[index])


class World:
    """Three statuses, one of which failed first and one of which came again,
    and a position of the second."""

    def __init__(self):
        self.entries = [told(1, 0, 503), told(2, 0), told(3, 1),
                        told(4, 1, repeat=True), call(5, "p"), told(6, 2)]
        self.pushes = {"k%d" % i: Push("doordash", "D", i + 1, status,
                                       "DELIVERED")
                       for i, status in enumerate(STATES)}
        self.positions = {"p": Position("D", "Assigned")}
        self.history = {"D": [(i + 1, status)
                              for i, status in enumerate(STATES)]}

    def findings(self):
        return partner_judge.judge(copy.deepcopy(self.entries), self.pushes,
                                   self.positions, self.history, 500)


def swapped(world):
    world.entries[2]["came"], world.entries[5]["came"] = 6000, 3000


def late_answer(world):
    world.entries[1]["at"] = 3500


def other_bytes(world):
    world.entries[0]["digest"] = "other"


def never_heard(world):
    del world.entries[5]


def nobodys(world):
    world.entries.append(call(7, "x", delivery_status="created"))


def other_word(world):
    world.entries[5]["body"]["delivery_status"] = "delivered"


def no_push(world):
    del world.pushes["k2"], world.entries[5]


def push_twice(world):
    world.pushes["k3"] = world.pushes["k2"]._replace(number=4)
    world.entries.append(call(7, "k3", delivery_status="cancelled"))


def still_waits(world):
    world.pushes["k2"] = world.pushes["k2"]._replace(state="PENDING")
    del world.entries[5]


def heard_though_refused(world):
    world.pushes["k1"] = world.pushes["k1"]._replace(state="REFUSED")


def early_position(world):
    world.entries[4]["came"] = 2500


def late_position(world):
    world.entries[4]["came"] = 6600


def unknown_position(world):
    world.positions.clear()


def replayed_too_late(world):
    world.entries[2]["status"] = 422
    world.entries[3].update(came=7000, at=7010, repeat=False)


def test_right():
    assert World().findings() == []


@pytest.mark.parametrize("wrong", [
    swapped, late_answer, other_bytes, never_heard, nobodys, other_word,
    no_push, push_twice, still_waits, heard_though_refused, early_position,
    late_position, unknown_position, replayed_too_late])
def test_found(wrong):
    world = World()
    wrong(world)
    assert world.findings() != []
