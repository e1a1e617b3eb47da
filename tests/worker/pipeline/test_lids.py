"""Robot events and what is due for lids: the history, the cycles, their
events, the answers to commands, against the real servers."""

import itertools
import json
import random
import threading
import time
import uuid

import pytest

from servers import MODES, until

STATE, OPERATIONS, FLEET = 1, 2, 4
DELIVERY = "5f0c2f52-6a2b-4f6e-9d1e-0c1d2e3f4a5b"
PICKUP = (34.05, -118.25)


@pytest.fixture
def drive(drive):
    """Without the deliveries service, unless a test asks for it."""
    def one(**options):
        return drive(**{"services": STATE | OPERATIONS | FLEET, **options})

    return one


def now():
    return int(time.time() * 1000)


def event(kind, ts, **more):
    return json.dumps({"type": kind, "ts": ts, **more})


def send(lane, *events, serial="r-1"):
    """One after the other, each (type, ts) or (type, ts, members); all are
    committed. None is received before its time."""
    for kind, ts, *more in events:
        lane.push(serial, event(kind, ts, **(more[0] if more else {})),
                  max(now(), ts), kind="e")
    lane.done()


def due(servers, lane):
    """Hands over the tasks that are due, as the reader of robot_task does."""
    rows = servers.query(
        "select id, serial, kind, coalesce(data::text, ''),"
        " coco.to_ms(due_at) from coco.robot_task where due_at <= now()"
        " and kind <> 'ARRIVAL' order by due_at, seq")
    for row, serial, kind, data, at in rows:
        lane.push(serial, data, at, kind="k", source="task", topic=kind,
                  inbox=row)
    lane.done()
    return len(rows)


def wait_due(servers, lane, kind="LID", serial="r-1"):
    """Until what is due for the robot was due, and is applied."""
    until(lambda: servers.query(
        "select 1 from coco.robot_task where serial = %s and kind = %s"
        " and due_at <= now()", serial, kind))
    due(servers, lane)


def request(servers, source="QR", reference=DELIVERY, serial="r-1",
            timeout=10000, channel=None):
    """The command's id, as nginx writes it."""
    status, command = servers.query(
        "select status, response from coco.lid_open('me', 'r',"
        " %s, ''::bytea, %s, %s, %s, %s, %s)", uuid.uuid4().hex, serial,
        source, reference, timeout, channel)[0]
    assert status == 202
    return command


def cycles(servers, serial="r-1"):
    return servers.query(
        "select state, source, reference_id, trigger, coco.to_ms(opened_at),"
        " coco.to_ms(closed_at), reason from coco.lid_cycle"
        " where serial = %s order by order_at", serial)


def history(servers, serial="r-1"):
    return [row[0] for row in servers.query(
        "select type from coco.lid_cycle_event_history where serial = %s"
        " order by order_at, id", serial)]


def outbox(servers, serial="r-1"):
    """(name, source, trigger, referenceId), in the order of the relay."""
    rows = servers.query("select name, payload from coco.outbox where serial ="
                         " %s and name ~ 'Lid' order by seq", serial)
    for name, payload in rows:
        assert payload["name"] == name and payload["serial"] == serial
        assert set(payload["data"]) == {"cycleId", "source", "trigger",
                                        "referenceId"}
    return [(name, p["data"]["source"], p["data"]["trigger"],
             p["data"]["referenceId"]) for name, p in rows]


def published(servers, serial="r-1"):
    return [name for name, *_ in outbox(servers, serial)]


def anomalies(servers, serial="r-1"):
    return [row[0] for row in servers.query(
        "select kind from coco.anomaly where serial = %s order by kind",
        serial)]


def command(servers, which):
    """(outcome, reason, it has a cycle, it is acknowledged)."""
    return servers.query(
        "select outcome, reason, cycle_id is not null, acked_at is not null"
        " from coco.robot_command where id = %s", which)[0]


def robot(servers, serial="r-1"):
    return servers.query(
        "select is_open, coco.to_ms(changed_at), suspect_id is not null"
        " from coco.lid_robot where serial = %s", serial)[0]


def task_count(servers, kind, serial="r-1"):
    return servers.query("select count(*) from coco.robot_task where kind = %s"
                         " and serial = %s", kind, serial)[0][0]


ALL = ["Robots.LidOpen", "Robots.LidClose", "LidCycle.Complete"]


# --- the flows --------------------------------------------------------------

