"""The difference of two results, its interval, and whether it is more than noise.

A metric of A and of B are two estimates with variances and, where the draws behind them pair, a covariance: that is
what pairing saves.  Any b - k a then has a variance and a Student interval.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis import stats
from scenarios.metric_names import METRIC_NAMES, STATISTICS

LEVEL = 0.95
#: What is said of a metric.
REAL, NOISE, SAME, ONE_FIGURE = "real", "noise", "same", "no interval"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric on both sides.

    Attributes:
        a: Its value in A.
        b: Its value in B.
        var_a: Variance of `a` as an estimate; None where the runs cannot say.
        var_b: Of `b`.
        cov: Covariance of the two; 0 where nothing pairs.
        freedom: Degrees of freedom of these.
    """

    a: float
    b: float
    var_a: float | None = None
    var_b: float | None = None
    cov: float = 0.0
    freedom: float = 1.0

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.var_a is not None and self.var_b is not None

    @property
    def difference(self) -> float:
        """B less A."""
        return self.b - self.a

    @property
    def relative(self) -> float | None:
        """The difference as a share of A."""
        return None if self.a == 0 else self.difference / abs(self.a)

    def variance(self, times: float = 1.0) -> float:
        """Of b - times a; 0 where rounding made it less."""
        var_a, var_b = self.var_a or 0.0, self.var_b or 0.0
        return max(0.0, var_b + times * times * var_a - 2 * times * self.cov)

    def interval(self, times: float = 1.0, level: float = LEVEL) -> tuple[float, float] | None:
        """Of b - times a."""
        if not self.known:
            return None
        middle = self.b - times * self.a
        half = stats.t_quantile(level, self.freedom) * math.sqrt(self.variance(times))
        return middle - half, middle + half

    def chance(self) -> float | None:
        """How likely so large a difference is where there is none: the two-sided p-value."""
        if not self.known:
            return None
        if self.difference == 0:
            return 1.0
        error = math.sqrt(self.variance())
        if error <= 1e-12 * max(abs(self.a), abs(self.b)):  # the same in every replication, but for rounding
            return 0.0 if abs(self.difference) > 1e-12 * max(abs(self.a), abs(self.b)) else 1.0
        from scipy.special import stdtr

        return float(2 * stdtr(self.freedom, -abs(self.difference) / error))

    @property
    def saved(self) -> float | None:
        """The share of the difference's variance that pairing saved against independent seeds; below 0 it cost some."""
        apart = (self.var_a or 0.0) + (self.var_b or 0.0)
        return None if not self.known or apart == 0 else 1 - self.variance() / apart


