"""The checks and tools of the fault suite find what they are there to find."""

import json
import threading

import checks
import pytest
from fleet import Fleet
from harness import await_for, now_ms
from proxy import Proxy
from publisher import Publisher

DATE = "date = to_timestamp(%s / 1000.0)"


@pytest.fixture
def quiet(field):
    """A fleet whose heartbeats are all in, and nothing was broken."""
    fleet = Fleet(1, "quiet%x" % now_ms(), robots=5)
    publisher = Publisher(field.stack.mqtt_port, "quiet")
    publisher.publish(fleet.first())
    checks.await_stored(field.system, fleet.serials, 5)
    publisher.publish(fleet.heartbeats(100))
    publisher.close()
    checks.await_stored(field.system, fleet.serials, 105)
    await_for("all is well",
              lambda: not checks.newest(field.system, fleet), 60)
    assert checks.history(field.system, fleet, publisher.acked) \
        == ([], [], [], [])
    assert checks.transitions(field.system, fleet) == []
    fleet.acked = publisher.acked
    return fleet


def test_finds_a_lost_row(system, quiet):
    serial, ts = quiet.acked[50]
    system.sql("delete from coco.state_history where serial = %s and " + DATE,
               serial, ts)
    found = checks.history(system, quiet, quiet.acked)
    assert found == ([(serial, ts)], [], [], [])


@pytest.mark.parametrize("table", ["state_history", "state_history_late"])
def test_finds_a_duplicate(system, quiet, table):
    serial, ts = quiet.acked[50]
    system.sql("insert into coco." + table +
               " select serial, date, gen_random_uuid(), received_at, state,"
               " details from coco.state_history where serial = %s and "
               + DATE, serial, ts)
    found = checks.history(system, quiet, quiet.acked)
    assert found == ([], [(serial, ts)], [], [])


def test_finds_what_nobody_sent(system, quiet):
    serial = quiet.serials[0]
    system.sql("insert into coco.state_history_late values"
               " (%s, now(), gen_random_uuid(), now(), 'PARKED', '{}')",
               serial)
    found = checks.history(system, quiet, quiet.acked)
    assert [key[0] for key in found.foreign] == [serial]


def test_finds_a_wrong_state(system, quiet):
    serial, ts = quiet.acked[50]
    system.sql("update coco.state_history set state = 'X'"
               " where serial = %s and " + DATE, serial, ts)
    assert len(checks.history(system, quiet, quiet.acked).wrong_state) == 1


@pytest.mark.parametrize("statement", [
    "delete from coco.outbox where seq = (select max(seq) from coco.outbox"
    " where serial = %s and name = 'Robots.StateChange')",
    "insert into coco.outbox (id, name, serial, payload)"
    " select gen_random_uuid(), name, serial, payload from coco.outbox"
    " where serial = %s and name = 'Robots.StateChange' limit 1",
    "update coco.robot_state_history set operation_state = 'X'"
    " where id = (select id from coco.robot_state_history"
    " where robot_serial = %s limit 1)"])
def test_finds_a_wrong_transition(system, quiet, statement):
    system.sql(statement, quiet.serials[2])
    found = checks.transitions(system, quiet)
    assert [finding[1] for finding in found] == [quiet.serials[2]]


def test_finds_an_older_copy(system, quiet):
    serials = quiet.serials
    system.sql("update coco.fleet_robot set telemetry_ts = telemetry_ts"
               " - interval '1 ms' where serial = %s", serials[0])
    key = "robot.heartbeat.cache." + serials[1]
    older = dict(system.cached(serials[1]), ts=now_ms() - 5000)
    system.redis.set(key, json.dumps(older))
    # nobody who writes there fails to say so: nginx serves what it has kept
    system.redis.publish("coco.invalidate", json.dumps({"serials": serials}))
    wanted = {("postgres", serials[0]), ("redis", serials[1]),
              ("http", serials[1]), ("redis", serials[2])}

    def found():
        # the check has it filled, whatever it finds
        system.redis.delete("robot.heartbeat.cache." + serials[2])
        return {tuple(finding[:2]) for finding in checks.newest(system, quiet)}

    await_for("the check finds them", lambda: found() == wanted)


# --- the tools --------------------------------------------------------------

def test_publisher_counts_what_was_acknowledged(field):
    """Cut again and again, each key comes back once, after re-sending."""
    proxy = Proxy(field.stack.mqtt_port)
    publisher = Publisher(proxy.port, "tools", reconnects=20000)
    done = threading.Event()

    def cut():
        before = 0
        while not done.wait(0.05):
            if len(publisher.acked) > before:   # or it would never end
                before = len(publisher.acked)
                proxy.command("cut")

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        count = publisher.publish(
            ((i, b"nowhere", b"x" * 100) for i in range(20000)))
    finally:
        done.set()
        cutter.join()
        publisher.close()
        proxy.close()
    assert count == len(set(publisher.acked)) == 20000
    assert publisher.resent > 0


def test_publisher_waits_for_an_acknowledgement(field):
    """A broker that says nothing acknowledges nothing."""
    proxy = Proxy(field.stack.mqtt_port)
    publisher = Publisher(proxy.port, "tools", window=10)
    try:
        publisher.publish([(0, b"nowhere", b"")])
        proxy.command("stall")
        with pytest.raises(TimeoutError):
            publisher.publish(((i, b"nowhere", b"") for i in range(1, 100)),
                              seconds=0.3)
        assert publisher.acked == [0]
        proxy.command("resume")
        publisher.publish([])
        assert publisher.acked == list(range(11))
    finally:
        publisher.close()
        proxy.close()
