"""A lid opens once for a key, every request has an ending and every client an
answer, whatever is killed while lids are opened; and deliveries are loaded
once. COCO_FAULT_SECONDS of 240 goes twice through everything, and so on.
"""

import os
import signal
import threading

import psycopg2
import pytest
from field import SECONDS, SEED
from ground import Load, await_settled, break_while
from harness import await_for
from lids import (Client, Openers, Robots, findings, outcomes,
                  wrong_endings)

PARTS = ("worker", "postgres", "nginx", "redis", "mqtt")
ROUNDS = max(1, round(SECONDS / 120))
ROBOTS = 4              # of one moment
EXPIRY = 30             # s within which a command has ended, at the worst
MERCHANTS = 24
AT_ONCE = 2


def as_it_is_asked(ground, robots, openers, strike):
    """The part dies between the first request and the last."""
    fault = Load(strike)
    fault.start()
    openers.start(apart=0.1)
    fault.end()


def before_it_leaves(ground, robots, openers, strike):
    """The commands are stored, and the worker has not seen them."""
    worker = ground.stack.pid("worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        openers.start()
        await_for("the commands", lambda: all(
            outcomes(ground.system, openers.serials).values()))
        strike()
    finally:
        if ground.stack.pid("worker") == worker:
            os.kill(worker, signal.SIGCONT)


def before_the_report(ground, robots, openers, strike):
    """The lids are open, and the robots have not said so."""
    openers.start()
    robots.await_movements(openers.serials)
    strike()


def before_the_answer(ground, robots, openers, strike):
    """The reports are in a transaction that does not end."""
    openers.start()
    robots.await_movements(openers.serials)
    holder = psycopg2.connect(ground.system.pg_url)
    try:
        holder.cursor().execute(
            "lock table coco.lid_robot in access exclusive mode")
        robots.release()
        await_for("the transaction", lambda: ground.system.value(
            "select count(*) from pg_locks where not granted"
            "   and relation = 'coco.lid_robot'::regclass"))
        robots.hold()
        strike()
    finally:
        holder.close()


MOMENTS = (as_it_is_asked, before_it_leaves, before_the_report,
           before_the_answer)


def worker_connected(ground):
    return all(ground.system.metric(name, "events") == 1 for name in
               ("coco_mqtt_connected", "coco_commands_connected"))


def calm(ground, robots, part):
    """The robots' network is back. A broker that was killed has forgotten
    what it had taken from them: they say all once more."""
    await_for("the worker is connected", lambda: worker_connected(ground))
    if part == "mqtt":
        robots.await_heard(ground.system)
    robots.release()
    if part == "mqtt":
        robots.repeat()


@pytest.mark.parametrize("part", PARTS)
def test_a_lid_opens_once(ground, capsys, part):
    tag = "l%s%x" % (part[:2], os.getpid())
    robots = Robots(ground.stack.mqtt_port, tag, opens=0.1)
    told = []
    try:
        for turn in range(ROUNDS):
            for number, moment in enumerate(MOMENTS):
                openers = Openers(ground.system, [
                    "%s-%d-%d-%d" % (tag, turn, number, i)
                    for i in range(ROBOTS)], may_cut=part == "nginx")
                robots.hold()
                moment(ground, robots, openers, lambda: ground.kill(part))
                calm(ground, robots, part)
                openers.end()
                told.append(openers)
        for openers in told:
            await_settled("the right ending of each command",
                          lambda: wrong_endings(ground.system, robots,
                                                openers.serials), [], EXPIRY)
        found = [f for openers in told
                 for f in findings(ground.system, robots, openers)]
    finally:
        robots.close()
    answers = [status for openers in told
               for status, _ in openers.answers.values()]
    with capsys.disabled():
        print("\n  lids, %-8s killed: requests=%d opened=%d silent=%d "
              "errors=%d acts=%d findings=%d" % (
                  part, len(answers), answers.count(200), answers.count(504),
                  sum(len(openers.client.errors) for openers in told),
                  sum(map(len, robots.acts.values())), len(found)))
    assert found == []
    assert len(answers) == ROUNDS * len(MOMENTS) * ROBOTS
    assert answers.count(200) > 0


class Merchants:
    """Deliveries that wait at their pickups, each with a robot of its own,
    and merchants who have the lids opened by QR codes until one is open: the
    robots' lids are closed by hand."""

    def __init__(self, ground, tag):
        self.system = ground.system
        self.client = Client(ground.system, may_cut=True)
        self.serials = ["%s-%02d" % (tag, i) for i in range(MERCHANTS)]
        self.robots = Robots(ground.stack.mqtt_port, tag, opens=0.4,
                             closes=0.3)
        self.deliveries = {serial: self._arrive(serial)
                           for serial in self.serials}
        self.loaded = 0
        self.lock = threading.Lock()

    def _arrive(self, serial):
        place = {"latitude": 37.77, "longitude": -122.41}
        delivery = self.system.call("POST", "/deliveries", 201, json={
            "pickup": place, "dropoff": place, "loadingFlow": "QR"})
        path = "/deliveries/" + delivery["id"]
        self.system.call("POST", path + "/assign", json={"serial": serial})
        self.system.call("POST", path + "/depart")
        self.system.call("POST", path + "/arrive", json={"at": "pickup"})
        return delivery["id"]

    def load(self):
        loads = [Load(lambda share=self.serials[i::AT_ONCE]: [
            self._load(serial) for serial in share]) for i in range(AT_ONCE)]

        def send():
            for load in loads:
                load.start()
            for load in loads:
                load.end()

        return Load(send)

    def _load(self, serial):
        """A new key only when nobody opened: the lid can be seen to move."""
        attempt = 0
        while not self.robots.acts.get(serial):
            attempt += 1
            self.client.post("/open-lid-for-load",
                             {"deliveryId": self.deliveries[serial]},
                             "%s-%d" % (serial, attempt))
        with self.lock:
            self.loaded += 1

    def waiting(self):
        return self.system.value(
            "select count(*) from coco.robot_command"
            " where serial = any(%s) and outcome is null", self.serials)

    def done(self):
        return self.system.value(
            "select count(*) from coco.delivery where id::text = any(%s)"
            "   and status = 'LoadedWaitingForPilot'",
            list(self.deliveries.values()))

    def findings(self):
        found = [("unclear", text) for text in self.client.unclear]
        for serial, delivery in self.deliveries.items():
            found += [(serial, *finding) for finding in (
                self._changes(delivery) + self._cycles(serial, delivery)
                + self._told(serial))]
        return found

    def _changes(self, delivery):
        """Each status once, in the records and in the outbox."""
        expected = ["Created", "Assigned", "EnrouteToPickup", "AtPickup",
                    "LoadedWaitingForPilot"]
        kept = self.system.sql(
            "select id::text, status from coco.delivery_event"
            " where delivery_id::text = %s order by number", delivery)
        told = self.system.sql(
            "select id::text, payload #>> '{data,status}' from coco.outbox"
            " where name = 'Deliveries.DeliveryEvent'"
            "   and payload #>> '{data,deliveryId}' = %s order by seq",
            delivery)
        found = [("changes", kept)] if [
            status for _, status in kept] != expected else []
        return found + ([("told", told, kept)] if told != kept else [])

    def _cycles(self, serial, delivery):
        """One for each time that the lid was opened and closed."""
        times = [ts for _, ts in sorted(self.robots.movements.get(serial, []),
                                        key=lambda movement: movement[1])]
        expected = [("LID_CYCLE_COMPLETE", "QR", delivery, *pair)
                    for pair in zip(times[::2], times[1::2])]
        cycles = self.system.sql(
            "select state, source, reference_id, coco.to_ms(opened_at),"
            "       coco.to_ms(closed_at) from coco.lid_cycle"
            " where serial = %s order by order_at", serial)
        return [("cycles", cycles, expected)] if cycles != expected else []

    def _told(self, serial):
        """Each cycle's events once, and no anomaly."""
        names = self.system.sql(
            "select y.id::text, array_agg(o.name order by o.name)"
            "  from coco.lid_cycle y left join coco.outbox o"
            "    on o.serial = y.serial"
            "   and o.payload #>> '{data,cycleId}' = y.id::text"
            " where y.serial = %s group by 1", serial)
        found = [("events", row) for row in names if row[1] != [
            "LidCycle.Complete", "Robots.LidClose", "Robots.LidOpen"]]
        return found + self.system.sql(
            "select kind, reason from coco.anomaly where serial = %s", serial)


def strike(ground, robots, part):
    if part == "mqtt":
        robots.hold()
    ground.kill(part)
    if part == "mqtt":
        calm(ground, robots, part)


def test_a_delivery_is_loaded_once(ground, dice, capsys):
    for turn in range(ROUNDS):
        merchants = Merchants(ground, "m%d%x" % (turn, os.getpid()))
        parts = dice.sample(PARTS, len(PARTS))
        try:
            hits = break_while(
                merchants.load(), lambda: merchants.loaded / MERCHANTS,
                merchants.waiting,
                lambda: strike(ground, merchants.robots, parts.pop()),
                len(PARTS), dice)
            await_settled("the deliveries", merchants.done, MERCHANTS)
            await_for("an ending of each command",
                      lambda: merchants.waiting() == 0, EXPIRY)
            found = merchants.findings()
        finally:
            merchants.robots.close()
        acts = sum(map(len, merchants.robots.acts.values()))
        with capsys.disabled():
            print("\n  loaded while all are killed: deliveries=%d opened=%d "
                  "errors=%d hits=%d findings=%d seed=%s" % (
                      merchants.done(), acts, len(merchants.client.errors),
                      hits, len(found), SEED))
        assert found == []
        assert merchants.done() == MERCHANTS
        assert hits > 0, "no fault met an open lid: nothing was shown"


def test_finds(ground):
    """The findings find: a command without its ending, an answer that is not
    true, a lid that opened twice, a change and a cycle that are not there."""
    tag = "lc%x" % os.getpid()
    robots = Robots(ground.stack.mqtt_port, tag, opens=0.05)
    openers = Openers(ground.system, [tag + "-a", tag + "-b"], may_cut=False)
    try:
        openers.start()
        openers.end()
    finally:
        robots.close()
    assert findings(ground.system, robots, openers) == []
    robots.acts[tag + "-a"].append("another")
    ground.system.sql("update coco.robot_command set outcome = null"
                      " where serial = %s", tag + "-b")
    kinds = {finding[:2] for finding in findings(ground.system, robots,
                                                 openers)}
    assert kinds == {("opened twice", tag + "-a"), ("not true", tag + "-a"),
                     ("outcome", tag + "-b")}

    merchants = Merchants(ground, "mc%x" % os.getpid())
    try:
        load = merchants.load()
        load.start()
        load.end()
        await_settled("the deliveries", merchants.done, MERCHANTS)
    finally:
        merchants.robots.close()
    assert merchants.findings() == []
    first, second, *_ = merchants.serials
    ground.system.sql("delete from coco.lid_cycle where serial = %s", first)
    ground.system.sql(
        "delete from coco.outbox where payload #>> '{data,deliveryId}' = %s"
        "   and payload #>> '{data,status}' = 'LoadedWaitingForPilot'",
        merchants.deliveries[second])
    assert {finding[:2] for finding in merchants.findings()} == {
        (first, "cycles"), (second, "told")}
