"""A database that was in use gets its supply, its demands, and what cities are
told, from what there is."""

import os
import shutil
import subprocess
import sys

import psycopg2
import pytest
from database import PLACES, STATUSES, Database, heartbeats, now_ms
from psycopg2.extras import Json
from stack import ROOT, wait_for

sys.path.append(os.path.join(ROOT, "tests/worker/mds"))

import city  # noqa: E402

WORKER = os.path.join(os.environ.get("COCO_BIN", os.path.join(ROOT, "bin")),
                      "coco-worker")
MIGRATE = os.path.join(ROOT, "scripts/migrate")
MIGRATIONS = os.path.join(ROOT, "db/migrations")


@pytest.fixture
def old(server, tmp_path, request):
    """(a session of a database as it was before dispatch, or the migration
    that the test names, upgrade())."""
    for name in os.listdir(MIGRATIONS):
        if name < getattr(request, "param", "0007"):
            shutil.copy(os.path.join(MIGRATIONS, name), tmp_path)
    admin = Database("host=127.0.0.1 port=%d user=postgres dbname=postgres"
                     % server.postgres_port)
    admin.rows("create database upgraded owner coco")
    url = "host=127.0.0.1 port=%d user=coco dbname=upgraded" \
        % server.postgres_port

    def migrate(*folder):
        subprocess.run([MIGRATE, url, *folder], check=True, timeout=60,
                       stderr=subprocess.DEVNULL)

    try:
        migrate(str(tmp_path))
        with Database(url) as db:
            yield db, migrate
    finally:
        admin.rows("drop database upgraded with (force)")
        admin.connection.close()


def deliver(db, key, ready=None, serial=None):
    """Before there were demands; its id."""
    body = {**PLACES, "externalId": key, "provider": "p"}
    if ready:
        body["readyAt"] = ready
    db.rows("select coco.delivery_create('', '', null, null, %s)", Json(body))
    delivery = db.value("select id from coco.delivery where external_id = %s",
                        key)
    if serial:
        step(db, delivery, "Assigned", serial=serial)
    return delivery


def step(db, delivery, status, **body):
    moves = {one: {"to": status, "allowed": True} for one in STATUSES}
    db.rows("select coco.delivery_move('', '', null, null, %s, %s, %s)",
            delivery, Json(moves), Json(body))


def hear(db, serial, at, lid=None):
    details = {} if lid is None else {"lid": {"open": lid}}
    for table, values in (
            ("robot_state (serial, id, state, ts, received_at, order_ts,"
             " details)", (serial, "PARKED", at, at, at, Json(details))),
            ("fleet_robot (serial, telemetry_id, telemetry_ts,"
             " telemetry_order_ts, healthy, latitude, longitude,"
             " battery_percent)", (serial, at, at, True, 52.1, 13.1, 61.5))):
        marks = ["%s"] + ["gen_random_uuid()"] + [
            "coco.from_ms(%s)" if value == at else "%s"
            for value in values[1:]]
        db.rows("insert into coco.%s values (%s)"
                % (table, ", ".join(marks)), *values)


