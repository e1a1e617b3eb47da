"""Uber: OAuth's client credentials, and Direct as far as it is proxied."""

import datetime
import email.parser
import email.policy
import hmac
import re
import secrets
import time
import urllib.parse

from partner import Partner, calls_of
from wire import FORMS, Reply

SCOPES = {"eats.deliveries", "direct.organizations"}
MONTH = 2_592_000       # seconds
ONE = re.compile(r"/v1/customers/([^/]+)/deliveries/([^/]+)")


def at(seconds=0):
    moment = datetime.datetime.now(datetime.timezone.utc)
    moment += datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def form_of(request):
    """The fields of a form, of either kind; None when it is none."""
    if request.media_type == FORMS[0]:
        return dict(urllib.parse.parse_qsl(request.data.decode("ascii",
                                                               "replace")))
    if request.media_type == FORMS[1]:
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
            b"Content-Type: " + request.headers["content-type"].encode()
            + b"\r\n\r\n" + request.data)
        return {part.get_param("name", header="content-disposition"):
                part.get_content().rstrip("\r\n")
                for part in message.iter_parts()}
    return None


class Auth(Partner):
    """auth.uber.com. Tokens live as long as it says, or as it was told."""

    def __init__(self, faults, client, secret):
        self.client, self.secret = client, secret
        super().__init__(faults)

    def reset(self):
        super().reset()
        # what is said, and what is true, unless it is the same
        self.lifetimes = {"expiresIn": MONTH, "tokenLifetime": None}
        self.tokens = {}            # token: when it ends, monotonic

    def expire(self):
        self.tokens.clear()

    def knows(self, token):
        return self.tokens.get(token, 0) > time.monotonic()

    def unauthorized(self, request):
        return None

    def error(self, status, code, message, fields=None):
        return Reply(status, {"error": code, "error_description": message})

    def serve(self, request):
        form = form_of(request)
        if request.method != "POST" or form is None:
            return self.error(400, "invalid_request", "POST a form.")
        missing = {"client_id", "client_secret", "grant_type"} - set(form)
        if missing:
            return self.error(400, "invalid_request", "There is no %s."
                              % ", ".join(sorted(missing)))
        if form["grant_type"] != "client_credentials":
            return self.error(400, "unsupported_grant_type",
                              "client_credentials is expected.")
        if form["client_id"] != self.client or not hmac.compare_digest(
                form["client_secret"].encode(), self.secret.encode()):
            return self.error(401, "invalid_client", "No such client.")
        scope = form.get("scope", "")
        if not scope or set(scope.split()) - SCOPES:
            return self.error(400, "invalid_scope", "No such scope.")
        return Reply(200, self.token(scope), {"Cache-Control": "no-store"})

    def token(self, scope):
        now, token = time.monotonic(), secrets.token_urlsafe(48)
        for old in [t for t, end in self.tokens.items() if end <= now]:
            del self.tokens[old]
        said, true = self.lifetimes.values()
        self.tokens[token] = now + (said if true is None else true)
        return {"access_token": token, "token_type": "Bearer",
                "expires_in": said, "scope": scope}


class Uber(Partner):
    """api.uber.com."""

    conflict = 422

    def __init__(self, faults, auth):
        self.auth = auth
        self.calls = calls_of("uber")
        super().__init__(faults)

    def unauthorized(self, request):
        token = request.bearer()
        if token is not None and self.auth.knows(token):
            return None
        reply = self.error(401, "unauthorized",
                           "The token is missing, unknown or over.")
        reply.headers["WWW-Authenticate"] = "Bearer"
        return reply

    def error(self, status, code, message, fields=None):
        return Reply(status, {"code": code, "kind": "error",
                              "message": message, "metadata": fields or {}})

    def serve(self, request):
        reply = self.route(request)
        reply.headers["Set-Cookie"] = "udi-id=simulated; Path=/"
        return reply

    def route(self, request):
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["v1", "customers"] or len(parts) < 4:
            return self.error(404, "not_found", "There is nothing here.")
        if parts[3:] == ["delivery_quotes"] and request.method == "POST":
            return self.placed(request, self.quote)
        if parts[3:] == ["deliveries"]:
            if request.method == "GET":
                return Reply(200, {"object": "list", "data": list(
                    self.deliveries.values())})
            if request.method == "POST":
                return self.placed(request, self.create)
        if ONE.match(request.path):
            return self.one(request, parts[4], parts[5:])
        return self.error(404, "not_found", "There is nothing here.")

    def placed(self, request, make):
        body = request.json()
        if body is None:
            return self.error(400, "invalid_params", "JSON is expected.")
        missing = {name: "is required"
                   for name in ("pickup_address", "dropoff_address")
                   if not isinstance(body.get(name), str) or not body[name]}
        if missing:
            return self.error(400, "invalid_params", "The parameters of your "
                              "request were invalid.", missing)
        return Reply(200, make(body))

    def quote(self, body):
        return {"kind": "delivery_quote", "id": self.new_id("dqt_"),
                "created": at(), "expires": at(900), "fee": 699,
                "currency": "usd", "currency_type": "USD",
                "dropoff_eta": at(2400), "dropoff_deadline": at(3600),
                "duration": 40, "pickup_duration": 15,
                "external_store_id": body.get("external_store_id")}

    def create(self, body):
        made = {"kind": "delivery", "id": self.new_id("del_"),
                "status": "pending", "complete": False, "created": at(),
                "updated": at(), "fee": 699, "currency": "usd",
                "live_mode": False, "external_id": body.get("external_id"),
                "quote_id": body.get("quote_id"),
                "pickup": {"address": body["pickup_address"]},
                "dropoff": {"address": body["dropoff_address"]}}
        self.deliveries[made["id"]] = made
        return made

    def one(self, request, name, rest):
        delivery = self.deliveries.get(name)
        if delivery is None:
            return self.error(404, "delivery_not_found",
                              "The requested delivery does not exist.")
        if rest == ["cancel"] and request.method == "POST":
            if delivery["complete"]:
                return self.error(400, "noncancelable_delivery",
                                  "This delivery is over.")
            delivery.update(status="canceled", complete=True, updated=at())
        elif rest or request.method not in ("GET", "POST"):
            return self.error(404, "not_found", "There is nothing here.")
        elif request.method == "POST":
            delivery["updated"] = at()
        return Reply(200, delivery)
