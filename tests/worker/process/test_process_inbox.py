"""Webhooks from their rows to what they change: at once, each once, also when
another worker was reading, or a mapping comes later."""

import json
import statistics
import time
import uuid

import psycopg2
import pytest
import redis
import requests

from stack import wait_for


@pytest.fixture
def database(stack):
    database = Database(stack.postgres)
    # a worker that starts applies the last ones again
    database.rows("delete from coco.webhook_inbox")
    yield database
    database.connection.close()


class Database:
    def __init__(self, url):
        self.url = url
        self.connect()

    def connect(self):
        self.connection = psycopg2.connect(self.url)
        self.connection.autocommit = True

    def rows(self, query, *arguments):
        with self.connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall() if cursor.description else None

    def store(self, *payloads):
        """As nginx does; the ids of the rows."""
        webhooks = [{"id": str(uuid.uuid4()), "provider": "driveu",
                     "eventId": "e", "receivedAt": int(time.time() * 1000),
                     "payload": payload} for payload in payloads]
        self.rows("select coco.webhook_store(%s)", json.dumps(webhooks))
        return [webhook["id"] for webhook in webhooks]

    def inbox(self, row):
        """(outcome, waiting_for)"""
        return self.rows("select outcome, waiting_for from coco.webhook_inbox"
                         " where id = %s", row)[0]

    def await_outcome(self, row, outcome="APPLIED", seconds=30):
        wait_for(lambda: self.inbox(row)[0] == outcome, seconds,
                 "%s of webhook %s" % (outcome, row))

    def statuses(self, serial):
        return dict(self.rows("select unit, status from coco.driveu_status"
                              " where serial = %s", serial))


def webhook(**members):
    return dict({"eventName": "status", "unit": "streamer",
                 "status": "online", "uuid": "u-1",
                 "time": int(time.time() * 1_000_000)}, **members)


def test_what_a_killed_worker_owed_redis(stack, worker, database):
    """It may have been killed between the commit and Redis."""
    one, key = worker(stack.port).start(), "driveu.status.owed-1"
    row, = database.store(webhook(vin="owed-1"))

    with redis.Redis.from_url(stack.redis_url) as copies:
        wait_for(lambda: copies.get(key), 30, "the copy")
        one.kill()
        copies.delete(key)
        worker(stack.port).start()
        wait_for(lambda: copies.get(key), 30, "the copy that was owed")

    database.await_outcome(row)
    assert database.rows("select count(*) from coco.outbox"
                         " where serial = 'owed-1'") == [(1,)]


def test_seen_at_once(stack, worker, database, capsys):
    """Also a second time, after the worker has slept on the notification."""
    one = worker(stack.port, webhooks={"poll": "1m"}).start()
    took = []

    for number in range(30):
        status = "online" if number % 2 else "offline"
        begun = time.monotonic()
        database.store(webhook(vin="fast-1", status=status))
        wait_for(lambda: database.statuses("fast-1") == {"streamer": status},
                 30, "status %d" % number, 0.001)
        took.append(time.monotonic() - begun)

    with capsys.disabled():
        print("\nwebhook to status: median %.1f ms, worst %.1f ms"
              % (statistics.median(took) * 1000, max(took) * 1000))
    # the next look without being told would be in a minute
    assert statistics.median(took) < 0.1 and max(took[1:]) < 5
    # a message is counted after the lane has it
    one.await_metric("coco_messages_received_total", 30, "webhooks")


