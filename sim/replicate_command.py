"""`python -m sim run --replications N --precision p99=5%`, and the pairs that `python -m analysis compare` asks for."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenarios.spec import Scenario
    from sim.costs import Calibration
    from sim.replicate import Replications


def replicated(
    scenario: Scenario,
    calibration: Calibration,
    replications: int | None,
    precision: Sequence[str],
    *,
    out: Path,
    backend: str,
    jobs: int | None,
    fresh: bool,
    progress: Callable[[int, int], None],
) -> Replications:
    """Replications of a scenario, as the command line asks for them.

    Raises:
        ScenarioError: A precision that cannot be read, or is of a metric without a value.
    """
    from analysis.difference import read_limits
    from scenarios.errors import ScenarioError
    from sim.replicate import PrecisionError, replicate

    try:
        limits = read_limits(precision, "--precision")
    except ValueError as error:
        raise ScenarioError("", None, None, "", str(error)) from None
    try:
        return replicate(
            scenario,
            calibration,
            root=out,
            replications=replications,
            precision=limits,
            backend=backend,
            processes=jobs,
            fresh=fresh,
            progress=progress,
        )
    except PrecisionError as error:
        raise ScenarioError("--precision", None, None, "", str(error)) from None


def show_replications(found: Replications, *, as_json: bool) -> tuple[list[str], list[str]]:
    """Prints replications.

    Returns:
        (their verdicts, the bounds of `expect` that are broken).
    """
    from analysis.metrics import bound_broken
    from sim import shown

    scenario = found.scenario
    broken = bound_broken(scenario.expect, found.metrics)
    if as_json:
        extra = {"expect_broken": broken, "slo_broken": bound_broken(scenario.slo, found.metrics)}
        print(json.dumps({**found.summary(), **extra}, ensure_ascii=False))
    else:
        from analysis import first_screen
        from sim.cli import print_table
        from sim.tables import replications_table

        worst = next((r for r in found.results if r["verdict"] == found.verdict), found.results[0])
        interval, *more = _said(found)
        meta = {**worst, "verdict": found.verdict, "metrics": found.metrics, "backend": "sim", "warmup": None}
        screen = first_screen.of_run(meta, scenario.slo, shown.trust_line(found.trust))
        dataclasses.replace(screen, interval=interval, notes=tuple(more)).show()
        print_table(replications_table(found))
    for repeat in found.results:
        if repeat["verdict"] == "INVALID":
            print(f"INVALID: {repeat['verdict_reason']}", file=sys.stderr)
    return [r["verdict"] for r in found.results], broken


def pair_scenarios(
    files: tuple[Path, Path],
    sets: Sequence[str],
    sets_b: Sequence[str],
    calibration: str | None,
    replications: int,
    *,
    out: Path,
    jobs: int | None,
    fresh: bool,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Two scenarios replicated with the same seeds, as `analysis.compare.replications` takes them.

    Raises:
        ScenarioError: A file is wrong, not of a pipeline, or a sweep.
    """
    from scenarios.errors import ScenarioError
    from scenarios.load import load
    from scenarios.sweeps import keys_of
    from sim import store
    from sim.replicate import pairs

    a, b = load(files[0], list(sets)), load(files[1], [*sets, *sets_b])
    for file, scenario in zip(files, (a, b), strict=True):
        if scenario.sweep:
            keys = ", ".join(keys_of(scenario.sweep))
            raise ScenarioError(str(file), None, None, "sweep", f"two points are compared; pin {keys} by --set")
    costs = store.choose(a, calibration), store.choose(b, calibration)
    found = pairs((a, b), costs, root=out, replications=replications, processes=jobs, fresh=fresh, progress=progress)
    sides = {
        side: {"what": str(file), "name": scenario.name, "calibration": store.trust(scenario, cost)}
        for side, file, scenario, cost in zip("ab", files, (a, b), costs, strict=True)
    }
    return {**sides, "pairs": found}


def pairs_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A scenario file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, for both.")] = None,
    sets_b: Annotated[list[str] | None, typer.Option("--set-b", help="key.path=value, for B alone.")] = None,
    calibration: Annotated[str | None, typer.Option(help="Name or .json file.")] = None,
    replications: Annotated[int, typer.Option(min=2, max=10_000)] = 10,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")] = Path("runs"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Simulate anew what is kept.")] = False,
) -> None:
    """Replicate two scenarios with the same seeds, for `python -m analysis compare`; prints JSON."""
    from sim.cli import kept, reported

    with reported():
        from sim.sweeping import FOLDER

        with kept(out / FOLDER) as tell:
            found = pair_scenarios(
                (a, b),
                sets or [],
                sets_b or [],
                calibration,
                replications,
                out=out,
                jobs=jobs,
                fresh=fresh,
                progress=tell,
            )
        print(json.dumps(found, ensure_ascii=False))


def _said(found: Replications) -> list[str]:
    from analysis.text import number

    seeds = found.scenario.workload.seed, found.scenario.workload.seed + len(found.results) - 1
    lines = [f"{len(found.results)} replications, seeds {seeds[0]} to {seeds[1]}; means and their 95 % intervals"]
    for limit, (name, relative, enough) in zip(found.asked, found.reached().values(), strict=True):
        reached = "no interval" if relative is None else f"{relative:.2%}"
        short = "" if enough else ", NOT reached: cap met"
        lines.append(f"precision of {name}: +-{reached}, asked {limit.share * 100:.4g}%{short}")
    cuts = [r["warmup"] for r in found.results]
    if cuts[0]["rule"] != "fixed":
        times = [cut["cut_s"] for cut in cuts]
        restless = sum(not cut["settled"] for cut in cuts)
        more = f"; {restless} did not settle" if restless else ""
        lines.append(f"warm-up cut ({cuts[0]['rule']}): {number(min(times))} to {number(max(times))} s{more}")
    return lines
