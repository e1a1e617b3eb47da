"""Orders of partners, from their webhooks to deliveries, against the real
servers: in any order, more than once, in one batch or in many."""

import contextlib
import json
import random
import threading
import time
import uuid

import psycopg2
import pytest

from servers import until

AT = 1_790_000_000_000              # ms, the partner's
CHANNEL = "coco.invalidate"


def now():
    return int(time.time() * 1000)


def iso(ms):
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S",
                                       time.gmtime(ms / 1000)), ms % 1000)


def uber(order, status="pending", at=AT, north=0.0, **data):
    """The places move north with each version."""
    places = {} if status == "canceled" else {
        "pickup": {"address": "%s, 1" % north, "location": {
            "lat": 34.05 + north, "lng": -118.25}},
        "dropoff": {"address": "%s, 2" % north, "location": {
            "lat": 34.06 + north, "lng": -118.25}}}
    return {"id": "evt_%s" % uuid.uuid4(), "kind": "event.delivery_status",
            "created": iso(at), "status": status, "delivery_id": order,
            "data": dict(places, updated=iso(at), **data)}


def doordash(order, name="DELIVERY_CREATED", at=AT, **members):
    return dict({"event_name": name, "external_delivery_id": order,
                 "updated_at": iso(at), "pickup_latitude": 34.05,
                 "pickup_longitude": -118.25, "dropoff_latitude": 34.06,
                 "dropoff_longitude": -118.25}, **members)


def push(lane, *payloads, provider="uber", shards=None):
    """As nginx stores them and the inbox reads them: an order is always in one
    shard, unless the test says otherwise."""
    ids = sorted(str(uuid.uuid4()) for _ in payloads)
    rows = [{"id": row, "provider": provider, "eventId": row,
             "receivedAt": now(), "payload": payload}
            for row, payload in zip(ids, payloads)]
    lane.servers.query("select coco.webhook_store(%s)", json.dumps(rows))
    for row in rows:
        shard = (random.choice(shards) if shards
                 else row["payload"].get("delivery_id", ""))
        lane.push(shard, json.dumps(row["payload"]), kind="o",
                  source="webhook", topic="webhook/" + provider,
                  inbox=row["id"])


def inbox(servers):
    return servers.query("select outcome, waiting_for from coco.webhook_inbox"
                         " order by seq")


def record(servers, order, provider="uber"):
    """What is the same whatever the webhooks' order was."""
    return servers.query(
        "select status, serial, store, loading_flow, pin, pickup_latitude,"
        " pickup_longitude, pickup_address, dropoff_latitude,"
        " dropoff_longitude, dropoff_address, ready_at, order_at"
        " from coco.delivery where external_id = %s and provider = %s",
        order, provider)


def status(servers, order, provider="uber"):
    return record(servers, order, provider)[0][0]


def events(servers, order):
    """Each with its event in the outbox and what the partner is told."""
    found = servers.query(
        "select e.status, e.previous_status, e.reason, p.status,"
        " o.payload #>> '{data,status}' from coco.delivery_event e"
        " join coco.delivery d on d.id = e.delivery_id"
        " join coco.outbox o on o.id = e.id"
        " join coco.partner_push p on p.delivery_id = d.id"
        "  and p.number = e.number"
        " where d.external_id = %s order by e.number", order)
    for word, _, _, told, published in found:
        assert told == published == word
    return [row[:3] for row in found]


def outcomes(lane):
    return {name.split(".")[1]: int(value)
            for name, value in lane.metrics().items()
            if name.startswith("coco_orders_total.") and value}


def test_placed_changed_canceled(servers, lane):
    servers.query("insert into coco.integration values"
                  " ('uber', 's-1', 'PIN', '4711')")
    push(lane, uber("d-1"))
    lane.done()
    assert record(servers, "d-1")[0][:11] == (
        "Created", None, None, "MAGIC_LID", None, 34.05, -118.25, "0.0, 1",
        34.06, -118.25, "0.0, 2")
    assert servers.query("select type, pickup_latitude from coco.demand") == [
        ("PENDING", 34.05)]

    push(lane, uber("d-1", at=AT + 1, north=1, external_store_id="s-1"))
    lane.done()
    assert record(servers, "d-1")[0][:9] == (
        "Created", None, "s-1", "PIN", "4711", 35.05, -118.25, "1, 1", 35.06)
    assert servers.query("select pickup_latitude from coco.demand") == [
        (35.05,)]

    push(lane, uber("d-1", "canceled", at=AT + 2,
                    undeliverable_reason="store closed"))
    lane.done()
    assert record(servers, "d-1")[0][:3] == ("Canceled", None, "s-1")
    assert servers.query("select * from coco.demand") == []
    assert events(servers, "d-1") == [
        ("Created", None, None), ("Canceled", "Created", "store closed")]
    assert inbox(servers) == [("APPLIED", None)] * 3
    assert outcomes(lane) == {"created": 1, "changed": 1, "canceled": 1}
    assert lane.metrics()["coco_messages_committed_total"] == 3


