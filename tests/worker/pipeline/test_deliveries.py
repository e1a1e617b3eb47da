"""What closes of lids and arrivals of robots do to deliveries, in one
transaction with their cause or by the bus, against the real servers."""

import json
import random
import threading
import time
import uuid

import pytest

from servers import until

PICKUP, DROPOFF = (34.05, -118.25), (34.06, -118.25)
STATE, OPERATIONS, FLEET, DELIVERIES = 1, 2, 4, 8


def now():
    return int(time.time() * 1000)


def delivery(servers, status, serial="r-1", hours=0, **columns):
    columns.setdefault("store", None)
    names = ", ".join(columns)
    return servers.query(
        "insert into coco.delivery (status, serial, pickup_latitude,"
        " pickup_longitude, dropoff_latitude, dropoff_longitude, created_at,"
        " updated_at, changes, %s) values (%%s, %%s, %%s, %%s, %%s, %%s,"
        " now() - %%s * interval '1 hour', now() - interval '1 minute', 1%s)"
        " returning id" % (names, ", %s" * len(columns)),
        status, serial, *PICKUP, *DROPOFF, hours, *columns.values())[0][0]


def status(servers, which):
    return servers.query("select status from coco.delivery where id = %s",
                         which)[0][0]


def changes(servers, which):
    """Each with its event in the outbox."""
    rows = servers.query(
        "select e.status, o.payload from coco.delivery_event e"
        " join coco.outbox o on o.id = e.id where delivery_id = %s"
        " order by number", which)
    for word, envelope in rows:
        assert envelope["name"] == "Deliveries.DeliveryEvent"
        assert envelope["data"]["deliveryId"] == which
        assert envelope["data"]["status"] == word
    return [word for word, _ in rows]


def anomalies(servers, serial="r-1"):
    return [(kind, set(candidates)) for kind, candidates in servers.query(
        "select kind, candidates::text[] from coco.anomaly where serial = %s"
        " order by kind", serial)]


def food(servers, serial="r-1"):
    return servers.query("select has_food from coco.robot_operation"
                         " where serial = %s", serial)


def send(lane, kind, ts, serial="r-1", **more):
    lane.push(serial, json.dumps({"type": kind, "ts": ts, **more}),
              max(now(), ts), kind="e")


def magic(lane, ts, serial="r-1", lid=True):
    """A merchant at a Magic Lid; lid false: only the opening."""
    send(lane, "PIN_ENTRY_LID_OPEN", ts, serial, lid_opened=True)
    if lid:
        send(lane, "PIN_ENTRY_LID_CLOSE", ts + 10, serial)


def request(servers, source, reference, serial="r-1"):
    return servers.query(
        "select response from coco.lid_open('me', 'r', %s, ''::bytea, %s, %s,"
        " %s, 10000, null)", uuid.uuid4().hex, serial, source, reference)[0][0]


def commanded(servers, lane, source, reference, ts, serial="r-1"):
    """A lid that we open, and a merchant who closes it."""
    command = request(servers, source, reference, serial)
    send(lane, "LID_OPENED", ts, serial, commandId=command)
    send(lane, "LID_CLOSED", ts + 10, serial)


def heartbeat(lane, ts, place, serial="r-1"):
    lane.push(serial, json.dumps({
        "ts": ts, "state": "ON_TRIP", "battery": {"percent": 80},
        "location": {"latitude": place[0], "longitude": place[1],
                     "speed": 0}}))


def due(servers, lane):
    """Hands over the tasks that are due, as the reader of robot_task does,
    until there are none."""
    while True:
        rows = servers.query(
            "select id, serial, kind, coalesce(data::text, ''),"
            " coco.to_ms(due_at) from coco.robot_task where due_at <= now()"
            " order by due_at, seq")
        if not rows:
            return
        for row, serial, kind, data, at in rows:
            lane.push(serial, data, at, kind="k", source="task", topic=kind,
                      inbox=row)
        lane.done()


