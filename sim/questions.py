"""`python -m sim explain` and `python -m sim demand`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli import print_table, reported, resumable, which

_Scenario = Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario file.", show_default=False)]
_Sets = Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as often as needed.")]
_Calibration = Annotated[
    str | None, typer.Option("--calibration", help="Name or .json file, instead of the scenario's.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of runs.")]
_Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores if not given.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Simulate anew what is kept from before.")]
_Json = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


def explain_command(
    scenario: _Scenario,
    sets: _Sets = None,
    calibration: _Calibration = None,
    metric: Annotated[
        str | None, typer.Option(help="What changes are ranked by; the SLO's metric, else p99, if not given.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Simulations of each configuration.")] = 3,
    trace: Annotated[Path | None, typer.Option("--trace", help="Write a trace for ui.perfetto.dev (.json).")] = None,
    trace_ms: Annotated[float, typer.Option("--trace-ms", min=0.001, help="Length of the traced window.")] = 200.0,
    trace_from_s: Annotated[
        float | None,
        typer.Option("--trace-from", min=0.0, help="Its begin in seconds, else the end of the warm-up."),
    ] = None,
    out: _Out = Path("runs"),
    jobs: _Jobs = None,
    fresh: _Fresh = False,
    as_json: _Json = False,
) -> None:
    """Say where the time of a record goes, what is busiest, and what would relieve it."""
    with reported():
        from scenarios.cli import check_writable
        from scenarios.load import load
        from scenarios.spec import S_NS
        from scenarios.sweeps import keys_of
        from sim import explain, kept, shown, store
        from sim.explain_changes import check_metric

        if metric is not None:
            check_metric(metric)
        if trace is not None:
            check_writable(trace)
        asked = load(scenario, sets or [])
        if asked.sweep:
            shown.say_all([f"{scenario} sweeps {', '.join(keys_of(asked.sweep))}: this is its first point"])
        costs = store.choose(asked, calibration)
        traced = None
        if trace is not None:
            begin_ns = None if trace_from_s is None else round(trace_from_s * S_NS)
            traced = _trace(asked, costs, trace, begin_ns, round(trace_ms * 1e6))
        with resumable(out / kept.FOLDER, None), shown.Progress("simulations") as progress:
            found = explain.explain(
                asked,
                costs,
                metric=metric,
                repeats=repeats,
                root=out,
                processes=jobs,
                fresh=fresh,
                progress=progress,
            )
        if as_json:
            print(json.dumps({**found.summary(), "trace": traced}, ensure_ascii=False))
            return
        print(shown.trust_line(found.trust))
        for line in explain.lines(found):
            print(line)
        for table in explain.tables(found):
            print_table(table)


def demand_command(
    scenario: _Scenario,
    key: Annotated[
        str,
        typer.Option("--for", metavar="KEY", help="The resource that is searched, as engine.parallelism."),
    ],
    sets: _Sets = None,
    calibration: _Calibration = None,
    least: Annotated[int, typer.Option(min=1, help="No value below it is tried.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="No value above it is tried.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Repeats that confirm; the protocol asks for 5.")] = 5,
    out: _Out = Path("runs"),
    jobs: _Jobs = None,
    fresh: _Fresh = False,
    as_json: _Json = False,
) -> None:
    """Search the smallest resource that meets the SLO at the scenario's load, for every point of a sweep."""
    with reported():
        from scenarios.load import expand, load
        from sim import demand as searching
        from sim import kept, store

        searching.check_key(key, load(scenario, sets or []))
        points = expand(scenario, [*(sets or []), f"{key}={least}"])
        found = []
        with resumable(out / kept.FOLDER, None):
            for i, (swept, _) in enumerate(points):
                lead = which(swept)
                answer = searching.demand(
                    key,
                    lambda value, i=i: expand(scenario, [*(sets or []), f"{key}={value}"])[i][1],  # type: ignore[misc]
                    lambda each: store.choose(each, calibration),
                    least=least,
                    most=most,
                    repeats=repeats,
                    root=out,
                    processes=jobs,
                    fresh=fresh,
                    tell=lambda text, lead=lead: print(f"{lead}{key} {text}", file=sys.stderr, flush=True),  # type: ignore[misc]
                )
                found.append((swept, answer))
        if as_json:
            print(json.dumps([{**swept, **answer.summary()} for swept, answer in found], ensure_ascii=False))
            return
        _demand_screen(found).show()
        for swept, answer in found:
            print(f"{which(swept)}{_answer(answer)}")
            for line in answer.contradictions:
                print(f"{which(swept)}not monotone: {line}; a smaller value may do, or a larger one not")


def _demand_screen(found: list[tuple[dict[str, Any], Any]]) -> Any:
    """The first screen of a search for the least that is enough."""
    from analysis import first_screen
    from sim import shown

    answers = [answer for _, answer in found]
    none = sum(answer.value is None for answer in answers)
    values = sorted(answer.value for answer in answers if answer.value is not None)
    ends = list(dict.fromkeys(f"{value:,}" for value in (values[0], values[-1]))) if values else ["none"]
    slo = f"SLO broken at {none} of {len(found)} points, whatever {answers[0].key} was tried"
    if not none:
        slo = first_screen.SLO_MET + f" with {answers[0].key} {' to '.join(ends)}"
    monotone = sum(not answer.contradictions for answer in answers)
    return first_screen.Screen(
        (slo,),
        f"{answers[0].key} {' to '.join(ends)} is the least that is enough" if values else "not enough of it",
        "the rate that the scenario offers; sim capacity searches the most",
        first_screen.bottleneck(None),
        f"{answers[0].repeats} repeats confirm it; monotone at {monotone} of {len(found)} points",
        shown.trust_line(*(answer.trust for answer in answers)),
    )


def _answer(answer: Any) -> str:
    value = "none" if answer.value is None else f"{answer.value:,}"
    monotone = "no" if answer.contradictions else "yes"
    return f"{answer.key} {value} ({answer.reason}); monotone on {len(answer.probes)} probes: {monotone}"


def _trace(scenario: Any, costs: Any, path: Path, begin_ns: int | None, window_ns: int) -> dict[str, Any]:
    """Writes the trace and says on stderr what it is of."""
    from scenarios.cli import writing
    from scenarios.spec import MS_NS
    from sim import trace

    found = trace.trace(scenario, costs, begin_ns=begin_ns, window_ns=window_ns)
    with writing(path):
        count = trace.write(found, path)
    between = f"{found.begin_ns / MS_NS:g} to {found.end_ns / MS_NS:g} ms"
    said = f"{path}: {count:,} events of {between}, flows of {len(found.flows)} records; open it in ui.perfetto.dev"
    if found.cut:
        said += "; cut short: too many slices"
    elif begin_ns is None and found.begin_ns < min(scenario.workload.warmup_ns, found.system.load_ns):
        said += f"; inside the warm-up: more than {trace.RECORDS_BEFORE:,} records come before its end"
    print(said, file=sys.stderr)
    return {"path": str(path), "events": count, "begin_ms": found.begin_ns / MS_NS, "end_ms": found.end_ns / MS_NS}
