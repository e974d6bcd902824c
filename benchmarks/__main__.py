"""`python -m benchmarks`: list the benchmarks, run one."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from benchmarks.planner import planner_command

app = typer.Typer(
    add_completion=False, invoke_without_command=True, pretty_exceptions_enable=False, help="How fast Weir is here."
)


@app.callback()
def _list(context: typer.Context) -> None:
    """How fast Weir is here.  Without a command: the list of benchmarks."""
    if context.invoked_subcommand is None:
        print("simulator  records a second of the compiled loop, and of SimPy on the same pipeline")
        print("cluster    requests a second of many jobs under one quota, and of a SimPy model of the same cluster")
        print("planner    how fast the planner's estimator is, against SimPy, and how long plans take")
        print("engines    throughput and CPU a record of every engine that runs here, saturated, and of its broker")
        print("\npython -m benchmarks NAME [--json]")


app.command("planner")(planner_command)


@app.command()
def simulator(
    calibration: Annotated[str | None, typer.Option(help="Name or .json file, instead of the built-in costs.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of each executor, by turns; medians are shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Time the simulator on 1.8 million records, and SimPy on the same point cut short; then other pipelines."""
    from benchmarks.point import crayfish_like
    from benchmarks.simulator import benchmark
    from benchmarks.speed import lines
    from scenarios.cli import reported
    from sim import store

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with reported():
        try:
            costs = None if calibration is None else store.load(calibration)
        except store.CalibrationError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(4) from None
        found = benchmark(costs, rounds, tell)
        found["lines"] = lines(costs or crayfish_like(), rounds, tell)
        if as_json:
            print(json.dumps(found, indent=1))
        else:
            _show(found)


@app.command()
def cluster(
    rounds: Annotated[int, typer.Option(min=1, help="Of each by turns; medians are shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Time six hours of ten jobs under one quota, and SimPy on their first minutes."""
    from benchmarks.cluster import benchmark

    found = benchmark(rounds, lambda line: print(line, file=sys.stderr, flush=True))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for what, name in (
        ("loop", "loop"),
        ("with arrivals and metrics", "loop_with_arrivals_and_metrics"),
        ("SimPy", "simpy"),
    ):
        each = found[name]
        print(f"{what}: {each['requests']:,} requests in {each['cpu_s']:.2f} CPU s, {each['requests_per_s']:,.0f}/s")
    equal = "equal" if found["latencies_equal"] else "not equal"
    print(f"ratio {found['ratio']:,.0f} (latencies {equal}); peak memory {found['peak_bytes'] / 1e6:,.0f} MB")


@app.command()
def engines(
    only: Annotated[list[str] | None, typer.Option("--engine", help="One engine; as often as needed.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Scoring tasks of each.")] = 1,
    records: Annotated[int, typer.Option(min=100, help="Of the backlog that each drains.")] = 20_000,
    model: Annotated[str, typer.Option(help="That is scored.")] = "ffnn",
    broker: Annotated[str | None, typer.Option(help="kafka or mock.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Saturate every engine that runs here: throughput, CPU a record of the engine and of the broker."""
    from benchmarks.engines import benchmark
    from real.cli import reported

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with reported():
        found = benchmark(only or [], workers, records, model, broker, tell)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print(f"{'engine':14} {'records/s':>10} {'engine us':>10} {'broker us':>10}")
    for each in found["engines"]:
        if "why_not" in each:
            print(f"{each['engine']:14} {each['why_not']}")
            continue
        figures = [each[key] for key in ("throughput_per_s", "engine_cpu_us", "broker_cpu_us")]
        print(f"{each['engine']:14} " + " ".join(f"{'-' if x is None else format(x, ',.0f'):>10}" for x in figures))


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    loop, simpy, reference = found["loop"], found["simpy"], found["reference"]
    table = Table("", "wall s", "process s", title=f"{loop['records']:,.0f} records", title_justify="left")
    for part in ("layout", "simulate", "judge", "write"):
        table.add_row(part, f"{loop[f'{part}_s']:.2f}", f"{loop[f'{part}_cpu_s']:.2f}")
    spent = [sum(loop[f"{part}{unit}"] for part in ("layout", "simulate", "judge")) for unit in ("_s", "_cpu_s")]
    table.add_row("layout, simulate and judge", *(f"{seconds:.2f}" for seconds in spent))
    Console().print(table)
    print(f"loop: {loop['records_per_s']:,.0f} records/s, {loop['events_per_s']:,.0f} events/s (process time)")
    equal = "equal" if found["stamps_equal"] else "not equal"
    for what, slow, ratio in (
        (f"SimPy by hand (stamps {equal})", simpy, found["ratio"]),
        ("--backend simpy", reference, found["ratio_reference"]),
    ):
        print(f"{what}: {slow['records_per_s']:,.0f} records/s on {slow['records']:,.0f} records; ratio {ratio:,.0f}")
    told = found["lines"]
    for name in ("embedded", "blocking", "contended", "contended_evenly"):
        each = told[name]
        ratio = f"; {each['ratio']:,.0f} times SimPy by hand" if "ratio" in each else ""
        rates = f"{each['records_per_s']:,.0f} records/s, {each['with_layout_per_s']:,.0f} with layout"
        print(f"{name.replace('_', ' ')}: {rates}, {each['events_per_record']:.2f} events a record{ratio}")
    print("linear: " + ", ".join(f"{ns:,.0f} ns a record of {n:,}" for n, ns in told["linearity"].items()))
    print(f"sweep: {told['sweep']['points']} points in {told['sweep']['wall_s']:.0f} s")
    print(f"start: --help {told['starts']['help']:.2f} s, sim run {told['starts']['first_run']:.2f} s")


if __name__ == "__main__":
    app()
