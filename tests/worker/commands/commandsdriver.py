"""The driver of what sends commands, the robots that hear it, and a broker in
between that says less than it knows."""

import json
import os
import socket
import subprocess
import threading
import time

import native
import paho.mqtt.client as mqtt
import psycopg2
from native import BUILD, until

DRIVER = os.path.join(BUILD, "tests", "commands_driver")
PKGS = ["libpq", "libcrypto", "inih", "libmosquitto"]


def build():
    native.build(os.path.join(os.path.dirname(__file__), "driver.c"),
                 "commands_driver", PKGS)


class Servers:
    """A stack's Postgres and Mosquitto."""

    def __init__(self, stack):
        self.stack = stack
        self.down = set()

    def query(self, sql, *args):
        connection = psycopg2.connect(self.stack.postgres)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, args)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def kill(self, name):
        self.down.add(name)
        self.stack.kill(name)

    def restart(self, name):
        self.stack.restart(name)
        self.down.discard(name)

    def heal(self):
        for name in list(self.down):
            self.restart(name)

    def put(self, count=1, expires="10s", due="0s", notify=True,
            source="QR", reference=None):
        """Commands to r-1… in one transaction; their ids."""
        found = self.query(
            "insert into coco.robot_command (id, serial, command, source,"
            " reference_id, issued_at, expires_at, next_send_at)"
            " select gen_random_uuid(), 'r-' || n, 'OPEN_LID', %s, %s, now(),"
            "  now() + %s::interval, now() + %s::interval"
            " from generate_series(1, %s) n"
            " returning id::text" + (
                ", pg_notify('coco_command', '')" if notify else ""),
            source, reference, expires, due, count)
        return [row[0] for row in found]

    def set(self, identity, column, value):
        """Of a command, as the worker's other parts do."""
        self.query("update coco.robot_command set %s = %%s where id = %%s"
                   % column, value, identity)

    def get(self, identity, columns):
        return self.query("select %s from coco.robot_command where id = %%s"
                          % columns, identity)[0]

    def shadow(self, serial, pin):
        """Sets what the shadow is to hold; its version."""
        return self.query(
            "insert into coco.robot_shadow as s (serial, pin) values (%s, %s)"
            " on conflict (serial) do update set pin = excluded.pin,"
            "  version = s.version + 1"
            " returning version, pg_notify('coco_command', '')",
            serial, pin)[0][0]

    def unsent(self):
        return self.query("select count(*) from coco.robot_shadow"
                          " where sent_version < version")[0][0]


class Robots:
    """Everybody who listens: [(seconds, topic, payload, message)]."""

    def __init__(self, port, *topics, name="", clean=True, version=None):
        self.heard = []
        self.client = mqtt.Client(
            name, clean_session=clean if version is None else None,
            protocol=version or mqtt.MQTTv311)
        self.ready = threading.Event()
        self.client.on_connect = lambda *_: self.client.subscribe(
            [(topic, 1) for topic in topics])
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self.hear
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(30)

    def hear(self, _client, _data, message):
        self.heard.append((time.time(), message.topic,
                           json.loads(message.payload), message))

    def times(self, identity):
        """When the command came."""
        return [at for at, _, payload, _ in list(self.heard)
                if payload.get("id") == identity]

    def pins(self, topic):
        return [payload["state"]["desired"]["pin"]
                for _, found, payload, _ in list(self.heard) if found == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Driver(native.Driver):
    def __init__(self, servers, port=None, **options):
        environment = dict(
            os.environ,
            COCO_WORKER_MQTT_PORT=str(port or servers.stack.mqtt_port),
            COCO_WORKER_MQTT_RECONNECT_MIN="20ms",
            COCO_WORKER_MQTT_RECONNECT_MAX="200ms",
            COCO_WORKER_COMMANDS_POLL="60s",
            COCO_WORKER_LOG_LEVEL="debug",
            COCO_WORKER_POSTGRES_CONNINFO=servers.stack.postgres)
        super().__init__(DRIVER, environment, options)

    def status(self):
        """(alive, connected)"""
        _, alive, connected = self.ask("status", "status")[-1].split()
        return alive == "1", connected == "1"

    def connected(self):
        until(lambda: self.status() == (True, True))
        return self

    def metric(self, name):
        return sum(int(line.split()[-1]) for line in self.ask("metrics", ".")
                   if line.startswith(name + '{lane="events"}'))

    def sent(self, count, what="commands"):
        """How many are counted, once so many are: a robot may hear one before
        it counts."""
        name = "coco_%s_sent_total" % what
        until(lambda: self.metric(name) >= count)
        return self.metric(name)

    def stop(self):
        """Milliseconds that the stop took."""
        said = self.ask("stop", "stopped")[-1]
        assert self.process.wait(20) == 0, self.errors
        return int(said.split()[1])


class Between:
    """A proxy of the broker's that can keep its PUBACKs to itself."""

    PUBACK = 4

    def __init__(self, port, target):
        self.target, self.mute, self.kept = target, False, 0
        self.sockets = []
        self.server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            for pump, pair in ((self.pass_all, (near, far)),
                               (self.pass_packets, (far, near))):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    def pass_all(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        self.cut(source, sink)

    def pass_packets(self, source, sink):
        reader = source.makefile("rb")
        try:
            while True:
                packet = reader.read(2)
                if len(packet) < 2:
                    break
                length, shift = packet[1] & 127, 7
                while packet[-1] & 128:
                    packet += reader.read(1)
                    length |= (packet[-1] & 127) << shift
                    shift += 7
                packet += reader.read(length)
                if packet[0] >> 4 == self.PUBACK and self.mute:
                    self.kept += 1
                    continue
                sink.sendall(packet)
        except OSError:
            pass
        self.cut(source, sink)

    @staticmethod
    def cut(*sockets):
        for each in sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.cut(self.server, *self.sockets)
        for each in [self.server, *self.sockets]:
            each.close()


class Broker:
    """A mosquitto with the lines given."""

    def __init__(self, folder, port, *lines):
        path = os.path.join(str(folder), "mosquitto.conf")
        with open(path, "w") as out:
            out.write("\n".join(["listener %d 127.0.0.1" % port, "user root",
                                 *lines]))
        self.log = open(path + ".log", "w")
        self.process = subprocess.Popen(
            ["mosquitto", "-c", path], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log)
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
