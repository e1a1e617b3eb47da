"""A private Postgres and Redis, and the driver that feeds a lane into them.

Sockets in a folder of their own; nothing listens on the network."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import native
import psycopg2
import redis
from native import BUILD, ROOT, until

PG_BIN = "/usr/lib/postgresql/15/bin"
DRIVER = os.path.join(BUILD, "tests", "pipeline_driver")
PKGS = ["libpq", "hiredis", "libcrypto", "libmicrohttpd", "libsystemd", "inih",
        "libcurl", "librabbitmq", "rdkafka"]


def build():
    """The driver."""
    native.build(os.path.join(os.path.dirname(__file__), "driver.c"),
                 "pipeline_driver", PKGS, ["-lpaho-mqtt3as"])


def as_postgres(command, **kwargs):
    if os.getuid() == 0:
        command = ["runuser", "-u", "postgres", "--"] + command
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.STDOUT, **kwargs)


class Servers:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="coco-pipeline-")
        self.data = os.path.join(self.folder, "data")
        self.redis_socket = os.path.join(self.folder, "redis.sock")
        self.postgres = "host=%s user=postgres dbname=postgres" % self.folder
        self.redis_process = None
        os.chmod(self.folder, 0o777)
        as_postgres([PG_BIN + "/initdb", "-D", self.data, "-A", "trust",
                     "-E", "UTF8", "--no-locale", "--no-sync"])
        self.postgres_start()
        self.redis_start()
        subprocess.run([ROOT + "/scripts/migrate", self.postgres],
                       check=True, stdout=subprocess.DEVNULL)

    def postgres_start(self):
        as_postgres([PG_BIN + "/pg_ctl", "-D", self.data, "-w", "-l",
                     self.data + "/log", "-o",
                     "-c listen_addresses='' -c fsync=off"
                     " -k " + self.folder, "start"])

    def postgres_kill(self):
        """As a crash does: the server is gone, its transactions too."""
        as_postgres([PG_BIN + "/pg_ctl", "-D", self.data, "-m", "immediate",
                     "-w", "stop"])

    def logged(self):
        """By Postgres."""
        with open(self.data + "/log", encoding="utf-8") as log:
            return log.read()

    def heal(self):
        """Everything up again, whatever a failed test left."""
        status = subprocess.run(
            ["pg_isready", "-q", "-h", self.folder], check=False)
        if status.returncode != 0:
            self.postgres_start()
        if self.redis_process.poll() is not None:
            self.redis_start()
        self.redis_pause(False)

    def redis_start(self, before=None):
        """before(client) is called while nobody else can find it yet."""
        hidden = self.redis_socket + ".new"
        self.redis_process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", hidden,
             "--save", "", "--dir", self.folder],
            stdout=subprocess.DEVNULL)
        until(lambda: self.redis_answers(hidden))
        if before:
            before(self.redis(hidden))
        os.rename(hidden, self.redis_socket)

    def redis_answers(self, path):
        try:
            return self.redis(path).ping()
        except redis.exceptions.ConnectionError:
            return False

    def redis_kill(self):
        self.redis_process.kill()
        self.redis_process.wait()

    def redis_pause(self, pause):
        self.redis_process.send_signal(
            signal.SIGSTOP if pause else signal.SIGCONT)

    def redis(self, path=None):
        return redis.Redis(unix_socket_path=path or self.redis_socket,
                           decode_responses=True)

    def ended(self):
        """Waits until Postgres has no session but this one: what they did is
        counted in its statistics by then."""
        until(lambda: self.query(
            "select count(*) from pg_stat_activity where backend_type ="
            " 'client backend' and pid <> pg_backend_pid()") == [(0,)])

    def query(self, sql, *args):
        with contextlib.closing(
                psycopg2.connect(self.postgres)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else None

    def close(self):
        self.redis_kill()
        if os.path.exists(self.data + "/postmaster.pid"):
            self.postgres_kill()
        shutil.rmtree(self.folder)


MODES = {"direct": {}, "scrambled": {"direct": 0, "loop": 1}}


class Driver:
    """One lane in a process of its own."""

    def __init__(self, servers, **options):
        environment = dict(os.environ, DRIVER_POSTGRES=servers.postgres,
                           DRIVER_REDIS=servers.redis_socket,
                           COCO_WORKER_POSTGRES_CONNINFO=servers.postgres,
                           COCO_WORKER_BUS_SCRAMBLE="on",
                           COCO_WORKER_BUS_SCRAMBLE_SEED=str(
                               options.pop("seed", 1)))
        self.servers = servers
        self.loop = options.get("loop", 0)
        environment.update(("DRIVER_" + name.upper(), str(value))
                           for name, value in options.items())
        self.position = 0
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [DRIVER], env=environment, text=True, bufsize=1, stderr=self.log,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        return self.process.stdout.readline().split()

    KINDS = {"h": "heartbeat", "e": "robot", "w": "webhook", "v": "event",
             "t": "telemetry", "k": "task", "o": "order"}

    def push(self, serial, payload, received_at=None, kind="h", source="mqtt",
             topic=None, receives=0, inbox=None, cause=None):
        """cause: (ts, id)."""
        if isinstance(payload, str):
            payload = payload.encode()
        if received_at is None:
            received_at = int(time.time() * 1000)
        if topic is None:
            topic = "robot/%s/%s" % (
                serial, "status" if kind == "h" else "events")
        self.position += 100
        line = "push %s %d %d %s - %s %s %s %d %s %s %s\n"
        self.process.stdin.write(line % (
            self.KINDS[kind], self.position, received_at, source,
            topic.replace(" ", "_"), serial.encode().hex() or "-",
            payload.hex() or "-", receives, inbox or "-",
            *(cause or ("0", "-"))))

    def low_water(self, milliseconds=0):
        return int(self.ask("wait %d %d" % (self.position, milliseconds))[1])

    def done(self, seconds=60):
        """Everything pushed is committed, and what it led to."""
        end = time.monotonic() + seconds
        while self.low_water(200) != self.position:
            assert time.monotonic() < end, self.logged()
        while self.loop and self.servers.query(
                "select 1 from coco.outbox where relayed_at is null"):
            assert time.monotonic() < end, self.logged()
            time.sleep(0.02)

    def metrics(self):
        """name{...} of this lane -> value; name.outcome with that label."""
        self.process.stdin.write("metrics\n")
        values = {}
        for line in iter(self.process.stdout.readline, ".\n"):
            if 'lane="telemetry"' in line and "_bucket" not in line:
                name, value = line.rsplit(" ", 1)
                label = re.search(r'outcome="(\w+)"', name)
                name = name.split("{")[0] + (label and "." + label[1] or "")
                values[name] = float(value)
        return values

    def logged(self):
        """The place in the file is the process's, too: it stays."""
        file = self.log.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()

    def stop(self):
        """True when it ended as it should."""
        output, _ = self.process.communicate("stop\n", timeout=30)
        return self.process.returncode == 0 and output.endswith("stopped\n")

    def kill(self):
        self.process.kill()
        self.process.communicate()
