"""The smallest resource that meets the SLO at a scenario's load (Theodolite's demand metric).

A value meets it if the run is STABLE and keeps every bound of `slo` in every repeat.  The search doubles from the
least value until one run meets it, halves the gap below, then repeats the value found; where a repeat fails it goes
one value up and repeats anew.  That takes it for granted that more never does worse, so values above the answer and
the one below are run as well, and every pair of probes that contradicts it is told.

Every run is kept as those of sweeps are: a search that was cut goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.metrics import bound_broken
from analysis.search import CONFIRM_REPEATS, SearchError
from scenarios.errors import ScenarioError
from scenarios.fields import listed
from scenarios.rules import WITHOUT_BROKER
from scenarios.schema import ENGINE_FIELDS, UNCHAINED_FIELDS
from scenarios.spec import Scenario
from sim import kept, store, sweeping
from sim.costs import Calibration

#: No value above it is tried unless told.
MOST = 256
#: Resources beside parallelism that only some engines have.
_OF_ENGINES = ("source_parallelism", "sink_parallelism", "task_slots", "total_cpus")
_KEYS = ("verdict", "verdict_reason", "metrics")


@dataclass(frozen=True, slots=True)
class Probe:
    """One run of a search.

    Attributes:
        value: Of the resource.
        repeat: Repeat k has seed + k.
        verdict: Of the run.
        broken: The bounds that it broke.
        metrics: Of the run.
    """

    value: int
    repeat: int
    verdict: str
    broken: tuple[str, ...]
    metrics: dict[str, float | None]

    @property
    def met(self) -> bool:
        """Whether the run was STABLE and kept its bounds."""
        return self.verdict == "STABLE" and not self.broken


@dataclass(frozen=True, slots=True)
class Demand:
    """The answer of a search.

    Attributes:
        key: What was searched.
        value: The smallest that meets the SLO in every repeat; None where none was found.
        reason: In words, why the search ended.
        contradictions: Pairs of probes that say more did worse, in words; empty where the probes are monotone.
        probes: Every probe, by value and repeat.
        repeats: How many confirmed it.
        trust: `calibration` of run.json, at the value found.
    """

    key: str
    value: int | None
    reason: str
    contradictions: tuple[str, ...]
    probes: tuple[Probe, ...]
    repeats: int
    trust: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "for": self.key,
            "demand": self.value,
            "reason": self.reason,
            "repeats": self.repeats,
            "monotone": not self.contradictions,
            "contradictions": list(self.contradictions),
            "probes": [
                {"value": p.value, "repeat": p.repeat, "met": p.met, "verdict": p.verdict, "broken": list(p.broken)}
                for p in self.probes
            ],
            "calibration": self.trust,
        }


def resources(scenario: Scenario) -> list[str]:
    """The keys whose demand can be searched: the whole-number resources that the scenario has."""
    engine = scenario.engine
    if engine.kind == "graph":
        keys = [f"stages.{stage.name}.workers" for stage in scenario.stages]
    else:
        own = ENGINE_FIELDS.get(engine.kind, _OF_ENGINES)
        chained = UNCHAINED_FIELDS if engine.chained else ()
        keys = ["engine.parallelism", *(f"engine.{n}" for n in _OF_ENGINES if n in own and n not in chained)]
        if scenario.serving.kind == "external":
            keys.append("serving.workers")
        if engine.kind not in WITHOUT_BROKER:
            keys += ["broker.partitions", "broker.io_threads", "broker.network_threads"]
    return keys + [f"hosts.{name}.cores" for name in scenario.hosts.hosts]


def check_key(key: str, scenario: Scenario) -> None:
    """Refuses a key that is no resource of the scenario.

    Raises:
        ScenarioError: It is none.
    """
    allowed = resources(scenario)
    if key not in allowed:
        raise ScenarioError("--for", None, None, key, listed("is no resource of this scenario", key, allowed))


#: Makes the runs of (value, repeat) pairs, in their order.
Runs = Callable[[Sequence[tuple[int, int]]], list[Probe]]


def demand(
    key: str,
    at: Callable[[int], Scenario],
    choose: Callable[[Scenario], Calibration],
    *,
    least: int = 1,
    most: int = MOST,
    repeats: int = CONFIRM_REPEATS,
    root: Path = Path("runs"),
    processes: int | None = None,
    fresh: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Demand:
    """Searches the demand for one resource.

    Args:
        key: The setting that is searched, for the words of the answer.
        at: The scenario with so much of it.
        choose: The calibration of a scenario.
        least: No value below it is tried.
        most: No value above it is tried.
        repeats: How many confirm; the first counts, made while searching.
        root: The folder of runs; finished simulations are kept in its `.cache/sweep`.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        tell: Called with each step in words.

    Raises:
        SearchError: Bounds or repeats that cannot be, or a run that is INVALID.
    """

    def runs(asked: Sequence[tuple[int, int]]) -> list[Probe]:
        jobs = []
        for value, repeat in asked:
            scenario = at(value)
            costs = choose(scenario)
            one = sweeping.seeded(scenario, repeat)
            file = root / kept.FOLDER / f"{sweeping.identity(one, costs, 'loop')}.json"
            jobs.append(sweeping.Job(one, costs, "loop", file))
        found = kept.results(sweeping.run_job, jobs, _KEYS, processes=processes, fresh=fresh)
        probes = []
        for (value, repeat), job, run in zip(asked, jobs, found, strict=True):
            if run["verdict"] == "INVALID":
                raise SearchError(f"{key} {value}: a run is INVALID: {run['verdict_reason']}")
            broken = tuple(bound_broken(job.scenario.slo, run["metrics"]))
            probes.append(Probe(value, repeat, str(run["verdict"]), broken, run["metrics"]))
        return probes

    value, reason, probes = search(runs, least, most, repeats, tell or (lambda _text: None))
    answer = at(value or least)
    if not answer.slo:
        reason += "; the scenario has no slo: STABLE alone was asked"
    trust = store.trust(answer, choose(answer))
    return Demand(key, value, reason, tuple(contradictions(probes)), tuple(probes), repeats, trust)


def search(
    runs: Runs, least: int, most: int, repeats: int, tell: Callable[[str], None] = lambda _text: None
) -> tuple[int | None, str, list[Probe]]:
    """The smallest value that is met in every repeat, why the search ended, and every probe by value and repeat.

    Raises:
        SearchError: Bounds or repeats that cannot be.
    """
    if not 1 <= least <= most or repeats < 1:
        raise SearchError(f"expected 1 <= least <= most and repeats >= 1, got {least}, {most}, {repeats}")
    made: dict[tuple[int, int], Probe] = {}

    def met(value: int, count: int = 1) -> bool:
        missing = [(value, k) for k in range(count) if (value, k) not in made]
        for probe in runs(missing) if missing else ():
            made[probe.value, probe.repeat] = probe
            why = "; ".join(probe.broken) if probe.verdict == "STABLE" else probe.verdict
            tell(f"{value}, repeat {probe.repeat + 1}: {'met' if probe.met else f'not met: {why}'}")
        return all(made[value, k].met for k in range(count))

    value, below = least, least - 1
    while not met(value) and value < most:
        below, value = value, min(2 * value, most)
    if not met(value):
        return None, f"not met up to {most}; sim explain says what limits it", _ordered(made.values())
    while value - below > 1:
        middle = (value + below) // 2
        below, value = (below, middle) if met(middle) else (middle, value)
    while not met(value, repeats):
        if value == most:
            return None, f"no value up to {most} is met in every repeat", _ordered(made.values())
        value += 1
    if value > least:
        met(value - 1)
    for more in sorted({min(value + 1, most), min(2 * value, most)} - {value}):
        met(more)
    reason = "confirmed" if value > least else "confirmed; the least value tried"
    if repeats < CONFIRM_REPEATS:
        reason += f"; {repeats} of the {CONFIRM_REPEATS} repeats that the protocol asks for"
    return value, reason, _ordered(made.values())


def contradictions(probes: Iterable[Probe]) -> list[str]:
    """Where more did worse: a value that is met in a repeat below one that is not, in the same repeat."""
    said = []
    rows = _ordered(probes)
    for repeat in sorted({p.repeat for p in rows}):
        mine = [p for p in rows if p.repeat == repeat]
        for p in mine:
            worse = next((q for q in mine if q.value > p.value and not q.met), None)
            if p.met and worse is not None:
                said.append(f"repeat {repeat + 1}: {p.value} is met and {worse.value} is not")
    return said


def _ordered(probes: Iterable[Probe]) -> list[Probe]:
    return sorted(probes, key=lambda p: (p.value, p.repeat))
