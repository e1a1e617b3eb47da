"""From a queue to what is read over HTTP."""

import json
import os
import subprocess

import pytest
from harness import await_for, connectivity, heartbeat, new_serial, now_ms

SDK = os.path.join(os.path.dirname(__file__), "sdk")


@pytest.fixture
def serial():
    return new_serial("sqs")


def events(system, serial):
    return system.sql("select type, event_id from coco.lid_cycle_event_history"
                      " where serial = %s order by ts", serial)


def letter(system, mark):
    """(source, topic, field, reason) of the dead letter that holds mark."""
    rows = await_for("the dead letter", lambda: system.sql(
        "select source, topic, field, reason from coco.dead_letter"
        " where strpos(convert_from(payload, 'UTF8'), %s) > 0", mark))
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("queue", ["state", "events"])
def test_heartbeat(system, serial, queue):
    ts = now_ms()
    system.queues.send(getattr(system.queues, queue), heartbeat(
        ts, "PARKED", battery=42, serial=serial))
    system.await_history(serial, ts)
    robot = system.get("/robots/" + serial)
    assert robot["telemetry"]["battery"]["percent"] == 42
    assert robot["operationState"] == "PARKED"
    assert "serial" not in system.get("/state/" + serial)["details"]


def test_topic_alone(system, serial):
    ts = now_ms()
    system.queues.send(system.queues.state, heartbeat(
        ts, topic="robot/%s/status" % serial))
    system.await_history(serial, ts)
    assert "topic" not in system.get("/state/" + serial)["details"]


def test_notification(system, serial):
    """What SNS wraps, of both kinds."""
    queues, ts = system.queues, now_ms()
    queues.send(queues.state, *({"Type": "Notification", "MessageId": "1",
                                 "Message": json.dumps(body)} for body in (
        heartbeat(ts, serial=serial),
        {"serial": serial, "type": "LID_OPENED", "ts": ts})))
    system.await_history(serial, ts)
    await_for("the event", lambda: events(system, serial) == [
        ("LID_OPENED", None)])


@pytest.mark.parametrize("queue", ["events", "state"])
def test_robot_event(system, serial, queue):
    ts = now_ms()
    system.queues.send(
        getattr(system.queues, queue),
        {"serial": serial, "id": "a", "type": "LID_OPENED", "ts": ts},
        {"topic": "robot/%s/events" % serial, "type": "LID_CLOSED",
         "ts": ts + 1})
    await_for("both events", lambda: events(system, serial) == [
        ("LID_OPENED", "a"), ("LID_CLOSED", None)])


def test_same_by_mqtt_and_queue(system, serial):
    """One row of history each, one event, and one change of the state."""
    queues, ts = system.queues, now_ms()
    beat = heartbeat(ts, "PARKED")
    event = {"id": "e-1", "type": "LID_OPENED", "ts": ts}
    before = (system.metric("coco_messages_duplicate_total"),
              system.metric("coco_messages_duplicate_total", "events"))
    system.publish((serial, beat))
    system.publish((serial, event), kind="events")
    queues.send(queues.state, {"serial": serial, **beat},
                {**event, "serial": serial},
                {"topic": "robot/%s/status" % serial, **beat})
    await_for("the repeats are counted", lambda: (
        system.metric("coco_messages_duplicate_total") >= before[0] + 2
        and system.metric("coco_messages_duplicate_total", "events")
        >= before[1] + 1))
    assert system.history(serial) == [(ts, "PARKED")]
    assert events(system, serial) == [("LID_OPENED", "e-1")]
    assert system.value("select count(*) from coco.outbox where serial = %s"
                        " and name = 'Robots.StateChange'", serial) == 1


def test_older_after_newer(system, serial):
    queues, ts = system.queues, now_ms()
    system.beat(serial, ts, "PARKED", battery=50)
    queues.send(queues.state, heartbeat(ts - 5000, "ON_TRIP", battery=1,
                                        serial=serial))
    system.await_history(serial, ts - 5000)
    assert system.get("/state/" + serial)["ts"] == ts
    assert system.get("/robots/" + serial)["operationState"] == "PARKED"


