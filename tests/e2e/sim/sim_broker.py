"""A broker of a suite's own, and all that is published to it."""

import getpass
import json
import os
import socket
import subprocess

import paho.mqtt.client as mqtt

from stack import ROOT, wait_for

SIM = os.path.join(ROOT, "bin", "coco-sim")


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
        self.server_start()

        subscribed = []
        self.client = mqtt.Client("watcher", clean_session=False)
        self.client.reconnect_delay_set(0.1, 0.2)
        self.client.on_connect = lambda c, *_: c.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: subscribed.append(1)
        self.client.on_message = lambda c, u, m: self.seen.append(
            (m.topic, m.payload))
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        wait_for(lambda: subscribed, what="the subscription")

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