def test_many_each_once(stack, worker, database):
    """More than may be in flight, stored before and while the worker reads;
    one event each, and no row read twice."""
    count, batch = 6000, 500
    before = [webhook(vin="many-%d" % (n % 50), uuid="m%d" % n)
              for n in range(count)]
    for first in range(0, count // 2, batch):
        database.store(*before[first:first + batch])
    one = worker(stack.port).start()
    for first in range(count // 2, count, batch):
        database.store(*before[first:first + batch])
    wait_for(lambda: database.rows(
        "select count(*) from coco.webhook_inbox where done_at is null"
        " and waiting_for is null") == [(0,)], 60, "an empty inbox")
    assert database.rows(
        "select count(*), count(distinct id) from coco.outbox"
        " where serial like 'many-%%'"
        " and name = 'ConnectivityRawStatusChanged'") == [(count, count)]
    for name in ("committed", "received"):
        one.await_metric("coco_messages_%s_total" % name, count, "webhooks")


def test_mapping_comes_later(stack, worker, database):
    one = worker(stack.port).start()
    row, = database.store(webhook(uuid="late-uuid"))
    wait_for(lambda: database.inbox(row) == (None, "late-uuid"), 30,
             "a webhook that waits")
    one.await_metric("coco_webhooks_waiting", 1, "webhooks")
    assert requests.get(one.url + "/healthz").json()["inbox"] == {
        "alive": True, "waiting": 1}

    database.rows("insert into coco.external_robot_mapping values"
                  " ('driveu', 'late-uuid', 'late-1')")
    database.await_outcome(row)
    assert database.statuses("late-1") == {"streamer": "online"}
    # by the mapping's trigger, not by the look for what that has missed
    assert "inbox_released" not in one.log()
    one.await_metric("coco_webhooks_waiting", 0, "webhooks")


def test_mapping_missed_by_its_trigger(stack, worker, database):
    """waiting_for was committed after the mapping: nobody else wakes it."""
    one = worker(stack.port).start()
    database.rows("insert into coco.external_robot_mapping values"
                  " ('driveu', 'raced', 'raced-1')")
    row, = database.store(webhook(uuid="other"))
    wait_for(lambda: database.inbox(row)[1] == "other", 30, "it waits")
    database.rows("update coco.webhook_inbox set waiting_for = 'raced',"
                  " payload = payload || '{\"uuid\":\"raced\"}' where id = %s",
                  row)
    database.await_outcome(row)
    assert database.statuses("raced-1") == {"streamer": "online"}
    assert "inbox_released" in one.log()


def test_one_reads_another_takes_over(stack, worker, database, block):
    first = worker(stack.port).start()
    wait_for(lambda: "inbox_reading" in first.log(), 30, "the first")
    second = worker(stack.port, http={"port": block + 6},
                    mqtt={"client_id": "second"},
                    webhooks={"poll": "100ms"}).start()
    database.await_outcome(*database.store(webhook(vin="over-1")))
    assert "inbox_reading" not in second.log()

    first.kill()
    row, = database.store(webhook(vin="over-1", status="offline"))
    database.await_outcome(row)
    assert "inbox_reading" in second.log()
    assert database.statuses("over-1") == {"streamer": "offline"}
    first.start()


def test_postgres_restarts(stack, worker, database):
    """While the worker sleeps on the notification."""
    one = worker(stack.port, webhooks={"poll": "1m"}).start()
    database.await_outcome(*database.store(webhook(vin="back-1")))
    stack.kill("postgres")
    wait_for(lambda: "postgres_unavailable" in one.log(), 30, "the loss")
    stack.restart("postgres")
    database.connect()
    wait_for(lambda: one.log().count("inbox_reading") == 2, 30, "the return")
    row, = database.store(webhook(vin="back-1", status="offline"))
    # told of it: the next look would be in a minute
    database.await_outcome(row)
    assert database.statuses("back-1") == {"streamer": "offline"}


def test_refused_and_replayed(stack, worker, database):
    """What is refused ends the row, is kept, and goes another time once it
    can; others' letters are let alone."""
    worker(stack.port).start()
    good = webhook(vin="again-1")
    row, = database.store(dict(good, unit="wheel"))
    database.await_outcome(row, "REFUSED")
    letter, = database.rows(
        "select id, source, topic, convert_from(payload, 'UTF8')::jsonb"
        " from coco.dead_letter where source = 'webhook'")
    assert letter[1:] == ("webhook", "webhook/driveu",
                          dict(good, unit="wheel"))
    database.rows("update coco.dead_letter set payload = %s,"
                  " replayed_at = now() where id = %s",
                  json.dumps(good).encode(), letter[0])
    database.rows(
        "insert into coco.dead_letter (id, source, service, topic, reason,"
        " payload, received_at, replayed_at) values (gen_random_uuid(),"
        " 'webhook', 'decoder', 'webhook/other', 'r', %s, now(), now())",
        json.dumps(good).encode())
    wait_for(lambda: database.statuses("again-1") == {"streamer": "online"},
             30, "the replay")
    wait_for(lambda: database.rows(
        "select replay_outcome from coco.dead_letter where id = %s",
        letter[0]) == [("APPLIED",)], 30, "its outcome")
    assert database.rows("select replay_outcome from coco.dead_letter"
                         " where topic = 'webhook/other'") == [(None,)]


@pytest.mark.parametrize("topic, payload, serial", [
    ("sqs/events", {"serial": "letter-1"}, "letter-1"),
    ("sqs/state", {"topic": "robot/letter-2/status"}, "letter-2"),
    ("sqs/state", {"Type": "Notification", "Message": {
        "serial": "letter-3"}}, "letter-3"),
    ("robot/letter-4/status", {}, "letter-4")])
def test_letters_of_heartbeats(stack, worker, database, topic, payload,
                               serial):
    beat = {"ts": int(time.time() * 1000), "battery": {"percent": 50},
            "location": {"latitude": 1, "longitude": 2}}
    if "Message" in payload:
        payload = dict(payload, Message=json.dumps(dict(
            beat, **payload["Message"])))
    else:
        payload = dict(beat, **payload)
    worker(stack.port).start()
    database.rows(
        "insert into coco.dead_letter (id, source, service, topic, reason,"
        " payload, received_at, replayed_at) values (gen_random_uuid(), %s,"
        " 'decoder', %s, 'r', %s, now(), now())",
        "sqs" if topic.startswith("sqs") else "mqtt", topic,
        json.dumps(payload).encode())
    wait_for(lambda: database.rows(
        "select count(*) from coco.state_history where serial = %s",
        serial) == [(1,)], 30, "the heartbeat of " + serial)
