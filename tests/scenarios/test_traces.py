"""Trace files: what they mean, and a corrupt one told by its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from scenarios.arrivals import schedule
from scenarios.errors import ScenarioError
from scenarios.load import load
from scenarios.spec import MS_NS, S_NS, Arrival
from scenarios.traces import read


def trace(path: Path, **fields: object) -> Arrival:
    return Arrival("trace", path=str(path), **fields)  # type: ignore[arg-type]


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.csv.gz"])
def test_counts_are_spread_evenly(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "second,count\n# a comment\n0,2\n1,0\n\n2,4\n", name)
    expected = [0, 500 * MS_NS, 2 * S_NS, 2250 * MS_NS, 2500 * MS_NS, 2750 * MS_NS]
    assert list(schedule(trace(path), 10 * S_NS, 1)) == expected
    assert list(schedule(trace(path), 2250 * MS_NS, 1)) == expected[:3]


def test_scaled_counts_keep_their_sum(tmp_path: Path) -> None:
    path = write(tmp_path, "1\n" * 100)
    assert len(schedule(trace(path, scale=0.1), 1000 * S_NS, 1)) == 10
    assert len(schedule(trace(path, scale=2.5), 1000 * S_NS, 1)) == 250
    assert len(schedule(trace(path, interval_ns=100 * MS_NS), 5 * S_NS, 1)) == 50


def test_gaps_are_in_their_unit(tmp_path: Path) -> None:
    path = write(tmp_path, "10\n0\n5.5\n1e9\n3\n")
    arrival = trace(path, trace_kind="gaps", interval_ns=MS_NS)
    assert list(schedule(arrival, S_NS, 1)) == [10 * MS_NS, 10 * MS_NS, 15_500_000]
    twice = trace(path, trace_kind="gaps", interval_ns=MS_NS, scale=2.0)
    assert list(schedule(twice, S_NS, 1)) == [5 * MS_NS, 5 * MS_NS, 7_750_000]


@pytest.mark.parametrize(
    ("text", "kind", "line", "column", "message"),
    [
        ("1\n2x\n", "counts", 2, 1, "'2x' is not a number"),
        ("1\n0,3\n0,bad\n", "counts", 3, 3, "'bad' is not a number"),
        ("1\n-2\n", "counts", 2, 1, "-2 is not a finite number of at least 0"),
        ("nan\n2\nnan\n", "gaps", 3, 1, "nan is not a finite"),
        ("1\n\n1.5\n", "counts", 3, 1, "1.5 is not a whole number"),
        ("1\ninf\n", "gaps", 2, 1, "inf is not a finite"),
        ("1\n1e12\n", "counts", 2, 1, "is not a whole number of at most"),
        ("1\n1e12\n", "gaps", 2, 1, "is a gap of more than"),
        ("time,count\nmore,words\n", "counts", 2, 6, "'words' is not a number"),
        ("1\n,\n", "counts", 2, 2, "'' is not a number"),
    ],
)
def test_a_corrupt_line_is_told(tmp_path: Path, text: str, kind: str, line: int, column: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        read(path, kind)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), line, column)
    assert message in caught.value.message


def test_empty_missing_and_broken_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="a trace without a value"):
        read(write(tmp_path, "# nothing\n"), "counts")
    with pytest.raises(ScenarioError, match="cannot be read"):
        read(tmp_path / "none.csv", "counts")
    broken = tmp_path / "b.csv.gz"
    broken.write_bytes(gzip.compress(b"1\n" * 5000)[:-12])
    with pytest.raises(ScenarioError, match="cannot be read on"):
        read(broken, "counts")
    broken.write_bytes(b"1\n2\n")
    with pytest.raises(ScenarioError, match="cannot be read on"):
        read(broken, "counts")
    damaged = bytearray(gzip.compress(b"7\n" * 3))
    damaged[12] ^= 0xFF
    broken.write_bytes(bytes(damaged))
    with pytest.raises(ScenarioError):
        read(broken, "counts")
    (tmp_path / "u.csv").write_bytes(b"1\n\xff\n")
    with pytest.raises(ScenarioError, match=r"u\.csv:2: not UTF-8 text"):
        read(tmp_path / "u.csv", "counts")


def test_loading_a_scenario_reads_its_trace(tmp_path: Path) -> None:
    write(tmp_path, "1\n2\noops\n")
    path = tmp_path / "s.yaml"
    path.write_text("workload: {arrival: {kind: trace, path: t.csv}}\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(caught.value) == f"{(tmp_path / 't.csv').resolve()}:3:1: 'oops' is not a number"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "1\n")
    assert np.array_equal(read(path, "counts"), [1.0])
    write(tmp_path, "1\n2\n")
    assert np.array_equal(read(path, "counts"), [1.0, 2.0])
