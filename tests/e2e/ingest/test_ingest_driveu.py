"""DriveU's webhooks, from their answer to what is read over HTTP."""

import json
import time

import pytest
from harness import await_for, connectivity, new_serial, now_ms

AT_ONCE = 1.0           # s from the answer until it is shown
PROBLEM = "application/problem+json"


@pytest.fixture
def serial(system):
    """A robot that is there."""
    serial = new_serial("driveu")
    system.beat(serial, now_ms(), "PARKED")
    return serial


def shown(system, serial, **units):
    """Do both endpoints tell these statuses, and what follows from them?"""
    robot = system.get("/robots/" + serial)["connectivity"]
    state = system.get("/state/" + serial)
    expected = units["streamer"] in ("online", "connectedToNode") and not \
        "offline" in (units.get("node"), units.get("relay"))
    for part in (robot, state):
        told = {unit: doc["status"] for unit, doc in
                (part["driveu"] or {}).items()}
        if told != units or part["remotelyControllable"] is not expected:
            return False
    return True


def statuses(system, serial):
    return dict(system.sql("select unit, status from coco.driveu_status"
                           " where serial = %s", serial))


def inbox(system, id):
    return system.sql("select provider, waiting_for, done_at is not null,"
                      " outcome from coco.webhook_inbox where id = %s", id)


def events(system, serial):
    return [row[0] for row in system.sql(
        "select payload from coco.outbox where serial = %s"
        " and name = 'ConnectivityRawStatusChanged' order by seq", serial)]


def post(system, body, **headers):
    """The answer, whatever it is."""
    return system.http.post(
        system.url + "/driveu/webhook", timeout=15, data=body, headers={
            "X-DriveU-Token": system.driveu_secret,
            "Content-Type": "application/json", **headers})


def test_status_is_shown_within_a_second(system, serial):
    for units in ({"streamer": "online"},
                  {"streamer": "online", "node": "offline"},
                  {"streamer": "online", "node": "online"},
                  {"streamer": "connectedToNode", "node": "online",
                   "relay": "online"},
                  {"streamer": "offline", "node": "online",
                   "relay": "online"}):
        known = statuses(system, serial)
        for unit, status in units.items():
            if known.get(unit) != status:
                system.webhook(connectivity(serial, unit, status))
        began = time.monotonic()
        await_for("%s shown" % units, lambda: shown(system, serial, **units))
        assert time.monotonic() - began < AT_ONCE


def test_later_heartbeats_carry_it(system, serial):
    at = now_ms()
    system.webhook(connectivity(serial, at=at))
    await_for("stored", lambda: statuses(system, serial))
    system.beat(serial, now_ms() + 1, "ON_TRIP")
    details = system.get("/state/" + serial)["details"]
    assert details["remotelyControllable"] is True
    assert details["driveu"] == {"streamer": {
        "status": "online", "ts": at, "uuid": "u-" + serial}}
    await_for("the copy", lambda: json.loads(
        system.redis.get("driveu.status." + serial) or "{}").get(
            "streamer", {}).get("status") == "online")


def test_event_of_a_webhook(system, serial):
    at = now_ms()
    body = connectivity(serial, "relay", "degraded", at=at)
    id = system.webhook(body)["id"]
    await_for("done", lambda: inbox(system, id) == [
        ("driveu", None, True, "APPLIED")])
    event, = events(system, serial)
    assert (event["name"], event["serial"], event["ts"]) == (
        "ConnectivityRawStatusChanged", serial, at)
    assert event["data"] == {"unit": "relay", "status": "degraded",
                             "uuid": body["uuid"], "vin": serial, "ts": at}


def test_replayed(system, serial):
    """The same once more, by webhook and by queue: 202, and nothing new."""
    body = connectivity(serial)
    ids = {system.webhook(body)["id"] for _ in range(3)}
    assert len(ids) == 1
    await_for("done", lambda: inbox(system, *ids)[0][3] == "APPLIED")
    ids |= {system.webhook(body)["id"]}
    queues = system.queues
    queues.send(queues.connectivity, body, body)
    await_for("the queue is empty",
              lambda: queues.left(queues.connectivity) == 0)
    assert len(ids) == 1
    assert len(inbox(system, *ids)) == 1
    assert len(events(system, serial)) == 1


@pytest.mark.parametrize("way", ["webhook", "queue"])
def test_older_after_newer(system, serial, way):
    at = now_ms()
    send = system.webhook if way == "webhook" else (
        lambda body: system.queues.send(system.queues.connectivity, body))
    system.webhook(connectivity(serial, status="online", at=at))
    await_for("stored", lambda: statuses(system, serial))
    send(connectivity(serial, status="offline", at=at - 1000))
    await_for("it has its event", lambda: len(events(system, serial)) == 2)
    assert statuses(system, serial) == {"streamer": "online"}
    assert shown(system, serial, streamer="online")


