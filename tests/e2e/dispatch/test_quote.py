"""Quotes and plans over random fleets, against a search through all rows of
the supply; and what is held."""

import collections
import itertools
import random
import time

import pytest

import brute
from harness import await_for, heartbeat, new_serial, now_ms

ROBOTS = 300
QUOTES = 200            # for each fleet and host
CENTER = {"latitude": 48.1, "longitude": 11.5}
AREA = ((48.16, 11.42), (48.17, 11.6), (48.03, 11.58), (48.06, 11.5),
        (48.02, 11.4))
CHARGERS = ({"latitude": 48.09, "longitude": 11.45},
            {"latitude": 48.12, "longitude": 11.56})
SEED = 20
OF_THE_TRIP = ("BATTERY_RANGE", "OUT_OF_AREA", "TOO_FAR")


def spot(rng, reach=0.08):
    """Somewhere in the city; as exact as robots tell it."""
    return {"latitude": round(CENTER["latitude"] + rng.uniform(-reach, reach),
                              7),
            "longitude": round(CENTER["longitude"] + rng.uniform(
                -reach, reach) * 1.5, 7)}


@pytest.fixture(scope="module")
def city(nginx):
    """A host with an area and chargers."""
    corners = " ".join("%s,%s" % corner for corner in AREA)
    chargers = "; coco_dispatch_charger ".join(
        "%(latitude)s,%(longitude)s" % c for c in CHARGERS)
    return nginx((r"coco_dispatch_area off", "coco_dispatch_area " + corners),
                 (r"coco_dispatch_charger off",
                  "coco_dispatch_charger " + chargers))


@pytest.fixture(scope="module")
def fleet(field):
    """Some of it is promised."""
    one = Fleet(field, random.Random(SEED))
    one.scatter()
    for serial in one.serials[1:4]:
        field.demand(serial)
    return one


class Fleet:
    """Robots in the city, where nobody else is within reach; each change is
    published or sent, and then in the supply."""

    def __init__(self, field, rng):
        self.field, self.rng = field, rng
        self.serials = [new_serial("quote") for _ in range(ROBOTS)]

    def scatter(self):
        """All somewhere else, in every condition; some at the same place.
        Returns their rows."""
        rng, corner = self.rng, spot(self.rng)
        beats = {serial: heartbeat(
            now_ms() - (70000 if i % 20 == 0 else 0),
            rng.choice(("PARKED",) * 8 + ("DEPLOYED", "ON_TRIP", "OFF_DUTY",
                                          "GROUNDED")),
            battery=rng.choice((rng.uniform(5, 100), 100, 60.5, 15)),
            location=corner if i % 30 == 7 else spot(rng),
            lid={"open": rng.random() < 0.05}, healthy=rng.random() < 0.95)
            for i, serial in enumerate(self.serials)}
        self.field.publish(*beats.items())
        self.await_synced(beats)
        for serial in rng.sample(self.serials, 30):
            self.field.patch(serial, **{rng.choice((
                "needsPickup", "hasFood", "needsMaintenance", "driveable",
                "undergoingMaintenance")): rng.random() < 0.5})
        return [brute.Robot(row) for row in self.rows().values()]

    def rows(self):
        supply = self.field.supply()
        return {serial: supply[serial] for serial in self.serials
                if serial in supply}

    def await_synced(self, beats):
        await_for("the supply has them", lambda: {
            serial: row["lastSynced"] for serial, row in self.rows().items()
        } == {serial: beat["ts"] for serial, beat in beats.items()})


def unlike(quote, wanted, explained, waited):
    """What differs of a quote; None when nothing does."""
    rows = {row["serial"]: set(row["reasons"]) for row in quote["robots"]}
    counts = collections.Counter(why for why in itertools.chain(
        *rows.values()))
    ours = {serial: rows.get(serial) for serial in explained}
    if ours != explained:
        return "reasons", {s: (ours[s], r) for s, r in explained.items()
                           if ours[s] != r}
    if quote["rejected"] != counts:
        return "rejected", quote["rejected"], counts
    if wanted is None:
        ours = [quote[name] for name in (
            "feasible", "serial", "pickupEtaSeconds", "dropoffEtaSeconds",
            "distanceMeters", "batteryAtEndPercent")]
        return None if ours == [False] + [None] * 5 else ("found", ours)
    serial, eta, end, meters, battery = wanted
    # who waits for the goods does so until a time: it passes meanwhile
    late = 0.51 + waited
    near = (abs(quote["pickupEtaSeconds"] - eta) <= 0.51
            and abs(quote["dropoffEtaSeconds"] - end) <= late
            and abs(quote["distanceMeters"] - meters) <= 0.051
            and abs(quote["batteryAtEndPercent"] - battery) <= 0.051)
    if not quote["feasible"] or quote["serial"] != serial or not near:
        return "best", quote, wanted
    return None


