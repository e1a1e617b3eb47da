"""Quotes without a fresh zone: requests share loads that begin after they
came, and leave nothing behind when they go away."""

import contextlib
import http.client
import json
import os
import select
import signal
import threading
from urllib.parse import urlsplit

import pytest
import requests

from feed_field import MANY, STEP, Fleet
from harness import await_for, new_serial

NO_ZONE = {"zone": ""}


def loads(one):
    return one.metrics()["coco_supply_loads_total"]


@contextlib.contextmanager
def locked(backends):
    """No statement that reads the supply ends. Yields a function that counts
    those that wait."""
    blocker, watcher = Fleet(backends), Fleet(backends)
    blocker.sql("select 1")
    blocker.connection.autocommit = False
    blocker.sql("lock table coco.resource")
    try:
        yield lambda: watcher.sql(
            "select count(*) from pg_stat_activity where application_name ="
            " 'coco-nginx' and wait_event_type = 'Lock'")[0][0]
    finally:
        blocker.connection.close()
        watcher.connection and watcher.connection.close()


def single(nginx, globals_="master_process off;", **named):
    """One process, patient, whose connections wait for no lock any more."""
    one = nginx([(r"coco_postgres_timeout \w+", "coco_postgres_timeout 20s"),
                 (r"worker_processes \w+", "worker_processes 1")],
                globals_, **named)
    await_for("ready", lambda: one.session.get(one.http + "/readyz").ok)
    return one


class Quote(threading.Thread):
    def __init__(self, one, place):
        super().__init__(daemon=True)
        self.one, self.place, self.answer = one, place, None
        self.start()

    def run(self):
        self.answer = self.one.quote(self.place)


def test_no_zone_at_all(nginx, fleet, robot, place):
    one = nginx(**NO_ZONE)
    assert one.quote(place)["serial"] == robot
    assert one.quote(0.0)["serial"] == MANY[0], "one of more than there is " \
        "room for at first"
    fleet.move(robot, place + 0.01)
    assert abs(one.quote(place)["distanceMeters"] - STEP) < 5
    assert loads(one) == 3


def test_a_zone_that_is_full(nginx, worker, fleet, robot, place):
    worker()
    one = nginx(zone="coco_zone 4m robots=1000;")
    one.await_fresh()
    assert one.metrics()["coco_zone_full"] == 1
    assert one.quote(place)["serial"] == robot
    assert one.quote(0.0)["serial"] == MANY[0]
    assert loads(one) == 2


def test_requests_share_a_load(nginx, backends, fleet, robot, place):
    one = single(nginx, **NO_ZONE)
    assert one.quote(place)["serial"] == robot
    before = loads(one)

    with locked(backends) as waiting:
        first = Quote(one, place)
        await_for("it waits", lambda: waiting() == 1)
        others = [Quote(one, place) for _ in range(20)]
        await_for("they wait", lambda: one.metrics()[
            "coco_supply_waiting"] == 21)
        assert waiting() == 1, "the next load waits for the one under way"

    for quote in [first] + others:
        quote.join(60)
        assert quote.answer["serial"] == robot
    assert loads(one) == before + 2
    assert one.metrics()["coco_supply_waiting"] == 0


def test_a_later_request_sees_what_is_later(nginx, backends, fleet, robot,
                                            place):
    """The load that is under way began before: what was committed after its
    snapshot it does not have."""
    one = single(nginx, **NO_ZONE)
    with locked(backends) as waiting:
        first = Quote(one, place)
        await_for("it waits", lambda: waiting() == 1)
    first.join(60)
    for step in range(1, 20):
        quotes = [Quote(one, place) for _ in range(3)]
        fleet.move(robot, place + 0.001 * step)
        assert abs(one.quote(place)["distanceMeters"] - step * STEP / 10) < 2
        for quote in quotes:
            quote.join(60)


def test_clients_that_go_away(nginx, backends, robot, place):
    one = single(nginx, **NO_ZONE)
    assert one.quote(place)["serial"] == robot
    body = {"pickup": {"latitude": place, "longitude": 0.0},
            "dropoff": {"latitude": place, "longitude": 0.0}}

    with locked(backends) as waiting:
        for _ in range(20):
            with pytest.raises(requests.Timeout):
                requests.post(one.http + "/quote", json=body, timeout=0.05,
                              headers=one.stack.headers)
        await_for("they are forgotten", lambda: one.metrics()[
            "coco_supply_waiting"] == 0)
        await_for("one load waits", lambda: waiting() == 1)

    assert one.quote(place)["serial"] == robot
    assert one.quit() < 5


