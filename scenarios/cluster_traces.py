"""Trace files of a cluster scenario: requests per minute of each job, on one day or on the days before it.

CSV with a header: ``job,minute,rate`` for the day that is played, ``job,day,minute,rate`` for its history.  Jobs and
minutes count from 0, days from 1, each without a gap; rates are whole numbers.  A name that ends in ``.gz`` is read
through gzip.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenarios.errors import ScenarioError
from scenarios.traces import numbered_lines

Counts = npt.NDArray[np.int64]

DAY, HISTORY = ("job", "minute", "rate"), ("job", "day", "minute", "rate")
MAX_ROWS = 10_000_000
MAX_COUNT = 100_000_000  # requests of one job in one minute


def read(path: str | Path, columns: tuple[str, ...]) -> Counts:
    """A trace file as an array with one axis for each column but the last, whose values it holds.

    Args:
        path: The file.
        columns: `DAY` or `HISTORY`.

    Raises:
        ScenarioError: Missing or corrupt, with the line at fault.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise ScenarioError(str(path), None, None, "", f"cannot be read: {error.strerror}") from None
    return _read(str(path), columns, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(path: str, columns: tuple[str, ...], _changed_ns: int, _size: int) -> Counts:
    rows: list[list[int]] = []
    for number, text in numbered_lines(path):
        line = text.strip()
        if number == 1:
            if tuple(cell.strip() for cell in line.split(",")) != columns:
                raise ScenarioError(path, 1, 1, "", f"{line[:60]!r} is not the header {','.join(columns)}")
        elif line:
            rows.append(_row(line, columns, path, number))
        if len(rows) > MAX_ROWS:
            raise ScenarioError(path, number, None, "", f"more than {MAX_ROWS:,} rows")
    if not rows:
        raise ScenarioError(path, None, None, "", "a trace without a row")
    return _array(np.array(rows, dtype=np.int64), columns, path)


def _row(line: str, columns: tuple[str, ...], path: str, number: int) -> list[int]:
    cells = line.split(",")
    if len(cells) != len(columns):
        raise ScenarioError(path, number, None, "", f"{len(cells)} columns, expected {','.join(columns)}")
    values = []
    for name, cell in zip(columns, cells, strict=True):
        text = cell.strip()
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MAX_COUNT:
            message = f"{name} {text[:40]!r} is not a whole number of at most {MAX_COUNT:,}"
            raise ScenarioError(path, number, None, "", message)
        values.append(int(text))
    return values


def _array(rows: Counts, columns: tuple[str, ...], path: str) -> Counts:
    """Rows as an array; every combination of job, day and minute must be there once."""
    places = rows[:, :-1] - np.array([1 if name == "day" else 0 for name in columns[:-1]])
    shape = tuple(int(most) + 1 for most in places.max(axis=0))
    order = np.lexsort(places.T[::-1])
    whole = int(np.prod(np.array(shape, dtype=float))) == len(rows)
    expected = np.indices(shape).reshape(len(shape), -1).T if whole else None
    if expected is None or not np.array_equal(places[order], expected):
        firsts = ", ".join(f"{name} from {1 if name == 'day' else 0}" for name in columns[:-1])
        message = f"{len(rows):,} rows are not one for each of {' x '.join(columns[:-1])} ({firsts}, none left out)"
        raise ScenarioError(path, None, None, "", message)
    found: Counts = rows[order, -1].reshape(shape)
    found.flags.writeable = False
    return found
