"""What a run of a cluster comes to: violations, utilities and drops, by job and minute and altogether.

A request belongs to the minute it arrived in, and violates its job's objective L if it was dropped or took longer.  One
that was still on its way when a real run ended violates it, too, and counts as infinitely late, but not as dropped.

* violation_rate: violating share of all requests; cluster_violation_rate: of each minute the mean over jobs of their
  violating shares, of these the mean over minutes.
* utility of a job in a minute: min(1, L / p99), a dropped request counting as infinitely late; `latency_step`: 1 if
  p99 <= L, else 0.  effective utility: p99 of the served alone, times one less a penalty for the dropped share: 0 up to
  1 %, .25 up to 5 %, .5 up to 10 %, 1 above.
* lost utility: the number of jobs less the mean over minutes of the jobs' utilities together.  Gaps of the last minute
  that overran it open a further minute, in which a job without a request adds no utility: Faro's analysis counts 361
  minutes for its 360 so, and its published figures hold this.  In other minutes a job without requests loses nothing.
* mean and p99 of all latencies are of the served.
* recovery_s: the longest spell of violations of a job, from the arrival of its first request that violates to the reply
  of its last; violations whose arrivals are further apart than the latency window are of two spells.

Definitions: Faro (EuroSys'25, doi 10.1145/3689031.3696071) and its published analysis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, SERVED
from scenarios.cluster_spec import ClusterScenario

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Dropped share up to which a penalty is taken off the utility; above the last, all of it is.
PENALTIES = ((0.01, 0.0), (0.05, 0.25), (0.10, 0.5))
_DROPPED_S = 1e300  # stands for an infinite latency, and can be interpolated


class Decided(Protocol):
    """What became of one action of the policy."""

    @property
    def at_ns(self) -> int:
        """When."""

    @property
    def job(self) -> int:
        """Whose."""

    @property
    def replicas(self) -> int:
        """Granted to the job before."""

    @property
    def asked(self) -> int:
        """Asked for."""

    @property
    def granted(self) -> int:
        """Granted to the job now."""

    @property
    def reason(self) -> str:
        """In words."""

    @property
    def solver_s(self) -> float:
        """Time that the policy took."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What became of every request and replica, before it is judged."""

    arrivals: list[Int64s]
    latencies_ns: list[Int64s]
    outcomes: list[Int64s]
    changes: list[list[tuple[int, int]]]  # of each job, (ns, running replicas from then on)
    decisions: Sequence[Decided]
    solver_s: list[float]
    scale_outs: int
    scale_ins: int
    end_ns: int


def utility(p99_s: float, slo_s: float, kind: str) -> float:
    """min(1, slo / p99), or with kind `latency_step` whether p99 is within it."""
    if kind == "latency_step":
        return 1.0 if p99_s <= slo_s else 0.0
    return min(1.0, slo_s / p99_s)


def penalty(dropped: float) -> float:
    """What a dropped share takes off the utility, as a share of it."""
    return next((taken for share, taken in PENALTIES if dropped <= share), 1.0)


def minutes(scenario: ClusterScenario, trace_minutes: int, arrivals: Sequence[Int64s]) -> int:
    """Minutes that are judged: those of the trace, and one more if gaps of the last overran it."""
    end_ns = round(trace_minutes * scenario.workload.unit_s * 1e9)
    return trace_minutes + any(len(times) > 0 and times[-1] >= end_ns for times in arrivals)


def per_job_minute(
    scenario: ClusterScenario,
    trace_minutes: int,
    arrivals: Sequence[Int64s],
    latencies_ns: Sequence[Int64s],
    outcomes: Sequence[Int64s],
    changes: Sequence[Sequence[tuple[int, int]]],
    end_ns: int,
) -> dict[str, npt.NDArray[Any]]:
    """One row a job and minute, as columns.

    Args:
        scenario: Objectives, kind of utility, length of a minute.
        trace_minutes: Of the trace; later arrivals belong to one minute more.
        arrivals: Of each job, ns, ascending.
        latencies_ns: Of each job, as `arrivals`.
        outcomes: Of each job, as `arrivals`.
        changes: Of each job, (ns, running replicas from then on).
        end_ns: When the run ended.

    Returns:
        job, minute, requests, drops, violations (int64), p99_s (of the served; nan without any), utility,
        effective_utility, replicas_mean (float64).
    """
    judged = minutes(scenario, trace_minutes, arrivals)
    minute_ns = round(scenario.workload.unit_s * 1e9)
    rows: list[tuple[int | float, ...]] = []
    for number, (job, times, took, became) in enumerate(
        zip(scenario.jobs, arrivals, latencies_ns, outcomes, strict=True)
    ):
        edges = np.searchsorted(times, np.arange(judged + 1) * minute_ns, side="left")
        edges[-1] = len(times)
        replicas = _replicas(changes[number], np.arange(judged + 1) * minute_ns, end_ns)
        for minute in range(judged):
            part = slice(edges[minute], edges[minute + 1])
            served = took[part][became[part] == SERVED] / 1e9
            served.sort()
            n = len(took[part])
            drops = int(np.count_nonzero((became[part] == DROPPED_FULL) | (became[part] == DROPPED_RATE)))
            pending = n - len(served) - drops
            late = n - int(np.searchsorted(served, job.slo_s, side="right"))
            worth, effective, p99_s = 1.0, 1.0, np.nan
            if n == 0 and minute >= trace_minutes:
                worth = effective = 0.0
            if n > 0:
                worth = utility(_p99(served, drops + pending), job.slo_s, scenario.utility)
                effective = 0.0
            if len(served):
                p99_s = _p99(served, 0)
                worst_s = _p99(served, pending)
                effective = (1.0 - penalty(drops / n)) * utility(worst_s, job.slo_s, scenario.utility)
            rows.append((number, minute, n, drops, late, p99_s, worth, effective, replicas[minute]))
    names = (
        "job",
        "minute",
        "requests",
        "drops",
        "violations",
        "p99_s",
        "utility",
        "effective_utility",
        "replicas_mean",
    )
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {
        name: np.array(column, np.int64 if k < 5 else np.float64)
        for k, (name, column) in enumerate(zip(names, columns, strict=True))
    }


