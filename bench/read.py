"""Reads over HTTP: the labor row and the aggregated robot, against `return
200` of the same bytes and against the labor row read by the Lua module."""

import contextlib
import json
import os
import re
import subprocess
import urllib.request

import common

ROBOTS = 100
CONNECTIONS = 64
ROUNDS = 5
SECONDS = 3             # of one measurement
MODULES = "/usr/lib/nginx/modules"


class Nginx:
    """One worker process, on the first CPU; wrk has the last."""

    def __init__(self, folder, name, conf):
        self.conf = os.path.join(folder, name)
        with open(self.conf, "w") as file:
            file.write(conf)
        os.makedirs(os.path.join(folder, "nginx"), exist_ok=True)
        self.process = subprocess.Popen(
            ["nginx", "-p", os.path.join(folder, "nginx"), "-c", self.conf,
             "-e", "stderr", "-g", "daemon off;"], stdin=subprocess.DEVNULL)

    def close(self):
        common.end(self.process)


def ours(stack, port):
    """The stack's own configuration, with one process and without a log of
    requests, as the peers have it."""
    with open(os.path.join(stack.folder, "coco.conf")) as file:
        conf = file.read()
    conf = re.sub(r"(?m)^\s*(worker_processes|worker_cpu_affinity|pid|"
                  r"keepalive_requests|access_log)\s[^;]*;", "", conf)
    conf = re.sub(r"\b%d\b" % stack.port, str(port), conf)
    conf = re.sub(r"\b%d\b" % (stack.port + 7), str(stack.free_port), conf)
    conf = re.sub(r"(?m)^http\s*{", "http {\n    access_log off;\n"
                  "    keepalive_requests 100000000;", conf)
    return ("worker_processes 1;\nworker_cpu_affinity 01;\npid %s;\n"
            % os.path.join(stack.folder, "bench.pid") + conf)


def peers(stack, port, labor="", robot="", quote=""):
    with open(os.path.join(common.ROOT, "bench", "peers.conf")) as file:
        conf = file.read()
    for name, value in (("modules", MODULES), ("folder", stack.folder),
                        ("token", stack.token), ("port", port),
                        ("redis", stack.redis_port), ("labor", labor),
                        ("robot", robot), ("quote", quote)):
        conf = conf.replace("{%s}" % name, str(value))
    return conf


def get(stack, url):
    request = urllib.request.Request(url, headers=stack.headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read().decode()


def wrk(stack, url, seconds, script="wrk.lua", period=0, **environment):
    """Returns requests per second and the p99 in ms."""
    host, _, prefix = url.partition("/")
    return common.wrk(script, "http://" + host, seconds, CONNECTIONS,
                      common.CPUS - 1, period,
                      **{"WRK_PREFIX": "/" + prefix, "WRK_TOKEN": stack.token,
                         "WRK_ROBOTS": str(ROBOTS), **environment})[:2]


def measure(stack, ours_port, peers_port):
    """Rounds of every peer in turn; {name: [(rate, p99)]}."""
    targets = {
        "labor": "127.0.0.1:%d/fleet/v1/labor/robots/" % ours_port,
        "labor, return 200": "127.0.0.1:%d/return/labor/" % peers_port,
        "labor, Lua": "127.0.0.1:%d/lua/" % peers_port,
        "robot": "127.0.0.1:%d/robots/" % ours_port,
        "robot, return 200": "127.0.0.1:%d/return/robot/" % peers_port,
    }
    done = {name: [] for name in targets}

    for url in targets.values():
        wrk(stack, url, 1)
    for turn in range(ROUNDS):
        for name, url in targets.items():
            done[name].append(wrk(stack, url, SECONDS))
        common.say("  " + "  ".join(
            "%s %.0f/s" % (name, rounds[-1][0])
            for name, rounds in done.items()))

    return done


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis mqtt worker nginx"))
        stack.up()
        port = stack.port + 4           # of servers that do not run here

        # The copies in Redis expire: every robot is heard now and then.
        fleet = common.sim_start(stack.mqtt_port, "--robots", ROBOTS, "--hz",
                                 0.1)
        cleanup.callback(common.end, fleet)
        labor = stack.http + "/fleet/v1/labor/robots/sim-%04d" % ROBOTS
        common.wait_for(lambda: exists(stack, labor), 30, "the last robot")

        robot = get(stack, stack.http + "/robots/sim-%04d" % ROBOTS)
        if json.loads(robot)["partial"]:
            raise RuntimeError("the answer is partial: " + robot)

        for name, conf in (("ours.conf", ours(stack, port)),
                           ("peers.conf", peers(stack, port + 1,
                                                get(stack, labor), robot))):
            cleanup.callback(Nginx(stack.folder, name, conf).close)
        for url in ("http://127.0.0.1:%d/healthz" % port,
                    "http://127.0.0.1:%d/return/labor/" % (port + 1)):
            common.wait_for(lambda: exists(stack, url), 10, url)

        report(table, measure(stack, port, port + 1))


def exists(stack, url):
    try:
        return get(stack, url)
    except OSError:
        return None


def report(table, done):
    rate = {name: common.median([r for r, _ in rounds])
            for name, rounds in done.items()}
    p99 = {name: common.median([p for _, p in rounds])
           for name, rounds in done.items()}

    table.add("GET /fleet/v1/labor/robots/{serial}", rate["labor"], "/s")
    table.add("  ratio to return 200 (%.0f/s)" % rate["labor, return 200"],
              rate["labor"] / rate["labor, return 200"], "x")
    table.add("  ratio to the Lua module (%.0f/s)" % rate["labor, Lua"],
              rate["labor"] / rate["labor, Lua"], "x", 1)
    table.add("  p99 of %d connections (Lua: %.1f)" % (
        CONNECTIONS, p99["labor, Lua"]), p99["labor"], "ms")
    table.add("GET /robots/{serial}", rate["robot"], "/s")
    table.add("  ratio to return 200 (%.0f/s)" % rate["robot, return 200"],
              rate["robot"] / rate["robot, return 200"], "x")
    table.add("  ratio to the Lua module's labor row",
              rate["robot"] / rate["labor, Lua"], "x", 0.5)
    table.add("  p99 of %d connections" % CONNECTIONS, p99["robot"], "ms")
