"""Bad input over HTTP: every answer is a problem that says what is wrong, and
nginx lives on.
"""

import base64
import hmac
import json
import os
import time

import jwt
import pytest

from harness import new_serial, now_ms

BODY_MAX = 256 * 1024


@pytest.fixture(scope="module")
def robot(system):
    serial = new_serial("http")
    system.beat(serial, now_ms(), "PARKED")
    return serial


@pytest.fixture(autouse=True)
def alive(system):
    yield
    assert system.http.get(system.url + "/healthz").status_code == 200


def problem(reply, status, field=None):
    """The reply is an RFC 9457 problem with this status, naming the field."""
    assert reply.status_code == status, reply.text[:500]
    assert reply.headers["Content-Type"] == "application/problem+json"
    body = reply.json()
    assert body["status"] == status
    assert body["type"] and body["title"] and body["detail"]
    if field is not None:
        assert any(error["field"].split("[")[0] == field
                   for error in body["errors"]), body
        assert all(error["detail"] for error in body["errors"])


def raw_problem(answer, *statuses):
    status, headers, body = answer
    assert status in statuses, (status, body[:200])
    assert headers["content-type"] == "application/problem+json", headers
    assert json.loads(body)["status"] == status


# --- paths ------------------------------------------------------------------

BAD_SERIALS = ["a%20b", "x" * 65, "%ff", "%c3%a9", "a%0d%0ab", "a%09", "a'b",
               "a%22b", "a%3bb", "a*", "%7e", "$", "a%25", "stream"]


@pytest.mark.parametrize("serial", BAD_SERIALS)
@pytest.mark.parametrize("path", ["/state/%s", "/state/%s/history",
                                  "/fleet/v1/labor/robots/%s"])
def test_bad_serial(system, path, serial):
    problem(system.http.get(system.url + path % serial), 400, "serial")


@pytest.mark.parametrize("path", [
    "/state/", "/state", "/robots/", "/state/a%2fb", "/state/a/b/c",
    "/state//history", "/robots/a/b", "/dead-letters/x", "/nothing",
    "/fleet/v1/labor/robots/", "/fleet/v1/labor", "/STATE/a"])
def test_no_such_path(system, path):
    problem(system.http.get(system.url + path), 404)


@pytest.mark.parametrize("path", [
    "/state/../../etc/passwd", "/state/..%2f..%2fetc%2fpasswd",
    "/state/%2e%2e/%2e%2e/etc/passwd", "/robots/..", "/state/.%2e", "/..",
    "/state/%2e%2e%2f%2e%2e%2fetc%2fpasswd/history", "//etc/passwd",
    "/state/..;/history", "/state/a%2f..%2fb", "/robots/\\..\\..\\x"])
def test_traversal(system, path):
    answer = system.raw(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                        b"Authorization: Bearer %b\r\n\r\n"
                        % (path.encode(), system.token.encode()))
    raw_problem(answer, 400, 404)
    assert b"root:" not in answer[2]


@pytest.mark.parametrize("target", [
    b"/state/%00", b"/state/a%00b", b"/state/\x00", b"/state/%", b"/state/%zz",
    b"state/x", b"", b"/state/" + b"x" * 10240, b"/state/a?limit=%zz%00",
    b"http://", b"/state/\xff\xfe", b"/state/" + b"%2e" * 3000])
def test_malformed_target(system, target):
    status, _, body = system.raw(
        b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        b"Authorization: Bearer %b\r\n\r\n" % (target, system.token.encode()))
    assert status in (400, 404, 414), (status, body[:200])


@pytest.mark.parametrize("request_", [
    b"\r\n\r\nx\r\n\r\n", b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET / HTTP/9.9\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PATCH /robots/a HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"PATCH /robots/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PATCH /robots/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n{}"])
def test_malformed_request(system, request_):
    status, _, body = system.raw(request_, seconds=20)
    assert status in (None, 400, 501, 505), (status, body[:200])


@pytest.mark.parametrize("header", [
    b"X-A: " + b"a" * 100000, b"Authorization: Bearer " + b"a" * 100000,
    b"\r\n".join(b"X-%d: %d" % (i, i) for i in range(100000)),
    b"Cookie: " + b"a=b; " * 20000])
def test_100k_of_headers(system, header):
    status, _, body = system.raw(
        b"GET /state/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n\r\n"
        % header)
    assert status in (None, 400, 401, 431), (status, body[:200])


