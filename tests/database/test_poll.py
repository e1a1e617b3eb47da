"""What an nginx polls for: lines of what was not yet visible at the poll
before. Whatever the order in which transactions begin and end, none is
missed."""

import random
import threading
import time

from database import Database, at_once, heartbeats, now_ms

SECONDS = 4
SERIALS = ["s%02d" % n for n in range(24)]


class TakenBack(Exception):
    pass


class Follower:
    """Knows the supply from one load and the polls since."""

    POLL = ("select r.id, coco.supply_line(r), pg_current_snapshot()::text"
            "  from (select 1) one left join coco.resource r"
            "    on r.change_txid >= pg_snapshot_xmin(%s::pg_snapshot)"
            "   and r.change_txid < pg_snapshot_xmax(pg_current_snapshot())"
            "   and not pg_visible_in_snapshot(r.change_txid,"
            "                                  %s::pg_snapshot)")

    def __init__(self, db):
        self.db, self.polls = db, 0
        rows = db.rows("select r.id, coco.supply_line(r),"
                       " pg_current_snapshot()::text from (select 1) one"
                       " left join coco.resource r on true")
        self.snapshot = rows[0][2]
        self.lines = {row[0]: row[1] for row in rows if row[0]}

    def poll(self):
        """The robots that it brought."""
        rows = self.db.rows(self.POLL, self.snapshot, self.snapshot)
        self.snapshot = rows[0][2]
        self.polls += 1
        found = {row[0]: row[1] for row in rows if row[0]}
        self.lines.update(found)
        return sorted(found)


def test_who_commits_late_is_found(db, server):
    """Its number is below that of one that was seen before."""
    with Database(server.postgres) as slow:
        for serial in "ab":
            db.operate(serial)
        follower = Follower(db)
        with slow.transaction():
            slow.patch("a", driveable=True)
            db.patch("b", driveable=True)
            assert follower.poll() == ["b"]
            assert follower.poll() == []
            first, = slow.rows("select pg_current_xact_id()::text::bigint")[0]
        assert first < db.value("select change_txid::text::bigint"
                                "  from coco.resource where id = 'b'")
        assert follower.poll() == ["a"]
        assert follower.poll() == []


def test_heartbeats_are_not_polled_for(db):
    heartbeats(db, ["a"], now_ms())
    follower = Follower(db)
    heartbeats(db, ["a"], now_ms() + 1, battery=3)
    assert follower.poll() == []


def change(db, chance):
    """A transaction over some robots, short or long, parts of which are taken
    back, or all of it."""
    with db.transaction():
        for serial in sorted(chance.sample(SERIALS, chance.randint(1, 4))):
            db.rows("savepoint one")
            db.patch(serial, needs_pickup=chance.random() < 0.5,
                     operation_state=chance.choice(["PARKED", "ON_TRIP"]))
            if chance.random() < 0.2:
                db.hold(serial, now_ms() + 1)
            db.rows("rollback to one" if chance.random() < 0.3
                    else "release one")
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0, 0.05))
        if chance.random() < 0.2:
            raise TakenBack


def test_none_is_missed(db, server):
    for serial in SERIALS:
        db.operate(serial)
        db.patch(serial, driveable=True)
    done, followers, committed = threading.Event(), [], []

    def write(seed):
        chance, end = random.Random(seed), time.monotonic() + SECONDS
        with Database(server.postgres) as own:
            while time.monotonic() < end:
                try:
                    change(own, chance)
                    committed.append(1)
                except TakenBack:
                    pass

    def beat():
        with Database(server.postgres) as own:
            while not done.is_set():
                heartbeats(own, SERIALS, now_ms())

    def follow(pause):
        with Database(server.postgres) as own:
            follower = Follower(own)
            followers.append(follower)
            while not done.wait(pause):
                follower.poll()
            follower.poll()

    def writers():
        try:
            at_once(*[lambda seed=seed: write(seed) for seed in range(6)])
        finally:
            done.set()

    at_once(writers, beat, lambda: follow(0), lambda: follow(0.1))

    # telemetry is not polled for
    now = {serial: line[line.index(" B "):] for serial, line in db.rows(
        "select id, coco.supply_line(r) from coco.resource r")}
    print(len(committed), "transactions,",
          [follower.polls for follower in followers], "polls")
    assert len(committed) > 20
    for follower in followers:
        assert {serial: line[line.index(" B "):] for serial, line
                in follower.lines.items()} == now
