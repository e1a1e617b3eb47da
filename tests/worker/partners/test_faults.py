"""Partners that fail, hang, throttle and refuse; senders that are killed."""

import email.utils
import json
import random
import socket
import time

import pytest
from native import until
from partnersdriver import STATUSES, body_status, first_of_each
from test_partners import DOORDASH


def assert_whole(servers, partner, deliveries):
    """Each sequence is there, in order, and repeated only as it was."""
    for external, identity in deliveries.items():
        calls = partner.of(external)
        assert [body_status(c) for c in first_of_each(calls)] == DOORDASH
        taken, bodies = [], {}
        for call in calls:
            if call.key not in bodies:     # all before it were taken
                assert taken == list(bodies)
            assert bodies.setdefault(call.key, call.body) == call.body
            if call.status == 200 and call.key not in taken:
                taken.append(call.key)
        assert taken == [c.key for c in first_of_each(calls)]
        assert {state for _, state in servers.pushes(identity)} == {
            "DELIVERED"}


def test_half_of_the_calls_fail_and_senders_are_killed(servers, partner,
                                                       drive):
    chance = random.Random(7)
    partner.answer = lambda call, number: chance.choice(
        [200, 200, 200, 500, 503, 408])
    deliveries = {}
    servers.robot("R-1")
    driver = drive()
    for n in range(24):
        external, begun = "D-%d-" % n, len(partner.calls)
        deliveries[external] = servers.deliver(external)
        if n % 6 == 5:
            wanted = begun + chance.randrange(1, 8)
            until(lambda: len(partner.calls) >= wanted)
            driver.kill()
            driver = drive()
    until(lambda: servers.pending() == 0, 60)
    assert_whole(servers, partner, deliveries)
    assert any(c.status != 200 for c in partner.calls)
    recorded = servers.query(
        "select count(*) from coco.partner_push"
        " where (attempts -> -1 ->> 'status')::int <> 200")[0][0]
    assert recorded == 0
    until(lambda: driver.status()[2] == 0)     # said after the commit


def test_a_loss_of_postgres_loses_nothing(servers, partner, drive):
    driver = drive().sends()
    deliveries = {}
    for n in range(6):
        external = "D-%d-" % n
        deliveries[external] = servers.deliver(external)
    servers.stack.kill("postgres")
    servers.stack.restart("postgres")
    until(lambda: servers.pending() == 0, 60)
    assert_whole(servers, partner, deliveries)
    driver.sends()


def test_a_refusal_is_set_aside(servers, partner, drive):
    partner.answer = lambda call, number: (
        422 if body_status(call) in ("picked_up", "delivered") else 200)
    driver = drive()
    identity = servers.deliver("D-1")
    until(lambda: servers.pending() == 0)
    assert [body_status(c) for c in partner.calls] == DOORDASH
    states = dict(servers.pushes(identity))
    assert states.pop("LoadedWaitingForPilot") == "REFUSED"
    assert states.pop("Completed") == "REFUSED"
    assert set(states.values()) == {"DELIVERED"}
    letters = servers.query(
        "select l.id, p.status, l.source, l.service, l.topic, l.reason,"
        " convert_from(l.payload, 'UTF8') = p.body"
        " from coco.dead_letter l join coco.partner_push p"
        " on p.id = l.push_id order by p.number")
    assert [row[1:] for row in letters] == [
        (status, "partner", "integrations", "doordash",
         'HTTP 422: {"said":"422"}', True)
        for status in ("LoadedWaitingForPilot", "Completed")]
    assert driver.metric("coco_pushes_refused_total") == 2
    loaded, completed = (row[0] for row in letters)

    # what came after the load was delivered; nothing comes after the end
    assert servers.answer(loaded) == (
        409, "The partner has heard of a later status of this delivery, or is"
        " about to.")
    partner.answer = lambda call, number: 200
    assert servers.replay(completed) == 202
    until(lambda: servers.query(
        "select replay_outcome from coco.dead_letter where id = %s",
        completed) == [("APPLIED",)])
    last, repeat = partner.calls[-2:]
    assert (last.key, last.body) == (repeat.key, repeat.body)
    assert dict(servers.pushes(identity))["Completed"] == "DELIVERED"
    assert len(partner.calls) == 9

    for done, why in (
            ("select", "The partner has taken this status by now."),
            ("update coco.partner_push set state = 'SKIPPED'",
             "The partner is no longer told of this status."),
            ("delete from coco.partner_push", "This status is no longer kept,"
             " nor what its partner has heard since.")):
        servers.query(done)
        assert servers.answer(completed) == (409, why)


