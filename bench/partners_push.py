"""What partners are told: statuses of deliveries from their rows to a partner
that answers at once, over kept connections and over HTTP/2."""

import contextlib
import os
import subprocess
import time

import psycopg2

import common
import read

ROBOTS = 100
DELIVERIES = 2000
STATUSES = ("Created", "Assigned", "EnrouteToPickup", "AtPickup",
            "LoadedWaitingForPilot")
CONCURRENCY = 64
RATE = 10000            # the most that can be configured
ROUNDS = 3
DEADLINE = 60           # s for one round

# An order's statuses are in turn: of each delivery the oldest alone is due.
FILL = """
    with d as (
        insert into coco.delivery (provider, external_id, status, serial,
               pickup_latitude, pickup_longitude, dropoff_latitude,
               dropoff_longitude, created_at, updated_at)
        select %(provider)s, 'order-' || i, 'Completed',
               'sim-' || lpad((i %% %(robots)s + 1)::text, 4, '0'),
               34.01, -118.49, 34.02, -118.48, now(), now()
          from generate_series(1, %(deliveries)s) i
        returning *)
    insert into coco.partner_push (id, provider, delivery_id, kind, number,
                                   status, serial, ts, due_at)
    select gen_random_uuid(), d.provider, d.id, 'STATUS', s.number, s.status,
           d.serial, now(), case s.number when 1 then now() end
      from d, unnest(%(statuses)s) with ordinality s (status, number)"""

PARTNER = """
worker_processes 1;
pid {folder}/partner.pid;
error_log {folder}/partner.log warn;
events {{
    worker_connections 1024;
}}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/nginx;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls} ssl http2;
        ssl_certificate {folder}/partner.crt;
        ssl_certificate_key {folder}/partner.pem;
        default_type application/json;
        location / {{
            return 200 '{body}';
        }}
        location = /oauth/v2/token {{
            return 200 '{{"access_token":"bench","token_type":"Bearer",
                         "expires_in":3600}}';
        }}
    }}
}}
"""


def certify(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=partner", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
         os.path.join(folder, "partner.pem"), "-out",
         os.path.join(folder, "partner.crt")], check=True,
        capture_output=True)


def partner(stack, port, tls, body="{}"):
    """The configuration of an nginx that answers everything with this, over
    TLS too, and has access tokens."""
    certify(stack.folder)
    return PARTNER.format(folder=stack.folder, port=port, tls=tls, body=body)


class Rows:
    def __init__(self, stack):
        self.pg = psycopg2.connect(stack.postgres)
        self.pg.autocommit = True

    def one(self, statement, *arguments):
        with self.pg.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return cursor.fetchone()[0]

    def fill(self, provider):
        with self.pg.cursor() as cursor:
            cursor.execute("truncate coco.delivery, coco.partner_push cascade")
            cursor.execute(FILL, {
                "provider": provider, "robots": ROBOTS,
                "deliveries": DELIVERIES, "statuses": list(STATUSES)})

    def done(self):
        return not self.one("select exists (select from coco.partner_push"
                            " where state = 'PENDING')")

    def check(self):
        """All at once, by the first attempt, in their order."""
        bad = self.one(
            "select count(*) from (select *, lag(done_at) over"
            "  (partition by delivery_id order by number) as before"
            "  from coco.partner_push) p"
            " where state <> 'DELIVERED' or attempted <> 1"
            "  or before > attempted_at")
        if bad:
            raise RuntimeError("%d pushes were not delivered at once, or not "
                               "in their order" % bad)


def measure(stack, rows, provider):
    """(pushes per second, CPU us each by process)"""
    rows.fill(provider)
    cpu = common.Cpu(**{"coco-worker": stack.pid("worker"),
                        "Postgres": stack.pid("postgres")})
    began = time.monotonic()
    common.wait_for(rows.done, DEADLINE, "the last push", every=0.05)
    seconds = time.monotonic() - began
    spent = cpu.spent()
    rows.check()
    count = DELIVERIES * len(STATUSES)
    return count / seconds, {name: us / count for name, us in spent.items()}


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = common.private_stack(only="postgres redis mqtt worker")
        cleanup.callback(stack.close)
        port, tls = stack.port + 4, stack.port + 5
        stack.environment.update(
            COCO_UBER_URL="http://127.0.0.1:%d" % port,
            COCO_DOORDASH_URL="https://127.0.0.1:%d" % tls,
            COCO_WORKER_PARTNERS_TLS_CA_FILE=os.path.join(stack.folder,
                                                          "partner.crt"),
            COCO_WORKER_PARTNERS_CONCURRENCY=str(CONCURRENCY),
            COCO_WORKER_UBER_RATE=str(RATE),
            COCO_WORKER_DOORDASH_RATE=str(RATE))
        cleanup.callback(read.Nginx(
            stack.folder, "partner.conf", partner(stack, port, tls)).close)
        stack.up()
        common.sim(stack.mqtt_port, "--robots", ROBOTS, "--burst", ROBOTS)

        rows = Rows(stack)
        common.wait_for(lambda: rows.one(
            "select count(*) from coco.resource") == ROBOTS, 30, "the robots")
        report(table, {name: [measure(stack, rows, provider)
                              for _ in range(ROUNDS)]
                       for name, provider in (("HTTP/1.1", "uber"),
                                              ("HTTP/2, TLS", "doordash"))})


def report(table, done):
    for name, rounds in done.items():
        common.say("  %s: %s" % (name, "  ".join(
            "%.0f/s" % rate for rate, _ in rounds)))
        table.add("pushes, %d calls at a time, %s" % (CONCURRENCY, name),
                  common.median([rate for rate, _ in rounds]), "/s")
        for process in rounds[0][1]:
            table.add("  CPU of %s, each" % process,
                      common.median([cpu[process] for _, cpu in rounds]),
                      "us")
