"""The text form of a plan scenario: one pydantic model for each section, mirroring `scenarios.plan_spec`.

Rules of names and units are those of `scenarios.schema`.  What only a combination of fields can get wrong, and the way
to and from the spec, is in `scenarios.plan_load`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from scenarios import plan_spec as spec
from scenarios.fields import Duration, PositiveRate, Probability, Quantity, Records, Seed, Small, Step, Unit, Variation
from scenarios.metric_names import METRIC_NAMES, MetricName
from scenarios.schema import Arrival, bounds_schema
from scenarios.section import Section
from scenarios.units import COUNT, NUMBER

_LOAD = spec.PlanLoad()
_PLAN = spec.PlanSettings()
_TUNE = spec.TuneSettings()
_OPTION = spec.Option("", 0.0)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"

Price = Annotated[float, Quantity(NUMBER, 1e-6, 1e6)]
Part = Annotated[float, Quantity(NUMBER, 0.0, 0.95)]
Batch = Annotated[int, Quantity(COUNT, 1, 4_096)]

#: What `slo:` of a plan may bound: one percentile of the latency.
PLAN_SLO: dict[str, MetricName] = {
    word: METRIC_NAMES[word] for word in ("latency_p50", "latency_p90", "latency_p95", "latency_p99", "latency_p999")
}
#: What `expect:` of a plan may bound.
PLAN_METRICS: dict[str, MetricName] = {
    word: MetricName(word, unit, word, upper)
    for word, unit, upper in (
        ("cost_per_h", "", True),
        ("cost_per_million", "", True),
        ("latency_ms", "ms", True),
        ("greedy_gap", "", True),
        ("attainment", "", False),
        ("attainment_tuned", "", False),
        ("attainment_untuned", "", True),
        ("decisions", "", True),
    )
}


class PlanLoad(Section):
    """The sample load that is planned for."""

    SPEC: ClassVar[Any] = spec.PlanLoad
    arrival: Arrival = Field(default=Arrival(), description="when records are due; of poisson and gamma, seeds vary it")
    queries: Records = Field(default=_LOAD.queries, description="records of each trace, where duration is not given")
    duration: Step | None = Field(default=None, description="length of each trace, instead of queries")
    seed: Seed = Field(default=_LOAD.seed, description="of the first sample trace")


class Stage(Section):
    """A model; `detect: {}` is met by every record as it arrives."""

    after: dict[str, Probability] = Field(
        default_factory=dict,
        description="models it follows, each with the share of that one's records that go on to this one; "
        "a record waits for all that it came by",
    )


class Option(Section):
    """One kind of hardware for a model; a batch of n takes base + n each, or what the table says."""

    price: Price | None = Field(default=None, description="of a replica and hour; if not given, the price file's")
    base: Duration | None = Field(default=None, description="time of a batch whatever its size")
    each: Unit | None = Field(default=None, description="time a record adds to its batch")
    table: dict[str, Unit] | None = Field(
        default=None, description="batch size -> time, as measured, instead of base and each; linear in between"
    )
    max_batch: Batch = Field(default=_OPTION.max_batch, description="largest batch that a plan may choose")


class PlanSettings(Section):
    """How a plan is made and judged."""

    SPEC: ClassVar[Any] = spec.PlanSettings
    samples: Small = Field(default=_PLAN.samples, description="traces that are planned for, by successive seeds")
    validation: Small = Field(default=_PLAN.validation, description="further traces that the plan is then tried on")
    rounds: Small = Field(default=_PLAN.rounds, description="times that the traces it failed may join the sample")
    margin: Part = Field(default=_PLAN.margin, description="share of the objective kept free on the sample")
    trace_share: Part = Field(default=_PLAN.trace_share, description="of a trace file: the part that is planned for")
    max_replicas: Small = Field(default=_PLAN.max_replicas, description="of one model")
    search: bool = Field(default=_PLAN.search, strict=True, description="search the cheapest plan of all as well")
    max_evaluations: Records = Field(
        default=_PLAN.max_evaluations, description="simulations of a model after which that search gives up"
    )


class Phase(Section):
    """A stretch of the load: `{rate: 150 /s, to_rate: 250 /s, duration: 60 s}`."""

    rate: PositiveRate = Field(description="records per second, at the start")
    to_rate: PositiveRate | None = Field(default=None, description="at the end; if not given, the same")
    duration: Step = Field(description="how long it lasts")
    cv: Variation = Field(default=1.0, description="coefficient of variation of the gaps")


class TuneSettings(Section):
    """The load that the plan meets later, with a tuner and without."""

    SPEC: ClassVar[Any] = spec.TuneSettings
    phases: tuple[Phase, ...] = Field(min_length=1, description="the load, phase by phase")
    seed: Seed = Field(default=_TUNE.seed, description="of its arrivals")
    activation: Duration = Field(default=_TUNE.activation_ns, description="from a decision to a replica that serves")
    tick: Step = Field(default=_TUNE.tick_ns, description="time between two decisions")
    settle: Duration = Field(default=_TUNE.settle_ns, description="no scaling down so soon after a change")
    look_back: Step = Field(default=_TUNE.look_back_ns, description="scaling down goes by the largest rate in this")
    window: Step = Field(default=_TUNE.window_ns, description="... in windows of this length")
    longest: Step = Field(default=_TUNE.longest_ns, description="longest window of the envelope")
    tolerance: Part = Field(default=_TUNE.tolerance, description="share by which a window may exceed its planned rate")
    matched: bool = Field(
        default=_TUNE.matched,
        strict=True,
        description="replicas by the ratio to the same window's planned rate; false: InferLine's, by the rate alone",
    )
    envelope_traces: Small = Field(
        default=_TUNE.envelope_traces, description="traces as long as this load whose envelope is the planned one"
    )


class PlanFile(Section):
    """A plan scenario: a pipeline of models, a menu of hardware with prices, an objective."""

    SPEC: ClassVar[Any] = spec.PlanScenario
    extends: str | None = Field(
        default=None, min_length=1, description="another scenario, relative to this file, to build on"
    )
    name: str = Field(default="unnamed", pattern=_NAME, description="of the plan")
    workload: PlanLoad = Field(default=PlanLoad(), description="the load to plan for")
    pipeline: dict[str, Stage] = Field(min_length=1, description="its models by name")
    menu: dict[str, dict[str, Option]] = Field(description="model -> hardware -> how long a batch takes on it")
    prices: str | None = Field(
        default=None, min_length=1, max_length=4096, description="price file, relative to this one"
    )
    slo: dict[str, Any] = Field(
        description="one latency percentile and its bound, such as latency_p99: 250 ms",
        json_schema_extra=bounds_schema(PLAN_SLO),
    )
    plan: PlanSettings = Field(default=PlanSettings(), description="how the plan is made")
    tune: TuneSettings | None = Field(default=None, description="a longer load for the tuner")
    expect: dict[str, Any] = Field(
        default_factory=dict,
        description="metric -> bound; a plan that breaks it exits 3",
        json_schema_extra=bounds_schema(PLAN_METRICS),
    )
    sweep: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted key -> values to plan for, the last key fastest; zip: keys whose values go together",
    )
