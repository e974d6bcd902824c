"""What Crayfish says of a run: the first quarter of the outputs is cut, throughput counts outputs, latency is a mean.

The protocol: a run ends after 1 M records or 900 s; its outputs are listed in the order they arrive, and the first
quarter of the list is its warm-up.  Throughput is n / (last end - first end), achieved rate n / (last start - first
start) and latency the mean of end - start over what is kept.  A start is the instant a record was sent, after the rate
limiter let it pass; its end is the append time on the output topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.metrics import Metrics
from analysis.records import Columns
from scenarios.spec import MS_NS, S_NS, Scenario

WARM_UP_SHARE = 4  # one in so many
NAMES = ("throughput_per_s", "latency_mean_ms", "achieved_rate_per_s", "kept")


def protocol(records: Columns) -> Metrics:
    """Crayfish's measures of a run's records.

    Args:
        records: Columns of records.parquet, ns; of them `sent` and `out_appended` are read.

    Returns:
        `throughput_per_s`, `latency_mean_ms`, `achieved_rate_per_s` (None where they have no value), `kept` records.
    """
    start, end = np.asarray(records["sent"]), np.asarray(records["out_appended"])
    out = np.flatnonzero((end >= 0) & (start >= 0))
    kept = out[np.argsort(end[out], kind="stable")][len(out) // WARM_UP_SHARE :]
    start, end = start[kept], end[kept]
    n = len(kept)
    return {
        "throughput_per_s": _rate(n, end),
        "latency_mean_ms": (float((end - start).mean()) + _floored(end)) / MS_NS if n else None,
        "achieved_rate_per_s": _rate(n, start),
        "kept": float(n),
    }


def labels(scenario: Scenario) -> dict[str, Any]:
    """Crayfish's words for what was run: engine, tool, model, mr, batch_size and rate."""
    engine = scenario.engine
    kind = engine.kind
    if kind == "flink" and not engine.chained:
        sources, sinks = (n or scenario.broker.partitions for n in (engine.source_parallelism, engine.sink_parallelism))
        kind = f"flink-{sources}-n-{sinks}"
    return {
        "engine": kind,
        "tool": scenario.serving.runtime,
        "model": scenario.model.label,
        "mr": engine.parallelism,
        "batch_size": scenario.workload.points,
        "rate": scenario.workload.arrival.rate_per_s,
    }


def summary(scenario: Scenario, repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys a sweep tells of one point: its labels, and plain means over the repeats, as Crayfish has them."""
    found: dict[str, Any] = labels(scenario)
    for name in NAMES:
        values = [repeat[name] for repeat in repeats]
        found[name] = None if None in values else float(np.mean(values))
    return found


def _floored(end: Any) -> float:
    """What whole milliseconds lost on average, ns: Crayfish floors both clocks, here only a broker's is floored."""
    return 0.0 if (end % MS_NS).any() else MS_NS / 2


def _rate(n: int, at_ns: Any) -> float | None:
    span = int(at_ns.max() - at_ns.min()) if n else 0
    return n * S_NS / span if span else None
