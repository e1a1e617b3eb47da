"""A broker of a suite's own, and all that is published to it."""

import getpass
import json
import os
import signal
import socket
import subprocess
import time

import paho.mqtt.client as mqtt

from stack import ROOT, wait_for

SIM = os.path.join(os.environ.get("COCO_BIN", os.path.join(ROOT, "bin")),
                   "coco-sim")


class Broker:
    """Mosquitto with none of its limits, and everything published to it. What
    it acknowledged outlives it, in the subscriber's session."""

    def __init__(self, port, folder):
        self.port = port
        self.conf = folder / "mosquitto.conf"
        self.conf.write_text(
            "listener %d 127.0.0.1\nallow_anonymous true\n"
            "max_queued_messages 0\nmax_queued_bytes 0\n"
            "persistence true\npersistence_location %s/\n"
            "user %s\nlog_type error\n"
            % (port, folder, getpass.getuser()))
        self.seen = []
        self.came = {}          # when each was heard first, ms
        self.server_start()

        subscribed = []
        self.client = mqtt.Client("watcher", clean_session=False)
        self.client.reconnect_delay_set(0.1, 0.2)
        self.client.on_connect = lambda c, *_: c.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: subscribed.append(1)
        self.client.on_message = lambda c, u, m: self.hear(
            (m.topic, m.payload))
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        wait_for(lambda: subscribed, what="the subscription")

    def hear(self, message):
        self.came.setdefault(message, time.time() * 1000)
        self.seen.append(message)

    def server_start(self):
        self.server = subprocess.Popen(["mosquitto", "-c", str(self.conf)],
                                       stdin=subprocess.DEVNULL)
        wait_for(self.answers, what="the broker")

    def server_stop(self):
        self.server.terminate()
        self.server.wait(10)

    def answers(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self):
        self.client.loop_stop()
        self.server_stop()

    def of(self, kind):
        """What robots said on robot/+/KIND: [(serial, message)], in order."""
        return [(topic.split("/")[1], json.loads(payload))
                for topic, payload in list(self.seen)
                if topic.endswith("/" + kind)]

    def heartbeats(self):
        return [message for _, message in self.of("status")]


def command(broker, *words):
    return [SIM, "--port", str(broker.port), *map(str, words)]


class Sim:
    """A fleet of its own serials, and what was heard from it."""

    def __init__(self, broker, prefix, *words):
        self.broker, self.prefix = broker, prefix
        self.process = subprocess.Popen(
            command(broker, "--serial-prefix", prefix, *words),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def serial(self, number=1):
        return "%s%04d" % (self.prefix, number)

    def said(self, kind, number=1):
        """Each message of a robot once: QoS 1 may repeat it."""
        return [message for serial, message in self.broker.of(kind)
                if serial == self.serial(number)]

    def heartbeats(self, number=1):
        return self.said("status", number)

    def in_time(self, ms, number=1):
        """Heartbeats that were heard within ms of their time."""
        topic = "robot/%s/status" % self.serial(number)
        beats = [(json.loads(one[1]), self.broker.came[one])
                 for one in list(self.broker.seen) if one[0] == topic]
        return [beat for beat, came in beats if came - beat["ts"] < ms]

    def events(self, *types, number=1):
        return [event for event in self.said("events", number)
                if not types or event["type"] in types]

    def types(self, number=1):
        return [event["type"] for event in self.events(number=number)]

    def await_events(self, *types, number=1, seconds=60):
        wait_for(lambda: set(types) <= set(self.types(number)), seconds,
                 "%s of %s" % (types, self.serial(number)))

    def await_up(self, number=1):
        """Its first heartbeat comes after its subscriptions were sent."""
        wait_for(lambda: self.heartbeats(number), what="a heartbeat")

    def end(self):
        """What its closing lines count."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, out + err
        assert err == ""
        return {name: int(value) for name, value in
                (word.split("=") for word in out.split())}

    def tell(self, kind, message, number=1):
        subprocess.run(
            ["mosquitto_pub", "-p", str(self.broker.port), "-q", "1",
             "-t", "robot/%s/%s" % (self.serial(number), kind),
             "-m", json.dumps(message)], check=True, timeout=60)

    def command(self, word, id, left=10000, number=1):
        now = int(time.time() * 1000)
        self.tell("commands", {"id": id, "command": word, "issuedAt": now,
                               "expiresAt": now + left}, number)

    def pin(self, pin, number=1):
        self.tell("shadow/update", {"state": {"desired": {"pin": pin}}},
                  number)
