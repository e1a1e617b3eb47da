"""Services in processes of their own over RabbitMQ; the worker's stop with
every source and engine on, whatever is away."""

import json
import os
import subprocess
import time
import uuid

import pika
import pytest
import requests

from process import rows
from stack import Stack, wait_for

AWAY = {
    "bus": {"engines": "rabbitmq,kafka", "timeout": "1m"},
    "rabbitmq": {"port": 1},
    "sqs": {"endpoint": "http://127.0.0.1:1",
            "events_queue_url": "http://127.0.0.1:1/1/events",
            "state_queue_url": "http://127.0.0.1:1/1/state",
            "connectivity_queue_url": "http://127.0.0.1:1/1/connectivity"},
    "kafka": {"brokers": "127.0.0.1:1", "feeds_fleet": "on"}}
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def stack():
    with Stack(only="postgres redis mqtt rabbitmq", bus="rabbitmq") as servers:
        yield servers.up()


def publish(port, serial, *beats):
    lines = "".join(json.dumps(dict({
        "battery": {"percent": 50}, "location": {
            "latitude": 1, "longitude": 2}}, **beat)) + "\n" for beat in beats)
    subprocess.run(["mosquitto_pub", "-p", str(port), "-q", "1", "-l",
                    "-t", "robot/%s/status" % serial], input=lines, text=True,
                   check=True)


def health(worker):
    return requests.get(worker.url + "/healthz").json()


def apart(stack, worker, block, services, **sections):
    """A worker of these services on the stack."""
    port = 6 + (stack.port if "state" in services else block)
    return worker(stack.port, process={"services": services},
                  http={"port": port}, bus={"engines": "rabbitmq"},
                  rabbitmq={"port": stack.amqp_port}, **sections)


def depths(stack):
    """How much waits in each service's queue."""
    with pika.BlockingConnection(
            pika.URLParameters(stack.amqp_url)) as connection:
        channel = connection.channel()
        return [channel.queue_declare(queue, passive=True).method.message_count
                for queue in ("coco.operations", "coco.fleet",
                              "coco.deliveries", "coco.dispatch")]


def standing(stack, serial):
    """(operation's state, fleet's state, fleet's battery)"""
    found = rows(stack, "select o.operation_state, f.operational_state,"
                 " f.battery_percent from coco.robot_operation o"
                 " left join coco.fleet_robot f on f.serial = o.serial"
                 " where o.serial = %s", serial)
    return found[0] if found else None


def test_apart(stack, worker, block):
    """Each process does its part; one that was away catches up."""
    first = apart(stack, worker, block, "state").start().await_connected()
    second = apart(stack, worker, block,
                   "operations,fleet,deliveries,dispatch").start()
    wait_for(lambda: health(second)["bus"]["rabbitmq"]["connected"], 60,
             "the consumer")
    assert set(health(first)["lanes"]) == {"telemetry", "events", "webhooks"}
    assert set(health(second)["lanes"]) == {"events", "bus"}
    assert "bus" not in health(first) and "tasks" in health(second)
    assert not {"inbox", "commands"} & set(health(second))

    now = int(time.time() * 1000)
    publish(stack.mqtt_port, "apart-1", {"ts": now, "state": "PARKED"},
            {"ts": now + 1, "state": "ON_TRIP", "battery": {"percent": 49}})
    wait_for(lambda: standing(stack, "apart-1") == ("ON_TRIP", "ON_TRIP", 49),
             60, "both changes")

    assert second.stop() == 0
    publish(stack.mqtt_port, "apart-1", *(
        {"ts": now + 2 + n, "state": ("PARKED", "ON_TRIP")[n % 2],
         "battery": {"percent": 40 - n}} for n in range(9)))
    first.await_metric("coco_messages_committed_total", 11)
    wait_for(lambda: rows(
        stack, "select count(*) from coco.outbox where serial = 'apart-1' and"
        " name = 'Robots.StateChange' and relayed_at is not null") == [(11,)],
        60, "a relayed outbox")
    assert standing(stack, "apart-1") == ("ON_TRIP", "ON_TRIP", 49)

    second.start()
    wait_for(lambda: standing(stack, "apart-1") == ("PARKED", "PARKED", 32),
             60, "the newest")
    assert rows(stack, "select count(*) from coco.robot_state_history"
                " where robot_serial = 'apart-1'") == [(11,)]
    assert rows(stack, "select source, reason from coco.dead_letter") == []


