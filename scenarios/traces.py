"""Trace files: how many records were due in each interval, or the gap before each record.

One value a line.  A line may hold more columns, separated by commas (a timestamp, a label): the last is the value.
Empty lines and lines that start with ``#`` are skipped, and so is a first line that starts with a letter or a quote
(a header).  A name that ends in ``.gz`` is read through gzip.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenarios.errors import ScenarioError

MAX_LINES = 50_000_000
MAX_COUNT = 100_000_000  # records in one interval
MAX_GAP = 1e9  # of the unit
MAX_RECORDS = 500_000_000  # of the whole trace


def read(path: str | Path, kind: str) -> npt.NDArray[np.float64]:
    """The values of a trace file.

    Args:
        path: The file.
        kind: ``counts`` (whole numbers) or ``gaps``; both >= 0.

    Raises:
        ScenarioError: Missing or corrupt, with the line and column at fault.
    """
    file = Path(path)
    try:
        state = file.stat()
    except OSError as error:
        raise ScenarioError(str(path), None, None, "", f"cannot be read: {error.strerror}") from None
    return _read(str(path), kind, state.st_mtime_ns, state.st_size)


def numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a trace file without their ends, counted from 1.

    Raises:
        ScenarioError: What is there is no UTF-8 text, or cannot be read to its end.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb") as lines:
            for number, raw in enumerate(lines, 1):
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ScenarioError(path, number, None, "", "not UTF-8 text") from None
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise ScenarioError(path, number + 1, None, "", f"cannot be read on: {error}") from None


@lru_cache(maxsize=8)
def _read(path: str, kind: str, _changed_ns: int, _size: int) -> npt.NDArray[np.float64]:
    values: list[float] = []
    for number, line in numbered_lines(path):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not values and number == 1 and (line.lstrip()[0].isalpha() or line.lstrip()[0] in "\"'"):
            continue
        values.append(_value(line, kind, path, number))
        if len(values) > MAX_LINES:
            raise ScenarioError(path, number, None, "", f"more than {MAX_LINES:,} lines")
    if not values:
        raise ScenarioError(path, None, None, "", "a trace without a value")
    found = np.array(values, dtype=np.float64)
    if kind == "counts" and found.sum() > MAX_RECORDS:
        raise ScenarioError(path, None, None, "", f"more than {MAX_RECORDS:,} records")
    found.flags.writeable = False
    return found


def _value(line: str, kind: str, path: str, number: int) -> float:
    cells, comma, text = line.rpartition(",")
    column = len(cells) + len(comma) + 1
    try:
        value = float(text)
    except ValueError:
        raise ScenarioError(path, number, column, "", f"{text.strip()[:40]!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise ScenarioError(path, number, column, "", f"{text.strip()} is not a finite number of at least 0")
    if kind == "counts" and (value != int(value) or value > MAX_COUNT):
        raise ScenarioError(path, number, column, "", f"{text.strip()} is not a whole number of at most {MAX_COUNT:,}")
    if kind == "gaps" and value > MAX_GAP:
        raise ScenarioError(path, number, column, "", f"{text.strip()} is a gap of more than {MAX_GAP:,.0f} units")
    return value
