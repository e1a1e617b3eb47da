"""What the services hold in the end does not depend on how events reach them:
the same input with events in the same transaction, and with every event
doubled, shuffled and late (bus.scramble), leaves the same records.
"""

import json
import os
import random

import checks
import pytest
from fleet import Fleet
from ground import Ground, await_settled
from harness import await_for, connectivity, now_ms
from publisher import Publisher

HEARTBEATS = 4000
WEBHOOKS = 400
SEEDS = (1, 2)

# changed_at may differ: of a state that came back, the first place counts in
# one order of events, a later one in another.
TABLES = {
    "robot_state": "select serial, id, state, ts from coco.robot_state",
    "robot_operation": "select serial, operation_state, needs_movement,"
                       " undergoing_maintenance, needs_maintenance,"
                       " needs_pickup, has_food, driveable, deployed::text,"
                       " state_id, state_ts from coco.robot_operation",
    "robot_state_history": "select id, robot_serial, operation_state,"
                           " changed_at from coco.robot_state_history",
    "fleet_robot": "select serial, telemetry_id, telemetry_ts, healthy,"
                   " latitude, longitude, heading, speed, battery_percent,"
                   " charging, operational_state, has_food"
                   "  from coco.fleet_robot",
    "state_history": "select serial, date, id, state from coco.state_history"
                     " union all select serial, date, id, state"
                     " from coco.state_history_late",
    "driveu_status": "select serial, unit, status, uuid, time, id"
                     "  from coco.driveu_status",
    "state changes": "select id, serial, payload::text, cause_id"
                     "  from coco.outbox where name in ('Robots.StateChange',"
                     " 'ConnectivityRawStatusChanged')",
}


class Input:
    """Made once, sent twice."""

    def __init__(self, tag):
        self.fleet = Fleet(tag, tag, robots=20)
        self.first = list(self.fleet.first())
        self.rest = list(self.fleet.heartbeats(HEARTBEATS))
        chance, now = random.Random(tag), now_ms()
        self.hooks = [connectivity(
            chance.choice(self.fleet.serials),
            chance.choice(("streamer", "node", "relay")),
            chance.choice(("online", "offline")), at=now - ago)
            for ago in chance.sample(range(600000), WEBHOOKS)]
        self.statuses = {serial: {} for serial in self.fleet.serials}
        for body in sorted(self.hooks, key=lambda body: body["time"]):
            self.statuses[body["vin"]][body["unit"]] = body["status"]

    def send(self, ground, name):
        """Returns when everything is in, and every event has arrived."""
        system = ground.system
        publisher = Publisher(system.mqtt_port, name)
        publisher.publish(self.first)
        checks.await_stored(system, self.fleet.serials, len(self.first))
        publisher.publish(self.rest)
        publisher.close()
        for body in self.hooks:
            system.webhook(body)
        await_settled("the history", lambda: checks.stored(
            system, self.fleet.serials), self.count())
        await_settled("the inbox", lambda: system.value(
            "select count(*) from coco.webhook_inbox where done_at is null"),
            0)
        await_for("the services agree", lambda: checks.newest(
            system, self.fleet) == [], 60, every=0.2)
        await_for("the copies of the statuses", lambda: {
            serial: {unit: doc["status"] for unit, doc in json.loads(
                system.redis.get("driveu.status." + serial)).items()}
            for serial in self.fleet.serials} == self.statuses, 60)
        await_for("every change in the history", lambda: system.value(
            "select count(*) from coco.robot_state_history") == sum(
                len(robot.changes) for robot in self.fleet.robots), 60)

    def count(self):
        return len(self.first) + len(self.rest)

    @staticmethod
    def records(ground):
        return {name: sorted(ground.system.sql(query), key=repr)
                for name, query in TABLES.items()}

    def copies(self, ground):
        """Redis, less when we received it."""
        found = {}
        for serial in self.fleet.serials:
            cached = ground.system.cached(serial)
            del cached["receivedAt"]
            found[serial] = (cached, ground.system.redis.get(
                "driveu.status." + serial))
        return found


@pytest.fixture(scope="module")
def direct():
    """(the input, its records and copies) of services in one transaction."""
    one = Input("mix%x" % os.getpid())
    ground = Ground()
    try:
        one.send(ground.up(), "direct")
        yield one, one.records(ground), one.copies(ground)
    finally:
        ground.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_same_records(direct, capsys, seed):
    one, records, copies = direct
    ground = Ground(COCO_WORKER_BUS_SCRAMBLE="on",
                    COCO_WORKER_BUS_SCRAMBLE_SEED=str(seed))
    try:
        one.send(ground.up(), "scrambled")
        scrambled, scrambled_copies = one.records(ground), one.copies(ground)
        told = ground.system.value("select count(*) from coco.outbox"
                                   " where name like 'Robots.%%'")

        def doubled():
            """Copies come late, and are counted after their commit. Those of
            one event in one batch are one, and the others duplicates."""
            counts = [ground.system.metric(name, "bus") for name in (
                "coco_messages_committed_total",
                "coco_messages_duplicate_total")]
            events = None not in counts and sum(counts)
            return events > told + one.count() and events

        events = await_for("more events than there are", doubled, 60)
    finally:
        ground.close()
    with capsys.disabled():
        print("\n  scrambled, seed %d: %d events arrived of %d heartbeats and "
              "%d rows" % (seed, events, one.count(), told))
    for name in TABLES:
        assert scrambled[name] == records[name], name
    assert scrambled_copies == copies
