"""What a city reads is what the standard says: each answer against a schema
written from it, and pages to their end."""

import copy

import jsonschema
import pytest

from mds_city import HOUR, hour_of, schemas, validate


@pytest.fixture(autouse=True)
def empty(city):
    city.clean()


def test_schemas_are_schemas():
    assert set(schemas()) == {"types", "vehicles", "vehicles_status",
                              "events", "trips", "telemetry", "error"}
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


def pages(city, path, name, **params):
    """All items, page by page; back again it is the same."""
    seen = [city.get(path, **params)]
    while seen[-1]["links"]["next"]:
        assert len(seen) < 10
        seen.append(city.get(seen[-1]["links"]["next"][len(city.nginx.http):]))
    for page in seen:
        assert len(page[name]) <= 500
        validate(name, {**page, name: page[name][::20]})

    back = seen[-1]
    for page in reversed(seen[:-1]):
        back = city.get(back["links"]["prev"][len(city.nginx.http):])
        assert back[name] == page[name]
    assert back["links"]["prev"] is None
    assert city.get(seen[0]["links"]["first"][len(city.nginx.http):])[
        name] == seen[0][name]
    return [item for page in seen for item in page[name]]


def test_every_answer_is_of_the_standard(city):
    city.vehicles(1003)
    city.events(1003)
    city.trips()

    vehicles = pages(city, "/mds/vehicles", "vehicles")
    assert [v["vehicle_id"] for v in vehicles] == [
        "m-%05d" % n for n in range(1, 1004)]
    statuses = pages(city, "/mds/vehicles/status", "vehicles_status")
    assert [s["device_id"] for s in statuses] == [
        v["device_id"] for v in vehicles]
    assert all(s["last_telemetry"]["telemetry_id"][14] == "5"
               for s in statuses)

    events = pages(city, "/mds/events/recent", "events",
                   start_time=city.ten, end_time=city.ten + HOUR)
    assert len(events) == 1003
    told = [(e["timestamp"], e["event_id"]) for e in events]
    assert told == sorted(told)

    whole = city.get("/mds/events/historical", event_time=hour_of(city.ten))
    assert whole["events"] == events

    trips = city.get("/mds/trips", end_time=hour_of(city.ten))
    validate("trips", {**trips, "trips": trips["trips"][::20]})
    assert {t["device_id"] for t in trips["trips"]} == {
        v["device_id"] for v in vehicles}

    for name, path in (("vehicles", "/mds/vehicles/"),
                       ("vehicles_status", "/mds/vehicles/status/")):
        one = city.get(path + vehicles[7]["device_id"])
        validate(name, one)
        assert len(one[name]) == 1


def test_telemetry_names_the_trips_of_its_time(city):
    city.vehicles(3)
    city.beats(545)
    city.trips()
    answer = city.get("/mds/telemetry", telemetry_time=hour_of(city.ten))
    validate("telemetry", {**answer, "telemetry": answer["telemetry"][::20]})
    assert len(answer["telemetry"]) == 3 * 545
    trips = {t["device_id"]: t["trip_id"] for t in city.get(
        "/mds/trips", end_time=hour_of(city.ten))["trips"]}
    for one in answer["telemetry"]:
        under_way = one["timestamp"] < city.ten + 540000
        assert one["trip_ids"] == ([trips[one["device_id"]]] if under_way
                                   else None)


@pytest.mark.parametrize("status, path", (
    (400, "/mds/trips"), (400, "/mds/telemetry?telemetry_time=now"),
    (400, "/mds/events/recent?start_time=1&end_time=2"),
    (404, "/mds/vehicles/status/x"),
    (404, "/mds/trips?end_time=2020-01-01T00")))
def test_errors_are_of_the_standard(city, status, path):
    validate("error", city.get(path, status))


def test_an_hour_that_is_not_complete(city):
    city.run("update coco.mds_progress set up_to = now() - interval '3 days'")
    validate("error", city.get(city.events_path(), 202))


def test_a_spoilt_answer_is_found(city):
    """The detector can fail."""
    city.vehicles(1)
    good = city.get("/mds/vehicles/status")
    validate("vehicles_status", good)
    for path, value in ((("version",), "1.2.0"), (("ttl",), 300001),
                        (("last_updated",), 1700000000),
                        (("vehicles_status", 0, "last_event",
                          "vehicle_state"), "parked"),
                        (("vehicles_status", 0, "last_event",
                          "event_types"), ["trip_start"]),
                        (("vehicles_status", 0, "last_telemetry",
                          "location", "lat"), 91),
                        (("vehicles_status", 0, "last_telemetry",
                          "trip_ids"), [])):
        bad = part = copy.deepcopy(good)
        for word in path[:-1]:
            part = part[word]
        part[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            validate("vehicles_status", bad)
    for word in ("journey_id", "trip_ids", "location"):
        bad = copy.deepcopy(good)
        del bad["vehicles_status"][0]["last_telemetry"][word]
        with pytest.raises(jsonschema.ValidationError):
            validate("vehicles_status", bad)
