"""Small clusters for the tests, and policies that follow a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cluster_metrics import Trail
from control.scaling.observation import Action, Observation
from scenarios.cluster_spec import Cluster, ClusterScenario, Job, JobModel, Load, PolicyChoice, Service

ROOT = Path(__file__).resolve().parents[2]
FARO = ROOT / "scenarios" / "faro"
Int64s = npt.NDArray[np.int64]


@dataclass
class Script:
    """Does what was written down, tick by tick, and remembers what it saw."""

    at: Mapping[int, Sequence[Action]] = field(default_factory=dict)  # by tick, the first is 1
    tick_s: float = 10.0
    envelope_windows_s: tuple[float, ...] = ()
    seen: list[Observation] = field(default_factory=list)

    def decide(self, seen: Observation) -> Sequence[Action]:
        self.seen.append(seen)
        return self.at.get(len(self.seen), ())


def constant(service_s: float) -> JobModel:
    return JobModel("constant", Service(service_s), service_s)


def cluster(
    jobs: int = 1, *, model: JobModel | None = None, replicas: int = 1, slo_s: float = 0.72, seed: int = 1, **of: Any
) -> ClusterScenario:
    """A scenario without a trace."""
    spec = tuple(Job(f"job{k}", model or JobModel(), slo_s, trace=k, replicas=replicas) for k in range(jobs))
    return ClusterScenario(jobs=spec, cluster=Cluster(**of), seed=seed)


def faro(policy: str, quota: int, load_seed: int, **load: Any) -> ClusterScenario:
    """Ten jobs of the trace that is shipped, or a part of it; an equal share starts as one."""
    replicas = quota // 10 if policy == "fairshare" else 1
    return ClusterScenario(
        workload=Load(trace=str(FARO / "twitter_top9.csv.gz"), seed=load_seed, **load),
        jobs=tuple(Job(f"job{k}", trace=k, replicas=replicas) for k in range(10)),
        cluster=Cluster(quota=quota),
        policy=PolicyChoice(name=policy),
    )


def at_s(*seconds: float) -> Int64s:
    """Arrival times in ns."""
    return np.rint(np.array(seconds) * 1e9).astype(np.int64)


def poisson(rate_per_s: float, count: int, seed: int = 7) -> Int64s:
    gaps = np.random.default_rng(seed).exponential(1e9 / rate_per_s, count)
    times: Int64s = np.cumsum(gaps).astype(np.int64)
    return times


def facts(trail: Trail) -> list[tuple[Any, ...]]:
    """The decisions without the time that thinking took."""
    return [(d.at_ns, d.job, d.replicas, d.asked, d.granted, d.reason) for d in trail.decisions]
