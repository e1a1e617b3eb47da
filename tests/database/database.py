"""A session of the database, with the functions that nginx and the worker
call."""

import contextlib
import threading
import time
import uuid

import psycopg2
import psycopg2.extras
from psycopg2.extras import Json
from tables import emptied

psycopg2.extras.register_uuid()

EMPTIED = ("robot_operation", "robot_state_history", "fleet_robot",
           "robot_state", "robot_shadow", "lid_robot", "outbox",
           "idempotency_key", "partner_push", "demand", "delivery_attempt",
           "delivery_event", "delivery", "quote", "resource",
           "external_robot_mapping")

PLACES = {"pickup": {"latitude": 52.1, "longitude": 13.1},
          "dropoff": {"latitude": 52.2, "longitude": 13.2}}

# the machine of the core, docs/machines.md; LOAD is no request of HTTP
MOVES = {
    "assign": dict.fromkeys(("Created", "Assigned", "EnrouteToPickup",
                             "AtPickup"), "Assigned"),
    "depart": {"Assigned": "EnrouteToPickup",
               "LoadedWaitingForPilot": "EnrouteToDropoff"},
    "arrive": {"EnrouteToPickup": "AtPickup",
               "EnrouteToDropoff": "AtDropoff"},
    "load": dict.fromkeys(("Assigned", "EnrouteToPickup", "AtPickup"),
                          "LoadedWaitingForPilot"),
    "complete": {"AtDropoff": "Completed"},
    "cancel": dict.fromkeys(("Created", "Assigned", "EnrouteToPickup",
                             "AtPickup", "LoadedWaitingForPilot",
                             "EnrouteToDropoff", "AtDropoff"), "Canceled")}
STATUSES = ("Created", "Assigned", "EnrouteToPickup", "AtPickup",
            "LoadedWaitingForPilot", "EnrouteToDropoff", "AtDropoff",
            "Completed", "Canceled")


def now_ms():
    return int(time.time() * 1000)


def at_once(*works):
    """Each in a thread of its own; raises what one of them raised."""
    errors = []

    def run(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Database:
    def __init__(self, url):
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def empty(self):
        self.rows(emptied(*EMPTIED))

    def rows(self, query, *values):
        self.cursor.execute(query, values or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def value(self, query, *values):
        return self.rows(query, *values)[0][0]

    @contextlib.contextmanager
    def transaction(self):
        self.rows("begin")
        try:
            yield
        except BaseException:
            self.rows("rollback")
            raise
        self.rows("commit")

    # --- what is written over HTTP ------------------------------------------

    def write(self, function, *values, key=None):
        """(status, response, lines of the supply), as nginx asks for it."""
        marks = "".join(", %s" for _ in values)
        status, response, supply = self.rows(
            "select status, response, coco.supply_changes() as supply"
            " from coco." + function + "('test', '" + function
            + "', %s, '\\x00'" + marks + ")", key, *values)[0]
        assert supply == "" or supply.endswith("\n")
        return status, response, supply.splitlines()

    def patch(self, serial, **columns):
        return self.write("robot_patch", serial, Json(columns))

    def deliver(self, **body):
        """The id of a new delivery."""
        status, _, lines = self.write("delivery_create",
                                      Json({**PLACES, **body}))
        assert (status, lines) == (201, [])
        return self.value("select id from coco.delivery"
                          " order by created_at desc limit 1")

    def move(self, delivery, event, **body):
        return self.write(*self.moving(delivery, event, **body))

    @staticmethod
    def moving(delivery, event, **body):
        moves = {status: {"to": MOVES[event].get(status, "?"),
                          "allowed": status in MOVES[event]}
                 for status in STATUSES}
        return "delivery_move", delivery, Json(moves), Json(body)

    def demand(self, **body):
        return self.write("demand_create", Json({**PLACES, **body}))

    def hold(self, serial, expires=None, quote=None, seen=None):
        """Holds a robot as it stands, or as it was seen (business_ms,
        version)."""
        business, version = seen or self.rows(
            "select coalesce(coco.to_ms(business_changed_at), 0),"
            " demand_version from coco.resource where id = %s", serial)[0]
        return self.write("quote_hold", quote or uuid.uuid4(), serial,
                          business, version, expires or now_ms() + 60000,
                          '{"held":true}')

    # --- what is there ------------------------------------------------------

    def operate(self, serial):
        """A robot that was heard of."""
        self.rows("insert into coco.robot_operation (serial, operation_state,"
                  " changed_at) values (%s, 'OFF_DUTY', now())", serial)

    def robot(self, serial):
        return self.value("select data from coco.resource where id = %s",
                          serial)

    def line(self, serial):
        return self.value("select coco.supply_line(r) from coco.resource r"
                          " where id = %s", serial)

    def columns(self, serial, names):
        return self.rows("select %s from coco.resource where id = %%s" % names,
                         serial)[0]

    def told(self, serial):
        """The data of its SupplyEvents."""
        return [payload["data"] for (payload,) in self.rows(
            "select payload from coco.outbox where serial = %s"
            " and name = 'DispatchEngine.SupplyEvent' order by seq", serial)]


# What the worker writes of heartbeats.
TELEMETRY = """
insert into coco.resource as r (id, data, telemetry_id, telemetry_ts,
       telemetry_order_ts)
select s, %s, gen_random_uuid(), coco.from_ms(%s), coco.from_ms(%s)
  from unnest(%s) s
on conflict (id) do update
   set data = r.data || excluded.data,
       telemetry_id = excluded.telemetry_id,
       telemetry_ts = excluded.telemetry_ts,
       telemetry_order_ts = excluded.telemetry_order_ts
 where r.telemetry_order_ts is null
    or (excluded.telemetry_order_ts, excluded.telemetry_ts,
        excluded.telemetry_id)
       > (r.telemetry_order_ts, r.telemetry_ts, r.telemetry_id)
"""


def heartbeats(db, serials, at, **members):
    """As the worker: fleet_robot first, then the supply; at in ms."""
    changes = {"status": "ONLINE", "battery": 50, "lastSynced": at,
               "healthy": True,
               "location": {"latitude": 52.1, "longitude": 13.1}, **members}
    db.rows("insert into coco.fleet_robot as f (serial, telemetry_order_ts)"
            " select s, coco.from_ms(%s) from unnest(%s) s"
            " on conflict (serial) do update"
            " set telemetry_order_ts = excluded.telemetry_order_ts",
            at, list(serials))
    db.rows(TELEMETRY, Json(changes), at, at, list(serials))