# --- methods, media types, bodies -------------------------------------------

@pytest.mark.parametrize("method, path, allow", [
    ("DELETE", "/state/%s", {"GET", "HEAD"}),
    ("POST", "/state/%s", {"GET", "HEAD"}),
    ("PUT", "/state/%s/history", {"GET", "HEAD"}),
    ("POST", "/robots/%s", {"GET", "HEAD", "PATCH"}),
    ("DELETE", "/robots/%s", {"GET", "HEAD", "PATCH"}),
    ("PATCH", "/robots", {"GET", "HEAD"}),
    ("PUT", "/fleet/v1/labor/robots/%s", {"GET", "HEAD"}),
    ("DELETE", "/dead-letters", {"GET", "HEAD"}),
    ("GET", "/dead-letters/00000000-0000-0000-0000-000000000000/replay",
     {"POST"})])
def test_method_not_allowed(system, robot, method, path, allow):
    path = path % robot if "%" in path else path
    reply = system.http.request(method, system.url + path)
    problem(reply, 405)
    assert {word.strip() for word in reply.headers["Allow"].split(",")} \
        == allow


@pytest.mark.parametrize("media", [
    "text/plain", "application/x-www-form-urlencoded", "application/xml",
    "application/jsonx", "json", None])
def test_not_json_media_type(system, robot, media):
    headers = {"Content-Type": media} if media else {}
    problem(system.http.patch(system.url + "/robots/" + robot,
                              data=b'{"hasFood":true}', headers=headers), 415)


@pytest.mark.parametrize("media", [
    "application/json", "application/json; charset=utf-8",
    "Application/JSON", "application/merge-patch+json"])
def test_json_media_types(system, robot, media):
    reply = system.http.patch(system.url + "/robots/" + robot,
                              data=b'{"hasFood":true}',
                              headers={"Content-Type": media})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("chunked", [False, True])
def test_body_too_large(system, robot, chunked):
    body = b'{"hasFood":true,"x":"%b"}' % (b"a" * BODY_MAX)
    data = iter([body[i:i + 8192] for i in range(0, len(body), 8192)]) \
        if chunked else body
    problem(system.http.patch(system.url + "/robots/" + robot, data=data,
                              headers={"Content-Type": "application/json"}),
            413)


BAD_PATCHES = {
    "empty body": (b"", ""),
    "not json": (b"hasFood", ""),
    "truncated": (b'{"hasFood":true', ""),
    "two values": (b'{"hasFood":true} {}', ""),
    "an array": (b"[]", ""),
    "a string": (b'"hasFood"', ""),
    "no member": (b"{}", ""),
    "invalid utf-8": (b'{"hasFood\xff":true}', ""),
    "unknown": (b'{"hasFood":true,"colour":"red"}', "colour"),
    "read-only": (b'{"serial":"x"}', "serial"),
    "string for boolean": (b'{"hasFood":"true"}', "hasFood"),
    "number for boolean": (b'{"driveable":1}', "driveable"),
    "object for boolean": (b'{"needsPickup":{}}', "needsPickup"),
    "state unknown": (b'{"operationState":"FLYING"}', "operationState"),
    "state null": (b'{"operationState":null}', "operationState"),
    "state lower case": (b'{"operationState":"parked"}', "operationState"),
    "duplicate": (b'{"hasFood":true,"hasFood":false}', "hasFood"),
    "duplicate, escaped": (b'{"hasFood":true,"\\u0068asFood":false}',
                           "\\u0068asFood"),
    "deployed a string": (b'{"deployed":"POD"}', "deployed"),
    "deployed type": (b'{"deployed":{"type":"MOON","id":"1","latitude":1,'
                      b'"longitude":2}}', "deployed.type"),
    "deployed no id": (b'{"deployed":{"type":"POD","latitude":1,'
                       b'"longitude":2}}', "deployed.id"),
    "deployed latitude": (b'{"deployed":{"type":"POD","id":"1","latitude":91,'
                          b'"longitude":2}}', "deployed.latitude"),
    "deployed 1e400": (b'{"deployed":{"type":"POD","id":"1","latitude":1e400,'
                       b'"longitude":2}}', "deployed.latitude"),
    "33 deep": (b'{"deployed":' + b"[" * 33 + b"]" * 33 + b"}", "deployed"),
    "nul": (b'{"operationState":"\\u0000"}', "operationState"),
    "lone surrogate": (b'{"operationState":"\\ud800"}', "operationState"),
}


