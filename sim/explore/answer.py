"""One simulated run as the page shows it: verdict, figures, bottleneck, SLO, trust, and the series of its plots."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.lag import lag_series
from analysis.metrics import LATENCY_CLOCKS, bound_broken, resolve
from analysis.text import number
from analysis.window import in_window
from scenarios.metric_names import METRIC_NAMES
from scenarios.spec import MS_NS, S_NS, Scenario
from sim import shown
from sim.counters import Window
from sim.explain import SATURATED
from sim.explain_parts import Busy, between, bottleneck
from sim.explore.shorter import load_ns
from sim.run import SimResult

#: Metric of run.json -> what the page calls it, with its unit.
SHOWN = {
    "throughput_per_s": "throughput, /s",
    "latency_p50": "p50, ms",
    "latency_p95": "p95, ms",
    "latency_p99": "p99, ms",
    "lag_slope_per_s": "lag grows by, /s",
}
#: Slots of the time plots, and quantiles of the latency plot.
SLOTS = 80
QUANTILES = (*(q / 100 for q in range(0, 90, 5)), *(q / 1000 for q in range(900, 990, 10)), 0.99, 0.995, 0.999, 0.9999)
#: So many records beyond a quantile, or it is not shown.
_BEYOND = 10
_ROWS = 16

Floats = NDArray[np.float64]


def answer(scenario: Scenario, result: SimResult, window: Window, asked: Scenario) -> dict[str, Any]:
    """What is known of one run.

    Args:
        scenario: What was simulated.
        result: Of `sim.run.simulate`.
        window: What it observed.
        asked: What was asked about: the same, or longer.

    Returns:
        JSON-able.
    """
    meta, values = result.meta, result.metrics
    clock, _ = resolve("latency_p99", values)
    column = LATENCY_CLOCKS["acked" if "acked" in clock else "append"]
    rows = between(window.sys, window.begin, window.end, at_hand(window))
    limit = bottleneck(rows)
    return {
        "simulated_s": load_ns(scenario) / S_NS,
        "of_s": load_ns(asked) / S_NS,
        "records": len(result.records["created"]),
        "took_s": sum(meta["timing"][f"{part}_s"] for part in ("layout", "simulate", "judge")),
        "verdict": meta["verdict"],
        "why": meta["verdict_reason"] or "",
        "metrics": {name: resolve(name, values)[1] for name in SHOWN},
        "slo": _slo(scenario, values),
        "busy": [_busy(row) for row in rows[:_ROWS]],
        "bottleneck": _busy(limit) | {"saturated": limit.utilisation >= SATURATED},
        "workers": workers(scenario),
        "trust": shown.trust_line(meta["calibration"]),
        "notes": list(meta["notes"]),
        "latency": quantiles(scenario, result, column),
        "time": over_time(scenario, result, column),
    }


def workers(scenario: Scenario) -> int:
    """What is paid for: scoring tasks, the threads of an external server, or the workers of a graph's stages."""
    if scenario.stages:
        return sum(stage.workers for stage in scenario.stages)
    serving, parallelism = scenario.serving, scenario.engine.parallelism
    return parallelism + ((serving.workers or parallelism) if serving.kind == "external" else 0)


def at_hand(window: Window) -> dict[int, float]:
    """Share of the window that each scoring task had a record at hand, by its thread: the union of its scorings.

    It counts what CPU time does not: the wait for a server's answer or for a core.
    """
    records, threads = window.records, window.sys.workers
    begin_ns, end_ns = window.begin.at_ns, window.end.at_ns
    worker, begun, ended = (records[name] for name in ("worker", "score_begin", "score_end"))
    known = (worker >= 0) & (worker < len(threads)) & (begun >= 0) & (ended > begun)
    known &= (ended > begin_ns) & (begun < end_ns)
    worker, begun, ended = worker[known], begun[known], ended[known]
    order = np.lexsort((begun, worker))
    worker, begun, ended = worker[order], np.maximum(begun[order], begin_ns), np.minimum(ended[order], end_ns)
    edges = np.searchsorted(worker, np.arange(len(threads) + 1))
    found = {}
    for w, thread in enumerate(threads):
        b, e = begun[edges[w] : edges[w + 1]], ended[edges[w] : edges[w + 1]]
        if len(b):
            before = np.concatenate(([begin_ns], np.maximum.accumulate(e)[:-1]))
            found[thread] = float(np.maximum(0, e - np.maximum(b, before)).sum()) / max(1, end_ns - begin_ns)
    return found