def await_heard(field, url, rules, robots):
    """This host knows of all, as ten quotes tell."""
    await_for("it has heard of them", lambda: compare(
        field, url, rules, random.Random(SEED), robots, 10))


def compare(field, url, rules, rng, robots, count):
    """(feasible, infeasible) quotes that were equal; raises what was not."""
    tally = [0, 0]
    for _ in range(count):
        pickup = spot(rng, rng.choice((0.08, 0.08, 0.4)))
        dropoff = pickup if rng.random() < 0.1 else spot(
            rng, rng.choice((0.03, 0.08, 0.5)))
        wait = rng.choice((0, 0, 900))
        trip = brute.Trip(rules, pickup, dropoff, wait)
        wanted, explained = brute.best(robots, trip)
        at = {"at": now_ms() + wait * 1000} if wait else {}
        asked = time.monotonic()
        quote = field.quote(pickup, dropoff, url=url, explain=True, **at)
        # nginx's clock is of when it last looked
        waited = 0.5 + time.monotonic() - asked if wait else 0
        bad = unlike(quote, wanted, explained, waited)
        assert bad is None, bad

        # without an explanation it is the same; of the trip's reasons, those
        # of whom it has looked at
        short = field.quote(pickup, dropoff, url=url, **at)
        assert short["serial"] == quote["serial"]
        others = len(quote["robots"]) - len(explained)
        for reason, n in short["rejected"].items():
            ours = sum(reason in reasons for reasons in explained.values())
            assert n <= ours + others
            assert n >= ours or reason in OF_THE_TRIP
        tally[wanted is None] += 1
    return tally


def test_quotes_are_those_of_a_search(field, city, fleet):
    rng = random.Random(SEED)
    hosts = ((field.url, brute.Rules()),
             (city.http, brute.Rules(AREA, CHARGERS)))
    tally = [0, 0]
    for url, rules in hosts * 2:
        robots = fleet.scatter()
        await_heard(field, url, rules, robots)
        more = compare(field, url, rules, rng, robots, QUOTES)
        tally = [a + b for a, b in zip(tally, more)]
    print("\n%d quotes found the same robot, %d none" % tuple(tally))
    assert min(tally) >= QUOTES // 4


def test_plans_are_those_of_scipy(field, city, fleet):
    """What is held is not planned."""
    rng = random.Random(SEED + 1)
    unserved = 0
    for url, rules in ((field.url, brute.Rules()),
                       (city.http, brute.Rules(AREA, CHARGERS))):
        robots = fleet.scatter()
        await_heard(field, url, rules, robots)
        usable = [robot for robot in robots if not robot.reasons]
        quotes = [field.quote(robot.place, url=url, hold=True)
                  for robot in usable[:5]]
        held = {quote["serial"] for quote in quotes if quote["feasible"]}
        assert len(held) >= 3
        for count in (0, 1, 3, 40, 120, 400):
            demands = [{"id": str(i), "pickup": spot(rng, 0.1),
                        "dropoff": spot(rng)} for i in range(count)]
            plan = field.http.post(url + "/plan", timeout=30,
                                   json={"demands": demands}).json()
            unserved += check_plan(plan, rules, robots, held, demands)
        for quote in quotes:
            if quote["feasible"]:
                field.call("DELETE", "/quote/" + quote["quoteId"], 204)
    assert unserved > 0


def check_plan(plan, rules, robots, held, demands):
    """How many demands scipy leaves unserved, too."""
    by_serial = {robot.serial: robot for robot in robots
                 if not robot.reasons and robot.serial not in held}
    trips = [brute.Trip(rules, d["pickup"], d["dropoff"]) for d in demands]
    served, total = brute.plan(list(by_serial.values()), trips)
    assigned = plan["assignments"]
    assert len(assigned) == served
    assert len({one["serial"] for one in assigned}) == served
    assert abs(plan["totalCostSeconds"] - total) <= 1e-6 * (1 + total)
    for one in assigned:
        reasons, eta, *_ = trips[int(one["demandId"])].by(
            by_serial[one["serial"]])
        assert not reasons
        assert abs(one["costSeconds"] - eta) <= 1e-6 * (1 + eta)
    assert sorted([one["demandId"] for one in assigned]
                  + [one["demandId"] for one in plan["unassigned"]],
                  key=int) == [d["id"] for d in demands]
    return len(plan["unassigned"])
