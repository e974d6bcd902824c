"""What the command line shows of cluster runs and sweeps, and the exit code that follows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import cluster
from analysis.metrics import bound_broken
from analysis.text import number
from scenarios.cluster_spec import ClusterScenario

if TYPE_CHECKING:
    from analysis.cluster_run import ClusterRun
    from sim.cluster.sweep import Point

EXIT_EXPECT = 3
#: What a simulated cluster rests on.
TRUST = "no calibration: service times are the scenario's own; how near this is to a real cluster is in docs/policies"


def show_run(found: ClusterRun, scenario: ClusterScenario, path: Path | None, *, as_json: bool) -> int:
    """Prints a run: one JSON object, or the cluster's line and then the jobs'."""
    told = cluster.summary(found.meta)
    broken = bound_broken(scenario.expect, found.meta["metrics"])
    if as_json:
        extra = {"path": None if path is None else str(path), "expect_broken": broken}
        print(json.dumps({**told, **extra}, ensure_ascii=False))
    else:
        from analysis import first_screen
        from analysis.cluster_tables import cluster_table, jobs_table

        first_screen.of_cluster(told, TRUST).show()
        _print(cluster_table([told], ("policy", "quota"), str(told["name"])))
        _print(jobs_table(cluster.job_summaries(cluster.job_names(found.meta), found.jobs)))
        print(
            f"{told['requests']:,} requests, {told['decisions']:,} decisions, {told['scale_outs']:,} replicas started, "
            f"{told['scale_ins']:,} stopped; policy {number(told['solver_mean_s'])} s a decision, at most "
            f"{number(told['solver_max_s'])} s; simulated in {number(told['wall_s'])} s"
        )
        if path is not None:
            print(path)
    return _code(broken)


def show_sweep(points: Sequence[Point], *, as_json: bool) -> int:
    """Prints a sweep: a JSON list with an object a point, or a line a point."""
    broken = [
        f"{_which(point)}{line}" for point in points for line in bound_broken(point.scenario.expect, point.metrics)
    ]
    if as_json:
        print(json.dumps([point.summary() for point in points], ensure_ascii=False))
    else:
        from analysis import first_screen
        from analysis.cluster_tables import cluster_table

        rows, seeds = [point.summary() for point in points], max(len(point.runs) for point in points)
        first_screen.of_clusters([point.swept for point in points], rows, seeds, TRUST).show()
        lead = list(dict.fromkeys(key for point in points for key in point.swept)) or ["policy", "quota"]
        title = points[0].scenario.name + (f", means of {seeds} runs" if seeds > 1 else "")
        _print(cluster_table(rows, lead, title))
    return _code(broken)


def _code(broken: Sequence[str]) -> int:
    for line in broken:
        print(f"expect: {line}", file=sys.stderr)
    return EXIT_EXPECT if broken else 0


def _which(point: Point) -> str:
    return f"{', '.join(f'{key} {value}' for key, value in point.swept.items())}: " if point.swept else ""


def _print(table: Any) -> None:
    from rich.console import Console

    # Into a file or a pipe no column is cut.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
