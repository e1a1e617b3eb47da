import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))

from harness import System, heartbeat, new_serial, now_ms   # noqa: E402
from fleet_client import FleetClient, install               # noqa: E402


@pytest.fixture(scope="module")
def system(stack):
    system = System(stack.env())
    yield system
    system.close()


@pytest.fixture(scope="session")
def installed():
    install()


@pytest.fixture(scope="module")
def fleet(stack, system, installed):
    client = FleetClient(stack.env()["COCO_GRPC"], system.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def robot(system):
    """A robot that has told all it can."""
    serial = new_serial("grpc")
    beat = heartbeat(now_ms(), "PARKED", battery=64.5, components={
        "lidar": "OK", "motor": "ERROR", "none": None})
    beat["battery"]["voltage"] = 24.25
    beat["location"].update(heading=90, accuracy=2)
    system.publish((serial, beat))
    system.await_cached(serial, beat["ts"])
    for vehicle in ("v1", "v 2", "v\u00e93"):
        system.call("PUT", "/fleet/v1/beacon/external-mappings/%s/%s"
                    % (serial, vehicle), json={"serial": serial})
    return serial
