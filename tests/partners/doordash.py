"""DoorDash: DD-JWT-V1, and Drive v2 as far as it is proxied."""

import base64
import binascii
import hashlib
import hmac
import json
import time

from partner import Partner, calls_of
from uber import at
from wire import Reply

LONGEST = 1800          # seconds that a token may live
AHEAD = 60              # seconds that its clock may be ahead
NEEDED = ("external_delivery_id", "pickup_address", "dropoff_address")


def decoded(text):
    """Of base64url without padding."""
    if "=" in text:
        raise ValueError("padded")
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_",
                            validate=True)


def seconds(value):
    """DoorDash takes numbers, and texts of them."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("no time")
    return float(value)


class DoorDash(Partner):
    def __init__(self, faults, developer, key, secret):
        self.developer, self.key = developer, key
        self.secret = decoded(secret)
        self.calls = calls_of("doordash")
        super().__init__(faults)

    def unauthorized(self, request):
        token = request.bearer()
        try:
            wrong = self.wrong_with(token or "")
        except (ValueError, binascii.Error, UnicodeDecodeError,
                AttributeError):
            wrong = "The token is no JWT."
        if wrong is None:
            return None
        return self.error(401, "authentication_error", wrong) if wrong \
            else Reply(401)

    def wrong_with(self, token):
        """None when nothing is; an empty text where DoorDash has none."""
        head, payload, signature = token.split(".")
        header, claims = json.loads(decoded(head)), json.loads(decoded(payload))
        if header.get("dd-ver") != "DD-JWT-V1":
            return ""
        if header.get("alg") != "HS256" or header.get("typ", "JWT") != "JWT":
            return "The algorithm is not HS256."
        right = hmac.new(self.secret, ("%s.%s" % (head, payload)).encode(),
                         hashlib.sha256).digest()
        if not hmac.compare_digest(right, decoded(signature)):
            return "The signature is wrong."
        for name, value in (("aud", "doordash"), ("iss", self.developer),
                            ("kid", self.key)):
            if claims.get(name) != value:
                return "%s is wrong." % name
        issued, ends = seconds(claims.get("iat")), seconds(claims.get("exp"))
        if issued > time.time() + AHEAD:
            return "The token is of the future."
        if ends <= time.time():
            return "The token is over."
        if ends - issued > LONGEST:
            return "The token lives too long."
        return None

    def error(self, status, code, message, fields=None):
        body = {"code": code, "message": message}
        if fields:
            body["field_errors"] = [{"field": field, "error": error}
                                    for field, error in fields.items()]
        return Reply(status, body)

    def serve(self, request):
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["drive", "v2"]:
            return self.error(404, "not_found", "There is nothing here.")
        what, rest = parts[2:3], parts[3:]
        if not rest and what in (["quotes"], ["deliveries"]) \
                and request.method == "POST":
            return self.placed(request, what == ["deliveries"])
        if what in (["quotes"], ["deliveries"]) and rest:
            return self.one(request, what[0], rest)
        return self.error(404, "not_found", "There is nothing here.")

    def placed(self, request, final):
        body = request.json()
        if body is None:
            return self.error(400, "validation_error", "JSON is expected.")
        wrong = {name: "is required" for name in NEEDED
                 if not isinstance(body.get(name), str) or not body[name]}
        if wrong:
            return self.error(400, "validation_error", "Some fields are "
                              "wrong.", wrong)
        name = body["external_delivery_id"]
        known = self.deliveries.get(name)
        if known and known["delivery_status"] != "quote":
            return self.error(409, "duplicate_delivery_id",
                              "This delivery has been made already.")
        self.deliveries[name] = {
            **{field: body.get(field) for field in NEEDED}, "fee": 975,
            "currency": "USD", "created_at": at(), "updated_at": at(),
            "delivery_status": "created" if final else "quote",
            "pickup_time_estimated": at(900),
            "dropoff_time_estimated": at(2400)}
        return Reply(200, self.deliveries[name])

    def one(self, request, what, rest):
        delivery = self.deliveries.get(rest[0])
        status = delivery and delivery["delivery_status"]
        if delivery is None or (status == "quote") != (what == "quotes"):
            return self.error(404, "unknown_delivery_id",
                              "There is no such delivery.")
        call = request.method, rest[1:]
        if call == ("POST", ["accept"]) and what == "quotes":
            delivery.update(delivery_status="created", updated_at=at())
        elif what == "quotes":
            return self.error(404, "not_found", "There is nothing here.")
        elif call == ("PUT", ["cancel"]):
            delivery.update(delivery_status="cancelled", updated_at=at())
        elif call == ("PATCH", []):
            delivery["updated_at"] = at()
        elif call != ("GET", []):
            return self.error(404, "not_found", "There is nothing here.")
        return Reply(200, delivery)
