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
#: Observations of one batch of MSER-5.
MSER_BATCH = 5
BLOCK_S = 5
_FEWEST_BATCHES = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its interval; lo and hi are None where one value says nothing of the spread."""

    mean: float
    lo: float | None
    hi: float | None

    @property
    def relative(self) -> float | None:
        """Half the width over the mean; None where there is no interval, or the mean is 0 and the width is not."""
        if self.lo is None or self.hi is None:
            return None
        half = (self.hi - self.lo) / 2
        return 0.0 if half == 0 else half / abs(self.mean) if self.mean else None


@dataclass(frozen=True, slots=True)
class Truncation:
    """What MSER found: observations before `cut` are warm-up; not `settled`, the least was at the last place tried."""

    cut: int
    settled: bool


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


def t_quantile(level: float, freedom: float) -> float:
    """How many standard errors a two-sided Student interval extends to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def t_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of independent replications and its Student interval.

    Args:
        values: One of each replication.
        level: Of the interval.
    """
    x = _values(values)
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, None, None)
    half = t_quantile(level, len(x) - 1) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return Interval(mean, mean - half, mean + half)


def mser(values: ArrayLike, batch: int = MSER_BATCH) -> Truncation:
    """Where the warm-up of a series ends, by the marginal standard error rule (MSER-5 for batches of five).

    Of the means of successive batches, those before d are cut for the d, up to half of them, that makes the standard
    error of the mean of the rest least (White 1997; batches: White, Cobb and Spratt 2000).

    Args:
        values: Observations in order; what does not fill a last batch is left out.
        batch: Observations of one batch.

    Returns:
        The cut, a multiple of the batch.  Nothing is cut of fewer than ten batches, and then nothing is settled.
    """
    x = _values(values)
    count = len(x) // batch
    if count < _FEWEST_BATCHES:
        return Truncation(0, settled=False)
    means = x[: count * batch].reshape(count, batch).mean(axis=1)
    means = means - means.mean()
    left = count - np.arange(count // 2 + 1)
    sums = np.cumsum(means[::-1])[::-1][: len(left)]
    squares = np.cumsum(np.square(means)[::-1])[::-1][: len(left)]
    # Rounding must not tell two places apart at which nothing varies any more.
    error = (squares - sums * sums / left) / (left * left.astype(np.float64))
    error[error <= 1e-12 * max(float(error[0]), 1e-300)] = 0.0
    at = int(np.argmin(error))
    return Truncation(at * batch, settled=at < count // 2 or not error[0])


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
