"""What the lid suites share: robots that are MQTT clients of the test, the
deliveries they are out for, and what the system tells about both. Every
answer over HTTP is held against docs/openapi.yaml. It must never write what
the tests then read.
"""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import document
import paho.mqtt.client as mqtt
from harness import System, await_for, new_serial, now_ms

PICKUP = {"latitude": 34.0297, "longitude": -118.4785}
DROPOFF = {"latitude": 34.0251, "longitude": -118.4712}
AWAY = {"latitude": 34.0306, "longitude": -118.4785}    # 100 m off the pickup
PIN = "0917"
PIN_SHOWN = re.compile("(?<![0-9A-Fa-f.-])%s(?![0-9A-Fa-f-])" % PIN)

OPEN = "Robots.LidOpen"
CLOSE = "Robots.LidClose"
COMPLETE = "LidCycle.Complete"
LOADED = "LoadedWaitingForPilot"

# What the lid's history holds beside acknowledgements and fences.
RANKS = ("PIN_ENTRY_LID_OPEN", "LID_OPEN_REQUEST", "LID_OPEN_REFUSED",
         "LID_OPENED", "LID_OPEN_FAILED", "LID_OPEN_TIMEOUT",
         "PIN_ENTRY_LID_CLOSE", "LID_CLOSED")

DOCUMENT = document.load()
ROUTES = [(method.upper(), re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z"),
           operation)
          for method, path, operation in
          document.operations(DOCUMENT).values()]


