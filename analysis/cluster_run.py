"""A cluster's run as it is kept: the object of run.json and its tables, whoever made it."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis import cluster, runs
from analysis.columns import SCHEMA_VERSION
from analysis.fingerprint import fingerprint
from scenarios import load
from scenarios.cluster_spec import ClusterScenario


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """A run in memory: `meta` is the object of run.json, the others are columns of its tables."""

    meta: dict[str, Any]
    jobs: dict[str, Any]
    decisions: dict[str, list[Any]]
    more: dict[str, dict[str, Any]] = field(default_factory=dict)  # further tables, by name


def describe(
    scenario: ClusterScenario,
    backend: str,
    started: datetime,
    metrics: Mapping[str, Any],
    accounting: Mapping[str, int],
    timing: Mapping[str, Any],
    versions: Mapping[str, str] | None = None,
    reason: str = "complete",
    invalid: str | None = None,
) -> dict[str, Any]:
    """The object of run.json.

    Args:
        scenario: What was run.
        backend: `sim` or `real`.
        started: When.
        metrics: As `cluster_metrics.judge` gives them; `requests` is put before them.
        accounting: `sent`, and the terms it must equal.
        timing: What the run itself took.
        versions: Of what took part beside Python and numpy.
        reason: Why it ended.
        invalid: Why nothing can be learned from it, if that is so.
    """
    when = started.astimezone(UTC)
    if accounting["sent"] != sum(count for term, count in accounting.items() if term != "sent"):
        invalid = invalid or "the accounting does not add up"
    return {
        "schema": SCHEMA_VERSION,
        "kind": cluster.KIND,
        "id": runs.new_run_id(scenario.name, backend, when),
        "name": scenario.name,
        "backend": backend,
        "started": when.isoformat(timespec="seconds"),
        "start_epoch_ms": int(when.timestamp() * 1000),
        "scenario": load.resolved(scenario),
        "seed": scenario.seed,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **(versions or {})},
        "fingerprint": fingerprint(),
        "calibration": None,
        "append_clock": None,
        "reason": reason,
        "verdict": "INVALID" if invalid else None,
        "verdict_reason": invalid,
        "metrics": {"requests": accounting["sent"]} | {name: _plain(value) for name, value in metrics.items()},
        "accounting": dict(accounting),
        "counters": {},
        "timing": dict(timing),
    }


def write(found: ClusterRun, root: Path) -> Path:
    """Writes a run's folder under `root`; returns it.

    Raises:
        runs.RunError: It cannot be written.
    """
    tables = {cluster.JOBS: found.jobs, cluster.DECISIONS: found.decisions, **found.more}
    with runs.RunWriter(root, str(found.meta["id"])) as writer:
        for name, columns in tables.items():
            writer.add_table(name, columns)
        return writer.finish(found.meta)


def decision_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of decisions.parquet."""
    return {name: [each[name] for each in rows] for name in cluster.DECISION_COLUMNS}


def _plain(value: Any) -> float | int | None:
    """A number as JSON has it: None for one that is not finite, an integer for a count."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(value) if isinstance(value, int | np.integer) else number