def test_replays_in_any_order_arrive_in_theirs(servers, partner, drive):
    """A later one that waits to be replayed is nothing that was heard; once
    it has left, it may have been."""
    partner.answer = lambda call, number: 422
    driver = drive()
    identity = servers.deliver("D-1", statuses=STATUSES[:3])
    until(lambda: servers.pending() == 0)
    driver.end()
    letters = [row[0] for row in servers.query(
        "select l.id from coco.dead_letter l join coco.partner_push p"
        " on p.id = l.push_id order by p.number")]
    del partner.calls[:]

    assert [servers.replay(letters[n]) for n in (2, 0, 1)] == [202] * 3
    assert [due for due, in servers.pushes(
        identity, "due_at is not null")] == [True, False, False]
    partner.answer = lambda call, number: 503 if number == 2 else 200
    drive(partners_retry_min="1h", partners_retry_max="1h")
    until(lambda: servers.pushes(identity)[1] == ("Assigned", "DELIVERED")
          and servers.pushes(identity, "attempts")[2][0][-1]["status"] == 503)
    assert [body_status(call) for call in partner.calls] == DOORDASH[:3]

    servers.query("update coco.partner_push set state = 'REFUSED',"
                  " done_at = now() where number = 2")
    assert servers.replay(letters[1]) == 409


def test_a_replay_that_is_refused_again(servers, partner, drive):
    partner.answer = lambda call, number: 410
    drive()
    servers.deliver("D-1", statuses=["Created"])
    letter = until(lambda: servers.query("select id from coco.dead_letter"))
    assert servers.replay(letter[0][0]) == 202
    until(lambda: servers.query(
        "select replay_outcome from coco.dead_letter where id = %s",
        letter[0][0]) == [("REFUSED",)])
    assert servers.query("select count(*) from coco.dead_letter") == [(2,)]


@pytest.mark.parametrize("status", [408, 425, 500, 503, 302])
def test_what_may_pass_is_tried_again(servers, partner, drive, status):
    partner.answer = lambda call, number: 200 if number > 2 else status
    drive()
    identity = servers.deliver("D-1", statuses=["Created", "Assigned"])
    until(lambda: servers.pending() == 0)
    assert servers.pushes(identity, "attempted, state") == [
        (4, "DELIVERED"), (1, "DELIVERED")]
    assert len({c.key for c in partner.calls}) == 2
    said = servers.pushes(identity, "attempts")[0][0]
    assert [a["status"] for a in said] == [status] * 3 + [200]


def test_a_clock_that_was_set_back(servers, partner, drive):
    """What is due in a day is of another clock; in an hour, it is due then."""
    waits = servers.deliver("D-1", statuses=["Created"])
    later = servers.deliver("D-2", statuses=["Created"])
    for identity, due in ((waits, "1 day"), (later, "1 hour")):
        servers.query("update coco.partner_push set due_at = now()"
                      " + %s::interval where delivery_id = %s", due, identity)
    drive()
    until(lambda: servers.pushes(waits) == [("Created", "DELIVERED")])
    assert servers.pushes(later) == [("Created", "PENDING")]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(servers, partner, drive, form):
    def after():
        return "2" if form == "seconds" else email.utils.formatdate(
            time.time() + 3, usegmt=True)

    partner.answer = lambda call, number: 200 if number else (
        503, {"Retry-After": after()})
    drive()
    servers.deliver("D-1", statuses=["Created"])
    until(lambda: servers.pending() == 0)
    first, second = partner.calls
    assert second.at - first.at > 1.5


def test_429_holds_all_calls_up(servers, partner, drive):
    partner.answer = lambda call, number: 200 if number else (
        429, {"Retry-After": "1"})
    drive(partners_concurrency=1)
    for n in range(4):
        servers.deliver("D-%d" % n, statuses=["Created"])
    until(lambda: servers.pending() == 0)
    first, *others = partner.calls
    assert len(others) == 4
    assert min(call.at for call in others) - first.at > 0.9


def test_a_partner_that_only_fails_is_left_alone(servers, partner, drive):
    partner.answer = lambda call, number: 500
    driver = drive(partners_breaker_failures=5, partners_breaker_open="300ms",
                   partners_concurrency=2)
    for n in range(10):
        servers.deliver("D-%d" % n, statuses=["Created", "Assigned"])
    until(lambda: driver.metric("coco_partner_left_alone") == 1)
    until(lambda: driver.logged("partner_left_alone") > 1)
    opened = len(partner.calls)
    # its failures, another that was under way, and one each time
    assert opened <= 5 + 1 + driver.logged("partner_left_alone")
    partner.answer = lambda call, number: 200
    until(lambda: servers.pending() == 0)
    assert driver.metric("coco_partner_left_alone") == 0
    for n in range(10):
        assert partner.statuses("D-%d" % n) == DOORDASH[:2]


