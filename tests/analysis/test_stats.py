"""Statistics against values worked out by hand and against simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import stats

POSITIVE = st.floats(1e-3, 1e6)


def test_errors_are_logarithms_of_the_ratio_to_the_median() -> None:
    assert stats.log_error(110.0, [90, 100, 120]) == pytest.approx(math.log(1.1))
    assert stats.signed_log_error(50.0, [100]) == pytest.approx(-math.log(2))
    assert stats.within(math.log(1.2)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="above zero"):
        stats.log_error(0.0, [1.0])
    with pytest.raises(ValueError, match="above zero"):
        stats.log_error(1.0, [1.0, -1.0])


def test_noise_ceiling_by_hand() -> None:
    # others' medians: of (2, 8) 5, of (1, 8) 4.5, of (1, 2) 1.5
    expected = np.median([math.log(5 / 1), math.log(4.5 / 2), math.log(8 / 1.5)])
    assert stats.noise_ceiling([1, 2, 8]) == pytest.approx(expected)
    assert stats.noise_ceiling([5, 5, 5]) == 0.0
    assert stats.noise_ceiling([5]) is None


@given(st.lists(POSITIVE, min_size=2, max_size=9), st.floats(0.01, 100))
def test_the_ceiling_does_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    ceiling = stats.noise_ceiling(values)
    assert ceiling is not None
    assert ceiling >= 0
    assert stats.noise_ceiling([v * unit for v in values]) == pytest.approx(ceiling, abs=1e-9)


@given(POSITIVE, st.lists(POSITIVE, min_size=1, max_size=9))
def test_too_high_and_too_low_by_the_same_factor_are_the_same_error(factor: float, real: list[float]) -> None:
    middle = float(np.median(real))
    assert stats.log_error(middle * factor, real) == pytest.approx(stats.log_error(middle / factor, real), abs=1e-9)


def test_wilson_by_hand() -> None:
    lo, hi = stats.wilson(8, 10)
    assert (round(lo, 4), round(hi, 4)) == (0.4902, 0.9433)
    assert stats.wilson(0, 10)[0] == 0.0
    assert stats.wilson(10, 10)[1] == 1.0
    with pytest.raises(ValueError, match="3 of 2"):
        stats.wilson(3, 2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_interval_of_the_median_lies_within_the_sample(values: list[float]) -> None:
    lo, hi = stats.bootstrap_interval(values, resamples=200)
    assert min(values) <= lo <= hi <= max(values)


def test_the_interval_of_a_mean_covers_it() -> None:
    rng = np.random.default_rng(3)
    covered = sum(
        lo <= 5.0 <= hi
        for lo, hi in (stats.bootstrap_interval(rng.normal(5, 2, 40), np.mean, resamples=400) for _ in range(200))
    )
    assert 0.88 <= covered / 200 <= 0.99


def test_ratio_of_medians() -> None:
    ratio, lo, hi = stats.median_ratio([10, 11, 12, 13], [5, 5, 6, 6])
    assert ratio == pytest.approx(11.5 / 5.5)
    assert 10 / 6 <= lo <= ratio <= hi <= 13 / 5


def test_the_slope_of_a_line_is_exact() -> None:
    found = stats.slope(np.arange(30.0), 3 * np.arange(30.0) + 7)
    assert (found.value, found.lo, found.hi) == pytest.approx((3, 3, 3))


def test_a_short_series_has_no_interval() -> None:
    found = stats.slope(np.arange(9.0), np.arange(9.0))
    assert found.value == pytest.approx(1.0)
    assert (found.lo, found.hi) == (None, None)
    assert stats.slope([1.0], [4.0]) == stats.Slope(0.0, None, None)


def test_the_slope_of_correlated_noise_is_rarely_found_above_zero() -> None:
    """A queue that wanders for two seconds at a time; without blocks half of these would be called growth."""
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(200):
        noise = rng.normal(size=60)
        for i in range(1, 60):
            noise[i] += 0.6 * noise[i - 1]
        lo = stats.slope(np.arange(60.0), noise, resamples=400).lo
        assert lo is not None
        found += lo > 0
    assert found / 200 < 0.12


def test_nothing_to_describe_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        stats.bootstrap_interval([])
    assert stats.spread([3, 1, 2]) == (2, 1, 3)