def test_services_that_several_processes_run(stack, worker, block):
    """Whoever made an event, it reaches every service that consumes it, and
    no queue fills for nobody."""
    first = apart(stack, worker, block, "state,operations").start()
    first.await_connected()
    apart(stack, worker, block,
          "operations,fleet,deliveries,dispatch").start()

    now, robots = int(time.time() * 1000), ["both-%d" % n for n in range(20)]
    for serial in robots:
        publish(stack.mqtt_port, serial, *(
            {"ts": now + n, "state": ("PARKED", "ON_TRIP")[n % 2],
             "battery": {"percent": 50 - n}} for n in range(9)))
    wait_for(lambda: {standing(stack, serial) for serial in robots}
             == {("PARKED", "PARKED", 42)}, 60, "the newest of each")
    wait_for(lambda: set(depths(stack)) == {0}, 60, "empty queues")
    # two take from the same queues: the newest may be applied before others
    wait_for(lambda: rows(stack, "select count(*), count(distinct id)"
                          " from coco.robot_state_history"
                          " where robot_serial like 'both-%%'")
             == [(180, 180)], 60, "all changes, each once")


@pytest.mark.parametrize("services", [("all",), (
    "state,operations,fleet,deliveries", "dispatch")])
def test_what_heartbeats_change_of_the_supply(stack, worker, block, services):
    """Told straight after the commit, by the process that has dispatch; a
    repeat tells all of it again, one that is late nothing."""
    name, serial = "DispatchEngine.SupplyEvent", "supply-%d" % len(services)
    running = [apart(stack, worker, block + number, some).start()
               for number, some in enumerate(services)]
    running[0].await_connected()
    told = []

    with pika.BlockingConnection(
            pika.URLParameters(stack.amqp_url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "fanout", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, name)

        def tells(*beats):
            """The telemetry in the next event that is about this robot."""
            publish(stack.mqtt_port, serial, *beats)
            for _, properties, body in channel.consume(
                    queue, auto_ack=True, inactivity_timeout=60):
                assert body, "no event"
                event = json.loads(body)
                if event["serial"] == serial and "lastSynced" in event["data"]:
                    assert event["id"] == properties.message_id
                    told.append(event)
                    return event["data"]

        at = int(time.time() * 1000) - 1000
        first = {"ts": at, "state": "PARKED"}
        all_of_it = {"status": "ONLINE", "battery": 50, "lastSynced": at,
                     "healthy": True,
                     "location": {"latitude": 1, "longitude": 2}}
        # heard so late that it has been silent for too long
        assert tells({"ts": at - 60000, "state": "PARKED"}) == dict(
            all_of_it, status="OFFLINE", lastSynced=at - 60000)
        assert tells(first) == {"status": "ONLINE", "lastSynced": at}
        assert tells(first) == all_of_it
        assert told[1]["id"] == told[2]["id"]
        assert tells({"ts": at + 5, "battery": {"percent": 49.5}}) == {
            "battery": 49.5, "lastSynced": at + 5}
        assert tells({"ts": at + 2, "battery": {"percent": 1}},
                     {"ts": at + 6, "battery": {"percent": 49.5},
                      "location": {"latitude": 1.25, "longitude": 2}}) == {
            "lastSynced": at + 6,
            "location": {"latitude": 1.25, "longitude": 2}}
    # business state has come to it by another way
    wait_for(lambda: rows(
        stack, "select data ->> 'battery', data ->> 'operationState'"
        " from coco.resource where id = %s", serial) == [("49.5", "PARKED")],
        60, "the business state")
    for one in running:
        assert one.stop() == 0


def lid(port, serial, ago):
    """The lid opens, and closes a second later: `ago` seconds ago."""
    closed = int((time.time() - ago) * 1000)
    lines = "".join(json.dumps({"type": kind, "ts": ts}) + "\n"
                    for kind, ts in (("LID_OPENED", closed - 1000),
                                     ("LID_CLOSED", closed)))
    subprocess.run(["mosquitto_pub", "-p", str(port), "-q", "1", "-l",
                    "-t", "robot/%s/events" % serial], input=lines, text=True,
                   check=True)


def delivery_put(stack, serial, status):
    return rows(stack, "insert into coco.delivery (status, serial,"
                " loading_flow, pickup_latitude, pickup_longitude,"
                " dropoff_latitude, dropoff_longitude, created_at, updated_at)"
                " values (%s, %s, 'MAGIC_LID', 1, 2, 3, 4, now(), now())"
                " returning id", status, serial)[0][0]


def await_delivery(stack, delivery, status):
    wait_for(lambda: rows(stack, "select status from coco.delivery"
                          " where id = %s", delivery) == [(status,)], 20,
             status)


def trip(stack, serial):
    """A delivery: loaded by a close, at both ends by heartbeats, completed by
    a close."""
    delivery = delivery_put(stack, serial, "EnrouteToPickup")

    def stands_at(latitude, longitude):
        publish(stack.mqtt_port, serial, {
            "ts": int(time.time() * 1000), "state": "ON_TRIP", "location": {
                "latitude": latitude, "longitude": longitude, "speed": 0}})

    stands_at(3, 4)                            # the wrong end
    stands_at(1, 2.0001)
    await_delivery(stack, delivery, "AtPickup")
    lid(stack.mqtt_port, serial, 10)
    await_delivery(stack, delivery, "LoadedWaitingForPilot")
    rows(stack, "update coco.delivery set status = 'EnrouteToDropoff'"
         " where id = %s", delivery)
    stands_at(3, 4)
    await_delivery(stack, delivery, "AtDropoff")
    lid(stack.mqtt_port, serial, 0)
    await_delivery(stack, delivery, "Completed")

    assert rows(stack, "select status from coco.delivery_event"
                " where delivery_id = %s order by number", delivery) == [
        ("AtPickup",), ("LoadedWaitingForPilot",), ("AtDropoff",),
        ("Completed",)]


@pytest.mark.parametrize("services", [
    ("state", "operations,fleet,deliveries,dispatch"),
    ("state", "deliveries,dispatch", "operations,fleet"),
    ("state,deliveries", "operations,fleet", "dispatch"),
    ("state,operations,fleet,dispatch", "deliveries")])
def test_a_delivery_over_processes(stack, worker, block, services):
    """Whichever process makes the events and whichever applies them; and what
    comes by the queue to the one that has applied it changes nothing."""
    running = [apart(stack, worker, block + number, some).start()
               for number, some in enumerate(services)]
    running[0].await_connected()
    serial = "trip-" + "-".join(services).replace(",", "-")
    trip(stack, serial)

    wait_for(lambda: rows(
        stack, "select name from coco.outbox where serial = %s"
        " and relayed_at is null", serial) == [], 60, "a relayed outbox")
    wait_for(lambda: set(depths(stack)) == {0}, 60, "empty queues")
    for one in running:
        assert one.stop() == 0                 # with all that was taken
    assert rows(stack, "select kind from coco.anomaly"
                " where serial = %s", serial) == []


def test_letters_go_where_their_service_is(stack, worker, block):
    first = apart(stack, worker, block, "state").start().await_connected()
    now = int(time.time() * 1000)
    publish(stack.mqtt_port, "letter-1", {"ts": now})
    first.await_metric("coco_messages_committed_total", 1)

    event, cause = str(uuid.uuid4()), str(uuid.uuid4())
    envelope = {"id": event, "name": "Robots.StateChange", "ts": now + 10,
                "serial": "letter-1",
                "data": {"from": "OFF_DUTY", "to": "GROUNDED"}}
    letters = (("rabbitmq", "operations", "Robots.StateChange", envelope),
               ("mqtt", "decoder", "robot/letter-1/status", {
                   "ts": now + 5, "battery": {"percent": 1},
                   "location": {"latitude": 1, "longitude": 2}}))
    for source, service, topic, payload in letters:
        rows(stack, "insert into coco.dead_letter (id, source, service, topic,"
             " reason, payload, received_at, replayed_at, cause_id, cause_ts)"
             " values (gen_random_uuid(), %s, %s, %s, 'r', %s, now(), now(),"
             " %s, now())", source, service, topic,
             json.dumps(payload).encode(), cause)

    rows(stack, "insert into coco.dead_letter (id, source, service, topic,"
         " reason, payload, received_at, replayed_at) values"
         " (gen_random_uuid(), 'task', 'decoder', 'ARRIVAL/letter-1', 'r',"
         " %s, now(), now())", json.dumps({
             "id": cause, "delivery": event, "at": "pickup",
             "ts": now}).encode())

    def outcomes():
        return dict(rows(stack, "select source, replay_outcome"
                         " from coco.dead_letter"))

    wait_for(lambda: outcomes()["mqtt"] == "APPLIED", 60, "state's letter")
    assert outcomes()["rabbitmq"] is None and outcomes()["task"] is None

    apart(stack, worker, block, "operations").start()
    wait_for(lambda: outcomes()["rabbitmq"] == "APPLIED", 60, "the other")
    assert outcomes()["task"] is None
    apart(stack, worker, block + 1, "deliveries").start()
    wait_for(lambda: outcomes()["task"] == "APPLIED", 60, "the third")
    assert standing(stack, "letter-1")[0] == "GROUNDED"


def test_stop_with_everything_away(worker, block):
    one = worker(block, **AWAY).start(KEYS)
    body = health(one)
    assert set(body["lanes"]) == {"telemetry", "events", "webhooks", "bus"}
    assert set(body["sqs"]) == {"events", "state", "connectivity"}
    assert body["bus"]["kafka"]["alive"] and body["relay"] == {"pending": 0}
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 6


def test_stop_while_the_bus_is_away(stack, worker):
    """What is committed and not published is not forgotten; nor is what
    waits behind it."""
    one = worker(stack.port, **AWAY).start(KEYS).await_connected()
    now = int(time.time() * 1000)
    publish(stack.mqtt_port, "mute-1", *({"ts": now + n} for n in range(20)))
    wait_for(lambda: rows(stack, "select 1 from coco.state_history"
                          " where serial = 'mute-1'"), 60, "a commit")
    one.await_metric("coco_messages_received_total", 20)
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 6
    assert os.path.getsize(one.folder + "/journal/telemetry/offset") == 0
    assert len(one.journal()) == 20


@pytest.mark.parametrize("bus, kept", [(AWAY["bus"], ["Robots.LidOpen"]),
                                       ({}, [])])
def test_what_the_janitor_keeps(stack, worker, bus, kept):
    """No event that a bus has not confirmed, no webhook that is not done."""
    rows(stack, "delete from coco.outbox")
    for name, relayed in (("Robots.LidOpen", None),
                          ("Robots.LidClose", "2020-01-01")):
        rows(stack, "insert into coco.outbox (id, name, serial, payload,"
             " created_at, relayed_at) values (gen_random_uuid(), %s, 'old-1',"
             " '{}', now() - interval '25 hours', %s)", name, relayed)
    for event, days in (("old", 31), ("new", 29)):
        rows(stack, "insert into coco.webhook_inbox (id, provider, event_id,"
             " payload, received_at, done_at) values (gen_random_uuid(),"
             " 'other', %s, '{}', now(), now() - make_interval(days => %s))",
             event, days)
    rows(stack, "insert into coco.webhook_inbox (id, provider, event_id,"
         " payload, received_at) values (gen_random_uuid(), 'other',"
         " 'pending', '{}', now() - interval '90 days')")
    for serial, days, outcome in (("ended", 91, "OPENED"), ("over", 91, None),
                                  ("young", 89, None)):
        rows(stack, "insert into coco.robot_command (id, serial, command,"
             " issued_at, expires_at, next_send_at, outcome) select"
             " gen_random_uuid(), %s, 'OPEN_LID', at, at, at, %s"
             " from (select now() - make_interval(days => %s) as at) x",
             serial, outcome, days)
        rows(stack, "insert into coco.anomaly (id, kind, serial, ts, reason,"
             " created_at) values (gen_random_uuid(), 'RESYNC', %s,"
             " '2001-01-01', 'r', now() - make_interval(days => %s))",
             serial, days)
    worker(stack.port, bus=bus).start()
    wait_for(lambda: rows(stack, "select event_id from coco.webhook_inbox"
                          " order by 1") == [("new",), ("pending",)], 60,
             "the janitor")
    for table in ("robot_command", "anomaly"):
        wait_for(lambda: rows(
            stack, "select serial from coco." + table + " where serial in"
            " ('ended', 'over', 'young')") == [("young",)], 60,
            "the janitor at " + table)
        rows(stack, "delete from coco." + table)
    assert [name for name, in rows(
        stack, "select name from coco.outbox")] == kept
    rows(stack, "delete from coco.webhook_inbox")


@pytest.mark.parametrize("seed", (1, 2))
def test_a_scrambled_delivery(stack, worker, seed):
    worker(stack.port, bus={"scramble": "on",
                            "scramble_seed": seed}).start().await_connected()
    trip(stack, "mixed-trip-%d" % seed)
    assert rows(stack, "select kind from coco.anomaly"
                " where serial = 'mixed-trip-%s'", seed) == []


@pytest.mark.parametrize("seed", (1, 2, 3))
def test_scrambled(stack, worker, seed):
    """The services over the loop engine, and a stop in the midst of it."""
    one = worker(stack.port, bus={"scramble": "on", "scramble_seed": seed})
    one.start().await_connected()
    serial, now = "mixed-%d" % seed, int(time.time() * 1000)
    publish(stack.mqtt_port, serial, *(
        {"ts": now + n, "state": ("PARKED", "ON_TRIP")[n % 2],
         "battery": {"percent": 100 - n}} for n in range(50)))
    wait_for(lambda: rows(stack, "select count(*) from coco.state_history"
                          " where serial = %s", serial) == [(50,)], 60,
             "the heartbeats")
    assert one.stop() == 0
    one.start()
    wait_for(lambda: standing(stack, serial) == ("ON_TRIP", "ON_TRIP", 51),
             60, "what direct mode would have left")
    wait_for(lambda: rows(
        stack, "select count(*) from coco.outbox"
        " where serial = %s and relayed_at is null", serial) == [(0,)], 60,
        "a relayed outbox")
    assert rows(stack, "select count(*) from coco.robot_state_history"
                " where robot_serial = %s", serial) == [(50,)]
