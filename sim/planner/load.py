"""The sample loads of a plan: traces of a random arrival process by seed, or a file's trace cut in two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scenarios.arrivals import schedule
from scenarios.draw_arrays import Int64s
from scenarios.plan_spec import Phase, PlanLoad, PlanScenario
from scenarios.spec import S_NS, Arrival
from sim.planner.estimator import Trace, draw_trace

RANDOM = ("poisson", "gamma")
_APART = 1_000_003  # between the seeds of samples and those of validation


def samples(scenario: PlanScenario) -> list[Trace]:
    """The traces to plan for: `samples` seeds of a random process, else the first part of the one there is."""
    load, plan = scenario.workload, scenario.plan
    if load.arrival.kind in RANDOM:
        return [_drawn(scenario, load.seed + k) for k in range(plan.samples)]
    times = _one(load)
    return [draw_trace(scenario.pipeline, times[: _cut(times, plan.trace_share)], load.seed)]


def fresh(scenario: PlanScenario, which: int) -> list[Trace]:
    """The traces of a round of validation, none of which was in any other round or in the sample.

    Of a trace file (and of any process without a seed) there is one: what follows the planned part.
    """
    load, plan = scenario.workload, scenario.plan
    if load.arrival.kind in RANDOM:
        first = load.seed + _APART + which * plan.validation
        return [_drawn(scenario, first + k) for k in range(plan.validation)]
    times = _one(load)
    rest = times[_cut(times, plan.trace_share) :]
    return [draw_trace(scenario.pipeline, rest - rest[0], load.seed + 1)] if len(rest) else []


def mean_rate(traces: Sequence[Trace]) -> float:
    """Records per second over all traces, each from its start to its last record."""
    return sum(len(t) for t in traces) * S_NS / max(1, sum(int(t.arrivals[-1]) for t in traces))


def phased(phases: Sequence[Phase], seed: int) -> Int64s:
    """Arrivals of a load in phases, ns: gamma gaps of mean 1 run through the integral of the phase's rate.

    With rates r0 to r1 over a time H the integral is r0 t + (r1 - r0) t^2 / 2H; a phase begins afresh.
    """
    found: list[Int64s] = []
    start = 0
    for at, phase in enumerate(phases):
        seconds = phase.duration_ns / S_NS
        total = (phase.rate_per_s + phase.to_rate_per_s) / 2 * seconds
        unit = schedule(Arrival("gamma", 1.0, phase.cv), max(1, int(total * S_NS)), seed + 7919 * at) / S_NS
        slope = (phase.to_rate_per_s - phase.rate_per_s) / seconds
        root = np.sqrt(np.maximum(phase.rate_per_s**2 + 2 * slope * unit, 0.0))
        offset = 2 * unit / (phase.rate_per_s + root)
        found.append(start + np.minimum((offset * S_NS).astype(np.int64), phase.duration_ns - 1))
        start += phase.duration_ns
    return np.concatenate(found)


def _drawn(scenario: PlanScenario, seed: int) -> Trace:
    load = scenario.workload
    if load.duration_ns is not None:
        times = schedule(load.arrival, load.duration_ns, seed)
    else:
        horizon = int(load.queries / load.arrival.rate_per_s * S_NS)
        while len(times := schedule(load.arrival, horizon, seed, limit=load.queries)) < load.queries:
            horizon *= 2
    return draw_trace(scenario.pipeline, times, seed)


def _one(load: PlanLoad) -> Int64s:
    if load.duration_ns is not None:
        return schedule(load.arrival, load.duration_ns, load.seed)
    horizon = 60 * S_NS
    times = schedule(load.arrival, horizon, load.seed, limit=load.queries)
    while len(times) < load.queries and horizon < 7 * 86_400 * S_NS:  # a trace file may end sooner
        horizon *= 4
        times = schedule(load.arrival, horizon, load.seed, limit=load.queries)
    return times


def _cut(times: Int64s, share: float) -> int:
    return min(len(times), max(1, round(len(times) * share)))
