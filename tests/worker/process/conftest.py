"""A broker, Redis and Postgres for the module; workers that a test leaves
behind are ended, and none may have ended by a sanitizer or a signal."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import process  # noqa: E402
from stack import PortBlock, Stack  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    with Stack(only="postgres redis mqtt") as servers:
        yield servers.up()


@pytest.fixture
def block():
    """Ports where nothing answers."""
    ports = PortBlock()
    yield ports.first
    ports.release()


@pytest.fixture
def worker(tmp_path):
    """worker(port, section={…}) -> Worker, not started."""
    workers = []

    def one(port, **sections):
        folder = tmp_path / ("worker-%d" % len(workers))
        workers.append(process.Worker(folder, port, **sections))
        return workers[-1]

    yield one
    for each in workers:
        running = each.process is not None and each.process.poll() is None
        status = each.stop() if running else 0
        each.kill()
        assert status == 0, each.log()
        assert "ERROR: " not in each.log(), each.log()


@pytest.fixture
def broker(tmp_path):
    brokers = []

    def one(port, *lines):
        brokers.append(process.Broker(tmp_path, port, *lines))
        return brokers[-1]

    yield one
    for each in brokers:
        each.close()