def test_the_other_partner_goes_on(servers, partner, drive):
    partner.answer = lambda call, number: (
        None if call.path == "/v3/updateVehicleStatus" else 200)
    drive(partners_timeout="5m")               # longer than we wait
    for n in range(20):
        servers.deliver("D-%d" % n, statuses=["Created"])
    until(lambda: len(partner.calls) >= 16)
    servers.deliver("U-1", provider="uber", statuses=["Created", "Canceled"])
    until(lambda: len(partner.of("U-1")) == 2)


def test_one_that_hangs_is_given_up(servers, partner, drive):
    partner.answer = lambda call, number: 200 if number else None
    drive(partners_timeout="300ms")
    identity = servers.deliver("D-1", statuses=["Created"])
    until(lambda: servers.pending() == 0)
    failed, *_, taken = servers.pushes(identity, "attempts")[0][0]
    assert "status" not in failed and "timed out" in failed["error"]
    assert failed["ms"] >= 300 and taken["status"] == 200


def test_a_name_that_is_looked_up_for_long(servers, partner, drive):
    """It is given up, and the other partner waits for nothing; nor does a
    stop."""
    driver = drive(uber_base_url="http://uber.hangs",
                   partners_timeout="500ms", partners_retry_min="10s",
                   partners_retry_max="10s").sends()
    uber = servers.deliver("U-1", provider="uber", statuses=["Created"])
    until(lambda: partner.fetches)
    begun, number = time.monotonic(), 0
    while not servers.pushes(uber, "attempts -> 0 -> 'error'")[0][0]:
        number += 1
        servers.deliver("D-%d" % number, statuses=["Created"])
        until(lambda: partner.of("D-%d" % number), 15)
    assert time.monotonic() - begun < 15
    until(lambda: servers.query("update coco.partner_push set due_at = now()"
                                " where delivery_id = %s returning 1", uber))
    until(lambda: driver.status()[2] == 1)
    assert int(driver.ask("stop", "stopped")[-1].split()[1]) < 15000


def test_nobody_listens(servers, partner, drive):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))      # and no listen: refused
        drive(doordash_base_url="http://127.0.0.1:%d" % held.getsockname()[1])
        identity = servers.deliver("D-1", statuses=["Created"])
        until(lambda: servers.pushes(identity, "attempted")[0][0] > 2)
    assert servers.pushes(identity) == [("Created", "PENDING")]


def test_a_token_that_is_refused_is_fetched_anew(servers, partner, drive):
    partner.answer = lambda call, number: (
        200 if call.authorization == "Bearer token-2" else 401)
    drive(partners_concurrency=4)
    identity = servers.deliver("U-1", provider="uber",
                               statuses=["Created", "Canceled"])
    until(lambda: servers.pending() == 0)
    assert len(partner.fetches) == 2
    assert servers.pushes(identity, "attempted, state") == [
        (1, "DELIVERED"), (1, "DELIVERED")]
    assert [c.status for c in partner.calls] == [401, 200, 200]


@pytest.mark.parametrize("provider", ["uber", "doordash"])
def test_tokens_that_are_never_taken(servers, partner, drive, provider):
    """They refuse us, not the push: it is not set aside."""
    partner.answer = lambda call, number: 401
    drive()
    identity = servers.deliver("X-1", provider=provider,
                               statuses=["Created"])
    until(lambda: servers.pushes(identity, "attempted")[0][0] >= 3)
    partner.answer = lambda call, number: 200
    until(lambda: servers.pending() == 0)
    refused = [c for c in partner.calls if c.status == 401]
    attempts = servers.pushes(identity, "attempted")[0][0] - 1
    assert len(refused) - 2 * attempts in (0, 1)    # the last one changed
    assert servers.query("select count(*) from coco.dead_letter") == [(0,)]


def test_no_token_can_be_had(servers, partner, drive):
    replies = {1: (500, {}), 2: (200, {"token": "none"}),
               3: (401, {"error": "invalid_client"}), 4: (None, None)}
    partner.token = lambda number: replies.get(
        number, (200, {"access_token": "token-9", "expires_in": 3600}))
    driver = drive(partners_timeout="500ms")
    for n in range(5):
        servers.deliver("U-%d" % n, provider="uber", statuses=["Created"])
    until(lambda: servers.pending() == 0)
    assert partner.most_fetches == 1     # at a time, for all
    assert len(partner.calls) == 5
    until(lambda: driver.logged("partner_token_failed")
          == len(partner.fetches) - 1)         # lines come by a pipe


def test_a_token_is_renewed_before_its_end(servers, partner, drive):
    partner.token = lambda number: (200, {
        "access_token": "token-%d" % number, "expires_in": 1})
    drive()
    number = iter(range(1000))

    def renewed():
        servers.deliver("U-%d" % next(number), provider="uber",
                        statuses=["Created"])
        return len(partner.fetches) > 2
    until(renewed)
    until(lambda: servers.pending() == 0)
    assert {c.status for c in partner.calls} == {200}


