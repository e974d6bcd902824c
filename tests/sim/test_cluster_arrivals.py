"""Counts per minute become the arrivals that the seed says, exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenarios import cluster_arrivals as arrivals
from scenarios.cluster_spec import Load
from tests.sim import clusters


def test_the_day_at_seed_42() -> None:
    scenario = clusters.faro("aiad", 32, 42)
    counts = arrivals.counts(scenario.workload, scenario.jobs)
    assert counts.shape == (10, 360)
    assert counts.sum() == 2_675_770
    assert round(counts[4].mean()) == 1304
    assert counts.max(axis=1).tolist() == [1418, 1428, 1210, 1226, 1477, 1441, 826, 1243, 1426, 1375]
    times = arrivals.arrivals(counts, scenario.workload)
    assert [len(each) for each in times] == counts.sum(axis=1).tolist()
    assert all((np.diff(each) >= 0).all() for each in times)
    # The stream as it is told in words: minute by minute, in it job by job, exponential gaps, the last one unused.
    stream = np.random.default_rng(42)
    for job in range(3):
        gaps = stream.exponential(60 / counts[job, 0], counts[job, 0])
        first = np.concatenate([[0.0], np.cumsum(gaps)[:-1]])
        within = first[first < 60]
        assert np.abs(times[job][: len(within)] / 1e9 - within).max() < 1e-9
    for each in times:  # every minute's first request comes at its start
        assert np.isin(np.arange(360) * 60_000_000_000, each).all()


def test_a_slice_begins_at_minute_0_with_the_seed_anew() -> None:
    whole, part = Load(trace=""), Load(trace="", first_minute=190, minutes=45)
    jobs = clusters.faro("aiad", 32, 42).jobs
    path = clusters.faro("aiad", 32, 42).workload.trace
    counts = arrivals.counts(replace(part, trace=path), jobs)
    assert counts.sum() == 391_089
    assert (counts == arrivals.counts(replace(whole, trace=path), jobs)[:, 190:235]).all()
    times = arrivals.arrivals(counts, part)
    assert times[0][0] == 0
    gaps = np.random.default_rng(42).exponential(60 / counts[0, 0], counts[0, 0])
    assert times[0][1] == round(gaps[0] * 1e9)


@pytest.mark.parametrize(
    ("gaps", "expected_s"),
    [
        ("even", [0, 15, 30, 45, 60, 90]),
        ("half", [0, 7.5, 15, 22.5, 60, 75]),
        ("instant", [0, 0, 0, 0, 60, 60]),
    ],
)
def test_gaps_without_chance(gaps: str, expected_s: list[float]) -> None:
    times = arrivals.arrivals(np.array([[4, 2, 0]]), Load(gaps=gaps))  # type: ignore[arg-type]
    assert (times[0] / 1e9).tolist() == expected_s


def test_gaps_of_whole_milliseconds_are_nearly_even() -> None:
    times = arrivals.arrivals(np.array([[600]]), Load(gaps="poisson_ms"))[0]
    gaps = np.diff(times)
    assert (gaps % 1_000_000 == 0).all()
    assert gaps.mean() == pytest.approx(100e6, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(0.1, rel=0.1)  # 1 / sqrt(100 ms)


def test_scale_and_unit() -> None:
    scenario = clusters.faro("aiad", 32, 42, scale=0.1, unit_s=6.0, minutes=5)
    counts = arrivals.counts(scenario.workload, scenario.jobs)
    assert counts[0].tolist() == [96, 101, 91, 91, 104]  # 957, 1011, 914, 913, 1043
    times = arrivals.arrivals(counts, scenario.workload)[0]
    assert np.isin(np.arange(5) * 6_000_000_000, times).all()


def test_history_leaves_out_the_day_that_is_replayed(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "day.csv").write_text("job,minute,rate\n0,0,5\n0,1,6\n1,0,7\n1,1,8\n")
    rows = [
        f"{job},{day},{minute},{10 * day + 2 * job + minute}" for job in (0, 1) for day in (1, 2) for minute in (0, 1)
    ]
    rows += ["0,3,0,5", "0,3,1,6", "1,3,0,7", "1,3,1,8"]
    (folder / "days.csv").write_text("job,day,minute,rate\n" + "\n".join(rows) + "\n")
    load = Load(trace=str(folder / "day.csv"), history=str(folder / "days.csv"))
    found = arrivals.history(load, clusters.cluster(jobs=2).jobs)
    assert found is not None
    assert found.tolist() == [[[10, 11], [20, 21]], [[12, 13], [22, 23]]]


def test_a_trace_that_is_not_there_is_named() -> None:
    scenario = clusters.faro("aiad", 32, 42)
    jobs = (*scenario.jobs, replace(scenario.jobs[0], name="eleventh", trace=10))
    with pytest.raises(ValueError, match="eleventh replays trace 10"):
        arrivals.counts(scenario.workload, jobs)
    with pytest.raises(ValueError, match="no minute 360"):
        arrivals.counts(replace(scenario.workload, first_minute=360), scenario.jobs)
