"""What is deleted from a queue is stored, once, whatever is killed while the
queue is filled at full speed. Settings: see test_fault_recovery.py.
"""

import os

import checks
import pytest
from field import SEED
from fleet import Unordered
from ground import Load, await_settled, break_while
from harness import await_for

HEARTBEATS = 3000
FAULTS = 3

KINDS = {
    "sqs, worker killed": ("worker",),
    "sqs, postgres killed": ("postgres",),
    "sqs, redis killed": ("redis",),
    "sqs, worker and postgres": ("worker", "postgres"),
}


class Filling:
    """One round: a fleet of its own, sent to the state queue."""

    def __init__(self, ground, tag):
        self.system, self.queues = ground.system, ground.system.queues
        self.fleet = Unordered("%s %s" % (SEED, tag), tag)
        self.keys = []          # of all, in the order of their sending
        self.sent = []          # those whose message the queue has taken

    def send(self, beats):
        def bodies():
            for (serial, ts), _, payload in beats:
                self.keys.append((serial, ts))
                yield '{"serial":"%s",%s' % (serial, payload[1:].decode())

        for _ in self.queues.send_all(self.queues.state, bodies()):
            self.sent.append(self.keys[len(self.sent)])

    def fill(self):
        self.send(self.fleet.first())
        self.base = len(self.sent)
        self.await_stored()
        return Load(lambda: self.send(self.fleet.heartbeats(HEARTBEATS)))

    def stored(self):
        return checks.stored(self.system, self.fleet.serials)

    def await_stored(self):
        await_settled("the history", self.stored, len(self.sent))

    def progress(self):
        return (len(self.sent) - self.base) / HEARTBEATS

    def under_way(self):
        return self.stored() < len(self.sent)

    def deleted_are_stored(self):
        """In the midst of it: what has left the queue has its row. What is
        sent between the two looks makes the first number too small, never too
        large."""
        sent = len(self.sent)
        deleted = sent - self.queues.left(self.queues.state)
        stored = await_for("Postgres", lambda: (self.stored(),))[0]
        assert stored >= deleted, (stored, deleted)


@pytest.mark.parametrize("kind", KINDS)
def test_fault(ground, dice, capsys, kind):
    system = ground.system
    one = Filling(ground, "q%d.%x" % (list(KINDS).index(kind), os.getpid()))
    load = one.fill()

    def fault():
        ground.kill(*KINDS[kind])
        one.deleted_are_stored()

    hits = break_while(load, one.progress, one.under_way, fault, FAULTS, dice)
    one.await_stored()
    found = checks.history(system, one.fleet, one.sent)
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d accepted=%d faults=%d hits=%d "
              "seed=%s" % (kind, len(found.lost), len(found.duplicates),
                           len(one.sent), FAULTS, hits, SEED))
    assert found == ([], [], [], [])
    assert len(one.sent) == HEARTBEATS + one.base
    assert hits > 0, "no fault met a message under way: nothing was shown"
    await_for("the newest everywhere",
              lambda: checks.newest(system, one.fleet) == [], 60, every=0.2)
    await_for("the services agree", lambda: checks.agreement(
        system, one.fleet.serials) == [], 60, every=0.2)
    await_for("the queue is empty",
              lambda: one.queues.left(one.queues.state) == 0, 60)
