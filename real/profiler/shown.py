"""A grid's results as a table, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from real.profiler import judge
from real.profiler.grid import MEASURES
from real.profiler.noise import Others
from real.profiler.run import Result, known_to, verdict

if TYPE_CHECKING:
    from rich.table import Table

#: A straight line through the batch sizes is good where it misses none by more.
LINE_ERROR = 0.05


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One row a cell, for `--json`."""
    return [_row(result) for result in results]


def _row(result: Result) -> dict[str, Any]:
    cell, data = result.cell, result.data
    found: dict[str, Any] = {
        "model": cell.model.label,
        "runtime": cell.runtime,
        "batch": cell.batch,
        "replicas": cell.replicas,
        "cpus_per_replica": cell.cpus,
        "devices": [device.name for device in cell.devices],
        "file": cell.file,
    }
    if data is None:
        return {**found, "verdict": "failed", "reason": result.error, "warnings": []}
    last = data["repeats"][-1]
    spread = known_to(data)
    word, reason = verdict(data)
    service, latency = last.get("service"), last.get("latency")
    found |= {
        "affinity": last["affinity"],
        "throughput_per_s": spread.mean,
        "interval_per_s": None if spread.lo is None else [spread.lo, spread.hi],
        "repeats": len(data["repeats"]),
        "batch_ms": None if service is None else service["batch_ms"],
        "capacity_per_s": None if service is None else service["capacity_per_s"],
        "latency": latency
        and {k: latency[k] for k in ("offered_per_s", "latency_ms", "p99_interval_ms", "batch_mean")},
        "verdict": word,
        "reason": reason,
        "warnings": warnings(data, cell.asked.precision),
    }
    if "overload" in last:
        found["overload"] = {key: last["overload"][key] for key in ("offered_per_s", "slope", "slope_expected")}
        found["overload"]["p99_rises"] = last["overload"]["p99_rises"]
    if "search" in last:
        found["search"] = {key: last["search"][key] for key in ("rate_per_s", "reason", "start_per_s")}
        found["search"]["steps"] = len(last["search"]["steps"])
    return found


def warnings(data: Mapping[str, Any], precision: float) -> list[str]:
    """What disturbed a cell, and the remedy."""
    found: dict[str, None] = {}
    beside = [repeat[name]["beside"] for repeat in data["repeats"] for name in MEASURES if name in repeat]
    worst = {name: max(each[name] for each in beside) for name in ("others_cores", "stolen_share")}
    found |= dict.fromkeys(Others(**worst).warnings())
    for repeat in data["repeats"]:
        if not all(each["settled"] for each in repeat["warm"]):
            found["batches still changed when the warm-up ended: raise --warmup"] = None
        latency = repeat.get("latency")
        if latency and latency["limited_by_driver"]:
            found["latency at less than the load asked for, as much as the driver can send: raise --batch-sizes"] = None
        service = repeat.get("service")
        if service and service["floor_share"] > 0.2:
            share = service["floor_share"]
            found[f"the harness itself is {share:.0%} of what a batch takes: raise --batch-sizes"] = None
    spread = known_to(data)
    remedy = "raise --repeats or --duration"
    if spread.relative is None:
        found[f"too few batches to tell how well the throughput is known: {remedy}"] = None
    elif spread.relative > precision:
        found[f"throughput is known within {spread.relative:.1%}, asked was {precision:.1%}: {remedy}"] = None
    return list(found)


def lines(results: Sequence[Result]) -> list[dict[str, Any]]:
    """For each series of batch sizes: t(n) = base + each * n, neither below zero, and by how much it misses."""
    series: dict[tuple[Any, ...], dict[int, float]] = {}
    for result in results:
        if result.data is None or "service" not in result.data["repeats"][-1]:
            continue
        cell = result.cell
        key = (cell.model.label, cell.runtime, cell.replicas, cell.cpus, tuple(d.name for d in cell.devices))
        means = [repeat["service"]["batch_ms"]["p50"] for repeat in result.data["repeats"]]
        series.setdefault(key, {})[cell.batch] = float(np.mean(means))
    found = []
    for (model, runtime, replicas, cpus, _), table in series.items():
        if len(table) < 2:
            continue
        base, each, error = line(table)
        row = {"model": model, "runtime": runtime, "replicas": replicas, "cpus_per_replica": cpus}
        found.append({**row, "base_ms": base, "each_ms": each, "error": error, "line": error <= LINE_ERROR})
    return found


def line(table: Mapping[int, float]) -> tuple[float, float, float]:
    """The best t = base + each * n by relative squares, and the largest relative error.

    Args:
        table: Batch size -> time.
    """
    from scipy.optimize import nnls

    n, t = np.array(list(table), float), np.array(list(table.values()))
    (base, each), _ = nnls(np.stack([1 / t, n / t], axis=1), np.ones(len(t)))
    return float(base), float(each), float(np.max(np.abs((base + each * n) / t - 1)))


def table(found: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `rows` for people."""
    from rich.table import Table

    shown = Table(title="profile", title_justify="left")
    for heading in ("model", "runtime"):
        shown.add_column(heading)
    for heading in ("batch", "replicas x cores", "batch ms p50 (p99)", "throughput /s", "latency ms p50, p99", "at /s"):
        shown.add_column(heading, justify="right")
    if any(row["devices"] != ["cpu"] * len(row["devices"]) for row in found):
        shown.add_column("devices")
    if any("search" in row for row in found):
        shown.add_column("highest steady /s", justify="right")
    if any("overload" in row for row in found):
        shown.add_column("overload: slope (expected)", justify="right")
    shown.add_column("verdict")
    headings = [str(column.header) for column in shown.columns]
    for row in found:
        shown.add_row(*_cells(row, headings))
    return shown


def _cells(row: Mapping[str, Any], headings: Sequence[str]) -> list[str]:
    batch_ms, latency = row.get("batch_ms"), row.get("latency")
    texts = {
        "model": row["model"],
        "runtime": row["runtime"],
        "batch": str(row["batch"]),
        "replicas x cores": f"{row['replicas']} x {row['cpus_per_replica']}",
        "batch ms p50 (p99)": f"{digits(batch_ms['p50'])} ({digits(batch_ms['p99'])})" if batch_ms else "-",
        "throughput /s": _throughput(row),
        "devices": ", ".join(row["devices"]),
        "verdict": row["verdict"] if row["verdict"] == judge.STEADY else f"[bold red]{row['verdict']}[/]",
    }
    if latency and latency["latency_ms"]:
        texts["latency ms p50, p99"] = f"{digits(latency['latency_ms']['p50'])}, {digits(latency['latency_ms']['p99'])}"
        texts["at /s"] = digits(latency["offered_per_s"])
    if row.get("search"):
        rate = row["search"]["rate_per_s"]
        texts["highest steady /s"] = "-" if rate is None else digits(rate)
    if row.get("overload") and row["overload"]["slope"] is not None:
        texts["overload: slope (expected)"] = (
            f"{row['overload']['slope']:.3f} ({row['overload']['slope_expected']:.3f})"
        )
    return [texts.get(heading, "-") for heading in headings]


def _throughput(row: Mapping[str, Any]) -> str:
    if "throughput_per_s" not in row:
        return "-"
    between = row["interval_per_s"]
    half = "" if between is None else f" ±{(between[1] - between[0]) / 2 / max(1e-12, row['throughput_per_s']):.1%}"
    return f"{digits(row['throughput_per_s'])}{half}"


def digits(value: float) -> str:
    """Three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"
