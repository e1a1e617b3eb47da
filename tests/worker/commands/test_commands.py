"""Commands: at once, until they are acknowledged, answered or over, and in
every case no later than that."""

import socket
import subprocess
import time

import paho.mqtt.client as mqtt
import psycopg2
import pytest
from commandsdriver import Broker, Robots
from native import until


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_leaves_at_once_when_it_is_notified(servers, drive, robots, version):
    driver = drive(mqtt_version=version, commands_retry="60s").connected()
    identity, = servers.put(source="QR", reference="order \"7\"")
    at, = until(lambda: robots.times(identity))

    (_, topic, payload, message), = robots.heard
    issued, expires, sent, left, attempts = servers.get(
        identity, "(extract(epoch from issued_at) * 1000)::bigint,"
        " (extract(epoch from expires_at) * 1000)::bigint,"
        " extract(epoch from sent_at)::float8,"
        " extract(epoch from next_send_at - sent_at)::int, attempts")
    assert topic == "robot/r-1/commands"
    assert message.qos == 1 and not message.retain
    assert payload == {"id": identity, "command": "OPEN_LID", "source": "QR",
                       "referenceId": "order \"7\"",
                       # the core cuts what is below a millisecond
                       "issuedAt": pytest.approx(issued, abs=1),
                       "expiresAt": pytest.approx(expires, abs=1)}
    assert isinstance(payload["issuedAt"], int)
    assert issued / 1000 - 0.001 <= sent <= at
    assert (left, attempts) == (60, 1)
    assert at - issued / 1000 < 10             # by the poll: 60 s
    assert driver.sent(1) == 1
    assert driver.metric("coco_commands_connected") == 1
    assert driver.stop() < 1500


def test_absent_members_are_left_out(servers, drive, robots):
    drive().connected()
    identity, = servers.put(source=None)
    until(lambda: robots.times(identity))
    assert set(robots.heard[0][2]) == {"id", "command", "issuedAt",
                                       "expiresAt"}


def test_a_lost_notification_costs_a_poll(servers, drive, robots):
    drive(commands_poll="200ms").connected()
    identity, = servers.put(notify=False)
    until(lambda: robots.times(identity), 30)


def test_leaves_at_its_time(servers, drive, robots):
    drive(commands_retry="60s").connected()
    begun = time.time()
    identity, = servers.put(due="600ms")
    at, = until(lambda: robots.times(identity))
    assert 0.6 <= at - begun < 10              # by the poll: 60 s


@pytest.mark.parametrize("column, value", [
    ("acked_at", "now"), ("outcome", "OPENED")])
def test_leaves_again_until(servers, drive, robots, column, value):
    drive(commands_retry="150ms").connected()
    identity, = servers.put()
    until(lambda: len(robots.times(identity)) >= 4)
    servers.set(identity, column, value)
    issued, = servers.get(identity, "extract(epoch from issued_at)::float8")
    for number, at in enumerate(robots.times(identity)):
        assert at - issued >= number * 0.15    # the way is what it takes more

    # one may have been on its way; the retries of another one pass the time
    attempts, = servers.get(identity, "attempts")
    other, = servers.put()
    until(lambda: len(robots.times(other)) >= 4)
    assert servers.get(identity, "attempts") == (attempts,)
    assert len(robots.times(identity)) == attempts


def test_nothing_leaves_after_its_expiry(servers, drive, robots):
    drive(commands_retry="20ms").connected()
    identities = servers.put(20, expires="60s")
    until(lambda: all(len(robots.times(i)) >= 3 for i in identities))
    servers.query("update coco.robot_command"
                  " set expires_at = now() + interval '100 ms'")
    until(lambda: servers.query("select now() > max(expires_at)"
                                " from coco.robot_command")[0][0])
    other, = servers.put()
    until(lambda: len(robots.times(other)) >= 3)
    for identity in identities:
        attempts, = servers.get(identity, "attempts")
        # the last claims may come too late to leave
        assert 3 <= len(robots.times(identity)) <= attempts

    # over one connection, which keeps the order
    heard = [payload["id"] for _, _, payload, _ in list(robots.heard)]
    assert set(heard[heard.index(other):]) == {other}


def test_a_broker_that_comes_back_finds_everything_due(servers, drive,
                                                       robots):
    driver = drive(commands_retry="60s").connected()
    servers.kill("mqtt")
    until(lambda: driver.status() == (True, False))
    until(lambda: driver.metric("coco_commands_connected") == 0)
    dead, = servers.put(expires="100ms")
    first, = servers.put(expires="5min")
    second, = servers.put(expires="5min", due="-1h")
    until(lambda: driver.logged("mqtt_down") >= 3)
    assert servers.get(first, "attempts, sent_at") == (0, None)
    until(lambda: servers.get(dead, "expires_at < now()") == (True,))

    robots.ready.clear()
    servers.restart("mqtt")
    assert robots.ready.wait(30)
    until(lambda: driver.status() == (True, True))
    until(lambda: servers.get(first, "attempts") == (1,), 30)
    assert servers.get(second, "attempts") == (1,)
    assert servers.get(dead, "attempts") == (0,)

    # the robots may have come back too late for those; never for this one
    third, = servers.put()
    until(lambda: robots.times(third))
    assert not robots.times(dead)
    assert driver.logged("retry_ms=") == driver.logged("mqtt_down")


