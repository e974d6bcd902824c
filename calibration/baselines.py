"""What one would predict without a simulator, from the same measured runs.

- constant service: an M/M/c queue whose service time is one over the drain throughput of one worker, and whose CPU per
  record is that of the drain, whatever the load.
- straight line: every metric on the line through the two measured rates nearest to the one asked for; a backlog drains
  in proportion to the workers.
- last value: what was measured at the nearest rate (or draining), whatever the workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = ("constant service", "straight line", "last value")
_DRAIN = "drain_throughput_per_s"
#: Metrics of a run that a calibration keeps for these.
KEPT = (
    "throughput_per_s",
    _DRAIN,
    "cpu_us_per_record_engine",
    "cpu_us_per_record_broker",
    "latency_acked_ms_p50",
    "latency_acked_ms_p95",
    "latency_acked_ms_p99",
)
_QUANTILES = {"latency_acked_ms_p50": 0.5, "latency_acked_ms_p95": 0.95, "latency_acked_ms_p99": 0.99}

Seen = Sequence[Mapping[str, Any]]
Found = dict[str, float]


def seen(runs: Sequence[Any]) -> list[dict[str, Any]]:
    """Of a profile's runs what the baselines need: the base drained, and its paced rates.

    Args:
        runs: `calibration.profiles.ProfileRun`s.
    """
    kept = []
    for run in runs:
        kind = run.name.rpartition(".")[0]
        if kind != "drain" and not kind.startswith("rate-"):
            continue
        metrics = run.meta["metrics"]
        rate = None if run.drained else run.scenario.workload.arrival.rate_per_s
        kept.append(
            {
                "rate_per_s": rate,
                "parallelism": run.scenario.engine.parallelism,
                "metrics": {k: metrics[k] for k in KEPT if metrics.get(k) is not None},
            }
        )
    return kept


def predict(runs: Seen, rate_per_s: float | None, parallelism: int) -> dict[str, Found]:
    """Baseline -> metric -> value, as far as each has one.

    Args:
        runs: Of `seen`.
        rate_per_s: The rate asked for; None for a backlog drained.
        parallelism: Workers asked for.
    """
    drained = [r for r in runs if r["rate_per_s"] is None]
    paced = sorted((r for r in runs if r["rate_per_s"] is not None), key=lambda r: float(r["rate_per_s"]))
    found: dict[str, Found] = {name: {} for name in NAMES}
    if drained:
        found["constant service"] = _constant(drained[0], rate_per_s, parallelism)
    if rate_per_s is None:
        if drained:
            metrics, workers = dict(drained[0]["metrics"]), drained[0]["parallelism"]
            found["last value"] = metrics
            if _DRAIN in metrics:
                found["straight line"] = {**metrics, _DRAIN: metrics[_DRAIN] * parallelism / workers}
        return found
    if paced:
        nearest = min(paced, key=lambda r: abs(math.log(r["rate_per_s"] / rate_per_s)))
        found["last value"] = dict(nearest["metrics"])
    if len(paced) > 1:
        found["straight line"] = _line(paced, rate_per_s)
    return found


def _line(paced: Seen, rate: float) -> Found:
    a, b = sorted(paced, key=lambda r: abs(r["rate_per_s"] - rate))[:2]
    x, y = float(a["rate_per_s"]), float(b["rate_per_s"])
    if x == y:
        return dict(a["metrics"])
    share = (rate - x) / (y - x)
    names = [name for name in a["metrics"] if name in b["metrics"]]
    found = {name: a["metrics"][name] + share * (b["metrics"][name] - a["metrics"][name]) for name in names}
    return {name: max(0.0, value) for name, value in found.items()}


def _constant(drained: Mapping[str, Any], rate: float | None, workers: int) -> Found:
    metrics = drained["metrics"]
    served = metrics.get(_DRAIN)
    if not served:
        return {}
    each = served / drained["parallelism"]
    found = {name: metrics[name] for name in metrics if name.startswith("cpu_")}
    if rate is None:
        return {**found, _DRAIN: each * workers}
    found["throughput_per_s"] = min(rate, each * workers)
    if rate < each * workers:
        found |= {name: 1e3 * response_s(rate, each, workers, q) for name, q in _QUANTILES.items()}
    return found


def response_s(rate: float, served: float, servers: int, quantile: float) -> float:
    """A quantile of the time in an M/M/c system, s.

    P(T > t) = (1 - C) e^(-mu t) + C [(c mu - lambda) e^(-mu t) - mu e^(-(c mu - lambda) t)] / (c mu - lambda - mu),
    C being Erlang's probability of waiting: a record that waits does so exponentially, and is then served.

    Args:
        rate: Records a second, below `served * servers`.
        served: Records a second of one server.
        servers: How many.
        quantile: In (0, 1).
    """
    load = rate / served
    term = total = 1.0
    for k in range(1, servers):
        term *= load / k
        total += term
    last = term * load / servers / (1 - load / servers)
    waits = last / (total + last)
    free = servers * served - rate

    def beyond(t: float) -> float:
        alone = math.exp(-served * t)
        if abs(free - served) < 1e-9 * served:
            both = (1 + served * t) * alone
        else:
            both = (free * alone - served * math.exp(-free * t)) / (free - served)
        return (1 - waits) * alone + waits * both

    low, high = 0.0, 1.0 / served
    while beyond(high) > 1 - quantile:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > 1 - quantile else (low, middle)
    return high