@pytest.mark.parametrize("name", BAD_PATCHES)
def test_bad_patch(system, robot, name):
    body, field = BAD_PATCHES[name]
    before = system.get("/robots/" + robot)["business"]
    reply = system.http.patch(system.url + "/robots/" + robot, data=body,
                              headers={"Content-Type": "application/json"})
    problem(reply, 400, field or None)
    assert system.get("/robots/" + robot)["business"] == before


@pytest.mark.parametrize("key", ["", "x" * 10000, "a\tb"])
def test_bad_idempotency_key(system, robot, key):
    reply = system.http.patch(system.url + "/robots/" + robot,
                              json={"hasFood": True},
                              headers={"Idempotency-Key": key})
    assert reply.status_code in (200, 400), reply.text


# --- arguments --------------------------------------------------------------

@pytest.mark.parametrize("path", ["/robots", "/dead-letters",
                                  "/state/%s/history"])
@pytest.mark.parametrize("name, value", [
    ("limit", "0"), ("limit", "-1"), ("limit", "501"), ("limit", "abc"),
    ("limit", "1e2"), ("limit", "99999999999999999999"), ("limit", ""),
    ("limit", "10x"), ("limit", "\x00"), ("cursor", "nonsense"),
    ("cursor", "AAAA"), ("cursor", "%"), ("cursor", "x" * 4000),
    ("cursor", "'; drop table coco.outbox; --"), ("cursor", "\xff\x00")])
def test_bad_paging(system, robot, path, name, value):
    path = path % robot if "%" in path else path
    problem(system.http.get(system.url + path, params={name: value}),
            400, name)


@pytest.mark.parametrize("name, value", [
    ("from", "yesterday"), ("to", ""), ("from", "1e400"), ("to", "1.5"),
    ("from", "99999999999999999999"), ("to", "-5 minutes")])
def test_bad_times(system, robot, name, value):
    problem(system.http.get(system.url + "/state/%s/history" % robot,
                            params={name: value}), 400, name)


@pytest.mark.parametrize("name, value", [
    ("bbox", "1,2,3"), ("bbox", "a,b,c,d"), ("bbox", "1,2,3,4,5"),
    ("bbox", "-181,0,1,1"), ("bbox", "0,-91,1,1"), ("bbox", "0,5,1,4"),
    ("bbox", "nan,0,1,1"), ("bbox", "0,0,inf,1"), ("bbox", ""),
    ("bbox", "0,0,1e400,1"), ("operationState", "FLYING"),
    ("operationState", ""), ("ready", "maybe"), ("ready", "")])
def test_bad_filters(system, name, value):
    problem(system.http.get(system.url + "/robots", params={name: value}),
            400, name)


def test_limit_500(system):
    assert "items" in system.get("/robots", limit=500)


def test_cursor_of_another_list(system, robot):
    """Opaque, yet given to the wrong list: an error or a page, never a
    fault."""
    for i in range(2):
        system.beat(robot, now_ms(), "PARKED", battery=i)
    cursor = system.get("/state/%s/history" % robot, limit=1)["nextCursor"]
    assert cursor
    for path in ("/robots", "/dead-letters"):
        reply = system.http.get(system.url + path, params={"cursor": cursor})
        assert reply.status_code in (200, 400)


def test_every_byte_of_a_cursor_changed(system, robot):
    for i in range(2):
        system.beat(robot, now_ms(), "PARKED", battery=i)
    path = "/state/%s/history" % robot
    cursor = system.get(path, limit=1)["nextCursor"]
    for i in range(len(cursor)):
        for byte in "A_=!":
            reply = system.http.get(system.url + path, params={
                "cursor": cursor[:i] + byte + cursor[i + 1:]})
            assert reply.status_code in (200, 400), reply.text


# --- tokens -----------------------------------------------------------------

def token(key, algorithm="HS256", **claims):
    merged = {"iss": "coco", "aud": "coco", "exp": time.time() + 60,
              "scope": "state:read", **claims}
    return jwt.encode({name: value for name, value in merged.items()
                       if value is not None}, key, algorithm)


