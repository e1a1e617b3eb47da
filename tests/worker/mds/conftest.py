"""Servers for the session, empty tables for each test; workers that a test
leaves behind are ended, and none may have ended by a sanitizer or a signal."""

import os
import sys

import psycopg2
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "process")]

import city  # noqa: E402
import process  # noqa: E402
from stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def stack():
    with Stack(only="postgres redis mqtt") as servers:
        yield servers.up()


@pytest.fixture
def db(stack):
    """A connection to a database in which nothing has happened yet."""
    connection = psycopg2.connect(stack.postgres)
    city.clear(connection)
    yield connection
    connection.close()


@pytest.fixture
def worker(stack, tmp_path):
    """worker(services, section={…}) -> Worker, not started."""
    workers = []

    def one(services="mds", **sections):
        sections["process"] = {"services": services}
        workers.append(process.Worker(
            tmp_path / ("worker-%d" % len(workers)), stack.port, **sections))
        return workers[-1]

    yield one
    for each in workers:
        running = each.process is not None and each.process.poll() is None
        status = each.stop() if running else 0
        assert status == 0, each.log()
        assert "ERROR: " not in each.log(), each.log()
