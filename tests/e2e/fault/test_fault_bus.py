"""Services in processes of their own, over RabbitMQ: whatever is killed or
stopped while heartbeats are published, they agree in the end, and a queue
that was bound by hand sees every event. Settings: see test_fault_recovery.py.
"""

import json
import os
import signal
import time

import bus
import checks
import pytest
from field import SECONDS, SEED
from fleet import Fleet
from ground import Ground, Load, Service, await_settled, break_while
from harness import await_for
from publisher import Publisher

HEARTBEATS = 6000
PAUSE = 60 if SECONDS >= 600 else 4     # s that a consumer is stopped

STORED = ("Robots.StateChange", "Robots.BusinessStateChange")


class Split(Ground):
    """The stack's worker runs the state service, another the rest, and a
    queue that was bound by hand hears all of it."""

    def __init__(self):
        super().__init__(COCO_BUS="rabbitmq",
                         COCO_WORKER_PROCESS_SERVICES="state")
        self.service = self.bound = None

    def up(self):
        super().up()
        self.bound = bus.Bound(self.env["COCO_AMQP_URL"], STORED)
        self.service = Service(self, "operations,fleet")
        self.service.start()
        self.service.await_consuming()
        # RabbitMQ puts the names of new quorum queues on disk only after
        # three minutes, or when it stops: killed before, it loses them.
        self.stack.restart("rabbitmq")
        self.service.await_consuming()
        return self

    def close(self):
        if self.bound:
            self.bound.close()
        if self.service:
            self.service.kill()
        super().close()

    def kill(self, *names):
        if "service" in names:
            self.service.kill()
            self.service.start()
        others = [name for name in names if name != "service"]
        if others:
            super().kill(*others)


@pytest.fixture(scope="module")
def broken_split():
    split = Split()
    try:
        yield split.up()
    finally:
        split.close()


@pytest.fixture
def split(broken_split):
    try:
        broken_split.stack.pid("rabbitmq")
    except FileNotFoundError:
        broken_split.stack.restart("rabbitmq")
    broken_split.mend()
    if not broken_split.service.alive():
        broken_split.service.start()
    broken_split.service.await_consuming()
    return broken_split


class Published:
    """One round: a fleet of its own, published by MQTT, with a queue that
    hears what comes of it."""

    def __init__(self, ground, tag, count=HEARTBEATS):
        self.system = ground.system
        self.fleet = Fleet("%s %s" % (SEED, tag), tag)
        self.publisher = Publisher(ground.system.mqtt_port, "bus-" + tag)
        self.first = self.publisher.publish(self.fleet.first())
        self.await_stored()
        self.count = count

    def load(self):
        return Load(lambda: self.publisher.publish(
            self.fleet.heartbeats(self.count)))

    def stored(self):
        return checks.stored(self.system, self.fleet.serials)

    def progress(self):
        return (len(self.publisher.acked) - self.first) / self.count

    def under_way(self):
        return self.unrelayed() or self.stored() < len(self.publisher.acked)

    def await_stored(self):
        await_settled("the history", self.stored,
                      len(set(self.publisher.acked)))

    def unrelayed(self):
        return self.system.value("select count(*) from coco.outbox"
                                 " where relayed_at is null")

    def check(self):
        """(acknowledged, lost, duplicates); anything else that is wrong
        fails at once."""
        acked, system = set(self.publisher.acked), self.system
        self.await_stored()
        self.publisher.close()
        found = checks.history(system, self.fleet, acked)
        assert not found.foreign and not found.wrong_state
        await_for("the services agree", lambda: checks.agreement(
            system, self.fleet.serials) == [], 60, every=0.2)
        await_for("the newest everywhere", lambda: checks.newest(
            system, self.fleet) == [], 60, every=0.2)
        # only now: the other process has events of its own to tell
        assert await_settled("the outbox", self.unrelayed, 0) == 0
        assert checks.transitions_told(system, self.fleet) == []
        return len(acked), len(found.lost), len(found.duplicates)