def depart(servers, which, to):
    """As HTTP does."""
    assert servers.query(
        "select coco.delivery_apply(id, status, %s, now(), null, null)"
        " from coco.delivery where id = %s", to, which) == [(True,)]


# --- closes -----------------------------------------------------------------

@pytest.mark.parametrize("before", ["Assigned", "EnrouteToPickup", "AtPickup"])
def test_a_magic_lid_loads_the_one_active_delivery(servers, either, before):
    delivery(servers, "Completed")
    delivery(servers, "AtPickup", serial="r-2")
    delivery(servers, "AtPickup", hours=25)
    which = delivery(servers, before)
    magic(either, now())
    either.done()
    assert status(servers, which) == "LoadedWaitingForPilot"
    assert changes(servers, which) == ["LoadedWaitingForPilot"]
    assert servers.query(
        "select d.loaded_cycle = c.id from coco.delivery d, coco.lid_cycle c"
        " where d.id = %s", which) == [(True,)]
    assert food(servers) == [(True,)]
    assert anomalies(servers) == []


def test_a_reference_names_the_delivery(servers, either):
    delivery(servers, "AtPickup")
    which = delivery(servers, "AtPickup", hours=48)
    commanded(servers, either, "QR", which, now())
    either.done()
    assert status(servers, which) == "LoadedWaitingForPilot"
    assert anomalies(servers) == []


def test_a_pin_loads_once(servers, either):
    which = delivery(servers, "AtPickup", pin="0417", loading_flow="PIN")
    commanded(servers, either, "PIN", which, now())
    either.done()
    assert changes(servers, which) == ["LoadedWaitingForPilot"]
    assert anomalies(servers) == []


def test_an_operator_loads_nothing(servers, either):
    which = delivery(servers, "AtPickup")
    commanded(servers, either, "OPERATOR", which, now())
    either.done()
    assert status(servers, which) == "AtPickup"
    assert anomalies(servers) == []


def test_none_or_several_are_anomalies(servers, either):
    magic(either, now())
    either.done()
    assert anomalies(servers) == [("NO_DELIVERY", set())]

    both = {delivery(servers, "AtPickup", serial="r-2") for _ in range(2)}
    delivery(servers, "AtPickup", serial="r-2", hours=30)
    magic(either, now(), "r-2")
    either.done()
    assert anomalies(servers, "r-2") == [("SEVERAL_DELIVERIES", both)]
    assert {status(servers, which) for which in both} == {"AtPickup"}
    cycle, reason = servers.query(
        "select cycle_id, reason from coco.anomaly where serial = 'r-2'")[0]
    assert servers.query("select id from coco.lid_cycle where serial = 'r-2'"
                         ) == [(cycle,)]
    assert "several deliveries" in reason


@pytest.mark.parametrize("gone", ["Completed", "Canceled", "r-2", "nobody"])
def test_a_reference_that_leads_nowhere(servers, either, gone):
    other = delivery(servers, "AtPickup")
    reference = (
        str(uuid.uuid4()) if gone == "nobody"
        else delivery(servers, "AtPickup", serial=gone) if gone == "r-2"
        else delivery(servers, gone))
    commanded(servers, either, "QR", reference, now())
    either.done()
    assert anomalies(servers) == [("NO_DELIVERY", set())]
    assert status(servers, other) == "AtPickup"


def test_loaded_once_a_second_close_does_nothing(servers, either):
    which = delivery(servers, "AtPickup")
    t = now() - 20000
    magic(either, t)
    magic(either, t + 10000)
    either.done()
    assert changes(servers, which) == ["LoadedWaitingForPilot"]
    assert anomalies(servers) == []


@pytest.mark.parametrize("source", ["QR", "OPERATOR", "PIN"])
def test_at_the_drop_off_any_close_completes(servers, either, source):
    which = delivery(servers, "AtDropoff")
    commanded(servers, either, source, which, now())
    either.done()
    assert changes(servers, which) == ["Completed"]
    assert food(servers) == [(False,)]
    assert anomalies(servers) == []


