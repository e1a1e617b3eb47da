"""The SQS source against the emulator, behind a proxy that verifies."""

import contextlib
import itertools
import json
import time

import psycopg2

import aws
from stack import wait_for

SERIALS = itertools.count()


def serial():
    return "sqs-%d-%d" % (time.time() * 1000 % 1e9, next(SERIALS))


def heartbeat(name, ts=None, **more):
    return dict({"serial": name, "ts": ts or int(time.time() * 1000),
                 "battery": {"percent": 50},
                 "location": {"latitude": 59.4, "longitude": 24.7}}, **more)


def event(name, **more):
    return dict({"serial": name, "type": "LID_OPENED",
                 "ts": int(time.time() * 1000)}, **more)


def rows(sql, name, table="state_history"):
    return sql("select count(*) from coco.%s where serial = %%s" % table,
               name)[0][0]


def await_empty(*queues, seconds=60):
    wait_for(lambda: all(q.counts() == (0, 0) for q in queues), seconds,
             "empty queues")


def metric(worker, name):
    """Over all lanes."""
    return sum(worker.metric(name, lane)
               for lane in ("telemetry", "events", "webhooks"))


def await_deleted(worker, count):
    """The worker has its answers: an emptied queue says only that the
    emulator has its requests. What the proxy notes is there before them."""
    wait_for(lambda: metric(worker, "coco_sqs_deleted_total") >= count, 60,
             "the answers")
    assert metric(worker, "coco_sqs_deleted_total") == count


def test_each_kind_from_each_queue(worker, queues, proxy, sql):
    a, b, c, d = serial(), serial(), serial(), serial()
    plain = heartbeat(b)
    del plain["serial"]

    queues["state"].send(
        heartbeat(a), event(a),
        dict(plain, topic="robot/%s/status" % b),
        {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:x",
         "Message": json.dumps(heartbeat(c, software="ä\u20ac\"\\"))})
    queues["events"].send(event(b, id="e-" + b), heartbeat(d))
    queues["connectivity"].send(
        {"eventName": "status", "unit": "streamer", "status": "online",
         "uuid": "u-1", "vin": d, "time": int(time.time() * 1e6)})

    one = worker()
    await_empty(*queues.values())

    assert [rows(sql, s) for s in (a, b, c, d)] == [1, 1, 1, 1]
    assert [rows(sql, s, "lid_cycle_event_history")
            for s in (a, b, c, d)] == [1, 1, 0, 0]
    assert sql("select unit, status from coco.driveu_status where serial = %s",
               d) == [("streamer", "online")]
    await_deleted(one, 7)
    assert metric(one, "coco_sqs_errors_total") == 0
    assert {e[3] for e in proxy.ledger} == {200}
    receive = proxy.of("ReceiveMessage")[0][2]
    assert receive["MaxNumberOfMessages"] == 10
    assert receive["WaitTimeSeconds"] == 1
    assert receive["VisibilityTimeout"] == 30


def test_bad_bodies_are_set_aside_and_deleted(worker, queues, sql):
    good = serial()
    bad = ["no JSON " + good, "[\"%s\"]" % good, '{"serial":"%s"}' % good,
           json.dumps({"Type": "Notification", "Message": good}),
           json.dumps(dict(heartbeat("../" + good)))]
    queues["state"].send(*bad, heartbeat(good))
    queues["connectivity"].send({"unit": good})
    one = worker()
    await_empty(*queues.values())
    assert rows(sql, good) == 1
    letters = sql("select source, topic, reason from coco.dead_letter where "
                  "convert_from(payload, 'UTF8') like %s", "%" + good + "%")
    assert len(letters) == len(bad) + 1, letters
    assert {letter[0] for letter in letters} == {"sqs"}
    assert {letter[1] for letter in letters} == {"sqs/state",
                                                 "sqs/connectivity"}
    assert all(letter[2] for letter in letters)
    await_deleted(one, len(bad) + 2)


