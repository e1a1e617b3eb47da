"""A running system with simulated partners: orders come by webhook, robots
bring them, and the partners' ledger tells what they heard. Must never look
inside the programs it tests.
"""

import json
import os
import sys
import time

import requests

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/partners")]

from harness import System, await_for, heartbeat, new_serial, now_ms  # noqa: E402,E501
import sender                                                   # noqa: E402

with open(os.path.join(ROOT, "conf/partners.json")) as _file:
    MAP = json.load(_file)

# what both partners call a status in what they are told
STATUS = {"uber": "status", "doordash": "delivery_status"}

# so that what is tried again is so within a test
QUICK = {"COCO_WORKER_PARTNERS_RETRY_MIN": "50ms",
         "COCO_WORKER_PARTNERS_RETRY_MAX": "500ms",
         "COCO_WORKER_PARTNERS_BREAKER_OPEN": "200ms",
         "COCO_WORKER_PARTNERS_LOCATION_INTERVAL": "200ms",
         "COCO_WORKER_PARTNERS_TIMEOUT": "2s"}


def fresh_seed():
    """Orders of no other test, also of none of an earlier run."""
    return time.time_ns()


def same(told, expected):
    """Raises unless they are."""
    for order, words in expected.items():
        assert told[order] == words, order.external_id
    return True


class Field(System):
    """`partners` are the addresses of the simulators when they are not the
    stack's own."""

    def __init__(self, stack, partners=None):
        env = stack.env()
        super().__init__(env)
        self.stack = stack
        self.partners = partners or [env["COCO_PARTNERS_URL"]]
        self.sender = sender.Sender(
            env["COCO_HTTP"], env["COCO_UBER_SIGNING_KEY"],
            env["COCO_DOORDASH_TOKEN"], patience=60, pause=0.1)

    # --- the partners ---------------------------------------------------------

    def reset(self):
        for url in self.partners:
            assert requests.post(url + "/reset", timeout=10).ok

    def control(self, **order):
        for url in self.partners:
            reply = requests.post(url + "/control", json=order, timeout=10)
            assert reply.ok, reply.text

    def ledger(self, **query):
        """All entries that fit, those of a simulator oldest first."""
        items = []
        for url in self.partners:
            page = [{"n": query.get("after", 0)}]
            while page:
                reply = requests.get(url + "/ledger", timeout=30, params=dict(
                    query, after=page[-1]["n"]))
                assert reply.ok, reply.text
                page = reply.json()["items"]
                items += page
        return items

    def told(self, *orders):
        """{order: the statuses that the partner took of it, each once, in the
        order in which it first took them}. Asserts that what came again did
        so under its key, byte for byte."""
        statuses = {order: [] for order in orders}
        of = {(order.provider, order.external_id): order for order in orders}
        digests = {}
        for entry in self.ledger(
                delivery=orders[0].external_id if len(orders) == 1 else None):
            order = of.get((entry["partner"], entry["delivery"]))
            status = order and entry["body"].get(STATUS[order.provider])
            if not status:
                continue                # a position, or of another test
            assert digests.setdefault(entry["key"], entry["digest"]) \
                == entry["digest"], "another body under a key"
            if entry["status"] == 200 and not entry["repeat"]:
                statuses[order].append(status)
        return statuses

    def await_told(self, *orders, without=()):
        """Until each one's partner has heard all of it, and no more."""
        expected = {order: [word for word in self.to_be_told(self.find(order))
                            if word not in without] for order in orders}
        await_for("what the partners hear",
                  lambda: same(self.told(*orders), expected), 120, 0.1)
        return expected

    def to_be_told(self, delivery):
        """What its history says that the partner is to hear."""
        words = MAP[delivery["provider"]]["statuses"]
        history = self.get("/deliveries/%s/events" % delivery["id"])["items"]
        return [words[event["status"]] for event in history
                if words[event["status"]] is not None]

    # --- orders and robots ----------------------------------------------------

    def send(self, turns, at_once=8):
        for said in self.sender.send_all(turns, at_once):
            assert said["statuses"][-1] == 200, said

    def place(self, order):
        """The delivery that an order's first webhook makes."""
        self.send(order.events()[:1])
        return await_for("a delivery of " + order.external_id,
                         lambda: self.find(order))

    def find(self, order):
        rows = self.sql("select id::text from coco.delivery"
                        " where provider = %s and external_id = %s",
                        order.provider, order.external_id)
        return rows and self.get("/deliveries/" + rows[0][0])

    def robot(self, *providers):
        """A new one, online; a vehicle of theirs."""
        serial = new_serial("van")
        self.beat(serial, now_ms(), "PARKED", lid={"open": False})
        for provider in providers:
            self.call("PUT", "/fleet/v1/beacon/external-mappings/%s/v-%s"
                      % (provider, serial), json={"serial": serial})
        return serial

    def stands(self, serial, place):
        self.publish((serial, heartbeat(
            now_ms(), latitude=place[0], longitude=place[1],
            location={"latitude": place[0], "longitude": place[1],
                      "speed": 0}, lid={"open": False})))

    def reports(self, serial, kind, **members):
        self.publish((serial, {"type": kind, "ts": now_ms(), **members}),
                     kind="events")

    def move(self, delivery, word, **body):
        return self.call("POST", "/deliveries/%s/%s" % (delivery["id"], word),
                         json=body or None)

    def await_status(self, delivery, status, seconds=60):
        await_for("%s of %s" % (status, delivery["externalId"]), lambda:
                  self.get("/deliveries/" + delivery["id"])["status"]
                  == status, seconds)

    def bring(self, delivery, serial, order):
        """From the order to its end, the robot's part by MQTT alone."""
        self.move(delivery, "assign", serial=serial)
        self.move(delivery, "depart")
        self.stands(serial, order.pickup)
        self.await_status(delivery, "AtPickup")
        self.reports(serial, "PIN_ENTRY_LID_OPEN", lid_opened=True)
        self.reports(serial, "PIN_ENTRY_LID_CLOSE",
                     trigger="PIN_ENTRY_CONFIRM")
        self.await_status(delivery, "LoadedWaitingForPilot")
        self.move(delivery, "depart")
        self.stands(serial, order.dropoff)
        self.await_status(delivery, "AtDropoff")
        self.move(delivery, "complete")
