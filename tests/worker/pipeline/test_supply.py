"""The supply: what heartbeats, business changes and lids make of resource, the
events about it, and what nginx is told, against the real servers."""

import json
import random
import time
import uuid

import pytest

from servers import MODES, until
from test_lids import event as robot_event
from test_pipeline import heartbeat, now, one
from test_services import business, envelope, event

DISPATCH = 16
ALL = 31
MEMBERS = {"serial", "status", "battery", "lastSynced", "healthy", "deployed",
           "location", "futureDemand", "activeDemand", "needsMovement",
           "hasFood", "tripType", "needsMaintenance", "needsPickup",
           "driveable", "operationState", "attemptCancellationReason",
           "undergoingMaintenance"}
UNKNOWN = dict.fromkeys(MEMBERS, None)
UNKNOWN.update(status="OFFLINE", futureDemand=[])


def robot(servers, serial="r-1"):
    """data; the lid's (open, at)"""
    data, is_open, at = one(
        servers, "select data, lid_open, coco.to_ms(lid_at)"
        " from coco.resource where id = %s", serial)
    return data, (is_open, at)


def version(servers, serial="r-1"):
    """What nginx polls for, and the row itself."""
    return one(servers, "select change_txid::text, r::text"
               " from coco.resource r where id = %s", serial)


def told(servers, serial="r-1"):
    """The data of the events in the outbox."""
    return [data for data, in servers.query(
        "select payload -> 'data' from coco.outbox where serial = %s"
        " and name = 'DispatchEngine.SupplyEvent' order by seq", serial)]


# --- the row ----------------------------------------------------------------

def test_telemetry(servers, either):
    ts = now()
    either.push("r-1", heartbeat(ts, "PARKED", 71.5, healthy=False))
    either.done()
    data, lid = robot(servers)
    assert data == dict(
        UNKNOWN, serial="r-1", status="ONLINE", battery=71.5, lastSynced=ts,
        healthy=False, location={"latitude": 37.7, "longitude": -122.4},
        operationState="PARKED")
    assert lid == (None, None)
    assert one(servers, "select s.id = r.telemetry_id, s.ts = r.telemetry_ts,"
                        " s.order_ts = r.telemetry_order_ts"
                        " from coco.robot_state s, coco.resource r"
               ) == (True, True, True)


def test_the_newest_telemetry_stands(servers, either):
    """By the order of heartbeats: what is late changes nothing, and what comes
    again neither; a clock that is ahead counts as the receipt's."""
    ts = now() - 10000
    newest = heartbeat(ts + 2, "PARKED", 40)
    for payload in (newest, heartbeat(ts + 1, "PARKED", 60),
                    heartbeat(ts, "PARKED", 61)):
        either.push("r-1", payload)
    either.done()
    before = version(servers)
    assert robot(servers)[0]["battery"] == 40

    either.push("r-1", heartbeat(ts + 1, "PARKED", 60))
    either.push("r-1", newest)
    either.push("r-1", heartbeat(ts - 1, "PARKED", 3))
    either.done()
    assert version(servers) == before

    either.push("r-1", heartbeat(ts + 90000, "PARKED", 30),
                received_at=ts + 5000)
    either.push("r-1", heartbeat(ts + 6000, "PARKED", 29),
                received_at=ts + 6000)
    either.done()
    data, _ = robot(servers)
    assert (data["battery"], data["lastSynced"]) == (29, ts + 6000)
    assert version(servers)[0] == before[0], "telemetry is polled by nobody"


def test_telemetry_stays_in_its_page(servers, drive):
    """No index is touched."""
    lane, ts = drive(), now() - 10000
    lane.push("r-1", heartbeat(ts, "PARKED"))
    lane.done()
    assert lane.stop()
    servers.ended()
    stats = ("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"
             " where relname = 'resource'")
    before = one(servers, stats)
    lane = drive()
    for i in range(20):
        lane.push("r-1", heartbeat(ts + 1 + i, "PARKED", i,
                                   lid={"open": i % 2 == 0}))
        lane.done()
    assert lane.stop()
    servers.ended()
    updates, hot = (a - b for a, b in zip(one(servers, stats), before))
    assert hot == updates >= 20