def test_nothing_is_deleted_before_its_commit(worker, queues, proxy, stack):
    names = [serial() for _ in range(25)]
    one = worker(sqs={"visibility": "4s"})
    wait_for(lambda: proxy.of("ReceiveMessage"), 60, "a poll")
    stack.kill("postgres")
    try:
        queues["state"].send(*[heartbeat(name) for name in names])
        wait_for(lambda: len(proxy.received()) >= 25, 60, "the messages")

        def extended():
            assert queues["state"].counts() == (0, 25)
            return one.metric("coco_sqs_extended_total") >= 25 * 4

        # twice their visibility: each is extended, none comes twice
        wait_for(extended, 40, "four extensions of each", every=0.1)
        assert proxy.deleted() == []
        assert one.metric("coco_sqs_in_flight", "telemetry") == 25
    finally:
        stack.restart("postgres")
    await_empty(queues["state"], seconds=30)
    await_deleted(one, 25)
    assert len(proxy.received()) == 25
    assert sorted(proxy.deleted()) == sorted(m["ReceiptHandle"]
                                             for m in proxy.received())
    with contextlib.closing(psycopg2.connect(stack.postgres)) as connection, \
            connection.cursor() as cursor:
        cursor.execute("select count(*) from coco.state_history where serial "
                       "= any(%s)", (names,))
        assert cursor.fetchone()[0] == 25


def test_failed_entries(worker, queues, proxy, sql):
    """The service's faults are tried again, the sender's are let go."""
    name, seen = serial(), {}

    def rule(action, body):
        if action != "DeleteMessageBatch":
            return None
        failed, left = [], []
        for entry in body["Entries"]:
            times = seen[entry["ReceiptHandle"]] = \
                seen.get(entry["ReceiptHandle"], 0) + 1
            if times == 1:
                failed.append({"Id": entry["Id"], "SenderFault": False,
                               "Code": "InternalError", "Message": "x"})
            else:
                left.append(entry)
        body["Entries"] = left
        if not left:
            return 200, {"Failed": failed}

        def add(status, answer):
            return status, dict(answer, Failed=failed)
        return add

    proxy.rule = rule
    one = worker()
    queues["state"].send(*[heartbeat(name, ts) for ts in
                           range(1700000000000, 1700000000004)])
    wait_for(lambda: len(seen) == 4 and min(seen.values()) >= 2, 60,
             "every deletion tried again")
    assert rows(sql, name) + rows(sql, name, "state_history_late") == 4
    assert metric(one, "coco_sqs_errors_total") >= 4


def test_a_refused_receipt_comes_again_as_a_duplicate(worker, queues, proxy,
                                                      sql):
    name, refused = serial(), []

    def rule(action, body):
        if action == "DeleteMessageBatch" and not refused:
            refused.extend(e["ReceiptHandle"] for e in body["Entries"])
            return 200, {"Failed": [
                {"Id": e["Id"], "SenderFault": True, "Message": "x",
                 "Code": "ReceiptHandleIsInvalid"} for e in body["Entries"]]}
        return None

    proxy.rule = rule
    one = worker(sqs={"visibility": "2s"})
    queues["state"].send(heartbeat(name))
    wait_for(lambda: refused, 60, "the deletion")
    await_empty(queues["state"])
    assert len(proxy.received()) == 2
    assert rows(sql, name) == 1
    assert one.metric("coco_messages_duplicate_total", "telemetry") == 1