def test_repeats_of_a_robots_events_change_nothing(servers, either):
    which = delivery(servers, "AtPickup")
    t = now() - 5000
    magic(either, t)
    either.done()
    depart(servers, which, "AtDropoff")
    other = delivery(servers, "Assigned", store="next")
    for _ in range(2):
        magic(either, t)
    either.done()
    assert status(servers, which) == "AtDropoff"
    assert status(servers, other) == "Assigned"
    assert anomalies(servers) == []


def closing():
    """Of a lid that nobody knows more of."""
    return json.dumps({
        "id": str(uuid.uuid4()), "name": "Robots.LidClose", "serial": "r-1",
        "ts": now(), "data": {"cycleId": str(uuid.uuid4()), "source": None,
                              "trigger": "OTHER", "referenceId": None}})


def test_an_event_of_the_bus_counts_once(servers, drive):
    """Though the delivery that it meant is gone and another one is there."""
    lane = drive(services=DELIVERIES, direct=0)
    which = delivery(servers, "AtDropoff")
    event = closing()
    for _ in range(2):
        lane.push("r-1", event, kind="v", source="rabbitmq")
    lane.done()
    assert changes(servers, which) == ["Completed"]

    other = delivery(servers, "AtPickup")
    lane.push("r-1", event, kind="v", source="rabbitmq")
    lane.done()
    assert status(servers, other) == "AtPickup"
    assert anomalies(servers) == []


def test_an_event_that_says_nothing_is_set_aside(servers, drive):
    lane = drive(services=DELIVERIES, direct=0)
    broken = json.loads(closing())
    del broken["data"]["cycleId"]
    lane.push("r-1", json.dumps(broken), kind="v", source="rabbitmq")
    lane.done()
    assert servers.query("select service, field from coco.dead_letter") == [
        ("deliveries", "data.cycleId")]


@pytest.fixture
def poisoned(servers):
    """Postgres refuses to load what comes of this store."""
    servers.query("alter table coco.delivery add constraint poison check"
                  " (store is distinct from 'poison'"
                  "  or status <> 'LoadedWaitingForPilot')")
    yield
    servers.query("alter table coco.delivery drop constraint poison")


@pytest.mark.parametrize("direct", [0, 1])
def test_what_deliveries_refuse_is_set_aside_alone(servers, drive, poisoned,
                                                   direct):
    bad = delivery(servers, "AtPickup", serial="r-3", store="poison")
    good = [delivery(servers, "AtPickup", serial="r-%d" % i)
            for i in (1, 2, 4, 5)]
    lane = drive(direct=direct, loop=1 - direct, shards=1, linger=200)
    for i in range(1, 6):
        magic(lane, now(), "r-%d" % i)
    lane.done()
    assert [status(servers, which) for which in good] == [
        "LoadedWaitingForPilot"] * 4
    assert status(servers, bad) == "AtPickup"
    assert {row[0] for row in servers.query(
        "select service from coco.dead_letter")} == {"deliveries"}


# --- arrivals ---------------------------------------------------------------

def test_an_arrival_at_the_pickup_parks_and_sends_the_pin(servers, either):
    listener = servers.redis().pubsub()
    listener.subscribe("coco.invalidate")
    which = delivery(servers, "EnrouteToPickup", pin="0417")
    heartbeat(either, now(), PICKUP)
    either.done()
    due(servers, either)
    assert changes(servers, which) == ["AtPickup"]
    assert servers.query("select operation_state from coco.robot_operation"
                         " where serial = 'r-1'") == [("PARKED",)]
    assert servers.query("select pin from coco.robot_shadow") == [("0417",)]
    assert servers.query("select count(*) from coco.robot_task") == [(0,)]
    cached = json.loads(servers.redis().get("robot.heartbeat.cache.r-1"))
    assert cached["operationState"] == "PARKED"
    heard = []
    until(lambda: heard.append(listener.get_message(
        ignore_subscribe_messages=True)) or len(
            [message for message in heard if message
             and "r-1" in message["data"]]) >= 2)

    magic(either, now())
    either.done()
    assert servers.query("select pin from coco.robot_shadow") == [(None,)]