def test_a_broker_that_is_killed_with_commands_under_way(servers, drive,
                                                         robots):
    drive(commands_retry="300ms").connected()
    identities = servers.put(300, expires="5min")
    until(lambda: robots.heard)
    servers.kill("mqtt")
    robots.ready.clear()
    servers.restart("mqtt")
    assert robots.ready.wait(30)
    robots.heard.clear()
    for identity in identities:
        until(lambda: robots.times(identity))


def test_postgres_comes_back(servers, drive, robots):
    driver = drive(commands_retry="60s").connected()
    first, = servers.put()
    until(lambda: robots.times(first))
    servers.kill("postgres")
    until(lambda: driver.logged("postgres_unavailable"))
    assert driver.status() == (True, True)
    servers.restart("postgres")
    second, = servers.put(expires="5min")
    until(lambda: robots.times(second), 30)


def test_postgres_comes_after(servers, drive, robots):
    servers.kill("postgres")
    driver = drive().connected()
    until(lambda: driver.logged("postgres_unavailable"))
    servers.restart("postgres")
    identity, = servers.put(expires="5min")
    until(lambda: robots.times(identity))


def test_two_share(servers, drive, robots):
    drivers = [drive(commands_retry="60s").connected() for _ in range(2)]
    identities = []

    def put():
        identities.extend(servers.put(5, expires="5min"))
        return [d.metric("coco_commands_sent_total") for d in drivers]

    for _ in range(99):
        put()
    until(lambda: min(put()) > 0)              # who is slower gets some, too
    count = len(identities)
    until(lambda: len(robots.heard) >= count)
    assert servers.query("select min(attempts), max(attempts)"
                         " from coco.robot_command") == [(1, 1)]
    until(lambda: sum(d.sent(0) for d in drivers) >= count)
    assert sum(d.sent(0) for d in drivers) == count
    assert all(len(robots.times(i)) == 1 for i in identities)


def test_one_takes_over(servers, drive, robots):
    first, second = (drive(commands_retry="200ms").connected()
                     for _ in range(2))
    identity, = servers.put(expires="5min")
    until(lambda: robots.times(identity))
    first.kill()
    sent, begin = second.sent(0), len(robots.times(identity))
    assert second.sent(sent + 3) >= sent + 3
    until(lambda: len(robots.times(identity)) >= begin + 3)


def test_a_thousand_at_once(servers, drive, robots):
    driver = drive(commands_retry="60s").connected()
    identities = servers.put(1000, expires="5min")
    until(lambda: len(robots.heard) >= 1000, 60)
    assert sorted(p["id"] for _, _, p, _ in robots.heard) == sorted(identities)
    assert {t for _, t, _, _ in robots.heard} == {
        "robot/r-%d/commands" % n for n in range(1, 1001)}
    assert driver.sent(1000) == 1000


def test_killed_between_claim_and_publish(servers, drive, robots):
    """The claim's statement is held up, and ends without its worker."""
    servers.query(
        "create function coco.test_hold() returns trigger language plpgsql"
        " as $$ begin perform pg_advisory_xact_lock(1); return new; end $$;"
        "create trigger test_hold before update on coco.robot_command"
        " for each row execute function coco.test_hold()")
    holder = psycopg2.connect(servers.stack.postgres)
    try:
        holder.cursor().execute("select pg_advisory_xact_lock(1)")
        driver = drive(commands_retry="1500ms").connected()
        identity, = servers.put(expires="5min")
        until(lambda: servers.query("select 1 from pg_stat_activity"
                                    " where wait_event = 'advisory'"))
        driver.kill()
        holder.rollback()
        until(lambda: servers.get(identity, "attempts") == (1,))
    finally:
        holder.close()
        servers.query("drop function coco.test_hold cascade")
    assert not robots.times(identity)

    claimed, = servers.get(identity, "extract(epoch from sent_at)::float8")
    drive(commands_retry="60s").connected()
    at, = until(lambda: robots.times(identity))
    assert at - claimed >= 1.5
    assert servers.get(identity, "attempts") == (2,)


def test_a_row_that_another_holds_is_passed_over(servers, drive, robots):
    held, = servers.put(notify=False, expires="5min")
    other = psycopg2.connect(servers.stack.postgres)
    try:
        other.cursor().execute("select 1 from coco.robot_command where id = %s"
                               " for update", (held,))
        drive(commands_retry="60s").connected()
        free, = servers.put(expires="5min")
        until(lambda: robots.times(free))
        assert not robots.times(held)
    finally:
        other.close()
    until(lambda: robots.times(held), 30)      # by the poll: 60 s