def replicated(a: ArrayLike, b: ArrayLike, *, paired: bool = True) -> Estimate:
    """The difference of the means of replications.

    Args:
        a: The metric in each replication of A, at least two.
        b: In each of B, as many; the k-th of both had the same seed.
        paired: Whether replications of one seed are held against each other.  The variance against independent seeds
            is the same of either: that of all pairs whose seeds differ.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or len(x) < 2:
        raise ValueError(f"expected as many replications of both and at least two, got {len(x)} and {len(y)}")
    found = np.cov(x, y) / len(x)
    return Estimate(
        float(x.mean()),
        float(y.mean()),
        float(found[0, 0]),
        float(found[1, 1]),
        float(found[0, 1]) if paired else 0.0,
        float(len(x) - 1),
    )


def judge(estimates: Mapping[str, Estimate], level: float = LEVEL) -> dict[str, str]:
    """`real`, `noise`, `same` or `no interval` for each metric.

    Many metrics are looked at, so one in twenty would differ by chance: real is what remains at the level for all of
    them together (Holm 1979).
    """
    found = {name: ONE_FIGURE if not each.known else NOISE for name, each in estimates.items()}
    chances = {name: each.chance() for name, each in estimates.items()}
    tested = sorted((chance, name) for name, chance in chances.items() if chance is not None)
    for place, (chance, name) in enumerate(tested):
        if chance > (1 - level) / (len(tested) - place):
            break
        found[name] = REAL
    for name, each in estimates.items():
        if each.known and found[name] == NOISE and each.difference == 0:
            found[name] = SAME
    return found


@dataclass(frozen=True, slots=True)
class Limit:
    """How much worse B may be than A in a metric, as a share of A."""

    word: str
    share: float


@dataclass(frozen=True, slots=True)
class Held:
    """What became of a limit.

    Attributes:
        limit: The limit.
        metric: The metric that its word meant.
        worse: How much worse B is, as a share of A; below 0 it is better.
        broken: Worse than the limit beyond noise.
        over: Worse than the limit.
    """

    limit: Limit
    metric: str
    worse: float
    broken: bool
    over: bool

    def told(self) -> dict[str, Any]:
        """One object for `--json`."""
        return {
            "limit": f"{self.limit.word}={self.limit.share:.10g}",
            "metric": self.metric,
            "worse": self.worse,
            "over": self.over,
            "broken": self.broken,
        }


def read_limits(written: Sequence[str], option: str) -> list[Limit]:
    """`p99=5%` or `throughput=0.05` as limits.

    Args:
        written: Each as given.
        option: Whose they are, for the message.

    Raises:
        ValueError: Not such a form, or no such metric.
    """
    return [_limit(text, option) for text in written]


def word_of(written: str) -> str:
    """The metric word that is meant: `p99` is `latency_p99`.

    Raises:
        ValueError: No metric is called so.
    """
    word = f"latency_{written}" if written in STATISTICS else written
    if word in METRIC_NAMES:
        return word
    from scenarios.rules import unknown_metric

    raise ValueError(f"{written!r}: {unknown_metric(written, (*STATISTICS, *METRIC_NAMES))}")


def hold(limit: Limit, estimates: Mapping[str, Estimate]) -> Held:
    """Whether a limit is broken: the interval of B less what is allowed is on the wrong side whole.

    Raises:
        ValueError: The metric has no value in both, none that A could be a share of, or no interval.
    """
    metric = _resolve(limit.word, estimates)
    found = estimates.get(metric)
    if found is None:
        raise ValueError(f"{limit.word}: {metric} does not have a value on both sides")
    if found.a <= 0:
        raise ValueError(f"{limit.word}: {metric} is {found.a:g} in A, and {limit.share:.4g} of that says nothing")
    times = 1 + limit.share if METRIC_NAMES[limit.word].upper else 1 - limit.share
    interval = found.interval(times)
    if interval is None:
        raise ValueError(f"{limit.word}: two runs give one figure each and no interval; compare the two scenarios")
    middle = found.b - times * found.a
    if METRIC_NAMES[limit.word].upper:
        return Held(limit, metric, found.difference / found.a, interval[0] > 0, middle > 0)
    return Held(limit, metric, -found.difference / found.a, interval[1] < 0, middle < 0)


def _resolve(word: str, estimates: Mapping[str, Estimate]) -> str:
    """The metric of a word; the clock of a latency is A's, and the delivery callback's only where B has it too."""
    from analysis.metrics import resolve

    return resolve(word, {name: each.a for name, each in estimates.items()})[0]


_LIMIT = re.compile(r"^(?P<word>[a-z0-9_]+)\s*=\s*(?P<number>[0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(?P<percent>%?)$")


def _limit(text: str, option: str) -> Limit:
    match = _LIMIT.match(text.strip())
    if match is None:
        raise ValueError(f"{option} {text!r}: write a metric and a share of it, such as p99=5%")
    share = float(match["number"]) / (100 if match["percent"] else 1)
    if not math.isfinite(share) or share > 10 or (share == 0 and option == "--precision"):
        raise ValueError(f"{option} {text!r}: a share is above 0 and at most 1000 %")
    try:
        return Limit(word_of(match["word"]), share)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None
