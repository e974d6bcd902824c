"""The run format: what is written is read, and what cannot be read says why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.columns import OUTCOMES, RECORD_COLUMNS
from analysis.records import empty_records, outcome_codes
from analysis.runs import RunError, RunWriter, find_runs, new_run_id, read_run, write_run

Make = Callable[..., Any]


def test_a_run_comes_back(tmp_path: Path, make_paced: Make, make_meta: Make, host: dict[str, Any]) -> None:
    records = make_paced()
    path = write_run(
        tmp_path, make_meta("a-run", metrics={"loss": np.float64(0.5)}, timing={"n": np.int64(3)}), records, host
    )
    assert path == tmp_path / "a-run"
    assert sorted(p.name for p in path.iterdir()) == ["host.parquet", "records.parquet", "run.json"]
    assert not list(tmp_path.glob(".*"))
    run = read_run(path)
    assert run.complete
    assert run.meta == make_meta("a-run", metrics={"loss": 0.5}, timing={"n": 3})
    assert list(run.records.columns) == list(RECORD_COLUMNS)
    for column in RECORD_COLUMNS:
        if column == "outcome":
            np.testing.assert_array_equal(outcome_codes(run.records[column]), records[column])
        else:
            assert run.records[column].dtype == np.int64
            np.testing.assert_array_equal(run.records[column], records[column])
    assert run.host["name"].tolist() == ["0", "broker"]
    assert read_run(path / "run.json").path == path
    assert find_runs(tmp_path) == [path]
    assert pq.read_schema(path / "records.parquet").field("outcome").type.value_type == pa.string()
    assert pq.ParquetFile(path / "records.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_run_without_a_host_file_has_an_empty_one(tmp_path: Path, make_meta: Make) -> None:
    assert len(read_run(write_run(tmp_path, make_meta("r"), empty_records(2))).host) == 0


def test_records_may_come_in_blocks_and_as_words_or_a_table(tmp_path: Path, make_meta: Make) -> None:
    first, second, third = empty_records(2), empty_records(4), empty_records(6)
    first["outcome"] = np.array(["scored", None], dtype=object)
    second = {c: a[2:] for c, a in second.items()} | {"outcome": ["bad", "lost"]}
    third = {c: a[4:] for c, a in third.items()} | {"outcome": pa.array(["failed", "expired"])}
    with RunWriter(tmp_path, "blocks") as writer:
        writer.add_records(first)
        writer.add_records(second)
        writer.add_records(pa.table({c: pa.array(a) for c, a in third.items()}))
        path = writer.finish(make_meta("blocks"))
    words = read_run(path).records["outcome"]
    assert [None if pd.isna(w) else w for w in words] == ["scored", None, "bad", "lost", "failed", "expired"]


def test_visible_is_kept_where_there_is_one(tmp_path: Path, make_meta: Make) -> None:
    records = empty_records(1) | {"visible": np.array([7])}
    assert read_run(write_run(tmp_path, make_meta("v"), records)).records["visible"].tolist() == [7]


def test_identifiers_sort_by_time_and_name_the_run() -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    one = new_run_id("my run/é", "sim", when)
    assert re.fullmatch(r"20240506-070809-my-run-sim-[0-9a-f]{4}", one)
    assert len({new_run_id("x", "real", when) for _ in range(20)}) > 15
    assert new_run_id("", "sim", when).startswith("20240506-070809-unnamed-sim-")


@pytest.mark.parametrize(("raised", "reason"), [(KeyboardInterrupt, "interrupted"), (OSError, "error")])
def test_a_run_that_ends_early_stays_readable_and_marked(
    tmp_path: Path, make_meta: Make, make_paced: Make, raised: type[BaseException], reason: str
) -> None:
    def interrupted() -> None:
        with RunWriter(tmp_path, "half") as writer:
            writer.begin(make_meta("half", verdict=None))
            writer.add_records(make_paced())
            raise raised

    with pytest.raises(raised):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["half.partial"]
    run = read_run(tmp_path / "half.partial")
    assert not run.complete
    assert (run.meta["reason"], run.meta["verdict"]) == (reason, "INVALID")
    assert reason in run.meta["verdict_reason"]
    assert len(run.records) == 2000
    assert find_runs(tmp_path) == []


def test_a_killed_run_is_readable(tmp_path: Path, make_meta: Make, make_paced: Make) -> None:
    writer = RunWriter(tmp_path, "killed")
    writer.begin(make_meta("killed"))
    writer.add_records(make_paced())  # the file has no end yet
    run = read_run(writer.directory)
    assert not run.complete
    assert (run.meta["name"], run.meta["reason"], run.meta["verdict"]) == ("by-hand", "interrupted", "INVALID")
    assert list(run.records.columns) == list(RECORD_COLUMNS)
    assert len(run.records) == 0
    writer.abandon()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created": None}, "columns missing: created; unknown: -"),
        ({"creatd": np.zeros(3, np.int64)}, "columns missing: -; unknown: creatd"),
        ({"created": np.zeros(2, np.int64)}, "different lengths"),
        ({"created": np.zeros(3)}, "created is float64, expected int64"),
        ({"sequence": np.array([0, 2, 1])}, "does not ascend"),
        ({"outcome": ["scored", "scord", None]}, "unknown outcome 'scord'; there are scored, defaulted"),
        ({"outcome": np.array([0, 10, -1])}, "outcome index outside -1 to 9"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, make_meta: Make, change: dict[str, Any], message: str) -> None:
    records = {c: a for c, a in (empty_records(3) | change).items() if a is not None}
    with pytest.raises(ValueError, match=message):
        write_run(tmp_path, make_meta("wrong"), records)


def test_blocks_must_go_on(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "back") as writer:
        writer.add_records(empty_records(3))
        with pytest.raises(ValueError, match="does not ascend"):
            writer.add_records(empty_records(3))


def test_run_json_is_whole(tmp_path: Path, make_meta: Make) -> None:
    run = make_meta("short")
    del run["counters"], run["seed"]
    with pytest.raises(ValueError, match="lacks seed, counters"):
        write_run(tmp_path, run, empty_records(1))
    with pytest.raises(ValueError, match="JSON"):
        write_run(tmp_path, make_meta("nan", metrics={"loss": float("nan")}), empty_records(1))
    with pytest.raises(TypeError, match="cannot hold a set"):
        write_run(tmp_path, make_meta("set", timing={"x": {1}}), empty_records(1))


def test_a_run_is_not_written_over(tmp_path: Path, make_meta: Make) -> None:
    write_run(tmp_path, make_meta("twice"), empty_records(1))
    with pytest.raises(RunError, match="twice: a run of that identifier exists"):
        write_run(tmp_path, make_meta("twice"), empty_records(1))


def test_what_cannot_be_read_says_why(tmp_path: Path, make_meta: Make, make_paced: Make) -> None:
    with pytest.raises(RunError, match="no such run"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"there is no run\.json"):
        read_run(tmp_path)
    path = write_run(tmp_path, make_meta("r"), make_paced())
    whole = (path / "run.json").read_text()
    for text, message in [
        (whole[:50], r"run\.json: cannot be read"),
        ("[]", "not the run.json of a run"),
        (json.dumps({**json.loads(whole), "schema": 99}), "has schema 99, this version reads 1"),
        (json.dumps({"schema": 1, "id": "r"}), "lacks name, backend"),
    ]:
        (path / "run.json").write_text(text)
        with pytest.raises(RunError, match=message):
            read_run(path)
    (path / "run.json").write_text(whole)
    good = (path / "records.parquet").read_bytes()
    table = pq.read_table(path / "records.parquet")

    def damage(write: Callable[[Path], object], message: str) -> None:
        write(path / "records.parquet")
        with pytest.raises(RunError, match=message):
            _ = read_run(path).records

    damage(lambda p: p.write_bytes(good[: len(good) // 2]), r"records\.parquet: cannot be read")
    damage(lambda p: p.write_bytes(b""), r"records\.parquet: cannot be read")
    damage(lambda p: pq.write_table(table.drop(["acked"]), p), "has no column acked: not a file of this schema")
    floats = table.set_column(4, "created", table["created"].cast(pa.float64()))
    damage(lambda p: pq.write_table(floats, p), "column created is double, expected int64")
    words = table.set_column(13, "outcome", pa.array(["odd"] * len(table)))
    damage(lambda p: pq.write_table(words, p), "unknown outcome 'odd'")
    nulls = table.set_column(4, "created", pa.nulls(len(table), pa.int64()))
    damage(lambda p: pq.write_table(nulls, p), "column created has nulls")
    damage(lambda p: p.unlink(), r"records\.parquet: is missing")
    (path / "host.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"host\.parquet: cannot be read"):
        _ = read_run(path).host


def test_outcomes_in_every_form() -> None:
    words = ["lost", None, "scored"]
    expected = [OUTCOMES.index("lost"), -1, 0]
    other = pd.Series(pd.Categorical(words, categories=["lost", "scored"]))
    for form in (words, np.array(words, dtype=object), np.array(expected), pd.Series(words), other):
        assert outcome_codes(form).tolist() == expected
    with pytest.raises(ValueError, match="unknown outcome 'x'"):
        outcome_codes(np.array(["x"]))
