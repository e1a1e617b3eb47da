"""A database that was in use gets its supply and its demands from what there
is."""

import os
import shutil
import subprocess

import psycopg2
import pytest
from database import PLACES, STATUSES, Database, now_ms
from psycopg2.extras import Json
from stack import ROOT

MIGRATE = os.path.join(ROOT, "scripts/migrate")
MIGRATIONS = os.path.join(ROOT, "db/migrations")


@pytest.fixture
def old(server, tmp_path):
    """(a session of a database as it was before dispatch, upgrade())."""
    for name in os.listdir(MIGRATIONS):
        if name < "0007":
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
