"""Every point and repeat of a sweep, on all cores, each simulated once.

A finished simulation is stored under the hash of all it depends on: what the scenario asks to be run, the calibration,
the executor, the sources of the simulator.  So a sweep that was cut goes on where it was, another that shares points
takes them from there, and a change of any source starts anew.  Repeat k has seed + k, at every point the same: the
draws of two configurations pair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import crayfish
from analysis.columns import VERDICTS
from scenarios import load
from scenarios.model_stream import file_bytes
from scenarios.spec import Scenario
from sim import kept, store
from sim.costs import Calibration
from sim.kept import Progress, Spread

FOLDER = kept.FOLDER
_KEPT = ("reason", "verdict", "verdict_reason", "metrics", "accounting", "warmup", "bottleneck")
_PROTOCOL = "protocol"  # what the scenario's `protocol` measures; None without one


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep.

    Attributes:
        swept: The swept keys and their values as written.
        scenario: What was simulated, with the seed of the first repeat.
        trust: `calibration` of run.json.
        repeats: Of each repeat: reason, verdict, verdict_reason, metrics, accounting, warmup.
    """

    swept: dict[str, Any]
    scenario: Scenario
    trust: dict[str, Any]
    repeats: tuple[dict[str, Any], ...]

    @property
    def verdict(self) -> str:
        """The worst of the repeats."""
        return min((str(r["verdict"]) for r in self.repeats), key=VERDICTS.index)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Medians over the repeats; None where a repeat has no value."""
        return {name: None if found is None else found[0] for name, found in self._spread().items()}

    @property
    def bottleneck(self) -> dict[str, Any] | None:
        """The busiest part, of the repeat where it was the busiest."""
        found = [r["bottleneck"] for r in self.repeats if r.get("bottleneck")]
        return max(found, key=lambda each: float(each["utilisation"]), default=None)

    def summary(self) -> dict[str, Any]:
        """The object of `--json`: metrics are medians over the repeats, the accounting is their sum."""
        found = self._spread()
        counts = [r["accounting"] for r in self.repeats]
        asked = self.scenario.protocol is not None
        return {
            **self.swept,
            **(crayfish.summary(self.scenario, [r[_PROTOCOL] for r in self.repeats]) if asked else {}),
            "name": self.scenario.name,
            "seed": self.scenario.workload.seed,
            "repeats": len(self.repeats),
            "verdict": self.verdict,
            "verdicts": [r["verdict"] for r in self.repeats],
            "bottleneck": self.bottleneck,
            "metrics": self.metrics,
            "metrics_lo": {name: None if f is None else f[1] for name, f in found.items()},
            "metrics_hi": {name: None if f is None else f[2] for name, f in found.items()},
            "accounting": {key: sum(c[key] for c in counts) for key in counts[0]},
            "calibration": self.trust,
        }

    def _spread(self) -> dict[str, tuple[float, float, float] | None]:
        from analysis import stats

        found: dict[str, tuple[float, float, float] | None] = {}
        for name in self.repeats[0]["metrics"]:
            values = [r["metrics"][name] for r in self.repeats]
            found[name] = None if None in values else stats.spread(values)
        return found


@dataclass(frozen=True, slots=True)
class Job:
    """One simulation, and the file that keeps it."""

    scenario: Scenario
    calibration: Calibration
    backend: str
    file: Path


def sweep(
    points: Sequence[tuple[Mapping[str, Any], Scenario]],
    calibrations: Sequence[Calibration],
    *,
    root: Path,
    backend: str = "loop",
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[Point]:
    """Simulates every repeat of every point.

    Args:
        points: Of `scenarios.load.expand`.
        calibrations: One for each point.
        root: The folder of runs; finished simulations are kept in its `.cache/sweep`.
        backend: `loop`, or `simpy` for the reference.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each simulation.
        spread: Where the work is done; None for processes of this machine.

    Raises:
        system.UnsupportedError: a scenario needs programs the simulator does not have.
        execution.SimulationError: a pipeline came to a deadlock.
    """
    folder = root / FOLDER
    jobs, owner = [], []
    for at, ((_, scenario), calibration) in enumerate(zip(points, calibrations, strict=True)):
        for repeat in range(scenario.repeats):
            one = seeded(scenario, repeat)
            jobs.append(Job(one, calibration, backend, folder / f"{identity(one, calibration, backend)}.json"))
            owner.append(at)
    found = kept.results(
        run_job, jobs, (*_KEPT, _PROTOCOL), processes=processes, fresh=fresh, progress=progress, spread=spread
    )
    repeats: list[list[dict[str, Any]]] = [[] for _ in points]
    for i, at in enumerate(owner):
        repeats[at].append(found[i])
    return [
        Point(dict(swept), scenario, store.trust(scenario, calibration), tuple(repeats[at]))
        for at, ((swept, scenario), calibration) in enumerate(zip(points, calibrations, strict=True))
    ]


def seeded(scenario: Scenario, repeat: int) -> Scenario:
    """One repeat of a scenario: its seed and what is run, nothing else."""
    workload = dataclasses.replace(scenario.workload, seed=scenario.workload.seed + repeat)
    return dataclasses.replace(scenario, workload=workload, sweep={}, repeats=1)


def run_job(job: Job) -> dict[str, Any]:
    """Simulates and keeps one job; called in a worker."""
    from sim.run import simulate

    result = simulate(job.scenario, job.calibration, backend=job.backend, host=False)
    measured = None if job.scenario.protocol is None else crayfish.protocol(result.records)
    return kept.keep(job.file, {**{key: result.meta[key] for key in _KEPT}, _PROTOCOL: measured})


def identity(scenario: Scenario, calibration: Calibration, *more: object) -> str:
    """Hash of all that a simulation's result depends on: bounds, name and where costs are looked up do not count."""
    plain = dataclasses.replace(
        scenario, name="", slo=(), expect=(), sweep={}, repeats=1, calibration=None, profile=None, check=None
    )
    trace = kept.digest(scenario.workload.arrival.path)
    sizes = [file_bytes(message) for message in scenario.model_stream.messages] if scenario.model_stream else []
    return kept.identity(load.resolved(plain), trace, store.digest(calibration), *map(str, (*more, *sizes)))
