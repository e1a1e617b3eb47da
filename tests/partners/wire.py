"""What a partner is asked, and what it answers. Must never decide anything."""

import hashlib
import json

SECRETS = {"authorization", "proxy-authorization"}


class Reply:
    def __init__(self, status, body=None, headers=None):
        self.status = status
        self.headers = dict(headers or {})
        self.data = b""
        if body is not None:
            self.data = json.dumps(body).encode()
            self.headers.setdefault("Content-Type", "application/json")


class Request:
    def __init__(self, method, path, query, headers, data):
        self.method = method
        self.path = path
        self.query = query              # {name: the last value}
        self.headers = headers          # names in lower case
        self.data = data

    @property
    def media_type(self):
        return self.headers.get("content-type", "").split(";")[0].lower()

    @property
    def key(self):
        return self.headers.get("idempotency-key")

    def json(self):
        """The body as an object; None when it is none."""
        if self.media_type != "application/json":
            return None
        try:
            value = json.loads(self.data)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def bearer(self):
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    def delivery(self):
        """The delivery that it is about, as the partner calls it."""
        parts = self.path.split("/")
        if "deliveries" in parts[:-1]:
            return parts[parts.index("deliveries") + 1]
        body = self.json() or {}
        for name in ("external_delivery_id", "delivery_id"):
            if isinstance(body.get(name), str):
                return body[name]
        return None

    def shown(self):
        """For the ledger: of what is secret only which one it was."""
        headers = {}
        for name, value in self.headers.items():
            if name in SECRETS:
                scheme, _, rest = value.partition(" ")
                value = "%s sha256:%s" % (
                    scheme, hashlib.sha256(rest.encode()).hexdigest()[:12])
            headers[name] = value
        body = self.json()
        if body is None and self.media_type not in FORMS:
            body = self.data.decode("utf-8", "backslashreplace")
        return {"method": self.method, "path": self.path,
                "query": self.query, "headers": headers, "body": body,
                "digest": hashlib.sha256(self.data).hexdigest()}


FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
