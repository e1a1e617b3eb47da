"""What partners order and what they are told, while they fail half of the calls
and servers are killed: every webhook that was answered has its effect once, and
each partner hears every status once, in order.

COCO_FAULT_ROUNDS is how many rounds of kills there are (1), COCO_FAULT_OUTAGE
how many seconds a partner is away (8), COCO_FAULT_SEED makes another choice of
moments (1).
"""

import bisect
import collections
import json
import os
import random
import time

import partner_orders
import pytest
import sender
from field import SEED
from ground import Load, await_settled, break_while
from harness import await_for
from partner_actors import WAY, Actor
from partner_field import MAP, fresh_seed
from partner_ground import (PARTNERS, RATE, TIMEOUT, PartnerGround, Robots,
                            Weather)
from partner_judge import Position, Push, judge

ROUNDS = int(os.environ.get("COCO_FAULT_ROUNDS", "1"))
ORDERS = 500
DELIVERIES = 56
ACTORS = 8
DWELL = 0.5             # seconds of a step, at most
OUTAGE = float(os.environ.get("COCO_FAULT_OUTAGE", "8"))     # seconds, at least
PILED = 2000            # orders of a partner that is away
PASSED = 300            # of the other one
MEMORY = 16 << 10       # KiB by which a worker may grow meanwhile
KILLED = (("worker",), ("nginx's processes",), ("nginx",), ("postgres",),
          ("redis",), ("uber",), ("doordash",), ("worker", "uber", "doordash"),
          ("worker", "postgres"), ("nginx", "postgres", "redis"))
LATE = int(2 * TIMEOUT * 1000)  # ms that a call may be under way, and be read


@pytest.fixture(scope="module")
def broken_partners():
    ground = PartnerGround()
    try:
        yield ground.up()
    finally:
        ground.close()


@pytest.fixture
def ground(broken_partners):
    broken_partners.mend()
    return broken_partners


@pytest.fixture
def field(ground):
    return ground.system


class Books:
    """What our tables say of the deliveries of these external ids."""

    def __init__(self, field, ids):
        rows = field.sql(
            "select p.id::text, p.provider, d.external_id, p.number, p.status,"
            " p.state, p.kind from coco.partner_push p"
            " join coco.delivery d on d.id = p.delivery_id"
            " where d.external_id = any(%s)", ids)
        self.pushes = {row[0]: Push(*row[1:6]) for row in rows
                       if row[6] == "STATUS"}
        self.positions = {row[0]: Position(*row[1:]) for row in field.sql(
            "select id::text, external_id, status from judge.position"
            " where external_id = any(%s)", ids)}
        self.history = collections.defaultdict(list)
        for external, number, status in field.sql(
                "select d.external_id, e.number, e.status"
                "  from coco.delivery_event e"
                "  join coco.delivery d on d.id = e.delivery_id"
                " where d.external_id = any(%s) order by e.number", ids):
            self.history[external].append((number, status))

    def statuses(self, external):
        return [status for _, status in self.history[external]]


def waiting(field):
    return field.value("select count(*) from coco.partner_push"
                       " where kind = 'STATUS' and state = 'PENDING'")


def undone(field):
    return field.value("select count(*) from coco.webhook_inbox"
                       " where done_at is null")


def findings(field, ids):
    """What is wrong with the calls about these, how many there were, and how
    many of them failed."""
    books, ours = Books(field, ids), set(ids)
    calls = [entry for entry in field.ledger() if entry["delivery"] in ours]
    return (judge(calls, books.pushes, books.positions, books.history, LATE),
            books, calls)


# --- all at once --------------------------------------------------------------


