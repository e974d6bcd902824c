"""What is drawn of one run: where its time goes, its time-line, and the lag of its partitions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import text
from analysis.columns import STAMP_COLUMNS
from analysis.figures import Figure
from analysis.lag import lag_series
from analysis.plots import INK, PALETTE, as_svg, blank
from analysis.records import Columns, chosen
from analysis.window import in_window, window_ns
from scenarios.spec import MS_NS, S_NS, Scenario

#: Samples of a time-line at most; one a second where there are fewer.
SAMPLES = 120
#: So few partitions have a line each.
_LINES = 4
#: Latencies that span more than this have a logarithmic axis, on which a label is sure to stand.
_DECADE = 10

Floats = NDArray[np.float64]


def figures(name: str, scenario: Scenario, records: Columns) -> list[Figure]:
    """Waterfall, time-line and partitions; each only where the run has what it shows.

    Args:
        name: Of the run, in the titles.
        scenario: What was run.
        records: Columns of records.parquet.
    """
    if not len(records["created"]):
        return []
    drawn = (of(name, scenario, records) for of in (waterfall, timeline, partitions))
    return [figure for figure in drawn if figure is not None]


def waterfall(name: str, scenario: Scenario, records: Columns) -> Figure | None:
    """The mean way of the records of the window that went all of it: each stage begins where the one before ends.

    Means add up, so the last bar ends at the mean latency.  Append times are whole milliseconds: stages beside them
    are told to half a millisecond.
    """
    stamps = [column for column in STAMP_COLUMNS if np.any(np.asarray(records[column]) >= 0)]
    if stamps[-2:] == ["acked", "out_appended"]:
        stamps.pop()  # the delivery callback comes after the append; the way ends with it
    inside = in_window(scenario, records)
    if not inside.any():
        inside = np.ones(len(inside), dtype=bool)
    for column in stamps:
        inside &= np.asarray(records[column]) >= 0
    if len(stamps) < 2 or not inside.any():
        return None
    at = [float(chosen(np.asarray(records[column]), inside).mean()) for column in stamps]
    begin = [(a - at[0]) / MS_NS for a in at[:-1]]
    length = [(b - a) / MS_NS for a, b in pairwise(at)]
    stages = [f"{a} to {b}" for a, b in pairwise(stamps)]
    figure, axes = blank(4.4, 0.8 + 0.27 * len(stages))
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(stages))]
    axes.barh(stages, length, left=begin, height=0.62, color=colours, edgecolor=INK, lw=0.4)
    room = (begin[-1] + length[-1]) or 1.0
    for i, (left, wide) in enumerate(zip(begin, length, strict=True)):
        # Beside its bar, where there is room: after it, before it, or else in its end.
        if left + wide <= 0.72 * room:
            x, side = left + wide + 0.015 * room, "left"
        else:
            x, side = (left if left > 0.28 * room else left + wide) - 0.015 * room, "right"
        axes.text(x, i, text.number(wide), va="center", ha=side, fontsize=7.5, color=INK)
    axes.set_xlim(left=min(0.0, *begin))
    axes.invert_yaxis()
    axes.tick_params(labelsize=7.5)
    axes.set_xlabel("since the record was due, ms (mean)")
    axes.grid(visible=True, axis="x", color=INK, alpha=0.12, lw=0.6)
    data = {"stage": stages, "begins_ms": begin, "takes_ms": length}
    return _figure("Where the time goes", name, figure, data)


def timeline(name: str, scenario: Scenario, records: Columns) -> Figure | None:
    """Latency of what was created in each sample, records in and out a second, records in the system."""
    edges = _edges(scenario, records)
    if len(edges) < 3:
        return None
    created, column = np.asarray(records["created"]), _answered(records)
    out = np.asarray(records[column])
    seconds = edges[1:] / S_NS
    step_s = (edges[1] - edges[0]) / S_NS
    p50, p99 = _quantiles(created, out, edges)
    offered = np.histogram(created, edges)[0] / step_s
    answered = np.histogram(out[out >= 0], edges)[0] / step_s
    lag = lag_series(records, begin_ns=int(edges[1]), end_ns=int(edges[-1]), step_ns=int(edges[1] - edges[0]))[1]
    figure, (latency, rates, inside) = blank(4.4, 4.4, 3)
    _line(latency, seconds, p50, 0, "p50")
    _line(latency, seconds, p99, 1, "p99")
    known = np.concatenate((p50, p99))
    least, most = np.nanmin(known, initial=np.inf), np.nanmax(known, initial=0.0)
    if least > 0 and most > _DECADE * least:
        latency.set_yscale("log")
        latency.yaxis.set_major_formatter(lambda v, _pos: f"{v:g}")
        latency.yaxis.set_minor_formatter(lambda _v, _pos: "")
    else:
        latency.set_ylim(bottom=0)
    latency.set_ylabel("latency, ms")
    _line(rates, seconds, offered, 1, "offered")
    _line(rates, seconds, answered, 0, "out")
    rates.set_ylim(bottom=0)
    rates.set_ylabel("records/s")
    _line(inside, seconds, lag.astype(np.float64), 2, "records in the system")
    inside.set_ylim(bottom=0)
    inside.set_ylabel("in the system")
    inside.set_xlabel("since the run's start, s")
    begin_ns, end_ns = window_ns(scenario, records)
    for axes in (latency, rates, inside):
        axes.axvspan(begin_ns / S_NS, min(end_ns, edges[-1]) / S_NS, color=INK, alpha=0.05, lw=0)
        _frame(axes)
    for axes in (latency, rates):
        axes.legend(frameon=False, fontsize=7.5, labelcolor=INK, ncols=2, handlelength=2.2)
    figure.align_ylabels()
    data = {"second": seconds, "latency_p50_ms": p50, "latency_p99_ms": p99, "offered_per_s": offered}
    data |= {"out_per_s": answered, "in_the_system": lag}
    return _figure("Time-line", name, figure, {key: _plain(values) for key, values in data.items()})


def partitions(name: str, scenario: Scenario, records: Columns) -> Figure | None:
    """Records in the system of each partition: a line each where few, else the fullest and the range."""
    edges, whose = _edges(scenario, records), np.asarray(records["partition"])
    numbers = [int(p) for p in np.unique(whose) if p >= 0]
    if len(edges) < 3 or len(numbers) < 2:
        return None
    step, seconds = int(edges[1] - edges[0]), edges[1:] / S_NS
    by: dict[int, NDArray[np.int64]] = {}
    for partition in numbers:
        mine = {column: np.asarray(records[column])[whose == partition] for column in _LAG_COLUMNS}
        by[partition] = lag_series(mine, begin_ns=int(edges[1]), end_ns=int(edges[-1]), step_ns=step)[1]
    table = np.array(list(by.values()), dtype=np.float64)
    figure, axes = blank(4.4, 2.6)
    if len(numbers) <= _LINES:
        for i, partition in enumerate(numbers):
            _line(axes, seconds, table[i], i, f"partition {partition}")
    else:
        fullest = int(table.sum(axis=1).argmax())
        axes.fill_between(seconds, table.min(axis=0), table.max(axis=0), color=PALETTE[0], alpha=0.22, lw=0)
        _line(axes, seconds, np.median(table, axis=0), 0, f"median of {len(numbers)}, and their range")
        _line(axes, seconds, table[fullest], 1, f"the fullest, partition {numbers[fullest]}")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("records in the system")
    axes.set_xlabel("since the run's start, s")
    look: Any = {"frameon": False, "fontsize": 7.5, "labelcolor": INK, "handlelength": 2.2}
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, **look)
    _frame(axes)
    data = {"second": _plain(seconds)} | {f"partition_{p}": _plain(lag) for p, lag in by.items()}
    return _figure("Lag by partition", name, figure, data)


def _figure(title: str, name: str, figure: Any, data: dict[str, Any]) -> Figure:
    return Figure(title, as_svg(figure, f"{title}, {name}"), data, of=name)


_LAG_COLUMNS = (*STAMP_COLUMNS, "outcome")
_STYLES = ("-", "--", "-.", ":")


def _edges(scenario: Scenario, records: Columns) -> NDArray[np.int64]:
    """Equal samples of the load, a whole number of seconds each where it is long enough."""
    load = scenario.workload
    last = max(int(np.asarray(records[column]).max()) for column in ("created", "out_appended"))
    length = min(load.warmup_ns + load.duration_ns, last + 1) if not load.backlog_records else last + 1
    step = max(length // SAMPLES, 1)
    if length >= SAMPLES // 4 * S_NS:
        step = -(-step // S_NS) * S_NS
    return np.arange(0, length // step + 1, dtype=np.int64) * step


def _answered(records: Columns) -> str:
    return "acked" if np.any(np.asarray(records["acked"]) >= 0) else "out_appended"


def _quantiles(created: Any, out: Any, edges: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """p50 and p99 of what was created between each two edges; NaN where nothing was answered."""
    order = np.argsort(created, kind="stable")
    created, out = created[order], out[order]
    at = np.searchsorted(created, edges)
    p50, p99 = np.full(len(edges) - 1, np.nan), np.full(len(edges) - 1, np.nan)
    for i, (first, last) in enumerate(pairwise(at)):
        known = out[first:last] >= 0
        if known.any():
            p50[i], p99[i] = np.quantile((out[first:last] - created[first:last])[known] / MS_NS, (0.5, 0.99))
    return p50, p99


def _plain(values: Any) -> list[float | int | None]:
    return [None if value != value else value for value in np.asarray(values).tolist()]  # NaN is not itself


def _line(axes: Any, x: Any, y: Any, at: int, label: str) -> None:
    axes.plot(x, y, color=PALETTE[at % len(PALETTE)], ls=_STYLES[at % len(_STYLES)], lw=1.3, label=label)


def _frame(axes: Any) -> None:
    axes.grid(visible=True, color=INK, alpha=0.12, lw=0.6)
    axes.tick_params(labelsize=7.5)
