"""Robots of a city: facts as the database's triggers write them, and the
standard's table, written down once more, to judge what was told of them."""

import json
import random
import uuid

import psycopg2.extras
from tables import emptied

# MDS 2.0, "Delivery robots": from, event, to.
TRANSITIONS = {
    (start, event, end)
    for start, event, ends in (line.split() for line in """
available trip_leave_jurisdiction elsewhere
available comms_lost non_contactable
available service_end non_operational
available reservation_start reserved
elsewhere trip_enter_jurisdiction available,non_operational,on_trip,reserved
elsewhere comms_lost non_contactable
missing located available,elsewhere,non_operational,on_trip,removed,reserved,stopped
non_contactable comms_restored available,elsewhere,non_operational,on_trip,removed,reserved,stopped
non_contactable not_located missing
non_operational service_start available
non_operational trip_leave_jurisdiction elsewhere
non_operational comms_lost non_contactable
non_operational maintenance,maintenance_end non_operational
non_operational maintenance_pick_up,decommissioned removed
on_trip trip_leave_jurisdiction elsewhere
on_trip comms_lost non_contactable
on_trip order_drop_off,order_pick_up,trip_pause stopped
removed comms_lost non_contactable
removed maintenance_end,recommissioned non_operational
reserved customer_cancellation,driver_cancellation,provider_cancellation available
reserved trip_leave_jurisdiction elsewhere
reserved comms_lost non_contactable
reserved reservation_stop stopped
stopped customer_cancellation,driver_cancellation,provider_cancellation available
stopped trip_end available
stopped comms_lost non_contactable
stopped trip_resume,trip_start on_trip
""".strip().splitlines())
    for event in event.split(",") for end in ends.split(",")}

assert len(TRANSITIONS) == 52

STATUSES = ["Assigned", "EnrouteToPickup", "AtPickup", "LoadedWaitingForPilot",
            "EnrouteToDropoff", "AtDropoff", "Completed"]
TABLES = ("mds_fact", "mds_event", "mds_trip", "mds_vehicle", "partner_push",
          "demand", "delivery_attempt", "delivery_event", "delivery",
          "resource", "robot_operation", "robot_state_history", "fleet_robot",
          "robot_state", "state_history", "dead_letter")


class Robot:
    """One that does what it likes, within what the database lets happen."""

    def __init__(self, rng, serial):
        self.rng, self.serial, self.online = rng, serial, None
        self.deliveries = []

    def fact(self):
        """(kind, data) of what happens next."""
        chance = self.rng.random()
        if self.online is None or chance < 0.15:
            self.online = not self.online
            return "COMMS", {"online": self.online}
        if chance < 0.35:
            return "BUSINESS", {
                "operationState": self.rng.choice(
                    ["PARKED", "PARKED", "DEPLOYED", "ON_TRIP", "OFF_DUTY",
                     "GROUNDED"]),
                "undergoingMaintenance": self.rng.random() < 0.2,
                "needsMaintenance": None, "needsPickup": None,
                "driveable": self.rng.choice([None, True, True, False])}
        if not self.deliveries or chance < 0.42 and len(self.deliveries) < 3:
            trip = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
            self.deliveries.append([trip, 0])
            return self.delivery(trip, "Assigned")
        delivery = self.rng.choice(self.deliveries)
        if self.rng.random() < 0.12:
            self.deliveries.remove(delivery)
            return self.delivery(delivery[0], "Canceled", self.rng.choice(
                [None, "reassigned", "customer changed their mind"]))
        delivery[1] += 1
        if delivery[1] == len(STATUSES) - 1:
            self.deliveries.remove(delivery)
        return self.delivery(delivery[0], STATUSES[delivery[1]])

    @staticmethod
    def delivery(trip, status, reason=None):
        return "DELIVERY", {"trip": trip, "delivery": trip, "status": status,
                            "reason": reason, "requestedAt": 1790000000000}


def facts(seed, robots, count):
    """[(serial, kind, data)] of so many robots, in the order of their days,
    which are mixed at random."""
    rng = random.Random(seed)
    fleet = [Robot(rng, "city-%03d" % n) for n in range(robots)]
    return [(robot.serial, *robot.fact())
            for robot in rng.choices(fleet, k=count)]


def under_way(some):
    """{serial: {trip}} that these facts have begun and not ended."""
    found = {}
    for serial, kind, data in some:
        trips = found.setdefault(serial, set())
        if kind == "DELIVERY" and data["status"] in ("Completed", "Canceled"):
            trips.discard(data["trip"])
        elif kind == "DELIVERY":
            trips.add(data["trip"])
    return found


def clear(connection):
    """Numbers begin at 1, of as many digits as they may have."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            emptied(*TABLES) +
            "; alter table coco.mds_fact alter seq restart"
            "; update coco.mds_progress set since = null, up_to = '-infinity'")


def put(connection, some):
    """As facts of now."""
    with connection, connection.cursor() as cursor:
        psycopg2.extras.execute_values(
            cursor, "insert into coco.mds_fact (serial, ts, kind, data)"
            " values %s",
            [(serial, kind, json.dumps(data)) for serial, kind, data in some],
            "(%s, clock_timestamp(), %s, %s)", page_size=1000)


def told(connection):
    """{serial: [(event, state after it, time, trips)]} in the order told."""
    found = {}
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select v.serial, e.event_types, e.vehicle_state, e.ts,"
            " e.trip_ids::text[]"
            " from coco.mds_event e join coco.mds_vehicle v using (device_id)"
            " order by v.serial, e.ts")
        for serial, events, state, at, trips in cursor:
            event, = events
            found.setdefault(serial, []).append((event, state, at,
                                                 tuple(trips)))
    return found


def check_legal(events):
    """Each from where the one before has led, and later than it."""
    state, before = "removed", None
    for event, after, at, _ in events:
        assert (state, event, after) in TRANSITIONS, (state, event, after)
        assert before is None or at > before
        state, before = after, at