def test_unknown_status_is_kept(system, serial):
    system.webhook(connectivity(serial, status="on fire"))
    await_for("shown", lambda: shown(system, serial, streamer="on fire"))


@pytest.mark.parametrize("way", ["webhook", "queue"])
def test_mapped_later(system, serial, way):
    """Kept until somebody says whose it is; then applied at once."""
    uuid = "vehicle-" + serial
    body = connectivity(None, uuid=uuid)
    if way == "webhook":
        system.webhook(body)
    else:
        system.queues.send(system.queues.connectivity, body)
    row = await_for("it waits", lambda: system.sql(
        "select id, done_at from coco.webhook_inbox where waiting_for = %s",
        uuid))
    assert len(row) == 1 and row[0][1] is None
    assert statuses(system, serial) == {}
    await_for("it is counted", lambda: system.metric(
        "coco_webhooks_waiting", "webhooks") >= 1)
    if way == "queue":
        await_for("the queue is empty", lambda: system.queues.left(
            system.queues.connectivity) == 0)

    system.sql("insert into coco.external_robot_mapping"
               " (provider, provider_vehicle_id, serial)"
               " values ('driveu', %s, %s)", uuid, serial)
    began = time.monotonic()
    await_for("shown", lambda: shown(system, serial, streamer="online"))
    assert time.monotonic() - began < AT_ONCE
    assert inbox(system, row[0][0]) == [("driveu", None, True, "APPLIED")]
    assert events(system, serial)[0]["data"]["vin"] is None


def test_vin_goes_before_the_mapping(system, serial):
    uuid = "other-" + serial
    system.sql("insert into coco.external_robot_mapping"
               " (provider, provider_vehicle_id, serial)"
               " values ('driveu', %s, 'someone-else')", uuid)
    system.webhook(connectivity(serial, uuid=uuid))
    await_for("stored", lambda: statuses(system, serial))
    assert statuses(system, "someone-else") == {}


def test_robot_that_was_never_heard_of(system):
    """A status may come before the first heartbeat, which then carries it."""
    serial = new_serial("early")
    system.webhook(connectivity(serial))
    await_for("stored", lambda: statuses(system, serial))
    system.beat(serial, now_ms())
    assert shown(system, serial, streamer="online")


# --- what is refused --------------------------------------------------------

