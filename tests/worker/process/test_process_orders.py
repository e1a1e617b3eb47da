"""Orders of partners from their rows to deliveries: by the process that runs
integrations, each once, whoever was killed."""

import json
import time
import uuid

import pytest
import requests

from process import rows
from stack import wait_for

BUS = "state,operations,fleet,deliveries,dispatch"


def order(number, **members):
    return dict({"id": "evt_%s" % uuid.uuid4(), "delivery_id": number,
                 "kind": "event.delivery_status", "status": "pending",
                 "created": "2026-09-21T12:00:00Z", "data": {
                     "pickup": {"location": {"lat": 1, "lng": 2}},
                     "dropoff": {"location": {"lat": 3, "lng": 4}}}},
                **members)


def store(stack, *payloads, provider="uber"):
    webhooks = [{"id": str(uuid.uuid4()), "provider": provider,
                 "eventId": "e", "receivedAt": int(time.time() * 1000),
                 "payload": payload} for payload in payloads]
    rows(stack, "select coco.webhook_store(%s)", json.dumps(webhooks))


def statuses(stack, like):
    return [word for word, in rows(
        stack, "select status from coco.delivery where external_id like %s"
        " order by external_id", like)]


def pending(stack):
    return rows(stack, "select provider from coco.webhook_inbox"
                " where done_at is null")


def await_statuses(stack, like, *words):
    wait_for(lambda: statuses(stack, like) == list(words), 60,
             "%s: %s" % (like, words))


def test_where_integrations_runs(stack, worker, block):
    """No bus is needed; the others' process leaves them alone, and DriveU's
    are left to it."""
    others = worker(stack.port, process={"services": BUS}).start()
    store(stack, order("apart-1"))
    store(stack, {"eventName": "status", "unit": "node", "uuid": "u",
                  "status": "online", "vin": "apart-1",
                  "time": int(time.time() * 1_000_000)}, provider="driveu")
    wait_for(lambda: pending(stack) == [("uber",)], 60, "DriveU's")

    one = worker(stack.port, http={"port": block + 6},
                 process={"services": "integrations"}).start()
    await_statuses(stack, "apart-1", "Created")
    store(stack, order("apart-1", status="canceled"))
    await_statuses(stack, "apart-1", "Canceled")

    health = requests.get(one.url + "/healthz").json()
    assert set(health["lanes"]) == {"webhooks"}
    assert health["orders"] == {"alive": True} and "inbox" not in health
    health = requests.get(others.url + "/healthz").json()
    assert "inbox" in health and "orders" not in health
    assert one.stop() == 0 and others.stop() == 0


def test_what_nobody_takes_is_seen(stack, worker, block):
    """Services apart, one of which is missing."""
    rows(stack, "delete from coco.partner_push; delete from coco.mds_fact")
    rows(stack, "with d as (insert into coco.delivery (provider, external_id,"
         " status, pickup_latitude, pickup_longitude, dropoff_latitude,"
         " dropoff_longitude, created_at, updated_at) values ('doordash',"
         " 'untold', 'Created', 1, 2, 3, 4, now(), now()) returning *)"
         " select coco.delivery_event_put(d::coco.delivery, null, null)"
         " from d")
    rows(stack, "update coco.partner_push set created_at"
         " = now() - interval '1 hour'")
    rows(stack, "select coco.mds_fact_put('untold-' || n, now() - n"
         " * interval '1 hour', 'COMMS', '{\"online\":true}')"
         " from generate_series(3, 1, -1) n")
    others = worker(stack.port, process={"services": BUS}).start()
    others.await_metric("coco_mds_facts_waiting", 3, "events")
    others.await_metric("coco_partner_pushes_waiting", 1, "doordash")
    assert others.metric("coco_partner_pushes_waiting", "uber") == 0
    # gauges of their own, set one after the other
    wait_for(lambda: 10800 <= others.metric("coco_mds_facts_oldest_seconds",
                                            "events") < 12000, 60,
             "the age of the first fact")
    wait_for(lambda: 3600 <= others.metric(
        "coco_partner_pushes_oldest_seconds", "doordash") < 4800, 60,
        "the age of the first push")

    one = worker(stack.port, http={"port": block + 6},
                 process={"services": "integrations,mds"}).start()
    for each in (others, one):
        each.await_metric("coco_mds_facts_waiting", 0, "events")
        each.await_metric("coco_partner_pushes_waiting", 0, "doordash")
        each.await_metric("coco_mds_facts_oldest_seconds", 0, "events")
    assert one.stop() == 0 and others.stop() == 0


