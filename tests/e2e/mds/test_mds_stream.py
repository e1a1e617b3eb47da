"""Hours as streams: clients that are slow, that leave, and answers that cannot
be ended."""

import http.client
import json

import pytest
import requests

from harness import await_for
from mds_city import hour_of, read_answer

# some 8 MB, more than sockets hold
MANY = 25000


@pytest.fixture(scope="module")
def hour(city):
    """An hour with many events, and many trips: its city."""
    city.vehicles(100)
    city.events(MANY)
    city.trips(MANY // 100)
    return city


@pytest.fixture
def gone(hour):
    """Takes the table of events away, and gives it back."""
    def rename(old, new):
        hour.run("alter table if exists coco.%s rename to %s" % (old, new))

    yield lambda: rename("mds_event", "mds_event_gone")
    rename("mds_event_gone", "mds_event")


def whole(body):
    return len(json.loads(body)["events"]) == MANY


def await_begun(s):
    """Something has come."""
    assert s.recv(1, 2)     # MSG_PEEK


@pytest.mark.parametrize("version", ("1.0", "1.1"))
def test_a_slow_client_gets_all_of_it(hour, version):
    city = hour
    with city.ask(city.events_path(), version) as s:
        await_begun(s)
        before = city.memory()

        # while it takes nothing, others are served, by the same process
        others = [city.ask(city.events_path(), receive=4096)
                  for _ in range(20)]
        for other in others:
            await_begun(other)
        assert city.get("/mds/vehicles")["vehicles"]
        for other in others:
            other.close()
        assert city.memory() - before < 21 * 2048, "KiB"
        assert whole(read_answer(s))


def test_a_client_that_leaves_ends_the_statements(hour):
    city = hour
    before = city.counts("idx_tup_fetch", "^mds_trip$")["mds_trip"]
    with city.ask("/mds/trips?end_time=" + hour_of(city.ten)) as s:
        await_begun(s)
    city.worker_leave()
    read = await_for("statistics", lambda: city.counts(
        "idx_tup_fetch", "^mds_trip$")["mds_trip"] - before)
    assert 1000 <= read < MANY


@pytest.mark.parametrize("version", ("1.0", "1.1"))
def test_an_answer_that_cannot_be_ended_is_cut(hour, gone, version):
    city = hour
    with city.ask(city.events_path(), version) as s:
        await_begun(s)
        gone()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            read_answer(s)
    await_for("the log says so", lambda: "an answer was cut short" in open(
        city.nginx.log_path).read())


def test_what_cannot_begin_is_told(hour, gone):
    gone()
    reply = requests.get(hour.nginx.http + hour.events_path(),
                         headers=hour.headers, timeout=30)
    assert reply.status_code == 500
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_a_reload_lets_a_stream_end(hour):
    city = hour
    with city.ask(city.events_path()) as s:
        await_begun(s)
        old = city.nginx.reload()
        assert city.get("/mds/vehicles")["vehicles"]
        assert old <= city.nginx.workers()
        assert whole(read_answer(s))
    await_for("the old worker leaves",
              lambda: not old & city.nginx.workers())
