"""The feed is cut in every place, and comes back by itself: while it is, what
is answered is what was committed; afterwards the zone is served again."""

import os
import signal
import time

import redis

from feed_field import STEP, line
from harness import await_for
from proxy import Proxy

STALE = 0.5     # seconds: older, nothing is served from the zone
BACK = 2.0      # within these it is served again


def losses(one):
    return one.log(r"zone: not fresh")


def returns(one):
    return one.log(r"zone: fresh after")


def committed_only(one, fleet, robot, place, step=1):
    """Without a feed, and without a worker that says it, it is seen."""
    fleet.move(robot, place + 0.01 * step)
    quote = one.quote(place)
    assert quote["serial"] == robot
    assert abs(quote["distanceMeters"] - step * STEP) < 5, quote
    assert "partial" not in quote


def test_redis_killed(nginx, worker, fleet, robot, place, backends):
    worker()
    one = nginx()
    one.await_fresh()
    one.holder()
    said = len(returns(one))

    backends.kill("redis")
    one.await_fresh(False, STALE + 1)
    committed_only(one, fleet, robot, place)
    await_for("it is said", lambda: "coco_redis" in str(losses(one)))
    committed_only(one, fleet, robot, place, 2)

    backends.restart("redis")
    assert one.await_fresh() < BACK
    quote = one.quote(place)
    assert quote["distanceMeters"] > 2 * STEP - 1, quote
    await_for("it is said", lambda: len(returns(one)) > said)
    assert len([row for row in losses(one) if "coco_redis" in row]) == 1


def test_redis_forgets(nginx, worker, robot, place, backends):
    """FLUSHALL: copies are gone, what is listened to is not."""
    worker()
    one = nginx()
    one.await_fresh()
    client = redis.Redis.from_url(backends.redis_url)
    client.flushall()
    for _ in range(20):
        assert one.quote(place)["serial"] == robot
        one.await_fresh()
    assert losses(one) == []
    assert one.metrics()["coco_feed_loads_total"] == 1


def test_redis_hangs(nginx, worker, fleet, robot, place, backends):
    worker()
    one = nginx()
    one.await_fresh()
    os.kill(backends.pid("redis"), signal.SIGSTOP)
    try:
        one.await_fresh(False, STALE + 1)
        committed_only(one, fleet, robot, place)
    finally:
        os.kill(backends.pid("redis"), signal.SIGCONT)
    assert one.await_fresh() < BACK


def test_subscription_half_open(nginx, worker, fleet, robot, place, backends):
    """Redis answers others; this connection is silent for ever."""
    worker()
    proxy = Proxy(backends.redis_port)
    try:
        one = nginx(redis_port=proxy.port)
        one.await_fresh()
        opened = proxy.count()
        fleet.move(robot, place + 0.01)
        begun = time.monotonic()
        proxy.command("abandon")
        await_for("a new connection", lambda: proxy.count() > opened)
        await_for("it was loaded anew", lambda: one.metrics()[
            "coco_feed_loads_total"] == 2)
        one.await_fresh()
        assert time.monotonic() - begun < BACK
        assert one.quote(place)["distanceMeters"] > STEP - 1
    finally:
        proxy.close()


def test_worker_killed(nginx, worker, fleet, robot, place, backends):
    first, second = worker("one:9100"), worker("two:9100")
    one = nginx()
    one.await_fresh()

    first.kill()
    begun = time.monotonic()
    one.await_fresh(False)
    assert time.monotonic() - begun < STALE + 0.3
    committed_only(one, fleet, robot, place)
    await_for("it is said", lambda: '"one:9100"' in str(losses(one)))

    first = worker("one:9100")
    assert one.await_fresh() < BACK

    # one that says that it leaves is not missed
    first.stop()
    until = time.monotonic() + 2 * STALE
    while time.monotonic() < until:
        await_for("fresh", one.fresh, STALE)
    assert '"one:9100"' not in str(losses(one)[1:])
    assert second.alive


