"""sim/sqs/proxy.js, by AWS's own client: what is signed well passes, what is
not is refused, and faults come when they are asked for."""

import json
import os
import subprocess

import pytest
import requests

from stack import ROOT, Stack

NODE = ["node"]
KEY = {"AWS_ACCESS_KEY_ID": "AKIAHOUSE", "AWS_SECRET_ACCESS_KEY": "s3cr3t/+="}


@pytest.fixture(scope="module")
def emulator():
    with Stack(only="sqs") as stack:
        yield stack.up()


def environment(**more):
    """Without what the machine knows of AWS."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("AWS_")}
    return {**clean, "AWS_EC2_METADATA_DISABLED": "true", **more}


class Proxy:
    def __init__(self, emulator, **keys):
        self.queue = emulator.queue_urls["events"]
        self.process = subprocess.Popen(
            NODE + [ROOT + "/sim/sqs/proxy.js", "0", emulator.sqs_url],
            env=environment(**keys), stdout=subprocess.PIPE, text=True)
        self.url = "http://127.0.0.1:%d" % int(self.process.stdout.readline())

    def client(self, word, **more):
        done = subprocess.run(
            NODE + [ROOT + "/tests/house/sqs_client.js", self.url, self.queue,
                    word], env=environment(**more), capture_output=True,
            text=True, timeout=60)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def control(self, **told):
        answer = requests.put(self.url + "/control", json=told, timeout=30)
        assert answer.status_code == 200, answer.text

    def get(self, what):
        return requests.get("%s/%s" % (self.url, what), timeout=30).json()

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture
def proxy(emulator):
    one = Proxy(emulator, **KEY)
    yield one
    one.close()


def test_what_is_signed_passes_and_is_counted(proxy):
    said = proxy.client("round", **KEY)
    ledger = proxy.get("ledger")
    assert said["failed"] == [] and len(set(said["ids"])) == 10
    assert sorted(proxy.get("deleted")) == sorted(said["ids"])
    assert ledger["messages"] == ledger["deleted"] == 10
    assert ledger["byKey"] == {"AKIAHOUSE": ledger["requests"]}
    assert ledger["refused"] == {}


@pytest.mark.parametrize("wrong, error", [
    ({"AWS_SECRET_ACCESS_KEY": "other"}, "InvalidSignatureException"),
    ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "UnrecognizedClientException"),
    ({"AWS_SESSION_TOKEN": "none was given"}, "UnrecognizedClientException"),
    ({"AWS_REGION": "eu-west-1"}, "InvalidSignatureException"),
    ({"CLOCK_OFFSET_MS": "-301000"}, "InvalidSignatureException"),
    # a signature's time is of whole seconds, and it is on its way for some
    ({"CLOCK_OFFSET_MS": "330000"}, "InvalidSignatureException"),
])
def test_what_is_signed_wrongly_is_refused(proxy, wrong, error):
    said = proxy.client("send", **dict(KEY, **wrong))
    assert said == {"error": error, "status": 403}
    assert proxy.get("ledger")["refused"] == {error: 1}
    assert proxy.get("ledger")["requests"] == 0
    assert "id" in proxy.client("send", **KEY)


def test_an_unsigned_or_changed_request_is_refused(proxy, emulator):
    body = json.dumps({"QueueUrl": proxy.queue})
    headers = {"X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    answer = requests.post(proxy.url, body, headers=headers, timeout=30)
    assert answer.status_code == 403
    assert "MissingAuthenticationToken" in answer.json()["__type"]

    # curl's signer agrees, until the body is another than what was signed
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
            "--aws-sigv4", "aws:amz:us-east-1:sqs",
            "--user", "AKIAHOUSE:s3cr3t/+=", "-d", body,
            "-H", "Content-Type: application/x-amz-json-1.0",
            "-H", "X-Amz-Target: AmazonSQS.ReceiveMessage"]
    for more, status in (([], "200"),
                         (["-H", "x-amz-content-sha256: " + "0" * 64], "403")):
        done = subprocess.run(curl + more + [proxy.url + "/"], text=True,
                              capture_output=True, timeout=60, check=True)
        assert done.stdout == status


def test_a_session_token_is_expected_and_expires(proxy):
    session = dict(KEY, AWS_SESSION_TOKEN="token")
    key = {"secret": KEY["AWS_SECRET_ACCESS_KEY"], "token": "token"}
    proxy.control(keys={"AKIAHOUSE": key})
    assert "id" in proxy.client("send", **session)
    assert proxy.client("send", **KEY)["status"] == 403
    proxy.control(keys={"AKIAHOUSE": dict(key, expires=1)})
    assert proxy.client("send", **session)["error"] == "ExpiredTokenException"


@pytest.mark.parametrize("fault, error, status", [
    ({"throttle": {"every": 1}}, "RequestThrottled", 400),
    ({"throttle": {"every": 1, "status": 503}}, "RequestThrottled", 503),
    ({"error": {"every": 1, "action": "SendMessage"}}, "InternalError", 500),
    ({"lose": {"every": 1}}, "InternalError", 500),
])
def test_faults_come_when_asked_for(proxy, fault, error, status):
    proxy.control(faults=fault)
    said = proxy.client("send", **KEY)
    assert said["status"] == status and error in said["error"]
    assert proxy.get("ledger")["faults"] == {next(iter(fault)): 1}
    proxy.control(faults={name: {"every": 2} for name in fault})
    assert "id" in proxy.client("send", **KEY)
    assert "error" in proxy.client("send", **KEY)


def test_entries_fail_within_a_batch(proxy, emulator):
    requests.post(emulator.sqs_url, json.dumps({"QueueUrl": proxy.queue}),
                  timeout=30, headers={
                      "Content-Type": "application/x-amz-json-1.0",
                      "X-Amz-Target": "AmazonSQS.PurgeQueue"})
    proxy.control(faults={"entries": {"every": 5, "code": "OnDemand"}})
    said = proxy.client("round", **KEY)
    assert said["failed"] == ["OnDemand"] * 2
    deleted = proxy.get("deleted")
    assert len(deleted) == 8 and set(deleted) < set(said["ids"])


def places(proxy, folder):
    """What each source of credentials is told by the environment."""
    token = folder / "token"
    token.write_text("identity")
    return {
        "identity": {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
                     "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/coco",
                     "AWS_ROLE_SESSION_NAME": "house",
                     "AWS_ENDPOINT_URL_STS": proxy.url + "/sts"},
        "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI":
                      proxy.url + "/container",
                      "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container"},
        "metadata": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": proxy.url,
                     "AWS_EC2_METADATA_DISABLED": "false"},
    }


@pytest.mark.parametrize("place", ["identity", "container", "metadata"])
def test_credentials_that_are_given_out_are_good(proxy, tmp_path, place):
    told = places(proxy, tmp_path)[place]
    assert "id" in proxy.client("send", **told)
    used = proxy.get("ledger")["byKey"]
    assert len(used) == 1 and next(iter(used)).startswith("ASIACOCO")

    proxy.control(issue={"seconds": -1})
    assert "error" in proxy.client("send", **told)
    proxy.control(issue={"seconds": 3600, "status": 500})
    assert "error" in proxy.client("send", **told)
