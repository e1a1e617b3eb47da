"""The race for a stale answer: readers and writers on two hosts, while robots
are heard, documents are evicted, all is called invalid, and both nginxes are
reloaded.

A robot is written by one writer at a time, and each of its states is a
version. A read knows the oldest version that it may show: what was answered
before it began, on its host, or a second before that on the other one.
"""

import collections
import http.client
import json
import random
import threading
import time
import uuid

import redis

from fleet_client import LABOR, OK, FleetClient
from harness import await_for, heartbeat, new_serial, now_ms

SETTLED = 1.0           # s, until the other host has heard of a write
STATES = ("PARKED", "GROUNDED", "DEPLOYED", "OFF_DUTY", "ON_TRIP")
FLAGS = ("needsPickup", "needsMaintenance", "hasFood", "driveable")
OF_THE_TRIP = {"TOO_FAR", "BATTERY_RANGE", "OUT_OF_AREA"}
CLEAN = dict(needsPickup=False, needsMaintenance=False, hasFood=False,
             driveable=True, operationState="PARKED")
DEMANDS = {"Assigned": "PENDING", "EnrouteToPickup": "ACTIVE",
           "AtPickup": "ACTIVE"}
PATIENCE = 20           # s, until a write is answered


class Version:
    """business: as a PATCH gives it; delivery: (id, status). answered: when,
    None until then; nothing older may be seen after."""

    def __init__(self, before, host=None, **changes):
        old = before.__dict__ if before else {}
        self.business = dict(changes.get("business",
                                         old.get("business", {})))
        self.delivery = changes.get("delivery", old.get("delivery"))
        self.held = changes.get("held", old.get("held", False))
        self.host, self.answered = host, None
        self.request = None             # that made it

    # what the endpoints show of it

    def robot(self):
        return (*(self.business[name] for name in FLAGS),
                self.business["operationState"],
                self.business["deployed"]["id"])

    def state(self):
        return self.business["operationState"]

    def demand(self):
        return self.delivery and (self.delivery[0],
                                  DEMANDS[self.delivery[1]])

    def served(self):
        return self.delivery

    def reasons(self):
        b, state = self.business, self.business["operationState"]
        return frozenset(name for name, applies in (
            ("NOT_DRIVEABLE", not b["driveable"]),
            ("MAINTENANCE", b["needsMaintenance"]),
            ("NEEDS_PICKUP", b["needsPickup"]), ("HAS_FOOD", b["hasFood"]),
            ("HELD", self.held), ("BUSY", self.delivery is not None),
            (state, state in ("ON_TRIP", "OFF_DUTY", "GROUNDED"))) if applies)


class Robot:
    def __init__(self, number):
        self.serial = new_serial("race")
        # out of the reach of all others
        self.place = {"latitude": -10 + number * 0.01, "longitude": 20.0}
        self.lock = threading.Lock()            # of its writer
        self.count = 0
        self.versions = []
        self.moving = None                      # the id of its delivery

    def oldest(self, host, begun):
        """The index of the oldest version that a read may show."""
        for i in range(len(self.versions) - 1, -1, -1):
            version = self.versions[i]
            if version.answered is not None and begun > version.answered + (
                    0 if version.host is host else SETTLED):
                return i
        return 0


