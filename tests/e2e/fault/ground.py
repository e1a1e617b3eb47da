"""A whole stack to break, and load that goes on meanwhile."""

import os
import subprocess
import threading
import time

from harness import System, await_for, metric
from stack import ROOT, Stack


class Ground:
    """./coco's own servers and worker, or `only` these; environment is
    theirs."""

    def __init__(self, only=None, **environment):
        self.stack = Stack(only=only, environment=environment)
        self.system = None

    def up(self):
        self.stack.up()
        self.env = self.stack.env()
        self.system = System(self.env)
        return self

    def close(self):
        if self.system:
            self.system.close()
        self.stack.close()

    def kill(self, *names):
        """SIGKILL at the same moment, then each is started again."""
        threads = [threading.Thread(target=self.stack.kill, args=(name,))
                   for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in names:
            self.stack.restart(name)

    def mend(self):
        """Everything runs, whatever the test before did."""
        for name in ("postgres", "redis", "mqtt", "worker", "nginx"):
            try:
                self.stack.pid(name)
            except FileNotFoundError:
                self.stack.restart(name)
        await_for("nginx is ready", lambda: self.system.get("/readyz"))


class Load(threading.Thread):
    """Something that is sent in a thread of its own while things break."""

    def __init__(self, send):
        super().__init__()
        self.send, self.error = send, None

    def run(self):
        try:
            self.send()
        except Exception as e:          # shown by end()
            self.error = e

    def end(self):
        self.join()
        if self.error:
            raise self.error


def break_while(load, progress, under_way, fault, count, dice):
    """Calls fault() so many times, each once progress() (0 to 1, how much of
    the load is sent) has come to a random part of the load; how often
    something was under way then. The first meets the load for certain."""
    hits = 0
    load.start()
    for moment in sorted(dice.uniform(0.02, 0.8) for _ in range(count)):
        while load.is_alive() and progress() < moment:
            time.sleep(0.001)
        hits += load.is_alive() or bool(under_way())
        fault()
    load.end()
    return hits


def await_settled(what, count, enough, patience=90):
    """Waits until count() has reached it, or nothing moves for that many
    seconds: then the caller's checks tell what is amiss. Returns what it was
    at last."""
    seen, moved = None, time.monotonic()
    while time.monotonic() < moved + patience:
        now = await_for(what, lambda: (count(),))[0]
        if now == enough:
            break
        if now != seen:
            seen, moved = now, time.monotonic()
        time.sleep(0.1)
    return now


class Service:
    """A coco-worker of some services beside the stack's own, on the same
    configuration; the stack's tenth port is its own."""

    def __init__(self, ground, services):
        stack = ground.stack
        self.config = os.path.join(stack.folder, "coco-worker.conf")
        self.log = os.path.join(stack.folder, "log", "service.log")
        self.metrics_url = "http://127.0.0.1:%d/metrics" % (stack.port + 9)
        self.environment = dict(
            stack.environment, COCO_WORKER_PROCESS_SERVICES=services,
            COCO_WORKER_HTTP_PORT=str(stack.port + 9))
        self.process = None

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [os.path.join(ROOT, "bin", "coco-worker"), "-c", self.config],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def await_consuming(self):
        def connected():
            assert self.alive(), "coco-worker ended: see " + self.log
            return metric(self.metrics_url, "coco_bus_connected", "bus")
        await_for("the service is connected to the broker", connected)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL; does nothing when it does not run."""
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait()
