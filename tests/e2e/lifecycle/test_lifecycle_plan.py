"""Plans in their threads: what becomes of one whose client, or whose nginx,
goes away, and that others are served meanwhile."""

import http.client
import json
import random
import socket
import threading
import time

import psycopg2
import pytest

from harness import await_for

ROBOTS, DEMANDS = 3000, 2000
ABORTS = 30
ALWAYS = (r"coco_online_window \w+", "coco_online_window 1000s")
TOGETHER = 6            # below what a process takes at once


@pytest.fixture(scope="module")
def body(backends):
    """Of a plan that takes a while; its robots are there."""
    with psycopg2.connect(backends.postgres) as connection:
        connection.cursor().execute(
            "insert into coco.resource (id, data, telemetry_id, telemetry_ts,"
            "       telemetry_order_ts, business_changed_at)"
            " select 'plan-' || i, jsonb_build_object('serial', 'plan-' || i,"
            "        'battery', 90, 'healthy', true, 'operationState',"
            "        'PARKED', 'location', jsonb_build_object('latitude',"
            "        37 + random() / 10, 'longitude', -122 + random() / 10)),"
            "        gen_random_uuid(), at, at, at"
            "   from generate_series(1, %s) i, now() at", (ROBOTS,))
    connection.close()

    def place():
        return {"latitude": 37 + random.random() / 10,
                "longitude": -122 + random.random() / 10}

    yield json.dumps({"demands": [{"id": str(i), "pickup": place(),
                                   "dropoff": place()}
                                  for i in range(DEMANDS)]}).encode()

    with psycopg2.connect(backends.postgres) as connection:
        connection.cursor().execute(
            "delete from coco.resource where id like 'plan-%'")
    connection.close()


def head(stack, body):
    lines = ["POST /plan HTTP/1.1", "Host: coco",
             "Content-Type: application/json", "Content-Length: %d" % len(body)]
    lines += ["%s: %s" % member for member in stack.headers.items()]
    return "\r\n".join(lines + ["", ""]).encode()


def plan(stack, body):
    """(status, assignments)"""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port,
                                            timeout=120)
    connection.request("POST", "/plan", body, {
        **stack.headers, "Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, len(json.loads(text).get("assignments", ()))


def test_a_client_that_goes_away_leaves_room_for_others(backends, nginx,
                                                        body):
    one = nginx(globals_="worker_processes 1;", changes=(
        ALWAYS, (r"\nworker_processes auto;", "")))
    pids = one.workers()

    for i in range(ABORTS):
        with socket.create_connection(("127.0.0.1", backends.port)) as client:
            client.sendall(head(backends, body) + body)
            time.sleep(random.random() / 20)    # wherever it is by then

    await_for("a plan", lambda: plan(backends, body) == (200, DEMANDS))
    assert one.workers() == pids


def test_a_reload_answers_the_plans_under_way(backends, nginx, body):
    one, replies = nginx([ALWAYS]), []
    threads = [threading.Thread(
        target=lambda: replies.append(plan(backends, body)))
        for _ in range(TOGETHER)]
    for thread in threads:
        thread.start()
    old = one.reload()
    for thread in threads:
        thread.join(120)
    assert replies == [(200, DEMANDS)] * TOGETHER
    await_for("the old workers are gone", lambda: not old & one.workers())


def test_more_than_a_process_takes_are_told_to_come_again(backends, nginx,
                                                          body):
    one, replies = nginx(globals_="worker_processes 1;", changes=(
        ALWAYS, (r"\nworker_processes auto;", ""))), []
    threads = [threading.Thread(
        target=lambda: replies.append(plan(backends, body)))
        for _ in range(3 * TOGETHER)]
    for thread in threads:
        thread.start()

    while any(thread.is_alive() for thread in threads):
        assert one.get("/healthz", timeout=2).ok    # beside them
    assert {status for status, _ in replies} == {200, 503}
    assert plan(backends, body) == (200, DEMANDS)
