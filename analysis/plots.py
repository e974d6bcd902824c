"""Plots as SVG text for the report: small enough for a narrow screen, and at home on light and dark pages.

Lines and bands are predictions, points are measurements; a colour is a parallelism or a rate.  The palette is Okabe
and Ito's, told apart by colour-blind readers; marker shapes say the same again.  Axes and text take the page's own
text colour, and nothing in the SVG refers outside it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Okabe and Ito (2008), without black and yellow, which vanish on dark and on light pages.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#010203"  # stands for the page's text colour until the SVG is written


@dataclass(frozen=True, slots=True)
class Sample:
    """What is predicted and measured of one metric at one point.

    Attributes:
        metric: Name, unit included.
        kind: `rate`, `drain` or `sustainable`.
        parallelism: Of the engine.
        rate_per_s: Offered; None for a drain or a sustainable throughput.
        predicted: None where nothing was predicted.
        lo: Of the prediction's band; None without one.
        hi: Of the prediction's band.
        measured: One value a repeat.
    """

    metric: str
    kind: str
    parallelism: int
    rate_per_s: float | None
    predicted: float | None = None
    lo: float | None = None
    hi: float | None = None
    measured: tuple[float, ...] = ()


def curves(
    series: Mapping[str, Sequence[tuple[float, Sample]]], *, xlabel: str, ylabel: str, log_y: bool, integer_x: bool
) -> str:
    """Predicted lines with bands and measured points, one colour a series.

    Args:
        series: Label -> (x, sample), drawn in order of x.
        xlabel: With its unit.
        ylabel: With its unit.
        log_y: Latencies span decades.
        integer_x: Ticks at whole numbers only.

    Returns:
        An `<svg>` element.
    """
    figure, axes = blank(4.4, 3.1)
    for i, (label, unordered) in enumerate(series.items()):
        colour, marker = PALETTE[i % len(PALETTE)], MARKERS[(i + i // len(PALETTE)) % len(MARKERS)]
        points = sorted(unordered, key=lambda p: p[0])
        line = [(x, s.predicted, s.lo, s.hi) for x, s in points if s.predicted is not None]
        if line:
            xs, ys = [p[0] for p in line], [p[1] for p in line]
            axes.plot(xs, ys, color=colour, lw=1.6, marker="|" if len(line) < 2 else None, ms=9)
            banded = [(x, lo, hi) for x, _, lo, hi in line if lo is not None and hi is not None]
            if banded:
                low, high = [b[1] for b in banded], [b[2] for b in banded]
                axes.fill_between([b[0] for b in banded], low, high, color=colour, alpha=0.22, lw=0)
        real = [(x, s.measured) for x, s in points if s.measured]
        for x, values in real:
            axes.plot([x] * len(values), values, ls="", marker=marker, ms=3, color=colour, alpha=0.45, mew=0)
        if real:
            middle = [float(np.median(v)) for _, v in real]
            axes.plot([x for x, _ in real], middle, ls="", marker=marker, ms=6, color=colour, mec=INK, mew=0.6)
        axes.plot([], [], color=colour, marker=marker, lw=1.6, ms=5, label=label)
    shown = [v for p in series.values() for _, s in p for v in (s.predicted, *s.measured) if v is not None]
    if log_y and shown and min(shown) > 0 and max(shown) > 3 * min(shown):  # else no label may stand on the axis
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda v, _pos: f"{v:g}")
        if math.log10(max(shown) / min(shown)) < 1.5:
            axes.yaxis.set_minor_formatter(lambda v, _pos: f"{v:g}" if f"{v:.0e}"[0] in "25" else "")
    else:
        axes.set_ylim(bottom=min(0.0, min(shown, default=0.0)))
    if integer_x:
        axes.set_xticks(sorted({round(x) for p in series.values() for x, _ in p}))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, color=INK, alpha=0.12, lw=0.6)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, handlelength=1.6)
    return as_svg(figure, f"{ylabel} against {xlabel}")


def stages(bars: Mapping[str, Mapping[str, float | None]]) -> str:
    """The medians of successive stages, one horizontal bar a run, stacked.

    Args:
        bars: Label -> stage -> milliseconds; what is None or below zero (a coarse clock) has no length.

    Returns:
        An `<svg>` element.
    """
    figure, axes = blank(4.4, 1.3 + 0.32 * len(bars))
    names = list(dict.fromkeys(name for stages_ms in bars.values() for name in stages_ms))
    left = np.zeros(len(bars))
    for i, name in enumerate(names):
        values = np.array([max(0.0, stages_ms.get(name) or 0.0) for stages_ms in bars.values()])
        hatch = "//" if i >= len(PALETTE) else None
        axes.barh(
            list(bars),
            values,
            left=left,
            height=0.6,
            color=PALETTE[i % len(PALETTE)],
            hatch=hatch,
            edgecolor=INK,
            lw=0.3,
            label=name.replace("-", " to "),
        )
        left += values
    axes.invert_yaxis()
    axes.set_xlabel("median, ms")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
    )
    return as_svg(figure, "median time of each stage")


def blank(width_in: float, height_in: float, panels: int = 1) -> tuple[Any, Any]:
    """A figure, and its axes; of several panels, one above the other with one x axis, a sequence of axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ink: Any = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with mpl.rc_context({**ink, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.subplots(panels, sharex=True)
    figure.patch.set_alpha(0)
    for each in figure.axes:
        each.patch.set_alpha(0)
    return figure, axes


def as_svg(figure: Any, title: str) -> str:
    """A figure as an `<svg>` element that refers to nothing outside it, in the page's own text colour."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", text)
    title = title.replace("&", "&amp;").replace("<", "&lt;")
    return text.replace('role="img">', f'role="img" aria-label="{title}">', 1).replace(INK, "currentColor")
