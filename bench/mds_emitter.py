"""The emitter of MDS' events over a backlog: facts of 1,000 robots' deliveries
that wait for it."""

import contextlib
import time

import psycopg2

import common

ROBOTS = 1000
TRIPS = 3               # of each robot
STATUSES = ("Assigned", "EnrouteToPickup", "AtPickup",
            "LoadedWaitingForPilot", "EnrouteToDropoff", "AtDropoff",
            "Completed")
ROUNDS = 3
BACK_MS = 120000        # before now the robots were heard of
DEADLINE = 60           # s for one round

# One after another as they happened to all robots, after the heartbeats.
FILL = """
    insert into coco.mds_fact (serial, ts, kind, data)
    select 'sim-' || lpad(r::text, 4, '0'),
           now() - interval '1 minute'
           + (t * array_length(%(statuses)s, 1) + number)
             * interval '1 second',
           'DELIVERY', jsonb_build_object(
               'trip', trip, 'delivery', trip, 'status', status,
               'requestedAt', coco.to_ms(now() - interval '2 minutes'))
      from (select r, t, gen_random_uuid() as trip
              from generate_series(1, %(robots)s) r,
                   generate_series(0, %(trips)s - 1) t) trips,
           unnest(%(statuses)s) with ordinality s (status, number)
     order by t, number, r"""


class Rows:
    def __init__(self, stack):
        self.pg = psycopg2.connect(stack.postgres)
        self.pg.autocommit = True

    def one(self, statement):
        with self.pg.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def fill(self):
        with self.pg.cursor() as cursor:
            cursor.execute("truncate coco.mds_event, coco.mds_trip")
            cursor.execute(FILL, {"robots": ROBOTS, "trips": TRIPS,
                                  "statuses": list(STATUSES)})

    def settled(self):
        """Nothing waits."""
        return not self.one("select exists (select from coco.mds_fact)")

    def check(self):
        """Every trip was told from its beginning to its end, with places."""
        trips = self.one("select count(*) from coco.mds_trip"
                         " where end_time is not null"
                         "  and start_latitude is not null")
        if trips != ROBOTS * TRIPS:
            raise RuntimeError("%d trips were told, not %d" % (
                trips, ROBOTS * TRIPS))


def measure(stack, rows):
    """(facts per second, events per second, CPU us of each fact)"""
    count = ROBOTS * TRIPS * len(STATUSES)
    cpu = common.Cpu(**{"coco-worker": stack.pid("worker"),
                        "Postgres": stack.pid("postgres")})
    rows.fill()
    filled = cpu.spent()["Postgres"]
    began = time.monotonic()
    common.wait_for(rows.settled, DEADLINE, "the last fact", every=0.05)
    seconds = time.monotonic() - began
    spent = cpu.spent()
    spent["Postgres"] -= filled
    rows.check()
    events = rows.one("select count(*) from coco.mds_event")
    return count / seconds, events / seconds, {
        name: us / count for name, us in spent.items()}


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis mqtt worker"))
        stack.up()
        common.sim(stack.mqtt_port, "--robots", ROBOTS, "--burst", ROBOTS,
                   "--start-ms", common.now_ms() - BACK_MS)
        rows = Rows(stack)
        common.wait_for(lambda: rows.settled() and rows.one(
            "select count(*) from coco.mds_vehicle") == ROBOTS, 30,
            "the robots")
        done = [measure(stack, rows) for _ in range(ROUNDS)]

    common.say("  " + "  ".join("%.0f/s" % facts for facts, _, _ in done))
    table.add("MDS: facts told of %d that wait" % (
        ROBOTS * TRIPS * len(STATUSES)),
        common.median([facts for facts, _, _ in done]), "/s")
    table.add("  as events", common.median([made for _, made, _ in done]),
              "/s")
    for process in done[0][2]:
        table.add("  CPU of %s, each fact" % process,
                  common.median([cpu[process] for _, _, cpu in done]), "us")
