"""Writes a run: its columns merged, its counters, its verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.fingerprint import fingerprint
from analysis.runs import RunWriter, new_run_id
from analysis.verdict import evaluate
from real import gc_logs
from real.brokers.base import Broker
from real.cast import append_clock
from real.counters import Window
from real.fingerprint import versions
from real.life import Ending, Life
from real.merge import merge
from real.model_stream.result import counters as counters_of_models
from real.plan import Plan
from scenarios.load import resolved
from scenarios.spec import MS_NS, Scenario


def _records(plan: Plan, life: Life, ending: Ending, producers: int, workers: int) -> dict[str, Any]:
    generators = [life.rows(f"generator.{i}") for i in range(producers)]
    own = [life.rows(f"worker.{i}") for i in range(workers)]
    outputs = life.rows("collector")
    if life.cast.engine.brokerless:
        from real.engines.standalone_way import records

        return records(plan.due, ending.t0_ns, plan.backlog, generators, own, outputs, ending.committed)
    return merge(plan.due, plan.partition, plan.backlog, ending.t0_ns, generators, own, outputs, ending.committed)


def write(root: Path, scenario: Scenario, plan: Plan, life: Life, ending: Ending, broker: Broker) -> Path:
    """Writes a run's folder.

    Returns:
        The folder: `<id>`, or `<id>.partial` for one that was interrupted.

    Raises:
        RunError: It cannot be written.
    """
    workload, workers = scenario.workload, len(life.cast.workers)
    records = _records(plan, life, ending, workload.producers, workers)
    counters: dict[str, Any] = {}
    if ending.begin is not None and ending.end is not None:
        counters = Window(ending.begin, ending.end, ending.roles, life.cast.hosts).counters(workload.producers, workers)
        if facts := life.cast.engine.facts(scenario):
            counters["engine"] = {**facts, **counters.get("engine", {})}
    start = datetime.fromtimestamp(ending.t0_ns / 1e9, UTC)
    meta: dict[str, Any] = {
        "name": scenario.name,
        "backend": "real",
        "started": start.isoformat(timespec="milliseconds"),
        "start_epoch_ms": ending.t0_ns // MS_NS,
        "scenario": resolved(scenario),
        "seed": workload.seed,
        "versions": {**versions(broker.kind, broker.version), **life.cast.engine.versions()},
        "fingerprint": fingerprint(),
        "calibration": None,
        "append_clock": append_clock(scenario, broker),
        **evaluate(scenario, records, counters, reason=ending.reason),
        "counters": counters,
        "timing": ending.timing,
    }
    if life.cast.models is not None:
        meta["model_stream"] = counters_of_models(life.cast.models, ending.roles, meta["accounting"])
    if life.cast.server is not None:
        meta["server"] = life.cast.server.told_of_run()
    if ending.error is not None and not isinstance(ending.error, KeyboardInterrupt):
        meta["verdict_reason"] = f"{meta['verdict_reason']}: {ending.error}"
    with RunWriter(root, new_run_id(scenario.name, "real", start)) as writer:
        writer.begin(meta)
        writer.add_records(records)
        writer.add_host(life.sampler.table())
        gc_logs.copy(gc_logs.of(life.directory), {}, writer.directory, "engine")
        gc_logs.copy(broker.gc_logs, life.gc_before, writer.directory, "broker")
        if ending.reason == "interrupted":
            return writer.abandon("interrupted")
        return writer.finish(meta)
