"""One cell, measured once: replicas started and warmed, then every measurement that was asked for, then gone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from real.profiler import judge
from real.profiler.convergence import FEWEST, SKIPPED, State, by_queue
from real.profiler.fleet import Fleet
from real.profiler.grid import NO_RUNTIME, Cell
from real.profiler.noise import Beside, Floor, block_rates, percentile_interval
from real.profiler.open_loop import Open, open_loop
from real.profiler.search import Step, search
from real.profiler.service import Batches, full_batches
from real.profiler.trials import Trial, length, trials

if TYPE_CHECKING:
    from real.processes import Supervisor

Tell = Callable[[str], None]
Int64s = npt.NDArray[np.int64]

#: Share of an open-loop run that is left out at its start: the queue is empty then.
_SKIP = 0.1
#: Requests answered of those sent, below which a queue grows.
_ANSWERED = 0.9
_QUANTILES = np.linspace(0.0, 1.0, 17)
_PERCENTILES = (50, 90, 95, 99)


def measure(cell: Cell, supervisor: Supervisor, models: Path, floor: Floor, tell: Tell) -> dict[str, Any]:
    """Measures a cell once.

    Args:
        cell: What.
        supervisor: Starts the replicas.
        models: Folder of model files.
        floor: What the harness itself costs.
        tell: Told of each step.

    Returns:
        One repeat of a cell's result, for JSON; under `_runs` the open-loop runs, by measurement.

    Raises:
        HarnessError: A replica died, did not become ready, or is not on its cores.
    """
    asked = cell.asked
    tell("starting replicas")
    runtime = "onnx" if cell.runtime == NO_RUNTIME else cell.runtime
    with Fleet(
        supervisor,
        cell.model,
        runtime,
        batch=cell.batch,
        cores=cell.cores,
        devices=cell.devices,
        models=models,
        seed=asked.seed,
    ) as fleet:
        tell("warming up")
        warm = fleet.warm(cell.batch, asked.warmup_s)
        found: dict[str, Any] = {
            "started_s": fleet.started_s,
            "load_s": [ready["load_ns"] / 1e9 for ready in fleet.ready],
            "versions": fleet.ready[0]["versions"],
            "affinity": [list(cores) for cores in fleet.affinity],
            "warm": warm,
            "_runs": {},
        }
        capacity = sum(cell.batch / (each["batch_ms"] / 1e3) for each in warm)
        for name in [name for name in _MEASUREMENTS if name in asked.measures]:
            tell(name)
            before = fleet.cpu_ns()
            beside = Beside(sum(before))
            began = time.monotonic()
            with fleet.watched():
                own = _MEASUREMENTS[name](cell, fleet, capacity, floor, found)
            after = fleet.cpu_ns()
            own["lasted_s"] = time.monotonic() - began
            own["replica_cpu_s"] = [(b - a) / 1e9 for a, b in zip(before, after, strict=True)]
            own["beside"] = asdict(beside.told(sum(after)))
            found[name] = own
            if name == "service":
                capacity = own["throughput_per_s"]
        return found


def _service(cell: Cell, fleet: Fleet, capacity: float, floor: Floor, found: dict[str, Any]) -> dict[str, Any]:
    del capacity
    batch_ns = [each["batch_ms"] * 1e6 for each in found["warm"]]
    got = full_batches(fleet.links, cell.batch, cell.asked.duration_s, batch_ns)
    judged = judge.full_batches(got, cell.replicas)
    took = got.took.astype(np.float64)
    return {
        "batches": len(took),
        "wall_s": got.wall_s,
        "throughput_per_s": sum(got.rates_per_s(cell.replicas)) * cell.batch,
        "capacity_per_s": _capacity(got, cell),
        "batch_ms": _spread(took / 1e6),
        "batch_cpu_ms": {"mean": float(got.cpu.mean()) / 1e6, "p50": float(np.median(got.cpu)) / 1e6},
        "quantiles_ns": [float(q) for q in np.quantile(took, _QUANTILES)],
        "cpu_quantiles_ns": [float(q) for q in np.quantile(got.cpu, _QUANTILES)],
        "by_replica": [_of_replica(got, k) for k in range(cell.replicas)],
        "busy": got.busy(cell.replicas),
        "starved": got.starved(cell.replicas),
        "blocks_per_s": [rate * cell.batch for rate in block_rates(got.ended)],
        "floor_share": (floor.batch_ns + floor.between_ns) / max(1.0, float(np.median(took))),
        "verdict": judged.verdict,
        "reason": judged.reason,
    }


def _capacity(got: Batches, cell: Cell) -> float:
    """R.B/t(B) with each replica's own mean."""
    own = [got.took[got.replica == k] for k in range(cell.replicas)]
    return float(sum(cell.batch / (took.mean() / 1e9) for took in own if len(took)))


