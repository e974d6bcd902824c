"""Writes a run: its columns merged, its counters, its verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.fingerprint import fingerprint
from analysis.runs import RunWriter, new_run_id
from analysis.verdict import evaluate
from real.brokers.base import Broker
from real.counters import Window
from real.fingerprint import versions
from real.life import Ending, Life
from real.merge import merge
from real.model_stream.result import counters as counters_of_models
from real.plan import Plan
from scenarios.load import resolved
from scenarios.spec import MS_NS, Scenario


def write(root: Path, scenario: Scenario, plan: Plan, life: Life, ending: Ending, broker: Broker) -> Path:
    """Writes a run's folder.

    Returns:
        The folder: `<id>`, or `<id>.partial` for one that was interrupted.

    Raises:
        RunError: It cannot be written.
    """
    workload, workers = scenario.workload, scenario.engine.parallelism
    records = merge(
        plan.due,
        plan.partition,
        plan.backlog,
        ending.t0_ns,
        [life.rows(f"generator.{i}") for i in range(workload.producers)],
        [life.rows(f"worker.{i}") for i in range(workers)],
        life.rows("collector"),
        ending.committed,
    )
    counters: dict[str, Any] = {}
    if ending.begin is not None and ending.end is not None:
        counters = Window(ending.begin, ending.end, ending.roles, life.cast.hosts).counters(workload.producers, workers)
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
        "append_clock": broker.append_clock,
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
        if ending.reason == "interrupted":
            return writer.abandon("interrupted")
        return writer.finish(meta)
