"""The sessions with the broker: nothing acknowledged is lost, the session
outlives the worker, a full journal is left to the broker."""

import json
import os
import random
import subprocess
import threading
import time

import psycopg2
import pytest
import requests

from publisher import Publisher
from stack import wait_for

SEED = int(os.environ.get("COCO_TEST_SEED", time.time_ns() & 0xffff))
ROUNDS = int(os.environ.get("COCO_TEST_ROUNDS", "8"))


def publish(port, topic, payload):
    subprocess.run(["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic,
                    "-s" if payload else "-n"], input=payload.encode(),
                   check=True)


def beat(**members):
    return json.dumps(dict({
        "ts": int(time.time() * 1000), "battery": {"percent": 50},
        "location": {"latitude": 1, "longitude": 2}}, **members))


def rows(stack, query, *arguments):
    with psycopg2.connect(stack.postgres) as connection:
        with connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return cursor.fetchall()


@pytest.mark.parametrize("version", ("5", "3.1.1"))
def test_kills_lose_nothing(worker, block, broker, capsys, version):
    """The journal alone (no Postgres) over random kills at full speed: every
    message that the publisher has a PUBACK for is in it."""
    broker(block + 1, "allow_anonymous true")
    one = worker(block, mqtt={"version": version, "receive_maximum": 100},
                 journal={"segment_size": "64k"})
    one.start().await_connected()
    chance = random.Random(SEED)
    publisher = Publisher(block + 1, "publisher")
    ended = threading.Event()

    def messages():
        number = 0
        while not ended.is_set():
            number += 1
            yield number, b"robot/R-%d/status" % (number % 7), b"%d" % number

    thread = threading.Thread(target=publisher.publish, args=(messages(),))
    thread.start()
    try:
        for _ in range(ROUNDS):
            before = one.metric("coco_messages_received_total")
            wait_for(lambda: one.metric("coco_messages_received_total")
                     > before, 60, "messages")
            time.sleep(chance.random() * 0.1)   # the instant of the kill
            one.kill()
            one.start().await_connected()
    finally:
        ended.set()
        thread.join()

    wanted = {b"%d" % key for key in publisher.acked}
    wait_for(lambda: wanted <= {p for _, p in one.journal()}, 90,
             "what the broker still held")
    found = [payload for _, payload in one.journal()]
    lost, repeated = wanted - set(found), len(found) - len(set(found))
    with capsys.disabled():
        print("\n  kills, MQTT %-5s acknowledged=%d lost=%d repeated=%d "
              "rounds=%d seed=%d" % (version, len(wanted), len(lost),
                                     repeated, ROUNDS, SEED))
    assert not lost and len(wanted) > 1000
    assert "event=journal_corrupt" not in one.log()


def test_commits_leave_the_journal(worker, stack):
    one = worker(stack.port, journal={"segment_size": "16k"})
    one.start().await_connected()
    publisher = Publisher(stack.mqtt_port, "commit-publisher")
    start = int(time.time() * 1000) - 10000
    publisher.publish((n, b"robot/commit-%d/status" % (n % 5),
                       beat(ts=start + n).encode()) for n in range(2000))
    one.await_metric("coco_messages_committed_total", 2000)
    one.await_metric("coco_journal_bytes", 0)
    # the last segment; the others go once that is 0
    wait_for(lambda: len(one.journal()) < 200, 60, "a short journal")
    assert rows(stack, "select count(*) from coco.state_history "
                "where serial like 'commit-%%'") == [(2000,)]
    assert one.stop() == 0

    one.start().await_connected()
    assert one.metric("coco_messages_duplicate_total") == 0
    assert one.metric("coco_messages_committed_total") == 0


def test_full_journal_is_left_to_the_broker(worker, stack):
    one = worker(stack.port, journal={
        "segment_size": "16k", "high_water": "256k", "low_water": "16k"},
        telemetry={"batch_messages": 10, "shards": 1},
        mqtt={"receive_maximum": 20})
    stack.kill("postgres")
    try:
        one.start().await_connected()
        publisher = Publisher(stack.mqtt_port, "full-publisher")
        start = int(time.time() * 1000) - 10000
        publisher.publish((n, b"robot/full-1/status",
                           beat(ts=start + n).encode()) for n in range(3000))
        one.await_metric("coco_journal_full", 1)
        one.await_metric("coco_mqtt_connected", 0)
        held = one.metric("coco_journal_bytes")
        assert 256 << 10 <= held < 320 << 10
        # the other session is not concerned
        assert one.metric("coco_mqtt_connected", "events") == 1
    finally:
        stack.restart("postgres")
    wait_for(lambda: rows(stack, "select count(*) from coco.state_history "
                          "where serial = 'full-1'") == [(3000,)], 90,
             "all of it in Postgres")
    one.await_metric("coco_journal_full", 0)
    one.await_connected()
    assert "event=journal_drained" in one.log()


