"""Of an hour no more is read than is in it."""

from harness import await_for
from mds_city import hour_of

HISTORY = "^(mds_event|mds_trip|state_history.*)$"


def test_statements_use_the_indexes(city):
    city.vehicles(20)
    for before in range(24):
        city.events(1000, before)
    city.trips(500)
    city.run("update coco.mds_trip set end_time = end_time - interval '1 hour'"
             " * (random() * 30)")
    city.trips(1)
    city.beats(1500)
    for table in ("mds_event", "mds_trip", "mds_vehicle", "state_history"):
        city.run("analyze coco." + table)

    scanned = city.counts("seq_scan", HISTORY)
    used = city.counts("idx_scan", HISTORY)

    hour = hour_of(city.ten)
    for path, param, name in (
            ("/mds/events/historical", "event_time", "events"),
            ("/mds/trips", "end_time", "trips"),
            ("/mds/telemetry", "telemetry_time", "telemetry")):
        assert len(city.get(path, **{param: hour})[name]) >= 20
    city.get("/mds/events/recent", start_time=city.ten,
             end_time=city.ten + 1000)
    city.get("/mds/vehicles/status")

    day = "state_history_" + hour[:10].replace("-", "")
    city.worker_leave()
    await_for("statistics", lambda: all(
        city.counts("idx_scan", HISTORY)[name] > used[name]
        for name in ("mds_event", "mds_trip", day)))
    assert city.counts("seq_scan", HISTORY) == scanned

    # the detector can fail
    city.run("select from coco.mds_trip where distance = 0")
    assert city.counts("seq_scan", HISTORY) != scanned
