"""The simulator from Python: `from sim import simulate, sweep`; results are typed objects with pandas frames.

run = simulate("scenarios/first_light.yaml", {"engine.parallelism": 4})
run.verdict, run.metrics["latency_append_ms_p99"], run.records.groupby("worker").size()

points = sweep("scenarios/demo.yaml").frame
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from scenarios.spec import Scenario

Sets = Mapping[str, object] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated run.

    Attributes:
        verdict: INVALID, CLIENT-BOUND, OVERLOADED, BACKLOGGED or STABLE.
        metrics: By name, in the unit that the name ends in; None where a run has no such figure.
        bottleneck: `name` and `utilisation` (a share of 1) of the busiest part.
        slo_broken: A line for each bound of the SLO that is broken.
        records: A row a record: when each thing happened to it (ns since the start, -1 never), what became of it.
        meta: All that run.json has.
        screen: What the command line shows first.
    """

    verdict: str
    metrics: dict[str, float | None]
    bottleneck: dict[str, Any]
    slo_broken: tuple[str, ...]
    records: pd.DataFrame = field(repr=False)
    meta: dict[str, Any] = field(repr=False)
    screen: str = field(repr=False)

    @property
    def latency_ms(self) -> pd.Series:
        """From its scheduled send time to the worker's acknowledgement, of each record that has one, ms."""
        done = self.records[self.records["acked"] >= 0]
        return (done["acked"] - done["created"]) / 1e6

    def __str__(self) -> str:
        """What the command line shows first."""
        return self.screen


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every point of a sweep.

    Attributes:
        frame: A row a point: the swept keys as written, `scenario`, `verdict`, `bottleneck`, `busy` (its utilisation),
            `slo_met` (None where none is asked), then every metric (medians over repeats) with its `_lo` and `_hi`
            where there are repeats.
        screen: What the command line shows first.
    """

    frame: pd.DataFrame = field(repr=False)
    screen: str = field(repr=False)

    def __str__(self) -> str:
        """What the command line shows first."""
        return self.screen


def simulate(
    scenario: str | Path | Scenario, sets: Sets = (), *, calibration: str | None = None, backend: str = "loop"
) -> Run:
    """Predicts one run; of a sweep, its first point.  Nothing is written.

    Args:
        scenario: A file, or what `scenarios.load.load` gave.
        sets: What is set on top of a file: `{"engine.parallelism": 4}`, or `["engine.parallelism=4"]`.
        calibration: Name or .json file, instead of the scenario's.
        backend: `loop`, or `simpy` for the readable reference.

    Raises:
        ScenarioError: The scenario cannot be used.
        sim.store.CalibrationError: There is no such calibration.
        sim.system.UnsupportedError: The simulator cannot run it.
    """
    import pandas as pd

    from analysis import first_screen
    from analysis.columns import OUTCOME_COLUMN, OUTCOMES
    from analysis.metrics import bound_broken
    from scenarios.load import load
    from sim import shown, store
    from sim.run import simulate as run

    one = load(scenario, _words(sets)) if isinstance(scenario, (str, Path)) else scenario
    found = run(one, store.choose(one, calibration), backend=backend)
    records = pd.DataFrame(found.records)
    records[OUTCOME_COLUMN] = pd.Categorical.from_codes(records[OUTCOME_COLUMN], categories=list(OUTCOMES))
    screen = first_screen.of_run(found.meta, one.slo, shown.trust_line(found.meta["calibration"]))
    return Run(
        found.meta["verdict"],
        found.metrics,
        found.meta["bottleneck"],
        tuple(bound_broken(one.slo, found.metrics)),
        records,
        found.meta,
        "\n".join(screen.lines()),
    )


def sweep(
    scenario: str | Path | Iterable[str | Path],
    sets: Sets = (),
    *,
    calibration: str | None = None,
    runs: str | Path = "runs",
    processes: int | None = None,
    fresh: bool = False,
    backend: str = "loop",
) -> Sweep:
    """Predicts every point and repeat of one file's sweep or of several; of clusters too (a row a policy and quota).

    Args:
        scenario: A file, or several.
        sets: What is set on top, as for `simulate`; a swept key is pinned by it.
        calibration: Name or .json file, instead of the scenarios'.
        runs: Folder of runs; what is simulated is kept in it and not simulated again.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        backend: `loop`, or `simpy` for the readable reference.

    Raises:
        ScenarioError: A scenario cannot be used.
        sim.store.CalibrationError: There is no such calibration.
        sim.system.UnsupportedError: The simulator cannot run one.
    """
    import pandas as pd

    from analysis import first_screen
    from scenarios.cluster_spec import ClusterScenario
    from scenarios.load import as_pipeline, expand_any
    from sim import shown, store, sweeping

    files = [scenario] if isinstance(scenario, (str, Path)) else list(scenario)
    asked = [(swept, one, file) for file in files for swept, one in expand_any(file, _words(sets))]
    clusters = [(swept, one) for swept, one, _ in asked if isinstance(one, ClusterScenario)]
    if clusters and len(clusters) == len(asked):
        return _clusters(clusters, Path(runs), processes, fresh=fresh)
    points = [(swept, as_pipeline(one, str(file))) for swept, one, file in asked]
    costs = [store.choose(one, calibration) for _, one in points]
    found = sweeping.sweep(points, costs, root=Path(runs), backend=backend, processes=processes, fresh=fresh)
    screen = first_screen.of_points(
        [(each.swept, each.verdict, each.metrics, each.scenario.slo, each.bottleneck) for each in found],
        max(len(each.repeats) for each in found),
        shown.trust_line(*(each.trust for each in found)),
    )
    return Sweep(pd.DataFrame([_row(each) for each in found]), "\n".join(screen.lines()))


def _clusters(points: Sequence[Any], runs: Path, processes: int | None, *, fresh: bool) -> Sweep:
    import pandas as pd

    from analysis import first_screen
    from sim.cluster import sweep as sweeping
    from sim.cluster.shown import TRUST

    found = sweeping.sweep(points, root=runs, processes=processes, fresh=fresh)
    rows = [each.summary() for each in found]
    seeds = max(len(each.runs) for each in found)
    screen = first_screen.of_clusters([each.swept for each in found], rows, seeds, TRUST)
    return Sweep(pd.DataFrame(rows), "\n".join(screen.lines()))


def _row(point: Any) -> dict[str, Any]:
    from analysis.metrics import bound_broken

    told = point.summary()
    busiest = point.bottleneck or {}
    row = {
        **point.swept,
        "scenario": point.scenario.name,
        "verdict": point.verdict,
        "bottleneck": busiest.get("name"),
        "busy": busiest.get("utilisation"),
        "slo_met": not bound_broken(point.scenario.slo, point.metrics) if point.scenario.slo else None,
        **told["metrics"],
    }
    if len(point.repeats) > 1:
        for end in ("lo", "hi"):
            row |= {f"{name}_{end}": value for name, value in told[f"metrics_{end}"].items()}
    return row


def _words(sets: Sets) -> list[str]:
    return [f"{key}={value}" for key, value in sets.items()] if isinstance(sets, Mapping) else list(sets)
