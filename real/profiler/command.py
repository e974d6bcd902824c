"""What `python -m real` does to measure models and machines: `grid` and `doctor`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from real.cli import EXIT_FAILED, reported

_CORES = "0-3,8"


#: Options of several values.
_LISTS = ("batch_sizes", "num_replicas", "cpus_per_replica_nums", "model_cpus", "model_gpus")


class ListOptions(TyperCommand):
    """Options of several values may have them apart, as Clipper's drivers do: `--batch_sizes 1 2 4`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Joins them before the options are read."""
        return super().parse_args(ctx, joined(args))


def joined(args: list[str]) -> list[str]:
    """Arguments with the values of each option of several joined by commas."""
    found: list[str] = []
    taking = False
    for arg in args:
        if arg.startswith("-"):
            taking = arg.lstrip("-").replace("-", "_") in _LISTS
            found.append(arg)
        elif taking and _number(found[-1]) and _number(arg):
            found[-1] += f",{arg}"
        else:
            found.append(arg)
    return found


def _number(text: str) -> bool:
    return text[:1].isdigit() and all(letter in "0123456789,-" for letter in text)


def grid_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models of the zoo, all, sleep:base=2 ms,each=500 us, or ONNX files.", show_default=False),
    ] = None,
    model_name: Annotated[list[str] | None, typer.Option("--model-name", "--model_name", help="The same.")] = None,
    runtimes: Annotated[str, typer.Option(help="onnx,torch,...; all: those installed.")] = "all",
    duration: Annotated[str, typer.Option(help="Of each measurement, warm-up apart.")] = "120 s",
    batch_sizes: Annotated[str, typer.Option("--batch-sizes", "--batch_sizes", help="Points scored at once.")] = "2",
    num_replicas: Annotated[str, typer.Option("--num-replicas", "--num_replicas", help="How many replicas.")] = "1",
    cpus: Annotated[
        str, typer.Option("--cpus-per-replica-nums", "--cpus_per_replica_nums", help="Cores of each replica.")
    ] = "1",
    model_cpus: Annotated[
        str | None,
        typer.Option("--model-cpus", "--model_cpus", help=f"Cores of replicas, {_CORES}; all that are left if none."),
    ] = None,
    driver_cpus: Annotated[
        str | None, typer.Option("--driver-cpus", "--driver_cpus", help="Cores of the load; one if not given.")
    ] = None,
    reserved_cpus: Annotated[
        str, typer.Option("--reserved-cpus", "--reserved_cpus", help="Cores nobody may use here.")
    ] = "",
    model_gpus: Annotated[
        str, typer.Option("--model-gpus", "--model_gpus", help="GPUs, one a replica; further replicas get the CPU.")
    ] = "",
    pretended: Annotated[
        str, typer.Option("--pretended-gpus", help="GPUs that are not there: the sleep model waits less on them.")
    ] = "",
    speed: Annotated[float, typer.Option("--pretended-speed", help="How much less.", min=0.01, max=1000)] = 4.0,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Let reserved, driver's and models' cores be the same.")
    ] = False,
    measure: Annotated[
        str, typer.Option(help="service, latency, overload, search: in this order, each for the duration.")
    ] = "service,latency",
    load: Annotated[float, typer.Option(help="Latency: share of the capacity that is offered.")] = 0.7,
    rate: Annotated[str | None, typer.Option(help="Latency: a rate that is offered instead, 500 /s.")] = None,
    overload: Annotated[float, typer.Option(help="Overload: times the capacity that is offered.")] = 4.0,
    arrival: Annotated[str, typer.Option(help="constant or poisson.")] = "constant",
    start: Annotated[str | None, typer.Option(help="Search: first rate; the capacity if not given.")] = None,
    trial: Annotated[
        int | None, typer.Option(help="Completions of a trial; 300, or ten batches where that is more.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="A cell is measured so often at most ...")] = 3,
    precision: Annotated[str, typer.Option(help="... until its throughput is known that well.")] = "5%",
    warmup: Annotated[str, typer.Option(help="That warming up may take at most.")] = "10 s",
    cool_down: Annotated[str, typer.Option("--cool-down", help="Rest before each cell.")] = "1 s",
    seed: Annotated[int, typer.Option(help="Of weights, inputs, arrivals and the order of cells.", min=0)] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there already.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of results; what is there is taken up.")] = Path(
        "runs/grid"
    ),
    files: Annotated[Path, typer.Option("--models", help="Folder of model files.")] = Path(".cache/models"),
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """Profile models over a grid of runtimes, batch sizes, replicas and cores; what is measured already is kept."""
    with reported():
        from real.profiler import cores, devices, run, shown
        from real.profiler.choice import ALL, chosen, refuse_gpu
        from real.profiler.grid import Asked, cells
        from real.progress import Shown

        words = [*(models or ()), *(model_name or ())]
        pairs, left_out = chosen(words or [ALL], _words(runtimes))
        here = cores.pinning(
            cores.parse("--reserved-cpus", reserved_cpus),
            None if driver_cpus is None else cores.parse("--driver-cpus", driver_cpus),
            None if model_cpus is None else cores.parse("--model-cpus", model_cpus),
            allow_overlap=allow_overlap,
        )
        gpus = devices.real_gpus(cores.parse("--model-gpus", model_gpus))
        if gpus:
            refuse_gpu(pairs)
        gpus += devices.pretended_gpus(cores.parse("--pretended-gpus", pretended), speed)
        asked = Asked(
            models=pairs,
            pinning=here,
            duration_s=_seconds("--duration", duration),
            batches=_numbers("--batch-sizes", batch_sizes),
            replicas=_numbers("--num-replicas", num_replicas),
            cpus=_numbers("--cpus-per-replica-nums", cpus),
            gpus=gpus,
            measures=tuple(_words(measure)),
            load=load,
            overload=overload,
            rate_per_s=None if rate is None else _rate("--rate", rate),
            arrival=arrival,
            start_per_s=None if start is None else _rate("--start", start),
            trial=trial,
            repeats=repeats,
            precision=_share("--precision", precision),
            warmup_s=_seconds("--warmup", warmup),
            cool_down_s=_seconds("--cool-down", cool_down),
            seed=seed,
        )
        cells(asked)  # refuses before anything is said
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        try:
            with Shown() as progress:
                results = run.run(asked, out=out, models=files, fresh=fresh, progress=progress)
        except KeyboardInterrupt:
            print(f"what is done is in {out}; the same command goes on from there", file=sys.stderr)
            raise
        found, lines = shown.rows(results), shown.lines(results)
        if as_json:
            print(json.dumps({"folder": str(out), "cells": found, "lines": lines, "left_out": left_out}))
        else:
            _print(found, lines, out)
        raise SystemExit(_told(found))


def _print(found: list[dict[str, Any]], lines: list[dict[str, Any]], out: Path) -> None:
    from rich.console import Console

    from real.profiler import shown

    Console(width=None if sys.stdout.isatty() else 200).print(shown.table(found))
    for row in lines:
        fit = f"{row['base_ms']:.4g} + {row['each_ms']:.4g} n ms, off by {row['error']:.1%} at most"
        kept = "" if row["line"] else ": no straight line; the table is what counts"
        scored = f"{row['model']}, {row['runtime']}, {row['replicas']} x {row['cpus_per_replica']}"
        print(f"{scored}: a batch of n takes {fit}{kept}")
    print(out)


def _told(found: list[dict[str, Any]]) -> int:
    """Says on stderr what is wrong with cells; the exit code."""
    from real.profiler.judge import CLIENT_BOUND, STEADY

    failed = False
    for row in found:
        name = f"{row['model']} {row['runtime']}, batch {row['batch']}, {row['replicas']} x {row['cpus_per_replica']}"
        if row["verdict"] != STEADY:
            refused = "; refused: it measures the client" if row["verdict"] == CLIENT_BOUND else ""
            print(f"{row['verdict']}: {name}: {row['reason']}{refused}", file=sys.stderr)
            failed = failed or row["verdict"] in (CLIENT_BOUND, "failed")
        for line in row["warnings"]:
            print(f"warning: {name}: {line}", file=sys.stderr)
    return EXIT_FAILED if failed else 0


def doctor_command(
    broker: Annotated[str, typer.Option(help="Broker to start, to see whether it does: kafka, mock, none.")] = "kafka",
    noise: Annotated[bool, typer.Option(help="Measure the noise floor with the no-op model.")] = True,
    folder: Annotated[Path | None, typer.Option(help="Whose disk is tried; the temporary folder if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Look at this machine: what would disturb a measurement or does not run here, and the remedy."""
    with reported():
        from analysis.fingerprint import fingerprint
        from real import doctor
        from real.errors import RefusedError
        from real.host import host_facts
        from real.progress import Shown

        if broker not in ("kafka", "mock", "none"):
            raise RefusedError("--broker", f"no broker {broker!r}; there are kafka, mock, none")
        with Shown() as progress:
            found = doctor.examine(
                broker=None if broker == "none" else broker, noise=noise, folder=folder, tell=progress
            )
        failed = [each for each in found if each.state == doctor.FAIL]
        if as_json:
            rows = [{"what": f.what, "state": f.state, "found": f.found, "remedy": f.remedy, **f.values} for f in found]
            print(json.dumps({"host": fingerprint() | host_facts(), "findings": rows}))
        else:
            for each in found:
                print(f"{each.state:<4}  {each.what:<19}  {each.found}")
                if each.remedy:
                    print(f"{'':<27}{each.remedy}")
        raise SystemExit(EXIT_FAILED if failed else 0)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(text.replace(",", " ").split()))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from real.errors import RefusedError

    found = []
    for part in text.replace(",", " ").split():
        if not (part.isascii() and part.isdigit() and len(part) < 10):
            raise RefusedError(option, f"{part!r} is no whole number; write 1,2,4")
        found.append(int(part))
    return tuple(found)


def _seconds(option: str, text: str) -> float:
    from scenarios.units import SECONDS

    # Clipper's drivers have bare numbers, of seconds.
    return _parsed(SECONDS, option, f"{text} s" if text.replace(".", "", 1).isdigit() else text)


def _rate(option: str, text: str) -> float:
    from scenarios.units import RATE

    return _parsed(RATE, option, f"{text} /s" if text.replace(".", "", 1).isdigit() else text)


def _parsed(dimension: Any, option: str, text: str) -> float:
    from real.errors import RefusedError
    from scenarios.units import UnitError

    try:
        return float(dimension.parse(text))
    except UnitError as error:
        raise RefusedError(option, str(error)) from None


def _share(option: str, text: str) -> float:
    from real.errors import RefusedError

    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise RefusedError(option, f"{text!r} is no share; write 5%") from None
