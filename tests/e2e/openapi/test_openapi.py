"""docs/openapi.yaml against the running system: every operation is called,
every answer validated, and every status but 503 (which needs a backend that
is away: see t/) seen; and against the route tables of the sources."""

import contextlib
import copy
import hmac
import json
import queue
import threading
import time
import uuid

import jsonschema
import psycopg2
import pytest
from requests.adapters import HTTPAdapter

import document as d
from harness import await_for, new_serial, now_ms

DOCUMENT = d.load()
OPERATIONS = d.operations(DOCUMENT)
NOT_PROVOKED = {"503"}


@pytest.fixture(scope="module")
def robot(system):
    serial = new_serial("openapi")
    for i, state in enumerate(("PARKED", "DEPLOYED", None)):
        beat = system.beat(serial, now_ms() + i, state,
                           lid={"open": False}, software="1.2")
    system.await_cached(serial, beat["ts"])
    return serial


@pytest.fixture(scope="module")
def dead_letter(system, robot):
    """Two messages set aside: one is text, the other is not."""
    for payload in (b'{"ts":"never"}', b"\xff\xfe"):
        system.publish((robot, payload))

    def find():
        return [item for item in system.get("/dead-letters", limit=500)[
            "items"] if item["topic"] == "robot/%s/status" % robot]

    return await_for("both dead letters",
                     lambda: len(find()) == 2 and find())[0]["id"]


def heard(system, robot):
    """A dead letter of a status that has reached the partner since."""
    reply = system.http.post(system.url + "/deliveries", timeout=15, json={
        **DELIVERY, "provider": "uber", "externalId": robot + "-heard"})
    assert reply.status_code == 201, reply.text
    system.sql("with told as (update coco.partner_push set state ="
               "  'DELIVERED', due_at = null, done_at = now()"
               "  where delivery_id = %s returning id)"
               " insert into coco.dead_letter (id, source, topic, service,"
               "  reason, payload, received_at, push_id)"
               " select id, 'partner', 'uber', 'integrations', 'refused', '',"
               "  now(), id from told", reply.json()["id"])
    return system.value("select id::text from coco.dead_letter"
                        " where push_id in (select id from coco.partner_push"
                        "  where delivery_id = %s)", reply.json()["id"])


JSON = {"Content-Type": "application/json"}
LARGE = b'{"hasFood":true' + b" " * 262144 + b"}"
NONE = "00000000-0000-8000-8000-000000000000"
PLACE = {"type": "POD", "id": "a", "latitude": 1, "longitude": 2}


DELIVERY = {"pickup": {"latitude": 1, "longitude": 2},
            "dropoff": {"latitude": 3, "longitude": 4, "address": "a"}}


@pytest.fixture(scope="module")
def deliveries(system, robot):
    """Two, and an anomaly about one of them."""
    ids = []
    for i in range(2):
        reply = system.http.post(system.url + "/deliveries", timeout=15, json={
            **DELIVERY, "provider": "openapi", "loadingFlow": "PIN",
            "externalId": "%s-%d" % (robot, i), "pin": "1234",
            "readyAt": now_ms()})
        assert reply.status_code == 201, reply.text
        assert reply.headers["Location"] == "/deliveries/" + reply.json()["id"]
        ids.append(reply.json()["id"])
    system.sql("insert into coco.anomaly (id, kind, serial, ts, reason,"
               " candidates, cycle_id) values (gen_random_uuid(),"
               " 'NO_DELIVERY', %s, now(), 'none', array[%s]::uuid[],"
               " gen_random_uuid())", robot, ids[0])
    return ids