def signed(key, claims):
    """Rightly signed, whatever the claims are."""
    text = "%s.%s" % (part({"alg": "HS256", "typ": "JWT"}), part(claims))
    return text + "." + encode(hmac.digest(key, text.encode(), "sha256"))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    return encode(json.dumps(value).encode())


@pytest.fixture(scope="module")
def key(system):
    with open(system.jwt_key_file, "rb") as f:
        return f.read()


def ask(system, authorization, path="/state/x"):
    """One request with this Authorization header alone."""
    session = system.http.__class__()
    with session:
        return session.get(system.url + path, headers={
            "Authorization": authorization} if authorization else {})


def test_token_of_our_making_is_accepted(system, key, robot):
    assert ask(system, "Bearer " + token(key),
               "/state/" + robot).status_code == 200


def test_bad_tokens(system, key):
    """One test, so that the good token above stands for all of these."""
    good = token(key)
    head, body, signature = good.split(".")
    claims = {"iss": "coco", "aud": "coco", "exp": time.time() + 60,
              "scope": "state:read"}
    cases = {
        "none": None, "no word": "Bearer", "empty": "Bearer ",
        "basic": "Basic " + base64.b64encode(b"a:b").decode(),
        "no scheme": good, "dots": "Bearer ...", "one part": "Bearer " + head,
        "two parts": "Bearer %s.%s" % (head, body),
        "no signature": "Bearer %s.%s." % (head, body),
        "four parts": "Bearer " + good + ".x",
        "two tokens": "Bearer %s %s" % (good, good),
        "cut": "Bearer " + good[:-1],
        "not base64": "Bearer !.!.!",
        "signature of another": "Bearer %s.%s.%s" % (
            head, part(dict(claims, scope="admin")), signature),
        "alg none": "Bearer %s.%s." % (part({"alg": "none"}), part(claims)),
        "alg None, signed": "Bearer %s.%s.%s" % (
            part({"alg": "None"}), part(claims), signature),
        "no alg": "Bearer %s.%s.%s" % (part({}), part(claims), signature),
        "another alg": "Bearer " + token(key, "HS512"),
        "another key": "Bearer " + token(os.urandom(32)),
        "expired": "Bearer " + token(key, exp=time.time() - 300),
        "no exp": "Bearer " + token(key, exp=None),
        "exp a string": "Bearer " + signed(key, dict(claims, exp="never")),
        "exp huge": "Bearer " + signed(key, dict(claims, exp=1e300)),
        "no claims": "Bearer " + signed(key, {}),
        "not yet": "Bearer " + token(key, nbf=time.time() + 3600),
        "issuer": "Bearer " + token(key, iss="evil"),
        "no issuer": "Bearer " + token(key, iss=None),
        "audience": "Bearer " + token(key, aud="evil"),
        "no audience": "Bearer " + token(key, aud=None),
        "claims no object": "Bearer " + signed(key, [1]),
    }
    for name, authorization in cases.items():
        reply = ask(system, authorization)
        assert reply.status_code == 401, (name, reply.text)
        assert reply.headers["WWW-Authenticate"].startswith("Bearer"), name
        problem(reply, 401)


def test_scopes(system, key, robot):
    state = "/state/" + robot
    for scope, path, status in (
            ("state:read", state, 200), ("robots:read", state, 403),
            ("", state, 403), (None, state, 403),
            ("xstate:read state:readx", state, 403),
            ("robots:read state:read", state, 200),
            ("state", state, 403), ("STATE:READ", state, 403),
            ("state:read", "/robots", 403), ("robots:read", "/robots", 200),
            ("robots:read", "/dead-letters", 403),
            ("fleet:read", "/dead-letters", 403),
            ("admin", "/dead-letters", 200)):
        reply = ask(system, "Bearer " + token(key, scope=scope), path)
        assert reply.status_code == status, (scope, path, reply.text)
        if status == 403:
            problem(reply, 403)


def test_write_needs_its_scope(system, key, robot):
    session = system.http.__class__()
    with session:
        reply = session.patch(
            system.url + "/robots/" + robot, json={"hasFood": True},
            headers={"Authorization": "Bearer "
                     + token(key, scope="robots:read")})
    problem(reply, 403)


def test_health_needs_no_token(system):
    for path in ("/healthz", "/readyz"):
        assert ask(system, None, path).status_code == 200
