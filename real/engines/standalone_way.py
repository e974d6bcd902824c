"""The way of records without a broker: a named pipe from each generator to each worker, a frame a record.

The workers take turns: record i of a generator goes to worker i % parallelism.  A pipe holds what the kernel lets it;
what does not fit waits in the generator's memory, without a bound, so the schedule stays open loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from real.merge import merge
from real.wire import COLLECTOR_ROW, INPUT_HEADER, OUT_PRODUCED, WORKER_ROW, read_rows

#: Before each frame: the bytes that follow, which are the header and the payload.
LENGTH = struct.Struct("<I")
_PIPE_BYTES = 1 << 20
_HEAD = LENGTH.size + INPUT_HEADER.size

Ints = NDArray[np.int64]


def make(directory: Path, producers: int, workers: int) -> None:
    """Makes the pipes of a run."""
    for g in range(producers):
        for w in range(workers):
            os.mkfifo(_path(directory, g, w))


def open_pipe(directory: Path | str, generator: int, worker: int) -> int:
    """One end of a pipe, whichever; neither waits for the other.  Never blocks."""
    fd = os.open(_path(Path(directory), generator, worker), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # more than this user's pipes may hold: it stays at 64 KiB
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return fd


def _path(directory: Path, generator: int, worker: int) -> Path:
    return directory / f"records.{generator}.{worker}"


def frames(buffer: bytearray) -> Generator[tuple[tuple[int, int, int], bytes], None, None]:
    """Takes whole frames off the front of a buffer: (sequence, created, sent) and the payload of each.

    What has been taken is removed from the buffer when the iteration ends, however it ends.
    """
    at, size = 0, len(buffer)
    try:
        while size - at >= _HEAD:
            (length,) = LENGTH.unpack_from(buffer, at)
            end = at + LENGTH.size + length
            if end > size:
                return
            stamps = INPUT_HEADER.unpack_from(buffer, at + LENGTH.size)
            payload = bytes(memoryview(buffer)[at + _HEAD : end])
            at = end
            yield stamps, payload
    finally:
        del buffer[:at]


def records(
    due: Ints,
    t0_ns: int,
    backlog: int,
    generators: Sequence[Path],
    workers: Sequence[Path],
    outputs: Path,
    committed: dict[int, int],
) -> dict[str, Any]:
    """The columns of a run without a broker: of the pipes' way what `merge` makes of partitions.

    Args:
        due: Scheduled send times by sequence.
        t0_ns: The run's start, real-time clock.
        backlog: There is none.
        generators: Their side files, by index.
        workers: Their side files, by index.
        outputs: Where the outputs are gathered, as a collector would have.
        committed: How many records of each pipe (generator * workers + worker) its worker has handled.

    Returns:
        The columns of `columns.RECORD_COLUMNS`: no partition and no batch, `appended` and `fetched` are `sent`.
    """
    outputs.write_bytes(b"".join(_outputs(path, index) for index, path in enumerate(workers)))
    sequence, producers = np.arange(len(due), dtype=np.int64), len(generators)
    pipe = sequence % producers * len(workers) + sequence // producers % len(workers)
    found = merge(due, pipe, backlog, t0_ns, generators, workers, outputs, committed)
    found["partition"], found["batch"] = np.full_like(sequence, -1), np.full_like(sequence, -1)
    found["appended"] = found["fetched"] = found["sent"]
    return found


def _outputs(path: Path, index: int) -> bytes:
    """What a worker produced, as rows of a collector's file."""
    rows = read_rows(path, WORKER_ROW)
    rows = rows[rows[:, 6] == OUT_PRODUCED]
    found = np.full((len(rows), COLLECTOR_ROW.size // 8), -1, np.int64)
    found[:, 0], found[:, 5], found[:, 6], found[:, 10] = rows[:, 0], rows[:, 3], rows[:, 4], rows[:, 5]
    found[:, 7], found[:, 8] = index, rows[:, 1]
    return found.tobytes()
