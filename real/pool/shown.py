"""What the command line shows of a cluster's real run, alone or with its simulation beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis import cluster
from analysis.cluster_run import ClusterRun
from analysis.metrics import bound_broken
from analysis.text import number
from real.errors import HarnessError
from scenarios.cli import DIES_WITH_PARENT
from scenarios.cluster_spec import ClusterScenario

EXIT_FAILED, EXIT_EXPECT = 1, 3
#: What is compared: metric -> heading.
COMPARED = {
    **cluster.METRICS,
    "recovery_s": "recovery s",
    "scale_outs": "replicas started",
    "scale_ins": "replicas stopped",
}


def show(found: ClusterRun, scenario: ClusterScenario, path: Path, *, as_json: bool) -> int:
    """Prints a run; returns its exit code."""
    told = cluster.summary(found.meta)
    broken = bound_broken(scenario.expect, found.meta["metrics"])
    if as_json:
        print(json.dumps({**told, "path": str(path), "expect_broken": broken}, ensure_ascii=False))
    else:
        from analysis import first_screen
        from analysis.cluster_tables import cluster_table, jobs_table

        first_screen.of_cluster(told, "measured, not predicted; replicas on this host").show()
        _print(cluster_table([told], ("policy", "quota"), str(told["name"])))
        _print(jobs_table(cluster.job_summaries(cluster.job_names(found.meta), found.jobs)))
        for line in _lines(found):
            print(line)
        print(path)
    for line in broken:
        print(f"expect: {line}", file=sys.stderr)
    if found.meta["verdict"] == "INVALID":
        print(f"INVALID: {found.meta['verdict_reason']}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_EXPECT if broken else 0


def _lines(found: ClusterRun) -> list[str]:
    accounting, timing = found.meta["accounting"], found.meta["timing"]
    counted = ", ".join(f"{count:,} {term.replace('_', ' ')}" for term, count in accounting.items() if count)
    late = f"{number(timing['lateness_p50_ms'])} ms late (p99 {number(timing['lateness_p99_ms'])} ms)"
    lines = [f"{counted}; {found.meta['metrics']['decisions']:,} decisions; requests entered {late}"]
    replicas = found.more["replicas"]
    names = cluster.job_names(found.meta)
    rows = zip(*(replicas[name] for name in ("job", "replica", "decided_s", "ready_s", "first_answer_s")), strict=True)
    started = [row for row in rows if row[2] > 0]
    for job, replica, decided_s, ready_s, first_s in started[:8]:
        first = "nothing answered" if first_s is None else f"first answer {number(first_s - ready_s)} s later"
        ready = f"decided at {decided_s:.2f} s, ready {number(ready_s - decided_s)} s later"
        lines.append(f"{names[job]}, replica {replica}: {ready}, {first}")
    if len(started) > 8:
        lines.append(f"... and {len(started) - 8} more replicas: replicas.parquet")
    return lines


def simulated(found: ClusterRun, file: Path, sets: Sequence[str], out: Path) -> dict[str, Any]:
    """The same scenario simulated with the activation that was measured, by the simulator's own command.

    Args:
        found: The real run.
        file: Its scenario.
        sets: What was set on top of it.
        out: Folder of runs.

    Returns:
        The object that the command prints.

    Raises:
        HarnessError: The command failed.
    """
    cold_start_s = max(found.meta["timing"]["activation_s"] or 0.0, _configured_s(found))
    sets = [*sets, f"cluster.cold_start={cold_start_s * 1000:.3f} ms"]
    options = [text for each in sets for text in ("--set", each)]
    command = [sys.executable, "-m", "sim", "run", str(file), *options, "--out", str(out), "--json"]
    environment = {**os.environ, DIES_WITH_PARENT: str(os.getpid())}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode not in (0, EXIT_EXPECT):
        raise HarnessError(f"the simulation failed:\n{ended.stderr.strip()}")
    return {**json.loads(ended.stdout), "cold_start_s": cold_start_s}


def show_beside(found: ClusterRun, sim: dict[str, Any], *, as_json: bool) -> None:
    """Prints the real run and its simulation side by side."""
    rows = beside(found.meta["metrics"], sim)
    if as_json:
        print(json.dumps({"beside": rows, "real": found.meta["id"], "sim": sim["id"]}, ensure_ascii=False))
        return
    from rich.table import Table

    table = Table("metric", title=f"{found.meta['name']}: real and simulated")
    for heading in ("real", "sim", "error"):
        table.add_column(heading, justify="right")
    for row in rows:
        error = "" if row["error"] is None else f"{row['error']:+.1%}"
        table.add_row(COMPARED[row["metric"]], number(row["real"]), number(row["sim"]), error)
    _print(table)
    print(f"simulated with replicas that start in {number(sim['cold_start_s'])} s: {sim['path']}")


def beside(real: dict[str, Any], sim: dict[str, Any]) -> list[dict[str, Any]]:
    """Each compared metric of both, and what share of the real one the simulation is off; None where that is 0."""
    return [
        {
            "metric": name,
            "real": real[name],
            "sim": sim[name],
            "error": sim[name] / real[name] - 1 if real[name] else None,
        }
        for name in COMPARED
        if real.get(name) is not None and sim.get(name) is not None
    ]


def _configured_s(found: ClusterRun) -> float:
    from scenarios.units import SECONDS

    return float(SECONDS.parse(found.meta["scenario"]["cluster"]["cold_start"]))


def _print(table: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 200).print(table)
