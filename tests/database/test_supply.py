"""What the writes of business state, deliveries and demands make of the
supply: every field, one event for what changed, one line for nginx."""

import pytest
from database import heartbeats, now_ms
from psycopg2.extras import Json

FIELDS = {"serial", "status", "battery", "lastSynced", "healthy", "deployed",
          "location", "futureDemand", "activeDemand", "needsMovement",
          "hasFood", "tripType", "needsMaintenance", "needsPickup",
          "driveable", "operationState", "attemptCancellationReason",
          "undergoingMaintenance"}
POD = {"type": "POD", "id": "p1", "latitude": 52.0, "longitude": 13.0}
FLAGS = {"needs_movement": True, "undergoing_maintenance": False,
         "needs_maintenance": True, "needs_pickup": False, "has_food": True,
         "driveable": False}
AN_HOUR = 3600000


def test_of_nothing_every_field_is_null(db):
    blank = db.value("select coco.supply_blank('a')")
    assert set(blank) == FIELDS
    assert {name: value for name, value in blank.items()
            if value is not None} == {
        "serial": "a", "status": "OFFLINE", "futureDemand": []}


def test_whoever_is_first_makes_a_whole_row(db):
    """A heartbeat inserts what it knows; one of a known robot changes no
    more than that."""
    at = now_ms()
    heartbeats(db, ["a"], at)
    assert db.robot("a") == {
        **db.value("select coco.supply_blank('a')"), "status": "ONLINE",
        "battery": 50, "lastSynced": at, "healthy": True,
        "location": {"latitude": 52.1, "longitude": 13.1}}
    db.move(db.deliver(), "assign", serial="a")
    demand = db.robot("a")["activeDemand"]
    heartbeats(db, ["a"], at + 1, battery=49)
    assert demand and db.robot("a")["activeDemand"] == demand
    assert db.robot("a")["battery"] == 49


def test_a_patch_is_the_supplys_at_once(db):
    db.operate("a")
    status, _, lines = db.patch("a", operation_state="ON_TRIP", deployed=POD,
                                **FLAGS)
    robot = db.robot("a")
    changed = db.value("select coco.to_ms(changed_at)"
                       " from coco.robot_operation where serial = 'a'")

    assert status == 200
    assert lines == ["a B %d ON_TRIP ftftft D 0 0 0" % changed]
    assert set(robot) == FIELDS
    assert robot["tripType"] == "DEPLOYMENT"
    assert db.told("a") == [{
        "operationState": "ON_TRIP", "deployed": POD,
        "tripType": "DEPLOYMENT", "needsMovement": True,
        "undergoingMaintenance": False, "needsMaintenance": True,
        "needsPickup": False, "hasFood": True, "driveable": False}]
    assert {name: robot[name] for name in db.told("a")[0]} == db.told("a")[0]

    db.patch("a", deployed=None, needs_pickup=None)
    assert db.told("a")[1:] == [{"deployed": None, "needsPickup": None,
                                 "tripType": "RETURN"}]
    assert db.line("a").split()[4] == "ft-tft"


def test_what_changes_nothing_touches_nothing(db):
    db.operate("a")
    db.patch("a", needs_pickup=True)
    before = db.columns("a", "change_txid, xmin, data")
    assert db.patch("a", needs_pickup=True)[2] == []
    assert db.columns("a", "change_txid, xmin, data") == before
    assert len(db.told("a")) == 1


