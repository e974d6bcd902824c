"""`python -m analysis`: show a run, compare two, write a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.compare_command import compare_command

if TYPE_CHECKING:
    from analysis.runs import Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Read runs: tables, comparisons and reports.",
)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Print a run's verdict, metrics and accounting."""
    with _reported():
        from analysis.cluster import is_cluster
        from analysis.runs import read_run

        found = read_run(run)
        meta = found.meta
        if is_cluster(meta):
            _show_cluster(found, as_json=as_json)
            return
        if as_json:
            from analysis.verdict import summary

            print(json.dumps(summary(meta), indent=1, ensure_ascii=False))
            return
        from rich.console import Console

        from analysis import first_screen
        from analysis.tables import run_table

        first_screen.of_run(meta, _slo(meta), first_screen.trust(meta)).show()
        Console(width=None if sys.stdout.isatty() else 200).print(run_table(meta))


@app.command()
def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="Folders of runs.", show_default=False)] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file.")] = Path("reports/report.html"),
    check: Annotated[Path | None, typer.Option(help="Result rows of a check (JSON).")] = None,
) -> None:
    """Write one HTML file about runs and, with --check, how well they were predicted; print its path."""
    with _reported():
        from analysis.report import report as write

        print(write(runs or [], None if check is None else _rows(check), out))


app.command("compare")(compare_command)


def _slo(meta: dict[str, Any]) -> list[Any]:
    """The bounds that the run's scenario asked for; none where what was kept of it cannot be read any more."""
    from scenarios.errors import ScenarioError
    from scenarios.load import from_resolved

    try:
        return list(from_resolved(meta.get("scenario") or {}).slo)
    except ScenarioError:
        return []


def _show_cluster(run: Run, *, as_json: bool) -> None:
    from analysis import cluster

    told = cluster.summary(run.meta)
    if as_json:
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from analysis.cluster_tables import cluster_table, jobs_table

    jobs = cluster.job_summaries(cluster.job_names(run.meta), run.table(cluster.JOBS, cluster.JOB_COLUMNS))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(cluster_table([told], ("policy", "quota"), str(told["name"])))
    console.print(jobs_table(jobs))


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a check's JSON file: a list, or an object that holds one as `rows` or `results`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if isinstance(found, dict):
        found = found.get("rows", found.get("results"))
    if not isinstance(found, list) or not all(
        isinstance(r, dict) and {"kind", "metric", "parallelism"} <= set(r) for r in found
    ):
        raise ValueError(f"{path}: expected a list of rows with kind, parallelism and metric")
    return found


@contextmanager
def _reported() -> Iterator[None]:
    """Errors of what was given: a message on stderr and exit code 2."""
    from analysis.runs import RunError

    try:
        yield
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    app()
