"""What partners are told: all of it, in order, and in the forms of the map."""

import glob
import json
import socket
import subprocess

import jsonschema
import jwt
import native
import pytest
from native import until
from partnersdriver import SIGNING_SECRET, STATUSES, body_status
from stack import PortBlock


DOORDASH = ["created", "confirmed", "enroute_to_pickup", "arrived_at_pickup",
            "picked_up", "enroute_to_dropoff", "arrived_at_dropoff",
            "delivered"]


def test_a_delivery_is_told_in_order(servers, partner, drive):
    drive()
    servers.robot("R-1")
    identity = servers.deliver("D-1")
    until(lambda: servers.pending() == 0)
    calls = partner.of("D-1")
    assert [body_status(call) for call in calls] == DOORDASH
    assert {call.path for call in calls} == {"/v3/updateVehicleStatus"}
    rows = servers.pushes(identity, "id::text, body, state, attempted,"
                          " jsonb_array_length(attempts)")
    assert [(key, body.encode()) for key, body, *_ in rows] == [
        (call.key, call.body) for call in calls]
    assert {tuple(row[2:]) for row in rows} == {("DELIVERED", 1, 1)}


def test_doordash_is_shown_a_token_of_ours(servers, partner, drive):
    drive()
    servers.robot("R-1", 34.5, -118.25, 40)
    servers.query("insert into coco.external_robot_mapping (provider,"
                  " provider_vehicle_id, serial)"
                  " values ('doordash', 'V-1', 'R-1'),"
                  " ('uber', 'U-1', 'R-1')")
    servers.deliver("D-1", statuses=["Assigned"])
    until(lambda: servers.pending() == 0)
    call = partner.of("D-1")[0]
    token = call.authorization.split(" ")[1]
    assert jwt.get_unverified_header(token) == {
        "alg": "HS256", "typ": "JWT", "dd-ver": "DD-JWT-V1"}
    claims = jwt.decode(token, jwt.utils.base64url_decode(SIGNING_SECRET),
                        ["HS256"], audience="doordash")
    assert (claims["iss"], claims["kid"]) == ("developer-1", "key-1")
    body = json.loads(call.body)
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "external_delivery_id": "D-1", "vehicle_id": "V-1",
        "delivery_status": "confirmed", "battery_percent": 40,
        "vehicle_location": {"lat": 34.5, "lng": -118.25}}


def test_uber_is_shown_one_token_of_its_server(servers, partner, drive):
    drive()
    for n in range(20):
        servers.deliver("U-%d" % n, provider="uber", statuses=["Canceled"])
    until(lambda: servers.pending() == 0)
    assert len(partner.fetches) == 1
    assert sorted(partner.fetches[0][0].decode().split("&")) == [
        "client_id=client-1", "client_secret=a%20secret%20%26%20more%3D",
        "grant_type=client_credentials", "scope=eats.deliveries"]
    assert len(partner.calls) == 20
    assert {c.authorization for c in partner.calls} == {"Bearer token-1"}
    assert {body_status(c) for c in partner.calls} == {"CANCELED"}


def test_a_robot_without_mapping_goes_by_its_serial(servers, partner, drive):
    drive()
    servers.deliver("D-1", serial="R-9", statuses=["Assigned"])
    until(lambda: servers.pending() == 0)
    body = json.loads(partner.of("D-1")[0].body)
    assert body["vehicle_id"] == "R-9" and "vehicle_location" not in body


def test_others_are_told_nothing(servers, partner, drive):
    driver = drive(uber_base_url=None)
    servers.deliver("X-1", provider=None)
    servers.deliver("X-2", provider="own")
    identity = servers.deliver("U-1", provider="uber")
    until(lambda: servers.pending() == 0)
    assert servers.pushes(identity) == [(s, "SKIPPED") for s in STATUSES]
    assert servers.query("select count(*) from coco.partner_push")[0][0] == 8
    assert partner.calls == []
    # counted after the commit
    until(lambda: driver.metric("coco_pushes_skipped_total", "uber") == 8)


def test_a_word_that_the_map_lacks_is_skipped(servers, partner, drive,
                                              tmp_path):
    with open(native.ROOT + "/conf/partners.json") as file:
        table = json.load(file)
    table["doordash"]["statuses"]["AtPickup"] = None
    table["doordash"]["status"]["method"] = "PUT"
    table["doordash"]["headers"] = {"X-Fleet": "coco"}
    path = tmp_path / "map.json"
    path.write_text(json.dumps(table))
    drive(partners_map=str(path))
    identity = servers.deliver("D-1")
    until(lambda: servers.pending() == 0)
    assert partner.statuses("D-1") == [s for s in DOORDASH
                                       if s != "arrived_at_pickup"]
    assert (("AtPickup", "SKIPPED") in servers.pushes(identity))
    assert {(c.method, c.headers["X-Fleet"]) for c in partner.calls} == {
        ("PUT", "coco")}


def test_one_sends_at_a_time(servers, partner, drive):
    first = drive().sends()
    second = drive()
    until(lambda: second.status()[0] == 1)
    assert second.status()[1] == 0
    servers.deliver("D-1")
    until(lambda: servers.pending() == 0)
    first.kill()
    second.sends()
    servers.deliver("D-2")
    until(lambda: servers.pending() == 0)
    assert partner.statuses("D-1") == partner.statuses("D-2") == DOORDASH


def test_a_stop_ends_what_is_under_way(servers, partner, drive):
    driver = drive().sends()
    identity = servers.deliver("D-1", statuses=["Created"])
    until(lambda: partner.calls)
    assert int(driver.ask("stop", "stopped")[-1].split()[1]) < 15000
    assert servers.pushes(identity) == [("Created", "DELIVERED")]


