"""What the dispatch suites share: the supply as HTTP, the database and the bus
show it, robots and their deliveries, and more hosts with an nginx. It must
never write what the tests then read but as robots and operators do.
"""

import json
import os
import re
import signal
import subprocess

import requests

from bus import Bound
from harness import System, await_for, heartbeat, new_serial, now_ms

NGINX = os.environ.get("COCO_NGINX", "nginx")
EVENT = "DispatchEngine.SupplyEvent"

# LegacyRobot
FIELDS = {"serial", "status", "battery", "lastSynced", "healthy", "deployed",
          "location", "futureDemand", "activeDemand", "needsMovement",
          "hasFood", "tripType", "needsMaintenance", "needsPickup",
          "driveable", "operationState", "attemptCancellationReason",
          "undergoingMaintenance"}

PLACES = {"pickup": {"latitude": 37.77, "longitude": -122.41},
          "dropoff": {"latitude": 37.775, "longitude": -122.405}}


class Field(System):
    """A running system, and whom the bus tells of its supply."""

    def __init__(self, stack):
        env = stack.env()
        super().__init__(env)
        self.stack = stack
        self.bound = Bound(env["COCO_AMQP_URL"], [EVENT])

    def close(self):
        self.bound.close()
        super().close()

    def told(self, serial, since=0):
        """What the bus told of a robot, after so many messages."""
        return [json.loads(message.payload)["data"]
                for message in self.bound.messages[since:]
                if message.key == serial]

    def supply(self, **params):
        """{serial: row}, page by page."""
        return {row["serial"]: row for row in
                self.items("/supply", limit=500, **params)}

    def supply_of(self, serial):
        items = self.get("/supply", serial=serial)["items"]
        assert items, "%s is not in the supply" % serial
        row, = items
        assert set(row) == FIELDS | {"usable", "reasons"}
        return row

    def resource(self, serial):
        data = self.value("select data from coco.resource where id = %s",
                          serial)
        assert data and set(data) == FIELDS
        return data

    def patch(self, serial, **members):
        return self.call("PATCH", "/robots/" + serial, json=members)

    def deliver(self, **members):
        return Delivery(self, self.call("POST", "/deliveries", 201,
                                        json={**PLACES, **members})["id"])

    def demand(self, serial, **members):
        """Its id."""
        return self.call("POST", "/demands", 201, json={
            **PLACES, "serial": serial, **members})["id"]

    def await_seen(self, probe, seconds=60):
        """Of what was acknowledged: how soon hosts see it is for test_stale to
        judge."""
        await_for("it is seen", probe, seconds)

    def await_quotable(self, robot, url=None):
        """This host has it where it stands, and it is the nearest."""
        self.await_seen(lambda: self.quote(robot.place, url=url)["serial"]
                        == robot.serial)

    def quote(self, pickup, dropoff=None, url=None, status=200, explain=False,
              **members):
        """From this host or the one of that URL."""
        reply = self.http.post(
            (url or self.url) + "/quote", timeout=15,
            params={"explain": 1} if explain else None,
            json={"pickup": pickup, "dropoff": dropoff or pickup, **members})
        assert reply.status_code == status, reply.text
        return reply.json()


class Delivery:
    def __init__(self, field, id):
        self.field, self.id = field, id

    def do(self, word, **body):
        return self.field.call("POST", "/deliveries/%s/%s" % (self.id, word),
                               **({"json": body} if body else {}))

    def demand(self):
        """As GET /demands shows it."""
        demand, = [d for d in self.field.items("/demands", limit=500)
                   if d["id"] == self.id]
        return demand

    def await_status(self, status):
        await_for("%s of %s" % (status, self.id), lambda: self.field.get(
            "/deliveries/" + self.id)["status"] == status)


