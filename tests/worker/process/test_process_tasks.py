"""What is due for robots, from its row to what it changes: at its time, each
once, also when another worker was reading; refused and replayed."""

import json
import time
import uuid

import pytest

from process import rows
from stack import wait_for


def command_put(stack, serial, *seconds):
    """Commands that nobody sends, with the tasks that end them after so many
    seconds; their ids."""
    return [found for found, in rows(
        stack, "with c as (insert into coco.robot_command (id, serial,"
        "  command, issued_at, expires_at, next_send_at)"
        "  select gen_random_uuid(), %s, 'OPEN_LID', now(),"
        "  now() + make_interval(secs => s), 'infinity'"
        "  from unnest(%s::float8[]) s returning *)"
        " select id::text from c cross join lateral coco.robot_task_put("
        "  gen_random_uuid(), serial, 'EXPIRY', expires_at,"
        "  jsonb_build_object('command', id)) p", serial, list(seconds))]


def late(stack, serial):
    """By how many seconds each command ended after its time; None: not yet."""
    return [float(late) if late is not None else None for late, in rows(
        stack, "select case when outcome = 'EXPIRED' then"
        " extract(epoch from done_at - expires_at) end"
        " from coco.robot_command where serial = %s", serial)]


def await_end(stack, serial, seconds=30):
    wait_for(lambda: None not in late(stack, serial), seconds,
             "the end of the commands of " + serial)


def reading(one):
    return one.log().count("event=tasks_reading service=state")


def test_at_its_time(stack, worker, capsys):
    """No poll is needed, and what comes later holds nothing up."""
    worker(stack.port, tasks={"poll": "1m"}).start()
    command_put(stack, "first-1", 0)           # who has begun to read
    await_end(stack, "first-1")
    command_put(stack, "later-1", 300)
    command_put(stack, "due-1", *(n / 20 for n in range(20)))
    await_end(stack, "due-1")
    took = late(stack, "due-1")
    with capsys.disabled():
        print("\nend of a command after its time: median %.1f ms, worst"
              " %.1f ms" % (sorted(took)[10] * 1000, max(took) * 1000))
    # the next look without being told would be in a minute
    assert min(took) >= 0 and sorted(took)[10] < 0.1 and max(took) < 5
    assert late(stack, "later-1") == [None]
    assert rows(stack, "select serial from coco.robot_task") == [("later-1",)]
    rows(stack, "delete from coco.robot_task")


def test_put_forward(stack, worker):
    """A row that is written anew is due by what it says now."""
    worker(stack.port, tasks={"poll": "1m"}).start()
    command, = command_put(stack, "forward-1", 50)
    time.sleep(0.2)                            # it may be asleep for 50 s
    rows(stack, "update coco.robot_command set expires_at = now()"
         " where id = %s", command)
    rows(stack, "select coco.robot_task_put(id, serial, kind, now(), data)"
         " from coco.robot_task where serial = 'forward-1'")
    await_end(stack, "forward-1", 20)


def test_many_each_once(stack, worker):
    """More than may be in flight, put before and while the worker reads."""
    count = 5000
    command_put(stack, "many-1", *[0] * (count // 2))
    one = worker(stack.port).start()
    command_put(stack, "many-2", *[0] * (count // 2))
    for serial in ("many-1", "many-2"):
        await_end(stack, serial, 60)
    assert rows(stack, "select count(*) from coco.robot_task") == [(0,)]
    # a message is counted as received after the lane has it
    for name in ("committed", "received"):
        one.await_metric("coco_messages_%s_total" % name, count, "events")


def test_one_reads_another_takes_over(stack, worker, block):
    first = worker(stack.port).start()
    wait_for(lambda: reading(first), 30, "the first")
    second = worker(stack.port, http={"port": block + 6},
                    mqtt={"client_id": "second"},
                    tasks={"poll": "100ms"}).start()
    command_put(stack, "over-1", 0)
    await_end(stack, "over-1")
    assert not reading(second)

    first.kill()
    command_put(stack, "over-2", 0)
    await_end(stack, "over-2")
    assert reading(second) == 1
    first.start()


def test_postgres_restarts(stack, worker):
    """While the worker sleeps until the next."""
    one = worker(stack.port, tasks={"poll": "1m"}).start()
    wait_for(lambda: reading(one), 30, "the lock")
    stack.kill("postgres")
    wait_for(lambda: "postgres_unavailable" in one.log(), 30, "the loss")
    stack.restart("postgres")
    wait_for(lambda: reading(one) == 2, 30, "the return")
    command_put(stack, "back-1", 0.2)
    await_end(stack, "back-1", 20)


@pytest.mark.parametrize("kind, good", [
    ("SEEN", {"id": str(uuid.uuid4()), "open": True, "ts": 1790000000000}),
    ("ARRIVAL", {"id": str(uuid.uuid4()), "delivery": str(uuid.uuid4()),
                 "at": "pickup", "ts": 1790000000000})])
def test_refused_and_replayed(stack, worker, kind, good):
    """What is refused ends the row, is kept with its robot, and goes another
    time once it can."""
    worker(stack.port).start()
    topic = kind + "/again-1"
    rows(stack, "select coco.robot_task_put(gen_random_uuid(), 'again-1', %s,"
         " now(), '{}')", kind)

    def letters():
        return rows(stack, "select source, service, convert_from(payload,"
                    " 'UTF8'), replay_outcome from coco.dead_letter"
                    " where topic = %s", topic)

    wait_for(letters, 30, "the letter")
    assert letters() == [("task", "decoder", "{}", None)]
    assert rows(stack, "select 1 from coco.robot_task") == []
    rows(stack, "update coco.dead_letter set payload = %s,"
         " replayed_at = now() where topic = %s", json.dumps(good).encode(),
         topic)
    wait_for(lambda: letters()[0][3] == "APPLIED", 30, "the replay")
