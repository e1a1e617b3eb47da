"""Servers to break, and what a run of the fault suite is set to."""

import os
import subprocess
import threading

from harness import System, await_for
from proxy import Proxy
from stack import Stack
from worker import Worker

SEED = os.environ.get("COCO_FAULT_SEED", "1")
SECONDS = float(os.environ.get("COCO_FAULT_SECONDS", "120"))

DROPPED = "$SYS/broker/publish/messages/dropped"
UPTIME = "$SYS/broker/uptime"


class Field:
    """A stack whose worker is ours, with a proxy between it and the broker."""

    def __init__(self):
        self.stack = Stack(only="postgres redis mqtt nginx")
        self.proxy = self.worker = self.system = self.listener = None

    def up(self):
        self.stack.up()
        self.heard = os.path.join(self.stack.folder, "heard.txt")
        with open(self.heard, "a") as heard:
            self.listener = subprocess.Popen(
                ["mosquitto_sub", "-p", str(self.stack.mqtt_port),
                 "-F", "%t %p", "-t", DROPPED, "-t", UPTIME], stdout=heard)
        self.proxy = Proxy(self.stack.mqtt_port)
        self.worker = Worker(self.stack.folder, self.stack.port,
                             self.proxy.port)
        self.worker.start()
        self.worker.await_connected()
        self.system = System(dict(self.stack.env(),
                                  COCO_METRICS=self.worker.metrics_url))

    def close(self):
        if self.system:
            self.system.close()
        if self.worker:
            self.worker.kill()
        if self.proxy:
            self.proxy.close()
        if self.listener:
            self.listener.terminate()
            self.listener.wait()
        self.stack.close()

    def kill(self, *names):
        """SIGKILL at the same moment, then each is started again."""
        def one(name):
            if name == "worker":
                self.worker.kill()
            else:
                self.stack.kill(name)

        threads = [threading.Thread(target=one, args=(name,))
                   for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in names:
            if name == "worker":
                self.worker.start()
            else:
                self.stack.restart(name)

    def dropped(self):
        """Messages that the broker itself threw away since it started. It
        tells every ten seconds, and that number only when it has changed."""
        ticks = self._told(UPTIME)
        await_for("the broker's next report", lambda: len(
            self._told(UPTIME)) > len(ticks), 25, every=0.1)
        return int(self._told(DROPPED)[-1])

    def _told(self, topic):
        with open(self.heard) as heard:
            return [line.split()[1] for line in heard
                    if line.startswith(topic + " ") and line.endswith("\n")]
