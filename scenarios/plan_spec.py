"""What a plan scenario means once it is read: a pipeline of models, a menu of hardware with prices, an objective.

A scenario with `pipeline:` and `menu:` sections is of this kind.  Frozen dataclasses in base units: int64 nanoseconds
(`_ns`), records per second (`_per_s`), prices per hour in the currency of the price file.  The text form is
`scenarios.plan_schema`, the way from one to the other `scenarios.plan_load`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from scenarios.spec import S_NS, Arrival, Bound


@dataclass(frozen=True, slots=True)
class Edge:
    """A way into a model: from which other, and which share of that one's records take it."""

    model: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A model of the pipeline.

    A record enters the models without edges as it arrives.  Any other it visits if at least one of its edges is
    taken, once all that take one are done (a join).  It is done when every model that it visits is.
    """

    name: str
    after: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One kind of hardware for a model: what it costs and how long a batch takes on it."""

    hardware: str
    price_per_h: float
    base_ns: int = 0  # a batch of n takes base + n each ...
    each_ns: int = 0
    table_ns: tuple[tuple[int, int], ...] = ()  # ... or (n, ns), ascending in n, in proportion between two sizes
    max_batch: int = 64

    def service_ns(self, n: int) -> int:
        """Time of a batch of n records."""
        if not self.table_ns:
            return self.base_ns + n * self.each_ns
        if n <= self.table_ns[0][0]:
            return self.table_ns[0][1]
        for (low, low_ns), (high, high_ns) in itertools.pairwise(self.table_ns):
            if n <= high:
                return low_ns + (high_ns - low_ns) * (n - low) // (high - low)
        raise ValueError(f"no time is known for a batch of {n}; the largest measured is {self.table_ns[-1][0]}")

    def throughput_per_s(self, batch: int) -> float:
        """Records per second of one replica that only meets full batches."""
        return batch * S_NS / self.service_ns(batch)

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes that a plan may choose: 1 and its doublings, up to the largest."""
        return tuple(1 << power for power in range(self.max_batch.bit_length()))


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a load: gaps of one coefficient of variation around a rate, constant or linear in time."""

    rate_per_s: float
    to_rate_per_s: float
    duration_ns: int
    cv: float = 1.0


@dataclass(frozen=True, slots=True)
class PlanLoad:
    """The sample load: an arrival process of which seeds make traces, or one trace that is cut in two."""

    arrival: Arrival = field(default_factory=Arrival)
    queries: int = 12_000  # of each trace
    duration_ns: int | None = None  # of a trace, instead of a number of queries
    seed: int = 1


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How a plan is made and judged."""

    samples: int = 4  # traces that a plan must suit at once
    validation: int = 5  # further ones that it is then tried on
    rounds: int = 12  # times that a trace it failed may join the sample
    margin: float = 0.1  # share of the objective kept free on the sample: the estimator knows no variance, no network
    trace_share: float = 0.25  # of a trace file: what is planned for; the rest validates
    max_replicas: int = 64  # of a model
    search: bool = True  # judge the greedy plan by the exact search
    max_evaluations: int = 400_000  # simulations of a stage that the exact search may make


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """A longer load that the plan meets, with and without the tuner."""

    phases: tuple[Phase, ...] = ()
    seed: int = 1
    activation_ns: int = 5 * S_NS  # from a decision to a replica that serves
    tick_ns: int = 1 * S_NS
    settle_ns: int = 15 * S_NS  # no scaling down so soon after a change
    look_back_ns: int = 30 * S_NS
    window_ns: int = 5 * S_NS
    longest_ns: int = 60 * S_NS  # window of the envelope
    tolerance: float = 0.1
    matched: bool = True
    envelope_traces: int = 20  # as long as this load each: their widest envelope is the planned one


@dataclass(frozen=True, slots=True)
class PlanScenario:
    """All of a plan scenario."""

    name: str = "unnamed"
    workload: PlanLoad = field(default_factory=PlanLoad)
    pipeline: tuple[Stage, ...] = ()  # each after those it follows
    menu: tuple[tuple[Option, ...], ...] = ()  # of each model
    prices: str | None = None  # resolved absolute path of the price file
    percentile: float = 99.0
    slo_ns: int = 250_000_000
    plan: PlanSettings = field(default_factory=PlanSettings)
    tune: TuneSettings | None = None
    expect: tuple[Bound, ...] = ()
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    repeats: int = 1
