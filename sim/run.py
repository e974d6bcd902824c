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

from analysis import runs, verdict
from analysis.columns import OUTCOMES, SCHEMA_VERSION
from analysis.fingerprint import fingerprint
from analysis.metrics import window_ns
from analysis.records import chosen
from scenarios import load
from scenarios.spec import MS_NS, S_NS, Scenario
from sim import store, system
from sim.costs import Calibration
from sim.execution import Execution, LoopExecution
from sim.system import INPUT, OUTPUT, System

#: How finely the end of a drain is looked for.
_DRAIN_STEP_NS = 10 * MS_NS
SCORED, IN_FLIGHT = OUTCOMES.index("scored"), OUTCOMES.index("in_flight")

#: progress(simulated ns so far, ns in all)
Progress = Callable[[int, int], None]


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


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ns: int
    cpu_ns: list[int]
    wait_ns: list[int]
    wakeups: list[int]
    polls: list[int]
    polls_empty: list[int]
    sleeps: list[int]
    coldness: list[int]
    produce_requests: list[int]
    fetches: list[int]
    fetches_empty: list[int]


def _read(execution: Execution, at_ns: int) -> _Reading:
    threads, producers, consumers = execution.threads(), execution.producers(), execution.consumers()
    return _Reading(
        at_ns,
        [t.cpu_ns for t in threads],
        [t.wait_ns for t in threads],
        [t.wakeups for t in threads],
        [t.polls for t in threads],
        [t.polls_empty for t in threads],
        [t.sleeps for t in threads],
        [t.coldness for t in threads],
        [p.requests for p in producers],
        [c.requests for c in consumers],
        [c.empty for c in consumers],
    )


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
) -> SimResult:
    """Predicts one run.

    Args:
        scenario: What to run; its `sweep` is ignored.
        calibration: Where every cost comes from.
        backend: `loop`, or `simpy` for the reference.
        progress: Called at each simulated second.

    Raises:
        system.UnsupportedError: the scenario needs programs the simulator does not have.
        execution.SimulationError: the pipeline came to a deadlock.
    """
    began = _clocks()
    sys = system.build(scenario, calibration)
    execution = execute(sys, backend)
    laid_out = _clocks()
    due = {"created": sys.created, "sequence": np.arange(sys.records)}
    begin_ns, end_ns = window_ns(scenario, due)
    drained = scenario.workload.backlog_records > 0
    step_ns = _DRAIN_STEP_NS if drained else S_NS
    stops = sorted({*range(step_ns, sys.horizon_ns, step_ns), begin_ns, end_ns, sys.horizon_ns} - {0})
    readings = [_read(execution, 0)]
    for stop in stops:
        execution.advance(stop)
        done = execution.acked() == sys.records and stop >= sys.load_ns and (drained or stop >= end_ns)
        if done or stop % S_NS == 0 or stop in (begin_ns, end_ns, sys.horizon_ns):
            readings.append(_read(execution, stop))
            if progress:
                progress(stop, sys.horizon_ns)
        if done:
            break
    ran = _clocks()
    stamps = execution.stamps()
    records = _records(sys, stamps)
    if drained:  # a backlog is counted from the start to its last output, as in a real run
        window = (readings[0], readings[-1])
    else:
        by_time = {r.at_ns: r for r in readings}
        window = (by_time[begin_ns], by_time[end_ns])
    counters = _counters(scenario, sys, records, *window)
    judged = verdict.evaluate(scenario, records, counters)
    ended = _clocks()
    now = datetime.now(UTC)
    meta = {
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
        "append_clock": "broker",
        **judged,
        "counters": counters,
        "timing": {
            "executor": backend,
            "events": execution.events if isinstance(execution, LoopExecution) else None,
            **_spent("layout", began, laid_out),
            **_spent("simulate", laid_out, ran),
            **_spent("judge", ran, ended),
        },
    }
    return SimResult(meta, records, _host(sys, readings))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _spent(what: str, begin: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    return {f"{what}_s": end[0] - begin[0], f"{what}_cpu_s": end[1] - begin[1]}


def write(result: SimResult, root: Path) -> Path:
    """Writes a run's folder under `root`; returns it."""
    return runs.write_run(root, result.meta, result.records, result.host)


def _records(sys: System, stamps: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = dict(stamps)  # the executor is done: nothing writes to these any more
    for name in ("appended", "out_appended"):  # Kafka's append time is whole milliseconds, floored
        floored = out[name] // MS_NS
        floored *= MS_NS
        out[name] = np.maximum(floored, -1, out=floored)
    out["sequence"] = np.arange(sys.records, dtype=np.int64)
    out["duplicates"] = np.zeros(sys.records, dtype=np.int64)
    outcome = np.where(out["out_appended"] >= 0, SCORED, IN_FLIGHT).astype(np.int8)
    outcome[out["sent"] < 0] = -1
    out["outcome"] = outcome
    return out


def _counters(scenario: Scenario, sys: System, records: dict[str, Any], a: _Reading, b: _Reading) -> dict[str, Any]:
    """Counters of the window between two readings, as docs of the run format name them."""

    def over(field: str, which: list[int]) -> int:
        return int(sum(getattr(b, field)[i] - getattr(a, field)[i] for i in which))

    def threads(prefix: str) -> list[int]:
        return [i for i, t in enumerate(sys.threads) if t.name.startswith(prefix)]

    def cold(which: list[int]) -> float:
        return over("coldness", which) / 65536

    def within(column: str) -> Any:
        return (records[column] >= max(a.at_ns, 0)) & (records[column] < b.at_ns)

    in_bytes, out_bytes = sys.record_bytes
    gens = [i for i in threads("generator.") if not sys.threads[i].name.endswith("background")]
    apps, clients = list(sys.generators), [p.client for p in sys.producers if p.topic == INPUT]
    sent = int(np.count_nonzero(within("sent")))
    input_appended, output_appended = int(within("appended").sum()), int(within("out_appended").sum())
    input_producers = [k for k, p in enumerate(sys.producers) if p.topic == INPUT]
    all_consumers = list(range(len(sys.consumers)))
    collector = len(sys.consumers) - 1
    fetched = int(within("fetched").sum())
    result: dict[str, Any] = {
        "window_ns": b.at_ns - a.at_ns,
        "generator": {
            "app_cpu_ns": over("cpu_ns", apps),
            "client_cpu_ns": over("cpu_ns", clients),
            "other_cpu_ns": over("cpu_ns", threads("generator.background")),
            "run_wait_ns": over("wait_ns", gens),
            "wakeups": over("wakeups", gens),
            "app_wakeups": over("wakeups", apps),
            "client_wakeups": over("wakeups", clients),
            "app_cold": cold(apps),
            "client_cold": cold(clients),
            "sleeps": over("sleeps", apps),
            "records": sent,
            "bytes": sent * in_bytes,
            "produce_requests": over("produce_requests", input_producers),
        },
        "broker": {
            "cpu_ns": over("cpu_ns", threads("broker.")),
            "run_wait_ns": over("wait_ns", threads("broker.")),
            "wakeups": over("wakeups", threads("broker.")),
            "cold": cold(threads("broker.")),
            "produce_requests": over("produce_requests", list(range(len(sys.producers)))),
            "fetch_requests": over("fetches", all_consumers),
            "fetch_empty": over("fetches_empty", all_consumers),
            "records_in": input_appended + output_appended,
            "bytes_in": input_appended * in_bytes + output_appended * out_bytes,
            "records_out": fetched + output_appended,
            "bytes_out": fetched * in_bytes + output_appended * out_bytes,
        },
        "workers": [],
        "collector": {
            "app_cpu_ns": over("cpu_ns", threads("collector.app")),
            "consumer_cpu_ns": over("cpu_ns", threads("collector.consumer")),
            "other_cpu_ns": over("cpu_ns", threads("collector.background")),
            "run_wait_ns": over("wait_ns", threads("collector.")),
            "wakeups": over("wakeups", threads("collector.")),
            "app_wakeups": over("wakeups", threads("collector.app")),
            "consumer_wakeups": over("wakeups", threads("collector.consumer")),
            "app_cold": cold(threads("collector.app")),
            "consumer_cold": cold(threads("collector.consumer")),
            "polls": over("polls", threads("collector.app")),
            "records": output_appended,
            "bytes": output_appended * out_bytes,
            "fetch_requests": over("fetches", [collector]),
        },
        "host": {"steal_ns": 0, "other_cpu_ns": over("cpu_ns", threads("host."))},
    }
    done_by = np.bincount(chosen(records["worker"], within("score_end")), minlength=len(sys.workers))
    for w, app in enumerate(sys.workers):
        done = int(done_by[w])
        k = next(i for i, p in enumerate(sys.producers) if p.topic == OUTPUT and p.application == app)
        result["workers"].append(
            {
                "app_cpu_ns": over("cpu_ns", [app]),
                "consumer_cpu_ns": over("cpu_ns", [sys.consumers[w].client]),
                "producer_cpu_ns": over("cpu_ns", [sys.producers[k].client]),
                "other_cpu_ns": 0,
                "run_wait_ns": over("wait_ns", threads(f"worker.{w}.")),
                "wakeups": over("wakeups", threads(f"worker.{w}.")),
                "app_wakeups": over("wakeups", [app]),
                "consumer_wakeups": over("wakeups", [sys.consumers[w].client]),
                "producer_wakeups": over("wakeups", [sys.producers[k].client]),
                "consumer_cold": cold([sys.consumers[w].client]),
                "producer_cold": cold([sys.producers[k].client]),
                "polls": over("polls", [app]),
                "polls_empty": over("polls_empty", [app]),
                "records": done,
                "points": done * scenario.workload.points,
                "bytes_in": done * in_bytes,
                "bytes_out": done * out_bytes,
                "fetch_requests": over("fetches", [w]),
                "fetch_empty": over("fetches_empty", [w]),
                "produce_requests": over("produce_requests", [k]),
            }
        )
    return result


def _host(sys: System, readings: list[_Reading]) -> dict[str, Any]:
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
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * 6
    names = ("second", "kind", "name", "cpu_ns", "wait_ns", "rss_bytes")
    text = ("kind", "name")
    return {
        n: np.array(c, dtype=object) if n in text else np.array(c, dtype=np.int64)
        for n, c in zip(names, columns, strict=True)
    }