def test_qr_flow(servers, lane):
    listener = servers.redis().pubsub()
    listener.subscribe("coco.replies.edge.1", "coco.replies.edge.2")
    which = request(servers, channel="coco.replies.edge.1")
    servers.query("select coco.lid_join(%s, 'coco.replies.edge.2')", which)
    ts = now()
    send(lane, ("COMMAND_ACK", ts, {"commandId": which}))
    assert command(servers, which) == (None, None, False, True)
    send(lane, ("LID_OPENED", ts + 5, {"commandId": which,
                                       "trigger": "COMMAND"}))

    assert command(servers, which) == ("OPENED", None, True, True)
    heard = []
    until(lambda: heard.append(listener.get_message(
        ignore_subscribe_messages=True)) or len(
            [m for m in heard if m]) == 2)
    assert {(m["channel"], m["data"]) for m in heard if m} == {
        ("coco.replies.edge.1", which), ("coco.replies.edge.2", which)}
    assert cycles(servers) == [("LID_CYCLE_INIT", "QR", DELIVERY, "COMMAND",
                                ts + 5, None, None)]
    assert outbox(servers) == [("Robots.LidOpen", "QR", "COMMAND", DELIVERY)]
    assert robot(servers) == (True, ts + 5, False)
    assert task_count(servers, "LID") == 1

    send(lane, ("LID_CLOSED", ts + 900))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", "QR", DELIVERY, "OTHER",
                                ts + 5, ts + 900, None)]
    assert outbox(servers)[1:] == [
        ("Robots.LidClose", "QR", "OTHER", DELIVERY),
        ("LidCycle.Complete", "QR", "OTHER", DELIVERY)]
    assert robot(servers) == (False, ts + 900, False)
    assert task_count(servers, "LID") == 0
    assert history(servers) == ["LID_OPEN_REQUEST", "COMMAND_ACK",
                                "LID_OPENED", "LID_CLOSED"]
    assert servers.query("select distinct payload->'data'->>'cycleId' ="
                         " (select id::text from coco.lid_cycle)"
                         " from coco.outbox where name ~ 'Lid'") == [(True,)]
    metrics = lane.metrics()
    assert metrics["coco_lid_cycles_total"] == 1
    assert metrics["coco_commands_ended_total"] == 1
    assert metrics["coco_anomalies_total"] == 0


def test_magic_lid_flow(servers, lane):
    ts = now() - 1000
    send(lane, ("PIN_ENTRY_LID_OPEN", ts, {"lid_opened": True,
                                           "pin": "4711"}),
         ("PIN_ENTRY_LID_CLOSE", ts + 500))
    assert cycles(servers) == [
        ("LID_CYCLE_COMPLETE", "MAGIC_LID", None, "PIN_ENTRY_CONFIRM", ts,
         ts + 500, None)]
    assert outbox(servers) == [
        (name, "MAGIC_LID", "PIN_ENTRY_CONFIRM", None) for name in ALL]
    assert anomalies(servers) == []


def delivery(servers, status="AtPickup", flow=None, pin=None, serial="r-1",
             at=PICKUP):
    return servers.query(
        "insert into coco.delivery (status, serial, loading_flow, pin,"
        " pickup_latitude, pickup_longitude, dropoff_latitude,"
        " dropoff_longitude, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s, 35, -118, now(), now())"
        " returning id::text", status, serial, flow, pin, *at)[0][0]


def ask(lane, ts, pin=None, **more):
    send(lane, ("PIN_ENTRY_LID_OPEN", ts, dict(
        {"lid_opened": False}, **({"pin": pin} if pin else {}), **more)))


def asked(servers):
    return servers.query(
        "select id::text, source, reference_id, coco.to_ms(expires_at)"
        " - coco.to_ms(issued_at) from coco.robot_command")


def test_pin_flow(servers, lane):
    wanted = delivery(servers, pin="4711")
    delivery(servers, pin="1234", status="EnrouteToPickup")
    ask(lane, now(), "4711")
    (which, *rest), = asked(servers)
    assert rest == ["PIN", wanted, 9000]
    assert history(servers) == ["PIN_ENTRY_LID_OPEN", "LID_OPEN_REQUEST"]
    assert servers.query(
        "select data->>'command', coco.to_ms(due_at) from coco.robot_task"
        " where kind = 'EXPIRY'") == servers.query(
            "select id::text, coco.to_ms(issued_at) + 10000"
            " from coco.robot_command")

    ts = now()
    send(lane, ("LID_OPENED", ts, {"commandId": which}),
         ("PIN_ENTRY_LID_CLOSE", ts + 500))
    assert command(servers, which) == ("OPENED", None, True, True)
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", "PIN", wanted,
                                "PIN_ENTRY_CONFIRM", ts, ts + 500, None)]
    assert outbox(servers) == [
        ("Robots.LidOpen", "PIN", "COMMAND", wanted),
        ("Robots.LidClose", "PIN", "PIN_ENTRY_CONFIRM", wanted),
        ("LidCycle.Complete", "PIN", "PIN_ENTRY_CONFIRM", wanted)]
    assert "4711" not in lane.logged()
    assert "4711" not in str(servers.query(
        "select h, c, o from coco.lid_cycle_event_history h,"
        " coco.robot_command c, coco.outbox o"))


def stand(lane, ts, **more):
    """A heartbeat from 22 m off the pickup."""
    lane.push("r-1", json.dumps(
        {"ts": ts, "battery": {"percent": 50}, "location": dict(
            latitude=PICKUP[0] + 0.0002, longitude=PICKUP[1], **more)}))
    lane.done()


def refusals(servers):
    return [row[0] for row in servers.query(
        "select reason from coco.lid_cycle_event_history"
        " where type = 'LID_OPEN_REFUSED' order by received_at")]


