"""DriveU's webhooks, from the inbox and from the queue, to statuses, events,
copies and enriched heartbeats."""

import json
import random
import uuid

import psycopg2
import pytest

from servers import MODES, until
from test_pipeline import cached, count, heartbeat, letters, now, one
from test_services import webhook


def stored(servers, payload, received_at=None):
    """A row of the inbox, as nginx writes it; its id."""
    id = str(uuid.uuid4())
    servers.query("insert into coco.webhook_inbox (id, provider, event_id,"
                  " payload, received_at) values (%s, 'driveu', %s, %s,"
                  " coco.from_ms(%s))", id, id, payload, received_at or now())
    return id


def hook(lane, payload, source="webhook", inbox=None, received_at=None,
         **more):
    lane.push("", payload, kind="w", source=source, inbox=inbox,
              topic="webhook/driveu", received_at=received_at, **more)


def status(servers, serial, unit="streamer"):
    rows = servers.query("select status from coco.driveu_status"
                         " where serial = %s and unit = %s", serial, unit)
    return rows[0][0] if rows else None


def inbox(servers, id):
    return one(servers, "select outcome, waiting_for, done_at is not null"
                        " from coco.webhook_inbox where id = %s", id)


def raw_changes(servers):
    return [p for p, in servers.query(
        "select payload from coco.outbox"
        " where name = 'ConnectivityRawStatusChanged' order by seq")]


def mapping(servers, vehicle, serial):
    servers.query("insert into coco.external_robot_mapping (provider,"
                  " provider_vehicle_id, serial) values ('driveu', %s, %s)",
                  vehicle, serial)


# --- what a webhook leaves --------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_a_webhook(servers, drive, mode):
    lane = drive(**MODES[mode])
    at = now() - 1000
    payload = webhook("streamer", "online", at * 1000 + 7, vin="r-1")
    id = stored(servers, payload)
    hook(lane, payload, inbox=id)
    lane.done()

    assert one(servers, "select serial, unit, status, uuid, vin,"
                        " (extract(epoch from time) * 1000000)::bigint"
                        " from coco.driveu_status") == (
        "r-1", "streamer", "online", "u-1", "r-1", at * 1000 + 7)
    assert inbox(servers, id) == ("APPLIED", None, True)
    event, = raw_changes(servers)
    assert (event["serial"], event["ts"]) == ("r-1", at)
    assert event["data"] == {"unit": "streamer", "status": "online",
                             "uuid": "u-1", "vin": "r-1", "ts": at}
    assert cached(servers, "r-1", "driveu.status.") == {
        "streamer": {"status": "online", "ts": at, "uuid": "u-1"}}
    assert servers.redis().ttl("driveu.status.r-1") == -1
    assert one(servers, "select coco.driveu_document('r-1'),"
                        " coco.remotely_controllable('r-1')") == (
        servers.redis().get("driveu.status.r-1"), True)


def test_heartbeats_are_enriched(servers, lane):
    at = now() - 1000
    lane.push("r-1", heartbeat(at, "PARKED"))
    hook(lane, webhook("streamer", "online", at * 1000, vin="r-1"))
    lane.done()
    lane.push("r-1", heartbeat(at + 1, driveu="mine"))
    lane.push("r-2", heartbeat(at + 1))
    lane.done()

    unit = {"streamer": {"status": "online", "ts": at, "uuid": "u-1"}}
    assert servers.query(
        "select details -> 'remotelyControllable', details -> 'driveu'"
        " from coco.state_history where serial = 'r-1' order by date desc"
        " limit 1") == [(True, unit)]
    assert one(servers, "select details -> 'remotelyControllable',"
                        " details -> 'driveu' from coco.robot_state"
                        " where serial = 'r-2'") == (False, None)
    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert (copy["remotelyControllable"], copy["driveu"]) == (True, unit)