def test_a_broker_that_acknowledges_nothing_is_left(servers, drive, robots,
                                                    between):
    driver = drive(port=between.server.getsockname()[1],
                   commands_retry="50ms", mqtt_connect_timeout="1s")
    driver.connected()
    between.mute = True
    identity, = servers.put(expires="60s")
    until(lambda: driver.logged("reason=\"no answer in time\""))
    between.mute = False
    driver.connected()
    begin = len(robots.times(identity))
    until(lambda: len(robots.times(identity)) >= begin + 3)


def test_the_broker_forgets_what_has_expired(servers, drive):
    """Not delivered to a robot that was away for longer."""
    def robot():
        return Robots(servers.stack.mqtt_port, "robot/#", name="sleeper",
                      clean=False)

    robot().close()
    drive(commands_retry="60s").connected()
    dead, = servers.put(expires="2s")
    alive, = servers.put(expires="5min")
    # MQTT has whole seconds: those left are rounded up, and a broker begins
    # to count them anywhere in one
    until(lambda: servers.get(dead, "attempts, now() > expires_at"
                                    " + interval '2 s'") == (1, True))
    back = robot()
    try:
        until(lambda: back.times(alive))
        assert not back.times(dead)
    finally:
        back.client.unsubscribe("robot/#")
        back.close()
        gone = mqtt.Client("sleeper", clean_session=True)
        gone.connect("127.0.0.1", servers.stack.mqtt_port)
        gone.disconnect()


@pytest.mark.parametrize("lines, options, reason", [
    (["allow_anonymous false"], {}, "Not authorized"),
    (["allow_anonymous false"], {"mqtt_version": "3.1.1"}, "not authorised"),
])
def test_refusals_are_told(servers, drive, tmp_path, lines, options, reason):
    broker = Broker(tmp_path, servers.stack.free_port, *lines)
    try:
        driver = drive(port=servers.stack.free_port, **options)
        until(lambda: driver.logged(reason) > 1)
        assert driver.status() == (True, False)
    finally:
        broker.close()


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True,
                   capture_output=True)


def authority(folder):
    """ca.pem, and server and client certificates that it has signed."""
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
            "/CN=test", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj",
                "/CN=localhost", "-keyout", name + ".key", "-out",
                name + ".csr")
        openssl(folder, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem",
                "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out",
                name + ".pem")


def test_tls(servers, drive, tmp_path):
    authority(tmp_path)
    port = servers.stack.free_port
    tls = {"port": port, "mqtt_host": "localhost", "mqtt_tls": "on",
           "mqtt_tls_ca_file": tmp_path / "ca.pem",
           "mqtt_tls_cert_file": tmp_path / "client.pem",
           "mqtt_tls_key_file": tmp_path / "client.key",
           "mqtt_tls_alpn": "x-amzn-mqtt-ca", "commands_retry": "60s"}
    broker = Broker(tmp_path, port, "cafile %s/ca.pem" % tmp_path,
                    "certfile %s/server.pem" % tmp_path,
                    "keyfile %s/server.key" % tmp_path,
                    "require_certificate true", "use_identity_as_username "
                    "true")
    try:
        driver = drive(**tls).connected()
        servers.put(300, expires="5min")
        assert driver.sent(300) == 300

        for changes in ({"mqtt_tls_ca_file": ""},      # not the system's
                        {"mqtt_host": "127.0.0.1"},    # not its name
                        {"mqtt_tls_cert_file": "", "mqtt_tls_key_file": ""}):
            other = drive(**{**tls, **changes})
            until(lambda: other.logged("mqtt_down") > 1)
            assert other.status() == (True, False)
            assert other.stop() < 1500
    finally:
        broker.close()

    # nobody there: it waits, and does not spin
    until(lambda: driver.status() == (True, False))
    begun, at = cpu(driver), time.monotonic()
    down = driver.logged("mqtt_down")
    until(lambda: driver.logged("mqtt_down") >= down + 10)
    # a slow machine is longer at the same
    assert cpu(driver) - begun < max(0.5, (time.monotonic() - at) / 4)


def cpu(driver):
    """Seconds that the process has used."""
    with open("/proc/%d/stat" % driver.process.pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_an_idle_sender_sleeps(servers, drive):
    driver = drive().connected()
    identity, = servers.put(expires="100ms")
    until(lambda: servers.get(identity, "now() > expires_at") == (True,))
    begun, at = cpu(driver), time.monotonic()
    while time.monotonic() < at + 1:
        assert driver.status() == (True, True)
        time.sleep(0.1)
    assert cpu(driver) - begun < 0.1


def test_a_stop_waits_for_nobody(servers, drive):
    """A broker that says nothing, and no Postgres."""
    with socket.create_server(("127.0.0.1", servers.stack.free_port)):
        servers.kill("postgres")
        driver = drive(port=servers.stack.free_port)
        until(lambda: driver.logged("postgres_unavailable"))
        assert driver.status() == (True, False)
        assert driver.stop() < 1500
