"""Postgres and Mosquitto for the module; no commands for each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import commandsdriver  # noqa: E402
from stack import Stack  # noqa: E402
from tables import emptied  # noqa: E402


@pytest.fixture(scope="session")
def running():
    commandsdriver.build()
    with Stack(only="postgres mqtt") as stack:
        yield commandsdriver.Servers(stack.up())


@pytest.fixture
def servers(running):
    running.heal()
    running.query(emptied("robot_command", "robot_shadow"))
    return running


@pytest.fixture
def drive(servers):
    """drive(option=…) -> Driver; ended with the test."""
    drivers = []

    def one(**options):
        options.setdefault("mqtt_client_id", "test-%d" % len(drivers))
        drivers.append(commandsdriver.Driver(servers, **options))
        return drivers[-1]

    yield one
    for driver in drivers:
        driver.end()


@pytest.fixture
def robots(servers):
    """Hears all that is sent to robots."""
    one = commandsdriver.Robots(servers.stack.mqtt_port, "robot/#", "$aws/#")
    yield one
    one.close()


@pytest.fixture
def between(servers):
    one = commandsdriver.Between(servers.stack.free_port,
                                 servers.stack.mqtt_port)
    yield one
    one.close()
