"""Heartbeats from a full queue of the broker to Postgres and Redis:
coco-worker, a Node.js consumer that writes the same, and COPY of the rows."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import time

import psycopg2
import redis

import common

ROBOTS = 1000
HEARTBEATS = 100000
HZ = 2                  # the queue holds the last 50 s of each robot
ROUNDS = 3
TABLES = ("state_history state_history_late robot_state robot_operation "
          "robot_state_history fleet_robot resource outbox dead_letter "
          "webhook_inbox")
NODE = os.path.join(common.ROOT, "bench", "node")
DEADLINE = 120          # s for one round


class Side:
    """One consumer with servers of its own. run() fills the broker's queue
    while it is away, starts it, and returns what that took."""

    count = HEARTBEATS
    servers = {"postgres": "postgres", "redis": "redis", "mosquitto": "mqtt"}

    def __init__(self, **options):
        self.stack = common.private_stack(**options)

    def open(self):
        self.stack.up()
        self.pg = psycopg2.connect(self.stack.postgres)
        self.pg.autocommit = True
        self.redis = redis.Redis(port=self.stack.redis_port)

    def close(self):
        self.stack.close()

    def start(self):
        """Starts the consumer; returns its process."""
        raise NotImplementedError

    def clear(self):
        with self.pg.cursor() as cursor:
            cursor.execute("truncate " + ", ".join(
                "coco." + table for table in TABLES.split()))
        self.redis.flushall()
        with contextlib.closing(psycopg2.connect(
                self.stack.postgres, user="postgres")) as admin:
            admin.autocommit = True
            admin.cursor().execute("checkpoint")

    def history(self):
        with self.pg.cursor() as cursor:
            cursor.execute("select count(*) from coco.state_history")
            return cursor.fetchone()[0]

    def readable(self, last):
        """Does Redis show the last heartbeat of every robot?"""
        def shows(serials):
            values = self.redis.mget(["robot.heartbeat.cache." + serial
                                      for serial in serials])
            return all(value and json.loads(value)["ts"] == last[serial]
                       for serial, value in zip(serials, values))
        serials = list(last)
        return shows(serials[-3:]) and shows(serials)

    def fill(self):
        """Queues the heartbeats; returns the last ts of each robot."""
        period = 1e6 / HZ
        turns = HEARTBEATS // ROBOTS
        start = common.now_ms() - int(turns * period / 1000)
        common.sim(self.stack.mqtt_port, "--robots", ROBOTS, "--hz", HZ,
                   "--burst", HEARTBEATS, "--start-ms", start)
        return {"sim-%04d" % (turn % ROBOTS + 1):
                start + int(turn * period / ROBOTS) // 1000
                for turn in range(HEARTBEATS - ROBOTS, HEARTBEATS)}

    def run(self):
        self.clear()
        last = self.fill()
        servers = common.Cpu(**{name: self.stack.pid(server) for
                                name, server in self.servers.items()})
        began = time.monotonic()
        process = self.start()
        try:
            common.wait_for(lambda: self.readable(last), DEADLINE,
                            "the last heartbeat", every=0.01)
            common.wait_for(lambda: self.history() == self.count, DEADLINE,
                            "the last row", every=0.05)
            seconds = time.monotonic() - began
            spent = dict(consumer=common.cpu_us(process.pid),
                         **servers.spent())
        finally:
            common.end(process)
        return self.count / seconds, {name: us / self.count
                                      for name, us in spent.items()}


class Worker(Side):
    environment = {}        # the worker's, beside what it inherits

    def __init__(self):
        super().__init__(only="postgres redis mqtt worker")

    def open(self):
        super().open()
        self.stack.kill("worker")       # its sessions stay with the broker

    def start(self):
        folder = self.stack.folder
        with open(os.path.join(folder, "log", "worker.log"), "a") as log:
            return subprocess.Popen(
                [os.path.join(common.ROOT, "bin", "coco-worker"), "-c",
                 os.path.join(folder, "coco-worker.conf")],
                cwd=common.ROOT, env=dict(os.environ, **self.environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Node(Side):
    def __init__(self):
        super().__init__(only="postgres redis mqtt")

    def open(self):
        super().open()
        self.environment = dict(
            os.environ, PG_URL=self.stack.postgres,
            REDIS_URL=self.stack.redis_url,
            MQTT_URL="mqtt://127.0.0.1:%d" % self.stack.mqtt_port)
        first = self.start(subprocess.PIPE)
        if first.stdout.readline().strip() != b"subscribed":
            raise RuntimeError("the Node.js consumer does not subscribe")
        common.end(first)

    def start(self, stdout=subprocess.DEVNULL):
        return subprocess.Popen(["node", "consumer.js"], cwd=NODE,
                                env=self.environment, stdout=stdout)


def copy(side):
    """COPY of the rows that are there, into the same empty table."""
    rows = io.BytesIO()
    with side.pg.cursor() as cursor:
        cursor.copy_expert("copy (select * from coco.state_history "
                           "order by received_at) to stdout", rows)
        cursor.execute("truncate coco.state_history")
        rows.seek(0)
        cpu = common.Cpu(postgres=side.stack.pid("postgres"))
        began = time.monotonic()
        cursor.copy_expert("copy coco.state_history from stdin", rows)
        seconds = time.monotonic() - began
    if side.history() != HEARTBEATS:
        raise RuntimeError("COPY lost rows")
    return HEARTBEATS / seconds, {
        name: us / HEARTBEATS for name, us in cpu.spent().items()}


def npm():
    if not shutil.which("node") or not shutil.which("npm"):
        raise RuntimeError("the peers need Node.js 20 or later and npm")
    if not os.path.isdir(os.path.join(NODE, "node_modules", "fastify")):
        common.say("  installing the peers' packages")
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"],
                       cwd=NODE, check=True)


def cpu_add(table, who, rounds):
    for name in rounds[0][1]:
        table.add("CPU of %s, per heartbeat" % (
                      who if name == "consumer" else
                      "%s under %s" % (name, who)),
                  common.median([cpu[name] for _, cpu in rounds]), "us",
                  35 if name == "consumer" and who == "coco-worker" else None,
                  least=False)


def run(table, rounds=ROUNDS):
    """Returns the worker's rate."""
    npm()
    done = {"coco-worker": [], "the Node.js consumer": [], "COPY": []}

    with contextlib.ExitStack() as open_sides:
        worker, node = Worker(), Node()
        for side in (worker, node):
            open_sides.callback(side.close)
            side.open()

        for _ in range(rounds):
            for who, measure in (("coco-worker", worker.run),
                                 ("COPY", lambda: copy(worker)),
                                 ("the Node.js consumer", node.run)):
                done[who].append(measure())
                rate, cpu = done[who][-1]
                common.say("  %-21s %7.0f/s   CPU us each: %s" % (
                    who, rate, "  ".join("%s %.1f" % item
                                         for item in cpu.items())))

    rate = {who: common.median([r for r, _ in rounds])
            for who, rounds in done.items()}
    table.add("heartbeats from a queue of %d, coco-worker" % HEARTBEATS,
              rate["coco-worker"], "/s", 20000)
    table.add("  ratio to the Node.js consumer (%.0f/s)"
              % rate["the Node.js consumer"],
              rate["coco-worker"] / rate["the Node.js consumer"], "x", 2)
    table.add("  ratio to COPY of the same rows (%.0f/s)" % rate["COPY"],
              rate["coco-worker"] / rate["COPY"], "x")
    for who, rounds in done.items():
        cpu_add(table, who, rounds)

    return rate["coco-worker"]