def test_commits_that_have_stopped_are_seen(worker, block, broker):
    """Nobody commits without Postgres, though every thread goes round. And a
    record that cannot be read, at the end of the journal, holds nothing."""
    broker(block + 1, "allow_anonymous true")
    one = worker(block).start().await_connected()
    publish(block + 1, "robot/stalled-1/status", beat())
    wait_for(lambda: one.metric("coco_journal_stalled_seconds") >= 1, 60,
             "a second without a commit")
    health = requests.get(one.url + "/healthz").json()
    assert health["status"] == "ok"
    assert health["lanes"]["telemetry"]["stalledSeconds"] >= 1
    assert health["lanes"]["events"]["stalledSeconds"] == 0

    one.kill()
    folder = one.folder + "/journal/telemetry"
    for name in os.listdir(folder):
        if name.endswith(".log"):
            with open(os.path.join(folder, name), "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"?")
    one.start()
    one.await_metric("coco_journal_corrupt_total", 1)
    one.await_metric("coco_journal_bytes", 0)
    assert one.metric("coco_journal_stalled_seconds") == 0


def test_replay_by_the_filters_of_the_configuration(worker, stack):
    one = worker(stack.port, mqtt={"client_id": "replay",
                                   "telemetry_filter": "a/+/beat",
                                   "events_filter": "+/lid"})
    one.start().await_connected()
    publish(stack.mqtt_port, "filters-1/lid", json.dumps({"type": 5}))
    one.await_metric("coco_dead_letters_total", 1, "events")
    letter = "from coco.dead_letter where topic = 'filters-1/lid'"
    (refused, reason), = rows(stack, "select service, reason " + letter)
    rows(stack, "update coco.dead_letter set replayed_at = now() "
         "where topic = 'filters-1/lid' returning 1")
    wait_for(lambda: rows(stack, "select replay_outcome " + letter)
             == [("REFUSED",)], 60, "the replay")
    # as the event that it is, and of the same robot
    assert rows(stack, "delete %s returning service, reason" % letter) == [
        (refused, reason)]


def test_broker_comes_back(worker, stack):
    one = worker(stack.port).start().await_connected()
    for n in range(3):
        before = one.metric("coco_mqtt_reconnects_total")
        stack.restart("mqtt")
        # once, or again if the broker's start broke the first
        wait_for(lambda: one.metric("coco_mqtt_reconnects_total") > before,
                 60, "a reconnection")
        one.await_connected()
        publish(stack.mqtt_port, "robot/back-%d/status" % n, beat())
        one.await_metric("coco_messages_committed_total", n + 1)


def test_session_is_kept_while_away(worker, stack):
    one = worker(stack.port).start().await_connected()
    assert one.stop() == 0
    publish(stack.mqtt_port, "robot/away-1/status", beat())
    one.start().await_connected()
    one.await_metric("coco_messages_committed_total", 1)
    # The subscription was there and is not asked for again.
    assert one.log().count("event=mqtt_subscribed") == 2


def test_changed_filter(worker, stack):
    one = worker(stack.port, mqtt={"client_id": "changed"})
    one.start().await_connected()
    assert one.stop() == 0
    one.options["mqtt"]["telemetry_filter"] = "fleet/+/hardware"
    one.options["mqtt"]["shared_group"] = "workers"
    one.start().await_connected()
    publish(stack.mqtt_port, "robot/old-1/status", beat())
    publish(stack.mqtt_port, "fleet/new-1/hardware", beat())
    one.await_metric("coco_messages_committed_total", 1)
    assert rows(stack, "select serial from coco.robot_state where serial in "
                "('old-1', 'new-1')") == [("new-1",)]


def test_odd_messages(worker, stack):
    """A serial of 10 kB, one with a space, none; a payload of 1 MiB and of
    nothing: each is set aside whole, what comes after is committed."""
    one = worker(stack.port, mqtt={"client_id": "odd"},
                 telemetry={"batch_bytes": "64k"})
    one.start().await_connected()
    odd = [("robot/%s/status" % ("x" * 10000), beat()),
           ("robot/a b/status", beat()), ("robot//status", beat()),
           ("robot/odd-1/status", " " * (1 << 20)), ("robot/odd-1/status", "")]
    for topic, payload in odd:
        publish(stack.mqtt_port, topic, payload)
    publish(stack.mqtt_port, "robot/odd-2/status", beat())
    one.await_metric("coco_dead_letters_total", len(odd))
    one.await_metric("coco_messages_committed_total", 1)
    one.await_metric("coco_journal_bytes", 0)
    kept = rows(stack, "select topic, octet_length(payload) "
                "from coco.dead_letter")
    assert sorted(kept) == sorted(
        (topic, len(payload)) for topic, payload in odd)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True,
                   capture_output=True)