def _p99(ordered: Floats, infinite: int) -> float:
    """The 99th percentile, linearly interpolated, of ordered latencies and so many infinite ones."""
    n = len(ordered)
    place = 0.99 * (n + infinite - 1)
    low = int(place)
    at = [float(ordered[k]) if k < n else _DROPPED_S for k in (low, min(low + 1, n + infinite - 1))]
    return at[0] + (at[1] - at[0]) * (place - low)


def _replicas(changes: Sequence[tuple[int, int]], edges: Int64s, end_ns: int) -> Floats:
    """Mean running replicas between successive edges; those beyond the end count up to it."""
    at = np.array([at for at, _ in changes], np.int64)
    counts = np.array([count for _, count in changes], np.int64)
    ran = np.concatenate([[0], np.cumsum(counts[:-1] * np.diff(at))])
    bounds = np.minimum(edges, end_ns)
    last = np.searchsorted(at, bounds, side="right") - 1
    until = ran[last] + counts[last] * (bounds - at[last])
    lengths = np.diff(bounds)
    means: Floats = np.diff(until) / np.maximum(lengths, 1)
    return means


def summary(
    jobs: dict[str, npt.NDArray[Any]],
    count: int,
    latencies_ns: Sequence[Int64s],
    outcomes: Sequence[Int64s],
    running_ns: int,
    end_ns: int,
) -> dict[str, float]:
    """The run's metrics.

    Args:
        jobs: As `per_job_minute` gives them.
        count: Jobs.
        latencies_ns: Of each job.
        outcomes: Of each job.
        running_ns: Replicas times the time they ran.
        end_ns: When the run ended.
    """
    requests, violations, drops = (jobs[name].reshape(count, -1) for name in ("requests", "violations", "drops"))
    served = np.concatenate([took[became == SERVED] for took, became in zip(latencies_ns, outcomes, strict=True)]) / 1e6
    total = int(requests.sum())
    busy = requests > 0
    shares = np.where(busy, violations, 0) / np.where(busy, requests, 1)
    of_minutes = shares.sum(axis=0)[busy.any(axis=0)] / busy.sum(axis=0)[busy.any(axis=0)]
    worth, effective = (jobs[name].reshape(count, -1).sum(axis=0) for name in ("utility", "effective_utility"))
    return {
        "violation_rate": float(violations.sum()) / total if total else 0.0,
        "cluster_violation_rate": float(of_minutes.mean()) if len(of_minutes) else 0.0,
        "lost_utility": count - float(worth.mean()),
        "lost_effective_utility": count - float(effective.mean()),
        "mean_ms": float(served.mean()) if len(served) else 0.0,
        "p99_ms": float(np.percentile(served, 99, overwrite_input=True)) if len(served) else 0.0,
        "drops": int(drops.sum()),
        "replicas_mean": running_ns / end_ns if end_ns else 0.0,
        "slo_rate": 1.0 - float(violations.sum()) / total if total else 1.0,
    }


def judge(
    scenario: ClusterScenario, trace_minutes: int, trail: Trail
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, float]]:
    """The rows by job and minute, and the run's metrics."""
    jobs = per_job_minute(
        scenario, trace_minutes, trail.arrivals, trail.latencies_ns, trail.outcomes, trail.changes, trail.end_ns
    )
    running_ns = sum(_running_ns(changes, trail.end_ns) for changes in trail.changes)
    found = summary(jobs, len(scenario.jobs), trail.latencies_ns, trail.outcomes, running_ns, trail.end_ns)
    found |= {
        "recovery_s": recovery_s(scenario, trail),
        "scale_outs": trail.scale_outs,
        "scale_ins": trail.scale_ins,
        "decisions": len(trail.decisions),
        "solver_mean_s": float(np.mean(trail.solver_s)) if trail.solver_s else 0.0,
        "solver_max_s": max(trail.solver_s, default=0.0),
    }
    return jobs, found


def recovery_s(scenario: ClusterScenario, trail: Trail) -> float:
    """The longest spell of violations of any job, seconds; 0 without any."""
    apart_ns = round(scenario.cluster.latency_window_s * 1e9)
    longest = 0
    for job, times, took, became in zip(scenario.jobs, trail.arrivals, trail.latencies_ns, trail.outcomes, strict=True):
        late = (became != SERVED) | (took > round(job.slo_s * 1e9))
        if not late.any():
            continue
        came, left = times[late], times[late] + took[late]
        first = np.concatenate([[0], np.flatnonzero(np.diff(came) > apart_ns) + 1])
        longest = max(longest, int((np.maximum.reduceat(left, first) - came[first]).max()))
    return longest / 1e9


def _running_ns(changes: list[tuple[int, int]], end_ns: int) -> int:
    ends = [at for at, _ in changes[1:]] + [end_ns]
    return sum(count * max(0, min(end, end_ns) - at) for (at, count), end in zip(changes, ends, strict=True))


def decision_rows(decisions: Sequence[Decided]) -> list[dict[str, Any]]:
    """Decisions with the columns of decisions.parquet."""
    return [
        {
            "at_s": each.at_ns / 1e9,
            "job": each.job,
            "from": each.replicas,
            "to": each.asked,
            "granted": each.granted,
            "reason": each.reason,
            "solver_s": each.solver_s,
        }
        for each in decisions
    ]
