"""nginx alone with its backends: started, reloaded and stopped by the test,
with the configuration that users start from."""

import os
import re
import signal
import subprocess
import sys
import time

import psycopg2
import pytest
import redis
import requests

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from harness import await_for, new_serial     # noqa: E402
from stack import Stack                       # noqa: E402

NGINX = os.environ.get("COCO_NGINX", "nginx")


class Nginx:
    """One master (or single process) in the stack's place."""

    def __init__(self, stack, changes=(), globals_=""):
        self.stack, self.http = stack, stack.http
        self.log_path = os.path.join(stack.folder, "log", "lifecycle.log")
        self.conf = os.path.join(stack.folder, "lifecycle.conf")
        with open(os.path.join(stack.folder, "coco.conf")) as file:
            text = file.read()
        for pattern, value in changes:
            text, count = re.subn(pattern, value, text)
            assert count == 1, pattern
        with open(self.conf, "w") as file:
            file.write(text)
        open(self.log_path, "w").close()
        pid = os.path.join(stack.folder, "lifecycle.pid")
        self.process = subprocess.Popen(
            [NGINX, "-p", os.path.join(stack.folder, "nginx/"), "-c",
             self.conf, "-e", self.log_path, "-g",
             'daemon off; pid "%s"; %s' % (pid, globals_)])
        await_for("nginx answers", lambda: self.get("/healthz").ok)

    def get(self, path, timeout=10):
        return requests.get(self.http + path, timeout=timeout,
                            headers=self.stack.headers)

    def ready(self):
        return self.get("/readyz").status_code == 200

    def workers(self):
        """Pids; of a single process its own."""
        path = "/proc/%d/task/%d/children" % ((self.process.pid,) * 2)
        with open(path) as file:
            return set(map(int, file.read().split())) or {self.process.pid}

    def reload(self):
        """Returns the workers of before; new ones serve already."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        await_for("new workers", lambda: self.workers() - old)
        return old

    def quit(self, seconds=10):
        """Gracefully; returns how long it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGQUIT)
        assert self.process.wait(seconds) == 0
        return time.monotonic() - begun

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        bad = re.findall(r".*(?:\[alert\]|\[emerg\]|on signal).*", self.log())
        assert not bad, bad


@pytest.fixture(scope="module")
def backends():
    """Postgres and Redis, and a coco.conf for them; the port is free."""
    with Stack(only="postgres redis nginx") as stack:
        stack.up()
        stack.kill("nginx")
        yield stack


@pytest.fixture
def nginx(backends):
    """A function that starts nginx."""
    started = []

    def start(*arguments, **named):
        started.append(Nginx(backends, *arguments, **named))
        return started[-1]

    yield start

    for name in ("redis", "postgres"):
        backends.restart(name)
    for one in started:
        one.close()


@pytest.fixture
def serial(backends):
    """A robot, in Postgres and in Redis. A function: Redis forgets."""
    name = new_serial("life")
    with psycopg2.connect(backends.postgres) as connection:
        connection.cursor().execute(
            "insert into coco.robot_state (serial, id, state, ts, received_at,"
            " order_ts, details) values (%s, gen_random_uuid(), 'PARKED',"
            " now(), now(), now(), '{}')", (name,))
    connection.close()

    def remembered():
        redis.Redis.from_url(backends.redis_url).set(
            "robot.heartbeat.cache." + name, '{"serial":"%s"}' % name)
        return name

    return remembered
