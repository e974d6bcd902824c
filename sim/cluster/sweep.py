"""Every point of a cluster scenario's sweep, on all cores, each run made once and kept like those of a pipeline.

Runs that differ in `workload.seed` only, and the repeats of a point, are one row: the mean.  Repeat k has both seeds
plus k, at every point the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenarios import load
from scenarios.cluster_spec import ClusterScenario
from sim import kept
from sim.kept import FOLDER, Progress, Spread

#: The swept key that is averaged over.
SEED = "workload.seed"
_KEPT = ("metrics", "timing")


@dataclass(frozen=True, slots=True)
class Point:
    """One row: the runs of a point under all its seeds.

    Attributes:
        swept: The swept keys and their values as written, the seed apart.
        scenario: Of its first run.
        seeds: Of the workload, of each run.
        runs: Of each run: metrics, timing.
    """

    swept: dict[str, Any]
    scenario: ClusterScenario
    seeds: tuple[int, ...]
    runs: tuple[dict[str, Any], ...]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Means over the runs; None where a run has no value."""
        return {name: None if None in values else float(np.mean(values)) for name, values in self._values().items()}

    def summary(self) -> dict[str, Any]:
        """The object of `--json`: the means, their standard deviations under `sd`, the CPU time of all runs."""
        deviations = {
            name: None if None in values or len(values) < 2 else float(np.std(values, ddof=1))
            for name, values in self._values().items()
        }
        return {
            **self.swept,
            "name": self.scenario.name,
            "policy": self.scenario.policy.name,
            "solver": self.scenario.policy.solver,
            "quota": self.scenario.cluster.quota,
            "jobs": len(self.scenario.jobs),
            "seeds": list(self.seeds),
            **self.metrics,
            "sd": deviations,
            "cpu_s": sum(each["timing"]["cpu_s"] for each in self.runs),
        }

    def _values(self) -> dict[str, list[Any]]:
        return {name: [each["metrics"][name] for each in self.runs] for name in self.runs[0]["metrics"]}


@dataclass(frozen=True, slots=True)
class Job:
    """One run, and the file that keeps it."""

    scenario: ClusterScenario
    file: Path


def sweep(
    points: Sequence[tuple[Mapping[str, Any], ClusterScenario]],
    *,
    root: Path,
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Point]:
    """Simulates every repeat of every point.

    Args:
        points: Of `scenarios.load.expand_any`.
        root: The folder of runs; finished ones are kept in its `.cache/sweep`.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each run.
        spread: As of a pipeline's sweep.
    """
    rows: dict[str, tuple[dict[str, Any], list[int]]] = {}
    jobs: list[Job] = []
    for swept, scenario in points:
        rest = {key: value for key, value in swept.items() if key != SEED}
        for repeat in range(scenario.repeats):
            one = seeded(scenario, repeat)
            rows.setdefault(repr(rest), (rest, []))[1].append(len(jobs))
            jobs.append(Job(one, root / FOLDER / f"{identity(one)}.json"))
    found = kept.results(run_job, jobs, _KEPT, processes=processes, fresh=fresh, progress=progress, spread=spread)
    return [
        Point(
            rest,
            jobs[places[0]].scenario,
            tuple(jobs[place].scenario.workload.seed for place in places),
            tuple(found[place] for place in places),
        )
        for rest, places in rows.values()
    ]


def seeded(scenario: ClusterScenario, repeat: int) -> ClusterScenario:
    """One repeat of a scenario: its seeds and what is run, nothing else."""
    workload = dataclasses.replace(scenario.workload, seed=scenario.workload.seed + repeat)
    return dataclasses.replace(scenario, workload=workload, seed=scenario.seed + repeat, sweep={}, repeats=1)


def run_job(job: Job) -> dict[str, Any]:
    """Simulates and keeps one job; called in a worker."""
    from sim.cluster.run import run

    meta = run(job.scenario).meta
    return kept.keep(job.file, {key: meta[key] for key in _KEPT})


def identity(scenario: ClusterScenario) -> str:
    """Hash of all that a run's result depends on: name and bounds do not count, of trace files the content does."""
    load_ = scenario.workload
    workload = dataclasses.replace(load_, trace="", history=None)
    plain = dataclasses.replace(scenario, workload=workload, name="", expect=(), sweep={}, repeats=1)
    return kept.identity("cluster", load.resolved(plain), kept.digest(load_.trace), kept.digest(load_.history))
