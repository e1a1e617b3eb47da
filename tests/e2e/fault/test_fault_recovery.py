"""Nothing acknowledged is lost and nothing is counted twice, whatever is
killed, cut or stopped while heartbeats are published at full speed.

COCO_FAULT_SECONDS is how long all kinds together may take (120),
COCO_FAULT_SEED makes another choice of moments (1). A round is some seconds;
every kind has at least one.
"""

import os
import signal
import threading
import time

import checks
import processes
import pytest
from field import SECONDS, SEED
from fleet import Fleet
from harness import await_for
from publisher import Publisher

HEARTBEATS = 30000      # of one round
FAULTS = 3              # of one round
MOMENTS = 1.5           # seconds from its start within which they happen


def kill(*names):
    return lambda field, publisher, dice: field.kill(*names)


def cut(field, publisher, dice):
    field.proxy.command("cut")


def cut_publisher(field, publisher, dice):
    publisher.cut()


def stall(field, publisher, dice):
    field.proxy.command("stall")
    time.sleep(dice.uniform(0.1, 0.6))
    field.proxy.command("resume")


def half_open(field, publisher, dice):
    """The worker finds out by its own keep-alive alone."""
    field.proxy.command("half")
    time.sleep(dice.uniform(0.1, 0.6))
    field.proxy.command("resume")


def stop_redis(field, publisher, dice):
    """It hangs, with every connection open."""
    pid = field.stack.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(dice.uniform(0.1, 1.5))
    os.kill(pid, signal.SIGCONT)


def cut_and_kill(field, publisher, dice):
    field.proxy.command("cut")
    field.kill("worker")


KINDS = {
    "worker killed": kill("worker"),
    "postgres killed": kill("postgres"),
    "redis killed": kill("redis"),
    "redis stopped": stop_redis,
    "connection cut": cut,
    "connection stalled": stall,
    "connection half open": half_open,
    "publisher cut": cut_publisher,
    "worker and postgres killed": kill("worker", "postgres"),
    "worker and redis killed": kill("worker", "redis"),
    "postgres and redis killed": kill("postgres", "redis"),
    "connection cut, worker killed": cut_and_kill,
}


class Round:
    """Publishes in a thread of its own while the test breaks things, of
    robots that the system knows already."""

    def __init__(self, field, tag, count=HEARTBEATS):
        self.field = field
        self.fleet = Fleet("%s %s" % (SEED, tag), tag)
        self.publisher = Publisher(field.stack.mqtt_port, "fault-" + tag)
        self.count = count
        self.error = None
        self.hits = 0           # faults that met heartbeats under way
        self.thread = threading.Thread(target=self._run)
        self.publisher.publish(self.fleet.first())
        checks.await_stored(field.system, self.fleet.serials,
                            len(self.fleet.robots))

    def begin(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def _run(self):
        try:
            self.publisher.publish(self.fleet.heartbeats(self.count))
        except Exception as e:          # shown by end()
            self.error = e

    def break_at(self, moments, fault, dice):
        for moment in sorted(moments):
            time.sleep(max(0, self.began + moment - time.monotonic()))
            self.hits += self._under_way()
            fault(self.field, self.publisher, dice)

    def _under_way(self):
        """Whether something is published, or was and is not in yet."""
        return self.thread.is_alive() or checks.stored(
            self.field.system, self.fleet.serials) < len(self.publisher.acked)

    def end(self):
        """Waits until everything that the broker acknowledged is in, or
        nothing moves any more."""
        self.thread.join()
        if self.error:
            raise self.error
        checks.await_stored(self.field.system, self.fleet.serials,
                            len(set(self.publisher.acked)))
        self.publisher.close()

    def check(self):
        """(acknowledged, lost, duplicates); anything else that is wrong
        fails at once."""
        acked, system = set(self.publisher.acked), self.field.system
        assert acked == set(self.fleet.sent()), "the publisher miscounted"
        found = checks.history(system, self.fleet, acked)
        assert not found.foreign, found.foreign[:5]
        assert not found.wrong_state, found.wrong_state[:5]
        if not found.lost:
            changes = checks.transitions(system, self.fleet)
            assert not changes, (len(changes), changes[:5])
            await_for("the newest everywhere", lambda: checks.newest(
                system, self.fleet) == [], 60, every=0.2)
        return len(acked), len(found.lost), len(found.duplicates)


@pytest.mark.parametrize("kind", KINDS)
def test_fault(field, dice, capsys, kind):
    until = time.monotonic() + SECONDS / (len(KINDS) + 2)
    rounds = acknowledged = lost = duplicates = hits = longest = 0
    while rounds == 0 or time.monotonic() + longest < until:
        began = time.monotonic()
        rounds += 1
        tag = "%d.%d.%x" % (list(KINDS).index(kind), rounds, os.getpid())
        one = Round(field, tag).begin()
        one.break_at([dice.uniform(0, MOMENTS) for _ in range(FAULTS)],
                     KINDS[kind], dice)
        one.end()
        counts = one.check()
        hits += one.hits
        acknowledged += counts[0]
        lost += counts[1]
        duplicates += counts[2]
        longest = max(longest, time.monotonic() - began)
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d acknowledged=%d rounds=%d "
              "faults=%d hits=%d seed=%s" % (
                  kind, lost, duplicates, acknowledged, rounds,
                  rounds * FAULTS, hits, SEED))
    assert (lost, duplicates) == (0, 0)
    assert hits > 0, "no fault met a heartbeat under way: nothing was shown"


