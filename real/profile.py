"""`real profile`: the runs a cost model is fitted from, in one folder, with the host's probes.

Which runs stands in `analysis.variations`.  Their order is shuffled by the seed, so that what drifts on the host does
not drift with a setting.
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
from analysis.variations import variations
from real.errors import HarnessError
from real.session import Session
from scenarios.load import resolved
from scenarios.spec import Scenario

Progress = Callable[[str, float | None], None]


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
        RefusedError: The engine cannot run it.
        HarnessError: A run is INVALID twice.
    """
    from analysis.fingerprint import fingerprint
    from real.engines import engine
    from real.probe import probe_host, probe_scoring
    from real.warm import WARM_S

    settings = base.profile
    if settings is None:
        raise ValueError("the scenario has no profile section")
    if broker is not None and broker != base.broker.kind:
        base = dataclasses.replace(base, broker=dataclasses.replace(base.broker, kind=broker, bootstrap=None))  # type: ignore[arg-type]
    engine(base.engine.kind).refuse(base)  # before anything is measured
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
            base.model,
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
