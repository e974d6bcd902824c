"""A run in the form of Clipper's metrics, for tools that read those; numbers are numbers here.

Names, units, the rank formula of percentiles and the moving averages are Clipper's; what it has and this harness has
not (a cloud, a cache) is null or 0.  Its sanity rule comes along: in a saturated run the 99th percentile rises from one
trial to the next, or the client was the bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from real.profiler.grid import Cell
from real.profiler.open_loop import Open
from real.profiler.trials import trials

Floats = npt.NDArray[np.float64]

#: Completions of a trial of the client.
TRIAL = 50
#: Samples a histogram keeps.
RESERVOIR = 32_768
TICK_S, MINUTES = 5.0, (1, 5, 15)
VERSION = "1"
#: A fall of the percentile by less than that share of its whole rise is noise.
_FALL = 0.02


def dump(cell: Cell, run: Open, values: int) -> dict[str, Any]:
    """Clipper's metrics of an open-loop run.

    Args:
        cell: What was measured.
        run: How it went.
        values: Values of one input.

    Returns:
        `client_metrics`, `node_configs`, `clipper_metrics`, ready for JSON.
    """
    return {
        "client_metrics": _client(cell, run),
        "node_configs": [_node(cell, values)],
        "clipper_metrics": _server(cell.model.name, cell.asked.seed, run),
    }


def _client(cell: Cell, run: Open) -> dict[str, list[float]]:
    series = trials(run, max(TRIAL, cell.batch))
    return {
        "thrus": [each.throughput_per_s for each in series],
        "p99_lats": [each.p99_ms / 1e3 for each in series],
        "mean_lats": [each.mean_ms / 1e3 for each in series],
        "mean_batch_sizes": [each.batch for each in series],
        "mean_queue_sizes": [each.queue for each in series],
    }


def _node(cell: Cell, values: int) -> dict[str, Any]:
    gpus = [device.name for device in cell.devices if device.name != "cpu"]
    absent = ("cloud", "model_image", "slo", "remote_addr", "instance_type", "no_diverge")
    return {
        "name": cell.model.name,
        "input_type": "floats",
        "input_size": values,
        "allocated_cpus": [core for cores in cell.cores for core in cores],
        "cpus_per_replica": cell.cpus,
        "gpus": gpus,
        "gpus_per_replica": 1 if gpus else 0,
        "batch_size": cell.batch,
        "num_replicas": cell.replicas,
        "use_nvidia_docker": False,
        **dict.fromkeys(absent),
    }


def _server(name: str, seed: int, run: Open) -> dict[str, Any]:
    done = run.done[run.done >= 0]
    requests = np.concatenate([np.arange(f, f + s) for f, s in zip(run.first, run.sizes, strict=True)] or [done[:0]])
    queued = np.repeat(run.dispatched, run.sizes) - run.sent[requests]
    model = f"model:{name}:{VERSION}"
    us = "microseconds"
    histograms = {
        "internal:rpc_request_queueing_delay": (us, queued / 1e3),
        f"app:{name}:prediction_latency": (us, (run.done - run.sent)[run.done >= 0] / 1e3),
        f"{model}:prediction_latency": (us, (run.done[run.first] - run.dispatched) / 1e3),
        f"{model}:batch_size": ("queries", run.sizes.astype(np.float64)),
        f"{model}:queue_size": ("queries", run.queue.astype(np.float64)),
    }
    metered = meter(np.sort(done) / 1e9, run.lasted_ns / 1e9)
    meters = ("internal:aggregate_model_throughput", f"app:{name}:prediction_throughput")
    counts = ("internal:aggregate_num_predictions", f"app:{name}:num_predictions", f"{model}:num_predictions")
    ratios = (f"app:{name}:default_prediction_ratio", f"{model}:cache_hit_ratio")
    return {
        "histograms": [{key: histogram(unit, values, seed)} for key, (unit, values) in histograms.items()],
        "meters": [{key: metered} for key in (*meters, f"{model}:prediction_throughput")],
        "ratio_counters": [{key: {"ratio": 0.0}} for key in ratios],
        "counters": [{key: {"count": len(done)}} for key in counts],
    }


def histogram(unit: str, values: Floats, seed: int = 0) -> dict[str, Any]:
    """Clipper's histogram: a reservoir, the population's deviation, percentiles by its rank formula."""
    x = np.asarray(values, np.float64)
    if len(x) > RESERVOIR:
        x = np.random.default_rng([seed, 0xD0]).choice(x, RESERVOIR, replace=False)
    if not len(x):
        return {"unit": unit, "size": 0} | dict.fromkeys(("min", "max", "mean", "std_dev", "p50", "p95", "p99"))
    found = {"unit": unit, "size": len(x), "min": float(x.min()), "max": float(x.max())}
    found |= {"mean": float(x.mean()), "std_dev": float(x.std())}
    ordered = np.sort(x)
    return found | {f"p{round(100 * q)}": ranked(ordered, q) for q in (0.50, 0.95, 0.99)}


def ranked(ordered: Floats, q: float) -> float:
    """A percentile at rank q (n + 1), within 1 to n, between neighbours in proportion."""
    n = len(ordered)
    rank = min(max(q * (n + 1), 1.0), float(n))
    below = math.floor(rank)
    low = float(ordered[below - 1])
    return low if below == n else low + (rank - below) * (float(ordered[below]) - low)


def meter(at_s: Floats, lasted_s: float) -> dict[str, Any]:
    """Clipper's meter: events over the time since it was made, and moving averages that tick each 5 s.

    Args:
        at_s: When events were, ascending, since the meter was made.
        lasted_s: When it is read.
    """
    ticks = int(lasted_s / TICK_S)
    counts, _ = np.histogram(at_s, bins=np.arange(ticks + 1) * TICK_S) if ticks else (np.zeros(0), None)
    found: dict[str, Any] = {"unit": "events per second", "rate": len(at_s) / lasted_s if lasted_s else 0.0}
    for minutes in MINUTES:
        weight, rate = 1 - math.exp(-TICK_S / (60 * minutes)), 0.0
        for count in counts:
            rate += weight * (float(count) / TICK_S - rate)
        found[f"rate_{minutes}min"] = rate
    return found


def rises(p99s: Sequence[float | str]) -> bool | None:
    """Whether the 99th percentile rises from trial to trial to the end; None of fewer than three trials.

    Args:
        p99s: Of each trial; Clipper's own files have numbers as text.
    """
    x = np.array([float(each) for each in p99s])
    if len(x) < 3:
        return None
    whole = float(x[-1] - x[0])
    return whole > 0 and bool((np.diff(x) >= -_FALL * whole).all())


def broken(found: Mapping[str, Any]) -> list[str]:
    """What a dump of a saturated run should not look like, in words; empty where it is sound.

    Args:
        found: A dump, of this harness or of Clipper's.
    """
    client, told = found["client_metrics"], []
    risen = rises(client["p99_lats"])
    if risen is None:
        told.append("fewer than three trials: nothing can be told")
    elif not risen:
        told.append("p99 does not rise all through: the client was the bottleneck, or the server kept up")
    sizes = [float(size) for size in client.get("mean_batch_sizes", ())]
    full = float(found["node_configs"][0]["batch_size"])
    later = sizes[len(sizes) // 2 :]
    if later and sum(later) / len(later) < 0.85 * full:
        told.append(f"batches are {sum(later) / len(later):.3g} of {full:g} on average: the server was not saturated")
    return told
