"""`sim explain`: where the time of a record goes, what is busiest, and what would relieve it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.text import number
from analysis.window import in_window, window_ns
from scenarios.spec import MS_NS, Scenario
from sim import store, system
from sim.costs import Calibration
from sim.explain_changes import SUSTAINABLE, Effect, as_rows, changes, effects
from sim.explain_parts import Busy, bottleneck, busy
from sim.explain_stages import Timeline, timeline

if TYPE_CHECKING:
    from rich.table import Table

#: Above this the bottleneck is what the pipeline cannot go beyond; below, time goes into waiting for something else.
SATURATED = 0.9


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage takes of a record's way, milliseconds; `share` is that of the mean latency."""

    name: str
    mean_ms: float
    p50_ms: float
    p95_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found.

    Attributes:
        scenario: What was asked about.
        trust: `calibration` of run.json.
        records: Records that the stages are of: those of the window that came to the end.
        left: Records of the window that did not.
        mean_ms: Their mean latency, from `created` to the append of the output (not cut to whole milliseconds).
        stages: In the order of the way.
        busy: Groups of threads and hosts, the busiest first.
        bottleneck: The busiest that a record has to pass.
        metric: What the changes are ranked by.
        before: Its value before any change.
        effects: Of each change tried, the best first.
        repeats: Simulations of each configuration.
        notes: Of the layout.
    """

    scenario: Scenario
    trust: dict[str, Any]
    records: int
    left: int
    mean_ms: float
    stages: tuple[StageTime, ...]
    busy: tuple[Busy, ...]
    bottleneck: Busy
    metric: str
    before: float | None
    effects: tuple[Effect, ...]
    repeats: int
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The object of `--json`."""
        rows = [{**dataclasses.asdict(row), "utilisation": row.utilisation} for row in self.busy]
        return {
            "name": self.scenario.name,
            "seed": self.scenario.workload.seed,
            "records": self.records,
            "left": self.left,
            "latency_mean_ms": self.mean_ms,
            "stages": [dataclasses.asdict(stage) for stage in self.stages],
            "busy": rows,
            "bottleneck": {
                "name": self.bottleneck.name,
                "utilisation": self.bottleneck.utilisation,
                "saturated": self.bottleneck.utilisation >= SATURATED,
            },
            "metric": self.metric,
            "before": self.before,
            "repeats": self.repeats,
            "changes": as_rows(self.effects),
            "notes": list(self.notes),
            "calibration": self.trust,
        }


