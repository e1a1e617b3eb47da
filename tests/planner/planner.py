"""The planner in C for Python, and an independent one: scipy's."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                ".."))

from native import BUILD, ROOT  # noqa: E402

NONE = 0xffffffff
# speed, detour, dwell, energy, idle, reserve, reach
RULES = (1.5, 1.35, 120, 2.5, 1, 10, 20000)


class Planner:
    """What it returns is told with the CPU seconds that it took."""

    def __init__(self):
        path = os.path.join(BUILD, "tests", "planner.so")
        subprocess.run(["make", "-s", "-C", ROOT, "BUILD=" + BUILD, path],
                       check=True, stdout=subprocess.DEVNULL)
        self.library = ctypes.CDLL(path)
        self.library.planner_assign.restype = ctypes.c_int64

    def assign(self, cost):
        """(served, total, seconds) of a matrix; inf: not allowed."""
        cost = numbers(cost)
        rows, columns = cost.shape
        taken = np.empty(rows, np.uint32)
        seconds = ctypes.c_double()
        served = self.library.planner_assign(
            at(cost), rows, columns, at(taken), ctypes.byref(seconds))
        assert served >= 0, "no memory"
        row = np.nonzero(taken != NONE)[0]
        assert len(row) == served == len(set(taken[row]))
        return served, check(cost[row, taken[row]]), seconds.value

    def plan(self, trips, robots, rules=RULES):
        """(robot, cost, reasons of each trip, total, seconds)."""
        trips, robots = numbers(trips), numbers(robots)
        robot, reasons = (np.empty(len(trips), np.uint32) for _ in range(2))
        cost = np.empty(len(trips))
        total, seconds = ctypes.c_double(), ctypes.c_double()
        failed = self.library.planner_plan(
            at(numbers(rules)), at(trips), len(trips), at(robots),
            len(robots), at(robot), at(cost), at(reasons),
            ctypes.byref(total), ctypes.byref(seconds))
        assert not failed, "no memory"
        return robot, cost, reasons, total.value, seconds.value

    def costs(self, trips, robots, rules=RULES):
        """(cost, reasons) of each pair; inf: not possible."""
        cost = np.empty((len(trips), len(robots)))
        reasons = np.empty(cost.shape, np.uint32)
        failed = self.library.planner_costs(
            at(numbers(rules)), at(numbers(trips)), len(trips),
            at(numbers(robots)), len(robots), at(cost), at(reasons))
        assert not failed, "no memory"
        return cost, reasons


def numbers(values):
    return np.ascontiguousarray(values, np.float64)


def at(array):
    return array.ctypes.data_as(ctypes.c_void_p)     # which keeps the array


def check(costs):
    """Their sum; none is what is not allowed."""
    assert np.isfinite(costs).all()
    return float(costs.sum())


def scipy_assign(cost):
    """As Planner.assign(), by scipy: as many as possible first, by pairs that
    are not allowed at more than all others together."""
    allowed = np.isfinite(cost)
    most = cost[allowed].max() if allowed.any() else 0
    cost_or_more = np.where(allowed, cost, (most + 1) * (min(cost.shape) + 1))
    began = time.thread_time()
    row, column = linear_sum_assignment(cost_or_more)
    seconds = time.thread_time() - began
    kept = allowed[row, column]
    return int(kept.sum()), check(cost[row[kept], column[kept]]), seconds


def same(ours, theirs):
    """Served and total; totals to what rounding leaves."""
    return ours[0] == theirs[0] and \
        abs(ours[1] - theirs[1]) <= 1e-9 * max(1, abs(theirs[1]))


def city(random, trips, robots, kilometers=10, stores=None):
    """Trips and robots of a city around (52, 13). stores: so many pickups are
    all that there are."""
    half = kilometers / 222.0

    def places(count):
        return np.column_stack((
            52 + random.uniform(-half, half, count),
            13 + random.uniform(-half, half, count) / np.cos(np.pi * 52 / 180)
        ))

    pickup = places(trips) if stores is None else \
        places(stores)[random.integers(0, stores, trips)]
    dropoff = pickup + random.uniform(-0.01, 0.01, (trips, 2))
    ready = random.choice([0.0, 0.0, 600.0, 1800.0], trips)
    supply = np.column_stack((random.permutation(robots), places(robots),
                              random.uniform(30, 100, robots)))
    return np.column_stack((pickup, dropoff, ready)), supply
