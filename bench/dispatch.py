"""What the benchmarks of Fleet and Dispatch share: a stack whose nginx gives
way to theirs, robots of whom Postgres tells, and what metrics say."""

import contextlib
import io
import os
import re
import signal
import sys
import urllib.request

import numpy as np
import psycopg2

import common
import read

sys.path.insert(0, os.path.join(common.ROOT, "tests", "planner"))

import planner as tool  # noqa: E402

# They were heard a while from now, so that they are online for long.
LOAD = """
    insert into coco.resource (id, data, telemetry_id, telemetry_ts,
                               telemetry_order_ts, business_changed_at)
    select id, coco.supply_blank(id) || jsonb_build_object(
               'status', 'ONLINE', 'battery', battery, 'healthy', true,
               'lastSynced', coco.to_ms(at), 'operationState', 'PARKED',
               'driveable', true, 'location', jsonb_build_object(
                   'latitude', latitude, 'longitude', longitude)),
           gen_random_uuid(), at, at, at
      from robot, (select now() + interval '10 minutes' as at) heard"""


@contextlib.contextmanager
def stack():
    with common.private_stack(only="postgres redis mqtt worker nginx") as s:
        s.up()
        pid = s.pid("nginx")
        os.kill(pid, signal.SIGTERM)
        common.wait_for(lambda: not os.path.exists("/proc/%d" % pid), 30,
                        "the end of the stack's nginx")
        yield s


class Server:
    """Ours in one process, on the first CPU if `pinned`; complete once it is
    fresh and holds so many robots. `http2` is the port of a listener more."""

    def __init__(self, stack, zone, robots, pinned=True):
        self.port = stack.port + 4      # of servers that do not run here
        self.http2 = stack.port + 8
        self.grpc = stack.free_port
        self.url = "http://127.0.0.1:%d" % self.port
        conf = re.sub(r"(?m)^(\s*)coco_zone [^;]*;", r"\1coco_zone %s;" % zone,
                      read.ours(stack, self.port))
        listen = "listen 127.0.0.1:%d" % self.port
        conf = conf.replace(listen + ";", "%s; listen 127.0.0.1:%d http2;" % (
            listen, self.http2))
        if not pinned:
            conf = conf.replace("worker_cpu_affinity 01;\n", "")
        self.stack = stack
        self.nginx = read.Nginx(stack.folder, "ours.conf", conf)
        try:
            common.wait_for(lambda: self.complete(robots), 30, "the zone")
        except BaseException:
            self.nginx.close()
            raise

    def complete(self, robots):
        try:
            zone = self.metrics()
        except OSError:
            return False
        return zone["coco_zone_fresh"] == 1 \
            and zone["coco_zone_robots"] >= robots

    def metrics(self):
        """{name with its labels: value}"""
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in lines if line[0] != "#")}

    def worker(self):
        """The pid of the process that serves."""
        with open("/proc/%d/task/%d/children" % (
                (self.nginx.process.pid,) * 2)) as file:
            return int(file.read())

    def close(self):
        if self.nginx.process.poll() is None:
            self.nginx.close()


def ratio(done, ours, peer):
    """The median of that in each round: the machine's speed changes."""
    return common.median([a / b for a, b in zip(done[ours], done[peer])])


def robots(stack, supply):
    """Fills coco.resource with an array's rows: number, latitude, longitude,
    battery."""
    rows = io.BytesIO()
    np.savetxt(rows, supply, fmt=("sim-%06d", "%.7f", "%.7f", "%.3f"),
               delimiter="\t")
    rows.seek(0)
    with contextlib.closing(psycopg2.connect(stack.postgres)) as pg:
        pg.autocommit = True
        cursor = pg.cursor()
        cursor.execute("create temp table robot (id text, latitude float8,"
                       " longitude float8, battery float8)")
        cursor.copy_expert("copy robot from stdin", rows)
        cursor.execute("truncate coco.resource")
        cursor.execute(LOAD)
        # as autovacuum would, a minute later
        cursor.execute("vacuum analyze coco.resource")


def city(trips, robots, seed=1):
    """(trips, supply) as the supply's line tells them, none to come later."""
    trip, supply = tool.city(np.random.default_rng(seed), trips, robots)
    trip[:, 4] = 0
    supply[:, 1:3] = np.round(supply[:, 1:3], 7)
    supply[:, 3] = np.round(supply[:, 3], 3)
    return trip, supply


def trip_body(trip):
    return {"pickup": dict(zip(("latitude", "longitude"), trip[:2])),
            "dropoff": dict(zip(("latitude", "longitude"), trip[2:4]))}
