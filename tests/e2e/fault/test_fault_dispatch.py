"""What the supply says while its parts are cut, stopped and killed under load:
the truth, or that it is partial, or 503; and soon after, the zone serves again
by itself. One stack and one load for all; each test has its fault.

COCO_FAULT_SEED makes another choice of what is asked for (1).
"""

import collections
import os
import re
import signal
import threading
import time

import processes
import pytest
import redis
from field import SEED
from fleet_client import LABOR, FleetClient, install
from harness import System, await_for, heartbeat, new_serial, now_ms
from stack import Stack
from supply_fleet import Site
from supply_load import (BOUND, GOOD, LOST, PARTIAL, UNAVAILABLE, WRONG,
                         Load)
from test_fault_recovery import continue_postgres, stop_postgres

SETTLED = 15.0      # seconds after which nothing excuses any more
# Seconds until the zone serves again: who found nobody for a while asks again
# within three.
BACK = 10.0
STALE = 0.6         # seconds after its last stamp nothing is served from it
SLOWEST = 6.0       # seconds: statements and waits, one after another

# What an answer may be during a fault, beside good, by what is asked for.
NOTHING = {}
NO_REDIS = {"robot": {PARTIAL}}
NO_POSTGRES = {"robot": {PARTIAL, UNAVAILABLE},
               "supply": {PARTIAL, UNAVAILABLE},
               "quote": {PARTIAL, UNAVAILABLE}, "hold": {UNAVAILABLE},
               "release": {UNAVAILABLE}, "edit": {UNAVAILABLE},
               "labor": {UNAVAILABLE}, "grpc": {UNAVAILABLE}}
KINDS = ("robot", "labor", "supply", "grpc", "quote", "hold", "release",
         "edit")
LOSSES = {kind: {LOST} for kind in KINDS}
LOSSES["grpc"] = {UNAVAILABLE}
LATE = {kind: {PARTIAL, UNAVAILABLE} for kind in KINDS}
KILLED = "worker process \\d+ exited on signal 9"


class Scene:
    """The stack, its load, and the fault of one test."""

    def __init__(self, stack, system, load):
        self.stack, self.system, self.load = stack, system, load
        self.redis = system.redis
        self.begun = time.monotonic()
        self.logged = len(stack.log("nginx"))

    def metric(self, name):
        text = self.system.http.get(self.system.url + "/metrics",
                                    timeout=5).text
        return float(re.search(r"(?m)^%s (\S+)$" % re.escape(name),
                               text).group(1))

    def owed(self):
        """Copies that the worker has still to remove: their robots have none
        then, until they speak again."""
        return self.system.metric("coco_redis_owed")

    def fresh(self):
        return self.metric("coco_zone_fresh") == 1

    def await_fresh(self, seconds=60):
        """What nginx says of it is shown when it is not."""
        try:
            await_for("the zone is fresh", self.fresh, seconds)
        except AssertionError as e:
            said = [row for row in
                    self.stack.log("nginx")[self.logged:].splitlines()
                    if re.search("zone|redis|postgres", row)]
            raise AssertionError("\n".join([str(e), *said[-20:]])) from None

    def good(self, kind, since, count=1):
        return sum(a.kind == kind and a.outcome == GOOD
                   for a in self.load.since(since)) >= count

    def go_on(self, count=20, kinds=("robot", "quote")):
        """So many more good answers of each."""
        now = time.monotonic()
        for kind in kinds:
            await_for("more good answers",
                      lambda: self.good(kind, now, count))

    def end(self, excuses=NOTHING, alerts=None):
        """The fault is over. `alerts`: what nginx may say of processes that
        the test has killed."""
        over = time.monotonic()
        await_for("the zone serves", lambda: any(
            a.hit for a in self.load.since(over)), BACK)
        self.await_fresh(BACK)
        back = time.monotonic() - over
        for kind in KINDS:
            await_for("a good " + kind, lambda: self.good(kind, over),
                      SETTLED)
        await_for("Redis is owed nothing", lambda: self.owed() == 0, SETTLED)
        self.await_copies(now_ms())
        await_for("no process is without its backends", self.calm, SETTLED)
        now = now_ms()
        self.await_copies(now)
        await_for("it is shown", lambda: all(
            self.system.get("/robots/" + r.serial)["telemetry"]["ts"] >= now
            for r in self.load.robots), BOUND)
        settled = time.monotonic()
        self.go_on()

        assert not self.load.errors, self.load.errors
        answers = self.load.since(self.begun)
        self._judge([a for a in answers if a.asked < settled], excuses)
        self._judge([a for a in answers if a.asked >= settled], NOTHING)
        slow = max(answers, key=lambda a: a.answered - a.asked)
        assert slow.answered - slow.asked <= SLOWEST, slow
        self._judge_log(alerts)
        return self._line(back, answers, slow)

    def await_copies(self, ts):
        """As new as that."""
        await_for("a new copy of each robot in Redis", lambda: all(
            (self.system.cached(r.serial) or {"ts": 0})["ts"] >= ts
            for r in self.load.robots), SETTLED)

    def calm(self):
        """Each process of nginx connects again in its own time: for half a
        second all is well, whoever answered."""
        lately = self.load.since(time.monotonic() - 0.5)
        return lately and all(a.outcome == GOOD for a in lately)

    @staticmethod
    def _judge(answers, excuses):
        bad = [a for a in answers if a.outcome != GOOD
               and a.outcome not in excuses.get(a.kind, ())]
        assert not bad, "%d of %d:\n%s" % (
            len(bad), len(answers), "\n".join(map(str, bad[:10])))

    def _judge_log(self, alerts):
        said = [row for row in
                self.stack.log("nginx")[self.logged:].splitlines()
                if re.search(r"\[(alert|emerg|crit)\]", row)
                and not (alerts and re.search(alerts, row))]
        assert not said, said[:5]

    @staticmethod
    def _line(back, answers, slow):
        counts = collections.Counter(a.outcome for a in answers)
        return "back=%.2fs slowest=%s,%.2fs hits=%d %s" % (
            back, slow.kind, slow.answered - slow.asked,
            sum(a.hit for a in answers),
            " ".join("%s=%d" % pair for pair in counts.most_common()))


