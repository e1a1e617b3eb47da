"""From heartbeats to quotes and plans: what a robot is promised to, it is
promised to once, whoever asks at the same time."""

import collections
import itertools
import threading
import time
import uuid

import requests

from harness import await_for, new_serial, now_ms

ROBOTS, CALLERS = 12, 30
PATIENCE = 60           # s for which a caller that is told to asks again

_places = itertools.count()


def fleet(system, count):
    """So many usable robots around a place where nobody else is."""
    place = {"latitude": -50.0 + next(_places), "longitude": 80.3}
    serials = [new_serial("dispatch") for _ in range(count)]
    system.publish(*((serial, {
        "ts": now_ms(), "state": "PARKED", "battery": {"percent": 80},
        "location": {"latitude": place["latitude"] + i / 10000,
                     "longitude": place["longitude"]}})
        for i, serial in enumerate(serials)))
    for serial in serials:
        await_for("a usable robot", lambda: [item for item in system.get(
            "/supply", serial=serial)["items"] if item["usable"]])
    return serials, {"pickup": place, "dropoff": place}


def together(count, call):
    """What so many callers of a kind got, all at once."""
    barrier, replies = threading.Barrier(count), []

    def run():
        barrier.wait()
        replies.append(call())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert len(replies) == count
    return replies


def post(system, path, body):
    """As long as it is told to come again: under a key, for what was not
    answered may have been done."""
    until = time.monotonic() + PATIENCE
    headers = dict(system.http.headers, **{
        "Idempotency-Key": str(uuid.uuid4())})
    while True:
        reply = requests.post(system.url + path, json=body, timeout=30,
                              headers=headers)
        if reply.status_code != 503 or time.monotonic() > until:
            break
        time.sleep(int(reply.headers["Retry-After"]) / 10)
    assert reply.status_code in (200, 201), reply.text
    return reply.json()


def test_a_robot_is_held_by_one_quote(system):
    serials, trip = fleet(system, ROBOTS)
    quotes = together(CALLERS, lambda: post(system, "/quote",
                                            {**trip, "hold": True}))
    held = collections.Counter(quote["serial"] for quote in quotes
                               if quote["feasible"])
    assert held == collections.Counter(serials)
    assert system.sql("select count(*) from coco.quote q join coco.resource r"
                      "    on r.held_by = q.id and r.id = q.serial"
                      " where q.serial = any(%s)", serials) == [(ROBOTS,)]

    # each is there again once its quote is released
    for quote in quotes:
        if quote["feasible"]:
            system.call("DELETE", "/quote/" + quote["quoteId"], 204)
            again = post(system, "/quote", trip)
            assert again["serial"] == quote["serial"]
            post(system, "/quote", {**trip, "hold": True})


def test_holds_demands_and_plans_agree(system):
    """What was promised before a quote or a plan is asked for, it never
    has."""
    serials, trip = fleet(system, ROBOTS)
    promised = [post(system, "/quote", {**trip, "hold": True})["serial"]
                for _ in range(3)]
    for serial in serials[-3:]:
        post(system, "/demands", {**trip, "serial": serial})
        promised.append(serial)

    free = set(serials) - set(promised)
    assert len(free) == ROBOTS - 6

    plan = post(system, "/plan", {"demands": [
        {**trip, "id": str(i)} for i in range(ROBOTS)]})
    assert {one["serial"] for one in plan["assignments"]} == free
    assert plan["totalCostSeconds"] == sum(
        one["costSeconds"] for one in plan["assignments"])
    assert [one["reason"] for one in plan["unassigned"]] == ["NO_ROBOT"] * 6

    explained = requests.post(
        system.url + "/quote", json=trip, params={"explain": 1},
        headers=system.http.headers, timeout=30).json()["robots"]
    reasons = {one["serial"]: one["reasons"] for one in explained}
    assert {serial for serial in serials if not reasons[serial]} == free
    assert all(reasons[serial] == ["HELD"] for serial in promised[:3])
    assert all(reasons[serial] == ["BUSY"] for serial in promised[3:])
