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


def baseline_table(rows: Sequence[dict[str, Any]]) -> Table | None:
    """Median error by metric of the simulator and of what needs none; None where there is nothing to compare with."""
    from calibration.baselines import NAMES

    table = Table(title="median error, beside what needs no simulator", title_justify="left")
    for heading in ("metric", "points", "simulator", *NAMES):
        table.add_column(heading)
    for name in dict.fromkeys(row["metric"] for row in rows):
        mine = [row for row in rows if row["metric"] == name and row["scored"] and row.get("baselines")]
        if mine:
            cells = [_error([(row["predicted"], row["measured"]) for row in mine])]
            cells += [_error([(row["baselines"].get(who), row["measured"]) for row in mine]) for who in NAMES]
            table.add_row(name, str(len(mine)), *cells)
    return table if table.row_count else None


def _error(pairs: Sequence[tuple[float | None, float]]) -> str:
    known = [abs(math.log(guess / real)) for guess, real in pairs if guess and guess > 0 and real > 0]
    return f"{math.expm1(float(np.median(known))):.1%}" if known else "-"


def recovery_tables(found: Sequence[dict[str, Any]]) -> list[Table]:
    """What `calibration recover` found: parameters, predictions, errors beside the baselines'."""
    from calibration import recovery
    from calibration.baselines import NAMES

    first = Table(title="the truth inside the 95 % interval", title_justify="left")
    for heading in ("parameter", "draws", "inside", "share", "below", "above"):
        first.add_column(heading)
    for row in recovery.parameters(found):
        share = row["inside"] / row["draws"]
        counted = (str(row["inside"]), f"{share:.1%}", str(row["below"]), str(row["above"]))
        first.add_row(row["parameter"], str(row["draws"]), *counted)
    second = Table(title="the truth inside the 90 % interval of a prediction", title_justify="left")
    for heading in ("metric", "predictions", "inside", "share", "Wilson's interval"):
        second.add_column(heading)
    for row in recovery.predictions(found):
        low, high = row["wilson"]
        share = row["inside"] / row["predictions"] if row["predictions"] else float("nan")
        cells = (f"{share:.1%}", f"{low:.1%} to {high:.1%}")
        second.add_row(row["metric"], str(row["predictions"]), str(row["inside"]), *cells)
    third = Table(title="median error, beside what needs no simulator", title_justify="left")
    for heading in ("metric", "points", "simulator", *NAMES):
        third.add_column(heading)
    for row in recovery.errors(found):
        errors = [row[who] for who in ("simulator", *NAMES)]
        said = ["-" if e is None else f"{math.expm1(e):.1%}" for e in errors]
        third.add_row(row["metric"], str(row["points"]), *said)
    return [first, second, third]


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