@pytest.fixture(scope="module")
def supplied():
    """A stack with the load on it."""
    install()
    with Stack() as stack:
        stack.up()
        env = stack.env()
        system = System(env)
        grpc = FleetClient(env["COCO_GRPC"], system.token)
        prefix = new_serial("supply")
        load = Load(env, [Site(prefix, n) for n in range(6)], grpc, SEED)
        first = [(robot.serial, heartbeat(
            now_ms(), "PARKED", latitude=robot.latitude,
            longitude=robot.longitude)) for robot in load.robots]
        system.publish(*first)
        await_for("all robots are in the supply", lambda: len(
            system.get("/supply", limit=100)["items"]) == len(first))
        for serial, beat in first:
            system.await_cached(serial, beat["ts"])
        grpc.call(LABOR, "Get", {"serial": first[0][0]})    # node is up
        load.start()
        try:
            yield stack, system, load
        finally:
            load.close()
            grpc.close()
            system.close()


@pytest.fixture
def scene(supplied):
    stack, system, load = supplied
    for name in ("postgres", "redis", "worker", "nginx"):
        try:
            stack.pid(name)
        except FileNotFoundError:
            stack.restart(name)
    one = Scene(stack, system, load)
    one.await_fresh()
    load.answers = []           # those of before were judged
    one.begun = time.monotonic()
    one.go_on()
    return one


@pytest.fixture
def say(request, capsys):
    def say(line):
        with capsys.disabled():
            print("\n  %-24s %s" % (request.node.name[5:], line))
    return say


def await_cut(scene):
    await_for("the zone is not fresh", lambda: not scene.fresh())


# --- the load itself

def test_nothing(scene, say):
    """Without a fault everything is good, and every judge was asked."""
    begun = scene.begun
    for kind in KINDS:
        await_for("good answers: " + kind,
                  lambda: scene.good(kind, begun, 5))
    say(scene.end())


def test_finds_what_is_old(scene):
    """An edit that the load takes for made, and never was, in a place where
    there are no others."""
    robot = scene.load.sites[-1].robots[0]
    robot.edit.begin(1)()
    try:
        await_for("each that shows edits is wrong", lambda: {
            a.kind for a in scene.load.since(scene.begun)
            if a.outcome == WRONG} == {"robot", "labor", "supply", "grpc",
                                       "quote"})
    finally:
        robot.edit.begin(0)()
    said = {a.kind for a in scene.load.since(scene.begun)
            if "edit 0, PARKED: not of" in str(a.detail)}
    assert said == {"robot", "supply"}
    # whichever came first
    with pytest.raises(AssertionError, match=": not of"):
        scene.end()


# --- Redis

def test_redis_flushed(scene, say):
    for _ in range(3):
        scene.redis.flushall()
        scene.go_on()
    say(scene.end())


def test_redis_killed(scene, say):
    scene.stack.kill("redis")
    await_cut(scene)
    scene.go_on(kinds=("quote", "edit", "hold"))
    scene.stack.restart("redis")
    say(scene.end(NO_REDIS))


def test_redis_stopped(scene, say):
    pid = scene.stack.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    try:
        await_cut(scene)
        await_for("robots without Redis", lambda: 20 <= sum(
            a.kind == "robot" and a.outcome == PARTIAL
            for a in scene.load.since(scene.begun)))
    finally:
        os.kill(pid, signal.SIGCONT)
    say(scene.end(NO_REDIS))


def test_redis_paused(scene, say):
    """It takes commands and answers none, for long enough to be seen."""
    scene.redis.execute_command("client", "pause", 3000, "all")
    await_cut(scene)
    scene.redis.ping()
    say(scene.end(NO_REDIS))


