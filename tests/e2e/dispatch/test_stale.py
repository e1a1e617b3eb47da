"""After a write has answered, no later read on that host shows what was
before, and on another host none after a second."""

import os
import time
from types import SimpleNamespace

import pytest

import fleet_client
from dispatch_field import Nginx
from harness import System
from stack import PortBlock, Stack
from stale_race import CLEAN, SETTLED, Race, Version

SECONDS = float(os.environ.get("COCO_STALE_SECONDS", "30"))
SEED = int(os.environ.get("COCO_STALE_SEED", "1"))
ROBOTS = 48
# room for the fleet, and for fewer documents than there are robots
ZONE = "256k robots=64"


@pytest.fixture(scope="module")
def system():
    with Stack(only="postgres redis mqtt worker nginx") as stack:
        stack.up()
        one = System(stack.env())
        stack.kill("nginx")     # two others are started
        one.stack = stack
        yield one
        one.close()


@pytest.fixture(scope="module")
def hosts(system):
    fleet_client.install()
    block, started = PortBlock(), []
    try:
        for i in range(2):
            started.append(Nginx(system.stack, block.first + 2 * i, (
                (r"coco_dispatch_reach \w+", "coco_dispatch_reach 100"),),
                zone=ZONE))
        yield started
        for one in started:
            one.close()
    finally:
        for one in started:
            one.kill()
        block.release()


def test_an_old_answer_is_found():
    """By the same rules, and no newer one is taken for it."""
    here, there = hosts = object(), object()
    race = Race(SimpleNamespace(token=""), hosts, 4, SEED)
    robot, now = race.robots[0], time.monotonic()
    for count, age in ((1, 9), (2, SETTLED / 2), (3, None)):
        robot.versions.append(Version(None, here, business={
            **CLEAN, "hasFood": count == 2, "deployed": {"id": count}}))
        robot.versions[-1].answered = age and now - age

    def stale(host, begun, version):
        race.stale.clear()
        for part in ("robot", "reasons"):
            race.see("test", host, begun, robot, part,
                     getattr(robot.versions[version], part)())
        return len(race.stale)

    assert [stale(here, now, version) for version in range(3)] == [1, 0, 0]
    assert stale(here, now - SETTLED, 0) == 0, "it began before"
    assert [stale(there, now, version) for version in range(3)] == [0, 0, 0]
    assert stale(there, now + SETTLED, 0) == 1
    robot.versions[-1].answered = now
    assert [stale(here, now + 1, version) for version in range(3)] == [
        1, 2, 0]


def missed(race):
    """What there was too little of."""
    wanted = dict.fromkeys((
        "robot", "list", "supply", "quote", "labor", "grpc", "robot hits",
        "labor hits", "grpc hits", "holds", "all invalid", "reloads"), 1)
    wanted.update(writes=10 * SECONDS, reads=50 * SECONDS)
    with race.counting:
        return {kind: race.counts[kind] for kind, count in wanted.items()
                if race.counts[kind] < count}


def test_no_answer_is_stale(system, hosts):
    race = Race(system, hosts, ROBOTS, SEED)
    race.prepare()
    assert all(kept < ROBOTS for kept in race.kept()), "none is evicted"
    race.run(SECONDS, lambda: not missed(race))
    print("\n%s, stale=%d" % (", ".join(
        "%s=%d" % one for one in sorted(race.counts.items())),
        len(race.stale)))
    for one in race.stale[:20]:
        print(one)
    assert not race.stale, "%d stale answers" % len(race.stale)

    assert not missed(race), "it was no race"
