"""Robots whose lids are commanded, and clients who have them opened, while
things break: both remember what happened, for the checks.
"""

import json
import threading

import paho.mqtt.client as mqtt
import requests
from ground import Load
from harness import await_for, new_serial, now_ms

PATIENCE = 30           # s for which a client waits for one answer


class Robots:
    """They act on a command id once, and report it `opens` s later; when
    `closes` is given, somebody closes the lid so long after that. While held
    they report nothing: they have no network."""

    def __init__(self, port, prefix, opens, closes=None):
        self.prefix, self.opens, self.closes = prefix, opens, closes
        self.lock = threading.Lock()
        self.acts = {}          # serial -> [command id]
        self.movements = {}     # serial -> [(type, ts)]
        self.refused = []       # commands that had expired
        self.reports = []       # (topic, payload), all
        self.held = None        # those that wait, or None
        self.timers = []
        self.client = mqtt.Client("robots-" + prefix)
        self.client.reconnect_delay_set(0.1, 0.4)
        self.client.on_connect = lambda client, *_: client.subscribe(
            "robot/+/commands", 1)
        self.client.on_message = self._command
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        await_for("the robots are connected", self.client.is_connected)

    def await_heard(self, system):
        """Returns once the worker hears what they say: it may not have
        noticed yet that its broker was another one."""
        serial = new_serial(self.prefix)

        def heard():
            self.client.publish("robot/%s/events" % serial, json.dumps(
                {"type": "LID_CLOSED", "ts": now_ms()}), qos=1)
            return system.value(
                "select 1 from coco.lid_cycle_event_history"
                " where serial = %s limit 1", serial)

        await_for("the worker hears the robots", heard, every=0.1)

    def close(self):
        for timer in self.timers:
            timer.cancel()
        self.client.disconnect()
        self.client.loop_stop()

    def hold(self):
        with self.lock:
            self.held = []

    def release(self):
        with self.lock:
            held, self.held = self.held, None
            for report in held or []:
                self.client.publish(*report, qos=1)

    def await_movements(self, serials):
        await_for("every lid has moved", lambda: all(
            serial in self.movements for serial in serials))

    def repeat(self):
        """All reports once more: a broker that was killed has forgotten what
        it had taken."""
        with self.lock:
            for report in self.reports:
                self.client.publish(*report, qos=1)

    def _command(self, client, userdata, message):
        serial = message.topic.split("/")[1]
        command = json.loads(message.payload)
        if not serial.startswith(self.prefix):
            return
        with self.lock:
            acts = self.acts.setdefault(serial, [])
            if command["id"] in acts:
                return
            if command["expiresAt"] <= now_ms():
                self.refused.append(command["id"])
                return
            acts.append(command["id"])
            self._later(self.opens, serial, "LID_OPENED", command["id"])
            if self.closes is not None:
                self._later(self.opens + self.closes, serial, "LID_CLOSED")

    def _later(self, seconds, *words):
        timer = threading.Timer(seconds, self._report, words)
        timer.daemon = True
        self.timers.append(timer)
        timer.start()

    def _report(self, serial, kind, command=None):
        event = {"type": kind, "ts": now_ms()}
        if command:
            event["commandId"] = command
        report = "robot/%s/events" % serial, json.dumps(event)
        with self.lock:
            self.movements.setdefault(serial, []).append((kind, event["ts"]))
            self.reports.append(report)
            if self.held is not None:
                self.held.append(report)
            else:
                self.client.publish(*report, qos=1)


class Client:
    """Asks the same thing with the same key until there is an answer. An
    error must be clear; that the connection is cut is one only `may_cut`."""

    def __init__(self, system, may_cut):
        self.url, self.may_cut = system.url, may_cut
        self.headers = {"Authorization": "Bearer " + system.token}
        self.errors = []
        self.unclear = []       # what no client should have to see

    def post(self, path, body, key):
        """(status, document) of the answer."""
        while True:
            try:
                reply = requests.post(
                    self.url + path, json=body, timeout=PATIENCE,
                    headers=dict(self.headers, **{"Idempotency-Key": key}))
            except requests.ConnectionError as e:
                (self.errors if self.may_cut else self.unclear).append(str(e))
            except requests.Timeout:
                self.unclear.append("no answer within %d s" % PATIENCE)
                return None, None
            else:
                if reply.status_code in (503, 504, 409):
                    self._check(reply)
                if reply.status_code != 503:
                    return reply.status_code, reply.json()
                self.errors.append(reply.json()["detail"])
            threading.Event().wait(0.1)     # as a client backs off

    def _check(self, reply):
        if (reply.headers["Content-Type"] != "application/problem+json"
                or reply.json()["status"] != reply.status_code
                or not reply.json()["detail"]):
            self.unclear.append(reply.text)


class Openers:
    """One request for each of some robots, at once; one key each."""

    def __init__(self, system, serials, may_cut):
        self.client = Client(system, may_cut)
        self.serials = serials
        self.answers = {}       # serial -> (status, document)
        self.loads = [Load(lambda serial=serial: self._open(serial))
                      for serial in serials]

    def _open(self, serial):
        self.answers[serial] = self.client.post(
            "/state/%s/lid/open" % serial, {"source": "OPERATOR"},
            "key-" + serial)

    def start(self, apart=0):
        for load in self.loads:
            load.start()
            threading.Event().wait(apart)

    def end(self):
        for load in self.loads:
            load.end()


def outcomes(system, serials):
    """{serial: [outcome of each of its commands]}"""
    found = {serial: [] for serial in serials}
    for serial, outcome in system.sql(
            "select serial, outcome from coco.robot_command"
            " where serial = any(%s)", list(serials)):
        found[serial].append(outcome)
    return found


def wrong_endings(system, robots, serials):
    """(serial, outcomes, acts) of those that have not ended as the robot
    acted. A report that comes late makes OPENED of what was EXPIRED."""
    ends = outcomes(system, serials)
    return [(serial, ends[serial], robots.acts.get(serial, []))
            for serial in serials if ends[serial] != [
                "OPENED" if robots.acts.get(serial) else "EXPIRED"]]


def findings(system, robots, openers):
    """What should not be: lids that opened twice for a key, commands without
    the right ending, answers that are not true."""
    found = [("outcome", *ending) for ending in wrong_endings(
        system, robots, openers.serials)]
    for serial, (status, document) in openers.answers.items():
        acts = robots.acts.get(serial, [])
        if len(acts) > 1:
            found.append(("opened twice", serial, acts))
        if status not in (200, 504):
            found.append(("answer", serial, status, document))
        if status == 200 and [document["commandId"]] != acts:
            found.append(("not true", serial, document, acts))
    return found + [("unclear", text) for text in openers.client.unclear]
