"""The partners' simulators: as strict as the real ones, and faulty on demand;
and the sender of their webhooks."""

import base64
import collections
import hashlib
import hmac
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time

import jwt
import pytest
import requests

from stack import ROOT, PortBlock, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests/partners"))

import sender       # noqa: E402

SECRET = base64.urlsafe_b64encode(b"a key of DoorDash's, 32 bytes...").decode(
    ).rstrip("=")
STATUS = {"external_delivery_id": "D-1", "delivery_status": "delivered",
          "timestamp": "2026-11-22T10:00:00.000Z"}
ADDRESSES = {"pickup_address": "1 Main St", "dropoff_address": "3 Pier"}
QUOTES = "/v1/customers/c/delivery_quotes"


class Partners:
    """The simulators, as who calls them sees them."""

    def __init__(self, url):
        self.url = url

    def post(self, path, body, timeout=30, **headers):
        return requests.post(self.url + path, json=body, headers={
            name.replace("_", "-"): value for name, value in headers.items()},
            timeout=timeout)

    def control(self, **order):
        reply = self.post("/control", order)
        assert reply.status_code == 200, reply.text

    def settings(self):
        return requests.get(self.url + "/control", timeout=30).json()

    def ledger(self, **query):
        return requests.get(self.url + "/ledger", params=query,
                            timeout=60).json()["items"]

    def token(self, **changes):
        form = {"client_id": "us", "client_secret": "s3cret",
                "grant_type": "client_credentials",
                "scope": "eats.deliveries", **changes}
        return requests.post(self.url + "/oauth/v2/token", data=form,
                             timeout=30)

    def uber(self, token, path=QUOTES, body=ADDRESSES):
        return self.post(path, body, Authorization="Bearer " + token)

    def doordash(self, body=STATUS, key="k", token=None,
                 path="/v3/updateVehicleStatus", timeout=30):
        return self.post(path, body, timeout, Idempotency_Key=key,
                         Authorization="Bearer " + (token or dd_jwt()))


def dd_jwt(secret=None, version="DD-JWT-V1", algorithm="HS256", **changes):
    now = int(time.time())
    claims = {"aud": "doordash", "iss": "dev", "kid": "key", "iat": now,
              "exp": now + 300, **changes}
    key = base64.urlsafe_b64decode(SECRET + "=") if secret is None else secret
    return jwt.encode(claims, key if algorithm != "none" else None,
                      algorithm=algorithm,
                      headers={"dd-ver": version} if version else None)


def start(folder, port, *more):
    """The process, once it answers."""
    (folder / "uber").write_text("s3cret\n")
    (folder / "doordash").write_text(SECRET)
    process = subprocess.Popen([
        "/usr/bin/python3", os.path.join(ROOT, "tests/partners/server.py"),
        "--port", str(port), "--uber-client", "us",
        "--uber-secret", str(folder / "uber"), "--doordash-developer", "dev",
        "--doordash-key", "key", "--doordash-secret",
        str(folder / "doordash"), *more])
    wait_for(lambda: answers("http://127.0.0.1:%d" % port), 30,
             "the simulators")
    return process


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder, block = tmp_path_factory.mktemp("partners"), PortBlock()
    process = start(folder, block.first)
    yield Partners("http://127.0.0.1:%d" % block.first)
    process.terminate()
    assert process.wait(60) == 0
    block.release()


def answers(url):
    try:
        return requests.get(url + "/control", timeout=2).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


@pytest.fixture
def partners(running):
    requests.post(running.url + "/reset", timeout=30)
    return running


def test_a_token_is_given_to_the_right_client_alone(partners):
    token = partners.token().json()
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 2_592_000
    assert partners.uber(token["access_token"]).json()["id"][:4] == "dqt_"

    files = {name: (None, value) for name, value in (
        ("client_id", "us"), ("client_secret", "s3cret"),
        ("grant_type", "client_credentials"), ("scope", "eats.deliveries"))}
    assert requests.post(partners.url + "/oauth/v2/token", files=files,
                         timeout=30).json()["access_token"]

    for changes, status, error in (
            ({"client_secret": "s3cre"}, 401, "invalid_client"),
            ({"client_id": "they"}, 401, "invalid_client"),
            ({"scope": "everything"}, 400, "invalid_scope"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"client_id": None}, 400, "invalid_request")):
        reply = partners.token(**changes)
        assert (reply.status_code, reply.json()["error"]) == (status, error)


def test_a_token_ends(partners):
    token = partners.token().json()["access_token"]
    assert partners.uber("another").status_code == 401
    partners.control(expireTokens=True)
    assert partners.uber(token).status_code == 401
    partners.control(tokenLifetime=0, expiresIn=60)
    told = partners.token().json()
    assert told["expires_in"] == 60
    assert partners.uber(told["access_token"]).status_code == 401


