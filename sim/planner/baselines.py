"""What planning replaces: the whole pipeline as one black box, bought for its mean or for its peak rate.

InferLine's coarse-grained baselines.  A box holds one replica of every model, all with the same batch size; its latency
is the time of one batch through all of them, its throughput that of its slowest model.  Of all boxes whose latency is
within the objective those are bought that carry the rate at the least cost.  The peak is counted in windows as long as
the objective.  Queues play no part: that is the point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from control.envelope import envelope
from control.planning import Choice, Choices, cost_per_h
from scenarios.plan_spec import PlanScenario
from scenarios.spec import S_NS
from sim.planner.estimator import Trace
from sim.planner.load import mean_rate


@dataclass(frozen=True, slots=True)
class Baseline:
    """A black box, replicated.

    Attributes:
        name: `cg-mean` or `cg-peak`.
        rate_per_s: What it was bought for.
        choices: The configuration; every model has as many replicas as there are boxes.
        cost_per_h: Of it.
    """

    name: str
    rate_per_s: float
    choices: Choices
    cost_per_h: float


def baselines(scenario: PlanScenario, traces: Sequence[Trace], shares: Sequence[float]) -> list[Baseline]:
    """Both baselines for a sample; none where a batch of one is late already.

    Args:
        scenario: Pipeline, menu and objective.
        traces: The sample.
        shares: Of each model: share of the records that visit it.
    """
    slo_s = scenario.slo_ns / S_NS
    peak = max(envelope(trace.arrivals / S_NS, (slo_s,))[slo_s] for trace in traces)
    boxes = _boxes(scenario, shares)
    found = []
    for name, rate in (("cg-mean", mean_rate(traces)), ("cg-peak", peak)):
        bought = [
            tuple(Choice(choice.option, choice.batch, math.ceil(rate / throughput)) for choice in box)
            for box, throughput in boxes
        ]
        if bought:
            choices = min(bought, key=lambda each: cost_per_h(scenario.menu, each))
            found.append(Baseline(name, rate, choices, cost_per_h(scenario.menu, choices)))
    return found


def _boxes(scenario: PlanScenario, shares: Sequence[float]) -> list[tuple[Choices, float]]:
    """Every box whose batch is within the objective, and its throughput."""
    found = []
    for options in itertools.product(*(range(len(own)) for own in scenario.menu)):
        held = [own[at] for own, at in zip(scenario.menu, options, strict=True)]
        for power in range(min(option.max_batch for option in held).bit_length()):
            batch = 1 << power
            if sum(option.service_ns(batch) for option in held) > scenario.slo_ns:
                break
            throughput = min(
                option.throughput_per_s(batch) / max(share, 1e-12) for option, share in zip(held, shares, strict=True)
            )
            found.append((tuple(Choice(at, batch) for at in options), throughput))
    return found
