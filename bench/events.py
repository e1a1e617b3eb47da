"""Events through the bus, confirmed, against the bare client of each engine:
what bench/bus prints, as rows of the table."""

import os
import re
import subprocess

import common
from stack import PortBlock

EVENTS = 20000
ROUNDS = 5
LINE = re.compile(r"(\w+), window (\d+), (\d+) a call: (\d+) events/s and "
                  r"([0-9.]+) us CPU each; bare client (\d+)/s and ([0-9.]+) "
                  r"us; ratio ([0-9.]+)")
AIM = {"rabbitmq": 0.7}


def run(table):
    block = PortBlock()
    block.release()         # its stack takes them
    done = subprocess.run(
        [os.path.join(common.ROOT, "bench", "bus", "run"), str(EVENTS),
         str(ROUNDS)], env=dict(os.environ, COCO_PORT=str(block.first)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    found = LINE.findall(done.stdout)
    if done.returncode != 0 or not found:
        raise RuntimeError("bench/bus/run: %s%s" % (done.stdout, done.stderr))
    for engine, window, call, rate, cpu, bare, bare_cpu, ratio in found:
        common.say("  %s, %s a call: %s/s, bare client %s/s" % (
            engine, call, rate, bare))
        table.add("events confirmed by %s, %s a call" % (engine, call),
                  float(rate), "/s")
        table.add("  ratio to the bare client, window %s (%s/s)" % (
            window, bare), float(ratio), "x", AIM.get(engine))
        table.add("  CPU of an event (bare client %s)" % bare_cpu, float(cpu),
                  "us")