@pytest.fixture
def small_journal(field):
    """The worker with a journal that is full after a few thousand
    heartbeats."""
    field.worker.stop()
    field.worker.start(high_bytes=2 << 20, low_bytes=1 << 20)
    field.worker.await_connected()
    yield field
    field.worker.stop()
    field.worker.start()


def stop_postgres(field):
    processes.stop_family(field.stack.pid("postgres"))


def continue_postgres(field):
    processes.continue_family(field.stack.pid("postgres"))


STOPS = {
    "database killed for a while": (
        lambda field: field.stack.kill("postgres"),
        lambda field: field.stack.restart("postgres")),
    "database stopped for a while": (stop_postgres, continue_postgres),
}


def journal_bytes(system):
    """Once the worker answers."""
    return await_for("the journal's size", lambda: system.metric(
        "coco_journal_bytes"))


@pytest.mark.parametrize("kind", STOPS)
def test_journal_over_its_high_water_mark(small_journal, capsys, kind):
    """The worker lets the broker keep what the journal should not hold, and
    fetches it when the database is back."""
    field, system = small_journal, small_journal.system
    stop, go_on = STOPS[kind]
    tag = "high.%d.%x" % (list(STOPS).index(kind), os.getpid())
    one = Round(field, tag)
    stop(field)
    try:
        one.begin()
        await_for("the journal is full and the broker left alone", lambda: (
            system.metric("coco_journal_full") == 1
            and system.metric("coco_mqtt_connected") == 0), 60)
        held = journal_bytes(system)
        one.thread.join()
        # Full means full: what the publisher still sent stayed away.
        assert journal_bytes(system) <= max(held, 8 << 20)
    finally:
        go_on(field)
    one.end()
    acknowledged, lost, duplicates = one.check()
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d acknowledged=%d rounds=1 "
              "journal=%d" % (kind, lost, duplicates, acknowledged, held))
    assert (lost, duplicates) == (0, 0)
    assert acknowledged == HEARTBEATS + len(one.fleet.robots)
    # what is stored leaves the journal after that
    await_for("the journal is not full", lambda: system.metric(
        "coco_journal_full") == 0)
    field.worker.await_connected()


def test_worker_ends_in_order(field):
    """SIGTERM in the midst of it: exit 0, and nothing is lost either."""
    one = Round(field, "term.%x" % os.getpid(), HEARTBEATS // 2).begin()
    time.sleep(0.3)
    assert field.worker.stop() == 0
    field.worker.start()
    one.end()
    assert one.check()[1:] == (0, 0)


def test_broker_dropped_nothing(field):
    """Otherwise the counts above would say less than they seem to."""
    assert field.dropped() == 0
