"""How far predictions were off, drawn: one line a check row, beside what reality differs from itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis import text
from analysis.figures import Figure
from analysis.plots import INK, PALETTE, as_svg, blank

#: What a check calls its metrics -> short enough for an axis.
_GROUPS = {
    "throughput": ("throughput",),
    "latency": ("latency",),
    "CPU per record": ("cpu_us",),
}
_OTHER = "other"


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """One figure for each kind of metric that rows with an error are of.

    Args:
        rows: Of a check; `signed` is the logarithm of predicted by measured, `ceiling` that of reality's own spread.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("signed") is not None:
            word = str(row["metric"])
            group = next((g for g, parts in _GROUPS.items() if any(part in word for part in parts)), _OTHER)
            groups.setdefault(group, []).append(row)
    return [_residuals(group, mine) for group, mine in groups.items()]


def _residuals(group: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Predicted by measured, less one, as a point; a bar either way is the noise ceiling."""
    labels = [f"{_short(row)}, {text.which(row).replace('parallelism ', 'x')}" for row in rows]
    off = [100 * math.expm1(row["signed"]) for row in rows]
    low = [None if row.get("ceiling") is None else 100 * math.expm1(-row["ceiling"]) for row in rows]
    high = [None if row.get("ceiling") is None else 100 * math.expm1(row["ceiling"]) for row in rows]
    figure, axes = blank(4.4, 0.9 + 0.22 * len(rows))
    for i, (lo, hi) in enumerate(zip(low, high, strict=True)):
        if lo is not None and hi is not None:
            axes.barh(i, hi - lo, left=lo, height=0.7, color=INK, alpha=0.16, lw=0)
    for sign, marker, colour, label in (
        (-1, "v", PALETTE[0], "predicted too little"),
        (1, "^", PALETTE[1], "predicted too much"),
    ):
        mine = [i for i, value in enumerate(off) if (value > 0) == (sign > 0)]
        if mine:
            axes.plot(
                [off[i] for i in mine], mine, ls="", marker=marker, ms=5, color=colour, mec=INK, mew=0.4, label=label
            )
    axes.axvline(0, color=INK, lw=0.8, alpha=0.6)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("prediction off by, % (grey: noise ceiling)")
    axes.grid(visible=True, axis="x", color=INK, alpha=0.12, lw=0.6)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=2,
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
    )
    title = f"Residuals, {group}"
    data = {
        "point": [text.which(row) for row in rows],
        "metric": [row["metric"] for row in rows],
        "predicted": [row.get("predicted") for row in rows],
        "measured": [row.get("measured") for row in rows],
        "off_percent": off,
        "ceiling_low_percent": low,
        "ceiling_high_percent": high,
    }
    return Figure(title, as_svg(figure, title), data)


def _short(row: Mapping[str, Any]) -> str:
    word = str(row["metric"])
    for long, short in (("latency_acked_ms_", ""), ("latency_", ""), ("cpu_us_per_record_", ""), ("_per_s", "")):
        word = word.replace(long, short)
    return word.replace("_", " ")