def test_a_reload_waits_for_requests(nginx, backends, robot, place):
    one = single(nginx, "", **NO_ZONE)
    with locked(backends) as waiting:
        quote = Quote(one, place)
        await_for("it waits", lambda: waiting() == 1)
        old = one.reload()
    quote.join(60)
    assert quote.answer["serial"] == robot
    await_for("the old ones leave", lambda: not one.workers() & old)


def test_postgres_is_away(nginx, backends, robot, place):
    one = single(nginx, **NO_ZONE)
    backends.kill("postgres")
    problem = one.quote(place, status=503)
    assert problem["status"] == 503, "nothing was ever known"

    backends.restart("postgres")
    await_for("found again", lambda: one.quote(place)["serial"] == robot)
    backends.kill("postgres")
    quote = one.quote(place)
    assert (quote["serial"], quote["partial"]) == (robot, True)


def test_a_load_that_ends_in_the_middle(nginx, backends, fleet, robot, place):
    """What is known stays what was known whole."""
    one = single(nginx, **NO_ZONE)
    assert one.quote(0.0)["serial"] == MANY[0]
    other = new_serial("feed")

    # a line that is none is left out; one that cannot be made ends the load
    fleet.sql("insert into coco.resource (id, data, telemetry_order_ts,"
              " telemetry_ts, telemetry_id) values (%s, '{\"location\":"
              "{\"latitude\":9e9,\"longitude\":0},\"battery\":1}', now(),"
              " now(), gen_random_uuid())", "many-1500-bad")
    fleet.put([other], place)
    quote = one.quote(place)
    assert (quote["serial"], quote["partial"]) == (robot, True)

    fleet.sql("delete from coco.resource where id = 'many-1500-bad'")
    assert "partial" not in one.quote(place)


class Explained:
    """A quote that tells of all robots: sent, and read when that is due."""

    def __init__(self, one, place):
        body = json.dumps({"pickup": {"latitude": place, "longitude": 0.0},
                           "dropoff": {"latitude": place, "longitude": 0.0}})
        url = urlsplit(one.http)
        self.connection = http.client.HTTPConnection(url.hostname, url.port,
                                                     timeout=20)
        self.connection.request("POST", "/quote?explain=1", body, {
            **one.stack.headers, "Content-Type": "application/json",
            "Connection": "close"})

    def read(self):
        with contextlib.closing(self.connection):
            reply = self.connection.getresponse()
            quote = json.loads(reply.read())
            assert reply.status == 200, quote
            return quote


def test_the_fleet_is_emptied_while_it_is_read(nginx, worker, fleet, robot,
                                               place):
    """By a process with other rules, for which robots have other numbers: one
    that has read half of them begins again."""
    worker()
    one = nginx([(r"coco_online_window \w+", "coco_online_window 1000s"),
                 (r"worker_processes \w+", "worker_processes 1")])
    one.await_fresh()
    before = {row[0] for row in fleet.sql("select id from coco.resource")}
    added = {"aaa-%04d" % n for n in range(100)}
    old, = one.workers()

    one.session.close()
    os.kill(old, signal.SIGSTOP)
    quotes = [Explained(one, place) for _ in range(50)]
    os.kill(old, signal.SIGCONT)
    select.select([quote.connection.sock for quote in quotes], [], [], 20)
    os.kill(old, signal.SIGSTOP)    # the others have been half read
    try:
        fleet.put(added, 0.0)
        one.change((r"coco_online_window \w+", "coco_online_window 1001s"))
        one.reload()
        await_for("it is emptied", lambda: one.metrics()[
            "coco_zone_resets_total"] == 1)
        one.await_fresh()
    finally:
        os.kill(old, signal.SIGCONT)

    answers = [quote.read() for quote in quotes]
    fleet.sql("delete from coco.resource where id = any (%s)", list(added))
    for quote in answers:
        robots = [row["serial"] for row in quote["robots"]]
        assert len(robots) == len(set(robots)), "one was told twice"
        assert set(robots) in (before, before | added)
        assert quote["serial"] == robot