class Flow:
    """Webhooks and actors at the same time."""

    def __init__(self, field, seed, dice):
        self.field, self.dice = field, dice
        self.turns = partner_orders.turns(seed, ORDERS, dice)
        self.answered, self.came_to = [], {}
        self.plans = [(dice.choice(PARTNERS), "H-%x-%d" % (seed, number),
                       dice.randrange(len(WAY)), dice.random() < 0.3)
                      for number in range(DELIVERIES)]
        self.robots = Robots(field, 2 * DELIVERIES)
        self.actors = [Actor(field, random.Random(dice.random()))
                       for _ in range(ACTORS)]

    def webhooks(self):
        for said in self.field.sender.send_all(self.turns, at_once=3):
            assert said["statuses"][-1] == 200, said
            self.answered.append(said)

    def deliveries(self, actor, share):
        for number in share:
            partner, external, until, cancels = self.plans[number]
            self.came_to[external] = list(actor.bring(
                actor.place(partner, external),
                self.robots.serials[2 * number:2 * number + 2],
                until if cancels else len(WAY), cancels,
                actor.dice.choice((0, 0, 1, 2, 3)), DWELL))

    def send(self):
        loads = [Load(self.webhooks)] + [
            Load(lambda actor=actor, share=share: self.deliveries(
                actor, share)) for actor, share in
            ((actor, range(i, DELIVERIES, ACTORS))
             for i, actor in enumerate(self.actors))]
        for load in loads:
            load.start()
        for load in loads:
            load.end()

    def progress(self):
        return (len(self.answered) / len(self.turns)
                + len(self.came_to) / DELIVERIES) / 2

    def ids(self):
        return ([external for _, external, _, _ in self.plans]
                + sorted({event.delivery for event in self.turns}))


def wrong_inbox(field, turns):
    """One row for each event that was answered, and none besides."""
    ours = {event.delivery for event in turns}
    sent = collections.Counter(partner_orders.canonical(json.loads(data))
                               for data in {event.data for event in turns})
    kept = collections.Counter(
        partner_orders.canonical(payload) for payload, in field.sql(
            "select payload from coco.webhook_inbox"
            " where provider in ('uber', 'doordash')")
        if partner_orders.delivery(payload) in ours)
    return list((sent - kept) + (kept - sent))


def wrong_deliveries(field, turns):
    """Those of the model, and none besides."""
    orders = collections.defaultdict(list)
    for event in {event.data: event for event in turns}.values():
        orders[event.delivery].append((event.provider, json.loads(event.data)))
    rows = collections.defaultdict(list)
    for external, *columns in field.sql(
            "select external_id, status, store, loading_flow, pickup_latitude,"
            " pickup_longitude, dropoff_latitude, dropoff_longitude,"
            " pickup_address, dropoff_address,"
            " exists (select from coco.demand m where m.delivery_id = d.id)"
            " from coco.delivery d where external_id = any(%s)", list(orders)):
        status, store, flow, *places, waits = columns
        assert waits == (status == "Created"), external
        pair = [tuple(places[i:i + 2]) if places[i] is not None else None
                for i in (0, 2, 4)]
        rows[external].append(partner_orders.Record(
            status, store, flow, pair[0], pair[1], tuple(places[4:])))
    return [(external, rows[external], partner_orders.record(bodies))
            for external, bodies in orders.items()
            if rows[external] != [record for record in
                                  [partner_orders.record(bodies)] if record]]


def wrong_histories(books, turns, came_to):
    """Each change once: as the webhooks may have made them, and as the actors
    were answered."""
    orders = collections.defaultdict(list)
    for event in turns:
        orders[event.delivery].append((event.provider, json.loads(event.data)))
    allowed = {external: partner_orders.histories(bodies)
               for external, bodies in orders.items()
               if partner_orders.record(bodies) is not None}
    allowed.update((external, [statuses])
                   for external, statuses in came_to.items())
    return [(external, books.statuses(external), allowed.get(external))
            for external in {*allowed, *books.history}
            if books.statuses(external) not in allowed.get(external, [])]


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_ledgers(ground, field, dice, capsys, turn):
    flow = Flow(field, fresh_seed(), dice)
    names = dice.sample(KILLED, len(KILLED))
    weather, load, begun = Weather(ground, dice), Load(flow.send), \
        time.monotonic()
    kills = iter(names)
    flow.robots.start()
    weather.start()
    try:
        hits = break_while(load, flow.progress, lambda: waiting(field),
                           lambda: ground.kill(*next(kills)), len(names),
                           dice)
        broken = time.monotonic()
        await_settled("the inbox", lambda: undone(field), 0)
    finally:
        weather.clear()
        flow.robots.park()
    await_settled("the pushes", lambda: waiting(field), 0)

    wrong, books, calls = findings(field, flow.ids())
    failed = sum(call["fault"] is not None or call["status"] != 200
                 for call in calls)
    with capsys.disabled():
        print("\n  ledgers: webhooks=%d events=%d deliveries=%d statuses=%d"
              " positions=%d calls=%d failed=%d repeats=%d retries=%d kills=%d"
              " hits=%d seconds=%.0f+%.0f findings=%d seed=%s" % (
                  len(flow.answered), len({e.data for e in flow.turns}),
                  len(books.history), len(books.pushes), len(books.positions),
                  len(calls), failed, sum(call["repeat"] for call in calls),
                  sum(actor.retries for actor in flow.actors), len(names),
                  hits, broken - begun, time.monotonic() - broken, len(wrong),
                  SEED))
    assert wrong == []
    assert wrong_inbox(field, flow.turns) == []
    assert wrong_deliveries(field, flow.turns) == []
    assert wrong_histories(books, flow.turns, flow.came_to) == []
    assert len(flow.answered) == len(flow.turns)
    assert hits >= len(names) / 2, "the load was over before the kills"
    assert books.positions and failed > len(calls) / 4