@pytest.fixture(scope="module")
def outcomes(system, robot):
    """Of the commands to come to a robot that stands still, in order; a cycle
    of its lid."""
    robot = robot + "-lid"
    wanted, stop = queue.SimpleQueue(), threading.Event()
    system.sql("insert into coco.lid_cycle (id, serial, state, source,"
               " reference_id, trigger, opened_at, closed_at) values"
               " (gen_random_uuid(), %s, 'LID_CYCLE_COMPLETE', 'QR', 'a',"
               " 'OTHER', now() - interval '1 minute', now())", robot)

    def answer():
        with contextlib.closing(psycopg2.connect(system.pg_url)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            while not stop.wait(0.05):
                cursor.execute("select id from coco.robot_command"
                               " where serial = %s and outcome is null",
                               (robot,))
                for command in cursor.fetchall():
                    cursor.execute(
                        "update coco.robot_command set outcome = %s,"
                        " reason = 'latch', cycle_id = gen_random_uuid()"
                        " where id = %s", (wanted.get(timeout=60), *command))

    thread = threading.Thread(target=answer)
    thread.start()
    yield wanted
    stop.set()
    thread.join(20)


def lid_calls(system, robot, outcomes):
    here, nobody = {"serial": robot}, {"serial": "nobody-at-all"}
    key = {**JSON, "Idempotency-Key": "lid-" + robot}
    delivery = system.call("POST", "/deliveries", 201, json=DELIVERY)["id"]
    system.call("POST", "/deliveries/%s/assign" % delivery,
                json={"serial": robot})
    by_qr, load = {"source": "QR"}, {"deliveryId": delivery}

    for name, path, body in (("openLid", here, by_qr),
                             ("openLidForLoad", {}, load)):
        for outcome, status in (("OPENED", 200), ("FAILED", 409),
                                ("EXPIRED", 504)):
            outcomes.put(outcome)
            yield name, status, path, {"json": body}
        outcomes.put("OPENED")
        text = json.dumps(body)
        yield name, 200, path, {"headers": key, "data": text}
        yield name, 200, path, {"headers": key, "data": text}
        yield name, 422, path, {"headers": key, "data": text + " "}
        yield name, 400, path, {"json": {"colour": "red"}}
        yield name, 413, path, {"headers": JSON, "data": LARGE}
        yield name, 415, path, {"data": text}

    yield "openLidForLoad", 404, {}, {"json": {"deliveryId": NONE}}

    for serial in (here, nobody):
        yield "getLid", 200, serial, {}
        yield "listLidEvents", 200, serial, {}
    yield "listLidEvents", 200, here, {"params": {"limit": 1}}
    yield "listLidEvents", 400, here, {"params": {"to": "x"}}
    yield "getLid", 400, {"serial": "a b"}, {}


def delivery_calls(system, robot, deliveries):
    one, other, none = [{"id": word} for word in (*deliveries, NONE)]
    key = {**JSON, "Idempotency-Key": robot}
    new = json.dumps(DELIVERY)

    yield "createDelivery", 201, {}, {"json": {
        **DELIVERY, "provider": None, "loadingFlow": "QR"}}
    yield "createDelivery", 201, {}, {"headers": key, "data": new}
    yield "createDelivery", 201, {}, {"headers": key, "data": new}
    yield "createDelivery", 422, {}, {"headers": key, "data": new + " "}
    yield "createDelivery", 400, {}, {"json": {"pickup": 1}}
    yield "createDelivery", 409, {}, {"json": {
        **DELIVERY, "provider": "openapi", "externalId": robot + "-0"}}
    yield "createDelivery", 413, {}, {"headers": JSON, "data": LARGE}
    yield "createDelivery", 415, {}, {"data": new}
    yield "listDeliveries", 200, {}, {"params": {"limit": 1}}
    yield "listDeliveries", 200, {}, {"params": {"serial": robot,
                                                 "status": "AtPickup"}}
    yield "listDeliveries", 400, {}, {"params": {"status": "Lost"}}
    yield "getDelivery", 200, one, {}
    yield "getDelivery", 404, none, {}
    yield "listDeliveryEvents", 200, one, {}
    yield "listDeliveryEvents", 200, one, {"params": {"limit": 1}}
    yield "listDeliveryEvents", 400, one, {"params": {"cursor": "x"}}
    yield "listDeliveryEvents", 404, none, {}
    yield "listAnomalies", 200, {}, {"params": {"serial": robot}}
    yield "listAnomalies", 200, {}, {"params": {"kind": "NO_DELIVERY"}}
    yield "listAnomalies", 400, {}, {"params": {"kind": "ODD"}}

    assign, arrive = {"serial": robot}, {"at": "pickup"}
    cancel = {"reason": "late"}

    for name, body in (("assign", assign), ("depart", {}),
                       ("arrive", arrive)):
        yield name + "Delivery", 200, one, {"headers": key,
                                            "data": json.dumps(body)}
    yield "getRobot", 200, {"serial": robot}, {}
    yield "listRobots", 200, {}, {"params": {"limit": 500}}

    system.sql("select coco.delivery_apply(%s, 'AtPickup',"
               " 'LoadedWaitingForPilot', now(), null, null)", deliveries[0])
    for name, body, status in (
            ("depart", {}, 200), ("assign", assign, 409),
            ("arrive", arrive, 409), ("arrive", {"at": "dropoff"}, 200)):
        yield name + "Delivery", status, one, {"json": body}
    yield "completeDelivery", 200, one, {"headers": key, "data": "{}"}
    for name, body in (("depart", {}), ("complete", {}), ("cancel", cancel)):
        yield name + "Delivery", 409, one, {"json": body}
    yield "cancelDelivery", 200, other, {"headers": key,
                                         "data": json.dumps(cancel)}
    yield "getDelivery", 200, other, {}
    yield "listDeliveryEvents", 200, other, {}

    for name, body, which in (
            ("assign", assign, one), ("depart", {}, one),
            ("arrive", arrive, one), ("complete", {}, one),
            ("cancel", cancel, other)):
        name, data = name + "Delivery", json.dumps(body) + " "
        yield name, 404, none, {"json": body}
        yield name, 400, one, {"json": {"colour": "red"}}
        yield name, 413, one, {"headers": JSON, "data": LARGE}
        yield name, 415, one, {"data": data}
        yield name, 422, which, {"headers": key, "data": data}


def dispatch_calls(system, robot):
    none = {"id": NONE}
    delivery = system.call("POST", "/deliveries", 201, json=DELIVERY)
    trip = {"pickup": {"latitude": 1, "longitude": 2},
            "dropoff": {"latitude": 1, "longitude": 2.001}}
    key = {**JSON, "Idempotency-Key": "dispatch-" + robot}
    text = json.dumps({**trip, "hold": True})

    for name in ("-one", "-two"):
        system.beat(robot + name, now_ms(), "PARKED", latitude=1, longitude=2)
        await_for("a robot to quote", lambda: [item for item in system.get(
            "/supply", serial=robot + name)["items"] if item["usable"]])

    for explain in ("0", "1"):
        yield "createQuote", 200, {}, {"json": trip,
                                       "params": {"explain": explain}}
    yield "createQuote", 200, {}, {"json": {"pickup": trip["pickup"],
                                            "dropoff": trip["pickup"],
                                            "at": now_ms() + 60000}}
    yield "createQuote", 200, {}, {"headers": key, "data": text}
    yield "createQuote", 422, {}, {"headers": key, "data": text + " "}
    quote = system.call("POST", "/quote", json={**trip, "hold": True})
    yield "releaseQuote", 404, none, {}
    yield "releaseQuote", 204, {"id": quote["quoteId"]}, {}
    yield "createPlan", 200, {}, {"json": {"demands": [
        {**trip, "id": word} for word in "abc"]}}

    yield "createDemand", 201, {}, {"json": {**trip, "readyAt": now_ms()}}
    yield "createDemand", 201, {}, {"headers": key, "data": json.dumps(trip)}
    yield "createDemand", 422, {}, {"headers": key,
                                    "data": json.dumps(trip) + " "}
    demand = system.call("POST", "/demands", 201, json={
        **trip, "serial": robot, "type": "ACTIVE"})
    yield "listSupply", 200, {}, {"params": {"serial": robot}}
    yield "listDemands", 200, {}, {"params": {"limit": 1}}
    yield "listDemands", 200, {}, {"params": {"serial": robot,
                                              "type": "ACTIVE"}}
    yield "listDemands", 400, {}, {"params": {"type": "ODD"}}
    yield "deleteDemand", 204, {"id": demand["id"]}, {}
    yield "deleteDemand", 404, none, {}
    yield "deleteDemand", 409, {"id": delivery["id"]}, {}
    yield "listSupply", 200, {}, {"params": {"limit": 500}}
    yield "listSupply", 200, {}, {"params": {"usable": "false", "limit": 1}}
    yield "listSupply", 400, {}, {"params": {"usable": 1}}

    for name in ("releaseQuote", "deleteDemand"):
        yield name, 400, none, {"headers": {"Idempotency-Key": "a b"}}
    for name in ("createQuote", "createPlan", "createDemand"):
        yield name, 400, {}, {"json": {"colour": "red"}}
        yield name, 413, {}, {"headers": JSON, "data": b"{" + b" " * 1048576}
        yield name, 415, {}, {"data": text}


def beacon_calls(system, robot):
    here, nobody = {"serial": robot}, {"serial": "nobody-at-all"}
    vehicle = {"provider": "uber", "providerVehicleId": "v-" + robot}
    key = {**JSON, "Idempotency-Key": "beacon-" + robot}
    text = json.dumps(here)

    yield "putExternalMapping", 200, vehicle, {"headers": key, "data": text}
    yield "putExternalMapping", 422, vehicle, {"headers": key,
                                               "data": text + " "}
    yield "putExternalMapping", 400, vehicle, {"json": {}}
    yield "putExternalMapping", 409, vehicle, {"json": {"serial": "other"}}
    yield "putExternalMapping", 413, vehicle, {"headers": JSON, "data": LARGE}
    yield "putExternalMapping", 415, vehicle, {"data": text}
    yield "listExternalMappings", 200, {}, {"params": {"limit": 1}}
    yield "listExternalMappings", 200, {}, {"params": {"provider": "uber"}}
    yield "listExternalMappings", 400, {}, {"params": {"limit": 0}}
    yield "getBeaconRobot", 200, here, {}
    yield "getBeaconRobot", 400, {"serial": "a b"}, {}
    yield "getBeaconRobot", 404, nobody, {}
    robot_id = system.get("/fleet/v1/beacon/robots/" + robot)["id"]
    yield "getVirtualRobot", 200, {"id": robot_id}, {}
    yield "getVirtualRobot", 404, {"id": NONE}, {}


def partner_calls(system, robot):
    key = system.uber_signing_key.encode()
    token = {"Authorization": "Bearer " + system.doordash_token}
    large = b"{" + b" " * 1048576

    def signed(text):
        return {"x-uber-signature": hmac.new(key, text, "sha256").hexdigest()}

    for name, known in (("postUberWebhook", signed),
                        ("postDoorDashWebhook", lambda text: token)):
        text = json.dumps({"kind": "event.courier_update",
                           "note": robot}).encode()
        for _ in range(2):
            yield name, 200, {}, {"headers": {**known(text), **JSON},
                                  "data": text}
        yield name, 400, {}, {"headers": {**known(b"{"), **JSON},
                              "data": b"{"}
        yield name, 401, {}, {"headers": JSON, "data": text}
        yield name, 413, {}, {"headers": {**known(large), **JSON},
                              "data": large}
        yield name, 415, {}, {"headers": known(text), "data": text}


MDS = {"Accept": "application/vnd.mds+json;version=2.0"}


def mds_hour(hours_ago):
    return time.strftime("%Y-%m-%dT%H", time.gmtime(
        time.time() - 3600 * hours_ago))


def mds_calls(system, robot):
    """A vehicle with an event and a trip; hours that are over, and others."""
    known, none = ({"device_id": word} for word in (str(uuid.uuid4()), NONE))
    event = str(uuid.uuid4())
    system.sql("with v as (insert into coco.mds_vehicle (serial, device_id,"
               " registered_at, memory, vehicle_state, event_id, event_at)"
               " values (%s, %s, now() - interval '3 days', '{}',"
               " 'available', %s, now()) on conflict (serial) do update set"
               " event_id = excluded.event_id, event_at = now()"
               " returning device_id), e as (insert into coco.mds_event"
               " (event_id, device_id, vehicle_state, event_types, ts,"
               " publication_time, latitude, longitude, battery_percent)"
               " select %s, device_id, 'available', '{service_start}', now()"
               " - n * interval '2 hours', now(), 1, 2, 50 from v,"
               " generate_series(0, 0) n), t as (insert into coco.mds_trip"
               " values (gen_random_uuid(), (select device_id from v),"
               " gen_random_uuid(), null, now() - interval '3 hours', 1, 2,"
               " now() - interval '2 hours', 3, 4, 5)) select 1",
               robot, known["device_id"], event, event)
    known["device_id"] = system.value("select device_id::text from"
                                      " coco.mds_vehicle where serial = %s",
                                      robot)
    system.sql("update coco.mds_progress set since = least(since, now() -"
               " interval '3 days'), up_to = greatest(up_to, now() -"
               " interval '1 hour')")

    await_for("an hour that does not end before it is asked for",
              lambda: time.time() % 3600 < 3590)
    recent = {"start_time": now_ms() - 86400000, "end_time": now_ms()}

    for name, path, good in (
            ("listMdsVehicles", {}, {}), ("getMdsVehicle", known, {}),
            ("listMdsStatuses", {}, {}), ("getMdsStatus", known, {}),
            ("listMdsRecentEvents", {}, recent),
            ("listMdsTrips", {}, {"end_time": mds_hour(2)}),
            ("listMdsTelemetry", {}, {"telemetry_time": mds_hour(2)}),
            ("listMdsEvents", {}, {"event_time": mds_hour(2)})):
        yield name, 200, path, {"headers": MDS, "params": good}
        yield name, 406, path, {"params": good}
        if path:
            yield name, 404, none, {"headers": MDS}
            continue
        yield name, 400, {}, {"headers": MDS, "params": {"cursor": "x"}}
        for key in set(good) - {"start_time"} if good is not recent else ():
            for hours, status in ((0, 202), (24 * 365, 404), (-2, 404)):
                yield name, status, {}, {"headers": MDS, "params": {
                    key: mds_hour(hours)}}


def calls(system, robot, letter, deliveries, outcomes):
    """(operation, status, path's parameters, requests' arguments)"""
    here, nobody = {"serial": robot}, {"serial": "nobody-at-all"}
    bad = {"serial": "a b"}
    key = {**JSON, "Idempotency-Key": robot}
    none = {"id": NONE}

    for name in ("getState", "getRobot", "getLaborRobot"):
        yield name, 200, here, {}
        yield name, 400, bad, {}
        yield name, 404, nobody, {}

    yield "listStateHistory", 200, here, {}
    yield "listStateHistory", 200, here, {"params": {"limit": 1}}
    yield "listStateHistory", 200, nobody, {}
    yield "listStateHistory", 400, here, {"params": {"from": "x"}}
    yield "listDeadLetters", 200, {}, {}
    yield "listDeadLetters", 200, {}, {"params": {"limit": 1}}
    yield "listDeadLetters", 400, {}, {"params": {"cursor": "x"}}

    replay = {"id": letter}
    yield "replayDeadLetter", 202, replay, {}
    yield "replayDeadLetter", 202, replay, {"headers": key, "data": b"{}"}
    yield "replayDeadLetter", 422, replay, {"headers": key}
    yield "replayDeadLetter", 400, replay, {"headers": {
        "Idempotency-Key": "a b"}}
    yield "replayDeadLetter", 404, none, {}
    yield "replayDeadLetter", 409, {"id": heard(system, robot)}, {}
    yield "replayDeadLetter", 413, replay, {"headers": JSON, "data": LARGE}
    yield "replayDeadLetter", 415, replay, {"data": b"{}"}

    yield "listRobots", 200, {}, {"params": {"limit": 1, "ready": "true"}}
    yield "listRobots", 200, {}, {"params": {"operationState": "DEPLOYED",
                                             "bbox": "-180,-90,180,90"}}
    yield "listRobots", 400, {}, {"params": {"limit": 0}}

    yield "patchRobot", 200, here, {"json": {"needsPickup": True,
                                             "deployed": PLACE}}
    yield "getRobot", 200, here, {}
    yield "patchRobot", 200, here, {"json": {"needsPickup": None,
                                             "deployed": None}}
    yield "patchRobot", 200, here, {"headers": key,
                                    "data": b'{"hasFood":true}'}
    yield "patchRobot", 422, here, {"headers": key,
                                    "data": b'{"hasFood":null}'}
    yield "patchRobot", 400, here, {"json": {"colour": "red"}}
    yield "patchRobot", 404, nobody, {"json": {"hasFood": True}}
    yield "patchRobot", 413, here, {"headers": JSON, "data": LARGE}
    yield "patchRobot", 415, here, {"data": b"{}"}

    status = {"eventName": "status", "unit": "streamer", "status": "online",
              "uuid": "u", "vin": robot, "time": now_ms() * 1000}
    known = {"X-DriveU-Token": system.driveu_secret}
    yield "postDriveUWebhook", 202, {}, {"headers": known, "json": status}
    yield "postDriveUWebhook", 400, {}, {"headers": known, "json": {}}
    yield "postDriveUWebhook", 401, {}, {"json": status}
    yield "postDriveUWebhook", 413, {}, {"headers": {**known, **JSON},
                                         "data": LARGE[:65537]}
    yield "postDriveUWebhook", 415, {}, {"headers": known, "data": b"{}"}

    yield from partner_calls(system, robot)
    yield from delivery_calls(system, robot, deliveries)
    yield from lid_calls(system, robot + "-lid", outcomes)
    yield from dispatch_calls(system, robot)
    yield from beacon_calls(system, robot)
    yield from mds_calls(system, robot)

    yield "getHealth", 200, {}, {}
    yield "getMetrics", 200, {}, {}
    yield "getReadiness", 200, {}, {}


def call(session, url, name, path_parameters, arguments):
    method, path, _ = OPERATIONS[name]
    return session.request(method, url + path.format(**path_parameters),
                           timeout=30, **arguments)


def without_scope(system):
    """A token of ours that allows nothing."""
    import jwt
    import time

    with open(system.jwt_key_file, "rb") as file:
        return jwt.encode({"iss": "coco", "aud": "coco", "scope": "",
                           "exp": time.time() + 60}, file.read(), "HS256")


class Elsewhere(HTTPAdapter):
    """Asks from an address that is not the one of this host's programs."""

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, **options,
                                 source_address=("127.0.0.2", 0))


