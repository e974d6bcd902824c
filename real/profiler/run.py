"""A whole grid: the cells that are not measured yet, in random order, each kept as soon as it is done."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.fingerprint import IDENTITY, fingerprint
from analysis.stats import Interval
from real.errors import HarnessError, RefusedError
from real.host import host_facts
from real.profiler import judge
from real.profiler.cell import measure
from real.profiler.cores import driver_on
from real.profiler.grid import Asked, Cell, cells, shuffled
from real.profiler.noise import Floor, floor, interval

Progress = Callable[[str, float | None], None]

SCHEMA = 1
CELLS, DUMPS = "cells", "clipper"
#: Start, export and warm-up of a cell before the first is known, for the estimate of what is left.
_START_S = 4.0
_SEARCH_STEPS = 10


@dataclass(frozen=True, slots=True)
class Result:
    """A cell and what is known of it; `error` where it could not be measured."""

    cell: Cell
    data: dict[str, Any] | None
    error: str = ""


def run(
    asked: Asked,
    *,
    out: Path,
    models: Path,
    fresh: bool = False,
    progress: Progress | None = None,
) -> list[Result]:
    """Measures what is not there yet.

    Args:
        asked: The grid.
        out: Folder of cells; those that are there are not measured again.
        models: Folder of model files.
        fresh: Measure again what is there.
        progress: Told of each step and its share of the whole.

    Returns:
        Every cell of the grid, in a plain order.

    Raises:
        RefusedError: The grid cannot be measured here, or the folder is another host's, or in use.
        KeyboardInterrupt: It was interrupted; the cells that are done are kept.
    """
    every = cells(asked)
    tell = progress or (lambda _text, _share: None)
    (out / CELLS).mkdir(parents=True, exist_ok=True)
    with _alone(out):
        known = {} if fresh else {cell.file: data for cell in every if (data := _read(out, cell)) is not None}
        errors: dict[str, str] = {}
        if any(not _enough(known.get(cell.file), asked) for cell in every):
            _measure_all(every, asked, out, models, known, errors, tell)
    return [Result(cell, known.get(cell.file), errors.get(cell.file, "")) for cell in every]


def _measure_all(
    every: Sequence[Cell],
    asked: Asked,
    out: Path,
    models: Path,
    known: dict[str, dict[str, Any]],
    errors: dict[str, str],
    tell: Progress,
) -> None:
    from real.child import exact_timers
    from real.processes import Supervisor

    host = fingerprint() | host_facts()  # before the driver is on cores of its own
    exact_timers()
    with driver_on(asked.pinning.driver), Supervisor() as supervisor:
        tell("measuring the noise floor", None)
        ground = floor(supervisor, asked.pinning.model[:1], models)
        clock = _Clock(asked)
        for turn in range(asked.repeats):
            todo = [
                cell
                for cell in shuffled(every, asked.seed, turn)
                if cell.file not in errors and not _enough(known.get(cell.file), asked)
            ]
            for done, cell in enumerate(todo):
                left = clock.left(len(todo) - done)
                where = f"{len(every) - len(todo) + done + 1} of {len(every)}" if turn == 0 else f"repeat {turn + 1}"
                shown = f"{where}, {left}; {cell.label}"
                share = (len(every) - len(todo) + done) / len(every)
                tell(shown, share)
                with clock:
                    time.sleep(asked.cool_down_s)
                    try:
                        repeat = measure(cell, supervisor, models, ground, _Steps(tell, shown, share))
                    except HarnessError as error:
                        errors[cell.file] = str(error)
                        continue
                _dump(out, cell, repeat.pop("_runs"))
                known[cell.file] = _added(known.get(cell.file), cell, repeat, ground, host)
                _write(out / CELLS / cell.file, known[cell.file])


@dataclass(frozen=True, slots=True)
class _Steps:
    """Tells the steps of one cell."""

    tell: Progress
    cell: str
    share: float

    def __call__(self, step: str) -> None:
        self.tell(f"{self.cell}: {step}", self.share)


class _Clock:
    """Estimates what is left from what the cells took so far."""

    def __init__(self, asked: Asked) -> None:
        each = sum(_SEARCH_STEPS if name == "search" else 1 for name in asked.measures) * asked.duration_s
        self._expected, self._took, self._count, self._began = _START_S + asked.cool_down_s + each, 0.0, 0, 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._took += time.monotonic() - self._began
        self._count += 1

    def left(self, cells_left: int) -> str:
        seconds = cells_left * (self._took / self._count if self._count else self._expected)
        return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"


def figure(repeat: Mapping[str, Any]) -> tuple[float, list[float]]:
    """The one figure that says whether a cell is known well enough, and the same in blocks of the run."""
    if "service" in repeat:
        return repeat["service"]["throughput_per_s"], repeat["service"]["blocks_per_s"]
    for name in ("overload", "latency"):
        if name in repeat and repeat[name]["throughput_per_s"] is not None:
            return repeat[name]["throughput_per_s"], [trial["throughput_per_s"] for trial in repeat[name]["trials"]]
    return repeat.get("search", {}).get("rate_per_s") or 0.0, []


def known_to(data: Mapping[str, Any]) -> Interval:
    """A cell's figure with its 95 % interval."""
    figures = [figure(repeat) for repeat in data["repeats"]]
    return interval([value for value, _ in figures], [blocks for _, blocks in figures])