def test_no_more_calls_than_their_rate(servers, partner, drive):
    for n in range(80):
        servers.deliver("D-%d" % n, statuses=["Created"])
    drive(doordash_rate=20)
    until(lambda: servers.pending() == 0, 60)
    assert len(partner.calls) == 80
    # twenty come at once, the others in three seconds, though the first may
    # be late
    times = [call.at for call in partner.calls]
    assert max(times) - min(times) > 2
    assert servers.query(
        "select max(attempted_at) - min(attempted_at) > interval '2 s'"
        " from coco.partner_push") == [(True,)]


def location(call):
    place = json.loads(call.body)["vehicle_location"]
    return place["lat"], place["lng"]


def positions(partner, external):
    return [c for c in partner.of(external) if body_status(c) is None]


def test_positions_are_the_newest(servers, partner, drive):
    drive(partners_location_interval="300ms")
    place, begun = 1, time.monotonic()
    servers.robot("R-1", 1, 1)
    identity = servers.deliver("D-1", statuses=["Created", "Assigned"])

    def heartbeat():
        nonlocal place
        place += 1
        servers.robot("R-1", place, place)
        return len(positions(partner, "D-1")) > 4

    until(heartbeat)
    until(lambda: location(positions(partner, "D-1")[-1]) == (place, place))
    calls = positions(partner, "D-1")
    assert len(calls) < place
    assert len(calls) <= (time.monotonic() - begun) / 0.3 + 1
    assert [location(c) for c in calls] == sorted(map(location, calls))
    assert len({c.key for c in calls}) == len(calls)
    assert servers.query("select count(*) from coco.partner_push"
                         " where kind = 'LOCATION'") == [(1,)]

    # it stands still and is silent; then the delivery is over
    servers.move(identity, ["Completed"])
    until(lambda: servers.pending() == 0)
    servers.robot("R-1", 80, 80)
    servers.robot("R-2", 81, 81)
    servers.deliver("D-2", statuses=["Created", "Assigned"], serial="R-2")
    until(lambda: positions(partner, "D-2"))
    assert positions(partner, "D-1") == calls


def test_positions_wait_for_statuses(servers, partner, drive):
    partner.answer = lambda call, number: 200 if body_status(call) != \
        "confirmed" else 503
    drive(partners_location_interval="100ms")
    servers.robot("R-1", 1, 1)
    servers.deliver("D-1", statuses=["Created", "Assigned"])
    until(lambda: len(partner.of("D-1")) > 5)
    assert positions(partner, "D-1") == []
    partner.answer = lambda call, number: 200
    until(lambda: positions(partner, "D-1"))


@pytest.mark.parametrize("answer,counted,state,error", [
    (503, "coco_positions_failed_total", "FAILED", "HTTP 503"),
    (None, "coco_positions_failed_total", "FAILED", "timed out"),
    (422, "coco_pushes_refused_total", "REFUSED", "HTTP 422")])
def test_a_position_that_fails_is_not_repeated(servers, partner, drive, answer,
                                               counted, state, error):
    """It is refused only where the partner says so."""
    partner.answer = lambda call, number: 200 if body_status(call) else answer
    driver = drive(partners_location_interval="100ms",
                   partners_timeout="500ms")
    servers.robot("R-1", 1, 1)
    servers.deliver("D-1", statuses=["Created", "Assigned"])
    until(lambda: driver.metric(counted) == 1)
    (ended, said), = until(lambda: servers.query(
        "select state, attempts -> 0 ->> 'error' from coco.partner_push"
        " where kind = 'LOCATION' and state <> 'PENDING'"))
    assert ended == state and error in said
    assert driver.metric("coco_pushes_refused_total") \
        + driver.metric("coco_positions_failed_total") == 1
    partner.answer = lambda call, number: 200
    servers.robot("R-1", 2, 2)
    until(lambda: len(positions(partner, "D-1")) == 2)
    assert [location(c) for c in positions(partner, "D-1")] == [(1, 1),
                                                                (2, 2)]
    assert servers.query("select count(*) from coco.dead_letter") == [(0,)]


def test_an_answer_that_repeats_the_token_is_not_kept(servers, partner,
                                                      drive):
    partner.said = lambda call: b"you said " + call.authorization.encode()
    partner.answer = lambda call, number: 400
    drive()
    servers.deliver("U-1", provider="uber", statuses=["Created"])
    until(lambda: servers.pending() == 0)
    assert servers.query("select reason from coco.dead_letter") == [
        ("HTTP 400",)]
