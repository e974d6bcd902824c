"""What a measurement is worth: client-bound, unstable, saturated and steady told apart, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from real.profiler.convergence import FULL, State, by_queue
from real.profiler.open_loop import Open
from real.profiler.service import Batches
from real.profiler.trials import Trial

#: A driver that sent so much later than it should have is what was measured.
LATE_SHARE = 0.02
#: Service times of the halves of a run differ by at most that.
DRIFT = 0.10
CLIENT_BOUND, UNSTABLE, SATURATED, STEADY = "client-bound", "unstable", "saturated", "steady"
_OVERLOADED = 0.97


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and its reason."""

    verdict: str
    reason: str


def full_batches(found: Batches, replicas: int) -> Judged:
    """Of a run of full batches: saturated is what it should be."""
    if not len(found.took):
        return Judged(UNSTABLE, "no batch was scored")
    busy, starved = found.busy(replicas), found.starved(replicas)
    if starved > 1 - FULL:
        reason = f"replicas wait for the driver {starved:.0%} of the time, more than {1 - FULL:.0%}"
        return Judged(CLIENT_BOUND, f"{reason}; raise --batch-sizes, or give the driver a core of its own")
    half = len(found.took) // 2
    if half >= 10:
        before, after = float(np.median(found.took[:half])), float(np.median(found.took[half:]))
        if abs(after - before) > DRIFT * before:
            reason = f"a batch took {before / 1e6:.3g} ms in the first half and {after / 1e6:.3g} ms in the second"
            return Judged(UNSTABLE, f"{reason}; leave the machine alone, or raise --warmup")
    return Judged(SATURATED, f"replicas score {busy:.0%} of the time")


def late(run: Open) -> float:
    """By which share of the run's length the driver was behind: its last request, and those it never sent."""
    if not len(run.sent) or not (run.sent >= 0).any():
        return 1.0
    sent = run.sent >= 0
    behind = float((run.sent - run.due)[sent][-1])
    end = max(1, int(run.due[sent][-1]))
    return max(behind / end, run.unsent / (run.unsent + int(sent.sum())))


def busy(run: Open, replicas: int, skip_ns: int = 0) -> float:
    """Share of the time that replicas score, between the first batch after a while and the last."""
    began, ended = run.batch_began, run.batch_ended
    of = began >= skip_ns
    if not of.any():
        return 0.0
    span = int(ended[of].max()) - int(began[of].min())
    return float((ended - began)[of].sum()) / max(1, span) / replicas


def open_loop(run: Open, series: list[Trial], batch: int, replicas: int, offered_per_s: float) -> Judged:
    """Of an open-loop run."""
    behind = late(run)
    if behind > LATE_SHARE:
        reason = f"the driver sent {behind:.1%} late, more than {LATE_SHARE:.0%}"
        return Judged(
            CLIENT_BOUND, f"{reason}: it is what was measured; lower --rate or --load, or raise --batch-sizes"
        )
    scoring = busy(run, replicas)
    state = by_queue(series, batch, scoring)
    answered = run.accounting()["scored"] / (run.lasted_ns / 1e9)
    growing = state is State.INCREASING or answered < _OVERLOADED * offered_per_s
    if growing:
        full = float(run.sizes[len(run.sizes) // 2 :].mean()) / batch if len(run.sizes) else 0.0
        if full < FULL or scoring < FULL:
            reason = f"requests wait, yet batches are {full:.0%} full and replicas score {scoring:.0%} of the time"
            return Judged(CLIENT_BOUND, f"{reason}: the driver does not feed them; raise --batch-sizes")
        return Judged(SATURATED, f"{answered:.4g}/s answered of {offered_per_s:.4g}/s; the queue grows")
    if state is State.HIGH:
        return Judged(UNSTABLE, "the queue is long and neither grows nor shrinks; lower --load, or raise --duration")
    if state is State.DECREASING:
        return Judged(UNSTABLE, "the queue still shrinks; raise --duration or --warmup")
    if state is State.UNKNOWN:
        return Judged(
            STEADY, f"{len(series)} trials are too few for a test of the queue; all that was sent was answered"
        )
    return Judged(STEADY, f"replicas score {scoring:.0%} of the time")
