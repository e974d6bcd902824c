"""The traffic envelope and the arithmetic of a tuner that follows it (InferLine, SoCC'20, doi 10.1145/3419111.3421285).

The envelope of an arrival process is, for windows of doubling length, the largest number of arrivals that any such
window holds.  A plan is good for the envelope it was made for; what exceeds it in a short window is burstiness, in a
long one rate.  All rates are per second, all times seconds; nothing here keeps a clock.

Symbols: r arrivals of the pipeline per second, s share of them that visit a model, mu records per second of one
replica at its batch size, k replicas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

LONGEST_S = 60.0
#: A quotient this close above a whole number of replicas is that number: 3.0000000001 is three.
_ROUNDING = 1e-9


def windows(service_s: float, longest_s: float = LONGEST_S) -> tuple[float, ...]:
    """Window lengths: the pipeline's service time, then doubled while that is within the longest.

    Args:
        service_s: Time of one record through the pipeline with empty queues, above 0.
        longest_s: No window is longer, but the first is always there.
    """
    if service_s <= 0:
        raise ValueError("the first window must be longer than 0 s")
    found = [service_s]
    while found[-1] * 2 <= longest_s:
        found.append(found[-1] * 2)
    return tuple(found)


def envelope(times_s: npt.ArrayLike, lengths_s: Sequence[float]) -> dict[float, float]:
    """Most arrivals in any window of each length, per second.

    A window is half open, [t, t + length); the fullest one may be taken to begin at an arrival.

    Args:
        times_s: Arrival times, ascending.
        lengths_s: Window lengths.

    Returns:
        Length -> largest count / length; 0 without arrivals.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if len(times) == 0:
        return dict.fromkeys(lengths_s, 0.0)
    index = np.arange(len(times))
    return {
        length: float((np.searchsorted(times, times + length, side="left") - index).max()) / length
        for length in lengths_s
    }


def trailing(times_s: npt.ArrayLike, length_s: float) -> npt.NDArray[np.int64]:
    """Arrivals in the window of one length that ends at each arrival, itself included: (t - length, t].

    The largest of them is the envelope's count, so an observer keeps up with it one arrival at a time.
    """
    times = np.asarray(times_s, dtype=np.float64)
    first: npt.NDArray[np.int64] = np.searchsorted(times, times - length_s, side="right")
    return np.arange(1, len(times) + 1) - first


