"""A cluster's run by job, by hand."""

from __future__ import annotations

import math

import numpy as np

from analysis import cluster
from analysis.cluster_tables import cluster_table, jobs_table

COLUMNS = {
    "job": np.array([0, 0, 1, 1, 2, 2]),
    "minute": np.array([0, 1, 0, 1, 0, 1]),
    "requests": np.array([100, 300, 50, 0, 0, 0]),
    "drops": np.array([0, 30, 50, 0, 0, 0]),
    "violations": np.array([10, 50, 50, 0, 0, 0]),
    "p99_s": np.array([0.5, 1.5, math.nan, math.nan, math.nan, math.nan]),
    "utility": np.array([1.0, 0.5, 0.0, 1.0, 1.0, 1.0]),
    "effective_utility": np.array([1.0, 0.25, 0.0, 1.0, 1.0, 1.0]),
    "replicas_mean": np.array([2.0, 3.0, 1.0, 1.0, 1.0, 1.0]),
}


def test_each_job_over_the_whole_run() -> None:
    first, second, third = cluster.job_summaries(["a", "b", "c"], COLUMNS)
    assert first == {
        "name": "a",
        "requests": 400,
        "drops": 30,
        "violation_rate": 0.15,
        "p99_s_median": 1.0,
        "utility": 0.75,
        "effective_utility": 0.625,
        "replicas_mean": 2.5,
    }
    assert (second["violation_rate"], second["p99_s_median"], second["utility"]) == (1.0, None, 0.5)
    assert (third["requests"], third["violation_rate"]) == (0, None)


def test_tables_have_a_line_each() -> None:
    assert jobs_table(cluster.job_summaries(["a", "b", "c"], COLUMNS)).row_count == 3
    rows = [{"policy": "aiad", "quota": 3, "lost_utility": 1.25}, {"policy": "none", "quota": 3}]
    table = cluster_table(rows, ("policy", "quota"), "t")
    assert table.row_count == 2
    assert [column.header for column in table.columns][:3] == ["policy", "quota", "violation rate"]