def test_a_repeat_is_told_what_stands(db):
    """Its nginx may not have heard of what the first one changed."""
    known = [db.operate(serial) or serial for serial in ("a", "b")]
    patch = "robot_patch", "a", Json({"needs_pickup": True})
    first = db.write(*patch, key="k")
    assert [line.split()[0] for line in first[2]] == ["a"]
    assert db.write(*patch, key="k") == first
    db.patch("a", needs_pickup=False)
    assert db.write(*patch, key="k")[2] == [db.line("a")] != first[2]

    delivery = db.deliver()
    assign = db.moving(delivery, "assign", serial="b")
    told = db.write(*assign, key="k")
    assert told[0] == 200 and [line.split()[0] for line in told[2]] == ["b"]
    assert db.write(*assign, key="k") == told

    # of nobody else, and not in the next transaction
    assert db.value("select coco.supply_changes()") == ""
    assert db.value("select coco.supply_changes(%s)", known[1]) == \
        told[2][0] + "\n"
    assert db.value("select coco.supply_changes(%s)", "nobody") == ""


def test_an_unknown_robot_is_none(db):
    assert db.patch("nobody", driveable=True)[0::2] == (404, [])
    assert db.rows("select id from coco.resource") == []


@pytest.mark.parametrize("state, demand, deployed, expected", [
    ("ON_TRIP", None, None, "RETURN"),
    ("ON_TRIP", None, "null", "RETURN"),
    ("ON_TRIP", "null", '{"type":"MRO"}', "DEPLOYMENT"),
    ("ON_TRIP", '{"type":"PENDING"}', None, "RETURN"),
    ("ON_TRIP", '{"type":"ACTIVE"}', '{"type":"MRO"}', "DELIVERY"),
    ("PARKED", '{"type":"ACTIVE"}', None, "DELIVERY"),
    ("PARKED", '{"type":"PENDING"}', '{"type":"MRO"}', None),
    (None, None, None, None)])
def test_the_type_of_a_trip(db, state, demand, deployed, expected):
    assert db.value("select coco.trip_type(%s, %s, %s)", state, demand,
                    deployed) == expected


def test_a_delivery_is_a_demand_until_it_is_over(db):
    db.operate("a")
    ready = now_ms() + AN_HOUR
    delivery = db.deliver(readyAt=ready)

    def demand():
        rows = db.rows("select coco.demand_document(d)::json"
                       " from coco.demand d")
        return rows[0][0] if rows else None

    created = demand()
    assert created == {
        "id": str(delivery), "type": "SCHEDULED",
        "deliveryId": str(delivery), "serial": None,
        "pickup": {"latitude": 52.1, "longitude": 13.1},
        "dropoff": {"latitude": 52.2, "longitude": 13.2},
        "readyAt": ready, "createdAt": created["createdAt"]}

    seen = []
    for event, body in (("assign", {"serial": "a"}), ("depart", {}),
                        ("arrive", {}), ("load", {}), ("depart", {}),
                        ("arrive", {}), ("complete", {})):
        status, _, lines = db.move(delivery, event, **body)
        robot = db.robot("a")
        active, future = robot["activeDemand"], robot["futureDemand"]
        assert status == 200
        assert lines == [db.line("a")]
        assert [d for d in [active] + future if d] == [
            d for d in [demand()] if d]
        seen.append((active and active["type"], [d["type"] for d in future],
                     robot["tripType"], robot["operationState"],
                     robot["hasFood"]))

    on_its_way = ("ACTIVE", [], "DELIVERY")
    assert seen == [
        (None, ["SCHEDULED"], None, None, None),
        on_its_way + (None, None),
        on_its_way + ("PARKED", None),
        on_its_way + ("PARKED", True),
        on_its_way + ("PARKED", True),
        on_its_way + ("PARKED", True),
        (None, [], None, "PARKED", False)]
    assert demand() is None
    assert db.columns("a", "demands, demand_version") == (0, 3)
    assert db.robot("a")["attemptCancellationReason"] is None


