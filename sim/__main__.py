"""`python -m sim`: predict a run, a sweep, what a pipeline sustains; or what a policy makes of a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import Junit, Markdown, Quiet
from sim.cli import kept as _kept
from sim.cli import print_table as _print
from sim.cli import reported as _reported
from sim.cli import resumable as _resumable
from sim.explore.command import explore_command
from sim.planner.command import plan_command
from sim.questions import demand_command, explain_command
from sim.replicate_command import pairs_command
from sim.screens import code as _code
from sim.screens import show_capacity, show_run, show_sweep

if TYPE_CHECKING:
    from scenarios.cluster_spec import ClusterScenario
    from sim.kept import Spread

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Predict pipelines by simulation."
)


@app.callback()
def _app() -> None:
    """Predict pipelines by simulation."""
    from scenarios.cli import die_with_parent

    die_with_parent()


class Records(StrEnum):
    """Which records a run keeps."""

    all = "all"
    none = "none"


class Where(StrEnum):
    """Where a sweep is simulated."""

    here = "here"
    ray = "ray"


class Backend(StrEnum):
    """What executes the programs."""

    loop = "loop"
    simpy = "simpy"


ScenarioFiles = Annotated[
    list[Path], typer.Argument(metavar="SCENARIO...", help="Scenario files, one or more.", show_default=False)
]
ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")]
CalibrationName = Annotated[
    str | None, typer.Option("--calibration", help="Name or .json file, instead of the scenario's.")
]
Executor = Annotated[Backend, typer.Option(help="loop, or simpy: the same results, two hundred times slower.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores if not given.")]
Intervals = Annotated[
    int | None,
    typer.Option(min=19, max=1000, help="Simulate with so many of the fit's sets of parameters; 90 % intervals."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Simulate anew what is kept from before.")]


@app.command()
def run(
    scenario: ScenarioFile,
    sets: Sets = None,
    calibration: CalibrationName = None,
    backend: Executor = Backend.loop,
    out: Out = Path("runs"),
    as_json: Json = False,
    no_write: Annotated[bool, typer.Option("--no-write", help="Write no run folder.")] = False,
    replications: Annotated[
        int | None, typer.Option(min=2, max=10_000, help="Simulate so many seeds; means and intervals, no run folder.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="p99=5%: replicate until the 95 % interval is +-5 %; at most --replications (200) times."),
    ] = None,
    intervals: Intervals = None,
    jobs: Jobs = None,
    fresh: Fresh = False,
    records: Annotated[
        Records, typer.Option(help="all, or none: memory does not grow with the run, percentiles within 0.5 %.")
    ] = Records.all,
    junit: Junit = None,
    markdown: Markdown = None,
    _quiet: Quiet = False,
) -> None:
    """Predict one run (of a sweep, the first point) and write it like a real one."""
    with _reported():
        from scenarios.cluster_spec import ClusterScenario
        from scenarios.errors import ScenarioError
        from scenarios.load import as_pipeline, load_any
        from scenarios.spec import S_NS
        from scenarios.sweeps import keys_of
        from sim import shown, store

        bounded = records is Records.none
        if bounded:
            _keeps_none(backend, several=bool(replications or precision), intervals=bool(intervals))
        _check_files(junit, markdown)
        asked = load_any(scenario, sets or [])
        if asked.sweep:
            shown.say_all([f"{scenario} sweeps {', '.join(keys_of(asked.sweep))}: this is its first point"])
        if isinstance(asked, ClusterScenario):
            _of_pipelines(
                scenario, calibration, backend, replicated=bool(replications or precision), intervals=bool(intervals)
            )
            if bounded:
                raise ScenarioError("--records", None, None, "none", "is for pipelines; this is a cluster scenario")
            code, cases = _run_cluster(asked, scenario, None if no_write else out, as_json=as_json)
            _summaries(cases, junit, markdown)
            raise SystemExit(code)
        from sim.run import write

        pipeline = as_pipeline(asked, str(scenario))
        costs = store.choose(pipeline, calibration)
        _slow(backend)
        if replications or precision:
            from sim import replicate_command as replicating
            from sim import sweeping

            with _kept(out / sweeping.FOLDER) as tell:
                found = replicating.replicated(
                    pipeline,
                    costs,
                    replications,
                    precision or [],
                    out=out,
                    backend=backend.value,
                    jobs=jobs,
                    fresh=fresh,
                    progress=tell,
                )
            code = _code(*replicating.show_replications(found, as_json=as_json))
            worst = next(each for each in found.results if each["verdict"] == found.verdict)
            reason = str(worst["verdict_reason"])
            _summaries([_of_point({}, found.verdict, found.metrics, pipeline, reason)], junit, markdown)
            raise SystemExit(code)
        with shown.Progress("simulated seconds") as progress:
            result = _simulated(pipeline, costs, backend, lambda now, end: progress(now / S_NS, end / S_NS), bounded)
        if intervals:
            result.meta["intervals"] = _intervals([({}, pipeline)], [costs], intervals, out, jobs, fresh=fresh)[0]
        path = None if no_write else write(result, out)
        code, cases = show_run(result.meta, pipeline, path, as_json=as_json)
        _summaries(cases, junit, markdown)
        raise SystemExit(code)


@app.command()
def sweep(
    scenarios: ScenarioFiles,
    sets: Sets = None,
    calibration: CalibrationName = None,
    backend: Executor = Backend.loop,
    out: Out = Path("runs"),
    jobs: Jobs = None,
    intervals: Intervals = None,
    fresh: Fresh = False,
    on: Annotated[
        Where, typer.Option("--on", help="here: on this machine's cores; ray: on a Ray cluster.")
    ] = Where.here,
    ray_address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster, HOST:PORT; the environment's RAY_ADDRESS if not given.")
    ] = None,
    as_json: Json = False,
    junit: Junit = None,
    markdown: Markdown = None,
    _quiet: Quiet = False,
) -> None:
    """Predict every point and repeat of sweeps, on all cores; what is finished is kept and not simulated again."""
    with _reported():
        from scenarios.cluster_spec import ClusterScenario
        from scenarios.errors import ScenarioError
        from scenarios.load import as_pipeline, expand_any
        from sim import store, sweeping

        _check_files(junit, markdown)
        if ray_address is not None and on is not Where.ray:
            raise ScenarioError("--ray-address", None, None, "", "is of --on ray")
        points = [(swept, each, file) for file in scenarios for swept, each in expand_any(file, sets or [])]
        clusters = [(swept, each) for swept, each, _ in points if isinstance(each, ClusterScenario)]
        if len(clusters) == len(points):
            _of_pipelines(scenarios[0], calibration, backend, intervals=bool(intervals))
            where = _spread(on, ray_address)
            code, cases = _sweep_clusters(clusters, scenarios[0], out, jobs, fresh=fresh, as_json=as_json, where=where)
            _summaries(cases, junit, markdown)
            raise SystemExit(code)
        pipelines = [(swept, as_pipeline(each, str(file))) for swept, each, file in points]
        calibrations = [store.choose(each, calibration) for _, each in pipelines]
        _slow(backend)
        with _spread(on, ray_address) as spread:
            with _kept(out / sweeping.FOLDER) as tell:
                found = sweeping.sweep(
                    pipelines,
                    calibrations,
                    root=out,
                    backend=backend.value,
                    processes=jobs,
                    fresh=fresh,
                    progress=tell,
                    spread=spread,
                )
            uncertain = None
            if intervals:
                uncertain = _intervals(pipelines, calibrations, intervals, out, jobs, fresh=fresh, spread=spread)
        code, cases = show_sweep(found, uncertain, as_json=as_json)
        _summaries(cases, junit, markdown)
        raise SystemExit(code)


@app.command()
def capacity(
    scenario: ScenarioFile,
    sets: Sets = None,
    calibration: CalibrationName = None,
    backend: Executor = Backend.loop,
    out: Out = Path("runs"),
    jobs: Jobs = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Repeats that confirm; the protocol asks for 5.")] = 5,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Search the sustainable throughput, and the drain throughput, of every point of a sweep."""
    with _reported():
        from scenarios.load import expand
        from sim import capacity as searching
        from sim import cores, store

        points = expand(scenario, sets or [])
        work = [
            searching.Job(swept, each, store.choose(each, calibration), backend.value, repeats, out, fresh)
            for swept, each in points
        ]
        _slow(backend)
        found: dict[int, searching.Capacity] = {}
        with _resumable(out / searching.FOLDER, None), closing(cores.spread(searching.capacity, work, jobs)) as results:
            found.update(results)
        raise SystemExit(show_capacity([found[at] for at in range(len(work))], as_json=as_json))