class Client:
    """One thread's connection to a host."""

    def __init__(self, race, host):
        self.race, self.host = race, host
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port,
                                                     timeout=15)

    def ask(self, method, path, body=None, key=None):
        """(status, X-Coco-Cache, decoded body); status None when there was no
        answer."""
        headers = dict(self.race.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        if key:
            headers["Idempotency-Key"] = key
        try:
            self.connection.request(method, path, body, headers)
            reply = self.connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return None, None, None
        return (reply.status, reply.getheader("X-Coco-Cache"),
                json.loads(text) if text else None)


class Race:
    def __init__(self, system, hosts, robots, seed):
        self.system, self.hosts = system, hosts
        self.headers = {"Authorization": "Bearer " + system.token}
        self.robots = [Robot(i) for i in range(robots)]
        self.by_serial = {robot.serial: robot for robot in self.robots}
        self.recent = collections.deque(self.robots[:4], maxlen=4)
        self.seed = seed
        self.counts = collections.Counter()
        self.counting = threading.Lock()
        self.stale, self.errors = [], []
        self.over = threading.Event()

    def count(self, *names):
        with self.counting:
            self.counts.update(names)

    # --- the field

    def prepare(self):
        """All robots are heard, and have a first version."""
        self.beat(self.robots)
        client = Client(self, self.hosts[0])
        for robot in self.robots:
            await_for("it is heard", lambda robot=robot: client.ask(
                "GET", "/fleet/v1/labor/robots/" + robot.serial)[0] == 200)
            self.patch(client, robot, CLEAN)
        for host in self.hosts:
            client = Client(self, host)
            for robot in self.robots:
                self.await_shown(client, robot)
        self.counts.clear()

    @staticmethod
    def await_shown(client, robot):
        """The race begins where all hosts agree."""
        def shown():
            status, _, body = client.ask("GET", "/robots/" + robot.serial)
            assert status == 200, (status, body)
            return all({**body["business"], **body}[name] == value
                       for name, value in CLEAN.items())
        await_for("a host shows what another has written", shown)

    def kept(self):
        """How many robots are still documents once all were asked for, of
        each host."""
        for host in self.hosts:
            client = Client(self, host)
            for _ in range(2):
                caches = [client.ask("GET", "/robots/" + robot.serial)[1]
                          for robot in self.robots]
            yield caches.count("HIT")

    def beat(self, robots):
        self.system.publish(*((robot.serial, heartbeat(
            now_ms(), "PARKED", location={**robot.place, "speed": 0}))
            for robot in robots))

    def run(self, seconds, enough):
        """So long, and longer on a slow machine: until enough() is true."""
        works = [(self.beats,), (self.invalidations,), (self.reloads,)]
        works += [(self.writes, i) for i in range(3)]
        for host in self.hosts:
            works += [(self.reads, host, i) for i in range(2)]
            works += [(self.grpc_reads, host)]
        threads = [threading.Thread(target=self.guard, args=work)
                   for work in works]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 5 * seconds
        self.over.wait(seconds)
        while not enough() and time.monotonic() < until:
            if self.over.wait(0.5):
                break
        self.over.set()
        for thread in threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()
        if self.errors:
            raise self.errors[0]

    def guard(self, work, *arguments):
        try:
            work(*arguments)
        except BaseException as error:
            self.errors.append(error)
            self.over.set()

    # --- disturbances

    def beats(self):
        step = 0
        while not self.over.wait(0.2):
            self.beat(self.robots[step % 5::5])
            step += 1

    def invalidations(self):
        with redis.Redis(**self.system.redis.connection_pool
                         .connection_kwargs) as client:
            while not self.over.wait(1.3):
                client.publish("coco.invalidate", '{"all":true}')
                self.count("all invalid")

    def reloads(self):
        step = 0
        while not self.over.wait(2.5):
            self.hosts[step % 2].reload()
            self.count("reloads")
            step += 1

    # --- writers

    def writes(self, number):
        rng = random.Random(self.seed + number)
        clients = [Client(self, host) for host in self.hosts]
        while not self.over.is_set():
            robot = rng.choice(self.robots)
            with robot.lock:
                client = rng.choice(clients)
                kind = rng.random()
                if kind < 0.7:
                    self.patch(client, robot, self.next_state(robot, rng))
                elif kind < 0.85:
                    self.move(client, robot)
                else:
                    self.hold(client, rng.choice(clients), robot)

    @staticmethod
    def next_state(robot, rng):
        """Flags by a counter; half of the time the state, too."""
        n = robot.count
        wanted = {name: bool(n >> i & 1) for i, name in enumerate(FLAGS)}
        if rng.random() < 0.5:
            wanted["operationState"] = STATES[(n // 2) % len(STATES)]
        return wanted

    def write(self, client, robot, version, *request):
        """Asks until it is answered: with its key it is one write, however
        often. Returns status and body."""
        key, until = str(uuid.uuid4()), time.monotonic() + PATIENCE
        version.request = request
        robot.versions.append(version)
        self.recent.append(robot)
        while True:
            status, _, body = client.ask(*request, key=key)
            if status is not None and status < 500:
                break
            self.count("writes again")
            assert time.monotonic() < until, (request, status, body)
            time.sleep(0.01)
        self.count("writes")
        return status, body

    def patch(self, client, robot, wanted):
        robot.count += 1
        wanted = {**wanted, "deployed": {
            "type": "POD", "id": "v%d" % robot.count, **robot.place}}
        before = robot.versions[-1] if robot.versions else None
        version = Version(before, client.host, business={
            **(before.business if before else {}), **wanted})
        status, body = self.write(client, robot, version, "PATCH",
                                  "/robots/" + robot.serial, wanted)
        assert status == 200, body
        version.answered = time.monotonic()

    def move(self, client, robot):
        """A delivery's next step: one of the robot's own, for ever."""
        before = robot.versions[-1]
        if before.delivery is None:
            # not where it stands: it would arrive by itself
            away = {**robot.place, "longitude": 20.1}
            status, _, body = client.ask("POST", "/deliveries", {
                "pickup": away, "dropoff": away})
            if status != 201:
                self.count("not created")
                return
            robot.moving = body["id"]
            word, body, after = "assign", {"serial": robot.serial}, "Assigned"
        else:
            word, body, after = {
                "Assigned": ("depart", None, "EnrouteToPickup"),
                "EnrouteToPickup": ("arrive", {"at": "pickup"}, "AtPickup"),
                "AtPickup": ("cancel", {"reason": "race"}, None),
            }[before.delivery[1]]
        business = dict(before.business)
        if after == "AtPickup":
            business["operationState"] = "PARKED"
        version = Version(before, client.host, business=business,
                          delivery=after and (robot.moving, after))
        status, body = self.write(
            client, robot, version, "POST", "/deliveries/%s/%s"
            % (robot.moving, word), body)
        assert status == 200, (word, body)
        version.answered = time.monotonic()

    def hold(self, client, other, robot):
        """Once the robot is usable, here, a quote here finds it; and it is
        released by whom it may be."""
        if robot.versions[-1].delivery is not None:
            return
        self.patch(client, robot, CLEAN)
        before = robot.versions[-1]
        version = Version(before, client.host, held=True)
        status, quote = self.write(client, robot, version, "POST", "/quote", {
            "pickup": robot.place, "dropoff": robot.place, "hold": True})
        assert status == 200, quote
        if not quote["feasible"]:
            self.stale.append("hold on host %d: %s was not found usable: %r"
                              % (self.hosts.index(client.host), robot.serial,
                                 quote))
            version.held = False
            return
        assert quote["serial"] == robot.serial, quote
        version.answered = time.monotonic()
        self.count("holds")
        after = Version(version, other.host, held=False)
        status, body = self.write(other, robot, after, "DELETE",
                                  "/quote/" + quote["quoteId"])
        assert status == 204, body
        after.answered = time.monotonic()

    # --- readers

    def reads(self, host, number):
        rng = random.Random(self.seed * 2 + number)
        client = Client(self, host)
        kinds = ([self.read_robot] * 10 + [self.read_labor] * 6
                 + [self.read_quote] * 2 + [self.read_list, self.read_supply])
        while not self.over.is_set():
            # what was written last, as a rule, and twice: what the first one
            # filled is there for the second
            robot = rng.choice(self.recent if rng.random() < 0.7
                               else self.robots)
            read = rng.choice(kinds)
            for _ in range(2):
                read(client, robot)

    def look(self, kind, client, path, body=None):
        """(function that makes sightings, body), or None."""
        begun = time.monotonic()
        status, cache, body = client.ask("POST" if body else "GET", path,
                                         body)
        if status != 200 or body.get("partial"):
            self.count("%s not answered" % kind)
            return None
        self.count("reads", kind, *(["%s hits" % kind] if cache == "HIT"
                                    else []))

        def seen(robot, part, value):
            self.see(kind, client.host, begun, robot, part, value, cache)
        return seen, body

    def see(self, kind, host, begun, robot, part, value, cache=None):
        """A read that began then has shown this part of a robot so."""
        oldest = robot.oldest(host, begun)
        allowed = robot.versions[oldest:]
        if any(getattr(version, part)() == value for version in allowed):
            return
        truth = allowed[0]
        shown = [oldest - i for i, version in enumerate(robot.versions)
                 if getattr(version, part)() == value]
        self.stale.append(
            "%s (%s) on host %d: %s of %s was %r, which is %s; %r since %r on"
            " host %d had answered %d ms before" % (
                kind, cache, self.hosts.index(host), part, robot.serial,
                value, "%d versions old" % min(shown) if shown
                else "none of its versions", getattr(truth, part)(),
                truth.request, self.hosts.index(truth.host),
                1000 * (begun - truth.answered)))

    def see_robot(self, seen, robot, row):
        business = row["business"]
        seen(robot, "robot", (*(business[name] for name in FLAGS),
                              row["operationState"],
                              business["deployed"]["id"]))
        delivery = row["delivery"]
        seen(robot, "served", delivery and (delivery["id"],
                                            delivery["status"]))

    def read_robot(self, client, robot):
        got = self.look("robot", client, "/robots/" + robot.serial)
        if got:
            self.see_robot(got[0], robot, got[1])

    def read_list(self, client, _):
        got = self.look("list", client, "/robots?limit=500")
        for row in got[1]["items"] if got else ():
            if row["serial"] in self.by_serial:
                self.see_robot(got[0], self.by_serial[row["serial"]], row)

    def read_supply(self, client, _):
        got = self.look("supply", client, "/supply?limit=500")
        for row in got[1]["items"] if got else ():
            robot = self.by_serial.get(row["serial"])
            if robot is None:
                continue
            got[0](robot, "robot", (*(row[name] for name in FLAGS),
                                    row["operationState"],
                                    row["deployed"]["id"]))
            got[0](robot, "reasons", frozenset(row["reasons"]))
            active = row["activeDemand"]
            got[0](robot, "demand", active and (active["id"],
                                                active["type"]))

    def read_quote(self, client, robot):
        got = self.look("quote", client, "/quote?explain=1",
                        {"pickup": robot.place, "dropoff": robot.place})
        for row in got[1]["robots"] if got else ():
            if row["serial"] in self.by_serial:
                got[0](self.by_serial[row["serial"]], "reasons",
                       frozenset(row["reasons"]) - OF_THE_TRIP)

    def read_labor(self, client, robot):
        got = self.look("labor", client, "/fleet/v1/labor/robots/"
                        + robot.serial)
        if got:
            got[0](robot, "state", got[1]["operationState"])

    def grpc_reads(self, host):
        rng = random.Random(self.seed * 3)
        client = FleetClient(host.grpc, self.system.token)
        try:
            while not self.over.is_set():
                robot = rng.choice(self.recent)
                begun = time.monotonic()
                result = client.send(LABOR, "Get", {"serial": robot.serial},
                                     deadline=10000)()
                if result["code"] != OK:
                    self.count("grpc not answered")
                    continue
                cache = result["headers"].get("x-coco-cache")
                self.count("reads", "grpc", *(["grpc hits"] if cache == "HIT"
                                              else []))
                self.see("grpc", host, begun, robot, "state",
                         result["answer"]["operationState"], cache)
        finally:
            client.close()