def test_an_arrival_later_than_the_close_changes_nothing(servers, either):
    which = delivery(servers, "EnrouteToPickup")
    heartbeat(either, now(), PICKUP)
    either.done()
    magic(either, now())
    either.done()
    due(servers, either)
    assert changes(servers, which) == ["LoadedWaitingForPilot"]
    assert servers.query("select count(*) from coco.robot_task") == [(0,)]


@pytest.mark.parametrize("after, end", [(10, ["AtDropoff", "Completed"]),
                                        (-10000, ["AtDropoff"])])
def test_a_close_that_overtakes_the_arrival(servers, either, after, end):
    which = delivery(servers, "EnrouteToDropoff")
    t = now()
    heartbeat(either, t, DROPOFF)
    either.done()
    magic(either, t + after - 10)
    either.done()
    assert status(servers, which) == "EnrouteToDropoff"
    assert changes(servers, which) == []
    due(servers, either)
    assert changes(servers, which) == end


def times(servers, which):
    return servers.query("select coco.to_ms(loaded_at), coco.to_ms(arrived_at)"
                         " from coco.delivery where id = %s", which)[0]


def test_a_close_of_the_pickup_completes_nothing(servers, either):
    """It comes when the robot is at the drop-off already: of a cycle before
    the load, or of one between it and the arrival."""
    which = delivery(servers, "EnrouteToPickup")
    t = now() - 50000
    heartbeat(either, t, PICKUP)
    either.done()
    due(servers, either)
    assert times(servers, which) == (None, t)
    magic(either, t + 5000)
    either.done()
    assert times(servers, which) == (t + 5010, None)

    depart(servers, which, "EnrouteToDropoff")
    magic(either, t + 1000)                 # before the load
    either.done()
    heartbeat(either, t + 30000, DROPOFF)
    either.done()
    due(servers, either)
    assert times(servers, which) == (t + 5010, t + 30000)
    magic(either, t + 2000)
    magic(either, t + 10000)                # before the arrival
    either.done()
    assert status(servers, which) == "AtDropoff"
    assert anomalies(servers) == []

    magic(either, t + 30000 - 10)           # with it
    either.done()
    assert changes(servers, which)[-1] == "Completed"
    assert times(servers, which) == (t + 5010, None)


def test_an_arrival_over_http_has_no_time(servers, either):
    """Any close that is later than the load completes."""
    which = delivery(servers, "EnrouteToPickup")
    t = now() - 50000
    magic(either, t)
    either.done()
    depart(servers, which, "EnrouteToDropoff")
    assert servers.query(
        "select status from coco.delivery_move('me', 'r', null, null, %s,"
        " '{\"EnrouteToDropoff\": {\"to\": \"AtDropoff\","
        " \"allowed\": true}}', '{}')", which) == [(200,)]
    assert times(servers, which) == (t + 10, None)
    magic(either, t - 5000)
    either.done()
    assert status(servers, which) == "AtDropoff"
    magic(either, t + 5000)
    either.done()
    assert status(servers, which) == "Completed"


def test_a_cycle_of_the_delivery_before_loads_nothing(servers, either):
    which = delivery(servers, "EnrouteToPickup")
    t = now() - 90000
    heartbeat(either, now() - 1000, PICKUP)
    either.done()
    due(servers, either)
    assert status(servers, which) == "AtPickup"
    magic(either, t)
    either.done()
    assert status(servers, which) == "AtPickup"
    assert anomalies(servers) == [("NO_DELIVERY", set())]
    magic(either, now())
    either.done()
    assert status(servers, which) == "LoadedWaitingForPilot"


@pytest.mark.parametrize("source", ["MAGIC_LID", "OPERATOR"])
def test_of_several_the_one_at_its_drop_off(servers, either, source):
    others = [delivery(servers, word) for word in ("Assigned",
                                                   "EnrouteToPickup")]
    which = delivery(servers, "AtDropoff")
    if source == "OPERATOR":
        commanded(servers, either, source, None, now())
    else:
        magic(either, now())
    either.done()
    assert changes(servers, which) == ["Completed"]
    assert [changes(servers, one) for one in others] == [[], []]
    assert anomalies(servers) == []


