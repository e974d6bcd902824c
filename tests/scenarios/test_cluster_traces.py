"""Trace files of a cluster: what the shipped ones hold, and every way one can be wrong, told by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from scenarios.cluster_traces import DAY, HISTORY, read
from scenarios.errors import ScenarioError

FARO = Path(__file__).resolve().parents[2] / "scenarios" / "faro"


def test_the_shipped_day_is_faros() -> None:
    day = read(FARO / "twitter_top9.csv.gz", DAY)
    assert day.shape == (10, 360)
    assert day.sum() == 2_675_770
    assert (day.sum(axis=0).min(), day.sum(axis=0).max()) == (5_439, 10_097)
    assert np.rint(day.mean(axis=1)).tolist() == [953, 699, 534, 758, 1304, 649, 432, 826, 778, 499]
    assert day.max(axis=1).tolist() == [1418, 1428, 1210, 1226, 1477, 1441, 826, 1243, 1426, 1375]


def test_the_shipped_history_is_the_ten_days_before() -> None:
    days = read(FARO / "twitter_top9_days1-10.csv.gz", HISTORY)
    assert days.shape == (10, 10, 360)
    assert (days.min(), days.max()) == (1, 1592)
    day = read(FARO / "twitter_top9.csv.gz", DAY)
    assert not any(np.array_equal(days[:, at], day) for at in range(10))


def test_rows_come_in_any_order_and_days_from_one(tmp_path: Path) -> None:
    path = tmp_path / "h.csv.gz"
    path.write_bytes(gzip.compress(b"job, day, minute, rate\n1,1,0,7\n\n0,1,0,5\n0,2,0,6\r\n1,2,0,8\n"))
    assert read(path, HISTORY).tolist() == [[[5], [6]], [[7], [8]]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"0,0,5\n", "1:1: '0,0,5' is not the header job,minute,rate"),
        (b"job,minute,rate\n", "a trace without a row"),
        (b"", "a trace without a row"),
        (b"job,minute,rate\n0,0\n", "2: 2 columns, expected job,minute,rate"),
        (b"job,minute,rate\n0,0,5\n0,1,-5\n", "3: rate '-5' is not a whole number of at most 100,000,000"),
        (b"job,minute,rate\n0,0,5.5\n", "2: rate '5.5' is not a whole number"),
        (b"job,minute,rate\n0,0,5\n0,2,5\n", "2 rows are not one for each of job x minute (job from 0, minute from 0"),
        (b"job,minute,rate\n0,0,5\n0,0,5\n", "2 rows are not one for each of job x minute"),
        (b"job,minute,rate\n0,0,5\n99999999,99999999,5\n", "2 rows are not one for each of job x minute"),
        (b"job,minute,rate\n0,0,\xff\n", "2: not UTF-8 text"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    with pytest.raises(ScenarioError) as caught:
        read(path, DAY)
    assert told in str(caught.value)


def test_a_history_begins_with_day_one(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("job,day,minute,rate\n0,0,0,5\n")
    with pytest.raises(ScenarioError, match="day from 1"):
        read(path, HISTORY)


def test_a_broken_archive_and_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"job,minute,rate\n" + b"0,0,5\n" * 1000)[:-9])
    with pytest.raises(ScenarioError, match="cannot be read"):
        read(path, DAY)
    with pytest.raises(ScenarioError, match="cannot be read: No such file"):
        read(tmp_path / "none.csv", DAY)
