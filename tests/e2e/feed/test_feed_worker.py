"""A real worker: what robots publish is what quotes go by, while it lives and
after it was killed."""

import contextlib
import os
import signal
import time

import psycopg2
import pytest

from feed_field import STEP, Nginx
from harness import System, await_for, heartbeat, new_serial, now_ms
from stack import Stack


@pytest.fixture(scope="module")
def stack():
    with Stack(only="postgres redis mqtt worker nginx") as servers:
        servers.up()
        yield servers


@pytest.fixture(scope="module")
def system(stack):
    one = System(stack.env())
    stack.kill("nginx")
    yield one
    one.close()


@pytest.fixture
def one(stack, system):
    nginx = Nginx(stack)
    yield nginx
    stack.restart("worker")
    nginx.close()


def beat(system, serial, latitude):
    """Returns once the broker has it."""
    system.publish((serial, heartbeat(now_ms(), "PARKED", latitude=latitude,
                                      longitude=0.0)))


def distance(one, place):
    return one.quote(place).get("distanceMeters") or -1


def test_a_robot_is_followed(system, one, place):
    serial = new_serial("feed")
    one.await_fresh()
    beat(system, serial, place)
    await_for("it is quoted", lambda: one.quote(place)["serial"] == serial)

    told = []
    for step in range(1, 11):
        if step == 3:
            # its lanes have connected by now, and called all invalid
            one.await_fresh()
        before = loads(one)
        beat(system, serial, place + 0.01 * step)
        await_for("it has moved",
                  lambda: abs(distance(one, place) - step * STEP) < 5, 5)
        told.append(loads(one) == before)
    # a process that is kept from running for half a second makes one load
    assert told[2:].count(True) > 4, "told, not loaded"


def loads(one):
    metrics = one.metrics()
    return [metrics[name] for name in ("coco_feed_loads_total",
                                       "coco_supply_loads_total")]


def test_a_commit_hangs(stack, system, one, place):
    """Nobody says that all was told while one that may be done was not."""
    serial = new_serial("feed")
    one.await_fresh()
    beat(system, serial, place)
    await_for("it is quoted", lambda: one.quote(place)["serial"] == serial)
    one.await_fresh()

    locker = psycopg2.connect(stack.postgres)
    with contextlib.closing(locker):
        locker.cursor().execute("select from coco.resource where id = %s"
                                " for update", (serial,))
        beat(system, serial, place + 0.01)
        one.await_fresh(False, 2)
    one.await_fresh()
    await_for("it has moved", lambda: abs(distance(one, place) - STEP) < 5, 5)


def test_the_worker_is_killed(stack, system, one, place):
    serial = new_serial("feed")
    one.await_fresh()
    beat(system, serial, place)
    await_for("it is quoted", lambda: one.quote(place)["serial"] == serial)

    stack.kill("worker")
    one.await_fresh(False, 1)
    assert one.quote(place)["serial"] == serial, "from Postgres"
    beat(system, serial, place + 0.01)      # the broker keeps it

    stack.restart("worker")
    begun = time.monotonic()
    one.await_fresh()
    assert time.monotonic() - begun < 2
    await_for("what it had missed",
              lambda: abs(distance(one, place) - STEP) < 5)


def test_the_worker_ends(stack, one):
    """It says so: nobody is silent, but nobody speaks either."""
    one.await_fresh()
    os.kill(stack.pid("worker"), signal.SIGTERM)
    one.await_fresh(False)
    await_for("it is said", lambda: "no coco-worker" in str(
        one.log("zone: not fresh")))
