from __future__ import annotations

import numpy as np
import pytest

from control.allocation import FAIR_SUM_SPREAD, SUM, Demand, Ints, allocate, value_table
from control.queueing import Floats
from control.scaling import cobyla
from control.scaling.groups import grouped
from tests.control.seen import RATES, demand


def total(replicas: Ints) -> float:
    return float(value_table(demand(RATES), 40)[np.arange(10), replicas - 1].sum())


def test_the_sum_with_the_spread_ends_where_it_starts() -> None:
    # From one replica each it stops with half the quota unused; from three each it finds the optimum.
    poor, _ = cobyla.solve(demand(RATES, 1), 32, FAIR_SUM_SPREAD)
    assert total(poor) == pytest.approx(1.40, abs=0.01)
    assert poor.sum() == 18
    good, _ = cobyla.solve(demand(RATES, 3), 32, FAIR_SUM_SPREAD)
    assert total(good) == pytest.approx(8.686156, abs=1e-4)


@pytest.mark.parametrize(("quota", "missed"), [(28, 0.030), (32, 0.011), (36, 0.0), (40, 0.0)])
def test_the_sum_from_one_replica_each_misses_the_optimum(quota: int, missed: float) -> None:
    best = total(allocate(value_table(demand(RATES), quota - 9), quota))
    replicas, accept = cobyla.solve(demand(RATES), quota, SUM)
    assert replicas.sum() <= quota
    assert 1 - total(replicas) / best == pytest.approx(missed, abs=0.001)
    assert (accept == 1.0).all()


def test_accepted_shares_are_noise_near_one() -> None:
    replicas, accept = cobyla.solve(demand(RATES, 3), 40, SUM, drops=True)
    assert total(replicas) == pytest.approx(10.0)
    assert accept.min() > 0.99
    assert accept.max() <= 1.0


def test_what_brings_nothing_is_given_back() -> None:
    # At 5/s two replicas are enough for 720 ms, at 10/s three.
    replicas, _ = cobyla.solve(demand(np.array([[5.0] * 3, [10.0] * 3]), 6), 12, SUM)
    assert replicas.tolist() == [2, 3]


def test_groups_share_by_what_they_were_given() -> None:
    def twice(part: Demand, quota: int) -> tuple[Ints, Floats]:
        calls.append((part.rates[:, 0].tolist(), part.low.tolist(), quota))
        return part.low * 2, np.ones(len(part.rates))

    calls: list[tuple[list[float], list[int], int]] = []
    replicas, accept = grouped(demand(np.arange(5.0)[:, None]), 11, 2, twice)
    # Groups of three and two; given 6 and 4 of 11: 6.6 and 4.4, so 7 and 4.  Three jobs are again two groups:
    # given 4 and 2 of 7: 4.67 and 2.33, so 5 and 2.
    assert calls == [
        ([3.0, 7.0], [3, 2], 11),
        ([1.0, 2.0], [2, 1], 7),
        ([0.0, 1.0], [1, 1], 5),
        ([2.0], [1], 2),
        ([3.0, 4.0], [1, 1], 4),
    ]
    assert replicas.tolist() == [2, 2, 2, 2, 2]
    assert accept.tolist() == [1.0] * 5
