"""Robots and labor rows out of the zone, over HTTP and gRPC, against `return
200` with the same header work, and the Lua module that reads Redis."""

import contextlib
import os
import re
import subprocess

import common
import dispatch
import read

ROBOTS = 1000
ZONE = "64m robots=20000"           # that of conf/coco.conf
TIGHT = "9m robots=%d" % ROBOTS     # by the formula in docs/directives.md
ROUNDS = 9
SECONDS = 1
HZ = 1                              # of each robot, where heartbeats come
GRPC_ROUNDS = 5
GRPC = ("http://127.0.0.1:%d/coco.fleet.v1.FleetLaborProviderScopeService/Get")
KINDS = ("labor", "robot", "labor_grpc")


def hits(server, before):
    """Percent of each document since then, of those that were asked for."""
    now, found = server.metrics(), {}
    for kind in KINDS:
        count = [now[name] - before[name] for name in (
            'coco_documents_total{document="%s",outcome="%s"}' % (kind, out)
            for out in ("hit", "miss", "stale"))]
        if sum(count):
            found[kind] = 100 * count[0] / sum(count)
    return found


def wrk(stack, url, seconds=SECONDS):
    return read.wrk(stack, url, seconds, WRK_ROBOTS=str(ROBOTS))[0]


def h2load(stack, url, *words):
    """Requests a second of one client, the same for both."""
    done = subprocess.run(
        ["taskset", "-c", str(common.CPUS - 1), "h2load", "-t1", "-c16", "-m4",
         "-n40000", "-H", "authorization: Bearer " + stack.token, *words, url],
        capture_output=True, text=True, timeout=60)
    rate = re.search(r"finished in .*, ([0-9.]+) req/s", done.stdout)
    if rate is None or "status codes: 40000 2xx" not in done.stdout:
        raise RuntimeError("h2load on %s: %s" % (url, done.stdout))
    return float(rate[1])


def over_http(stack, table, server, peers):
    own = "127.0.0.1:%d" % server.port
    targets = {
        "labor": own + "/fleet/v1/labor/robots/",
        "labor, return 200": "127.0.0.1:%d/checked/labor/" % peers,
        "labor, Lua": "127.0.0.1:%d/lua/" % peers,
        "robot": own + "/robots/",
        "robot, return 200": "127.0.0.1:%d/checked/robot/" % peers,
    }
    done = {name: [] for name in targets}
    for url in targets.values():
        wrk(stack, url)
    before = server.metrics()
    for _ in range(ROUNDS):
        for name, url in targets.items():
            done[name].append(wrk(stack, url))
    found = hits(server, before)
    rate = {name: common.median(rates) for name, rates in done.items()}
    common.say("  " + "  ".join("%s %.0f/s" % r for r in rate.items()))

    for kind in "labor", "robot":
        table.add("%s out of the zone" % kind, rate[kind], "/s")
        for what, peer, aim in (
                ("return 200", kind + ", return 200", 0.9),
                ("the Lua module's labor row", "labor, Lua", 2)):
            table.add("  ratio to %s (%.0f/s)" % (what, rate[peer]),
                      dispatch.ratio(done, kind, peer), "x", aim)
        table.add("  out of the zone", found[kind], "%")


def heard(stack, table, server):
    """While all of its robots are heard again and again."""
    fleet = common.sim_start(stack.mqtt_port, "--robots", ROBOTS, "--hz", HZ)
    try:
        lines = server.metrics()["coco_feed_lines_total"]
        common.wait_for(lambda: server.metrics()["coco_feed_lines_total"]
                        > lines + ROBOTS, 30, "the heartbeats")
        for kind, path in (("labor", "/fleet/v1/labor/robots/"),
                           ("robot", "/robots/")):
            before = server.metrics()
            rate = wrk(stack, "127.0.0.1:%d%s" % (server.port, path), 4)
            found = hits(server, before)[kind]
            lines = server.metrics()["coco_feed_lines_total"] \
                - before["coco_feed_lines_total"]
            common.say("  %s with %.0f heartbeats/s: %.0f/s, %.1f %% hits" % (
                kind, lines / 4, rate, found))
            what = "%s, %d heartbeats a second" % (kind, ROBOTS * HZ)
            table.add(what, rate, "/s")
            table.add("  out of the zone", found, "%")
    finally:
        common.end(fleet)


def over_http2(stack, table, server, serial):
    """One robot: h2load has one body for all requests."""
    body = os.path.join(stack.folder, "get.grpc")
    message = b"\x0a%c%s" % (len(serial), serial.encode())
    with open(body, "wb") as file:
        file.write(b"\0" + len(message).to_bytes(4, "big") + message)
    rows = ("http://127.0.0.1:%d/fleet/v1/labor/robots/%s" % (
        server.http2, serial),)
    calls = (GRPC % server.grpc, "-d", body, "-H",
             "content-type: application/grpc", "-H", "te: trailers")

    before = server.metrics()
    done = [(h2load(stack, *rows), h2load(stack, *calls))
            for _ in range(GRPC_ROUNDS + 1)][1:]
    after = server.metrics()
    failed = 'coco_grpc_calls_total{outcome="error"}'
    if after[failed] != before[failed]:
        raise RuntimeError("calls over gRPC failed")

    rest, grpc = (common.median(rates) for rates in zip(*done))
    common.say("  HTTP/2: row %.0f/s, gRPC %.0f/s" % (rest, grpc))
    table.add("labor row over gRPC", grpc, "/s")
    table.add("  ratio to the row over HTTP/2 (%.0f/s)" % rest,
              common.median([call / row for row, call in done]), "x", 0.6)


def tight(stack, table):
    """As little memory as the formula says."""
    with contextlib.closing(dispatch.Server(stack, TIGHT, ROBOTS)) as server:
        for kind, path in (("labor", "/fleet/v1/labor/robots/"),
                           ("robot", "/robots/")):
            url = "127.0.0.1:%d%s" % (server.port, path)
            wrk(stack, url)
            before = server.metrics()
            wrk(stack, url)
            table.add("%s out of a zone of %s" % (kind, TIGHT),
                      hits(server, before)[kind], "%")


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(dispatch.stack())
        common.sim(stack.mqtt_port, "--robots", ROBOTS, "--burst", ROBOTS)
        server = cleanup.enter_context(contextlib.closing(
            dispatch.Server(stack, ZONE, ROBOTS)))
        serial = "sim-%04d" % ROBOTS
        labor, robot = (common.wait_for(
            lambda: read.exists(stack, server.url + path + serial), 30, serial)
            for path in ("/fleet/v1/labor/robots/", "/robots/"))

        peers = server.port + 1
        cleanup.callback(read.Nginx(stack.folder, "peers.conf", read.peers(
            stack, peers, labor, robot)).close)
        common.wait_for(lambda: read.exists(
            stack, "http://127.0.0.1:%d/checked/labor/" % peers), 10, "peers")

        over_http(stack, table, server, peers)
        over_http2(stack, table, server, serial)
        heard(stack, table, server)
        server.close()
        tight(stack, table)
