"""A coco-worker of the test's own: started, killed and configured here, so
that it can be made to reach its broker through a proxy.
"""

import os
import subprocess

import requests
from harness import await_for
from stack import ROOT

CONFIG = """\
[http]
port = %(http)d

[mqtt]
port = %(mqtt)d
client_id = fault-worker
keep_alive = 1s
reconnect_min = 50ms
reconnect_max = 1s

[journal]
path = %(folder)s/journal
segment_size = 1M
high_water = %(high_bytes)d
low_water = %(low_bytes)d

[postgres]
conninfo = host=127.0.0.1 port=%(postgres)d dbname=coco user=coco

[redis]
port = %(redis)d
"""


class Worker:
    """At most one process at a time; its log goes on over restarts."""

    def __init__(self, folder, port, mqtt_port):
        self.settings = {
            "folder": folder, "http": port + 6, "mqtt": mqtt_port,
            "redis": port + 2, "postgres": port + 3}
        self.metrics_url = "http://127.0.0.1:%d/metrics" % (port + 6)
        self.config = os.path.join(folder, "fault-worker.conf")
        self.log = os.path.join(folder, "log", "worker.log")
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self, high_bytes=1 << 30, low_bytes=1 << 29):
        assert not self.alive()
        with open(self.config, "w") as config:
            config.write(CONFIG % dict(self.settings, high_bytes=high_bytes,
                                       low_bytes=low_bytes))
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [os.path.join(ROOT, "bin", "coco-worker"), "-c", self.config],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        """SIGKILL; does nothing when it does not run."""
        if self.alive():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def await_connected(self, lanes=("telemetry", "events")):
        def connected():
            assert self.alive(), "coco-worker ended: see " + self.log
            text = requests.get(self.metrics_url, timeout=2).text
            return all('coco_mqtt_connected{lane="%s"} 1' % lane in text
                       for lane in lanes)
        await_for("the worker is connected to the broker", connected)
