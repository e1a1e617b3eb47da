"""Where the worker's AWS credentials come from, and how they are renewed."""

import itertools
import os
import ssl
import subprocess

import pytest

import aws
import process
from stack import wait_for

SECRET = "s/+e&cret"


@pytest.fixture
def source(proxy, ports):
    """Gives out keys AK1, AK2, …, each good at the proxy from then on;
    `source.life` is how long they say they live, s."""
    numbers = itertools.count(1)
    proxy.keys.clear()

    def made():
        key, token = "AK%d" % next(numbers), "token+/=" * 100
        proxy.keys[key] = (SECRET, token)
        return key, SECRET, token, server.life

    server = aws.Source(next(ports), made)
    server.life = 3600
    yield server
    server.close()


def identity(source, folder):
    path = str(folder / "token")
    with open(path, "w") as out:
        out.write(source.TOKEN + "\n")
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": path,
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/a b",
            "AWS_ROLE_SESSION_NAME": "a-test",
            "AWS_ENDPOINT_URL_STS": source.url}


def container(source, folder):
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI":
            source.url + "/container?id=1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer container"}


def container_file(source, folder):
    path = str(folder / "token")
    with open(path, "w") as out:
        out.write("Bearer container\n")
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI":
            source.url + "/container?id=1",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer another",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path}


def instance(source, folder):
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": source.url}


def works(proxy, queues):
    queues["state"].send("{}")
    wait_for(lambda: queues["state"].counts() == (0, 0), 60, "a deletion")
    assert {e[3] for e in proxy.ledger} == {200}


@pytest.mark.parametrize("names", [identity, container, container_file,
                                   instance])
def test_each_source(worker, proxy, queues, source, tmp_path, names):
    one = worker(environment=names(source, tmp_path))
    works(proxy, queues)
    text = one.log()
    assert "event=aws_credentials " in text and "valid_s=35" in text
    assert SECRET not in text and "token+/=" not in text
    assert source.TOKEN not in text


def test_session_token_of_the_environment(worker, proxy, queues):
    proxy.keys["AKTEMP"] = (SECRET, "a-session")
    worker(environment={"AWS_ACCESS_KEY_ID": "AKTEMP",
                        "AWS_SECRET_ACCESS_KEY": SECRET,
                        "AWS_SESSION_TOKEN": "a-session"})
    works(proxy, queues)


def test_order(worker, proxy, queues, source, tmp_path):
    """The environment before all others: nobody else is asked."""
    proxy.keys["AKENV"] = (SECRET, None)
    worker(environment=dict(
        **identity(source, tmp_path), **container(source, tmp_path),
        **instance(source, tmp_path), AWS_ACCESS_KEY_ID="AKENV",
        AWS_SECRET_ACCESS_KEY=SECRET))
    works(proxy, queues)
    assert source.asked == []


def test_web_identity_before_container(worker, proxy, queues, source,
                                       tmp_path):
    worker(environment=dict(**container(source, tmp_path),
                            **identity(source, tmp_path)))
    works(proxy, queues)
    assert {method for method, _, _ in source.asked} == {"POST"}


def test_renewed_before_they_expire(worker, proxy, queues, source, tmp_path):
    source.life = 3
    worker(environment=instance(source, tmp_path))
    wait_for(lambda: len(proxy.keys) >= 3, 30, "the third keys")
    works(proxy, queues)


def test_refused_ones_are_renewed(worker, proxy, queues, source, tmp_path):
    """AWS may expire them before their time."""
    one = worker(environment=instance(source, tmp_path))
    works(proxy, queues)
    proxy.keys["AK1"] = (SECRET, "revoked")
    queues["state"].send("{}")
    wait_for(lambda: "AK2" in proxy.keys, 60, "new keys")
    wait_for(lambda: queues["state"].counts() == (0, 0), 60, "a deletion")
    assert len(proxy.keys) == 2
    wait_for(lambda: "code=ExpiredToken" in one.log(), 60, "a line")
    assert 1 <= one.log().count("code=ExpiredToken") <= 3   # one a queue


def test_a_source_that_fails(worker, proxy, queues, source, tmp_path):
    """Asked again with growing pauses, one line about it; then it works."""
    source.failing = (403, "<ErrorResponse><Error><Code>AccessDenied</Code>"
                           "<Message>not &lt;you&gt;</Message></Error>"
                           "</ErrorResponse>")
    one = worker(environment=identity(source, tmp_path))
    wait_for(lambda: len(source.asked) >= 5, 60, "five tries")
    assert one.log().count("aws_credentials_failed") == 1
    assert "AccessDenied not <you>" in one.log()
    assert proxy.ledger == []
    source.failing = None
    works(proxy, queues)


def test_an_expired_source_gives_nothing(worker, proxy, queues, source,
                                         tmp_path):
    source.life = -5
    one = worker(environment=container(source, tmp_path))
    wait_for(lambda: len(source.asked) >= 3, 60, "three tries")
    assert "came expired" in one.log()
    assert proxy.ledger == []


@pytest.mark.parametrize("reply", ["", "{", "[]", '{"AccessKeyId":"a"}',
                                   '{"Code":"AssumeRoleUnauthorizedAccess"}',
                                   '{"AccessKeyId":"a","SecretAccessKey":"b",'
                                   '"Expiration":"soon"}', "long"])
def test_answers_that_are_none(worker, proxy, source, tmp_path, reply):
    source.failing = (200, reply if reply != "long" else "x" * 300000)
    one = worker(environment=container(source, tmp_path))
    wait_for(lambda: "aws_credentials_failed" in one.log(), 60, "a line")
    assert proxy.ledger == []


@pytest.mark.parametrize("environment, said", [
    ({"AWS_ACCESS_KEY_ID": "a"}, "go together"),
    ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/a"}, "set AWS_ROLE_ARN"),
    ({"AWS_EC2_METADATA_DISABLED": "true"}, "no AWS credentials"),
])
def test_an_environment_that_names_none(stack, queues, ports, tmp_path,
                                        environment, said):
    one = process.Worker(tmp_path / "worker", stack.port,
                         http={"port": next(ports)},
                         sqs={"state_queue_url": queues["state"].url})
    one.write()
    base = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run([process.BINARY, "-c", one.config], timeout=60,
                          env=dict(base, **environment), text=True,
                          capture_output=True)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize("url", ["http://192.0.2.1/x", "http://127.evil.org/",
                                 "ftp://127.0.0.1/", "http://127.0.0.1@a/"])
def test_container_hosts_that_get_no_token(worker, proxy, url):
    one = worker(environment={
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer container"})
    wait_for(lambda: "must be https, or http to a loopback" in one.log(), 60,
             "a refusal")
    assert proxy.ledger == []


def certificate(folder):
    """(certificate, key) of 127.0.0.1, signed by itself."""
    names = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", names[0], "-keyout", names[1]],
        check=True, capture_output=True)
    return names


def test_tls_is_verified(worker, proxy, queues, tmp_path):
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    proxy.http.socket = context.wrap_socket(
        proxy.http.socket, server_side=True, do_handshake_on_connect=False)
    endpoint = proxy.url.replace("http:", "https:")

    one = worker(sqs={"endpoint": endpoint})
    wait_for(lambda: "sqs_failed" in one.log(), 60, "a refusal")
    assert "certificate" in one.log()
    assert proxy.ledger == []
    assert one.stop() == 0

    worker(sqs={"endpoint": endpoint},
           environment=dict(proxy.environment, AWS_CA_BUNDLE=cert))
    works(proxy, queues)
