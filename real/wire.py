"""What the harness' processes share: the header of a record, counters in mapped memory, side files.

An input record carries one binary header (sequence, created, sent), an output one with every stamp known when it was
produced.  Counters are int64 slots of a mapped file, written by one process and read by the harness at any instant:
the harness samples them at the edges of the window without a word to the process.  Side files are mapped rows of
int64, so what a killed process wrote is still there.  Times are nanoseconds since the run's start; -1: not known.
"""

from __future__ import annotations

import mmap
import struct
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_KEY = "w"
#: sequence, created, sent
INPUT_HEADER = struct.Struct("<3q")
#: sequence, created, sent, appended, fetched, score_begin, score_end, worker, poll
OUTPUT_HEADER = struct.Struct("<9q")

#: The generator's side file, one row a record of its own: sent, state, offset, appended.
GENERATOR_ROW = struct.Struct("<4q")
ACK_ROW = struct.Struct("<3q")
ACK_AT = 8  # bytes into a generator row
ACKNOWLEDGED, REFUSED = 1, -1

#: A worker's side file, one row a record handled: sequence, poll, fetched, score_begin, score_end, produced, outcome,
#: acked.  `acked` is last, so that the delivery callback writes one number.
WORKER_ROW = struct.Struct("<8q")
ACKED = struct.Struct("<q")
ACKED_AT = 56
OUT_NONE, OUT_PRODUCED, OUT_BAD, OUT_FAILED, OUT_DROPPED, OUT_EXPIRED = 0, 1, 2, 3, 4, 5

#: The collector's file, one row an output: the header's nine, partition, out_appended.
COLLECTOR_ROW = struct.Struct("<11q")


class Gen(IntEnum):
    """Slots of a generator."""

    SLEEPS = 0
    RECORDS = 1
    BYTES = 2
    ACKED = 3
    REFUSED = 4
    QUEUE_FULL = 5
    PART = 8  # acknowledged bytes of partition 0, 1, ...


class Work(IntEnum):
    """Slots of a worker."""

    POLLS = 0
    POLLS_EMPTY = 1
    RECORDS = 2
    POINTS = 3
    BYTES_IN = 4
    BYTES_OUT = 5
    ACKED = 6
    BAD = 7
    FAILED = 8  # and expired: without an output
    ALIEN = 9  # records without our header: nothing of the run's
    POLL_CPU = 10
    DECODE_CPU = 11
    SCORE_CPU = 12
    ENCODE_CPU = 13
    PRODUCE_CPU = 14
    REFUSED = 15  # outputs the broker did not take
    PART = 16  # consumed bytes of partition 0, 1, ...


class Coll(IntEnum):
    """Slots of the collector."""

    POLLS = 0
    POLLS_EMPTY = 1
    RECORDS = 2
    BYTES = 3
    UNIQUE = 4
    ALIEN = 5
    PART = 8  # consumed bytes of partition 0, 1, ...


class Slots:
    """Counters of one process in a mapped file.

    Attributes:
        values: int64 memory view; plain reads and writes.
    """

    def __init__(self, path: Path | str, count: int, *, create: bool = False) -> None:
        self._map = _mapped(path, 8 * count, create)
        self.values: Any = memoryview(self._map).cast("q")

    def copy(self) -> list[int]:
        """Every slot, now."""
        return list(self.values)


class Rows:
    """A side file of fixed-size rows.

    Attributes:
        buffer: For `Struct.pack_into`.
        capacity: Rows it has room for.
    """

    def __init__(self, path: Path | str, row: struct.Struct, capacity: int, *, create: bool = False) -> None:
        self.capacity = max(1, capacity)
        self.buffer = _mapped(path, self.capacity * row.size, create)


def read_rows(path: Path, row: struct.Struct) -> NDArray[np.int64]:
    """A side file as an int64 array (rows, columns); empty where there is none."""
    width = row.size // 8
    if not path.exists():
        return np.empty((0, width), np.int64)
    values = np.fromfile(path, np.int64)
    return values[: len(values) // width * width].reshape(-1, width)


def earlier_rows(path: Path | str) -> list[list[int]]:
    """The rows that a worker which was killed left in its side file, whole ones only."""
    rows = read_rows(Path(path), WORKER_ROW)
    used = np.flatnonzero(rows[:, 6] != OUT_NONE)
    found: list[list[int]] = rows[: int(used[-1]) + 1 if len(used) else 0].tolist()
    return found


def _mapped(path: Path | str, size: int, create: bool) -> mmap.mmap:
    with Path(path).open("w+b" if create else "r+b") as file:
        if create:
            file.truncate(size)
        return mmap.mmap(file.fileno(), size)
