"""`python -m calibration`: fit a cost model, check its predictions against real runs, the demonstration."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fit cost models from profiles and check predictions against runs.",
)


@app.callback()
def _app() -> None:
    """Fit cost models from profiles and check predictions against runs."""
    from scenarios.cli import die_with_parent

    die_with_parent()


EXIT_FAILED, EXIT_USAGE, EXIT_CALIBRATION, EXIT_ABOVE, EXIT_INTERRUPTED = 1, 2, 4, 5, 130


@app.command()
def fit(
    profile: Annotated[
        Path | None, typer.Argument(help="Folder that `python -m real profile` made.", show_default=False)
    ] = None,
    out: Annotated[str, typer.Option("-o", "--out", help="Name of the calibration, or a path to a .json file.")] = "",
    table: Annotated[
        Path | None, typer.Option("--csv", help="A CSV of rates, CPU and latency instead of a profile.")
    ] = None,
    prometheus: Annotated[
        Path | None, typer.Option(help="An answer of Prometheus' query_range instead of a profile.")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="KEY=NAME or KEY=NAME{label=...}, of --prometheus.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="What ran, for --csv and --prometheus; its rate is the one seen.")
    ] = None,
    base: Annotated[str, typer.Option("--onto", help="How costs divide, for --csv and --prometheus.")] = "two-cores",
    as_json: Annotated[bool, typer.Option("--json", help="The calibration as JSON instead of tables.")] = False,
) -> None:
    """Fit costs with intervals into calibrations/NAME.json, from a profile or from telemetry."""
    with _reported():
        from sim import costs

        given = [what for what in (profile, table, prometheus) if what is not None]
        _usage(len(given) == 1, "give one of: a profile's folder, --csv FILE, --prometheus FILE")
        _usage(bool(out), "-o NAME: the calibration needs a name")
        path = Path(out) if out.endswith(".json") else Path("calibrations") / f"{out}.json"
        if profile is not None:
            from calibration.fit import fit_profile
            from calibration.profiles import read_profile

            found = fit_profile(read_profile(profile), path.stem)
        else:
            found = _from_telemetry(table, prometheus, metrics or [], scenario, base, path.stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        costs.write(found, path)
        if as_json:
            print(json.dumps(costs.to_json(found), indent=1))
            return
        from calibration.show import cost_table, fit_table, wide

        console = wide()
        console.print(cost_table(found))
        console.print(fit_table(found))
        print(path)


def _usage(holds: bool, message: str) -> None:
    if not holds:
        from scenarios.errors import ScenarioError

        raise ScenarioError("calibration fit", None, None, "", message)


def _from_telemetry(
    table: Path | None, prometheus: Path | None, metrics: list[str], scenario: Path | None, base: str, name: str
) -> Any:
    from datetime import UTC, datetime

    from calibration import telemetry
    from scenarios.load import load
    from sim import store

    _usage(scenario is not None, "--scenario FILE: telemetry does not say what ran")
    assert scenario is not None
    pairs = [text.partition("=") for text in metrics]
    for key, equals, selector in pairs:
        _usage(bool(key and equals and selector), f"--metric {key}{equals}{selector}: KEY=NAME is wanted")
    if prometheus is not None:
        seen = telemetry.read_prometheus(prometheus, {key: selector for key, _, selector in pairs})
    else:
        _usage(not metrics, "--metric is for --prometheus")
        assert table is not None
        seen = telemetry.read_csv(table)
    when = datetime.now(UTC).date().isoformat()
    return telemetry.fit_telemetry(seen, load(scenario, []), store.load(base), name, when)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, real or simulated.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path("range.json"),
    step: Annotated[int, typer.Option(help="Seconds between samples.", min=1, max=3600)] = 1,
) -> None:
    """Write a run as Prometheus would answer query_range for it."""
    with _reported():
        from calibration import telemetry

        out.write_text(json.dumps(telemetry.export(run, step)) + "\n")
        print(out)


@app.command()
def gc(
    log: Annotated[Path, typer.Argument(help="What a JVM wrote by -Xlog:gc.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Read a JVM's log of garbage collections: one stall of the process every so many bytes allocated."""
    with _reported():
        from calibration import gc_log

        found = gc_log.summary(gc_log.read(log), str(log))
        if as_json:
            print(json.dumps(found))
            return
        for key, value in found.items():
            print(f"{key:<24} {value:,.6g}")