def test_the_supply_of_a_database_in_use(old):
    db, migrate = old
    now = now_ms()
    hear(db, "heard", now, lid=True)
    hear(db, "silent", now - 3600000)
    db.rows("insert into coco.lid_robot (serial, is_open, changed_at) values"
            " ('heard', false, coco.from_ms(%s)),"
            " ('silent', false, null), ('lid', true, coco.from_ms(%s))",
            now - 5, now)
    db.rows("insert into coco.robot_operation (serial, operation_state,"
            " changed_at) values ('heard', 'OFF_DUTY', now() - interval '1h'),"
            " ('seeded', 'OFF_DUTY', '-infinity')")
    db.rows("select coco.robot_patch('', '', null, null, 'heard', %s)",
            Json({"operation_state": "ON_TRIP", "needs_pickup": True,
                  "deployed": {"type": "MRO"}}))

    created = deliver(db, "created", ready=now + 3600000)
    waiting = deliver(db, "waiting", serial="heard")
    driving = deliver(db, "driving", serial="busy")
    step(db, driving, "EnrouteToPickup")
    canceled = deliver(db, "canceled", serial="free")
    step(db, canceled, "Canceled", reason="closed")
    told = db.value("select count(*) from coco.outbox")

    migrate()

    assert dict(db.rows("select id, type from coco.demand")) == {
        created: "SCHEDULED", waiting: "PENDING", driving: "ACTIVE"}
    assert [row[0] for row in db.rows(
        "select id from coco.resource order by id")] == [
        "busy", "free", "heard", "seeded", "silent"]

    heard = db.robot("heard")
    changed = db.value("select coco.to_ms(changed_at) from"
                       " coco.robot_operation where serial = 'heard'")
    identity = db.value("select telemetry_id from coco.fleet_robot"
                        " where serial = 'heard'")
    assert heard == {
        "serial": "heard", "status": "ONLINE", "battery": 61.5,
        "lastSynced": now, "healthy": True, "deployed": {"type": "MRO"},
        "location": {"latitude": 52.1, "longitude": 13.1},
        "futureDemand": [], "activeDemand": heard["activeDemand"],
        "needsMovement": None, "hasFood": None, "tripType": "DEPLOYMENT",
        "needsMaintenance": None, "needsPickup": True, "driveable": None,
        "operationState": "ON_TRIP", "attemptCancellationReason": None,
        "undergoingMaintenance": None}
    assert heard["activeDemand"]["id"] == str(waiting)
    assert db.line("heard") == (
        "heard T 521000000 131000000 61.5 %d %d %s 1 B %d ON_TRIP --t---"
        " D 0 1 0 L %d 1" % (now, now, identity, changed, now))
    assert db.robot("silent")["status"] == "OFFLINE"
    assert db.robot("busy")["tripType"] == "DELIVERY"
    assert db.line("busy") == "busy D 0 1 0"
    assert db.robot("free")["attemptCancellationReason"] == "closed"
    assert db.line("free") == "free D 0 0 0"
    assert db.line("seeded") == "seeded D 0 0 0"
    assert db.value("select count(*) from coco.outbox") == told

    # and it goes on from there
    assert db.move(waiting, "assign", serial="free")[2] == [
        "free D 1 1 0", "heard" + db.line("heard")[5:]]
    assert db.move(created, "cancel", reason="x")[0] == 200
    assert [row[0] for row in db.rows("select id from coco.demand"
                                      " order by created_at")] == [
        waiting, driving]


def test_an_empty_one(old):
    db, migrate = old
    migrate()
    assert db.rows("select from coco.resource") == []
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.rows("insert into coco.demand (type, pickup_latitude,"
                " pickup_longitude, dropoff_latitude, dropoff_longitude,"
                " created_at, updated_at)"
                " values ('x', 1, 1, 1, 1, now(), now())")


# --- to partners and cities --------------------------------------------------

LIFE = ("assign", "depart", "arrive", "load", "depart", "arrive", "complete")
STATES = dict(zip(STATUSES[1:], (
    "reserved", "on_trip", "stopped", "stopped", "on_trip", "stopped",
    "available", "available")))


def live(db, external, provider, steps, serial):
    """A delivery that has come so far."""
    delivery = db.deliver(externalId=external, provider=provider)
    for event in steps:
        body = {"assign": {"serial": serial}, "cancel": {"reason": "closed"}}
        assert db.move(delivery, event, **body.get(event, {}))[0] == 200
    return delivery


@pytest.fixture
def worker(server, tmp_path):
    """Tells cities, and a partner that is away, of the upgraded database."""
    running = []

    def start():
        log = open(tmp_path / "worker.log", "w")
        options = {
            "PROCESS_SERVICES": "integrations,mds",
            "HTTP_PORT": server.port + 6, "REDIS_PORT": server.port + 2,
            "JOURNAL_PATH": tmp_path / "journal",
            "DOORDASH_BASE_URL": "http://127.0.0.1:%d" % server.port,
            "DOORDASH_DEVELOPER_ID": "d", "DOORDASH_KEY_ID": "k",
            "DOORDASH_SIGNING_SECRET": "c2VjcmV0",
            "POSTGRES_CONNINFO": "host=127.0.0.1 port=%d user=coco"
            " dbname=upgraded" % server.postgres_port}
        running.append(subprocess.Popen(
            [WORKER], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log,
            env=dict(os.environ, **{"COCO_WORKER_" + name: str(value)
                                    for name, value in options.items()})))

    yield start
    for process in running:
        process.terminate()
        assert process.wait(30) == 0


