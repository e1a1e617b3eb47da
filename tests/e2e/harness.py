"""What the end-to-end suites share: a running system as a client sees it, and
waiting with a deadline. It must never look inside the programs it tests.
"""

import itertools
import json
import os
import socket
import sys
import time
from urllib.parse import urlsplit

import psycopg2
import redis
import requests

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "fault"),
                os.path.dirname(__file__)]

from publisher import Publisher     # noqa: E402
from queues import Queues           # noqa: E402

AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError, redis.RedisError,
        requests.RequestException, ConnectionError)

_numbers = itertools.count(1)
_run = "%x" % (int(time.time()) & 0xffffff)


def now_ms():
    return int(time.time() * 1000)


def new_serial(prefix="e2e"):
    """Of no other test, also of none of an earlier run on the same stack."""
    return "%s-%s-%d" % (prefix, _run, next(_numbers))


def await_for(what, probe, seconds=60, every=0.02):
    """Polls until probe() is true and returns that. A backend that is away, or
    an assertion that fails, counts as not yet; the last one is shown."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            last = probe()
            if last:
                return last
        except (AssertionError, *AWAY) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError("%s: not within %g s; last seen: %r"
                                 % (what, seconds, last))
        time.sleep(every)


def heartbeat(ts, state=None, battery=80, latitude=37.77, longitude=-122.41,
              **members):
    """A heartbeat as a robot sends it, as a dict."""
    beat = {"ts": ts, "battery": {"percent": battery, "charging": False},
            "location": {"latitude": latitude, "longitude": longitude,
                         "speed": 0.5},
            "components": {"lidar": "OK", "motor": "OK"}}
    if state is not None:
        beat["state"] = state
    beat.update(members)
    return beat


def connectivity(serial=None, unit="streamer", status="online", uuid=None,
                 at=None, **members):
    """A webhook of DriveU's, as a dict; at in ms, now without it."""
    return {"eventName": "status", "unit": unit, "status": status,
            "uuid": uuid or "u-%s" % serial, "vin": serial,
            "time": (now_ms() if at is None else at) * 1000, **members}


def metric(url, name, lane):
    """Of the worker whose metrics are there, None when it is away."""
    try:
        text = requests.get(url, timeout=10).text
    except requests.RequestException:
        return None
    for line in text.splitlines():
        if line.startswith('%s{lane="%s"}' % (name, lane)):
            return float(line.split()[-1])
    return None


