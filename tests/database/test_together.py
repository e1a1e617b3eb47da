"""All that writes the supply, at once, on few robots: nobody waits in a
circle, and in the end the supply says what the other tables say."""

import json
import random
import time

import psycopg2
from database import Database, at_once, heartbeats, now_ms

SECONDS = 4
SERIALS = ["s%d" % n for n in range(6)]


class Patches:
    def turn(self, db, chance):
        db.patch(chance.choice(SERIALS), operation_state=chance.choice(
            ["ON_TRIP", "PARKED"]), needs_pickup=chance.random() < 0.5)


class Deliveries:
    """Each step by step over HTTP, reassigned in between, to either side."""

    def turn(self, db, chance):
        delivery = db.deliver()
        for event in ["assign"] * 3 + ["depart", "arrive", "load", "depart",
                                       "arrive", "complete"]:
            body = {"serial": chance.choice(SERIALS)} \
                if event == "assign" else {}
            if chance.random() < 0.1:
                event, body = "cancel", {"reason": "x"}
            db.move(delivery, event, **body)
            if event == "cancel":
                return


class Messages:
    """What closes of lids and arrivals change: deliveries of many robots in
    one transaction, as the worker locks them."""

    STEPS = {"Assigned": "LoadedWaitingForPilot", "EnrouteToPickup":
             "AtPickup", "AtPickup": "LoadedWaitingForPilot",
             "EnrouteToDropoff": "AtDropoff", "AtDropoff": "Completed"}

    def turn(self, db, chance):
        with db.transaction():
            rows = db.rows("select id, status, serial from coco.delivery"
                           " where serial is not null and status not in"
                           " ('Completed', 'Canceled') order by id"
                           " for update")
            rows = [row for row in rows if row[1] in self.STEPS]
            rows.sort(key=lambda row: row[2])
            db.rows("select from coco.robot_operation where serial = any (%s)"
                    " order by serial collate \"C\" for update",
                    [row[2] for row in rows])
            db.rows("select coco.delivery_fleet_lock(%s::uuid[])",
                    [row[0] for row in rows])
            db.rows("select from coco.resource where id = any (%s)"
                    " order by id collate \"C\" for update",
                    [row[2] for row in rows])
            db.rows("select coco.delivery_apply(id, previous, status, now(),"
                    " null, null) from (select * from unnest(%s::uuid[],"
                    " %s::text[], %s::text[]) with ordinality"
                    " u (id, previous, status, n) order by n offset 0) u",
                    [row[0] for row in rows], [row[1] for row in rows],
                    [self.STEPS[row[1]] for row in rows])


class Holds:
    def turn(self, db, chance):
        db.hold(chance.choice(SERIALS), now_ms() + 20)
        _, demand, _ = db.demand(serial=chance.choice(SERIALS),
                                 readyAt=now_ms() + chance.choice([-9, 30]))
        db.write("demand_delete", json.loads(demand)["id"])


class Heartbeats:
    """Sets of robots, sorted as the worker does."""

    def turn(self, db, chance):
        some = sorted(chance.sample(SERIALS, 4))
        with db.transaction():
            heartbeats(db, some, now_ms())


class Sweeps:
    def turn(self, db, chance):
        db.rows("select coco.supply_sweep(5)")
        time.sleep(0.01)


WRITERS = [Patches, Patches, Deliveries, Deliveries, Deliveries, Messages,
           Messages, Holds, Holds, Heartbeats, Heartbeats, Sweeps]

# What the supply is made of, where they differ.
DIFFERENCES = """
select r.id, r.data, r.demands from coco.resource r
  left join coco.robot_operation o on o.serial = r.id
 where r.data <> r.data || coco.supply_demands(r.id)
    or r.demands <> (select count(*) from coco.demand d where d.serial = r.id)
    or r.data <> r.data || coco.business_state(o)
    or r.business_changed_at is distinct from nullif(o.changed_at,
                                                     '-infinity')
    or r.data ->> 'tripType' is distinct from coco.trip_type(
       r.data ->> 'operationState', r.data -> 'activeDemand',
       r.data -> 'deployed')
"""
STRAY = """
select d.id from coco.delivery d full join coco.demand m on m.delivery_id =
    d.id
 where m.delivery_id is null and d.status not in ('Completed', 'Canceled')
    or d.status in ('Completed', 'Canceled') and m.id is not null
    or m.serial is distinct from d.serial and m.delivery_id is not null
    or (m.type = 'ACTIVE') <> (d.status not in ('Created', 'Assigned'))
"""


def write(server, kind, seed, turns, failures):
    chance, end = random.Random(seed), time.monotonic() + SECONDS
    with Database(server.postgres) as own:
        while time.monotonic() < end:
            try:
                kind().turn(own, chance)
                turns[kind] = turns.get(kind, 0) + 1
            except psycopg2.errors.DeadlockDetected as error:
                failures.append((kind.__name__, str(error)))


def test_nobody_waits_in_a_circle(db, server):
    for serial in SERIALS:
        db.operate(serial)
        db.patch(serial, driveable=True)
    turns, failures = {}, []
    at_once(*[lambda kind=kind, seed=seed: write(server, kind, seed, turns,
                                                 failures)
              for seed, kind in enumerate(WRITERS)])
    print({kind.__name__: count for kind, count in turns.items()})
    assert failures == []
    assert set(turns) == set(WRITERS)
    assert db.rows(DIFFERENCES) == []
    assert db.rows(STRAY) == []