@pytest.mark.parametrize("mode", MODES)
def test_business(servers, drive, mode):
    """Every flag, and only when it is newer; then the trip."""
    lane = drive(**MODES[mode])
    ts = now()
    lane.push("r-1", heartbeat(ts, "PARKED", 71.5))
    lane.done()
    before = version(servers)

    flags = {"needsMovement": True, "undergoingMaintenance": False,
             "needsMaintenance": True, "needsPickup": False, "hasFood": True,
             "driveable": False, "deployed": {"type": "POD", "id": "p-1"}}
    event(lane, "Robots.BusinessStateChange", "r-1", ts + 5000,
          business("ON_TRIP", **flags))
    lane.done()
    data, _ = robot(servers)
    assert data == dict(
        UNKNOWN, serial="r-1", status="ONLINE", battery=71.5, lastSynced=ts,
        healthy=True, location={"latitude": 37.7, "longitude": -122.4},
        operationState="ON_TRIP", tripType="DEPLOYMENT", **flags)
    assert version(servers)[0] != before[0], "nginx polls for it"
    assert told(servers)[-1] == dict(flags, operationState="ON_TRIP",
                                     tripType="DEPLOYMENT")

    before = version(servers), told(servers)
    for at in (ts + 5000, ts + 4999):
        event(lane, "Robots.BusinessStateChange", "r-1", at,
              business("PARKED"))
    lane.done()
    assert (version(servers), told(servers)) == before

    event(lane, "Robots.BusinessStateChange", "r-1", ts + 5001,
          business("ON_TRIP", **dict(flags, deployed=None)))
    lane.done()
    assert robot(servers)[0]["tripType"] == "RETURN"
    assert told(servers)[-1] == {"deployed": None, "tripType": "RETURN"}


def test_a_state_that_is_reported_is_business(servers, either):
    ts = now() - 10000
    for i, state in enumerate(("PARKED", "ON_TRIP", "ON_TRIP", "GROUNDED")):
        either.push("r-1", heartbeat(ts + i, state))
        either.done()
    data, _ = robot(servers)
    assert (data["operationState"], data["tripType"]) == ("GROUNDED", None)
    assert told(servers) == [
        {"operationState": "PARKED"},
        {"operationState": "ON_TRIP", "tripType": "RETURN"},
        {"operationState": "GROUNDED", "tripType": None}]


def test_a_patch_is_not_written_over(servers, lane):
    """By HTTP: business_changed_at ascends, and the bus brings it again."""
    ts = now() - 10000
    lane.push("r-1", heartbeat(ts, "PARKED"))
    lane.done()
    servers.query("select coco.robot_patch('me', 'r', null, ''::bytea, 'r-1',"
                  " '{\"operation_state\":\"DEPLOYED\"}')")
    before = version(servers), told(servers)
    changes = servers.query(
        "select serial, payload::text, name from coco.outbox"
        " where name = 'Robots.BusinessStateChange'")
    assert len(changes) == 2
    for serial, payload, name in changes:
        lane.push(serial, payload, kind="v", source="rabbitmq", topic=name)
    lane.push("r-1", heartbeat(ts, "PARKED"))
    lane.done()
    assert (version(servers), told(servers)) == before
    assert robot(servers)[0]["operationState"] == "DEPLOYED"


def test_lid_by_heartbeats(servers, either):
    """The newest that speaks of it, though others are newer."""
    ts = now() - 10000
    either.push("r-1", heartbeat(ts + 5, "PARKED", lid={"open": True}))
    either.done()
    assert robot(servers)[1] == (True, ts + 5)
    before = version(servers)[0]
    either.push("r-1", heartbeat(ts + 9, "PARKED"))
    either.push("r-1", heartbeat(ts + 4, "PARKED", lid={"open": False}))
    either.done()
    assert robot(servers)[1] == (True, ts + 5)
    either.push("r-1", heartbeat(ts + 7, "PARKED", lid={"open": False}))
    either.done()
    assert robot(servers)[1] == (False, ts + 7)
    assert robot(servers)[0]["lastSynced"] == ts + 9
    assert version(servers)[0] == before


def test_lid_by_events(servers, either):
    """An open and a close, also of a robot that was never heard; the demands
    and flags stay."""
    ts = now() - 10000
    either.push("r-1", robot_event("LID_OPENED", ts), kind="e")
    either.done()
    assert robot(servers) == (dict(UNKNOWN, serial="r-1"), (True, ts))
    before = version(servers)[0]
    either.push("r-1", robot_event("LID_CLOSED", ts + 3000), kind="e")
    either.done()
    assert robot(servers)[1] == (False, ts + 3000)
    either.push("r-1", heartbeat(ts + 2999, "PARKED", lid={"open": True}))
    either.done()
    assert robot(servers)[1] == (False, ts + 3000)
    assert version(servers)[0] != before      # PARKED, not the lid
    assert told(servers) == [{"operationState": "PARKED"}]


