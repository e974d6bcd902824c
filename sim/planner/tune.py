"""A plan under a load that changes: what the tuner does, what it costs, and how many records are within the objective.

The tuner looks at arrivals only, never at queues, so its decisions are taken first and the models are then simulated
with the replicas that come and go.  A replica is paid from the decision that starts it and serves `activation` later;
one that goes finishes its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from control.envelope import Planned, Rules, Tuner, describe, envelope, recent_rate, trailing, widest, windows
from control.planning import Choices, throughputs
from scenarios.arrivals import schedule
from scenarios.draw_arrays import Int64s
from scenarios.plan_spec import PlanScenario, TuneSettings
from scenarios.spec import MS_NS, S_NS
from sim.planner import load
from sim.planner.estimator import Estimator, Flow, Trace, draw_trace, percentile_ns

_APART = 2_000_003  # between the seeds of the plan and those of its envelope


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the tuner: the model's replicas from and to, when, and why."""

    at_s: float
    model: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Served:
    """How a load was served.

    Attributes:
        attainment: Share of the records within the objective.
        latency_ns: The objective's percentile.
        cost_per_h: Mean over the load.
        replicas: Most of each model at any time.
        by_phase: Attainment of the records that arrived in each phase.
    """

    attainment: float
    latency_ns: int
    cost_per_h: float
    replicas: tuple[int, ...]
    by_phase: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """A plan under a longer load, with the tuner and without.

    Attributes:
        queries: Records of the load.
        planned: What the tuner kept to.
        tuned: With it.
        untuned: Without.
        decisions: In order of time.
    """

    queries: int
    planned: Planned
    tuned: Served
    untuned: Served
    decisions: tuple[Decision, ...]


def tune(scenario: PlanScenario, choices: Choices, rate_per_s: float, shares: Sequence[float]) -> Tuned:
    """The scenario's `tune:` load on a plan.

    Args:
        scenario: It has a `tune:` section.
        choices: The plan.
        rate_per_s: The rate it was made for.
        shares: Of each model: share of the records that visit it.
    """
    settings = scenario.tune
    assert settings is not None, "the scenario has no load to tune for"
    arrivals = load.phased(settings.phases, settings.seed)
    trace = draw_trace(scenario.pipeline, arrivals, settings.seed)
    planned = _planned(scenario, settings, choices, rate_per_s, shares)
    changes, decisions = _decide(scenario, settings, planned, arrivals)
    return Tuned(
        len(trace),
        planned,
        _serve(scenario, settings, choices, trace, changes),
        _serve(scenario, settings, choices, trace, [[] for _ in choices]),
        decisions,
    )


def summary(found: Tuned) -> dict[str, Any]:
    """The `tune` part of `--json`."""
    return {
        "queries": found.queries,
        "tuned": _served(found.tuned),
        "untuned": _served(found.untuned),
        "envelope": describe(found.planned.envelope),
        "decisions": [
            {"at_s": d.at_s, "model": d.model, "from": d.before, "to": d.after, "reason": d.reason}
            for d in found.decisions
        ],
    }


def _served(served: Served) -> dict[str, Any]:
    return {
        "attainment": served.attainment,
        "latency_ms": served.latency_ns / MS_NS,
        "cost_per_h": served.cost_per_h,
        "replicas": list(served.replicas),
        "attainment_by_phase": list(served.by_phase),
    }


def _planned(
    scenario: PlanScenario, settings: TuneSettings, choices: Choices, rate: float, shares: Sequence[float]
) -> Planned:
    """The plan's own envelope: the widest of many traces of the planned load, each as long as the load to come."""
    options = [own[choice.option] for own, choice in zip(scenario.menu, choices, strict=True)]
    one = Trace(np.zeros(1, dtype=np.int64), tuple(tuple(np.ones(1, bool) for _ in s.after) for s in scenario.pipeline))
    service_ns = int(Estimator(scenario.pipeline, one).latencies(Flow(), [o.service_ns(1) for o in options])[0])
    lengths = windows(service_ns / S_NS, settings.longest_ns / S_NS)
    duration_ns = sum(phase.duration_ns for phase in settings.phases)
    arrival, seed = scenario.workload.arrival, scenario.workload.seed
    if arrival.kind in load.RANDOM:
        traces = [schedule(arrival, duration_ns, seed + _APART + k) for k in range(settings.envelope_traces)]
    else:
        traces = [trace.arrivals for trace in load.samples(scenario)]
    return Planned(
        rate,
        widest([envelope(times / S_NS, lengths) for times in traces]),
        tuple(shares),
        throughputs(scenario.menu, choices),
        tuple(choice.replicas for choice in choices),
    )


def _decide(
    scenario: PlanScenario, settings: TuneSettings, planned: Planned, arrivals: Int64s
) -> tuple[list[list[tuple[int, int]]], tuple[Decision, ...]]:
    """(ns, +n or -n) of each model, by the time of the decision; and the decisions."""
    rules = Rules(
        settings.settle_ns / S_NS,
        settings.look_back_ns / S_NS,
        settings.window_ns / S_NS,
        settings.tolerance,
        settings.matched,
    )
    tuner = Tuner(planned, rules)
    times = arrivals / S_NS
    counts = {length: trailing(times, length) for length in planned.envelope}
    replicas = list(planned.replicas)
    changes: list[list[tuple[int, int]]] = [[] for _ in replicas]
    decisions: list[Decision] = []
    for now in range(settings.tick_ns, sum(phase.duration_ns for phase in settings.phases) + 1, settings.tick_ns):
        first, last = np.searchsorted(arrivals, (now - settings.longest_ns, now))
        seen = {length: float(own[first:last].max(initial=0)) / length for length, own in counts.items()}
        recent = recent_rate(times[:last], now / S_NS, rules.look_back_s, rules.window_s)
        wanted, reason = tuner.decide(now / S_NS, seen, recent, replicas)
        for model, (before, after) in enumerate(zip(replicas, wanted, strict=True)):
            if after != before:
                changes[model].append((now, after - before))
                decisions.append(Decision(now / S_NS, scenario.pipeline[model].name, before, after, reason))
        replicas = wanted
    return changes, tuple(decisions)


def _serve(
    scenario: PlanScenario,
    settings: TuneSettings,
    choices: Choices,
    trace: Trace,
    changes: Sequence[Sequence[tuple[int, int]]],
) -> Served:
    estimator = Estimator(scenario.pipeline, trace)
    flow = Flow()
    end = sum(phase.duration_ns for phase in settings.phases)
    spent, most = 0.0, []
    for own, choice, steps in zip(scenario.menu, choices, changes, strict=True):
        option = own[choice.option]
        serves = sorted((at + (settings.activation_ns if n > 0 else 0), n) for at, n in steps)
        flow = estimator.advance(flow, option, choice, serves)
        held = np.cumsum([choice.replicas, *(n for _, n in steps)])
        spans = np.diff([0, *(at for at, _ in steps), end])
        spent += float((held * spans).sum()) / end * option.price_per_h
        most.append(int(held.max()))
    latencies = estimator.latencies(flow)
    within = latencies <= scenario.slo_ns
    edges = np.cumsum([0, *(phase.duration_ns for phase in settings.phases)])
    phase = np.searchsorted(edges, trace.arrivals, side="right") - 1
    return Served(
        float(within.mean()),
        percentile_ns(latencies, scenario.percentile),
        round(spent, 6),
        tuple(most),
        tuple(float(within[phase == at].mean()) if (phase == at).any() else 1.0 for at in range(len(settings.phases))),
    )