def throttled(proxy, worker, queues, sql, answer):
    name, counts, begun = serial(), itertools.count(), time.monotonic()
    now = int(time.time() * 1000)
    proxy.rule = lambda action, body: \
        answer if next(counts) % 3 != 0 else None
    one = worker()
    queues["state"].send(*[heartbeat(name, ts) for ts in
                           range(now - 30, now)])
    await_empty(queues["state"], seconds=40)
    assert rows(sql, name) == 30
    # each of the three queues says so once in 10 s
    log = one.log()
    lines = 3 * (1 + (time.monotonic() - begun) // 10)
    assert log.count("sqs_failed") <= lines, log
    return one


def test_throttling(proxy, worker, queues, sql):
    one = throttled(proxy, worker, queues, sql,
                    aws.error(400, "RequestThrottled"))
    assert "code=RequestThrottled" in one.log()


def test_server_errors(proxy, worker, queues, sql):
    one = throttled(proxy, worker, queues, sql, (500, b"<html>oops</html>"))
    assert "sqs_failed" in one.log()


def test_back_off_is_slow_enough(proxy, worker, queues):
    proxy.rule = lambda action, body: aws.error(400, "RequestThrottled")
    worker(sqs={"connections": 1, "events_queue_url": None,
                "connectivity_queue_url": None})
    wait_for(lambda: len(proxy.ledger) >= 5, 60, "five tries")
    begun = len(proxy.ledger)
    time.sleep(3)
    assert len(proxy.ledger) - begun < 10


def test_wrong_signature_is_refused(worker, queues, proxy, sql):
    """The proxy's own control: a wrong secret gets nothing through."""
    name = serial()
    queues["state"].send(heartbeat(name))
    one = worker(environment={"AWS_ACCESS_KEY_ID": "AKTEST",
                              "AWS_SECRET_ACCESS_KEY": "mistyped"})
    wait_for(lambda: len(proxy.ledger) >= 4, 60, "some tries")
    # those may be the first of all connections, none of them answered yet
    wait_for(lambda: "code=SignatureDoesNotMatch" in one.log(), 60, "a line")
    assert {e[3] for e in proxy.ledger} == {403}
    assert queues["state"].counts() == (1, 0)
    assert rows(sql, name) == 0
    assert "mistyped" not in one.log()


def test_queue_does_not_exist(worker, queues, proxy, sql):
    """One queue's trouble is none of the others', and it heals."""
    name, gone = serial(), queues["events"].url

    proxy.rule = lambda action, body: aws.error(
        400, "QueueDoesNotExist") if body["QueueUrl"] == gone else None
    one = worker()
    queues["events"].send(event(name))
    queues["state"].send(heartbeat(name))
    await_empty(queues["state"])
    wait_for(lambda: "code=QueueDoesNotExist" in one.log(), 60, "a line")
    proxy.rule = None
    await_empty(queues["events"])
    assert rows(sql, name, "lid_cycle_event_history") == 1


def test_killed_worker(worker, queues, proxy, sql):
    """kill -9 between commit and deletion: delivered again, applied once."""
    name = serial()
    proxy.rule = lambda action, body: (500, b"") \
        if action == "DeleteMessageBatch" else None
    one = worker(sqs={"visibility": "2s"})
    now = int(time.time() * 1000)     # or two are the same heartbeat
    queues["state"].send(*[heartbeat(name, now - n)
                           for n in range(20)])
    wait_for(lambda: rows(sql, name) == 20, 60, "the rows")
    one.kill()
    proxy.rule = None
    two = worker()
    await_empty(queues["state"])
    assert rows(sql, name) == 20
    assert two.metric("coco_messages_duplicate_total", "telemetry") == 20


def test_poison_by_count(worker, queues, proxy, sql):
    """What was delivered too often and never committed is set aside."""
    name = serial()
    queue = queues["state"]
    queue.send(heartbeat(name))
    for _ in range(3):
        got = queue.call("ReceiveMessage", VisibilityTimeout=0)
        assert len(got["Messages"]) == 1
    worker(sqs={"receives_max": 3})
    await_empty(queue)
    assert rows(sql, name) == 0
    (reason,), = sql("select reason from coco.dead_letter where convert_from("
                     "payload, 'UTF8') like %s", "%" + name + "%")
    assert "4 times" in reason


def test_unreadable_answer(worker, queues, proxy, sql):
    """A message that makes an answer unreadable holds up no other."""
    good, marker = serial(), "unreadable-" + serial()

    def spoil(status, answer):
        text = json.dumps(answer)
        return status, text.replace(marker, "\\u0000").encode()

    proxy.rule = lambda action, body: \
        spoil if action == "ReceiveMessage" else None
    one = worker(sqs={"visibility": "2s"})
    now = int(time.time() * 1000)     # or two are the same heartbeat
    queues["state"].send(heartbeat(good, now), {"serial": marker},
                         heartbeat(good, now - 5))
    wait_for(lambda: rows(sql, good) == 2, 60, "the others")
    # they may have come without it
    wait_for(lambda: "code=Unreadable" in one.log(), 60, "a line")


def test_damaged_message(worker, queues, proxy, sql):
    """A body that does not match its MD5 is left alone, and comes again."""
    name, spoilt = serial(), []

    def spoil(status, answer):
        for message in answer.get("Messages", []):
            if not spoilt:
                spoilt.append(message["Body"])
                message["Body"] = message["Body"].replace("50", "51")
        return status, answer

    proxy.rule = lambda action, body: \
        spoil if action == "ReceiveMessage" else None
    worker(sqs={"visibility": "2s"})
    queues["state"].send(heartbeat(name))
    await_empty(queues["state"])
    assert spoilt and len(proxy.received()) == 2
    assert sql("select (details->'battery'->>'percent')::float from "
               "coco.state_history where serial = %s", name) == [(50.0,)]


def test_stop_deletes_what_is_committed(worker, queues, proxy, sql):
    """And gives the rest back at once; long polls do not hold it up."""
    name = serial()
    one = worker(sqs={"wait": "20s", "visibility": "300s"})
    wait_for(lambda: queues["state"].counts() == (0, 0), 5, "the queue")
    now = int(time.time() * 1000)     # or two are the same heartbeat
    queues["state"].send(*[heartbeat(name, now - n)
                           for n in range(30)])
    wait_for(lambda: rows(sql, name) == 30, 60, "the rows")
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 5
    assert queues["state"].counts() == (0, 0)


def test_stop_gives_back(worker, queues, proxy, stack):
    name = serial()
    one = worker(sqs={"visibility": "300s"})
    wait_for(lambda: proxy.of("ReceiveMessage"), 60, "a poll")
    stack.kill("postgres")
    try:
        queues["state"].send(*[heartbeat(name, 1700000000000 + n)
                               for n in range(25)])
        one.await_metric("coco_sqs_in_flight", 25)
        assert one.stop() == 0
        # the queue may hand them to a poll of ours that it still holds open
        returned = [entry for e in proxy.of("ChangeMessageVisibilityBatch")
                    for entry in e[2]["Entries"]]
        assert {e["VisibilityTimeout"] for e in returned} == {0}
        assert len({e["ReceiptHandle"] for e in returned}) == 25
    finally:
        stack.restart("postgres")


def test_in_flight_is_bounded(worker, queues, proxy, stack):
    one = worker(sqs={"in_flight": 20, "connections": 4})
    wait_for(lambda: proxy.of("ReceiveMessage"), 60, "a poll")
    stack.kill("postgres")
    try:
        queues["state"].send(*[heartbeat(serial()) for n in range(60)])
        wait_for(lambda: one.metric("coco_sqs_in_flight") > 10, 60,
                 "the messages")
        time.sleep(1.5)
        assert queues["state"].counts()[1] <= 20
        assert one.metric("coco_sqs_in_flight") <= 20
    finally:
        stack.restart("postgres")
    await_empty(queues["state"], seconds=30)


def test_lanes_with_little_room(worker, queues, sql):
    """What a lane has no room for waits its turn."""
    name, now = serial(), int(time.time() * 1000)
    queues["state"].send(*[heartbeat(name, now - n) for n in range(300)],
                         *[event(name, ts=now - n) for n in range(20)])
    worker(telemetry={"shards": 1, "batch_messages": 2, "linger": "20ms"},
           events={"batch_messages": 1},
           sqs={"in_flight": 100, "connections": 4})
    wait_for(lambda: rows(sql, name, "lid_cycle_event_history") == 20, 60,
             "the events")
    await_empty(queues["state"], seconds=90)
    assert rows(sql, name) == 300
