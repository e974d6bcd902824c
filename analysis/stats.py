"""Statistics of runs and of predictions: intervals by bootstrap, errors as logarithms, the noise ceiling.

Every draw comes from the seed given: the same numbers in, the same interval out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
BLOCK_S = 5


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line's slope and its 95 % interval, which is None where the series has no two blocks."""

    value: float
    lo: float | None
    hi: float | None


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.median,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic.

    Args:
        values: One dimension, at least one value.
        statistic: Called with `axis=1` on (resamples, n).
        level: Of the interval.
        resamples: How many.
        seed: Of the draws.
    """
    x = _values(values)
    rng = np.random.default_rng(seed)
    drawn = statistic(x[rng.integers(0, len(x), (resamples, len(x)))], axis=1)
    return _interval(np.asarray(drawn, dtype=np.float64), level)


def median_ratio(
    numerator: ArrayLike, denominator: ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Ratio of two samples' medians and its bootstrap interval, both sides drawn independently.

    Returns:
        (ratio, low, high).
    """
    a, b = _values(numerator), _values(denominator)
    rng = np.random.default_rng(seed)
    above = np.median(a[rng.integers(0, len(a), (resamples, len(a)))], axis=1)
    below = np.median(b[rng.integers(0, len(b), (resamples, len(b)))], axis=1)
    lo, hi = _interval(above / below, level)
    return float(np.median(a) / np.median(b)), lo, hi


def slope(
    times_s: ArrayLike,
    values: ArrayLike,
    *,
    block_s: float = BLOCK_S,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Slope:
    """Least-squares slope of a series sampled at even times, with a moving-block bootstrap interval.

    Neighbouring samples of a queue's length are nearly equal, so single samples cannot be drawn as if they were
    independent: whole blocks of (time, value) pairs are, of `block_s` or of a tenth of the series, whichever is
    longer (Kunsch 1989; blocks of pairs as in Fitzenberger 1998).

    Args:
        times_s: Ascending, evenly spaced, seconds.
        values: As many.
        block_s: Shortest block, seconds.
        level: Of the interval.
        resamples: How many.
        seed: Of the draws.

    Returns:
        The slope in value per second; without an interval where the series is shorter than two blocks.
    """
    t, y = _values(times_s), _values(values)
    if len(t) < 2:
        return Slope(0.0, None, None)
    value = float(_ols(t[None, :], y[None, :])[0])
    step = (t[-1] - t[0]) / (len(t) - 1)
    block = max(2, math.ceil(block_s / step), len(t) // 10)
    if len(t) < 2 * block:
        return Slope(value, None, None)
    count = math.ceil(len(t) / block)
    starts = np.random.default_rng(seed).integers(0, len(t) - block + 1, (resamples, count))
    index = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, : len(t)]
    drawn_t = t[index]
    # All blocks of a draw at one place leave little spread in time; what they say of the slope is still a slope.
    lo, hi = _interval(_ols(drawn_t, y[index]), level)
    return Slope(value, lo, hi)


def log_error(predicted: float, measured: ArrayLike) -> float:
    """|ln(predicted / median(measured))|: within x % means at most ln(1 + x), either way.

    Raises:
        ValueError: A value that is not above zero, or nothing measured.
    """
    return abs(signed_log_error(predicted, measured))


def signed_log_error(predicted: float, measured: ArrayLike) -> float:
    """ln(predicted / median(measured)): above zero, the prediction was too high.  Raises as `log_error`."""
    x = _values(measured)
    if predicted <= 0 or bool((x <= 0).any()):
        raise ValueError(f"the logarithm of a ratio needs values above zero (predicted {predicted}, measured {x})")
    return math.log(predicted / float(np.median(x)))


def noise_ceiling(measured: ArrayLike) -> float | None:
    """How well the measurement predicts itself: each repeat by the median of the others, the median of |ln ratio|.

    Returns:
        None for fewer than two repeats.

    Raises:
        ValueError: A value that is not above zero.
    """
    x = _values(measured)
    if len(x) < 2:
        return None
    return float(np.median([log_error(float(np.median(np.delete(x, i))), [x[i]]) for i in range(len(x))]))


def within(error: float) -> float:
    """A log error as the fraction it is `within`: exp(error) - 1."""
    return math.expm1(error)


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); 95 % by default.

    Raises:
        ValueError: No trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials}")
    p, z2 = successes / trials, z * z
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    # At none and at all the bound is 0 and 1 exactly; the formula misses them in the last bit.
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == trials else centre + half


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, least, greatest) of repeats."""
    x = _values(values)
    return float(np.median(x)), float(x.min()), float(x.max())


def _ols(t: Floats, y: Floats) -> Floats:
    centred = t - t.mean(axis=1, keepdims=True)
    result: Floats = (centred * y).sum(axis=1) / (centred * centred).sum(axis=1)
    return result


def _interval(drawn: Floats, level: float) -> tuple[float, float]:
    lo, hi = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


def _values(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"expected one dimension and at least one value, got shape {x.shape}")
    return x
