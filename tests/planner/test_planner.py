"""Assignments and plans against scipy's linear_sum_assignment, which is
another implementation: the same number served, at the same total."""

import os
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import planner as tool  # noqa: E402

INF = np.inf


@pytest.fixture(scope="module")
def planner():
    return tool.Planner()


def compare(planner, cost, what):
    ours, theirs = planner.assign(cost), tool.scipy_assign(cost)
    assert tool.same(ours, theirs), \
        "%s: ours %r, scipy %r" % (what, ours[:2], theirs[:2])


def random_matrix(random, rows, columns, kind):
    cost = random.uniform(0, 1e6, (rows, columns))
    if kind in (1, 3):
        cost = np.floor(cost / 2e5)                     # ties
    if kind in (2, 3):
        cost[random.random(cost.shape) < random.random()] = INF
    if kind == 4:
        cost[:, random.random(columns) < 0.7] = INF     # too few columns
    if kind == 5:
        cost = np.outer(np.arange(rows), np.arange(columns)) * 1.0
    return cost


@pytest.mark.parametrize("kind", range(6), ids=(
    "any", "ties", "infeasible", "infeasible-ties", "few-columns", "product"))
def test_small(planner, kind):
    for seed in range(1000):
        random = np.random.default_rng((kind, seed))
        rows, columns = random.integers(1, 61, 2)
        compare(planner, random_matrix(random, rows, columns, kind),
                "kind %d seed %d" % (kind, seed))


@pytest.mark.parametrize("rows,columns", (
    (500, 500), (700, 500), (500, 1500), (1000, 1000)))
@pytest.mark.parametrize("kind", range(5))
def test_large(planner, rows, columns, kind):
    random = np.random.default_rng((kind, rows, columns))
    compare(planner, random_matrix(random, rows, columns, kind), "large")


def geometric(random, rows, columns):
    a, b = (random.uniform(0, 1e4, (n, 2)) for n in (rows, columns))
    return np.hypot(*(a[:, None, i] - b[None, :, i] for i in (0, 1)))


def hard(name, random):
    if name == "equal":
        return np.full((1000, 1000), 7.0)
    if name == "one column wanted by all":
        cost = random.uniform(1e3, 2e3, (1000, 1000))
        cost[:, 0] = 0
        return cost
    if name == "one column allowed":
        cost = np.full((2000, 10000), INF)
        cost[:, 17] = random.random(2000)
        return cost
    if name == "mostly infeasible":
        cost = random.uniform(0, 1e6, (2000, 10000))
        cost[random.random(cost.shape) < 0.9995] = INF
        return cost
    if name == "city":
        return geometric(random, 1000, 1000)
    if name == "half of the columns":
        cost = geometric(random, 600, 1200)
        cost[:, 300:] = INF
        return cost
    if name == "nothing allowed":
        return np.full((50, 70), INF)
    if name == "rows the same":
        return np.repeat(geometric(random, 20, 400), 20, axis=0)
    if name == "2,000 by 10,000":
        return random.uniform(0, 1e6, (2000, 10000))
    raise AssertionError(name)


@pytest.mark.parametrize("name", (
    "equal", "one column wanted by all", "one column allowed",
    "mostly infeasible", "city", "half of the columns", "nothing allowed",
    "rows the same", "2,000 by 10,000"))
def test_hard(planner, name):
    compare(planner, hard(name, np.random.default_rng(5)), name)


def plan_compare(planner, trips, robots, rules, what):
    robot, cost, reasons, total, _ = planner.plan(trips, robots, rules)
    exact, why = planner.costs(trips, robots, rules)
    served = np.nonzero(robot != tool.NONE)[0]
    assert len(set(robot[served])) == len(served), what
    assert (cost[served] == exact[served, robot[served]]).all(), what
    theirs = tool.scipy_assign(exact)
    assert tool.same((len(served), total), theirs), \
        "%s: ours %r, scipy %r" % (what, (len(served), total), theirs[:2])
    common = np.bitwise_and.reduce(why, axis=1)
    assert (reasons == np.where(robot == tool.NONE, common, 0)).all(), what
    return robot


@pytest.mark.parametrize("kilometers", (2, 30, 150))
def test_plans(planner, kilometers):
    for seed in range(150):
        random = np.random.default_rng((kilometers, seed))
        trips, robots = tool.city(
            random, random.integers(1, 120), random.integers(1, 250),
            kilometers, stores=(None, 3)[seed % 2])
        rules = list(tool.RULES)
        rules[5] = random.choice([10, 50])
        plan_compare(planner, trips, robots, rules,
                     "%d km seed %d" % (kilometers, seed))


@pytest.mark.parametrize("trips,robots,stores", (
    (700, 700, None), (700, 700, 40), (700, 700, 1), (300, 3000, None),
    (300, 3000, 2), (500, 1400, 5), (500, 700, 5),
    (900, 300, None)))
def test_large_plans(planner, trips, robots, stores):
    random = np.random.default_rng((trips, robots))
    plan_compare(planner, *tool.city(random, trips, robots, stores=stores),
                 tool.RULES, "large plan")


def test_order_of_robots_does_not_matter(planner):
    """Also where many are as near."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        trips, robots = tool.city(random, random.integers(1, 100), 120)
        robots[:, 1:3] = robots[random.integers(0, 12, 120), 1:3]
        mixed = random.permutation(120)
        robot, cost, *_ = planner.plan(trips, robots)
        other, other_cost, *_ = planner.plan(trips, robots[mixed])
        found = np.where(other == tool.NONE, tool.NONE,
                         mixed[np.where(other == tool.NONE, 0, other)])
        assert (found == robot).all() and (cost == other_cost).all(), seed


def test_a_wrong_total_would_be_noticed():
    assert tool.same((3, 12.5), (3, 12.5))
    assert not tool.same((3, 12.5), (2, 12.5))
    assert not tool.same((3, 12.5), (3, 12.50001))
