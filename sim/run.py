"""One simulated run: what `python -m sim run` does, and the same files a real run writes.

The control plane advances the executor to each whole second, reads the counters there, and ends the run when every
record is answered or the drain is over.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from analysis import busy, runs, verdict
from analysis.columns import OUTCOMES, SCHEMA_VERSION
from analysis.fingerprint import fingerprint
from analysis.window import Cut, after, edges_ns, window_ns
from scenarios import load
from scenarios.spec import MS_NS, S_NS, Scenario
from sim import operations as op
from sim import store, system
from sim.costs import Calibration
from sim.counters import Reading, Window, counters, read
from sim.execution import Execution, LoopExecution, ModelsReading
from sim.stages import stages
from sim.system import Int64s, System

#: How finely the end of a drain is looked for.
_DRAIN_STEP_NS = 10 * MS_NS
SCORED, IN_FLIGHT = OUTCOMES.index("scored"), OUTCOMES.index("in_flight")

_LOST = ((op.DROPPED, "dropped_queue"), (op.LATE, "expired"), (op.NO_MODEL, "dropped_no_model"), (op.BAD, "bad"))

#: progress(simulated ns so far, ns in all)
Progress = Callable[[int, int], None]
Observe = Callable[[Window], None]


@dataclass(frozen=True, slots=True)
class SimResult:
    """A simulated run in memory: `meta` is the object of run.json, `records` and `host` are columns."""

    meta: dict[str, Any]
    records: dict[str, Any]
    host: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float | None]:
        """The run's metrics by name."""
        return dict(self.meta["metrics"])


def execute(sys: System, backend: str = "loop") -> Execution:
    """An executor of the system: `loop` (compiled) or `simpy` (the readable reference)."""
    if backend == "simpy":
        from sim.reference import ReferenceExecution

        return ReferenceExecution(sys)
    return LoopExecution(sys)


def simulate(
    scenario: Scenario,
    calibration: Calibration,
    *,
    backend: str = "loop",
    progress: Progress | None = None,
    host: bool = True,
    observe: Observe | None = None,
) -> SimResult:
    """Predicts one run.

    Args:
        scenario: What to run; its `sweep` is ignored.
        calibration: Where every cost comes from.
        backend: `loop`, or `simpy` for the reference.
        progress: Called at each simulated second.
        host: Whether `host` of the result is wanted; without it nothing is read from second to second.
        observe: Called once with the window that the counters are of, for what run.json does not keep of it.

    Raises:
        system.UnsupportedError: the scenario needs programs the simulator does not have.
        execution.SimulationError: the pipeline came to a deadlock.
    """
    began = clocks()
    sys = system.build(scenario, calibration)
    execution = execute(sys, backend)
    laid_out = clocks()
    due = {"created": sys.created, "sequence": np.arange(sys.records)}
    begin_ns, end_ns = window_ns(after(scenario, Cut("", 0)), due)  # a warm-up that is to be found begins as none
    drained = scenario.workload.backlog_records > 0
    step_ns = _DRAIN_STEP_NS if drained else S_NS
    edges = set(edges_ns(scenario, due))
    stops = sorted({*range(step_ns, sys.horizon_ns, step_ns), begin_ns, end_ns, sys.horizon_ns, *edges} - {0})
    readings = [read(execution, 0)]
    for stop in stops:
        execution.advance(stop)
        done = execution.acked() == sys.records and stop >= sys.load_ns and (drained or stop >= end_ns)
        if done or (host and stop % S_NS == 0) or stop in (begin_ns, end_ns, sys.horizon_ns) or stop in edges:
            readings.append(read(execution, stop))
            if progress:
                progress(stop, sys.horizon_ns)
        if done:
            break
    ran = clocks()
    stamps = execution.stamps()
    models = execution.models()
    records = columns(sys, stamps, execution.lost(), models)
    if drained:  # a backlog is counted from the start to its last output, as in a real run
        window = (readings[0], readings[-1])
    else:
        begin_ns = window_ns(scenario, records)[0]
        before = [r for r in readings if r.at_ns < end_ns] or readings
        # Counters begin where they were first read in the window: at its very begin, but for the rule first-quarter.
        begin = next((r for r in before if r.at_ns >= begin_ns), before[-1])
        window = (begin, next(r for r in readings if r.at_ns == end_ns))
    of = Window(sys, records, *window)
    counted = counters(scenario, of)
    if observe:
        observe(of)
    if any(service.name for service in sys.services):
        counted["stages"] = stages(execution, *window)
    held = busy.occupied(records, len(sys.workers), window[1].at_ns - window[0].at_ns)
    judged = verdict.evaluate(scenario, records, counted, busiest=bottleneck(sys, window, held))
    ended = clocks()
    now = datetime.now(UTC)
    meta = {
        **described(scenario, calibration, sys, now),
        **judged,
        "counters": counted,
        **_model_stream(scenario, execution, records, int(now.timestamp() * 1000)),
        "timing": {
            "executor": backend,
            "events": execution.events if isinstance(execution, LoopExecution) else None,
            **spent("layout", began, laid_out),
            **spent("simulate", laid_out, ran),
            **spent("judge", ran, ended),
        },
    }
    return SimResult(meta, records, host_columns(sys, readings) if host else {})


