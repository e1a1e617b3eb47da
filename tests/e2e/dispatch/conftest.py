"""One stack with RabbitMQ for all of it: SupplyEvents are heard there."""

import os
import sys

import pytest

sys.path[:0] = [os.path.join(os.path.dirname(__file__), ".."),
                os.path.join(os.path.dirname(__file__), "../grpc"),
                os.path.dirname(__file__)]

from dispatch_field import Field, Nginx       # noqa: E402
from stack import PortBlock, Stack            # noqa: E402


@pytest.fixture(scope="session")
def dispatch_stack():
    with Stack(only="postgres redis mqtt rabbitmq worker nginx",
               bus="rabbitmq") as one:
        yield one.up()


@pytest.fixture(scope="session")
def field(dispatch_stack):
    field = Field(dispatch_stack)
    yield field
    field.close()


@pytest.fixture(scope="session")
def system(field):
    return field


@pytest.fixture(scope="module")
def nginx(dispatch_stack):
    """A function that starts one more nginx, of another host."""
    block, started = PortBlock(), []

    def start(*changes, zone=None):
        port = block.first + 2 * len(started)
        started.append(Nginx(dispatch_stack, port, changes, zone))
        return started[-1]

    yield start
    try:
        for one in started:
            one.close()
    finally:
        block.release()
