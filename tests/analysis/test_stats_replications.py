"""The truncation rule on transients that are known, and Student intervals against tables and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import stats


def by_hand(values: list[float], batch: int) -> int:
    """The rule as it is written: of every d, the squared standard error of what is left."""
    means = [sum(values[i : i + batch]) / batch for i in range(0, len(values) - batch + 1, batch)]
    errors = []
    for d in range(len(means) // 2 + 1):
        left = means[d:]
        middle = sum(left) / len(left)
        errors.append(sum((x - middle) ** 2 for x in left) / len(left) ** 2)
    return errors.index(min(errors)) * batch


@given(st.integers(0, 2**32 - 1), st.integers(50, 400), st.sampled_from([1, 2, 5]))
def test_the_rule_is_that_of_the_formula(seed: int, count: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count) + 5 * np.exp(-np.arange(count) / rng.uniform(1, count / 3))
    assert stats.mser(values, batch).cut == by_hand(values.tolist(), batch)


def test_nothing_is_cut_of_what_does_not_change() -> None:
    assert stats.mser([3.5] * 200) == stats.Truncation(0, settled=True)


@pytest.mark.parametrize("begin", [5, 60, 235])
def test_a_step_is_cut_where_it_is(begin: int) -> None:
    values = np.random.default_rng(begin).normal(10, 0.5, 500)
    values[:begin] += 20
    found = stats.mser(values)
    assert found.settled
    assert begin <= found.cut <= begin + 10


def test_what_is_left_of_a_decaying_transient_has_the_mean_of_the_steady_state() -> None:
    rng = np.random.default_rng(4)
    whole, left, cuts = [], [], []
    for _ in range(200):
        noise = rng.normal(size=600)
        for i in range(1, 600):
            noise[i] += 0.5 * noise[i - 1]
        values = 50 + noise + 30 * np.exp(-np.arange(600) / 20)
        found = stats.mser(values)
        whole.append(values.mean())
        left.append(values[found.cut :].mean())
        cuts.append(found.cut)
    assert np.mean(whole) - 50 > 0.9  # 30 * 20 / 600, what the transient adds
    assert abs(np.mean(left) - 50) < 0.1
    assert 20 <= np.median(cuts) <= 150


def test_growth_never_settles() -> None:
    assert stats.mser(np.arange(300.0)) == stats.Truncation(150, settled=False)


def test_too_short_a_series_says_nothing() -> None:
    assert stats.mser(np.arange(49.0)) == stats.Truncation(0, settled=False)


def test_a_student_interval_by_hand() -> None:
    found = stats.t_interval([1, 2, 3, 4])
    half = 3.182446305 * math.sqrt(5 / 3) / 2  # t of three degrees of freedom, from a table
    assert (found.mean, found.lo, found.hi) == pytest.approx((2.5, 2.5 - half, 2.5 + half))
    assert found.relative == pytest.approx(half / 2.5)
    assert stats.t_quantile(0.95, 1) == pytest.approx(12.7062047)
    assert stats.t_quantile(0.99, 1e9) == pytest.approx(2.5758293)


def test_one_value_has_no_interval_and_nothing_has_no_width() -> None:
    assert stats.t_interval([7.0]) == stats.Interval(7.0, None, None)
    assert stats.t_interval([7.0]).relative is None
    assert stats.t_interval([0.0, 0.0]).relative == 0.0
    assert stats.t_interval([-1.0, 1.0]).relative is None


def test_student_intervals_of_few_normal_values_cover_as_they_say() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        found = stats.t_interval(rng.normal(3, 2, 5))
        assert found.lo is not None
        assert found.hi is not None
        covered += found.lo <= 3 <= found.hi
    assert abs(covered / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)
