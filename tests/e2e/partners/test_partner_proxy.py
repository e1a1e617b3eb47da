"""/partners/uber/ and /partners/doordash/: our credentials go, the caller's
stay; what the partner answers comes back as it is."""

import concurrent.futures
import hashlib
import os
import subprocess

import pytest

from partner_field import ROOT

QUOTE = {"pickup_address": "1 Main St", "dropoff_address": "3 Pier"}
CALLS = {"uber": ("/partners/uber/v1/customers/c/delivery_quotes", QUOTE),
         "doordash": ("/partners/doordash/drive/v2/quotes",
                      {"external_delivery_id": "D-proxy", **QUOTE})}


def ask(field, partner, **headers):
    path, body = CALLS[partner]
    return field.http.post(field.url + path, json=body, timeout=30,
                           headers=headers)


def arrived(field, partner):
    """What came through the proxy; the worker calls the partners as well."""
    return field.ledger(partner=partner, path=CALLS[partner][0].removeprefix(
        "/partners/" + partner))


@pytest.fixture(params=["uber", "doordash"])
def partner(request):
    return request.param


def test_credentials_are_exchanged(field, partner):
    reply = ask(field, partner, Cookie="session=mine", X_Own="kept")
    assert reply.status_code == 200, reply.text
    assert reply.json()["fee"] > 0
    assert "Set-Cookie" not in reply.headers
    seen = arrived(field, partner)[-1]
    ours = hashlib.sha256(field.token.encode()).hexdigest()[:12]
    assert ours not in seen["headers"]["authorization"]
    assert "cookie" not in seen["headers"]
    assert seen["body"] == CALLS[partner][1]


def test_the_caller_needs_the_scope(field, partner):
    path = CALLS[partner][0]
    token = subprocess.run(
        [os.path.join(ROOT, "scripts/token"), field.jwt_key_file,
         "robots:read"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for headers, status in (({"Authorization": None}, 401),
                            ({"Authorization": "Bearer " + token}, 403)):
        reply = field.http.post(field.url + path, json=QUOTE, timeout=30,
                                headers=headers)
        assert reply.status_code == status
    assert arrived(field, partner) == []


def test_many_at_once_cost_one_token(field):
    assert ask(field, "uber").status_code == 200
    field.control(expireTokens=True)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: ask(field, "uber"), range(64)))
    assert {reply.status_code for reply in replies} == {200}
    tokens = [entry for entry in field.ledger(partner="uber-auth")
              if entry["headers"]["host"] == "auth.uber.com"]
    assert len(tokens) <= 2, "the first call's, and one for all the others"


def test_a_token_that_ended_early_is_renewed_once(field):
    assert ask(field, "uber").status_code == 200
    field.control(expireTokens=True)
    assert ask(field, "uber").status_code == 200
    assert [entry["status"] for entry in arrived(field, "uber")][-2:] \
        == [401, 200]


def test_what_the_partner_answers_is_passed_on(field, partner):
    field.control(partner=partner, fail=1, status=429, retryAfter=7)
    reply = ask(field, partner)
    assert reply.status_code == 429
    assert reply.headers["Retry-After"] == "7"
    assert reply.json()["code"] == "simulated"


def test_a_partner_that_is_away_is_named(field, partner):
    field.stack.kill("partners")
    try:
        reply = ask(field, partner)
    finally:
        field.stack.restart("partners")
    assert reply.status_code == 502
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert partner in reply.json()["detail"].lower()
    assert ask(field, partner).status_code == 200
