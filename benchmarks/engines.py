"""Every engine that runs here, saturated: what it puts through, and what a record costs it and the broker.

An engine with a broker drains a backlog; one without is offered more than it can do.  CPU is that of the engine's
processes (and of the broker's) in the window, over the records that the engine processed in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from real.engines import ENGINES, engine
from real.errors import HarnessError, RefusedError
from real.plan import refuse_elsewhere
from real.session import Session
from scenarios.load import load
from scenarios.spec import Scenario

_SCENARIO = """
name: saturated
workload: {{arrival: {{kind: constant, rate: {rate} /s}}, {load}}}
engine: {{kind: {kind}, parallelism: {workers}}}
model: {model}
"""
#: Offered to each worker of an engine that has no backlog to drain.
_TOO_MUCH_PER_S = 10_000


def scenario(kind: str, workers: int, records: int, model: str, folder: Path) -> Scenario:
    """What saturates an engine."""
    if engine(kind).brokerless:
        rate, of_load = workers * _TOO_MUCH_PER_S, "warmup: 1 s, duration: 4 s, drain: 0 s"
    else:
        rate, of_load = 0, f"backlog: {{records: {records}}}, warmup: 0 s, duration: 1 s, drain: 600 s"
    path = folder / f"{kind}.yaml"
    path.write_text(_SCENARIO.format(kind=kind, workers=workers, rate=rate, load=of_load, model=model))
    return load(path)


def benchmark(
    kinds: Sequence[str],
    workers: int,
    records: int,
    model: str,
    broker: str | None,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Saturates one engine after the other on one broker.

    Args:
        kinds: Engines; empty: all that there are.
        workers: Scoring tasks of each.
        records: Of the backlog.
        model: That is scored.
        broker: Kind of the broker, whatever is usual.
        tell: Called with each step.

    Returns:
        A JSON-able object: of each engine `throughput_per_s`, `engine_cpu_us`, `broker_cpu_us` and `verdict`, or
        `why_not`.
    """
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, Session(out=Path(name) / "runs", broker=broker) as session:
        for kind in kinds or ENGINES:
            tell(f"{kind}: saturating")
            try:
                asked = session.adapted(scenario(kind, workers, records, model, Path(name)))
                refuse_elsewhere(asked)
                found.append({"engine": kind, **_ran(session, asked)})
            except (RefusedError, HarnessError) as error:
                found.append({"engine": kind, "why_not": str(error).partition("\n")[0]})
    return {"benchmark": "engines", "model": model, "workers": workers, "records": records, "engines": found}


def _ran(session: Session, asked: Scenario) -> dict[str, Any]:
    from analysis.runs import read_run

    meta = read_run(session.run(asked)).meta
    if session.last_error is not None:
        raise session.last_error
    metrics = meta["metrics"]
    drained = asked.workload.backlog_records > 0
    return {
        "throughput_per_s": metrics["drain_throughput_per_s" if drained else "throughput_per_s"],
        "engine_cpu_us": metrics["cpu_us_per_record_engine"],
        "broker_cpu_us": metrics["cpu_us_per_record_broker"],
        "verdict": meta["verdict"],
    }
