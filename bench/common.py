"""What the benchmarks share: the stack, processes' CPU time, and the table."""

import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIM = os.path.join(ROOT, "bin", "coco-sim")

sys.path.insert(0, os.path.join(ROOT, "tests"))

from stack import Stack, wait_for  # noqa: E402

TICK_US = 1000000 // os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count()


def private_stack(environment=None, **options):
    """As a stack is by default, on a disk that is synced."""
    return Stack(environment={"COCO_PG_FSYNC": "on", **(environment or {})},
                 **options)


def say(text):
    print(text, flush=True)


def sim(port, *words):
    """Runs coco-sim to its end."""
    done = subprocess.run([SIM, "--port", str(port), *map(str, words)],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError("coco-sim: %s%s" % (done.stdout, done.stderr))


def sim_start(port, *words):
    return subprocess.Popen([SIM, "--port", str(port), *map(str, words)],
                            stdout=subprocess.DEVNULL)


def wrk(script, url, seconds, connections=64, cpu=None, period=0,
        **environment):
    """Runs wrk with a script of this folder, on one CPU if it is named:
    (requests per second, p99 in ms, how many)."""
    folder = os.path.join(ROOT, "bench")
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    done = subprocess.run(
        [*pin, "wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds,
         "--latency", "-s", os.path.join(folder, script), url],
        env={**os.environ, "WRK_LOAD": os.path.join(folder, "wrk_load.lua"),
             "WRK_PERIOD": "%.3f" % period, **environment},
        capture_output=True, text=True, timeout=60)
    result = re.search(r"^RESULT ([0-9.]+) (\d+) (\d+) (\d+)$", done.stdout,
                       re.M)
    if result is None or int(result[3]) > 0:
        raise RuntimeError("wrk on %s: %s%s" % (url, done.stdout,
                                                done.stderr))
    return float(result[1]), int(result[2]) / 1000, int(result[4])


def end(process):
    process.terminate()
    process.wait(30)


def _stat(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(") ")[2].split()


def cpu_us(pid):
    """User and system time of a process, of its children that ended, and of
    its children that live (Postgres' sessions)."""
    try:
        ticks = sum(map(int, _stat(pid)[11:15]))
    except FileNotFoundError:
        return 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = _stat(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat[1]) == pid:
                ticks += sum(map(int, stat[11:15]))
    return ticks * TICK_US


class Cpu:
    """CPU time that each of some processes takes between two moments."""

    def __init__(self, **pids):
        self.pids = pids
        self.before = self.now()

    def now(self):
        return {name: cpu_us(pid) for name, pid in self.pids.items()}

    def spent(self):
        return {name: us - self.before[name]
                for name, us in self.now().items()}


class Table:
    """Rows of (what, figure, aim); what has an aim says whether it is met."""

    def __init__(self):
        self.rows = []

    def add(self, what, figure, unit="", aim=None, least=True):
        met = "" if aim is None else (
            "met" if (figure >= aim) == least or figure == aim else "MISSED")
        goal = "" if aim is None else "%s %g" % (
            "at least" if least else "at most", aim)
        self.rows.append((what, "%.*f %s" % (digits(figure), figure, unit),
                          goal, met))

    def show(self):
        if not self.rows:
            return
        widths = [max(len(row[i]) for row in self.rows) for i in range(4)]
        say("")
        for what, figure, goal, met in self.rows:
            say("  %-*s  %*s  %-*s  %s" % (widths[0], what, widths[1], figure,
                                           widths[2], goal, met))


def digits(figure):
    return 0 if figure >= 1000 else 1 if figure >= 20 else 2


def median(values):
    return statistics.median(values)


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def now_ms():
    return int(time.time() * 1000)
