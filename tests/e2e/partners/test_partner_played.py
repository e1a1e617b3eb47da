"""A program of anybody's in the place of the partners: COCO_UBER_URL and
COCO_DOORDASH_URL reach nginx and the worker, a path in them included."""

import http.server
import json
import threading

import pytest
import requests

import sender
from harness import await_for
from partner_field import MAP, fresh_seed
from stack import Stack

QUOTES = {"uber": "/v1/customers/c/delivery_quotes",
          "doordash": "/drive/v2/quotes"}


class Player(http.server.BaseHTTPRequestHandler):
    """Says yes to all, and keeps who asked for what."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Authorization"]))
        data = json.dumps({"access_token": "played", "expires_in": 3600,
                           "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def played():
    """(stack, what the player got), after an order of each partner."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Player) as server:
        server.got = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/as/they" % server.server_port
        with Stack(only="postgres redis mqtt worker nginx",
                   partners=url) as stack:
            stack.up()
            one = sender.Sender(stack.http, stack.secret("uber.key"),
                                stack.secret("doordash.token"))
            for said in one.send_all(sender.events(fresh_seed(), 20)):
                assert said["statuses"][-1] == 200
            yield stack, server.got
        server.shutdown()


@pytest.mark.parametrize("partner", ["uber", "doordash"])
def test_whoever_is_named_is_called(played, partner):
    stack, got = played
    told = "/as/they" + MAP[partner]["status"]["path"]
    await_for("a push", lambda: told in [path for path, _ in got])

    reply = requests.post(stack.http + "/partners/" + partner
                          + QUOTES[partner], json={}, headers=stack.headers,
                          timeout=30)
    assert reply.status_code == 200, reply.text
    asked = dict(got)
    assert "/as/they" + QUOTES[partner] in asked
    if partner == "uber":
        assert "/as/they/oauth/v2/token" in asked
        assert {who for path, who in got if "/v1/" in path} == {
            "Bearer played"}