def _of_replica(got: Batches, k: int) -> dict[str, Any]:
    own = got.took[got.replica == k]
    return {"batches": len(own), "mean_ms": float(own.mean()) / 1e6 if len(own) else None}


def _latency(cell: Cell, fleet: Fleet, capacity: float, floor: Floor, found: dict[str, Any]) -> dict[str, Any]:
    asked = cell.asked
    rate = asked.rate_per_s or asked.load * capacity
    limited = asked.rate_per_s is None and rate > floor.most_per_s
    rate = floor.most_per_s if limited else rate
    run = open_loop(fleet.links, _due(cell, rate), cell.batch, duration_s=asked.duration_s)
    found["_runs"]["latency"] = run
    return {**_open(cell, run, rate), "limited_by_driver": limited}


def _overload(cell: Cell, fleet: Fleet, capacity: float, floor: Floor, found: dict[str, Any]) -> dict[str, Any]:
    del floor
    rate = cell.asked.overload * capacity
    run = open_loop(fleet.links, _due(cell, rate), cell.batch, duration_s=cell.asked.duration_s)
    found["_runs"]["overload"] = run
    from real.profiler.dump import TRIAL, rises

    p99s = [each.p99_ms for each in trials(run, max(TRIAL, cell.batch))]
    found = _open(cell, run, rate)
    return {
        **found,
        "slope": slope(run),
        "slope_expected": 1 - capacity / rate,
        "slope_as_run": 1 - found["throughput_per_s"] / rate if found["throughput_per_s"] else None,
        "p99_rises": rises(p99s),
    }


def _search(cell: Cell, fleet: Fleet, capacity: float, floor: Floor, found: dict[str, Any]) -> dict[str, Any]:
    del floor, found

    got = search(cell.asked.start_per_s or capacity, lambda rate: tried(cell, fleet, rate))
    return {
        "rate_per_s": got.rate_per_s,
        "reason": got.reason,
        "start_per_s": cell.asked.start_per_s or capacity,
        "steps": [
            {"rate_per_s": s.rate_per_s, "state": s.state.value, "client_bound": s.client_bound} for s in got.steps
        ],
        "verdict": judge.CLIENT_BOUND if got.reason == "client-bound" else judge.STEADY,
    }


def tried(cell: Cell, fleet: Fleet, rate_per_s: float) -> Step:
    """Offers a rate and says whether the replicas keep up."""
    run, series = offered(cell, fleet, rate_per_s)
    state = by_queue(series, cell.batch, judge.busy(run, cell.replicas))
    counts = run.accounting()
    if state is State.UNKNOWN and len(series) < FEWEST:  # too few trials for a test
        if counts["scored"] < _ANSWERED * counts["sent"]:
            state = State.INCREASING  # because too little was answered
        elif counts["in_queue"] <= cell.batch * cell.replicas:
            state = State.LOW  # because so little was asked
    return Step(rate_per_s, state, judge.late(run) > judge.LATE_SHARE)


