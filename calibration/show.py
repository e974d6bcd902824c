"""Calibrations and checks as a person reads them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sim.costs import CPU_COSTS, ZERO, Calibration, Value

_TERMS = {
    "fixed_ns": "each",
    "batch_ns": "a batch",
    "record_ns": "a record",
    "point_ns": "a point",
    "byte_ns": "a KiB",
    "cold_ns": "cold",
}


def wide() -> Console:
    """Stdout; in a file or a pipe wide enough for every column."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def cost_table(calibration: Calibration) -> Table:
    """Every CPU cost with its 90 % interval, in microseconds."""
    table = Table(title=f"calibration {calibration.name}: CPU, us [90 % interval]", title_justify="left")
    for heading in ("cost", "paid", "us"):
        table.add_column(heading)
    for name in CPU_COSTS:
        cost = calibration.cpu.get(name)
        if cost is None:
            continue
        for term, word in _TERMS.items():
            value: Value = getattr(cost, term)
            if value != ZERO:
                scale = 1024 / 1000 if term == "byte_ns" else 1 / 1000
                table.add_row(name, word, _interval(value, scale))
    for part, value in calibration.background_ns_per_s.items():
        table.add_row(f"{part}, whatever the load", "a second", _interval(value, 1 / 1000))
    return table


def fit_table(calibration: Calibration) -> Table:
    """How each fit went: condition number, leave-one-out error, what could not be told apart."""
    table = Table(title="the fits", title_justify="left")
    for heading in ("fit", "condition number", "leave-one-out error", "not told apart"):
        table.add_column(heading)
    found = calibration.fit
    for name, condition in found["condition"].items():
        merged = found["merged"].get(name, {})
        said = ", ".join(
            f"{term} ({where})" if where == "never seen" else f"{term} with {where}" for term, where in merged.items()
        )
        error = found["leave_one_out"][name]
        table.add_row(name, f"{condition:.3g}", f"{math.expm1(error):.1%}" if error == error else "-", said)
    return table


def check_summary(rows: Sequence[dict[str, Any]]) -> Table:
    """Median and worst error by metric and band of utilisation, beside the noise ceiling."""
    table = Table(title="errors by metric and utilisation", title_justify="left")
    for heading in ("metric", "utilisation", "points", "median error", "worst", "noise ceiling (median)"):
        table.add_column(heading)
    for row in summarise(rows):
        ceiling = row["ceiling"]
        table.add_row(
            row["metric"],
            row["utilisation_band"],
            str(row["n"]),
            f"{math.expm1(row['error']):.1%}",
            f"{math.expm1(row['worst']):.1%}",
            "too few repeats" if ceiling is None else f"{math.expm1(ceiling):.1%}",
        )
    return table


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object a metric and band: `metric`, `utilisation_band`, `n`, `error` (median |ln|), `worst`, `ceiling`."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["scored"]:
            groups.setdefault((row["metric"], row["band"] or row["kind"]), []).append(row)
    out = []
    for (metric, band), found in sorted(groups.items()):
        ceilings = [r["ceiling"] for r in found if r["ceiling"] is not None]
        errors = [r["error"] for r in found]
        out.append(
            {
                "metric": metric,
                "utilisation_band": band,
                "n": len(found),
                "error": float(np.median(errors)),
                "worst": max(errors),
                "ceiling": float(np.median(ceilings)) if ceilings else None,
            }
        )
    return out


def _interval(v: Value, scale: float) -> str:
    return f"{v.value * scale:.4g} [{v.lo * scale:.3g} to {v.hi * scale:.3g}]"