def test_a_delivery_and_a_lid_in_one_batch(servers, drive):
    """Robots of either kind in one transaction, whatever the order of their
    serials: rows of resource are locked by key."""
    lane = drive(services=ALL, linger=200)
    at = now() - 60000
    serials = ["r-%d" % i for i in range(8)]
    for serial in serials:
        lane.push(serial, heartbeat(at, "PARKED"))
    lane.done()
    for serial in serials[::2]:
        servers.query(
            "insert into coco.delivery (status, serial, pickup_latitude,"
            " pickup_longitude, dropoff_latitude, dropoff_longitude,"
            " created_at, updated_at, changes) values ('AtPickup', %s, 34.05,"
            " -118.25, 34.1, -118.3, now(), now(), 1)", serial)
    for serial in serials:
        lane.push(serial, robot_event("LID_OPENED", at + 1000), kind="e")
        lane.push(serial, robot_event("LID_CLOSED", at + 2000), kind="e")
    lane.done()
    for i, serial in enumerate(serials):
        data, lid = robot(servers, serial)
        assert lid == (False, at + 2000)
        assert data["hasFood"] == (None if i % 2 else True)
        assert (data["tripType"] == "DELIVERY") == (i % 2 == 0)


# --- services apart ---------------------------------------------------------

def test_any_order_twice(servers, drive):
    """What the others have published, shuffled and doubled, is the row that a
    single process makes."""
    at = now() - 20000
    chance = random.Random(11)
    events = []
    for i in range(300):
        serial, ts = "r-%d" % (i % 4), at + i
        draw = chance.random()
        if draw < 0.6:
            events.append(("IoT.Heartbeat", serial, ts, {
                "serial": serial, "id": str(uuid.uuid4()), "ts": ts,
                "receivedAt": ts, "state": "PARKED",
                "healthy": chance.random() < 0.9, "battery": {"percent": i},
                "location": {"latitude": i / 10, "longitude": -i / 10},
                "components": None, "software": None,
                "lid": chance.choice([None, {"open": True}, {"open": False}]),
                "remotelyControllable": False, "driveu": None}))
            events[-1][3]["battery"]["percent"] = i % 100
        elif draw < 0.8:
            events.append(("Robots.BusinessStateChange", serial, ts, business(
                chance.choice(["PARKED", "ON_TRIP"]),
                hasFood=chance.random() < 0.5)))
        else:
            name = chance.choice(["Robots.LidOpen", "Robots.LidClose",
                                  "LidCycle.Complete"])
            events.append((name, serial, ts, {
                "cycleId": str(uuid.uuid4()), "source": None,
                "trigger": "OTHER", "referenceId": None}))
    events = [(name, serial, envelope(name, serial, ts, data))
              for name, serial, ts, data in events]

    results = []
    for order in (events, events + chance.sample(events, 150)):
        if results:
            chance.shuffle(order)
        servers.query("truncate coco.resource, coco.outbox")
        # however long the first took, robots are online in the second
        lane = drive(services=DISPATCH, batch=20, linger=1, online=3600000)
        for name, serial, text in order:
            lane.push(serial, text, kind="v", source="rabbitmq", topic=name)
        lane.done()
        assert lane.stop()
        results.append(servers.query(
            "select id, data, telemetry_id, telemetry_order_ts, lid_open,"
            " lid_at, business_changed_at from coco.resource order by id"))
    assert results[0] == results[1]
    assert len(results[0]) == 4
    assert servers.query("select 1 from coco.dead_letter") == []
    for table in ("robot_state", "robot_operation", "fleet_robot"):
        assert servers.query("select 1 from coco." + table) == []


def test_without_the_service_no_supply(servers, drive):
    lane = drive(services=ALL - DISPATCH)
    lane.push("r-1", heartbeat(now(), "PARKED", lid={"open": True}))
    lane.push("r-1", robot_event("LID_OPENED", now()), kind="e")
    event(lane, "Robots.BusinessStateChange", "r-1", now(), business("PARKED"))
    lane.done()
    assert servers.query("select 1 from coco.resource") == []


# --- what nginx is told -----------------------------------------------------