def offered(cell: Cell, fleet: Fleet, rate_per_s: float) -> tuple[Open, list[Trial]]:
    """Offers a rate until there are enough trials to judge it, or for the cell's duration."""
    asked = cell.asked
    enough = FEWEST + SKIPPED
    # A rate far below the capacity would take for ever to fill the usual trials.
    each = max(10, min(asked.trial or length(cell.batch), int(rate_per_s * asked.duration_s / (enough + 1))))
    run = open_loop(
        fleet.links,
        _due(cell, rate_per_s),
        cell.batch,
        duration_s=asked.duration_s,
        heard=lambda _at, answered: answered >= (enough + 1) * each,
    )
    return run, trials(run, each)


def _due(cell: Cell, rate_per_s: float) -> Int64s:
    from scenarios.arrivals import evenly

    asked = cell.asked
    length_ns = int(asked.duration_s * 1e9)
    if asked.arrival == "constant":
        return evenly(rate_per_s, length_ns)
    rng = np.random.default_rng([asked.seed, 0xA9])
    count = rate_per_s * asked.duration_s
    gaps = rng.exponential(1e9 / rate_per_s, int(count + 10 * math.sqrt(count) + 10))
    times = np.cumsum(gaps).astype(np.int64)
    return times[times < length_ns]


def _open(cell: Cell, run: Open, rate: float) -> dict[str, Any]:
    skip_ns = int(_SKIP * cell.asked.duration_s * 1e9)
    usual = cell.asked.trial or length(cell.batch)
    scored = run.accounting()["scored"]
    series = trials(run, max(10, min(usual, scored // (FEWEST + SKIPPED + 1))), skip_s=skip_ns / 1e9)
    judged = judge.open_loop(run, series, cell.batch, cell.replicas, rate)
    of = (run.done >= 0) & (run.due >= skip_ns)
    latency_ms = (run.done - run.due)[of] / 1e6
    late_ms = (run.sent - run.due)[run.sent >= 0] / 1e6
    p99 = percentile_interval(latency_ms, 99) if len(latency_ms) >= 100 else None
    done = run.done[of]
    span_s = (int(done.max()) - int(done.min())) / 1e9 if len(done) > 1 else 0.0
    return {
        "offered_per_s": rate,
        "throughput_per_s": (len(done) - 1) / span_s if span_s else None,
        "accounting": run.accounting(),
        "latency_ms": _spread(latency_ms) if len(latency_ms) else None,
        "p99_interval_ms": p99,
        "batch_mean": float(run.sizes.mean()) if len(run.sizes) else None,
        "queue_mean": float(run.queue.mean()) if len(run.queue) else None,
        "busy": judge.busy(run, cell.replicas, skip_ns),
        "late_share": judge.late(run),
        "late_p99_ms": float(np.percentile(late_ms, 99)) if len(late_ms) else None,
        "trials": [asdict(trial) for trial in series],
        "verdict": judged.verdict,
        "reason": judged.reason,
    }


def slope(run: Open) -> float | None:
    """By how much latency grows for each second of completions, the first tenth left out."""
    done = run.done >= 0
    at, latency = run.done[done] / 1e9, (run.done - run.due)[done] / 1e9
    of = at >= _SKIP * at.max() if len(at) else np.zeros(0, bool)
    if np.count_nonzero(of) < 10:
        return None
    return float(np.polyfit(at[of], latency[of], 1)[0])


def _spread(values: npt.NDArray[np.float64]) -> dict[str, float]:
    found = {"mean": float(values.mean()), "std": float(values.std())}
    found |= {"min": float(values.min()), "max": float(values.max())}
    return found | {f"p{q}": float(np.percentile(values, q)) for q in _PERCENTILES}


_MEASUREMENTS: dict[str, Callable[[Cell, Fleet, float, Floor, dict[str, Any]], dict[str, Any]]] = {
    "service": _service,
    "latency": _latency,
    "overload": _overload,
    "search": _search,
}
