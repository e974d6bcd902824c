"""The text form of a cluster scenario: one pydantic model for each section, mirroring `scenarios.cluster_spec`.

Rules of names and units are those of `scenarios.schema`.  What only a combination of fields can get wrong, and the way
to and from the spec, is in `scenarios.cluster_load`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from scenarios import cluster_spec as spec
from scenarios.fields import (
    Million,
    Natural,
    OneOrMany,
    PositiveSeconds,
    Scale,
    Seconds,
    Seed,
    Share,
    Shorthand,
    Small,
    Spread,
    Weight,
    Word,
)
from scenarios.metric_names import CLUSTER_METRIC_NAMES
from scenarios.schema import bounds_schema
from scenarios.section import Section

_LOAD = spec.Load()
_CLUSTER = spec.Cluster()
_POLICY = spec.PolicyChoice()
_JOB = spec.Job("")
#: A service time written as one duration is constant.
_CONSTANT = Shorthand("floor", rest=(("lognormal_sigma", 0), ("lognormal_scale", "0 s")))
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"


class Load(Section):
    """The requests: counts per job and minute, made into arrivals."""

    SPEC: ClassVar[Any] = spec.Load
    trace: str = Field(
        min_length=1, max_length=4096, description="file of job,minute,rate, relative to this one; .gz may end its name"
    )
    history: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="file of job,day,minute,rate: the days before, for the forecasts",
    )
    first_minute: Natural = Field(default=_LOAD.first_minute, description="minute of the trace to begin at")
    minutes: Million | None = Field(default=None, description="how many to play; to the end of the trace if not given")
    unit: PositiveSeconds = Field(default=_LOAD.unit_s, description="what a minute of the trace lasts")
    scale: Scale = Field(default=_LOAD.scale, description="counts are multiplied by this and rounded")
    gaps: Literal["exponential", "even", "instant", "half", "poisson_ms"] = Field(
        default=_LOAD.gaps, description="where in its minute a request comes"
    )
    seed: Seed = Field(default=_LOAD.seed, description="of the arrivals")


class Service(Section):
    """A service time; `10 ms` for short is a constant one."""

    SPEC: ClassVar[Any] = spec.Service
    floor: Seconds = Field(default=0.0, description="the part that is constant")
    lognormal_sigma: Spread = Field(default=0.0, description="shape of the lognormal part")
    lognormal_scale: Seconds = Field(default=0.0, description="median of the lognormal part")


class JobModel(Section):
    """What a replica runs."""

    service: Annotated[Service, _CONSTANT] | None = Field(
        default=None, description="the true service time; if not given, planned"
    )
    planned: PositiveSeconds | None = Field(default=None, description="the constant service time policies plan with")


class Job(Section):
    """One job, or `count` alike."""

    count: Small = Field(default=1, description="so many jobs alike")
    name: str | None = Field(
        default=None, pattern=_NAME, description="its name; of several, what their numbers follow; default job"
    )
    model: Annotated[tuple[str, ...], OneOrMany()] = Field(
        default=(_JOB.model.name,), min_length=1, description="its model; of several, dealt out in turn"
    )
    slo: PositiveSeconds | None = Field(
        default=None, description="latency objective of a request; if not given, four times the planned service time"
    )
    weight: Weight = Field(default=_JOB.weight, description="its weight in the objective")
    trace: Natural | None = Field(
        default=None,
        description="its number in the trace file, others of the entry follow; if not given, its place among all jobs; "
        "both begin again at 0 after the last",
    )
    replicas: Small | None = Field(
        default=None, description="at the start; if not given 1, with the policy fairshare its share of the quota"
    )


class Cluster(Section):
    """The quota, and how replicas start, serve and stop."""

    SPEC: ClassVar[Any] = spec.Cluster
    quota: Million = Field(default=_CLUSTER.quota, description="replicas in all, one CPU each")
    cold_start: Seconds = Field(default=_CLUSTER.cold_start_s, description="until a new replica serves")
    hot_start: Seconds = Field(default=_CLUSTER.hot_start_s, description="... on a worker that the job still holds")
    idle_release: Seconds = Field(
        default=_CLUSTER.idle_release_s, description="a worker without a replica gives its CPU back after this"
    )
    release_check: PositiveSeconds = Field(default=_CLUSTER.release_check_s, description="... looked at this often")
    retry: PositiveSeconds = Field(
        default=_CLUSTER.retry_s, description="a start that found no CPU tries again after this"
    )
    router: Annotated[Service, _CONSTANT] = Field(
        default=Service.model_construct(
            floor=_CLUSTER.router.floor_s,
            lognormal_sigma=_CLUSTER.router.lognormal_sigma,
            lognormal_scale=_CLUSTER.router.lognormal_scale_s,
        ),
        description="service time of a job's router, met on the way in and on the way out",
    )
    max_queue: Natural = Field(
        default=_CLUSTER.max_queue, description="a request that finds more than this waiting is dropped"
    )
    replica_concurrency: Small = Field(
        default=_CLUSTER.replica_concurrency, description="requests a replica holds, the one in service included"
    )
    tick: PositiveSeconds = Field(default=_CLUSTER.tick_s, description="between observations, and so between decisions")
    latency_window: PositiveSeconds = Field(
        default=_CLUSTER.latency_window_s, description="the latency that is observed is the mean over this long"
    )
    rate_bin: PositiveSeconds = Field(
        default=_CLUSTER.rate_bin_s, description="the rates that are observed count this long"
    )


class Policy(Section):
    """Who divides the quota; `policy: aiad` for short."""

    SPEC: ClassVar[Any] = spec.PolicyChoice
    name: Annotated[str, Word(spec.POLICIES)] = Field(default=_POLICY.name, description="the policy")
    solver: Literal["exact", "cobyla"] = Field(
        default=_POLICY.solver, description="of a joint allocation: the optimum, or what COBYLA finds"
    )
    forecast: Literal["ar", "seasonal", "oracle", "none", "statsforecast", "nhits"] = Field(
        default=_POLICY.forecast, description="of the rates to come"
    )
    quantile: Share = Field(default=_POLICY.quantile, description="of the forecast that is planned for")
    slack: bool = Field(
        default=_POLICY.slack, strict=True, description="raise the quantile while replicas are left over"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="further parameters of the policy, by its names")


class ClusterFile(Section):
    """A cluster scenario: many jobs, one quota of replicas, a policy that divides it."""

    SPEC: ClassVar[Any] = spec.ClusterScenario
    extends: str | None = Field(
        default=None, min_length=1, description="another scenario, relative to this file, to build on"
    )
    name: str = Field(default="unnamed", pattern=_NAME, description="of the runs it makes")
    workload: Load = Field(description="the requests")
    models: dict[str, JobModel] = Field(
        default_factory=dict, description="models by name, beside resnet18 and resnet34, which an entry may change"
    )
    jobs: Annotated[tuple[Job, ...], OneOrMany()] = Field(
        min_length=1, description="one entry or a list of them; an entry stands for one job or, with count, for several"
    )
    cluster: Cluster = Field(default_factory=Cluster, description="the quota and the mechanics of replicas")
    policy: Annotated[Policy, Shorthand("name")] = Field(default_factory=Policy, description="who divides the quota")
    utility: Literal["latency", "latency_step"] = Field(
        default="latency", description="what a job gains in a minute: min(1, slo/p99), or 1 within the slo"
    )
    seed: Seed = Field(default=42, description="of service times, routing and dropping")
    expect: dict[str, Any] = Field(
        default_factory=dict,
        description="metric -> bound; a run that breaks it exits 3",
        json_schema_extra=bounds_schema(CLUSTER_METRIC_NAMES),
    )
    sweep: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted key -> values to try, the last key fastest; zip: keys whose values go together; "
        "repeats: runs of each; runs that differ in workload.seed only are averaged",
    )
