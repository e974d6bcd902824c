"""One real run of a cluster scenario, as the simulated ones are kept: the object of run.json and its tables."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from analysis.cluster_metrics import decision_rows, judge
from analysis.cluster_run import ClusterRun, decision_columns, describe
from control.scaling.choose import make_policy
from real.errors import ChildDiedError, RefusedError
from real.loop import free_descriptors
from real.pool import provider
from real.pool.life import Lived, Progress, live, replica_rows, request_rows
from real.processes import Supervisor
from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import ClusterScenario

REPLICAS, REQUESTS = "replicas", "requests"
MAX_REPLICAS = 512
_DESCRIPTORS = 4  # of a replica: its orders, its reports, its connection, and one while it starts


def run(
    scenario: ClusterScenario,
    *,
    pool: str = "workers",
    score: bool = False,
    progress: Progress | None = None,
) -> ClusterRun:
    """Runs a cluster scenario on a pool of replicas of this machine; its `sweep` is ignored.

    Args:
        scenario: What to run.
        pool: Where replicas come from: a key of `provider.PROVIDERS`.
        score: Score with the zoo's model of the name of a job's model, instead of waiting out its service time.
        progress: Called now and then with the seconds done and in all.

    Raises:
        RefusedError: It cannot be run here, or the policy cannot be made as it is asked for.
        HarnessError: A replica of the beginning died or did not become ready; a later one makes the run INVALID.
        ScenarioError: A trace file cannot be read.
    """
    refuse_too_many("cluster.quota", scenario.cluster.quota)
    per_minute = arrivals.counts(scenario.workload, scenario.jobs)
    times = arrivals.arrivals(per_minute, scenario.workload)
    try:
        policy = make_policy(scenario, times)
    except ValueError as error:
        raise RefusedError("policy", str(error)) from None
    now, began, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    versions: dict[str, str] = {}
    with Supervisor() as supervisor:

        def make_provider() -> provider.Provider:
            made = provider.make(pool, scenario, supervisor, score=score)
            versions.update(made.versions)
            return made

        lived = live(scenario, times, policy, make_provider, progress)
    jobs, metrics = judge(scenario, per_minute.shape[1], lived.trail)
    accounting = _accounting(lived)
    meta = describe(
        scenario,
        "real",
        now,
        metrics,
        accounting,
        timing={
            "wall_s": time.perf_counter() - began,
            "cpu_s": time.process_time() - cpu,
            "requests_per_cpu_s": None,
            **_timing(lived),
        },
        versions={**versions, "pool": f"{pool}, {'scoring' if score else 'waiting'}"},
        reason=_reason(lived, accounting),
        invalid=None if lived.error is None else str(lived.error).splitlines()[0],
    )
    tables = {REPLICAS: replica_rows(lived.routers), REQUESTS: request_rows(lived)}
    return ClusterRun(meta, dict(jobs), decision_columns(decision_rows(lived.trail.decisions)), tables)


def refuse_too_many(key: str, replicas: int) -> None:
    """Refuses more replicas than this process can look after.

    Raises:
        RefusedError: Naming the key.
    """
    if replicas > MAX_REPLICAS:
        raise RefusedError(key, f"{replicas} processes, more than {MAX_REPLICAS}")
    room = free_descriptors() // _DESCRIPTORS
    if replicas > room:
        raise RefusedError(key, f"{replicas} processes; the limit on open files (ulimit -Hn) leaves room for {room}")


def _reason(lived: Lived, accounting: dict[str, int]) -> str:
    if lived.error is not None:
        return "replica-died" if isinstance(lived.error, ChildDiedError) else "failed"
    return "drain" if accounting["in_flight"] else "complete"


def _accounting(lived: Lived) -> dict[str, int]:
    """Every request where it is counted: sent by the arrivals, scored where replies go out, dropped by the router."""
    trail = lived.trail
    outcomes = np.concatenate(trail.outcomes)
    entered = np.concatenate([router.entered_ns for router in lived.routers.jobs]) >= 0
    answered = sum(seat.served for router in lived.routers.jobs for seat in router.seats)
    return {
        "sent": int(np.count_nonzero(entered)),
        "scored": answered,
        "dropped_queue": int(np.count_nonzero(outcomes == DROPPED_FULL)),
        "rejected": int(np.count_nonzero(outcomes == DROPPED_RATE)),
        "in_flight": int(np.count_nonzero(entered & (outcomes == PENDING))),
    }


def _timing(lived: Lived) -> dict[str, float | None]:
    """How the harness itself did."""
    late_ms = (
        np.concatenate(
            [router.entered_ns - times for router, times in zip(lived.routers.jobs, lived.trail.arrivals, strict=True)]
        )
        / 1e6
    )
    late_ms = late_ms[np.concatenate([router.entered_ns for router in lived.routers.jobs]) >= 0]
    served = np.concatenate(lived.trail.outcomes) == SERVED
    took_ms = np.concatenate([router.service_ns for router in lived.routers.jobs])[served] / 1e6
    return {
        "activation_s": float(np.median(lived.activations_s)) if lived.activations_s else None,
        "activation_max_s": max(lived.activations_s, default=None),
        "first_start_s": max(lived.start_s, default=None),
        "lateness_p50_ms": float(np.percentile(late_ms, 50)) if len(late_ms) else None,
        "lateness_p99_ms": float(np.percentile(late_ms, 99)) if len(late_ms) else None,
        "service_mean_ms": float(took_ms.mean()) if len(took_ms) else None,
    }
