"""Bad input over MQTT: each is set aside whole, with a reason that names the
field, and what came with it is committed.
"""

import base64
import json

import pytest

from harness import await_for, heartbeat, new_serial, now_ms

DAY = 86400_000
GOOD = {"battery": {"percent": 50},
        "location": {"latitude": 1, "longitude": 2}}


@pytest.fixture
def serial():
    return new_serial("bad")


def beat(**members):
    """The bytes of a heartbeat with members replaced; None leaves one out."""
    merged = {"ts": now_ms(), **GOOD, **members}
    return json.dumps({name: value for name, value in merged.items()
                       if value is not None}).encode()


def text(tail, head=b""):
    """A good heartbeat with raw JSON put before its end."""
    return b'{%b"ts":%d,"battery":{"percent":50},"location":{"latitude":1,' \
           b'"longitude":2}%b}' % (head, now_ms(), tail)


def dead_letter(system, topic):
    """The one dead letter of this topic, as HTTP shows it."""
    found = await_for("dead letter of " + topic[:60], lambda: system.sql(
        "select id::text from coco.dead_letter where topic = %s", topic))
    assert len(found) == 1
    return next(item for item in system.items("/dead-letters", limit=50)
                if item["id"] == found[0][0])


def payload_of(item):
    if item.get("payloadEncoding") == "base64":
        return base64.b64decode(item["payload"])
    return item["payload"].encode()