class Field(System):
    """A running system, and what is done and seen about lids in it."""

    def __init__(self, stack):
        super().__init__(stack.env())
        self.stack = stack
        self._later = ThreadPoolExecutor(16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._later.shutdown()
        self.close()

    def call(self, method, path, status=200, **kwargs):
        """The decoded answer, which is one that is documented."""
        reply = self.http.request(method, self.url + path, timeout=30,
                                  **kwargs)
        text = "%s %s: %d %s" % (method, path, reply.status_code, reply.text)
        assert reply.status_code == status, text
        assert not PIN_SHOWN.search(reply.text), text
        operation, = [o for m, pattern, o in ROUTES
                      if m == method and pattern.match(path)]
        document.check(DOCUMENT, operation, reply.status_code, reply.headers,
                       reply.json)
        return reply.json()

    def later(self, *args, **kwargs):
        """A call() that waits in a thread of its own: a future."""
        return self._later.submit(self.call, *args, **kwargs)

    def open_lid(self, robot, source="OPERATOR", status=200, reference=None,
                 **headers):
        body = {"source": source}
        if reference is not None:
            body["referenceId"] = reference
        return self.call("POST", "/state/%s/lid/open" % robot.serial, status,
                         json=body, headers=headers)

    def open_for_load(self, delivery, status=200, **headers):
        return self.call("POST", "/open-lid-for-load", status, headers=headers,
                         json={"deliveryId": delivery.id})

    def delivery(self, robot, flow=None, status="AtPickup", **members):
        """A new one that this robot is out for, as far as status."""
        made = self.call("POST", "/deliveries", 201, json={
            "pickup": PICKUP, "dropoff": DROPOFF,
            **({"loadingFlow": flow} if flow else {}), **members})
        delivery = Delivery(self, made["id"])
        for word, next_status, body in (
                ("assign", "Assigned", {"serial": robot.serial}),
                ("depart", "EnrouteToPickup", None),
                ("arrive", "AtPickup", {"at": "pickup"})):
            if delivery.status == status:
                break
            delivery.do(word, body)
            assert delivery.status == next_status
        assert delivery.status == status
        return delivery

    def lid(self, robot):
        return self.get("/state/%s/lid" % robot.serial)

    def await_lid(self, robot, state, **members):
        return await_for("%s of the lid of %s" % (state, robot.serial), lambda:
                         (lambda lid: {**lid, "state": state, **members} == lid
                          and lid)(self.lid(robot)))

    def events(self, robot):
        """The lid's history, oldest first."""
        return list(self.items("/state/%s/lid/history" % robot.serial,
                               limit=50))[::-1]

    def types(self, robot):
        """Of the lid's history, in its order; what was in the same
        millisecond in the order of RANKS."""
        order = [(min(event["ts"], event["receivedAt"]),
                  RANKS.index(event["type"])) for event in self.events(robot)
                 if event["type"] in RANKS]
        assert [at for at, _ in order] == sorted(at for at, _ in order)
        return [RANKS[rank] for _, rank in sorted(order)]

    def bus(self, robot):
        """(name, source, trigger, referenceId) of what was published about
        the lid, in order."""
        rows = self.sql(
            "select payload from coco.outbox where serial = %s and name in"
            " (%s, %s, %s) order by seq", robot.serial, OPEN, CLOSE, COMPLETE)
        return [(event["name"], *(event["data"][name] for name in (
            "source", "trigger", "referenceId"))) for event, in rows]

    def published(self, robot):
        return [name for name, *_ in self.bus(robot)]

    def anomalies(self, robot):
        return list(self.items("/anomalies", serial=robot.serial))

    def commands(self, robot):
        return self.sql("select id::text, outcome from coco.robot_command"
                        " where serial = %s order by issued_at", robot.serial)

    def settle(self, robot):
        """All that the robot has reported before is applied: one event of its
        own type, which changes nothing, is in the history after it."""
        fence = robot.event("FENCE")
        fence["id"] = "fence-%d" % fence["ts"]
        robot.send(fence)
        await_for("the fence of " + robot.serial, lambda: self.value(
            "select 1 from coco.lid_cycle_event_history"
            " where serial = %s and event_id = %s", robot.serial, fence["id"]))

    def await_queued(self):
        """What was sent by SQS is committed: the worker has deleted it."""
        await_for("the queue is empty",
                  lambda: self.queues.left(self.queues.events) == 0)


class Delivery:
    def __init__(self, field, id):
        self.field, self.id = field, id
        self.path = "/deliveries/" + id

    @property
    def status(self):
        return self.field.get(self.path)["status"]

    def do(self, word, body=None):
        self.field.call("POST", "%s/%s" % (self.path, word),
                        **({"json": body} if body else {}))

    def await_status(self, status):
        await_for("%s of %s" % (status, self.id),
                  lambda: self.status == status)

    def await_loaded(self):
        """Loaded, and once only."""
        self.await_status(LOADED)
        assert self.statuses().count(LOADED) == 1

    def events(self):
        return list(self.field.items(self.path + "/events"))

    def statuses(self):
        """In the order of their time; the bus was told of the same."""
        events = self.events()
        rows = self.field.sql(
            "select payload->'data' from coco.outbox"
            " where name = 'Deliveries.DeliveryEvent'"
            " and payload#>>'{data,deliveryId}' = %s order by seq", self.id)
        assert [row[0] for row in rows] == [
            {"deliveryId": self.id, "status": event["status"],
             "previousStatus": event["previousStatus"]} for event in events]
        return [event["status"] for event in events]


# What a robot does about a command; (robot, command).

def acks(robot, command):
    robot.report("COMMAND_ACK", commandId=command["id"])


def opens(robot, command):
    acks(robot, command)
    robot.report("LID_OPENED", commandId=command["id"], trigger="COMMAND")


def jams(robot, command):
    acks(robot, command)
    robot.report("LID_OPEN_FAILED", commandId=command["id"],
                 reason="latch jammed")


class Robot:
    """One robot: a session at the broker, and a clock that never stands."""

    def __init__(self, field, answer=opens):
        self.field, self.answer = field, answer
        self.serial = new_serial("lid")
        self.commands = []              # as they came, repeats included
        self.pins = []                  # what the shadow was to hold
        self._acted, self._last = set(), 0
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(self.serial)
        self.client.on_message = self._message
        self.client.on_subscribe = lambda *_: self._subscribed.set()

    def __enter__(self):
        self.client.connect("127.0.0.1", self.field.mqtt_port)
        self.client.subscribe([("robot/%s/%s" % (self.serial, topic), 1) for
                               topic in ("commands", "shadow/update")])
        self.client.loop_start()
        assert self._subscribed.wait(60), "no subscription"
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def _message(self, client, data, message):
        body = json.loads(message.payload)
        if message.topic.endswith("/shadow/update"):
            self.pins.append(body["state"]["desired"]["pin"])
            return
        if body["id"] not in self._acted and body["expiresAt"] > now_ms():
            self._acted.add(body["id"])
            if self.answer is not None:
                self.answer(self, body)
        self.commands.append(body)      # who waits for it finds it answered

    def clock(self, ahead=0):
        """The robot's time, ms, later than the one before; with ahead it is
        set to no less than that, which is awaited."""
        with self._lock:
            self._last = max(now_ms(), self._last + 1, ahead)
            await_for("the robot's time", lambda: now_ms() >= self._last,
                      every=0.0005)
            return self._last

    def event(self, kind, ts=None, **members):
        """As the robot would send it; nothing is sent."""
        return {"type": kind, "ts": ts or self.clock(), **members}

    def send(self, event):
        assert self.client.publish("robot/%s/events" % self.serial,
                                   json.dumps(event), 1).rc == 0
        return event

    def report(self, kind, ts=None, **members):
        """Returns what was sent."""
        return self.send(self.event(kind, ts, **members))

    def opens_by_itself(self):
        """The PIN was typed, and was right."""
        return self.report("PIN_ENTRY_LID_OPEN", lid_opened=True)

    def confirms(self):
        """The lid was closed, and the keypad's button pressed."""
        return self.report("PIN_ENTRY_LID_CLOSE", trigger="PIN_ENTRY_CONFIRM")

    def shows(self, place, speed=0, **members):
        """One heartbeat from there, in the history when this returns."""
        return self.field.beat(self.serial, self.clock(),
                               location={**place, "speed": speed}, **members)

    def asked(self):
        """The commands in order, each once: one whose answer takes more than
        a second comes again."""
        return list({command["id"]: command
                     for command in list(self.commands)}.values())

    def await_command(self, count=1):
        await_for("command %d of %s" % (count, self.serial),
                  lambda: len(self.asked()) >= count)
        return self.asked()[count - 1]

    def await_pin(self, pin):
        await_for("the PIN in the shadow of " + self.serial,
                  lambda: self.pins and self.pins[-1] == pin)

    def queued(self, *events):
        """Sends events by SQS, as an IoT rule would forward them."""
        queues = self.field.queues
        queues.send(queues.events, *({"serial": self.serial, **event}
                                     for event in events))
