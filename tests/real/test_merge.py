"""Every outcome from the processes' files, without a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.accounting import accounting, misplaced, violation
from analysis.columns import OUTCOMES
from real.merge import merge
from real.wire import (
    ACKNOWLEDGED,
    COLLECTOR_ROW,
    GENERATOR_ROW,
    OUT_BAD,
    OUT_FAILED,
    OUT_PRODUCED,
    REFUSED,
    WORKER_ROW,
)

T0 = 1_000_000_000_000_000_000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """Six records on one partition, each acknowledged at its own offset; nothing has happened to them yet."""
    sent = [GENERATOR_ROW.pack(10 + i, ACKNOWLEDGED, i, T0 // 1_000_000 + 1) for i in range(6)]
    return {"generator": sent, "worker": [], "collector": [], "folder": tmp_path, "committed": {0: 0}}


def worked(sequence: int, outcome: int = OUT_PRODUCED, acked: int = 900) -> bytes:
    return WORKER_ROW.pack(sequence, 3, 500, 600, 700, 800, outcome, acked)


def came_out(sequence: int, out: int = 2_000_000) -> bytes:
    return COLLECTOR_ROW.pack(sequence, 0, 10 + sequence, 1_000_000, 500, 600, 700, 0, 3, 0, out)


def merged(files: dict[str, Any], backlog: int = 0) -> dict[str, Any]:
    paths = {}
    for name in ("generator", "worker", "collector"):
        paths[name] = files["folder"] / name
        paths[name].write_bytes(b"".join(files[name]) + b"\0" * (128 if name == "worker" else 0))
    due = np.arange(6, dtype=np.int64)
    partition = np.zeros(6, np.int64)
    return merge(
        due, partition, backlog, T0, [paths["generator"]], [paths["worker"]], paths["collector"], files["committed"]
    )


def words(columns: dict[str, Any]) -> list[str | None]:
    return [OUTCOMES[code] if code >= 0 else None for code in columns["outcome"]]


def test_an_output_is_scored_with_every_stamp(files: dict[str, Any]) -> None:
    files["worker"] = [worked(i) for i in range(6)]
    files["collector"] = [came_out(i) for i in range(6)]
    columns = merged(files)
    assert words(columns) == ["scored"] * 6
    stamps = ("sent", "appended", "fetched", "score_begin", "score_end", "produced", "acked", "out_appended")
    assert [columns[name][2] for name in stamps] == [12, 1_000_000, 500, 600, 700, 800, 900, 2_000_000]
    assert (columns["worker"][2], columns["batch"][2]) == (0, 3)
    assert violation(accounting(columns)) is None
    assert misplaced(columns) is None


def test_surplus_outputs_are_duplicates_and_the_first_counts(files: dict[str, Any]) -> None:
    files["worker"] = [worked(i) for i in range(6)] + [worked(1, acked=999)]
    files["collector"] = [came_out(i) for i in range(6)] + [came_out(1, 9_000_000)] * 2
    columns = merged(files)
    assert list(columns["duplicates"]) == [0, 2, 0, 0, 0, 0]
    assert columns["out_appended"][1] == 2_000_000
    assert columns["acked"][1] == 900
    assert accounting(columns)["scored"] == 6


def test_bad_and_failed_come_from_the_worker(files: dict[str, Any]) -> None:
    files["worker"] = [worked(0, OUT_BAD, -1), worked(1, OUT_FAILED, -1), *(worked(i) for i in range(2, 6))]
    files["collector"] = [came_out(i) for i in range(2, 6)]
    columns = merged(files)
    assert words(columns)[:3] == ["bad", "failed", "scored"]
    assert columns["fetched"][0] == 500


def test_before_the_committed_position_is_lost_beyond_it_in_flight(files: dict[str, Any]) -> None:
    files["worker"] = [worked(0)]
    files["collector"] = [came_out(0)]
    files["committed"] = {0: 4}
    columns = merged(files)
    assert words(columns) == ["scored", "lost", "lost", "lost", "in_flight", "in_flight"]
    assert violation(accounting(columns)) is None


def test_a_partition_nobody_committed_is_in_flight(files: dict[str, Any]) -> None:
    files["committed"] = {}
    assert words(merged(files)) == ["in_flight"] * 6


def test_what_the_broker_refused_breaks_the_accounting(files: dict[str, Any]) -> None:
    files["generator"][3] = GENERATOR_ROW.pack(13, REFUSED, -1, -1)
    files["generator"][4] = GENERATOR_ROW.pack(14, 0, -1, -1)
    columns = merged(files)
    assert words(columns) == ["in_flight"] * 3 + [None, None, "in_flight"]
    assert violation(accounting(columns)) is not None


def test_what_was_never_sent_has_no_stamp_and_no_outcome(files: dict[str, Any]) -> None:
    files["generator"][4:] = [b"\0" * GENERATOR_ROW.size] * 2
    columns = merged(files)
    assert list(columns["sent"][4:]) == [-1, -1]
    assert words(columns)[4:] == [None, None]
    assert violation(accounting(columns)) is None
    assert misplaced(columns) is None


def test_offsets_the_broker_does_not_tell_are_ranks(files: dict[str, Any]) -> None:
    files["generator"] = [GENERATOR_ROW.pack(10 + i, ACKNOWLEDGED, -1, -1) for i in range(6)]
    files["committed"] = {0: 2}
    assert words(merged(files)) == ["lost", "lost", "in_flight", "in_flight", "in_flight", "in_flight"]


def test_appends_before_the_start_read_zero(files: dict[str, Any]) -> None:
    files["generator"] = [GENERATOR_ROW.pack(0, ACKNOWLEDGED, i, T0 // 1_000_000 - 50) for i in range(6)]
    assert list(merged(files, backlog=6)["appended"]) == [0] * 6


def test_a_missing_file_is_an_empty_one(files: dict[str, Any], tmp_path: Path) -> None:
    due = np.zeros(2, np.int64)
    nowhere = tmp_path / "nowhere"
    columns = merge(due, due, 0, T0, [nowhere], [nowhere], nowhere, {})
    assert list(columns["sent"]) == [-1, -1]