def test_connectivity(system, serial):
    queues = system.queues
    system.beat(serial, now_ms(), "PARKED")
    queues.send(queues.connectivity, connectivity(serial))
    await_for("driven remotely", lambda: system.get("/robots/" + serial)[
        "connectivity"]["remotelyControllable"])


def test_bad_bodies_are_set_aside(system, serial):
    """Each with its reason, and what came with them arrives."""
    queues, ts = system.queues, now_ms()
    refused = system.metric("coco_dead_letters_total")
    bodies = {"text": "no JSON %s-text" % serial,
              "list": json.dumps(["%s-list" % serial]),
              "anonymous": json.dumps(heartbeat(ts, mark=serial + "-anon")),
              "percent": json.dumps(heartbeat(ts, battery=101, serial=serial,
                                              mark=serial + "-percent")),
              "disagrees": json.dumps(heartbeat(
                  ts, serial=serial, topic="robot/other/status",
                  mark=serial + "-disagrees"))}
    queues.send(queues.state, *bodies.values(),
                heartbeat(ts, serial=serial))
    system.await_history(serial, ts)
    for mark, field in (("-text", None), ("-list", None), ("-anon", "serial"),
                        ("-percent", "battery.percent"),
                        ("-disagrees", "serial")):
        source, topic, at, reason = letter(system, serial + mark)
        assert (source, topic) == ("sqs", "sqs/state")
        assert reason and (field is None or at == field), (mark, at, reason)
    assert len(system.history(serial)) == 1
    await_for("they are counted", lambda: system.metric(
        "coco_dead_letters_total") >= refused + 5)
    await_for("none comes again", lambda: queues.left(queues.state) == 0)


def test_replayed_dead_letter(system, serial):
    """By way of the same reading of the body: a serial in it is enough."""
    queues, ts = system.queues, now_ms()
    queues.send(queues.state, heartbeat(ts, battery=101, serial=serial))
    letter(system, serial)
    id = system.value(
        "update coco.dead_letter set payload = convert_to(replace("
        "convert_from(payload, 'UTF8'), '101', '100'), 'UTF8')"
        " where strpos(convert_from(payload, 'UTF8'), %s) > 0"
        " returning id::text", serial)
    system.call("POST", "/dead-letters/%s/replay" % id, 202)
    system.await_history(serial, ts)
    await_for("the outcome", lambda: system.value(
        "select replay_outcome from coco.dead_letter where id = %s",
        id) == "APPLIED")


def test_queue_is_emptied(system, serial):
    """What is committed is deleted, and counted."""
    queues, ts = system.queues, now_ms()
    before = system.metric("coco_sqs_deleted_total")
    queues.send(queues.state, *(heartbeat(ts + i, serial=serial)
                                for i in range(200)))
    await_for("all are in", lambda: len(system.history(serial)) == 200)
    await_for("the queue is empty", lambda: queues.left(queues.state) == 0)
    await_for("deletions are counted", lambda: system.metric(
        "coco_sqs_deleted_total") >= before + 200)


@pytest.fixture(scope="module")
def sdk():
    """AWS's own client for JavaScript, as its lock file names it."""
    if not os.path.isdir(os.path.join(SDK, "node_modules")):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"],
                       cwd=SDK, check=True, timeout=120)

    def send(system, queue, body):
        environment = dict(os.environ, COCO_SQS_URL=system.queues.endpoint,
                           AWS_ACCESS_KEY_ID="test",
                           AWS_SECRET_ACCESS_KEY="test",
                           AWS_REGION="us-east-1")
        return subprocess.run(
            ["node", "send.js", queue, json.dumps(body)], cwd=SDK, text=True,
            env=environment, check=True, capture_output=True,
            timeout=120).stdout.strip()

    return send


def test_sent_by_the_official_client(system, serial, sdk):
    ts = now_ms()
    queues = system.queues
    assert sdk(system, queues.state, heartbeat(ts, "ON_TRIP", battery=33,
                                               serial=serial))
    assert sdk(system, queues.connectivity, connectivity(serial))

    def shown():
        robot = system.get("/robots/" + serial)
        return (robot["telemetry"]["ts"], robot["operationState"],
                robot["connectivity"]["remotelyControllable"]) == (
                    ts, "ON_TRIP", True)

    await_for("the robot over HTTP", lambda: system.value(
        "select 1 from coco.robot_state where serial = %s", serial)
        and shown())
