#!/usr/bin/python3
"""Webhooks as Uber and DoorDash send them: signed, or with the token; again
when the answer is not 200, and now and then although it was; in a wrong order.

    eval "$(./coco stack env)"
    tests/partners/sender.py --orders 100 | tail -n 1

What is sent follows from --seed alone; each event's answer is a line of JSON,
the last line sums up. As a module: events(seed, orders) makes them, Sender
sends them. Must never say what the receiver should do with them.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import random
import sys
import threading
import time
import urllib.parse
from http.client import HTTPConnection, HTTPException

BASE = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
PATHS = {"uber": "/uber/v1/webhook", "doordash": "/doordash/v1/webhook"}
UBER_COURIER = ("pickup", "pickup_complete", "dropoff")
DASHER = ("DASHER_CONFIRMED", "DASHER_ENROUTE_TO_PICKUP", "DASHER_PICKED_UP")


class Event:
    """One event: every sending of it has the same bytes."""

    def __init__(self, order, provider, kind, body):
        self.order = order
        self.provider = provider
        self.kind = kind                # place, change, cancel, other
        self.data = json.dumps(body, separators=(",", ":")).replace(
            "/", "\\/").encode()        # as Uber escapes

    @property
    def delivery(self):
        return self.order.external_id


class Order:
    """What a customer ordered; `canceled` and `changed` say what follows."""

    def __init__(self, seed, number, cancel, change):
        digest = hashlib.sha256(b"%d %d" % (seed, number)).hexdigest()
        chance = random.Random(digest)
        self.chance = chance
        self.provider = chance.choice(("uber", "doordash"))
        prefix = "del_" if self.provider == "uber" else "D-"
        self.external_id = prefix + digest[:24]
        self.canceled = chance.random() < cancel
        self.changed = chance.random() < change
        self.store = "store-%d" % chance.randrange(20)
        self.pickup = self.place()
        self.dropoff = self.place()
        self.clock = BASE + datetime.timedelta(seconds=number)

    def place(self):
        return (round(34.0 + self.chance.random() * 0.05, 6),
                round(-118.5 + self.chance.random() * 0.05, 6))

    def now(self):
        """The partner's clock, a second later each time it is asked."""
        self.clock += datetime.timedelta(seconds=1)
        return self.clock.isoformat().replace("+00:00", "Z")

    def events(self):
        make = self.uber if self.provider == "uber" else self.doordash
        found = [make("place")]
        if self.changed:
            self.dropoff = self.place()
            found.append(make("change"))
        found += [make("other") for _ in range(self.chance.randrange(3))]
        if self.canceled:
            found.append(make("cancel"))
        return found

    def uber(self, kind):
        if kind == "cancel" and self.chance.random() < 0.3:
            return self.uber_older()
        now = self.now()
        status = {"cancel": "canceled", "other": self.chance.choice(
            UBER_COURIER)}.get(kind, "pending")
        what = "event.delivery_status"
        if kind == "other" and self.chance.random() < 0.5:
            what = "event.courier_update"
        data = {"id": self.external_id, "kind": "delivery", "status": status,
                "created": now, "updated": now, "live_mode": False,
                "external_store_id": self.store, "courier": None}
        for name in ("pickup", "dropoff"):
            latitude, longitude = getattr(self, name)
            data[name] = {"name": "somebody", "address": "1/2 Main St",
                          "location": {"lat": latitude, "lng": longitude}}
        if status == "canceled":
            data["cancelation_reason"] = {"primary_reason": "customer"}
        return Event(self, "uber", kind, {
            "id": self.event_id("evt_", now), "kind": what, "created": now,
            "live_mode": False, "status": status,
            "delivery_id": self.external_id, "customer_id": "cus_simulated",
            "data": data})

    def uber_older(self):
        """The other envelope, which knows a failure but no order."""
        now = self.now()
        return Event(self, "uber", "cancel", {
            "event_id": self.event_id("", now), "event_time": now,
            "event_type": "dapi.status_changed",
            "meta": {"order_id": self.external_id, "status": "FAILED",
                     "courier_trip_id": None, "is_returning": False},
            "resource_href": "https://api.uber.com/v1/eats/deliveries"})

    def event_id(self, prefix, now):
        return prefix + hashlib.sha256(
            (self.external_id + now).encode()).hexdigest()[:32]

    def doordash(self, kind):
        now = self.now()
        name = {"cancel": "DELIVERY_CANCELLED", "other": self.chance.choice(
            DASHER)}.get(kind, "DELIVERY_CREATED")
        body = {self.chance.choice(("event_name", "event_type")): name,
                "external_delivery_id": self.external_id, "created_at": now,
                "updated_at": now, "fee": 975, "currency": "USD",
                "pickup_external_store_id": self.store,
                "pickup_address": "1/2 Main St", "dropoff_address": "3 Pier"}
        for name in ("pickup", "dropoff"):
            latitude, longitude = getattr(self, name)
            if self.chance.random() < 0.5:
                body[name + "_location"] = {"lat": latitude, "lng": longitude}
            else:
                body[name + "_latitude"] = latitude
                body[name + "_longitude"] = longitude
        if kind == "cancel":
            body["cancellation_reason"] = "customer"
        return Event(self, "doordash", kind, body)


