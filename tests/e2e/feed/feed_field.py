"""nginx with a zone, workers that the test plays, and the rows of the supply:
what is known, and when, is the test's to say."""

import os
import re
import threading
import time

import psycopg2
import redis
import requests

from harness import await_for, now_ms
from master import Master

# More than two pages of a load, all at 0, 0.
MANY = ["many-%04d" % n for n in range(2500)]

# The way of a hundredth of a degree: distance and detour.
STEP = 1501     # metres


def line(serial, latitude, longitude=0.0, ts=None, battery=80):
    """The telemetry of a robot, as a worker publishes it."""
    ts = ts or now_ms()
    return "%s T %d %d %s %d %d %s 1\n" % (
        serial, round(latitude * 1e7), round(longitude * 1e7), battery, ts, ts,
        "11111111-1111-8111-8111-%012x" % (ts & 0xffffffffffff))


class Worker:
    """What nginx hears of a coco-worker: beats, until it is killed."""

    def __init__(self, stack, name):
        self.name = name
        self.redis = redis.Redis.from_url(stack.redis_url, socket_timeout=1)
        self.alive = True
        self.thread = threading.Thread(target=self.beat, daemon=True)
        self.thread.start()

    def beat(self):
        while self.alive:
            try:
                self.publish()
            except redis.RedisError:
                pass            # as a worker: it tries again
            time.sleep(0.1)

    def publish(self, *lines):
        self.redis.publish("coco.supply", "@%s\n%s" % (self.name,
                                                       "".join(lines)))

    def kill(self):
        self.alive = False
        self.thread.join()

    def stop(self):
        self.kill()
        self.redis.publish("coco.supply", "@%s bye" % self.name)


class Nginx(Master):
    def __init__(self, stack, changes=(), globals_="", redis_port=None,
                 zone="coco_zone 16m robots=8000;"):
        with open(os.path.join(stack.folder, "coco.conf")) as file:
            text = re.sub(r"(?m)^ *coco_zone .*\n", "", file.read())
        text = text.replace("http {", "http {\n    " + zone, 1)
        if redis_port:
            text = text.replace(":%d;" % stack.redis_port,
                                ":%d;" % redis_port)
        self.session = requests.Session()
        self.session.headers.update(stack.headers)
        super().__init__(stack, "feed", text, changes,
                         'error_log "%s" notice; %s' % (
                             os.path.join(stack.folder, "log", "feed.log"),
                             globals_))

    # --- what it says of itself

    def metrics(self):
        """The numbers by name; labels are part of it."""
        text = self.session.get(self.http + "/metrics", timeout=30).text
        return {name: float(value) for name, value in
                (row.rsplit(" ", 1) for row in text.splitlines()
                 if row and not row.startswith("#"))}

    def fresh(self):
        return self.metrics()["coco_zone_fresh"] == 1

    def await_fresh(self, wanted=True, seconds=60):
        """Returns how long it took."""
        begun = time.monotonic()
        await_for("fresh" if wanted else "not fresh",
                  lambda: self.fresh() == wanted, seconds, every=0.01)
        return time.monotonic() - begun

    def log(self, pattern=""):
        with open(self.log_path, errors="replace") as file:
            return [row for row in file.read().splitlines()
                    if re.search(pattern, row)]

    def holder(self):
        """The process that made the zone fresh last."""
        said = await_for("it says so", lambda: self.log("zone: fresh after"))
        return int(said[-1].split()[3].split("#")[0])

    # --- what it answers

    def quote(self, latitude, status=200):
        """The nearest robot's answer."""
        place = {"latitude": latitude, "longitude": 0.0}
        reply = self.session.post(self.http + "/quote", timeout=30, json={
            "pickup": place, "dropoff": place})
        assert reply.status_code == status, reply.text
        return reply.json()

    def quote_of_zone(self, latitude):
        """One that loaded nothing. While the zone is not fresh, as when a
        process was kept from running for half a second, rows are asked."""
        def probe():
            before = self.metrics()["coco_supply_loads_total"]
            quote = self.quote(latitude)
            return self.metrics()["coco_supply_loads_total"] == before \
                and quote
        return await_for("a quote from the zone", probe)

    def close(self, killed=0):
        self.session.close()
        super().close()
        bad = self.log(r"\[alert\]|\[emerg\]")
        assert len(bad) == killed, bad
        assert not self.log(r"on signal (?!9)"), self.log("on signal")


class Fleet:
    """The rows of coco.resource."""

    def __init__(self, stack):
        self.stack = stack
        self.connection = None

    def sql(self, text, *args):
        try:
            return self._sql(text, args)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self.connection = None          # the server was restarted
            return self._sql(text, args)

    def _sql(self, text, args):
        if self.connection is None:
            self.connection = psycopg2.connect(self.stack.postgres,
                                               connect_timeout=5)
            self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(text, args)
            return cursor.fetchall() if cursor.description else []

    def put(self, serials, latitude):
        """Usable robots, or others, all at one place."""
        self.sql("""
            insert into coco.resource (id, data, telemetry_id, telemetry_ts,
                                       telemetry_order_ts, business_changed_at)
            select serial, coco.supply_blank(serial)
                   || '{"status":"ONLINE","battery":80,"healthy":true}'
                   || jsonb_build_object('operationState', 'PARKED',
                          'location', jsonb_build_object(
                              'latitude', %s::float8, 'longitude', 0)),
                   gen_random_uuid(), now(), now(), now()
              from unnest(%s) serial
        """, latitude, list(serials))

    def move(self, serial, latitude):
        """As a worker does that commits, and cannot publish it."""
        self.sql("""
            update coco.resource
               set data = jsonb_set(data, '{location,latitude}',
                                    to_jsonb(%s::float8)),
                   telemetry_id = gen_random_uuid(), telemetry_ts = now(),
                   telemetry_order_ts = now()
             where id = %s
        """, latitude, serial)

    BUSINESS = """
        update coco.resource
           set data = data || jsonb_build_object('operationState', %s::text),
               business_changed_at = clock_timestamp(),
               change_txid = pg_current_xact_id()
         where id = any (%s)
    """

    def business(self, serials, state):
        """As another nginx does."""
        self.sql(self.BUSINESS, state, list(serials))
