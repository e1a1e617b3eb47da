"""Postgres and Redis, and nginx and the workers, which each test starts."""

import os
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__),
                os.path.join(os.path.dirname(__file__), "..")]

from feed_field import MANY, Fleet, Nginx, Worker     # noqa: E402
from harness import new_serial                        # noqa: E402
from stack import backends_only                        # noqa: E402

# Where the tests' robots are, a degree of latitude from each other.
FAR = 10.0


@pytest.fixture(scope="module")
def backends():
    with backends_only() as stack:
        yield stack


@pytest.fixture(scope="module")
def fleet(backends):
    rows = Fleet(backends)
    rows.put(MANY, 0.0)
    return rows


@pytest.fixture
def nginx(backends, fleet):
    """A function that starts nginx."""
    started = []

    def start(*arguments, **named):
        started.append(Nginx(backends, *arguments, **named))
        return started[-1]

    start.killed = 0        # processes that the test kills: an alert each
    yield start

    for name in ("redis", "postgres"):
        backends.restart(name)
    for one in started:
        one.close(start.killed)


@pytest.fixture
def worker(backends):
    """A function that starts one."""
    started = []

    def start(name="one:9100"):
        started.append(Worker(backends, name))
        return started[-1]

    yield start
    for one in started:
        one.kill()


_places = iter(range(1, 60))


@pytest.fixture
def place():
    """A latitude with no robot near it."""
    return FAR + next(_places)


@pytest.fixture
def robot(fleet, place):
    """A usable robot there."""
    serial = new_serial("feed")
    fleet.put([serial], place)
    return serial