# --- refusals -----------------------------------------------------------------


Order = collections.namedtuple("Order", "provider external_id")


class Refusals:
    """Deliveries of one partner, some of whose statuses it will not have."""

    def __init__(self, field, provider, dice):
        self.field, self.provider, self.dice = field, provider, dice
        self.actor = Actor(field, dice)
        self.tag, self.ids = "R-%x-" % fresh_seed(), []

    def refuse(self, external, status=422):
        self.field.control(partner=self.provider, fail=1, status=status,
                           match=external)

    def agree(self):
        self.field.control(partner=self.provider)

    def bring(self, refused, robot):
        """All the way, but that it refuses these statuses."""
        external = self.tag + str(len(self.ids))
        self.ids.append(external)
        delivery = self.actor.place(self.provider, external)
        for status in self.actor.bring(delivery, (robot, robot), gives=0):
            await_for("%s of %s" % (status, external),
                      lambda: self.state(external, status) ==
                      ("REFUSED" if status in refused else "DELIVERED"))
            following = [step[2] for step in WAY] + [None]
            following = following[following.index(status) + 1
                                  if status != "Created" else 0]
            if following in refused:
                self.refuse(external)
            else:
                self.agree()
        return external

    def state(self, external, status):
        return self.field.value(
            "select p.state from coco.partner_push p"
            "  join coco.delivery d on d.id = p.delivery_id"
            " where d.external_id = %s and p.kind = 'STATUS'"
            "   and p.status = %s", external, status)

    def letter(self, external, status):
        """The newest that is of it."""
        return self.field.value(
            "select l.id::text from coco.dead_letter l"
            "  join coco.partner_push p on p.id = l.push_id"
            "  join coco.delivery d on d.id = p.delivery_id"
            " where d.external_id = %s and p.status = %s"
            " order by l.received_at desc limit 1", external, status)

    def replay(self, external, status, answer=202):
        self.actor.insist("/dead-letters/%s/replay"
                          % self.letter(external, status), None, answer)

    def calls(self, external, status):
        word = MAP[self.provider]["statuses"][status]
        return [call for call in self.field.ledger(delivery=external)
                if word in call["body"].values()]

    def await_state(self, external, status, state):
        await_for("%s of %s is %s" % (status, external, state), lambda:
                  self.state(external, status) == state)


@pytest.fixture(params=PARTNERS)
def refusals(request, field, dice):
    return Refusals(field, request.param, dice)


@pytest.fixture
def robot(field):
    return field.robot()


def test_refused(ground, refusals, robot):
    """It is set aside, the others arrive, and it does not come after them."""
    external = refusals.bring({"EnrouteToPickup"}, robot)
    refusals.replay(external, "EnrouteToPickup", 409)
    ground.kill("worker")
    refusals.replay(external, "EnrouteToPickup", 409)
    heard = refusals.bring((), robot)
    assert findings(refusals.field, refusals.ids)[0] == []
    assert len(refusals.calls(external, "EnrouteToPickup")) == 1
    told = refusals.field.told(*(Order(refusals.provider, one)
                                 for one in (external, heard)))
    words = list(told.values())
    word = MAP[refusals.provider]["statuses"]["EnrouteToPickup"]
    assert words[0] == [one for one in words[1] if one != word]


def test_last_one_refused(ground, refusals, robot):
    """Its replay arrives, under the key that it had, whatever is killed."""
    external = refusals.bring({"Completed"}, robot)
    refusals.refuse(external)
    first = refusals.letter(external, "Completed")
    refusals.replay(external, "Completed")
    await_for("another letter", lambda: refusals.letter(
        external, "Completed") != first)
    refusals.await_state(external, "Completed", "REFUSED")

    refusals.refuse(external, 503)
    refusals.replay(external, "Completed")
    ground.kill("worker", "postgres")
    refusals.agree()
    refusals.await_state(external, "Completed", "DELIVERED")
    assert findings(refusals.field, refusals.ids)[0] == []
    calls = refusals.calls(external, "Completed")
    assert [call["status"] for call in calls][:2] == [422, 422]
    assert [call["status"] for call in calls][-1] == 200
    assert len({call["key"] for call in calls}) == 1


