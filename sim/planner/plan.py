"""From a plan scenario to a plan: the greedy search, the exact one, and the trial on loads that neither has seen.

A plan that suits a sample need not suit the next day.  So it is made for several traces at once with a margin, then
tried on fresh ones; those it fails join the sample, the plan is made anew, and others are drawn to try it on.  What is
reported at the end was tried on traces that no round had planned for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from control.planning import Choices, Greedy, cost_per_h, cost_per_million, greedy, throughputs
from scenarios.errors import ScenarioError
from scenarios.plan_load import read_prices
from scenarios.plan_spec import PlanScenario
from scenarios.spec import MS_NS
from sim.planner import baselines, export, load, reference
from sim.planner.estimator import Estimator, Trace, percentile_ns
from sim.planner.search import Best, Point, Sample, cheapest, frontier

PLANNED, UNPROVEN, INFEASIBLE = "PLANNED", "UNPROVEN", "INFEASIBLE"
#: Records of the first validation trace that SimPy simulates too.
_CHECKED = 6000
_FRONTIER_EVALUATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration on one trace.

    Attributes:
        queries: Records.
        latency_ns: The objective's percentile.
        attainment: Share of the records within the objective.
    """

    queries: int
    latency_ns: int
    attainment: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How a plan came about.

    Attributes:
        scenario: What was asked.
        verdict: PLANNED, or UNPROVEN (the last plan still failed a fresh trace), or INFEASIBLE.
        reason: In words; empty for PLANNED.
        rate_per_s: Mean rate of the sample.
        shares: Of each model: share of the records that visit it.
        floor_ns: No configuration has a lower percentile.
        choices: The plan; None if there is none.
        latency_ns: Its percentile on the sample.
        greedy: The greedy search of the last round.
        best: The exact search of the last round; None if it was not asked for.
        trials: The plan on fresh traces.
        joined: Traces that joined the sample after a plan failed them.
        rounds: Plans made.
        frontier: Configurations that none cheaper is as fast as, on the first sample trace.
        frontier_complete: Whether that search was complete.
        baselines: With their trials on the same fresh traces.
        reference_equal: Whether SimPy gives every record the same latency.
        evaluations: Simulations of one model over one trace that were made.
    """

    scenario: PlanScenario
    verdict: str
    reason: str
    rate_per_s: float
    shares: tuple[float, ...]
    floor_ns: int
    choices: Choices | None = None
    latency_ns: int = 0
    greedy: Greedy | None = None
    best: Best | None = None
    trials: tuple[Trial, ...] = ()
    joined: int = 0
    rounds: int = 0
    frontier: tuple[Point, ...] = ()
    frontier_complete: bool = True
    baselines: tuple[tuple[baselines.Baseline, tuple[Trial, ...]], ...] = ()
    reference_equal: bool | None = None
    evaluations: int = 0


def make(scenario: PlanScenario, *, with_frontier: bool = True) -> Plan:
    """Plan.

    Args:
        scenario: What is asked.
        with_frontier: Also trace cost against latency, up to twice the plan's cost.
    """
    settings = scenario.plan
    traces = load.samples(scenario)
    _enough(scenario, traces)
    sample = Sample(scenario, traces)
    rate = load.mean_rate(traces)
    nothing = Plan(scenario, INFEASIBLE, "", rate, sample.shares, sample.floor_ns())
    if nothing.floor_ns > sample.tight_ns:
        return _with(nothing, reason=_too_tight(scenario, nothing.floor_ns))
    joined: list[Trace] = []
    evaluations = 0
    for at in range(settings.rounds):
        sample = Sample(scenario, traces, joined)
        found = greedy(scenario.menu, sample.shares, sample.estimate, settings.max_replicas)
        best = None
        if settings.search:
            best = cheapest(sample, found.choices, settings.max_replicas, settings.max_evaluations)
        picked = found.choices if best is None or best.choices is None else best.choices
        evaluations += sample.evaluations
        so_far = _with(nothing, greedy=found, best=best, rounds=at + 1, joined=len(joined), evaluations=evaluations)
        if picked is None:
            proof = "no configuration does" if best is not None and best.complete else "the greedy search found none"
            return _with(so_far, reason=f"with at most {settings.max_replicas} replicas a model {proof}")
        choices = picked
        fresh = load.fresh(scenario, at)
        trials = tuple(trial(scenario, choices, trace) for trace in fresh)
        failed = [trace for trace, seen in zip(fresh, trials, strict=True) if seen.latency_ns > scenario.slo_ns]
        if not failed or scenario.workload.arrival.kind not in load.RANDOM:
            break
        joined += failed
    verdict, reason = PLANNED, ""
    if failed:
        verdict = UNPROVEN
        reason = f"late on {len(failed)} of {len(fresh)} traces that it was not planned for"
    plan = _with(
        so_far,
        verdict=verdict,
        reason=reason,
        choices=choices,
        latency_ns=sample.estimate(choices).latency_ns,
        trials=trials,
        baselines=tuple(
            (each, tuple(trial(scenario, each.choices, trace) for trace in fresh))
            for each in baselines.baselines(scenario, traces, sample.shares)
        ),
        reference_equal=_equals_reference(scenario, choices, (fresh or traces)[0]),
    )
    if not with_frontier:
        return plan
    points, complete = frontier(
        Sample(scenario, traces[:1]),
        [*(step.choices for step in found.steps), choices],
        2 * cost_per_h(scenario.menu, choices),
        settings.max_replicas,
        _FRONTIER_EVALUATIONS,
    )
    return _with(plan, frontier=tuple(points), frontier_complete=complete)


def trial(scenario: PlanScenario, choices: Choices, trace: Trace) -> Trial:
    """A configuration on one trace."""
    latencies = Estimator(scenario.pipeline, trace).run(_options(scenario, choices), choices)
    within = float((latencies <= scenario.slo_ns).mean())
    return Trial(len(latencies), percentile_ns(latencies, scenario.percentile), within)


def summary(plan: Plan) -> dict[str, Any]:
    """The object of `--json`: times in ms, prices in the currency of the price file."""
    scenario = plan.scenario
    found: dict[str, Any] = {
        "name": scenario.name,
        "verdict": plan.verdict,
        "reason": plan.reason,
        "slo_ms": scenario.slo_ns / MS_NS,
        "percentile": scenario.percentile,
        "margin": scenario.plan.margin,
        "floor_ms": plan.floor_ns / MS_NS,
        "rate_per_s": plan.rate_per_s,
        "seed": scenario.workload.seed,
        "prices": _prices(scenario),
        "cost_per_h": None,
        "cost_per_million": None,
        "latency_ms": None,
        "attainment": None,
        "models": None,
        "rounds": plan.rounds,
        "joined": plan.joined,
        "evaluations": plan.evaluations,
    }
    if plan.greedy is not None:
        found["greedy"] = _greedy(plan)
    if plan.best is not None:
        cost = None if plan.best.choices is None else plan.best.cost_per_h
        found["exact"] = {"cost_per_h": cost, "complete": plan.best.complete}
    if plan.choices is None:
        return found
    cost = cost_per_h(scenario.menu, plan.choices)
    found |= {
        "cost_per_h": cost,
        "cost_per_million": cost_per_million(cost, plan.rate_per_s),
        "latency_ms": max((each.latency_ns for each in plan.trials), default=plan.latency_ns) / MS_NS,
        "attainment": min((each.attainment for each in plan.trials), default=None),
        "sample_latency_ms": plan.latency_ns / MS_NS,
        "models": models(plan, plan.choices),
        "validation": [_trial(each) for each in plan.trials],
        "baselines": [
            {
                "name": each.name,
                "rate_per_s": each.rate_per_s,
                "cost_per_h": each.cost_per_h,
                "models": models(plan, each.choices),
                "latency_ms": max((t.latency_ns for t in trials), default=0) / MS_NS,
                "attainment": min((t.attainment for t in trials), default=None),
            }
            for each, trials in plan.baselines
        ],
        "frontier": [
            {"cost_per_h": p.cost_per_h, "latency_ms": p.latency_ns / MS_NS, "models": models(plan, p.choices)}
            for p in plan.frontier
        ],
        "frontier_complete": plan.frontier_complete,
        "reference_equal": plan.reference_equal,
        "no_pipeline": export.obstacle(scenario, plan.choices),
    }
    return found


def models(plan: Plan, choices: Choices) -> dict[str, dict[str, Any]]:
    """Each model's part of a configuration, by name."""
    scenario = plan.scenario
    mu = throughputs(scenario.menu, choices)
    return {
        stage.name: {
            "hardware": options[choice.option].hardware,
            "batch": choice.batch,
            "replicas": choice.replicas,
            "cost_per_h": round(choice.replicas * options[choice.option].price_per_h, 6),
            "utilisation": plan.rate_per_s * share / (choice.replicas * each),
        }
        for stage, options, choice, share, each in zip(
            scenario.pipeline, scenario.menu, choices, plan.shares, mu, strict=True
        )
    }


