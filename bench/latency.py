"""From publish to readable over HTTP, at parts of the highest load that the
whole path sustains while the robots publish."""

import random
import socket
import time

import common
import write

BURST = 60000           # heartbeats, to find the highest load
LOADS = (10, 50, 90)    # percent of it
SECONDS = 15            # of each load
SETTLE = 2              # of them before the first probe
PROBES = 8              # robots that are looked at, in turn
POLL = 0.0005           # s between two looks
LATE = 10               # s after which a probe counts as that and is left

BODY = ('{"ts":%d,"state":"PARKED","battery":{"percent":80,"charging":false},'
        '"location":{"latitude":34.02,"longitude":-118.48,"heading":90,'
        '"speed":0,"accuracy":1.5},"components":{"gps":"OK","modem":"OK"},'
        '"lid":{"open":false}}')


class Publisher:
    """MQTT 3.1.1 by hand: no thread between the clock and the socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.packet_id = 0
        client = b"bench-latency"
        self.send(0x10, b"\0\4MQTT\4\2\0\0" + self.text(client))
        if self.socket.recv(4)[3] != 0:
            raise RuntimeError("the broker refuses")

    @staticmethod
    def text(data):
        return len(data).to_bytes(2, "big") + data

    def send(self, head, rest):
        size, left = bytearray(), len(rest)
        while True:
            size.append(left % 128 | (0x80 if left > 127 else 0))
            left //= 128
            if left == 0:
                break
        self.socket.sendall(bytes([head]) + size + rest)

    def publish(self, topic, payload):
        """QoS 1; returns when the broker has it."""
        self.packet_id = self.packet_id % 65535 + 1
        self.send(0x32, self.text(topic) + self.packet_id.to_bytes(2, "big")
                  + payload)
        if len(self.socket.recv(4, socket.MSG_WAITALL)) != 4:
            raise RuntimeError("the broker hung up")


class Reader:
    """One HTTP connection that stays."""

    def __init__(self, stack):
        self.socket = socket.create_connection(("127.0.0.1", stack.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.token = stack.token

    def get(self, path):
        self.socket.sendall(("GET %s HTTP/1.1\r\nHost: c\r\n"
                             "Authorization: Bearer %s\r\n\r\n"
                             % (path, self.token)).encode())
        data = b""
        while True:
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError("nginx hung up")
            data += more
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                length = head.lower().split(b"content-length:")[1]
                if len(body) >= int(length.split(b"\r\n")[0]):
                    return body


def probe(stack, seconds):
    """One robot after another; ms from before publish to the first answer
    that shows it."""
    publisher, reader = Publisher(stack.mqtt_port), Reader(stack)
    chance = random.Random(1)
    until = time.monotonic() + seconds
    times, turn = [], 0

    while time.monotonic() < until:
        serial = "probe-%d" % (turn % PROBES)
        ts = common.now_ms()
        turn += 1
        wanted = b'"ts":%d' % ts
        began = time.monotonic()
        publisher.publish(b"robot/%s/status" % serial.encode(),
                          (BODY % ts).encode())
        while wanted not in reader.get("/fleet/v1/labor/robots/" + serial):
            if time.monotonic() - began > LATE:
                common.say("  not readable after %d s: %s" % (LATE, serial))
                break
            time.sleep(POLL)
        times.append((time.monotonic() - began) * 1000)
        time.sleep(chance.uniform(0.005, 0.015))

    return times


def highest(stack):
    """Heartbeats a second from robots that publish as fast as they can, to
    the last one readable."""
    robots = write.ROBOTS
    period = 1e6 / write.HZ
    start = common.now_ms() - int(BURST // robots * period / 1000)
    last = start + int((BURST - 1) * period / robots) // 1000
    reader = Reader(stack)
    began = time.monotonic()
    common.sim(stack.mqtt_port, "--robots", robots, "--hz", write.HZ,
               "--burst", BURST, "--start-ms", start)
    path = "/fleet/v1/labor/robots/sim-%04d" % robots
    common.wait_for(lambda: b'"ts":%d' % last in reader.get(path), 60,
                    "the last heartbeat", every=0.005)
    return BURST / (time.monotonic() - began)


def run(table):
    with common.private_stack(
            only="postgres redis mqtt worker nginx") as stack:
        stack.up()
        top = highest(stack)
        common.say("  highest load sustained: %.0f/s" % top)
        table.add("heartbeats from publish to HTTP, sustained", top, "/s")

        for load in LOADS:
            rate = top * load / 100
            fleet = common.sim_start(
                stack.mqtt_port, "--robots", write.ROBOTS, "--hz",
                "%.3f" % (rate / write.ROBOTS), "--serial-prefix",
                "load%d-" % load)
            try:
                probe(stack, SETTLE)
                times = probe(stack, SECONDS - SETTLE)
            finally:
                common.end(fleet)
            p50, p99 = (common.percentile(times, p) for p in (50, 99))
            common.say("  at %2d %% (%.0f/s): p50 %.1f ms  p99 %.1f ms  "
                       "(%d probes)" % (load, rate, p50, p99, len(times)))
            table.add("publish to readable at %d %% of it, p50" % load, p50,
                      "ms")
            table.add("publish to readable at %d %% of it, p99" % load, p99,
                      "ms", 50 if load == 50 else None, least=False)
