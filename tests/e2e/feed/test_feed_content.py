"""What the feed brings into the zone: the fleet by pages, what was committed
by others, and what the workers say."""

import contextlib
import os
import shutil
import subprocess

import psycopg2
import redis

from feed_field import MANY, STEP, line
from harness import await_for, new_serial


def lines(one):
    return one.metrics()["coco_feed_lines_total"]


def test_the_fleet_is_loaded_by_pages(nginx, worker, robot, place):
    worker()
    one = nginx()
    one.await_fresh()
    metrics = one.metrics()
    assert metrics["coco_zone_robots"] > len(MANY)
    assert metrics["coco_feed_loads_total"] == 1
    assert one.quote_of_zone(place)["serial"] == robot
    assert one.quit() < 5


def test_a_worker_is_heard(nginx, worker, robot, place):
    beats = worker()
    one = nginx()
    one.await_fresh()

    other = new_serial("feed")
    beats.publish(line(robot, place + 0.01),
                  "%s B 1 PARKED t-----\n" % other)
    await_for("it has moved",
              lambda: one.quote(place)["distanceMeters"] > STEP - 1)

    # what is none is refused, the rest counts
    before = one.metrics()
    beats.publish(line(robot, place + 0.02), "no line\n", line(robot, 91))
    await_for("it has moved on",
              lambda: one.quote(place)["distanceMeters"] > 2 * STEP - 1)
    beats.redis.publish("coco.supply", "no worker\n" + line(robot, place))
    await_for("all are refused", lambda: one.metrics()[
        "coco_feed_refused_total"] == before["coco_feed_refused_total"] + 3)
    assert one.quote(place)["distanceMeters"] > 2 * STEP - 1

    # late ones change nothing
    begun = lines(one)
    beats.publish(line(robot, place, ts=1_600_000_000_000))
    await_for("it was taken", lambda: lines(one) > begun)
    assert one.quote(place)["distanceMeters"] > 2 * STEP - 1


def test_lines_are_no_beat(nginx, worker, robot, place):
    """Who tells something may have more to tell, and be unable to."""
    beats = worker()
    one = nginx()
    one.await_fresh()
    beats.kill()

    def told():
        beats.publish(line(robot, place))
        return not one.fresh()

    await_for("it is not fresh", told, 10, every=0.05)


def test_what_others_commit(nginx, worker, fleet, robot, place):
    worker()
    one = nginx()
    one.await_fresh()
    assert one.quote(place)["serial"] == robot

    fleet.business([robot], "GROUNDED")
    await_for("it is seen", lambda: not one.quote(place)["feasible"], 5)
    one.await_fresh()

    # a transaction that was under way while others were polled for
    slow = psycopg2.connect(fleet.stack.postgres)
    with contextlib.closing(slow):
        slow.cursor().execute(fleet.BUSINESS, ("PARKED", [robot]))
        other = new_serial("feed")
        fleet.put([other], place)
        await_for("the other one is seen",
                  lambda: one.quote(place)["serial"] == other, 5)
        fleet.business([other], "GROUNDED")
        await_for("none is left", lambda: not one.quote(place)["feasible"], 5)
        slow.commit()
    await_for("the late one is seen",
              lambda: one.quote(place)["serial"] == robot, 5)
    assert one.metrics()["coco_feed_loads_total"] == 1


def test_more_than_a_page_changes_at_once(nginx, worker, fleet, backends):
    worker()
    one = nginx()
    one.await_fresh()
    before = lines(one)
    assert one.quote(0.0)["feasible"]

    fleet.business(MANY, "OFF_DUTY")
    await_for("all are seen", lambda: not one.quote(0.0)["feasible"], 10)
    await_for("each of them once",
              lambda: lines(one) == before + len(MANY), 10)
    fleet.business(MANY, "PARKED")
    await_for("and again", lambda: one.quote(0.0)["feasible"], 10)


def test_a_dump_was_restored(nginx, worker, fleet, robot, place):
    """Rows of a server that had counted further: they have not changed."""
    fleet.sql("""
        update coco.resource set change_txid =
               (pg_current_xact_id()::text::bigint + 1000000)::text::xid8
         where id = any (%s)
    """, MANY)
    worker()
    one = nginx()
    one.await_fresh()
    before = lines(one)
    for state in ("GROUNDED", "PARKED"):
        fleet.business([robot], state)
        await_for("it is seen", lambda: one.quote(place)["feasible"] == (
            state == "PARKED"), 5)
    await_for("no other line", lambda: lines(one) == before + 2, 5)


def test_all_is_invalid(nginx, worker, fleet, robot, place, backends):
    worker()
    one = nginx()
    one.await_fresh()
    fleet.move(robot, place + 0.01)
    assert one.quote(place)["distanceMeters"] == 0, "nobody has said it"

    client = redis.Redis.from_url(backends.redis_url)
    for message in ('{"all":true}', "nonsense"):
        before = one.metrics()["coco_feed_loads_total"]
        client.publish("coco.invalidate", message)
        await_for("it is loaded", lambda: one.metrics()[
            "coco_feed_loads_total"] == before + 1)
        one.await_fresh()
    assert one.quote(place)["distanceMeters"] > STEP - 1


def test_another_database(nginx, worker, fleet, robot, place, backends):
    """One with fewer transactions: versions of the first mean nothing."""
    worker()
    backends.kill("postgres")
    data = os.path.join(backends.folder, "postgres")
    assert os.path.exists(os.path.join(data, "PG_VERSION"))
    subprocess.run(["cp", "-a", data, data + ".old"], check=True)
    backends.restart("postgres")

    one = nginx()
    fleet.business([robot], "GROUNDED")
    for _ in range(20):
        fleet.sql("select pg_current_xact_id()")
    one.await_fresh()
    assert not one.quote(place)["feasible"]

    backends.kill("postgres")
    shutil.rmtree(data)
    os.rename(data + ".old", data)
    backends.restart("postgres")
    await_for("it is noticed", lambda: one.log("another database"))
    one.await_fresh()
    assert one.quote_of_zone(place)["serial"] == robot


def test_postgres_starts_anew(nginx, worker, robot, place, backends):
    """It may be a standby that was promoted, and lacks what was committed
    last: it has no fewer transactions, but what is known may not be there."""
    worker()
    one = nginx()
    one.await_fresh()
    before = one.metrics()

    backends.kill("postgres")
    backends.restart("postgres")
    await_for("it is noticed", lambda: one.log("another database"))
    one.await_fresh()
    assert one.quote(place)["serial"] == robot
    after = one.metrics()
    assert after["coco_feed_loads_total"] == before[
        "coco_feed_loads_total"] + 1
    assert after["coco_zone_resets_total"] == before[
        "coco_zone_resets_total"] + 1
    assert len(one.log("another database")) == 1
