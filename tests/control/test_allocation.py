from __future__ import annotations

import itertools

import numpy as np
import pytest

from control import allocation
from control.allocation import FAIR, FAIR_SUM, FAIR_SUM_SPREAD, SPREAD, SUM, SUM_SPREAD, Goal, Ints, allocate
from control.queueing import Floats
from tests.control.seen import GOLDEN, RATES, demand

GOALS = {
    "sum": SUM,
    "fair": FAIR,
    "fairsum": FAIR_SUM,
    "fairsum-spread": FAIR_SUM_SPREAD,
    "spread": SPREAD,
    "sum-spread": SUM_SPREAD,
}


def chosen(values: Floats, replicas: Ints) -> Floats:
    return np.asarray(values[np.arange(len(values)), replicas - 1])


def exhaustive(values: Floats, quota: int, goal: Goal, weights: Floats) -> tuple[float, float]:
    """The best value there is, and among allocations of that value the best sum."""
    jobs, most = values.shape
    found = []
    for replicas in itertools.product(range(1, most + 1), repeat=jobs):
        if sum(replicas) <= quota:
            worth = chosen(values, np.array(replicas))
            found.append((goal.value(worth, weights), float(weights @ worth)))
    best = max(value for value, _ in found)
    return best, max(total for value, total in found if value > best - 1e-12)


@pytest.mark.parametrize("goal", GOALS.values(), ids=GOALS)
@pytest.mark.parametrize("seed", range(25))
def test_no_allocation_is_better(goal: Goal, seed: int) -> None:
    rng = np.random.default_rng(seed)
    jobs, most = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    values = np.sort(rng.choice([rng.random((jobs, most)), rng.integers(0, 4, (jobs, most)) / 3]), axis=1)
    weights = rng.choice([np.ones(jobs), rng.integers(1, 4, jobs).astype(float)])
    quota = int(rng.integers(jobs, jobs * most + 2))
    replicas = allocate(values, quota, goal, weights)
    assert replicas.min() >= 1
    assert replicas.max() <= most
    assert replicas.sum() <= quota
    best, total = exhaustive(values, quota, goal, weights)
    worth = chosen(values, replicas)
    assert goal.value(worth, weights) == pytest.approx(best, abs=1e-8)
    if goal.worst_first:
        assert float(weights @ worth) == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize("quota", [24, 32, 40])
@pytest.mark.parametrize("running", [1, 3, [9, 1, 1, 1, 1, 1, 1, 1, 1, 7]])
def test_golden_optima_from_any_start(quota: int, running: int | list[int]) -> None:
    golden = GOLDEN["exact_optimum"][f"R{quota}"]
    values = allocation.value_table(demand(RATES, running), quota - 9)
    total = chosen(values, allocate(values, quota, SUM)).sum()
    assert total == pytest.approx(golden["sum"][0], abs=1e-4)
    fair = chosen(values, allocate(values, quota, FAIR))
    assert [fair.min(), fair.sum()] == pytest.approx(golden["maxmin"][:2], abs=1e-4)
    assert allocate(values, quota, SUM).tolist() == golden["sum"][1]
    assert allocate(values, quota, FAIR).tolist() == golden["maxmin"][2]


def published_fair_sum(worth: Floats) -> float:
    """Sum + n (min - max + 1)."""
    return FAIR_SUM_SPREAD.value(worth, np.ones(len(worth))) + len(worth)


@pytest.mark.parametrize("quota", [32, 40])
def test_golden_optima_of_the_sum_with_the_spread(quota: int) -> None:
    golden = GOLDEN["exact_optimum"][f"R{quota}"]["fairsum(n=10)"]
    values = allocation.value_table(demand(RATES), quota - 9)
    for goal in (FAIR_SUM, FAIR_SUM_SPREAD):
        replicas = allocate(values, quota, goal)
        assert replicas.tolist() == golden[3]
        assert published_fair_sum(chosen(values, replicas)) == pytest.approx(golden[0], abs=1e-4)


