"""Quotes against `return 200` and a Node.js service that looks at the whole
supply, plans over HTTP against scipy, and what a robot takes of the zone."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import threading
import time

import common
import dispatch
import read
import write

QUOTES = 1000           # different ones
ROUNDS = 7
SECONDS = 1
SMALL, LARGE = 10000, 100000        # robots
PLAN = 1000                         # demands, robots
ROOM = 20000                        # robots of the zone, but for the large one
PLANS = 9
PEERS = "/checked/quote"


class Client:
    """One connection that stays."""

    def __init__(self, stack, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = {**stack.headers, "Content-Type": "application/json"}

    def post(self, path, body):
        self.http.request("POST", path, body, self.headers)
        reply = self.http.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError("%s: %d %r" % (path, reply.status, text))
        return text.decode()


def bodies(stack, trips):
    """The file that wrk reads, and its lines."""
    lines = [json.dumps(dispatch.trip_body(trip)) for trip in trips]
    path = os.path.join(stack.folder, "quotes")
    with open(path, "w") as file:
        file.write("\n".join(lines))
    return path, lines


def wrk(stack, port, path, file, seconds=SECONDS, period=0):
    return read.wrk(stack, "127.0.0.1:%d%s" % (port, path), seconds,
                    "dispatch.lua", period, WRK_BODIES=file)


def node(stack, port):
    process = subprocess.Popen(
        ["taskset", "-c", "0", "node", "supply.js"], cwd=write.NODE,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ, PG_URL=stack.postgres, PORT=str(port),
                 TOKEN=stack.token))
    return lambda: common.end(process)


def answers(stack, port, path, body):
    try:
        return Client(stack, port).post(path, body)
    except OSError:
        return None


def agree(ours, theirs, lines):
    """Both choose the same robots, at the same distances."""
    def told(client, line):
        quote = json.loads(client.post("/quote", line))
        del quote["expiresAt"], quote["rejected"]
        return quote

    for line in lines:
        quotes = told(ours, line), told(theirs, line)
        if quotes[0] != quotes[1] or not quotes[0]["feasible"]:
            raise RuntimeError("ours and the peer's: %r, %r" % quotes)


def quotes(stack, table, robots, least, faster):
    """Ratio to return 200 over so many robots. Aims: at least so much of it,
    and so many times as fast as Node.js."""
    trips, supply = dispatch.city(QUOTES, robots)
    dispatch.robots(stack, supply)
    file, lines = bodies(stack, trips)

    with contextlib.ExitStack() as cleanup:
        server = dispatch.Server(
            stack, "64m robots=%d" % max(ROOM, robots), robots)
        cleanup.callback(server.close)
        ours = Client(stack, server.port)
        targets = {"quote": (server.port, "/quote"),
                   "return 200": (server.port + 1, PEERS),
                   "Node.js": (stack.port, "/quote")}       # which is free
        conf = read.peers(stack, server.port + 1,
                          quote=ours.post("/quote", lines[0]))
        cleanup.callback(read.Nginx(stack.folder, "peers.conf", conf).close)
        cleanup.callback(node(stack, stack.port))
        for port, path in targets.values():
            common.wait_for(lambda: answers(stack, port, path, lines[0]), 30,
                            path)
        agree(ours, Client(stack, stack.port), lines[:50])

        done = rounds(stack, targets, file)
        rate = {name: common.median(rates) for name, rates in done.items()}
        common.say("  %d robots: " % robots + "  ".join(
            "%s %.0f/s" % r for r in rate.items()))
        memory(table, server, robots)

    table.add("quote over %d robots" % robots, rate["quote"], "/s")
    ratio = dispatch.ratio(done, "quote", "return 200")
    table.add("  ratio to return 200 (%.0f/s)" % rate["return 200"], ratio,
              "x", least)
    table.add("  ratio to Node.js (%.0f/s)" % rate["Node.js"],
              dispatch.ratio(done, "quote", "Node.js"), "x", faster)
    return ratio


def rounds(stack, targets, file):
    """{name: rates}, turn about."""
    done = {name: [] for name in targets}
    for port, path in targets.values():
        wrk(stack, port, path, file, 1)
    for _ in range(ROUNDS):
        for name, (port, path) in targets.items():
            done[name].append(wrk(stack, port, path, file)[0])
    return done


def memory(table, server, robots):
    """Pages that the process which keeps the zone has touched of it; the
    documents, of whom none was asked for, are none of them."""
    with open("/proc/%d/smaps" % server.worker()) as file:
        shared = re.findall(r"^\S+-\S+ rw-s .*\nSize: +(\d+) kB\n(?:.*\n){2}"
                            r"Rss: +(\d+) kB", file.read(), re.M)
    size, used = max((int(size), int(used)) for size, used in shared)
    common.say("  %d robots: %d of the zone's %d KiB are used" % (
        robots, used, size))
    table.add("zone's memory, of %d robots' each" % robots,
              used * 1024 / robots, "bytes")


def plan(stack, table):
    """The same matrix for scipy, turn about."""
    mine, theirs = [], []
    tool = dispatch.tool.Planner()
    trips, supply = dispatch.city(PLAN, PLAN)
    dispatch.robots(stack, supply)
    file, _ = bodies(stack, trips)
    body = json.dumps({"demands": [
        {"id": str(i), **dispatch.trip_body(trip)}
        for i, trip in enumerate(trips)]})
    cost = tool.costs(trips, supply)[0]

    with contextlib.closing(dispatch.Server(
            stack, "64m robots=%d" % ROOM, PLAN, pinned=False)) as server:
        client = Client(stack, server.port)
        for _ in range(PLANS):
            began = time.monotonic()
            reply = client.post("/plan", body)
            mine.append((time.monotonic() - began) * 1000)
            *expected, seconds = dispatch.tool.scipy_assign(cost)
            theirs.append(seconds * 1000)
            made = json.loads(reply)
            if not dispatch.tool.same((len(made["assignments"]),
                                       made["totalCostSeconds"]), expected):
                raise RuntimeError("a plan is not scipy's")
        others(stack, table, server.port, file, body)

    took, peer = common.median(mine), common.median(theirs)
    common.say("  plans: %.1f ms, at most %.1f; scipy %.1f ms" % (
        took, max(mine), peer))
    what = "POST /plan, %d x %d" % (PLAN, PLAN)
    table.add(what, took, "ms", 100, least=False)
    table.add("  scipy's time for the matrix alone (%.1f ms) to it" % peer,
              peer / took, "x", 1)


def others(stack, table, port, file, body):
    """p99 of quotes at half of their highest rate, while plans are made one
    after another, and while none is."""
    done, stop = [], threading.Event()

    def plans():
        client = Client(stack, port)
        while not stop.is_set():
            done.append(client.post("/plan", body))

    highest = wrk(stack, port, "/quote", file)[0]
    period = 2000 * read.CONNECTIONS / highest
    rate, alone = wrk(stack, port, "/quote", file, 4, period)
    thread = threading.Thread(target=plans)
    thread.start()
    try:
        beside = wrk(stack, port, "/quote", file, 4, period)
    finally:
        stop.set()
        thread.join()

    common.say("  quotes at %.0f/s: p99 %.2f ms; at %.0f/s beside %.1f plans "
               "a second: p99 %.2f ms" % (rate, alone, beside[0],
                                          len(done) / 4, beside[1]))
    table.add("quotes at %.0f/s, p99" % rate, alone, "ms")
    table.add("  beside %.0f plans a second" % (len(done) / 4), beside[1],
              "ms")


def run(table):
    write.npm()
    with dispatch.stack() as stack:
        small = quotes(stack, table, SMALL, 0.5, 20)
        large = quotes(stack, table, LARGE, None, None)
        table.add("  that ratio over %d, to it over %d" % (LARGE, SMALL),
                  large / small, "x", 1 / 3)
        plan(stack, table)