def await_told(db):
    wait_for(lambda: db.value("select count(*) from coco.mds_fact") == 0, 60,
             "facts that are told")


@pytest.mark.parametrize("old", ["0008"], indirect=True)
def test_what_is_under_way_is_told(worker, old):
    """From here on: of the past nothing goes out."""
    db, migrate = old
    steps = dict(zip(STATUSES, [LIFE[:n] for n in range(8)] +
                     [("assign", "depart", "cancel")]))
    robots = ["idle", "silent", "mended", "first", "second"] + [
        "on-" + status for status in STATUSES[1:]]
    for serial in robots:
        db.operate(serial)
        assert db.patch(serial, operation_state="DEPLOYED")[0] == 200
    heartbeats(db, [r for r in robots if r != "silent"], now_ms())
    heartbeats(db, ["silent"], now_ms() - 3600000, status="OFFLINE")
    db.patch("mended", undergoing_maintenance=True)
    deliveries = {
        status: live(db, status, ("uber", "doordash")[n % 2], path,
                     "on-" + status)
        for n, (status, path) in enumerate(steps.items())}
    again = live(db, "again", "doordash", ("assign", "depart"), "first")
    assert db.move(again, "assign", serial="second")[0] == 200
    assert [status for status, in db.rows(
        "select status from coco.delivery where external_id <> 'again'"
        " order by created_at")] == list(STATUSES)
    letter = db.value(
        "insert into coco.dead_letter (id, source, service, topic, reason,"
        " payload, received_at) values (gen_random_uuid(), 'mqtt', 'decoder',"
        " 'robot/x/status', 'r', '', now()) returning id")
    before = db.rows("select id, status, serial, store, changes from"
                     " coco.delivery order by id")

    migrate()

    assert before == db.rows("select id, status, serial, store, changes from"
                             " coco.delivery order by id")
    assert db.rows("select from coco.partner_push") == []
    assert dict(db.rows("select kind, count(*) from coco.mds_fact"
                        " group by 1")) == {
        "BUSINESS": len(robots), "COMMS": len(robots), "DELIVERY": 7}
    worker()
    await_told(db)
    told = city.told(db.connection)
    assert set(told) == set(robots)
    for events in told.values():
        city.check_legal(events)
    assert {serial: events[-1][1] for serial, events in told.items()} == {
        "idle": "available", "silent": "non_contactable",
        "mended": "non_operational", "first": "available",
        "second": "reserved",
        **{"on-" + status: state for status, state in STATES.items()}}
    assert told["mended"][-1][0] == "maintenance"
    trips = [told["on-" + status][-1][3] for status in STATUSES[1:]]
    assert trips == [(str(deliveries[status]),) for status in STATUSES[1:7]] \
        + [(), ()]

    # and it goes on from there
    for status in STATUSES[:7]:
        for event in LIFE[len(steps[status]):]:
            assert db.move(deliveries[status], event, serial="idle")[0] == 200
    assert db.move(again, "cancel", reason="closed")[0] == 200
    await_told(db)
    for serial, events in city.told(db.connection).items():
        city.check_legal(events)
        if serial not in ("silent", "mended"):
            assert events[-1][1] == "available", serial
    assert db.value("select count(*) from coco.mds_trip"
                    " where end_time is null") == 0
    assert {status: [s for s, in db.rows(
        "select status from coco.partner_push where delivery_id = %s"
        " and kind = 'STATUS' order by number", deliveries[status])]
        for status in STATUSES} == {
            status: list(STATUSES[n + 1:8]) if n < 7 else []
            for n, status in enumerate(STATUSES)}
    assert db.value("select status from coco.dead_letter_replay('t', 'r',"
                    " null, '', %s)", letter) == 202
