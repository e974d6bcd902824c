"""The cheapest configuration of all, by branch and bound; and the frontier of cost against latency.

Models are chosen in the order of the pipeline.  With the first of them chosen, every record's latency is at least what
it is when the others serve it without any queue on their fastest hardware: a bound that holds record by record, so
cutting by it loses nothing, and it needs no assumption on what more replicas, larger batches or dearer hardware do to
latency.  That a batch takes no less time than a smaller one is all that is assumed, and the menu is refused otherwise.
What is exact is the search over batches that are powers of two, for the traces it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from control.planning import Choice, Choices, Estimate, cost_per_h, fastest
from scenarios.plan_spec import Option, PlanScenario
from sim.planner.estimator import Estimator, Flow, Trace, percentile_ns, rank

_EPS = 1e-9
_ALIKE = 0.02  # the frontier does not tell latencies apart that differ by less


class Sample:
    """Several traces that a configuration must suit, and the verdict on one.

    It suits them if the percentile over all records together is within the objective less the margin, and that of each
    trace within the objective.  Where more records than a percentile allows are late already, the rest is not asked.
    """

    def __init__(self, scenario: PlanScenario, traces: Sequence[Trace], joined: Sequence[Trace] = ()) -> None:
        """Nothing is simulated yet.

        Args:
            scenario: Pipeline, menu, objective and margin.
            traces: Those that the margin is kept on.
            joined: Further ones that need meet the objective alone.
        """
        self.menu = scenario.menu
        self.pipeline = scenario.pipeline
        self.percentile = scenario.percentile
        self.slo_ns = scenario.slo_ns
        self.tight_ns = int(scenario.slo_ns * (1 - Fraction(repr(scenario.plan.margin))))
        self.estimators = [Estimator(scenario.pipeline, trace) for trace in (*traces, *joined)]
        self._pooled = len(traces)
        records = sum(len(trace) for trace in traces)
        self._may_be_late = records - rank(records, self.percentile)
        self.still_ns = [options[fastest(options)].service_ns(1) for options in self.menu]
        self.shares = tuple(
            float(np.average([e.shares[m] for e in self.estimators], weights=[len(e.trace) for e in self.estimators]))
            for m in range(len(self.pipeline))
        )

    @property
    def evaluations(self) -> int:
        """Simulations of one model over one trace so far."""
        return sum(each.evaluations for each in self.estimators)

    def start(self) -> list[Flow]:
        """No model simulated yet, on any trace."""
        return [Flow() for _ in self.estimators]

    def advance(self, flows: Sequence[Flow], choice: Choice) -> list[Flow] | None:
        """The next model too, on every trace; None as soon as the objective cannot be met any more."""
        found: list[Flow] = []
        late = 0
        for at, (estimator, flow) in enumerate(zip(self.estimators, flows, strict=True)):
            found.append(estimator.advance(flow, self.menu[len(flow.done)][choice.option], choice))
            latencies = estimator.latencies(found[-1], self.still_ns)
            count = len(latencies)
            if int((latencies > self.slo_ns).sum()) > count - rank(count, self.percentile):
                return None
            late += int((latencies > self.tight_ns).sum()) if at < self._pooled else 0
            if late > self._may_be_late:
                return None
        return found

    def latency_ns(self, flows: Sequence[Flow]) -> int:
        """The percentile over the records of all traces that the margin is kept on; a lower bound before the end."""
        pooled = zip(self.estimators[: self._pooled], flows, strict=False)
        return percentile_ns(np.concatenate([e.latencies(flow, self.still_ns) for e, flow in pooled]), self.percentile)

    def floor_ns(self) -> int:
        """No configuration has a lower percentile: every model on its fastest hardware, without queues."""
        return self.latency_ns(self.start())

    def estimate(self, choices: Choices) -> Estimate:
        """The verdict on a configuration; the latency of one that is late is that of the models before it was."""
        flows = self.start()
        for choice in choices:
            advanced = self.advance(flows, choice)
            if advanced is None:
                return Estimate(feasible=False, latency_ns=self.latency_ns(flows))
            flows = advanced
        return Estimate(feasible=True, latency_ns=self.latency_ns(flows))

    def least_replicas(self, model: int, option: Option, batch: int) -> int:
        """Fewer cannot meet the objective on some trace: there is not the time for the work.

        Within the objective after the last arrival all records but those that may be late are done, and n of them
        take a replica at least n times the least time per record of a batch.
        """
        each_ns = min(option.service_ns(n) / n for n in range(1, batch + 1))
        most = 1
        for estimator in self.estimators:
            count = len(estimator.trace)
            visits = int(estimator.visited[model].sum()) - (count - rank(count, self.percentile))
            span = int(estimator.trace.arrivals[-1] - estimator.trace.arrivals[0]) + self.slo_ns
            most = max(most, int(np.ceil(visits * each_ns / span * (1 - 1e-12))))
        return most


@dataclass(frozen=True, slots=True)
class Best:
    """What the search found.

    Attributes:
        choices: The cheapest configuration, of equally cheap ones that of the lowest latency; None if there is none.
        cost_per_h: Its cost.
        latency_ns: Its percentile on the sample.
        complete: False where the search was cut off, so a cheaper one may exist.
    """

    choices: Choices | None
    cost_per_h: float
    latency_ns: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    cost: float
    choice: Choice


def cheapest(sample: Sample, known: Choices | None, max_replicas: int, max_evaluations: int) -> Best:
    """Branch and bound over all configurations that cost no more than the one already known.

    Args:
        sample: What a configuration must suit.
        known: A feasible configuration to start from; None if none is known.
        max_replicas: Of a model.
        max_evaluations: Simulations of one model over one trace that may be made.
    """
    entries = [_entries(sample, model, max_replicas) for model in range(len(sample.menu))]
    rest = _rest_costs(entries)
    best: list[tuple[float, int, Choices | None]] = [(float("inf"), 0, None)]
    if known is not None:
        best = [(cost_per_h(sample.menu, known), sample.estimate(known).latency_ns, known)]
    begun = sample.evaluations
    complete = True

    def walk(chosen: Choices, spent: float, flows: list[Flow]) -> None:
        nonlocal complete
        model = len(chosen)
        if model == len(entries):
            found = (round(spent, 6), sample.latency_ns(flows), chosen)
            if found[:2] < best[0][:2]:
                best[0] = found
            return
        for entry in entries[model]:
            if spent + entry.cost + rest[model + 1] > best[0][0] + _EPS:
                break
            if sample.evaluations - begun > max_evaluations:
                complete = False
                return
            advanced = sample.advance(flows, entry.choice)
            if advanced is not None:
                walk((*chosen, entry.choice), spent + entry.cost, advanced)

    walk((), 0.0, sample.start())
    cost, latency, choices = best[0]
    return Best(choices, cost, latency, complete)


@dataclass(frozen=True, slots=True)
class Point:
    """A configuration that none cheaper is as fast as."""

    cost_per_h: float
    latency_ns: int
    choices: Choices


def frontier(
    sample: Sample, known: Iterable[Choices], most_per_h: float, max_replicas: int, max_evaluations: int
) -> tuple[list[Point], bool]:
    """Of all configurations up to a cost, those that none cheaper is as fast as; cheapest first.

    Slower than four times the objective is left out, and so is a dearer one that is faster by less than 2 %.

    Args:
        sample: One trace or several; the objective itself plays no part.
        known: Configurations to start from: the better they are, the more is cut.
        most_per_h: Nothing dearer is looked at.
        max_replicas: Of a model.
        max_evaluations: Simulations of one model over one trace that may be made.

    Returns:
        The frontier, and whether the search was complete.
    """
    entries = [_entries(sample, model, max_replicas) for model in range(len(sample.menu))]
    rest = _rest_costs(entries)
    kept = [_point(sample, choices) for choices in known]
    kept = [point for point in kept if point.cost_per_h <= most_per_h + _EPS]
    begun = sample.evaluations
    complete = True

    def beaten(cost: float, latency: int) -> bool:
        return any(p.cost_per_h <= cost + _EPS and p.latency_ns <= latency * (1 + _ALIKE) for p in kept)

    def walk(chosen: Choices, spent: float, flows: list[Flow]) -> None:
        nonlocal complete
        model = len(chosen)
        if model == len(entries):
            point = Point(round(spent, 6), sample.latency_ns(flows), chosen)
            kept[:] = [p for p in kept if p.cost_per_h < point.cost_per_h - _EPS or p.latency_ns < point.latency_ns]
            kept.append(point)
            return
        for entry in entries[model]:
            bound = spent + entry.cost + rest[model + 1]
            if bound > most_per_h + _EPS:
                break
            if sample.evaluations - begun > max_evaluations:
                complete = False
                return
            advanced = [
                e.advance(flow, sample.menu[model][entry.choice.option], entry.choice)
                for e, flow in zip(sample.estimators, flows, strict=True)
            ]
            latency = sample.latency_ns(advanced)
            if latency <= 4 * sample.slo_ns and not beaten(bound, latency):
                walk((*chosen, entry.choice), spent + entry.cost, advanced)

    walk((), 0.0, sample.start())
    steps: list[Point] = []
    for point in sorted(kept, key=lambda p: (p.cost_per_h, p.latency_ns)):
        if not steps or steps[-1].latency_ns > point.latency_ns * (1 + _ALIKE):
            steps.append(point)
    return steps, complete


def _point(sample: Sample, choices: Choices) -> Point:
    flows = sample.start()
    for choice in choices:
        flows = [
            e.advance(flow, sample.menu[len(flow.done)][choice.option], choice)
            for e, flow in zip(sample.estimators, flows, strict=True)
        ]
    return Point(cost_per_h(sample.menu, choices), sample.latency_ns(flows), choices)


def _entries(sample: Sample, model: int, max_replicas: int) -> list[_Entry]:
    """All choices for a model that have the time for its work, cheapest first."""

    def every() -> Iterator[_Entry]:
        for at, option in enumerate(sample.menu[model]):
            for batch in option.batches:
                for replicas in range(sample.least_replicas(model, option, batch), max_replicas + 1):
                    yield _Entry(replicas * option.price_per_h, Choice(at, batch, replicas))

    return sorted(every(), key=lambda entry: entry.cost)


def _rest_costs(entries: Sequence[Sequence[_Entry]]) -> list[float]:
    """Least cost of all models from each one on."""
    costs = [0.0]
    for own in reversed(entries):
        costs.append(costs[-1] + (own[0].cost if own else float("inf")))
    return costs[::-1]