@pytest.mark.parametrize("changes", [
    {"aud": "uber"}, {"iss": "they"}, {"kid": "other"}, {"exp": 1},
    {"exp": int(time.time()) + 86400}, {"iat": int(time.time()) + 9999},
    {"iat": None}, {"secret": SECRET.encode()}, {"algorithm": "HS512"},
    {"algorithm": "none"}])
def test_a_wrong_dd_jwt_is_refused(partners, changes):
    reply = partners.doordash(token=dd_jwt(**changes))
    assert reply.status_code == 401
    assert reply.json()["code"] == "authentication_error"


def test_what_dd_jwt_may_be(partners):
    now = int(time.time())
    assert partners.doordash(token=dd_jwt(iat=str(now), exp=str(now + 60))).ok
    bare = partners.doordash(token=dd_jwt(version=None))
    assert (bare.status_code, bare.content) == (401, b"")
    for token in ("x", "a.b.c", dd_jwt() + "=", "é.é.é"):
        assert partners.doordash(token=token.encode().decode(
            "latin-1")).status_code == 401


def test_a_key_counts_once(partners):
    assert partners.doordash(key=None).status_code == 400
    assert partners.doordash(key="a").status_code == 200
    assert partners.doordash(key="a").status_code == 200
    assert partners.doordash({**STATUS, "delivery_status": "cancelled"},
                             key="a").status_code == 409
    assert [(e["status"], e["repeat"]) for e in partners.ledger()] == [
        (400, False), (200, False), (200, True), (409, False)]

    token = partners.token().json()["access_token"]
    with open(os.path.join(ROOT, "conf/partners.json")) as file:
        path = json.load(file)["uber"]["status"]["path"]
    body = {"delivery_id": "del_1", "status": "ASSIGNED",
            "event_time": STATUS["timestamp"]}
    for changes, status in (({}, 200), ({"status": "CANCELED"}, 422)):
        assert partners.post(path, {**body, **changes}, Idempotency_Key="u",
                             Authorization="Bearer " + token
                             ).status_code == status


@pytest.mark.parametrize("changes", [
    {"delivery_status": "eaten"}, {"timestamp": 1}, {"more": 1},
    {"vehicle_location": {"lat": 91, "lng": 0}},
    {"external_delivery_id": ""}])
def test_what_was_not_agreed_is_refused(partners, changes):
    reply = partners.doordash({**STATUS, **changes})
    assert reply.status_code == 400 and reply.json()["field_errors"]
    assert partners.doordash(STATUS).ok, "a key that failed is not used up"


def test_deliveries_of_doordash(partners):
    made = {"external_delivery_id": "D-2", **ADDRESSES}
    path = "/drive/v2/"
    assert partners.doordash({}, path=path + "quotes").status_code == 400
    assert partners.doordash(made, path=path + "quotes").ok
    assert partners.doordash(made, path=path + "deliveries").ok
    assert partners.doordash(made, path=path + "deliveries").status_code == 409
    headers = {"Authorization": "Bearer " + dd_jwt()}
    url = partners.url + path + "deliveries/"
    assert requests.get(url + "none", headers=headers,
                        timeout=30).status_code == 404
    assert requests.put(url + "D-2/cancel", headers=headers, timeout=30
                        ).json()["delivery_status"] == "cancelled"


def test_faults_come_by_seed_and_are_counted(partners):
    def run():
        partners.control(partner="doordash", fail=0.5, status=500, seed=7)
        return [partners.doordash(key=str(n)).status_code for n in range(20)]

    first = run()
    assert set(first) == {200, 500} and run() == first

    partners.control(partner="doordash", fail=1, status=429, retryAfter=3,
                     match="cancelled", count=1)
    assert partners.doordash(key="x").ok
    body = {**STATUS, "delivery_status": "cancelled"}
    throttled = partners.doordash(body, key="y")
    assert throttled.status_code == 429
    assert throttled.headers["Retry-After"] == "3"
    assert partners.doordash(body, key="y").ok


def test_an_answer_may_be_lost_or_late(partners):
    partners.control(partner="doordash", lose=1, count=1)
    with pytest.raises(requests.ConnectionError):
        partners.doordash(key="a")
    partners.doordash(key="a")
    lost, again = partners.ledger(partner="doordash")
    assert (lost["fault"], lost["status"]) == ("lose", 200)
    assert again["repeat"]

    partners.control(partner="doordash", hang=60, count=1)
    with pytest.raises(requests.Timeout):
        partners.doordash(key="b", timeout=0.3)
    wait_for(lambda: partners.settings()["doordash"]["count"] == 0, 30,
             "the call that hangs")
    assert len(partners.ledger(partner="doordash")) == 2
    partners.control(partner="doordash", hang=0)
    assert partners.ledger(partner="doordash", count=3, wait=30
                           )[-1]["fault"] == "hang"


