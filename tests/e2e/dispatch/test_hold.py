"""A quote holds its robot, until it is released or over; nobody else is given
that robot meanwhile, on whichever host."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from dispatch_field import Robot
from harness import await_for, now_ms

# Nobody else is within reach of it.
ALONE = {"latitude": 59.0, "longitude": 18.0}
LIFETIME = 2            # s
HOLDS = 50
PATIENCE = 60           # s for which who is told to comes again


@pytest.fixture(scope="module")
def host(nginx):
    return nginx((r"coco_quote_lifetime \w+",
                  "coco_quote_lifetime %ds" % LIFETIME))


@pytest.fixture(scope="module")
def long_host(nginx):
    return nginx()


@pytest.fixture
def robots(field, host, long_host):
    """robots(n): usable ones, known to all hosts; gone after the test."""
    made = []

    def make(count):
        made.extend(Robot(field, ALONE) for _ in range(count))
        for url in urls(field, host, long_host):
            await_for("%d can be quoted" % count, lambda: count == sum(
                not row["reasons"] for row in field.quote(
                    ALONE, url=url, explain=True)["robots"]
                if row["serial"] in {one.serial for one in made}))
        return made

    yield make
    for one in made:
        one.patch(operationState="OFF_DUTY")
    for url in urls(field, host, long_host):
        await_for("none is left",
                  lambda: not field.quote(ALONE, url=url)["feasible"])


def urls(field, *hosts):
    return [field.url] + [host.http for host in hosts]


def release(field, quote, status=204, url=None):
    reply = field.http.delete("%s/quote/%s" % (url or field.url,
                                               quote["quoteId"]))
    assert reply.status_code == status, reply.text


def test_held_and_released(field, robots, long_host):
    robot, = robots(1)
    asked = now_ms()
    quote = field.quote(ALONE, hold=True)
    assert quote["serial"] == robot.serial
    # nginx looks at the clock once for all that happens at a time
    assert asked - 500 <= quote["expiresAt"] - 60000 <= now_ms()
    assert robot.reasons() == ["HELD"]

    # at once here, soon elsewhere
    assert not field.quote(ALONE)["feasible"]
    assert not field.quote(ALONE, hold=True)["feasible"]
    await_for("it is seen", lambda: not field.quote(
        ALONE, url=long_host.http)["feasible"])

    release(field, quote, url=long_host.http)
    assert robot.reasons() == []
    assert field.quote(ALONE, url=long_host.http)["feasible"]
    await_for("it is seen", lambda: field.quote(ALONE)["feasible"])
    release(field, quote)
    release(field, {"quoteId": uuid.uuid4()}, 404)


def test_held_until_it_is_over(field, robots, host):
    robot, = robots(1)
    quote = field.quote(ALONE, url=host.http, hold=True)
    assert quote["serial"] == robot.serial
    for url in (host.http, None):
        await_for("it is free again",
                  lambda: field.quote(ALONE, url=url)["feasible"])
        assert now_ms() >= quote["expiresAt"] - 1
    assert robot.reasons() == []

    # what is over does not end what holds it now
    again = field.quote(ALONE, hold=True)
    release(field, quote)
    assert robot.reasons() == ["HELD"]
    release(field, again)


def test_an_assignment_ends_a_hold(field, robots):
    robot, = robots(1)
    quote = field.quote(ALONE, hold=True)
    delivery = field.deliver()
    delivery.do("assign", serial=robot.serial)
    assert robot.reasons() == ["BUSY"]
    release(field, quote)
    assert robot.reasons() == ["BUSY"]
    delivery.do("cancel", reason="closed")
    assert robot.reasons() == []


def test_the_same_key_is_the_same_hold(field, robots):
    robots(2)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"pickup": ALONE, "dropoff": ALONE, "hold": True}
    first, second = (field.call("POST", "/quote", json=body, headers=key)
                     for _ in range(2))
    assert first == second
    other = field.call("POST", "/quote", json=body)
    assert other["serial"] != first["serial"]
    for quote in (first, other):
        release(field, quote)


@pytest.mark.parametrize("count", [HOLDS, 7])
def test_many_at_once_on_two_hosts(field, robots, long_host, count):
    """With a robot for each caller, and with fewer."""
    made = robots(count)
    barrier = threading.Barrier(HOLDS)

    def hold(i):
        url = (field.url, long_host.http)[i % 2]
        with requests.Session() as session:
            # what was not answered may have been done
            session.headers.update(field.http.headers, **{
                "Idempotency-Key": str(uuid.uuid4())})
            barrier.wait()
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                reply = session.post(url + "/quote", timeout=30, json={
                    "pickup": ALONE, "dropoff": ALONE, "hold": True})
                if reply.status_code != 503:
                    assert reply.status_code == 200, reply.text
                    return reply.json()
                time.sleep(int(reply.headers["Retry-After"]) / 10)
        raise AssertionError("it was never told")

    with ThreadPoolExecutor(HOLDS) as callers:
        quotes = list(callers.map(hold, range(HOLDS)))
    held = [quote["serial"] for quote in quotes if quote["feasible"]]
    assert sorted(held) == sorted(robot.serial for robot in made)
    assert field.value(
        "select count(*) from coco.quote q join coco.resource r"
        "    on r.held_by = q.id and r.id = q.serial"
        " where q.serial = any(%s)", held) == count
    for robot in made:
        assert robot.reasons() == ["HELD"]

    def planned():
        return field.call("POST", "/plan", json={"demands": [
            {"id": "1", "pickup": ALONE, "dropoff": ALONE}]})

    # what the other host holds is known soon
    await_for("none is left", lambda: planned()["assignments"] == [])
    assert [one["demandId"] for one in planned()["unassigned"]] == ["1"]
    for quote in quotes:
        if quote["feasible"]:
            release(field, quote)