class Feed:
    """What comes by both channels, in order."""

    def __init__(self, servers, client=None):
        self.pubsub = (client or servers.redis()).pubsub(
            ignore_subscribe_messages=True)
        self.pubsub.subscribe("coco.supply", "coco.invalidate")
        self.seen = []

    def take(self, seconds=0.02):
        message = self.pubsub.get_message(timeout=seconds)
        if message:
            self.seen.append((message["channel"], message["data"]))
        return self.seen

    def wait(self, accept, seconds=20):
        """The first that came by a channel and is accepted: its text."""
        at = 0
        end = time.monotonic() + seconds
        while True:
            for channel, text in self.seen[at:]:
                if accept(channel, text):
                    return text
            at = len(self.seen)
            assert time.monotonic() < end, self.seen
            self.take()

    def lines(self, serial):
        text = self.wait(lambda channel, text: channel == "coco.supply"
                         and "\n%s " % serial in text)
        assert text.endswith("\n")
        head, *lines = text[:-1].split("\n")
        assert head == "@driver:1"
        return [line for line in lines if line.startswith(serial + " ")]


def parts(line):
    """letter -> its tokens"""
    found = {}
    for token in line.split(" ")[1:]:
        if token in ("T", "B", "D", "L"):
            found[token] = tokens = []
        else:
            tokens.append(token)
    return found


def stored(servers, serial="r-1"):
    return parts(one(servers, "select coco.supply_line(r) from coco.resource r"
                     " where id = %s", serial)[0])


def test_lines_are_the_row(servers, lane):
    """What changed of a robot, as the database writes it, and as the core
    reads it."""
    feed = Feed(servers)
    ts = now()
    lane.push("r-1", json.dumps({
        "ts": ts, "state": "ON_TRIP", "healthy": True, "lid": {"open": True},
        "battery": {"percent": 71.25},
        "location": {"latitude": 37.7749295, "longitude": -122.4194155}}))
    lane.done()
    line, = feed.lines("r-1")
    row = stored(servers)
    assert parts(line) == {part: row[part] for part in "TBL"}
    assert " ".join(lane.ask("line " + line)) == line
    assert row["B"][1:] == ["ON_TRIP", "------"]
    assert row["L"] == [str(ts), "1"]

    feed.seen.clear()
    event(lane, "Robots.BusinessStateChange", "r-1", ts + 1, business(
        "PARKED", undergoingMaintenance=True, needsMaintenance=False,
        driveable=True))
    lane.done()
    line, = feed.lines("r-1")
    assert parts(line) == {"B": stored(servers)["B"]}
    assert parts(line)["B"] == [str(ts + 1), "PARKED", "tf--t-"]

    feed.seen.clear()
    lane.push("r-1", robot_event("LID_OPENED", ts + 50), kind="e",
              received_at=ts + 50)
    lane.done()
    line, = feed.lines("r-1")
    assert parts(line) == {"L": [str(ts + 50), "1"]}


def test_places_are_rounded_as_in_the_row(servers, lane):
    """To 1e-7 degrees: halves, and numbers that doubles only nearly are."""
    chance, feed, ts = random.Random(3), Feed(servers), now()
    values = [5e-8, -5e-8, 15e-8, 25e-8, 60.12345675, -60.12345685]
    values += [round(chance.uniform(-90, 90), 8) for _ in range(400)]
    for i, value in enumerate(values):
        lane.push("r-%03d" % i, json.dumps({
            "ts": ts, "state": "PARKED", "healthy": True,
            "battery": {"percent": 50},
            "location": {"latitude": value, "longitude": -value}}))
    lane.done()
    for i in range(len(values)):
        serial = "r-%03d" % i
        line, = feed.lines(serial)
        assert parts(line)["T"] == stored(servers, serial)["T"], values[i]


