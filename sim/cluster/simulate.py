"""Runs a cluster scenario: requests in the compiled loop, the policy at its ticks, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cluster_metrics import Trail, decision_rows, judge
from control.scaling.choose import make_policy
from control.scaling.observation import Policy
from control.scaling.observer import Observer
from control.scaling.plane import TICK, Plane, ns
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import ClusterScenario
from sim.cluster.execution import Requests

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """A simulated run.

    Attributes:
        metrics: As `analysis.cluster_metrics` defines them, with scale_outs, scale_ins, decisions, solver_mean_s and
            solver_max_s (wall time of the policy's calls; they delay nothing in the simulated cluster).
        jobs: One row a job and minute, as columns: see `cluster_metrics.per_job_minute`.
        decisions: Each action: at_s, job, from, to, granted (replicas), reason, solver_s.
        requests: How many there were.
        outcomes: How many of them became what: PENDING, SERVED, DROPPED_FULL, DROPPED_RATE, by number.
        cpu_s: Process time of all this.
    """

    metrics: dict[str, float]
    jobs: dict[str, npt.NDArray[Any]]
    decisions: list[dict[str, Any]]
    requests: int
    outcomes: dict[int, int]
    cpu_s: float


def simulate(scenario: ClusterScenario, progress: Callable[[float, float], None] | None = None) -> ClusterResult:
    """Simulates a cluster scenario.

    Args:
        scenario: What to simulate.
        progress: Called now and then with the simulated seconds done and in all.

    Raises:
        ValueError: The trace, the policy or the replicas at the start do not fit.
        ScenarioError: A trace file cannot be read.
    """
    began = time.process_time()
    per_minute = arrivals.counts(scenario.workload, scenario.jobs)
    times = arrivals.arrivals(per_minute, scenario.workload)
    trail = run(scenario, times, make_policy(scenario, times), progress)
    jobs, found = judge(scenario, per_minute.shape[1], trail)
    return ClusterResult(
        metrics=found,
        jobs=jobs,
        decisions=decision_rows(trail.decisions),
        requests=sum(len(each) for each in times),
        outcomes=_counted(trail.outcomes),
        cpu_s=time.process_time() - began,
    )


def _counted(outcomes: Sequence[Int64s]) -> dict[int, int]:
    """How many requests became what."""
    found, counts = np.unique(np.concatenate(outcomes), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def run(
    scenario: ClusterScenario,
    times: list[Int64s],
    policy: Policy,
    progress: Callable[[float, float], None] | None = None,
) -> Trail:
    """Runs the requests that arrive at these times under a policy until the last is out."""
    requests = Requests(scenario, times)
    plane = Plane(scenario, requests)
    observer = Observer(scenario.cluster, times, getattr(policy, "envelope_windows_s", ()))
    tick_ns = ns(policy.tick_s)
    last_s = max((float(each[-1]) for each in times if len(each)), default=0.0) / 1e9
    solver_s = []

    def tick() -> None:
        seen = observer.observe(requests, plane.jobs, plane.now_ns)
        observed = time.perf_counter()
        actions = policy.decide(seen)
        took_s = time.perf_counter() - observed
        if actions:
            solver_s.append(took_s)
        plane.decide(actions, took_s)
        plane.schedule(plane.now_ns + tick_ns, TICK, tick)
        if progress is not None:
            progress(min(plane.now_ns / 1e9, last_s), last_s)

    plane.schedule(tick_ns, TICK, tick)
    while True:
        requests.advance(plane.next_ns)
        if requests.finished == requests.total:
            break
        plane.step()
    latencies = [requests.latency_ns(job) for job in range(len(times))]
    return Trail(
        arrivals=times,
        latencies_ns=latencies,
        outcomes=[requests.outcome(job) for job in range(len(times))],
        changes=[state.changes for state in plane.jobs],
        decisions=plane.decisions,
        solver_s=solver_s,
        scale_outs=plane.scale_outs,
        scale_ins=plane.scale_ins,
        end_ns=max((int((a + b).max()) for a, b in zip(times, latencies, strict=True) if len(a)), default=0),
    )