def _greedy(plan: Plan) -> dict[str, Any]:
    assert plan.greedy is not None
    steps = plan.greedy.steps
    cost = None if plan.greedy.choices is None else steps[-1].cost_per_h
    gap = None
    if cost is not None and plan.best is not None and plan.best.choices is not None:
        gap = cost / plan.best.cost_per_h - 1
    names = [stage.name for stage in plan.scenario.pipeline]
    return {
        "cost_per_h": cost,
        "gap": gap,
        "models": None if plan.greedy.choices is None else models(plan, plan.greedy.choices),
        "steps": [
            {
                "action": step.action,
                "model": None if step.model is None else names[step.model],
                "cost_per_h": step.cost_per_h,
                "latency_ms": step.latency_ns / MS_NS,
            }
            for step in steps
        ],
    }


def _trial(seen: Trial) -> dict[str, Any]:
    return {"queries": seen.queries, "latency_ms": seen.latency_ns / MS_NS, "attainment": seen.attainment}


def _prices(scenario: PlanScenario) -> dict[str, Any] | None:
    if scenario.prices is None:
        return None
    file = read_prices(scenario.prices)
    return {"date": file.date, "currency": file.currency, "source": file.source}


def _enough(scenario: PlanScenario, traces: Sequence[Trace]) -> None:
    """A percentile is read where at least ten records may lie above it: p99 from 1,000 records on."""
    least = round(1000 / (100 - scenario.percentile))
    fewest = min(len(trace) for trace in traces)
    if fewest < least:
        message = f"a trace of the sample has {fewest:,} records; a p{scenario.percentile:g} takes {least:,} or more"
        raise ScenarioError(scenario.name, None, None, "workload", message)


def _too_tight(scenario: PlanScenario, floor_ns: int) -> str:
    kept = f", {scenario.plan.margin:.0%} of it kept free" if scenario.plan.margin else ""
    return (
        f"on the fastest hardware, with empty queues, the p{scenario.percentile:g} is {floor_ns / MS_NS:g} ms; "
        f"the objective is {scenario.slo_ns / MS_NS:g} ms{kept}"
    )


def _equals_reference(scenario: PlanScenario, choices: Choices, trace: Trace) -> bool:
    short = Trace(trace.arrivals[:_CHECKED], tuple(tuple(way[:_CHECKED] for way in ways) for ways in trace.taken))
    fast = Estimator(scenario.pipeline, short).run(_options(scenario, choices), choices)
    return bool(np.array_equal(fast, reference.latencies(scenario.pipeline, scenario.menu, choices, short)))


def _options(scenario: PlanScenario, choices: Choices) -> Sequence[Any]:
    return [options[choice.option] for options, choice in zip(scenario.menu, choices, strict=True)]


def _with(plan: Plan, **changes: Any) -> Plan:
    return dataclasses.replace(plan, **changes)
