"""Start, stop, reload, and what systemd and a scraper see."""

import json
import os
import signal
import socket
import subprocess
import time

import requests

from stack import wait_for


class Notify:
    """systemd's end of sd_notify."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(60)

    def await_line(self, line):
        while True:
            said = self.socket.recv(4096).decode().split("\n")
            if line in said:
                return said


def test_systemd(worker, block, tmp_path):
    notify = Notify(tmp_path)
    one = worker(block).start(environment={
        "NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "200000"})
    notify.await_line("READY=1")
    notify.await_line("WATCHDOG=1")
    one.process.send_signal(signal.SIGHUP)
    assert any(line.startswith("MONOTONIC_USEC=")
               for line in notify.await_line("RELOADING=1"))
    notify.await_line("READY=1")
    one.process.terminate()
    notify.await_line("STOPPING=1")
    assert one.process.wait(60) == 0


def test_http(worker, block):
    one = worker(block).start()
    health = requests.get(one.url + "/healthz")
    assert health.status_code == 200
    assert health.headers["Content-Type"] == "application/json"
    body = health.json()
    assert body["status"] == "ok"
    assert body["services"] == "all"
    assert set(body["lanes"]) == {"telemetry", "events", "webhooks"}
    assert body["lanes"]["events"] == {
        "alive": True, "mqttConnected": False, "journalBytes": 0,
        "stalledSeconds": 0, "journalFull": False, "shards": 1,
        "postgresConnected": 0, "redisConnected": 0}
    assert body["inbox"] == {"alive": True, "waiting": 0}
    assert body["tasks"] == {"alive": True}
    assert body["commands"] == {"alive": True, "connected": False}
    assert not {"sqs", "bus", "relay"} & set(body)

    metrics = requests.get(one.url + "/metrics")
    assert metrics.headers["Content-Type"].startswith(
        "text/plain; version=0.0.4")
    assert "\ncoco_journal_bytes{lane=\"events\"} 0\n" in metrics.text

    assert requests.head(one.url + "/healthz").status_code == 200
    missing = requests.get(one.url + "/health")
    assert missing.status_code == 404 and missing.json()["status"] == 404
    posted = requests.post(one.url + "/metrics", data="x" * 100000)
    assert posted.status_code == 405 and posted.headers["Allow"] == "GET, HEAD"


def test_reload_of_the_log_level(worker, block):
    one = worker(block, log={"level": "error"}).start()
    assert "event=" not in one.log()
    one.options["log"]["level"] = "info"
    one.write()
    one.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "event=reloaded" in one.log(), 60, "the reload")

    # A mistake leaves what was; the worker stays.
    one.options["log"]["level"] = "loud"
    one.write()
    one.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "event=reload_failed" in one.log(), 60, "the refusal")
    assert ":%d: log.level: \"loud\"" % (1 + open(one.config).read().split(
        "\n").index("level = loud")) in one.log()
    assert requests.get(one.url + "/healthz").ok
    assert one.stop(signal.SIGINT) == 0
    assert "event=stopped" in one.log()


def test_json_log(worker, block):
    one = worker(block, log={"format": "json"}).start()
    wait_for(lambda: "mqtt_down" in one.log(), 60, "a line about the broker")
    assert one.stop() == 0
    events = [json.loads(line)["event"] for line in one.log().splitlines()]
    assert events[0] == "starting" and events[-1] == "stopped"


def test_starts_without_backends_and_recovers(worker, tmp_path):
    from stack import Stack
    with Stack(only="postgres redis mqtt") as stack:
        one = worker(stack.port).start()
        wait_for(lambda: "mqtt_down" in one.log(), 60, "an attempt")
        assert requests.get(one.url + "/healthz").ok
        begun = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - begun < 5

        one.start()
        stack.up()
        one.await_connected()
        subprocess.run(["mosquitto_pub", "-p", str(stack.mqtt_port), "-q", "1",
                        "-t", "robot/late-1/status", "-m", json.dumps({
                            "ts": int(time.time() * 1000),
                            "battery": {"percent": 50},
                            "location": {"latitude": 1, "longitude": 2}})],
                       check=True)
        one.await_metric("coco_messages_committed_total", 1, seconds=40)


def test_stop_with_a_full_lane(worker, block, broker):
    """Postgres is not there, the lane holds all it may and more waits: the
    stop is prompt, and what was acknowledged is in the journal."""
    broker(block + 1, "allow_anonymous true")
    one = worker(block, telemetry={"batch_messages": 10, "shards": 1})
    one.start().await_connected()
    lines = "".join("%d\n" % n for n in range(500))
    subprocess.run(["mosquitto_pub", "-p", str(block + 1), "-q", "1", "-l",
                    "-t", "robot/R/status"], input=lines, text=True,
                   check=True)
    one.await_metric("coco_messages_received_total", 500)
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 5
    assert [payload for _, payload in one.journal()] == [
        b"%d" % n for n in range(500)]
    assert os.path.getsize(one.folder + "/journal/telemetry/offset") == 0
