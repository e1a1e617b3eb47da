"""What heartbeats tell beside their state: lids that contradict their cycle,
and arrivals. They become rows of robot_task."""

import json
import time

import pytest

PICKUP = (34.05, -118.25)
DROPOFF = (34.06, -118.25)
METER = 1 / 111195.0797     # degrees of latitude
STATE, OPERATIONS, FLEET, DELIVERIES = 1, 2, 4, 8


def now():
    """A second ago: what is sent a few ms later is not ahead of the clock."""
    return int(time.time() * 1000) - 1000


def heartbeat(ts, lid=None, at=(34.0, -118.0), speed=None, **more):
    location = {"latitude": at[0], "longitude": at[1]}
    if speed is not None:
        location["speed"] = speed
    payload = {"ts": ts, "battery": {"percent": 80}, "location": location,
               **more}
    if lid is not None:
        payload["lid"] = {"open": lid}
    return json.dumps(payload)


def push(lane, *payloads, serial="r-1"):
    """All in one batch, most likely; in the order given."""
    for payload in payloads:
        lane.push(serial, payload)
    lane.done()


def tasks(servers, kind, serial="r-1"):
    """What is to be looked at, in the order of the robot's clock."""
    return [row[0] for row in servers.query(
        "select data from coco.robot_task where kind = %s and serial = %s"
        " order by due_at, seq", kind, serial)]


def seen(servers, serial="r-1"):
    return [(task["ts"], task["open"])
            for task in tasks(servers, "SEEN", serial)]


def lid(servers, is_open, changed_at, suspect=False, serial="r-1"):
    servers.query(
        "insert into coco.lid_robot (serial, is_open, changed_at, suspect_id,"
        " suspect_at) values (%s, %s, coco.from_ms(%s),"
        " case when %s then gen_random_uuid() end, coco.from_ms(%s))",
        serial, is_open, changed_at, suspect, changed_at)


def delivery(servers, status, serial="r-1", updated_at=None):
    return servers.query(
        "insert into coco.delivery (status, serial, pickup_latitude,"
        " pickup_longitude, dropoff_latitude, dropoff_longitude, created_at,"
        " updated_at) values (%s, %s, %s, %s, %s, %s, now(),"
        " coco.from_ms(%s)) returning id",
        status, serial, *PICKUP, *DROPOFF, updated_at or now())[0][0]


def north(place, meters):
    return (place[0] + meters * METER, place[1])


class TestLids:
    def test_that_agree_leave_nothing(self, servers, lane):
        t = now()
        lid(servers, True, t - 60000, serial="r-2")
        lid(servers, None, t - 60000, serial="r-3")
        push(lane, *(heartbeat(t + i, lid=False) for i in range(5)))
        push(lane, *(heartbeat(t + i) for i in range(5, 9)))
        push(lane, heartbeat(t, lid=True), heartbeat(t + 1, lid=True),
             serial="r-2")
        push(lane, heartbeat(t, lid=True), heartbeat(t + 1, lid=False),
             serial="r-3")
        assert servers.query("select count(*) from coco.robot_task") == [(0,)]

    def test_of_a_robot_without_a_row_are_closed(self, servers, lane):
        t = now()
        push(lane, heartbeat(t, lid=True), heartbeat(t + 1, lid=True))
        assert seen(servers) == [(t, True), (t + 1, True)]

    def test_that_contradict_are_named_by_their_heartbeat(self, servers, lane):
        t = now()
        lid(servers, True, t - 60000)
        push(lane, heartbeat(t, lid=False))
        task, = tasks(servers, "SEEN")
        stored, = servers.query("select id from coco.state_history")
        assert task == {"id": stored[0], "open": False, "ts": t}

    def test_that_agree_again_are_told_while_there_is_a_suspect(
            self, servers, lane):
        t = now()
        lid(servers, False, t - 60000, suspect=True)
        push(lane, heartbeat(t, lid=False), heartbeat(t + 1, lid=False),
             heartbeat(t + 2, lid=True), heartbeat(t + 3, lid=False))
        # the second, too, when it has a batch of its own: nobody has judged
        # the first one yet
        told = [(t, False), (t + 2, True), (t + 3, False)]
        assert [one for one in seen(servers) if one != (t + 1, False)] == told

    def test_a_batch_tells_a_few_times_only(self, servers, drive):
        t = now()
        lane = drive(linger=500)
        push(lane, *(heartbeat(t + i, lid=True) for i in range(100)))
        batches = lane.metrics()["coco_batches_total"]
        assert batches < 10
        assert seen(servers)[0] == (t, True)
        assert 4 <= len(seen(servers)) <= 4 * batches

    def test_that_are_later_than_the_movement_contradict(self, servers, lane):
        t = now() - 10000
        lid(servers, False, t)
        push(lane, heartbeat(t - 1, lid=True), heartbeat(t, lid=True),
             heartbeat(t + 1, lid=True), heartbeat(t + 1000, lid=True))
        assert seen(servers) == [(t + 1, True), (t + 1000, True)]

    def test_older_heartbeats_and_repeats_tell_nothing(self, servers, lane):
        t = now()
        lid(servers, True, t - 60000)
        push(lane, heartbeat(t, lid=True))
        push(lane, heartbeat(t - 1, lid=False), heartbeat(t, lid=True))
        assert not seen(servers)
        push(lane, heartbeat(t + 1, lid=False))
        push(lane, heartbeat(t + 1, lid=False))
        assert seen(servers) == [(t + 1, False)]

    def test_a_clock_ahead_is_taken_back(self, servers, lane):
        t = now()
        lid(servers, False, t - 60000)
        lane.push("r-1", heartbeat(t + 3600000, lid=True), received_at=t)
        lane.done()
        assert seen(servers) == [(t, True)]

    def test_without_the_state_service_copies_tell_nothing(
            self, servers, drive):
        t = now()
        lane = drive(services=OPERATIONS | FLEET | DELIVERIES, direct=0)
        lane.push("r-1", event(t, lid=True), kind="v", source="rabbitmq")
        lane.done()
        assert not seen(servers)