def read_body(reply):
    return reply.json() if "json" in reply.headers.get("Content-Type", "") \
        else reply.text


def test_every_operation_answers_as_documented(system, robot, dead_letter,
                                               deliveries, outcomes):
    seen = {name: set() for name in OPERATIONS}

    def ask(session, name, status, path_parameters, arguments):
        reply = call(session, system.url, name, path_parameters, arguments)
        assert reply.status_code == status, (name, reply.text)
        try:
            d.check(DOCUMENT, OPERATIONS[name][2], reply.status_code,
                    reply.headers, lambda: read_body(reply))
        except d.Mismatch as e:
            raise AssertionError("%s %s: %s\n%s" % (name, status, e,
                                                    reply.text))
        seen[name].add(str(status))

    for one in calls(system, robot, dead_letter, deliveries, outcomes):
        ask(system.http, *one)

    await_for("the status shows",
              lambda: system.get("/state/" + robot)["driveu"])
    for name in ("getState", "getRobot"):
        ask(system.http, name, 200, {"serial": robot}, {})

    with system.http.__class__() as session:
        session.mount("http://", Elsewhere())
        ask(session, "getMetrics", 403, {}, {})

    for token, status in ((None, 401), (without_scope(system), 403)):
        with system.http.__class__() as session:
            if token:
                session.headers["Authorization"] = "Bearer " + token
            for name, (_, _, operation) in OPERATIONS.items():
                if operation["security"] and "bearer" in operation[
                        "security"][0]:
                    ask(session, name, status, {
                        "serial": robot, "id": dead_letter, "provider": "p",
                        "providerVehicleId": "v", "device_id": NONE}, {})

    for name, (_, _, operation) in OPERATIONS.items():
        assert seen[name] == set(operation["responses"]) - NOT_PROVOKED, name


