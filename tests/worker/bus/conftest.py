"""A stack's brokers for the module; empty queues and an empty outbox for each
test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import busdriver  # noqa: E402
from stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def brokers():
    busdriver.build()
    with Stack(only="postgres rabbitmq kafka", bus="rabbitmq,kafka") as stack:
        yield busdriver.Brokers(stack.up())


@pytest.fixture
def bus(brokers):
    brokers.clean()
    return brokers


@pytest.fixture
def drive(bus):
    """drive(services, option=…) -> Driver; ended with the test."""
    drivers = []

    def one(services="state", **options):
        drivers.append(busdriver.Driver(bus, services, options))
        return drivers[-1]

    yield one
    for driver in drivers:
        driver.end()
