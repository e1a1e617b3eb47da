"""The lids of coco-sim over a real broker: commands and shadows are published
by mosquitto_pub, as anybody would."""

import contextlib
import http.server
import json
import threading
import time

import pytest

from sim_broker import Broker, Sim
from stack import PortBlock, wait_for


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    block = PortBlock()
    one = Broker(block.first, tmp_path_factory.mktemp("broker"))
    one.free_port = block.first + 1
    yield one
    one.close()
    block.release()


@pytest.fixture
def start(broker):
    """start(prefix, *words): a Sim that does not outlive the test."""
    with contextlib.ExitStack() as stack:
        def one(prefix, *words):
            sim = Sim(broker, prefix, *words)
            stack.callback(lambda: sim.process.poll() is None
                           and sim.process.kill())
            return sim
        yield one


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_command_opens_and_somebody_closes(start, version):
    sim = start("open%s-" % version[0], "--robots", 2, "--stand", "--hz", 5,
                "--mqtt-version", version)
    sim.await_up()
    sim.command("OPEN_LID", "c-1")
    sim.command("OPEN_LID", "c-1")
    sim.command("OPEN_LID", "c-old", left=-1)
    sim.await_events("COMMAND_ACK", "LID_OPENED")
    wait_for(lambda: sim.heartbeats()[-1]["lid"]["open"], what="an open lid")
    sim.await_events("LID_CLOSED")
    wait_for(lambda: not sim.heartbeats()[-1]["lid"]["open"],
             what="a closed lid")

    counts = sim.end()
    assert (counts["commands"], counts["ignored"]) == (1, 2)
    assert (counts["opened"], counts["closed"]) == (1, 1)
    assert sim.types() == ["COMMAND_ACK", "LID_OPENED", "LID_CLOSED"]
    ack, opened, closed = sim.events()
    assert ack["commandId"] == opened["commandId"] == "c-1"
    assert (opened["trigger"], closed["trigger"]) == ("COMMAND", "OTHER")
    assert 3000 <= closed["ts"] - opened["ts"] <= 8000
    assert abs(opened["ts"] - ack["ts"] - 400) < 20

    # the other robot was told nothing and does nothing
    assert sim.types(2) == []
    assert not any(h["lid"]["open"] for h in sim.heartbeats(2))

    # what is reported as the lid's is true at its time, or when it was late
    # when it was sent
    beats = sim.in_time(200)
    assert len(beats) > len(sim.heartbeats()) / 2
    for beat in beats:
        inside = opened["ts"] + 250 < beat["ts"] < closed["ts"] - 250
        outside = not opened["ts"] - 250 < beat["ts"] < closed["ts"] + 250
        assert beat["lid"]["open"] or not inside
        assert not beat["lid"]["open"] or not outside


def test_a_moving_robot_refuses(start):
    sim = start("move-", "--robots", 30, "--hz", 4)
    numbers = range(1, 31)
    wait_for(lambda: any(sim.heartbeats(n) and
                         sim.heartbeats(n)[-1]["location"]["speed"] > 1
                         for n in numbers), what="a robot that drives")
    for number in numbers:
        beats = sim.heartbeats(number)
        if beats and beats[-1]["location"]["speed"] > 1:
            sim.command("OPEN_LID", "m-%d" % number, number=number)
    wait_for(lambda: any(event["reason"] == "moving" for n in numbers
                         for event in sim.events("LID_OPEN_FAILED",
                                                 number=n)),
             what="a refusal")
    counts = sim.end()
    assert counts["failed"] >= 1


def test_nobody_closes_but_a_command(start):
    sim = start("none-", "--robots", 1, "--stand", "--merchants", "none",
                "--latch-ms", 0)
    sim.await_up()
    sim.pin("1234")
    sim.command("OPEN_LID", "a")
    sim.await_events("LID_OPENED")
    sim.command("CLOSE_LID", "b")
    sim.await_events("LID_CLOSED")
    sim.end()
    assert sim.types() == ["COMMAND_ACK", "LID_OPENED", "COMMAND_ACK",
                           "LID_CLOSED"]
    assert sim.events("LID_CLOSED")[0]["commandId"] == "b"


def test_a_pin_opens_the_lid(start):
    """Magic Lid, a keypad that asks, a latch that jams, a close that is faster
    than its report, and one that is forgotten: side by side."""
    magic = start("magic-", "--robots", 2, "--stand")
    asks = start("asks-", "--robots", 1, "--stand", "--pin-ask")
    touch = start("touch-", "--robots", 1, "--stand", "--merchants", "touch")
    jam = start("jam-", "--robots", 1, "--stand", "--merchants", "pin,jam")
    fast = start("fast-", "--robots", 1, "--stand", "--merchants", "pin,fast")
    forget = start("forget-", "--robots", 1, "--stand", "--merchants",
                   "pin,forget")
    for sim in (magic, asks, touch, jam, fast, forget):
        sim.await_up()
        sim.pin("4271")

    asks.await_events("PIN_ENTRY_LID_OPEN")
    asked, = asks.events()
    assert (asked["lid_opened"], asked["pin"]) == (False, "4271")
    asks.command("OPEN_LID", "by-pin")
    asks.await_events("LID_OPENED", "PIN_ENTRY_LID_CLOSE")
    assert asks.events("LID_OPENED")[0]["commandId"] == "by-pin"

    touch.await_events("PIN_ENTRY_LID_OPEN")
    touched = touch.events()[0]
    assert not touched["lid_opened"] and "pin" not in touched

    magic.await_events("PIN_ENTRY_LID_OPEN", "PIN_ENTRY_LID_CLOSE")
    opened, closed = magic.events()
    assert opened["lid_opened"] is True and "pin" not in opened
    assert closed["trigger"] == "PIN_ENTRY_CONFIRM"
    assert 3000 <= closed["ts"] - opened["ts"] <= 8000
    assert magic.types(2) == []

    jam.await_events("LID_OPEN_FAILED")
    assert jam.events()[0]["reason"] == "latch jammed"
    assert "commandId" not in jam.events()[0]

    fast.await_events("PIN_ENTRY_LID_OPEN", "PIN_ENTRY_LID_CLOSE")
    assert fast.types() == ["PIN_ENTRY_LID_CLOSE", "PIN_ENTRY_LID_OPEN"]
    closed, opened = fast.events()
    assert 50 <= closed["ts"] - opened["ts"] <= 300

    # everybody else has closed by now
    forget.await_events("PIN_ENTRY_LID_OPEN")
    assert forget.types() == ["PIN_ENTRY_LID_OPEN"]
    wait_for(lambda: forget.heartbeats()[-1]["lid"]["open"],
             what="an open lid")

    for sim in (magic, asks, touch, jam, fast, forget):
        sim.end()


