"""What the partners have in common: who is let in, and how often; a change of
a status counts once for each Idempotency-Key."""

import hashlib
import json
import math
import os

import jsonschema

from wire import Reply

HERE = os.path.dirname(os.path.abspath(__file__))
MAP = os.path.join(HERE, "../../conf/partners.json")
KEYS_KEPT = 500_000
DONE = Reply(200, {"status": "ok"})


def calls_of(partner):
    """{(method, path): schema} of what it is told of robots. Where they are is
    conf/partners.json's; what they may say is schema/'s, the partner's own
    word."""
    with open(MAP) as file:
        mapped = json.load(file)[partner]
    with open(os.path.join(HERE, "schema", partner + ".json")) as file:
        schemas = json.load(file)
    calls = {}
    for kind in ("status", "location"):
        if mapped.get(kind):
            call = mapped[kind]["method"], mapped[kind]["path"]
            calls.setdefault(call, []).append(schemas[kind])
    return {call: checker({"definitions": schemas["definitions"],
                           "anyOf": known})
            for call, known in calls.items()}


def checker(schema):
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


class Partner:
    """One is not called by two threads at a time."""

    calls = {}              # by which it is told of robots: schemas
    conflict = 409          # another body under a key that was used

    def __init__(self, faults):
        self.faults = faults
        self.reset()

    def reset(self):
        self.deliveries = {}
        self.keys = {}      # key: (digest of the body, answer)
        self.made = 0

    def answer(self, request):
        """The answer, and whether it is that of an earlier call."""
        refused = self.unauthorized(request)
        if refused:
            return refused, False
        wait = self.faults.seconds_over_limit()
        if wait:
            reply = self.error(429, "customer_limited", "Too many requests.")
            reply.headers["Retry-After"] = str(math.ceil(wait))
            return reply, False
        schema = self.calls.get((request.method, request.path))
        if schema:
            return self.once(request, schema)
        return self.serve(request), False

    def once(self, request, schema):
        if not request.key:
            return self.error(400, "invalid_params",
                              "Idempotency-Key is missing."), False
        digest = hashlib.sha256(request.data).digest()
        if request.key in self.keys:
            kept, reply = self.keys[request.key]
            if kept == digest:
                return reply, True
            return self.error(self.conflict, "idempotency_conflict",
                              "This Idempotency-Key was used with another "
                              "body."), False
        reply = self.told(request.json(), schema)
        if reply.status < 300:
            self.keep(request.key, digest, reply)
        return reply, False

    def keep(self, key, digest, reply=DONE):
        while len(self.keys) >= KEYS_KEPT:
            del self.keys[next(iter(self.keys))]
        self.keys[key] = digest, reply

    def told(self, body, schema):
        if body is None:
            return self.error(400, "invalid_params", "A JSON object is "
                              "expected.")
        wrong = jsonschema.exceptions.best_match(schema.iter_errors(body))
        if wrong:
            field = "/".join(map(str, wrong.absolute_path)) or "body"
            return self.error(400, "invalid_params", "Not as it was agreed.",
                              {field: wrong.message})
        return DONE

    def new_id(self, prefix):
        self.made += 1
        return prefix + hashlib.sha256(
            b"%d" % self.made).hexdigest()[:32]
