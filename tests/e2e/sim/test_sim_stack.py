"""Simulated merchants load deliveries of the real system: each way to open a
lid, and the disorders that must not matter."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from harness import System, await_for, new_serial   # noqa: E402
from sim_broker import SIM                          # noqa: E402


@pytest.fixture(scope="module")
def system(stack):
    system = System(stack.env())
    yield system
    system.close()


class Robot:
    """One coco-sim of one robot that stands."""

    def __init__(self, system, *words):
        self.prefix = new_serial("merchant") + "-"
        self.serial = self.prefix + "0001"
        self.system, self.words = system, words
        self.process = None

    def start(self, *more):
        self.process = subprocess.Popen(
            [SIM, "--port", str(self.system.mqtt_port), "--robots", "1",
             "--stand", "--serial-prefix", self.prefix, "--hz", "4",
             *map(str, self.words), *map(str, more)],
            stdout=subprocess.DEVNULL)

    def end(self):
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(40) == 0
            self.process = None

    def location(self):
        robot = await_for("heartbeat of " + self.serial, lambda: next(iter(
            self.system.sql("select details->'location' from coco.robot_state"
                            " where serial = %s", self.serial)), None))
        return {key: robot[0][key] for key in ("latitude", "longitude")}


@pytest.fixture
def robot(system):
    robots = []

    def one(*words):
        robots.append(Robot(system, *words))
        return robots[-1]

    yield one
    for each in robots:
        each.end()


def delivery(system, serial, place, flow, **members):
    """Its id, on its way to where the robot stands."""
    made = system.call("POST", "/deliveries", 201, json={
        "pickup": place, "loadingFlow": flow, **members,
        "dropoff": {"latitude": 34.0, "longitude": -118.4}})
    path = "/deliveries/" + made["id"]
    system.call("POST", path + "/assign", json={"serial": serial})
    system.call("POST", path + "/depart")
    return made["id"]


def await_loaded(system, id):
    await_for("the loading of " + id, lambda: system.get(
        "/deliveries/" + id)["status"] == "LoadedWaitingForPilot", 60)
    statuses = [event["status"] for event in
                system.items("/deliveries/%s/events" % id)]
    assert statuses.count("LoadedWaitingForPilot") == 1, statuses


WAYS = {
    "magic": ("MAGIC_LID", "MAGIC_LID", "pin"),
    "asks": ("PIN", "PIN", "pin", "--pin-ask"),
    "touches": ("PINLESS", "PINLESS", "touch", "--pin-ask"),
    "fast": ("MAGIC_LID", "MAGIC_LID", "pin,fast"),
    "late-and-twice": ("MAGIC_LID", "MAGIC_LID", "pin,late,twice", "--seed",
                       74),
}


def test_every_way_to_load(system, robot):
    """Side by side: a PIN at a robot that opens by itself, one that the
    backend checks, a touch, a close that overtakes its open, and events that
    come late and twice."""
    under_way = []
    for flow, source, habits, *words in WAYS.values():
        one = robot("--merchants", habits, *words)
        one.start()
        pin = {} if flow == "PINLESS" else {"pin": "4271"}
        under_way.append((one, source, delivery(
            system, one.serial, one.location(), flow, **pin)))

    for one, source, id in under_way:
        await_loaded(system, id)
        lid = system.get("/state/%s/lid" % one.serial)
        assert (lid["state"], lid["source"]) == ("LID_CYCLE_COMPLETE", source)
        assert 0 < lid["closedAt"] - lid["openedAt"] < 10000


def test_a_code_is_scanned(system, stack, robot):
    """The merchant's phone finds the delivery that the robot came for."""
    one = robot("--http", system.url, "--token-file",
                os.path.join(stack.folder, "token"))
    one.start("--merchants", "none")
    place = one.location()
    one.end()

    id = delivery(system, one.serial, place, "QR")
    one.start("--merchants", "qr")
    await_loaded(system, id)
    lid = system.get("/state/%s/lid" % one.serial)
    assert (lid["source"], lid["referenceId"]) == ("QR", id)


def test_a_latch_jams(system, robot):
    """A command to a robot whose latch jams, and one that opens."""
    jams = robot("--merchants", "pin,jam")
    opens = robot()
    for one in (jams, opens):
        one.start()
        one.location()
    problem = system.call("POST", "/state/%s/lid/open" % jams.serial, 409,
                          json={"source": "OPERATOR"})
    assert "latch jammed" in problem["detail"]
    answer = system.call("POST", "/state/%s/lid/open" % opens.serial,
                         json={"source": "OPERATOR"})
    assert answer["opened"] is True
