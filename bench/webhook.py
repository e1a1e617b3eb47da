"""DriveU's webhooks, answered once they are committed: nginx, whose webhooks
that wait during one commit share the next, and a Fastify handler that inserts
a row for each, into the same Postgres."""

import contextlib
import os
import subprocess

import psycopg2

import common
import read
import write

CONNECTIONS = 64
ROUNDS = 3
SECONDS = 4             # of one measurement
POOLS = (10, 40)        # connections of the peer: its best counts
PATH = "/driveu/webhook"


def load(url, secret, period):
    """(webhooks per second, p99 in ms, how many)"""
    return common.wrk("webhook.lua", url + PATH, SECONDS, CONNECTIONS,
                      period=period, WRK_TOKEN=secret,
                      WRK_TIME=str(common.now_ms() * 1000))


class Fastify:
    """Waits until it answers: 401, for it is asked without the secret."""

    def __init__(self, stack, port, secret, pool, script="webhook.js",
                 path=PATH):
        self.process = subprocess.Popen(
            ["node", script], cwd=write.NODE, stdin=subprocess.DEVNULL,
            env=dict(os.environ, PG_URL=stack.postgres, PORT=str(port),
                     SECRET=secret, POOL=str(pool)))
        common.wait_for(lambda: refuses(port, path), 20, "Fastify")

    def close(self):
        common.end(self.process)


def refuses(port, path=PATH):
    body = ('{"eventName":"status","unit":"node","status":"x","uuid":"x",'
            '"time":1}')
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", body,
         "-H", "Content-Type: application/json",
         "http://127.0.0.1:%d%s" % (port, path)],
        capture_output=True, text=True)
    return done.stdout == "401"


class Inbox:
    """Empty before each measurement, and looked at after it."""

    def __init__(self, stack, load):
        self.load = load
        self.pg = psycopg2.connect(stack.postgres)
        self.pg.autocommit = True

    def clear(self):
        self.pg.cursor().execute("truncate coco.webhook_inbox")

    def holds(self, least):
        """What was answered is there; what wrk did not wait for, too, when it
        stopped (the server may have taken the next of each by then)."""
        with self.pg.cursor() as cursor:
            cursor.execute("select count(*) from coco.webhook_inbox")
            rows = cursor.fetchone()[0]
        if not least <= rows <= least + 2 * CONNECTIONS:
            raise RuntimeError("%d answered, %d stored" % (least, rows))

    def measure(self, url, secret, period=0):
        self.clear()
        rate, p99, count = self.load(url, secret, period)
        self.holds(count)
        return rate, p99


def ours(stack, port):
    """One process, placed where the kernel puts it: Postgres works too."""
    return read.ours(stack, port).replace("worker_cpu_affinity 01;\n", "")


def run(table):
    write.npm()
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis nginx"))
        stack.up()
        secret = stack.env()["COCO_DRIVEU_SECRET"]
        port = stack.port + 4
        urls = {"nginx": "http://127.0.0.1:%d" % port}
        cleanup.callback(read.Nginx(stack.folder, "webhook.conf",
                                    ours(stack, port)).close)
        common.wait_for(lambda: refuses(port), 10, "nginx")
        for i, pool in enumerate(POOLS):
            cleanup.callback(Fastify(stack, port + 1 + i, secret, pool).close)
            urls["Fastify, pool of %d" % pool] = "http://127.0.0.1:%d" % (
                port + 1 + i)
        report(table, measure(Inbox(stack, load), urls, secret))


def pause_of(inbox, url, secret, rate):
    """How many ms a connection pauses at half this rate: a turn of it is that
    and its answer, which one measurement tells."""
    turn = CONNECTIONS * 2000 / rate
    took = CONNECTIONS * 1000 / inbox.measure(url, secret, turn)[0]
    return max(1, turn - (took - turn))


def measure(inbox, urls, secret):
    """{name: (rate, p99 at half of it)}, medians."""
    full = {name: [] for name in urls}
    half = {name: [] for name in urls}
    for name, url in urls.items():
        inbox.measure(url, secret)
    for _ in range(ROUNDS):
        for name, url in urls.items():
            full[name].append(inbox.measure(url, secret)[0])
        common.say("  " + "  ".join("%s %.0f/s" % (name, rates[-1])
                                    for name, rates in full.items()))
    pauses = {name: pause_of(inbox, url, secret, common.median(full[name]))
              for name, url in urls.items()}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            half[name].append(inbox.measure(url, secret, pauses[name]))
        common.say("  at half: " + "  ".join(
            "%s %.0f/s p99 %.1f ms" % (name, *rounds[-1])
            for name, rounds in half.items()))
    return {name: (common.median(full[name]),
                   common.median([p99 for _, p99 in half[name]]))
            for name in urls}


def report(table, done, what="webhooks"):
    rate, p99 = done.pop("nginx")
    peer = max(done, key=lambda name: done[name][0])
    table.add("%s stored, nginx" % what, rate, "/s")
    table.add("  ratio to %s (%.0f/s)" % (peer, done[peer][0]),
              rate / done[peer][0], "x", 4)
    table.add("  p99 at half load (peer at its half: %.1f)" % done[peer][1],
              p99, "ms", 10, least=False)
