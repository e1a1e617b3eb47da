"""Every webhook that was answered has its row and its event, once, whatever
is killed while webhooks come in. Settings: see test_fault_recovery.py.
"""

import http.client
import json
import os
import random
import threading
from collections import Counter

import pytest
from field import SEED
from ground import Load, await_settled, break_while
from harness import await_for, connectivity, now_ms

WEBHOOKS = 4000
ROBOTS = 20
SENDERS = 8
FAULTS = 3

KINDS = {
    "webhooks, nginx killed": ("nginx",),
    "webhooks, worker killed": ("worker",),
    "webhooks, postgres killed": ("postgres",),
    "webhooks, redis killed": ("redis",),
    "webhooks, nginx and postgres": ("nginx", "postgres"),
}


class Hooks:
    """DriveU: sends each webhook until it is answered with 202."""

    def __init__(self, ground, tag):
        self.system, self.port = ground.system, ground.stack.port
        self.random = random.Random("%s %s" % (SEED, tag))
        self.serials = ["w-%s-%02d" % (tag, i) for i in range(ROBOTS)]
        self.bodies = list(self._make())
        self.ledger = {}                # the id answered -> body
        self.retries = 0
        self.lock = threading.Lock()

    def _make(self):
        """Distinct, of the last minutes, not in the order of their time."""
        times = self.random.sample(range(600000), WEBHOOKS)
        now = now_ms()
        for i, ago in enumerate(times):
            yield connectivity(
                self.serials[i % ROBOTS],
                self.random.choice(("streamer", "node", "relay")),
                self.random.choice(("online", "offline", "connectedToNode")),
                at=now - ago)

    def newest(self):
        """{(serial, unit): (status, ms)}"""
        latest = {}
        for body in sorted(self.bodies, key=lambda body: body["time"]):
            latest[body["vin"], body["unit"]] = (body["status"],
                                                 body["time"] // 1000)
        return latest

    def load(self):
        shares = [self.bodies[i::SENDERS] for i in range(SENDERS)]
        loads = [Load(lambda share=share: self._send(share))
                 for share in shares]

        def send():
            for load in loads:
                load.start()
            for load in loads:
                load.end()

        return Load(send)

    def _send(self, share):
        connection = None
        for body in share:
            text = json.dumps(body)
            while True:
                try:
                    connection = connection or http.client.HTTPConnection(
                        "127.0.0.1", self.port, timeout=15)
                    connection.request(
                        "POST", "/driveu/webhook", text, headers={
                            "Content-Type": "application/json",
                            "X-DriveU-Token": self.system.driveu_secret})
                    reply = connection.getresponse()
                    answer = reply.read()
                    if reply.status == 202:
                        break
                    assert reply.status == 503, (reply.status, answer)
                except (OSError, http.client.HTTPException):
                    connection.close()
                    connection = None
                with self.lock:
                    self.retries += 1
                threading.Event().wait(0.02)    # as a client backs off
            with self.lock:
                id = json.loads(answer)["id"]
                assert id not in self.ledger, "one id for two webhooks"
                self.ledger[id] = body
        if connection:
            connection.close()

    def done(self):
        return self.system.value(
            "select count(*) from coco.webhook_inbox where outcome = 'APPLIED'"
            " and id::text = any(%s)", list(self.ledger))

    def findings(self):
        """(lost, duplicates, wrong): of rows and of events."""
        rows = Counter(row[0] for row in self.system.sql(
            "select id::text from coco.webhook_inbox"
            " where payload ->> 'vin' = any(%s)", self.serials))
        told = Counter((serial, data["unit"], data["status"], data["ts"])
                       for serial, data in self.system.sql(
            "select serial, payload -> 'data' from coco.outbox where name ="
            " 'ConnectivityRawStatusChanged' and serial = any(%s)",
            self.serials))
        key = {id: (body["vin"], body["unit"], body["status"],
                    body["time"] // 1000) for id, body in self.ledger.items()}
        lost = [id for id in key if rows[id] == 0 or told[key[id]] == 0]
        twice = [id for id, n in rows.items() if n > 1] + [
            what for what, n in told.items() if n > 1]
        foreign = set(rows) - set(key) or set(told) - set(key.values())
        return lost, twice, list(foreign)

    def stored(self):
        return {(serial, unit): (status, ts)
                for serial, unit, status, ts in self.system.sql(
                    "select serial, unit, status, coco.to_ms(time)"
                    "  from coco.driveu_status where serial = any(%s)",
                    self.serials)}

    def copied(self):
        """What Redis says of them."""
        copies = {}
        for serial in self.serials:
            text = self.system.redis.get("driveu.status." + serial)
            for unit, doc in json.loads(text or "{}").items():
                copies[serial, unit] = doc["status"], doc["ts"]
        return copies


@pytest.mark.parametrize("kind", KINDS)
def test_fault(ground, dice, capsys, kind):
    hooks = Hooks(ground, "%d.%x" % (list(KINDS).index(kind), os.getpid()))
    hits = break_while(
        hooks.load(), lambda: len(hooks.ledger) / WEBHOOKS,
        lambda: hooks.done() < len(hooks.ledger),
        lambda: ground.kill(*KINDS[kind]), FAULTS, dice)
    await_settled("the inbox", hooks.done, WEBHOOKS)
    lost, twice, foreign = hooks.findings()
    with capsys.disabled():
        print("\n  %-30s lost=%d duplicates=%d answered=%d retries=%d "
              "faults=%d hits=%d seed=%s" % (
                  kind, len(lost), len(twice), len(hooks.ledger),
                  hooks.retries, FAULTS, hits, SEED))
    assert (lost, twice, foreign) == ([], [], [])
    assert len(hooks.ledger) == hooks.done() == WEBHOOKS
    assert hits > 0, "no fault met a webhook under way: nothing was shown"
    assert hooks.stored() == hooks.newest()
    if "redis" not in KINDS[kind]:      # flushed: the next status fills it
        await_for("the copies", lambda: hooks.copied() == hooks.newest(), 60)


def test_finds(ground):
    """The findings find: a row gone, an event gone, an event twice."""
    hooks = Hooks(ground, "control%x" % os.getpid())
    hooks.bodies = hooks.bodies[:50]
    load = hooks.load()
    load.start()
    load.end()
    await_settled("the inbox", hooks.done, 50)
    assert hooks.findings() == ([], [], [])
    first, second, *_ = hooks.ledger
    ground.system.sql("delete from coco.webhook_inbox where id = %s", first)
    assert hooks.findings() == ([first], [], [])
    ground.system.sql(
        "insert into coco.outbox (id, name, serial, payload)"
        " select gen_random_uuid(), name, serial, payload from coco.outbox"
        " where serial = %s and name = 'ConnectivityRawStatusChanged'"
        " limit 1", hooks.ledger[second]["vin"])
    assert len(hooks.findings()[1]) == 1
    ground.system.sql("delete from coco.outbox where serial = %s",
                      hooks.ledger[second]["vin"])
    assert second in hooks.findings()[0]
