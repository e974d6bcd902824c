"""Jobs and observations for the policies' tests, and the golden numbers of one instance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from control.allocation import Demand
from control.queueing import Floats
from control.scaling.observation import Action, JobFacts, JobView, Observation, Policy

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "faro_golden.json").read_text())
RATES: Floats = np.array(GOLDEN["rates_per_min"]) / 60.0

QUIET = JobView(
    replicas=1,
    running=1,
    busy=False,
    latency_s=0.2,
    finished=100,
    served=100,
    slo_rate=1.0,
    rates_per_min=(),
    recent_rate_per_s=0.0,
    queued=0,
    utilisation=0.5,
)


def facts(jobs: int, **other: Any) -> tuple[JobFacts, ...]:
    """Jobs that plan with 180 ms and have an objective of 720 ms."""
    return tuple(JobFacts(f"job{job}", **({"slo_s": 0.72, "planned_s": 0.18} | other)) for job in range(jobs))


def view(replicas: int = 1, **other: Any) -> JobView:
    """A quiet job with so many running replicas, but for what is said."""
    return dataclasses.replace(QUIET, **({"replicas": replicas, "running": replicas} | other))


def seen(now_s: float, *jobs: JobView, quota: int = 32) -> Observation:
    """The jobs at a time."""
    return Observation(now_s, quota, jobs)


def asked(actions: Sequence[Action]) -> dict[int, int]:
    """Job -> replicas of the actions."""
    return {action.job: action.replicas for action in actions}


def decided(policy: Policy, now_s: float, *jobs: JobView, quota: int = 32) -> dict[int, int]:
    """What a policy asks for at a time."""
    return asked(policy.decide(seen(now_s, *jobs, quota=quota)))


def demand(rates: Floats, running: int | Sequence[int] = 1, **other: Any) -> Demand:
    """Jobs of 180 ms and 720 ms."""
    jobs = len(rates)
    return Demand(
        rates=rates,
        service_s=np.full(jobs, 0.18),
        slo_s=np.full(jobs, 0.72),
        weights=np.ones(jobs),
        running=np.broadcast_to(np.asarray(running), (jobs,)).astype(np.int64),
        **other,
    )
