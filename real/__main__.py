"""`python -m real`: run a scenario for real, clean up after harnesses that were killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from real.cli import EXIT_FAILED, reported
from real.model_stream.command import app as publish_app
from real.model_stream.command import model_server_command
from real.pool.command import manifests_command, replay_command
from real.profiler.command import ListOptions, doctor_command, grid_command
from real.servers.command import servers_command
from scenarios.cli import quieten

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Run pipelines on a real broker."
)

EXIT_EXPECT = 3
Junit = Annotated[Path | None, typer.Option("--junit", help="Write a JUnit XML file too, a test a run.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a summary in Markdown too.")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Show rates, lag, latencies, workers and models live; the same on /metrics.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=quieten, help="No progress on stderr.")]

Metrics = Annotated[
    list[str] | None,
    typer.Option(help="Metrics meanwhile: prometheus://HOST:PORT, influxdb://HOST:PORT/DATABASE, file:PATH."),
]


@app.callback()
def _app() -> None:
    """Run pipelines on a real broker."""
    from scenarios.cli import die_with_parent

    die_with_parent()


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="A scenario file.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    broker: Annotated[str | None, typer.Option(help="kafka, mock or external, whatever the scenario says.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of an external broker.")] = None,
    warm: Annotated[float, typer.Option(help="Seconds that warming the broker may take; 0: cold.", min=0)] = 20.0,
    pool: Annotated[str, typer.Option(help="Of a cluster: where replicas come from, workers or ray.")] = "workers",
    score: Annotated[
        bool, typer.Option("--score", help="Of a cluster: replicas score with the zoo's model instead of waiting.")
    ] = False,
    beside: Annotated[
        bool, typer.Option("--beside", help="Of a cluster: simulate it too, with the activation that was measured.")
    ] = False,
    metrics: Metrics = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run instead of a table.")] = False,
    junit: Junit = None,
    markdown: Markdown = None,
    watch: Watch = False,
    _quiet: Quiet = False,
) -> None:
    """Run a scenario (of a sweep, the first point); print the result."""
    from scenarios.cluster_spec import ClusterScenario
    from scenarios.load import as_pipeline, load_any

    with reported():
        asked = load_any(scenario, sets or [])
        if isinstance(asked, ClusterScenario):
            for option, given in {
                "--metrics": metrics,
                "--watch": watch,
                "--junit": junit,
                "--markdown": markdown,
            }.items():
                if given:
                    from real.errors import RefusedError

                    raise RefusedError(option, f"{scenario} is a cluster; this is for pipelines of records")
            from real.pool.command import run_cluster

            raise SystemExit(
                run_cluster(asked, scenario, sets or [], out, pool, score=score, beside=beside, as_json=as_json)
            )
        points: list[Any] = [({}, as_pipeline(asked, str(scenario)))]
        _run(points, 1, out, broker, bootstrap, warm, as_json, metrics or [], junit, markdown, watch=watch)


@app.command()
def sweep(
    scenario: Annotated[Path, typer.Argument(help="A scenario file with a sweep: section.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    broker: Annotated[str | None, typer.Option(help="kafka, mock or external, whatever the scenario says.")] = None,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of an external broker.")] = None,
    warm: Annotated[float, typer.Option(help="Seconds that warming the broker may take; 0: cold.", min=0)] = 20.0,
    metrics: Metrics = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a run instead of tables.")] = False,
    junit: Junit = None,
    markdown: Markdown = None,
    watch: Watch = False,
    _quiet: Quiet = False,
) -> None:
    """Run every point and repeat of a sweep on one broker, repeats interleaved; print the results."""
    from scenarios.load import expand

    with reported():
        points = expand(scenario, sets or [])
        repeats = max(each.repeats for _, each in points)
        _run(points, repeats, out, broker, bootstrap, warm, as_json, metrics or [], junit, markdown, watch=watch)


def _run(
    points: list[Any],
    repeats: int,
    out: Path,
    broker: str | None,
    bootstrap: str | None,
    warm: float,
    as_json: bool,
    metrics: list[str],
    junit: Path | None,
    markdown: Path | None,
    *,
    watch: bool,
) -> None:
    """Runs points on one broker and shows them; ends the command with the worst exit code."""
    from analysis import summary
    from real.progress import Shown
    from real.session import Session
    from real.watch import METRICS, Watching

    kind = "external" if bootstrap is not None and broker is None else broker
    worst, cases = 0, list[Any]()
    summary.check_files(junit, markdown)
    if watch and not any(each.startswith("prometheus:") for each in metrics):
        metrics = [*metrics, METRICS]
    with (
        Watching() if watch else Shown() as progress,
        Session(out=out, broker=kind, bootstrap=bootstrap, warm_s=warm, progress=progress, metrics=metrics) as session,
    ):
        if isinstance(progress, Watching):
            for sink in session.sinks.all:
                progress(f"metrics go to {sink.where}", None)
            session.sinks.all.append(progress)
        # Repeats are interleaved, so that what drifts on the host drifts over every point alike.
        for _repeat in range(repeats):
            for _swept, each in points:
                path = session.run(each)
                with progress.hidden():
                    worst = max(worst, _show(path, each, cases, as_json=as_json))
                if isinstance(session.last_error, KeyboardInterrupt):
                    raise session.last_error
                if session.last_error is not None:
                    print(f"error: {session.last_error}", file=sys.stderr)
    summary.write(cases, junit, markdown)
    raise SystemExit(worst)


@app.command()
def profile(
    scenario: Annotated[Path, typer.Argument(help="A scenario with a profile: section.", show_default=False)],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    broker: Annotated[str | None, typer.Option(help="kafka, mock or external, whatever the scenario says.")] = None,
    warm: Annotated[float, typer.Option(help="Seconds that warming the broker may take; 0: cold.", min=0)] = 20.0,
) -> None:
    """Measure this machine: probes, scoring by batch size, and the runs a cost model is fitted from."""
    with reported():
        from real.profile import profile as measure
        from real.progress import Shown
        from scenarios.errors import ScenarioError
        from scenarios.load import load

        base = load(scenario, sets or [])
        if base.profile is None:
            raise ScenarioError(str(scenario), None, None, "profile", "there is no profile: section to say which runs")
        with Shown() as progress:
            print(measure(base, out=out, broker=broker, warm_s=warm, progress=progress))


@app.command()
def serve(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    broker: Annotated[str | None, typer.Option(help="kafka, mock or external, whatever the scenarios say.")] = None,
    warm: Annotated[float, typer.Option(help="Seconds that warming the broker may take; 0: cold.", min=0)] = 20.0,
) -> None:
    """Run what is asked for on stdin, a line of JSON each; answer on stdout."""
    with reported():
        from real.progress import Shown
        from real.serve import serve as answer

        with Shown() as progress:
            answer(sys.stdin, sys.stdout, out=out, broker=broker, warm_s=warm, progress=progress)


app.add_typer(publish_app, name="publish")
app.command("model-server")(model_server_command)
app.command("replay")(replay_command)
app.command("manifests")(manifests_command)
app.command("servers")(servers_command)
app.command("grid", cls=ListOptions)(grid_command)
app.command("doctor")(doctor_command)


@app.command()
def clean(
    bootstrap: Annotated[str | None, typer.Option(help="host:port of a broker whose stale topics go too.")] = None,
) -> None:
    """Remove temporary folders (and, with --bootstrap, topics) of harnesses that are gone; ends no process."""
    with reported():
        from real.clean import clean_folders, clean_topics

        for folder in clean_folders():
            print(folder)
        for topic in clean_topics(bootstrap) if bootstrap is not None else ():
            print(topic)


def _show(path: Path, scenario: Any, cases: list[Any], *, as_json: bool) -> int:
    """Prints a run and notes it for a summary; returns its exit code."""
    from analysis import summary
    from analysis.metrics import bound_broken
    from analysis.runs import read_run

    meta = read_run(path).meta
    cases.append(summary.of_run(meta, scenario))
    broken = bound_broken(scenario.expect, meta["metrics"])
    if as_json:
        from analysis.verdict import summary as told

        print(json.dumps({**told(meta), "path": str(path), "expect_broken": broken}, ensure_ascii=False))
    else:
        from rich.console import Console

        from analysis import first_screen
        from analysis.tables import run_table

        first_screen.of_run(meta, scenario.slo, first_screen.trust(meta)).show()
        Console(width=None if sys.stdout.isatty() else 200).print(run_table(meta))
        print(path)
    if meta["verdict"] == "INVALID":
        return EXIT_FAILED
    for line in broken:
        print(f"expect: {line}", file=sys.stderr)
    return EXIT_EXPECT if broken else 0


if __name__ == "__main__":
    app()
