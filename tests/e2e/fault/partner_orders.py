"""What webhooks of partners ask for, read from their bytes alone: the model
that deliveries are held against, written from docs/partners.md. Must never
learn from the programs it judges.
"""

import collections
import datetime
import json

import sender

BROKEN = "broken"               # an order without a drop-off
PLACES = ("pickup", "dropoff")

Record = collections.namedtuple(
    "Record", "status store loading_flow pickup dropoff addresses")


def turns(seed, orders, dice):
    """As sender.events() has them, but that some orders lack what places them,
    and some are broken."""
    sent = sender.events(seed, orders, cancel=0.3, change=0.4, twice=0.4,
                         shuffle=30)
    ids = sorted({event.delivery for event in sent})
    dice.shuffle(ids)
    lost = set(ids[:orders // 12])
    broken = set(ids[orders // 12:orders // 8])
    found = []
    for event in sent:
        if event.delivery in lost and event.kind in ("place", "change"):
            continue
        if event.delivery in broken:
            if event.kind != "place":
                continue
            event = break_(event)
        found.append(event)
    return found


def break_(event):
    body = json.loads(event.data)
    for where in (body, body.get("data", {})):
        for name in [name for name in where if name.startswith("dropoff")]:
            del where[name]
    return sender.Event(event.order, event.provider, BROKEN, body)


def canonical(body):
    return json.dumps(body, sort_keys=True)


def delivery(body):
    """Which one of the partner's it is about."""
    return body.get("delivery_id") or body.get("external_delivery_id") \
        or body.get("meta", {}).get("order_id")


def record(bodies):
    """Of the delivery that these webhooks of one order lead to, in whatever
    order they came; None: there is none."""
    placing, cancels = [], []
    for provider, body in bodies:
        asked = asks(provider, body)
        if asked == "place" and None not in [place(body, name)
                                             for name in PLACES]:
            placing.append((newness(body), provider, body))
        elif asked == "cancel":
            cancels.append((newness(body), provider, body))
    if not placing and not cancels:
        return None
    _, provider, body = max(placing or cancels, key=lambda one: one[0])
    return Record(
        "Canceled" if cancels else "Created", store(body),
        "MAGIC_LID" if provider == "uber" else None,
        place(body, "pickup"), place(body, "dropoff"),
        tuple(address(body, name) for name in PLACES))


def histories(bodies):
    """The changes that its delivery may have had."""
    asked = {asks(provider, body) for provider, body in bodies}
    if "cancel" not in asked:
        return [["Created"]]
    return [["Canceled"]] + [["Created", "Canceled"]] * ("place" in asked)


def asks(provider, body):
    """place, cancel or None"""
    if provider == "doordash":
        return {"DELIVERY_CREATED": "place", "DELIVERY_CANCELLED": "cancel"
                }.get(body.get("event_name") or body.get("event_type"))
    kind = body.get("kind") or body.get("event_type")
    if kind == "event.delivery_status":
        return {"pending": "place", "canceled": "cancel"}.get(body["status"])
    if kind == "dapi.status_changed":
        return {"SCHEDULED": "place", "FAILED": "cancel"}.get(
            body["meta"]["status"])
    return None


def parts(body):
    """Where members are looked for, one after the other."""
    return [body.get("data") or body.get("meta") or {}, body]


def place(body, name):
    for part in parts(body):
        inner = part.get(name) if isinstance(part.get(name), dict) else {}
        for found in (inner.get("location"), inner,
                      part.get(name + "_location"),
                      {"lat": part.get(name + "_latitude"),
                       "lng": part.get(name + "_longitude")}):
            for names in (("latitude", "longitude"), ("lat", "lng")):
                pair = tuple((found or {}).get(one) for one in names)
                if None not in pair:
                    return pair
    return None


def address(body, name):
    for part in parts(body):
        for found in (part.get(name + "_address"),
                      (part.get(name) or {}).get("address")):
            if found is not None:
                return found
    return None


def store(body):
    for part in parts(body):
        for name in ("external_store_id", "pickup_external_store_id",
                     "store_id"):
            if part.get(name) is not None:
                return part[name]
    return None


def newness(body):
    for names in (("updated", "updated_at"),
                  ("created", "created_at", "event_time")):
        for part in parts(body):
            for name in names:
                if part.get(name):
                    return datetime.datetime.fromisoformat(
                        part[name].replace("Z", "+00:00"))
    raise AssertionError("an event without a time")
