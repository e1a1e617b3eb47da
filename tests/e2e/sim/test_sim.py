"""coco-sim against a real broker, watched by a client that is not its own."""

import collections
import json
import os
import re
import signal
import subprocess
import time

import pytest

from sim_broker import SIM, Broker, command
from stack import ROOT, PortBlock, wait_for

START = 1700000000000


@pytest.fixture
def broker(tmp_path):
    block = PortBlock()
    one = Broker(block.first, tmp_path)
    yield one
    one.close()
    block.release()


def sim(broker, *words, stdin=""):
    """Runs to the end; returns what its closing line counts."""
    done = subprocess.run(command(broker, *words), input=stdin, text=True,
                          capture_output=True, timeout=60)
    counts = dict(word.split("=") for word in done.stdout.split())
    counts = {name: int(value) for name, value in counts.items()}
    if counts:
        wait_for(lambda: len(broker.seen) >= counts["acknowledged"],
                 what="what was acknowledged")
    return done, counts


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_fleet_in_its_time(broker, version):
    begun = time.monotonic()
    done, counts = sim(broker, "--robots", 4, "--hz", 5, "--seconds", 1.1,
                       "--mqtt-version", version, "--serial-prefix", "v.")
    assert time.monotonic() - begun >= 1.1
    assert done.returncode == 0
    assert counts["acknowledged"] == counts["published"] == len(broker.seen)

    # at the end, what a process that did not run would have sent is left out
    assert 12 <= len(broker.seen) <= 24
    times = sorted(heartbeat["ts"] for heartbeat in broker.heartbeats())
    assert {b - a for a, b in zip(times, times[1:])} == {50}

    now = time.time() * 1000
    for topic, payload in broker.seen:
        heartbeat = json.loads(payload)
        assert topic == "robot/%s/status" % heartbeat["serial"]
        assert now - 10000 < heartbeat["ts"] < now + 1000
    assert {h["serial"] for h in broker.heartbeats()} == {
        "v.%04d" % n for n in range(1, 5)}


def test_same_seed_same_messages(broker):
    runs = []
    for seed in (5, 5, 6):
        broker.seen.clear()
        done, _ = sim(broker, "--robots", 10, "--burst", 500, "--seed", seed,
                      "--start-ms", START)
        assert done.returncode == 0
        by_robot = collections.defaultdict(list)
        for topic, payload in broker.seen:
            by_robot[topic].append(payload)
        runs.append(by_robot)

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    times = [json.loads(p)["ts"] for p in runs[0]["robot/sim-0001/status"]]
    assert times == [START + 1000 * n for n in range(50)]


def test_burst_is_of_the_past_and_distinct(broker):
    done, counts = sim(broker, "--robots", 7, "--hz", 10, "--burst", 3001,
                       "--window", 50)
    assert done.returncode == 0
    assert counts["published"] == counts["acknowledged"] == 3001
    assert len({(h["serial"], h["ts"]) for h in broker.heartbeats()}) == 3001
    newest = max(h["ts"] for h in broker.heartbeats())
    assert -30000 < newest - time.time() * 1000 < 200


def test_heartbeats_without_network_come_late(broker):
    """The model takes networks away; all of it arrives, in order."""
    done, counts = sim(broker, "--robots", 100, "--hz", 2, "--seconds", 8,
                       "--seed", 3)
    assert done.returncode == 0
    assert counts["reconnects"] > 0 and counts["dropped"] == 0
    assert counts["acknowledged"] == counts["published"]

    times = collections.defaultdict(set)
    for heartbeat in broker.heartbeats():
        times[heartbeat["serial"]].add(heartbeat["ts"])
    assert len(times) == 100
    for ts in times.values():
        steps = {b - a for a, b in zip(sorted(ts), sorted(ts)[1:])}
        assert steps == {500}


