"""`python -m analysis compare A B`: two runs, or two scenarios that are simulated for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from analysis.compare import Comparison
    from analysis.runs import Run

EXIT_USAGE, EXIT_REGRESSION, EXIT_INTERRUPTED = 2, 3, 130
_YAML = (".yaml", ".yml")


def compare_command(
    a: Annotated[str, typer.Argument(metavar="A", help="A run (folder or id), or a scenario.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind.", show_default=False)],
    limits: Annotated[
        list[str] | None,
        typer.Option("--max-regression", help="p99=5%: exit code 3 if B is worse by more, beyond noise."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs: of ids, and of what is simulated.")] = Path(
        "runs"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    replications: Annotated[
        int | None, typer.Option(min=2, max=10_000, help="Scenarios: seeds simulated of both; 10 if not given.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="Scenarios: key.path=value, for both.")] = None,
    sets_b: Annotated[list[str] | None, typer.Option("--set-b", help="Scenarios: key.path=value, for B.")] = None,
    calibration: Annotated[str | None, typer.Option(help="Scenarios: name or .json file.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Scenarios: processes.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Scenarios: simulate anew what is kept.")] = False,
) -> None:
    """Say by how much B differs from A, with intervals, and whether that is real or noise."""
    from analysis.runs import RunError

    try:
        from analysis import compare
        from analysis.difference import read_limits

        asked = read_limits(limits or [], "--max-regression")
        kinds = [_is_scenario(text) for text in (a, b)]
        if kinds[0] != kinds[1]:
            one, other = (b, a) if kinds[1] else (a, b)
            raise ValueError(f"{one} is a scenario and {other} a run; make it a run: python -m sim run {one}")
        if kinds[0]:
            options = {
                "--set": sets or [],
                "--set-b": sets_b or [],
                "--calibration": [calibration] if calibration else [],
                "--replications": [str(replications)] if replications else [],
                "--out": [str(out)],
                "--jobs": [str(jobs)] if jobs else [],
            }
            words = [word for option, values in options.items() for value in values for word in (option, value)]
            found = compare.replications(_simulated([a, b, *words, *(["--fresh"] if fresh else [])]), asked)
        else:
            _only_of_scenarios(sets, sets_b, calibration, replications, jobs, fresh)
            found = compare.runs(_run(a, out), _run(b, out), asked)
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    _show(found, as_json=as_json)
    raise SystemExit(EXIT_REGRESSION if found.broken else 0)


def _show(found: Comparison, *, as_json: bool) -> None:
    from analysis import compare_shown as shown

    if as_json:
        told = {"verdict": shown.verdict_line(found), "broken": found.broken, **found.told()}
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    print(shown.verdict_line(found))
    for line in shown.lines(found):
        print(line)
    Console(width=None if sys.stdout.isatty() else 200).print(shown.comparison_table(found))


def _is_scenario(text: str) -> bool:
    """A file of the ending that scenarios have; a run is a folder, its run.json, or an id."""
    return text.endswith(_YAML)


def _run(text: str, root: Path) -> Run:
    """A run by its folder, or by its id or the begin of it in the folder of runs."""
    from analysis.runs import RunError, find_runs, read_run

    if Path(text).exists():
        return read_run(text)
    if "/" not in text:
        near = [path for path in find_runs(root) if path.name.startswith(text)]
        if (root / text).is_dir():
            return read_run(root / text)
        if len(near) == 1:
            return read_run(near[0])
        if near:
            raise ValueError(f"{text}: {len(near)} runs in {root} begin so: {', '.join(p.name for p in near[:3])}, ...")
        raise RunError(Path(text), f"no such run, here or in {root}")
    return read_run(text)


def _only_of_scenarios(*given: object) -> None:
    if any(given):
        raise ValueError("--set, --set-b, --calibration, --replications, --jobs and --fresh are for two scenarios")


def _simulated(words: Sequence[str]) -> dict[str, Any]:
    """What the simulator's command says of pairs; its errors and its exit code are the user's."""
    from scenarios.cli import DIES_WITH_PARENT

    command = [sys.executable, "-m", "sim", "pairs", *words]
    environment = {**os.environ, DIES_WITH_PARENT: str(os.getpid())}
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    except KeyboardInterrupt:  # it was interrupted too, and said what is kept
        raise SystemExit(EXIT_INTERRUPTED) from None
    if done.returncode:
        raise SystemExit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
