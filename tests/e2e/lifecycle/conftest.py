"""nginx alone with its backends: started, reloaded and stopped by the test,
with the configuration that users start from."""

import os
import re
import sys

import psycopg2
import pytest
import redis
import requests

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from harness import new_serial                # noqa: E402
from master import Master                     # noqa: E402
from stack import backends_only                # noqa: E402


class Nginx(Master):
    def __init__(self, stack, changes=(), globals_=""):
        with open(os.path.join(stack.folder, "coco.conf")) as file:
            super().__init__(stack, "lifecycle", file.read(), changes,
                             globals_)

    def get(self, path, timeout=10):
        return requests.get(self.http + path, timeout=timeout,
                            headers=self.stack.headers)

    def ready(self):
        return self.get("/readyz").status_code == 200

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def close(self):
        super().close()
        bad = re.findall(r".*(?:\[alert\]|\[emerg\]|on signal).*", self.log())
        assert not bad, bad


@pytest.fixture(scope="module")
def backends():
    with backends_only() as stack:
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
            " now(), now(), now(), '{\"battery\":{\"percent\":50},"
            "\"location\":{\"latitude\":1,\"longitude\":2}}')", (name,))
    connection.close()

    def remembered():
        redis.Redis.from_url(backends.redis_url).set(
            "robot.heartbeat.cache." + name, '{"serial":"%s"}' % name)
        return name

    return remembered
