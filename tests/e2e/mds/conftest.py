"""MDS over HTTP: nginx with its backends, and rows as the emitter writes them.
No worker runs, so that nothing is told but what a test has put in."""

import os
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__),
                os.path.join(os.path.dirname(__file__), "..")]

from mds_city import City            # noqa: E402
from stack import backends_only     # noqa: E402


@pytest.fixture(scope="session")
def backends():
    with backends_only() as stack:
        yield stack


@pytest.fixture(scope="module")
def city(backends):
    city = City(backends)
    yield city
    city.close()
