"""Shadows: the newest version, until the broker has it; and PINs that nobody
else hears of."""

import itertools
import time

import psycopg2
from native import until

TOPIC = "robot/r-1/shadow/update"


def test_the_newest_is_sent_once(servers, drive, robots):
    driver = drive(commands_retry="60s").connected()
    servers.shadow("r-1", "1234")
    until(lambda: servers.unsent() == 0)
    until(lambda: robots.pins(TOPIC) == ["1234"])
    (_, _, payload, message), = robots.heard
    assert payload == {"state": {"desired": {"pin": "1234"}}}
    assert message.qos == 1 and not message.retain

    servers.shadow("r-1", None)
    until(lambda: servers.unsent() == 0)
    until(lambda: robots.pins(TOPIC) == ["1234", None])
    assert driver.sent(2, "shadows") == 2      # counted before it is marked


def test_what_the_broker_has_is_not_sent_again(servers, drive, robots):
    """An answer may be later than the retry, and then it leaves once more."""
    driver = drive(commands_retry="100ms").connected()
    for pin in ("1234", None):
        servers.shadow("r-1", pin)
        until(lambda: servers.unsent() == 0)
        sent = driver.sent(1, "shadows")
        # the time of a few retries, as another one tells
        identity, = servers.put(expires="5min")
        until(lambda: len(robots.times(identity)) >= 4)
        assert driver.sent(sent, "shadows") == sent
        assert len(robots.pins(TOPIC)) == sent
        servers.set(identity, "outcome", "OPENED")
    assert [pin for pin, _ in itertools.groupby(robots.pins(TOPIC))] == [
        "1234", None]
    assert driver.sent(8) >= 8


def test_what_was_set_meanwhile_is_not_sent(servers, drive, robots):
    for pin in ("1111", "2222", None, "3333"):
        servers.shadow("r-1", pin)
    drive(commands_retry="60s").connected()
    until(lambda: servers.unsent() == 0)
    until(lambda: robots.pins(TOPIC))
    assert robots.pins(TOPIC) == ["3333"]


def test_until_the_broker_has_it(servers, drive, robots, between):
    driver = drive(port=between.server.getsockname()[1],
                   commands_retry="150ms").connected()
    between.mute = True
    servers.shadow("r-1", "1234")
    until(lambda: len(robots.pins(TOPIC)) >= 3)
    until(lambda: between.kept >= 2)
    assert servers.unsent() == 1

    servers.shadow("r-1", "5678")
    until(lambda: "5678" in robots.pins(TOPIC))
    until(lambda: len(robots.pins(TOPIC)) >= 6)
    pins = robots.pins(TOPIC)
    assert pins == sorted(pins)                # never the old one again

    between.mute = False
    until(lambda: servers.unsent() == 0)
    sent = driver.metric("coco_shadows_sent_total")
    identity, = servers.put(expires="5min")
    until(lambda: len(robots.times(identity)) >= 4)
    assert driver.metric("coco_shadows_sent_total") == sent


def test_a_newer_one_does_not_overtake(servers, drive, robots, between):
    """It waits for the answer to the one before, or for the end of that."""
    drivers = [drive(port=between.server.getsockname()[1],
                     commands_retry="700ms").connected()]
    between.mute = True
    begun = time.time()
    servers.shadow("r-1", "1111")
    until(lambda: between.kept)
    servers.shadow("r-1", "2222")
    drivers.append(drive(commands_retry="700ms").connected())
    until(lambda: "2222" in robots.pins(TOPIC))
    heard = list(robots.heard)
    pins = [payload["state"]["desired"]["pin"] for _, _, payload, _ in heard]
    assert [pin for pin, _ in itertools.groupby(pins)] == ["1111", "2222"]
    assert heard[pins.index("2222")][0] - begun >= 0.7

    between.mute = False
    until(lambda: servers.unsent() == 0)
    for driver in drivers:
        driver.stop()
    drive(commands_retry="60s").connected()    # nobody waits for so long
    for pin in ("3333", "4444"):
        servers.shadow("r-1", pin)
        until(lambda: servers.unsent() == 0, 30)
    until(lambda: "4444" in robots.pins(TOPIC))