def test_one_message_a_batch_behind_the_invalidations(servers, drive):
    lane = drive(shards=1, linger=300)
    lane.push("warm", heartbeat(now()))
    lane.done()
    feed = Feed(servers)
    ts = now()
    for i in range(20):
        lane.push("r-%02d" % (i % 10), heartbeat(ts + i, "PARKED", i))
    lane.done()
    servers.redis().publish("coco.supply", "now")   # behind all of them
    feed.wait(lambda channel, text: text == "now")
    assert feed.seen.pop() == ("coco.supply", "now")
    kinds = [channel for channel, _ in feed.seen]
    assert kinds == ["coco.invalidate", "coco.supply"] * (len(kinds) // 2)
    lines = [line for channel, text in feed.seen if channel == "coco.supply"
             for line in text.split("\n")[1:-1]]
    newest = {line.split(" ")[0]: parts(line)["T"][2] for line in lines}
    assert newest == {"r-%02d" % i: str(i + 10) for i in range(10)}


def test_a_repeat_is_told_again(servers, lane):
    """It may be of a batch whose end nginx has not heard of."""
    payload = heartbeat(now(), "PARKED")
    lane.push("r-1", payload)
    lane.done()
    feed = Feed(servers)
    lane.push("r-1", payload)
    lane.done()
    line, = feed.lines("r-1")
    assert parts(line)["T"] == stored(servers)["T"]


# --- the pulse --------------------------------------------------------------

BEAT = "@driver:1"


def beats(feed):
    return [text for channel, text in feed.seen if text == BEAT]


def test_beats(servers, drive):
    """All is to be read afresh, then a beat each 100 ms; a farewell."""
    feed = Feed(servers)
    lane = drive(pulse=1)
    feed.wait(lambda channel, text: text == BEAT)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        feed.take()
    assert feed.seen[0] == ("coco.invalidate", '{"all":true}')
    assert 20 <= len(beats(feed)) <= 32
    assert lane.stop()
    feed.wait(lambda channel, text: text == BEAT + " bye")


def test_no_beat_while_redis_is_owed(servers, drive):
    """A Redis that takes messages but no writes owes the robot's copies:
    silence, until they are gone and everybody was told."""
    lane = drive(pulse=1)
    feed = Feed(servers)
    feed.wait(lambda channel, text: text == BEAT)
    servers.redis().execute_command("REPLICAOF", "127.0.0.1", "1")
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    until(lambda: lane.metrics()["coco_redis_owed"] > 0)

    # what was sent before has come once this has
    servers.redis().publish("coco.supply", "now")
    feed.wait(lambda channel, text: text == "now")
    feed.seen.clear()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        feed.take()
    assert lane.metrics()["coco_redis_owed"] > 0
    assert beats(feed) == []
    servers.redis().execute_command("REPLICAOF", "NO", "ONE")
    feed.wait(lambda channel, text: text == BEAT)
    texts = [text for _, text in feed.seen]
    assert '{"all":true}' in texts[:texts.index(BEAT)]


def test_beats_after_redis_was_away(servers, drive):
    """Back, it hears that all is to be read afresh before any beat."""
    lane = drive(pulse=1)
    Feed(servers).wait(lambda channel, text: text == BEAT)
    servers.redis_kill()
    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    feeds = []
    servers.redis_start(lambda client: feeds.append(Feed(servers, client)))
    feed, = feeds
    feed.wait(lambda channel, text: text == BEAT)
    assert feed.seen[0] == ("coco.invalidate", '{"all":true}')
    assert lane.stop()


# --- time passes ------------------------------------------------------------

def test_the_sweep(servers, drive):
    """The silent are OFFLINE, and come back with a heartbeat."""
    ts = now()
    lane = drive(online=3600000)
    lane.push("r-1", heartbeat(ts - 61000, "PARKED"), received_at=ts - 61000)
    lane.push("r-2", heartbeat(ts, "PARKED"))
    lane.done()
    assert robot(servers, "r-1")[0]["status"] == "ONLINE"
    assert lane.stop()
    lane = drive(online=60000)
    lane.process.stdin.write("janitor\n")
    until(lambda: robot(servers, "r-1")[0]["status"] == "OFFLINE")
    assert told(servers, "r-1")[-1] == {"status": "OFFLINE"}
    assert robot(servers, "r-2")[0]["status"] == "ONLINE"

    lane.push("r-1", heartbeat(now(), "PARKED"))
    lane.done()
    assert robot(servers, "r-1")[0]["status"] == "ONLINE"


def test_a_heartbeat_that_is_old_already(servers, either):
    """By the clock that is behind its robot is silent, and was online for
    nobody."""
    ts = now()
    either.push("r-1", heartbeat(ts - 60001, "PARKED"), received_at=ts)
    either.push("r-2", heartbeat(ts, "PARKED"), received_at=ts - 60001)
    either.push("r-3", heartbeat(ts - 30000, "PARKED"), received_at=ts)
    either.done()
    assert [robot(servers, serial)[0]["status"]
            for serial in ("r-1", "r-2", "r-3")] == ["OFFLINE", "OFFLINE",
                                                     "ONLINE"]
    either.push("r-1", heartbeat(ts, "PARKED"), received_at=ts)
    either.done()
    assert robot(servers, "r-1")[0]["status"] == "ONLINE"


def test_quotes_are_forgotten(servers, lane):
    servers.query("insert into coco.quote (id, serial, created_at, expires_at)"
                  " select gen_random_uuid(), 'r-1', now() - age, now() - age"
                  " from unnest(array['25 hours', '1 hour']::interval[]) age")
    lane.process.stdin.write("janitor\n")
    until(lambda: one(servers, "select count(*) from coco.quote") == (1,))
