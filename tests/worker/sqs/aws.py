"""AWS as the worker sees it: a proxy before the SQS emulator that verifies
every signature (the emulator verifies none), keeps a ledger and answers as a
test tells it to; and the servers that credentials come from.
"""

import hashlib
import hmac
import http.client
import json
import threading
import time
import urllib.parse
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

REGION = "eu-north-1"
BATCH = 10


def iso(seconds):
    """A time from now on as AWS writes it."""
    at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class Server:
    """An HTTP server on loopback, a thread for each connection."""

    def __init__(self, handler, port):
        class Http(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def handle_error(self, *_):
                """Workers are killed in the middle of answers."""

        handler.owner = self
        self.http = Http(("127.0.0.1", port), handler)
        self.url = "http://127.0.0.1:%d" % port
        threading.Thread(target=self.http.serve_forever, args=(0.02,),
                         daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, text, kind="application/x-amz-json-1.0"):
        data = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


# --- Signature Version 4 ----------------------------------------------------

def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def parts(authorization):
    """("AKID/20…/aws4_request", "a;b", "0f…") of the header."""
    scheme, _, rest = authorization.partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "AWS4-HMAC-SHA256"
    return (fields["Credential"], fields["SignedHeaders"],
            fields["Signature"])


def refusal(request, body, keys):
    """Why AWS would refuse it: (code, message); None when it would not.
    keys: {access key: (secret, session token or None)}."""
    try:
        credential, signed, signature = parts(
            request.headers["Authorization"])
        access, day, region, service, end = credential.split("/")
        stamp = request.headers["X-Amz-Date"]
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    except (AssertionError, KeyError, TypeError, ValueError):
        return "MissingAuthenticationTokenException", "no signature"

    if access not in keys:
        return "UnrecognizedClientException", "the key is unknown"
    secret, token = keys[access]
    if request.headers.get("X-Amz-Security-Token") != token:
        return "ExpiredTokenException", "the token is expired"

    names = signed.split(";")
    needed = {"host", "x-amz-date", "x-amz-target", "content-type"}
    if token:
        needed.add("x-amz-security-token")
    if (region, service, end) != (REGION, "sqs", "aws4_request") \
            or day != stamp[:8] or names != sorted(names) \
            or not needed <= set(names):
        return "SignatureDoesNotMatch", "scope or signed headers"
    if abs((datetime.utcnow() - at).total_seconds()) > 300:
        return "RequestExpired", "too old or too new"

    path, _, query = request.path.partition("?")
    canonical = "\n".join(
        [request.command, path, query]
        + ["%s:%s" % (name, " ".join(request.headers[name].split()))
           for name in names]
        + ["", signed, hashlib.sha256(body).hexdigest()])
    scope = "/".join((day, region, service, end))
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (day, region, service, end):
        key = mac(key, part)
    if not hmac.compare_digest(mac(key, text).hex(), signature):
        return "SignatureDoesNotMatch", "the signature is another"
    return None


# --- SQS --------------------------------------------------------------------

def error(status, code, message="as the test wants it"):
    return status, {"__type": "com.amazonaws.sqs#" + code,
                    "message": message}


class Proxy(Server):
    """`rule(action, body)`, where a test sets one, returns None to let the
    request through, (status, answer) to answer in the emulator's place, or a
    function from the emulator's answer to the one that is sent. The ledger
    holds (time, action, body, status, answer) of each request."""

    def __init__(self, port, emulator):
        self.emulator = urllib.parse.urlsplit(emulator).netloc
        self.keys = {"AKTEST": ("secret/+=test", None)}
        self.rule = None
        self.ledger = []
        self.lock = threading.Lock()
        super().__init__(type("SqsHandler", (SqsHandler,), {}), port)

    @property
    def environment(self):
        return {"AWS_ACCESS_KEY_ID": "AKTEST",
                "AWS_SECRET_ACCESS_KEY": self.keys["AKTEST"][0]}

    def of(self, action):
        """The ledger's entries of one action."""
        with self.lock:
            return [e for e in self.ledger if e[1] == action]

    def deleted(self):
        """Receipts that the emulator has deleted, through us."""
        return [r for _, _, body, status, answer
                in self.of("DeleteMessageBatch") if status == 200
                for r in named(body, answer.get("Successful", []))]

    def received(self):
        return [m for _, _, _, status, answer in self.of("ReceiveMessage")
                if status == 200 for m in answer.get("Messages", [])]


def named(body, entries):
    """The receipts of those entries of a batch."""
    ids = {e["Id"] for e in entries}
    return [e["ReceiptHandle"] for e in body["Entries"] if e["Id"] in ids]


class SqsHandler(Handler):
    upstream = None

    def do_POST(self):
        data = self.body()
        action = self.headers.get("X-Amz-Target", "").partition(".")[2]
        refused = refusal(self, data, self.owner.keys)
        body = json.loads(data)
        if refused:
            status, answer = error(403, *refused)
        else:
            status, answer = self.judged(action, body, data)
        text = answer if isinstance(answer, bytes) else \
            json.dumps(answer).encode()
        with self.owner.lock:
            self.owner.ledger.append((time.monotonic(), action, body, status,
                                      answer))
        self.answer(status, text)

    def judged(self, action, body, data):
        rule = self.owner.rule
        said = rule(action, body) if rule else None
        if isinstance(said, tuple):
            return said
        status, answer = self.forward(data)
        return said(status, answer) if said else (status, answer)

    def forward(self, data):
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(self.owner.emulator)
        self.upstream.request("POST", "/", data, {
            "Content-Type": self.headers["Content-Type"],
            "X-Amz-Target": self.headers["X-Amz-Target"],
            # the emulator takes the region from it
            "Authorization": self.headers["Authorization"]})
        reply = self.upstream.getresponse()
        return reply.status, json.loads(reply.read() or b"{}")


class Queue:
    """A queue of the emulator as a producer sees it."""

    def __init__(self, endpoint, name, **attributes):
        self.http, self.endpoint = requests.Session(), endpoint
        self.url = None
        self.url = self.call("CreateQueue", QueueName=name,
                             Attributes=attributes)["QueueUrl"]

    def call(self, action, **body):
        if self.url:
            body["QueueUrl"] = self.url
        reply = self.http.post(self.endpoint, data=json.dumps(body), headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AmazonSQS." + action})
        assert reply.status_code == 200, reply.text
        return reply.json() if reply.content else {}

    def send(self, *bodies):
        """Texts, or what becomes JSON."""
        bodies = [b if isinstance(b, str) else json.dumps(b) for b in bodies]
        for i in range(0, len(bodies), BATCH):
            reply = self.call("SendMessageBatch", Entries=[
                {"Id": str(n), "MessageBody": body}
                for n, body in enumerate(bodies[i:i + BATCH])])
            assert not reply.get("Failed"), reply

    def counts(self):
        """(visible, in flight)"""
        names = ["ApproximateNumberOfMessages",
                 "ApproximateNumberOfMessagesNotVisible"]
        said = self.call("GetQueueAttributes", AttributeNames=names)
        return tuple(int(said["Attributes"][name]) for name in names)


# --- where credentials come from --------------------------------------------

class Source(Server):
    """STS, a container's endpoint and IMDSv2 in one: answers what `made()`
    returns, (access key, secret, token, seconds to live), and counts."""

    TOKEN = "identity.of+the/pod=="

    def __init__(self, port, made):
        self.made, self.asked, self.failing = made, [], None
        super().__init__(type("SourceHandler", (SourceHandler,), {}), port)

    def json(self):
        access, secret, token, seconds = self.made()
        return json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": access,
            "SecretAccessKey": secret, "Token": token,
            "Expiration": iso(seconds)})

    def xml(self):
        access, secret, token, seconds = self.made()
        return """<?xml version="1.0"?>
<AssumeRoleWithWebIdentityResponse
    xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <!-- <Credentials><AccessKeyId>AKCOMMENT</AccessKeyId></Credentials> -->
  <AssumeRoleWithWebIdentityResult>
    <AssumedRoleUser><Arn a=">">arn:aws:sts::1:x</Arn></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>%s</AccessKeyId>
      <SecretAccessKey>%s</SecretAccessKey>
      <SessionToken>%s</SessionToken>
      <Expiration>%s</Expiration>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>""" % (
            access, secret.replace("&", "&amp;"), token, iso(seconds))


