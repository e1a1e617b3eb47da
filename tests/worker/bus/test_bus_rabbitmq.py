"""Publishing to RabbitMQ and consuming from it, over a real broker."""

import os
import signal
import uuid

import pika
import pytest

from amqpproxy import Proxy
from busdriver import until

CHANGE, BUSINESS = "Robots.StateChange", "Robots.BusinessStateChange"


@pytest.fixture
def proxy(bus):
    one = Proxy(bus.stack.amqp_port)
    yield one
    one.close()


def ascending(numbers, robots=5):
    """Is what is first seen of each robot in the order of publishing?"""
    first = list(dict.fromkeys(numbers))
    return all(of == sorted(of) for of in
               ([n for n in first if n % robots == robot]
                for robot in range(robots)))


# --- publisher --------------------------------------------------------------

def test_published_and_confirmed(bus, drive):
    driver = drive()
    assert driver.sent(CHANGE, 0, 2000) == (2000, "")

    found = bus.take("coco.operations", 2000)
    assert [e["data"]["number"] for _, e in found] == list(range(2000))
    for properties, envelope in found[:4]:
        number = envelope["data"]["number"]
        assert properties.delivery_mode == 2
        assert properties.content_type == "application/json"
        assert properties.message_id == envelope["id"]
        assert properties.type == CHANGE
        headers = {"serial": "r-%d" % (number % 5)}
        if number % 2 == 0:
            headers["coco-cause-ts"] = 1700000000000 + number
            headers["coco-cause-id"] = str(uuid.UUID(envelope["id"]))
        assert properties.headers == headers

    assert bus.depth("coco.fleet") == 0        # fleet does not consume it
    assert driver.metric("coco_bus_published_total") == 2000
    assert driver.metric("coco_bus_unroutable_total") == 0
    assert driver.metric("coco_bus_connected") == 1
    assert driver.stop() < 1500


def test_the_window_is_not_exceeded_and_small_ones_work(bus, drive):
    driver = drive(bus_window=1)
    assert driver.sent(CHANGE, 0, 50) == (50, "")
    assert bus.exactly("coco.operations", 50) == list(range(50))


def test_a_large_event(bus, drive):
    bus.put(3, size=300000)                    # above the frame's size
    driver = drive()
    driver.ask("relay", "relaying")
    until(lambda: bus.unrelayed() == 0)
    found = bus.take("coco.operations", 3)
    assert [len(e["data"]["fill"]) for _, e in found] == [300000] * 3


def test_a_wrong_password(bus, drive):
    sent, error = drive(rabbitmq_password="no-such").sent(CHANGE, 0, 1)
    assert sent == 0
    assert "login: ACCESS_REFUSED" in error
    assert "no-such" not in error


def test_broker_killed_within_a_window(bus, drive):
    total = 20000
    driver = drive(bus_window=500)
    driver.send(CHANGE, 0, total)
    until(lambda: (bus.depth("coco.operations") or 0) > 2000)
    # at once: to kill it takes a while, in which all might be sent
    os.kill(bus.stack.pid("rabbitmq"), signal.SIGSTOP)
    bus.kill()
    assert not any(line.startswith("sent ") for line in driver.lines)
    bus.restart()
    until(lambda: "sent %d " % total in driver.lines, 120)

    depth = until(lambda: bus.depth("coco.operations"), 30)
    numbers = bus.exactly("coco.operations", depth)
    print("%d events, %d deliveries" % (total, depth))
    assert set(numbers) == set(range(total))
    # each connection that is lost leaves a window at most
    lost = driver.logged("rabbitmq_connected") - 1
    assert lost >= 1
    assert total <= depth <= total + 500 * lost
    assert ascending(numbers)
    assert driver.metric("coco_bus_errors_total") > 0


def test_a_refused_event_is_sent_again(bus, drive, proxy):
    driver = drive(port=proxy.port)
    proxy.refuse = 1
    sent, error = driver.sent(CHANGE, 0, 10)
    assert sent < 10
    assert "basic.nack" in error
    assert driver.sent(CHANGE, sent, 10 - sent) == (10 - sent, "")

    # what the first time was on its way may have gone with its connection
    depth = bus.depth("coco.operations")
    assert 10 <= depth <= 20 - sent
    numbers = bus.exactly("coco.operations", depth)
    assert set(numbers) == set(range(10))
    assert ascending(numbers)