def sightings(system, messages, serials):
    """(missed, disordered): rows of the outbox that the queue did not see,
    and robots whose first sightings are not in the order of their rows."""
    rows = {serial: {name: [] for name in STORED} for serial in serials}
    for serial, name, id in system.sql(
            "select serial, name, id::text from coco.outbox"
            " where serial = any(%s) order by seq", serials):
        rows[serial][name].append(id)
    seen = {serial: {name: {} for name in STORED} for serial in serials}
    for message in list(messages):
        if message.key in seen:
            id = json.loads(message.payload)["id"]
            seen[message.key][message.channel].setdefault(id)
    pairs = [(rows[serial][name], list(seen[serial][name]))
             for serial in serials for name in STORED]
    return (sum(len(set(ours) - set(theirs)) for ours, theirs in pairs),
            sum(ours != theirs for ours, theirs in pairs
                if set(ours) == set(theirs)))


KINDS = {
    "bus, state process killed": ("worker",),
    "bus, other process killed": ("service",),
    "bus, postgres killed": ("postgres",),
    "bus, broker killed": ("rabbitmq",),
    "bus, both processes killed": ("worker", "service"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fault(split, dice, capsys, kind):
    one = Published(split, "b%d.%x" % (list(KINDS).index(kind), os.getpid()))
    # the broker takes seconds to come back: one of it is enough
    faults = 1 if "rabbitmq" in KINDS[kind] else 2
    hits = break_while(one.load(), one.progress, one.under_way,
                       lambda: split.kill(*KINDS[kind]), faults, dice)
    acknowledged, lost, duplicates = one.check()
    serials = one.fleet.serials
    missed, disordered = await_settled(
        "what the queue sees", lambda: sightings(
            split.system, split.bound.messages, serials), (0, 0))
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d missed=%d disordered=%d "
              "acknowledged=%d faults=%d hits=%d seed=%s" % (
                  kind, lost, duplicates, missed, disordered, acknowledged,
                  faults, hits, SEED))
    assert (lost, duplicates, missed, disordered) == (0, 0, 0, 0)
    assert hits > 0, "no fault met an event under way: nothing was shown"


def test_consumer_stopped_for_a_while(split, capsys):
    """Operations and fleet stand still while state goes on; then they catch
    up, with nothing lost."""
    system = split.system
    one = Published(split, "stopped.%x" % os.getpid(), HEARTBEATS)
    load = one.load()
    split.service.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        load.start()
        load.end()
        one.await_stored()
        time.sleep(max(0, began + PAUSE - time.monotonic()))
        behind = len({finding[1] for finding in checks.agreement(
            system, one.fleet.serials)})
        assert behind > 0, "nothing was behind: this run proves nothing"
    finally:
        split.service.signal(signal.SIGCONT)
    began = time.monotonic()
    acknowledged, lost, duplicates = one.check()
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d acknowledged=%d behind=%d "
              "robots, caught up in %.1f s" % (
                  "bus, consumer stopped %d s" % PAUSE, lost, duplicates,
                  acknowledged, behind, time.monotonic() - began))
    assert (lost, duplicates) == (0, 0)


def test_sightings_find(split):
    """The check finds an event that was not seen and one out of order."""
    one = Published(split, "seen.%x" % os.getpid(), 500)
    load = one.load()
    load.start()
    load.end()
    one.check()
    system, serials = split.system, one.fleet.serials
    await_for("all seen", lambda: sightings(
        system, split.bound.messages, serials) == (0, 0), 60)
    messages, places = list(split.bound.messages), {}

    # two events of a kind and a robot change places, then one is gone
    for i, message in enumerate(messages):
        if message.key in serials:
            places.setdefault((message[:2], message.properties.message_id), i)
    kinds = [kind for (kind, _) in places]
    kind = next(kind for kind in kinds if kinds.count(kind) > 1)
    first, second = [i for (one, _), i in places.items() if one == kind][:2]
    messages[first], messages[second] = messages[second], messages[first]
    assert sightings(system, messages, serials) == (0, 1)
    id = messages[first].properties.message_id
    messages = [message for message in messages
                if message.properties.message_id != id]
    assert sightings(system, messages, serials)[0] == 1
