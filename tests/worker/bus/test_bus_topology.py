"""What is declared, with which arguments. These tests delete the queues, and
so come after all that kill the broker: see Brokers.settle()."""

import pytest

from busdriver import until

CHANGE = "Robots.StateChange"


@pytest.fixture(autouse=True)
def no_queues(bus, drive):
    yield bus.delete_queues()
    for driver in drive.drivers:
        driver.end()
    bus.delete_queues()


def test_what_no_queue_is_bound_for_counts_as_sent(bus, drive):
    driver = drive("all")
    assert driver.sent("IoT.Heartbeat", 0, 50) == (50, "")
    assert driver.metric("coco_bus_unroutable_total") == 50
    assert bus.depth("coco.operations") is None, "all services: no queues"


@pytest.mark.parametrize("name, queues", [
    ("IoT.Heartbeat", {"coco.operations", "coco.fleet", "coco.deliveries",
                       "coco.dispatch"}),
    ("Robots.StateChange", {"coco.operations"}),
    ("Robots.BusinessStateChange", {"coco.fleet", "coco.dispatch"}),
    ("Robots.LidOpen", {"coco.dispatch"}),
    ("Robots.LidClose", {"coco.deliveries", "coco.dispatch"}),
    ("LidCycle.Complete", {"coco.deliveries", "coco.dispatch"}),
    ("Deliveries.DeliveryEvent", set()),
    ("DispatchEngine.SupplyEvent", set())])
def test_who_consumes_what(bus, drive, name, queues):
    assert drive().sent(name, 0, 3) == (3, "")
    assert {queue: bus.depth(queue) for queue in bus.QUEUES} == {
        queue: 3 if queue in queues else 0 for queue in bus.QUEUES}


def test_a_queue_with_other_arguments_is_named(bus, drive):
    channel = bus.channel()
    channel.queue_declare("coco.fleet", durable=True)
    channel.connection.close()

    sent, error = drive().sent(CHANGE, 0, 10)
    assert sent == 0
    assert "coco.fleet" in error and "PRECONDITION_FAILED" in error
    assert "delete it" in error


def test_the_delivery_limit_sets_a_message_aside(bus, drive):
    assert drive(rabbitmq_delivery_limit=2).sent(CHANGE, 7, 1) == (1, "")
    deliveries = 0
    while bus.depth("coco.dead") == 0:
        driver = drive("operations", rabbitmq_delivery_limit=2)
        driver.say("hold")
        driver.ask("consume rabbitmq", "consuming")
        until(lambda: driver.got() or bus.depth("coco.dead"))
        deliveries += len(driver.got())
        driver.kill()
        until(lambda: bus.depth("coco.operations") or bus.depth("coco.dead"))
        assert deliveries <= 3
    assert deliveries == 3                     # once, and twice again

    (properties, envelope), = bus.take("coco.dead", 1)
    assert envelope["data"]["number"] == 7
    assert properties.headers["x-first-death-reason"] == "delivery_limit"