def test_limits(partners):
    partners.control(partner="doordash",
                     limit={"requests": 2, "seconds": 100})
    replies = [partners.doordash(key=str(n)) for n in range(3)]
    assert [r.status_code for r in replies] == [200, 200, 429]
    assert 90 <= int(replies[-1].headers["Retry-After"]) <= 100


@pytest.mark.parametrize("order", [
    {"fail": 2}, {"fail": True}, {"status": 200}, {"limit": 3}, {"frob": 1},
    {"partner": "driveu"}, {"hang": -1}, {"expiresIn": "x"}])
def test_what_cannot_be_set_is_said(partners, order):
    assert partners.post("/control", order).status_code == 400


def test_the_ledger_keeps_no_secret_and_can_be_awaited(partners):
    token = partners.token().json()["access_token"]
    partners.uber(token)
    text = json.dumps(partners.ledger())
    assert token not in text and "s3cret" not in text

    found = []
    waiting = threading.Thread(target=lambda: found.extend(
        partners.ledger(delivery="D-1", count=1, wait=30)))
    waiting.start()
    partners.doordash({**STATUS, "external_delivery_id": "D-0"}, key="0")
    partners.doordash(key="1")
    waiting.join(30)
    assert [e["body"] for e in found] == [STATUS]
    assert found[0]["headers"]["idempotency-key"] == "1"


def test_a_body_in_chunks(partners):
    data = json.dumps(STATUS).encode()
    reply = requests.post(
        partners.url + "/v3/updateVehicleStatus", timeout=30,
        data=iter([data[:9], data[9:]]),
        headers={"Authorization": "Bearer " + dd_jwt(),
                 "Content-Type": "application/json", "Idempotency-Key": "c"})
    assert reply.ok and partners.ledger()[-1]["body"] == STATUS


# --- the sender ---------------------------------------------------------------

class Receiver(http.server.BaseHTTPRequestHandler):
    """Verifies as Coco must; refuses every third."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/uber/"):
            right = hmac.new(b"k", body, hashlib.sha256).hexdigest()
            good = self.headers["x-uber-signature"] == right
        else:
            good = self.headers["Authorization"] == "Bearer t"
        self.server.got.append(body if good else None)
        self.send_response(503 if len(self.server.got) % 3 == 0 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_sender_repeats_what_is_refused():
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    turns = sender.events(seed=3, orders=20)
    one = sender.Sender("http://127.0.0.1:%d" % server.server_port, "k", "t",
                        pause=0.001)
    said = list(one.send_all(turns, at_once=1))
    server.shutdown()
    server.server_close()

    assert None not in server.got
    assert [s["statuses"][-1] for s in said] == [200] * len(turns)
    assert any(s["statuses"] == [503, 200] for s in said)
    assert set(server.got) == {event.data for event in turns}
    expected = collections.Counter()
    for event, one in zip(turns, said):
        expected[event.data] += len(one["statuses"])
    assert collections.Counter(server.got) == expected


def test_the_sender_gives_up_and_says_so():
    turns = sender.events(seed=1, orders=1)[:1]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))      # and no listen: refused
        url = "http://127.0.0.1:%d" % held.getsockname()[1]
        said = next(sender.Sender(url, "k", "t", patience=0).send_all(turns))
    assert said["statuses"] == [0]


def test_what_is_sent_follows_from_the_seed():
    def made(seed):
        return [event.data for event in sender.events(seed, 200)]

    assert made(5) == made(5) != made(6)
    bodies = [json.loads(data) for data in made(5)]
    assert any("event_type" in b and "meta" in b for b in bodies)
    assert {"event_name", "event_type"} <= {
        name for b in bodies for name in b if "external_delivery_id" in b}
    assert len(set(made(5))) < len(bodies), "some come twice"


def test_the_ledger_in_a_file_outlives_a_kill(tmp_path):
    block, path = PortBlock(), tmp_path / "ledger"
    partners = Partners("http://127.0.0.1:%d" % block.first)
    process = start(tmp_path, block.first, "--ledger", str(path))
    try:
        assert partners.doordash(key="one").status_code == 200
        process.kill()
        process.wait()
        # as a kill in the middle of a line leaves it: of an unanswered call
        path.write_bytes(path.read_bytes() + b'{"n": 2, "key"')
        process = start(tmp_path, block.first, "--ledger", str(path))
        assert partners.doordash(key="one").status_code == 200
        other = {**STATUS, "delivery_status": "created"}
        assert partners.doordash(other, key="one").status_code == 409
        assert [(entry["n"], entry["key"], entry["status"], entry["repeat"])
                for entry in partners.ledger()] == [
            (1, "one", 200, False), (2, "one", 200, True),
            (3, "one", 409, False)]
        assert len(path.read_text().splitlines()) == 3
    finally:
        process.kill()
        process.wait()
        block.release()