class System:
    """A running stack. env is what `./coco stack env` prints, as a dict."""

    def __init__(self, env):
        self.url = env["COCO_HTTP"].rstrip("/")
        self.mqtt_port = int(env["COCO_MQTT_PORT"])
        self.metrics_url = env["COCO_METRICS"]
        self.token = env["COCO_TOKEN"]
        self.jwt_key_file = env["COCO_JWT_KEY_FILE"]
        self.pg_url = env["COCO_PG_URL"]
        self.driveu_secret = env.get("COCO_DRIVEU_SECRET")
        self.uber_signing_key = env.get("COCO_UBER_SIGNING_KEY")
        self.doordash_token = env.get("COCO_DOORDASH_TOKEN")
        self.queues = Queues(env) if "COCO_SQS_URL" in env else None
        self.http = requests.Session()
        self.http.headers["Authorization"] = "Bearer " + self.token
        self.redis = redis.Redis.from_url(
            env["COCO_REDIS_URL"], decode_responses=True, socket_timeout=5)
        self._pg = None
        self._publisher = Publisher(self.mqtt_port, "e2e-" + _run,
                                    reconnects=0)

    def close(self):
        self.http.close()
        self.redis.close()
        self._publisher.close()
        if self.queues is not None:
            self.queues.close()
        if self._pg is not None:
            self._pg.close()

    def sql(self, query, *args):
        """Rows of one statement, committed at once."""
        try:
            return self._sql(query, args)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if self._pg is None or not self._pg.closed:
                raise
            return self._sql(query, args)   # the server was restarted

    def _sql(self, query, args):
        if self._pg is None or self._pg.closed:
            self._pg = psycopg2.connect(self.pg_url, connect_timeout=5)
            self._pg.autocommit = True
        with self._pg.cursor() as cursor:
            cursor.execute(query, args)
            return cursor.fetchall() if cursor.description else []

    def value(self, query, *args):
        rows = self.sql(query, *args)
        return rows[0][0] if rows else None

    def get(self, path, status=200, **params):
        """The decoded answer, whose status must be this one."""
        return self.call("GET", path, status, params=params)

    def call(self, method, path, status=200, **kwargs):
        reply = self.http.request(method, self.url + path, timeout=30,
                                  **kwargs)
        assert reply.status_code == status, (
            "%s %s: %d %s" % (method, path, reply.status_code, reply.text))
        return reply.json() if reply.content else None

    def items(self, path, **params):
        """Every item of a list, page after page."""
        while True:
            page = self.get(path, **params)
            yield from page["items"]
            if page["nextCursor"] is None:
                return
            params["cursor"] = page["nextCursor"]

    def publish(self, *messages, kind="status"):
        """Publishes (serial, payload) pairs, in order; returns once the broker
        has acknowledged all. A payload is a dict, or bytes as they are."""
        count = self._publisher.publish(
            (None, b"robot/%b/%b" % (serial.encode(), kind.encode()),
             payload if isinstance(payload, bytes)
             else json.dumps(payload).encode())
            for serial, payload in messages)
        assert count == len(messages)

    def webhook(self, event, status=202, **headers):
        """Sends what DriveU sends; returns the decoded answer."""
        return self.call("POST", "/driveu/webhook", status, json=event,
                         headers={"X-DriveU-Token": self.driveu_secret,
                                  **headers})

    def beat(self, serial, *args, **kwargs):
        """Publishes one heartbeat() and waits until it is in the history."""
        beat = heartbeat(*args, **kwargs)
        self.publish((serial, beat))
        self.await_history(serial, beat["ts"])
        return beat

    def history(self, serial):
        """(ts, state) of every stored heartbeat, oldest first, late ones
        included."""
        return self.sql(
            "select round(extract(epoch from date) * 1000)::bigint, state"
            "  from (select * from coco.state_history where serial = %s"
            "        union all"
            "        select * from coco.state_history_late where serial = %s)"
            "       as h order by date, id", serial, serial)

    def await_history(self, serial, ts, count=1, seconds=60):
        await_for("heartbeat %s %d in the history" % (serial, ts), lambda: [
            row[0] for row in self.history(serial)].count(ts) == count,
            seconds)

    def cached(self, serial):
        """The robot's heartbeat cache, decoded, or None."""
        text = self.redis.get("robot.heartbeat.cache." + serial)
        return text and json.loads(text)

    def await_cached(self, serial, ts, seconds=60):
        return await_for("heartbeat %s %d in Redis" % (serial, ts), lambda: (
            lambda c: c and c["ts"] == ts and c)(self.cached(serial)), seconds)

    def metric(self, name, lane="telemetry"):
        """A metric of the worker, None when it is away."""
        return metric(self.metrics_url, name, lane)

    def raw(self, data, seconds=30):
        """Sends bytes to nginx as they are; (status, headers, body) of the
        first answer, status None when it only closed."""
        address = urlsplit(self.url)
        with socket.create_connection((address.hostname, address.port),
                                      seconds) as sock:
            try:
                sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass                    # refused before it was all read
            reply = b""
            while True:
                try:
                    part = sock.recv(1 << 16)
                except ConnectionResetError:
                    break
                if not part:
                    break
                reply += part
        head, _, body = reply.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not lines[0]:
            return None, {}, b""
        headers = {name.strip().lower(): value.strip() for name, _, value in
                   (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), headers, body