def test_letters(stack, worker, block):
    """They are replayed where integrations runs."""
    wrong = order("letter-1")
    del wrong["data"]["pickup"]
    others = worker(stack.port, process={"services": BUS}).start()
    one = worker(stack.port, http={"port": block + 6},
                 process={"services": "integrations"}).start()
    store(stack, wrong)
    find = ("select id, service, field from coco.dead_letter"
            " where topic = 'webhook/uber'")
    wait_for(lambda: rows(stack, find), 60, "a letter")
    (letter, *which), = rows(stack, find)
    assert which == ["integrations", "pickup"]
    assert one.stop() == 0

    rows(stack, "update coco.dead_letter set payload = %s, replayed_at = now()"
         " where id = %s", json.dumps(order("letter-1")).encode(), letter)
    driveu = rows(stack, "insert into coco.dead_letter (id, source, service,"
                  " topic, reason, payload, received_at, replayed_at) values"
                  " (gen_random_uuid(), 'webhook', 'decoder',"
                  " 'webhook/driveu', 'r', '{}', now(), now())"
                  " returning id")[0][0]
    outcome = "select replay_outcome from coco.dead_letter where id = %s"
    wait_for(lambda: rows(stack, outcome, driveu) == [("REFUSED",)], 60,
             "the other letter")
    assert rows(stack, outcome, letter) == [(None,)]
    one.start()
    await_statuses(stack, "letter-1", "Created")
    wait_for(lambda: rows(stack, outcome, letter) == [("APPLIED",)], 60,
             "its outcome")
    assert others.stop() == 0


def test_a_megabyte(stack, worker):
    """As much as nginx takes; as jsonb it is longer. More of them than are
    read at once."""
    worker(stack.port).start()
    large = [order("large-%d" % n, manifest=[1] * 500_000) for n in range(15)]
    assert len(json.dumps(large[0], separators=(",", ":"))) < 1 << 20
    assert len(json.dumps(large[0])) > 1 << 20
    for payload in large:
        store(stack, payload)
    await_statuses(stack, "large-%", *["Created"] * len(large))


@pytest.mark.parametrize("services", ("all", "integrations"))
def test_killed_while_it_applies(stack, worker, block, services):
    """Another one takes over; each order has its effects once."""
    count, like = 300, "killed-%s-" % services
    options = {"process": {"services": services},
               "webhooks": {"poll": "100ms", "batch_messages": 20}}
    first = worker(stack.port, **options).start()
    worker(stack.port, http={"port": block + 6}, mqtt={"client_id": "other"},
           **options).start()
    for number in range(count):
        store(stack, order("%s%03d" % (like, number)),
              order("%s%03d" % (like, number), status="canceled"))
        if number == count // 2:
            wait_for(lambda: statuses(stack, like + "%"), 60, "the first")
            first.kill()
    await_statuses(stack, like + "%", *["Canceled"] * count)
    wait_for(lambda: pending(stack) == [], 60, "an empty inbox")
    # as many changes as were told, and each told once
    assert rows(
        stack, "select bool_and(d.changes = e.n), bool_and(p.n = e.n)"
        " from coco.delivery d cross join lateral (select count(*) as n"
        "  from coco.delivery_event e where e.delivery_id = d.id) e"
        " cross join lateral (select count(*) as n from coco.partner_push p"
        "  where p.delivery_id = d.id and p.kind = 'STATUS') p"
        " where d.external_id like %s", like + "%") == [(True, True)]
    first.start()
