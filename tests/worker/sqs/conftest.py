"""Postgres, Redis and the emulator for the module; a proxy, queues and
workers for each test."""

import itertools
import os
import sys

import psycopg2
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "process")]

import aws  # noqa: E402
import process  # noqa: E402
from stack import PortBlock, Stack  # noqa: E402

NUMBERS = itertools.count()
QUEUES = ("events", "state", "connectivity")


@pytest.fixture(scope="module")
def stack():
    with Stack(only="postgres redis sqs") as servers:
        yield servers.up()


@pytest.fixture
def ports():
    block = PortBlock()
    yield iter(range(block.first, block.first + 10))
    block.release()


@pytest.fixture
def sql(stack):
    """sql(query, *arguments) -> rows"""
    connection = psycopg2.connect(stack.postgres)
    connection.autocommit = True

    def ask(query, *arguments):
        with connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall() if cursor.description else None

    yield ask
    connection.close()


@pytest.fixture
def proxy(stack, ports):
    server = aws.Proxy(next(ports), stack.sqs_url)
    yield server
    server.close()


@pytest.fixture
def queues(stack):
    """{"events" | "state" | "connectivity": Queue}, empty ones."""
    return {name: aws.Queue(stack.sqs_url, "%s-%d" % (name, next(NUMBERS)))
            for name in QUEUES}


@pytest.fixture
def worker(stack, proxy, queues, ports, tmp_path):
    """worker(environment=…, section={…}) -> Worker, started."""
    workers = []

    def one(environment=None, **sections):
        options = {"http": {"port": next(ports)},
                   "mqtt": {"port": next(ports)},       # nobody listens
                   "sqs": {"region": aws.REGION, "endpoint": proxy.url,
                           "wait": "1s", "visibility": "30s"}}
        options["sqs"].update({name + "_queue_url": queue.url
                               for name, queue in queues.items()})
        for section, more in sections.items():
            options.setdefault(section, {}).update(more)
        options["sqs"] = {key: value for key, value in options["sqs"].items()
                          if value is not None}
        workers.append(process.Worker(
            tmp_path / ("worker-%d" % len(workers)), stack.port, **options))
        base = {k: v for k, v in os.environ.items()
                if not k.startswith("AWS_")}
        return workers[-1].start(dict(
            base, **(proxy.environment if environment is None
                     else environment)))

    yield one
    for each in workers:
        running = each.process is not None and each.process.poll() is None
        status = each.stop() if running else 0
        each.kill()
        assert status in (0, -9), each.log()
        assert "ERROR: " not in each.log(), each.log()