@app.command()
def check(
    scenario: Annotated[Path, typer.Argument(help="A scenario with a check: section.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Calibration that predicts, whatever the scenario says.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of checks; an unfinished one is taken up.")] = Path(
        "runs"
    ),
    broker: Annotated[str | None, typer.Option(help="kafka, mock or external, whatever the scenario says.")] = None,
    fresh: Annotated[bool, typer.Option(help="Measure again what is there already.")] = False,
    warm: Annotated[float | None, typer.Option(help="Seconds that warming the broker may take.", min=0)] = None,
    store: Annotated[bool, typer.Option(help="Keep the errors with the calibration, for its trust line.")] = False,
    pick: Annotated[
        int | None, typer.Option("--choose", help="Run nothing: say which so many points would teach most.", min=1)
    ] = None,
    harvest: Annotated[
        bool, typer.Option("--harvest", help="Keep what was measured with the calibration, and where it is from.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Rows as one JSON list.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML file too, a test a row.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary in Markdown too.")] = None,
) -> None:
    """Run points no fit has seen, and print predictions beside them; exit code 5 above a bound."""
    with _reported():
        import shutil

        from analysis import summary
        from calibration import check as checks
        from scenarios.errors import ScenarioError
        from scenarios.load import load
        from sim.store import choose

        summary.check_files(junit, markdown)
        base = load(scenario, sets or [])
        if base.check is None:
            raise ScenarioError(str(scenario), None, None, "check", "there is no check: section to say which points")
        chosen = choose(base, calibration)
        if pick is not None:
            _chosen(base, chosen, pick, out, as_json=as_json)
            return
        folder = checks.folder_of(base, out, broker)
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder, rows = checks.check(base, chosen, out=out, broker=broker, warm_s=warm, progress=_told)
        if harvest:
            from datetime import UTC, datetime

            checks.harvest(chosen, folder, rows, calibration or base.calibration, datetime.now(UTC).date().isoformat())
            chosen = choose(base, calibration)
        if store:
            checks.keep_errors(chosen, rows, calibration or base.calibration)
        if as_json:
            print(json.dumps(rows, indent=1))
        else:
            from analysis import first_screen
            from analysis.tables import check_table
            from calibration.show import baseline_table, check_summary, wide
            from sim.shown import trust_line
            from sim.store import trust

            console = wide()
            first_screen.of_check(rows, trust_line(trust(base, chosen))).show()
            console.print(check_table(rows, f"calibration {chosen.name}"))
            console.print(check_summary(rows))
            beside = baseline_table(rows)
            if beside is not None:
                console.print(beside)
            print(folder)
        if junit is not None or markdown is not None:
            summary.write(summary.of_check(base.name, rows), junit, markdown)
        if any(row["ok"] is False for row in rows):
            raise SystemExit(EXIT_ABOVE)


@app.command()
def crayfish(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of its files; by default calibrations/crayfish-gcp-2023.")
    ] = None,
    against: Annotated[
        bool, typer.Option("--check", help="Write nothing: predict every published run; exit code 5 above a bound.")
    ] = False,
    root: Annotated[Path, typer.Option("--runs", help="Folder of runs; what was simulated is kept there.")] = Path(
        "runs"
    ),
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, of every scenario checked.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as a JSON list.")] = False,
) -> None:
    """Make the calibration of Crayfish's published runs from their numbers; or check it against them."""
    with _reported():
        from calibration import crayfish as published

        if not against:
            folder = out or Path("calibrations") / published.NAME
            print(f"{len(published.write(folder))} regimes in {folder}")
            return
        from calibration import crayfish_check as checks
        from sim import shown

        with shown.Progress("simulations") as progress:
            found = checks.predicted(checks.cells(), root, sets or [], progress)
        if as_json:
            rows = [{**dataclasses.asdict(cell), "error": cell.error} for cell in found]
            print(json.dumps(rows, indent=1))
        else:
            print(checks.markdown(found), end="")
        above = checks.broken(found)
        for line in above:
            print(line, file=sys.stderr)
        if above:
            raise SystemExit(EXIT_ABOVE)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    broker: Annotated[str | None, typer.Option(help="kafka or mock; by default kafka where it can run.")] = None,
) -> None:
    """Measure this machine, fit, predict, run a few of the predictions, and write a report: about two minutes."""
    with _reported():
        from calibration.demo import demo as run

        run(out, broker)