def test_a_change_is_seen_in_the_copy_that_is_there(servers, lane):
    feed = servers.redis().pubsub(ignore_subscribe_messages=True)
    feed.subscribe("coco.invalidate")
    at = now()
    lane.push("r-1", heartbeat(at, components={"lidar": "OK"}))
    lane.done()
    ttl = servers.redis().pttl("robot.ephemeral.r-1")
    hook(lane, webhook("streamer", "connectedToNode", at * 1000, vin="r-1"))
    lane.done()

    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert copy["remotelyControllable"] is True
    assert copy["driveu"]["streamer"]["status"] == "connectedToNode"
    assert copy["components"] == {"lidar": "OK"} and copy["ts"] == at
    assert 0 < servers.redis().pttl("robot.ephemeral.r-1") <= ttl
    hook(lane, webhook("node", "offline", at * 1000, vin="r-1"))
    lane.done()
    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert copy["remotelyControllable"] is False
    assert set(copy["driveu"]) == {"streamer", "node"}

    told = []

    def twice():
        message = feed.get_message(timeout=0.1)
        told.append(message and json.loads(message["data"]))
        return told.count({"serials": ["r-1"]}) == 3

    until(twice)
    feed.close()


def test_a_heartbeat_that_knew_less_keeps_the_newer_status(servers, drive):
    """It was read before the status came, and written after it."""
    lane = drive(services=2 | 4)
    at = now()
    hook(lane, webhook("streamer", "offline", at * 1000, vin="r-1"))
    for ts in (at, at + 1):
        lane.push("r-1", json.dumps({
            "id": str(uuid.uuid4()), "name": "IoT.Heartbeat", "serial": "r-1",
            "ts": ts, "data": dict(
                json.loads(heartbeat(ts)), receivedAt=ts,
                remotelyControllable=True, driveu={"streamer": {
                    "status": "online", "ts": at - 5, "uuid": "u-1"}})}),
            kind="v", source="bus")
        lane.done()
        if ts == at:
            hook(lane, webhook("streamer", "offline", at * 1000 + 1,
                               vin="r-1"))
            lane.done()
    copy = cached(servers, "r-1", "robot.ephemeral.")
    assert copy["ts"] == at + 1
    assert copy["remotelyControllable"] is False
    assert copy["driveu"]["streamer"]["status"] == "offline"


# --- newest wins, once ------------------------------------------------------

def test_never_older_over_newer(servers, drive):
    at = now() - 60000
    chance = random.Random(3)
    hooks = [(webhook(unit, chance.choice(["online", "offline", "odd"]),
                      (at + i) * 1000, vin="r-%d" % (i % 3)), at + i)
             for i in range(100) for unit in ("streamer", "node", "relay")]
    want = {(h["vin"], h["unit"]): h["status"]
            for h in (json.loads(text) for text, _ in hooks)}
    for batch in (1000, 7):
        servers.query("truncate coco.driveu_status, coco.outbox")
        servers.redis().flushall()
        sent = hooks + chance.sample(hooks, 50)
        chance.shuffle(sent)
        lane = drive(linger=1, batch=batch)
        for text, received_at in sent:
            hook(lane, text, received_at=received_at)
        lane.done()
        assert lane.metrics()["coco_messages_committed_total"] == 300
        assert lane.metrics()["coco_messages_duplicate_total"] == 50
        assert lane.stop()
        assert {(s, u): w for s, u, w in servers.query(
            "select serial, unit, status from coco.driveu_status")} == want
        assert len(raw_changes(servers)) == 300
        for serial in ("r-0", "r-1", "r-2"):
            assert {(serial, u): d["status"] for u, d in cached(
                servers, serial, "driveu.status.").items()} == {
                k: v for k, v in want.items() if k[0] == serial}


