"""`real profile`: the runs a cost model is fitted from, in one folder, with the host's probes.

Costs that move together cannot be told apart, so the runs vary them one at a time around a base: idle, a backlog
drained, paced rates, producer linger, record size (no-op model, padded payloads), partitions, poll limit.  One worker
throughout.  The order is shuffled by the seed, so that what drifts on the host does not drift with a setting.
"""

from __future__ import annotations

import dataclasses
import json
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.runs import new_run_id, read_run
from analysis.search import prefilled
from real.errors import HarnessError, RefusedError
from real.session import Session
from scenarios.load import resolved
from scenarios.spec import MS_NS, Arrival, Scenario

Progress = Callable[[str, float | None], None]
#: The no-op model's points are not scored; what varies is the size of its padded payload.
_SIZE_PER_S = 200.0
_DENSE_PER_S = 6000.0
#: A backlog of large records is cut so that the topic stays within this.
_BACKLOG_BYTES, _MOCK_BACKLOG_BYTES = 256 << 20, 4 << 20
_FFNN_BYTES, _SMALLEST_BYTES = 8500, 1024


def variations(base: Scenario) -> list[tuple[str, Scenario]]:
    """The runs of a profile, by name, in a plain order.

    Args:
        base: A scenario with a `profile:` section.  On the mock broker, which forgets, backlogs are small.

    Raises:
        ValueError: It has none.
    """
    p = base.profile
    if p is None:
        raise ValueError("the scenario has no profile section")
    one = dataclasses.replace(base, engine=dataclasses.replace(base.engine, parallelism=1), profile=None, check=None)

    def paced(rate: float, scenario: Scenario = one, **broker: Any) -> Scenario:
        workload = dataclasses.replace(scenario.workload, arrival=Arrival("constant", rate_per_s=rate))
        return dataclasses.replace(scenario, workload=workload, broker=dataclasses.replace(scenario.broker, **broker))

    def drained(scenario: Scenario = one, records: int = p.backlog_records, **broker: Any) -> Scenario:
        return prefilled(
            dataclasses.replace(scenario, broker=dataclasses.replace(scenario.broker, **broker)), records, 0
        )

    room = _MOCK_BACKLOG_BYTES if base.broker.kind == "mock" else _BACKLOG_BYTES

    def held(size: int) -> int:
        return max(1, min(p.backlog_records, room // max(_SMALLEST_BYTES, size)))

    def linger(ns: int) -> Any:
        return dataclasses.replace(one.broker.producer, linger_ns=ns)

    def limit(records: int) -> Any:
        return dataclasses.replace(one.broker.consumer, max_poll_records=records)

    def sized(size: int) -> Scenario:
        payload = dataclasses.replace(one.workload.payload, pad_bytes=size)
        return dataclasses.replace(
            one,
            model=dataclasses.replace(one.model, name="noop"),
            workload=dataclasses.replace(one.workload, payload=payload),
        )

    rate = p.rates_per_s[-1]
    base_linger, base_limit = one.broker.producer.linger_ns, one.broker.consumer.max_poll_records
    full = held(_FFNN_BYTES * one.workload.points)
    runs = [("idle", paced(1.0)), ("drain", drained(records=full))]
    runs += [(f"rate-{r:g}", paced(r)) for r in p.rates_per_s]
    runs += [(f"linger-{ns // MS_NS}ms", paced(rate, producer=linger(ns))) for ns in p.lingers_ns if ns != base_linger]
    # Small records so fast that the generator seldom sleeps and a request carries many.
    runs += [("dense", paced(_DENSE_PER_S, sized(p.sizes_bytes[0])))]
    sizes = p.sizes_bytes[-1:] if p.quick else p.sizes_bytes
    runs += [(f"size-{size}", paced(_SIZE_PER_S, sized(size))) for size in sizes]
    runs += [
        (f"size-{size}-drain", drained(sized(size), records=held(size)))
        for size in dict.fromkeys((sizes[0], sizes[-1]))
    ]
    runs += [(f"partitions-{n}", paced(rate, partitions=n)) for n in p.partitions if n != one.broker.partitions]
    runs += [
        (f"poll-limit-{n}-drain", drained(records=full, consumer=limit(n))) for n in p.poll_limits if n != base_limit
    ]
    if not p.quick:
        runs += [
            (f"partitions-{n}-drain", drained(records=full, partitions=n))
            for n in p.partitions
            if n != one.broker.partitions
        ]
        # Light load without linger: where waiting and wake-up latency are read.
        runs += [("light", paced(p.rates_per_s[0], producer=linger(0)))]
        runs += [("linger-50ms-light", paced(p.rates_per_s[0], producer=linger(50 * MS_NS)))]
    return [(name, dataclasses.replace(s, name=f"{base.name}-{name}")) for name, s in runs]


def profile(
    base: Scenario,
    *,
    out: Path,
    broker: str | None = None,
    warm_s: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Measures this host: probes, microbenchmarks of scoring, and every variation `profile.repeats` times.

    Args:
        base: A scenario with a `profile:` section.
        out: Folder in which the profile's folder is made.
        broker: Broker kind that overrides the scenario's.
        warm_s: How long warming the broker may take; None for the usual.
        progress: Told of each step and its share of the whole.

    Returns:
        The profile's folder: one full run a subfolder, and profile.json.  An interrupted one keeps the runs it made.

    Raises:
        RefusedError: The engine has all workers in one process.
        HarnessError: A run is INVALID twice.
    """
    from analysis.fingerprint import fingerprint
    from real.engines import engine
    from real.probe import probe_host, probe_scoring
    from real.warm import WARM_S

    settings = base.profile
    if settings is None:
        raise ValueError("the scenario has no profile section")
    if engine(base.engine.kind).shared:
        # Much of what such a process does is no worker's, and a fit reads the costs from its worker.
        raise RefusedError("engine.kind", f"{base.engine.kind}; a profile needs an engine of one process a worker")
    if broker is not None and broker != base.broker.kind:
        base = dataclasses.replace(base, broker=dataclasses.replace(base.broker, kind=broker, bootstrap=None))  # type: ignore[arg-type]
    tell = progress or (lambda _text, _share: None)
    started = datetime.now(UTC)
    folder = Path(out) / new_run_id(base.name, "profile", started)
    folder.mkdir(parents=True)
    quick = settings.quick
    meta: dict[str, Any] = {
        "schema": 1,
        "kind": "profile",
        "name": base.name,
        "started": started.isoformat(timespec="seconds"),
        "quick": quick,
        "scenario": resolved(base),
        "fingerprint": fingerprint(),
        "host": probe_host(0.4 if quick else 2.0, 150 if quick else 800, tell),
        "runs": [],
        "complete": False,
    }
    tell("measuring parse, score and encode by batch size", None)
    with tempfile.TemporaryDirectory(prefix="weir-models-") as models_directory:
        scoring = probe_scoring(
            base.model.name,
            base.serving.runtime,
            base.workload.payload.format,
            settings.points,
            base.workload.seed,
            models_directory,
            0.1 if quick else 0.5,
        )
    meta["scoring"] = {str(points): row for points, row in scoring.items()}
    _write(folder, meta)
    todo = [(f"{name}.{k}", s) for name, s in variations(base) for k in range(settings.repeats)]
    random.Random(base.workload.seed).shuffle(todo)
    with Session(
        out=folder,
        broker=broker,
        warm_s=WARM_S if warm_s is None else warm_s,
        progress=lambda text, _share: tell(text, len(meta["runs"]) / len(todo)),
    ) as session:
        for name, scenario in todo:
            tell(f"run {len(meta['runs']) + 1} of {len(todo)}: {name}", len(meta["runs"]) / len(todo))
            path, verdict = _made(session, scenario)
            if verdict == "INVALID":  # once more: what disturbs one run seldom disturbs the next
                path, verdict = _made(session, scenario)
            if verdict == "INVALID":
                raise HarnessError(f"{path}: {name} is INVALID twice; a profile with it cannot be fitted")
            tell(f"{name}: {verdict}", None)
            meta["runs"].append({"name": name, "run": path.name})
            _write(folder, meta)
    meta["complete"] = True
    _write(folder, meta)
    return folder


def _made(session: Session, scenario: Scenario) -> tuple[Path, str]:
    path = session.run(scenario)
    if isinstance(session.last_error, KeyboardInterrupt):
        raise session.last_error
    return path, read_run(path).meta["verdict"]


def _write(folder: Path, meta: dict[str, Any]) -> None:
    temporary = folder / ".profile.json"
    temporary.write_text(json.dumps(meta, indent=1) + "\n")
    temporary.replace(folder / "profile.json")