def event(ts, number=1, at=PICKUP, **more):
    return json.dumps({
        "id": "00000000-0000-8000-8000-%012d" % number,
        "name": "IoT.Heartbeat", "serial": "r-1", "ts": ts,
        "data": dict(json.loads(heartbeat(ts, at=at, **more)),
                     receivedAt=ts)})


class TestArrivals:
    @pytest.mark.parametrize("status, place, at", [
        ("EnrouteToPickup", PICKUP, "pickup"),
        ("EnrouteToDropoff", DROPOFF, "dropoff")])
    def test_near_the_target_and_slow(self, servers, lane, status, place, at):
        t = now()
        target = delivery(servers, status)
        push(lane, heartbeat(t, at=north(place, 31)),
             heartbeat(t + 1, at=north(place, 29), speed=0.2))
        assert not tasks(servers, "ARRIVAL")
        push(lane, heartbeat(t + 2, at=north(place, 29), speed=0.19))
        task, = tasks(servers, "ARRIVAL")
        stored, = servers.query("select id from coco.state_history"
                                " where date = coco.from_ms(%s)", t + 2)
        assert task == {"id": stored[0], "delivery": target, "at": at,
                        "ts": t + 2}

    def test_only_of_deliveries_under_way_and_of_this_robot(
            self, servers, lane):
        t = now()
        for status in ("Created", "Assigned", "AtPickup",
                       "LoadedWaitingForPilot", "AtDropoff", "Completed",
                       "Canceled"):
            delivery(servers, status)
        delivery(servers, "EnrouteToPickup", serial="r-2")
        push(lane, heartbeat(t, at=PICKUP), heartbeat(t + 1, at=DROPOFF))
        assert servers.query("select count(*) from coco.robot_task") == [(0,)]

    def test_one_for_each_delivery_and_batch(self, servers, drive):
        t = now()
        lane = drive(linger=500)
        both = {delivery(servers, "EnrouteToPickup") for _ in range(2)}
        push(lane, *(heartbeat(t + i, at=PICKUP) for i in range(50)))
        found = tasks(servers, "ARRIVAL")
        batches = lane.metrics()["coco_batches_total"]
        assert batches < 10
        assert {task["delivery"] for task in found} == both
        assert [task["ts"] for task in found[:2]] == [t, t]
        assert len(found) <= 2 * batches

    def test_a_visit_before_the_departure_is_none(self, servers, lane):
        t = now()
        delivery(servers, "EnrouteToPickup", updated_at=t)
        push(lane, heartbeat(t - 60001, at=PICKUP))
        assert not tasks(servers, "ARRIVAL")
        push(lane, heartbeat(t - 60000, at=PICKUP))
        assert len(tasks(servers, "ARRIVAL")) == 1

    def test_without_the_deliveries_service_nothing_arrives(
            self, servers, drive):
        delivery(servers, "EnrouteToPickup")
        lane = drive(services=STATE | OPERATIONS | FLEET)
        push(lane, heartbeat(now(), at=PICKUP))
        assert not tasks(servers, "ARRIVAL")

    @pytest.mark.parametrize("services", [
        DELIVERIES, OPERATIONS | FLEET | DELIVERIES])
    def test_copies_of_the_bus_arrive(self, servers, drive, services):
        t = now()
        target = delivery(servers, "EnrouteToPickup")
        lane = drive(services=services, direct=0)
        for _ in range(2):
            lane.push("r-1", event(t), kind="v", source="rabbitmq")
        lane.push("r-1", event(t - 1, 2), kind="v", source="rabbitmq")
        lane.done()
        assert tasks(servers, "ARRIVAL")[0] == {
            "id": "00000000-0000-8000-8000-000000000002",
            "delivery": target, "at": "pickup", "ts": t - 1}

    def test_copies_for_deliveries_alone_are_not_told_to_redis(
            self, servers, drive):
        lane = drive(services=DELIVERIES, direct=0)
        lane.push("r-1", event(now()), kind="v", source="rabbitmq")
        lane.done()
        assert servers.redis().keys() == []

    def test_split_from_the_state_it_takes_the_bus(self, servers, drive):
        delivery(servers, "EnrouteToPickup")
        lane = drive(services=STATE | DELIVERIES, direct=0)
        push(lane, heartbeat(now(), at=PICKUP))
        assert not tasks(servers, "ARRIVAL")