def _enough(data: Mapping[str, Any] | None, asked: Asked) -> bool:
    if data is None:
        return False
    if len(data["repeats"]) >= asked.repeats:
        return True
    width = known_to(data).relative
    return width is not None and width <= asked.precision


def _added(
    data: dict[str, Any] | None, cell: Cell, repeat: dict[str, Any], ground: Floor, host: dict[str, Any]
) -> dict[str, Any]:
    from models.zoo import model

    repeat["at"] = datetime.now(UTC).isoformat(timespec="seconds")
    repeat["floor"] = ground.row()
    if data is None:
        data = {"schema": SCHEMA, "label": cell.label, "key": cell.key(), "fingerprint": host, "repeats": []}
        definition = model(cell.model)
        data["shape"] = {
            "model": cell.model.label,
            "values": definition.values,
            "outputs": definition.outputs,
        }
    return {**data, "repeats": [*data["repeats"], repeat]}


def verdict(data: Mapping[str, Any]) -> tuple[str, str]:
    """The worst verdict of a cell's measurements, and why: client-bound, unstable, then what they are."""
    said = [
        (repeat[name]["verdict"], f"{name}: {repeat[name].get('reason', '')}")
        for repeat in data["repeats"]
        for name in ("service", "latency", "overload", "search")
        if name in repeat
    ]
    for word in (judge.CLIENT_BOUND, judge.UNSTABLE):
        for found, reason in said:
            if found == word:
                return found, reason
    # Latency at a share of the capacity should be steady.
    for found, reason in said:
        if found == judge.SATURATED and reason.startswith("latency"):
            return judge.SATURATED, reason
    return judge.STEADY, ""


def _dump(out: Path, cell: Cell, runs: Mapping[str, Any]) -> None:
    found = runs.get("overload", runs.get("latency"))
    if found is None:
        return
    from models.zoo import model
    from real.profiler.dump import dump

    folder = out / DUMPS
    folder.mkdir(exist_ok=True)
    _write(folder / cell.file, dump(cell, found, model(cell.model).values))


def _read(out: Path, cell: Cell) -> dict[str, Any] | None:
    path = out / CELLS / cell.file
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RefusedError(str(path), f"cannot be read: {error}; --fresh measures again") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise RefusedError(str(path), "is of another version; --fresh measures again, or give another folder (-o)")
    here = fingerprint()
    for name in IDENTITY:
        if data["fingerprint"].get(name) != here[name]:
            there = data["fingerprint"].get(name)
            message = f"was measured on another host ({name} {there}, here {here[name]})"
            raise RefusedError(str(path), f"{message}; give another folder (-o)")
    return data


def _write(path: Path, data: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(data, indent=1) + "\n")
    temporary.replace(path)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One grid a folder at a time."""
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError("-o", f"{out}: another `real grid` is at work there") from None
        yield