def events(seed, orders, cancel=0.2, change=0.2, twice=0.2, shuffle=8):
    """Every sending, in the order of sending: one comes again with chance
    `twice`, and up to `shuffle` later than its turn."""
    chance = random.Random(seed)
    turns = []
    for number in range(orders):
        for event in Order(seed, number, cancel, change).events():
            times = 2 if chance.random() < twice else 1
            for _ in range(times):
                turns.append((len(turns) + chance.uniform(0, shuffle), event))
    return [event for _, event in sorted(turns, key=lambda turn: turn[0])]


class Sender:
    """Sends events to nginx at `url`; `patience` is how many seconds one is
    sent again for, after pauses that double from `pause`."""

    def __init__(self, url, uber_key, doordash_token, patience=30, pause=0.2,
                 timeout=10):
        where = urllib.parse.urlsplit(url)
        self.host, self.port = where.hostname, where.port
        self.uber_key, self.doordash_token = uber_key, doordash_token
        self.patience, self.pause = patience, pause
        self.timeout = timeout
        self.local = threading.local()

    def headers(self, event):
        headers = {"Content-Type": "application/json"}
        if event.provider == "uber":
            headers["x-uber-signature"] = hmac.new(
                self.uber_key.encode(), event.data,
                hashlib.sha256).hexdigest()
        else:
            headers["Authorization"] = "Bearer " + self.doordash_token
        return headers

    def once(self, event):
        """The answer's status; 0 when there was none."""
        try:
            if getattr(self.local, "connection", None) is None:
                self.local.connection = HTTPConnection(
                    self.host, self.port, timeout=self.timeout)
            self.local.connection.request(
                "POST", PATHS[event.provider], event.data,
                self.headers(event))
            reply = self.local.connection.getresponse()
            body = reply.read()
            # the partners take nothing for a yes but 200 with an empty body
            return 599 if reply.status == 200 and body else reply.status
        except (OSError, HTTPException):
            self.local.connection = None
            return 0

    def send(self, event):
        """Until it is answered with 200, or patience is over."""
        until, pause, statuses = time.monotonic() + self.patience, \
            self.pause, []
        while True:
            statuses.append(self.once(event))
            if statuses[-1] == 200 or time.monotonic() + pause > until:
                break
            time.sleep(pause)
            pause = min(pause * 2, 10)
        return {"provider": event.provider, "delivery": event.delivery,
                "kind": event.kind, "statuses": statuses}

    def send_all(self, turns, at_once=8):
        """Yields what became of each, as it is known."""
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(self.send, turns)


def main():
    parser = argparse.ArgumentParser(
        description="Sends webhooks of Uber and DoorDash to the stack that "
                    "`coco stack env` tells of.")
    for name, default in (("orders", 100), ("seed", 1), ("at-once", 8),
                          ("patience", 30)):
        parser.add_argument("--" + name, type=int, default=default)
    for name in ("cancel", "change", "twice"):
        parser.add_argument("--" + name, type=float, default=0.2,
                            help="chance")
    args = parser.parse_args()

    lacks = [name for name in ("COCO_HTTP", "COCO_UBER_SIGNING_KEY",
                               "COCO_DOORDASH_TOKEN")
             if not os.environ.get(name)]
    if lacks:
        sys.exit("sender: %s not set; first: set -a; "
                 'eval "$(./coco stack env)"' % ", ".join(lacks))
    sender = Sender(os.environ["COCO_HTTP"],
                    os.environ["COCO_UBER_SIGNING_KEY"],
                    os.environ["COCO_DOORDASH_TOKEN"], args.patience)
    began, sent, attempts, refused = time.monotonic(), 0, 0, 0
    for said in sender.send_all(
            events(args.seed, args.orders, args.cancel, args.change,
                   args.twice), args.at_once):
        sent += 1
        attempts += len(said["statuses"])
        refused += said["statuses"][-1] != 200
        print(json.dumps(said))
    print(json.dumps({"sent": sent, "attempts": attempts, "refused": refused,
                      "seconds": round(time.monotonic() - began, 3)}))
    sys.exit(refused > 0)


if __name__ == "__main__":
    main()
