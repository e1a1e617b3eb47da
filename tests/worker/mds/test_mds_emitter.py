"""The emitter itself: each fact once whatever dies, one emitter at a time,
what cannot be told set aside, and how far it says that all is told."""

import json
import os
import random
import time

import psycopg2
import pytest
import requests

import city
from process import rows
from stack import wait_for

SEED = int(os.environ.get("COCO_TEST_SEED", time.time_ns() & 0xffff))


def count(stack, table="mds_fact"):
    return rows(stack, "select count(*) from coco." + table)[0][0]


def health(one):
    return requests.get(one.url + "/healthz", timeout=30).json()["mds"]


def peak(one):
    """Bytes of memory, at most."""
    with open("/proc/%d/status" % one.process.pid) as file:
        line, = (line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def await_none(stack, seconds=60):
    wait_for(lambda: count(stack) == 0, seconds, "the facts to be taken")


def progress(stack):
    """(since, up_to) as seconds, or None."""
    return rows(stack, "select extract(epoch from since)::float8,"
                " nullif(extract(epoch from up_to), '-infinity')::float8"
                " from coco.mds_progress")[0]


def whole(db):
    """All that was told, but for ids and times of our making."""
    with db, db.cursor() as cursor:
        cursor.execute(
            "select v.serial, t.trip_id::text, t.delivery_id::text,"
            " t.end_time is null, t.canceled, t.requested_time"
            " from coco.mds_trip t join coco.mds_vehicle v using (device_id)"
            " order by 1, 2")
        trips = cursor.fetchall()
        cursor.execute("select serial, vehicle_state, memory - 'toldAt'"
                       " from coco.mds_vehicle order by serial")
        vehicles = cursor.fetchall()
    return trips, vehicles, {
        serial: [(event, state, names) for event, state, _, names in events]
        for serial, events in city.told(db).items()}


def test_kills(stack, db, worker, capsys):
    """SIGKILLs in the midst of the facts of 50 robots: what is told is legal,
    and what an emitter tells that nobody kills."""
    rng, midway = random.Random(SEED), 0
    facts = city.facts(SEED, 50, 24000)
    one = worker()
    for at in range(0, len(facts), 4000):
        before = count(stack, "mds_event")
        city.put(db, facts[at:at + 4000])
        one.start(ready=False)
        wait_for(lambda: count(stack, "mds_event") > before, 30, "an event",
                 every=0.002)
        time.sleep(rng.random() * 0.03)       # anywhere in a later round
        one.kill()
        midway += count(stack) > 0
    one.start()
    await_none(stack)
    one.kill()
    found = whole(db)
    for events in city.told(db).values():
        city.check_legal(events)
    trips = city.under_way(facts)
    for serial, state, memory in found[1]:    # whose ends all could be told
        assert state == "non_contactable" or trips[serial] == {
            trip["trip"] for trip in memory["trips"]}, serial

    city.clear(db)
    city.put(db, facts)
    one.start()
    await_none(stack)
    with capsys.disabled():
        print("\nseed %d: killed %d times among its facts" % (SEED, midway))
    assert midway > 1
    assert found == whole(db)
    assert len(found[0]) > 500


def test_backlog(stack, db, worker, capsys):
    """What has gathered while no emitter was there, in bounded memory."""
    facts = city.facts(SEED, 1000, 40000)
    city.put(db, facts)
    one = worker().start()
    begun = time.monotonic()
    await_none(stack)
    took = time.monotonic() - begun
    with capsys.disabled():
        print("\n%.0f facts/s, %.0f MB" % (len(facts) / took,
                                           peak(one) / 1e6))
    assert peak(one) < 150e6
    # counted once they are committed
    one.await_metric("coco_mds_facts_total", len(facts), "events")
    one.await_metric("coco_mds_events_total", count(stack, "mds_event"),
                     "events")
    for events in city.told(db).values():
        city.check_legal(events)


def test_one_emits_another_takes_over(stack, db, worker):
    first = worker().start()
    wait_for(lambda: "mds_emitting" in first.log(), 60, "the first")
    second = worker(http={"port": stack.free_port}).start()
    city.put(db, [("over-1", "COMMS", {"online": True})])
    await_none(stack)
    assert health(first) == {"alive": True, "emitting": True}
    assert health(second) == {"alive": True, "emitting": False}

    first.kill()
    city.put(db, [("over-2", "COMMS", {"online": True})])
    await_none(stack)
    assert health(second)["emitting"]
    assert second.log().count("mds_emitting") == 1


def test_postgres_restarts(stack, db, worker):
    one = worker().start()
    wait_for(lambda: "mds_emitting" in one.log(), 60, "the lock")
    stack.kill("postgres")
    wait_for(lambda: "mds_failed" in one.log(), 60, "the loss")
    stack.restart("postgres")
    wait_for(lambda: one.log().count("mds_emitting") == 2, 60, "the return")
    rows(stack, "insert into coco.mds_fact (serial, ts, kind, data) values"
         " ('back-1', now(), 'COMMS', '{\"online\":true}')")
    await_none(stack)
    assert count(stack, "mds_event") == 1


@pytest.mark.parametrize("kind, bad, good, field", [
    ("COMMS", {"online": "yes"}, {"online": True}, "online"),
    ("DELIVERY", {"trip": "7"},
     city.Robot.delivery("8f6c2f1e-3d0a-4c55-9f27-5d1a2b3c4d5e",
                         "Assigned")[1], "trip"),
    ("WEATHER", {}, None, "kind")])
def test_refused_and_replayed(stack, db, worker, kind, bad, good, field):
    """What cannot be decoded is set aside whole, the rest goes on; it may
    come again."""
    worker().start()
    city.put(db, [("bad-1", "COMMS", {"online": True}), ("bad-1", kind, bad),
                  ("bad-2", kind, bad), ("good-1", "COMMS", {"online": True})])
    await_none(stack)
    letters = rows(stack, "select id, source, service, topic, field, reason,"
                   " convert_from(payload, 'UTF8')::jsonb"
                   " from coco.dead_letter order by topic")
    assert [(source, service, topic, at) for _, source, service, topic, at,
            _, _ in letters] == [
                ("mds", "mds", "mds/%s/bad-%d" % (kind, n), field)
                for n in (1, 2)]
    assert letters[0][6]["data"] == bad and letters[0][5].startswith(field)
    assert set(city.told(db)) == {"bad-1", "good-1"}

    again, mended = (letter[0] for letter in letters)
    if good is not None:
        rows(stack, "update coco.dead_letter set payload = convert_to("
             " jsonb_set(convert_from(payload, 'UTF8')::jsonb, '{data}',"
             " %s)::text, 'UTF8') where id = %s", json.dumps(good), mended)
    for letter in (again, mended):
        rows(stack, "select coco.dead_letter_replay('me', 'r', null, null,"
             " %s)", letter)
    wait_for(lambda: rows(
        stack, "select count(*) from coco.dead_letter where replay_outcome"
        " is not null")[0][0] == 2 and count(stack) == 0, 60, "the replays")
    outcomes = dict(rows(stack, "select id, replay_outcome"
                         " from coco.dead_letter"))
    assert outcomes[again] == "REFUSED"
    if good is not None:
        assert outcomes == {again: "REFUSED", mended: "APPLIED"}
        assert "bad-2" in city.told(db)


def test_refused_by_the_database(stack, db, worker):
    """One that no row can be made of is found among many."""
    rows(stack, "insert into coco.resource (id, data) values ('odd-1',"
         " coco.supply_blank('odd-1') || '{\"battery\":1e9}')")
    facts = [("fine-%03d" % n, "COMMS", {"online": True}) for n in range(300)]
    city.put(db, facts[:100] + [("odd-1", "COMMS", {"online": True})]
             + facts[100:])
    worker().start()
    await_none(stack)
    assert rows(stack, "select topic, reason from coco.dead_letter") \
        == [("mds/COMMS/odd-1", "smallint out of range")]
    assert set(city.told(db)) == {serial for serial, _, _ in facts}


def test_memory_that_cannot_be_read(stack, db, worker):
    """Nothing is guessed: what comes for that robot is set aside."""
    worker().start()
    city.put(db, [("memory-1", "COMMS", {"online": True})])
    await_none(stack)
    rows(stack, "update coco.mds_vehicle set memory = memory"
         " || '{\"state\":\"flying\"}'")
    city.put(db, [("memory-1", "COMMS", {"online": False}),
                  ("memory-2", "COMMS", {"online": True})])
    await_none(stack)
    (topic, field), = rows(stack, "select topic, field from coco.dead_letter")
    assert (topic, field) == ("mds/COMMS/memory-1", "memory")
    assert rows(stack, "select memory ->> 'state' from coco.mds_vehicle"
                " where serial = 'memory-1'") == [("flying",)]
    assert len(city.told(db)["memory-2"]) == 1


def test_progress(stack, db, worker):
    """up_to follows the clock, but never passes a transaction that may still
    write a fact of before it; nor do later facts fall behind it."""
    worker().start()
    assert progress(stack)[0] is None
    wait_for(lambda: progress(stack)[1], 60, "progress without robots")

    held = psycopg2.connect(stack.postgres)
    with held.cursor() as cursor:
        cursor.execute("insert into coco.mds_fact (serial, ts, kind, data)"
                       " values ('late-1', now(), 'COMMS',"
                       " '{\"online\":true}')"
                       " returning extract(epoch from ts)::float8")
        at, = cursor.fetchone()
    wait_for(lambda: rows(stack, "select extract(epoch from now()) > %s"
                          " + 0.001", at)[0][0], 60, "another millisecond")
    city.put(db, [("early-1", "COMMS", {"online": True})])
    await_none(stack)
    wait_for(lambda: rows(stack, "select extract(epoch from now()) > %s + 4",
                          at)[0][0], 60, "four seconds")
    assert progress(stack)[1] < at

    held.commit()
    held.close()
    wait_for(lambda: progress(stack)[1] > at, 60, "progress")
    early, late = city.told(db)["early-1"], city.told(db)["late-1"]
    assert abs(late[0][2].timestamp() - at) < 0.002
    assert progress(stack)[0] == late[0][2].timestamp() \
        < early[0][2].timestamp()


def test_what_comes_late(stack, db, worker):
    """An hour that was complete is added to no more; no fact is of the
    future."""
    worker().start()
    wait_for(lambda: progress(stack)[1], 60, "progress")
    rows(stack, "insert into coco.mds_fact (serial, ts, kind, data) values"
         " ('past-1', now() - interval '3 hours', 'COMMS',"
         "  '{\"online\":true}'),"
         " ('past-1', now() - interval '2 hours', 'COMMS',"
         "  '{\"online\":false}'),"
         " ('future-1', 'infinity', 'COMMS', '{\"online\":true}'),"
         " ('never-1', '-infinity', 'COMMS', '{\"online\":true}')")
    await_none(stack)
    told = city.told(db)
    city.check_legal(told["past-1"])
    for serial in ("past-1", "never-1"):
        first = told[serial][0][2]
        assert (first.minute, first.second, first.microsecond) == (0, 0, 0)
        assert 0 <= time.time() - first.timestamp() < 3700
    assert [event for event, *_ in told["past-1"]] == ["recommissioned",
                                                       "comms_lost"]
    assert abs(told["future-1"][0][2].timestamp() - time.time()) < 30


def test_the_clock_is_set_back(stack, db, worker):
    """An hour that was complete by Postgres' clock is added to no more, though
    it is to come once again."""
    rows(stack, "update coco.mds_progress set up_to = now() + interval"
         " '2 hours'")
    city.put(db, [("back-1", "COMMS", {"online": True})])
    worker().start()
    await_none(stack)
    assert rows(stack, "select ts = date_trunc('hour', up_to, 'UTC')"
                " from coco.mds_event, coco.mds_progress") == [(True,)]


def test_where_and_how_far(stack, db, worker):
    """Events and trips have the place at their time, by the heartbeats; a
    robot that is silent for long is where it last was."""
    rows(stack, "select coco.state_history_partition_maintain(1,"
         " interval '30 days')")
    rows(stack, "insert into coco.state_history (serial, date, id,"
         " received_at, state, details)"
         " select 'walk-1', at, gen_random_uuid(), at, 'PARKED', case n"
         "  when 5 then '{}' else jsonb_build_object('battery',"
         "   jsonb_build_object('percent', 90 - n), 'location',"
         "   jsonb_build_object('latitude', 34 + n / 1000.0,"
         "    'longitude', -118)) end"
         " from generate_series(0, 10) n, lateral (select now() - interval"
         "  '20 minutes' + n * interval '1 minute' as at) t")
    rows(stack, "insert into coco.resource (id, data) values ('still-1',"
         " coco.supply_blank('still-1') || '{\"battery\":7,"
         "\"location\":{\"latitude\":1.5,\"longitude\":2.5}}')")
    trip = "8f6c2f1e-3d0a-4c55-9f27-5d1a2b3c4d5e"
    with db, db.cursor() as cursor:
        for serial, minute, (kind, data) in (
                ("walk-1", 0.5, ("BUSINESS", {"operationState": "PARKED"})),
                ("walk-1", 1.5, city.Robot.delivery(trip, "Assigned")),
                ("walk-1", 2.5, city.Robot.delivery(trip,
                                                    "EnrouteToPickup")),
                ("walk-1", 8.5, city.Robot.delivery(trip, "Completed")),
                ("still-1", 3, ("COMMS", {"online": True})),
                ("nowhere-1", 3, ("COMMS", {"online": True}))):
            cursor.execute(
                "insert into coco.mds_fact (serial, ts, kind, data) values"
                " (%s, now() - interval '20 minutes'"
                "  + %s * interval '1 minute', %s, %s)",
                (serial, minute, kind, json.dumps(data)))
    worker().start()
    await_none(stack)
    places = rows(stack, "select v.serial, event_types[1], latitude,"
                  " longitude, battery_percent from coco.mds_event"
                  " join coco.mds_vehicle v using (device_id)"
                  " order by v.serial, ts")
    assert places[:2] == [("nowhere-1", "recommissioned", None, None, None),
                          ("still-1", "recommissioned", 1.5, 2.5, 7)]
    assert [(event, round(latitude * 1000 - 34000), battery)
            for _, event, latitude, _, battery in places[2:6]] == [
                ("recommissioned", 0, 90), ("service_start", 0, 90),
                ("reservation_start", 1, 89), ("reservation_stop", 2, 88)]
    (start, end, distance, trips), = rows(
        stack, "select start_latitude, end_latitude, distance,"
        " (select count(*) from coco.mds_event where %s = any (trip_ids))"
        " from coco.mds_trip where trip_id = %s", trip, trip)
    assert (round(start, 6), round(end, 6)) == (34.002, 34.008)
    # from the heartbeat of minute 2 to that of 8, over the one without a place
    assert abs(distance - 6 * 111.195) < 0.01
    assert trips == 7


def test_no_distance_without_a_place(stack):
    for lacks in range(4):
        numbers = [None if n == lacks else n for n in range(4)]
        assert rows(stack, "select coco.distance_meters(%s, %s, %s, %s)",
                    *numbers) == [(None,)]
