"""docs/asyncapi.yaml against the traffic of a running system with both
brokers: every message that is captured is one that is documented, every one
that is documented is seen, and what the document shows as examples is taken.
"""

import copy
import datetime
import json
import re
import threading
from collections import defaultdict

import bus
import paho.mqtt.client as mqtt
import pytest
from harness import await_for, connectivity, heartbeat, new_serial, now_ms
from lid_field import AWAY, CLOSE, COMPLETE, DROPOFF, OPEN, Field, Robot
from messages import Document, Mismatch
from stack import Stack

DOCUMENT = Document()

# Every exchange there is, also those of services that are still to come: what
# is published there but not documented is heard.
EXCHANGES = ("IoT.Heartbeat", "Robots.StateChange",
             "Robots.BusinessStateChange", "Robots.LidOpen", "Robots.LidClose",
             "LidCycle.Complete", "ConnectivityRawStatusChanged",
             "Deliveries.DeliveryEvent", "DispatchEngine.SupplyEvent")


class Overheard:
    """Everything on the MQTT broker, as (topic, payload)."""

    def __init__(self, port):
        self.messages = []
        self.subscribed = threading.Event()
        self.client = mqtt.Client("asyncapi-ear")
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda client, data, message: \
            self.messages.append((message.topic, message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", 1)
        self.client.loop_start()
        assert self.subscribed.wait(60)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Traffic:
    """What went over each server while everything was done once."""

    def __init__(self, stack):
        env = stack.env()
        self.system = Field(stack)
        self.amqp, self.kafka = env["COCO_AMQP_URL"], env["COCO_KAFKA_BROKERS"]
        self.queued = []                # (server, address, {}, payload)
        self.ear = Overheard(self.system.mqtt_port)
        self.bound = bus.Bound(self.amqp, EXCHANGES)
        self.serials, self.sent = [], defaultdict(list)

    def close(self):
        self.ear.close()
        self.bound.close()
        self.system.close()

    def serial(self):
        self.serials.append(new_serial("async"))
        return self.serials[-1]

    def make(self):
        self._examples()
        self._changes()
        self._lids()
        self._settle()

    @staticmethod
    def _fresh(example, serial):
        """The document's example of this robot and of now, as text."""
        now = now_ms()
        iso = datetime.datetime.fromtimestamp(
            now / 1000, datetime.timezone.utc).isoformat()
        text = re.sub(r"\b1785\d{12}\b", str(now * 1000), json.dumps(example))
        text = re.sub(r"\b1785\d{9}\b", str(now), text)
        text = re.sub(r"2026-07-25T[^\"]*", iso, text)
        return text.replace("coco-0001", serial)

    def _examples(self):
        """What the document shows is sent as it is, but for the robot and the
        time."""
        mqtt_kinds = (("Heartbeat", "status"), ("RobotEvent", "events"))
        for name, kind in mqtt_kinds:
            for example in DOCUMENT.examples(name):
                serial = self.serial()
                self.system.publish(
                    (serial, self._fresh(example, serial).encode()),
                    kind=kind)
                self.sent[name].append(serial)

        queues = self.system.queues
        for address, queue, names in (
                ("eventsQueueUrl", queues.events, ("QueueEvent",
                                                   "Notification")),
                ("stateQueueUrl", queues.state, ("QueueHeartbeat",
                                                 "Notification")),
                ("connectivityQueueUrl", queues.connectivity,
                 ("DriveUWebhook",))):
            for name in names:
                for example in DOCUMENT.examples(name):
                    self._queue(address, queue, name, example)

    def _queue(self, address, queue, name, example):
        serial = self.serial()
        body = self._fresh(example, serial)
        if name == "DriveUWebhook" and example["vin"] is None:
            body = body.replace(example["uuid"], "u-" + serial)
            self.system.sql("insert into coco.external_robot_mapping values"
                            " ('driveu', %s, %s)", "u-" + serial, serial)
        self.system.queues.send(queue, body)
        self.queued.append(("sqs", address, {}, body))
        self.sent[name].append(serial)

    def _changes(self):
        """A heartbeat with everything and one with the least, a robot that
        can be driven, and a business state with and without a place."""
        system, serial = self.system, self.serial()
        system.webhook(connectivity(serial, "streamer", "connectedToNode"))
        system.webhook(connectivity(serial, "node", "online"))
        await_for("the status", lambda: system.value(
            "select count(*) from coco.driveu_status where serial = %s",
            serial) == 2)
        system.beat(serial, now_ms(), "PARKED", lid={"open": True},
                    healthy=True, software={"main": "4.2"})
        system.beat(serial, now_ms(), battery=1)
        for change in ({"operationState": "ON_TRIP"},
                       {"hasFood": True, "deployed": {
                           "type": "POD", "id": "p", "latitude": 1.5,
                           "longitude": 2}},
                       {"deployed": None}):
            system.call("PATCH", "/robots/" + serial, json=change)
        self.sent["change"].append(serial)

    def _lids(self):
        """A delivery to its end, by a robot that opens by itself and then on
        command; a command for nothing, and a lid nobody knows about."""
        system = self.system
        with Robot(system) as robot:
            delivery = system.delivery(robot, "MAGIC_LID", pin="1234")
            self.serials += [robot.serial, delivery.id]
            robot.await_pin("1234")
            robot.opens_by_itself()
            robot.confirms()
            delivery.await_loaded()
            robot.await_pin(None)
            delivery.do("depart")
            robot.shows(DROPOFF)
            delivery.await_status("AtDropoff")
            system.open_lid(robot, "QR", reference=delivery.id)
            robot.report("LID_CLOSED", trigger="COMMAND")
            delivery.await_status("Completed")

            system.open_lid(robot)
            robot.report("LID_CLOSED")
            system.settle(robot)
            robot.clock(ahead=now_ms() + 2100)
            for _ in range(2):
                robot.shows(AWAY, lid={"open": True})
            system.await_lid(robot, "LID_CYCLE_INIT", source="RESYNC")
            robot.report("LID_CLOSED")
            system.settle(robot)
            assert [source for name, source, *_ in system.bus(robot)
                    if name == COMPLETE] == ["MAGIC_LID", "QR", "OPERATOR",
                                             "RESYNC"]
            self.sent["lid"].append(robot.serial)

    def _settle(self):
        """All that was made is stored, and out on both brokers."""
        system = self.system
        system.publish((self.serial(), heartbeat(now_ms())))
        await_for("the outbox is out", lambda: system.value(
            "select count(*) = 0 and (select count(*) >= 8 from coco.outbox)"
            "  from coco.outbox where relayed_at is null"))
        await_for("every heartbeat on the bus", lambda: {
            message.key for message in list(self.bound.messages)
            if message.channel == "IoT.Heartbeat"} >= {self.serials[-1]})
        ids = {str(row[0]) for row in system.sql("select id from coco.outbox")}
        await_for("every event in the queue", lambda: ids <= {
            json.loads(message.payload)["id"]
            for message in list(self.bound.messages)})

    def captured(self):
        """(server, address, headers, payload) of everything."""
        yield from self.queued
        for topic, payload in list(self.ear.messages):
            if not topic.startswith("coco/"):   # the stack's own probe
                yield "mqtt", topic, {}, payload
        for message in list(self.bound.messages):
            yield "rabbitmq", message.channel, message.headers, message.payload
        for topic in bus.kafka_topics(self.kafka):
            if topic.startswith("__"):          # the brokers' own
                continue
            for message in bus.kafka_read(self.kafka, topic):
                yield "kafka", topic, message.headers, message.payload


@pytest.fixture(scope="module")
def traffic():
    with Stack(environment={"COCO_BUS": "rabbitmq,kafka"}) as stack:
        stack.up()
        traffic = Traffic(stack)
        try:
            traffic.make()
            yield traffic
        finally:
            traffic.close()


@pytest.fixture(scope="module")
def captured(traffic):
    return list(traffic.captured())


def test_examples_match_their_schemas():
    for name, message in DOCUMENT.tree["components"]["messages"].items():
        for example in message.get("examples", ()):
            assert DOCUMENT.errors(message["payload"],
                                   example["payload"]) == [], name


def test_every_message_is_documented(captured):
    assert len(captured) > 20
    for one in captured:
        DOCUMENT.check(*one)


def test_every_documented_message_is_seen(captured):
    seen = {(one[0], DOCUMENT.check(*one)) for one in captured}
    # a queue takes either kind, and it is enough to see each on one
    assert DOCUMENT.expected() - seen == set()


def test_every_documented_exchange_is_heard():
    assert set(DOCUMENT.addresses("rabbitmq")) <= set(EXCHANGES)


def test_lids_are_told_to_who_listens(traffic):
    """In order; the movements of a cycle by its id."""
    serial, = traffic.sent["lid"]
    told = {message.properties.message_id: json.loads(message.payload)
            for message in traffic.bound.messages if message.key == serial
            and message.channel in (OPEN, CLOSE, COMPLETE)}.values()
    for name in (OPEN, CLOSE, COMPLETE):
        events = [event for event in told if event["name"] == name]
        assert len(events) == 4
        assert [event["data"]["cycleId"] for event in events] == \
            [event["data"]["cycleId"] for event in told
             if event["name"] == OPEN]
        assert sorted(event["ts"] for event in events) == [
            event["ts"] for event in events]


def test_properties_of_a_message(traffic):
    for message in traffic.bound.messages:
        envelope = json.loads(message.payload)
        properties = message.properties
        assert properties.delivery_mode == 2
        assert properties.content_type == "application/json"
        assert properties.message_id == envelope["id"]
        assert properties.type == envelope["name"] == message.channel
        assert message.key == envelope["serial"]


def test_kafka_is_keyed_by_serial(traffic):
    for topic in DOCUMENT.addresses("kafka"):
        for message in bus.kafka_read(traffic.kafka, topic):
            assert message.key in traffic.serials
            named = json.loads(message.payload).get("serial", message.key)
            assert named == message.key


def test_examples_are_accepted(traffic):
    """Each has its row, and none is among the dead letters."""
    system, sent = traffic.system, traffic.sent
    for table, names in (
            ("state_history", ("Heartbeat", "QueueHeartbeat",
                               "Notification")),
            ("lid_cycle_event_history", ("RobotEvent", "QueueEvent")),
            ("driveu_status", ("DriveUWebhook",))):
        for name in names:
            for serial in sent[name]:
                await_for("%s of %s" % (name, serial), lambda: system.value(
                    "select count(*) from coco.%s where serial = %%s" % table,
                    serial))
    assert system.sql("select source, topic, field, reason"
                      "  from coco.dead_letter") == []


def test_negative_control(captured):
    """Of each kind one is spoilt, in every way, and found out."""
    kinds = {}
    for one in captured:
        kinds[one[0], DOCUMENT.check(*one)] = one

    for (server, name), (_, address, headers, payload) in kinds.items():
        good = json.loads(payload)

        def refused(value, headers=headers, address=address):
            with pytest.raises(Mismatch):
                DOCUMENT.check(server, address, headers, json.dumps(value))

        refused([good])
        refused({})
        refused(good, address=address + ".other")
        if server in ("rabbitmq", "kafka") and name != "RawHeartbeat":
            spoil_event(good, headers, refused)


def spoil_event(good, headers, refused):
    refused({**good, "extra": 1})
    refused({**good, "id": "1"})
    refused({**good, "ts": str(good["ts"])})
    refused({**good, "name": "IoT.Other"})
    refused({**good, "data": {**good["data"], "extra": 1}})
    refused(good, headers={**headers, "x-other": "1"})
    for word in good:
        refused({name: value for name, value in good.items() if name != word})
    refused({**good, "data": {}})
    if good["name"] == "DispatchEngine.SupplyEvent":
        return                          # it has what changed, and no more
    for word in good["data"]:
        lacks = copy.deepcopy(good)
        del lacks["data"][word]
        refused(lacks)
