"""Decision tables of the policies that plan: each row is an instant, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from control.allocation import SUM
from control.queueing import Floats
from control.scaling import cobyla
from control.scaling.faro import Faro
from control.scaling.mark import Mark
from tests.control.seen import decided, demand, facts, seen, view

LATE, GOOD = 0.9, 0.5


class Told:
    """A forecaster that says what it was told for each quantile, once enough was seen."""

    def __init__(self, per_s: dict[float, float], context: int = 0) -> None:
        self.per_s, self.context = per_s, context

    def forecast(self, job: int, seen: Sequence[float], quantile: float) -> Floats | None:
        del job
        return np.full(7, self.per_s[round(quantile, 1)] * 60) if len(seen) >= self.context else None


def test_mark() -> None:
    policy = Mark(facts(3), 32)
    seven, sixteen = (700.0,), (960.0,)

    def jobs(replicas: tuple[int, int, int], late: str, busy: str = "---", minutes: Any = None) -> Any:
        rates = minutes or (seven, sixteen, (1.0,))
        return [
            view(n, latency_s=LATE if late[job] == "x" else GOOD, busy=busy[job] == "x", rates_per_min=rates[job])
            for job, n in enumerate(replicas)
        ]

    table = [
        (10, jobs((1, 1, 1), "xx-"), {}),
        (20, jobs((1, 1, 1), "xx-"), {}),
        (30, jobs((1, 1, 1), "xx-"), {0: 2, 1: 2}),  # the reactive level: 30 s late
        (40, jobs((2, 2, 1), "xx-"), {}),
        (50, jobs((2, 2, 1), "xx-"), {}),
        # The first plan; 11.67/s x .18 / .72 = 2.92, 16/s: exactly 4.  The late ticks are forgotten.
        (60, jobs((2, 2, 1), "xx-"), {0: 3, 1: 4}),
        (70, jobs((3, 4, 1), "xx-"), {}),
        (80, jobs((3, 4, 1), "-x-", "-x-"), {}),  # a job that is not late for once keeps its count, ...
        (90, jobs((3, 4, 1), "xx-", "-x-"), {}),  # ... one that is on its way is not counted
        (100, jobs((3, 4, 1), "xx-"), {0: 4}),
        (110, jobs((4, 4, 1), "-x-"), {1: 5}),
        # What was seen since the plan: 2 to 5 minutes; the busiest counts.
        (300, jobs((4, 5, 1), "---", "---", ((700.0, 240.0, 480.0), (960.0, 60.0), (1.0, 481.0))), {0: 2, 1: 1, 2: 3}),
    ]
    for now_s, each, expected in table:
        assert decided(policy, now_s, *each) == expected, now_s


def test_mark_tries_its_plans_five_times_and_increases_once() -> None:
    policy = Mark(facts(1), 32, first_s=10, up_after_s=10)
    assert [action.trials for action in policy.decide(seen(10, view(1, rates_per_min=(960.0,))))] == [5]
    assert [action.trials for action in policy.decide(seen(20, view(4, latency_s=LATE)))] == [1]


def test_mark_plans_for_the_median_forecast() -> None:
    policy = Mark(facts(1), 32, Told({0.5: 16.0}, context=2))
    assert decided(policy, 60, view(1, rates_per_min=(240.0,))) == {}
    assert decided(policy, 300, view(1, rates_per_min=(240.0,) * 5)) == {0: 4}


def test_in_a_row() -> None:
    policy = Mark(facts(1), 32, in_a_row=True)
    for tick, latency_s in enumerate((LATE, LATE, GOOD, LATE, LATE), 1):
        assert decided(policy, 10 * tick, view(1, latency_s=latency_s)) == {}


# Utilities of a job of 180 ms with 1, 2, 3 replicas: at 5/s .1702, 1, 1; at 10/s .0454, .3302, 1 (golden numbers).
@pytest.mark.parametrize(
    ("objective", "quota", "expected"),
    [
        ("sum", 5, {0: 2, 1: 3}),
        ("sum", 4, {0: 2, 1: 2}),  # 1 + .330; the others 1.170 and 1.045
        ("sum", 3, {0: 2}),  # 1 + .045 against .170 + .330
        ("fair", 3, {1: 2}),  # .170 against .045
        ("fairsum", 3, {0: 2}),  # 1.045 + 2 x .045 against .500 + 2 x .170
        ("sum", 9, {0: 2, 1: 3}),  # more brings nothing
    ],
)
def test_faro_objectives(objective: Any, quota: int, expected: dict[int, int]) -> None:
    policy = Faro(facts(2), quota, objective=objective)
    jobs = [view(1, rates_per_min=(300.0,)), view(1, rates_per_min=(600.0,))]
    assert decided(policy, 50, *jobs, quota=quota) == {}
    assert decided(policy, 60, *jobs, quota=quota) == expected
    # The answer does not depend on where the jobs are.
    elsewhere = Faro(facts(2), quota, objective=objective)
    jobs = [view(7, rates_per_min=(300.0,)), view(7, rates_per_min=(600.0,))]
    assert decided(elsewhere, 60, *jobs, quota=quota) == {0: 1, 1: 1} | expected


def test_faro_as_published_prefers_all_equally_bad() -> None:
    # .500 + 2 (.170 - .330) = .18 against 1.045 + 2 (.045 - 1) = -.86
    policy = Faro(facts(2), 3, objective="fairsum", published=True)
    jobs = [view(1, rates_per_min=(300.0,)), view(1, rates_per_min=(600.0,))]
    assert decided(policy, 60, *jobs, quota=3) == {1: 2}


def test_faro_counts_the_minute_that_moving_a_replica_takes() -> None:
    # Both at 10/s.  From (3, 1) to (2, 2): the second job's first of two minutes is still that of one replica:
    # (.0454 + .3302) / 2 = .188, with .330 for the first .518; staying is worth 1.045.
    def jobs(one: int, other: int) -> Any:
        return [view(n, rates_per_min=(600.0, 600.0)) for n in (one, other)]

    policy = Faro(facts(2), 4, objective="fair", first_s=300)
    assert decided(policy, 300, *jobs(3, 1), quota=4) == {0: 2, 1: 2}  # .188 is the better worst
    policy = Faro(facts(2), 5, objective="sum", first_s=300)
    # Full: (2, 3) is worth .330 + (.0454 + 1) / 2 = .853 from (4, 1), (4, 1) 1.045, (3, 2) 1 + .188 = 1.188.
    assert decided(policy, 300, *jobs(4, 1), quota=5) == {0: 3, 1: 2}
    policy = Faro(facts(2), 6, objective="sum", first_s=300)
    assert decided(policy, 300, *jobs(4, 1), quota=6) == {0: 3, 1: 3}  # one is free: (3, 3) is worth 2


def test_faro_plans_for_the_highest_quantile_that_leaves_replicas_free() -> None:
    # 5/s takes two replicas, 10/s three, 15/s four of four: nothing would be left.
    told = Told({0.6: 5.0, 0.7: 10.0, 0.8: 15.0, 0.9: 15.0})
    policy = Faro(facts(1), 4, told)
    (action,) = policy.decide(seen(60, view(1), quota=4))
    assert action.replicas == 3
    assert "quantile 0.7" in action.reason
    assert action.trials == 5
    assert decided(Faro(facts(1), 4, told, slack=False), 60, view(1), quota=4) == {0: 2}
    assert decided(Faro(facts(1), 5, told), 60, view(1), quota=5) == {0: 4}
    # What was merely observed has no quantiles.
    assert decided(Faro(facts(1), 9), 60, view(1, rates_per_min=(300.0,)), quota=9) == {0: 2}


def test_faro_reacts_between_plans() -> None:
    policy = Faro(facts(1), 9)
    assert decided(policy, 60, view(1, rates_per_min=(300.0,)), quota=9) == {0: 2}
    assert decided(policy, 70, view(2, latency_s=LATE), quota=9) == {}
    assert decided(policy, 80, view(2, latency_s=LATE), quota=9) == {}
    assert decided(policy, 90, view(2, latency_s=LATE), quota=9) == {0: 3}


def test_faro_drops_where_it_pays() -> None:
    # One replica for 10/s: best to let 30 % in (see the table in test_allocation).
    policy = Faro(facts(1), 1, objective="sum", drops=True)
    (action,) = policy.decide(seen(60, view(1, rates_per_min=(600.0,)), quota=1))
    assert action.replicas == 1
    assert action.accept == pytest.approx(0.3)
    # At rest there is nothing to do.
    assert decided(policy, 300, view(1, rates_per_min=(60.0,) * 4, accept=1.0), quota=1) == {}


def test_faro_weights() -> None:
    jobs = (facts(1)[0], facts(1, weight=10.0)[0])
    policy = Faro(jobs, 3, objective="sum")
    assert decided(policy, 60, *[view(1, rates_per_min=(300.0,))] * 2, quota=3) == {1: 2}


def test_faro_with_the_original_solver() -> None:
    rates = np.array([[5.0], [10.0]])
    wanted, _ = cobyla.solve(demand(rates, 1), 5, SUM)
    policy = Faro(facts(2), 5, objective="sum", solver="cobyla")
    jobs = [view(1, rates_per_min=(300.0,)), view(1, rates_per_min=(600.0,))]
    assert decided(policy, 60, *jobs, quota=5) == {job: n for job, n in enumerate(wanted.tolist()) if n != 1}


def test_faro_in_groups() -> None:
    policy = Faro(facts(4), 10, objective="sum", groups=2)
    jobs = [view(1, rates_per_min=(300.0,)), view(1, rates_per_min=(600.0,))] * 2
    assert decided(policy, 60, *jobs, quota=10) == {0: 2, 1: 3, 2: 2, 3: 3}
