"""Replications: one scenario with seeds seed, seed + 1, ..., as many as asked or until intervals are narrow enough.

Each is a simulation like a sweep's repeat and is kept where those are, so what was cut goes on where it was, and a
sweep's repeats are taken from there.  Pairs are replications of two scenarios with the same seeds; what changed for
each record is looked at where both have the same ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis import compare, stats
from analysis.columns import VERDICTS
from analysis.difference import Limit
from analysis.metrics import resolve
from analysis.window import in_window
from scenarios.spec import Scenario
from sim import kept, store, sweeping
from sim.costs import Calibration
from sim.kept import Progress

#: Replications made before the first look at how wide an interval is, and at most where none is given.
FIRST, CAP = 10, 200
LEVEL = 0.95
_KEPT = ("reason", "verdict", "verdict_reason", "metrics", "accounting", "warmup", "bottleneck")
_OF_A_SIDE = ("verdict", "metrics")


class PrecisionError(Exception):
    """A precision that no number of replications reaches."""


@dataclass(frozen=True, slots=True)
class Replications:
    """A scenario, replicated.

    Attributes:
        scenario: With the seed of the first.
        trust: `calibration` of run.json.
        results: Of each: reason, verdict, verdict_reason, metrics, accounting, warmup.
        asked: The precision asked for.
    """

    scenario: Scenario
    trust: dict[str, Any]
    results: tuple[dict[str, Any], ...]
    asked: tuple[Limit, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of all."""
        return min((str(r["verdict"]) for r in self.results), key=VERDICTS.index)

    @property
    def intervals(self) -> dict[str, stats.Interval | None]:
        """Metric -> mean and Student interval; None where a replication has no value."""
        found: dict[str, stats.Interval | None] = {}
        for name in self.results[0]["metrics"]:
            values = [r["metrics"][name] for r in self.results]
            found[name] = None if None in values else stats.t_interval(values, level=LEVEL)
        return found

    @property
    def metrics(self) -> dict[str, float | None]:
        """The means."""
        return {name: None if each is None else each.mean for name, each in self.intervals.items()}

    def reached(self) -> dict[str, tuple[str, float | None, bool]]:
        """Word -> (metric it means, half width over mean, whether that is narrow enough) of the precision asked for."""
        intervals, found = self.intervals, {}
        for limit in self.asked:
            name = resolve(limit.word, self.metrics)[0]
            interval = intervals.get(name)
            relative = None if interval is None else interval.relative
            found[limit.word] = (name, relative, relative is not None and relative <= limit.share)
        return found

    @property
    def narrow(self) -> bool:
        """Whether every precision asked for is reached."""
        return all(enough for _, _, enough in self.reached().values())

    def summary(self) -> dict[str, Any]:
        """The object of `--json`: metrics are means, metrics_lo and metrics_hi the ends of their 95 % intervals."""
        intervals, counts = self.intervals, [r["accounting"] for r in self.results]
        return {
            "name": self.scenario.name,
            "seed": self.scenario.workload.seed,
            "replications": len(self.results),
            "verdict": self.verdict,
            "verdicts": [r["verdict"] for r in self.results],
            "level": LEVEL,
            "metrics": self.metrics,
            "metrics_lo": {name: None if each is None else each.lo for name, each in intervals.items()},
            "metrics_hi": {name: None if each is None else each.hi for name, each in intervals.items()},
            "precision": [
                {"metric": name, "asked": limit.share, "reached": relative, "enough": enough}
                for limit, (name, relative, enough) in zip(self.asked, self.reached().values(), strict=True)
            ],
            "warmup": [r["warmup"] for r in self.results],
            "accounting": {key: sum(c[key] for c in counts) for key in counts[0]},
            "calibration": self.trust,
        }


@dataclass(frozen=True, slots=True)
class PairJob:
    """One replication of two scenarios, and the file that keeps it."""

    scenarios: tuple[Scenario, Scenario]
    calibrations: tuple[Calibration, Calibration]
    backend: str
    file: Path