@app.command("scores")
def scores_(
    profile: Annotated[Path, typer.Argument(help="Folder that `python -m real grid` made.", show_default=False)],
    out: Annotated[str, typer.Option("-o", "--out", help="Name of the calibration, or a path to a .json file.")],
    base: Annotated[str, typer.Option("--onto", help="Calibration that everything else is from.")] = "two-cores",
    model: Annotated[str | None, typer.Option(help="Which model, where the profile has several.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Which runtime, where it has several.")] = None,
    cpus: Annotated[int, typer.Option(help="Cores of the replica whose cells are taken.", min=1)] = 1,
    clock: Annotated[str, typer.Option(help="cpu, or wall for a model that waits.")] = "cpu",
    server: Annotated[bool, typer.Option("--server", help="It is the table of the external server.")] = False,
) -> None:
    """Put what scoring takes, by a profile of `real grid`, into a calibration."""
    with _reported():
        from calibration import scores

        path = Path(out) if out.endswith(".json") else Path("calibrations") / f"{out}.json"
        found = scores.write(profile, path, base, model=model, runtime=runtime, cpus=cpus, clock=clock, server=server)
        for line in found.left_out:
            print(f"left out: {line}", file=sys.stderr)
        for points, ns in found.table_ns.items():
            print(f"{points:>6} points  {ns / 1e3:>12,.1f} us")
        print(path)


@app.command("models")
def models_(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of real runs with a stream of models.", show_default=False)
    ],
    out: Annotated[str, typer.Option("-o", "--out", help="Name of the calibration, or a path to a .json file.")],
    base: Annotated[str, typer.Option("--onto", help="Calibration that everything else is from.")] = "two-cores",
) -> None:
    """Put what models that change take to load and to score, by real runs of them, into a calibration."""
    with _reported():
        from calibration import loads

        path = Path(out) if out.endswith(".json") else Path("calibrations") / f"{out}.json"
        for model, known in loads.write(runs, path, base).models.items():
            told = (f"{key} {known.get(key, float('nan')):>12,.0f}" for key in ("size_bytes", "load_ns", "score_ns"))
            print(f"{model:<24}  {'  '.join(told)}")
        print(path)


@app.command()
def recover(
    draws: Annotated[int, typer.Option(help="Truths drawn.", min=2, max=10_000)] = 200,
    seed: Annotated[int, typer.Option(help="Of the truths.")] = 1,
    replicates: Annotated[int, typer.Option(help="Sets of parameters a fit.", min=19, max=1000)] = 60,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs; finished draws are kept in it.")] = Path(
        "runs"
    ),
    jobs: Annotated[int | None, typer.Option(help="Processes; as many as there are cores if not given.", min=1)] = None,
    fresh: Annotated[bool, typer.Option(help="Make anew what is kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The tables as one JSON object.")] = False,
) -> None:
    """Draw true costs, simulate profiles with noise, fit, and count how often intervals hold the truth."""
    with _reported():
        from calibration import recovery
        from sim import shown

        with shown.Progress("draws") as progress:
            found = recovery.recover(
                draws, seed=seed, root=out, replicates=replicates, processes=jobs, fresh=fresh, progress=progress
            )
        wrong = recovery.judged(found)
        if as_json:
            tables = {
                "parameters": recovery.parameters(found),
                "predictions": recovery.predictions(found),
                "errors": recovery.errors(found),
                "wrong": wrong,
            }
            print(json.dumps(tables, indent=1))
        else:
            from calibration.show import recovery_tables, wide

            for table in recovery_tables(found):
                wide().print(table)
        for line in wrong:
            print(line, file=sys.stderr)
        if wrong:
            raise SystemExit(EXIT_ABOVE)


def _chosen(base: Any, calibration: Any, count: int, out: Path, *, as_json: bool) -> None:
    """Says which points would teach most."""
    from calibration.choose import choose
    from sim import shown

    with shown.Progress("simulations") as progress:
        found = choose(base, calibration, count, root=out, progress=progress)
    if as_json:
        print(json.dumps([{**dataclasses.asdict(one.point), "gain": one.gain, "why": one.why} for one in found]))
        return
    for place, one in enumerate(found, 1):
        what = "drain" if one.point.rate_per_s is None else f"{one.point.rate_per_s:g} /s"
        print(f"{place}. {what}, parallelism {one.point.parallelism}: {one.why}")


def _told(text: str, share: float | None) -> None:
    print(text if share is None else f"{text} ({share:.0%})", file=sys.stderr, flush=True)


@contextmanager
def _reported() -> Iterator[None]:
    from analysis.runs import RunError
    from analysis.search import SearchError
    from calibration.check import CheckError
    from calibration.harness import HarnessFailedError
    from calibration.profiles import ProfileError
    from scenarios.cli import reported
    from sim.execution import SimulationError
    from sim.store import CalibrationError
    from sim.system import UnsupportedError

    with reported():
        try:
            yield
        except (ProfileError, RunError, CheckError, SearchError, UnsupportedError, SimulationError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_USAGE) from None
        except CalibrationError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_CALIBRATION) from None
        except HarnessFailedError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(EXIT_FAILED) from None


if __name__ == "__main__":
    app()