def test_two_refused(refusals, robot):
    """Replayed the one before the other, they arrive in this order, also when
    the first has not arrived yet; the other way round the first is late."""
    both = {"AtDropoff", "Completed"}
    early, late = refusals.bring(both, robot), refusals.bring(both, robot)
    refusals.refuse(early, 503)
    refusals.replay(early, "AtDropoff")
    await_for("an attempt", lambda: refusals.calls(
        early, "AtDropoff")[-1]["status"] == 503)
    refusals.replay(early, "Completed")
    refusals.agree()
    refusals.replay(late, "Completed")
    for external, status in ((early, "AtDropoff"), (early, "Completed"),
                             (late, "Completed")):
        refusals.await_state(external, status, "DELIVERED")
    refusals.replay(late, "AtDropoff", 409)
    assert findings(refusals.field, refusals.ids)[0] == []


# --- a partner that is away ---------------------------------------------------


def orders_of(provider, seed, count):
    """Webhooks of so many of its orders, of which half are canceled."""
    orders = (sender.Order(seed, number, 0.5, 0) for number in range(count * 4))
    ours = [order for order in orders if order.provider == provider][:count]
    return [event for order in ours for event in order.events()
            if event.kind != "other"]


def too_fast(calls, spare):
    """Spans (s) in which more came than the rate allows: a bucket that was
    full, what it gains, and `spare`."""
    times, found = sorted(call["came"] / 1000 for call in calls), []
    for span in (1, 3, times[-1] - times[0]):
        for first, begin in enumerate(times):
            count = bisect.bisect_right(times, begin + span) - first
            if count > RATE * (1 + span) + spare:
                found.append((span, count))
    return found


def test_away(ground, field, capsys):
    seed = fresh_seed()
    field.send(orders_of("doordash", seed, 100) + orders_of("uber", seed, 100))
    await_settled("the pushes", lambda: waiting(field) + undone(field), 0)
    piled = orders_of("doordash", seed + 1, PILED)
    passed = orders_of("uber", seed + 2, PASSED)
    sizes, begun = [ground.memory()], time.monotonic()

    ground.players["doordash"].stop()
    try:
        field.send(piled[:len(piled) // 2] + passed + piled[len(piled) // 2:])
        await_settled("the inbox", lambda: undone(field), 0)
        # the other one's go on
        ids = [event.delivery for event in passed]
        await_settled("the other's pushes", lambda: pending(field, ids), 0)
        while time.monotonic() < begun + OUTAGE:
            sizes.append(ground.memory())
            time.sleep(0.2)
        waited = waiting(field)
        # these may be read by who wakes up, although they were given up
        spare = field.value("select sum(attempted) from coco.partner_push"
                            " where state = 'PENDING'") + 2 * 16
    finally:
        ground.players["doordash"].go_on()
        woken = time.monotonic()
    # it may have been left alone for a minute
    await_settled("the pushes", lambda: waiting(field), 0, 90)
    took = time.monotonic() - woken
    sizes.append(ground.memory())

    ids = list({event.delivery for event in piled + passed})
    wrong, books, calls = findings(field, ids)
    calls = [call for call in calls if call["partner"] == "doordash"]
    with capsys.disabled():
        print("\n  away: %.0f s, waiting=%d spare=%d, then %d calls in %.1f s,"
              " worker %d KiB and %d more, findings=%d" % (
                  woken - begun, waited, spare, len(calls), took, sizes[0],
                  max(sizes) - sizes[0], len(wrong)))
    assert wrong == []
    assert waited == len(books_of(books, "doordash")) >= PILED
    assert too_fast(calls, spare) == []
    assert max(sizes) - sizes[0] < MEMORY


def pending(field, ids):
    return field.value(
        "select count(*) from coco.partner_push p"
        "  join coco.delivery d on d.id = p.delivery_id"
        " where d.external_id = any(%s) and p.kind = 'STATUS'"
        "   and p.state = 'PENDING'", ids)


def books_of(books, provider):
    return [push for push in books.pushes.values()
            if push.provider == provider]