class SourceHandler(Handler):
    def do_PUT(self):
        self.handle_any()

    def do_GET(self):
        self.handle_any()

    def do_POST(self):
        self.handle_any()

    def handle_any(self):
        source, body = self.owner, self.body().decode()
        status, text = self.reply(body)
        source.asked.append((self.command, self.path, status))
        if source.failing:
            status, text = source.failing
        self.answer(status, text, "text/plain")

    def reply(self, body):
        source, headers = self.owner, self.headers
        if self.command == "POST":
            form = dict(urllib.parse.parse_qsl(body))
            good = form == {
                "Action": "AssumeRoleWithWebIdentity",
                "Version": "2011-06-15", "RoleArn": "arn:aws:iam::1:role/a b",
                "RoleSessionName": "a-test", "WebIdentityToken": source.TOKEN}
            return (200, source.xml()) if good and \
                "Authorization" not in headers else (403, "")
        if self.path == "/container?id=1":
            return (200, source.json()) if headers.get("Authorization") == \
                "Bearer container" else (401, "")
        if self.path == "/latest/api/token" and self.command == "PUT":
            return (200, "imds-token") if headers.get(
                "X-aws-ec2-metadata-token-ttl-seconds") else (400, "")
        if headers.get("X-aws-ec2-metadata-token") != "imds-token":
            return 401, ""
        roles = "/latest/meta-data/iam/security-credentials/"
        if self.path == roles:
            return 200, "the-role\n"
        return (200, source.json()) if self.path == roles + "the-role" \
            else (404, "")