def test_other_methods_are_refused(system, robot):
    """What the document does not have, the system does not serve."""
    for path, item in DOCUMENT["paths"].items():
        url = system.url + path.format(
            serial=robot, id="x", provider="p", providerVehicleId="v",
            device_id=NONE)
        for method in set(d.METHODS) - set(item):
            reply = system.http.request(method, url)
            assert reply.status_code == 405, (method, path)
            if path not in ("/healthz", "/readyz"):
                allowed = set(reply.headers["Allow"].lower().split(", "))
                assert allowed - {"head"} == set(item), path


def test_the_sources_declare_what_is_documented():
    assert d.source_routes(), "no route table was found"
    assert d.compare(d.documented_routes(DOCUMENT), d.source_routes()) == []


def test_a_planted_route_is_found():
    documented, declared = d.documented_routes(DOCUMENT), d.source_routes()
    planted = d.source_routes(['{ NGX_HTTP_GET|NGX_HTTP_PUT,\n'
                               '      ngx_string("/planted/{id}"),\n'
                               '      ngx_string("admin"),'])
    assert len(planted) == 2
    assert len(d.compare(documented, {**declared, **planted})) == 2
    assert len(d.compare({**documented, **planted}, declared)) == 2
    assert len(d.compare(documented, {
        **declared, ("get", "/robots"): "admin"})) == 1