def test_what_moves_is_not_opened(servers, lane):
    """Nor what was heard too long ago, without a PIN."""
    delivery(servers, pin="4711")
    delivery(servers, flow="PINLESS")
    ts = now() - 90000
    stand(lane, ts, speed=0)
    ask(lane, now())
    (reason,) = refusals(servers)
    assert reason.startswith("without a PIN, and the robot was last heard 9")

    stand(lane, ts + 1, speed=1.5)
    ask(lane, now(), "4711", id="with")
    ask(lane, now(), id="without")
    assert refusals(servers)[1:] == ["The robot moves at 1.5 m/s."] * 2
    assert asked(servers) == []

    stand(lane, now(), speed=0.1)
    ask(lane, now(), "4711", id="with, standing")
    ask(lane, now(), id="without, standing")
    assert {row[1] for row in asked(servers)} == {"PIN", "PINLESS"}


def test_pinless_flow(servers, lane):
    wanted = delivery(servers, flow="PINLESS")
    ts = now() - 1000
    stand(lane, ts)
    ask(lane, ts + 10)
    (which, *rest), = asked(servers)
    assert rest[:2] == ["PINLESS", wanted]
    send(lane, ("LID_OPENED", ts + 500, {"commandId": which}),
         ("LID_CLOSED", ts + 600))
    assert cycles(servers)[0][:3] == ("LID_CYCLE_COMPLETE", "PINLESS", wanted)


@pytest.mark.parametrize("mode", MODES)
def test_a_close_loads_the_delivery(servers, drive, mode):
    """In the transaction of the close, or by the bus."""
    wanted = delivery(servers, status="AtPickup")
    lane = drive(services=15, **MODES[mode])
    which = request(servers, reference=wanted)
    ts = now()
    send(lane, ("LID_OPENED", ts, {"commandId": which}),
         ("LID_CLOSED", ts + 500))
    assert servers.query(
        "select d.status, d.loaded_cycle = y.id from coco.delivery d,"
        " coco.lid_cycle y") == [("LoadedWaitingForPilot", True)]
    assert [name for name, in servers.query(
        "select name from coco.outbox where name ~ 'Lid|Deliver'"
        " order by seq")] == ALL + ["Deliveries.DeliveryEvent"]
    assert servers.query("select 1 from coco.anomaly") == []


@pytest.mark.parametrize("why", ["wrong", "nothing", "far", "late", "loaded"])
def test_a_pin_entry_that_opens_nothing(servers, lane, why):
    delivery(servers, pin="4711",
             status="LoadedWaitingForPilot" if why == "loaded" else "AtPickup",
             flow="PINLESS" if why == "far" else None)
    ts = now()
    if why == "far":
        lane.push("r-1", json.dumps(
            {"ts": ts, "battery": {"percent": 50}, "location":
             {"latitude": PICKUP[0] + 0.01, "longitude": PICKUP[1]}}))
        lane.done()
    ask(lane, ts - 61000 if why == "late" else ts,
        {"wrong": "4712", "nothing": None, "far": None}.get(why, "4711"))

    assert asked(servers) == []
    assert sorted(history(servers)) == ["LID_OPEN_REFUSED",
                                        "PIN_ENTRY_LID_OPEN"]
    reason, = servers.query("select reason from coco.lid_cycle_event_history"
                            " where type = 'LID_OPEN_REFUSED'")[0]
    assert reason and "471" not in reason
    assert cycles(servers) == [] and published(servers) == []


def test_a_pin_entry_opens_once(servers, lane):
    delivery(servers, pin="4711")
    ts = now()
    for _ in range(2):
        ask(lane, ts, "4711", id="e-1")
    assert len(asked(servers)) == 1
    assert history(servers).count("LID_OPEN_REQUEST") == 1


def test_failed(servers, lane):
    listener = servers.redis().pubsub()
    listener.subscribe("coco.replies.x")
    which = request(servers, channel="coco.replies.x")
    send(lane, ("LID_OPEN_FAILED", now(),
                {"commandId": which, "reason": "latch \"A\" jammed"}))
    assert command(servers, which) == ("FAILED", 'latch "A" jammed', False,
                                       True)
    assert until(lambda: listener.get_message(
        ignore_subscribe_messages=True))["data"] == which
    assert cycles(servers) == [] and published(servers) == []
    assert history(servers) == ["LID_OPEN_REQUEST", "LID_OPEN_FAILED"]

    # it opens after all: what was told cannot be untold, the record is true
    send(lane, ("LID_OPENED", now(), {"commandId": which}))
    assert command(servers, which)[0] == "OPENED"
    assert cycles(servers)[0][:3] == ("LID_CYCLE_INIT", "QR", DELIVERY)


def test_a_failure_without_a_command_answers_the_newest(servers, lane):
    which = request(servers)
    send(lane, ("LID_OPEN_FAILED", now(), {"reason": "jammed"}))
    assert command(servers, which)[:2] == ("FAILED", "jammed")


def test_nobody_answers_for_another_robot(servers, lane):
    which = request(servers)
    send(lane, ("LID_OPENED", now(), {"commandId": which}), serial="r-2")
    send(lane, ("COMMAND_ACK", now(), {"commandId": which}), serial="r-2")
    send(lane, ("LID_OPEN_FAILED", now(), {"commandId": which}), serial="r-2")
    assert command(servers, which) == (None, None, False, False)
    assert cycles(servers, "r-2")[0][1:3] == (None, None)


