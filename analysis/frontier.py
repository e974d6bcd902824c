"""The frontier of cost against latency, as a plot: SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INK = "#333333"
LINE, PLAN, OTHER = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito (2008)


@dataclass(frozen=True, slots=True)
class Mark:
    """A single configuration beside the frontier."""

    label: str
    cost_per_h: float
    latency_ms: float


def plot(
    path: Path,
    frontier: Sequence[tuple[float, float]],
    *,
    slo_ms: float,
    percentile: float,
    currency: str,
    plan: Mark | None = None,
    others: Sequence[Mark] = (),
    title: str = "",
) -> Path:
    """Draw a frontier.

    Between two of its configurations the cheaper one is all that its money buys, so the line has steps.

    Args:
        path: What to write; its suffix says in which format (.svg, .png, .pdf).
        frontier: (cost per hour, latency in ms), cheapest first.
        slo_ms: The objective.
        percentile: That the latencies are.
        currency: Of the costs.
        plan: The configuration chosen.
        others: Further ones, such as baselines.
        title: Above the plot.

    Returns:
        The path.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "frontier"}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        costs = [cost for cost, _ in frontier]
        if frontier:
            most = max([*costs, *(mark.cost_per_h for mark in (*others, *([plan] if plan else [])))])
            axes.step([*costs, most], [*(ms for _, ms in frontier), frontier[-1][1]], where="post", color=LINE, lw=1.6)
            axes.plot(costs, [ms for _, ms in frontier], "o", color=LINE, ms=3.5, label="no cheaper one is as fast")
        for mark in others:
            axes.plot([mark.cost_per_h], [mark.latency_ms], "s", color=OTHER, ms=6)
            axes.annotate(
                mark.label, (mark.cost_per_h, mark.latency_ms), textcoords="offset points", xytext=(6, 4), color=INK
            )
        if plan is not None:
            axes.plot([plan.cost_per_h], [plan.latency_ms], "D", color=PLAN, ms=7, label=plan.label)
        axes.axhline(slo_ms, color=INK, lw=0.9, ls="--", label=f"objective, {slo_ms:g} ms")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _at: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _at: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
        axes.set_xlabel(f"cost, {currency} per hour")
        axes.set_ylabel(f"p{percentile:g} latency, ms")
        if title:
            axes.set_title(title, fontsize=9, loc="left")
        axes.grid(visible=True, alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata=metadata)
    return path