def test_a_reassignment_is_told_of_both(db):
    delivery = db.deliver()
    db.move(delivery, "assign", serial="b")
    status, _, lines = db.move(delivery, "assign", serial="a")
    assert status == 200
    assert lines == ["a D 1 1 0", "b D 2 0 0"]
    assert db.robot("b")["attemptCancellationReason"] == "reassigned"
    assert db.told("b")[-1] == {"activeDemand": None,
                                "attemptCancellationReason": "reassigned"}

    db.move(delivery, "cancel", reason="closed")
    assert db.robot("a")["attemptCancellationReason"] == "closed"
    assert db.rows("select id from coco.demand") == []

    # the latest attempt counts, and it is under way
    db.move(db.deliver(), "assign", serial="a")
    assert db.robot("a")["attemptCancellationReason"] is None


def test_of_several_demands_one_is_served(db):
    """ACTIVE before PENDING, the oldest of them; the rest by their time."""
    deliveries = [db.deliver(externalId=str(i)) for i in range(2)]
    for delivery in deliveries:
        db.move(delivery, "assign", serial="a")
    later, sooner = (db.demand(serial="a", readyAt=now_ms() + n * AN_HOUR)
                     for n in (2, 1))
    ids = [str(d) for d in deliveries] + [
        str(row[0]) for row in db.rows(
            "select id from coco.demand where delivery_id is null"
            " order by ready_at desc")]
    assert (later[0], sooner[0]) == (201, 201)

    def order():
        robot = db.robot("a")
        return [ids.index(d["id"]) for d in
                [robot["activeDemand"]] + robot["futureDemand"]]

    assert order() == [0, 1, 3, 2]
    db.move(deliveries[1], "depart")
    assert order() == [1, 0, 3, 2]
    assert db.columns("a", "demands") == (4,)

    # both are ACTIVE, but only one of them at a time is served
    db.move(deliveries[0], "depart")
    assert order() == [0, 1, 3, 2]
    robot = db.robot("a")
    assert robot["activeDemand"]["type"] == "ACTIVE"
    assert [d["type"] for d in robot["futureDemand"]] == [
        "PENDING", "SCHEDULED", "SCHEDULED"]
    assert db.value("select type from coco.demand where id = %s",
                    deliveries[1]) == "ACTIVE", "as GET /demands shows it"


def test_demands_of_their_own(db):
    db.operate("a")
    db.patch("a", driveable=True)
    status, document, lines = db.demand(serial="a", type="ACTIVE")
    demand = db.value("select id from coco.demand")
    assert (status, lines) == (201, [db.line("a")])
    assert '"deliveryId":null,"serial":"a"' in document
    assert db.robot("a")["activeDemand"]["type"] == "ACTIVE"
    assert db.robot("a")["tripType"] == "DELIVERY"

    delivery = db.deliver()
    assert db.write("demand_delete", delivery)[::2] == (409, [])
    assert db.write("demand_delete", demand) == (204, "", [db.line("a")])
    assert db.write("demand_delete", demand)[::2] == (404, [])
    assert db.columns("a", "demands, demand_version") == (0, 2)

    assert db.demand(serial="nobody")[::2] == (422, [])
    assert [row[0] for row in db.rows("select type from coco.demand")] == [
        "PENDING"]


def test_types_follow_the_time_unless_they_are_said(db):
    later = now_ms() + AN_HOUR
    for body in ({}, {"readyAt": later}, {"readyAt": 1600000000000},
                 {"readyAt": later, "type": "PENDING"},
                 {"type": "SCHEDULED"}):
        assert db.demand(**body)[0] == 201
    assert [row[0] for row in db.rows(
        "select type from coco.demand order by created_at, xmin::text::int"
    )] == ["PENDING", "SCHEDULED", "PENDING", "PENDING", "PENDING"]


def test_mappings(db):
    reply = '{"provider":"uber","providerVehicleId":"v","serial":"a"}'
    for _ in range(2):
        assert db.write("mapping_put", "uber", "v", "a")[:2] == (200, reply)
    assert db.write("mapping_put", "uber", "v", "b")[:2] == (
        409, "The vehicle is mapped to robot a.")
    assert db.write("mapping_put", "doordash", "v", "b")[0] == 200