app.command("pairs", hidden=True)(pairs_command)
app.command("plan")(plan_command)
app.command("explain")(explain_command)
app.command("demand")(demand_command)
app.command("explore")(explore_command)


@app.command()
def warm() -> None:
    """Compile the loop into its cache; needs no calibration."""
    with _reported():
        from sim.warm import warm as compile_all

        print(compile_all(), file=sys.stderr)


@app.command()
def calibrations(as_json: Json = False) -> None:
    """List the calibrations that can be named."""
    with _reported():
        from analysis.fingerprint import differences
        from sim import store

        found = []
        for name in store.names():
            costs = store.load(name)
            found.append(
                {
                    "name": name,
                    "created": costs.created,
                    "regime": costs.regime,
                    "cores": costs.host.cores,
                    "host_match": not differences(costs.fingerprint),
                    "held_out": costs.held_out,
                    "path": str(store.find(name)),
                }
            )
        if as_json:
            print(json.dumps(found, indent=1, ensure_ascii=False))
            return
        if not found:
            print(f"no calibration in {' or '.join(map(str, store.directories()))}", file=sys.stderr)
            return
        from sim.tables import calibrations_table

        _print(calibrations_table(found))


def _run_cluster(asked: ClusterScenario, file: Path, out: Path | None, *, as_json: bool) -> tuple[int, list[Any]]:
    from analysis.cluster_run import write
    from sim import shown
    from sim.cluster import run as running
    from sim.cluster.shown import show_run as show_cluster

    running.check(asked, str(file))
    with shown.Progress("simulated seconds") as progress:
        found = running.run(asked, progress)
    code = show_cluster(found, asked, None if out is None else write(found, out), as_json=as_json)
    return code, [_of_point({}, "simulated", found.meta["metrics"], asked)]


