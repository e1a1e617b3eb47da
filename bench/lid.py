"""What opening a lid over HTTP adds to the bare way to the robot and back:
with 1,000 requests waiting at once, now and then, and as fast as it goes."""

import contextlib
import os
import subprocess

import common
import read
from common import median, percentile

WAITING = 1000          # requests at once
SLOWEST = {8000: 14, 3000: 8}   # ms that a robot takes, from half of it: s
ROUNDS = 3
FULL = 250              # asking again at once: as fast as it goes
FULL_SECONDS = 4
SPARSE_GAP = 1500       # ms
SPARSE_SECONDS = 30


class Bench:
    """lid_bench, which is robots and those who ask."""

    def __init__(self, stack, port):
        program = build()
        self.process = subprocess.Popen(
            [program, str(port), str(stack.mqtt_port), stack.token],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        robots = int(self.process.stdout.readline().split()[1])
        self.pids = {"robots": robots, "askers": self.process.pid}

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)

    def round(self, *words):
        """[(out, robot, back)] in ms, of what was answered; any request that
        failed ends the benchmark."""
        print(*words, file=self.process.stdin, flush=True)
        samples = []
        for line in self.process.stdout:
            if line.startswith("end"):
                if line != "end 0\n":
                    raise RuntimeError("lid_bench, %s: %s failed" % (
                        words, line.split()[1]))
                return samples
            samples.append([int(us) / 1000 for us in line.split()])
        raise RuntimeError("lid_bench ended")


def build():
    folder = os.path.join(common.ROOT, "bench", "lid")
    program = os.path.join(common.ROOT, os.environ.get("BUILD", "build"),
                           "lid_bench")
    subprocess.run(
        ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow",
         "-Wno-unused-parameter", "-D_GNU_SOURCE", "-o", program]
        + [os.path.join(folder, name) for name in
           ("lid_bench.c", "mqtt.c", "robots.c")], check=True)
    return program


def travel(samples, percent):
    """Without what the robot itself takes."""
    return percentile([out + back for out, _, back in samples], percent)


def show(kind, samples, seconds):
    common.say("  %-5s %6.0f/s  " % (kind, len(samples) / seconds)
               + "   ".join("%s %.2f / %.2f" % (
                   name, percentile(ways, 50), percentile(ways, 99))
                   for name, ways in (
                       ("there", [s[0] for s in samples]),
                       ("back", [s[2] for s in samples]),
                       ("both", [s[0] + s[2] for s in samples]))) + " ms")


def compare(bench, table, what, words, rounds, aim=None):
    """Turn about; the medians of what HTTP adds in each round."""
    added = {50: [], 99: []}
    for _ in range(rounds):
        taken = {}
        for kind in ("mqtt", "http"):
            cpu = common.Cpu(**bench.pids)
            taken[kind] = bench.round(kind, *words)
            show(kind, taken[kind], words[-1])
            spent(cpu, len(taken[kind]))
        for percent in added:
            added[percent].append(travel(taken["http"], percent)
                                  - travel(taken["mqtt"], percent))
    for percent in added:
        table.add("open-lid, %s: added to MQTT, p%d" % (what, percent),
                  median(added[percent]), "ms",
                  aim if percent == 99 else None, least=False)


def spent(cpu, count):
    """Robots and those who ask are the benchmark's own."""
    common.say("        CPU, us a request: " + "  ".join(
        "%s %.0f" % (name, us / count) for name, us in cpu.spent().items()))


def run(table):
    with contextlib.ExitStack() as cleanup:
        stack = cleanup.enter_context(
            common.private_stack(only="postgres redis mqtt worker nginx"))
        stack.up()
        port = stack.port + 4           # of servers that do not run here
        nginx = read.Nginx(stack.folder, "bench.conf", read.ours(
            stack, port).replace("worker_cpu_affinity 01;\n", ""))
        cleanup.callback(nginx.close)
        common.wait_for(lambda: answers(stack, port), 30, "nginx")
        bench = Bench(stack, port)
        cleanup.callback(bench.close)
        bench.pids.update({name: stack.pid(name) for name in
                           ("postgres", "worker", "mqtt", "redis")},
                          nginx=nginx.process.pid)

        for slowest, seconds in SLOWEST.items():
            common.say("  robots take %.1f to %.1f s; p50 / p99 of the ways"
                       % (slowest / 2000, slowest / 1000))
            compare(bench, table, "%d waiting, %.3g s each" % (
                WAITING, slowest * 0.75 / 1000),
                (WAITING, slowest, 0, seconds), ROUNDS, aim=20)
        common.say("  one every %.1f s, of a robot that takes no time"
                   % (SPARSE_GAP / 1000))
        compare(bench, table, "one every %.1f s" % (SPARSE_GAP / 1000),
                (1, 0, SPARSE_GAP, SPARSE_SECONDS), 1)
        common.say("  robots take no time")
        compare(bench, table, "%d in a closed loop" % FULL,
                (FULL, 0, 0, FULL_SECONDS), 1)


def answers(stack, port):
    try:
        return read.get(stack, "http://127.0.0.1:%d/healthz" % port)
    except OSError:
        return False
