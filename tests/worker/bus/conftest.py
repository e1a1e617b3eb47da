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
        brokers = busdriver.Brokers(stack.up())
        brokers.settle()
        yield brokers


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

    one.drivers = drivers
    yield one
    for driver in drivers:
        driver.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The broker's warnings: what a failed test needs to be understood."""
    report = (yield).get_result()
    brokers = getattr(item, "funcargs", {}).get("brokers")
    if report.failed and brokers:
        lines = [line for line in brokers.stack.log("rabbitmq").splitlines()
                 if "[warning]" in line or "[error]" in line]
        report.sections.append(("log of rabbitmq", "\n".join(lines[-40:])))
