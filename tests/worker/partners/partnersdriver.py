"""The driver of what tells partners, a partner that keeps all that it got, and
deliveries that change."""

import collections
import http.server
import json
import os
import threading
import time

import native
import psycopg2
from native import BUILD, ROOT, until

DRIVER = os.path.join(BUILD, "tests", "partners_driver")
PKGS = ["libpq", "libcrypto", "inih", "libcurl"]
SIGNING_SECRET = "c2VjcmV0LW9mLWEtdGVzdC1vZi1vdXJzLWFsb25lLg"
CLIENT_SECRET = "a secret & more="
STATUSES = ["Created", "Assigned", "EnrouteToPickup", "AtPickup",
            "LoadedWaitingForPilot", "EnrouteToDropoff", "AtDropoff",
            "Completed"]


def build():
    native.build(os.path.join(os.path.dirname(__file__), "driver.c"),
                 "partners_driver", PKGS)


Call = collections.namedtuple(
    "Call", "at path key authorization body status version method headers")


class Partner:
    """Uber, DoorDash and the server of tokens on one port. What it got is in
    `calls` in order, tokens it gave in `tokens`. `answer(call, number)` says
    what it answers: a status, or (status, headers), or None: it hangs."""

    def __init__(self, port=0):
        self.calls, self.fetches, self.tokens = [], [], []
        self.fetching = self.most_fetches = 0
        self.lock = threading.Lock()
        self.answer = lambda call, number: 200
        self.token = lambda number: (200, {
            "access_token": "token-%d" % number, "expires_in": 3600})
        self.said = lambda call: b'{"said":"%d"}' % call.status
        self.released = threading.Event()
        partner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                partner.serve(self)

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, *_):
                pass                    # a client that was killed

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.url = "http://127.0.0.1:%d" % self.port
        threading.Thread(target=self.server.serve_forever,
                         kwargs={"poll_interval": 0.05}, daemon=True).start()

    def serve(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        if request.path == "/oauth/v2/token":
            return self.serve_token(request, body)
        call = Call(time.monotonic(), request.path,
                    request.headers["idempotency-key"],
                    request.headers["authorization"], body, None,
                    request.request_version, request.command,
                    dict(request.headers))
        with self.lock:
            number = len(self.calls)
            answer = self.answer(call, number)
            status, headers = (answer if isinstance(answer, tuple)
                               else (answer, {}))
            call = call._replace(status=status)
            self.calls.append(call)
        if status is None:
            self.released.wait(60)
            request.close_connection = True
            return
        self.reply(request, status, self.said(call), headers)

    def serve_token(self, request, body):
        with self.lock:
            self.fetching += 1
            self.most_fetches = max(self.most_fetches, self.fetching)
            self.fetches.append((body, dict(request.headers)))
            status, reply = self.token(len(self.fetches))
            if status is not None and "access_token" in (reply or {}):
                self.tokens.append(reply["access_token"])
        if status is None:
            # until the one who asked has gone
            request.connection.settimeout(60)
            request.close_connection = True
            request.connection.recv(1)
        with self.lock:
            self.fetching -= 1
        if status is None:
            return
        self.reply(request, status, json.dumps(reply).encode(), {})

    @staticmethod
    def reply(request, status, body, headers):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def of(self, external):
        """What it got of a delivery, in order."""
        with self.lock:
            return [c for c in self.calls
                    if ('"%s"' % external).encode() in c.body]

    def statuses(self, external, taken=False):
        """The statuses that it got, each once, in the order of the first."""
        return [body_status(c) for c in first_of_each(self.of(external))
                if body_status(c) and (not taken or c.status == 200)]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


def first_of_each(calls):
    seen = {}
    for call in calls:
        seen.setdefault(call.key, call)
    return list(seen.values())


def body_status(call):
    body = json.loads(call.body)
    return body.get("delivery_status") or body.get("status")


class Servers:
    """A stack's Postgres."""

    def __init__(self, stack):
        self.stack = stack

    def query(self, sql, *args):
        connection = psycopg2.connect(self.stack.postgres)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def deliver(self, external, provider="doordash", serial="R-1",
                statuses=STATUSES):
        """A delivery with these statuses, one event each; its id."""
        identity = self.query(
            "insert into coco.delivery (provider, external_id, status,"
            " pickup_latitude, pickup_longitude, dropoff_latitude,"
            " dropoff_longitude, created_at, updated_at, changes)"
            " values (%s, %s, 'Created', 1, 2, 3, 4, now(), now(), 0)"
            " returning id::text", provider, external)[0][0]
        self.move(identity, statuses, serial)
        return identity

    def move(self, identity, statuses, serial="R-1", reason=None):
        """Changes of a delivery, each in a transaction."""
        connection = psycopg2.connect(self.stack.postgres)
        try:
            for status in statuses:
                with connection, connection.cursor() as cursor:
                    cursor.execute(
                        "with d as (update coco.delivery set status = %s,"
                        " serial = %s, changes = changes + 1,"
                        " updated_at = clock_timestamp()"
                        " where id = %s returning *)"
                        " select coco.delivery_event_put(d::coco.delivery,"
                        "  null, %s) from d",
                        (status, None if status == "Created" else serial,
                         identity, reason))
        finally:
            connection.close()

    def robot(self, serial, latitude=34.1, longitude=-118.3, battery=81.5):
        """A heartbeat of now, as the dispatch service leaves it."""
        self.query(
            "insert into coco.resource as r (id, data, telemetry_ts,"
            " telemetry_order_ts) values (%s, %s, now(), now())"
            " on conflict (id) do update set data = r.data || excluded.data,"
            "  telemetry_order_ts = clock_timestamp()", serial,
            json.dumps({"status": "ONLINE", "battery": battery,
                        "location": {"latitude": latitude,
                                     "longitude": longitude}}))

    def pushes(self, identity, columns="status, state"):
        return self.query(
            "select %s from coco.partner_push where delivery_id = %%s"
            " and kind = 'STATUS' order by number" % columns, identity)

    def pending(self):
        return self.query("select count(*) from coco.partner_push"
                          " where state = 'PENDING' and kind = 'STATUS'")[0][0]

    def replay(self, letter):
        """The status that nginx would answer."""
        return self.answer(letter)[0]

    def answer(self, letter):
        """The same, and the body, or why it is refused."""
        return self.query(
            "select status, response from coco.dead_letter_replay('t', 'r',"
            " gen_random_uuid()::text, '', %s)", letter)[0]


class Driver(native.Driver):
    def __init__(self, servers, partner, **options):
        environment = dict(
            os.environ,
            COCO_WORKER_PARTNERS_MAP=ROOT + "/conf/partners.json",
            COCO_WORKER_PARTNERS_POLL="20ms",
            COCO_WORKER_PARTNERS_RETRY_MIN="20ms",
            COCO_WORKER_PARTNERS_RETRY_MAX="200ms",
            COCO_WORKER_PARTNERS_BREAKER_FAILURES="1000",
            COCO_WORKER_PARTNERS_LOCATION_INTERVAL="0s",
            COCO_WORKER_UBER_BASE_URL=partner.url,
            COCO_WORKER_UBER_RATE="10000",
            COCO_WORKER_UBER_OAUTH_URL=partner.url + "/oauth/v2/token",
            COCO_WORKER_UBER_CLIENT_ID="client-1",
            COCO_WORKER_UBER_CLIENT_SECRET=CLIENT_SECRET,
            COCO_WORKER_DOORDASH_BASE_URL=partner.url + "/",
            COCO_WORKER_DOORDASH_RATE="10000",
            COCO_WORKER_DOORDASH_DEVELOPER_ID="developer-1",
            COCO_WORKER_DOORDASH_KEY_ID="key-1",
            COCO_WORKER_DOORDASH_SIGNING_SECRET=SIGNING_SECRET,
            COCO_WORKER_LOG_LEVEL="debug",
            COCO_WORKER_POSTGRES_CONNINFO=servers.stack.postgres)
        for name in [n for n, v in options.items() if v is None]:
            del environment["COCO_WORKER_" + name.upper()]
            del options[name]
        super().__init__(DRIVER, environment, options)

    def status(self):
        """(alive, sending, in flight)"""
        return tuple(map(int, self.ask("status", "status")[-1].split()[1:]))

    def sends(self):
        until(lambda: self.status()[:2] == (1, 1))
        return self

    def metric(self, name, partner="doordash"):
        return sum(float(line.split()[-1])
                   for line in self.ask("metrics", ".")
                   if line.startswith('%s{partner="%s"}' % (name, partner)))

    def end(self):
        super().end()
        said = "\n".join(self.errors)
        for secret in (CLIENT_SECRET, SIGNING_SECRET, "Bearer", "token-"):
            assert secret not in said