# --- the feed alone

def test_subscriptions_killed(scene, say):
    for _ in range(5):
        scene.redis.execute_command("client", "kill", "type", "pubsub")
        scene.go_on(10)
    say(scene.end())


def test_channels_forbidden(scene, say):
    """Who listens is thrown out, and who publishes is refused; it removes the
    copies of those that it cannot tell of."""
    scene.redis.execute_command("acl", "setuser", "default", "resetchannels")
    try:
        await_cut(scene)
        scene.go_on()
    finally:
        scene.redis.execute_command("acl", "setuser", "default",
                                    "allchannels")
    say(scene.end())


# --- Postgres

def test_postgres_killed(scene, say):
    scene.stack.kill("postgres")
    await_cut(scene)
    await_for("quotes of what was known", lambda: any(
        a.kind == "quote" and a.outcome == PARTIAL
        for a in scene.load.since(scene.begun)))
    scene.stack.restart("postgres")
    say(scene.end(NO_POSTGRES))


def test_postgres_stopped(scene, say):
    stop_postgres(scene)
    try:
        await_cut(scene)
        await_for("requests whose time is over", lambda: 5 <= sum(
            a.outcome == UNAVAILABLE for a in scene.load.since(scene.begun)))
    finally:
        continue_postgres(scene)
    say(scene.end(NO_POSTGRES))


# --- the worker

def test_worker_killed(scene, say):
    scene.stack.kill("worker")
    await_cut(scene)
    scene.go_on()
    scene.stack.restart("worker")
    say(scene.end())


# --- nginx

def test_nginx_reloaded(scene, say):
    """No answer is lost, and the old processes go."""
    for _ in range(10):
        old = processes.reload(scene.stack)
        scene.go_on(5)
        await_for("the old ones are gone", lambda: not set(old) & set(
            processes.workers(scene.stack)))
    say(scene.end())


def test_lease_holder_stopped(scene, say):
    """Another one takes over; what the first has answers late, or finds that
    its time is over."""
    pid = processes.holder(scene.system, scene.stack)
    processes.stop_outside(pid)
    stopped = time.monotonic()
    try:
        # what the first has stamped is too old by then
        await_for("another one takes over", lambda: any(
            a.hit for a in scene.load.since(stopped + STALE)))
    finally:
        os.kill(pid, signal.SIGCONT)
    say(scene.end(LATE))


def test_nginx_processes_killed(scene, say):
    for _ in range(2):
        for pid in processes.workers(scene.stack):
            processes.kill(scene.stack, [pid])
            scene.go_on(5)
        processes.kill(scene.stack, processes.workers(scene.stack))
        scene.go_on(5)
    say(scene.end(LOSSES, alerts=KILLED))


class Flood(threading.Thread):
    """A worker that has very much to say: telemetry of the robots, where they
    stand anyway; and a beat after it, as a worker owes one."""

    LINES = 1000

    def __init__(self, scene):
        super().__init__(daemon=True)
        self.redis = redis.Redis.from_url(scene.stack.redis_url)
        robots = scene.load.robots
        self.text = "@flood\n" + "".join(
            self._line(robots[n % len(robots)], n) for n in range(self.LINES))
        self.sent, self.error, self.over = 0, None, threading.Event()
        self.start()

    @staticmethod
    def _line(robot, n):
        return "%s T %d %d 80 TIME TIME %s 1\n" % (
            robot.serial, round(robot.latitude * 1e7),
            round(robot.longitude * 1e7),
            "ffffffff-ffff-8fff-bfff-%012x" % n)

    def run(self):
        try:
            while not self.over.wait(0.01):
                self.redis.publish("coco.supply", self.text.replace(
                    "TIME", str(now_ms())))
                self.redis.publish("coco.supply", "@flood")
                self.sent += self.LINES
            self.redis.publish("coco.supply", "@flood bye")
        except redis.RedisError as e:       # shown by end()
            self.error = e

    def end(self):
        self.over.set()
        self.join()
        assert self.error is None, self.error


def test_killed_while_it_writes(scene, say):
    """With the mutex, alone or all at once, until the zone was found broken
    some times."""
    before = scene.metric("coco_zone_resets_total")
    flood = Flood(scene)
    try:
        for kills in range(1, 41):
            everyone = processes.workers(scene.stack)
            pid = processes.stop_inside(everyone)
            processes.kill(scene.stack, [pid] if kills % 2 else everyone)
            scene.await_fresh()
            if scene.metric("coco_zone_resets_total") >= before + 2:
                break
        resets = scene.metric("coco_zone_resets_total") - before
    finally:
        flood.end()
    assert resets >= 2, (kills, flood.sent)
    assert re.search(r"\[error\] .*a process died while it wrote the fleet",
                     scene.stack.log("nginx")[scene.logged:])
    say("kills=%d resets=%d lines=%d " % (kills, resets, flood.sent)
        + scene.end(LOSSES, alerts=KILLED + "|was locked by"))