def test_schemas_are_schemas():
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        d.validator(DOCUMENT, schema).is_valid({}), name


def test_a_spoilt_answer_is_found(system, robot):
    """The detector can fail: each change of a good answer is noticed."""
    reply = call(system.http, system.url, "getRobot", {"serial": robot}, {})
    operation = OPERATIONS["getRobot"][2]
    good = reply.json()

    def spoil(body=good, status=200, headers=reply.headers):
        d.check(DOCUMENT, operation, status, headers, lambda: body)

    spoil()
    for path, value in ((("telemetry", "battery", "percent"), 101),
                        (("operationState",), "FLYING"),
                        (("telemetry", "id"), "no uuid"),
                        (("connectivity", "extra"), 1),
                        (("readiness", "issue"), "TIRED"),
                        (("sources", "business", "source"), "memory"),
                        (("partial",), None)):
        body = copy.deepcopy(good)
        part = body
        for word in path[:-1]:
            part = part[word]
        part[path[-1]] = value
        with pytest.raises(d.Mismatch):
            spoil(body)
    for word in good:
        with pytest.raises(d.Mismatch):
            spoil({name: value for name, value in good.items()
                   if name != word})
    for arguments in ({"status": 418}, {"status": 401},
                      {"headers": {"Content-Type": "text/html"}}):
        with pytest.raises(d.Mismatch):
            spoil(**arguments)
