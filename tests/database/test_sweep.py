"""Time passes in the supply: coco.supply_sweep()."""

import os

from database import Database, heartbeats, now_ms

ONLINE = 60000
ROBOTS = 10000
SWEEPS = 50


def sweep(db):
    return db.value("select coco.supply_sweep(%s)", ONLINE)


def test_who_is_silent_is_offline(db):
    heartbeats(db, ["a", "b"], now_ms() - ONLINE - 1000)
    heartbeats(db, ["c"], now_ms() - ONLINE + 30000)
    before = db.columns("a", "change_txid, demand_version")
    assert [sweep(db), sweep(db)] == [2, 0]
    assert [db.robot(s)["status"] for s in "abc"] == [
        "OFFLINE", "OFFLINE", "ONLINE"]
    assert db.told("a") == db.told("b") == [{"status": "OFFLINE"}]
    assert db.told("c") == []
    assert db.columns("a", "change_txid, demand_version") == before


def test_a_demand_whose_time_has_come_is_pending(db):
    soon = now_ms() + 3600000
    delivery = db.deliver(readyAt=soon)
    db.move(delivery, "assign", serial="a")
    db.demand(readyAt=soon)
    db.demand(readyAt=soon + 7200000)
    assert db.robot("a")["futureDemand"][0]["type"] == "SCHEDULED"
    assert sweep(db) == 0
    # an hour later
    db.rows("update coco.demand set ready_at = ready_at - interval '1 hour'")
    assert sweep(db) == 2
    assert db.robot("a")["activeDemand"]["type"] == "PENDING"
    assert db.line("a") == "a D 2 1 0"
    assert sorted(row[0] for row in db.rows("select type from coco.demand")) \
        == ["PENDING", "PENDING", "SCHEDULED"]
    assert db.told("a")[-1] == {"futureDemand": [],
                                "activeDemand": db.robot("a")["activeDemand"]}


def test_it_waits_for_nobody(db, server):
    heartbeats(db, ["a", "b"], now_ms() - ONLINE - 1000)
    delivery = db.deliver()
    db.move(delivery, "assign", serial="a")
    db.rows("update coco.demand set type = 'SCHEDULED', ready_at = now()")
    with Database(server.postgres) as other:
        with other.transaction():
            other.rows("select from coco.resource where id = 'a' for update")
            db.rows("set lock_timeout = '2s'")
            assert sweep(db) == 1
        with other.transaction():
            other.rows("select pg_advisory_xact_lock(hashtext("
                       "'coco.supply_sweep'))")
            assert sweep(db) == 0
    assert sweep(db) == 2                        # a, and its demand


def cpu_ms(db):
    """What the session's server process has used, whoever else is busy."""
    with open("/proc/%d/stat" % db.connection.get_backend_pid()) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) * 1000 / os.sysconf("SC_CLK_TCK")


def test_ten_thousand_robots_are_swept_in_passing(db):
    """Nothing is due, whatever the fleet is: all heard, or all silent."""
    for age, due in ((0, 0), (2 * ONLINE, ROBOTS)):
        heartbeats(db, ["s%05d" % n for n in range(ROBOTS)],
                   now_ms() - age + (due > 0))
        if due:
            db.rows("update coco.resource set telemetry_order_ts ="
                    " coco.from_ms(%s)", now_ms() - age)
            assert [sweep(db) for _ in range(11)] == [1000] * 10 + [0]
        db.rows("vacuum analyze coco.resource")
        begun = cpu_ms(db)
        assert {sweep(db) for _ in range(SWEEPS)} == {0}
        took = (cpu_ms(db) - begun) / SWEEPS
        print("a sweep of %d robots: %.1f ms" % (ROBOTS, took))
        assert took < 10


def test_heartbeats_leave_the_indexes_alone(db):
    """Telemetry changes no indexed column: its updates are HOT."""
    serials = ["s%03d" % n for n in range(500)]
    at = now_ms()
    heartbeats(db, serials, at)
    db.rows("vacuum analyze coco.resource")
    size = "select pg_relation_size('coco.resource_change')"
    before = db.value(size)
    counts = ("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables"
              " where relid = 'coco.resource'::regclass")

    def counted():
        db.rows("select pg_stat_force_next_flush(),"
                " pg_stat_clear_snapshot()")
        db.rows("select 1")
        return db.rows(counts)[0]

    updates, hot = counted()
    for turn in range(1, 21):
        heartbeats(db, serials, at + turn, battery=50.5 - turn)
        db.rows("update coco.resource set lid_open = %s, lid_at ="
                " coco.from_ms(%s) where id = any (%s)", turn % 2 == 0,
                at + turn, serials[::5])
    after = counted()
    assert after[0] - updates == 20 * (500 + 100)
    assert after[1] - hot >= 0.98 * (after[0] - updates)
    assert db.value(size) == before