def test_broker_dies_and_returns(broker):
    process = subprocess.Popen(command(broker, "--robots", 5, "--hz", 20),
                               stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(broker.seen) > 50, what="the first heartbeats")
        broker.server_stop()
        before = len(broker.seen)
        broker.server_start()
        wait_for(lambda: len(broker.seen) > before + 100, what="the rest")
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    counts = dict(word.split("=") for word in out.split())
    assert process.returncode == 0
    assert int(counts["reconnects"]) == 5
    assert counts["acknowledged"] == counts["published"]

    # Whatever was published is there, of all robots, without a gap.
    wait_for(lambda: len({(h["serial"], h["ts"])
                          for h in broker.heartbeats()})
             == int(counts["published"]), what="every heartbeat")


def test_no_broker_is_a_failure(broker):
    process = subprocess.Popen([SIM, "--port", str(broker.port + 1),
                                "--robots", "3"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert "no connection" in process.stderr.readline()
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "" and "published=0 acknowledged=0" in out


def test_script_in_order_and_in_time(broker):
    lines = [
        '{"topic":"robot/a/status","payload":{"ts":1,"ts":2,"x":1e999}}',
        '{"topic":"robot/a/events","payload":"not \\u0000 JSON","afterMs":300}',
        '',
        '{"afterMs":0,"payload":[],"topic":"robot/ \\u00fc/status"}',
    ]
    began = time.monotonic()
    done, counts = sim(broker, "--script", "-", stdin="\n".join(lines))
    assert time.monotonic() - began >= 0.3
    assert done.returncode == 0
    assert counts == {"published": 3, "acknowledged": 3, "reconnects": 0,
                      "dropped": 0}
    assert broker.seen == [
        ("robot/a/status", b'{"ts":1,"ts":2,"x":1e999}'),
        ("robot/a/events", b"not \0 JSON"),
        ("robot/ \u00fc/status", b"[]"),
    ]


def test_long_script(broker, tmp_path):
    script = tmp_path / "script.jsonl"
    script.write_text("".join(
        '{"topic":"robot/r/status","payload":{"n":%d}}\n' % n
        for n in range(5000)))
    done, counts = sim(broker, "--script", script)
    assert done.returncode == 0 and counts["acknowledged"] == 5000
    assert [h["n"] for h in broker.heartbeats()] == list(range(5000))


def test_bad_script_line_is_named(broker):
    done, counts = sim(broker, "--script", "-",
                       stdin='{"topic":"t","payload":1}\n{"topic":1}\n')
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert counts["acknowledged"] == 1


def test_every_option_is_documented():
    said = subprocess.run([SIM, "--help"], capture_output=True, text=True,
                          check=True, timeout=10).stdout
    options = set(re.findall(r"^  (--[a-z-]+)", said, re.M)) - {"--help"}
    with open(os.path.join(ROOT, "docs/simulator.md")) as file:
        table = re.findall(r"^\| (`--.*?) \|", file.read(), re.M)
    documented = set(re.findall(r"`(--[a-z-]+)", " ".join(table)))
    assert len(options) > 15
    assert documented == options


@pytest.mark.parametrize("words, named", [
    (["--robots", "0"], "--robots"), (["--robots", "1.5"], "--robots"),
    (["--hz", "nan"], "--hz"), (["--port", "x"], "--port"),
    (["--serial-prefix", "a b"], "--serial-prefix"),
    (["--mqtt-version", "4"], "--mqtt-version"),
    (["--script", "/nowhere"], "/nowhere"), (["extra"], "extra"),
    (["--merchants", "pin,dance"], "--merchants"),
    (["--merchants", "jam:2"], "0 to 1"), (["--merchants", "qr"], "--http"),
    (["--latch-ms", "-1"], "--latch-ms"), (["--delivery", "x"], "--delivery"),
    (["--merchants", "qr", "--http", "http://127.0.0.1:1", "--token-file",
      "/nowhere"], "/nowhere"),
])
def test_bad_options_are_named(words, named):
    done = subprocess.run([SIM, *words], capture_output=True, text=True,
                          timeout=10)
    assert done.returncode == 1
    assert named in done.stderr
