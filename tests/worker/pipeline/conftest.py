"""Servers for the module, a clean database and one lane for each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import servers as pipeline  # noqa: E402
from tables import emptied  # noqa: E402

TABLES = ("robot_state", "state_history", "state_history_late",
          "lid_cycle_event_history", "robot_operation", "robot_state_history",
          "fleet_robot", "outbox", "dead_letter", "idempotency_key",
          "driveu_status", "webhook_inbox", "external_robot_mapping",
          "lid_robot", "lid_cycle", "robot_command", "robot_shadow",
          "robot_task", "partner_push", "demand", "delivery_attempt",
          "delivery_event", "delivery", "anomaly", "resource", "quote",
          "integration", "mds_fact")


@pytest.fixture(scope="module")
def running():
    pipeline.build()
    servers = pipeline.Servers()
    yield servers
    servers.close()


@pytest.fixture
def servers(running):
    running.heal()
    running.query(emptied(*TABLES))
    running.redis().flushall()
    return running


@pytest.fixture
def drive(servers):
    """drive(option=…) -> Driver; whatever a test leaves running is ended."""
    drivers = []

    def one(**options):
        drivers.append(pipeline.Driver(servers, **options))
        return drivers[-1]

    yield one
    for driver in drivers:
        if driver.process.poll() is None:
            assert driver.stop()


@pytest.fixture
def lane(drive):
    return drive()


@pytest.fixture(params=["direct", "scrambled"])
def either(request, drive):
    """A lane; in the second mode what its services make goes from one to the
    other by the bus, shuffled, doubled and split."""
    return drive(**pipeline.MODES[request.param])
