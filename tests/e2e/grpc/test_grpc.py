"""The Fleet scopes over gRPC, called by gRPC's own client, against their REST
rows, which are their gateway."""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

import processes
from fleet_client import (
    BEACON, DEADLINE_EXCEEDED, INVALID_ARGUMENT, LABOR, NOT_FOUND, OK,
    PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNIMPLEMENTED,
    given)
from harness import await_for, heartbeat, new_serial, now_ms
from stack import ROOT


def token(stack, *scopes):
    return subprocess.run(
        [os.path.join(ROOT, "scripts/token"),
         os.path.join(stack.folder, "jwt.key"), *scopes],
        check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def stopped(stack, name):
    """A server that neither answers nor goes away, with its children."""
    pid = stack.pid(name)
    processes.stop_family(pid)
    try:
        yield
    finally:
        processes.continue_family(pid)


@pytest.fixture
def alerts(stack):
    """A function: what nginx has said since the test began."""
    before = len(stack.log("nginx"))
    return lambda: re.findall(r".*\[(?:alert|emerg)\].*",
                              stack.log("nginx")[before:])


# --- what is answered -------------------------------------------------------

def test_labor_is_its_row(system, fleet, robot):
    row = system.get("/fleet/v1/labor/robots/" + robot)
    answer = fleet.call(LABOR, "Get", {"serial": robot})["answer"]
    assert answer == given(row)
    assert answer["components"] == {"lidar": "OK", "motor": "ERROR"}
    assert answer["battery"] == {"percent": 64.5, "charging": False,
                                 "voltage": 24.25}


def test_labor_from_the_zone_is_the_same(system, fleet, robot):
    def kept():
        result = fleet.call(LABOR, "Get", {"serial": robot})
        return result["headers"]["x-coco-cache"] == "HIT" and result

    answer = await_for("a message from the zone", kept)["answer"]
    assert answer == given(system.get("/fleet/v1/labor/robots/" + robot))


def test_labor_when_redis_forgets(stack, system, fleet):
    """Flushed, and away: what was heard seconds ago is known."""
    serial = new_serial("grpc")
    beat = heartbeat(now_ms(), "PARKED", battery=64.5)
    system.publish((serial, beat))
    copy = system.await_cached(serial, beat["ts"])

    def told():
        """The row, the same both ways; whether the zone had it."""
        reply = system.http.get(system.url + "/fleet/v1/labor/robots/"
                                + serial, timeout=15)
        assert (reply.status_code, reply.json()) == (200, copy)
        result = fleet.call(LABOR, "Get", {"serial": serial})
        assert result["answer"] == given(copy)
        return "HIT" in (reply.headers["X-Coco-Cache"],
                         result["headers"]["x-coco-cache"])

    system.redis.flushall()
    told()
    await_for("the copy is back", lambda: system.cached(serial) == copy)
    assert 0 < system.redis.pttl("robot.heartbeat.cache." + serial) <= 120000

    stack.kill("redis")
    try:
        assert await_for("by Postgres", lambda: not told())
    finally:
        stack.restart("redis")
        await_for("ready again", lambda: system.get("/readyz"))


def test_vehicle_is_its_row(system, fleet, robot):
    row = system.get("/fleet/v1/beacon/robots/" + robot)
    assert len(row["providerVehicles"]) == 3
    assert fleet.call(BEACON, "GetVehicleBySerial",
                      {"serial": robot})["answer"] == given(row)


def test_virtual_robot_is_its_row(system, fleet, robot):
    system.call("PATCH", "/robots/" + robot, json={
        "hasFood": True, "needsPickup": False, "deployed": {
            "type": "POD", "id": "p-1", "latitude": 1.5, "longitude": -2}})
    number = system.get("/fleet/v1/beacon/robots/" + robot)["id"]
    row = system.get("/fleet/v1/beacon/virtual-robots/" + number)
    assert (row["hasFood"], row["needsPickup"], row["driveable"]) == (
        True, False, None)
    assert row["deployed"]["id"] == "p-1" and row["batteryPercent"] == 64.5
    assert fleet.call(BEACON, "GetVirtualRobot",
                      {"id": number})["answer"] == given(row)


def test_mappings_are_their_rows(system, fleet, robot):
    request = {"provider": robot, "limit": 2}
    rows, items = [], []
    while True:
        page = fleet.call(BEACON, "GetExternalRobotMappings",
                          request)["answer"]
        row = system.get("/fleet/v1/beacon/external-mappings", **request)
        assert page == given(row)
        rows += row["items"]
        items += page["items"]
        if "nextCursor" not in page:
            break
        request["cursor"] = page["nextCursor"]
    assert rows == items
    assert [item["providerVehicleId"] for item in items] == [
        vehicle for (vehicle,) in system.sql(
            "select provider_vehicle_id from coco.external_robot_mapping"
            " where provider = %s order by 1", robot)]
    assert fleet.call(BEACON, "GetExternalRobotMappings", {
        "serial": new_serial()})["answer"] == {}


def test_a_change_is_seen_at_once(system, fleet, robot):
    old = 0
    for turn in range(60):
        state = ("GROUNDED", "PARKED", "DEPLOYED")[turn % 3]
        system.call("PATCH", "/robots/" + robot,
                    json={"operationState": state})
        for _ in range(2):
            answer = fleet.call(LABOR, "Get", {"serial": robot})["answer"]
            old += answer["operationState"] != state
    assert old == 0


# --- what is refused --------------------------------------------------------

def test_statuses(stack, fleet, robot):
    unknown = "00000000-0000-4000-8000-000000000000"
    for service, method, request, code in (
            (LABOR, "Get", {}, INVALID_ARGUMENT),
            (LABOR, "Get", {"serial": "a b"}, INVALID_ARGUMENT),
            (LABOR, "Get", {"serial": new_serial()}, NOT_FOUND),
            (BEACON, "GetVehicleBySerial", {}, INVALID_ARGUMENT),
            (BEACON, "GetVehicleBySerial", {"serial": new_serial()},
             NOT_FOUND),
            (BEACON, "GetVirtualRobot", {}, NOT_FOUND),
            (BEACON, "GetVirtualRobot", {"id": unknown}, NOT_FOUND),
            (BEACON, "GetExternalRobotMappings", {"limit": 501},
             INVALID_ARGUMENT),
            (BEACON, "GetExternalRobotMappings", {"cursor": "odd"},
             INVALID_ARGUMENT)):
        assert fleet.call(service, method, request, code)["details"]

    request = {"serial": robot}
    fleet.call(LABOR, "Get", request, UNAUTHENTICATED, token="")
    fleet.call(LABOR, "Get", request, UNAUTHENTICATED, token="a.b.c")
    refused = fleet.call(LABOR, "Get", request, PERMISSION_DENIED,
                         token=token(stack, "robots:read"))
    assert refused["details"] == "The token lacks the scope fleet:read."
    fleet.call(LABOR, "Get", request, token=token(stack, "fleet:read"))


def test_a_large_request_is_refused(fleet, robot):
    for size in (17_000, 100_000, 3_000_000):
        fleet.call(LABOR, "Get", {"serial": "x" * size}, RESOURCE_EXHAUSTED)
    fleet.call(LABOR, "Get", {"serial": robot})


def test_compression_is_not_implemented(fleet, robot):
    fleet.call(LABOR, "Get", {"serial": robot}, UNIMPLEMENTED,
               compressed=True)


# --- backends that do not answer --------------------------------------------

def test_redis_that_hangs_leaves_time_for_postgres(stack, fleet):
    request = {"serial": new_serial()}
    with stopped(stack, "redis"):
        fleet.call(LABOR, "Get", request, NOT_FOUND,
                   metadata={"grpc-timeout": "2S"})


@pytest.mark.parametrize("names, service, method", (
    (("redis", "postgres"), LABOR, "Get"),
    (("postgres",), BEACON, "GetVehicleBySerial")))
def test_a_deadline_is_kept(stack, fleet, alerts, names, service, method):
    request = {"serial": new_serial()}
    fleet.call(service, method, request, NOT_FOUND)

    with contextlib.ExitStack() as away:
        for name in names:
            away.enter_context(stopped(stack, name))
        # the client does not know of it: it is the server that says so
        begun = time.monotonic()
        result = fleet.call(service, method, request, DEADLINE_EXCEEDED,
                            metadata={"grpc-timeout": "100m"})
        assert "did not answer in time" in result["details"]
        # before it gives up by itself, which is for Postgres after 2 s
        assert 0.09 < time.monotonic() - begun < 1.9

        # callers that leave, many of them
        codes, _ = fleet.many(service, method, request, count=300,
                              concurrency=100, deadline=20)
        assert codes == {DEADLINE_EXCEEDED: 300}

    await_for("an answer", lambda: fleet.call(service, method, request,
                                              NOT_FOUND))
    assert not alerts()


# --- many calls -------------------------------------------------------------

def test_a_thousand_at_once(fleet, robot):
    for service, method in ((LABOR, "Get"), (BEACON, "GetVehicleBySerial")):
        codes, details = fleet.many(service, method, {"serial": robot},
                                    count=3000, concurrency=1000)
        assert codes == {OK: 3000}, details


def test_a_reload_drops_no_call(stack, fleet, alerts, robot):
    running = fleet.send(LABOR, "Get", {"serial": robot}, seconds=4,
                         concurrency=32, channels=4)
    pid = stack.pid("nginx")

    def workers():
        return set(subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True,
            text=True).stdout.split())

    for _ in range(3):
        before = workers()
        os.kill(pid, signal.SIGHUP)
        await_for("other workers", lambda: workers() and
                  not workers() & before)

    result = running(120)
    assert set(result["codes"]) == {"0"}, result["codes"]
    assert result["codes"]["0"] > 500
    assert not alerts()


def test_h2load(stack, system, robot, tmp_path):
    message = b"\x0a" + bytes([len(robot)]) + robot.encode()
    frame = tmp_path / "get.bin"
    frame.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    said = subprocess.run(
        ["h2load", "-n", "20000", "-c", "8", "-m", "50", "-d", str(frame),
         "-H", "content-type: application/grpc", "-H", "te: trailers",
         "-H", "authorization: Bearer " + system.token,
         "http://%s/coco.fleet.v1.%s/Get" % (stack.env()["COCO_GRPC"],
                                             LABOR)],
        check=True, capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"20000 succeeded, 0 failed, 0 errored, 0 timeout", said)
    assert re.search(r"20000 2xx, 0 3xx, 0 4xx, 0 5xx", said)
