"""Whether a server keeps up with a rate, read from its trials: by the queue, and by latency where there is no queue.

The tests and their thresholds are those of Clipper's profiling drivers.  A queue is stable while its mean is below
three batches and its deviation below one and a half; otherwise a regression over the window says whether it grows.  At
batch 1 every batch is full, so there the share of time that replicas score says whether the rate asks enough of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from real.profiler.trials import Trial

#: Trials looked at: the last so many, the first four never.
WINDOW, SKIPPED = 15, 4
#: Fewer trials say nothing.
FEWEST = 10
FULL, MEAN_BATCHES, STD_BATCHES = 0.85, 3.0, 1.5
_QUEUE_P, _SLOPE_P, _FLAT_P = 0.01, 0.001, 0.2


class State(Enum):
    """What the trials say of the rate."""

    LOW = "low"  # stable, and the replicas are not asked enough to know their limit
    CONVERGED = "converged"
    HIGH = "high"  # the queue is long and does not change
    INCREASING = "increasing"
    DECREASING = "decreasing"
    UNKNOWN = "unknown"


def by_queue(trials: Sequence[Trial], batch: int, busy: float) -> State:
    """By the queue in front of the replicas.

    Args:
        trials: In order.
        batch: Of a full batch.
        busy: Share of the time that replicas score.
    """
    window = _window(trials)
    if len(window) < FEWEST - SKIPPED:
        return State.UNKNOWN
    queue = np.array([each.queue for each in window])
    if queue.mean() < MEAN_BATCHES * batch and queue.std() < STD_BATCHES * batch:
        asked = np.mean([each.batch for each in window]) > FULL * batch if batch > 1 else busy > FULL
        return State.CONVERGED if asked else State.LOW
    slope, p = regression(queue)
    if p < _QUEUE_P:
        return State.INCREASING if slope > 0 else State.DECREASING
    return State.HIGH


def by_latency(trials: Sequence[Trial], batch: int, most_ms: float) -> State:
    """By the 99th percentile, for servers whose queue cannot be seen.

    Args:
        trials: In order.
        batch: Of a full batch.
        most_ms: A flat percentile above that is too high.
    """
    window = _window(trials)
    if len(window) < FEWEST - SKIPPED:
        return State.UNKNOWN
    p99 = np.array([each.p99_ms for each in window])
    slope, p = regression(p99)
    if p < _SLOPE_P:
        return State.INCREASING if slope > 0 else State.DECREASING
    if p <= _FLAT_P:
        return State.UNKNOWN
    if p99.mean() > most_ms or (batch > 1 and np.mean([each.batch for each in window]) >= batch):
        return State.HIGH
    return State.CONVERGED


def regression(series: np.typing.NDArray[np.float64]) -> tuple[float, float]:
    """Slope of a series over its index, and how likely one so steep is by chance; of a constant (0, 1)."""
    if len(series) < 3 or float(np.ptp(series)) == 0.0:
        return 0.0, 1.0
    from scipy.stats import linregress

    found = linregress(np.arange(len(series)), series)
    return float(found.slope), float(found.pvalue)


def _window(trials: Sequence[Trial]) -> Sequence[Trial]:
    count = min(WINDOW, len(trials) - SKIPPED)
    return trials[-count:] if count > 0 else []