def test_a_change_shows(servers, lane):
    """In the delivery's time of change, and to whoever shows its robot, also
    where the robot's demand stays as it is; what changes nothing does not."""
    def seen():
        return servers.query(
            "select d.updated_at, r.change_txid::text::bigint, m.updated_at"
            " from coco.delivery d join coco.demand m on m.id = d.id"
            " join coco.resource r on r.id = d.serial")[0]

    servers.query("insert into coco.external_robot_mapping values"
                  " ('uber', 'v-1', 'r-1')")
    payload = uber("d-1", vehicle_id="v-1")
    push(lane, payload)
    lane.done()
    before = seen()
    payload = uber("d-1", at=AT + 1, vehicle_id="v-1")
    payload["data"]["dropoff"]["address"] = "the back door"
    push(lane, payload)
    lane.done()
    after = seen()
    assert after[0] > before[0] and after[1] > before[1]
    assert after[2] == after[0]
    push(lane, payload)
    lane.done()
    assert seen() == after


def test_doordash(servers, lane):
    push(lane, doordash("d-1"), doordash("d-2"), provider="doordash")
    push(lane, doordash("d-2", "DELIVERY_CANCELLED",
                        cancellation_reason="no"), provider="doordash")
    lane.done()
    assert status(servers, "d-1", "doordash") == "Created"
    assert status(servers, "d-2", "doordash") == "Canceled"
    assert record(servers, "d-1") == []             # Uber's is another one


def test_what_asks_for_nothing(servers, lane):
    """Statuses of couriers, and what nobody knows: kept, and done."""
    push(lane, uber("d-1", "pickup"), {"kind": "event.unknown"},
         {"kind": "event.courier_update", "location": {"lat": 1, "lng": 2}})
    push(lane, doordash("d-1", "DASHER_CONFIRMED"), provider="doordash")
    lane.done()
    assert inbox(servers) == [("APPLIED", None)] * 4
    assert servers.query("select * from coco.delivery") == []
    assert servers.query("select * from coco.dead_letter") == []
    assert outcomes(lane) == {"nothing": 4}