def test_a_clock_ahead_does_not_freeze_a_unit(servers, lane):
    at = now() - 1000
    lane.push("r-1", heartbeat(at))
    hook(lane, webhook("relay", "odd", (at + 3600000) * 1000, vin="r-1"),
         received_at=at)
    lane.done()
    assert cached(servers, "r-1", "driveu.status.") == {
        "relay": {"status": "odd", "ts": at + 3600000, "receivedAt": at,
                  "uuid": "u-1"}}
    assert one(servers, "select coco.driveu_document('r-1')") == (
        servers.redis().get("driveu.status.r-1"),)
    hook(lane, webhook("relay", "online", (at + 1) * 1000, vin="r-1"),
         received_at=at + 1)
    lane.done()
    assert status(servers, "r-1", "relay") == "online"
    for copy in (cached(servers, "r-1", "driveu.status."),
                 cached(servers, "r-1", "robot.ephemeral.")["driveu"]):
        assert copy == {"relay": {"status": "online", "ts": at + 1,
                                  "uuid": "u-1"}}


def test_the_same_by_queue_and_webhook(servers, lane):
    payload = webhook("streamer", "online", now() * 1000, vin="r-1")
    id = stored(servers, payload)
    hook(lane, payload, source="sqs")
    hook(lane, json.dumps(json.loads(payload), indent=1), inbox=id)
    lane.done()
    hook(lane, payload, source="sqs")
    lane.done()
    assert len(raw_changes(servers)) == 1
    assert inbox(servers, id) == ("APPLIED", None, True)
    assert count(servers, "webhook_inbox") == 1


def test_two_units_of_a_robot_at_once(servers, drive):
    """From two processes: the copy ends with both."""
    lanes = [drive(shards=2, linger=0) for _ in range(2)]
    at = now() - 60000
    for i in range(300):
        for lane, unit in zip(lanes, ("streamer", "node")):
            hook(lane, webhook(unit, "s%d" % i, (at + i) * 1000,
                               vin="r-%d" % (i % 5)))
    for lane in lanes:
        lane.done()
    for i in range(295, 300):
        assert {u: d["status"] for u, d in cached(
            servers, "r-%d" % (i % 5), "driveu.status.").items()} == {
            "streamer": "s%d" % i, "node": "s%d" % i}


# --- vehicles without a mapping ---------------------------------------------

def test_unmapped_then_mapped(servers, lane):
    payload = webhook("streamer", "online", now() * 1000, uuid="car-9")
    id = stored(servers, payload)
    hook(lane, payload, inbox=id)
    lane.done()
    assert inbox(servers, id) == (None, "car-9", False)
    assert count(servers, "driveu_status") == 0
    assert raw_changes(servers) == []

    mapping(servers, "car-9", "r-9")
    assert inbox(servers, id) == (None, None, False)
    hook(lane, payload, inbox=id)
    lane.done()
    assert inbox(servers, id) == ("APPLIED", None, True)
    assert status(servers, "r-9") == "online"
    assert raw_changes(servers)[0]["serial"] == "r-9"


def test_unmapped_of_the_queue_waits_in_the_inbox(servers, lane):
    at = now()
    mapping(servers, "car-1", "r-1")
    hook(lane, webhook("node", "online", at * 1000, uuid="car-1"),
         source="sqs")
    payload = webhook("node", "online", at * 1000, uuid="car-2", more=[1])
    for _ in range(2):
        hook(lane, payload, source="sqs", received_at=at)
        lane.done()

    assert status(servers, "r-1", "node") == "online"
    assert one(servers, "select provider, event_id = id::text, payload,"
                        " coco.to_ms(received_at), waiting_for"
                        " from coco.webhook_inbox") == (
        "driveu", True, json.loads(payload), at, "car-2")