def replicate(
    scenario: Scenario,
    calibration: Calibration,
    *,
    root: Path,
    replications: int | None = None,
    precision: Sequence[Limit] = (),
    backend: str = "loop",
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Replications:
    """Simulates replications on all cores; how many does not depend on how many cores there are.

    Args:
        scenario: What to simulate; its sweep and repeats do not count.
        calibration: Where every cost comes from.
        root: The folder of runs; finished simulations are kept in its `.cache/sweep`.
        replications: How many; at most so many where a precision is asked for.
        precision: Goes on until half of each metric's interval is at most this share of its mean.
        backend: `loop`, or `simpy` for the reference.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each simulation.

    Raises:
        PrecisionError: A metric whose precision is asked for has no value.
        system.UnsupportedError: the scenario needs programs the simulator does not have.
        execution.SimulationError: a pipeline came to a deadlock.
    """
    cap = replications or (CAP if precision else FIRST)
    trust = store.trust(scenario, calibration)
    found: list[dict[str, Any]] = []
    count = min(FIRST, cap) if precision else cap
    while True:
        jobs = []
        for repeat in range(len(found), count):
            one = sweeping.seeded(scenario, repeat)
            file = root / sweeping.FOLDER / f"{sweeping.identity(one, calibration, backend)}.json"
            jobs.append(sweeping.Job(one, calibration, backend, file))
        tell = None if progress is None else _shifted(progress, len(found))
        found += kept.results(sweeping.run_job, jobs, _KEPT, processes=processes, fresh=fresh, progress=tell)
        result = Replications(scenario, trust, tuple(found), tuple(precision))
        for name, relative, _ in result.reached().values():
            if relative is None and count > 1:
                raise PrecisionError(f"{name} has no value in some replication, or a mean of 0")
        if result.narrow or count >= cap:
            return result
        count = min(cap, _next(result))


def pairs(
    scenarios: tuple[Scenario, Scenario],
    calibrations: tuple[Calibration, Calibration],
    *,
    root: Path,
    replications: int = FIRST,
    backend: str = "loop",
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Replications of two scenarios, the k-th of both with the seed of the first scenario + k.

    Args:
        scenarios: A and B.
        calibrations: Of A and B.
        root: The folder of runs.
        replications: How many.
        backend: `loop`, or `simpy`.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each pair.

    Returns:
        Of each: `seed`; `a`, `b` (verdict, metrics); `records` (of `compare.record_differences`, None where the two
        have other records).
    """
    seed = scenarios[0].workload.seed
    other = dataclasses.replace(scenarios[1], workload=dataclasses.replace(scenarios[1].workload, seed=seed))
    jobs = []
    for repeat in range(replications):
        both = sweeping.seeded(scenarios[0], repeat), sweeping.seeded(other, repeat)
        names = [sweeping.identity(s, c, backend) for s, c in zip(both, calibrations, strict=True)]
        file = root / sweeping.FOLDER / f"{kept.identity('pair', *names)}.json"
        jobs.append(PairJob(both, calibrations, backend, file))
    return kept.results(
        run_pair, jobs, ("seed", "a", "b", "records"), processes=processes, fresh=fresh, progress=progress
    )


def run_pair(job: PairJob) -> dict[str, Any]:
    """Simulates and keeps one pair; called in a worker."""
    from sim.run import simulate

    first, second = (
        simulate(s, c, backend=job.backend, host=False) for s, c in zip(job.scenarios, job.calibrations, strict=True)
    )
    records = None
    if np.array_equal(first.records["created"], second.records["created"]):
        inside = [in_window(s, r.records) for s, r in zip(job.scenarios, (first, second), strict=True)]
        latencies = compare.latencies_ms(inside[0] & inside[1], first.records, second.records)
        records = None if latencies is None else compare.record_differences(*latencies)
    sides = {
        side: {key: result.meta[key] for key in _OF_A_SIDE} for side, result in zip("ab", (first, second), strict=True)
    }
    return kept.keep(job.file, {"seed": job.scenarios[0].workload.seed, **sides, "records": records})


def _next(found: Replications) -> int:
    """How many replications are likely to be enough: at least one more, at most twice as many."""
    count = len(found.results)
    shares = {limit.word: limit.share for limit in found.asked}
    worst = max((relative or 0.0) / shares[word] for word, (_, relative, _) in found.reached().items())
    return max(count + 1, min(2 * count, math.ceil(count * worst * worst)))


def _shifted(progress: Progress, before: int) -> Progress:
    return lambda done, total: progress(before + done, before + total)