def _sweep_clusters(
    points: Sequence[tuple[dict[str, Any], ClusterScenario]],
    file: Path,
    out: Path,
    jobs: int | None,
    *,
    fresh: bool,
    as_json: bool,
    where: AbstractContextManager[Spread | None],
) -> tuple[int, list[Any]]:
    from sim import kept
    from sim.cluster import run as running
    from sim.cluster import sweep as sweeping
    from sim.cluster.shown import show_sweep as show_clusters

    for each in {repr(each.policy): each for _, each in points}.values():
        running.check(each, str(file))
    with where as spread, _kept(out / kept.FOLDER) as tell:
        found = sweeping.sweep(points, root=out, processes=jobs, fresh=fresh, progress=tell, spread=spread)
    cases = [_of_point(point.swept, "simulated", point.metrics, point.scenario) for point in found]
    return show_clusters(found, as_json=as_json), cases


def _intervals(
    points: Sequence[tuple[Any, Any]],
    costs: Sequence[Any],
    count: int,
    out: Path,
    jobs: int | None,
    *,
    fresh: bool,
    spread: Spread | None = None,
) -> list[dict[str, Any]]:
    """The 90 % intervals of every point, by the sets of parameters that its calibration keeps."""
    from sim import sweeping, uncertainty

    seed = points[0][1].workload.seed
    with _kept(out / sweeping.FOLDER) as tell:
        return uncertainty.predict(
            points, costs, count, seed=seed, root=out, processes=jobs, fresh=fresh, progress=tell, spread=spread
        )


@contextmanager
def _spread(on: Where, address: str | None) -> Iterator[Spread | None]:
    """Where simulations are spread; None for the processes of this machine."""
    if on is Where.here:
        yield None
        return
    from sim import on_ray, shown

    with on_ray.connected(address, lambda text: shown.say_all([text])) as spread:
        yield spread


def _of_pipelines(
    file: Path, calibration: str | None, backend: Backend, *, replicated: bool = False, intervals: bool = False
) -> None:
    """Refuses what says nothing about a cluster."""
    from scenarios.errors import ScenarioError

    given = "--calibration" if calibration is not None else "--backend" if backend is not Backend.loop else None
    given = "--replications" if replicated else "--intervals" if intervals else given
    if given:
        raise ScenarioError(str(file), None, None, "", f"{given} is for pipelines; this is of a cluster (it has jobs)")


def _check_files(*paths: Path | None) -> None:
    """Whether the summaries that are asked for can be written, before the work."""
    if any(path is not None for path in paths):
        from analysis import summary

        summary.check_files(*paths)


def _of_point(swept: Any, verdict: str, metrics: Any, scenario: Any, reason: str = "") -> Any:
    from analysis import summary

    return summary.of_point(swept, verdict, metrics, scenario, reason)


def _summaries(cases: list[Any], junit: Path | None, markdown: Path | None) -> None:
    """The summaries for CI that are asked for."""
    if junit is None and markdown is None:
        return
    from analysis import summary

    summary.write(cases, junit, markdown)


def _keeps_none(backend: Backend, *, several: bool, intervals: bool) -> None:
    """Refuses what `--records none` cannot go with."""
    from scenarios.errors import ScenarioError

    asked = {"--backend simpy": backend is not Backend.loop, "--replications or --precision": several}
    for what, is_asked in {**asked, "--intervals": intervals}.items():
        if is_asked:
            raise ScenarioError("--records", None, None, "none", f"does not go with {what}")


def _simulated(pipeline: Any, costs: Any, backend: Backend, progress: Any, bounded: bool) -> Any:
    """One run, its records kept or not."""
    if bounded:
        from sim import bounded_run

        return bounded_run.simulate(pipeline, costs, progress=progress)
    from sim.run import simulate

    return simulate(pipeline, costs, backend=backend.value, progress=progress)


def _slow(backend: Backend) -> None:
    if backend is Backend.simpy:
        print("--backend simpy is the readable reference: a few thousand records a second", file=sys.stderr)


if __name__ == "__main__":
    app()