def explain(
    scenario: Scenario,
    calibration: Calibration,
    *,
    metric: str | None = None,
    repeats: int = 3,
    root: Path = Path("runs"),
    processes: int | None = None,
    fresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explains one scenario (of a sweep, the first point).

    Args:
        scenario: What is asked about.
        calibration: Where every cost comes from.
        metric: What the changes are ranked by; None for the SLO's metric, else p99.
        repeats: Simulations of each configuration, with one seed each.
        root: The folder of runs; finished simulations are kept in its `.cache/sweep`.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each simulation.

    Raises:
        system.UnsupportedError: the scenario needs something this calibration or simulator does not have.
        execution.SimulationError: a pipeline came to a deadlock.
    """
    scenario = dataclasses.replace(scenario, sweep={}, repeats=1)
    repeats = 1 if metric == SUSTAINABLE else repeats
    found, rows = measured(scenario, calibration)
    stages, records, left = stage_times(scenario, found)
    word, before, ranked = effects(
        scenario,
        calibration,
        changes(scenario, calibration),
        metric,
        repeats=repeats,
        root=root,
        processes=processes,
        fresh=fresh,
        progress=progress,
    )
    return Explanation(
        scenario,
        store.trust(scenario, calibration),
        records,
        left,
        sum(stage.mean_ms for stage in stages),
        tuple(stages),
        tuple(rows),
        bottleneck(rows),
        word,
        before,
        tuple(ranked),
        repeats,
        found.system.notes,
    )


def measured(scenario: Scenario, calibration: Calibration) -> tuple[Timeline, list[Busy]]:
    """Runs a scenario: the way of its records, and how busy what they pass was in the window."""
    found = timeline(system.build(scenario, calibration))
    if found.system.load_ns:
        begin_ns, end_ns = window_ns(scenario, _columns(found))
    else:  # a backlog alone: from the start to its last answer, or to the end of the drain
        out, horizon_ns = found.instants["out_appended"], found.system.horizon_ns
        begin_ns, end_ns = 0, min(horizon_ns, int(out.max()) + 1) if len(out) and out.min() >= 0 else horizon_ns
    return found, busy(found, begin_ns, end_ns)


def _columns(found: Timeline) -> dict[str, Any]:
    columns = {name: found.instants[name] for name in ("created", "acked", "out_appended")}
    return {"sequence": np.arange(found.system.records), **columns}


def stage_times(scenario: Scenario, found: Timeline) -> tuple[list[StageTime], int, int]:
    """What each stage takes; how many records of the window that is of, and how many did not come to the end."""
    sys = found.system
    asked = in_window(scenario, _columns(found)) if sys.load_ns else np.ones(sys.records, dtype=bool)
    counted = asked & found.whole
    spans = [(name, ns[counted] / MS_NS) for name, ns in found.spans]
    records = int(np.count_nonzero(counted))
    if not records:
        return [StageTime(name, 0.0, 0.0, 0.0, 0.0) for name, _ in spans], 0, int(np.count_nonzero(asked))
    total = sum(float(ms.mean()) for _, ms in spans)
    times = []
    for name, ms in spans:
        mean, (p50, p95) = float(ms.mean()), np.quantile(ms, (0.5, 0.95))
        times.append(StageTime(name, mean, float(p50), float(p95), mean / total if total else 0.0))
    return times, records, int(np.count_nonzero(asked)) - records


def tables(found: Explanation) -> list[Table]:
    """The stages, what is busy, and the changes."""
    return [_stage_table(found), _busy_table(found.busy), _effect_table(found)]


def lines(found: Explanation) -> list[str]:
    """The answer in words."""
    said = [f"note: {note}" for note in found.notes]
    if found.stages and found.records:
        most = max(found.stages, key=lambda stage: stage.share)
        said.append(f"most time: {most.name}, {_share(most.share)} of a mean of {number(found.mean_ms)} ms")
    if found.left:
        said.append(f"{found.left:,} records of the window did not come to the end; no stage counts them")
    b = found.bottleneck
    what = f"{_share(b.utilisation)} {'occupied' if (b.occupied or 0.0) > b.cpu else 'busy'}"
    limit = "it limits the pipeline" if b.utilisation >= SATURATED else "nothing is at its limit"
    said.append(f"bottleneck: {b.name}, {what}; {limit}")
    best = next((effect for effect in found.effects if effect.helps), None)
    if best is not None:
        said.append(f"what helps most: {best.name} ({best.setting}): {found.metric} {_signed(best.relative)}")
    elif found.effects:
        said.append(f"no change that was tried makes {found.metric} better")
    return said


def _stage_table(found: Explanation) -> Table:
    from rich.table import Table

    table = Table(title=f"{found.scenario.name}: where a record's time goes, {found.records:,} records")
    table.title_justify = "left"
    table.add_column("stage")
    for heading in ("median ms", "p95 ms", "mean ms", "share"):
        table.add_column(heading, justify="right")
    for stage in found.stages:
        times = (number(value) for value in (stage.p50_ms, stage.p95_ms, stage.mean_ms))
        table.add_row(stage.name, *times, _share(stage.share))
    table.add_row("together", "", "", number(found.mean_ms), "")
    return table


def _busy_table(rows: Sequence[Busy]) -> Table:
    from rich.table import Table

    table = Table(title="how busy", title_justify="left")
    table.add_column("what")
    for heading in ("threads, cores", "busiest", "mean", "run queue", "occupied"):
        table.add_column(heading, justify="right")
    for row in rows:
        occupied = "-" if row.occupied is None else _share(row.occupied)
        table.add_row(row.name, str(row.count), _share(row.cpu), _share(row.cpu_mean), _share(row.waiting), occupied)
    return table


def _effect_table(found: Explanation) -> Table:
    from rich.markup import escape
    from rich.table import Table

    title = f"what changes {found.metric}, {number(found.before)} as it is; {found.repeats} repeats, draws in common"
    table = Table(title=escape(title), title_justify="left")
    for heading in ("change", "setting"):
        table.add_column(heading)
    for heading in (found.metric, "change", "", "sd of pairs", "sd if unpaired"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for each in found.effects:
        between = "-" if each.change is None else f"{number(each.change)} ({number(each.lo)} to {number(each.hi)})"
        table.add_row(
            *(escape(each.name), escape(each.setting), number(each.value), between, _signed(each.relative)),
            *(number(each.spread), number(each.spread_unpaired), each.verdict),
        )
    return table


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(relative: float | None) -> str:
    return "-" if relative is None else f"{100 * relative:+.1f} %"
