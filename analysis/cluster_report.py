"""The report on cluster runs: one HTML file with a line a run, and time-lines of each run's cluster and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import cluster, cluster_plots, page, text
from analysis.figures import Figure
from analysis.runs import Run, RunError
from scenarios.errors import ScenarioError

#: Time-lines of at most so many jobs of a run: those that lost the most utility.
MAX_JOBS = 20


def report(runs: Sequence[Run], out: Path) -> Path:
    """Writes the report.

    Args:
        runs: Of clusters, at least one.
        out: The HTML file; its folder is created.

    Returns:
        `out`.

    Raises:
        RunError: A run's tables or scenario cannot be read.
    """
    return page.write(
        out,
        "cluster_report.html.j2",
        title=", ".join(dict.fromkeys(str(run.meta["name"]) for run in runs)),
        headings=list(cluster.METRICS.values()),
        runs=[_run(run) for run in runs],
        provenance=[page.provenance(run) for run in runs],
    )


def _run(run: Run) -> dict[str, Any]:
    scenario = _scenario(run)
    frame = run.table(cluster.JOBS, cluster.JOB_COLUMNS)
    columns = {name: frame[name].to_numpy() for name in cluster.JOB_COLUMNS}
    told = cluster.summary(run.meta)
    jobs = cluster.job_summaries([job.name for job in scenario.jobs], columns)
    label = f"{told['policy']}, quota {told['quota']}, seed {told['workload_seed']}"
    order = sorted(range(len(jobs)), key=lambda at: jobs[at]["utility"] if jobs[at]["utility"] is not None else 1.0)
    shown = sorted(order[:MAX_JOBS])
    return {
        "id": run.meta["id"],
        "label": label,
        "cells": [text.number(told.get(name)) for name in cluster.METRICS],
        "counts": [
            ("requests", f"{told['requests']:,}"),
            ("decisions", f"{told['decisions']:,}"),
            ("replicas started", f"{told['scale_outs']:,}"),
            ("replicas stopped", f"{told['scale_ins']:,}"),
            ("policy, mean time of a decision", f"{text.number(told['solver_mean_s'])} s"),
        ],
        "whole": _whole(columns, scenario.cluster.quota, len(jobs), label),
        "jobs": [_job_row(job, scenario.jobs[at]) for at, job in enumerate(jobs)],
        "figures": [
            _job_figure(
                jobs[at]["name"],
                {name: values[columns["job"] == at] for name, values in columns.items()},
                scenario.jobs[at].slo_s,
                label,
            )
            for at in shown
        ],
        "left_out": len(jobs) - len(shown),
    }


def _scenario(run: Run) -> Any:
    from scenarios.cluster_spec import ClusterScenario
    from scenarios.load import any_from_resolved

    try:
        scenario = any_from_resolved(run.meta["scenario"])
    except ScenarioError as error:
        raise RunError(run.path, f"its scenario cannot be read: {error}") from error
    if not isinstance(scenario, ClusterScenario):
        raise RunError(run.path, "its scenario is not of a cluster")
    return scenario


def _whole(columns: dict[str, Any], quota: int, jobs: int, label: str) -> Figure:
    minutes = int(columns["minute"].max()) + 1 if len(columns["minute"]) else 0

    def together(name: str) -> Any:
        return np.bincount(columns["minute"], weights=columns[name], minlength=minutes)

    data = {"requests": together("requests"), "replicas": together("replicas_mean")}
    data["lost_utility"] = jobs - together("utility")
    title = f"cluster, {label}"
    svg = cluster_plots.cluster_timeline(data["requests"], data["replicas"], quota, data["lost_utility"], title=title)
    whole = {"minute": range(minutes)} | {name: values.tolist() for name, values in data.items()}
    return Figure(title, svg, whole, wide=True)


def _job_figure(name: str, rows: dict[str, Any], slo_s: float, label: str) -> Figure:
    svg = cluster_plots.job_timeline(rows, slo_s, title=f"{name}, {label}")
    return Figure(name, svg, {column: values.tolist() for column, values in rows.items()}, of=label)


def _job_row(job: dict[str, Any], asked: Any) -> dict[str, Any]:
    return {
        "name": job["name"],
        "cells": [
            asked.model.name,
            f"{text.number(asked.slo_s * 1e3)} ms",
            f"{job['requests']:,}",
            f"{job['drops']:,}",
            text.number(job["violation_rate"]),
            text.number(job["p99_s_median"]),
            text.number(job["utility"]),
            text.number(job["effective_utility"]),
            text.number(job["replicas_mean"]),
        ],
    }
