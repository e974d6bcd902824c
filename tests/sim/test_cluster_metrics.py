"""Violations, utilities and drops, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import cluster_metrics as metrics
from analysis.cluster import DROPPED_FULL, PENDING, SERVED
from tests.sim.clusters import at_s, cluster

S = 1_000_000_000


@pytest.mark.parametrize(
    ("dropped", "expected"), [(0.0, 0.0), (0.01, 0.0), (0.011, 0.25), (0.05, 0.25), (0.1, 0.5), (0.11, 1.0), (1, 1.0)]
)
def test_penalty(dropped: float, expected: float) -> None:
    assert metrics.penalty(dropped) == expected


def test_utility() -> None:
    assert metrics.utility(0.36, 0.72, "latency") == 1.0
    assert metrics.utility(1.44, 0.72, "latency") == 0.5
    assert metrics.utility(0.72, 0.72, "latency_step") == 1.0
    assert metrics.utility(0.73, 0.72, "latency_step") == 0.0


def test_p99_is_interpolated_as_numpy_does_and_drops_are_infinite() -> None:
    for n in (1, 2, 50, 99, 100, 101, 1000):
        values = np.sort(np.random.default_rng(n).exponential(size=n))
        assert metrics._p99(values, 0) == pytest.approx(float(np.percentile(values, 99)), rel=1e-12)
    values = np.sort(np.random.default_rng(1).exponential(size=1000))
    assert metrics.utility(metrics._p99(values, 5), 1e9, "latency") == 1.0  # place 993.96 of 0 ... 1004
    assert metrics.utility(metrics._p99(values, 10), 1e9, "latency") == 1.0  # place 998.91: 998 and 999, both served
    assert metrics.utility(metrics._p99(values, 11), 1e9, "latency") < 1e-200  # place 999.9: the next is dropped


def test_two_jobs_and_two_minutes_by_hand() -> None:
    """Objective 1 s.  Minute 0: job 0 took .5 and 2 s, one dropped; job 1 took .5 s.  Minute 1: job 0 took 1 s.

    Job 0's replicas: 2 until 30 s, then 1; job 1's: 1.
    """
    scenario = cluster(jobs=2, slo_s=1.0)
    times = [at_s(0, 10, 20, 60), at_s(5)]
    took = [at_s(0.5, 2.0, 0.01, 1.0), at_s(0.5)]
    became = [np.array([SERVED, SERVED, DROPPED_FULL, SERVED]), np.array([SERVED])]
    changes = [[(0, 2), (30 * S, 1)], [(0, 1)]]
    jobs = metrics.per_job_minute(scenario, 2, times, took, became, changes, 61 * S)
    assert jobs["job"].tolist() == [0, 0, 1, 1]
    assert jobs["minute"].tolist() == [0, 1, 0, 1]
    assert jobs["requests"].tolist() == [3, 1, 1, 0]
    assert jobs["drops"].tolist() == [1, 0, 0, 0]
    assert jobs["violations"].tolist() == [2, 0, 0, 0]
    assert jobs["p99_s"][:3].tolist() == pytest.approx([0.5 + 0.99 * 1.5, 1.0, 0.5])
    assert math.isnan(jobs["p99_s"][3])
    assert jobs["utility"].tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0], abs=1e-200)
    assert jobs["effective_utility"].tolist() == [0.0, 1.0, 1.0, 1.0]  # a third dropped: all of it is taken off
    assert jobs["replicas_mean"].tolist() == [1.5, 1.0, 1.0, 1.0]

    found = metrics.summary(jobs, 2, took, became, (2 * 30 + 31 + 61) * S, 61 * S)
    assert found["violation_rate"] == pytest.approx(2 / 5)
    assert found["cluster_violation_rate"] == pytest.approx(((2 / 3 + 0) / 2 + 0) / 2)  # minute 1: job 0 alone
    assert found["lost_utility"] == pytest.approx(2 - (1 + 2) / 2)
    assert found["mean_ms"] == pytest.approx(1000.0)
    assert found["p99_ms"] == pytest.approx(np.percentile([500, 2000, 1000, 500], 99))
    assert found["drops"] == 1
    assert found["replicas_mean"] == pytest.approx(152 / 61)
    assert found["slo_rate"] == pytest.approx(3 / 5)


def test_what_was_on_its_way_at_the_end_violates_and_is_no_drop() -> None:
    scenario = cluster(slo_s=1.0)
    times, took, became = [at_s(0, 1, 2)], [at_s(0.5, 0, 0.5)], [np.array([SERVED, PENDING, SERVED])]
    jobs = metrics.per_job_minute(scenario, 1, times, took, became, [[(0, 1)]], 3 * S)
    assert (jobs["drops"].tolist(), jobs["violations"].tolist()) == ([0], [1])
    assert jobs["p99_s"].tolist() == [0.5]
    assert jobs["utility"].tolist() == jobs["effective_utility"].tolist() == pytest.approx([0.0], abs=1e-200)
    found = metrics.summary(jobs, 1, took, became, 3 * S, 3 * S)
    assert (found["drops"], found["mean_ms"]) == (0, 500.0)
    assert found["violation_rate"] == pytest.approx(1 / 3)


def test_requests_that_overran_the_last_minute_open_one_more() -> None:
    """In it job 1 has no request and adds no utility, as the published analysis has it."""
    scenario = cluster(jobs=2, slo_s=1.0)
    times, half = [at_s(0, 60.5, 130), at_s(5)], 500_000_000
    took = [np.full(3, half), np.full(1, half)]
    became = [np.full(3, SERVED), np.full(1, SERVED)]
    jobs = metrics.per_job_minute(scenario, 1, times, took, became, [[(0, 1)], [(0, 1)]], 131 * S)
    assert jobs["minute"].tolist() == [0, 1, 0, 1]
    assert jobs["requests"].tolist() == [1, 2, 1, 0]
    assert jobs["utility"].tolist() == [1.0, 1.0, 1.0, 0.0]
    found = metrics.summary(jobs, 2, took, became, 262 * S, 131 * S)
    assert found["lost_utility"] == pytest.approx(0.5)
    assert found["cluster_violation_rate"] == 0.0