def test_our_types_made_up_by_a_robot_are_no_requests(servers, lane):
    ts = now()
    send(lane, ("LID_OPEN_REQUEST", ts, {"commandId": "no uuid"}),
         ("LID_OPEN_TIMEOUT", ts, {"commandId": "no uuid"}),
         ("LID_OPENED", ts + 1, {"commandId": "no uuid"}),
         ("LID_CLOSED", ts + 2))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", None, None, "OTHER",
                                ts + 1, ts + 2, None)]
    assert servers.query("select 1 from coco.dead_letter") == []


def test_redis_away(servers, lane):
    servers.redis_kill()
    which = request(servers, channel="coco.replies.x")
    send(lane, ("LID_OPENED", now(), {"commandId": which}))
    assert command(servers, which)[0] == "OPENED"


# --- twice, late, the wrong way round ---------------------------------------

def test_repeats_change_nothing(servers, drive):
    ts = now() - 5000
    events = [("LID_OPENED", ts, {"id": "a"}), ("LID_CLOSED", ts + 9,
                                                {"id": "b"})]
    lane = drive(linger=300, shards=1)
    send(lane, *(events * 2))           # in one batch
    before = servers.query("select * from coco.lid_cycle")
    send(lane, *events)                 # in a later one
    assert lane.stop()
    lane = drive()                      # after a restart
    send(lane, *events[::-1])
    for kind, at, more in events:       # from the queue, in another form
        lane.push("r-1", event(kind, at, **more, serial="r-1"), kind="e",
                  source="sqs")
    lane.done()
    assert servers.query("select * from coco.lid_cycle") == before
    assert published(servers) == ALL
    assert len(history(servers)) == 2
    assert lane.metrics()["coco_messages_duplicate_total"] == 4


@pytest.mark.parametrize("how", ["one transaction", "a later one"])
def test_a_close_before_its_open(servers, drive, how):
    lane = drive(linger=300, shards=1)
    ts = now() - 1000
    if how == "one transaction":
        send(lane, ("LID_CLOSED", ts + 9), ("LID_OPENED", ts))
    else:
        send(lane, ("LID_CLOSED", ts + 9))
        assert cycles(servers) == [] and published(servers) == []
        assert task_count(servers, "LID") == 1
        send(lane, ("LID_OPENED", ts))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", None, None, "OTHER", ts,
                                ts + 9, None)]
    assert published(servers) == ALL
    assert anomalies(servers) == []
    assert task_count(servers, "LID") == 0


def test_a_close_that_waits_in_vain(servers, drive):
    lane = drive(lid_window=150)
    ts = now() - 60000                  # it comes late: it waits all the same
    send(lane, ("LID_CLOSED", ts))
    assert cycles(servers) == []
    wait_due(servers, lane)
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", None, None, "OTHER",
                                None, ts, "CLOSE_WITHOUT_OPEN")]
    assert outbox(servers) == [("Robots.LidClose", None, "OTHER", None),
                               ("LidCycle.Complete", None, "OTHER", None)]
    assert anomalies(servers) == ["CLOSE_WITHOUT_OPEN"]
    assert task_count(servers, "LID") == 0
    which, = servers.query("select id from coco.lid_cycle")[0]

    # its open joins the record, and publishes nothing again
    send(lane, ("PIN_ENTRY_LID_OPEN", ts - 5, {"lid_opened": True}))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", "MAGIC_LID", None,
                                "OTHER", ts - 5, ts, None)]
    assert servers.query("select id from coco.lid_cycle") == [(which,)]
    assert published(servers) == ALL[1:]


def test_an_open_without_a_close_expires(servers, drive):
    lane = drive(lid_window=50, lid_cycle=300)
    ts = now()
    send(lane, ("LID_OPENED", ts))
    wait_due(servers, lane)
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", None, None, "OTHER", ts,
                                None, "NEVER_CLOSED")]
    assert published(servers) == ["Robots.LidOpen"]
    assert anomalies(servers) == ["NEVER_CLOSED"]
    assert robot(servers)[0] is None
    assert task_count(servers, "LID") == 0

    # its close was on its way: late, not missing
    send(lane, ("LID_CLOSED", ts + 250))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", None, None, "OTHER", ts,
                                ts + 250, None)]
    assert published(servers) == ALL
    assert robot(servers) == (False, ts + 250, False)


def test_a_task_that_waits_is_not_lost_behind_something_newer(servers, drive):
    """A close that lies further back than a look reaches still has its wait
    to end, though newer events have come meanwhile."""
    lane = drive(lid_window=400, lid_cycle=1000)
    ts = now() - 60000
    send(lane, ("LID_CLOSED", ts))
    send(lane, ("LID_OPENED", now()), ("LID_CLOSED", now() + 1))
    assert servers.query("select (data->>'from')::bigint from coco.robot_task"
                         " where kind = 'LID'") == [(ts,)]
    wait_due(servers, lane)
    assert [c[4:] for c in cycles(servers)][0] == (None, ts,
                                                   "CLOSE_WITHOUT_OPEN")
    assert len(cycles(servers)) == 2


# --- what heartbeats have seen ----------------------------------------------

YEAR = 365 * 24 * 3600 * 1000