def test_a_version_is_marked_and_no_newer_one(servers, drive, robots,
                                              between):
    """The acknowledgement of the old one comes when the new one is there."""
    drive(port=between.server.getsockname()[1], commands_retry="60s",
          mqtt_connect_timeout="2s").connected()
    other = psycopg2.connect(servers.stack.postgres)
    try:
        servers.shadow("r-1", "1234")
        until(lambda: servers.unsent() == 0)
        cursor = other.cursor()
        cursor.execute("update coco.robot_shadow set pin = '9999',"
                       " version = version + 1;"
                       "notify coco_command")
        # held: it waits for nobody, and commands pass
        identity, = servers.put()
        until(lambda: robots.times(identity))
        other.commit()
    finally:
        other.close()
    until(lambda: servers.unsent() == 0, 30)   # by the retry: 60 s
    until(lambda: robots.pins(TOPIC) == ["1234", "9999"])


def test_a_broker_that_is_killed_before_it_answers(servers, drive, robots,
                                                   between):
    driver = drive(port=between.server.getsockname()[1],
                   commands_retry="300ms").connected()
    between.mute = True
    servers.shadow("r-1", "1234")
    until(lambda: between.kept)
    servers.kill("mqtt")
    until(lambda: driver.status() == (True, False))
    assert servers.unsent() == 1
    robots.heard.clear()
    robots.ready.clear()
    servers.restart("mqtt")
    assert robots.ready.wait(30)
    between.mute = False
    until(lambda: servers.unsent() == 0)
    until(lambda: "1234" in robots.pins(TOPIC))


def test_killed_before_the_acknowledgement(servers, drive, robots, between):
    driver = drive(port=between.server.getsockname()[1],
                   commands_retry="300ms").connected()
    between.mute = True
    servers.shadow("r-1", "1234")
    until(lambda: between.kept)
    driver.kill()
    drive().connected()
    until(lambda: servers.unsent() == 0)


def test_many_robots_and_two_senders(servers, drive, robots):
    # a mark that met the other's lock comes again with its row, later
    drivers = [drive(commands_retry="2s").connected() for _ in range(2)]
    servers.query(
        "insert into coco.robot_shadow (serial, pin)"
        " select 'r-' || n, lpad(n::text, 4, '0')"
        " from generate_series(1, 1000) n; notify coco_command")
    until(lambda: servers.unsent() == 0, 60)
    # some may have come twice
    until(lambda: len({topic for _, topic, _, _ in list(robots.heard)})
          >= 1000)
    assert {topic: p["state"]["desired"]["pin"]
            for _, topic, p, _ in list(robots.heard)} == {
        "robot/r-%d/shadow/update" % n: "%04d" % n for n in range(1, 1001)}
    # twice as many, if they did not claim them
    assert 1000 <= sum(d.metric("coco_shadows_sent_total")
                       for d in drivers) < 1500


def test_the_topics_are_templates(servers, drive, robots):
    drive(commands_retry="60s", commands_topic="robot/all/+",
          commands_shadow_topic="$aws/things/+/shadow/update").connected()
    servers.shadow("r-1", "1234")
    servers.put()
    until(lambda: robots.pins("$aws/things/r-1/shadow/update") == ["1234"])
    until(lambda: "robot/all/r-1" in [topic for _, topic, _, _
                                      in robots.heard])


def test_no_log_holds_a_pin(servers, drive, robots, between):
    """At the most talkative level, with every kind of trouble."""
    driver = drive(port=between.server.getsockname()[1],
                   commands_retry="50ms", mqtt_connect_timeout="1s",
                   log_level="debug").connected()
    between.mute = True
    servers.shadow("r-1", "8264")
    until(lambda: driver.logged("no answer in time"))
    between.mute = False
    until(lambda: servers.unsent() == 0)
    servers.kill("postgres")
    until(lambda: driver.logged("postgres_unavailable"))
    servers.restart("postgres")
    assert "8264" in robots.pins(TOPIC)
    assert not driver.logged("8264") and driver.errors
