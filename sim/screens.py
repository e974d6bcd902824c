"""What `run`, `sweep` and `capacity` show of pipelines: the first screen, tables, and the exit code that follows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli import EXIT_EXPECT, EXIT_FAILED, print_table, which

if TYPE_CHECKING:
    from analysis.summary import Case


def show_run(meta: dict[str, Any], scenario: Any, path: Path | None, *, as_json: bool) -> tuple[int, list[Case]]:
    """Prints a run; returns its exit code, and what a summary for CI says of it."""
    from analysis import first_screen, summary
    from analysis.metrics import bound_broken
    from sim import shown

    broken = bound_broken(scenario.expect, meta["metrics"])
    slo = bound_broken(scenario.slo, meta["metrics"])
    if as_json:
        from analysis.verdict import summary as told

        extra = {"path": None if path is None else str(path), "expect_broken": broken, "slo_broken": slo}
        extra |= {"intervals": meta["intervals"]} if "intervals" in meta else {}
        print(json.dumps({**told(meta), **extra}, ensure_ascii=False))
    else:
        from analysis.tables import run_table

        first_screen.of_run(meta, scenario.slo, shown.trust_line(meta["calibration"])).show()
        print_table(run_table(meta))
        if "intervals" in meta:
            from sim import uncertainty

            print_table(uncertainty.table([({}, meta["metrics"], meta["intervals"])]))
        if "stages" in meta["counters"]:
            from sim.tables import stages_table

            print_table(stages_table(meta["counters"]["stages"]))
        if path is not None:
            print(path)
    return code([meta["verdict"]], broken), [summary.of_run(meta, scenario)]


def show_sweep(
    points: Sequence[Any], intervals: Sequence[Any] | None = None, *, as_json: bool
) -> tuple[int, list[Case]]:
    """Prints a sweep; returns its exit code, and what a summary for CI says of it."""
    from analysis import first_screen, summary
    from analysis.metrics import bound_broken
    from sim import shown

    broken = []
    for point in points:
        broken += [f"{which(point.swept)}{line}" for line in bound_broken(point.scenario.expect, point.metrics)]
    several = len({point.scenario.name for point in points}) > 1
    rows = [
        (
            ({"scenario": point.scenario.name} if several else {}) | point.swept,
            {"verdict": point.verdict, "metrics": point.metrics},
        )
        for point in points
    ]
    if as_json:
        found = [{**p.summary(), "slo_broken": bound_broken(p.scenario.slo, p.metrics)} for p in points]
        for each, spread in zip(found, intervals or (), strict=False):
            each["intervals"] = spread
        print(json.dumps(found, ensure_ascii=False))
    else:
        from analysis.tables import sweep_table

        repeats = max(len(point.repeats) for point in points)
        first_screen.of_points(
            [
                (swept, point.verdict, point.metrics, point.scenario.slo, point.bottleneck)
                for point, (swept, _) in zip(points, rows, strict=True)
            ],
            repeats,
            shown.trust_line(*(point.trust for point in points)),
            intervals="90 % by sets of the fit's parameters, in the second table" if intervals else "",
        ).show()
        title = "sweep" if several else points[0].scenario.name
        title += f", medians of {repeats} repeats" if repeats > 1 else ""
        print_table(sweep_table(rows, title))
        if intervals:
            from sim import uncertainty

            whole = zip(rows, intervals, strict=True)
            print_table(uncertainty.table([(swept, row["metrics"], each) for (swept, row), each in whole]))
        for point in points:
            for line in shown.slo_lines(point.scenario.slo, point.metrics):
                print(f"{which(point.swept)}{line}")
    for point in points:
        for repeat in point.repeats:
            if repeat["verdict"] == "INVALID":
                print(f"{which(point.swept)}INVALID: {repeat['verdict_reason']}", file=sys.stderr)
    cases = [
        summary.of_point(swept, row["verdict"], row["metrics"], point.scenario, point.repeats[0]["verdict_reason"])
        for point, (swept, row) in zip(points, rows, strict=True)
    ]
    return code([point.verdict for point in points], broken), cases


def show_capacity(found: Sequence[Any], *, as_json: bool) -> int:
    """Prints what points sustain; returns the exit code."""
    from analysis.metrics import bound_broken

    broken = []
    for each in found:
        asked = [b for b in each.scenario.expect if b.metric in ("sustainable_throughput", "drain_throughput")]
        broken += [f"{which(each.swept)}{line}" for line in bound_broken(asked, each.metrics)]
    if as_json:
        print(json.dumps([each.summary() for each in found], ensure_ascii=False))
    else:
        from sim.tables import capacity_table

        capacity_screen(found).show()
        print_table(capacity_table(found, found[0].scenario.name))
    return code([], broken)


def capacity_screen(found: Sequence[Any]) -> Any:
    """The first screen of a search: whether the load that the scenario asks for is sustained, at every point."""
    from analysis import first_screen
    from analysis.text import number
    from sim import shown

    loads = [each.utilisation for each in found if each.utilisation is not None]
    over = sum(load > 1 for load in loads)
    word = f"all {len(found)} points sustain" if len(found) > 1 else "it sustains"
    verdict = "no rate is asked for" if not loads else f"{word} the rate the scenario asks for"
    if over:
        verdict = f"OVERLOADED: {over} of {len(found)} points do not sustain the rate the scenario asks for"
    rates = sorted(each.sustainable.rate_per_s for each in found if each.sustainable.rate_per_s)
    drains = sorted(each.drain.rate_per_s for each in found if each.drain.rate_per_s)

    def span(values: Sequence[float]) -> str:
        both = dict.fromkeys((number(values[0]), number(values[-1])))
        return " to ".join(both) + " /s"

    sustained = span(rates) if rates else "none found"
    busiest = max(
        (each.bottleneck for each in found if each.bottleneck), key=lambda b: float(b["utilisation"]), default=None
    )
    confirmed = {each.sustainable.reason for each in found}
    return first_screen.Screen(
        (first_screen.NO_SLO + " of a search: it is of rates",),
        verdict,
        f"{sustained}{f'; out of a backlog {span(drains)}' if drains else ''}",
        first_screen.bottleneck(busiest, "the sustained rate"),
        f"the search: {', '.join(sorted(confirmed))}",
        shown.trust_line(*(each.trust for each in found)),
    )


def code(verdicts: Sequence[str], broken: Sequence[str]) -> int:
    """The exit code; what is broken is told on stderr."""
    if "INVALID" in verdicts:
        return EXIT_FAILED
    for line in broken:
        print(f"expect: {line}", file=sys.stderr)
    return EXIT_EXPECT if broken else 0
