"""From counts per job and minute to the instants at which requests arrive.

One PCG64 stream draws every gap, minute by minute and within a minute job by job: Faro's simulator draws so too
(EuroSys'25, doi 10.1145/3689031.3696071), and with `gaps: exponential` the same seed gives the very arrivals it had.
The first request of a minute comes at the minute's start and the gap after the last is drawn but not used, so the
count is exact, and a minute's last requests may come when the next has begun.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scenarios import cluster_traces
from scenarios.cluster_spec import Job, Load

Int64s = npt.NDArray[np.int64]
S_NS = 1_000_000_000


def counts(load: Load, jobs: Sequence[Job]) -> Int64s:
    """Requests of each job and minute of the scenario, [job, minute], the first minute being minute 0.

    Raises:
        ScenarioError: The file cannot be read.
        ValueError: A job replays a trace that the file lacks, or no minute is left.
    """
    trace = cluster_traces.read(load.trace, cluster_traces.DAY)
    for job in jobs:
        if not 0 <= job.trace < len(trace):
            raise ValueError(f"job {job.name} replays trace {job.trace}, {load.trace} has 0 to {len(trace) - 1}")
    last = None if load.minutes is None else load.first_minute + load.minutes
    found = trace[[job.trace for job in jobs], load.first_minute : last]
    if found.shape[1] == 0:
        raise ValueError(f"no minute {load.first_minute} in {load.trace}: it has {trace.shape[1]}")
    return found if load.scale == 1.0 else np.rint(found * load.scale).astype(np.int64)


def history(load: Load, jobs: Sequence[Job]) -> npt.NDArray[np.float64] | None:
    """Requests per minute of earlier days, [job, day, minute]; None without a file of them.

    A day of the file that is the day replayed is left out: a forecast may not be fitted on what it is to forecast.
    """
    if load.history is None:
        return None
    found = cluster_traces.read(load.history, cluster_traces.HISTORY)
    replayed = cluster_traces.read(load.trace, cluster_traces.DAY)
    if found.shape[::2] == replayed.shape:
        found = found[:, [not np.array_equal(found[:, day], replayed) for day in range(found.shape[1])]]
    earlier: npt.NDArray[np.float64] = found[[job.trace for job in jobs]].astype(np.float64) * load.scale
    return earlier


def arrivals(per_minute: Int64s, load: Load) -> list[Int64s]:
    """When the requests of each job arrive: int64 nanoseconds, ascending.

    Args:
        per_minute: [job, minute], as `counts` gives them.
        load: Its seed, its kind of gaps, and what a minute lasts.
    """
    stream = np.random.default_rng(load.seed)
    found: list[list[npt.NDArray[np.float64]]] = [[] for _ in per_minute]
    for minute in range(per_minute.shape[1]):
        for job, count in enumerate(per_minute[:, minute]):
            if count > 0:
                found[job].append(minute * load.unit_s + _offsets(stream, int(count), load))
    return [_merged(parts) for parts in found]


def _merged(parts: list[npt.NDArray[np.float64]]) -> Int64s:
    seconds = np.concatenate(parts) if parts else np.zeros(0)
    merged: Int64s = np.sort(np.rint(seconds * S_NS).astype(np.int64))
    return merged


def _offsets(stream: np.random.Generator, count: int, load: Load) -> npt.NDArray[np.float64]:
    """Seconds from the minute's start to each of its requests."""
    match load.gaps:
        case "exponential":
            gaps = stream.exponential(load.unit_s / count, count)
        case "poisson_ms":
            gaps = stream.poisson(load.unit_s * 1000.0 / count, count) / 1000.0
        case "even":
            gaps = np.full(count, load.unit_s / count)
        case "half":
            gaps = np.full(count, load.unit_s / 2 / count)
        case "instant":
            gaps = np.zeros(count)
    offsets = np.zeros(count)
    np.cumsum(gaps[:-1], out=offsets[1:])
    return offsets