def test_a_blocked_connection_survives(bus, drive, proxy):
    driver = drive(port=proxy.port, bus_timeout="2s", rabbitmq_heartbeat="1s")
    assert driver.sent(CHANGE, 0, 1) == (1, "")
    proxy.blocked()
    until(lambda: driver.logged("rabbitmq_blocked"))   # heard while idle
    driver.send(CHANGE, 1, 5)

    # Nothing goes out, for longer than bus.timeout.
    with pytest.raises(AssertionError):
        until(lambda: bus.depth("coco.operations") != 1, 3)

    proxy.unblocked()
    until(lambda: "sent 5 " in driver.lines)
    assert driver.logged("rabbitmq_connected") == 1
    assert bus.exactly("coco.operations", 6) == list(range(6))


def test_a_silent_broker_is_given_up_after_the_timeout(bus, drive):
    driver = drive(bus_timeout="500ms")
    until(lambda: driver.sent(CHANGE, 0, 1) == (1, ""))
    pid = bus.stack.pid("rabbitmq")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert driver.sent(CHANGE, 1, 1) == (
            0, "no confirm within bus.timeout")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: driver.sent(CHANGE, 1, 1)[0] == 1)


def sending(port):
    """A pair of each socket to the port: the bytes that wait in it, and its
    own port."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file]
    return [(int(row[4].split(":")[0], 16), int(row[1].split(":")[1], 16))
            for row in rows if row[2].endswith(":%04X" % port)]


def closed(bus, port):
    """Has the broker told of the end of the connection from there?"""
    return any("closing AMQP connection" in line and ":%d -> " % port in line
               for line in bus.stack.log("rabbitmq").splitlines())


def test_a_stop_ends_a_publish_that_blocks(bus, drive):
    driver = drive(bus_timeout="60s", bus_window=100000)
    driver.ask("relay", "relaying")
    bus.put(1)
    until(lambda: bus.unrelayed() == 0)
    pid = bus.stack.pid("rabbitmq")
    os.kill(pid, signal.SIGSTOP)
    try:
        bus.put(200, robots=100, size=200000)
        until(lambda: max(sending(bus.stack.amqp_port))[0] > 100000)
        _, port = max(sending(bus.stack.amqp_port))
        assert driver.stop() < 10000           # by itself: bus.timeout
    finally:
        os.kill(pid, signal.SIGCONT)
    assert bus.unrelayed() == 200
    until(lambda: closed(bus, port))           # and takes nothing any more


def test_engines_do_not_flood_each_other(bus, drive):
    """What RabbitMQ has confirmed is not sent there again and again while
    Kafka is away."""
    driver = drive(engines="rabbitmq,kafka", brokers="127.0.0.1:1",
                   bus_timeout="2s")
    for _ in range(3):
        sent, error = driver.sent(CHANGE, 0, 20)
        assert sent == 0 and error
    assert bus.exactly("coco.operations", 20) == list(range(20))


# --- consumer ---------------------------------------------------------------

def test_consumed_and_acknowledged(bus, drive):
    drive().sent(CHANGE, 0, 300)
    driver = drive("operations")
    driver.ask("consume rabbitmq", "consuming")
    until(lambda: len(driver.got()) == 300)

    assert driver.got()[:2] == [(CHANGE, "r-0", 1700000000000, 0),
                                (CHANGE, "r-1", None, 1)]
    assert driver.numbers() == list(range(300))
    until(lambda: driver.in_flight() == 0)
    assert driver.connected()
    assert driver.stop() < 1500
    assert bus.depth("coco.operations") == 0


def test_each_service_has_its_queue(bus, drive):
    state = drive("state")
    state.sent("IoT.Heartbeat", 0, 3)
    state.sent(BUSINESS, 3, 3)
    driver = drive("operations,fleet")
    driver.ask("consume rabbitmq", "consuming")
    until(lambda: len(driver.got()) == 9)

    # What operations makes here reaches fleet within the transaction, but
    # fleet's queue holds what another process made, too.
    until(lambda: driver.in_flight() == 0)
    assert sorted(driver.numbers()) == [0, 0, 1, 1, 2, 2, 3, 4, 5]
    driver.stop()
    assert bus.depth("coco.operations") == bus.depth("coco.fleet") == 0


def test_all_services_consume_nothing(drive):
    assert drive("all").ask("consume rabbitmq", "nothing")


def test_killed_before_the_acknowledgement(bus, drive):
    drive().sent(CHANGE, 0, 10)
    first = drive("operations")
    first.say("hold")
    first.ask("consume rabbitmq", "consuming")
    until(lambda: len(first.got()) == 10)
    first.kill()

    second = drive("operations")
    second.ask("consume rabbitmq", "consuming")
    until(lambda: len(second.got()) == 10)
    assert second.numbers() == list(range(10))


def test_acknowledged_up_to_the_first_that_is_not_done(bus, drive):
    drive().sent(CHANGE, 0, 10)
    first = drive("operations")
    first.say("hold")
    first.ask("consume rabbitmq", "consuming")
    until(lambda: len(first.got()) == 10)
    first.say("done 9")                        # all but the oldest
    assert first.in_flight() == 10
    first.kill()

    second = drive("operations")
    second.say("hold")
    second.ask("consume rabbitmq", "consuming")
    until(lambda: len(second.got()) == 10)
    second.say("done 10")
    until(lambda: second.in_flight() == 0)

    # they are released first, and then acknowledged; the next is read after
    drive().sent(CHANGE, 10, 1)
    until(lambda: len(second.got()) == 11)
    second.kill()

    third = drive("operations")
    third.ask("consume rabbitmq", "consuming")
    until(lambda: third.got())
    assert third.numbers() == [10]


def test_a_full_lane_holds_the_broker_back_and_keeps_the_connection(bus,
                                                                    drive):
    publisher = drive()
    publisher.sent(CHANGE, 0, 20)
    driver = drive("operations", rabbitmq_heartbeat="1s",
                   rabbitmq_prefetch=10)
    driver.say("room 5")
    driver.ask("consume rabbitmq", "consuming")
    until(lambda: len(driver.got()) == 5)

    # The broker cuts a client whose heartbeats are missed twice.
    with pytest.raises(AssertionError):
        until(lambda: len(driver.got()) > 5 or driver.logged("unavailable"), 4)

    driver.say("room -1")
    until(lambda: len(driver.got()) == 20)
    assert driver.numbers() == list(range(20))
    assert driver.logged("rabbitmq_connected") == 1
    assert publisher.sent(CHANGE, 20, 1) == (1, "")


def test_an_idle_publisher_keeps_its_connection(bus, drive):
    driver = drive(rabbitmq_heartbeat="1s")
    assert driver.sent(CHANGE, 0, 1) == (1, "")
    with pytest.raises(AssertionError):
        until(lambda: driver.logged("rabbitmq_lost"), 4)
    assert driver.sent(CHANGE, 1, 1) == (1, "")
    assert driver.logged("rabbitmq_connected") == 1


def test_broker_restarted_under_the_consumer(bus, drive):
    publisher, driver = drive(), drive("operations")
    driver.ask("consume rabbitmq", "consuming")
    publisher.sent(CHANGE, 0, 10)
    until(lambda: len(driver.got()) == 10)
    bus.kill()
    until(lambda: not driver.connected())
    bus.restart()
    publisher.send(CHANGE, 10, 10)
    until(lambda: set(driver.numbers()) == set(range(20)), 120)
    until(lambda: driver.in_flight() == 0)
    assert bus.depth("coco.operations") == 0


def test_a_message_that_an_operator_puts_back(bus, drive):
    """It comes by the default exchange: the type names the event."""
    drive().sent(CHANGE, 3, 1)
    (properties, envelope), = bus.take("coco.operations", 1)
    channel = bus.channel()
    channel.basic_publish("", "coco.operations",
                          b'{"data":{"number":3}}', properties)
    channel.basic_publish("", "coco.operations", b'{"data":{"number":4}}',
                          pika.BasicProperties())
    channel.connection.close()
    driver = drive("operations")
    driver.ask("consume rabbitmq", "consuming")

    def got():
        return [line for line in driver.lines if line.startswith("got ")]

    until(lambda: len(got()) == 2)
    assert got()[0].startswith("got rabbitmq 3 " + CHANGE + " r-")
    assert got()[1] == 'got rabbitmq 3  - -1 {"data":{"number":4}}'