@pytest.mark.parametrize("first", (0, 1))
def test_one_batch(servers, drive, first):
    """Each order sees what the one before it has done."""
    lane = drive(shards=1)
    both = uber("d-1"), uber("d-1", "canceled", at=AT + 1)
    with contextlib.closing(psycopg2.connect(servers.postgres)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("lock table coco.delivery in exclusive mode")
            push(lane, uber("d-0"))
            until(lambda: servers.query(
                "select 1 from pg_locks where not granted"))
            push(lane, *(both[::-1] if first else both))
            lane.metrics()                      # both are in the next batch
            connection.rollback()
    lane.done()
    assert lane.metrics()["coco_batches_total"] == 2
    assert record(servers, "d-1")[0][:6] == (
        "Canceled", None, None, "MAGIC_LID", None, 34.05)
    assert [word for word, _, _ in events(servers, "d-1")] == (
        ["Canceled"] if first else ["Created", "Canceled"])
    assert outcomes(lane) == (
        {"created": 1, "canceled": 1, "changed": 1} if first else
        {"created": 2, "canceled": 1})


def versions(servers, random_, order):
    """Webhooks of one order: two versions, perhaps at the same time and with
    things that only one of them says; perhaps a cancellation; a vehicle."""
    same = random_.random() < 0.3
    said = [{}, {"external_store_id": "s-1"}, {"external_store_id": "s-2"},
            {"pickup_ready": iso(AT + 60_000)}]
    found = [uber(order, at=AT, north=0.25, **random_.choice(said)),
             uber(order, at=AT + (not same), north=0.5,
                  **random_.choice(said))]
    if random_.random() < 0.5:
        found.append(uber(order, "canceled", at=AT + random_.randint(-5, 5)))
    if random_.random() < 0.3:
        for payload in found:
            payload["vehicle_id"] = "v-1"
    return found


@pytest.mark.parametrize("mode", ("direct", "scrambled"))
def test_any_order(servers, drive, mode):
    """Shuffled, doubled and split, the same records are left."""
    seed = random.randrange(1 << 30)
    random_ = random.Random(seed)
    servers.query("insert into coco.integration values"
                  " ('uber', 's-1', 'PIN', '4711'),"
                  " ('uber', 's-2', 'QR', null)")
    servers.query("insert into coco.external_robot_mapping values"
                  " ('uber', 'v-1', 'r-1')")
    orders = [versions(servers, random_, None) for _ in range(40)]
    copies = 4
    lane = drive(shards=2, batch=random_.choice((1, 3, 50)),
                 **({"direct": 0, "loop": 1, "seed": seed % 1000}
                    if mode == "scrambled" else {}))
    pending, shuffled = [], []

    for number, webhooks in enumerate(orders):
        for copy in range(copies):
            order = "d-%d-%d" % (number, copy)
            mine = [dict(w, delivery_id=order) for w in webhooks]
            random_.shuffle(mine)
            mine += random_.choices(mine, k=random_.randint(0, 2))
            pending.append(mine)

    while pending:
        webhooks = random_.choice(pending)
        shuffled.append(webhooks.pop(0))
        if not webhooks:
            pending.remove(webhooks)

    push(lane, *shuffled, shards="ab")
    lane.done(60)
    for number, webhooks in enumerate(orders):
        left = {record(servers, "d-%d-%d" % (number, copy))[0]
                for copy in range(copies)}
        # a robot may have had it before it was canceled
        assert len({(row[0], *row[2:]) for row in left}) == 1, (
            seed, webhooks, left)
        canceled = any(w["status"] == "canceled" for w in webhooks)
        assert left.pop()[0] == (
            "Canceled" if canceled else
            "Assigned" if "vehicle_id" in webhooks[0] else "Created")
    assert servers.query("select * from coco.dead_letter") == []


@pytest.mark.parametrize("stands", ("EnrouteToPickup", "AtPickup",
                                    "AtDropoff"))
def test_canceled_where_it_stands(servers, lane, stands):
    """What is changed before the cancellation, or after it, is the same: what
    no robot has gone by yet."""
    changed, kept = 35.05, 34.05
    for order in ("d-1", "d-2"):
        push(lane, uber(order))
        lane.done()
        servers.query("update coco.delivery set status = %s, serial = 'r-1'"
                      " where external_id = %s", stands, order)
    later = [uber("d-1", at=AT + 1, north=1),
             uber("d-1", "canceled", at=AT + 2)]
    for payload in later:
        push(lane, payload)
        lane.done()
    for payload in reversed(later):
        push(lane, dict(payload, delivery_id="d-2"))
        lane.done()
    one, = record(servers, "d-1")
    assert record(servers, "d-2") == [one]
    assert one[0] == "Canceled"
    assert one[5] == (changed if stands == "EnrouteToPickup" else kept)
    assert one[8] == (34.06 if stands == "AtDropoff" else 35.06)


def test_canceled_is_final(servers, lane):
    """Also one that is completed, or was made over HTTP."""
    push(lane, uber("d-1"))
    lane.done()
    servers.query("update coco.delivery set status = 'Completed'")
    servers.query(
        "insert into coco.delivery (provider, external_id, status, store,"
        " loading_flow, pickup_latitude, pickup_longitude, dropoff_latitude,"
        " dropoff_longitude, created_at, updated_at, changes) values"
        " ('uber', 'd-2', 'Created', 's-9', 'QR', 1, 2, 3, 4, now(), now(),"
        " 1)")
    push(lane, uber("d-1", "canceled"), uber("d-2", north=1))
    lane.done()
    assert status(servers, "d-1") == "Completed"
    assert record(servers, "d-2")[0][:6] == ("Created", None, "s-9", "QR",
                                             None, 35.05)
    push(lane, uber("d-2", "canceled"), uber("d-2", at=AT + 9, north=2))
    lane.done()
    assert record(servers, "d-2")[0][:1] == ("Canceled",)


def test_vehicle(servers, lane):
    """A mapping that is known assigns, and whoever shows the robot is told;
    one that comes later changes nothing."""
    servers.query("insert into coco.external_robot_mapping values"
                  " ('uber', 'v-1', 'r-1'), ('doordash', 'v-2', 'r-2')")
    with servers.redis().pubsub() as heard:
        heard.subscribe(CHANNEL)
        until(lambda: heard.get_message(timeout=1))
        push(lane, uber("d-1", vehicle_id="v-1"),
             uber("d-2", vehicle_id="v-2"))
        lane.done()
        until(lambda: '{"serials":["r-1"]}' == (
            heard.get_message(timeout=1) or {}).get("data"))
    assert record(servers, "d-1")[0][:2] == ("Assigned", "r-1")
    assert record(servers, "d-2")[0][:2] == ("Created", None)
    assert events(servers, "d-1") == [("Created", None, None),
                                      ("Assigned", "Created", None)]
    assert servers.query("select driver_name from coco.delivery_attempt") == [
        ("r-1",)]
    assert servers.query("select data #>> '{activeDemand,type}'"
                         " from coco.resource") == [("PENDING",)]
    servers.query("insert into coco.external_robot_mapping values"
                  " ('uber', 'v-2', 'r-2')")
    push(lane, uber("d-1", "canceled"))
    lane.done()
    assert status(servers, "d-2") == "Created"
    assert servers.query("select data -> 'activeDemand' from coco.resource"
                         " where id = 'r-1'") == [(None,)]


def letters(servers):
    return servers.query("select source, service, topic, field, reason,"
                         " replay_outcome from coco.dead_letter")


def test_refused_and_replayed(servers, lane):
    lane.process.stdin.write("janitor\n")
    wrong = uber("d-1")
    del wrong["data"]["dropoff"]
    push(lane, wrong, uber("d-2"))
    lane.done()
    assert inbox(servers) == [("REFUSED", None), ("APPLIED", None)]
    assert letters(servers) == [
        ("webhook", "integrations", "webhook/uber", "dropoff",
         "dropoff: its latitude and longitude are missing", None)]
    assert outcomes(lane) == {"created": 1, "refused": 1}

    servers.query("update coco.dead_letter set replayed_at = now()")
    until(lambda: letters(servers)[0][5] == "REFUSED")
    wrong["data"]["dropoff"] = {"location": {"lat": 1, "lng": 2}}
    servers.query("update coco.dead_letter set payload = %s,"
                  " replayed_at = now(), replay_outcome = null",
                  json.dumps(wrong).encode())
    until(lambda: letters(servers)[0][5] == "APPLIED")
    assert status(servers, "d-1") == "Created"


def test_poison(servers, drive):
    """What Postgres refuses is set aside alone; what it cannot do just now is
    tried again."""
    lane = drive(shards=1, linger=500)
    servers.query("alter table coco.delivery add constraint poison"
                  " check (external_id <> 'd-7')")
    try:
        push(lane, *(uber("d-%d" % n) for n in range(20)))
        lane.done()
        assert servers.query("select count(*) from coco.delivery") == [(19,)]
        (_, service, topic, _, reason, _), = letters(servers)
        assert (service, topic) == ("integrations", "webhook/uber")
        assert "poison" in reason
        assert [row[0] for row in inbox(servers)].count("REFUSED") == 1
    finally:
        servers.query("alter table coco.delivery drop constraint poison")

    servers.query("alter table coco.delivery rename to hidden")
    push(lane, uber("late-1"))
    until(lambda: "batch_retry" in lane.logged())
    servers.query("alter table coco.hidden rename to delivery")
    lane.done()
    assert status(servers, "late-1") == "Created"
    assert len(letters(servers)) == 1


def test_no_deadlock(servers, drive):
    """Orders in batches, moves over HTTP and the ends of pushes, of the same
    deliveries and robots at the same time."""
    orders, robots = ["d-%02d" % n for n in range(12)], ["r-1", "r-2", "r-3"]
    for serial in robots:
        servers.query("insert into coco.external_robot_mapping values"
                      " ('uber', 'v' || %s, %s)", serial, serial)
        servers.query("insert into coco.fleet_robot (serial) values (%s)",
                      serial)
    lane = drive(shards=2, batch=20, linger=5)
    stop, failed = threading.Event(), []
    allowed = json.dumps({
        word: {"to": "Assigned", "allowed": word != "Canceled"}
        for word in ("Created", "Assigned", "Canceled")})

    def beside(statement, arguments):
        """Until the stop; a deadlock ends it."""
        random_ = random.Random()
        with contextlib.closing(
                psycopg2.connect(servers.postgres)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not stop.is_set():
                    try:
                        cursor.execute(statement, arguments(random_))
                    except psycopg2.Error as error:
                        failed.append(error)
                        return

    finish = (
        "select coco.partner_push_finish((select coalesce(jsonb_agg("
        " jsonb_build_object('id', p.id, 'state', 'DELIVERED', 'at', 1,"
        " 'ms', 1)), '[]') from (select id from coco.partner_push"
        " where due_at is not null order by random() limit 10) p))")
    move = (
        "select coco.delivery_move('c', 'r', %s, '', d.id, %s::jsonb,"
        " jsonb_build_object('serial', %s)) from coco.delivery d"
        " where d.external_id = %s")
    threads = [threading.Thread(target=beside, args=args) for args in (
        (finish, lambda r: ()), (finish, lambda r: ()),
        *[(move, lambda r: (str(uuid.uuid4()), allowed, r.choice(robots),
                            r.choice(orders)))] * 2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(60):
            some = random.sample(orders, 6)
            push(lane, *(uber(order, "canceled" if turn % 20 == 19
                              else "pending", at=AT + turn, north=turn / 100,
                              vehicle_id="v" + random.choice(robots))
                         for order in some))
        lane.done(60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert "40P01" not in lane.logged()
    assert servers.query("select count(*) from coco.delivery") == [
        (len(orders),)]
    assert letters(servers) == []
