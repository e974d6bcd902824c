"""The planner's estimator against the same pipeline in SimPy, and how long whole plans take."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import typer

PLANS = Path(__file__).resolve().parents[1] / "scenarios" / "plan"
_SIMPY_RECORDS = 3000


def planner_command(
    rounds: Annotated[int, typer.Option(min=1, help="Of the estimator; medians are shown.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Time the planner's estimator, SimPy on the same pipeline, and the shipped plans."""
    found = benchmark(rounds)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for name, own in found["plans"].items():
        equal = "equal" if own["latencies_equal"] else "not equal"
        print(
            f"{name}: {own['records']:,} records through {own['models']} models in {own['evaluation_s'] * 1e3:.2f} ms, "
            f"{own['records_per_s']:,.0f}/s; SimPy {own['simpy_records_per_s']:,.0f}/s (latencies {equal}), "
            f"ratio {own['ratio']:,.0f}; the plan {own['plan_s']:.1f} s, {own['evaluations']:,} simulations of a model"
        )


def benchmark(rounds: int) -> dict[str, Any]:
    """Process times of a configuration's evaluation, of SimPy on the first records, and of the whole plan."""
    from scenarios.load import load_any
    from scenarios.plan_spec import PlanScenario

    plans = {}
    for name in ("toy", "bursty", "cascade"):
        scenario = load_any(PLANS / f"{name}.yaml")
        assert isinstance(scenario, PlanScenario)
        plans[name] = _one(scenario, rounds)
    return {"rounds": rounds, "plans": plans}


def _one(scenario: Any, rounds: int) -> dict[str, Any]:
    import numpy as np

    from sim.planner import load, plan, reference
    from sim.planner.estimator import Estimator, Trace

    plan.make(scenario, with_frontier=False)  # compiles
    begun = time.process_time()
    made = plan.make(scenario, with_frontier=False)
    plan_s = time.process_time() - begun
    assert made.choices is not None
    trace = load.samples(scenario)[0]
    options = [own[choice.option] for own, choice in zip(scenario.menu, made.choices, strict=True)]
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(20):
            Estimator(scenario.pipeline, trace).run(options, made.choices)
        spent.append((time.process_time() - begun) / 20)
    each = statistics.median(spent)
    short = Trace(trace.arrivals[:_SIMPY_RECORDS], tuple(tuple(w[:_SIMPY_RECORDS] for w in own) for own in trace.taken))
    begun = time.process_time()
    slow = reference.latencies(scenario.pipeline, scenario.menu, made.choices, short)
    simpy_s = time.process_time() - begun
    fast = Estimator(scenario.pipeline, short).run(options, made.choices)
    return {
        "models": len(scenario.pipeline),
        "records": len(trace),
        "evaluation_s": each,
        "records_per_s": len(trace) / each,
        "simpy_records_per_s": _SIMPY_RECORDS / simpy_s,
        "ratio": len(trace) / each / (_SIMPY_RECORDS / simpy_s),
        "latencies_equal": bool(np.array_equal(fast, slow)),
        "plan_s": plan_s,
        "evaluations": made.evaluations,
    }
