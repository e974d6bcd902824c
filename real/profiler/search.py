"""The highest steady rate: starts anywhere, raises what is low and lowers what is high until the two meet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from real.profiler.convergence import State

#: A bracket so narrow is the answer.
WIDTH = 1.04
_MOST_STEPS = 24
_FIRST = 2.0
_TURNS = 2  # a rate that says nothing is tried so often, then counts as too high
_DOUBTS = 3  # the lowest rate that was too high is tried again, so often: something may have disturbed it


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried."""

    rate_per_s: float
    state: State
    client_bound: bool = False


@dataclass(slots=True)
class Found:
    """How a search ended.

    Attributes:
        rate_per_s: The highest rate that was steady; None where there was none.
        reason: `converged`, `client-bound` (the driver could not send faster), or `steps` (too many).
        steps: Every rate tried, in order.
    """

    rate_per_s: float | None = None
    reason: str = "steps"
    steps: list[Step] = field(default_factory=list)


def search(
    start_per_s: float, probe: Callable[[float], Step], *, width: float = WIDTH, most: int = _MOST_STEPS
) -> Found:
    """Searches.

    Args:
        start_per_s: Any rate.
        probe: Offers a rate and says what its trials say.
        width: The highest steady rate and the lowest that is not are at most so far apart, as a ratio.
        most: Rates tried at most.
    """
    found = Found()
    low: float | None = None
    high: float | None = None
    rate, stride, unknown, doubts = start_per_s, _FIRST, 0, _DOUBTS
    while len(found.steps) < most:
        step = probe(rate)
        found.steps.append(step)
        if step.state in (State.LOW, State.CONVERGED) and not step.client_bound:
            low, unknown = rate, 0
            found.rate_per_s = rate
            if high is not None and rate >= high:
                high, stride = None, width
        elif step.client_bound and step.state in (State.LOW, State.CONVERGED, State.UNKNOWN):
            # Not the server's limit: what was sent is less than what was offered.
            found.reason = "client-bound"
            return found
        elif step.state in (State.UNKNOWN, State.DECREASING) and unknown + 1 < _TURNS:
            unknown += 1
            continue
        else:
            if high == rate:
                doubts = 0  # twice is enough
            high, unknown = rate, 0
        if low is not None and high is not None:
            if high <= low * width and doubts > 0:
                rate, doubts = high, doubts - 1
                continue
            if high <= low * width:
                found.reason = "converged"
                return found
            rate = math.sqrt(low * high)
            continue
        rate = rate * stride if high is None else rate / stride
        stride = min(stride * stride, 16.0)
    return found