def quantiles(scenario: Scenario, result: SimResult, column: str) -> dict[str, list[float]]:
    """Latency by quantile, milliseconds, as far as ten records lie beyond."""
    records = result.records
    which = in_window(scenario, records) & (records[column] >= 0)
    ms = (records[column][which] - records["created"][which]) / MS_NS
    asked = [q for q in QUANTILES if len(ms) * (1 - q) >= _BEYOND]
    return {"q": asked, "ms": np.quantile(ms, asked).tolist() if asked else []}


def over_time(scenario: Scenario, result: SimResult, column: str) -> dict[str, list[float | None]]:
    """By slots of the load: latency of the records created in it, records in the system, in and out a second."""
    records, length = result.records, load_ns(scenario)
    created, out = records["created"], records["out_appended"]
    step = max(1, length // SLOTS)
    edges = np.arange(0, SLOTS + 1) * step
    at = np.searchsorted(created, edges)  # ascending: sequence is the order of creation
    p50: list[float | None] = []
    p99: list[float | None] = []
    for first, last in pairwise(at):
        stamp = records[column][first:last]
        ms = np.sort((stamp - created[first:last])[stamp >= 0]) / MS_NS
        p50.append(float(ms[len(ms) // 2]) if len(ms) else None)
        p99.append(float(ms[int(0.99 * len(ms))]) if len(ms) else None)
    _, lag = lag_series(records, begin_ns=step, end_ns=step * SLOTS, step_ns=step)
    per_s = S_NS / step
    return {
        "s": (edges[1:] / S_NS).tolist(),
        "p50": p50,
        "p99": p99,
        "lag": lag.tolist(),
        "in": (np.diff(at) * per_s).tolist(),
        "out": (np.histogram(out[out >= 0], edges)[0] * per_s).tolist(),
    }


def off(preview: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """By how much the preview was off: each figure of both, and the preview's by the full run's."""
    rows = []
    for name, label in SHOWN.items():
        a, b = preview["metrics"][name], full["metrics"][name]
        relative = None if a is None or b is None or not b or name == "lag_slope_per_s" else a / b - 1.0
        rows.append({"metric": name, "label": label, "preview": a, "full": b, "relative": relative})
    return {"rows": rows, "same_verdict": preview["verdict"] == full["verdict"]}


def _busy(row: Busy) -> dict[str, Any]:
    return {
        "name": row.name,
        "count": row.count,
        "utilisation": row.utilisation,
        "cpu": row.cpu_mean if row.pool else row.cpu,
        "limits": row.limits,
        "occupied": (row.occupied or 0.0) > row.cpu and not row.pool,
    }


def _slo(scenario: Scenario, values: dict[str, float | None]) -> list[dict[str, Any]]:
    found = []
    for bound in scenario.slo:
        _, value = resolve(bound.metric, values)
        unit = METRIC_NAMES[bound.metric].unit if bound.metric in METRIC_NAMES else ""
        found.append(
            {
                "text": f"{bound.metric.removeprefix('latency_')} {bound.op} {number(bound.value)} {unit}".strip(),
                "ok": not bound_broken([bound], values),
                "value": value,
                "said": f"predicted {number(value)} {unit}".strip() if value is not None else "too few records to tell",
                "line_ms": bound.value if unit == "ms" and bound.metric.startswith("latency") else None,
            }
        )
    return found