def test_no_worker_at_all(nginx, fleet, robot, place):
    one = nginx()
    await_for("it is said", lambda: losses(one))
    assert "no coco-worker" in losses(one)[0]
    assert not one.fresh()
    committed_only(one, fleet, robot, place)


def test_postgres_killed(nginx, worker, robot, place, backends):
    beats = worker()
    one = nginx()
    one.await_fresh()
    assert one.quote(place)["serial"] == robot

    backends.kill("postgres")
    one.await_fresh(False, STALE + 1)
    # the last known, which is still told what the workers have to say
    beats.publish(line(robot, place + 0.01))
    await_for("it has moved",
              lambda: one.quote(place)["distanceMeters"] > STEP - 1)
    assert one.quote(place)["partial"] is True

    backends.restart("postgres")
    one.await_fresh()
    assert "partial" not in one.quote(place)


def test_postgres_hangs(nginx, worker, fleet, robot, place, backends):
    """The statements of nginx wait: nothing is served that they might say."""
    worker()
    one = nginx([(r"coco_postgres_timeout \w+",
                  "coco_postgres_timeout 700ms")])
    one.await_fresh()
    blocker = fleet.__class__(backends)
    blocker.sql("select 1")
    blocker.connection.autocommit = False
    blocker.sql("lock table coco.resource")
    try:
        one.await_fresh(False, STALE + 1)
        quote = one.quote(place)
        assert (quote["serial"], quote["partial"]) == (robot, True)
    finally:
        blocker.connection.close()
    one.await_fresh()


def test_holder_killed(nginx, worker, fleet, robot, place, backends):
    worker()
    one = nginx(globals_="worker_processes 2;", changes=[
        (r"worker_processes \w+;", "")])
    one.await_fresh()
    nginx.killed = 3
    client = redis.Redis.from_url(backends.redis_url)
    for step in (1, 2, 3):
        holder, said = one.holder(), len(returns(one))
        fleet.move(robot, place + 0.01 * step)
        begun = time.monotonic()
        os.kill(holder, signal.SIGKILL)
        await_for("another takes over", lambda: len(returns(one)) > said)
        one.await_fresh()
        assert time.monotonic() - begun < BACK
        assert one.quote(place)["distanceMeters"] > step * STEP - 5
        await_for("one listens", lambda: client.pubsub_numsub("coco.supply")[
            0][1] == 1)


def test_reload(nginx, worker, fleet, robot, place, backends):
    """Also in the middle of a load: the old process lets go at once."""
    worker()
    one = nginx()
    one.await_fresh()
    client = redis.Redis.from_url(backends.redis_url)
    for step in range(1, 6):
        fleet.move(robot, place + 0.01 * step)
        if step % 2:
            client.publish("coco.invalidate", '{"all":true}')
        one.holder()
        said = len(returns(one))
        old = one.reload()
        await_for("new processes take over",
                  lambda: len(returns(one)) > said, BACK)
        one.await_fresh()
        assert one.quote(place)["distanceMeters"] > step * STEP - 5
        await_for("the old ones leave", lambda: not one.workers() & old, 5)
    assert one.quit() < 5


def test_single_process(nginx, worker, fleet, robot, place):
    beats = worker()
    one = nginx(globals_="master_process off;")
    one.await_fresh()
    assert one.quote(place)["serial"] == robot
    beats.kill()
    one.await_fresh(False)
    committed_only(one, fleet, robot, place)
    assert one.quit() < 5


def test_nginx_itself_was_stopped(nginx, worker, fleet, robot, place):
    """What it finds unread when it goes on is old: a worker that died in the
    meantime is not taken for alive by its last words."""
    beats = worker()
    one = nginx(globals_="master_process off;")
    one.await_fresh()
    os.kill(one.process.pid, signal.SIGSTOP)
    time.sleep(2 * STALE)       # its clock goes on
    beats.kill()
    fleet.move(robot, place + 0.01)
    os.kill(one.process.pid, signal.SIGCONT)
    assert one.quote(place)["distanceMeters"] > STEP - 1