class Robot:
    """Its heartbeats, and what is shown of it."""

    def __init__(self, field, place=PLACES["pickup"], state="PARKED",
                 **members):
        self.field, self.serial = field, new_serial("dispatch")
        self.place, self.said = dict(place), 0
        self.ts = 0
        self.beat(state, **members)

    def beat(self, state=None, ago=0, **members):
        """Publishes a heartbeat that is so many ms old, newer than the last
        one; returns it."""
        self.ts = max(self.ts + 1, now_ms() - ago)
        beat = heartbeat(self.ts, state, location={**self.place, "speed": 0},
                         **members)
        self.said = len(self.field.bound.messages)
        self.field.publish((self.serial, beat))
        return beat

    def patch(self, **members):
        self.said = len(self.field.bound.messages)
        self.field.patch(self.serial, **members)

    def event(self, kind, **members):
        self.field.publish((self.serial, {"type": kind, "ts": now_ms(),
                                          **members}), kind="events")

    def shown(self, seconds=60, **members):
        """The members are so in GET /supply, in coco.resource, and the bus
        told of each since the last heartbeat or patch. A function for a value
        is a check."""
        for what, of in (("GET /supply", self.field.supply_of),
                         ("coco.resource", self.field.resource)):
            await_for("%s of %s in %s" % (members, self.serial, what),
                      lambda: not differs(of(self.serial), members), seconds)
        await_for("%s of %s on the bus" % (members, self.serial), lambda: all(
            any(name in data and not differs(data, {name: wanted})
                for data in self.field.told(self.serial, self.said))
            for name, wanted in members.items()), seconds)
        self.said = len(self.field.bound.messages)

    def reasons(self):
        return self.field.supply_of(self.serial)["reasons"]


def differs(row, members):
    """What is not as it should be, by name."""
    return {name: row[name] for name, wanted in members.items()
            if not (wanted(row[name]) if callable(wanted)
                    else row[name] == wanted)}


class Nginx:
    """One more host: an nginx of its own, on two ports, with its own zone,
    over the stack's backends."""

    def __init__(self, stack, port, changes=(), zone=None):
        self.stack, self.port = stack, port
        self.http = "http://127.0.0.1:%d" % port
        self.grpc = "127.0.0.1:%d" % (port + 1)
        name = "host-%d" % port
        self.log_path = os.path.join(stack.folder, "log", name + ".log")
        conf = os.path.join(stack.folder, name + ".conf")
        prefix = os.path.join(stack.folder, name)
        os.makedirs(prefix, exist_ok=True)
        with open(os.path.join(stack.folder, "coco.conf")) as file:
            text = file.read()
        for pattern, value in (
                (r":%d;" % stack.port, ":%d;" % port),
                (r":%d http2;" % (stack.port + 7), ":%d http2;" % (port + 1)),
                (r"coco_edge \S+;", "coco_edge %s;" % name),
                *([(r"coco_zone [^;]*;", "coco_zone %s;" % zone)] if zone
                  else []), *changes):
            text, count = re.subn(pattern, value, text)
            assert count == 1, pattern
        with open(conf, "w") as file:
            file.write(text)
        open(self.log_path, "w").close()
        self.process = subprocess.Popen(
            [NGINX, "-p", prefix, "-c", conf, "-e", self.log_path, "-g",
             'daemon off; pid "%s"; error_log "%s" notice;' % (
                 os.path.join(stack.folder, name + ".pid"), self.log_path)])
        await_for("nginx answers", lambda: requests.get(
            self.http + "/healthz", timeout=5).ok)
        await_for("its zone is fresh",
                  lambda: self.metrics()["coco_zone_fresh"] == 1)

    def metrics(self):
        """The numbers by name; labels are part of it."""
        text = requests.get(self.http + "/metrics", timeout=5).text
        return {name: float(value) for name, value in
                (row.rsplit(" ", 1) for row in text.splitlines()
                 if row and not row.startswith("#"))}

    def workers(self):
        path = "/proc/%d/task/%d/children" % ((self.process.pid,) * 2)
        with open(path) as file:
            return set(map(int, file.read().split()))

    def reload(self):
        """Returns once new processes are there."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        await_for("new workers", lambda: self.workers() - old)

    def kill(self):
        """Whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def close(self):
        self.kill()
        with open(self.log_path, errors="replace") as file:
            bad = re.findall(r".*(?:\[alert\]|\[emerg\]|on signal (?!9)).*",
                             file.read())
        assert not bad, bad