def keys(folder):
    """A certificate authority, a server called localhost, a client."""
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
            "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out",
            "ca.pem")
    for name, extension in (("server", "subjectAltName=DNS:localhost"),
                            ("client", "extendedKeyUsage=clientAuth")):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj",
                "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
        (folder / "extension").write_text(extension)
        openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem",
                "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "extension", "-out", name + ".pem")


def test_tls(worker, broker, block, tmp_path):
    keys(tmp_path)
    broker(block + 1, "cafile %s/ca.pem" % tmp_path,
           "certfile %s/server.pem" % tmp_path,
           "keyfile %s/server.key" % tmp_path, "require_certificate true",
           "use_identity_as_username true")
    tls = {"host": "localhost", "tls": "on",
           "tls_ca_file": tmp_path / "ca.pem",
           "tls_cert_file": tmp_path / "client.pem",
           "tls_key_file": tmp_path / "client.key",
           "tls_alpn": "x-amzn-mqtt-ca"}
    one = worker(block, mqtt=tls).start().await_connected()
    assert one.stop() == 0

    def refused(**changes):
        one = worker(block, mqtt=dict(tls, **changes))
        for option, value in changes.items():
            if value is None:
                del one.options["mqtt"][option]
        one.start()
        wait_for(lambda: one.log().count("event=mqtt_down") >= 2, 60,
                 "two attempts")
        assert one.metric("coco_mqtt_connected") == 0
        assert one.stop() == 0

    refused(host="127.0.0.1")                   # not the certificate's name
    refused(tls_ca_file=None)                   # the system does not know it
    refused(tls_cert_file=None, tls_key_file=None)
    refused(tls="off", tls_ca_file=None, tls_cert_file=None,
            tls_key_file=None, tls_alpn=None)


def test_password(worker, broker, block, tmp_path):
    users = tmp_path / "users"
    users.write_text("")
    subprocess.run(["mosquitto_passwd", "-b", users, "coco", "s3cret"],
                   check=True, capture_output=True)
    broker(block + 1, "password_file %s" % users)
    (tmp_path / "right").write_text("s3cret\n")
    (tmp_path / "wrong").write_text("s3cert\n")

    one = worker(block, mqtt={"username": "coco",
                              "password_file": tmp_path / "wrong"})
    one.start()
    wait_for(lambda: "uthori" in one.log(), 60, "the broker's refusal")
    assert one.stop() == 0
    one.options["mqtt"]["password_file"] = tmp_path / "right"
    one.start().await_connected()
    assert one.stop() == 0
    del one.options["mqtt"]["password_file"]
    one.start(environment={"COCO_WORKER_MQTT_PASSWORD": "s3cret"})
    one.await_connected()
    assert "s3c" not in one.log()


def test_shared_group(worker, stack):
    """Two workers share the robots; together they take each message once."""
    pair = [worker(stack.port, http={"port": stack.port + 4 + n},
                   mqtt={"client_id": "share-%d" % n, "shared_group": "g"})
            for n in range(2)]
    for one in pair:
        one.start().await_connected()
    publisher = Publisher(stack.mqtt_port, "share-publisher")
    start = int(time.time() * 1000) - 10000
    publisher.publish((n, b"robot/share-%d/status" % n,
                       beat(ts=start + n).encode()) for n in range(200))
    wait_for(lambda: sum(one.metric("coco_messages_committed_total")
                         for one in pair) == 200, 60, "all of them")
    assert all(one.metric("coco_messages_received_total") > 0 for one in pair)
    assert rows(stack, "select count(*) from coco.state_history "
                "where serial like 'share-%%'") == [(200,)]
