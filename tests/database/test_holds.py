"""Robots that a quote holds."""

import json
import random
import uuid

from database import Database, at_once, now_ms

WRITERS = 8
ROUNDS = 60
SERIALS = ["s%d" % i for i in range(4)]


def known(db, *serials):
    for serial in serials:
        db.rows("select coco.supply_lock(%s)", serial)


def test_a_robot_is_held_once(db):
    known(db, "a")
    expires = now_ms() + 60000
    assert db.hold("a", expires) == (200, '{"held":true}',
                                     ["a D 1 0 %d" % expires])
    assert db.hold("a") == (409, "a D 1 0 %d" % expires, [])
    assert db.hold("nobody", seen=(0, 0)) == (409, "", [])


def test_what_is_no_longer_as_it_was_seen_is_not_held(db):
    db.operate("a")
    db.patch("a", driveable=True)
    business = db.value("select coco.to_ms(business_changed_at)"
                        " from coco.resource")
    assert db.hold("a", seen=(business - 1, 0))[0] == 409
    assert db.hold("a", seen=(business, 1))[0] == 409
    assert db.hold("a", seen=(business, 0))[0] == 200


def test_a_robot_with_a_demand_is_not_held(db):
    db.move(db.deliver(), "assign", serial="a")
    assert db.hold("a")[0] == 409


def test_a_release_ends_its_own_hold_alone(db):
    known(db, "a")
    first, second = uuid.uuid4(), uuid.uuid4()
    expires = now_ms() + 60000
    assert db.hold("a", expires - 60001, quote=first)[0] == 200
    assert db.hold("a", expires, quote=second)[0] == 200     # it had expired
    assert db.write("quote_release", first) == (204, "", [])
    assert db.line("a") == "a D 2 0 %d" % expires
    for _ in range(2):      # a repeat may be the first that is heard of
        assert db.write("quote_release", second) == (204, "", ["a D 3 0 0"])
    assert db.write("quote_release", uuid.uuid4())[0] == 404


def test_an_assignment_ends_a_hold(db):
    known(db, "a", "b")
    quotes = [uuid.uuid4(), uuid.uuid4()]
    db.hold("a", quote=quotes[0])
    db.hold("b", quote=quotes[1])
    assert db.move(db.deliver(), "assign", serial="a")[2] == ["a D 2 1 0"]
    assert db.demand(serial="b")[2] == ["b D 2 1 0"]
    for quote in quotes:
        assert db.write("quote_release", quote) == (204, "", [])


def test_a_key_is_used_up_by_a_hold_alone(db):
    known(db, "a")
    quote, expires = uuid.uuid4(), now_ms() + 60000
    call = ("quote_hold", quote, "a", 0)
    assert db.write(*call, 7, expires, "{}", key="k")[0] == 409
    first = db.write(*call, 0, expires, "{}", key="k")
    assert first == (200, "{}", ["a D 1 0 %d" % expires])
    assert db.write(*call, 1, expires, "{}", key="k") == first
    assert db.value("select count(*) from coco.quote") == 1


def test_quotes_are_forgotten_after_a_day(db):
    db.rows("insert into coco.quote (id, serial, created_at, expires_at)"
            " select gen_random_uuid(), 'a', now(), now() - n * interval"
            " '6 hours' from generate_series(0, 7) n")
    assert [db.value("select coco.quote_clean()") for _ in "12"] == [4, 0]
    assert db.value("select count(*) from coco.quote") == 4


def turn(db, chance, quotes):
    """One write to one of the robots: its lines, and the quote that it
    held."""
    serial, kind = chance.choice(SERIALS), chance.random()
    if kind < 0.5:
        quote = uuid.uuid4()
        status, _, lines = db.hold(
            serial, now_ms() + chance.choice([15, 60000]), quote)
        assert (status, len(lines)) in ((200, 1), (409, 0))
        quotes += [quote] * len(lines)
        return lines, quote
    if kind < 0.75 and quotes:
        return db.write("quote_release", quotes.pop(0))[2], None
    if kind < 0.85:
        _, demand, lines = db.demand(serial=serial)
        return lines + db.write("demand_delete",
                                json.loads(demand)["id"])[2], None
    delivery = db.deliver()
    return (db.move(delivery, "assign", serial=serial)[2]
            + db.move(delivery, "cancel", reason="over")[2]), None


def test_no_robot_is_promised_twice(db, server):
    """Many hold, release, demand and assign the same robots at once. Each
    tells what its transactions changed by the lines alone: put in the order
    of versions they are the whole story, and nobody took what was taken."""
    known(db, *SERIALS)
    story = {serial: {0: (0, 0, None)} for serial in SERIALS}

    def writer(seed):
        chance, quotes = random.Random(seed), []
        with Database(server.postgres) as own:
            for _ in range(ROUNDS):
                lines, quote = turn(own, chance, quotes)
                for line in lines:
                    serial, _, version, demands, until = line.split()
                    assert int(version) not in story[serial], line
                    story[serial][int(version)] = (int(demands), int(until),
                                                   quote)

    at_once(*[lambda seed=seed: writer(seed) for seed in range(WRITERS)])

    held_at = dict(db.rows("select id, coco.to_ms(created_at)"
                           " from coco.quote"))
    holds = 0
    for serial, told in story.items():
        assert sorted(told) == list(range(len(told)))
        for version in range(1, len(told)):
            demands, until, _ = told[version - 1]
            quote = told[version][2]
            if quote is not None:
                assert demands == 0 and until <= held_at[quote]
                holds += 1
        assert db.line(serial) == "%s D %d %d %d" % (
            serial, len(told) - 1, *told[len(told) - 1][:2])
    assert holds == len(held_at) > WRITERS