def test_with_too_few_replicas_the_published_sum_with_the_spread_makes_all_equally_bad() -> None:
    values = allocation.value_table(demand(RATES), 15)
    golden = GOLDEN["exact_optimum"]["R24"]["fairsum(n=10)"]
    assert published_fair_sum(chosen(values, np.array(golden[3]))) == pytest.approx(golden[0], abs=1e-4)
    # One replica each, and two for the busiest job: worth next to nothing to anyone, and a higher objective.
    poor = np.array([1, 1, 1, 1, 2, 1, 1, 1, 1, 1])
    assert published_fair_sum(chosen(values, poor)) > golden[0] + 1.9
    assert allocate(values, 24, FAIR_SUM_SPREAD).tolist() == poor.tolist()
    # Ours counts the worst job as often, but takes nothing off for the best one.
    assert chosen(values, allocate(values, 24, FAIR_SUM)).sum() > 6.7


def test_as_many_replicas_stay_free_as_the_tolerance_allows() -> None:
    values = np.array([[0.5, 0.9, 0.90005, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert allocate(values, 8).tolist() == [4, 1]
    assert allocate(values, 4, tolerance=1e-4).tolist() == [2, 1]
    assert allocate(values, 4).tolist() == [3, 1]


def test_a_quota_below_one_each_gives_one_each() -> None:
    assert allocate(np.ones((4, 3)), 2).tolist() == [1, 1, 1, 1]


def test_weights_and_lower_bounds() -> None:
    values = np.array([[0.2, 1.0], [0.2, 1.0]])
    assert allocate(values, 3, weights=np.array([1.0, 2.0])).tolist() == [1, 2]
    assert allocate(values, 3, weights=np.array([1.0, 2.0]), least=np.array([2, 1])).tolist() == [2, 1]


def test_a_hundred_jobs() -> None:
    rng = np.random.default_rng(1)
    rates = np.tile(RATES, (10, 1)) * rng.uniform(0.9, 1.1, (100, 1))
    values = allocation.value_table(demand(rates), 60)
    for goal in (SUM, FAIR, FAIR_SUM, FAIR_SUM_SPREAD):
        replicas = allocate(values, 320, goal)
        assert replicas.sum() <= 320
        # No single replica moved from one job to another does better.
        best = goal.value(chosen(values, replicas), np.ones(100))
        for giver, taker in rng.integers(0, 100, (300, 2)):
            other = replicas.copy()
            other[giver], other[taker] = other[giver] - 1, other[taker] + 1
            if giver != taker and other.min() >= 1:
                assert goal.value(chosen(values, other), np.ones(100)) <= best + 1e-8


def test_a_job_that_grows_has_its_old_replicas_at_first() -> None:
    # At 10/s a job of 180 ms is worth .0454, .3302 and 1 with one, two and three replicas.
    rates = np.full((1, 4), 10.0)
    values = allocation.value_table(demand(rates, running=2, delay=1), 4)
    assert values[0, :3] == pytest.approx([0.045362, 0.330187, (0.330187 + 3) / 4], abs=1e-6)
    # A delay as long as all that is looked at is none.
    values = allocation.value_table(demand(rates[:, :1], running=2, delay=1), 4)
    assert values[0, 2] == pytest.approx(1.0)


def test_dropping_takes_load_off_and_can_pay() -> None:
    # One replica, 10/s: .0454 when all are let in.  Of the shares that may be dropped .7 is best: 3/s leave
    # ln(54) / (5.5556 - 3) / 2 + .18 = .9604 s, worth .7497, times 1 - (.5 + .5 x .62 / .92) = .1630.
    values, accept = allocation.drop_table(demand(np.full((1, 3), 10.0)), 3)
    assert values[0, 0] == pytest.approx(0.7497 * 0.16304, abs=1e-4)
    assert accept[0, 0] == pytest.approx(0.3)
    assert accept[0, 2] == 1.0  # three replicas carry it all
    assert (np.diff(values, axis=1) >= 0).all()
