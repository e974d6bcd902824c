"""One simulated run of a cluster scenario: as the object of run.json, and its tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from analysis.cluster import DROPPED_FULL, DROPPED_RATE, PENDING, SERVED
from analysis.cluster_run import ClusterRun, decision_columns, describe
from control.scaling.choose import make_policy
from scenarios.cluster_spec import ClusterScenario
from scenarios.errors import ScenarioError
from sim.cluster.simulate import simulate

#: progress(simulated seconds so far, seconds in all)
Progress = Callable[[float, float], None]

#: Term of the accounting -> the outcome that it counts.
_TERMS = {"scored": SERVED, "dropped_queue": DROPPED_FULL, "rejected": DROPPED_RATE, "in_flight": PENDING}


def check(scenario: ClusterScenario, file: str) -> None:
    """Whether the policy can be made as it is asked for: what only the policies themselves know.

    Raises:
        ScenarioError: It knows no such option or value, or lacks what it forecasts from.
    """
    try:
        make_policy(scenario, [np.zeros(1, np.int64)] * len(scenario.jobs))
    except ValueError as error:
        raise ScenarioError(file, None, None, "policy", str(error)) from None


def run(scenario: ClusterScenario, progress: Progress | None = None) -> ClusterRun:
    """Simulates one run; the scenario's `sweep` is ignored.

    Args:
        scenario: What to run.
        progress: Called now and then.

    Raises:
        ValueError: As `check` tells it.
    """
    now = datetime.now(UTC)
    began = time.perf_counter()
    result = simulate(scenario, progress)
    meta = describe(
        scenario,
        "sim",
        now,
        result.metrics,
        accounting={"sent": result.requests}
        | {term: result.outcomes.get(outcome, 0) for term, outcome in _TERMS.items()},
        timing={
            "wall_s": time.perf_counter() - began,
            "cpu_s": result.cpu_s,
            "requests_per_cpu_s": result.requests / result.cpu_s if result.cpu_s else None,
        },
    )
    return ClusterRun(meta, dict(result.jobs), decision_columns(result.decisions))