def test_a_mapping_made_meanwhile_is_not_missed(servers, lane):
    """Its transaction is open while the webhook looks for it."""
    payload = webhook("streamer", "online", now() * 1000, uuid="car-3")
    id = stored(servers, payload)
    with psycopg2.connect(servers.postgres) as maker:
        maker.cursor().execute(
            "insert into coco.external_robot_mapping (provider,"
            " provider_vehicle_id, serial) values ('driveu', 'car-3', 'r-3')")
        hook(lane, payload, inbox=id)
        until(lambda: servers.query(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock'"))
    lane.done()
    assert status(servers, "r-3") == "online"
    assert inbox(servers, id) == ("APPLIED", None, True)


# --- refused ----------------------------------------------------------------

def test_refused_then_replayed(servers, lane):
    at = now()
    early = webhook("streamer", "online", (at + 2 * 86400000) * 1000,
                    vin="r-1")
    id = stored(servers, early)
    hook(lane, early, inbox=id)
    lane.done()
    assert inbox(servers, id) == ("REFUSED", None, True)
    assert one(servers, "select source, service, topic, field"
                        " from coco.dead_letter") == (
        "webhook", "decoder", "webhook/driveu", "time")
    assert count(servers, "driveu_status") == 0

    # what was too far ahead need not be so for ever
    good = webhook("streamer", "online", at * 1000, vin="r-1")
    servers.query("update coco.dead_letter set payload = %s", good.encode())
    lane.process.stdin.write("janitor\n")
    servers.query("select coco.dead_letter_replay(null, '', null, '', id)"
                  " from coco.dead_letter")
    until(lambda: servers.query("select 1 from coco.dead_letter"
                                " where replay_outcome = 'APPLIED'"))
    assert status(servers, "r-1") == "online"


def test_what_postgres_refuses_is_set_aside_alone(servers, drive):
    lane = drive(linger=300, shards=1)
    servers.query("alter table coco.driveu_status add constraint planted"
                  " check (status <> 'poison')")
    try:
        lane.push("warm", heartbeat(now()))
        ids = []
        for i, word in enumerate(["a", "poison", "b", "c"]):
            payload = webhook("node", word, (now() + i) * 1000,
                              vin="r-%d" % i)
            ids.append(stored(servers, payload))
            hook(lane, payload, inbox=ids[-1])
        lane.done()
        assert [inbox(servers, id)[0] for id in ids] == [
            "APPLIED", "REFUSED", "APPLIED", "APPLIED"]
        assert len(raw_changes(servers)) == 3
        assert [row[:2] for row in letters(servers)] == [("webhook", "state")]
    finally:
        servers.query("alter table coco.driveu_status drop constraint planted")


def test_delivered_too_often_is_refused_in_the_inbox_too(servers, drive):
    lane = drive(receives=2)
    payload = webhook("node", "online", now() * 1000, vin="r-1")
    id = stored(servers, payload)
    hook(lane, payload, inbox=id, receives=3)
    lane.done()
    assert inbox(servers, id)[0] == "REFUSED"


# --- broken off -------------------------------------------------------------

def test_redis_away_keeps_no_old_status(servers, lane):
    at = now()
    hook(lane, webhook("streamer", "online", at * 1000, vin="r-1"))
    lane.done()
    servers.redis_pause(True)
    try:
        hook(lane, webhook("streamer", "offline", at * 1000 + 1, vin="r-1"))
        lane.done()
    finally:
        servers.redis_pause(False)
    until(lambda: cached(servers, "r-1", "driveu.status.") is None
          or cached(servers, "r-1", "driveu.status.")["streamer"]["status"]
          == "offline")
    assert status(servers, "r-1") == "offline"


def test_killed_midway_nothing_counts_twice(servers, drive):
    at = now() - 60000
    hooks = []
    for i in range(1000):
        payload = webhook("streamer", "s%d" % i, (at + i) * 1000,
                          vin="r-%d" % (i % 11))
        hooks.append((stored(servers, payload), payload))
    first = drive(linger=0, batch=20)
    for id, payload in hooks:
        hook(first, payload, inbox=id)
    until(lambda: count(servers, "webhook_inbox", "done_at is not null") > 100)
    first.kill()

    second = drive()
    for id, payload in hooks:
        hook(second, payload, inbox=id)
    second.done()
    assert count(servers, "webhook_inbox", "outcome = 'APPLIED'") == 1000
    assert len(raw_changes(servers)) == 1000
    assert servers.query("select serial, status from coco.driveu_status"
                         " order by status") == sorted(
        (("r-%d" % (i % 11), "s%d" % i) for i in range(989, 1000)),
        key=lambda row: row[1])
