"""One coco-worker as a process, its journal as bytes, and brokers of the
test's own. Nothing here looks inside the worker.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys

import psycopg2
import requests

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
sys.path[:0] = [os.path.join(ROOT, "tests"),
                os.path.join(ROOT, "tests", "e2e", "fault")]

from stack import wait_for  # noqa: E402

BINARY = os.path.join(os.environ.get("COCO_BIN", os.path.join(ROOT, "bin")),
                      "coco-worker")
LANES = ("telemetry", "events")
HEAD = struct.Struct("=IIIIq")      # magic, crc, topic, payload, time


def command(*arguments, environment=None):
    """The worker run to its end."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, **(environment or {})))


def rows(stack, query, *arguments):
    with psycopg2.connect(stack.postgres) as connection:
        with connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall() if cursor.description else None


class Worker:
    """Options are written `mqtt.port=1`; None leaves one out."""

    def __init__(self, folder, port, **sections):
        self.folder, self.port = str(folder), port
        os.makedirs(self.folder, exist_ok=True)
        self.options = {
            "http": {"port": port + 6},
            "mqtt": {"port": port + 1, "reconnect_min": "20ms",
                     "reconnect_max": "200ms"},
            "journal": {"path": self.folder + "/journal"},
            "postgres": {"conninfo": "host=127.0.0.1 port=%d dbname=coco "
                                     "user=coco" % (port + 3)},
            "redis": {"port": port + 2}}
        for section, options in sections.items():
            self.options.setdefault(section, {}).update(options)
        self.config = self.folder + "/worker.conf"
        self.log_path = self.folder + "/worker.log"
        self.url = "http://127.0.0.1:%d" % self.options["http"]["port"]
        self.process = None

    def write(self):
        with open(self.config, "w") as out:
            for section, options in self.options.items():
                out.write("[%s]\n" % section)
                out.writelines("%s = %s\n" % o for o in options.items())

    def start(self, environment=None, ready=True):
        self.write()
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [BINARY, "-c", self.config], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
                env=dict(os.environ, **(environment or {})))
        if ready:
            self.await_answer()
        return self

    def await_answer(self):
        def answers():
            assert self.process.poll() is None, self.log()
            try:
                return requests.get(self.url + "/healthz", timeout=2).ok
            except (requests.ConnectionError, requests.Timeout):
                return False
        wait_for(answers, 60, "an answer of the worker")

    def await_metric(self, name, value, lane="telemetry", seconds=60):
        wait_for(lambda: self.metric(name, lane) == value, seconds,
                 "%s{%s} = %s" % (name, lane, value))

    def await_connected(self):
        for lane in LANES:
            self.await_metric("coco_mqtt_connected", 1, lane)
        return self

    def metric(self, name, lane="telemetry"):
        label = "partner" if name.startswith("coco_partner_") else "lane"
        key = '%s{%s="%s"} ' % (name, label, lane)
        for line in requests.get(self.url + "/metrics",
                                 timeout=30).text.splitlines():
            if line.startswith(key):
                return float(line[len(key):])
        raise KeyError(key)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def stop(self, signo=signal.SIGTERM):
        """The exit status."""
        self.process.send_signal(signo)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def journal(self, lane="telemetry"):
        """[(topic, payload)] of what is on the disk; a segment may go while
        they are read."""
        folder, found = os.path.join(self.folder, "journal", lane), []
        for name in sorted(os.listdir(folder)):
            if name.endswith(".log"):
                with contextlib.suppress(FileNotFoundError), \
                        open(os.path.join(folder, name), "rb") as file:
                    found += records(file.read())
        return found


def records(data):
    """Whole records; a torn one may end them."""
    at, found = 0, []
    while len(data) - at >= HEAD.size:
        _, _, topic, payload, _ = HEAD.unpack_from(data, at)
        end = at + HEAD.size + topic + payload
        if end > len(data):
            break
        split = at + HEAD.size + topic
        found.append((data[at + HEAD.size:split], data[split:end]))
        at = end
    return found


class Broker:
    """A mosquitto with the lines given."""

    def __init__(self, folder, port, *lines):
        self.port = port
        path = os.path.join(str(folder), "mosquitto-%d.conf" % port)
        with open(path, "w") as out:
            out.write("\n".join([
                "listener %d 127.0.0.1" % port, "user root",
                "max_queued_messages 0", "max_queued_bytes 0",
                "max_inflight_messages 0", "set_tcp_nodelay true", *lines]))
        self.log = open(path + ".log", "w")
        self.process = subprocess.Popen(
            ["mosquitto", "-c", path], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        wait_for(self.answers, 60, "mosquitto")

    def answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
