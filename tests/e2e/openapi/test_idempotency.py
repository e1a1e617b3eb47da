"""Repeats that come while the first write is still under way: the write is
held up by a lock on the robot's row, so that nothing is left to chance."""

import threading

import psycopg2
import pytest

from harness import await_for, new_serial, now_ms

pytestmark = pytest.mark.usefixtures("patient")

REPEATS = 4


@pytest.fixture
def robot(system):
    serial = new_serial("repeat")
    system.beat(serial, now_ms(), "PARKED")
    return serial


@pytest.fixture
def held(system, robot):
    """A transaction that holds the robot's business row."""
    connection = psycopg2.connect(system.pg_url)
    with connection.cursor() as cursor:
        cursor.execute("select 1 from coco.robot_operation"
                       " where serial = %s for update", (robot,))
    yield connection
    connection.close()


def waiting(system):
    """Statements of PATCH that wait: for the row, or for one that does."""
    return system.value("select count(*) from pg_stat_activity"
                        " where wait_event_type = 'Lock'"
                        " and query like %s", "%coco.robot_patch%")


def send(system, robot, key, body, replies):
    with system.http.__class__() as session:
        session.headers["Authorization"] = system.http.headers[
            "Authorization"]
        replies.append(session.patch(
            system.url + "/robots/" + robot, json=body, timeout=60,
            headers={"Idempotency-Key": key} if key else {}))


def repeat(system, robot, held, keys):
    replies = []
    threads = [threading.Thread(target=send, args=(
        system, robot, key, {"hasFood": True}, replies)) for key in keys]
    for thread in threads:
        thread.start()
    await_for("all wait", lambda: waiting(system) >= min(len(keys), 2), 15)
    assert replies == []
    held.rollback()
    for thread in threads:
        thread.join(60)
    return replies


def events(system, robot):
    return system.value("select count(*) from coco.outbox where serial = %s"
                        " and name = 'Robots.BusinessStateChange'"
                        " and payload->'data'->>'hasFood' = 'true'", robot)


def test_concurrent_repeats_wait_for_the_first(system, robot, held):
    replies = repeat(system, robot, held, [robot] * REPEATS)
    assert [reply.status_code for reply in replies] == [200] * REPEATS
    assert len({reply.text for reply in replies}) == 1
    assert events(system, robot) == 1


def test_of_writes_that_conflict_one_changes(system, robot, held):
    """Without a key: all wait for the row, the first changes it."""
    replies = repeat(system, robot, held, [None] * REPEATS)
    assert [reply.status_code for reply in replies] == [200] * REPEATS
    assert events(system, robot) == 1


def test_a_key_is_free_again_after_24_hours(system, robot):
    replies = []
    send(system, robot, robot, {"hasFood": True}, replies)
    system.sql("update coco.idempotency_key set created_at = now()"
               " - interval '25 hours' where key = %s", robot)
    send(system, robot, robot, {"hasFood": False}, replies)
    assert [reply.status_code for reply in replies] == [200, 200]
    assert system.get("/robots/" + robot)["business"]["hasFood"] is False
