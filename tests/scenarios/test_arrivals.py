"""Schedules: counts, rates, spacing and limits of each arrival kind; partitions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.arrivals import evenly, partition_of, schedule
from scenarios.draws import PURPOSE_PARTITION, draw
from scenarios.spec import MS_NS, S_NS, Arrival, Broker, Scenario, Workload

KINDS = [
    Arrival("constant", 100.0),
    Arrival("poisson", 100.0),
    Arrival("gamma", 100.0, cv=2.0),
    Arrival("gamma", 100.0, cv=0.5),
    Arrival("bursty", 100.0, low_ns=3 * S_NS, high_ns=S_NS),
    Arrival("ramp", 10.0, to_rate_per_s=200.0),
    Arrival("ramp", 200.0, to_rate_per_s=0.0),
    Arrival("square", 10.0, to_rate_per_s=200.0, period_ns=3 * S_NS),
    Arrival("square", 0.0, to_rate_per_s=200.0, period_ns=3 * S_NS),
    Arrival("square", 200.0, to_rate_per_s=0.0, period_ns=3 * S_NS),
]


@pytest.mark.parametrize("arrival", KINDS, ids=lambda a: f"{a.kind}-{a.rate_per_s:g}")
@pytest.mark.parametrize("horizon_ns", [0, 1, 999_999_999, 10 * S_NS, 10 * S_NS + 7])
def test_every_kind_is_ascending_int64_below_the_horizon_and_repeats(arrival: Arrival, horizon_ns: int) -> None:
    times = schedule(arrival, horizon_ns, 7)
    assert times.dtype == np.int64
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or (times[0] >= 0 and times[-1] < horizon_ns)
    assert np.array_equal(times, schedule(arrival, horizon_ns, 7))


@pytest.mark.parametrize("arrival", KINDS, ids=lambda a: f"{a.kind}-{a.rate_per_s:g}")
def test_producers_share_the_schedule_by_sequence(arrival: Arrival) -> None:
    whole = schedule(arrival, 5 * S_NS, 7)
    for producer in range(3):
        assert np.array_equal(schedule(arrival, 5 * S_NS, 7, producer=producer, producers=3), whole[producer::3])


@pytest.mark.parametrize("arrival", KINDS, ids=lambda a: f"{a.kind}-{a.rate_per_s:g}")
@pytest.mark.parametrize("limit", [0, 1, 17, 10**6])
def test_a_limit_is_the_beginning_of_the_whole(arrival: Arrival, limit: int) -> None:
    assert np.array_equal(schedule(arrival, 5 * S_NS, 7, limit=limit), schedule(arrival, 5 * S_NS, 7)[:limit])


@pytest.mark.parametrize("kind", ["constant", "poisson", "gamma"])
def test_a_longer_horizon_only_adds_records(kind: str) -> None:
    arrival = Arrival(kind, 500.0, cv=2.0 if kind == "gamma" else None)  # type: ignore[arg-type]
    short, long = schedule(arrival, 3 * S_NS, 7), schedule(arrival, 300 * S_NS, 7)
    assert np.array_equal(short, long[: len(short)])
    assert len(long) == len(short) or long[len(short)] >= 3 * S_NS


@given(
    st.decimals("0.001", "100000", places=3, allow_nan=False).map(float) | st.floats(1e-3, 1e5),
    st.integers(1, 3 * S_NS),
)
def test_constant_is_exact(rate: float, horizon_ns: int) -> None:
    times = evenly(rate, horizon_ns, 5_000)
    gap = S_NS / Fraction(repr(rate))
    assert len(times) == min(5_000, math.ceil(horizon_ns / gap))
    for i in {0, len(times) // 2, len(times) - 1}:
        assert times[i] == math.floor(i * gap)


def test_constant_does_not_drift_in_an_hour() -> None:
    times = schedule(Arrival("constant", 3000.0), 3600 * S_NS, 1)
    assert len(times) == 3000 * 3600
    assert (times[::3000] == np.arange(3600) * S_NS).all()
    assert set(np.diff(times)) == {333_333, 333_334}


def test_slow_rates_are_one_record_each_so_many_seconds() -> None:
    assert list(schedule(Arrival("constant", 0.2), 15 * S_NS, 1)) == [0, 5 * S_NS, 10 * S_NS]


@pytest.mark.parametrize(("kind", "cv"), [("poisson", 1.0), ("gamma", 0.25), ("gamma", 1.0), ("gamma", 2.0)])
def test_random_gaps_have_their_mean_and_variation(kind: str, cv: float) -> None:
    arrival = Arrival(kind, 1000.0, cv=cv if kind == "gamma" else None)  # type: ignore[arg-type]
    times = schedule(arrival, 200 * S_NS, 7)
    gaps = np.diff(times, prepend=0)
    n = len(gaps)
    assert abs(n / 200_000 - 1) < 4 * cv / math.sqrt(n)
    # kurtosis of a gamma is 3 + 6 cv^2: standard error of the variance ratio is sqrt((2 + 6 cv^2) / n)
    assert abs(gaps.var() / gaps.mean() ** 2 / cv**2 - 1) < 5 * math.sqrt((2 + 10 * cv * cv) / n)
    neighbours = np.corrcoef(gaps[:-1], gaps[1:])[0, 1]
    assert abs(neighbours) < 4 / math.sqrt(n)


def test_poisson_counts_are_poisson() -> None:
    counts = np.histogram(schedule(Arrival("poisson", 50.0), 2000 * S_NS, 3), np.arange(2001) * float(S_NS))[0]
    assert abs(counts.var() / counts.mean() - 1) < 4 * math.sqrt(2 / 2000)


def test_gamma_of_cv_one_is_poisson() -> None:
    poisson, gamma = (schedule(Arrival(k, 100.0, cv=c), 50 * S_NS, 7) for k, c in (("poisson", None), ("gamma", 1.0)))  # type: ignore[arg-type]
    assert len(poisson) == len(gamma)
    assert np.abs(poisson - gamma).max() <= len(poisson)  # rounding alone


def test_seeds_differ() -> None:
    arrival = Arrival("poisson", 100.0)
    assert not np.array_equal(schedule(arrival, S_NS, 1), schedule(arrival, S_NS, 2))


def test_bursty_phases_and_credit() -> None:
    arrival = Arrival("bursty", 50.0)  # 35 /s for 120 s, 55 /s for 30 s
    times = schedule(arrival, 300 * S_NS, 1)
    inside = [int(((times > a * S_NS) & (times < b * S_NS)).sum()) for a, b in ((0, 120), (120, 150), (150, 270))]
    assert inside == [35 * 120 - 1, 55 * 30 - 1, 35 * 120 - 1]
    assert [int((times == at * S_NS).sum()) for at in (0, 120, 150, 270)] == [1, 55 + 1, 35 + 1, 55 + 1]


def test_bursty_credit_is_at_most_the_time_idled_and_may_be_none() -> None:
    short = Arrival("bursty", 100.0, low_ns=500 * MS_NS, high_ns=500 * MS_NS, limiter_credit_ns=10 * S_NS)
    assert int((schedule(short, S_NS, 1) == 500 * MS_NS).sum()) == 55 + 1
    none = Arrival("bursty", 100.0, low_ns=S_NS, high_ns=S_NS, limiter_credit_ns=0)
    assert len(schedule(none, 2 * S_NS, 1)) == 70 + 110


def test_ramp_rises_linearly() -> None:
    times = schedule(Arrival("ramp", 0.0, to_rate_per_s=1000.0), 10 * S_NS, 1)
    per_s = np.histogram(times, np.arange(11) * float(S_NS))[0]
    assert len(times) == 5000
    assert np.abs(per_s - (100 * np.arange(10) + 50)).max() <= 1
    down = schedule(Arrival("ramp", 1000.0, to_rate_per_s=0.0), 10 * S_NS, 1)
    assert np.abs(np.histogram(down, np.arange(11) * float(S_NS))[0] - (100 * np.arange(9, -1, -1) + 50)).max() <= 1


def test_ramp_without_slope_is_constant() -> None:
    flat = schedule(Arrival("ramp", 250.0, to_rate_per_s=250.0), 4 * S_NS, 1)
    assert np.abs(flat - schedule(Arrival("constant", 250.0), 4 * S_NS, 1)).max() <= 1


def test_square_alternates_and_carries_fractions() -> None:
    times = schedule(Arrival("square", 10.0, to_rate_per_s=100.0, period_ns=4 * S_NS), 40 * S_NS, 1)
    halves = np.histogram(times, np.arange(21) * 2.0 * S_NS)[0]
    assert len(times) == 2200
    assert set(halves[::2]) <= {19, 20, 21}
    assert set(halves[1::2]) <= {199, 200, 201}
    odd = schedule(Arrival("square", 0.3, to_rate_per_s=0.7, period_ns=2 * S_NS), 1000 * S_NS, 1)
    assert len(odd) == 500


def scenario(partitioner: str, seed: int = 1, partitions: int = 8) -> Scenario:
    return Scenario(
        workload=Workload(partitioner=partitioner, seed=seed),  # type: ignore[arg-type]
        broker=Broker(partitions=partitions),
    )


def test_random_partitions_are_the_keyed_draws() -> None:
    parts = partition_of(scenario("random", seed=9), 1000)
    assert parts.dtype == np.int64
    assert [int(p) for p in parts] == [draw(9, 0, r, PURPOSE_PARTITION, 0) % 8 for r in range(1000)]


def test_random_partitions_are_even() -> None:
    counts = np.bincount(partition_of(scenario("random"), 80_000), minlength=8)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 24.3  # chi-square, 7 degrees, 0.1 %


def test_round_robin() -> None:
    assert list(partition_of(scenario("round-robin", partitions=3), 7)) == [0, 1, 2, 0, 1, 2, 0]
    assert len(partition_of(scenario("random"), 0)) == 0
