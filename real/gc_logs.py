"""Logs of garbage collections that the JVMs of a run keep (`-Xlog:gc`), brought into the run's folder.

`python -m calibration gc FILE` reads them.  Times in them are since the JVM's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def option(folder: Path | str) -> str:
    """The JVM's option: a file a process in that folder."""
    return f"-Xlog:gc:file={folder}/gc-%p.log"


def of(folder: Path) -> list[Path]:
    """The logs in a folder, the oldest process first."""
    return sorted(folder.glob("gc-*.log"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def lengths(logs: Iterable[Path]) -> dict[Path, int]:
    """How long each is now."""
    return {path: path.stat().st_size for path in logs}


def copy(logs: Iterable[Path], before: Mapping[Path, int], to: Path, name: str) -> None:
    """Copies what came to logs since, under their first line, which names the collector.

    Args:
        logs: Of one part.
        before: Their lengths then (`lengths`); one that is absent was not there.
        to: The run's folder.
        name: Of the part: `gc-NAME.log`, and `gc-NAME-2.log` of a process that came in the place of the first.
    """
    for i, path in enumerate(logs):
        data, begin = path.read_bytes(), before.get(path, 0)
        first = data[: data.find(b"\n") + 1]
        number = f"-{i + 1}" if i else ""
        (to / f"gc-{name}{number}.log").write_bytes(data if begin < len(first) else first + data[begin:])
