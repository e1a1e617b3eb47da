"""From a heartbeat that the broker has to a quote by where it says that its
robot is, while a fleet is heard."""

import contextlib
import json
import random
import socket
import time

import common
import dispatch
import latency

ROBOTS = 5000
HZ = 1.02               # some of them have no network at any time
KNOWN = 0.95            # of the robots, before it begins
SECONDS = 20
PROBES = 8              # robots, each in a city of its own
MOVE = 0.01             # degrees from one heartbeat to the next
LATE = 5                # s

BODY = ('{"ts":%d,"state":"PARKED","battery":{"percent":80,"charging":false},'
        '"location":{"latitude":%.7f,"longitude":%.7f,"speed":0},'
        '"components":{"gps":"OK"},"lid":{"open":false}}')


class Quotes:
    """One HTTP connection that stays."""

    def __init__(self, port, token):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = ("POST /quote HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer"
                     " %s\r\nContent-Type: application/json\r\n"
                     "Content-Length: %%d\r\n\r\n%%s" % token)

    def ask(self, place):
        body = json.dumps({"pickup": place, "dropoff": place})
        self.socket.sendall((self.head % (len(body), body)).encode())
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            more = self.socket.recv(65536)
            if not more:
                raise RuntimeError("nginx hung up")
            data += more
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a quote: %r" % data)
        return json.loads(data.partition(b"\r\n\r\n")[2])


def probe(stack, server, seconds):
    """ms from PUBACK to the end of the first answer that shows the place."""
    publisher = latency.Publisher(stack.mqtt_port)
    quotes = Quotes(server.port, stack.token)
    chance = random.Random(1)
    until = time.monotonic() + seconds
    times, turn = [], 0

    while time.monotonic() < until:
        city, lap = turn % PROBES, turn // PROBES
        serial = "probe-%d" % city
        place = {"latitude": 40.0 + city, "longitude": 10 + MOVE * (lap % 2)}
        turn += 1
        publisher.publish(b"robot/%s/status" % serial.encode(), (BODY % (
            common.now_ms(), *place.values())).encode())
        began = time.monotonic()
        while True:
            quote = quotes.ask(place)
            if quote["serial"] == serial and quote["distanceMeters"] == 0:
                break
            if time.monotonic() - began > LATE:
                common.say("  not quoted after %d s: %s" % (LATE, serial))
                break
            time.sleep(latency.POLL)
        times.append((time.monotonic() - began) * 1000)
        time.sleep(chance.uniform(0.005, 0.015))

    return times


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(dispatch.stack())
        server = dispatch.Server(stack, "64m robots=20000", 0, pinned=False)
        cleanup.callback(server.close)
        fleet = common.sim_start(stack.mqtt_port, "--robots", ROBOTS, "--hz",
                                 HZ)
        cleanup.callback(common.end, fleet)
        common.wait_for(lambda: server.complete(ROBOTS * KNOWN), 60,
                        "the fleet")
        probe(stack, server, 2)

        before, began = server.metrics(), time.monotonic()
        times = probe(stack, server, SECONDS)
        took = time.monotonic() - began
        lines = server.metrics()["coco_feed_lines_total"] \
            - before["coco_feed_lines_total"]
        p50, p99 = (common.percentile(times, p) for p in (50, 99))
        common.say("  %.0f heartbeats/s: p50 %.1f ms  p99 %.1f ms  "
                   "(%d probes)" % (lines / took, p50, p99, len(times)))
        what = "heartbeat to quote at %.0f/s" % (lines / took)
        table.add(what + ", p50", p50, "ms")
        table.add(what + ", p99", p99, "ms", 250, least=False)
