"""Servers to break, and what a run of the fault suite is set to."""

import os
import subprocess
import threading

from harness import System
from proxy import Proxy
from stack import Stack
from worker import Worker

SEED = os.environ.get("COCO_FAULT_SEED", "1")
SECONDS = float(os.environ.get("COCO_FAULT_SECONDS", "120"))


class Field:
    """A stack whose worker is ours, with a proxy between it and the broker."""

    def __init__(self):
        self.stack = Stack(only="postgres redis mqtt nginx")
        self.proxy = self.worker = self.system = None

    def up(self):
        self.stack.up()
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
        """Messages that the broker itself threw away since it started."""
        return int(subprocess.run(
            ["mosquitto_sub", "-p", str(self.stack.mqtt_port), "-C", "1",
             "-W", "15", "-t", "$SYS/broker/publish/messages/dropped"],
            check=True, capture_output=True, text=True).stdout)
