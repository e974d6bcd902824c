"""`python -m calibration`: fit a cost model, check its predictions against real runs, the demonstration."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

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
    profile: Annotated[Path, typer.Argument(help="Folder that `python -m real profile` made.", show_default=False)],
    out: Annotated[str, typer.Option("-o", "--out", help="Name of the calibration, or a path to a .json file.")],
    as_json: Annotated[bool, typer.Option("--json", help="The calibration as JSON instead of tables.")] = False,
) -> None:
    """Fit costs with intervals from a profile, into calibrations/NAME.json."""
    with _reported():
        from calibration.fit import fit_profile
        from calibration.profiles import read_profile
        from sim import costs

        path = Path(out) if out.endswith(".json") else Path("calibrations") / f"{out}.json"
        found = fit_profile(read_profile(profile), path.stem)
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
    as_json: Annotated[bool, typer.Option("--json", help="Rows as one JSON list.")] = False,
) -> None:
    """Run points no fit has seen, and print predictions beside them; exit code 5 above a bound."""
    with _reported():
        import shutil

        from calibration import check as checks
        from scenarios.errors import ScenarioError
        from scenarios.load import load
        from sim.store import choose

        base = load(scenario, sets or [])
        if base.check is None:
            raise ScenarioError(str(scenario), None, None, "check", "there is no check: section to say which points")
        chosen = choose(base, calibration)
        folder = checks.folder_of(base, out, broker)
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder, rows = checks.check(base, chosen, out=out, broker=broker, warm_s=warm, progress=_told)
        if store:
            checks.keep_errors(chosen, rows, calibration or base.calibration)
        if as_json:
            print(json.dumps(rows, indent=1))
        else:
            from analysis.tables import check_table
            from calibration.show import check_summary, wide

            console = wide()
            console.print(check_table(rows, f"calibration {chosen.name}"))
            console.print(check_summary(rows))
            print(folder)
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