def test_what_is_long_past_leaves_the_rest_alone(servers, lane):
    """Nothing is read but its own days: what stands in between, known by no
    cycle yet, would become some; the present's task and place stay."""
    t = now()
    send(lane, ("LID_OPENED", t - 5000))
    between = [t - YEAR // 2, t - 3 * YEAR]
    for at in between:
        servers.query(
            "insert into coco.lid_cycle_event_history (id, serial, type, ts,"
            " received_at) values (gen_random_uuid(), 'r-1', 'LID_OPENED',"
            " coco.from_ms(%s), now())", at)
    place, tasks = robot(servers), servers.query("table coco.robot_task")

    send(lane, ("PIN_ENTRY_LID_OPEN", t - YEAR, {"lid_opened": True}),
         ("LID_CLOSED", t - YEAR + 9000))

    assert [(c[0], c[4], c[5]) for c in cycles(servers)] == [
        ("LID_CYCLE_COMPLETE", t - YEAR, t - YEAR + 9000),
        ("LID_CYCLE_INIT", t - 5000, None)]
    assert robot(servers) == place
    assert servers.query("table coco.robot_task") == tasks

    send(lane, ("LID_CLOSED", t))
    assert [(c[4], c[5]) for c in cycles(servers)] == [
        (t - YEAR, t - YEAR + 9000), (t - 5000, t)]
    assert task_count(servers, "LID") == 0


def test_a_robot_whose_clock_is_far_behind(servers, lane):
    """Its events follow one another there, and answer today's requests."""
    t = now() - 9 * YEAR
    which = request(servers)
    send(lane, ("LID_OPENED", t, {"commandId": which}))
    assert command(servers, which) == ("OPENED", None, True, True)

    send(lane, ("LID_CLOSED", t + 20000))
    assert cycles(servers) == [("LID_CYCLE_COMPLETE", "QR", DELIVERY, "OTHER",
                                t, t + 20000, None)]
    assert published(servers)[-2:] == ["Robots.LidClose", "LidCycle.Complete"]
    assert servers.query("select is_open, coco.to_ms(changed_at)"
                         " from coco.lid_robot") == [(False, t + 20000)]

    send(lane, ("LID_OPENED", t + 60000), ("LID_CLOSED", t + 70000))
    assert [c[1:3] for c in cycles(servers)] == [("QR", DELIVERY),
                                                 (None, None)]


@pytest.mark.parametrize("joins", [True, False])
def test_a_close_long_past_waits_too(servers, drive, joins):
    """Two days wait at once, each in a task of its own."""
    lane = drive(lid_window=700)
    t = now()
    for ago in (YEAR, 3 * YEAR):
        send(lane, ("LID_CLOSED", t - ago))
    assert cycles(servers) == [] and task_count(servers, "LID") == 2

    if joins:
        for ago in (YEAR, 3 * YEAR):
            send(lane, ("PIN_ENTRY_LID_OPEN", t - ago - 5000,
                        {"lid_opened": True}))
        assert len(cycles(servers)) == 2

    until(lambda: servers.query("select 1 from coco.robot_task"
                                " having min(due_at) <= now()"
                                " and max(due_at) <= now()"))
    due(servers, lane)
    assert task_count(servers, "LID") == 0
    assert [c[6] for c in cycles(servers)] == [
        None if joins else "CLOSE_WITHOUT_OPEN"] * 2
    assert published(servers).count("Robots.LidClose") == 2


def see(servers, lane, *seen, serial="r-1"):
    """Tasks as heartbeats insert them: (open, ts)."""
    for is_open, ts in seen:
        servers.query(
            "select coco.robot_task_put(gen_random_uuid(), %s, 'SEEN', now(),"
            " jsonb_build_object('id', gen_random_uuid(), 'open', %s,"
            " 'ts', %s))", serial, is_open, ts)
    due(servers, lane)


def test_two_heartbeats_in_a_row_resync(servers, lane):
    ts = now() - 60000
    see(servers, lane, (True, ts))
    assert cycles(servers) == [] and robot(servers) == (False, None, True)
    see(servers, lane, (True, ts + 1000))
    assert cycles(servers) == [("LID_CYCLE_INIT", "RESYNC", None, "OTHER", ts,
                                None, None)]
    assert anomalies(servers) == ["RESYNC"]
    assert robot(servers) == (True, ts, False)
    assert servers.query("select type, source, coco.to_ms(ts) from"
                         " coco.lid_cycle_event_history") == [
                             ("LID_OPENED", "RESYNC", ts)]
    assert published(servers) == ["Robots.LidOpen"]

    # the first one later than the movement counts
    see(servers, lane, (False, ts), (False, ts + 1), (False, ts + 1000))
    assert cycles(servers)[0][:3] == ("LID_CYCLE_COMPLETE", "RESYNC", None)
    assert cycles(servers)[0][4:] == (ts, ts + 1, None)
    assert anomalies(servers) == ["RESYNC", "RESYNC"]
    assert published(servers) == ALL
    assert servers.query("select bool_and(cycle_id = (select id from"
                         " coco.lid_cycle)) from coco.anomaly") == [(True,)]


def test_a_heartbeat_that_agrees_clears_the_suspicion(servers, lane):
    ts = now() - 60000
    see(servers, lane, (True, ts), (False, ts + 1000), (True, ts + 2000))
    assert cycles(servers) == [] and robot(servers) == (False, None, True)
    assert anomalies(servers) == []


def test_what_was_seen_before_the_movement_was_told(servers, drive):
    """The events are on their way: in the same batch, or after a suspicion."""
    lane = drive(linger=300, shards=1)
    ts = now() - 60000
    see(servers, lane, (True, ts + 500))
    assert robot(servers) == (False, None, True)
    send(lane, ("LID_OPENED", ts))
    assert robot(servers) == (True, ts, False)
    see(servers, lane, (False, ts - 1), (False, ts), (True, ts + 1500))
    assert robot(servers) == (True, ts, False)
    see(servers, lane, (False, ts + 1800))
    assert robot(servers) == (True, ts, True)
    assert anomalies(servers) == []


def test_a_real_event_takes_over_from_a_resync(servers, lane):
    ts = now() - 60000
    see(servers, lane, (True, ts), (True, ts + 1000))
    send(lane, ("PIN_ENTRY_LID_OPEN", ts - 500, {"lid_opened": True}),
         ("PIN_ENTRY_LID_CLOSE", ts + 3000))
    assert cycles(servers)[0][:3] == ("LID_CYCLE_COMPLETE", "MAGIC_LID", None)
    assert cycles(servers)[0][4:] == (ts - 500, ts + 3000, None)
    assert len(cycles(servers)) == 1 and published(servers) == ALL


def test_heartbeats_and_what_they_notice(servers, lane):
    """From the telemetry of a robot to the record of its lid."""
    ts = now() - 60000
    for at, is_open in ((0, False), (1000, True), (2000, True), (9000, False),
                        (9500, True), (10000, False), (11000, False)):
        lane.push("r-1", json.dumps(
            {"ts": ts + at, "battery": {"percent": 50}, "lid":
             {"open": is_open}, "location": {"latitude": 1, "longitude": 1}}))
        lane.done()
        due(servers, lane)
    assert [c[4:6] for c in cycles(servers)] == [(ts + 1000, ts + 10000)]
    assert published(servers) == ALL
    assert anomalies(servers) == ["RESYNC", "RESYNC"]


# --- commands that expire ---------------------------------------------------

def test_a_silent_robot(servers, lane):
    listener = servers.redis().pubsub()
    listener.subscribe("coco.replies.x")
    which = request(servers, timeout=200, channel="coco.replies.x")
    wait_due(servers, lane, "EXPIRY")
    assert command(servers, which) == ("EXPIRED", None, False, False)
    assert until(lambda: listener.get_message(
        ignore_subscribe_messages=True))["data"] == which
    assert history(servers) == ["LID_OPEN_REQUEST", "LID_OPEN_TIMEOUT"]
    assert servers.query(
        "select h.ts = c.expires_at from coco.lid_cycle_event_history h,"
        " coco.robot_command c where type = 'LID_OPEN_TIMEOUT'") == [(True,)]
    assert task_count(servers, "EXPIRY") == 0 and cycles(servers) == []

    send(lane, ("LID_OPENED", now(), {"commandId": which}))
    assert command(servers, which)[0] == "OPENED"
    assert cycles(servers)[0][:3] == ("LID_CYCLE_INIT", "QR", DELIVERY)


def test_the_time_is_over_once_nobody_waits(servers, lane):
    """Not when the command is: what comes in between is told."""
    listener = servers.redis().pubsub()
    listener.subscribe("coco.replies.x")
    which = request(servers, timeout=60000, channel="coco.replies.x")
    (issued, expires, over), = servers.query(
        "select coco.to_ms(issued_at), coco.to_ms(expires_at),"
        " coco.to_ms(due_at) from coco.robot_command, coco.robot_task"
        " where kind = 'EXPIRY'")
    assert (expires - issued, over - issued) == (59000, 60000)
    servers.query("update coco.robot_command set expires_at = now(),"
                  " issued_at = issued_at - interval '1 min'")
    assert due(servers, lane) == 0
    send(lane, ("LID_OPENED", now(), {"commandId": which}))
    assert command(servers, which)[0] == "OPENED"
    assert "LID_OPEN_TIMEOUT" not in history(servers)
    assert until(lambda: listener.get_message(
        ignore_subscribe_messages=True))["data"] == which


def test_an_open_in_the_batch_of_the_expiry(servers, drive):
    lane = drive(linger=300, shards=1)
    which = request(servers, timeout=100)
    until(lambda: servers.query("select 1 from coco.robot_task"
                                " where due_at <= now()"))
    lane.push("r-1", event("LID_OPENED", now(), commandId=which), kind="e")
    due(servers, lane)
    assert command(servers, which)[0] == "OPENED"
    assert history(servers) == ["LID_OPEN_REQUEST", "LID_OPENED"]


def test_the_expiry_of_an_opened_command(servers, lane):
    """It is gone with the answer; one on its way changes nothing."""
    which = request(servers)
    (row, data), = servers.query("select id, data::text from coco.robot_task"
                                 " where kind = 'EXPIRY'")
    send(lane, ("LID_OPENED", now(), {"commandId": which}))
    assert task_count(servers, "EXPIRY") == 0
    lane.push("r-1", data, kind="k", source="task", topic="EXPIRY/r-1",
              inbox=row)
    lane.done()
    assert command(servers, which)[0] == "OPENED"
    assert "LID_OPEN_TIMEOUT" not in history(servers)
    assert task_count(servers, "EXPIRY") == 0


def test_tasks_that_make_no_sense_are_set_aside(servers, lane):
    for kind, data in (("LID", "{}"), ("SEEN", '{"id":1}'), ("EXPIRY", "{}"),
                       ("ARRIVAL", "{}"), ("NAP", "{}")):
        servers.query("select coco.robot_task_put(gen_random_uuid(), 'r-1',"
                      " %s, now(), %s)", kind, data)
    rows = servers.query("select id, kind, data::text from coco.robot_task")
    for row, kind, data in rows:
        lane.push("r-1", data, kind="k", source="task", topic=kind, inbox=row)
    lane.done()
    assert servers.query("select 1 from coco.robot_task") == []
    assert sorted(servers.query("select topic, source from coco.dead_letter")
                  ) == [(kind, "task") for kind in
                        ("ARRIVAL", "EXPIRY", "LID", "NAP", "SEEN")]


# --- several at once --------------------------------------------------------

def test_poison_among_two_robots(servers, drive):
    """What Postgres refuses of one event is that event's: those around it,
    of both robots, are applied once."""
    lane = drive(linger=500, shards=1)
    servers.query("alter table coco.lid_cycle_event_history add constraint"
                  " poison check (event_id is null)")
    try:
        ts = now() - 5000
        kinds = itertools.cycle(["LID_OPENED", "LID_CLOSED"])
        for i in range(24):
            kind = next(kinds)
            for serial in ("r-1", "r-2"):
                lane.push(serial, event(kind, ts + i * 10), kind="e")
            if i % 8 == 3:
                lane.push("r-1", event("LID_OPENED", ts + i * 10 + 3,
                                       id="e-%d" % i), kind="e")
        lane.done()
    finally:
        servers.query("alter table coco.lid_cycle_event_history"
                      " drop constraint poison")
    for serial in ("r-1", "r-2"):
        assert published(servers, serial) == ALL * 12
        assert [c[4:6] for c in cycles(servers, serial)] == [
            (ts + i * 20, ts + i * 20 + 10) for i in range(12)]
    assert servers.query("select count(*) from coco.dead_letter")[0][0] == 3
    assert anomalies(servers) == []

    # replayed, they are events like others: an open before the one of its cycle
    servers.query("update coco.dead_letter set replayed_at = now()")
    lane.process.stdin.write("janitor\n")
    until(lambda: servers.query("select count(*) from coco.dead_letter"
                                " where replay_outcome = 'APPLIED'") == [(3,)])
    assert [c[4] for c in cycles(servers, "r-1")] == [
        ts + i * 20 - (7 if i in (2, 6, 10) else 0) for i in range(12)]
    assert published(servers, "r-1") == ALL * 12


class Story:
    """What happens to the lids of some robots, all of it in the past, and in
    an order of arrival that is shuffled, doubled, cut and late."""

    def __init__(self, seed, robots=3, rounds=6):
        self.random = random.Random(seed)
        self.serials = ["r-%d" % i for i in range(robots)]
        self.start = now() - 600000
        self.requests = []
        self.events = []
        for serial in self.serials:
            at = self.start
            for i in range(rounds):
                at = self.one(serial, i, at + self.random.randint(5000, 9000))

    def one(self, serial, i, at):
        """One opening, as it may go; when it was over."""
        r, more = self.random, {}
        how = r.choice(["qr", "qr", "magic", "manual", "jam", "forgotten open"])
        if how in ("qr", "jam"):
            which = str(uuid.UUID(int=r.getrandbits(128)))
            self.requests.append((which, serial, "load-%s-%d" % (serial, i),
                                  at - 100))
            more["commandId"] = which
        if how == "jam":
            self.put(serial, "LID_OPEN_FAILED", at, reason="jammed", **more)
            return at
        if how == "magic":
            self.put(serial, "PIN_ENTRY_LID_OPEN", at, lid_opened=True)
            self.put(serial, "PIN_ENTRY_LID_CLOSE", at + 2500)
        else:
            if how != "forgotten open":
                self.put(serial, "LID_OPENED", at, **more)
            self.put(serial, "LID_CLOSED", at + 2500)
            if r.random() < 0.3:
                self.put(serial, "PIN_ENTRY_LID_CLOSE", at + 2600)
        return at + 2700

    def put(self, serial, kind, ts, **more):
        self.events.append((serial, event(kind, ts, **more), ts))

    def arrivals(self):
        """Parts of the events, some of them twice."""
        events = self.events + self.random.sample(self.events,
                                                  len(self.events) // 3)
        self.random.shuffle(events)
        while events:
            count = self.random.randint(1, 8)
            yield events[:count]
            events = events[count:]

    def prepare(self, servers):
        for which, serial, reference, at in self.requests:
            servers.query(
                "with c as (insert into coco.robot_command (id, serial,"
                " command, source, reference_id, issued_at, expires_at,"
                " next_send_at) values (%s, %s, 'OPEN_LID', 'QR', %s,"
                " coco.from_ms(%s), coco.from_ms(%s), now()))"
                " insert into coco.lid_cycle_event_history (id, serial, type,"
                " ts, received_at, command_id, source, reference_id)"
                " values (gen_random_uuid(), %s, 'LID_OPEN_REQUEST',"
                " coco.from_ms(%s), coco.from_ms(%s), %s, 'QR', %s)", which,
                serial, reference, at, at + 2000, serial, at, at, which,
                reference)

    def records(self, servers):
        """Not Robots.LidOpen: a close that waited too long for its open was
        told without it, and an opening that its own close has parted from a
        later one was told with both."""
        return [cycles(servers, serial) for serial in self.serials] + [
            sorted(name for name in published(servers, serial)
                   if name != "Robots.LidOpen") for serial in self.serials
        ] + servers.query("select reference_id, outcome, reason from"
                          " coco.robot_command order by 1")


def clear(servers):
    servers.query("truncate coco.lid_cycle, coco.lid_robot, coco.robot_task,"
                  " coco.lid_cycle_event_history, coco.robot_command,"
                  " coco.anomaly, coco.outbox")


def settle(servers, lane):
    """Until nothing is due any more."""
    while True:
        due(servers, lane)
        if not servers.query("select 1 from coco.robot_task"
                             " where due_at < now() + interval '10 s'"):
            return
        time.sleep(0.02)


def check_published(servers, serials):
    """Each event once, a close and its completion together, and never without
    a record that is closed."""
    for serial in serials:
        rows = servers.query("select name, payload->'data'->>'cycleId' from"
                             " coco.outbox where serial = %s", serial)
        assert len(rows) == len(set(rows))
        closed = {c for name, c in rows if name == "Robots.LidClose"}
        assert closed == {c for name, c in rows
                          if name == "LidCycle.Complete"}
        assert closed == {c for c, in servers.query(
            "select id::text from coco.lid_cycle where serial = %s"
            " and closed_at is not null", serial)}


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_arrival_does_not_matter(servers, drive, seed):
    """Scrambled over the database against in order: the same records."""
    lane = drive(lid_window=1000)
    story = Story(seed)
    story.prepare(servers)
    for serial, payload, _ in sorted(story.events, key=lambda e: e[2]):
        lane.push(serial, payload, kind="e")
    lane.done()
    settle(servers, lane)
    expected = story.records(servers)
    check_published(servers, story.serials)

    clear(servers)
    story.prepare(servers)
    parts = list(story.arrivals())
    for part in parts:
        for serial, payload, _ in part:
            lane.push(serial, payload, kind="e")
        lane.done()
        due(servers, lane)
    settle(servers, lane)
    found = story.records(servers)
    check_published(servers, story.serials)

    assert found == expected
    print("seed %d: %d events in %d parts, %d cycles" % (
        seed, len(story.events), len(parts),
        sum(len(cycles(servers, serial)) for serial in story.serials)))


def test_killed_at_any_time(servers, drive):
    """What was not told as done comes again: the same records, each event
    published once."""
    story = Story(7, robots=6)
    story.prepare(servers)
    events = sorted(story.events, key=lambda e: e[2])
    lane = drive(lid_window=1000)
    for serial, payload, _ in events:
        lane.push(serial, payload, kind="e")
    lane.done()
    settle(servers, lane)
    expected = story.records(servers)

    clear(servers)
    story.prepare(servers)
    for stop in range(8):
        lane = drive(lid_window=1000, batch=5, linger=1)
        for serial, payload, _ in events:
            lane.push(serial, payload, kind="e")
        until(lambda: servers.query(
            "select count(*) >= %s from coco.lid_cycle_event_history"
            " where source is null", len(events) * stop // 8)[0][0])
        lane.kill()
    lane = drive(lid_window=1000)
    for serial, payload, _ in events:
        lane.push(serial, payload, kind="e")
    lane.done()
    settle(servers, lane)
    assert story.records(servers) == expected
    check_published(servers, story.serials)


def test_two_writers_of_the_same_robots(servers, drive):
    """Both get all of it, in orders of their own: no deadlock, each once."""
    story = Story(99, robots=12, rounds=8)
    story.prepare(servers)
    lanes = [drive(lid_window=1000, shards=2, batch=20) for _ in range(2)]
    shuffled = [random.Random(i).sample(story.events, len(story.events))
                for i in range(2)]

    def feed(lane, events):
        for serial, payload, _ in events:
            lane.push(serial, payload, kind="e")
        lane.done()

    threads = [threading.Thread(target=feed, args=pair)
               for pair in zip(lanes, shuffled)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(servers, lanes[0])
    found = story.records(servers)
    check_published(servers, story.serials)
    logs = "".join(lane.logged() for lane in lanes)
    assert "deadlock" not in logs and "batch_retry" not in logs
    assert sum(lane.metrics()["coco_messages_duplicate_total"]
               for lane in lanes) == len(story.events)

    clear(servers)
    story.prepare(servers)
    feed(lanes[0], sorted(story.events, key=lambda e: e[2]))
    settle(servers, lanes[0])
    assert found == story.records(servers)
