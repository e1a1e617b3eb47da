"""Kafka, as librdkafka's mock cluster plays it."""

import json
import os
import signal
import subprocess

from native import ROOT, until

CHANGE = "Robots.StateChange"
RAW = "robot_platform_robot_updates_v1"


def consumed(bus, topic, key):
    """[(headers, timestamp, payload)] of the key, in their order."""
    said = subprocess.run(
        ["kcat", "-b", bus.stack.kafka_brokers, "-C", "-e", "-q", "-t", topic,
         "-f", "%k\t%h\t%T\t%s\n"], check=True, text=True,
        stdout=subprocess.PIPE, timeout=30).stdout
    rows = (line.split("\t", 3) for line in said.splitlines())
    return [(h, int(ts), json.loads(payload))
            for k, h, ts, payload in rows if k == key]


def test_published_by_key_with_the_cause(bus, drive):
    driver = drive(engines="kafka")
    assert driver.sent(CHANGE, 1000, 500) == (500, "")
    assert driver.sent("raw", 2000, 10) == (10, "")

    # Nothing else in the session uses these numbers.
    found = [row for row in consumed(bus, CHANGE, "r-0")
             if 1000 <= row[2]["data"]["number"] < 1500]
    assert [p["data"]["number"] for _, _, p in found] == list(
        range(1000, 1500, 5))
    headers, ts, payload = found[0]
    assert ts == 1700000001000
    assert headers == "coco-cause-ts=1700000001000,coco-cause-id=" + \
        payload["id"]

    found = consumed(bus, RAW, "r-0")
    assert [(h, p["data"]["number"]) for h, _, p in found
            if 2000 <= p["data"]["number"] < 2010] == [("", 2000),
                                                       ("", 2005)]
    assert driver.stop() < 1500


def test_nobody_there(bus, drive):
    driver = drive(engines="kafka", brokers="127.0.0.1:1", bus_timeout="500ms")
    assert driver.sent(CHANGE, 0, 10)[0] == 0
    # who is busy may not have tried to connect within the first time-out
    until(lambda: "127.0.0.1:1" in driver.sent(CHANGE, 0, 10)[1])
    assert driver.sent(CHANGE, 0, 10)[0] == 0
    assert driver.stop() < 1500


def test_an_unknown_property_is_named(bus, drive):
    driver = drive(engines="kafka")
    assert driver.sent(CHANGE, 0, 1)[0] == 1
    other = drive(engines="kafka", kafka_properties="no.such=1")
    sent, error = other.sent(CHANGE, 0, 1)
    assert sent == 0
    assert "no.such" in error


def fresh(driver, first):
    """As they came first: a group that is made anew may give some again."""
    return [n for n in dict.fromkeys(driver.numbers()) if n >= first]


def test_offsets_after_a_stop_and_after_a_kill(bus, drive):
    publisher = drive(engines="kafka")
    publisher.sent(CHANGE, 10000, 100, robots=7)
    one = drive("operations", engines="kafka")
    one.ask("consume kafka", "consuming")
    until(lambda: len(fresh(one, 10000)) == 100, 40)
    until(lambda: one.in_flight() == 0)
    one.stop()
    assert not one.logged("kafka_commit_failed")

    two = drive("operations", engines="kafka")
    two.say("hold")
    two.ask("consume kafka", "consuming")
    publisher.sent(CHANGE, 10100, 100, robots=7)
    until(lambda: len(fresh(two, 10000)) >= 100, 40)
    assert sorted(fresh(two, 0)) == list(range(10100, 10200))
    two.kill()

    three = drive("operations", engines="kafka")
    three.ask("consume kafka", "consuming")
    until(lambda: len(fresh(three, 10000)) >= 100, 40)
    until(lambda: three.in_flight() == 0)
    assert sorted(fresh(three, 0)) == list(range(10100, 10200))
    three.stop()


def test_committed_up_to_the_first_that_is_not_done(bus, drive):
    one = drive("operations", engines="kafka")
    one.ask("consume kafka", "consuming")
    until(one.connected, 40)
    publisher = drive(engines="kafka")
    publisher.sent(CHANGE, 20000, 1, robots=1)
    until(lambda: 20000 in one.numbers())
    one.say("hold")
    one.connected()                            # by now it holds
    publisher.sent(CHANGE, 20001, 50, robots=1)
    until(lambda: len(fresh(one, 20001)) == 50)
    one.say("done 49")                         # all but the oldest
    assert one.in_flight() >= 50               # of other tests, too
    assert one.stop() < 6000                   # commits what it may

    two = drive("operations", engines="kafka")
    two.ask("consume kafka", "consuming")
    until(lambda: len(fresh(two, 20001)) == 50, 40)
    assert fresh(two, 20000) == list(range(20001, 20051))


def test_a_stop_while_the_broker_is_silent(bus, drive, tmp_path):
    told = tmp_path / "brokers"
    broker = subprocess.Popen([os.path.join(ROOT, "bin", "coco-kafka"),
                               str(told), CHANGE])
    try:
        until(told.exists)
        options = {"engines": "kafka", "brokers": told.read_text().strip()}
        driver = drive("operations", **options)
        driver.say("hold")
        driver.ask("consume kafka", "consuming")
        assert drive(**options).sent(CHANGE, 0, 20)[0] == 20
        until(lambda: len(driver.numbers()) == 20)
        broker.send_signal(signal.SIGSTOP)
        # which it cannot commit; with the stop, or it might have begun to,
        # and nobody would wait for the answer
        driver.process.stdin.write("done 20\n")
        assert driver.stop() < 30000           # by itself: 70 s
        assert driver.logged("kafka_commit_failed") == 1
    finally:
        broker.kill()
        broker.wait()


def test_events_come_by_rabbitmq_where_both_are_configured(drive):
    assert drive("operations", engines="rabbitmq,kafka").ask(
        "consume kafka", "nothing")


def test_fleet_fed_by_the_raw_topic(bus, drive):
    driver = drive("all", engines="rabbitmq,kafka", kafka_feeds_fleet="on")
    driver.ask("consume kafka", "consuming")
    until(driver.connected, 40)
    assert driver.sent("raw", 30000, 10)[0] == 10
    until(lambda: len(fresh(driver, 30000)) == 10)
    assert {topic for topic, _, _, n in driver.got() if n >= 30000} == {
        RAW + "/r-%d" % n for n in range(5)}       # with the key, for letters
    assert any(line.startswith("got kafka 4 ") for line in driver.lines)