def refusals(serial):
    """{name: (change of a good webhook, status, the field that is named)}"""
    now = now_ms()
    return {
        "time in milliseconds": ({"time": now}, 400, "time"),
        "time in seconds": ({"time": now // 1000}, 400, "time"),
        "time in nanoseconds": ({"time": now * 1000000}, 400, "time"),
        "time of next week": ({"time": (now + 8 * 86400000) * 1000}, 400,
                              "time"),
        "time as text": ({"time": "now"}, 400, "time"),
        "unknown unit": ({"unit": "antenna"}, 400, "unit"),
        "other event": ({"eventName": "alarm"}, 400, "eventName"),
        "no status": ({"status": None}, 400, "status"),
        "long status": ({"status": "x" * 65}, 400, "status"),
        "no uuid": ({"uuid": ""}, 400, "uuid"),
        "long uuid": ({"uuid": "x" * 129}, 400, "uuid"),
        "vin that is no serial": ({"vin": "a b"}, 400, "vin"),
        "vin as a number": ({"vin": 4711}, 400, "vin"),
    }


@pytest.mark.parametrize("name", refusals("x"))
def test_bad_field(system, serial, name):
    change, status, field = refusals(serial)[name]
    reply = post(system, json.dumps({**connectivity(serial), **change}))
    assert (reply.status_code, reply.headers["Content-Type"]) == (status,
                                                                  PROBLEM)
    assert field in [error["field"] for error in reply.json()["errors"]]
    nothing_stored(system, serial)


def test_all_bad_fields_are_named(system, serial):
    reply = post(system, json.dumps({"eventName": "x", "unit": "y",
                                     "vin": serial}))
    assert {error["field"] for error in reply.json()["errors"]} == {
        "eventName", "unit", "status", "uuid", "time"}
    nothing_stored(system, serial)


def nothing_stored(system, serial):
    """A good one follows, so that what was sent before would be there."""
    id = system.webhook(connectivity(serial, "node", "marker"))["id"]
    await_for("the marker", lambda: inbox(system, id)[0][3] == "APPLIED")
    assert statuses(system, serial) == {"node": "marker"}
    assert system.value("select count(*) from coco.webhook_inbox"
                        " where payload ->> 'vin' = %s", serial) == 1
    assert len(events(system, serial)) == 1


@pytest.mark.parametrize("secret", ["", "wrong", None])
def test_forged(system, serial, secret):
    headers = {} if secret is None else {"X-DriveU-Token": secret}
    for body in (json.dumps(connectivity(serial)), "{", ""):
        reply = system.http.post(
            system.url + "/driveu/webhook", data=body, timeout=15,
            headers={"Content-Type": "application/json", **headers})
        assert reply.status_code == 401
        assert system.driveu_secret not in reply.text
    nothing_stored(system, serial)


@pytest.mark.parametrize("name,body,headers,status", [
    ("text", "{}", {"Content-Type": "text/plain"}, 415),
    ("form", "a=b", {"Content-Type": "application/x-www-form-urlencoded"},
     415),
    ("empty", "", {}, 400),
    ("no JSON", "{", {}, 400),
    ("a list", "[]", {}, 400),
    ("twice the same member", '{"unit":"node","unit":"relay"}', {}, 400),
    ("huge", '{"status":"%s"}' % ("x" * 65536), {}, 413),
    ("not UTF-8", b'{"status":"\xff"}', {}, 400),
])
def test_bad_body(system, serial, name, body, headers, status):
    reply = post(system, body, **headers)
    assert (reply.status_code, reply.headers["Content-Type"]) == (status,
                                                                  PROBLEM)
    nothing_stored(system, serial)


def test_other_methods(system):
    reply = system.http.get(system.url + "/driveu/webhook", headers={
        "X-DriveU-Token": system.driveu_secret})
    assert reply.status_code == 405
    assert "POST" in reply.headers["Allow"]


def test_bad_one_from_the_queue_is_set_aside(system, serial):
    """Nobody can be told 400 there: a dead letter says it."""
    queues = system.queues
    before = system.metric("coco_dead_letters_total", "webhooks")
    queues.send(queues.connectivity,
                {**connectivity(serial), "time": now_ms()},
                "no JSON " + serial,
                {"Type": "Notification",
                 "Message": json.dumps(connectivity(serial, "node", "here"))})
    await_for("the good one", lambda: statuses(system, serial) == {
        "node": "here"})

    def letters():
        rows = system.sql(
            "select source, topic, field, reason from coco.dead_letter"
            " where strpos(convert_from(payload, 'UTF8'), %s) > 0", serial)
        return len(rows) == 2 and rows

    rows = await_for("both dead letters", letters)
    assert {row[:2] for row in rows} == {("sqs", "sqs/connectivity")}
    assert "time" in [row[2] for row in rows]
    assert all(row[3] for row in rows)
    await_for("they are counted", lambda: system.metric(
        "coco_dead_letters_total", "webhooks") >= before + 2)
    await_for("the queue is empty",
              lambda: queues.left(queues.connectivity) == 0)


# --- when something is away -------------------------------------------------

def test_no_answer_without_the_database(stack, system, serial):
    """503 and no row, or 202 and one: never between."""
    stack.kill("postgres")
    try:
        body = connectivity(serial)
        reply = post(system, json.dumps(body))
        assert reply.status_code == 503
        assert reply.headers["Content-Type"] == PROBLEM
        assert "Retry-After" in reply.headers
    finally:
        stack.restart("postgres")
    await_for("ready again", lambda: system.get("/readyz"))
    system.webhook(body)
    await_for("shown", lambda: shown(system, serial, streamer="online"))
    assert len(events(system, serial)) == 1


def test_worker_away(stack, system, serial):
    """Answered and kept; done when it is back."""
    stack.kill("worker")
    try:
        id = system.webhook(connectivity(serial))["id"]
        assert inbox(system, id) == [("driveu", None, False, None)]
    finally:
        stack.restart("worker")
    await_for("shown", lambda: shown(system, serial, streamer="online"))


def test_redis_away(stack, system, serial):
    """The database answers; statuses that follow fill the copy again, whole.
    (What is written while the worker still removes old copies may go, too.)
    """
    stack.kill("redis")
    try:
        system.webhook(connectivity(serial))
        await_for("stored", lambda: statuses(system, serial))
        assert system.get("/state/" + serial)["remotelyControllable"] is True
    finally:
        stack.restart("redis")

    def filled():
        system.webhook(connectivity(serial, "node"))
        return set(json.loads(system.redis.get("driveu.status." + serial)
                              or "{}")) == {"streamer", "node"}

    await_for("Redis has both", filled, every=0.2)
    assert shown(system, serial, streamer="online", node="online")
