"""A score table from a grid profile: what scoring n points takes, measured on replicas, into a calibration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.fingerprint import IDENTITY
from calibration.profiles import ProfileError
from sim import costs
from sim.costs import Calibration
from sim.store import load

CLOCKS = ("cpu", "wall")
#: A model that uses less CPU than this share of its time waits: for a timer, a device, or somebody else.
WAITS = 0.5
_REFUSED = ("client-bound", "unstable")
_ANY = "none"  # the runtime of a model that needs none


@dataclass(frozen=True, slots=True)
class Scores:
    """What scoring takes by the number of points.

    Attributes:
        model: Its name as in a scenario's results.
        runtime: Its word.
        table_ns: Points -> ns, the median of the repeats' medians.
        low: The lowest repeat over the median, at the worst size.
        high: The highest.
        values: Of one input.
        outputs: Of one answer.
        fingerprint: Of the host.
        cells: Files it is from.
        left_out: Sizes that were refused, and why.
    """

    model: str
    runtime: str
    table_ns: dict[int, float]
    low: float
    high: float
    values: int
    outputs: int
    fingerprint: dict[str, Any]
    cells: tuple[str, ...]
    left_out: tuple[str, ...]


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """The cells of a folder that `python -m real grid` made, with a full-batch measurement.

    Raises:
        ProfileError: There are none, or one cannot be read.
    """
    found = []
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            data = json.loads(path.read_text())
            if any("service" in repeat for repeat in data["repeats"]):
                found.append({**data, "file": path.name})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProfileError(f"{path}: no cell of a profile: {error}") from error
    if not found:
        raise ProfileError(f"{folder}: no cells with full batches; make some: python -m real grid MODELS -o {folder}")
    return found


def scores(
    cells: Sequence[Mapping[str, Any]],
    *,
    model: str | None = None,
    runtime: str | None = None,
    cpus: int = 1,
    clock: str = "cpu",
) -> Scores:
    """The table of one model in one runtime, from cells of one replica on the CPU.

    Args:
        cells: As read.
        model: Which; None where there is but one.
        runtime: Which; None where there is but one.
        cpus: Cores of the replica.
        clock: `cpu`: what it burns; `wall`: what it takes, for models that wait.

    Raises:
        ProfileError: There is no such cell, more than one model or runtime, or the clock does not fit.
    """
    there = sorted({(_model(cell), cell["key"]["runtime"]) for cell in cells})
    fits = [pair for pair in there if model in (None, pair[0]) and runtime in (None, pair[1])]
    listed = ", ".join(f"{name} {word}" for name, word in there)
    if len(fits) != 1:
        what = "several fit" if fits else "none fits"
        raise ProfileError(f"which model and runtime? {what}; the profile has: {listed} (--model, --runtime)")
    own = [
        cell
        for cell in cells
        if (_model(cell), cell["key"]["runtime"]) == fits[0]
        and cell["key"]["replicas"] == 1
        and cell["key"]["cpus_per_replica"] == cpus
        and cell["key"]["devices"][0]["name"] == "cpu"
    ]
    if not own:
        raise ProfileError(f"{' '.join(fits[0])}: no cell of one replica of {cpus} cores on the CPU (--cpus)")
    table: dict[int, float] = {}
    shares: list[float] = []
    files, left = [], []
    for cell in sorted(own, key=lambda each: str(each["repeats"][-1]["at"])):  # the newest of a size is the last
        points = int(cell["key"]["batch"])
        services = [repeat["service"] for repeat in cell["repeats"] if "service" in repeat]
        good = [service for service in services if service["verdict"] not in _REFUSED]
        if not good:
            left.append(f"batch {points}: {services[-1]['verdict']}: {services[-1]['reason']}")
            continue
        name = "batch_cpu_ms" if clock == "cpu" else "batch_ms"
        ns = [service[name]["p50"] * 1e6 for service in good]
        wall = float(np.median([service["batch_ms"]["p50"] * 1e6 for service in good]))
        table[points] = float(np.median(ns))
        if clock == "cpu" and table[points] < WAITS * wall:
            message = f"{cell['label']} uses {table[points] / wall:.0%} of its time: it waits"
            raise ProfileError(f"{message}; --clock wall counts what it takes, and the simulator has it burn that")
        shares += [each / table[points] for each in ns]
        files.append(str(cell["file"]))
    if not table:
        raise ProfileError(f"{' '.join(fits[0])}: nothing of use: {'; '.join(left)}")
    return Scores(
        model=fits[0][0],
        runtime=fits[0][1],
        table_ns=dict(sorted(table.items())),
        low=min(shares),
        high=max(shares),
        values=own[0]["shape"]["values"],
        outputs=own[0]["shape"]["outputs"],
        fingerprint=dict(own[-1]["fingerprint"]),
        cells=tuple(files),
        left_out=tuple(left),
    )


def onto(
    base: Calibration, found: Scores, cells: Sequence[Mapping[str, Any]], name: str, *, server: bool
) -> Calibration:
    """A calibration with that table in place of its own.

    Where the calibration is of another model, records are longer or shorter in proportion to the models' inputs, so the
    profile must hold that model too; tables by size are dropped for the line through the sizes.

    Args:
        base: Everything else.
        found: The table.
        cells: Of the same profile.
        name: Of the new calibration.
        server: It is the external server's table, not the worker's.

    Raises:
        ProfileError: The hosts differ, or the calibration's model is not in the profile.
    """
    for key in IDENTITY:
        if base.fingerprint.get(key) != found.fingerprint.get(key):
            here, there = base.fingerprint.get(key), found.fingerprint.get(key)
            raise ProfileError(f"calibration {base.name} is of a host of {key} {here}, the profile of one of {there}")
    changed: dict[str, Any] = {"server_table" if server else "score_table": found.table_ns}
    before = base.regime.get("model")
    if before != found.model:
        shapes = {_model(cell): cell["shape"] for cell in cells}
        if before not in shapes:
            message = f"calibration {base.name} is of {before}: how long records of {found.model} are is not known"
            raise ProfileError(f"{message} without it; add it to the profile: python -m real grid {before}")
        ratios = {
            "input": found.values / shapes[before]["values"],
            "output": found.outputs / shapes[before]["outputs"],
        }
        changed["sizes_bytes"] = {
            key: value * (ratios[key.partition("_")[0]] if key.endswith("per_point") else 1.0)
            for key, value in base.sizes_bytes.items()
        }
        changed["tables_ns"] = {}
    runtime = {} if server or found.runtime == _ANY else {"runtime": found.runtime}
    shares = dict(base.fit.get("table_shares", {}))
    if not server:
        shares["worker.score"] = [found.low, found.high]
    sizes = list(found.table_ns)
    return dataclasses.replace(
        base,
        name=name,
        regime={**base.regime, "model": found.model, **runtime},
        ranges={**base.ranges, "points": (float(sizes[0]), float(sizes[-1]))},
        held_out=[],  # of another table
        fit={**base.fit, "table_shares": shares, "scores": {"onto": base.name, "cells": list(found.cells)}},
        **changed,
    )


def write(
    profile: Path,
    path: Path,
    base: str,
    *,
    model: str | None,
    runtime: str | None,
    cpus: int,
    clock: str,
    server: bool,
) -> Scores:
    """Reads a profile and writes the calibration.

    Args:
        profile: Folder of the grid.
        path: Of the new calibration.
        base: Name or path of the one that everything else is from.
        model: See `scores`.
        runtime: See `scores`.
        cpus: See `scores`.
        clock: See `scores`.
        server: See `onto`.

    Raises:
        ProfileError: See `scores` and `onto`.
        CalibrationError: There is no such base.
    """
    if clock not in CLOCKS:
        raise ProfileError(f"--clock: no clock {clock!r}; there are {', '.join(CLOCKS)}")
    cells = read_cells(profile)
    found = scores(cells, model=model, runtime=runtime, cpus=cpus, clock=clock)
    made = onto(load(base), found, cells, path.stem, server=server)
    path.parent.mkdir(parents=True, exist_ok=True)
    costs.write(made, path)
    return found


def _model(cell: Mapping[str, Any]) -> str:
    return str(cell["shape"]["model"])
