"""Simulations on all cores, each made once: a finished one is kept in a file named after all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sim import cores

#: progress(simulations done, simulations in all)
Progress = Callable[[int, int], None]
#: Where finished simulations are kept, in the folder of runs.
FOLDER = Path(".cache") / "sweep"
#: The rooms that a simulation runs.
ROOMS = ("analysis", "control", "scenarios", "sim")


class Job(Protocol):
    """One simulation, and the file that keeps it; can be pickled."""

    @property
    def file(self) -> Path:
        """Where its result is kept."""


AnyJob = TypeVar("AnyJob", bound=Job)


#: As `cores.spread`: (function, jobs, how many at a time) -> (place of the job, result), in the order finished.
Spread = Callable[[Callable[[Any], Any], Sequence[Any], int | None], Generator[tuple[int, Any], None, None]]


def results(
    function: Callable[[AnyJob], dict[str, Any]],
    jobs: Sequence[AnyJob],
    keys: Sequence[str],
    *,
    processes: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> list[dict[str, Any]]:
    """The result of each job, in their order: the kept one, else by calling the function, which keeps it.

    Args:
        function: Of a module, so that a worker can import it; ends with `keep`.
        jobs: What it is called with.
        keys: What a kept result must hold to count.
        processes: How many; None for as many as there are cores.
        fresh: Simulates anew what is kept.
        progress: Called at the start and after each simulation.
        spread: Where the work is done; None for processes of this machine.
    """
    found: dict[int, dict[str, Any]] = {}
    if not fresh:
        found = {i: kept for i, job in enumerate(jobs) if (kept := _read(job.file, keys)) is not None}
    tell = progress or (lambda _done, _total: None)
    tell(len(found), len(jobs))
    missing = [i for i in range(len(jobs)) if i not in found]
    with closing((spread or cores.spread)(function, [jobs[i] for i in missing], processes)) as finished:
        for place, result in finished:
            found[missing[place]] = result
            tell(len(found), len(jobs))
    return [found[i] for i in range(len(jobs))]


def keep(file: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Writes a result; returns it by way of JSON, so that it is the same whether it was kept or not."""
    text = json.dumps(result, allow_nan=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.tmp-{os.getpid()}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(file)
    kept: dict[str, Any] = json.loads(text)
    return kept


def identity(*told: Any) -> str:
    """Hash of what a result depends on, each JSON-able, and of the sources of the simulator."""
    return hashlib.sha256(json.dumps([*told, sources()], sort_keys=True).encode()).hexdigest()[:32]


def digest(path: str | Path | None) -> str | None:
    """Hash of a file's content; None for none."""
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


@cache
def sources() -> str:
    """Hash of the sources of the simulator."""
    root = Path(__file__).resolve().parent.parent
    whole = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def _read(file: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and all(key in found for key in keys) else None
