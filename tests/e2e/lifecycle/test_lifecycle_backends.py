"""Backends that are not there yet, die, or hang in the middle of a request:
an answer in time, never a hang, a crash or a worker that does not recover."""

import contextlib
import os
import signal
import threading
import time

import psycopg2
import pytest
import requests

from harness import await_for

PATIENT = [(r"coco_redis_timeout \w+", "coco_redis_timeout 20s"),
           (r"coco_postgres_timeout \w+", "coco_postgres_timeout 20s")]


class Request(threading.Thread):
    """One GET in the background: status and seconds once done."""

    def __init__(self, nginx, path):
        super().__init__(daemon=True)
        self.nginx, self.path = nginx, path
        self.status = None
        self.start()

    def run(self):
        begun = time.monotonic()
        self.status = self.nginx.get(self.path, 30).status_code
        self.seconds = time.monotonic() - begun


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def locked(backends):
    """No statement that reads robot_state ends."""
    connection = psycopg2.connect(backends.postgres)
    connection.cursor().execute("lock table coco.robot_state")
    try:
        yield
    finally:
        connection.close()


def waiting(backends):
    """Statements of nginx that wait for a lock."""
    connection = psycopg2.connect(backends.postgres)
    cursor = connection.cursor()
    cursor.execute("select count(*) from pg_stat_activity where application_"
                   "name = 'coco-nginx' and wait_event_type = 'Lock'")
    count = cursor.fetchone()[0]
    connection.close()
    return count


def unread(port):
    """Bytes that a stopped server on this port has been sent."""
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in file][1:]
    return sum(int(line[4].split(":")[1], 16) for line in lines
               if line[1].endswith(":%04X" % port) and line[3] == "01")


def labor(name):
    return "/fleet/v1/labor/robots/" + name


def test_starts_without_backends_and_finds_them(backends, nginx, serial):
    name = serial()
    backends.kill("redis")
    backends.kill("postgres")
    one = nginx()

    assert one.get("/readyz").status_code == 503
    assert one.get(labor(name)).status_code == 503
    assert one.get("/state/" + name).status_code == 503
    assert one.get("/robots?limit=1").status_code == 503

    backends.restart("redis")
    backends.restart("postgres")
    serial()

    # each process finds them by itself
    for path in ("/readyz", labor(name), "/state/" + name, "/robots?limit=1"):
        await_for(path, lambda: all(one.get(path).ok for _ in range(20)))
    assert one.quit() < 5


def test_redis_killed_in_a_request(backends, nginx, serial):
    name = serial()
    one = nginx(PATIENT)
    assert one.get(labor(name)).status_code == 200

    with stopped(backends.pid("redis")):
        asked = [Request(one, labor(name)) for _ in range(8)]
        await_for("they are under way",
                  lambda: unread(backends.redis_port) >= 8 * len(name))
        backends.kill("redis")
        for request in asked:
            request.join(15)
            assert request.status == 200    # by Postgres' record
            assert request.seconds < 15     # not after its patience

    # the rest still answers the question
    reply = one.get("/robots/" + name)
    assert (reply.status_code, reply.json()["partial"]) == (200, True)

    backends.restart("redis")
    await_for("found again", one.ready)


def test_postgres_killed_in_a_request(backends, nginx, serial):
    name = serial()
    one = nginx(PATIENT)
    assert one.get("/state/" + name).status_code == 200

    with locked(backends):
        asked = [Request(one, "/state/" + name) for _ in range(4)]
        asked += [Request(one, "/robots?limit=1") for _ in range(4)]
        await_for("they wait", lambda: waiting(backends) >= 2)
        backends.kill("postgres")
        for request in asked:
            request.join(15)
            assert request.status == 503

    assert one.get(labor(name)).status_code == 200
    backends.restart("postgres")
    await_for("found again", lambda: one.get("/state/" + name).ok)


def test_a_backend_that_hangs(backends, nginx, serial):
    """Each request ends in its time; once the connection is given up, at
    once; and all is well when the server wakes up."""
    name = serial()
    one = nginx()
    await_for("ready", one.ready)

    with stopped(backends.pid("redis")):
        begun = time.monotonic()
        assert one.get(labor(name)).status_code == 200
        assert time.monotonic() - begun < 2

        def given_up():
            begun = time.monotonic()
            assert one.get(labor(name)).status_code == 200
            return time.monotonic() - begun < 0.1

        await_for("answers without waiting", given_up, every=0.3)

    await_for("found again", lambda: one.get("/readyz").ok)


def test_clients_that_go_away_leave_nothing(backends, nginx, serial):
    name = serial()
    one = nginx([(r"coco_postgres_timeout \w+", "coco_postgres_timeout 20s"),
                 (r"worker_processes \w+", "worker_processes 1")])
    await_for("ready", one.ready)
    (worker,) = one.workers()

    def clients():
        """Connections that nginx holds, closed by the other side or not."""
        with open("/proc/net/tcp") as file:
            lines = [line.split() for line in file][1:]
        return sum(line[1].endswith(":%04X" % backends.port)
                   and line[3] in ("01", "08") for line in lines)

    with locked(backends):
        for _ in range(20):
            for path in ("/state/" + name, "/robots?limit=1"):
                with pytest.raises(requests.Timeout):
                    one.get(path, 0.05)
        await_for("they are forgotten", lambda: clients() == 0)

    await_for("both lanes are free", one.ready)
    assert one.get("/state/" + name).status_code == 200
    assert one.get("/robots?limit=1").status_code == 200
    assert one.workers() == {worker}
