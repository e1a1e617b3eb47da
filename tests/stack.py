"""A private stack for the suites: Stack(folder, port) over ./coco stack.

Nothing here knows how a server is started; ./coco does."""

import contextlib
import fcntl
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COCO = os.path.join(ROOT, "coco")
PORTS = 10              # a stack uses the first nine

# Below Linux's ephemeral ports, so that no outgoing connection takes one.
FIRST, LAST = map(int, os.environ.get("COCO_TEST_PORTS",
                                      "20000-31990").split("-"))


class StackError(Exception):
    pass


def free(port):
    with contextlib.closing(socket.socket()) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class PortBlock:
    """Ten ports that nobody uses, held against other suites until release().

    The lock is on a file for each block: suites of several processes, started
    at the same time, never choose the same one."""

    def __init__(self):
        folder = os.path.join(tempfile.gettempdir(),
                              "coco-ports-%d" % os.getuid())
        os.makedirs(folder, exist_ok=True)

        for first in range(FIRST, LAST - PORTS + 2, PORTS):
            self.file = open(os.path.join(folder, str(first)), "w")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.file.close()
                continue
            if all(free(p) for p in range(first, first + PORTS)):
                self.first = first
                return
            self.file.close()

        raise StackError("no ten free ports from %d to %d; set "
                         "COCO_TEST_PORTS=FIRST-LAST" % (FIRST, LAST))

    def release(self):
        self.file.close()


class Stack:
    """The servers of ./coco stack in a folder and from a port of their own.

    Without arguments both are new, and close() removes the folder.
    `only` names fewer servers ("postgres redis"), `robots` is COCO_SIM, `bus`
    is COCO_BUS, `services` COCO_SERVICES, `aws` COCO_AWS_URL; `partners` is
    True for their simulators, or the URL of who plays them all; `environment`
    is added to what ./coco sees.

        with Stack() as stack:
            stack.up()
            requests.get(stack.http + "/healthz")
    """

    def __init__(self, folder=None, port=None, only=None, robots=0,
                 environment=None, bus=None, services=None, aws=None,
                 partners=None):
        self.block = None if port else PortBlock()
        self.port = port or self.block.first
        self.made = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="coco-stack.")
        os.chmod(self.folder, 0o755) if self.made else None
        self.environment = dict(os.environ, COCO_RUN=str(self.folder),
                                COCO_PORT=str(self.port),
                                COCO_SIM=str(robots))
        self.environment.setdefault("COCO_PG_FSYNC", "off")
        played = partners if isinstance(partners, str) else None
        for name, value in (("COCO_STACK_ONLY", only), ("COCO_BUS", bus),
                            ("COCO_SERVICES", services),
                            ("COCO_AWS_URL", aws),
                            ("COCO_PARTNERS", partners is True and "1"),
                            ("COCO_UBER_URL", played),
                            ("COCO_DOORDASH_URL", played),
                            ("COCO_DRIVEU_URL", played)):
            if value:
                self.environment[name] = value
            else:
                self.environment.pop(name, None)
        self.environment.update(environment or {})

    def coco(self, *words, check=True, timeout=600):
        """Runs ./coco stack WORDS; returns its standard output."""
        done = subprocess.run([COCO, "stack", *words], env=self.environment,
                              stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=timeout)
        if check and done.returncode != 0:
            raise StackError("coco stack %s: exit %d\n%s%s" % (
                " ".join(words), done.returncode, done.stdout, done.stderr))
        return done.stdout

    def up(self):
        self.coco("up")
        return self

    def down(self):
        self.coco("down")

    def restart(self, name):
        self.coco("restart", name)

    def kill(self, name):
        """SIGKILL; it stays down until restart()."""
        self.coco("kill", name)

    def env(self):
        """What ./coco stack env prints, as a dict."""
        lines = shlex.split(self.coco("env"))
        return dict(line.split("=", 1) for line in lines)

    def pid(self, name):
        with open(os.path.join(self.folder, name + ".pid")) as file:
            return int(file.read())

    def log(self, name):
        with open(os.path.join(self.folder, "log", name + ".log"),
                  errors="replace") as file:
            return file.read()

    @property
    def http(self):
        return "http://127.0.0.1:%d" % self.port

    @property
    def mqtt_port(self):
        return self.port + 1

    @property
    def redis_port(self):
        return self.port + 2

    @property
    def postgres_port(self):
        return self.port + 3

    @property
    def sqs_port(self):
        return self.port + 4

    @property
    def amqp_port(self):
        return self.port + 5

    @property
    def free_port(self):
        """One that nothing of the stack listens on, for a test's own use."""
        return self.port + 9

    @property
    def metrics(self):
        return "http://127.0.0.1:%d" % (self.port + 6)

    @property
    def partners(self):
        """The simulators of Uber and DoorDash, with partners=True."""
        return "http://127.0.0.1:%d" % (self.port + 8)

    @property
    def redis_url(self):
        return "redis://127.0.0.1:%d/0" % self.redis_port

    @property
    def postgres(self):
        return "postgresql://coco@127.0.0.1:%d/coco" % self.postgres_port

    @property
    def sqs_url(self):
        return "http://127.0.0.1:%d" % self.sqs_port

    @property
    def amqp_url(self):
        return "amqp://guest:guest@127.0.0.1:%d/" % self.amqp_port

    @property
    def kafka_brokers(self):
        with open(os.path.join(self.folder, "kafka.brokers")) as file:
            return file.read().strip()

    @property
    def queue_urls(self):
        """{"events" | "state" | "connectivity": URL} of the SQS queues."""
        with open(os.path.join(self.folder, "sqs.queues")) as file:
            return dict(line.split() for line in file)

    @property
    def aws_keys(self):
        """What the worker signs with: (access key id, secret)."""
        with open(os.path.join(self.folder, "aws.key")) as file:
            return tuple(file.read().split())

    def secret(self, name):
        """What a file of secrets of the stack holds, like "uber.key"."""
        with open(os.path.join(self.folder, name)) as file:
            return file.read().strip()

    @property
    def driveu_secret(self):
        return self.secret("driveu.secret")

    @property
    def token(self):
        """Every scope; made by up()."""
        return self.secret("token")

    @property
    def headers(self):
        return {"Authorization": "Bearer " + self.token}

    def close(self):
        keep = os.environ.get("COCO_KEEP_LOGS")
        log = os.path.join(self.folder, "log")
        if keep and os.path.isdir(log):
            shutil.copytree(log, os.path.join(
                keep, "%d-%d" % (self.port, time.time())),
                dirs_exist_ok=True)
        self.coco("clean", check=False)
        if self.made:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.block:
            self.block.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def backends_only():
    """A stack's Postgres and Redis, and a coco.conf for them; its port is
    free."""
    with Stack(only="postgres redis nginx") as stack:
        stack.up()
        stack.kill("nginx")
        yield stack


def wait_for(check, seconds=60, what="the condition", every=0.02):
    """Asks check() until it is true; returns what it said."""
    until = time.monotonic() + seconds
    while True:
        said = check()
        if said:
            return said
        if time.monotonic() > until:
            raise AssertionError("%s did not come within %g s" %
                                 (what, seconds))
        time.sleep(every)