def test_a_day_of_outage_slows_no_claim(servers, partner, drive):
    """What waits is not read, whatever there was when plans were made; nor is
    it held in memory."""
    def used():
        """How often the index, and how many rows in all, were read."""
        return servers.query(
            "select sum(idx_scan) filter (where indexrelname"
            " = 'partner_push_due')::int, sum(idx_tup_read)::int"
            " from pg_stat_user_indexes"
            " where relname in ('partner_push', 'delivery')")[0]

    # what a session has read is there before it goes on, not after its end
    counted = " select pg_stat_force_next_flush()"
    driver = drive().sends()
    servers.robot("R-1")
    servers.deliver("D-1")
    until(lambda: partner.statuses("D-1") == DOORDASH)
    servers.query(
        "insert into coco.delivery (provider, external_id, status,"
        " pickup_latitude, pickup_longitude, dropoff_latitude,"
        " dropoff_longitude, created_at, updated_at)"
        " select 'doordash', 'W-' || n, 'Created', 1, 2, 3, 4, now(), now()"
        " from generate_series(1, 5000) n;" + counted)
    servers.query(
        "insert into coco.partner_push (id, provider, delivery_id, kind,"
        " number, status, ts, due_at)"
        " select gen_random_uuid(), 'doordash', d.id, 'STATUS', n, 'Created',"
        " now(), case n when 1 then now() + interval '1 hour' end"
        " from coco.delivery d, generate_series(1, 4) n"
        " where d.external_id like 'W-%%';" + counted)
    before = used()
    servers.deliver("D-2")
    until(lambda: partner.statuses("D-2") == DOORDASH)
    driver.end()                           # what it read is counted by then
    until(lambda: used()[0] - before[0] > 8)
    assert used()[1] - before[1] < 5000


def test_bodies_are_as_the_schemas_say(servers, partner, drive):
    """Those of the golden files, and those that leave."""
    drive()
    servers.robot("R-1")
    for provider in ("uber", "doordash"):
        servers.deliver("X-" + provider, provider=provider)
    until(lambda: servers.pending() == 0)
    for provider in ("uber", "doordash"):
        with open("%s/tests/partners/schema/%s.json"
                  % (native.ROOT, provider)) as file:
            schemas = json.load(file)
        for kind in ("status", "location"):
            check = jsonschema.Draft7Validator(
                dict(schemas[kind], definitions=schemas["definitions"]))
            paths = glob.glob("%s/tests/data/partners/%s-%s*.json"
                              % (native.ROOT, provider, kind))
            assert paths
            for path in paths:
                with open(path) as file:
                    check.validate(json.load(file))
            bodies = [json.loads(call.body)
                      for call in partner.of("X-" + provider)
                      if (body_status(call) is not None) == (kind == "status")]
            assert bodies or kind == "location"
            for body in bodies:
                check.validate(body)


@pytest.fixture
def tls(servers, partner, tmp_path):
    """nginx that speaks HTTP/2 before the partner; its URL, its authority and
    its log."""
    block = PortBlock()
    for name, subject in (("ca", "/CN=a test's"), ("key", "/CN=localhost")):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", subject, "-addext", "subjectAltName=DNS:localhost",
             "-keyout", tmp_path / (name + ".key"),
             "-out", tmp_path / (name + ".pem")],
            check=True, capture_output=True)
    (tmp_path / "nginx.conf").write_text("""
        daemon off; pid %(folder)s/pid; error_log %(folder)s/error.log;
        worker_processes 1; user root;
        events { worker_connections 256; }
        http {
            log_format told '$server_protocol $connection $status';
            access_log %(folder)s/access.log told;
            client_body_temp_path %(folder)s/body;
            proxy_temp_path %(folder)s/proxy;
            fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u;
            scgi_temp_path %(folder)s/s;
            server {
                listen 127.0.0.1:%(port)d ssl http2;
                ssl_certificate %(folder)s/key.pem;
                ssl_certificate_key %(folder)s/key.key;
                location / { proxy_pass %(url)s; }
            }
        }""" % {
            "folder": tmp_path, "port": block.first, "url": partner.url})
    nginx = subprocess.Popen(
        ["/usr/sbin/nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: socket.socket().connect_ex(("127.0.0.1", block.first)) == 0)
    yield "https://localhost:%d" % block.first, tmp_path
    nginx.terminate()
    nginx.wait()
    block.release()


def test_over_tls_it_is_http_2(servers, partner, drive, tls):
    url, folder = tls
    drive(doordash_base_url=url, partners_tls_ca_file=folder / "key.pem")
    for n in range(20):
        servers.deliver("D-%d-" % n)
    until(lambda: servers.pending() == 0)
    log = folder / "access.log"        # written after the answers
    until(lambda: log.read_text().count("\n") >= 160)
    said = [line.split() for line in log.read_text().splitlines()]
    assert {(version, status) for version, _, status in said} == {
        ("HTTP/2.0", "200")}
    assert len(said) == 160
    assert len({connection for _, connection, _ in said}) <= 2


def test_a_certificate_of_others_is_refused(servers, partner, drive, tls):
    url, folder = tls
    drive(doordash_base_url=url, partners_tls_ca_file=folder / "ca.pem")
    identity = servers.deliver("D-1", statuses=["Created"])
    until(lambda: servers.pushes(identity, "attempted")[0][0] > 2)
    said = servers.pushes(identity, "attempts")[0][0]
    assert "certificate" in said[0]["error"]
    assert partner.calls == []
