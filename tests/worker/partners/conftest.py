"""Postgres for the module; for each test no deliveries, and a partner."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import partnersdriver  # noqa: E402
from stack import Stack  # noqa: E402
from tables import emptied  # noqa: E402


@pytest.fixture(scope="session")
def running():
    partnersdriver.build()
    with Stack(only="postgres") as stack:
        yield partnersdriver.Servers(stack.up())


@pytest.fixture
def servers(running):
    running.query(emptied(
        "partner_push", "demand", "delivery_attempt", "delivery_event",
        "delivery", "dead_letter", "resource", "external_robot_mapping"))
    return running


@pytest.fixture
def partner():
    one = partnersdriver.Partner()
    yield one
    one.close()


@pytest.fixture
def drive(servers, partner):
    """drive(option=…) -> Driver; ended with the test."""
    drivers = []

    def one(**options):
        drivers.append(partnersdriver.Driver(servers, partner, **options))
        return drivers[-1]

    yield one
    for driver in drivers:
        driver.end()
