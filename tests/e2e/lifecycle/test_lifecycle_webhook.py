"""Webhooks while nginx is reloaded, and more of them than may wait: what was
answered with 202 is stored, once, and nothing else happens to the rest."""

import http.client
import json
import re
import select
import socket
import threading
import time

import psycopg2

from harness import await_for, new_serial

RELOADS = 5
SENDERS = 8

# 60 KB each: two statements of 4 MiB and 16 MiB that wait are some 410
CLIENTS = 500
PATIENT = [(r"coco_postgres_timeout \w+", "coco_postgres_timeout 20s"),
           (r"worker_processes \w+", "worker_processes 1")]


def body(uuid, size=0):
    return json.dumps({
        "eventName": "status", "unit": "relay", "status": "online",
        "uuid": uuid, "vin": "life", "time": int(time.time() * 1e6),
        "more": "x" * size})


def headers(stack):
    return {"X-DriveU-Token": stack.driveu_secret,
            "Content-Type": "application/json"}


class Sender(threading.Thread):
    """DriveU: sends until told to stop, each webhook until it is answered. A
    connection that nginx closed between two requests is opened again; one
    that breaks before an answer to its first request is one dropped."""

    def __init__(self, stack, tag):
        super().__init__(daemon=True)
        self.stack, self.tag = stack, tag
        self.ids, self.failures, self.told = [], [], threading.Event()
        self.start()

    def run(self):
        connection, served, text = None, 0, None
        while not self.told.is_set() or text:
            if connection is None:
                connection, served = http.client.HTTPConnection(
                    "127.0.0.1", self.stack.port, timeout=30), 0
            text = text or body("%s-%d" % (self.tag, len(self.ids)))
            try:
                connection.request("POST", "/driveu/webhook", text,
                                   headers(self.stack))
                reply = connection.getresponse()
                answer = reply.read()
                if reply.status != 202:
                    self.failures.append(answer)
                    return
                self.ids.append(json.loads(answer)["id"])
                served, text = served + 1, None
                if reply.will_close:
                    connection = None
            except (OSError, http.client.HTTPException) as e:
                if not served:
                    self.failures.append(repr(e))
                    return
                connection = None


def stored(stack, tag):
    """Ids of the webhooks whose uuid begins with the tag."""
    connection = psycopg2.connect(stack.postgres)
    with connection, connection.cursor() as cursor:
        cursor.execute("select id::text from coco.webhook_inbox"
                       " where starts_with(payload ->> 'uuid', %s)", (tag,))
        rows = [row[0] for row in cursor.fetchall()]
    connection.close()
    return rows


def test_reload_under_load_loses_no_webhook(backends, nginx):
    tag = new_serial("hook")
    one = nginx()
    await_for("ready", one.ready)
    senders = [Sender(backends, "%s-%d" % (tag, i)) for i in range(SENDERS)]
    old, last = set(), 0

    for _ in range(RELOADS):
        old |= one.reload()
        await_for("the load goes on",
                  lambda: sum(len(s.ids) for s in senders) > last + 100)
        last = sum(len(s.ids) for s in senders)

    for sender in senders:
        sender.told.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive() and not sender.failures, sender.failures
    ids = [one for sender in senders for one in sender.ids]
    print("%d webhooks, %d reloads" % (len(ids), RELOADS))
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(stored(backends, tag))
    assert one.quit() < 5


def send(stack, uuid):
    """A connection on which a webhook was sent."""
    text = body(uuid, 60000)
    connection = socket.create_connection(("127.0.0.1", stack.port), 60)
    connection.sendall(("POST /driveu/webhook HTTP/1.1\r\nHost: x\r\n"
                        "Connection: close\r\nContent-Length: %d\r\n%s\r\n%s"
                        % (len(text), "".join(
                            "%s: %s\r\n" % pair
                            for pair in headers(stack).items()), text))
                       .encode())
    return connection


def answer(connection):
    """(status, body)"""
    text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    connection.close()
    head, _, rest = text.partition("\r\n\r\n")
    return int(re.match(r"HTTP/1.1 (\d+)", head)[1]), json.loads(rest)


def test_more_than_may_wait(backends, nginx):
    tag = new_serial("many")
    one = nginx(PATIENT)
    await_for("ready", one.ready)

    lock = psycopg2.connect(backends.postgres)
    lock.cursor().execute("lock table coco.webhook_inbox in exclusive mode")
    clients = [send(backends, "%s-%d" % (tag, i)) for i in range(CLIENTS)]
    refused = await_for("too many are refused", lambda: select.select(
        clients, [], [], 0)[0])
    answers = [answer(connection) for connection in refused]
    assert {status for status, _ in answers} == {503}
    assert all("too many requests waiting" in problem["detail"]
               for _, problem in answers)

    # every second one of the others goes away; the rest is patient
    others = [c for c in clients if c not in refused]
    for connection in others[::2]:
        connection.close()
    lock.close()
    answers = [answer(connection) for connection in others[1::2]]
    ids = [reply["id"] for status, reply in answers if status == 202]
    rows = stored(backends, tag)
    print("%d sent, %d refused, %d gone, %d answered, %d stored" % (
        CLIENTS, len(refused), len(others[::2]), len(ids), len(rows)))
    assert ids and set(ids) <= set(rows)
    assert len(rows) == len(set(rows)) <= len(others)
    assert all(status in (202, 503) for status, _ in answers)

    assert answer(send(backends, tag + "-after"))[0] == 202
    assert one.quit() < 5