def described(scenario: Scenario, calibration: Calibration, sys: System, now: datetime) -> dict[str, Any]:
    """What run.json says of a run beside its results."""
    return {
        "schema": SCHEMA_VERSION,
        "id": runs.new_run_id(scenario.name, "sim", now),
        "name": scenario.name,
        "backend": "sim",
        "started": now.isoformat(timespec="seconds"),
        "start_epoch_ms": int(now.timestamp() * 1000),
        "scenario": load.resolved(scenario),
        "seed": scenario.workload.seed,
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "fingerprint": fingerprint(),
        "calibration": store.trust(scenario, calibration),
        "append_clock": "broker" if sys.broker_threads else "collector",
        "notes": list(sys.notes),
    }


def bottleneck(sys: System, window: tuple[Reading, Reading], held: dict[int, float]) -> dict[str, Any]:
    """The busiest part, of all threads and hosts that the simulator has; `held` is of `busy.occupied`."""
    from sim.explain_parts import between
    from sim.explain_parts import bottleneck as busiest

    found = busiest(between(sys, *window, {sys.workers[w]: share for w, share in held.items()}))
    return {"name": found.name, "utilisation": min(1.0, found.utilisation)}


def _model_stream(scenario: Scenario, execution: Execution, records: dict[str, Any], start_ms: int) -> dict[str, Any]:
    """What became of models, where they change."""
    if scenario.model_stream is None:
        return {}
    from sim import model_stream

    return {"model_stream": model_stream.told(scenario, scenario.model_stream, execution, records, start_ms)}


def clocks() -> tuple[float, float]:
    """Time and CPU time, seconds."""
    return time.perf_counter(), time.process_time()


def spent(what: str, begin: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    """Of `timing` in run.json: what lies between two readings of `clocks`."""
    return {f"{what}_s": end[0] - begin[0], f"{what}_cpu_s": end[1] - begin[1]}


def write(result: SimResult, root: Path) -> Path:
    """Writes a run's folder under `root`; returns it."""
    return runs.write_run(root, result.meta, result.records, result.host)


def columns(
    sys: System, stamps: dict[str, Any], lost: Int64s, models: ModelsReading | None = None, first: int = 0
) -> dict[str, Any]:
    """records.parquet: of records from sequence `first` on, which nothing writes to any more."""
    out: dict[str, Any] = dict(stamps)
    count = len(out["created"])
    if not sys.broker_threads:
        out["partition"] = np.full(count, -1, dtype=np.int64)
    for name in ("appended", "out_appended") if sys.broker_threads else ():  # whole milliseconds, floored
        floored = out[name] // MS_NS
        floored *= MS_NS
        out[name] = np.maximum(floored, -1, out=floored)
    out["sequence"] = np.arange(first, first + count, dtype=np.int64)
    out["duplicates"] = models.duplicates if models else np.zeros(count, dtype=np.int64)
    outcome = np.where(out["out_appended"] >= 0, SCORED, IN_FLIGHT).astype(np.int8)
    for how, word in _LOST:
        outcome[lost == how] = OUTCOMES.index(word)
    outcome[out["sent"] < 0] = -1
    out["outcome"] = outcome
    return out


def host_columns(sys: System, readings: list[Reading]) -> dict[str, Any]:
    """host.parquet: per second, CPU and run-queue wait of each process, and CPU of each host's cores together."""
    whole = [r for r in readings if r.at_ns % S_NS == 0]
    rows: list[tuple[int, str, str, int, int, int]] = []
    processes = list(dict.fromkeys(t.process for t in sys.threads))
    for a, b in pairwise(whole):
        second = a.at_ns // S_NS
        for process in processes:
            mine = [i for i, t in enumerate(sys.threads) if t.process == process]
            cpu, wait = (sum(getattr(b, f)[i] - getattr(a, f)[i] for i in mine) for f in ("cpu_ns", "wait_ns"))
            rows.append((second, "process", process, cpu, wait, -1))
        for h, host in enumerate(sys.hosts):
            used = sum(b.cpu_ns[i] - a.cpu_ns[i] for i, t in enumerate(sys.threads) if t.host == h)
            for core in range(min(host.cores, 256)):
                share = used // host.cores
                rows.append(
                    (second, "core", str(core) if len(sys.hosts) == 1 else f"{host.name}.{core}", share, -1, -1)
                )
    values: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 6
    names = ("second", "kind", "name", "cpu_ns", "wait_ns", "rss_bytes")
    text = ("kind", "name")
    return {
        n: np.array(c, dtype=object) if n in text else np.array(c, dtype=np.int64)
        for n, c in zip(names, values, strict=True)
    }
