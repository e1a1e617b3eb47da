#!/usr/bin/python3
"""Uber and DoorDash on one port, as far as Coco talks to them: they verify
what they are told as the real ones do, keep it, and fail on demand.
docs/partners-simulators.md is the manual. Listens on loopback only; must never
call anybody.
"""

import argparse
import http.server
import json
import signal
import socketserver
import sys
import threading
import time
import urllib.parse

from doordash import DoorDash
from faults import Faults, Refused
from ledger import Ledger
from uber import Auth, Uber
from wire import Reply, Request

BODY_MAX = 1 << 20
UBER_REAL = 200, 600    # calls in so many seconds, as their sandboxes have it
DOORDASH_REAL = 300, 60


class World:
    """The partners, what they were told, and what goes wrong with them."""

    def __init__(self, args):
        auth = Auth(Faults(UBER_REAL), args.uber_client,
                    first_line(args.uber_secret))
        self.partners = {
            "uber": Uber(Faults(UBER_REAL), auth),
            "uber-auth": auth,
            "doordash": DoorDash(
                Faults(DOORDASH_REAL), args.doordash_developer,
                args.doordash_key, first_line(args.doordash_secret))}
        self.ledger = Ledger(args.ledger)
        for entry in self.ledger.entries:       # of a process before this one
            partner = self.partners[entry["partner"]]
            if entry["status"] < 300 and not entry["repeat"] and (
                    entry["method"], entry["path"]) in partner.calls:
                partner.keep(entry["key"], bytes.fromhex(entry["digest"]))
        self.lock = threading.Lock()    # of the partners, not of the faults

    def name_of(self, path):
        if path == "/oauth/v2/token":
            return "uber-auth"
        return "uber" if path.startswith("/v1/") else "doordash"

    def call(self, request):
        """The answer; None when there is to be none."""
        came = int(time.time() * 1000)
        name = self.name_of(request.path)
        partner = self.partners[name]
        fate, repeat, reply = partner.faults.draw(request), False, None
        if fate == "hang":
            partner.faults.endure()
        with self.lock:
            if fate == "fail":
                reply = partner.faults.failed()
            else:
                reply, repeat = partner.answer(request)
            self.ledger.add(
                came=came, at=int(time.time() * 1000), partner=name,
                key=request.key,
                delivery=request.delivery(), **request.shown(),
                status=reply.status, repeat=repeat, fault=fate)
        return None if fate == "lose" else reply

    def control(self, order):
        """Faults of `partner`, of both without it, in the place of those
        before; an order about tokens alone leaves faults as they are."""
        name = order.pop("partner", None)
        names = [name] if name else ["uber", "doordash"]
        if name not in (None, *self.partners):
            raise Refused("partner is one of %s" % ", ".join(self.partners))
        auth = self.partners["uber-auth"]
        tokens = {"expireTokens", "expiresIn", "tokenLifetime"} & set(order)
        if order.pop("expireTokens", False):
            with self.lock:
                auth.expire()
        for member in ("expiresIn", "tokenLifetime"):
            if member in order:
                auth.lifetimes[member] = lifetime(member, order.pop(member))
        for one in names if name or order or not tokens else ():
            self.partners[one].faults.set(order)

    def reset(self):
        with self.lock:
            for partner in self.partners.values():
                partner.faults.set({})
                partner.reset()
            self.ledger.reset()

    def shown(self):
        return {**{name: partner.faults.shown()
                   for name, partner in self.partners.items()},
                **self.partners["uber-auth"].lifetimes}


def lifetime(name, value):
    if value is not None and (isinstance(value, bool)
                              or not isinstance(value, (int, float))
                              or value < 0):
        raise Refused("%s cannot be %r" % (name, value))
    return value


def first_line(path):
    with open(path) as file:
        return file.readline().strip()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1           # an answer leaves at once, not in pieces
    disable_nagle_algorithm = True

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.do
        raise AttributeError(name)

    def do(self):
        try:
            data = self.body()
        except ValueError:
            self.close_connection = True
            self.give(Reply(400))
            return
        if data is None:
            self.close_connection = True
            self.give(Reply(413))
            return
        url = urllib.parse.urlsplit(self.path)
        request = Request(self.command, url.path,
                          dict(urllib.parse.parse_qsl(url.query)),
                          {name.lower(): value
                           for name, value in self.headers.items()}, data)
        ours = OURS.get((request.method, request.path))
        reply = self.ours(ours, request) if ours \
            else self.server.world.call(request)
        if reply is None:
            self.close_connection = True
        else:
            self.give(reply)

    def body(self):
        """None: it is too large. ValueError: it is not framed well."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self.chunks()
        size = int(self.headers.get("content-length", 0))
        if size > BODY_MAX:
            return None
        data = self.rfile.read(size)
        if len(data) != size:
            raise ConnectionError("the caller left")
        return data

    def chunks(self):
        data = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            if len(data) + size > BODY_MAX:
                return None
            data += self.rfile.read(size)
            if size == 0:
                while self.rfile.readline().strip():
                    pass
                return data
            self.rfile.readline()

    def ours(self, word, request):
        try:
            return word(self.server.world, request)
        except (Refused, ValueError) as e:
            return Reply(400, {"error": str(e)})

    def give(self, reply):
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.data)
        self.wfile.flush()

    def log_message(self, *_):
        pass                # the ledger tells


def control(world, request):
    order = request.json()
    if order is None:
        raise Refused("a JSON object is expected")
    world.control(order)
    return Reply(200, world.shown())


def shown(world, request):
    return Reply(200, world.shown())


def reset(world, request):
    world.reset()
    return Reply(200, world.shown())


def ledger(world, request):
    query = dict(request.query)
    for name in {"after", "count", "limit"} & set(query):
        query[name] = int(query[name])
    if "wait" in query:
        query["wait"] = min(float(query["wait"]), 60)
    unknown = set(query) - {"partner", "delivery", "path", "after", "count",
                            "wait", "limit"}
    if unknown:
        raise Refused("no such parameter: %s" % ", ".join(sorted(unknown)))
    return Reply(200, world.ledger.find(**query))


OURS = {("GET", "/control"): shown, ("POST", "/control"): control,
        ("POST", "/reset"): reset, ("GET", "/ledger"): ledger}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    for name in ("uber-client", "uber-secret", "doordash-developer",
                 "doordash-key", "doordash-secret"):
        parser.add_argument("--" + name, required=True,
                            help="a file's path" if "secret" in name else None)
    parser.add_argument("--ledger", help="a file that keeps the ledger, so "
                        "that a kill does not end it")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    with Server(("127.0.0.1", args.port), Handler) as server:
        server.world = World(args)
        server.serve_forever()


if __name__ == "__main__":
    main()