def widest(envelopes: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """The envelope of several samples: the largest of each window."""
    return {length: max(each[length] for each in envelopes) for length in envelopes[0]}


def exceeded(
    observed: Mapping[float, float], planned: Mapping[float, float], tolerance: float = 0.0
) -> dict[float, float]:
    """The observed rates above the planned ones, by window, shortest first.

    Args:
        observed: Window -> rate.
        planned: Window -> rate; windows that it lacks are not judged.
        tolerance: A rate up to 1 + tolerance times the planned one is within the plan.
    """
    return {
        length: rate
        for length, rate in sorted(observed.items())
        if length in planned and rate > planned[length] * (1.0 + tolerance)
    }


def recent_rate(times_s: npt.ArrayLike, now_s: float, look_back_s: float = 30.0, window_s: float = 5.0) -> float:
    """The largest mean rate of the successive windows that end now, looking back so far; scaling down goes by it."""
    times = np.asarray(times_s, dtype=np.float64)
    edges = now_s - window_s * np.arange(round(look_back_s / window_s), -1, -1)
    return float(np.diff(np.searchsorted(times, edges, side="left")).max()) / window_s


def utilisation(rate: float, share: float, replicas: int, throughput: float) -> float:
    """Load of a model's replicas: rho = r s / (k mu)."""
    return rate * share / (replicas * throughput)


def replicas_for(rate: float, share: float, throughput: float, target: float) -> int:
    """Replicas that carry a rate at a target utilisation, at least one: k = ceil(r s / (mu rho)).

    Scaling up takes the model's own planned utilisation, scaling down the smallest of the pipeline's.
    """
    return max(1, math.ceil(rate * share / (throughput * target) - _ROUNDING))


@dataclass(frozen=True, slots=True)
class Planned:
    """What the tuner must know of the plan it keeps.

    Attributes:
        rate: Arrivals of the pipeline that the plan was made for, per second.
        envelope: Window length -> rate, of the same arrivals.
        shares: Of each model: share of the pipeline's records that visit it.
        throughputs: Of each model: records per second of one replica at its batch size.
        replicas: Of each model.
    """

    rate: float
    envelope: Mapping[float, float]
    shares: tuple[float, ...]
    throughputs: tuple[float, ...]
    replicas: tuple[int, ...]

    @property
    def utilisations(self) -> tuple[float, ...]:
        """Planned utilisation of each model."""
        of = zip(self.shares, self.replicas, self.throughputs, strict=True)
        return tuple(utilisation(self.rate, share, k, mu) for share, k, mu in of)


@dataclass(frozen=True, slots=True)
class Rules:
    """The tuner's parameters, with InferLine's defaults.

    Attributes:
        settle_s: No scaling down so soon after any change.
        look_back_s: Scaling down goes by the largest rate in this time,
        window_s: in windows of this length.
        tolerance: Share by which a window may exceed the planned envelope unanswered; 0 is InferLine's.
        matched: False, InferLine's: replicas for the largest exceeding rate, whatever its window, so a burst of
            milliseconds counts as if it lasted.  True: replicas times the largest ratio of an exceeding rate to the
            planned rate of the same window.
    """

    settle_s: float = 15.0
    look_back_s: float = 30.0
    window_s: float = 5.0
    tolerance: float = 0.0
    matched: bool = False


def scale_up(
    planned: Planned, observed: Mapping[float, float], replicas: Sequence[int], rules: Rules = Rules()
) -> tuple[list[int], str]:
    """Replicas of each model when the observed envelope exceeds the planned one; never fewer than there are.

    Args:
        planned: The plan.
        observed: Envelope of the last arrivals.
        replicas: Of each model now, those still starting included.
        rules: Parameters.

    Returns:
        Replicas of each model, and why; the reason is empty where nothing is exceeded.
    """
    over = exceeded(observed, planned.envelope, rules.tolerance)
    if not over:
        return list(replicas), ""
    if rules.matched:
        length = max(over, key=lambda window: over[window] / planned.envelope[window])
        rate = planned.rate * over[length] / planned.envelope[length]
    else:
        length = max(over, key=lambda window: over[window])
        rate = over[length]
    wanted = [
        max(now, replicas_for(rate, share, mu, rho))
        for now, share, mu, rho in zip(replicas, planned.shares, planned.throughputs, planned.utilisations, strict=True)
    ]
    reason = f"{over[length]:.4g}/s in {length:.3g} s, planned for {planned.envelope[length]:.4g}/s"
    return wanted, reason


def scale_down(
    planned: Planned, recent_per_s: float, replicas: Sequence[int], rules: Rules = Rules()
) -> tuple[list[int], str]:
    """Replicas of each model for the rate of late; never more than there are, never below one.

    Args:
        planned: The plan.
        recent_per_s: `recent_rate` of the arrivals.
        replicas: Of each model now.
        rules: Parameters.

    Returns:
        Replicas of each model, and why; the reason is empty where nothing can go.
    """
    target = min(planned.utilisations)
    wanted = [
        min(now, replicas_for(recent_per_s, share, mu, target))
        for now, share, mu in zip(replicas, planned.shares, planned.throughputs, strict=True)
    ]
    if wanted == list(replicas):
        return wanted, ""
    return wanted, f"at most {recent_per_s:.4g}/s in {rules.window_s:g} s windows of the last {rules.look_back_s:g} s"


@dataclass(slots=True)
class Tuner:
    """Follows a plan's envelope: up at once, down after the load was quiet for a while.

    A pure object: told the time and what was observed, it answers with replicas and a reason.

    Attributes:
        planned: The plan.
        rules: Parameters.
        changed_s: When it last changed anything; it starts as if at 0.
    """

    planned: Planned
    rules: Rules = field(default_factory=Rules)
    changed_s: float = 0.0

    def decide(
        self, now_s: float, observed: Mapping[float, float], recent_per_s: float, replicas: Sequence[int]
    ) -> tuple[list[int], str]:
        """Replicas of each model from now on, and why; an empty reason where they stay.

        Args:
            now_s: The time.
            observed: Envelope of the last arrivals, by the windows of the plan's.
            recent_per_s: `recent_rate` of the arrivals.
            replicas: Of each model, those still starting included.
        """
        wanted, reason = scale_up(self.planned, observed, replicas, self.rules)
        if not reason and now_s - self.changed_s >= self.rules.settle_s:
            wanted, reason = scale_down(self.planned, recent_per_s, replicas, self.rules)
        if wanted == list(replicas):
            return wanted, ""
        self.changed_s = now_s
        return wanted, reason


def describe(found: Mapping[float, float]) -> list[dict[str, Any]]:
    """An envelope as JSON: window_s and per_s of each window."""
    return [{"window_s": length, "per_s": rate} for length, rate in sorted(found.items())]