def test_late_and_twice(start):
    """Events, and heartbeats, of a time without a network come after it; the
    repeats are byte for byte the same."""
    sim = start("late-", "--robots", 1, "--stand", "--hz", 5, "--merchants",
                "pin,late,twice", "--seed", 74)
    sim.await_up()
    sim.pin("4271")
    sim.await_events("PIN_ENTRY_LID_OPEN", "PIN_ENTRY_LID_CLOSE")
    arrived = time.time() * 1000
    opened = sim.events("PIN_ENTRY_LID_OPEN")[0]
    assert arrived - opened["ts"] > 4000
    wait_for(lambda: len(sim.events()) >= 4, what="the repeats")
    counts = sim.end()
    assert counts["reconnects"] == 1 and counts["dropped"] == 0
    texts = [json.dumps(event, sort_keys=True) for event in sim.events()]
    assert len(set(texts)) == 2 and all(texts.count(t) >= 2 for t in texts)

    times = sorted({h["ts"] for h in sim.heartbeats()})
    assert {b - a for a, b in zip(times, times[1:])} == {200}


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_session_waits_for_its_robot(start, version):
    """What was sent to a robot that is away reaches it, in order, on its
    return; an old command is too old by then."""
    prefix, words = "away%s-" % version[0], (
        "--robots", 1, "--stand", "--mqtt-version", version)
    first = start(prefix, *words)
    first.await_up()
    first.end()
    first.command("OPEN_LID", "too-old", left=-1)
    first.command("OPEN_LID", "in-time", left=30000)
    first.pin("1111")
    first.pin(None)

    second = start(prefix, *words)
    second.await_events("LID_OPENED", "LID_CLOSED")
    counts = second.end()
    assert (counts["commands"], counts["ignored"]) == (1, 1)
    assert second.events("LID_OPENED")[0]["commandId"] == "in-time"


class Backend(http.server.BaseHTTPRequestHandler):
    """One delivery that waits; its lid opens as the server's `open` says."""

    def answer(self, status, body):
        self.server.asked.append((self.command, self.path))
        assert self.headers["Authorization"] == "Bearer a.b.c"
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"items": [
            {"id": "d-0", "status": "Completed"},
            {"id": "d-1", "status": "AtPickup"}], "nextCursor": None})

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.bodies.append(json.loads(self.rfile.read(size)))
        self.answer(*self.server.open())

    def log_message(self, *_):
        pass


@pytest.fixture
def backend(broker, tmp_path):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", broker.free_port), Backend)
    server.asked, server.bodies = [], []
    server.words = ("--http", "http://127.0.0.1:%d" % broker.free_port,
                    "--token-file", tmp_path / "token")
    (tmp_path / "token").write_text("a.b.c\n")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_code_is_scanned(start, backend):
    """The lid opens while the request waits, and is closed after it."""
    sim = start("scan-", "--robots", 1, "--stand", "--merchants", "qr",
                *backend.words)

    def opens():
        sim.command("OPEN_LID", "by-qr")
        sim.await_events("LID_OPENED")
        return 200, {"opened": True}

    backend.open = opens
    sim.await_events("LID_CLOSED")
    counts = sim.end()
    assert backend.asked == [
        ("GET", "/deliveries?serial=scan-0001&limit=50"),
        ("POST", "/open-lid-for-load")]
    assert backend.bodies == [{"deliveryId": "d-1"}]
    assert (counts["scans"], counts["scans_opened"]) == (1, 1)


def test_a_code_that_opens_nothing(start, backend):
    """The delivery is named; the backend says no: who scanned leaves."""
    named = "0f0e0d0c-0000-4000-8000-000000000001"
    sim = start("deny-", "--robots", 1, "--stand", "--merchants", "qr",
                "--delivery", named, *backend.words)
    backend.open = lambda: (409, {"title": "Conflict", "status": 409})
    wait_for(lambda: backend.bodies, what="the request")
    counts = sim.end()
    assert backend.asked == [("POST", "/open-lid-for-load")]
    assert backend.bodies == [{"deliveryId": named}]
    assert (counts["scans"], counts["scans_opened"]) == (1, 0)
    assert sim.events() == []


def test_no_backend_is_said_once(start, broker, tmp_path):
    (tmp_path / "token").write_text("a.b.c\n")
    sim = start("lost-", "--robots", 5, "--stand", "--merchants", "qr",
                "--http", "http://127.0.0.1:%d" % broker.free_port,
                "--token-file", tmp_path / "token", "--seconds", 6)
    out, err = sim.process.communicate(timeout=60)
    assert sim.process.returncode == 0, out
    assert "scans=5 scans_opened=0" in out
    assert err.count("\n") == 1 and "http://127.0.0.1" in err
    assert "a.b.c" not in out + err
