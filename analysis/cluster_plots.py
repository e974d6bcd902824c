"""Time-lines of a cluster run as SVG for the report: the whole cluster, and one job, minute by minute."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.plots import INK, PALETTE, as_svg, blank

Floats = npt.NDArray[np.float64]
_BLUE, _ORANGE, _GREEN, _PINK = PALETTE[:4]


def cluster_timeline(load: Floats, replicas: Floats, quota: int, lost: Floats, *, title: str) -> str:
    """Load and replicas of all jobs together, and the utility they lose.

    Args:
        load: Requests of each minute.
        replicas: Mean running replicas of each minute.
        quota: Drawn as a line.
        lost: Lost utility of each minute.
        title: For readers who hear the page.

    Returns:
        An `<svg>` element.
    """
    figure, (above, middle, below) = blank(7.6, 4.2, 3)
    _line(above, load, _BLUE)
    above.set_ylabel("requests/min")
    _steps(middle, replicas, _GREEN)
    middle.axhline(quota, color=INK, lw=0.8, ls="--", alpha=0.6)
    middle.set_ylabel("replicas")
    _area(below, lost, _ORANGE)
    below.set_ylabel("lost utility")
    below.set_xlabel("minute")
    return as_svg(figure, title)


def job_timeline(rows: dict[str, Any], slo_s: float, *, title: str) -> str:
    """One job: load with drops, replicas, p99 against the objective, utility.

    Args:
        rows: Of the job, the columns of jobs.parquet.
        slo_s: The objective.
        title: For readers who hear the page.

    Returns:
        An `<svg>` element.
    """
    figure, (load, replicas, latency, worth) = blank(4.4, 4.6, 4)
    _line(load, rows["requests"], _BLUE)
    if np.any(rows["drops"] > 0):
        _area(load, rows["drops"], _ORANGE)
    load.set_ylabel("req./min")
    _steps(replicas, rows["replicas_mean"], _GREEN)
    replicas.set_ylabel("replicas")
    _line(latency, rows["p99_s"], _PINK)
    latency.axhline(slo_s, color=INK, lw=0.8, ls="--", alpha=0.6)
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    latency.yaxis.set_minor_formatter(lambda _value, _place: "")
    latency.set_ylabel("p99, s")
    _line(worth, rows["utility"], _BLUE)
    worth.set_ylim(-0.03, 1.05)
    worth.set_ylabel("utility")
    worth.set_xlabel("minute")
    figure.align_ylabels()
    return as_svg(figure, title)


def _line(axes: Any, values: Floats, colour: str) -> None:
    axes.plot(np.arange(len(values)), values, color=colour, lw=1.0)
    _frame(axes)


def _steps(axes: Any, values: Floats, colour: str) -> None:
    axes.step(np.arange(len(values)), values, color=colour, lw=1.1, where="mid")
    _frame(axes)
    axes.set_ylim(bottom=0)


def _area(axes: Any, values: Floats, colour: str) -> None:
    axes.fill_between(np.arange(len(values)), values, step="mid", color=colour, alpha=0.6, lw=0)
    _frame(axes)


def _frame(axes: Any) -> None:
    axes.grid(visible=True, color=INK, alpha=0.12, lw=0.6)
    axes.tick_params(labelsize=7.5)
