"""`python -m sim`: predict a run, a sweep, what a pipeline sustains."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Predict pipelines by simulation."
)

EXIT_FAILED, EXIT_USAGE, EXIT_EXPECT, EXIT_CALIBRATION = 1, 2, 3, 4


@app.callback()
def _app() -> None:
    """Predict pipelines by simulation."""
    from scenarios.cli import die_with_parent

    die_with_parent()


class Backend(StrEnum):
    """What executes the programs."""

    loop = "loop"
    simpy = "simpy"


ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")]
CalibrationName = Annotated[
    str | None, typer.Option("--calibration", help="Name or .json file, instead of the scenario's.")
]
Executor = Annotated[Backend, typer.Option(help="loop, or simpy: the same results, a thousand times slower.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores if not given.")]
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
) -> None:
    """Predict one run (of a sweep, the first point) and write it like a real one."""
    with _reported():
        from scenarios.load import load
        from scenarios.spec import S_NS
        from sim import shown, store
        from sim.run import simulate, write

        asked = load(scenario, sets or [])
        costs = store.choose(asked, calibration)
        if asked.sweep:
            shown.say_all([f"{scenario} sweeps {', '.join(asked.sweep)}: this is its first point"])
        _slow(backend)
        with shown.Progress("simulated seconds") as progress:
            result = simulate(
                asked, costs, backend=backend.value, progress=lambda now, end: progress(now / S_NS, end / S_NS)
            )
        path = None if no_write else write(result, out)
        raise SystemExit(_show_run(result.meta, asked, path, as_json=as_json))


@app.command()
def sweep(
    scenario: ScenarioFile,
    sets: Sets = None,
    calibration: CalibrationName = None,
    backend: Executor = Backend.loop,
    out: Out = Path("runs"),
    jobs: Jobs = None,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Predict every point and repeat of a sweep, on all cores; what is finished is kept and not simulated again."""
    with _reported():
        from scenarios.load import expand
        from sim import shown, store
        from sim import sweep as sweeping

        points = expand(scenario, sets or [])
        calibrations = [store.choose(each, calibration) for _, each in points]
        _slow(backend)
        counts = [0, 0]
        with _resumable(out / sweeping.FOLDER, counts), shown.Progress("simulations") as progress:

            def tell(done: int, total: int) -> None:
                counts[:] = [done, total]
                progress(done, total)

            found = sweeping.sweep(
                points, calibrations, root=out, backend=backend.value, processes=jobs, fresh=fresh, progress=tell
            )
        raise SystemExit(_show_sweep(found, as_json=as_json))


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
        raise SystemExit(_show_capacity([found[at] for at in range(len(work))], as_json=as_json))


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


def _show_run(meta: dict[str, Any], scenario: Any, path: Path | None, *, as_json: bool) -> int:
    """Prints a run; returns its exit code."""
    from analysis.metrics import bound_broken
    from sim import shown

    broken = bound_broken(scenario.expect, meta["metrics"])
    slo = bound_broken(scenario.slo, meta["metrics"])
    if as_json:
        from analysis.verdict import summary

        extra = {"path": None if path is None else str(path), "expect_broken": broken, "slo_broken": slo}
        print(json.dumps({**summary(meta), **extra}, ensure_ascii=False))
    else:
        from analysis.tables import run_table

        reason = f": {meta['verdict_reason']}" if meta["verdict_reason"] else ""
        print(f"{meta['verdict']}{reason}")
        for line in shown.slo_lines(scenario.slo, meta["metrics"]):
            print(line)
        print(shown.trust_line(meta["calibration"]))
        _print(run_table(meta))
        if path is not None:
            print(path)
    return _code([meta["verdict"]], broken)


def _show_sweep(points: Sequence[Any], *, as_json: bool) -> int:
    from analysis.metrics import bound_broken
    from sim import shown

    broken = []
    for point in points:
        broken += [f"{_which(point.swept)}{line}" for line in bound_broken(point.scenario.expect, point.metrics)]
    if as_json:
        found = []
        for point in points:
            slo = bound_broken(point.scenario.slo, point.metrics)
            found.append({**point.summary(), "slo_broken": slo})
        print(json.dumps(found, ensure_ascii=False))
    else:
        from analysis.tables import sweep_table

        print(shown.trust_line(*(point.trust for point in points)))
        repeats = max(len(point.repeats) for point in points)
        title = points[0].scenario.name + (f", medians of {repeats} repeats" if repeats > 1 else "")
        rows = [(point.swept, {"verdict": point.verdict, "metrics": point.metrics}) for point in points]
        _print(sweep_table(rows, title))
        for point in points:
            for line in shown.slo_lines(point.scenario.slo, point.metrics):
                print(f"{_which(point.swept)}{line}")
    for point in points:
        for repeat in point.repeats:
            if repeat["verdict"] == "INVALID":
                print(f"{_which(point.swept)}INVALID: {repeat['verdict_reason']}", file=sys.stderr)
    return _code([point.verdict for point in points], broken)


def _show_capacity(found: Sequence[Any], *, as_json: bool) -> int:
    from analysis.metrics import bound_broken
    from sim import shown

    broken = []
    for each in found:
        asked = [b for b in each.scenario.expect if b.metric in ("sustainable_throughput", "drain_throughput")]
        broken += [f"{_which(each.swept)}{line}" for line in bound_broken(asked, each.metrics)]
    if as_json:
        print(json.dumps([each.summary() for each in found], ensure_ascii=False))
    else:
        from sim.tables import capacity_table

        print(shown.trust_line(*(each.trust for each in found)))
        _print(capacity_table(found, found[0].scenario.name))
    return _code([], broken)


def _code(verdicts: Sequence[str], broken: Sequence[str]) -> int:
    """The exit code; what is broken is told on stderr."""
    if "INVALID" in verdicts:
        return EXIT_FAILED
    for line in broken:
        print(f"expect: {line}", file=sys.stderr)
    return EXIT_EXPECT if broken else 0


def _which(swept: dict[str, Any]) -> str:
    return f"{', '.join(f'{key} {value}' for key, value in swept.items())}: " if swept else ""


def _print(table: Any) -> None:
    from rich.console import Console

    # Into a file or a pipe no column is cut.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _slow(backend: Backend) -> None:
    if backend is Backend.simpy:
        print("--backend simpy is the readable reference: a few thousand records a second", file=sys.stderr)


@contextmanager
def _resumable(folder: Path, counts: list[int] | None) -> Iterator[None]:
    """Says on an interruption what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{counts[0]} of {counts[1]} simulations are kept" if counts else "probes made are kept"
        print(f"{kept} in {folder}; the same command goes on from there", file=sys.stderr)
        raise


@contextmanager
def _reported() -> Iterator[None]:
    """Errors as a message on stderr and an exit code; SIGTERM counts as an interruption."""
    from concurrent.futures.process import BrokenProcessPool

    from analysis.runs import RunError
    from analysis.search import SearchError
    from scenarios.cli import reported, terminate_as_interrupt
    from sim.execution import SimulationError
    from sim.store import CalibrationError
    from sim.system import UnsupportedError

    terminate_as_interrupt()
    with ExitStack() as stack:
        stack.enter_context(reported())
        try:
            yield
        except CalibrationError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_CALIBRATION) from None
        except (UnsupportedError, SearchError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_USAGE) from None
        except (SimulationError, RunError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_FAILED) from None
        except BrokenProcessPool:
            print("error: a worker process died, for want of memory perhaps: try --jobs 1", file=sys.stderr)
            raise SystemExit(EXIT_FAILED) from None


if __name__ == "__main__":
    app()