def test_an_arrival_of_one_who_is_not_its_robot_any_more(servers, either):
    which = delivery(servers, "EnrouteToPickup")
    heartbeat(either, now(), PICKUP)
    either.done()
    servers.query("update coco.delivery set serial = 'r-2'")
    due(servers, either)
    assert status(servers, which) == "EnrouteToPickup"
    assert servers.query("select count(*) from coco.robot_task") == [(0,)]


# --- all of it --------------------------------------------------------------

def test_a_delivery_from_its_robot_to_its_end(servers, either):
    which = delivery(servers, "Assigned")
    t = now() - 50000
    depart(servers, which, "EnrouteToPickup")
    heartbeat(either, t, PICKUP)
    either.done()
    due(servers, either)
    magic(either, t + 1000)
    either.done()
    depart(servers, which, "EnrouteToDropoff")
    heartbeat(either, t + 40000, DROPOFF)
    either.done()
    due(servers, either)
    magic(either, t + 45000)
    either.done()
    assert changes(servers, which) == [
        "EnrouteToPickup", "AtPickup", "LoadedWaitingForPilot",
        "EnrouteToDropoff", "AtDropoff", "Completed"]
    assert anomalies(servers) == []


def test_every_disorder_ends_alike(servers, either):
    """Loads and arrivals of many robots, shuffled and doubled: each delivery
    is loaded once, arrives once and is completed once."""
    robots, seed = 30, 20261122
    print("seed %d, %d robots" % (seed, robots))
    shuffle = random.Random(seed)
    t = now() - 90000
    which = {"r-%d" % i: delivery(servers, "EnrouteToPickup", "r-%d" % i)
             for i in range(robots)}

    def leg(ts, place):
        steps = []
        for serial in which:
            for kind, more in (("PIN_ENTRY_LID_OPEN", {"lid_opened": True}),
                               ("PIN_ENTRY_LID_CLOSE", {})):
                at = ts + (kind == "PIN_ENTRY_LID_CLOSE") * 10
                steps += [lambda a=(kind, at, serial), m=more: send(
                    either, *a, **m)] * 2
            steps += [lambda s=serial: heartbeat(either, ts - 5, place, s)] * 2
        shuffle.shuffle(steps)
        for step in steps:
            step()
        either.done()
        due(servers, either)
        either.done()

    leg(t, PICKUP)
    assert {status(servers, one) for one in which.values()} == {
        "LoadedWaitingForPilot"}
    for one in which.values():
        depart(servers, one, "EnrouteToDropoff")
    leg(t + 60000, DROPOFF)
    for one in which.values():
        assert changes(servers, one)[-4:] == [
            "LoadedWaitingForPilot", "EnrouteToDropoff", "AtDropoff",
            "Completed"]
    assert servers.query("select kind, count(*) from coco.anomaly"
                         " group by kind") == []
    assert servers.query("select count(*) from coco.dead_letter") == [(0,)]


def test_two_writers_meet_at_the_same_robots(servers, drive):
    """Without a deadlock: each takes its locks in one order."""
    before = len(servers.logged())
    lanes = [drive(shards=1, batch=40) for _ in range(2)]
    serials = ["r-%d" % i for i in range(20)]
    which = [delivery(servers, "AtPickup", serial) for serial in serials]
    t = now() - 60000

    def write(lane, seed):
        order = random.Random(seed)
        for turn in range(10):
            for serial in order.sample(serials, len(serials)):
                magic(lane, t + turn * 5000 + seed, serial)
        lane.done(60)

    threads = [threading.Thread(target=write, args=(lane, i * 100))
               for i, lane in enumerate(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in which:
        assert changes(servers, one) == ["LoadedWaitingForPilot"]
    assert "deadlock detected" not in servers.logged()[before:]