# name: (payload, what the reason names; "" for the text as a whole)
REFUSED = {
    "not json": (b"hello", ""),
    "empty": (b"", ""),
    "blank": (b" \n", ""),
    "truncated": (beat()[:-7], ""),
    "two values": (beat() + b"{}", ""),
    "an array": (b"[" + beat() + b"]", ""),
    "a number": (b"17", ""),
    "null": (b"null", ""),
    "bare word": (text(b',"x":NaN'), ""),
    "single quotes": (b"{'ts':1}", ""),
    "byte order mark": (b"\xef\xbb\xbf" + beat(), ""),
    "binary": (bytes(range(256)), ""),
    "utf-16": (beat().decode().encode("utf-16"), ""),
    "no ts": (beat(ts=None), "ts"),
    "ts in seconds": (beat(ts=now_ms() // 1000), "ts"),
    "ts in microseconds": (beat(ts=now_ms() * 1000), "ts"),
    "ts two days ahead": (beat(ts=now_ms() + 2 * DAY), "ts"),
    "ts before 2015": (beat(ts=1420070399999), "ts"),
    "ts negative": (beat(ts=-1), "ts"),
    "ts beyond 64 bits": (text(b"", b'"x":1,').replace(
        b'"ts":', b'"ts":99999999999999'), "ts"),
    "ts a boolean": (beat(ts=True), "ts"),
    "ts an object": (beat(ts={}), "ts"),
    "ts no date": (beat(ts="yesterday"), "ts"),
    "ts no such day": (beat(ts="2026-02-30T00:00:00Z"), "ts"),
    "no battery": (beat(battery=None), "battery"),
    "battery a number": (beat(battery=50), "battery"),
    "no percent": (beat(battery={}), "battery.percent"),
    "percent a string": (beat(battery={"percent": "50"}), "battery.percent"),
    "percent 101": (beat(battery={"percent": 101}), "battery.percent"),
    "percent negative": (beat(battery={"percent": -1}), "battery.percent"),
    "percent 1e400": (beat().replace(b'"percent": 50', b'"percent":1e400'),
                      "battery.percent"),
    "percent 1e308": (beat(battery={"percent": 1e308}), "battery.percent"),
    "charging a string": (beat(battery={"percent": 1, "charging": "yes"}),
                          "battery.charging"),
    "no location": (beat(location=None), "location"),
    "location a list": (beat(location=[1, 2]), "location"),
    "no longitude": (beat(location={"latitude": 1}), "location.longitude"),
    "latitude 91": (beat(location={"latitude": 91, "longitude": 2}),
                    "location.latitude"),
    "longitude -181": (beat(location={"latitude": 1, "longitude": -181}),
                       "location.longitude"),
    "state unknown": (beat(state="FLYING"), "state"),
    "state lower case": (beat(state="parked"), "state"),
    "state a number": (beat(state=1), "state"),
    "healthy a string": (beat(healthy="true"), "healthy"),
    "components a list": (beat(components=["motor"]), "components"),
    "component unknown": (beat(components={"motor": "FINE"}),
                          "components.motor"),
    "lid a boolean": (beat(lid=True), "lid"),
    "lid open a string": (beat(lid={"open": "no"}), "lid.open"),
    "serial another": (beat(serial="another"), "serial"),
    "serial with spaces": (beat(serial="a b"), "serial"),
    "serial of 10 kB": (beat(serial="x" * 10240), "serial"),
    "serial a number": (beat(serial=7), "serial"),
    "serial empty": (beat(serial=""), "serial"),
    "duplicate ts": (text(b',"ts":1767323045678'), "ts"),
    "duplicate, escaped": (text(b',"\\u0074s":1767323045678'), "u0074s"),
    "duplicate, unknown member": (text(b',"vendor":{"a":1,"a":1}'),
                                  "vendor.a"),
    "33 deep": (text(b',"vendor":' + b"[" * 33 + b"]" * 33), "vendor"),
    "100,000 deep": (text(b',"vendor":' + b"[" * 100000), "vendor"),
    "invalid utf-8": (text(b',"vendor":"\xff"'), "vendor"),
    "overlong utf-8": (text(b',"vendor":"\xc0\xaf"'), "vendor"),
    "utf-8 surrogate": (text(b',"vendor":"\xed\xa0\x80"'), "vendor"),
    "escaped nul": (text(b',"vendor":"\\u0000"'), "vendor"),
    "nul byte": (text(b',"vendor":"\x00"'), "vendor"),
    "control character": (text(b',"vendor":"\n"'), "vendor"),
    "lone surrogate": (text(b',"vendor":"\\ud800"'), "vendor"),
    "lone low surrogate": (text(b',"vendor":"\\udc00x"'), "vendor"),
    "nul in a name": (text(b',"vendor\\u0000":1'), ""),
    "bad escape": (text(b',"vendor":"\\x41"'), "vendor"),
    "number 1e400": (text(b',"vendor":1e400'), "vendor"),
    "number -1e400": (text(b',"vendor":[0,-1e400]'), "vendor"),
    "number 01": (text(b',"vendor":01'), ""),
    "number 1.": (text(b',"vendor":1.'), ""),
    "number +1": (text(b',"vendor":+1'), ""),
    "1 MiB": (b"a" * (1 << 20), ""),
    "1 MB string": (text(b',"vendor":"%b\xff"' % (b"a" * 1000000)), "vendor"),
    "over 1 MiB": (text(b',"vendor":"%b"' % (b"a" * (1 << 20))), "payload"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(system, serial, name):
    payload, field = REFUSED[name]
    ts = now_ms()
    system.publish((serial, heartbeat(ts, "PARKED")), (serial, payload),
                   (serial, heartbeat(ts + 1, "PARKED")))
    system.await_history(serial, ts)
    system.await_history(serial, ts + 1)
    item = dead_letter(system, "robot/%s/status" % serial)
    assert len(system.history(serial)) == 2
    assert payload_of(item) == payload[:1 << 20]
    assert item["source"] == "mqtt"
    assert item["service"]
    assert abs(item["receivedAt"] - ts) < 60000
    assert item["replayedAt"] is None
    assert item["reason"]
    if field:
        assert field in item["reason"], item["reason"]


@pytest.mark.parametrize("serial", [
    "a b", "..", "stream", "x" * 65, "x" * 10240, "sérial", "a;drop", "%00",
    "$share"])
def test_topic_of_a_bad_serial(system, serial):
    topic = "robot/%s/status" % serial
    system.sql("delete from coco.dead_letter where topic = %s", topic)
    good, ts = new_serial("bad"), now_ms()
    system.publish((serial, beat()), (good, heartbeat(ts)))
    system.await_history(good, ts)
    assert "serial" in dead_letter(system, topic)["reason"]
    assert system.history(serial) == []


@pytest.mark.parametrize("payload, field", [
    (b"", ""),
    (b'{"type":"LID_OPENED"}', "ts"),
    (b'{"ts":1767323045678}', "type"),
    (b'{"type":5,"ts":1767323045678}', "type"),
    (b'{"type":"","ts":1767323045678}', "type"),
    (b'{"type":"LID_OPENED","ts":1767323045}', "ts"),
    (b'{"type":"LID_OPENED","ts":1767323045678,"trigger":"BY HAND"}',
     "trigger"),
    (b'{"type":"LID_OPENED","ts":1767323045678,"lid_opened":"yes"}',
     "lid_opened"),
    (b'{"type":"LID_OPENED","ts":1767323045678,"id":7}', "id"),
    (b'{"type":"LID_OPENED","ts":1767323045678,"type":"LID_CLOSED"}', "type"),
])
def test_robot_event_refused(system, serial, payload, field):
    good = {"type": "LID_CLOSED", "ts": now_ms()}
    system.publish((serial, payload), (serial, good), kind="events")
    item = dead_letter(system, "robot/%s/events" % serial)
    assert field in item["reason"]
    await_for("the good event", lambda: system.sql(
        "select type from coco.lid_cycle_event_history where serial = %s",
        serial) == [("LID_CLOSED",)])


def test_accepted_though_odd(system, serial):
    """Strict, not fussy: these are heartbeats."""
    ts = now_ms() - 100
    odd = [text(b',"state":null,"healthy":null,"lid":null'),
           text(b',"vendor":' + b"[" * 31 + b"]" * 31),
           text(b',"vendor":"\\ud83e\\udd16 \\u0001"'),
           text(b',"vendor":[-0,5E-324,1e308,123456789012345678901234567890]'),
           b" \t\r\n" + text(b""),
           text(b',"many":{%b}' % b",".join(
               b'"m%d":%d' % (i, i) for i in range(4000)))]
    for i, payload in enumerate(odd):
        payload = payload.replace(payload[payload.index(b'"ts":'):][:18],
                                  b'"ts":%d' % (ts + i))
        system.publish((serial, payload))
        system.await_history(serial, ts + i)


def test_large_heartbeat_is_accounted_for(system, serial):
    """1 MiB, and wholly valid: committed or set aside, never lost."""
    system.publish((serial, text(b',"vendor":"%b"' % (b"a" * (1 << 20)))))
    topic = "robot/%s/status" % serial
    await_for("committed or set aside", lambda: len(system.history(serial))
              + system.value("select count(*) from coco.dead_letter"
                             " where topic = %s", topic) == 1)


def test_list_shows_the_first_mib(system, serial):
    """A payload may have any size; a list of them may not."""
    payload = b"\x01" * (3 << 20)
    system.publish((serial, payload))
    topic = "robot/%s/status" % serial
    await_for("set aside", lambda: system.value(
        "select octet_length(payload) from coco.dead_letter where topic = %s",
        topic) == len(payload))
    item = dead_letter(system, topic)
    assert item["payloadBytes"] == len(payload)
    assert payload_of(item) == payload[:1 << 20]


def test_storm_of_poison(system, serial):
    """Nine in ten are bad; the tenth is committed, each bad one kept."""
    ts = now_ms() - 500
    before = system.metric("coco_dead_letters_total")
    system.publish(*((serial, b'{"n":%d' % i if i % 10
                      else heartbeat(ts + i, "PARKED"))
                     for i in range(500)))
    await_for("the good ones",
              lambda: len(system.history(serial)) == 50)
    await_for("the bad ones", lambda: system.value(
        "select count(*) from coco.dead_letter where topic = %s",
        "robot/%s/status" % serial) == 450)
    await_for("they are counted", lambda: system.metric(
        "coco_dead_letters_total") - before >= 450)


def test_same_poison_again_is_one_letter(system, serial):
    for _ in range(3):
        system.publish((serial, b"{poison"))
    ts = now_ms()
    system.beat(serial, ts)
    dead_letter(system, "robot/%s/status" % serial)


# --- replay -----------------------------------------------------------------

def replay(system, letter, status=202):
    return system.call("POST", "/dead-letters/%s/replay" % letter, status)


def await_outcome(system, letter, outcome):
    await_for("outcome of " + letter, lambda: system.value(
        "select replay_outcome from coco.dead_letter where id = %s::uuid",
        letter) == outcome)


def test_replay_of_what_is_still_bad(system, serial):
    system.publish((serial, beat(state="FLYING")))
    letter = dead_letter(system, "robot/%s/status" % serial)
    replay(system, letter["id"])
    await_outcome(system, letter["id"], "REFUSED")
    again = dead_letter(system, "robot/%s/status" % serial)
    assert again["replayedAt"] >= letter["receivedAt"]
    assert "state" in again["reason"]
    assert system.history(serial) == []


@pytest.fixture
def refusing(system, serial):
    """A history that refuses this robot, as a fault of the database would;
    called, it is mended."""
    system.sql("set lock_timeout = '30s'")
    system.sql("alter table coco.state_history add constraint e2e_refusing"
               " check (serial <> %s) not valid", serial)

    def mend():
        system.sql("alter table coco.state_history"
                   " drop constraint if exists e2e_refusing")

    yield mend
    mend()


def test_replay_of_what_was_made_good(system, serial, refusing):
    other, ts = new_serial("bad"), now_ms()
    system.publish((other, heartbeat(ts)), (serial, heartbeat(ts, "PARKED")),
                   (other, heartbeat(ts + 1)))
    system.await_history(other, ts)
    system.await_history(other, ts + 1)
    letter = dead_letter(system, "robot/%s/status" % serial)
    assert letter["service"] == "state"
    assert system.history(serial) == []
    refusing()
    replay(system, letter["id"])
    await_outcome(system, letter["id"], "APPLIED")
    assert system.history(serial) == [(ts, "PARKED")]
    assert system.get("/state/" + serial)["state"] == "PARKED"
    replay(system, letter["id"])        # again: it is counted once
    await_outcome(system, letter["id"], "APPLIED")
    assert system.history(serial) == [(ts, "PARKED")]


@pytest.mark.parametrize("letter, status", [
    ("00000000-0000-0000-0000-000000000000", 404),
    ("nonsense", (400, 404)), ("1;drop", (400, 404))])
def test_replay_of_no_letter(system, letter, status):
    reply = system.http.post(system.url + "/dead-letters/%s/replay" % letter)
    assert reply.status_code in (status if isinstance(status, tuple)
                                 else (status,))
