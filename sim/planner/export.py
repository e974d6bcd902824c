"""A plan as an ordinary pipeline scenario, for `real run` and `sim run`: what one of ours can run of it.

That is a plan for a single model of the zoo that scores one record at a time: the Python engine's workers embed the
model and do not batch.  They have a queue each (their partitions), where the plan has one for all, so at the same load
they wait longer.
"""

from __future__ import annotations

import json
from typing import Any

from control.planning import Choices
from scenarios import convert, registry, schema, units
from scenarios.plan_load import PERCENTILES
from scenarios.plan_spec import PlanScenario


def obstacle(scenario: PlanScenario, choices: Choices) -> str:
    """Why the plan is no scenario of an ordinary pipeline; empty where it is one."""
    if len(scenario.pipeline) > 1:
        return f"it has {len(scenario.pipeline)} models; the Python engine embeds one"
    name = scenario.pipeline[0].name
    zoo = [known for known in registry.known("models") if known not in (*registry.FOREIGN_MODELS, registry.OWN_MODEL)]
    if name not in zoo:
        return f"{name} is no model of the zoo ({', '.join(zoo)})"
    if choices[0].batch > 1:
        return "it batches; the Python engine scores record by record (max_batch: 1 plans for that)"
    return ""


def as_pipeline(scenario: PlanScenario, choices: Choices) -> str:
    """The plan as a scenario file, at the planned rate; ``--set workload.arrival.rate`` takes a lower one.

    Args:
        scenario: A plan scenario without an `obstacle`.
        choices: The plan.
    """
    word = next(word for word, percentile in PERCENTILES.items() if percentile == scenario.percentile)
    (choice,) = choices
    sections: dict[str, Any] = {
        "name": f"{scenario.name}-run",
        "workload": {
            "arrival": convert.section_text(schema.Arrival, scenario.workload.arrival),
            "warmup": "5 s",
            "duration": "30 s",
            "seed": scenario.workload.seed,
        },
        "broker": {"partitions": max(4, choice.replicas), "producer": {"linger": "0 ms"}},
        "engine": {"kind": "python", "parallelism": choice.replicas},
        "model": scenario.pipeline[0].name,
        "slo": {word: f"<= {units.DURATION.format(scenario.slo_ns)}"},
    }
    head = f"# The plan of {scenario.name}: {choice.replicas} worker(s).\n"
    return head + "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())
