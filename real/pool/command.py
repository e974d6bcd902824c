"""What `python -m real` does with clusters: run one on a pool, replay a trace, render manifests."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from real.cli import EXIT_FAILED, reported

if TYPE_CHECKING:
    from scenarios.cluster_spec import ClusterScenario


def run_cluster(
    asked: ClusterScenario,
    file: Path,
    sets: Sequence[str],
    out: Path,
    pool: str,
    *,
    score: bool,
    beside: bool,
    as_json: bool,
) -> int:
    """Runs a cluster scenario on a pool of this machine, writes and prints it; returns the exit code.

    Args:
        asked: The scenario.
        file: Where it stands.
        sets: What was set on top of it.
        out: Folder of runs.
        pool: Where replicas come from.
        score: Replicas score instead of waiting.
        beside: Simulate it too and print both.
        as_json: Print JSON.
    """
    from analysis.cluster_run import write
    from real.pool import shown
    from real.pool.run import run
    from real.progress import Shown

    with Shown() as progress:
        found = run(
            asked,
            pool=pool,
            score=score,
            progress=lambda now, end: progress(f"replaying: {now:.0f} of {end:.0f} s", now / end if end else None),
        )
        path = write(found, out)
        with progress.hidden():
            code = shown.show(found, asked, path, as_json=as_json)
        if beside:
            progress("simulating it", None)
            sim = shown.simulated(found, file, sets, out)
            with progress.hidden():
                shown.show_beside(found, sim, as_json=as_json)
    return code


class Gaps(StrEnum):
    """Between the requests of a minute."""

    exponential = "exponential"
    even = "even"


def replay_command(
    trace: Annotated[Path, typer.Argument(help="A trace: job,minute,rate.", show_default=False)],
    url: Annotated[str | None, typer.Option(help="Send the requests there, over HTTP.")] = None,
    pool: Annotated[int | None, typer.Option(help="Start so many replicas here, and send them there.", min=1)] = None,
    job: Annotated[int, typer.Option(help="Which job of the trace.", min=0)] = 0,
    first: Annotated[int, typer.Option(help="Minute of the trace to begin at.", min=0)] = 0,
    minutes: Annotated[int | None, typer.Option(help="How many to play; to the end if not given.", min=1)] = None,
    unit: Annotated[str, typer.Option(help="What a minute of the trace lasts.")] = "60 s",
    scale: Annotated[float, typer.Option(help="Counts are multiplied by this and rounded.", min=0)] = 1.0,
    gaps: Annotated[Gaps, typer.Option(help="Between the requests of a minute.")] = Gaps.exponential,
    seed: Annotated[int, typer.Option(help="Of the first trial; the next has one more.", min=0)] = 42,
    trials: Annotated[int, typer.Option(help="Replay so often, one after the other.", min=1, max=1000)] = 1,
    idle: Annotated[int, typer.Option(help="Connections kept open while idle; 0: a new one each time.", min=0)] = 100,
    timeout: Annotated[str, typer.Option(help="A request without an answer by then has failed.")] = "30 s",
    data: Annotated[Path | None, typer.Option(help="File that is POSTed; GET without it.")] = None,
    service: Annotated[str, typer.Option(help="With --pool: how long a replica waits.")] = "10 ms",
    model: Annotated[str | None, typer.Option(help="With --pool: score with this model of the zoo instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Replay a trace as requests, open loop; print rates, lateness, latencies and errors."""
    from real import replay

    with reported():
        asked = replay.Asked(
            trace=trace,
            job=job,
            first_minute=first,
            minutes=minutes,
            unit_s=_seconds("--unit", unit),
            scale=scale,
            gaps=gaps.value,
            seed=seed,
            trials=trials,
        )
        if (url is None) == (pool is None):
            from real.errors import RefusedError

            raise RefusedError("", "say where requests go: --url URL or --pool REPLICAS")
        if url is not None:
            body = None if data is None else _body(data)
            found = replay.over_http(asked, url, body, idle, _seconds("--timeout", timeout))
        else:
            assert pool is not None
            found = replay.on_pool(asked, pool, _seconds("--service", service), model, _seconds("--timeout", timeout))
        if as_json:
            print(json.dumps(found, ensure_ascii=False))
        else:
            from rich.console import Console

            Console(width=None if sys.stdout.isatty() else 200).print(replay.table(found))
        raise SystemExit(0 if all(not trial["errors"] for trial in found["trials"]) else EXIT_FAILED)


def manifests_command(
    plan: Annotated[Path, typer.Argument(help="What `sim plan --json` printed; - for stdin.", show_default=False)],
    image: Annotated[str, typer.Option(help="Container image with the application.")] = "rayproject/ray:2.40.0-py311",
    import_path: Annotated[
        str, typer.Option(help="The application of a model in that image; {model} stands for its name.")
    ] = "serving.{model}:app",
    kind: Annotated[str, typer.Option(help="RayService, or RayCluster alone.")] = "RayService",
    namespace: Annotated[str, typer.Option(help="Kubernetes namespace.")] = "default",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write instead of stdout.")] = None,
) -> None:
    """Render a plan as Kubernetes manifests for KubeRay."""
    from real.pool import manifests
    from scenarios.cli import writing

    with reported():
        text = sys.stdin.read() if str(plan) == "-" else _read(plan)
        rendered = manifests.render(
            manifests.parse(text), kind=kind, image=image, import_path=import_path, namespace=namespace
        )
        if out is None:
            sys.stdout.write(rendered)
        else:
            with writing(out):
                out.write_text(rendered, encoding="utf-8")
            print(out)


def _read(path: Path) -> str:
    from real.errors import RefusedError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(str(path), f"cannot be read: {error}") from None


def _body(path: Path) -> bytes:
    from real.errors import RefusedError

    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(str(path), f"cannot be read: {error.strerror or error}") from None


def _seconds(option: str, text: str) -> float:
    from real.errors import RefusedError
    from scenarios.units import SECONDS, UnitError

    try:
        return float(SECONDS.parse(text))
    except UnitError as error:
        raise RefusedError(option, str(error)) from None
