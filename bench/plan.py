"""The planner alone against scipy's linear_sum_assignment: assignments over
the same matrix, and whole plans against scipy over a matrix that it is given.
CPU time of the thread, medians of rounds that take turns."""

import os
import sys

import numpy as np

import common

sys.path.insert(0, os.path.join(common.ROOT, "tests", "planner"))

import planner as tool  # noqa: E402

ROUNDS = 7
# rows, columns, kind: every part of a plan; city: distances in the plane
MATRICES = ((1000, 1000, "random"), (1000, 1000, "city"),
            (1000, 1000, "ties"), (2000, 10000, "random"),
            (2000, 500, "city"))
# trips, robots, stores
PLANS = ((1000, 1000, None), (1000, 1000, 100), (1000, 10000, None),
         (2000, 10000, None), (2000, 10000, 50), (2000, 500, None))


def matrix(random, rows, columns, kind):
    if kind == "random":
        return random.uniform(0, 1e4, (rows, columns))
    if kind == "ties":
        return np.floor(random.uniform(0, 100, (rows, columns)))
    trips, robots = (random.uniform(0, 1e4, (n, 2)) for n in (rows, columns))
    return np.hypot(*(trips[:, None, i] - robots[None, :, i] for i in (0, 1)))


def compare(table, what, make, ours, most=None, least=None):
    """Ours and scipy take turns over new instances. Aims: at most so many ms,
    and at least so many times as fast."""
    mine, theirs = [], []
    for number in range(ROUNDS):
        given, cost = make(np.random.default_rng(number))
        served, total, seconds = ours(given)
        mine.append(seconds * 1000)
        *expected, seconds = tool.scipy_assign(cost)
        theirs.append(seconds * 1000)
        if not tool.same((served, total), expected):
            raise RuntimeError("%s, round %d: %r, scipy %r" % (
                what, number, (served, total), expected))
    took, peer = common.median(mine), common.median(theirs)
    common.say("  %s: %.1f ms, at most %.1f; scipy %.1f ms, at most %.1f" % (
        what, took, max(mine), peer, max(theirs)))
    table.add(what, took, "ms", most, least=False)
    table.add("  scipy's time for the matrix (%.1f ms) to it" % peer,
              peer / took, "x", least)


def run(table):
    planner = tool.Planner()

    def plan(given):
        robot, _, _, total, seconds = planner.plan(*given)
        return int((robot != tool.NONE).sum()), total, seconds

    for rows, columns, kind in MATRICES:
        def make_matrix(random):
            cost = matrix(random, rows, columns, kind)
            return cost, cost
        compare(table, "assign %d x %d, %s" % (rows, columns, kind),
                make_matrix, planner.assign, least=1)

    for trips, robots, stores in PLANS:
        def make_city(random):
            given = tool.city(random, trips, robots, stores=stores)
            return given, planner.costs(*given)[0]
        where = "a city" if stores is None else "%d stores" % stores
        aims = (100, 1) if trips == robots else (None, None)
        compare(table, "plan %d x %d, %s" % (trips, robots, where), make_city,
                plan, *aims)
