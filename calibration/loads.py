"""What the models of a stream take to load and to score, from real runs of model streams, into a calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.fingerprint import IDENTITY
from analysis.runs import RunError, read_run
from calibration.profiles import ProfileError
from scenarios.load import from_resolved
from scenarios.model_stream import publications
from sim import costs
from sim.costs import Calibration
from sim.store import load


def of_run(path: Path) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any]]:
    """What one run tells of each of its models, and the fingerprint of its host.

    Args:
        path: A run's folder.

    Returns:
        Model -> what is known of it -> one value a load (`load_ns`, `size_bytes`) or a record (`score_ns`).

    Raises:
        ProfileError: It is no real run with a stream of models.
    """
    try:
        run = read_run(path)
        records = run.records
    except RunError as error:
        raise ProfileError(str(error)) from error
    told = run.meta.get("model_stream")
    if run.meta["backend"] != "real" or not told or "sizes_bytes" not in told:
        raise ProfileError(f"{path}: no real run with a model_stream; costs of models are measured on one")
    scenario = from_resolved(run.meta["scenario"])
    stream, load_ = scenario.model_stream, scenario.workload
    assert stream is not None
    sent = publications(stream, load_.warmup_ns + load_.duration_ns)
    name_of = {each.version: each.message.model or each.message.name for each in sent}
    found: dict[str, dict[str, list[float]]] = {}
    for each, size in zip(sent, told["sizes_bytes"], strict=True):
        if size >= 0 and each.message.fault == "none":
            found.setdefault(name_of[each.version], {}).setdefault("size_bytes", []).append(size)
    scored = records[records["outcome"] == "scored"]
    for number, worker in enumerate(told["workers"]):
        own = scored[scored["worker"] == number]
        began, took = own["score_begin"].to_numpy(), (own["score_end"] - own["score_begin"]).to_numpy()
        events = worker["events"]
        for event in events:
            if event["event"] == "loaded":
                found.setdefault(name_of[event["version"]], {}).setdefault("load_ns", []).append(event["took_ns"])
        swaps = [event for event in events if event["event"] == "swapped"]
        ends = [event["at_ns"] for event in swaps[1:]] + [np.iinfo(np.int64).max]
        for event, end in zip(swaps, ends, strict=True):
            served = took[(began >= event["at_ns"]) & (began < end)]
            found.setdefault(name_of[event["version"]], {}).setdefault("score_ns", []).extend(served.tolist())
    return found, run.meta["fingerprint"]


def onto(base: Calibration, paths: Iterable[Path], name: str) -> Calibration:
    """A calibration that knows the models of some runs: medians over their loads and records.

    Args:
        base: Everything else, and models that the runs do not have.
        paths: Folders of real runs with a stream of models.
        name: Of the new calibration.

    Raises:
        ProfileError: A run is none, it is of another host, or nothing was scored.
    """
    together: dict[str, dict[str, list[float]]] = {}
    used = []
    for path in paths:
        found, fingerprint = of_run(path)
        for key in IDENTITY:
            if base.fingerprint.get(key) != fingerprint.get(key):
                here, there = base.fingerprint.get(key), fingerprint.get(key)
                raise ProfileError(f"calibration {base.name} is of a host of {key} {here}, {path} of one of {there}")
        for model, known in found.items():
            for key, values in known.items():
                together.setdefault(model, {}).setdefault(key, []).extend(values)
        used.append(path.name)
    measured = {
        model: {key: float(np.median(values)) for key, values in known.items() if values}
        for model, known in together.items()
    }
    if not any("score_ns" in known for known in measured.values()):
        raise ProfileError("nothing was scored in these runs: no model came before the records did")
    models = {**base.models, **{model: {**base.models.get(model, {}), **known} for model, known in measured.items()}}
    return dataclasses.replace(
        base, name=name, models=models, fit={**base.fit, "loads": {"onto": base.name, "runs": used}}
    )


def write(runs: Iterable[Path], path: Path, base: str) -> Calibration:
    """Reads runs and writes the calibration.

    Args:
        runs: Folders of real runs with a stream of models.
        path: Of the new calibration.
        base: Name or path of the one that everything else is from.

    Raises:
        ProfileError: See `onto`.
        CalibrationError: There is no such base.
    """
    made = onto(load(base), runs, path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    costs.write(made, path)
    return made
