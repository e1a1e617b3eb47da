"""Raw telemetry reaches Kafka whole, and the fleet service, fed from there,
holds each robot's newest heartbeat, whatever is killed meanwhile. Settings:
see test_fault_recovery.py.
"""

import json
import os

import bus
import checks
import pytest
from field import SEED
from fleet import Fleet
from ground import Ground, Load, await_settled, break_while
from harness import await_for
from publisher import Publisher

HEARTBEATS = 10000      # within what a mock cluster keeps
FAULTS = 2
TOPIC = "robot_platform_robot_updates_v1"

KINDS = {
    "kafka, worker killed": ("worker",),
    "kafka, postgres killed": ("postgres",),
}


@pytest.fixture(scope="module")
def broken_kafka():
    ground = Ground(
        COCO_BUS="kafka", COCO_WORKER_KAFKA_FEEDS_FLEET="on",
        # a killed member is missed after six seconds, not 45
        COCO_WORKER_KAFKA_PROPERTIES="session.timeout.ms=6000,"
                                     "heartbeat.interval.ms=1000")
    try:
        yield ground.up()
    finally:
        ground.close()


@pytest.fixture
def kafka(broken_kafka):
    broken_kafka.mend()
    return broken_kafka


def raw(ground, serials):
    """{(serial, ts)} of these robots' heartbeats in the topic."""
    return {(message.key, json.loads(message.payload)["ts"])
            for message in bus.kafka_read(ground.env["COCO_KAFKA_BROKERS"],
                                          TOPIC) if message.key in serials}


@pytest.mark.parametrize("kind", KINDS)
def test_fault(kafka, dice, capsys, kind):
    system = kafka.system
    tag = "k%d.%x" % (list(KINDS).index(kind), os.getpid())
    fleet = Fleet("%s %s" % (SEED, tag), tag)
    publisher = Publisher(system.mqtt_port, "kafka-" + tag)
    first = publisher.publish(fleet.first())
    checks.await_stored(system, fleet.serials, len(fleet.robots))

    def stored():
        return checks.stored(system, fleet.serials)

    hits = break_while(
        Load(lambda: publisher.publish(fleet.heartbeats(HEARTBEATS))),
        lambda: (len(publisher.acked) - first) / HEARTBEATS,
        lambda: stored() < len(publisher.acked),
        lambda: kafka.kill(*KINDS[kind]), FAULTS, dice)
    acked, serials = set(publisher.acked), set(fleet.serials)
    publisher.close()
    await_settled("the history", stored, len(acked))
    found = checks.history(system, fleet, acked)
    await_settled("the topic", lambda: len(acked - raw(kafka, serials)), 0)
    missing = acked - raw(kafka, serials)
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d missing=%d acknowledged=%d "
              "faults=%d hits=%d seed=%s" % (
                  kind, len(found.lost), len(found.duplicates), len(missing),
                  len(acked), FAULTS, hits, SEED))
    assert found == ([], [], [], [])
    assert missing == set()
    assert raw(kafka, serials) == acked, "somebody else's heartbeats"
    assert hits > 0, "no fault met a heartbeat under way: nothing was shown"
    await_for("fleet has the newest", lambda: checks.newest(
        system, fleet) == [], 60, every=0.2)
    assert checks.transitions(system, fleet) == []


def test_raw_as_the_robot_sent_it(kafka):
    """kcat sees the bytes of the payload, white space and all."""
    system = kafka.system
    serial = "raw-%x" % os.getpid()
    payload = (b'{ "ts": 1790000000000,\t"battery":{"percent":1.50},'
               b' "location":{"latitude":1,"longitude":2}, "x":[1, 2] }')
    payload = payload.replace(b"1790000000000", str(
        system.value("select coco.to_ms(now())")).encode())
    system.publish((serial, payload))
    seen = await_for("it in the topic", lambda: [
        message.payload for message in bus.kafka_read(
            kafka.env["COCO_KAFKA_BROKERS"], TOPIC) if message.key == serial],
        60)
    assert set(seen) == {payload}
