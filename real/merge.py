"""From the processes' files to the columns of records.parquet.

An output's header carries the stamps known when it was produced; `produced` and `acked` come from the worker's side
file, and so does what is known of a record without an output.  Every outcome is found where it happened:

- scored: the collector read an output;
- bad, failed, expired, dropped_no_model: the worker wrote so;
- in_flight: the broker acknowledged the input, and it lies at or beyond the committed position;
- lost: the broker acknowledged the input, it lies before the committed position, and nothing else is known of it.

A record sent and never acknowledged has no outcome, so the accounting does not add up and the run is INVALID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.columns import ID_COLUMNS, NO_STAMP, OUTCOMES, STAMP_COLUMNS
from real.wire import (
    ACKNOWLEDGED,
    COLLECTOR_ROW,
    GENERATOR_ROW,
    OUT_BAD,
    OUT_DROPPED,
    OUT_EXPIRED,
    OUT_FAILED,
    OUT_PRODUCED,
    WORKER_ROW,
    read_rows,
)

Ints = NDArray[np.int64]
_MS_NS = 1_000_000
_SCORED, _IN_FLIGHT, _BAD, _FAILED, _LOST, _DROPPED, _EXPIRED = (
    OUTCOMES.index(word) for word in ("scored", "in_flight", "bad", "failed", "lost", "dropped_no_model", "expired")
)


def merge(
    due: Ints,
    partition: Ints,
    backlog: int,
    t0_ns: int,
    generators: Sequence[Path],
    workers: Sequence[Path],
    collector: Path,
    committed: Mapping[int, int],
) -> dict[str, Any]:
    """The columns of a run.

    Args:
        due: Scheduled send times by sequence, the backlog's 0 first.
        partition: Partition of each.
        backlog: How many records were in the topic before the start.
        t0_ns: The run's start, real-time clock.
        generators: Their side files, by index.
        workers: Their side files, by index.
        collector: Its file.
        committed: Final committed position of each partition; one that is absent counts as 0.

    Returns:
        The columns of `columns.RECORD_COLUMNS`.
    """
    n = len(due)
    columns: dict[str, Ints] = {name: np.full(n, NO_STAMP, np.int64) for name in (*ID_COLUMNS, *STAMP_COLUMNS)}
    columns["sequence"] = np.arange(n, dtype=np.int64)
    columns["partition"] = partition.astype(np.int64)
    columns["created"] = due.astype(np.int64)
    outcome = np.full(n, -1, np.int8)
    state, offset = _sends(columns, generators, backlog, t0_ns)
    outputs = read_rows(collector, COLLECTOR_ROW)
    _handled(columns, outcome, workers, outputs)
    duplicates = _outputs(columns, outcome, outputs)
    _rest(outcome, state, _offsets(offset, columns["partition"], state), columns["partition"], committed)
    return {**columns, "outcome": outcome, "duplicates": duplicates}


def _sends(columns: dict[str, Ints], files: Sequence[Path], backlog: int, t0_ns: int) -> tuple[Ints, Ints]:
    n = len(columns["sequence"])
    state, offset = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    for index, path in enumerate(files):
        rows = read_rows(path, GENERATOR_ROW)[: len(range(index, n, len(files)))]
        mine = columns["sequence"][index :: len(files)][: len(rows)]
        # The file is zeros until a row is written; a row that was is told by its offset or state, or by a send time.
        written = (rows != 0).any(axis=1)
        rows, mine = rows[written], mine[written]
        columns["sent"][mine] = np.maximum(rows[:, 0], 0)
        state[mine], offset[mine] = rows[:, 1], rows[:, 2]
        stamped = rows[:, 3] >= 0
        columns["appended"][mine[stamped]] = np.maximum(rows[stamped, 3] * _MS_NS - t0_ns, 0)
    return state, offset


def _handled(columns: dict[str, Ints], outcome: NDArray[np.int8], files: Sequence[Path], outputs: Ints) -> None:
    """What the workers know; of a record handled twice, the time that its first output came of, else the first."""
    n = len(columns["sequence"])
    begun = np.full(n, NO_STAMP, np.int64)
    out = outputs[(outputs[:, 0] >= 0) & (outputs[:, 0] < n)][::-1]
    begun[out[:, 0]] = out[:, 5]  # the first output is written last
    for index, path in enumerate(files):
        rows = read_rows(path, WORKER_ROW)
        rows = rows[(rows[:, 6] > 0) & (rows[:, 0] >= 0) & (rows[:, 0] < n)]
        rows = rows[np.argsort(rows[:, 3] != begun[rows[:, 0]], kind="stable")]
        _, first = np.unique(rows[:, 0], return_index=True)
        rows = rows[first]
        known = columns["worker"][rows[:, 0]] != NO_STAMP
        rows = rows[~known | ((begun[rows[:, 0]] >= 0) & (rows[:, 3] == begun[rows[:, 0]]))]
        at, what = rows[:, 0], rows[:, 6]
        columns["worker"][at], columns["batch"][at] = index, rows[:, 1]
        for name, column in (("fetched", 2), ("score_begin", 3), ("score_end", 4), ("produced", 5), ("acked", 7)):
            columns[name][at] = rows[:, column]
        outcome[at[what == OUT_BAD]] = _BAD
        outcome[at[what == OUT_FAILED]] = _FAILED
        outcome[at[what == OUT_DROPPED]] = _DROPPED
        outcome[at[what == OUT_EXPIRED]] = _EXPIRED
        assert set(np.unique(what)) <= {OUT_PRODUCED, OUT_BAD, OUT_FAILED, OUT_DROPPED, OUT_EXPIRED}


def _outputs(columns: dict[str, Ints], outcome: NDArray[np.int8], outputs: Ints) -> Ints:
    n, rows = len(columns["sequence"]), outputs
    rows = rows[(rows[:, 0] >= 0) & (rows[:, 0] < n)]
    counts = np.bincount(rows[:, 0], minlength=n).astype(np.int64)
    _, first = np.unique(rows[:, 0], return_index=True)
    rows = rows[first]
    at = rows[:, 0]
    for name, column in (("appended", 3), ("fetched", 4), ("score_begin", 5), ("score_end", 6), ("out_appended", 10)):
        columns[name][at] = rows[:, column]
    columns["worker"][at], columns["batch"][at] = rows[:, 7], rows[:, 8]
    outcome[at] = _SCORED
    return np.maximum(counts - 1, 0)


def _offsets(offset: Ints, partition: Ints, state: Ints) -> Ints:
    """Offsets; where the broker does not tell them (acks 0), the rank in the partition by order of sequence."""
    unknown = (state == ACKNOWLEDGED) & (offset < 0)
    if not unknown.any():
        return offset
    result = offset.copy()
    for p in np.unique(partition[unknown]):
        mine = np.flatnonzero((partition == p) & (state == ACKNOWLEDGED))
        result[mine] = np.arange(len(mine))
    return result


def _rest(outcome: NDArray[np.int8], state: Ints, offset: Ints, partition: Ints, committed: Mapping[int, int]) -> None:
    open_ = (outcome < 0) & (state == ACKNOWLEDGED)
    position = np.zeros(int(partition.max(initial=0)) + 1, np.int64)
    for p, at in committed.items():
        position[p] = at
    pending = offset >= position[partition]
    outcome[open_ & pending] = _IN_FLIGHT
    outcome[open_ & ~pending] = _LOST
