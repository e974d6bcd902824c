"""What a cluster scenario means once it is read: many jobs, one quota of replicas, a policy that divides it.

A scenario with a `jobs:` section is of this kind.  Frozen dataclasses in base units: seconds (`_s`, float, as the
traces and the policies count), requests per minute as the traces give them; the text form is
`scenarios.cluster_schema`.  Defaults are those of Faro's simulated cluster (EuroSys'25, doi 10.1145/3689031.3696071).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scenarios.spec import Bound

#: The policies that `policy.name` may name; `control.scaling` holds one object for each.
POLICIES = (
    "none",
    "fairshare",
    "oneshot",
    "aiad",
    "mark",
    "faro_sum",
    "faro_fair",
    "faro_fairsum",
    "faro_penaltysum",
    "faro_penaltyfairsum",
    "cilantro",
    "ds2",
    "keda",
    "inferline",
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service time: floor + lognormal(sigma, scale).  A scale of 0 makes it the constant floor."""

    floor_s: float = 0.0
    lognormal_sigma: float = 0.0
    lognormal_scale_s: float = 0.0

    @property
    def mean_s(self) -> float:
        """Its expectation."""
        import math

        return self.floor_s + self.lognormal_scale_s * math.exp(self.lognormal_sigma**2 / 2)


ROUTER = Service(0.003485, 0.4808, 0.000988)
RESNET34 = Service(0.0793, 0.42247, 0.068581)


@dataclass(frozen=True, slots=True)
class JobModel:
    """What a replica runs: the true service time, and the constant one that policies plan with."""

    name: str = "resnet34"
    service: Service = RESNET34
    planned_s: float = 0.180


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its model, its objective, its share of the trace."""

    name: str
    model: JobModel = field(default_factory=JobModel)
    slo_s: float = 0.720
    weight: float = 1.0
    trace: int = 0  # the job's number in the trace file
    replicas: int = 1  # at the start


@dataclass(frozen=True, slots=True)
class Cluster:
    """The quota and the mechanics of replicas."""

    quota: int = 32  # replicas, one CPU each
    cold_start_s: float = 35.0
    hot_start_s: float = 3.0  # on a worker of the job that is still held
    idle_release_s: float = 30.0  # an idle worker's CPU goes back after this
    release_check_s: float = 5.0
    retry_s: float = 5.0  # a start that found no CPU tries again
    router: Service = ROUTER  # one server a job, first in first out, met on the way in and on the way out
    max_queue: int = 50  # a request that finds more waiting than this is dropped
    replica_concurrency: int = 4  # outstanding requests of a replica, the one in service included
    tick_s: float = 10.0  # observations and decisions
    latency_window_s: float = 30.0  # the observed latency is the mean of requests finished in it, drops included
    rate_bin_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """The requests: counts per job and minute of a trace, made into arrivals by a seed."""

    trace: str = ""  # resolved absolute path of the evaluation day: job,minute,rate
    history: str | None = None  # job,day,minute,rate: earlier days, for the forecasters
    first_minute: int = 0
    minutes: int | None = None  # None: to the end of the trace
    unit_s: float = 60.0  # what a minute of the trace lasts
    scale: float = 1.0  # counts times this, rounded
    #: exponential: Faro's simulator; even: over the unit; instant: at its start; half: over its first half;
    #: poisson_ms: gaps of a Poisson number of milliseconds, as Faro's replayer on a real cluster draws them
    gaps: Literal["exponential", "even", "instant", "half", "poisson_ms"] = "exponential"
    seed: int = 42


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """Which policy, and what it was told."""

    name: str = "faro_fairsum"
    solver: Literal["exact", "cobyla"] = "exact"
    forecast: Literal["ar", "seasonal", "oracle", "none", "statsforecast", "nhits"] = "ar"
    quantile: float = 0.6  # of the forecast that is planned for
    slack: bool = True  # raise the quantile while replicas are left over
    options: dict[str, Any] = field(default_factory=dict)  # further parameters of the policy, by its own names


@dataclass(frozen=True, slots=True)
class ClusterScenario:
    """All of a cluster scenario."""

    name: str = "unnamed"
    workload: Load = field(default_factory=Load)
    jobs: tuple[Job, ...] = ()
    cluster: Cluster = field(default_factory=Cluster)
    policy: PolicyChoice = field(default_factory=PolicyChoice)
    utility: Literal["latency", "latency_step"] = "latency"
    seed: int = 42  # of service times, routing and dropping
    expect: tuple[Bound, ...] = ()
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    repeats: int = 1
