"""Changes of one delivery that come at once: they are held up by a lock on its
row, so that nothing is left to chance."""

import threading

import psycopg2
import pytest

from harness import await_for, new_serial

pytestmark = pytest.mark.usefixtures("patient")

RACERS = 4
PLACES = {"pickup": {"latitude": 1, "longitude": 2},
          "dropoff": {"latitude": 3, "longitude": 4}}


def post(system, path, body, key=None):
    """By a connection of its own."""
    with system.http.__class__() as session:
        session.headers["Authorization"] = system.http.headers[
            "Authorization"]
        return session.post(system.url + path, json=body, timeout=60,
                            headers={"Idempotency-Key": key} if key else {})


@pytest.fixture
def delivery(system):
    return post(system, "/deliveries", {**PLACES, "pin": "1234"}).json()["id"]


def waiting(system):
    return system.value("select count(*) from pg_stat_activity"
                        " where wait_event_type = 'Lock'"
                        " and query like %s", "%coco.delivery_%")


def race(system, hold, *posts):
    """The replies of all, sent while a transaction that executed `hold` is
    open; that ends once two or more wait."""
    replies = []
    threads = [threading.Thread(target=lambda one=one: replies.append(
        post(system, *one))) for one in posts]
    connection = psycopg2.connect(system.pg_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(*hold)
        for thread in threads:
            thread.start()
        await_for("they wait", lambda: waiting(system) >= 2, 15)
        assert replies == []
    finally:
        connection.close()
    for thread in threads:
        thread.join(60)
    return replies


def row_of(delivery):
    return ("select 1 from coco.delivery where id = %s for update",
            (delivery,))


def test_of_assignments_at_once_one_stands(system, delivery):
    robots = [new_serial("race") for _ in range(RACERS)]
    replies = race(system, row_of(delivery), *(
        ("/deliveries/%s/assign" % delivery, {"serial": robot})
        for robot in robots))
    assert [reply.status_code for reply in replies] == [200] * RACERS

    shown = system.get("/deliveries/" + delivery)
    assert shown["status"] == "Assigned"
    assert {one["serial"] for one in shown["attempts"]} == set(robots)
    assert [one["number"] for one in shown["attempts"]] == list(
        range(1, RACERS + 1))
    assert [one["serial"] for one in shown["attempts"]
            if one["endedAt"] is None] == [shown["serial"]]
    assert shown["attempts"][-1]["serial"] == shown["serial"]

    events = system.get("/deliveries/%s/events" % delivery)["items"]
    assert [one["previousStatus"] for one in events] == [
        None, "Created"] + ["Assigned"] * (RACERS - 1)
    assert [one["serial"] for one in events[1:]] == [
        one["serial"] for one in shown["attempts"]]
    assert system.value(
        "select count(*) from coco.outbox where name ="
        " 'Deliveries.DeliveryEvent' and payload #>> '{data,deliveryId}' = %s",
        delivery) == RACERS + 1


def test_repeats_under_a_key_assign_once(system, delivery):
    path = "/deliveries/%s/assign" % delivery
    body = {"serial": new_serial("race")}
    replies = race(system, row_of(delivery),
                   *[(path, body, delivery)] * RACERS)
    assert [reply.status_code for reply in replies] == [200] * RACERS
    assert len({reply.text for reply in replies}) == 1
    assert len(system.get("/deliveries/%s/events" % delivery)["items"]) == 2


def test_of_a_departure_and_a_cancellation_the_last_stands(system, delivery):
    post(system, "/deliveries/%s/assign" % delivery,
         {"serial": new_serial("race")})
    depart, cancel = ("/deliveries/%s/%s" % (delivery, name)
                      for name in ("depart", "cancel"))
    replies = race(system, row_of(delivery), (depart, {}),
                   (cancel, {"reason": "late"}))
    assert {reply.url.rpartition("/")[2]: reply.status_code
            for reply in replies} in ({"depart": 200, "cancel": 200},
                                      {"depart": 409, "cancel": 200})
    assert system.get("/deliveries/" + delivery)["status"] == "Canceled"


def test_a_provider_s_id_comes_once(system):
    """Held up by the row of another transaction, which is then undone."""
    name = new_serial("race")
    hold = ("insert into coco.delivery (provider, external_id, status,"
            " pickup_latitude, pickup_longitude, dropoff_latitude,"
            " dropoff_longitude, created_at, updated_at) values ('race', %s,"
            " 'Created', 1, 2, 3, 4, now(), now())", (name,))
    body = {**PLACES, "provider": "race", "externalId": name}
    replies = race(system, hold, *[("/deliveries", body)] * RACERS)
    assert sorted(reply.status_code for reply in replies) == [
        201] + [409] * (RACERS - 1)
    made = next(reply.json()["id"] for reply in replies
                if reply.status_code == 201)
    for reply in replies:
        assert made in reply.text


@pytest.fixture
def two_pickups(system):
    """A robot, and two deliveries that it is at; the second has the PIN."""
    robot, both = new_serial("race"), []
    for pin in ("1111", "2222"):
        both.append(post(system, "/deliveries", {**PLACES, "pin": pin}
                         ).json()["id"])
        for step, body in (("assign", {"serial": robot}), ("depart", {}),
                           ("arrive", {"at": "pickup"})):
            assert post(system, "/deliveries/%s/%s" % (both[-1], step),
                        body).status_code == 200
    assert pin_of(system, robot) == "2222"
    return robot, both


def pin_of(system, robot):
    return system.value("select pin from coco.robot_shadow where serial = %s",
                        robot)


def test_changes_of_two_deliveries_take_no_deadlock(system, two_pickups):
    robot, both = two_pickups
    replies = race(
        system, ("select 1 from coco.delivery where serial = %s for update",
                 (robot,)),
        *(("/deliveries/%s/%s" % (one, step), body) for one in both
          for step, body in (("assign", {"serial": robot}),
                             ("cancel", {"reason": "late"}))))
    assert {reply.status_code for reply in replies} <= {200, 409}
    assert all(reply.status_code == 200 for reply in replies
               if reply.url.endswith("cancel"))
    assert pin_of(system, robot) is None


def test_a_pin_counts_what_others_have_just_changed(system, two_pickups):
    """The second is canceled while the loading of the first is not committed:
    the PIN of the first must not come back."""
    robot, (first, second) = two_pickups
    replies = []
    thread = threading.Thread(target=lambda: replies.append(
        post(system, "/deliveries/%s/cancel" % second, {"reason": "late"})))
    connection = psycopg2.connect(system.pg_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select coco.delivery_apply(%s, 'AtPickup',"
                           " 'LoadedWaitingForPilot', now(), null, null)",
                           (first,))
            assert cursor.fetchone() == (True,)
        thread.start()
        await_for("the cancellation waits", lambda: waiting(system), 15)
        connection.commit()
    finally:
        connection.close()
    thread.join(60)
    assert [reply.status_code for reply in replies] == [200]
    assert pin_of(system, robot) is None
