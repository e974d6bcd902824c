"""What a cluster's run says: its tables by name, its summary, the summary of each job.

`jobs.parquet` has a row a job and minute, `decisions.parquet` one for each action of the policy.  Definitions are those
of Faro (EuroSys'25, doi 10.1145/3689031.3696071), computed by `analysis.cluster_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.records import Columns

#: run.json of a cluster says so under `kind`.
KIND = "cluster"
JOBS, DECISIONS = "jobs", "decisions"
#: What became of a request.
PENDING, SERVED, DROPPED_FULL, DROPPED_RATE = range(4)
#: jobs.parquet.  In `utility` a dropped request counts as infinitely late, in `effective_utility` it costs a penalty.
JOB_COLUMNS = (
    "job",  # its place in the scenario
    "minute",
    "requests",  # that arrived in it
    "drops",
    "violations",  # drops, and requests not answered within the objective
    "p99_s",  # of the served; nan without any
    "utility",
    "effective_utility",
    "replicas_mean",
)
#: decisions.parquet.
DECISION_COLUMNS = ("at_s", "job", "from", "to", "granted", "reason", "solver_s")
#: Metric -> heading, in the order they are shown.
METRICS = {
    "violation_rate": "violation rate",
    "cluster_violation_rate": "cluster violation rate",
    "lost_utility": "lost utility",
    "lost_effective_utility": "lost effective utility",
    "mean_ms": "mean ms",
    "p99_ms": "p99 ms",
    "drops": "drops",
    "replicas_mean": "replicas",
}


def is_cluster(meta: Mapping[str, Any]) -> bool:
    """Whether a run.json is of a cluster."""
    return meta.get("kind") == KIND


def summary(meta: Mapping[str, Any]) -> dict[str, Any]:
    """One object for `--json`: what was run, and its metrics beside it.

    Args:
        meta: run.json.
    """
    scenario = meta.get("scenario") or {}
    policy, load = scenario.get("policy") or {}, scenario.get("workload") or {}
    return {
        **{key: meta.get(key) for key in ("id", "name", "kind", "backend", "started", "reason")},
        "policy": policy.get("name"),
        **{key: policy.get(key) for key in ("solver", "forecast", "quantile", "slack")},
        "quota": (scenario.get("cluster") or {}).get("quota"),
        "jobs": len(scenario.get("jobs") or ()),
        "seed": meta.get("seed"),
        "workload_seed": load.get("seed"),
        **(meta.get("metrics") or {}),
        **(meta.get("timing") or {}),
    }


def job_names(meta: Mapping[str, Any]) -> list[str]:
    """The jobs' names, by their place in the scenario."""
    return [str(job["name"]) for job in (meta.get("scenario") or {}).get("jobs") or ()]


def job_summaries(names: Sequence[str], columns: Columns) -> list[dict[str, Any]]:
    """Each job over the whole run.

    Args:
        names: By the job's place.
        columns: Of jobs.parquet.

    Returns:
        For each job its name, requests, drops, violation_rate (None without a request), p99_s of its median minute,
        and the means over its minutes of utility, effective_utility and replicas.
    """
    of = np.asarray(columns["job"])
    found = []
    for at, name in enumerate(names):
        rows = {key: np.asarray(columns[key])[of == at] for key in JOB_COLUMNS}
        requests = int(rows["requests"].sum())
        p99 = rows["p99_s"][~np.isnan(rows["p99_s"])]
        found.append(
            {
                "name": name,
                "requests": requests,
                "drops": int(rows["drops"].sum()),
                "violation_rate": float(rows["violations"].sum() / requests) if requests else None,
                "p99_s_median": float(np.median(p99)) if len(p99) else None,
                "utility": _mean(rows["utility"]),
                "effective_utility": _mean(rows["effective_utility"]),
                "replicas_mean": _mean(rows["replicas_mean"]),
            }
        )
    return found


def _mean(values: Any) -> float | None:
    mean = float(np.mean(values)) if len(values) else math.nan
    return None if math.isnan(mean) else mean
